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

/// `ApiClients`: requeues the credentials that name one whose spec changed, and has its status checked. The first list comes
/// before any credential does.
pub(in crate::controller) async fn clients(context: Arc<Context>) {
    let stream = "apiclients";
    let watch = scope::namespaced::<ApiClient>(&context, stream);
    let events = settled(&context, stream, watch, Listed(Arc::clone(&context)));
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        let (client, changed) = match event {
            // A first list that is begun again may have named what is gone.
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
        // A status that others wrote is corrected as well.
        context.clients.check([client.clone()]);
        if changed {
            requeue(&context, &client);
        }
    }
}

/// Requeues the credentials that name a client, and takes its sources and its issuer into the index.
fn requeue(context: &Context, client: &Key) {
    // Asked before the store is: once the list is complete, the store has it.
    let listing = context.health.unlisted().contains(&"credentials");
    // Under one lock: a credential that comes in between finds the client as it is now.
    let mut index = lock(&context.index);
    if listing && index.names_client(client) {
        context.clients.mark_unindexed(client);
    }
    context.follow(&mut index, client);
}

/// The clients that are known.
struct Listed(Arc<Context>);

impl Known<Readable<ApiClient>> for Listed {
    fn missing(&self, part: &str, listed: &dyn Fn(&ObjectMeta) -> bool) -> Vec<ObjectMeta> {
        let all = self.0.clients.identities(part).into_iter();
        all.filter(|meta| !listed(meta)).collect()
    }
}
