//! Wiring: a client, the controller, the admin server, and one top `select!` that ends the process when any of
//! them ends.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderValue, header::USER_AGENT};
use kube::{Client, Config, client::ClientBuilder};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;
use tower::limit::ConcurrencyLimitLayer;

use crate::{
    clock::{Clock, SystemClock},
    controller::{Operator, Settings},
    leader::{Lease, Lost},
    oauth,
    telemetry::{
        admin::{self, Admin},
        health::Health,
        metrics::Metrics,
    },
};

/// Calls of the API server at once, for as long as they take to answer; a watch counts until it has begun. More would
/// queue there, in one line with everybody's (reliability research, section 2.3).
const CALLS: usize = 64;
/// Connecting to the API server; calls have deadlines of their own.
const CONNECT: Duration = Duration::from_secs(5);
/// A connection that says nothing for this long is dead: longer than a watch without news (200 s).
const SILENCE: Duration = Duration::from_secs(230);
/// After a stop signal the looks under way may finish for this long; below the pod's grace period of 30 s.
const DRAIN: Duration = Duration::from_secs(25);

/// What the process is told.
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

/// Which Lease, and who stands for it.
#[derive(Clone)]
pub struct LeaseOptions {
    /// Name of the Lease in the operator's namespace.
    pub name: String,
    /// Name of this process, another one for each.
    pub identity: String,
    /// A client of its own: renewals must not queue behind the operator's calls.
    pub client: Client,
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
    let client = ClientBuilder::try_from(config)
        .map_err(|e| format!("the cluster's credentials cannot be used: {e}"))?;
    Ok(client
        .with_layer(&ConcurrencyLimitLayer::new(CALLS))
        .build())
}

/// Audiences that the API server takes for its own. Nobody asked for an audience when the pod's token was made, so it names
/// them all; a client certificate tells nothing.
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
    config.connect_timeout = Some(CONNECT);
    config.write_timeout = Some(Duration::from_secs(15));
    // Calls have deadlines of their own and watches end by themselves before this; a list has neither.
    config.read_timeout = Some(SILENCE);
    // The API server's audit log and its metrics by client then name the operator.
    let agent = HeaderValue::from_static(concat!("apicred/", env!("CARGO_PKG_VERSION")));
    config.headers.push((USER_AGENT, agent));
}

/// Runs the operator until `stop` ends.
///
/// # Errors
/// Why it ended although nobody asked.
pub async fn run(
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
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (health, metrics) = (Arc::<Health>::default(), Arc::<Metrics>::default());
    let listener = admin::bind(admin_listen).await?;
    let namespace = settings.namespace.clone();
    let proxy = settings.issuer_proxy.as_ref().map(|p| p.url().to_string());
    let operator = Operator::new(
        client,
        settings,
        Arc::clone(&clock),
        Arc::clone(&health),
        Arc::clone(&metrics),
    );
    let admin = Arc::new(Admin {
        health,
        metrics,
        clock: Arc::clone(&clock),
        snapshot: Box::new(operator.snapshot(metrics_per_credential)),
    });
    let standby = Arc::clone(&admin.health);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), namespace, admin = %admin_listen, issuer_proxy = proxy, "apicred starts");

    let (stopping, stopped) = watch::channel(false);
    let stops = || {
        let mut stopped = stopped.clone();
        async move {
            // A dropped sender is a stop as well.
            let _ = stopped.wait_for(|s| *s).await;
        }
    };
    let drain = async {
        stop.await;
        tracing::info!("stopping");
        stopping.send_replace(true);
        tokio::time::sleep(DRAIN).await;
    };
    let work = async {
        let Some(lease) = lease else {
            return operator.run(stops()).await;
        };
        let standing = Lease::new(
            lease.client,
            &namespace,
            &lease.name,
            &lease.identity,
            clock,
        );
        standby.stands_by(true);
        let mut standing = tokio::select! {
            standing = standing.acquire() => standing,
            () = stops() => return Ok(()),
        };
        standby.stands_by(false);
        let ended = tokio::select! {
            ended = operator.run(stops()) => ended,
            // At once, in the middle of whatever: another one may be at work by now.
            Lost = standing.keep() => return Err("the lease was lost".to_owned()),
        };
        standing.release().await;
        ended
    };
    // The admin server outlives the controller's drain: it ends with this function.
    tokio::select! {
        ended = work => ended,
        served = admin::serve(listener, admin, std::future::pending()) => Err(match served {
            Ok(()) => "the admin server ended".to_owned(),
            Err(e) => format!("the admin server failed: {e}"),
        }),
        () = drain => {
            tracing::warn!("work under way did not end in time and is cut short");
            Ok(())
        }
    }
}
