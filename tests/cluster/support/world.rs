//! A cluster with apicred in it as an administrator installs it.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use dev_issuer::DevIssuer;
use kube::{
    Api, Client, Config, Resource,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use testenv::ControlPlane;
use tokio::sync::OnceCell;

use super::{canaries::Canaries, operator::Operator, place::Place};

/// Where the chart is installed.
pub(crate) const NAMESPACE: &str = "apicred-system";
/// The name of the chart's ServiceAccount in the audit log.
pub(super) const USER: &str = "system:serviceaccount:apicred-system:apicred";

static SHARED: OnceCell<World> = OnceCell::const_new();

/// A control plane, the chart, an issuer, and perhaps a running operator.
pub(crate) struct World {
    // Dropped first: otherwise the operator would report a server that has stopped.
    operator: Option<Operator>,
    pub(crate) cluster: ControlPlane,
    /// A client that RBAC does not limit.
    pub(crate) admin: Client,
    pub(crate) issuer: Arc<DevIssuer>,
    pub(crate) canaries: Arc<Canaries>,
    /// Tests that are using this world.
    pub(crate) visitors: Arc<AtomicUsize>,
    kubeconfig: PathBuf,
    starts: AtomicU32,
    /// Additional environment of operators that are started from now on.
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl World {
    /// The world of all tests that do not disturb the operator and the API server. It is never dropped: its
    /// processes end with this one.
    pub(crate) async fn shared() -> &'static Self {
        SHARED
            .get_or_init(|| async {
                let mut world = Self::own().await;
                world.start_operator().await;
                world
            })
            .await
    }

    /// A separate world, for a test that stops things. No operator runs in it yet.
    pub(crate) async fn own() -> Self {
        Self::own_with(&[]).await
    }

    /// The same, with flags of the API server.
    pub(crate) async fn own_with(apiserver_flags: &[&str]) -> Self {
        let options = testenv::Options {
            apiserver_flags: apiserver_flags.iter().map(|f| (*f).to_owned()).collect(),
            ..testenv::Options::default()
        };
        let cluster = ControlPlane::start(options).await.expect("a control plane");
        install(&cluster).await;
        let kubeconfig = cluster
            .service_account_kubeconfig(NAMESPACE, "apicred", Duration::from_hours(2))
            .await
            .expect("a token of the operator's ServiceAccount");
        let admin = client(cluster.admin_kubeconfig().into()).await;
        let canaries = Arc::new(Canaries::default());
        canaries.follow(admin.clone());
        Self {
            operator: None,
            issuer: Arc::new(issuer().await),
            canaries,
            visitors: Arc::default(),
            kubeconfig,
            starts: AtomicU32::new(0),
            environment: Vec::new(),
            admin,
            cluster,
        }
    }

    /// A place for one test, with the issuer of this world.
    pub(crate) async fn place(&self, label: &str) -> Place {
        Place::new(self, label, Arc::clone(&self.issuer)).await
    }

    /// A place with its own issuer, which may be stopped or damaged without an effect on other tests.
    pub(crate) async fn place_with_own_issuer(&self, label: &str) -> Place {
        Place::new(self, label, Arc::new(issuer().await)).await
    }

    /// A place with this issuer.
    pub(crate) async fn place_at(&self, label: &str, issuer: DevIssuer) -> Place {
        Place::new(self, label, Arc::new(issuer)).await
    }

    /// Starts the operator and waits until it is ready.
    pub(crate) async fn start_operator(&mut self) {
        assert!(
            self.operator.is_none(),
            "two operators would both request tokens"
        );
        let log = self.next_log("operator");
        self.operator = Some(Operator::start(&self.kubeconfig, &self.environment, log).await);
    }

    /// Starts the operator with its log at this path, which need not be a file.
    pub(crate) async fn start_operator_logging_to(&mut self, log: PathBuf) {
        self.operator = Some(Operator::start(&self.kubeconfig, &self.environment, log).await);
    }

    /// The running operator.
    pub(crate) fn operator(&self) -> &Operator {
        self.operator.as_ref().expect("the operator runs")
    }

    /// The running operator, which the caller stops.
    pub(crate) fn take_operator(&mut self) -> Operator {
        self.operator.take().expect("the operator runs")
    }

    /// Whether an operator runs.
    pub(crate) fn has_operator(&self) -> bool {
        self.operator.is_some()
    }

    /// Kills the operator without a warning.
    pub(crate) async fn kill_operator(&mut self) {
        self.take_operator().kill().await;
    }

    /// Panics if the operator ended without a request.
    pub(crate) fn operator_runs(&mut self) {
        if let Some(operator) = &mut self.operator {
            let ended = operator.ended();
            assert!(ended.is_none(), "the operator ended: {ended:?}");
        }
    }

    /// The credentials of the operator's ServiceAccount.
    pub(crate) fn operator_kubeconfig(&self) -> &PathBuf {
        &self.kubeconfig
    }

    /// A file for the output of a process.
    pub(crate) fn next_log(&self, name: &str) -> PathBuf {
        let number = self.starts.fetch_add(1, Ordering::Relaxed);
        self.cluster.dir().join(format!("{name}-{number}.out"))
    }

    /// All that operators have written so far.
    pub(crate) fn operator_logs(&self) -> String {
        let files = std::fs::read_dir(self.cluster.dir()).expect("the world's folder");
        files
            .filter_map(Result::ok)
            .filter(|f| f.path().extension().is_some_and(|e| e == "out"))
            .map(|f| {
                String::from_utf8_lossy(&std::fs::read(f.path()).unwrap_or_default()).into_owned()
            })
            .collect()
    }

    /// Lines of the log at `info` and above that are about an object or the work on it, in their order.
    pub(crate) fn lines_about(&self, namespace: Option<&str>, name: &str) -> Vec<Value> {
        let namespace = namespace.map_or(Value::Null, Value::from);
        let about = |line: &Value| {
            let own = line["name"] == name && line["namespace"] == namespace;
            let span = &line["span"];
            own || (span["credential"] == name && span["namespace"] == namespace)
        };
        let levels = ["INFO", "WARN", "ERROR"];
        let logs = self.operator_logs();
        let lines = logs.lines().filter_map(|l| serde_json::from_str(l).ok());
        let reported = |line: &Value| levels.iter().any(|level| line["level"] == *level);
        let mut lines: Vec<Value> = lines.filter(reported).filter(about).collect();
        // The files of several processes are not ordered.
        lines.sort_by_key(|line| line["timestamp"].as_str().map(str::to_owned));
        lines
    }

    /// All objects of a kind, as JSON.
    pub(crate) async fn all<K>(&self) -> String
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Serialize + std::fmt::Debug,
    {
        let list = Api::<K>::all(self.admin.clone())
            .list(&ListParams::default())
            .await
            .expect("a list");
        serde_json::to_string(&list.items).expect("JSON")
    }
}

/// An issuer on loopback with its own TLS authority.
async fn issuer() -> DevIssuer {
    DevIssuer::start(dev_issuer::Config::default())
        .await
        .expect("an issuer")
}

/// Installs the chart with the real helm. No Pod can run here, so the release has none.
pub(crate) async fn install(cluster: &ControlPlane) {
    let installed = cluster.install_apicred(NAMESPACE).await;
    installed.expect("the chart installs and its kinds are served");
}

/// A kube client of a kubeconfig.
pub(crate) async fn client(kubeconfig: PathBuf) -> Client {
    let read = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
        .await
        .expect("a usable kubeconfig");
    Client::try_from(config).expect("a client")
}
