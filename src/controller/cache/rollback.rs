//! Detects that etcd was restored from a backup. The resourceVersions of the cache are then ahead of the server: the
//! watches deliver nothing until the server has caught up, and never what changed before. So the process ends, and the
//! next one lists again.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use crate::api::ApiCredential;
use crate::controller::{api::calls::call, context::Context};
use kube::{Api, api::ListParams};

/// Between two checks while no watch breaks. A restored backup that is older than this is detected even if nothing of
/// ours has changed since it was made.
const PERIOD: Duration = Duration::from_mins(1);
/// After a check that was not answered: the first wait and the longest.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(16));

/// Ends when the server has gone back.
pub(in crate::controller) async fn watch(context: Arc<Context>) {
    loop {
        tokio::select! {
            () = context.high_water_mark.suspected.notified() => {}
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
    let known = context.high_water_mark.version.load(Ordering::Relaxed);
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
        context.high_water_mark.advance(version.as_deref());
        let now = version.and_then(|v| v.parse::<u64>().ok());
        let back = now.is_some_and(|now| now < known);
        if back {
            tracing::error!(
                known,
                now,
                "the resourceVersion of the API server went backwards (was etcd restored from a backup?); apicred restarts"
            );
        }
        return Some(back);
    }
    None
}
