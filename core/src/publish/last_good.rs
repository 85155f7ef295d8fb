//! The last good certificate of a client: a copy of the pair that got the last token, in a Secret of apicred's own. PURE.
//!
//! cert-manager and other tools replace the pair of a Secret in place, and an issuer that finds certificates by their
//! thumbprint (Entra ID) refuses the new one until somebody uploads it. The copy gets tokens meanwhile.
//!
//! A Secret of cert-manager has a copy unless its owner refuses it, any other one only if its owner asks for it; both by the
//! annotation [`KEEP_LAST_GOOD`](names::KEEP_LAST_GOOD). No other private key is copied.
//!
//! | When | What happens |
//! |---|---|
//! | the present pair got a token | it is stored as the copy, in place of the pair before |
//! | the present pair is another one | the copy is one more entry of the client's list, after those of the spec |
//! | the Secret or its annotation is gone, or the Secret was created again | the copy is not used, and its keys are emptied |
//! | nobody who stored it exists any more | the garbage collector deletes it, by its owner references |

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use serde_json::{Value, json};

use super::{SourceMark, ownership::SecretFacts};
use crate::{api::names, credential::TLS};

/// What the metadata of a copy says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LastGood {
    /// UID and resourceVersion of the Secret whose pair was copied; none if the copy is empty.
    pub of: Option<(String, String)>,
    /// UIDs of those who stored it.
    pub owners: Vec<String>,
}

impl LastGood {
    /// Reads the metadata of a Secret. None if it is no copy.
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

/// Is a copy of this Secret to be kept? Not of a copy, and not where apicred itself replaces the pair: it proves the next one
/// before. It never replaces that of cert-manager.
pub fn is_wanted(meta: &ObjectMeta) -> bool {
    let has = |key: &str| {
        let annotations = meta.annotations.as_ref();
        annotations.and_then(|a| a.get(key)).map(String::as_str)
    };
    let wish = has(names::KEEP_LAST_GOOD).map(|wish| wish == "true");
    let made_elsewhere = has(names::CERT_MANAGER).is_some();
    wish.unwrap_or(made_elsewhere)
        && (made_elsewhere || has(names::ROTATE_BY).is_none())
        && has(names::LAST_GOOD_OF).is_none()
}

/// Does the copy contain another pair than the Secret, as far as metadata shows? Then it may get a token.
pub fn serves(source: Option<&SecretFacts>, copy: Option<&SecretFacts>) -> bool {
    let (Some(source), Some(copy)) = (source, copy) else {
        return false;
    };
    let Some(kept) = copy.last_good.as_deref().filter(|_| !copy.deleting) else {
        return false;
    };
    let of = (&source.uid, &source.version);
    let same = kept.of.as_ref().is_some_and(|(u, v)| (u, v) == of);
    source.keeps_last_good && !source.deleting && kept.is_of(source) && !same
}

/// A Secret in the way: it has the name of the copy, and apicred did not write it.
pub fn blocked(source: Option<&SecretFacts>, copy: Option<&SecretFacts>) -> bool {
    source.is_some_and(|s| s.keeps_last_good) && copy.is_some_and(|c| c.last_good.is_none())
}

/// What is to be done with a copy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Nothing.
    Leave,
    /// Store the pair of the Secret. The version of the copy that is there.
    Store(Option<String>),
    /// Empty the copy at this version: its Secret does not ask for it any more. With the UID of that Secret.
    Empty(String, String),
}

/// What is known beside the two Secrets.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The source that got the token that is published and valid.
    pub used: Option<&'a SourceMark>,
    /// Name of the source Secret.
    pub name: &'a str,
    /// UID of the one who stores the copy.
    pub owner: &'a str,
    /// Another credential of this namespace has a token by an earlier pair of this Secret, or by the copy: it may need the
    /// pair that is in the copy.
    pub needed: bool,
}

impl Known<'_> {
    /// Did the present content of the Secret get the token?
    fn proves(&self, source: &SecretFacts) -> bool {
        self.used.is_some_and(|used| {
            used.name == self.name
                && used.key == TLS.1
                && (&used.uid, &used.version) == (&source.uid, &source.version)
        })
    }
}

/// Decides.
pub fn step(source: Option<&SecretFacts>, copy: Option<&SecretFacts>, known: Known<'_>) -> Step {
    let wanted = source.filter(|s| !s.deleting && s.keeps_last_good);
    let proven = wanted.filter(|s| known.proves(s));
    let Some(copy) = copy else {
        return proven.map_or(Step::Leave, |_| Step::Store(None));
    };
    let Some(kept) = copy.last_good.as_deref().filter(|_| !copy.deleting) else {
        // In the way, or about to be gone.
        return Step::Leave;
    };
    let store = || Step::Store(Some(copy.version.clone()));
    match (&kept.of, proven) {
        (Some((uid, _)), None) if wanted.is_none_or(|s| s.uid != *uid) => {
            Step::Empty(copy.version.clone(), uid.clone())
        }
        (_, None) => Step::Leave,
        // Of a Secret that had this name before.
        (Some((uid, _)), Some(source)) if source.uid != *uid => store(),
        (Some((_, version)), Some(source)) if *version == source.version => {
            if kept.owners.iter().any(|owner| owner == known.owner) {
                Step::Leave
            } else {
                store()
            }
        }
        // The pair before is still of use to somebody.
        (Some(_), Some(_)) if known.needed => Step::Leave,
        // Another one, or an empty copy.
        (_, Some(_)) => store(),
    }
}

/// The copy as it is created.
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

/// The strategic merge patch that stores another pair, or adds an owner. `kept`: what the copy says now. Labels and annotations
/// of others go: a Secret whose creator called it a copy must not lead the key to another place.
pub fn store_patch(
    version: &str,
    of: (&str, &str),
    (owner, kept): (&OwnerReference, &LastGood),
    pair: &BTreeMap<String, ByteString>,
) -> Value {
    // The owner of an empty copy is the Secret that it was of.
    let instead = kept.of.is_none().then(replace);
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

/// The strategic merge patch that empties a copy. Its owner becomes the Secret that it was of, so that the garbage collector
/// deletes it with that Secret, or at once if that Secret is gone: the operator itself may not delete Secrets.
pub fn empty_patch(version: &str, (source, uid): (&str, &str)) -> Value {
    let owner = json!({ "apiVersion": "v1", "kind": "Secret", "name": source, "uid": uid });
    json!({
        "metadata": {
            "resourceVersion": version,
            "annotations": { names::LAST_GOOD_OF: "" },
            "ownerReferences": [replace(), owner],
        },
        // The API server demands both keys in a Secret of this type.
        "data": { TLS.0: "", TLS.1: "" },
    })
}

/// Has the rest of a list replace the one that is there.
fn replace() -> Value {
    json!({ "$patch": "replace" })
}
