//! Detects that etcd was restored from a backup. The resourceVersions in the cache are then ahead of the server: the watches
//! deliver nothing until the server has caught up, and never deliver the earlier changes. Therefore the process exits, and the
//! next process lists all objects again.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use crate::api::ApiCredential;
use crate::controller::{api::calls::call, context::Context};
use kube::{Api, api::ListParams};

/// The interval between two checks while no watch is interrupted. A restored backup that is older than this is detected even if
/// no object of apicred changed after the backup.
const PERIOD: Duration = Duration::from_mins(1);
/// The first and the longest wait after a check without a response.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(16));

/// Returns when the resourceVersion of the server went backwards.
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

/// Requests the current resourceVersion; `None` if the server does not respond. Any API server answers a list request without a
/// version with the newest state; versions of one kind only increase (KEP-5504).
async fn went_back(context: &Context) -> Option<bool> {
    // Read before the request: what arrives in the meantime may be newer than the response.
    let known = context.high_water_mark.version.load(Ordering::Relaxed);
    let client = || context.client.clone();
    let places: Vec<Api<ApiCredential>> = match context.settings.scope.names() {
        None => vec![Api::all(client())],
        // Any of the namespaces is sufficient: apicred may have lost its Role in one of them.
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
