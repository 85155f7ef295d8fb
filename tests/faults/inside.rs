//! The operator inside the test: on its own thread and runtime, so that dropping the runtime ends all
//! its work, as SIGKILL does.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use apicred::{
    app::{self, LeaseOptions, Options},
    clock::Clock,
    controller::{IdentityEnvironment, Operator, RotationPace, Scope, Settings, Sizes},
    telemetry::{health::Health, metrics::Metrics},
};
use jiff::{SignedDuration, Timestamp};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;

use crate::wire::Wire;

/// The machine's clock, so many seconds ahead of it or behind.
#[derive(Default)]
pub(crate) struct Steered(AtomicI64);

impl Steered {
    /// Changes it.
    pub(crate) fn step(&self, by: SignedDuration) {
        self.0.fetch_add(by.as_secs(), Ordering::SeqCst);
    }
}

impl Clock for Steered {
    fn now(&self) -> Timestamp {
        let ahead = SignedDuration::from_secs(self.0.load(Ordering::SeqCst));
        Timestamp::now().saturating_add(ahead).expect("a time")
    }
}

/// The log of an operator, line by line.
#[derive(Clone, Default)]
pub(crate) struct LogBuffer(Arc<Mutex<Vec<u8>>>);

impl LogBuffer {
    pub(crate) fn text(&self) -> String {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&log).into_owned()
    }
}

impl io::Write for LogBuffer {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The observable state of the operator that was started last.
#[derive(Clone, Default)]
pub(crate) struct Probe(Arc<Mutex<Option<ConnectRequest>>>);

struct ConnectRequest {
    health: Arc<Health>,
    sizes: Box<dyn Fn() -> Sizes + Send>,
}

impl Probe {
    fn probe<T>(&self, read: impl FnOnce(&ConnectRequest) -> T) -> T {
        let probe = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        read(probe.as_ref().expect("an operator has been started"))
    }

    /// Whether one was started. It is on its own thread.
    pub(crate) fn started(&self) -> bool {
        let probe = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        probe.is_some()
    }

    /// The result of `/livez` at this time.
    pub(crate) fn alive(&self, now: Timestamp) -> Result<(), String> {
        self.probe(|probe| probe.health.alive(now))
    }

    /// The sizes of its memory.
    pub(crate) fn sizes(&self) -> Sizes {
        self.probe(|probe| (probe.sizes)())
    }
}

/// The inputs of an operator.
#[derive(Clone)]
pub(crate) struct Given {
    pub(crate) wire: Wire,
    pub(crate) clock: Arc<Steered>,
    pub(crate) log: LogBuffer,
    pub(crate) scope: Scope,
    /// The namespace of its digest key.
    pub(crate) namespace: String,
    /// After how long a silent connection of the API server is closed, if not after the usual time.
    pub(crate) silence: Option<Duration>,
    pub(crate) probe: Probe,
    /// It competes for the Lease in its namespace, under this name and as the client of this kubeconfig.
    pub(crate) lease: Option<(String, PathBuf)>,
}

/// The Lease, with a client without faults.
async fn lease_of(identity: String, kubeconfig: &Path) -> LeaseOptions {
    let read = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
    LeaseOptions {
        name: "apicred".to_owned(),
        identity,
        client: Client::try_from(config.expect("a usable kubeconfig")).expect("a client"),
        ended: Vec::new(),
        // This process is the process of the tests.
        end_by_force: || (),
    }
}

/// A running operator. It is killed when this is dropped.
pub(crate) struct Inside {
    stop: Option<oneshot::Sender<()>>,
    kill: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Option<Result<(), String>>>>,
}

impl Inside {
    /// Starts it.
    pub(crate) fn start(kubeconfig: &Path, given: Given) -> Self {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
        let (stop, stopped) = oneshot::channel::<()>();
        let (kill, killed) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let lines = tracing_subscriber::fmt()
                .json()
                // As the program does it: kube's client prints bodies that it cannot parse.
                .with_env_filter(EnvFilter::new("info,apicred=trace,kube_client::client=off"))
                .with_writer({
                    let log = given.log.clone();
                    move || log.clone()
                })
                .finish();
            let _lines = tracing::subscriber::set_default(lines);
            // One thread: while it waits for the kill, no other work continues.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            let ended = runtime.block_on(async move {
                let mut config =
                    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                        .await
                        .expect("a usable kubeconfig");
                app::harden(&mut config);
                config.read_timeout = given.silence.or(config.read_timeout);
                let settings = Settings {
                    scope: given.scope,
                    namespace: given.namespace,
                    concurrency: 4,
                    target_keys: Vec::new(),
                    entra_clouds: vec![apicred::api::Cloud::Public],
                    allowed_cidrs: vec!["127.0.0.0/8".parse().expect("a network")],
                    // Scripted issuers count connections.
                    issuer_checks: false,
                    issuer_proxy: None,
                    issuer_cas: Vec::new(),
                    instance: "inside".to_owned(),
                    rotation: RotationPace::default(),
                    identity: IdentityEnvironment::default(),
                    notify_rights: Arc::default(),
                };
                let probe = async {
                    // A dropped sender is not a request to stop.
                    if stopped.await.is_err() {
                        std::future::pending::<()>().await;
                    }
                };
                if let Some((identity, kubeconfig)) = given.lease {
                    let options = Options {
                        settings,
                        admin_listen: ([127, 0, 0, 1], 0).into(),
                        metrics_per_credential: false,
                        lease: Some(lease_of(identity, &kubeconfig).await),
                    };
                    let client = given.wire.client(config);
                    return tokio::select! {
                        biased;
                        _ = killed => None,
                        ended = app::run_by(given.clock, options, client, probe) => Some(ended),
                    };
                }
                let health = Arc::<Health>::default();
                let operator = Operator::new(
                    given.wire.client(config),
                    settings,
                    given.clock,
                    Arc::clone(&health),
                    Arc::<Metrics>::default(),
                );
                let sizes = Box::new(operator.sizes());
                *given.probe.0.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(ConnectRequest { health, sizes });
                tokio::select! {
                    biased;
                    _ = killed => None,
                    ended = operator.run(probe) => Some(ended),
                }
            });
            runtime.shutdown_background();
            ended
        });
        Self {
            stop: Some(stop),
            kill: Some(kill),
            thread: Some(thread),
        }
    }

    /// Whether it has ended.
    pub(crate) fn ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Kills it and waits until it has ended.
    pub(crate) async fn kill(mut self) {
        drop(self.kill.take());
        self.join().await;
    }

    /// Stops it; returns how it ended.
    pub(crate) async fn stop(mut self) -> Result<(), String> {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        self.join().await.expect("it was not killed")
    }

    async fn join(&mut self) -> Option<Result<(), String>> {
        let thread = self.thread.take().expect("joined once");
        let ended = tokio::task::spawn_blocking(move || thread.join()).await;
        ended
            .expect("a thread to wait on")
            .expect("the operator does not panic")
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        drop(self.kill.take());
    }
}
