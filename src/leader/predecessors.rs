//! Proof that earlier processes of this pod have ended, so that a restarted container need not wait until its previous Lease expires.
//!
//! Each process holds an exclusive lock of one file until it ends, and writes its name into the file. The kernel releases the lock when the process
//! ends, in whatever way, and not before: a process that is only suspended still holds it. So a process that gets the lock knows that all processes
//! whose
//! names are in the file have ended. The file is in an `emptyDir` volume, which the containers of one pod share and which survives a container
//! restart.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    path::Path,
};

/// Maximum number of names. A Lease names the last leader of this pod, and not every process of a pod became leader.
const MOST_NAMES: usize = 16;
/// Bytes that are read: names have at most 253 characters, plus 17.
const LIMIT: u64 = 64 * 1024;

/// Acquires the lock until this process ends, writes `me` into the file, and returns the names of the processes that have ended.
///
/// # Errors
/// When the file cannot be opened, read or written, or when another process holds the lock. Then it is not known which processes have ended.
pub fn ended(path: &Path, me: &str) -> Result<Vec<String>, String> {
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    let mut open = OpenOptions::new();
    open.read(true).write(true).create(true).truncate(false);
    let file = open.open(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(format!(
                "{}: another process holds the lock",
                path.display()
            ));
        }
        Err(TryLockError::Error(e)) => return Err(failed(e)),
    }
    // Never closed: the lock must not be released before the process ends.
    let mut file: &File = Box::leak(Box::new(file));
    let mut text = String::new();
    file.take(LIMIT).read_to_string(&mut text).map_err(failed)?;
    let names: Vec<String> = text.lines().map(str::to_owned).collect();
    let latest = &names[names.len().saturating_sub(MOST_NAMES - 1)..];
    let mut written = latest.join("\n");
    if !written.is_empty() {
        written.push('\n');
    }
    written.push_str(me);
    written.push('\n');
    // A crash between these lines loses names. Then the next process waits until the Lease expires.
    file.set_len(0).map_err(failed)?;
    file.rewind().map_err(failed)?;
    file.write_all(written.as_bytes()).map_err(failed)?;
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_holds_the_lock_and_names_are_stored_for_the_next() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("instance");
        std::fs::write(&path, "first\nsecond\n").expect("a file");
        assert_eq!(
            ended(&path, "third"),
            Ok(vec!["first".to_owned(), "second".to_owned()])
        );
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "first\nsecond\nthird\n"
        );
        // The lock belongs to the open file, so a second open in this process is refused like one in another process.
        let refused = ended(&path, "fourth").expect_err("it is held");
        assert!(
            refused.ends_with("another process holds the lock"),
            "{refused}"
        );
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "first\nsecond\nthird\n"
        );
    }

    #[test]
    fn a_file_that_grows_keeps_the_last_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("instance");
        let many: Vec<String> = (0..100).map(|n| format!("name-{n}")).collect();
        std::fs::write(&path, many.join("\n")).expect("a file");
        assert_eq!(ended(&path, "me"), Ok(many));
        let latest = std::fs::read_to_string(&path).unwrap();
        assert_eq!(latest.lines().count(), MOST_NAMES);
        assert_eq!(latest.lines().last(), Some("me"));
        assert_eq!(latest.lines().next(), Some("name-85"));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_reported() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(ended(folder.path(), "me").is_err(), "a folder");
        assert!(ended(&folder.path().join("no/such"), "me").is_err());
        let path = folder.path().join("instance");
        std::fs::write(&path, [0xff, 0xfe]).expect("a file");
        assert!(ended(&path, "me").is_err(), "it is not text");
    }
}
