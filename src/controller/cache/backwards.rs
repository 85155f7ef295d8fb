//! Notices a store that went back in time: somebody has put a backup of etcd in its place. What is known here is then
//! the truth of another world, and the watches go on from a version of its future: they are silent until that version
//! comes round again, and never tell what changed before it. So the process ends, and the next one reads what there is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kube::{Api, api::ListParams};
use tokio::sync::Notify;

use crate::api::ApiCredential;
use crate::controller::{api::calls::call, context::Context};

/// Between two looks while nothing raises a doubt. A backup that is older than this is noticed also where nothing of
/// ours has changed since it was made.
const PERIOD: Duration = Duration::from_mins(1);
/// After a look that was not answered, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(16));

/// How far the store is known to have come.
#[derive(Default)]
pub(in crate::controller) struct Head {
    version: AtomicU64,
    doubt: Notify,
}

impl Head {
    /// A credential was seen at this version.
    pub(in crate::controller) fn saw(&self, version: Option<&str>) {
        if let Some(version) = version.and_then(|v| v.parse().ok()) {
            self.version.fetch_max(version, Ordering::Relaxed);
        }
    }

    /// A watch broke. Nobody puts a backup back without that.
    pub(in crate::controller) fn doubt(&self) {
        self.doubt.notify_one();
    }
}

/// Ends when the store has gone back.
pub(in crate::controller) async fn watch(context: Arc<Context>) {
    loop {
        tokio::select! {
            () = context.head.doubt.notified() => {}
            () = tokio::time::sleep(PERIOD) => {}
        }
        let mut pause = AGAIN.0;
        loop {
            match went_back(&context).await {
                Some(true) => return,
                Some(false) => break,
                None => tokio::time::sleep(pause).await,
            }
            pause = AGAIN.1.min(pause * 2);
        }
    }
}

/// Asks the server how far it has come; none while it does not answer. A list that names no version is answered with the
/// newest state, whatever server answers; versions of one kind only grow (KEP-5504).
async fn went_back(context: &Context) -> Option<bool> {
    // Before the question: what comes meanwhile may be newer than its answer.
    let known = context.head.version.load(Ordering::Relaxed);
    let client = || context.client.clone();
    let places: Vec<Api<ApiCredential>> = match context.settings.scope.names() {
        None => vec![Api::all(client())],
        // Any of them will do: one may have lost its Role.
        Some(names) => names.iter().map(|n| Api::namespaced(client(), n)).collect(),
    };
    let one = ListParams::default().limit(1);
    for place in places {
        let list = call(&context.metrics, "check_store", || {
            place.list_metadata(&one)
        })
        .await;
        let Ok(list) = list else { continue };
        let version = list.metadata.resource_version;
        context.head.saw(version.as_deref());
        let now = version.and_then(|v| v.parse::<u64>().ok());
        let back = now.is_some_and(|now| now < known);
        if back {
            tracing::error!(
                known,
                now,
                "the API server knows less than it did: a backup of its store was put back; apicred begins anew"
            );
        }
        return Some(back);
    }
    None
}
