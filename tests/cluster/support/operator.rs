//! The operator as its users run it: the real program, under its own ServiceAccount.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::{Duration, Instant},
};

use super::{Guarded, NAMESPACE, SOON};

/// Networks that are open to namespaced issuers.
pub(crate) const ALLOW_CIDR: &str = "APICRED_ALLOW_CIDR";
/// Another program to run instead of the operator, or one that starts it.
pub(crate) const PROGRAM: &str = "APICRED_TEST_PROGRAM";

/// A running operator.
pub(crate) struct Operator {
    process: Guarded,
    admin: String,
}

impl Operator {
    /// Starts it and waits until it is ready.
    pub(crate) async fn start(
        kubeconfig: &Path,
        environment: &[(&'static str, String)],
        log: PathBuf,
    ) -> Self {
        loop {
            let mut operator = Self::launch(kubeconfig, environment, log.clone()).await;
            match operator.wait_ready().await {
                Ok(()) => return operator,
                // Another process took the port between our check and the operator's.
                Err(output) if output.contains("cannot be bound") => {}
                Err(output) => unreachable!("the operator ended: {output}"),
            }
        }
    }

    /// Starts it without waiting.
    pub(crate) async fn launch(
        kubeconfig: &Path,
        environment: &[(&'static str, String)],
        log: PathBuf,
    ) -> Self {
        let admin = format!("127.0.0.1:{}", free_port());
        let elsewhere = environment
            .iter()
            .find(|(name, _)| *name == "POD_NAMESPACE");
        let mut args = vec![
            "run",
            "--namespace",
            elsewhere.map_or(NAMESPACE, |(_, namespace)| namespace),
            "--admin-listen",
            &admin,
            "--log-format",
            "json",
            // A detailed log, so that the search for leaks has much to read.
            "--log-filter",
            "info,apicred=trace,kube=debug",
        ];
        // Namespaced issuers of the tests are on loopback, unless a test sets another network.
        if !environment.iter().any(|(name, _)| *name == ALLOW_CIDR) {
            args.extend(["--allow-cidr", "127.0.0.0/8"]);
        }
        let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
        let mut env = vec![
            ("KUBECONFIG", kubeconfig.display().to_string()),
            ("POD_NAME", "under-test".to_owned()),
            ("APICRED_NOTIFY_PODS_ROLE", "apicred-notify-pods".to_owned()),
        ];
        env.extend(environment.iter().cloned());
        let other = environment.iter().find(|(name, _)| *name == PROGRAM);
        let program = other.map_or(env!("CARGO_BIN_EXE_apicred"), |(_, program)| program);
        let process = Guarded::spawn(Path::new(program), &args, &env, log).await;
        Self { process, admin }
    }

    /// Waits until it is ready, or gives its output if it ends.
    async fn wait_ready(&mut self) -> Result<(), String> {
        let began = Instant::now();
        loop {
            if self
                .get("/readyz")
                .await
                .is_some_and(|(status, _)| status == 200)
            {
                return Ok(());
            }
            if self.process.ended().is_some() {
                return Err(self.process.output());
            }
            assert!(
                began.elapsed() < SOON,
                "the operator is not ready: {:?}",
                self.get("/readyz").await
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Address of its admin server.
    pub(crate) fn admin(&self) -> &str {
        &self.admin
    }

    /// Requests a page of its admin server; none if it does not answer.
    pub(crate) async fn get(&self, path: &str) -> Option<(u16, String)> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(5))
            .build()
            .expect("a client");
        let answer = client
            .get(format!("http://{}{path}", self.admin))
            .send()
            .await
            .ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.text().await.ok()?))
    }

    /// Sends a request with another method to its admin server; returns the status.
    pub(crate) async fn request(&self, method: &str, path: &str) -> Option<u16> {
        let method = reqwest::Method::from_bytes(method.as_bytes()).ok()?;
        let client = reqwest::Client::builder().no_proxy().build().ok()?;
        let url = format!("http://{}{path}", self.admin);
        let answer = client.request(method, url).send().await.ok()?;
        Some(answer.status().as_u16())
    }

    /// The value of a counter or gauge, by name and labels; none if it does not exist.
    pub(crate) async fn metric(&self, series: &str) -> Option<u64> {
        let (_, metrics) = self.get("/metrics").await?;
        let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
        metrics.lines().find_map(value)
    }

    /// The sum of all series of this name.
    pub(crate) async fn sum(&self, name: &str) -> u64 {
        let metrics = self.get("/metrics").await.unwrap_or_default().1;
        let value = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            let named = series.split('{').next() == Some(name);
            named.then(|| value.parse::<u64>().ok())?
        };
        metrics.lines().filter_map(value).sum()
    }

    /// How often it has reconciled credentials since its start.
    pub(crate) async fn reconciles(&self) -> u64 {
        self.sum("apicred_reconciles_total").await
    }

    /// Stops it with SIGTERM; returns its exit status and how long it took.
    pub(crate) async fn terminate(mut self) -> (ExitStatus, Duration) {
        let began = Instant::now();
        self.process.signal("TERM").await;
        let status = self.process.wait(Duration::from_secs(40)).await;
        (status, began.elapsed())
    }

    /// Ends it without a warning (SIGKILL).
    pub(crate) async fn kill(mut self) {
        self.process.kill().await;
    }

    /// Sends it a signal, by name without `SIG`.
    pub(crate) async fn signal(&self, name: &str) {
        self.process.signal(name).await;
    }

    /// The highest memory usage so far, in KiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.process.peak_memory()
    }

    /// Its exit status, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.ended()
    }
}

/// A port that was free a moment ago, below the range from which the kernel takes ports for connections.
fn free_port() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let seed = std::process::id() % 1000;
        let offset = NEXT.fetch_add(1, Ordering::Relaxed) + u16::try_from(seed).unwrap_or(0);
        let port = 30_000 + offset % 2_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
