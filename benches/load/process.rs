//! Processes under measurement: they cannot run longer than the harness, and are measured through `/proc`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdin, Command},
};

use crate::{Result, issuer::Addresses, issuer::IssuerBehaviour, issuer::Stats};

/// Arguments: the log file, then the command line. Its stdin is a pipe that only the harness holds: when the harness ends,
/// in whatever way, the kernel closes the pipe, and the reader kills the program.
const WATCHDOG: &str = r#"
log=$1; shift
exec 3<&0 </dev/null
"$@" >>"$log" 2>&1 3<&- &
child=$!
echo "$child"
exec >/dev/null 2>&1
( read -r _ <&3; kill -KILL "$child" ) &
reader=$!
exec 3<&-
wait "$child"
code=$?
kill -KILL "$reader"
exit "$code"
"#;

/// Ticks per second in `/proc/PID/stat`: `USER_HZ`, which is 100 on every architecture that runs Kubernetes.
const TICKS: f64 = 100.0;

/// A program under its watchdog. It is killed on drop.
pub(crate) struct Process {
    watchdog: Child,
    lifeline: Option<ChildStdin>,
    pub(crate) pid: u32,
    log: PathBuf,
}

impl Process {
    /// Starts a program; its output goes to `log`.
    pub(crate) async fn spawn(
        program: &str,
        args: &[String],
        env: &[(&str, String)],
        log: PathBuf,
    ) -> Result<Self> {
        let mut watchdog = Command::new("/bin/sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(&log)
            .arg(program)
            .args(args)
            .envs(env.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let stdout = watchdog.stdout.take().ok_or("no pipe to the watchdog")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).await?;
        Ok(Self {
            lifeline: watchdog.stdin.take(),
            pid: line.trim().parse()?,
            watchdog,
            log,
        })
    }

    /// Sends SIGTERM, and kills it if it does not end within half a minute.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let pid = self.pid.to_string();
        let kill = "kill -s TERM \"$1\" 2>/dev/null";
        Command::new("/bin/sh")
            .args(["-c", kill, "sh", &pid])
            .status()
            .await?;
        let waited = tokio::time::timeout(Duration::from_secs(30), self.watchdog.wait()).await;
        if waited.is_err() {
            drop(self.lifeline.take());
            self.watchdog.wait().await?;
        }
        Ok(())
    }

    /// Its exit status and its last lines, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<(ExitStatus, String)> {
        let status = self.watchdog.try_wait().ok().flatten()?;
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let from = text.len().saturating_sub(2_000);
        Some((status, text.get(from..).unwrap_or_default().to_owned()))
    }
}

/// The resources of a process at one moment.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Usage {
    /// Resident memory, its part without files, and its peak, in MiB.
    pub(crate) rss: f64,
    pub(crate) anon: f64,
    pub(crate) peak: f64,
    /// CPU seconds so far, and the part in the kernel.
    pub(crate) cpu: f64,
    pub(crate) system: f64,
    /// Open descriptors.
    pub(crate) descriptors: u32,
    /// Threads.
    pub(crate) threads: u32,
}

impl Usage {
    /// The usage of a running process.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| -> u32 {
            let line = status.lines().find_map(|l| l.strip_prefix(name));
            let word = line.and_then(|l| l.trim_start_matches(':').split_whitespace().next());
            word.and_then(|w| w.parse().ok()).unwrap_or(0)
        };
        let mib = |name| f64::from(field(name)) / 1024.0;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name of the program is in parentheses and may contain blanks.
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let ticks = |at: usize| -> f64 {
            fields
                .get(at)
                .and_then(|t| t.parse().ok())
                .unwrap_or_default()
        };
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
        Ok(Self {
            rss: mib("VmRSS"),
            anon: mib("RssAnon"),
            peak: mib("VmHWM"),
            cpu: (ticks(11) + ticks(12)) / TICKS,
            system: ticks(12) / TICKS,
            descriptors: u32::try_from(descriptors).unwrap_or(u32::MAX),
            threads: field("Threads"),
        })
    }
}

/// Resets the peak.
pub(crate) fn forget_peak(pid: u32) -> Result<()> {
    Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

/// The token server, as seen by the harness.
pub(crate) struct TokenServer {
    /// It ends when its standard input ends.
    _child: Child,
    pub(crate) addresses: Addresses,
    http: reqwest::Client,
}

impl TokenServer {
    /// Starts this program in its other mode.
    pub(crate) async fn start() -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("issuer")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no pipe to the token server")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).await?;
        Ok(Self {
            addresses: serde_json::from_str(&line)?,
            http: reqwest::Client::builder().no_proxy().build()?,
            _child: child,
        })
    }

    /// Changes how it answers.
    pub(crate) async fn set(&self, behaviour: IssuerBehaviour) -> Result<()> {
        let request = self.http.post(&self.addresses.control).json(&behaviour);
        request.send().await?.error_for_status()?;
        Ok(())
    }

    /// Its counts so far.
    pub(crate) async fn stats(&self) -> Result<Stats> {
        Ok(self
            .http
            .get(&self.addresses.control)
            .send()
            .await?
            .json()
            .await?)
    }
}

/// Reads a file if it exists. Folders of rivals may lack some files.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(format!("{}: {e}", path.display()).into()),
    }
}
