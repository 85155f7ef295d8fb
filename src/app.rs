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
    leader::{Lease, Lost},
    oauth,
    telemetry::{
        admin::{self, Admin},
        health::Health,
        metrics::Metrics,
        traces,
    },
};

/// Calls of the API server at once, for as long as they take to answer; a watch counts until it has begun. More would
/// queue there, in one line with everybody's (reliability research, section 2.3).
const CALLS: usize = 64;
/// Connecting to the API server; calls have deadlines of their own.
const CONNECT: Duration = Duration::from_secs(5);
/// A connection that says nothing for this long is dead: longer than a watch without news (200 s).
const SILENCE: Duration = Duration::from_secs(230);
/// After a stop signal, reconciles in progress may finish for this long; below the pod's grace period of 30 s.
const DRAIN: Duration = Duration::from_secs(25);

/// A process that has lost its Lease runs for this long at most, to store the refresh tokens that it received.
const STORE: Duration = Duration::from_secs(30);
/// The same at the end of a drain; still below the pod's grace period.
const STORE_AFTER_DRAIN: Duration = Duration::from_secs(3);
/// A process that has not ended by itself by then is ended, whatever it is busy with.
const ENFORCE: Duration = Duration::from_secs(35);
/// Exit code of such a process. There is no log line: what blocks the process may be the log.
pub const ENDED_BY_FORCE: i32 = 3;
/// How long a shutdown waits for threads that sign, resolve a name or read a file.
const THREADS: Duration = Duration::from_secs(1);
/// A leader that has not completed its first lists by then gives the lease to another one, which may be able to.
const SYNC: Duration = Duration::from_mins(2);

/// The settings of the process.
#[derive(Clone)]
pub struct Options {
    /// Settings of the controller.
    pub settings: Settings,
    /// Where `/livez`, `/readyz` and `/metrics` are served.
    pub admin_listen: SocketAddr,
    /// Expose the end of each token as a gauge with the credential's name.
    pub metrics_per_credential: bool,
    /// Stand by until no other operator leads, by this Lease and under this name; `None`: work at once.
    pub lease: Option<LeaseOptions>,
}

/// The Lease, and the identity of this candidate.
#[derive(Clone)]
pub struct LeaseOptions {
    /// Name of the Lease in the operator's namespace.
    pub name: String,
    /// Name of this process, another one for each.
    pub identity: String,
    /// Names of earlier processes that have ended, by [`crate::leader::predecessors`].
    pub ended: Vec<String>,
    /// A client of its own: renewals must not queue behind the operator's calls.
    pub client: Client,
    /// Ends the process. Called from a thread of its own if the process is still there long after the lease was lost.
    pub end_by_force: fn(),
}

/// A client of the cluster that the environment names: `KUBECONFIG`, else the pod's service account.
///
/// kube's own defaults are replaced: its retry layer tries 15 times inside one call and obeys any `Retry-After`,
/// while a worker waits. Here the plan decides when to try again.
///
/// # Errors
/// When no cluster is named or its credentials cannot be read.
pub async fn client() -> Result<Client, String> {
    let mut config = infer().await?;
    harden(&mut config);
    let sent = traces::sent_to(&config.cluster_url);
    let client = ClientBuilder::try_from(config)
        .map_err(|e| format!("the cluster's credentials cannot be used: {e}"))?;
    Ok(client
        .with_layer(&MapRequestLayer::new(sent))
        .with_layer(&MapResponseLayer::new(traces::answered))
        .with_layer(&ConcurrencyLimitLayer::new(CALLS))
        .build())
}

/// Audiences that the API server takes for its own. Nobody asked for an audience when the pod's token was made, so it names
/// them all; a client certificate shows nothing.
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
    Config::infer()
        .await
        .map_err(|e| format!("no cluster to work on ({e}); set KUBECONFIG or run in a pod"))
}

/// Replaces kube's defaults that do not fit (see [`client`]).
pub fn harden(config: &mut Config) {
    config.default_retry = false;
    // kube takes the environment's proxy for a kubeconfig's own, and then finds that it cannot speak to proxies.
    let ambient = |proxy: &mut http::Uri| {
        let is =
            |name| std::env::var(name).ok().and_then(|v| v.parse().ok()) == Some(proxy.clone());
        is("HTTPS_PROXY") || is("https_proxy")
    };
    let _ = config.proxy_url.take_if(ambient);
    // A kubeconfig without a CA trusts those of the system.
    if config.root_cert.is_none() {
        let cas = environment::cas_if_hidden();
        config.root_cert = cas.map(|cas| cas.iter().map(|der| der.to_vec()).collect());
    }
    config.connect_timeout = Some(CONNECT);
    config.write_timeout = Some(Duration::from_secs(15));
    // Calls have deadlines of their own and watches end by themselves before this; a list has neither.
    config.read_timeout = Some(SILENCE);
    // The API server's audit log and its metrics by client then name the operator.
    let agent = HeaderValue::from_static(concat!("apicred/", env!("CARGO_PKG_VERSION")));
    config.headers.push((USER_AGENT, agent));
}

/// Runs the whole process on one thread: the API server has ten times the work of each renewal, and tasks that wake each
/// other over threads cost a third more (docs/performance.md). Signatures, DNS and files go to threads of their own, and the
/// end does not wait for these: a look-up of a name may take 30 s or more, and a file of a dead mount for ever.
///
/// # Errors
/// When no thread can be had, and what the work says.
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

/// The same by another wall clock, for tests.
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
    // The admin server outlives the controller's drain: it ends with this function.
    tokio::select! {
        ended = work => ended,
        served = admin::serve(listener, Arc::clone(&admin), std::future::pending()) => Err(served.map_or_else(
            |e| format!("the admin server failed: {e}"),
            |()| "the admin server ended".to_owned(),
        )),
        () = drain => {
            // The work is cut short by now, but for what this waits for.
            tracing::warn!("work in progress did not end in time and is cancelled");
            let _ = tokio::time::timeout(STORE_AFTER_DRAIN, answers.stored()).await;
            Ok(())
        }
    }
}

/// The Lease that this process stands for, and what ends the process by force if it loses it.
fn candidate(options: LeaseOptions, namespace: &str, clock: &Arc<dyn Clock>) -> (Lease, fn()) {
    let (name, identity) = (&options.name, &options.identity);
    let lease = Lease::new(options.client, namespace, name, identity, Arc::clone(clock));
    (lease.after(options.ended), options.end_by_force)
}

/// Ends at the end of a stop that other tasks wait for as well.
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

/// Stands by until no other operator leads, and then works for as long as the lease holds.
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
        standing = lease.acquire() => standing,
        () = stops() => return Ok(()),
        never = operator.stand_by(&name) => match never {},
    };
    authority
        .enforce(ENFORCE, end_by_force)
        .map_err(|e| format!("no thread to watch the lease: {e}"))?;
    health.leads();
    let ended = tokio::select! {
        biased;
        // Ends all work under way but refreshes that were sent.
        Lost = standing.keep() => return lost(health, &answers).await,
        ended = operator.run(stops()) => ended,
        missing = not_synced(health) => Err(format!(
            "the first list of {missing} did not complete in {} s; the lease is given back",
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

/// The lease is lost: another operator may be at work. A refresh that was sent has used up its refresh token, and the answer
/// exists nowhere but here. The write of it demands the version and the mark that it was sent with, so it harms nobody.
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

/// Ends if the first lists take too long. Gives the names of those that are missing.
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
