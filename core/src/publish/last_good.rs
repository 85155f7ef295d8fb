//! The last good certificate of a client: a copy of the pair that got the last token, in apicred's own Secret. PURE.
//!
//! cert-manager and other tools replace the pair of a Secret in place. An issuer that finds certificates by their thumbprint (Entra ID) refuses
//! the new one until it is uploaded. Meanwhile the copy gets tokens.
//!
//! A Secret of cert-manager has a copy unless its owner refuses it, any other Secret only if its owner requests it; both by the annotation
//! [`KEEP_LAST_GOOD`](names::KEEP_LAST_GOOD). No other private key is copied.
//!
//! | When | What happens |
//! |---|---|
//! | the present pair got a token | it is stored as the copy and replaces the previous pair |
//! | the present pair is another one | the copy is used as one more entry of the client's list, after those of the spec |
//! | the Secret or its annotation is deleted, or the Secret was created again | the copy is not used, and its keys are emptied |
//! | none of the objects that stored it exists any more | the garbage collector deletes it, by its owner references |

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use serde_json::{Value, json};

use super::{SourceMark, ownership::SecretFacts};
use crate::{api::names, credential::TLS};

/// The metadata of a copy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LastGood {
    /// UID and resourceVersion of the Secret whose pair was copied; None if the copy is empty.
    pub of: Option<(String, String)>,
    /// UIDs of the objects that stored it.
    pub owners: Vec<String>,
}

impl LastGood {
    /// Reads the metadata of a Secret. None if it is not a copy.
    pub fn read(meta: &ObjectMeta) -> Option<Self> {
        let noted = meta.annotations.as_ref()?.get(names::LAST_GOOD_OF)?;
        let of = noted.split_once('/');
        let owners = meta.owner_references.iter().flatten();
        Some(Self {
            of: of.map(|(uid, version)| (uid.to_owned(), version.to_owned())),
            owners: owners.map(|o| o.uid.clone()).collect(),
        })
    }

    fn is_of(&self, source: &SecretFacts) -> bool {
        self.of.as_ref().is_some_and(|(uid, _)| *uid == source.uid)
    }
}

/// Whether apicred must keep a copy of this Secret. A copy is not copied again. If apicred itself replaces the pair of the Secret, no copy is
/// needed, because the present pair proves the next one before it is replaced. apicred never replaces a pair of cert-manager.
pub fn is_wanted(meta: &ObjectMeta) -> bool {
    let has = |key: &str| {
        let annotations = meta.annotations.as_ref();
        annotations.and_then(|a| a.get(key)).map(String::as_str)
    };
    let requested = has(names::KEEP_LAST_GOOD).map(|requested| requested == "true");
    let made_elsewhere = has(names::CERT_MANAGER).is_some();
    requested.unwrap_or(made_elsewhere)
        && (made_elsewhere || has(names::ROTATE_BY).is_none())
        && has(names::LAST_GOOD_OF).is_none()
}

/// Whether the copy contains another pair than the Secret, as far as metadata shows. Then it may get a token.
pub fn serves(source: Option<&SecretFacts>, copy: Option<&SecretFacts>) -> bool {
    let (Some(source), Some(copy)) = (source, copy) else {
        return false;
    };
    let Some(stored) = copy.last_good.as_deref().filter(|_| !copy.deleting) else {
        return false;
    };
    let of = (&source.uid, &source.version);
    let same = stored.of.as_ref().is_some_and(|(u, v)| (u, v) == of);
    source.wants_copy && !source.deleting && stored.is_of(source) && !same
}

/// Whether another Secret, which apicred did not write, has the name of the copy.
pub fn blocked(source: Option<&SecretFacts>, copy: Option<&SecretFacts>) -> bool {
    source.is_some_and(|s| s.wants_copy) && copy.is_some_and(|c| c.last_good.is_none())
}

/// The next step for a copy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Nothing.
    Leave,
    /// Store the pair of the Secret. Contains the version of the existing copy.
    Store(Option<String>),
    /// Empty the copy at this version, because its Secret does not request it any more. Contains the UID of that Secret.
    Empty(String, String),
}

/// What is known in addition to the two Secrets.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The source of the token that is published and valid.
    pub used: Option<&'a SourceMark>,
    /// Name of the source Secret.
    pub name: &'a str,
    /// UID of the object that stores the copy.
    pub owner: &'a str,
    /// Another credential of this namespace has a token by an earlier pair of this Secret, or by the copy. It may need the pair in the copy.
    pub needed: bool,
}

impl Known<'_> {
    /// Whether the token was requested with the present content of the Secret.
    fn proves(&self, source: &SecretFacts) -> bool {
        self.used.is_some_and(|used| {
            used.name == self.name
                && used.key == TLS.1
                && (&used.uid, &used.version) == (&source.uid, &source.version)
        })
    }
}

/// Returns the next step.
pub fn step(source: Option<&SecretFacts>, copy: Option<&SecretFacts>, known: Known<'_>) -> Step {
    let wanted = source.filter(|s| !s.deleting && s.wants_copy);
    let proven = wanted.filter(|s| known.proves(s));
    let Some(copy) = copy else {
        return proven.map_or(Step::Leave, |_| Step::Store(None));
    };
    let Some(stored) = copy.last_good.as_deref().filter(|_| !copy.deleting) else {
        // It is another writer's Secret, or is being deleted.
        return Step::Leave;
    };
    let store = || Step::Store(Some(copy.version.clone()));
    match (&stored.of, proven) {
        (Some((uid, _)), None) if wanted.is_none_or(|s| s.uid != *uid) => {
            Step::Empty(copy.version.clone(), uid.clone())
        }
        (_, None) => Step::Leave,
        // The copy is of an earlier Secret with this name.
        (Some((uid, _)), Some(source)) if source.uid != *uid => store(),
        (Some((_, version)), Some(source)) if *version == source.version => {
            if stored.owners.iter().any(|owner| owner == known.owner) {
                Step::Leave
            } else {
                store()
            }
        }
        // Another credential may still need the previous pair.
        (Some(_), Some(_)) if known.needed => Step::Leave,
        // Another pair, or an empty copy.
        (_, Some(_)) => store(),
    }
}

/// The copy to create.
pub fn create(
    namespace: &str,
    name: &str,
    of: (&str, &str),
    owner: &OwnerReference,
    pair: BTreeMap<String, ByteString>,
) -> Secret {
    let text = |key: &str, value: String| BTreeMap::from([(key.to_owned(), value)]);
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(text(names::MANAGED_BY, names::MANAGER.to_owned())),
            annotations: Some(text(names::LAST_GOOD_OF, format!("{}/{}", of.0, of.1))),
            owner_references: Some(vec![owner.clone()]),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(pair),
        ..Secret::default()
    }
}

/// The strategic merge patch that stores another pair, or adds an owner. `stored`: the present metadata of the copy. Labels and annotations of
/// others are removed: a user could create a Secret that looks like a copy, and its metadata must not copy the key to another place.
pub fn store_patch(
    version: &str,
    of: (&str, &str),
    (owner, stored): (&OwnerReference, &LastGood),
    pair: &BTreeMap<String, ByteString>,
) -> Value {
    // The owner of an empty copy is the Secret whose pair it contained.
    let instead = stored.of.is_none().then(replace);
    let owners: Vec<Value> = instead.into_iter().chain([json!(owner)]).collect();
    json!({
        "metadata": {
            "resourceVersion": version,
            "labels": { "$patch": "replace", names::MANAGED_BY: names::MANAGER },
            "annotations": {
                "$patch": "replace",
                names::LAST_GOOD_OF: format!("{}/{}", of.0, of.1),
            },
            "ownerReferences": owners,
        },
        "data": pair,
    })
}

/// The strategic merge patch that empties a copy. Its owner becomes the Secret whose pair it contained, so the garbage collector deletes it
/// with that Secret, or at once if that Secret is deleted. The operator itself may not delete Secrets.
pub fn empty_patch(version: &str, (source, uid): (&str, &str)) -> Value {
    let owner = json!({ "apiVersion": "v1", "kind": "Secret", "name": source, "uid": uid });
    json!({
        "metadata": {
            "resourceVersion": version,
            "annotations": { names::LAST_GOOD_OF: "" },
            "ownerReferences": [replace(), owner],
        },
        // The API server requires both keys in a Secret of this type.
        "data": { TLS.0: "", TLS.1: "" },
    })
}

/// The directive that the rest of a list replaces the existing list.
fn replace() -> Value {
    json!({ "$patch": "replace" })
}
