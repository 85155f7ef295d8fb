//! The tasks that run next to the reconciles while the operator runs: watches, the queue, regular checks.

use std::{future::Future, sync::Arc};

use futures::FutureExt;
use kube::runtime::reflector::store::Writer;
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
};

use super::{
    cache::{self, ca_watch, packed::PackedCredential, rollback, streams, verify},
    clients,
    context::Context,
    deletion, issuers, notifier,
    reconcile::not_ready,
    target::last_good,
    token::orphans,
};
use crate::api::{ClusterTokenIssuer, IssuerKind, TokenIssuer};

/// Tasks that must not end while the operator runs. They are aborted when this value is dropped.
#[derive(Default)]
pub(super) struct Tasks(JoinSet<&'static str>);

impl Tasks {
    /// Starts all tasks except those that need the other lists to be complete.
    pub(super) fn start_before_credentials(
        &mut self,
        context: &Arc<Context>,
        token_issuers: Writer<TokenIssuer>,
        cluster_issuers: Writer<ClusterTokenIssuer>,
    ) {
        // Issuers that must be reconciled.
        let (changed, to_reconcile) = mpsc::unbounded_channel();
        let shared = || Arc::clone(context);
        self.spawn("the watch of secrets", streams::secrets(shared()));
        self.spawn("the watch of namespaces", streams::namespaces(shared()));
        self.spawn(
            "the watch of tokenissuers",
            cache::issuers::issuers(
                shared(),
                token_issuers,
                streams::token_issuers(context),
                ("tokenissuers", IssuerKind::TokenIssuer),
                changed.clone(),
            ),
        );
        self.spawn(
            "the watch of clustertokenissuers",
            cache::issuers::issuers(
                shared(),
                cluster_issuers,
                streams::cluster_issuers(context),
                ("clustertokenissuers", IssuerKind::ClusterTokenIssuer),
                changed.clone(),
            ),
        );
        self.spawn(
            "the watch of apiclients",
            cache::client_watch::clients(shared()),
        );
        self.spawn(
            "the watch of serviceaccounts",
            streams::service_accounts(shared()),
        );
        self.spawn(
            "the watch of CA bundles",
            ca_watch::run(shared(), changed.clone()),
        );
        self.spawn(
            "the check of issuers",
            issuers::run(shared(), to_reconcile, changed),
        );
        self.spawn("the revoker", deletion::run(shared()));
        self.spawn("the notifier of pods", notifier::run(shared()));
        self.spawn("the queue", Arc::clone(&context.limiter).run());
        self.spawn("the check of doubtful secrets", verify::run(shared()));
        self.spawn("answers without a credential", orphans::run(shared()));
        self.spawn("the check for a restored backup", rollback::watch(shared()));
    }

    /// Starts the watch of credentials and the tasks that read its store. The other lists must be complete before, because they
    /// determine how a deletion or an edit is interpreted.
    pub(super) fn start_credentials(
        &mut self,
        context: &Arc<Context>,
        credentials: Writer<PackedCredential>,
    ) {
        let shared = || Arc::clone(context);
        self.spawn(
            "the watch of credentials",
            streams::credentials(shared(), credentials),
        );
        self.spawn(
            "the sweep of copied certificates",
            last_good::sweep(shared()),
        );
        self.spawn("the check of clients", clients::check(shared()));
        self.spawn("the count of what is not ready", not_ready::count(shared()));
    }

    /// Waits until one of the tasks ends, and returns which one.
    pub(super) async fn ended(&mut self) -> String {
        ended_early(self.0.join_next().await)
    }

    fn spawn(&mut self, what: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(task.map(move |()| what));
    }
}

fn ended_early(ended: Option<Result<&'static str, JoinError>>) -> String {
    match ended {
        Some(Ok(what)) => format!("{what} ended"),
        Some(Err(error)) if error.is_panic() => "a task panicked".to_owned(),
        _ => "a task ended".to_owned(),
    }
}
