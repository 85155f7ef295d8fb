//! Servers that never run longer than their owner.
//!
//! Each server runs below a small shell, the watchdog, whose stdin is a pipe that only the owner holds.
//! However the owner ends, even by SIGKILL, the kernel closes that pipe; the watchdog reads the
//! end of file and kills the server. No signal handler and no cooperation of the owner is needed.
//! A separate process group protects the server from a Ctrl-C at the terminal, so the owner
//! decides in which order the processes end.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::Error;
use crate::error::{SHOWN, tail};

/// Arguments: the log file, then the command line of the server.
///
/// The reader kills by process ID only while the shell, which would have reaped the server, still
/// runs: then the ID cannot belong to another process. If the shell itself was killed,
/// the reader ends its own process group, of which the server is a member.
/// After such an end, the shell kills the group too, for child processes that the server left.
const WATCHDOG: &str = r#"
log=$1; shift
exec 3<&0 </dev/null
"$@" >>"$log" 2>&1 3<&- &
server=$!
{
  exec >/dev/null 2>&1
  read -r _ <&3
  if kill -0 $$; then kill -KILL "$server"; else kill -KILL 0; fi
} &
reader=$!
exec 3<&-
echo "$server"
exec >/dev/null 2>&1
wait "$server"
code=$?
[ "$code" -ne 137 ] || kill -KILL 0
kill -KILL "$reader"
exit "$code"
"#;

/// The program to run, and the place of its output.
pub(crate) struct Launch<'a> {
    /// For messages, and for the names of the log file and the pid file.
    pub(crate) name: &'a str,
    pub(crate) program: &'a Path,
    pub(crate) args: Vec<String>,
    /// Contains `NAME.log` and `NAME.pid`; also the working folder.
    pub(crate) folder: &'a Path,
    pub(crate) env: Vec<(&'static str, String)>,
}

/// A running program under its watchdog. It is killed on drop.
pub(crate) struct Watched {
    name: String,
    log: PathBuf,
    watchdog: Child,
    pid: u32,
}

impl Watched {
    /// Starts the program. A program that cannot be executed appears as one that ended at once.
    pub(crate) fn spawn(launch: Launch<'_>) -> Result<Self, Error> {
        let log = launch.folder.join(format!("{}.log", launch.name));
        let mut watchdog = Command::new("/bin/sh")
            .args(["-c", WATCHDOG, "testenv-watchdog"])
            .arg(&log)
            .arg(launch.program)
            .args(launch.args)
            .envs(launch.env)
            .current_dir(launch.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| Error::io("starting", Path::new("/bin/sh"), error))?;
        let mut line = String::new();
        if let Some(stdout) = watchdog.stdout.take() {
            // This takes milliseconds: the shell prints it right after its fork.
            BufReader::new(stdout)
                .read_line(&mut line)
                .map_err(|error| Error::io("starting", launch.program, error))?;
        }
        let pid = line.trim().parse().unwrap_or_default();
        let _ = fs::write(launch.folder.join(format!("{}.pid", launch.name)), line);
        Ok(Self {
            name: launch.name.to_owned(),
            log,
            watchdog,
            pid,
        })
    }

    /// The process ID of the program, not of its watchdog.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Its exit status, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.watchdog.try_wait().ok().flatten()
    }

    /// Returns an error with the last lines of the log if the program does not run any more.
    pub(crate) fn still_runs(&mut self) -> Result<(), Error> {
        let Some(status) = self.ended() else {
            return Ok(());
        };
        Err(Error::server_ended(&self.name, describe(status), &self.log))
    }

    /// The last lines of its output.
    pub(crate) fn log_tail(&self) -> String {
        tail(&self.log, SHOWN)
    }

    /// Kills it and waits until it has ended and its ports are free.
    pub(crate) fn kill(&mut self) {
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a signal by name, such as `STOP`. It has no effect on a process that has ended.
pub(crate) fn send_signal(pid: u32, name: &str) {
    let _ = Command::new("/bin/sh")
        .args(["-c", "kill -s \"$1\" \"$2\" 2>/dev/null", "sh", name])
        .arg(pid.to_string())
        .status();
}

/// The exit status as text. The watchdog reports a signal like a shell: 128 plus its number.
fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("killed by signal {signal}"),
        (None, Some(code)) if code > 128 => format!("killed by signal {}", code - 128),
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wait_until;

    fn shell(folder: &Path, script: &str) -> Watched {
        let args = vec!["-c".to_owned(), script.to_owned()];
        let program = Path::new("/bin/sh");
        Watched::spawn(Launch {
            name: "it",
            program,
            args,
            folder,
            env: Vec::new(),
        })
        .expect("a shell starts")
    }

    /// A process that has ended, and that its parent has not reaped yet, does not count as running.
    fn is_running(pid: u32) -> bool {
        if let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) {
            return !stat
                .rsplit(')')
                .next()
                .is_some_and(|rest| rest.trim_start().starts_with('Z'));
        }
        Command::new("/bin/sh")
            .args(["-c", "kill -0 \"$1\" 2>/dev/null", "sh", &pid.to_string()])
            .status()
            .is_ok_and(|status| status.success())
    }

    #[tokio::test]
    async fn a_program_that_ends_is_reported_with_its_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let mut it = shell(folder.path(), "echo no such flag; exit 3");
        let error = wait_until(Duration::from_secs(5), "its end", async || {
            it.still_runs().err()
        })
        .await
        .unwrap()
        .to_string();
        assert!(
            error.contains("exit code 3") && error.contains("no such flag"),
            "{error}"
        );
    }

    #[test]
    fn killing_leaves_neither_the_program_nor_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let mut it = shell(folder.path(), "sleep 600 & echo $! > child; wait");
        let child = loop {
            let written = fs::read_to_string(folder.path().join("child")).unwrap_or_default();
            if let Ok(pid) = written.trim().parse::<u32>() {
                break pid;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        assert!(is_running(it.pid()) && is_running(child));
        it.kill();
        assert!(!is_running(it.pid()), "the program lives on");
        for _ in 0..100 {
            if !is_running(child) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the child {child} lives on");
    }
}
