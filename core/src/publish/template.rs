//! The labels, annotations, type and owner of a target Secret, as the spec defines them.
//!
//! Their digest is stored on the Secret. So a changed label is corrected without a new token, and a removed label is restored.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::Owner;
use crate::{
    api::{DeletionPolicy, SecretType, TargetFormat, TargetKey, names},
    credential::Credential,
};

/// The metadata that the Secret must have.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// Labels, including apicred's own.
    pub labels: BTreeMap<String, String>,
    /// Annotations, including apicred's fixed ones.
    pub annotations: BTreeMap<String, String>,
    /// Value of the `type` field.
    pub type_: &'static str,
    /// Whether the Secret is deleted with its credential.
    pub owned: bool,
    /// The credential to which it belongs.
    pub owner: Owner,
    /// The keys of its data.
    pub keys: Vec<TargetKey>,
}

/// The keys that a previous [`Template`] set, so that they can be removed.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct ManagedKeys {
    /// Label keys.
    #[serde(rename = "l")]
    pub labels: Vec<String>,
    /// Annotation keys.
    #[serde(rename = "a")]
    pub annotations: Vec<String>,
    /// Keys of the data with their formats, as `key=Format`.
    #[serde(rename = "d", default = "usual")]
    pub data: Vec<String>,
}

/// The keys of a Secret that does not list them.
fn usual() -> Vec<String> {
    ["Token", "TokenType", "ExpiresAt", "Json"]
        .iter()
        .zip(["token", "token_type", "expires_at", "token.json"])
        .map(|(format, key)| format!("{key}={format}"))
        .collect()
}

/// Maximum number of keys in each list: a spec has at most 32 labels, 32 annotations and 16 keys.
const MAX_KEYS: usize = 64;

impl ManagedKeys {
    /// Reads annotations. A list that apicred cannot have written counts as unreadable.
    pub fn read(annotations: &BTreeMap<String, String>) -> Self {
        let noted = annotations.get(names::MANAGED_KEYS);
        let noted: Option<Self> = noted.and_then(|json| serde_json::from_str(json).ok());
        let fits = |list: &Vec<String>| list.len() <= MAX_KEYS;
        let noted = noted.filter(|keys| {
            [&keys.labels, &keys.annotations, &keys.data]
                .into_iter()
                .all(fits)
        });
        noted.unwrap_or_else(Self::unknown)
    }

    /// The keys of a Secret without a readable list.
    pub fn unknown() -> Self {
        Self {
            labels: Vec::new(),
            annotations: Vec::new(),
            data: usual(),
        }
    }

    /// Names of the keys.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.noted().map(|(key, _)| key)
    }

    /// Names of the keys, with whether each write of a token changes their value. A static key is written again unchanged, except for the time
    /// in [`TargetFormat::Json`].
    pub(super) fn moving(&self, endless: bool) -> impl Iterator<Item = (&str, bool)> {
        const FIXED: &str = TargetFormat::TokenType.as_str();
        const TIMED: &str = TargetFormat::Json.as_str();
        self.noted().map(move |(key, format)| {
            // The issuer may return the same value again.
            let fixed = format == FIXED || noted_field(format).is_some();
            (key, !fixed && (!endless || format == TIMED))
        })
    }

    fn noted(&self) -> impl Iterator<Item = (&str, &str)> {
        self.data
            .iter()
            .map(|noted| noted.rsplit_once('=').unwrap_or((noted, "")))
    }
}

/// The field of the answer that a stored format names.
pub(super) fn noted_field(format: &str) -> Option<&str> {
    let (format, field) = format.split_once(':')?;
    (format == TargetFormat::AnswerField.as_str()).then_some(field)
}

/// The metadata that the spec of a credential requires.
pub fn template(credential: &Credential) -> Template {
    let mut labels = credential.target.labels.clone();
    labels.insert(names::MANAGED_BY.to_owned(), names::MANAGER.to_owned());
    let mut annotations = credential.target.annotations.clone();
    annotations.insert(names::CREDENTIAL.to_owned(), credential.name.clone());
    annotations.insert(names::CREDENTIAL_UID.to_owned(), credential.uid.clone());
    let endless = credential.static_key.is_some();
    let keys = credential.target.keys.iter();
    let keys = keys.filter(|k| !(endless && k.format == TargetFormat::ExpiresAt));
    Template {
        keys: keys.cloned().collect(),
        labels,
        annotations,
        type_: credential.target.type_.as_str(),
        owned: credential.target.deletion != DeletionPolicy::Retain,
        owner: Owner {
            name: credential.name.clone(),
            uid: credential.uid.clone(),
        },
    }
}

impl Template {
    /// The digest that is stored on the Secret.
    pub fn digest(&self) -> String {
        format!(
            "{}:{}:{}",
            attached_digest(self.labels.iter(), self.annotations.iter(), self.owned),
            self.type_,
            self.formats()
        )
    }

    /// Digest of the keys and all settings of each.
    fn formats(&self) -> String {
        let mut text = String::new();
        for key in &self.keys {
            let parts = [&key.key, &key.host, &key.username, &key.variable];
            text.push_str(key.format.as_str());
            for part in parts {
                let part = part.as_deref().unwrap_or_default();
                text.push_str(&format!("|{}:{part}", part.len()));
            }
            if let Some(field) = &key.field {
                text.push_str(&format!("|field:{field}"));
            }
        }
        URL_SAFE_NO_PAD.encode(&digest(&SHA256, text.as_bytes()).as_ref()[..9])
    }

    /// Whether the data was written in other formats than the present ones.
    pub fn has_other_formats(&self, noted: &str) -> bool {
        noted.rsplit(':').next() != Some(self.formats().as_str())
    }

    /// The keys that are set.
    pub fn keys(&self) -> ManagedKeys {
        ManagedKeys {
            labels: self.labels.keys().cloned().collect(),
            annotations: self.annotations.keys().cloned().collect(),
            data: self
                .keys
                .iter()
                .map(|k| {
                    let name = k.key.as_deref().unwrap_or(k.format.usual_key());
                    let format = k.format.as_str();
                    match &k.field {
                        Some(field) => format!("{name}={format}:{field}"),
                        None => format!("{name}={format}"),
                    }
                })
                .collect(),
        }
    }
}

/// The type of a Secret when this digest was stored.
pub fn noted_type(noted: &str) -> Option<&'static str> {
    let known = [
        SecretType::Opaque,
        SecretType::Token,
        SecretType::DockerConfigJson,
    ];
    let noted = noted.split(':').nth(1)?;
    known
        .map(SecretType::as_str)
        .into_iter()
        .find(|t| *t == noted)
}

/// The digest of a Secret's present metadata, for the keys that apicred has written. Type and formats are not part of the metadata, so they are
/// taken from the stored digest.
pub(super) fn live_digest(
    labels: Option<&BTreeMap<String, String>>,
    annotations: Option<&BTreeMap<String, String>>,
    keys: &ManagedKeys,
    owned: bool,
    noted: &str,
) -> String {
    let live_labels = keys
        .labels
        .iter()
        .filter_map(|k| Some((k, labels?.get(k)?)));
    let live_annotations = keys
        .annotations
        .iter()
        .filter_map(|k| Some((k, annotations?.get(k)?)));
    let type_ = noted.split_once(':').map_or("", |(_, t)| t);
    format!(
        "{}:{type_}",
        attached_digest(live_labels, live_annotations, owned)
    )
}

fn attached_digest<'a>(
    labels: impl Iterator<Item = (&'a String, &'a String)>,
    annotations: impl Iterator<Item = (&'a String, &'a String)>,
    owned: bool,
) -> String {
    let mut text = String::new();
    for (kind, pairs) in [
        ("l", labels.collect::<BTreeMap<_, _>>()),
        ("a", annotations.collect()),
    ] {
        for (key, value) in pairs {
            // Lengths separate neighbours, so that different pairs never give the same text.
            text.push_str(&format!("{kind}{}:{key}{}:{value}", key.len(), value.len()));
        }
    }
    text.push(if owned { 'o' } else { 'f' });
    URL_SAFE_NO_PAD.encode(&digest(&SHA256, text.as_bytes()).as_ref()[..12])
}
