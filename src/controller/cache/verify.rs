//! Reads the metadata of Secrets for which the cache may be wrong. The response corrects the cache.

use std::time::Duration;

use futures::{StreamExt, stream};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use super::index::SecretName;
use crate::controller::{
    api::calls::{ApiErrorKind, call},
    context::Context,
    locks::lock,
};

/// The interval between two checks for own writes that the watch has not delivered.
const PERIOD: Duration = Duration::from_secs(30);

/// A watch delivers an own write within milliseconds. An own write that was not delivered within this time is in doubt.
const UNSEEN: SignedDuration = SignedDuration::from_mins(1);

/// The first and the longest wait after a read without a response.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The maximum number of concurrent reads.
const READS: usize = 4;

/// Resolves doubts. Never returns.
pub(in crate::controller) async fn run(context: std::sync::Arc<Context>) {
    let mut pause = AGAIN.0;
    loop {
        let names = std::mem::take(&mut *lock(&context.doubts.names));
        let none = names.is_empty();
        let failed: Vec<SecretName> = stream::iter(names)
            .map(|name| async {
                let settled = settle(&context, &name).await;
                (!settled).then_some(name)
            })
            .buffer_unordered(READS)
            .filter_map(std::future::ready)
            .collect()
            .await;
        context.verify_doubtful();
        pause = if failed.is_empty() {
            AGAIN.0
        } else {
            lock(&context.doubts.names).extend(failed);
            tokio::time::sleep(pause).await;
            AGAIN.1.min(pause * 2)
        };
        if !none {
            continue;
        }
        tokio::select! {
            () = context.doubts.raised.notified() => {}
            () = tokio::time::sleep(PERIOD) => {
                let now = crate::clock::steady();
                lock(&context.doubts.names).extend(context.health.unseen("secrets", UNSEEN, now));
            }
        }
    }
}

/// Reads the metadata of a Secret and corrects the cache. Returns false if the server did not answer.
async fn settle(context: &Context, name: &SecretName) -> bool {
    let number = lock(&context.secrets).call_begins(name);
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &name.0);
    let read = call(&context.metrics, "check_secret", || {
        api.get_metadata(&name.1)
    })
    .await;
    let now = context.clock.now();
    let news = {
        let mut secrets = lock(&context.secrets);
        match &read {
            Ok(found) => {
                // A watch that fails is reported as that. An open one that shows no write is dead, which only a restart repairs.
                let version = found.metadata.resource_version.as_ref();
                if let (true, Some(version)) =
                    (context.health.has_failed("secrets", &name.0), version)
                {
                    context.health.showed("secrets", name, version);
                }
                secrets.read_ends(name, number, Some(&found.metadata), now)
            }
            Err(ApiErrorKind::NotFound) => {
                context.health.gone("secrets", name);
                secrets.read_ends(name, number, None, now)
            }
            Err(_) => secrets.read_given_up(name, number),
        }
    };
    if news {
        for key in lock(&context.index).of_secret(name) {
            context.triggers.send(&key);
        }
    }
    matches!(read, Ok(_) | Err(ApiErrorKind::NotFound))
}
