//! The operator's replicas as processes. They are restarted as a kubelet would do it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::support::{Guarded, NAMESPACE};

/// After SIGTERM a kubelet waits for this long, then it kills (the default `terminationGracePeriodSeconds`).
const GRACE_PERIOD: Duration = Duration::from_secs(30);
/// A pod whose container ended is started again after about this long.
const RESTART: Duration = Duration::from_secs(1);

/// Memory and descriptors of a process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Resident memory in MiB.
    pub(crate) rss: u64,
    pub(crate) descriptors: u64,
}

impl Usage {
    fn of(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let rss = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
        let kib: u64 = rss.split_whitespace().next()?.parse().ok()?;
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
        Some(Self {
            rss: kib / 1024,
            descriptors: u64::try_from(descriptors).unwrap_or(u64::MAX),
        })
    }

    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            rss: self.rss.max(other.rss),
            descriptors: self.descriptors.max(other.descriptors),
        }
    }
}

/// A replica: one process after the other.
pub(crate) struct Replica {
    number: usize,
    admin: String,
    kubeconfig: PathBuf,
    logs: PathBuf,
    process: tokio::sync::Mutex<Option<Guarded>>,
    starts: AtomicUsize,
    /// Processes that ended, by the way in which they ended.
    ends: Mutex<BTreeMap<String, usize>>,
    terminated: Mutex<Option<Instant>>,
    most: Mutex<Usage>,
    pub(crate) frozen: AtomicBool,
}

impl Replica {
    /// A replica whose first process is started by the first [`Replica::supervise`].
    pub(crate) fn new(number: usize, kubeconfig: &Path, logs: &Path) -> Self {
        let port = testenv::free_port().expect("a port");
        Self {
            number,
            admin: format!("127.0.0.1:{port}"),
            kubeconfig: kubeconfig.to_owned(),
            logs: logs.to_owned(),
            process: tokio::sync::Mutex::default(),
            starts: AtomicUsize::default(),
            ends: Mutex::default(),
            terminated: Mutex::default(),
            most: Mutex::default(),
            frozen: AtomicBool::default(),
        }
    }

    async fn start(&self) -> Guarded {
        let start = self.starts.fetch_add(1, Ordering::SeqCst);
        let log = self
            .logs
            .join(format!("replica-{}-{start}.out", self.number));
        let args = [
            "run",
            "--namespace",
            NAMESPACE,
            "--admin-listen",
            &self.admin,
            "--log-format",
            "json",
            "--allow-cidr",
            "127.0.0.0/8",
            "--leader-elect",
        ];
        let args = args.map(str::to_owned);
        let env = [
            ("KUBECONFIG", self.kubeconfig.display().to_string()),
            ("POD_NAME", format!("replica-{}", self.number)),
        ];
        let program = Path::new(env!("CARGO_BIN_EXE_apicred"));
        Guarded::spawn(program, &args, &env, log).await
    }

    /// Starts it again if it ended, kills it if it does not end in time after SIGTERM, and measures it.
    pub(crate) async fn supervise(&self) {
        let mut process = self.process.lock().await;
        let Some(running) = process.as_mut() else {
            *process = Some(self.start().await);
            return;
        };
        let Some(ended) = running.ended() else {
            if let Some(usage) = Usage::of(running.pid) {
                let mut most = self.most.lock().unwrap_or_else(PoisonError::into_inner);
                *most = most.max(usage);
            }
            let overdue = {
                let terminated = self
                    .terminated
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                terminated.is_some_and(|at| at.elapsed() > GRACE_PERIOD)
            };
            if overdue && !self.frozen.load(Ordering::SeqCst) {
                self.count("did not end 30 s after SIGTERM");
                running.kill().await;
            }
            return;
        };
        *self
            .terminated
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
        self.frozen.store(false, Ordering::SeqCst);
        let how = match ended.code() {
            Some(0) => "ended well".to_owned(),
            Some(137) => "killed".to_owned(),
            _ => last_error(&running.output()).unwrap_or_else(|| format!("ended: {ended}")),
        };
        self.count(&how);
        drop(process.take());
        tokio::time::sleep(RESTART).await;
        *process = Some(self.start().await);
    }

    fn count(&self, how: &str) {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        *ends.entry(how.to_owned()).or_default() += 1;
    }

    pub(crate) fn ends(&self) -> BTreeMap<String, usize> {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.clone()
    }

    pub(crate) fn starts(&self) -> usize {
        self.starts.load(Ordering::SeqCst)
    }

    /// The highest usage of any of its processes.
    pub(crate) fn most(&self) -> Usage {
        *self.most.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its usage now.
    pub(crate) async fn usage(&self) -> Option<Usage> {
        let process = self.process.lock().await;
        Usage::of(process.as_ref()?.pid)
    }

    /// Sends a signal; returns true if the process has led before, so that it may have had work in progress.
    pub(crate) async fn signal(&self, name: &str) -> bool {
        let process = self.process.lock().await;
        let Some(running) = process.as_ref() else {
            return false;
        };
        let led = running.output().contains("\"message\":\"leading\"");
        if name == "TERM" {
            *self
                .terminated
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        running.signal(name).await;
        led
    }

    /// The status of a path of its admin server.
    pub(crate) async fn probe(&self, path: &str) -> Option<u16> {
        Some(self.get(path).await?.0)
    }

    /// Status and body of a path of its admin server.
    pub(crate) async fn get(&self, path: &str) -> Option<(u16, String)> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(5))
            .build()
            .expect("a client");
        let answer = client.get(format!("http://{}{path}", self.admin));
        let answer = answer.send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    /// The logs of all its processes.
    pub(crate) fn logs(&self) -> Vec<String> {
        let files = (0..self.starts()).map(|start| {
            let name = format!("replica-{}-{start}.out", self.number);
            String::from_utf8_lossy(&fs::read(self.logs.join(name)).unwrap_or_default())
                .into_owned()
        });
        files.collect()
    }
}

/// The message of the last line of level ERROR.
fn last_error(log: &str) -> Option<String> {
    errors(log).last().cloned()
}

/// The messages of the lines of level ERROR.
pub(crate) fn errors(log: &str) -> Vec<String> {
    log.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|line| line["level"] == "ERROR")
        .map(|line| {
            let message = line["fields"]["message"]
                .as_str()
                .or(line["message"].as_str());
            message.unwrap_or_default().to_owned()
        })
        .collect()
}
