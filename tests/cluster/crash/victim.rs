//! The operator with a client that kills its own process at one of its requests.

use std::{
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{self, Poll},
};

use apicred::{
    app::{self, Options},
    controller::{IdentityEnvironment, RotationPace, Scope, Settings},
    rotation::{Pace, Trials},
    telemetry::logs::{self, LogFormat},
};
use jiff::SignedDuration;
use kube::{Config, client::ClientBuilder};
use tokio::signal::unix::{SignalKind, signal};
use tower::{Layer, Service};

use crate::support::NAMESPACE;

/// Which request of the victim is its last.
pub(crate) const AT: &str = "APICRED_TEST_CRASH_AT";
/// `before` it is sent, or `after` it was answered.
pub(crate) const WHEN: &str = "APICRED_TEST_CRASH_WHEN";

/// The namespaces that the victim watches, separated by commas; empty: all of them.
pub(crate) const ONLY: &str = "APICRED_TEST_CRASH_ONLY";

/// If set, only requests of this name ([`name_of`]) are counted.
pub(crate) const OF: &str = "APICRED_TEST_CRASH_OF";

/// Not a test: [`super::crash`] runs this in its own process.
#[test]
#[ignore = "run by the crash tests, in a process of its own"]
fn victim() {
    let (Ok(at), Ok(when)) = (std::env::var(AT), std::env::var(WHEN)) else {
        return;
    };
    let bomb = Bomb {
        left: Arc::new(AtomicUsize::new(at.parse().unwrap())),
        after: when == "after",
        of: std::env::var(OF).ok(),
    };
    logs::init(LogFormat::Text, "info,apicred=debug", None).unwrap();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let options = Options {
        settings: Settings {
            scope: match std::env::var(ONLY) {
                Ok(names) if !names.is_empty() => Scope::Namespaces {
                    names: names.split(',').map(str::to_owned).collect(),
                    cluster_issuers: true,
                },
                _ => Scope::Cluster,
            },
            namespace: NAMESPACE.to_owned(),
            concurrency: 4,
            allowed_cidrs: Vec::new(),
            target_keys: Vec::new(),
            entra_clouds: vec![apicred::api::Cloud::Public],
            // Scripted issuers count connections.
            issuer_checks: false,
            issuer_proxy: None,
            issuer_cas: Vec::new(),
            instance: "victim".to_owned(),
            rotation: quick(),
            identity: IdentityEnvironment::default(),
            notify_rights: Arc::default(),
        },
        admin_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        metrics_per_credential: false,
        lease: None,
    };
    // One thread: while it waits for the kill, no other work continues.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let ended = runtime.block_on(async {
        let mut config = Config::infer().await.unwrap();
        app::harden(&mut config);
        let client = ClientBuilder::try_from(config)
            .unwrap()
            .with_layer(&bomb)
            .build();
        let mut terminate = signal(SignalKind::terminate()).unwrap();
        let stop = async move {
            terminate.recv().await;
        };
        app::run(options, client, stop).await
    });
    // As after SIGTERM.
    ended.unwrap();
}

/// A whole rotation takes seconds.
fn quick() -> RotationPace {
    let milliseconds = SignedDuration::from_millis;
    RotationPace {
        trials: Trials {
            gap: milliseconds(300),
            in_row: 3,
            over: milliseconds(600),
            at_most: milliseconds(60_000),
        },
        pace: Pace {
            settles: milliseconds(1_500),
            between_writes: milliseconds(100),
            orphan_age: milliseconds(2_000),
            pause: milliseconds(500),
            again: milliseconds(500),
            call_pause: milliseconds(200),
            conflict_pause: milliseconds(300),
        },
    }
}

/// Ends this process as SIGKILL does: at once, without any cleanup.
fn die() -> ! {
    let _ = Command::new("/bin/sh")
        .args(["-c", "kill -KILL \"$PPID\""])
        .status();
    loop {
        std::thread::park();
    }
}

/// Before each name of a request in the output of a victim.
const SAID: &str = "victim: ";

/// The requests to the API server that a victim has written to its output, in order.
pub(crate) fn requests_in(output: &str) -> Vec<String> {
    let lines = output.lines().filter_map(|line| line.strip_prefix(SAID));
    lines.map(str::to_owned).collect()
}

/// The name of a request to the API server, the same in each namespace: `PATCH apiclients/shared/status`.
fn name_of(method: &str, path: &str) -> String {
    let mut parts = path.trim_matches('/').split('/').peekable();
    // `api/v1/…` or `apis/group/version/…`
    let skip = if parts.peek() == Some(&"api") { 2 } else { 3 };
    let mut rest: Vec<&str> = parts.skip(skip).collect();
    if rest.first() == Some(&"namespaces") && rest.len() > 2 {
        rest.drain(..2);
    }
    match rest.first() {
        // Their names differ from run to run.
        Some(&"events") => rest.truncate(1),
        Some(&"clustertokenissuers") if rest.len() > 1 => drop(rest.remove(1)),
        _ => {}
    }
    format!("{method} {}", rest.join("/"))
}

/// A layer of the kube client that ends the process at one of its requests.
#[derive(Clone)]
struct Bomb {
    left: Arc<AtomicUsize>,
    after: bool,
    of: Option<String>,
}

impl<S> Layer<S> for Bomb {
    type Service = Armed<S>;

    fn layer(&self, inner: S) -> Armed<S> {
        Armed {
            inner,
            bomb: self.clone(),
        }
    }
}

struct Armed<S> {
    inner: S,
    bomb: Bomb,
}

impl<S, B, R> Service<http::Request<B>> for Armed<S>
where
    S: Service<http::Request<B>, Response = R>,
    S::Future: Send + 'static,
    S::Error: Send,
    R: Send,
{
    type Response = R;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<R, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        // Lists and watches do not show the progress of the work.
        let query = request.uri().query().unwrap_or_default();
        let lists = query.contains("watch=") || query.contains("limit=");
        let name = name_of(request.method().as_str(), request.uri().path());
        let counts = !lists && self.bomb.of.as_ref().is_none_or(|of| *of == name);
        let last = counts && self.bomb.left.fetch_sub(1, Ordering::SeqCst) == 1;
        if !lists {
            eprintln!("{SAID}{name}");
        }
        let after = self.bomb.after;
        if last && !after {
            die();
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            if last && after {
                die();
            }
            answer
        })
    }
}
