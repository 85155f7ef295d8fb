//! The Kubernetes shell around the plan: watches deliver the input, and each reconcile executes one step.
//!
//! ```text
//! streams ──▶ stores, index ──▶ triggers ──▶ reconcile: observe ─▶ plan ─▶ execute ─▶ record ─▶ schedule
//!                                  ▲                                 acquire ─▶ write
//!                                  └────────────── limiter (the queue before an issuer)    ◀──┘
//! ```

mod api;
mod cache;
mod clients;
mod context;
mod deletion;
mod issuer_checks;
mod issuer_status;
mod issuers;
mod limiter;
mod locks;
mod lookup;
mod notifier;
mod notify;
mod rechecks;
mod reconcile;
mod reconciliation;
mod requeue;
mod settings;
mod state;
mod target;
mod tasks;
#[cfg(test)]
mod tests;
mod token;

use std::{convert::Infallible, future::Future, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture};
use kube::{
    Client,
    runtime::controller::{self, Action},
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tracing::Instrument;

use api::preflight;
use cache::{ca_watch, packed::PackedCredential, streams};
pub use context::Sizes;
use context::{Context, Parts};
use reconcile::snapshot;
use requeue::Triggers;
pub use settings::{IdentityEnvironment, RotationPace, Scope, Settings};
use tasks::Tasks;
pub use token::refresh_answer::Answers;

use crate::{
    api::{ClusterTokenIssuer, TokenIssuer},
    clock::Clock,
    leader::Authority,
    telemetry::{
        health::Health,
        metrics::{Metrics, Snapshot},
    },
};

/// The interval between two checks at the start whether the caches have synced.
const SYNC_POLL: Duration = Duration::from_millis(20);
/// How long the start waits for CA bundles.
const CA_BUNDLES: Duration = Duration::from_secs(5);
/// Combines a burst of edits of one object into one reconcile. The time is short, because a dequeued credential waits for it as well.
const DEBOUNCE: Duration = Duration::from_millis(10);
/// Most reconciles need no call. Those with calls are limited by `--concurrency`, which prefers the most urgent ones; the queue
/// of kube has no priorities.
const MAX_CONCURRENT_RECONCILES: u16 = 256;

/// The controller, ready to run.
pub struct Operator {
    context: Arc<Context>,
    writers: Writers,
    requeued: mpsc::UnboundedReceiver<kube::runtime::reflector::ObjectRef<PackedCredential>>,
}

struct Writers {
    credentials: kube::runtime::reflector::store::Writer<PackedCredential>,
    token_issuers: kube::runtime::reflector::store::Writer<TokenIssuer>,
    cluster_issuers: kube::runtime::reflector::store::Writer<ClusterTokenIssuer>,
}

impl Operator {
    /// A controller that has not started to work yet.
    pub fn new(
        client: Client,
        settings: Settings,
        clock: Arc<dyn Clock>,
        health: Arc<Health>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (triggers, requeued) = Triggers::new();
        let (credentials, credentials_writer) = streams::store();
        let (token_issuers, token_issuers_writer) = streams::store();
        let (cluster_issuers, cluster_issuers_writer) = streams::store();
        let context = Context::new(Parts {
            client,
            settings,
            clock,
            health,
            metrics,
            triggers,
            credentials,
            token_issuers,
            cluster_issuers,
        });
        let writers = Writers {
            credentials: credentials_writer,
            token_issuers: token_issuers_writer,
            cluster_issuers: cluster_issuers_writer,
        };
        Self {
            context,
            writers,
            requeued,
        }
    }

    /// Limits all actions to the time in which this authority holds. Must be called before anything else.
    #[must_use]
    pub fn with_authority(self, authority: Authority) -> Self {
        // Set once, and not read before this.
        let _ = self.context.authority.set(authority);
        self
    }

    /// Checks repeatedly whether this process could work if it held this Lease, and reports the result to its health check.
    pub async fn stand_by(&self, lease: &str) -> Infallible {
        preflight::repeat(&self.context, lease).await
    }

    /// Computes the gauges of one scrape, for the admin server.
    pub fn snapshot(&self, per_credential: bool) -> impl Fn() -> Snapshot + Send + Sync + use<> {
        let context = Arc::clone(&self.context);
        move || snapshot::snapshot(&context, per_credential)
    }

    /// The answers to refreshes that are not stored yet, for the shutdown of the process.
    pub fn answers(&self) -> Answers {
        Answers(Arc::clone(&self.context))
    }

    /// Counts what is stored in memory, for tests.
    pub fn sizes(&self) -> impl Fn() -> Sizes + Send + Sync + use<> {
        let context = Arc::clone(&self.context);
        move || context.sizes()
    }

    /// Works until `stop` ends, then lets the reconciles in progress finish. Returns early, with the reason, if a watch or the
    /// controller itself ends: an operator that works only in part is worse than one that is restarted.
    ///
    /// # Errors
    /// The task that ended without a stop signal.
    pub async fn run(
        self,
        stop: impl Future<Output = ()> + Send + Sync + 'static,
    ) -> Result<(), String> {
        let Self {
            context,
            writers,
            requeued,
        } = self;
        let mut tasks = Tasks::default();
        tasks.start_before_credentials(&context, writers.token_issuers, writers.cluster_issuers);

        let mut stop = Box::pin(stop);
        tokio::select! {
            () = synced(&context) => {}
            () = &mut stop => return Ok(()),
            ended = tasks.ended() => return Err(ended),
        }
        tracing::info!("caches synced");

        tasks.start_credentials(&context, writers.credentials);
        let config = controller::Config::default()
            .concurrency(MAX_CONCURRENT_RECONCILES.max(context.settings.concurrency))
            .debounce(DEBOUNCE);
        let store = context.credentials.clone();
        let due = UnboundedReceiverStream::new(requeued).map(Ok::<_, Infallible>);
        // A stop ends the queue. Work in progress continues, and so do the watches, until this function returns.
        let controller = controller::applier(
            spawned,
            reconcile::after_defect,
            Arc::clone(&context),
            store,
            due.take_until(stop),
            config,
        )
        .for_each(|_| futures::future::ready(()));
        tokio::select! {
            () = controller => Ok(()),
            ended = tasks.ended() => Err(ended),
        }
    }
}

/// Returns when everything is known that decisions depend on: a Secret that is not listed yet looks like a missing one, and would cost a token.
async fn synced(context: &Context) {
    while others_missing(context) {
        tokio::time::sleep(SYNC_POLL).await;
    }
    // A bundle that cannot be read must not delay the others.
    let begin = tokio::time::Instant::now();
    while ca_watch::unread(context) && begin.elapsed() < CA_BUNDLES {
        tokio::time::sleep(SYNC_POLL).await;
    }
}

/// Reconciles in its own task, which ends when this future is dropped.
fn spawned(
    packed: Arc<PackedCredential>,
    context: Arc<Context>,
) -> BoxFuture<'static, Result<Action, reconcile::Defect>> {
    let mut task = JoinSet::new();
    task.spawn(reconcile::reconcile(packed, context).in_current_span());
    let ended = async move { task.join_next().await };
    ended
        .map(|ended| match ended {
            Some(Ok(result)) => result,
            _ => Err(reconcile::Defect::Panicked),
        })
        .boxed()
}

/// Whether a list is missing, except the list of credentials, which starts when all others are complete.
fn others_missing(context: &Context) -> bool {
    let missing = context.health.unlisted();
    missing.iter().any(|stream| *stream != "credentials")
}
