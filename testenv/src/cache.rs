//! The user's cache folder: every later run uses what was built or installed once.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};

use crate::Error;
use crate::error::disk_full;
use crate::process::{Launch, Watched};
use crate::progress::Progress;

const POLL_EVERY: Duration = Duration::from_millis(200);

/// One entry of the cache. Its name contains a hash of all its inputs.
pub(crate) struct Entry {
    /// The folder of the finished files.
    pub(crate) folder: PathBuf,
    /// The folder in which they are built; only the holder of the lock uses it.
    pub(crate) workshop: PathBuf,
    lock: PathBuf,
}

impl Entry {
    /// The entry for a name and its inputs. Nothing is created yet.
    pub(crate) fn new(name: &str, inputs: &[&str]) -> Result<Self, Error> {
        let mut hash = Context::new(&SHA256);
        // Machines of several kinds may share a home folder.
        for input in [std::env::consts::OS, std::env::consts::ARCH]
            .iter()
            .chain(inputs)
        {
            hash.update(&input.len().to_le_bytes());
            hash.update(input.as_bytes());
        }
        let mut digits = String::new();
        for byte in &hash.finish().as_ref()[..6] {
            use std::fmt::Write;
            let _ = write!(digits, "{byte:02x}");
        }
        let root = root()?;
        Ok(Self {
            folder: root.join(format!("{name}-{digits}")),
            workshop: root.join(format!("{name}-{digits}.making")),
            lock: root.join(format!("{name}-{digits}.lock")),
        })
    }

    /// Acquires the right to build this entry; waits while another process builds it. It is a lock of the
    /// kernel, which releases it when its holder ends, in whatever way.
    pub(crate) async fn lock(&self) -> Result<File, Error> {
        let root = self.lock.parent().unwrap_or(&self.lock);
        fs::create_dir_all(root).map_err(|error| Error::io("making the folder", root, error))?;
        let file = File::create(&self.lock)
            .map_err(|error| Error::io("opening the lock", &self.lock, error))?;
        let mut progress = Progress::quiet(format!(
            "waiting for another process that makes {}",
            self.folder.display()
        ));
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => progress.tick(),
                Err(TryLockError::Error(error)) => {
                    return Err(Error::io("taking the lock", &self.lock, error));
                }
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    /// An empty workshop with these files in it.
    pub(crate) fn open_workshop(&self, files: &[(&str, &str)]) -> Result<(), Error> {
        let folder = &self.workshop;
        let _ = fs::remove_dir_all(folder);
        let failed = |error| Error::io("preparing", folder, error);
        fs::create_dir_all(folder).map_err(failed)?;
        for (name, content) in files {
            fs::write(folder.join(name), content).map_err(failed)?;
        }
        Ok(())
    }
}

/// The result of a step of several seconds or minutes.
pub(crate) enum Step {
    Done,
    /// Failed: the whole log and its last lines.
    Failed {
        log: PathBuf,
        tail: String,
    },
}

/// Runs a command in a folder, with progress lines. It also ends if this process is killed.
pub(crate) async fn run_step(launch: Launch<'_>, progress: &mut Progress) -> Result<Step, Error> {
    let log = launch.folder.join(format!("{}.log", launch.name));
    let folder = launch.folder.to_path_buf();
    let mut running = Watched::spawn(launch)?;
    loop {
        if let Some(status) = running.ended() {
            if status.success() {
                return Ok(Step::Done);
            }
            if disk_full(&log) {
                return Err(Error::DiskFull { folder });
            }
            return Ok(Step::Failed {
                tail: running.log_tail(),
                log,
            });
        }
        progress.tick();
        tokio::time::sleep(POLL_EVERY).await;
    }
}

/// Finds a program that the user must install.
pub(crate) fn on_path(program: &'static str, advice: &'static str) -> Result<PathBuf, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
        .ok_or(Error::ProgramMissing { program, advice })
}

/// `apicred/testenv` in the user's cache folder.
pub(crate) fn root() -> Result<PathBuf, Error> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("apicred").join("testenv"))
        .ok_or_else(|| Error::Io {
            doing: "finding the cache folder (set HOME or XDG_CACHE_HOME)".to_owned(),
            source: std::io::ErrorKind::NotFound.into(),
        })
}

/// Moves a finished file or folder to its destination, atomically.
pub(crate) fn publish(from: &Path, to: &Path) -> Result<(), Error> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(|error| Error::io("making", folder, error))?;
    }
    fs::rename(from, to).map_err(|error| Error::io("moving a finished build to", to, error))
}
