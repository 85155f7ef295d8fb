//! Which ServiceAccounts exist: one that a credential needs is reported when it goes, before a renewal fails without it.
//!
//! They are watched by metadata, names alone are kept, and only once a credential refers to one.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use futures::StreamExt;
use k8s_openapi::{api::core::v1::ServiceAccount, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{api::PartialObjectMeta, runtime::watcher::Event};
use tokio::sync::Notify;

use super::{
    context::{Context, lock},
    scope,
    streams::settle,
    trim,
};
use crate::{
    credential::{AccountToken, Credential, Proof},
    oauth::Need,
};

/// Names of ServiceAccounts by namespace.
type Names = HashMap<String, HashSet<Box<str>>>;

/// The ServiceAccounts in scope.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    /// Nothing before the first list.
    known: Mutex<Option<Names>>,
    wanted: Notify,
}

impl Accounts {
    /// A credential refers to a ServiceAccount: they are watched from now on.
    pub(super) fn want(&self) {
        self.wanted.notify_one();
    }

    /// A ServiceAccount that the credential needs and that does not exist.
    pub(super) fn missing(&self, credential: &Credential) -> Option<String> {
        let needed = needed(credential);
        if needed.is_empty() {
            return None;
        }
        let known = lock(&self.known);
        // Each namespace has one called `default`. If none is known there, the namespace was not listed yet.
        let home = known.as_ref()?.get(&credential.namespace)?;
        needed
            .into_iter()
            .find(|name| !home.contains(name.as_str()))
    }

    /// Takes an event in. Gives the ServiceAccounts that came or went; `None`: perhaps any of them.
    fn take(
        &self,
        event: Event<PartialObjectMeta<ServiceAccount>>,
        incoming: &mut Option<Names>,
    ) -> Option<Vec<(String, String)>> {
        let mut known = lock(&self.known);
        let insert = |names: &mut Names, (namespace, name): &(String, String)| {
            let home = names.entry(namespace.clone()).or_default();
            home.insert(name.as_str().into())
        };
        match event {
            Event::Init => {
                *incoming = Some(Names::new());
                Some(Vec::new())
            }
            Event::InitApply(object) => {
                if let Some(names) = incoming {
                    insert(names, &name(object.metadata));
                }
                Some(Vec::new())
            }
            Event::InitDone => {
                *known = incoming.take();
                None
            }
            Event::Apply(object) => {
                let name = name(object.metadata);
                let new = known.as_mut().is_some_and(|k| insert(k, &name));
                Some(new.then_some(name).into_iter().collect())
            }
            Event::Delete(object) => {
                let (namespace, name) = name(object.metadata);
                if let Some(home) = known.as_mut().and_then(|k| k.get_mut(&namespace)) {
                    home.remove(name.as_str());
                }
                Some(vec![(namespace, name)])
            }
        }
    }
}

fn name(meta: ObjectMeta) -> (String, String) {
    (
        meta.namespace.unwrap_or_default(),
        meta.name.unwrap_or_default(),
    )
}

/// Names of the ServiceAccounts that a credential needs.
fn needed(credential: &Credential) -> Vec<String> {
    let grant = credential.grant.needs();
    of(&credential.proof, &grant)
}

/// Names of ServiceAccounts in the authentication of a client and in the needs of a grant.
pub(super) fn of(proof: &Proof, needs: &[Need]) -> Vec<String> {
    let client = match proof {
        Proof::ServiceAccount(account) => Some(account),
        _ => None,
    };
    let needs = needs.iter().filter_map(|need| match need {
        Need::Account(account) => Some(account),
        _ => None,
    });
    let name = |account: &AccountToken| account.name.clone();
    client.into_iter().chain(needs).map(name).collect()
}

/// The watch: wakes the credentials that need what comes or goes.
pub(super) async fn watch(context: Arc<Context>) {
    context.accounts.wanted.notified().await;
    let name = "serviceaccounts";
    let watch = scope::metadata::<ServiceAccount>(&context, name, trim::identity);
    let mut stream = std::pin::pin!(settle(watch));
    let mut incoming = None;
    while let Some(event) = stream.next().await {
        let changed = context.accounts.take(event, &mut incoming);
        let index = lock(&context.index);
        let keys = match changed {
            Some(changed) => changed.iter().flat_map(|a| index.of_account(a)).collect(),
            None => index.with_accounts(),
        };
        for key in keys {
            context.triggers.send(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::credential_with;

    fn event(name: &str) -> PartialObjectMeta<ServiceAccount> {
        serde_json::from_value(json!({ "metadata": { "namespace": "secops", "name": name } }))
            .unwrap()
    }

    #[test]
    fn what_was_not_listed_is_not_missing_and_what_goes_is() {
        let credential = credential_with(
            &json!({ "client": { "secretRefs": null, "serviceAccount": { "name": "sync" } } }),
        );
        let (accounts, mut incoming) = (Accounts::default(), None);
        let mut take = |event| accounts.take(event, &mut incoming);
        let missing = || accounts.missing(&credential);
        assert_eq!(missing(), None, "no list yet");
        take(Event::Init);
        take(Event::InitDone);
        assert_eq!(missing(), None, "the namespace was not listed");
        take(Event::Init);
        take(Event::InitApply(event("default")));
        assert_eq!(missing(), None, "the list is not complete");
        assert_eq!(take(Event::InitDone), None);
        assert_eq!(missing().as_deref(), Some("sync"));
        let sync = ("secops".to_owned(), "sync".to_owned());
        assert_eq!(take(Event::Apply(event("sync"))), Some(vec![sync.clone()]));
        assert_eq!(missing(), None);
        assert_eq!(
            take(Event::Apply(event("sync"))),
            Some(Vec::new()),
            "an annotation on it wakes nobody"
        );
        assert_eq!(take(Event::Delete(event("sync"))), Some(vec![sync]));
        assert_eq!(missing().as_deref(), Some("sync"));
        let other = credential_with(&json!({}));
        assert_eq!(accounts.missing(&other), None, "it needs none");
    }
}
