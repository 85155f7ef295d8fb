//! The Kubernetes shell around the plan: watches in, one step out.
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
mod failure;
mod issuers;
mod limiter;
mod locks;
mod lookup;
mod notifier;
mod notify;
mod rechecks;
mod reconcile;
mod requeue;
mod settings;
mod state;
mod target;
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
use cache::{ca_watch, packed::PackedCredential, rollback, streams, verify};
pub use context::Sizes;
use context::{Context, Parts};
use reconcile::{not_ready, snapshot};
use requeue::Triggers;
pub use settings::{IdentityEnvironment, RotationPace, Scope, Settings};
use token::orphans;
pub use token::refresh::Answers;

use crate::{
    api::{ClusterTokenIssuer, IssuerKind, TokenIssuer},
    clock::Clock,
    leader::Authority,
    telemetry::{
        health::Health,
        metrics::{Metrics, Snapshot},
    },
};

/// How long CA bundles are waited for at the start.
const CA_BUNDLES: Duration = Duration::from_secs(5);
/// Lets a burst of edits of one object end before it is reconciled. Short, because a dequeued credential waits for it as well.
const DEBOUNCE: Duration = Duration::from_millis(10);
/// Most need no call at all; those that do are bounded by `--concurrency`, where the most urgent goes first, which kube's
/// queue does not know.
const MAX_CONCURRENT_RECONCILES: u16 = 256;

/// The controller, ready to run.
pub struct Operator {
    context: Arc<Context>,
    writers: Writers,
    woken: mpsc::UnboundedReceiver<kube::runtime::reflector::ObjectRef<PackedCredential>>,
}

struct Writers {
    credentials: kube::runtime::reflector::store::Writer<PackedCredential>,
    token_issuers: kube::runtime::reflector::store::Writer<TokenIssuer>,
    cluster_issuers: kube::runtime::reflector::store::Writer<ClusterTokenIssuer>,
}

impl Operator {
    /// A controller that has not done anything yet.
    pub fn new(
        client: Client,
        settings: Settings,
        clock: Arc<dyn Clock>,
        health: Arc<Health>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (triggers, woken) = Triggers::new();
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
            woken,
        }
    }

    /// Acts only while this right holds. To be called before anything else.
    #[must_use]
    pub fn with_authority(self, authority: Authority) -> Self {
        // Set once, and not read before.
        let _ = self.context.authority.set(authority);
        self
    }

    /// Checks repeatedly whether this process could work if it held this Lease, and reports it to its health.
    pub async fn stand_by(&self, lease: &str) -> Infallible {
        preflight::repeat(&self.context, lease).await
    }

    /// Computes the gauges of one scrape, for the admin server.
    pub fn snapshot(&self, per_credential: bool) -> impl Fn() -> Snapshot + Send + Sync + use<> {
        let context = Arc::clone(&self.context);
        move || snapshot::snapshot(&context, per_credential)
    }

    /// The answers to refreshes that are not stored yet, for whoever ends the process.
    pub fn answers(&self) -> Answers {
        Answers(Arc::clone(&self.context))
    }

    /// Counts what is remembered, for tests.
    pub fn sizes(&self) -> impl Fn() -> Sizes + Send + Sync + use<> {
        let context = Arc::clone(&self.context);
        move || context.sizes()
    }

    /// Works until `stop` ends, then lets the reconciles in progress finish. Ends early, with the reason, when a watch
    /// or the controller itself ends: half an operator is worse than one that is restarted.
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
            woken,
        } = self;
        let (changed, to_judge) = mpsc::unbounded_channel();
        // Aborts its tasks when this function ends, however it ends.
        let mut tasks = tokio::task::JoinSet::new();
        let name = |what: &'static str| move |()| what;
        let spawn = |tasks: &mut tokio::task::JoinSet<&'static str>,
                     what,
                     task: futures::future::BoxFuture<'static, ()>| {
            tasks.spawn(futures::FutureExt::map(task, name(what)));
        };
        spawn(
            &mut tasks,
            "the watch of secrets",
            Box::pin(streams::secrets(Arc::clone(&context))),
        );
        spawn(
            &mut tasks,
            "the watch of namespaces",
            Box::pin(streams::namespaces(Arc::clone(&context))),
        );
        spawn(
            &mut tasks,
            "the watch of tokenissuers",
            Box::pin(cache::issuers::issuers(
                Arc::clone(&context),
                writers.token_issuers,
                streams::token_issuers(&context),
                ("tokenissuers", IssuerKind::TokenIssuer),
                changed.clone(),
            )),
        );
        spawn(
            &mut tasks,
            "the watch of clustertokenissuers",
            Box::pin(cache::issuers::issuers(
                Arc::clone(&context),
                writers.cluster_issuers,
                streams::cluster_issuers(&context),
                ("clustertokenissuers", IssuerKind::ClusterTokenIssuer),
                changed.clone(),
            )),
        );
        spawn(
            &mut tasks,
            "the watch of apiclients",
            Box::pin(cache::client_watch::clients(Arc::clone(&context))),
        );
        spawn(
            &mut tasks,
            "the watch of serviceaccounts",
            Box::pin(streams::service_accounts(Arc::clone(&context))),
        );
        spawn(
            &mut tasks,
            "the watch of CA bundles",
            Box::pin(ca_watch::run(Arc::clone(&context), changed.clone())),
        );
        spawn(
            &mut tasks,
            "the judge of issuers",
            Box::pin(issuers::judge(Arc::clone(&context), to_judge, changed)),
        );
        spawn(
            &mut tasks,
            "the revoker",
            Box::pin(deletion::run(Arc::clone(&context))),
        );
        spawn(
            &mut tasks,
            "the notifier of pods",
            Box::pin(notifier::run(Arc::clone(&context))),
        );
        spawn(
            &mut tasks,
            "the queue",
            Box::pin(Arc::clone(&context.limiter).run()),
        );
        spawn(
            &mut tasks,
            "the check of doubtful secrets",
            Box::pin(verify::run(Arc::clone(&context))),
        );
        spawn(
            &mut tasks,
            "answers without a credential",
            Box::pin(orphans::run(Arc::clone(&context))),
        );
        spawn(
            &mut tasks,
            "the check for a restored backup",
            Box::pin(rollback::watch(Arc::clone(&context))),
        );

        let mut stop = Box::pin(stop);
        // Nothing is decided before everything that decisions depend on is known: a Secret that has not been
        // listed yet looks like one that is not there, and would cost a token.
        let waiting = async {
            while others_missing(&context) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            // One that cannot be read delays no other.
            let begin = tokio::time::Instant::now();
            while ca_watch::unread(&context) && begin.elapsed() < CA_BUNDLES {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            () = waiting => {}
            () = &mut stop => return Ok(()),
            ended = tasks.join_next() => return Err(ended_early(ended)),
        }
        tracing::info!("caches synced");

        let config = controller::Config::default()
            .concurrency(MAX_CONCURRENT_RECONCILES.max(context.settings.concurrency))
            .debounce(DEBOUNCE);
        // Not before the other lists: a deletion or an edit is judged by what they name.
        spawn(
            &mut tasks,
            "the watch of credentials",
            Box::pin(streams::credentials(
                Arc::clone(&context),
                writers.credentials,
            )),
        );
        spawn(
            &mut tasks,
            "the check of clients",
            Box::pin(clients::check(Arc::clone(&context))),
        );
        spawn(
            &mut tasks,
            "the count of what is not ready",
            Box::pin(not_ready::count(Arc::clone(&context))),
        );
        let store = context.credentials.clone();
        let due = UnboundedReceiverStream::new(woken).map(Ok::<_, Infallible>);
        // A stop ends the queue, and what is under way goes on; the watches do as well, until this function ends.
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
            ended = tasks.join_next() => Err(ended_early(ended)),
        }
    }
}

/// Reconciles in a task of its own, which ends when this future is dropped.
fn spawned(
    kept: Arc<PackedCredential>,
    context: Arc<Context>,
) -> BoxFuture<'static, Result<Action, reconcile::Defect>> {
    let mut task = JoinSet::new();
    task.spawn(reconcile::reconcile(kept, context).in_current_span());
    let ended = async move { task.join_next().await };
    ended
        .map(|ended| match ended {
            Some(Ok(result)) => result,
            _ => Err(reconcile::Defect::Panicked),
        })
        .boxed()
}

/// Is a list missing, other than that of credentials, which is begun when all others are there?
fn others_missing(context: &Context) -> bool {
    let missing = context.health.unlisted();
    missing.iter().any(|stream| *stream != "credentials")
}

fn ended_early(ended: Option<Result<&'static str, tokio::task::JoinError>>) -> String {
    match ended {
        Some(Ok(what)) => format!("{what} ended"),
        Some(Err(error)) if error.is_panic() => "a task panicked".to_owned(),
        _ => "a task ended".to_owned(),
    }
}
