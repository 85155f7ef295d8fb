//! The cluster at one moment, and whether a credential is correct in it.

use std::{collections::HashMap, time::Duration};

use apicred::api::ApiCredential;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, api::ListParams};
use serde::de::DeserializeOwned;

use crate::{
    cast::{KEY, Kind, NAMESPACES},
    changes::{Loss, User, loss},
    issuer::{Entry, parse_source},
    support::condition,
    world::World,
};

/// An access token according to the journal.
pub(crate) struct Issued {
    pub(crate) client: String,
    scope: String,
    source: u64,
    pub(crate) expires: Timestamp,
}

pub(crate) fn issued(journal: &[Entry]) -> HashMap<String, Issued> {
    let tokens = journal.iter().filter_map(|entry| match entry {
        Entry::Issued {
            token,
            client,
            scope,
            source,
            expires,
            ..
        } => {
            let issued = Issued {
                client: client.clone(),
                scope: scope.clone(),
                source: *source,
                expires: *expires,
            };
            Some((token.clone(), issued))
        }
        _ => None,
    });
    tokens.collect()
}

/// The cluster at one moment.
pub(crate) struct Picture {
    credentials: HashMap<(String, String), ApiCredential>,
    secrets: HashMap<(String, String), Secret>,
}

async fn list<K>(world: &World) -> Option<HashMap<(String, String), K>>
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let mut all = HashMap::new();
    for namespace in NAMESPACES {
        let api = Api::<K>::namespaced(world.admin.clone(), namespace);
        let params = ListParams::default();
        let list = tokio::time::timeout(Duration::from_secs(5), api.list(&params)).await;
        for object in list.ok()?.ok()?.items {
            let name = object.meta().name.clone().unwrap_or_default();
            all.insert((namespace.to_owned(), name), object);
        }
    }
    Some(all)
}

impl Picture {
    pub(crate) async fn of(world: &World) -> Option<Self> {
        Some(Self {
            credentials: list(world).await?,
            secrets: list(world).await?,
        })
    }

    pub(crate) fn secret(&self, user: &User, name: String) -> Option<&Secret> {
        self.secrets.get(&(user.role.namespace.to_owned(), name))
    }

    pub(crate) fn text(secret: &Secret, key: &str) -> Option<String> {
        let bytes = secret.data.as_ref()?.get(key)?;
        String::from_utf8(bytes.0.clone()).ok()
    }

    /// Whether its token can be renewed: it is neither suspended nor in need of a sign-in.
    pub(crate) fn is_renewed(&self, user: &User) -> bool {
        let key = (user.role.namespace.to_owned(), user.role.name.clone());
        let state = self.secret(user, user.role.state());
        self.credentials.get(&key).is_some_and(|credential| {
            let lost = state.and_then(|state| loss(&user.role, credential, state, false));
            credential.spec.suspend != Some(true) && lost.is_none()
        })
    }

    /// Secrets that apicred published for credentials that do not exist.
    pub(crate) fn orphans(&self) -> Vec<String> {
        let of_the_dead = |secret: &&Secret| {
            let note = |name: &str| secret.metadata.annotations.as_ref()?.get(name).cloned();
            note("apicred.dev/credential-uid").is_some_and(|uid| {
                let mut alive = self.credentials.values();
                !alive.any(|c| c.metadata.uid.as_ref() == Some(&uid))
            })
        };
        let orphans = self.secrets.values().filter(of_the_dead);
        orphans
            .filter_map(|secret| secret.metadata.name.clone())
            .collect()
    }
}

/// The state of one credential.
pub(crate) enum State {
    Right,
    /// Its refresh token needs a sign-in.
    Lost(Loss),
    Wrong(String),
}

pub(crate) fn state_of(
    user: &User,
    picture: &Picture,
    tokens: &HashMap<String, Issued>,
    now: Timestamp,
) -> State {
    let role = &user.role;
    let key = (role.namespace.to_owned(), role.name.clone());
    let Some(credential) = picture.credentials.get(&key) else {
        return State::Wrong("it is not there".to_owned());
    };
    if let Some(state) = picture.secret(user, role.state())
        && let Some(loss) = loss(role, credential, state, false)
    {
        return State::Lost(loss);
    }
    match problem_of(user, credential, picture, tokens, now) {
        None => State::Right,
        Some(problem) => {
            let ready = condition(credential, "Ready");
            let ready = ready.map(|c| format!("{} {}: {}", c.status, c.reason, c.message));
            State::Wrong(format!("{problem}; Ready={}", ready.unwrap_or_default()))
        }
    }
}

fn problem_of(
    user: &User,
    credential: &ApiCredential,
    picture: &Picture,
    tokens: &HashMap<String, Issued>,
    now: Timestamp,
) -> Option<String> {
    let role = &user.role;
    let Some(target) = picture.secret(user, role.target()) else {
        return Some("there is no target Secret".to_owned());
    };
    let token = Picture::text(target, "token").unwrap_or_default();
    let owners = target.metadata.owner_references.iter().flatten();
    let owned = owners
        .clone()
        .any(|o| Some(&o.uid) == credential.metadata.uid.as_ref());
    if !owned {
        return Some("the target Secret has another owner".to_owned());
    }
    let source = picture.secret(user, role.source());
    let source = source
        .and_then(|s| Picture::text(s, KEY))
        .unwrap_or_default();
    if role.kind == Kind::Static {
        if token != source {
            return Some("it is not the newest static key".to_owned());
        }
    } else {
        let Some(issued) = tokens.get(&token) else {
            return Some("the token is unknown to the issuer".to_owned());
        };
        if issued.client != role.name {
            return Some(format!(
                "WRONG CLIENT: the token is one of {}",
                issued.client
            ));
        }
        // A refresh requests no scope: its token has those of the sign-in.
        if !role.kind.is_refresh() && credential.spec.scopes.join(" ") != issued.scope {
            return Some(format!("the token is for {}", issued.scope));
        }
        // A refresh token's access token does not depend on the client secret.
        let number = parse_source(&source).map(|(_, number)| number);
        if number != Some(issued.source) && !role.kind.is_refresh() {
            return Some("the token was issued to an older client secret".to_owned());
        }
        if issued.expires <= now {
            let over = now.duration_since(issued.expires).as_secs();
            return Some(format!("the token expired {over} s ago"));
        }
    }
    let ready = condition(credential, "Ready");
    if ready.is_none_or(|ready| ready.status != "True") {
        return Some("it is not Ready".to_owned());
    }
    None
}
