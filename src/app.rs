//! Wires the process: a Kubernetes client, the controller, the admin server. One `select!` ends the process when any of them ends.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderValue, header::USER_AGENT};
use kube::{Client, Config, client::ClientBuilder};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;
use tower::{
    limit::ConcurrencyLimitLayer,
    util::{MapRequestLayer, MapResponseLayer},
};

use crate::{
    clock::{Clock, SystemClock},
    controller::{Answers, Operator, Settings},
    environment,
    kubeconfig::{self, fault},
    leader::{Lease, Lost},
    oauth,
    telemetry::{
        admin::{self, Admin},
        health::Health,
        metrics::Metrics,
        traces,
    },
};

/// Maximum number of concurrent calls to the API server. A call counts until it is answered; a watch counts until it has begun. More calls would
/// only wait at the API server, in the same queue as the calls of other clients (reliability research, section 2.3).
const CALLS: usize = 64;
/// Time limit for connecting to the API server. Calls have separate deadlines.
const CONNECT: Duration = Duration::from_secs(5);
/// A connection without data for this long is dead. It is longer than a watch without events (200 s).
const SILENCE: Duration = Duration::from_secs(230);
/// After a stop signal, reconciles in progress may finish for this long; below the pod's grace period of 30 s.
const DRAIN: Duration = Duration::from_secs(25);

/// A process that has lost its Lease runs for this long at most, to store the refresh tokens that it received.
const STORE: Duration = Duration::from_secs(30);
/// The same at the end of a drain; still below the pod's grace period.
const STORE_AFTER_DRAIN: Duration = Duration::from_secs(3);
/// A process that still runs after this time is ended by force, whatever blocks it.
const ENFORCE: Duration = Duration::from_secs(35);
/// Exit code of such a process. It writes no log line, because the log may be what blocks it.
pub const ENDED_BY_FORCE: i32 = 3;
/// How long a shutdown waits for threads that sign, resolve a name or read a file.
const THREADS: Duration = Duration::from_secs(1);
/// A leader whose first lists are not complete after this time releases the Lease, because another replica may be able to complete them.
const SYNC: Duration = Duration::from_mins(2);

/// The settings of the process.
#[derive(Clone)]
pub struct Options {
    /// Settings of the controller.
    pub settings: Settings,
    /// Where `/livez`, `/readyz` and `/metrics` are served.
    pub admin_listen: SocketAddr,
    /// Expose a gauge for each credential with the time at which its token expires.
    pub metrics_per_credential: bool,
    /// The Lease and identity for leader election: the process waits until no other operator leads. `None`: it works at once.
    pub lease: Option<LeaseOptions>,
}

/// The Lease, and the identity of this candidate.
#[derive(Clone)]
pub struct LeaseOptions {
    /// Name of the Lease in the operator's namespace.
    pub name: String,
    /// Name of this process. Each process has a different one.
    pub identity: String,
    /// Names of earlier processes that have ended, by [`crate::leader::predecessors`].
    pub ended: Vec<String>,
    /// A separate client: renewals of the Lease must not queue behind the operator's calls.
    pub client: Client,
    /// Ends the process. A separate thread calls it if the process still runs long after the lease was lost.
    pub end_by_force: fn(),
}

/// A client of the cluster that `KUBECONFIG` names; if not set, of the pod's cluster with the pod's service account.
///
/// kube's defaults are replaced: its retry layer tries 15 times inside one call and obeys any `Retry-After`, while a worker
/// waits. Here the plan decides when to retry.
///
/// # Errors
/// When no cluster is named or its credentials cannot be read.
pub async fn client() -> Result<Client, String> {
    let mut config = infer().await?;
    harden(&mut config);
    let sent = traces::sent_to(&config.cluster_url);
    let program = fault::program(&config.auth_info);
    let client = ClientBuilder::try_from(config).map_err(|e| {
        let why = fault::sentence(&e, program.as_deref());
        format!("the cluster's credentials cannot be used: {why}")
    })?;
    Ok(client
        .with_layer(&MapRequestLayer::new(sent))
        .with_layer(&MapResponseLayer::new(traces::answered))
        .with_layer(&ConcurrencyLimitLayer::new(CALLS))
        .build())
}

/// Audiences that the API server accepts as its own. The pod's token was created without a requested audience, so it contains all of them.
/// A client certificate contains none.
///
/// # Errors
/// When no cluster is named or the token cannot be read.
pub async fn api_audiences() -> Result<Vec<String>, String> {
    let auth = infer().await?.auth_info;
    let token = match (auth.token, auth.token_file) {
        (Some(token), _) => token,
        (None, Some(file)) => tokio::fs::read_to_string(file)
            .await
            .map(SecretString::from)
            .map_err(|e| format!("the token for the Kubernetes API cannot be read: {e}"))?,
        (None, None) => return Ok(Vec::new()),
    };
    Ok(oauth::audiences(token.expose_secret().trim()))
}

async fn infer() -> Result<Config, String> {
    let mut config = match kubeconfig::config(None, None).await {
        Ok(Some(config)) => config,
        Ok(None) => Config::incluster()
            .map_err(|e| format!("no cluster to work on ({e}); set KUBECONFIG or run in a pod"))?,
        // A pod needs no kubeconfig.
        Err(why) => Config::incluster().map_err(|_| {
            format!("no cluster to work on: {why}; correct the kubeconfig, or run in a pod")
        })?,
    };
    config.apply_debug_overrides();
    Ok(config)
}

/// Replaces kube's defaults that do not fit (see [`client`]).
pub fn harden(config: &mut Config) {
    config.default_retry = false;
    // kube treats the environment's proxy like the proxy of a kubeconfig, and then fails because it is built without support for proxies.
    let ambient = |proxy: &mut http::Uri| {
        let is =
            |name| std::env::var(name).ok().and_then(|v| v.parse().ok()) == Some(proxy.clone());
        is("HTTPS_PROXY") || is("https_proxy")
    };
    let _ = config.proxy_url.take_if(ambient);
    // With a kubeconfig without a CA, the CAs of the system are trusted.
    if config.root_cert.is_none() {
        let cas = environment::cas_if_hidden();
        config.root_cert = cas.map(|cas| cas.iter().map(|der| der.to_vec()).collect());
    }
    config.connect_timeout = Some(CONNECT);
    config.write_timeout = Some(Duration::from_secs(15));
    // Calls have separate deadlines, and watches end before this timeout. A list has neither.
    config.read_timeout = Some(SILENCE);
    // The API server's audit log and its metrics by client then show the operator's name.
    let agent = HeaderValue::from_static(concat!("apicred/", env!("CARGO_PKG_VERSION")));
    config.headers.push((USER_AGENT, agent));
}

/// Runs the whole process on one thread: the API server has ten times the work of each renewal, and tasks that wake each
/// other across threads cost a third more (docs/performance.md). Signatures, DNS and files use other threads. The shutdown does not
/// wait for these: resolving a name may take 30 s or more, and reading a file of a dead mount may never end.
///
/// # Errors
/// When no thread can be started, and the errors of `work`.
pub fn on_one_thread(work: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("no thread to run on: {e}"))?;
    let ended = runtime.block_on(work);
    runtime.shutdown_timeout(THREADS);
    ended
}

/// Runs the operator until `stop` ends.
///
/// # Errors
/// Why it ended without a stop signal.
pub async fn run(
    options: Options,
    client: Client,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), String> {
    Box::pin(run_by(Arc::new(SystemClock), options, client, stop)).await
}

/// The same with another wall clock, for tests.
///
/// # Errors
/// Why it ended without a stop signal.
pub async fn run_by(
    clock: Arc<dyn Clock>,
    options: Options,
    client: Client,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), String> {
    let Options {
        settings,
        admin_listen,
        metrics_per_credential,
        lease,
    } = options;
    let (health, metrics) = (Arc::<Health>::default(), Arc::<Metrics>::default());
    if lease.is_some() {
        health.set_standby(Err("not checked yet".to_owned()));
    }
    let listener = admin::bind(admin_listen).await?;
    let namespace = settings.namespace.clone();
    let proxy = settings.issuer_proxy.as_ref().map(|p| p.url().to_string());
    let lease = lease.map(|options| candidate(options, &namespace, &clock));
    let operator = Operator::new(
        client,
        settings,
        Arc::clone(&clock),
        Arc::clone(&health),
        Arc::clone(&metrics),
    );
    let operator = match &lease {
        Some((lease, _)) => operator.with_authority(lease.authority()),
        None => operator,
    };
    let answers = operator.answers();
    let admin = Arc::new(Admin {
        health,
        metrics,
        snapshot: Box::new(operator.snapshot(metrics_per_credential)),
    });
    tracing::info!(version = env!("CARGO_PKG_VERSION"), namespace, admin = %admin_listen, issuer_proxy = proxy, "apicred starts");

    let (stopping, stopped) = watch::channel(false);
    let stops = || stop_of(stopped.clone());
    let drain = async {
        stop.await;
        tracing::info!("stopping");
        stopping.send_replace(true);
        tokio::time::sleep(DRAIN).await;
    };
    let work = async {
        match lease {
            None => alone(operator, stops()).await,
            Some((lease, end)) => lead(lease, operator, &admin.health, stops, end).await,
        }
    };
    // The admin server runs until this function returns, so also during the controller's drain.
    tokio::select! {
        ended = work => ended,
        served = admin::serve(listener, Arc::clone(&admin), std::future::pending()) => Err(served.map_or_else(
            |e| format!("the admin server failed: {e}"),
            |()| "the admin server ended".to_owned(),
        )),
        () = drain => {
            // By now all work is cancelled except storing the answers below.
            tracing::warn!("work in progress did not end in time and is cancelled");
            let _ = tokio::time::timeout(STORE_AFTER_DRAIN, answers.stored()).await;
            Ok(())
        }
    }
}

/// The Lease of this process, and the function that ends the process by force if it loses the Lease.
fn candidate(options: LeaseOptions, namespace: &str, clock: &Arc<dyn Clock>) -> (Lease, fn()) {
    let (name, identity) = (&options.name, &options.identity);
    let lease = Lease::new(options.client, namespace, name, identity, Arc::clone(clock));
    (lease.after(options.ended), options.end_by_force)
}

/// Ends when the stop signal arrives. Other tasks wait for the same signal.
async fn stop_of(mut stopped: watch::Receiver<bool>) {
    // A dropped sender is a stop as well.
    let _ = stopped.wait_for(|s| *s).await;
}

/// Works without a lease.
async fn alone(
    operator: Operator,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) -> Result<(), String> {
    let answers = operator.answers();
    let ended = operator.run(stop).await;
    let _ = tokio::time::timeout(STORE, answers.stored()).await;
    ended
}

/// Waits on standby until no other operator leads, and then works as long as it holds the lease.
async fn lead<S: Future<Output = ()> + Send + Sync + 'static>(
    lease: Lease,
    operator: Operator,
    health: &Health,
    stops: impl Fn() -> S,
    end_by_force: fn(),
) -> Result<(), String> {
    let authority = lease.authority();
    let answers = operator.answers();
    let name = lease.name().to_owned();
    let mut standing = tokio::select! {
        standing = lease.acquire(health) => standing,
        () = stops() => return Ok(()),
        never = operator.stand_by(&name) => match never {},
    };
    authority
        .enforce(ENFORCE, end_by_force)
        .map_err(|e| format!("no thread to watch the lease: {e}"))?;
    health.leads();
    let ended = tokio::select! {
        biased;
        // Cancels all work in progress except refreshes that were sent.
        Lost = standing.keep() => return lost(health, &answers).await,
        ended = operator.run(stops()) => ended,
        missing = not_synced(health) => Err(format!(
            "the first list of {missing} did not complete in {} s; the lease is released",
            SYNC.as_secs(),
        )),
    };
    tokio::select! {
        biased;
        Lost = standing.keep() => return lost(health, &answers).await,
        _ = tokio::time::timeout(STORE, answers.stored()) => {}
    }
    standing.release().await;
    ended
}

/// The lease is lost: another operator may be active. A refresh that was sent has used up its refresh token, and its answer
/// exists only in this process. The write of the answer requires the version and the mark with which the refresh was sent, so it does no harm.
async fn lost(health: &Health, answers: &Answers) -> Result<(), String> {
    health.set_standby(Err("the lease was lost".to_owned()));
    let in_flight = answers.count();
    if in_flight > 0 {
        tracing::warn!(
            in_flight,
            "the lease was lost; refreshes that were sent are stored first"
        );
    }
    if tokio::time::timeout(STORE, answers.stored()).await.is_err() {
        tracing::error!(in_flight = answers.count(), "refreshes could not be stored");
    }
    Err("the lease was lost".to_owned())
}

/// Ends if the first lists take too long. Returns the names of the missing ones.
async fn not_synced(health: &Health) -> String {
    tokio::time::sleep(SYNC).await;
    let missing = health.unlisted();
    if missing.is_empty() {
        std::future::pending::<()>().await;
    }
    missing.join(", ")
}

#[cfg(test)]
mod tests;
