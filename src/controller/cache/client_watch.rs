//! The watch of `ApiClients`.

use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher::Event;

use super::{
    cached_client::CachedClient, changes::Known, readable::Readable, scope, streams::settled,
};
use crate::controller::{context::Context, locks::lock, requeue::key_of};
use crate::{api::ApiClient, credential::Key};

/// `ApiClients`: requeues the credentials that name a client with a changed spec, and has the status of the client checked. The
/// first list is complete before any credential is handled.
pub(in crate::controller) async fn clients(context: Arc<Context>) {
    let stream = "apiclients";
    let watch = scope::namespaced::<ApiClient>(&context, stream);
    let events = settled(&context, stream, watch, Listed(Arc::clone(&context)));
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        let (client, changed) = match event {
            // If a first list starts again, an earlier part of it may contain deleted objects.
            Event::Init => {
                context.clients.clear();
                continue;
            }
            Event::InitDone => {
                context.health.listed(stream);
                continue;
            }
            Event::InitApply(object) | Event::Apply(object) => {
                let key = key_of(&object);
                let client = CachedClient::from(object);
                if client.has_account() {
                    context.accounts.want();
                }
                let changed = context.clients.put(&key, client);
                (key, changed)
            }
            Event::Delete(object) => {
                let key = key_of(&object);
                let named = lock(&context.index).names_client(&key);
                context.clients.remove(&key, named);
                (key, true)
            }
        };
        context.health.event_seen(stream, context.clock.now());
        // This also corrects a status that another writer changed.
        context.clients.check([client.clone()]);
        if changed {
            requeue(&context, &client);
        }
    }
}

/// Requeues the credentials that name a client, and indexes its sources and its issuer.
fn requeue(context: &Context, client: &Key) {
    // Read this before the store: as soon as the list is complete, the store contains it.
    let listing = context.health.unlisted().contains(&"credentials");
    // Under one lock: a credential that is added at the same time gets the current client.
    let mut index = lock(&context.index);
    if listing && index.names_client(client) {
        context.clients.mark_unindexed(client);
    }
    context.follow(&mut index, client);
}

/// The known clients.
struct Listed(Arc<Context>);

impl Known<Readable<ApiClient>> for Listed {
    fn missing(&self, part: &str, listed: &dyn Fn(&ObjectMeta) -> bool) -> Vec<ObjectMeta> {
        let all = self.0.clients.identities(part).into_iter();
        all.filter(|meta| !listed(meta)).collect()
    }
}
