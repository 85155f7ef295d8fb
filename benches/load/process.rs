//! Processes under measurement: started so that they cannot outlive the harness, and read through `/proc`.

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

use crate::{Result, issuer::Addresses, issuer::Manner, issuer::Stats};

/// Arguments: the log file, then the command line. Its stdin is a pipe that only the harness holds: when that ends,
/// however it ends, the kernel closes it, and the reader kills the program.
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

/// Ticks a second in `/proc/PID/stat`: `USER_HZ`, which is 100 on every architecture that runs Kubernetes.
const TICKS: f64 = 100.0;

/// A program under its watchdog. Dropped, it is killed.
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

    /// Asks it to end (SIGTERM), and kills it if it does not within half a minute.
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

    /// How it ended and its last words, if it did.
    pub(crate) fn ended(&mut self) -> Option<(ExitStatus, String)> {
        let status = self.watchdog.try_wait().ok().flatten()?;
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let from = text.len().saturating_sub(2_000);
        Some((status, text.get(from..).unwrap_or_default().to_owned()))
    }
}

/// A process at one moment.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Usage {
    /// Resident memory, its part that is no file, and its peak, in MiB.
    pub(crate) rss: f64,
    pub(crate) anon: f64,
    pub(crate) peak: f64,
    /// CPU seconds so far, and the kernel's part of them.
    pub(crate) cpu: f64,
    pub(crate) system: f64,
    /// Open descriptors.
    pub(crate) descriptors: u32,
    /// Threads.
    pub(crate) threads: u32,
}

impl Usage {
    /// Of a process that runs.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| -> u32 {
            let line = status.lines().find_map(|l| l.strip_prefix(name));
            let word = line.and_then(|l| l.trim_start_matches(':').split_whitespace().next());
            word.and_then(|w| w.parse().ok()).unwrap_or(0)
        };
        let mib = |name| f64::from(field(name)) / 1024.0;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name of the program stands in parentheses and may hold blanks.
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

/// The peak counts from now on.
pub(crate) fn forget_peak(pid: u32) -> Result<()> {
    Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

/// The token server as its owner sees it.
pub(crate) struct TokenServer {
    /// It ends when its standard input does.
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
    pub(crate) async fn set(&self, manner: Manner) -> Result<()> {
        let request = self.http.post(&self.addresses.control).json(&manner);
        request.send().await?.error_for_status()?;
        Ok(())
    }

    /// What it was asked so far.
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

/// Is there such a file? Folders of rivals leave parts out.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(format!("{}: {e}", path.display()).into()),
    }
}
