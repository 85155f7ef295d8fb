//! Processes and a folder that end with the demo, even if the demo is killed: each process runs below a small shell that
//! holds a pipe from the demo, and the kernel closes that pipe when the demo ends, in whatever way.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Outcome;

/// Arguments: the log file, then the command line. A line on stdin ends the program (SIGTERM), the end of
/// stdin kills it. The process ID is used only while this shell, which would have reaped the program, still runs.
const WATCHDOG: &str = r#"
log=$1; shift
exec 3<&0 </dev/null
"$@" >>"$log" 2>&1 3<&- &
program=$!
{
  exec >/dev/null 2>&1
  while read -r _ <&3; do kill -TERM "$program"; done
  if kill -0 $$; then kill -KILL "$program"; else kill -KILL 0; fi
} &
reader=$!
exec 3<&-
wait "$program"
code=$?
kill -KILL "$reader"
wait "$reader"
exit "$code"
"#;

/// Removes a folder after its owner has ended. The processes in it may need a moment to stop writing.
const JANITOR: &str = r#"
read -r _
tries=0
while [ -e "$1" ] && [ "$tries" -lt 50 ]; do
  rm -rf -- "$1" 2>/dev/null
  tries=$((tries + 1))
  sleep 0.1
done
"#;

fn shell(script: &str, name: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", script, name])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        // A Ctrl-C at the terminal is for the demo, which decides in which order the processes end.
        .process_group(0);
    command
}

/// A running program. It is killed on drop.
pub(crate) struct Running {
    name: &'static str,
    log: PathBuf,
    watchdog: Child,
}

impl Running {
    /// Starts the program; its output is written to `NAME.log` in the folder.
    pub(crate) fn start(
        name: &'static str,
        program: &Path,
        args: &[String],
        env: &[(&str, String)],
        folder: &Path,
    ) -> Outcome<Self> {
        if !program.is_file() {
            return Err(format!(
                "{} is not there; `make demo` builds it, or: cargo build -p apicred -p dev-issuer",
                program.display()
            ));
        }
        let failed = |error: std::io::Error| format!("{name} cannot be started: {error}");
        let log = folder.join(format!("{name}.log"));
        let watchdog = shell(WATCHDOG, "demo-watchdog")
            .arg(&log)
            .arg(program)
            .args(args)
            .envs(env.iter().map(|(key, value)| (key, value)))
            .stdout(Stdio::null())
            .spawn()
            .map_err(failed)?;
        Ok(Self {
            name,
            log,
            watchdog,
        })
    }

    /// The file of its output.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Returns an error with its last lines if it has ended.
    pub(crate) fn check(&mut self) -> Outcome<()> {
        match self.watchdog.try_wait() {
            Ok(None) => Ok(()),
            _ => Err(format!(
                "{} ended by itself; its last lines:\n{}",
                self.name,
                self.last_lines()
            )),
        }
    }

    /// The last lines of its output.
    pub(crate) fn last_lines(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last: Vec<String> = lines[lines.len().saturating_sub(6)..]
            .iter()
            .map(|line| format!("    {line}"))
            .collect();
        last.join("\n")
    }

    /// Sends SIGTERM and waits. Returns an error if the program did not end in time, or failed.
    pub(crate) async fn stop(mut self, patience: Duration) -> Outcome<()> {
        if let Some(stdin) = &mut self.watchdog.stdin {
            // A pipe without a reader: the program has already ended.
            let _ = stdin.write_all(b"end\n");
        }
        let ended =
            testenv::wait_until(patience, format!("the end of {}", self.name), async || {
                self.watchdog.try_wait().ok().flatten()
            });
        match ended.await {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("{} ended with {status}", self.name)),
            Err(_) => Err(format!(
                "{} did not end within {} s of a SIGTERM and was killed",
                self.name,
                patience.as_secs()
            )),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

/// A folder for this run, readable only by this user. It is removed on drop.
pub(crate) struct Folder {
    path: PathBuf,
    janitor: Child,
}

impl Folder {
    pub(crate) fn new() -> Outcome<Self> {
        let failed = |error: std::io::Error| format!("no temporary folder can be made: {error}");
        let folder = tempfile::Builder::new()
            .prefix("apicred-demo-")
            .tempdir()
            .map_err(failed)?;
        let janitor = shell(JANITOR, "demo-janitor")
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .map_err(failed)?;
        Ok(Self {
            path: folder.keep(),
            janitor,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file that only this user can read.
    pub(crate) fn write(&self, name: &str, content: &str) -> Outcome<PathBuf> {
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.path.join(name);
        fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(content.as_bytes()))
            .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
    }
}
