//! Errors, each with one sentence that contains the next step.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

/// A failure of the test environment. Its `Display` is for the user at the terminal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program that the user must install is not on PATH.
    #[error("`{program}` was not found on PATH; {advice}")]
    ProgramMissing {
        /// The name of the program.
        program: &'static str,
        /// Where to get it, and the alternatives.
        advice: &'static str,
    },
    /// The Go toolchain is older than the pinned modules need.
    #[error(
        "the Go toolchain is too old: the pinned modules need Go {needed} or newer; update it from https://go.dev/dl/"
    )]
    GoTooOld {
        /// The version in `go.mod`.
        needed: String,
    },
    /// No room left on a disk.
    #[error("no space is left on the disk of {}, or on that of the caches of the program that works there; free some and try again", .folder.display())]
    DiskFull {
        /// The working folder.
        folder: PathBuf,
    },
    /// Sources could not be fetched.
    #[error(
        "the sources of {what} could not be downloaded; check the network and the proxy settings, then try again. Last lines:\n{tail}"
    )]
    Download {
        /// The modules or packages.
        what: String,
        /// The end of the log.
        tail: String,
    },
    /// A build failed for an unknown reason.
    #[error("building {what} failed; the whole log is in {}. Last lines:\n{tail}", .log.display())]
    Build {
        /// The programs.
        what: String,
        /// The whole log.
        log: PathBuf,
        /// Its end.
        tail: String,
    },
    /// Another process took a port after it was found free and before the server started.
    #[error(
        "{name} could not listen because its port is taken by another process; try again, or stop what listens there. Last lines:\n{tail}"
    )]
    PortTaken {
        /// The server.
        name: String,
        /// The end of its log.
        tail: String,
    },
    /// A server ended without being stopped.
    #[error("{name} ended ({status}) before it was ready; its last lines say why:\n{tail}")]
    ServerEnded {
        /// The server.
        name: String,
        /// Its exit status.
        status: String,
        /// The end of its log.
        tail: String,
    },
    /// A condition was not met in time.
    #[error("after {} s this was still awaited: {what}; last state: {state}", .waited.as_secs())]
    NotInTime {
        /// The condition.
        what: String,
        /// How long the wait took.
        waited: Duration,
        /// The last observed state.
        state: String,
    },
    /// kubectl or helm answered with an error.
    #[error("`{command}` failed ({status}): {stderr}")]
    Command {
        /// The command line.
        command: String,
        /// The exit status.
        status: String,
        /// Its error output.
        stderr: String,
    },
    /// A server returned an unexpected answer.
    #[error("{what}: {answer}")]
    Answer {
        /// The request.
        what: String,
        /// Status and message.
        answer: String,
    },
    /// A request failed.
    #[error("{what} failed")]
    Http {
        /// The request.
        what: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// Certificates or keys could not be created.
    #[error("a throw-away certificate could not be made")]
    Certificate(#[from] rcgen::Error),
    /// A file or process operation failed.
    #[error("{doing} failed: {source}")]
    Io {
        /// The operation.
        doing: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    /// An I/O error of an operation on a path; a full disk has a separate message.
    pub(crate) fn io(doing: &str, path: &Path, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::StorageFull {
            let folder = path.parent().unwrap_or(path).to_path_buf();
            return Self::DiskFull { folder };
        }
        Self::Io {
            doing: format!("{doing} {}", path.display()),
            source,
        }
    }

    /// Reads the last lines of a server that ended, because common causes have separate messages.
    pub(crate) fn server_ended(name: &str, status: String, log: &Path) -> Self {
        let folder = log.parent().unwrap_or(log);
        if disk_full(log) {
            return Self::DiskFull {
                folder: folder.to_path_buf(),
            };
        }
        let tail = tail(log, SHOWN);
        let output = tail.to_lowercase();
        if output.contains("address already in use") || output.contains("eaddrinuse") {
            Self::PortTaken {
                name: name.to_owned(),
                tail,
            }
        } else {
            Self::ServerEnded {
                name: name.to_owned(),
                status,
                tail,
            }
        }
    }
}

/// Number of log lines that are shown to a user.
pub(crate) const SHOWN: usize = 12;

/// Whether the writer of this log ended because the disk was full. It may have reported this long before its end
/// (Go prints the stacks of all its threads after that), or not at all.
pub(crate) fn disk_full(log: &Path) -> bool {
    let output = tail(log, 200).to_lowercase();
    if output.contains("no space left on device") || output.contains("enospc") {
        return true;
    }
    let probe = log.with_extension("probe");
    let written = fs::write(&probe, vec![0; 64 * 1024]);
    let _ = fs::remove_file(&probe);
    written.is_err_and(|error| error.kind() == io::ErrorKind::StorageFull)
}

/// The last lines of a file. Long lines are cut.
pub(crate) fn tail(file: &Path, lines: usize) -> String {
    let bytes = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let last: Vec<String> = all[all.len().saturating_sub(lines)..]
        .iter()
        .map(|line| format!("  {}", line.chars().take(400).collect::<String>()))
        .collect();
    if last.is_empty() {
        "  (it wrote nothing)".to_owned()
    } else {
        last.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_server_choose_the_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("etcd.log");
        let classified = |text: &str| {
            fs::write(&log, text).unwrap();
            Error::server_ended("etcd", "exit code 1".to_owned(), &log)
        };
        let taken = "listen tcp 127.0.0.1:1: bind: address already in use\n";
        assert!(matches!(classified(taken), Error::PortTaken { .. }));
        assert!(matches!(
            classified("Error: listen EADDRINUSE"),
            Error::PortTaken { .. }
        ));
        let stacks = "goroutine 1 [running]:\n".repeat(60);
        let full = format!("write wal: no space left on device\n{stacks}");
        assert!(matches!(classified(&full), Error::DiskFull { .. }));
        let other = classified("unknown flag: --nonsense").to_string();
        assert!(
            other.contains("etcd") && other.contains("--nonsense"),
            "{other}"
        );
    }
}
