//! The folder of one environment, which is removed when its owner ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use std::os::unix::process::CommandExt;

use crate::Error;
use crate::progress::say;

/// If this variable is set, the folder (logs, certificates, data) remains for later analysis.
const KEEP: &str = "TESTENV_KEEP_DIR";

/// Waits until the owner has ended, then removes the folder. It retries for some seconds, because
/// the watchdogs stop the servers at the same moment and a server may still write.
const JANITOR: &str = r#"
read -r _
tries=0
while [ -e "$1" ] && [ "$tries" -lt 50 ]; do
  rm -rf -- "$1" 2>/dev/null
  tries=$((tries + 1))
  sleep 0.1
done
"#;

/// A temporary folder that is removed with its owner, even if the owner is killed.
pub(crate) struct Scratch {
    path: PathBuf,
    janitor: Option<Child>,
}

impl Scratch {
    /// Creates the folder, readable only by this user: it will contain keys and tokens.
    pub(crate) fn new(prefix: &str) -> Result<Self, Error> {
        let folder = tempfile::Builder::new()
            .prefix(prefix)
            .tempdir()
            .map_err(|error| Error::io("making a folder in", &std::env::temp_dir(), error))?;
        if std::env::var_os(KEEP).is_some() {
            let path = folder.keep();
            say(&format!("{KEEP} is set: {} will stay", path.display()));
            return Ok(Self {
                path,
                janitor: None,
            });
        }
        let janitor = Command::new("/bin/sh")
            .args(["-c", JANITOR, "testenv-janitor"])
            .arg(folder.path())
            // Not the folder that it removes.
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| Error::io("starting", Path::new("/bin/sh"), error))?;
        Ok(Self {
            path: folder.keep(),
            janitor: Some(janitor),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file that only this user can read.
    pub(crate) fn write(&self, name: &str, content: &str) -> Result<PathBuf, Error> {
        let path = self.path.join(name);
        write_private(&path, content)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let Some(mut janitor) = self.janitor.take() else {
            return;
        };
        // The janitor would remove it as well, some tenths of a second later.
        let _ = fs::remove_dir_all(&self.path);
        drop(janitor.stdin.take());
        let _ = janitor.wait();
    }
}

/// Writes a file with mode 0600. It replaces an existing file.
pub(crate) fn write_private(path: &Path, content: &str) -> Result<(), Error> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(content.as_bytes()))
        .map_err(|error| Error::io("writing", path, error))
}
