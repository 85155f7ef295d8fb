//! Which ServiceAccounts exist. A missing one is reported when it is deleted, before a renewal fails.
//!
//! They are watched by metadata, and only after a credential or an `ApiClient` refers to one. Stored are their names, what
//! their owners allow, and messages about annotations that have no effect.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Mutex,
};

use k8s_openapi::{api::core::v1::ServiceAccount, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{api::PartialObjectMeta, runtime::watcher::Event};
use tokio::sync::Notify;

use super::{changes::covers, trim};
use crate::controller::locks::lock;
use crate::{
    credential::{
        AccountToken, AuthenticationMethod, Credential, Issuer,
        binding::{self, Denial},
    },
    oauth::{RequiredInput, known_endpoint},
};

/// ServiceAccounts by namespace and name.
pub(super) type Names = HashMap<String, HashMap<Box<str>, Account>>;

/// What is stored of a ServiceAccount.
#[derive(Debug, PartialEq)]
pub(super) struct Account {
    /// What its owner allows; `None` if it is not known.
    notes: Option<BTreeMap<String, String>>,
    /// The message about annotations that have no effect.
    unread: Option<Box<str>>,
}

impl Account {
    fn of(meta: &ObjectMeta) -> Self {
        let mut notes = meta.annotations.clone().unwrap_or_default();
        let unread = notes.remove(trim::UNREAD).map(String::into_boxed_str);
        let notes = Some(notes).filter(|notes| !notes.contains_key(trim::UNKNOWN));
        Self { notes, unread }
    }
}

/// The ServiceAccounts in scope.
#[derive(Debug, Default)]
pub(in crate::controller) struct Accounts {
    /// `None` before the first list.
    known: Mutex<Option<Names>>,
    pub(super) wanted: Notify,
}

impl Accounts {
    /// A credential or a client refers to a ServiceAccount: starts the watch.
    pub(in crate::controller) fn want(&self) {
        self.wanted.notify_one();
    }

    /// A ServiceAccount that the credential needs and that does not exist.
    pub(in crate::controller) fn missing(&self, credential: &Credential) -> Option<String> {
        self.missing_of(&credential.namespace, needed(credential))
    }

    /// The first of these ServiceAccounts of a namespace that does not exist.
    pub(in crate::controller) fn missing_of(
        &self,
        namespace: &str,
        needed: Vec<String>,
    ) -> Option<String> {
        if needed.is_empty() {
            return None;
        }
        let known = lock(&self.known);
        // Each namespace has one with the name `default`. If none is known in a namespace, the namespace was not listed yet.
        let home = known.as_ref()?.get(namespace)?;
        needed
            .into_iter()
            .find(|name| !home.contains_key(name.as_str()))
    }

    /// The messages about annotations of the ServiceAccounts that the credential needs.
    pub(in crate::controller) fn unread(&self, credential: &Credential) -> Vec<String> {
        let mut needed = needed(credential);
        needed.sort_unstable();
        needed.dedup();
        let known = lock(&self.known);
        let home = known.as_ref().and_then(|k| k.get(&credential.namespace));
        let reported = |name: String| {
            let reported = home?.get(name.as_str())?.unread.as_ref()?;
            Some(format!(
                "on ServiceAccount {name} the annotation {reported}"
            ))
        };
        needed.into_iter().filter_map(reported).collect()
    }

    /// Checks that the ServiceAccounts that the credential needs allow its request. If the endpoint is found by discovery, this is
    /// checked at the time of the request. `own`: the audiences of the API server.
    pub(in crate::controller) fn may_use(
        &self,
        credential: &Credential,
        own: &[String],
    ) -> Result<(), Denial> {
        let needed = tokens(&credential.authentication, &credential.grant.needs());
        let (false, Some(endpoint)) = (needed.is_empty(), known_endpoint(credential)) else {
            return Ok(());
        };
        let known = lock(&self.known);
        let home = known.as_ref().and_then(|k| k.get(&credential.namespace));
        for token in needed {
            let (name, audience) = (&token.name, token.audience_at(credential, Some(&endpoint)));
            binding::may_request_audience(name, &audience, own)?;
            let account = home.and_then(|home| home.get(name.as_str()));
            let Some(notes) = account.and_then(|account| account.notes.as_ref()) else {
                continue;
            };
            binding::may_use_account(credential, Some(&endpoint), name, Some(notes), &audience)?;
        }
        Ok(())
    }

    /// Checks that this ServiceAccount allows its token to be sent to this issuer. What is not known yet is checked at the time of the request.
    pub(in crate::controller) fn may_go_to(
        &self,
        issuer: &Issuer,
        namespace: &str,
        name: &str,
    ) -> Result<(), Denial> {
        let known = lock(&self.known);
        let home = known.as_ref().and_then(|k| k.get(namespace));
        let account = home.and_then(|home| home.get(name));
        match account.and_then(|account| account.notes.as_ref()) {
            Some(notes) => binding::may_go_to(issuer, name, Some(notes)),
            None => Ok(()),
        }
    }

    /// The known ServiceAccounts in a part of the cluster.
    pub(super) fn names(&self, part: &str) -> Vec<(String, String)> {
        let known = lock(&self.known);
        let all = known.iter().flatten();
        all.filter(|(namespace, _)| covers(part, Some(namespace)))
            .flat_map(|(namespace, home)| {
                home.keys()
                    .map(|name| (namespace.clone(), name.to_string()))
            })
            .collect()
    }

    /// Handles an event. Returns the ServiceAccounts that were created, deleted or changed; `None`: possibly any of them.
    pub(super) fn take(
        &self,
        event: Event<PartialObjectMeta<ServiceAccount>>,
        incoming: &mut Option<Names>,
    ) -> Option<Vec<(String, String)>> {
        let mut known = lock(&self.known);
        // Returns whether this changes anything.
        let insert = |names: &mut Names, (namespace, name): &(String, String), account| {
            let home = names.entry(namespace.clone()).or_default();
            let old = home.insert(name.as_str().into(), account);
            old.as_ref() != home.get(name.as_str())
        };
        match event {
            Event::Init => {
                *incoming = Some(Names::new());
                Some(Vec::new())
            }
            Event::InitApply(object) => {
                if let Some(names) = incoming {
                    let account = Account::of(&object.metadata);
                    insert(names, &name(object.metadata), account);
                }
                Some(Vec::new())
            }
            Event::InitDone => {
                *known = incoming.take();
                None
            }
            Event::Apply(object) => {
                let account = Account::of(&object.metadata);
                let name = name(object.metadata);
                let new = known.as_mut().is_some_and(|k| insert(k, &name, account));
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
    of(&credential.authentication, &grant)
}

/// Names of ServiceAccounts in the authentication of a client and in the needs of a grant.
pub(in crate::controller) fn of(
    authentication: &AuthenticationMethod,
    needs: &[RequiredInput],
) -> Vec<String> {
    let tokens = tokens(authentication, needs).into_iter();
    tokens.map(|account| account.name).collect()
}

fn tokens(authentication: &AuthenticationMethod, needs: &[RequiredInput]) -> Vec<AccountToken> {
    let client = match authentication {
        AuthenticationMethod::ServiceAccount(account) => Some(account),
        _ => None,
    };
    let needs = needs.iter().filter_map(|need| match need {
        RequiredInput::Account(account) => Some(account),
        _ => None,
    });
    client.into_iter().chain(needs).cloned().collect()
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
            &json!({ "client": { "secrets": null, "serviceAccount": { "name": "sync" } } }),
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
            "an annotation on it triggers no reconcile"
        );
        let odd = |key: &str| {
            let json = json!({ "metadata": { "namespace": "secops", "name": "sync", "annotations": { key: "x" } } });
            trim::account(json.to_string().as_bytes()).unwrap()
        };
        assert_eq!(take(Event::Apply(odd("team"))), Some(Vec::new()));
        assert_eq!(accounts.unread(&credential), Vec::<String>::new());
        let misspelt = || Event::Apply(odd("apicred.dev/allowed-audience"));
        assert_eq!(take(misspelt()), Some(vec![sync.clone()]), "it is reported");
        let reported = accounts.unread(&credential).remove(0);
        assert_eq!(
            reported,
            "on ServiceAccount sync the annotation apicred.dev/allowed-audience is not known; did you mean apicred.dev/allowed-audiences?"
        );
        assert_eq!(take(misspelt()), Some(Vec::new()), "once");
        assert_eq!(take(Event::Apply(odd("team"))), Some(vec![sync.clone()]));
        assert_eq!(accounts.unread(&credential), Vec::<String>::new());
        // If its owner no longer allows something, this is known before a renewal.
        assert_eq!(accounts.may_use(&credential, &[]), Ok(()));
        assert_eq!(
            take(Event::Apply(odd("apicred.dev/allowed-issuers"))),
            Some(vec![sync.clone()])
        );
        let denial = accounts.may_use(&credential, &[]).unwrap_err();
        assert_eq!(denial.reason().as_str(), "NotAuthorizedBySecret");
        assert!(
            denial
                .message()
                .starts_with("ServiceAccount sync may not be sent"),
            "{}",
            denial.message()
        );
        let json = json!({ "metadata": { "namespace": "secops", "name": "sync", "annotations": {
            "apicred.dev/allowed-issuers": "x".repeat(20_000),
        } } });
        let large = trim::account(json.to_string().as_bytes()).unwrap();
        assert_eq!(take(Event::Apply(large)), Some(vec![sync.clone()]));
        assert_eq!(
            accounts.may_use(&credential, &[]),
            Ok(()),
            "decided at the request"
        );
        take(Event::Apply(odd("team")));
        assert_eq!(take(Event::Delete(event("sync"))), Some(vec![sync]));
        assert_eq!(missing().as_deref(), Some("sync"));
        let other = credential_with(&json!({}));
        assert_eq!(accounts.missing(&other), None, "it needs none");
    }
}
