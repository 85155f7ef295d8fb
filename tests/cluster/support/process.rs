//! A child process that always ends with the tests, even when they are killed.

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::process::{Child, ChildStdin, Command};

/// Environment: `TEST_OPEN_FILES`, most files that the program may open. Arguments: the log file, the pid file, then the command line. Its stdin is a pipe that only the tests hold:
/// when they end, however they end, the kernel closes it, and the reader kills the program.
const WATCHDOG: &str = r#"
log=$1; pidfile=$2; shift 2
exec 3<&0 </dev/null
[ -z "$TEST_OPEN_FILES" ] || ulimit -n "$TEST_OPEN_FILES"
"$@" >>"$log" 2>&1 3<&- &
child=$!
echo "$child" >"$pidfile"
( exec >/dev/null 2>&1; read -r _ <&3; kill -KILL "$child" ) &
reader=$!
exec 3<&-
wait "$child"
code=$?
kill -KILL "$reader" 2>/dev/null
exit "$code"
"#;

/// The exit code that a shell reports for a program that SIGKILL ended.
const KILLED: i32 = 128 + 9;

/// A program under its watchdog. It is killed when this is dropped.
pub(crate) struct Guarded {
    watchdog: Child,
    /// Not stored in the child: waiting for a child closes its stdin.
    lifeline: Option<ChildStdin>,
    /// Of the program itself.
    pub(crate) pid: u32,
    pub(crate) log: PathBuf,
}

impl Guarded {
    /// Starts a program; its output goes to `log`.
    pub(crate) async fn spawn(
        program: &Path,
        args: &[String],
        env: &[(&str, String)],
        log: PathBuf,
    ) -> Self {
        let pidfile = log.with_extension("pid");
        let _ = std::fs::remove_file(&pidfile);
        let mut watchdog = Command::new("/bin/sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(&log)
            .arg(&pidfile)
            .arg(program)
            .args(args)
            .envs(env.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C at the terminal is for the tests; the pipe ends the rest.
            .process_group(0)
            .spawn()
            .expect("a shell starts");
        let pid = testenv::eventually(
            Duration::from_secs(10),
            "the process number of a child",
            async || {
                let text = std::fs::read_to_string(&pidfile).unwrap_or_default();
                text.trim()
                    .parse::<u32>()
                    .ok()
                    .filter(|_| text.ends_with('\n'))
            },
        )
        .await;
        let lifeline = watchdog.stdin.take();
        Self {
            watchdog,
            lifeline,
            pid,
            log,
        }
    }

    /// Sends a signal by name, such as `TERM`.
    pub(crate) async fn signal(&self, name: &str) {
        let _ = Command::new("/bin/sh")
            .args(["-c", "kill -s \"$1\" \"$2\" 2>/dev/null", "sh", name])
            .arg(self.pid.to_string())
            .status()
            .await;
    }

    /// The highest memory usage so far, in KiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid));
        let status = status.expect("a process that lives");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = peak.and_then(|p| p.trim().strip_suffix(" kB")?.trim().parse().ok());
        number.expect("a number of KiB")
    }

    /// Its exit status, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.watchdog.try_wait().ok().flatten()
    }

    /// Whether SIGKILL ended it.
    pub(crate) fn was_killed(&mut self) -> bool {
        self.ended().is_some_and(|s| s.code() == Some(KILLED))
    }

    /// Waits for its end.
    pub(crate) async fn wait(&mut self, deadline: Duration) -> ExitStatus {
        tokio::time::timeout(deadline, self.watchdog.wait())
            .await
            .expect("the process ends in time")
            .expect("its end is reported")
    }

    /// Kills it without a warning and waits until it is gone.
    pub(crate) async fn kill(&mut self) {
        self.signal("KILL").await;
        self.wait(Duration::from_secs(10)).await;
    }

    /// All its output.
    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // Closing the pipe makes the reader kill the program; the shell then exits.
        drop(self.lifeline.take());
    }
}
