//! The watch of `ApiClients`.

use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher::Event;

use super::{
    changes::{Known, covers},
    readable::{Readable, identity},
    scope,
    streams::settled,
};
use crate::controller::{
    context::Context,
    locks::lock,
    requeue::{key_of, reference},
};
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
                lock(&context.clients.held).clear();
                continue;
            }
            Event::InitDone => {
                context.health.listed(stream);
                continue;
            }
            Event::InitApply(object) | Event::Apply(object) => {
                let key = key_of(&object);
                let changed = context.clients.put(&key, object.into());
                (key, changed)
            }
            Event::Delete(object) => {
                let key = key_of(&object);
                context.clients.remove(&key);
                (key, true)
            }
        };
        context.health.heard(stream, context.clock.now());
        // A status that others wrote is corrected as well.
        context.clients.check([client.clone()]);
        if changed {
            requeue(&context, &client);
        }
    }
}

/// Requeues the credentials that name a client, and takes its sources and its issuer into the index.
fn requeue(context: &Context, client: &Key) {
    // Under one lock: a credential that comes in between finds the client as it is now.
    let mut index = lock(&context.index);
    let credentials = index.of_client(client);
    for key in &credentials {
        let object = context.credentials.get(&reference(key));
        if let Some(object) = object.and_then(|packed| packed.open()) {
            context.insert(&mut index, &object);
        }
        context.triggers.send(key);
    }
    if index.has_accounts() {
        context.accounts.want();
    }
}

/// The clients that are known.
struct Listed(Arc<Context>);

impl Known<Readable<ApiClient>> for Listed {
    fn missing(&self, part: &str, listed: &dyn Fn(&ObjectMeta) -> bool) -> Vec<ObjectMeta> {
        let held = lock(&self.0.clients.held);
        let homes = held.iter().filter(|(home, _)| covers(part, Some(home)));
        let all = homes.flat_map(|(_, clients)| clients.values());
        let all = all.map(|held| identity(&held.metadata));
        all.filter(|meta| !listed(meta)).collect()
    }
}
