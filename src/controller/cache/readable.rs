//! Objects from the API server, trimmed while they are decoded. Fields that apicred does not use are skipped. An object that does not match its type is
//! known by its name and its error: it does not affect other objects, it still exists, and it never counts as deleted.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta, Time};
use kube::Resource;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{json, value::RawValue};

use crate::{
    Reason,
    api::{ApiClient, ApiCredential, ClusterTokenIssuer, TokenIssuer, names},
    credential::{FieldError, MAX_RENEW_REQUEST, annotations::looks_ours},
};

/// A kind with a bound on its spec: what it takes to hold an object is not for its author to decide.
pub(in crate::controller) trait Bounded: Resource + DeserializeOwned {
    /// The largest spec that is used, in bytes of JSON.
    const MAX_SPEC: usize;
}

impl Bounded for ApiCredential {
    const MAX_SPEC: usize = 64 * 1024;
}

impl Bounded for ApiClient {
    const MAX_SPEC: usize = 64 * 1024;
}

// A `caBundle` may have 64 KiB.
impl Bounded for TokenIssuer {
    const MAX_SPEC: usize = 128 * 1024;
}

impl Bounded for ClusterTokenIssuer {
    const MAX_SPEC: usize = 128 * 1024;
}

/// A status that is larger is not apicred's.
const MAX_STATUS: usize = 64 * 1024;
/// Longest name of an object.
const MAX_NAME: usize = 253;
/// Longest path of a field in a message, in characters.
const MAX_PATH: usize = 128;

/// An object, or what is known of one that cannot be used.
#[derive(Clone, Debug)]
pub(in crate::controller) struct Readable<K>(pub(in crate::controller) Result<K, Box<Unusable>>);

/// An object that exists, or did, and whose spec is not known.
#[derive(Clone, Debug)]
pub(in crate::controller) struct Unusable {
    pub(in crate::controller) metadata: ObjectMeta,
    /// Its status, as JSON.
    pub(in crate::controller) status: Option<Box<RawValue>>,
    /// The Secret that a credential names as its target.
    pub(in crate::controller) target: Option<String>,
    pub(in crate::controller) flaw: Flaw,
}

/// Why the spec of an object is not known.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(in crate::controller) enum Flaw {
    /// A later list does not name it. Only in deletions.
    NotListed,
    /// The spec has more bytes than are used.
    TooLarge {
        /// Bytes of its JSON.
        size: usize,
        /// The most that is used.
        max: usize,
    },
    /// This field does not fit the type.
    DoesNotFit(String),
}

impl Flaw {
    /// As an error of the spec.
    pub(in crate::controller) fn error(&self) -> FieldError {
        match self {
            Self::TooLarge { size, max } => FieldError::new(
                "spec",
                format!("it has {size} bytes as JSON; shorten it to at most {max}"),
            ),
            Self::DoesNotFit(field) => FieldError::new(
                field,
                concat!(
                    "apicred ",
                    env!("CARGO_PKG_VERSION"),
                    " cannot read this field: it does not fit the CRD of this version, and was probably written for \
                     another one; install the version of apicred that the CRD belongs to, or change the field"
                ),
            )
            .because(Reason::NotReadable),
            Self::NotListed => FieldError::new("spec", "it is not known").because(Reason::NotReadable),
        }
    }
}

impl<K: Bounded> Readable<K> {
    /// Reads the JSON of an object. Fails only if it is none at all.
    pub(in crate::controller) fn read(json: &[u8]) -> Result<Self, serde_json::Error> {
        let Object {
            metadata,
            spec,
            status,
        } = serde_json::from_slice(json)?;
        let metadata = ObjectMeta::from(metadata);
        let spec = spec.map_or("null", RawValue::get);
        let status = status.filter(|s| s.get().len() <= MAX_STATUS);
        let (size, max) = (spec.len(), K::MAX_SPEC);
        let flaw = if size > max {
            Flaw::TooLarge { size, max }
        } else {
            let parsed = status.and_then(|status| typed::<K>(spec, Some(status.get())).ok());
            // A status that does not match is written again: no decision uses it.
            match parsed.map_or_else(|| typed::<K>(spec, None), Ok) {
                Ok(mut object) => {
                    *object.meta_mut() = metadata;
                    return Ok(Self(Ok(object)));
                }
                Err(field) => Flaw::DoesNotFit(field),
            }
        };
        let place = serde_json::from_str::<Place>(spec);
        let target = place.ok().map(|place| place.target.secret_name);
        Ok(Self(Err(Box::new(Unusable {
            metadata,
            status: status.map(ToOwned::to_owned),
            target: target.filter(|name| name.len() <= MAX_NAME),
            flaw,
        }))))
    }
}

impl<K: Resource> Readable<K> {
    /// Of an object that was deleted: no more than which one it was.
    pub(in crate::controller) fn not_listed(meta: &ObjectMeta) -> Self {
        Self(Err(Box::new(Unusable {
            metadata: identity(meta),
            status: None,
            target: None,
            flaw: Flaw::NotListed,
        })))
    }

    /// What is wrong with it.
    pub(in crate::controller) fn flaw(&self) -> Option<&Flaw> {
        self.0.as_ref().err().map(|unusable| &unusable.flaw)
    }
}

/// Which object it is.
pub(in crate::controller) fn identity(meta: &ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        ..ObjectMeta::default()
    }
}

/// The object of a spec and a status; or the field that does not fit.
fn typed<K: Resource + DeserializeOwned>(spec: &str, status: Option<&str>) -> Result<K, String> {
    let status = status.map_or(String::new(), |status| format!(r#","status":{status}"#));
    let json = format!(r#"{{"metadata":{},"spec":{spec}{status}}}"#, json!({}));
    serde_json::from_str(&json).or_else(|_| {
        // Once more, for the path: it is not kept track of for those that fit.
        let mut json = serde_json::Deserializer::from_str(&json);
        serde_path_to_error::deserialize(&mut json)
            .map_err(|error| field(&error.path().to_string()))
    })
}

/// A path for a message. Keys of maps in it are their author's.
fn field(path: &str) -> String {
    let plain = path.chars().filter(char::is_ascii_graphic);
    let plain: String = plain.take(MAX_PATH).collect();
    if plain.starts_with("spec") {
        plain
    } else {
        "spec".to_owned()
    }
}

#[derive(Deserialize)]
struct Object<'a> {
    metadata: Metadata,
    #[serde(borrow, default)]
    spec: Option<&'a RawValue>,
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
}

/// The part of a spec that does not match which is still used: its place among those that name the same Secret.
#[derive(Deserialize)]
struct Place {
    target: Target,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    secret_name: String,
}

/// What is used of an object's metadata. Managed fields alone are four fifths of a common object.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    finalizers: Option<Vec<String>>,
    #[serde(default)]
    annotations: Annotations,
    #[serde(default)]
    managed_fields: StatusManagers,
}

impl From<Metadata> for ObjectMeta {
    fn from(metadata: Metadata) -> Self {
        let annotations = metadata.annotations.0;
        // Of all managers one is left if others than apicred hold a part of the status.
        let strange = || {
            vec![ManagedFieldsEntry {
                subresource: Some("status".to_owned()),
                ..ManagedFieldsEntry::default()
            }]
        };
        Self {
            namespace: metadata.namespace,
            name: metadata.name,
            uid: metadata.uid,
            resource_version: metadata.resource_version,
            generation: metadata.generation,
            creation_timestamp: metadata.creation_timestamp,
            deletion_timestamp: metadata.deletion_timestamp,
            // Those of others are read when apicred's own is changed.
            finalizers: metadata.finalizers.and_then(|all| {
                let own = |f: &String| f == names::REVOKE_FINALIZER;
                all.into_iter().find(own).map(|own| vec![own])
            }),
            annotations: (!annotations.is_empty()).then_some(annotations),
            managed_fields: metadata.managed_fields.strange.then(strange),
            ..Self::default()
        }
    }
}

/// How many annotations without effect are held, to report them, and how much of the name of each.
const MAX_UNREAD: (usize, usize) = (4, 128);

/// The one annotation that steers, as far as it is read, and the names of those that look like apicred's.
#[derive(Default)]
struct Annotations(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Annotations;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("annotations")
            }

            fn visit_unit<E>(self) -> Result<Annotations, E> {
                Ok(Annotations::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Annotations, A::Error> {
                let mut found = BTreeMap::new();
                while let Some(key) = map.next_key::<Cow<'_, str>>()? {
                    if [names::RENEW_REQUESTED_AT, names::ROTATE_REQUESTED_AT].contains(&&*key) {
                        let value = map.next_value::<Cow<'_, str>>()?;
                        let value = value.chars().take(MAX_RENEW_REQUEST).collect();
                        found.insert(key.into_owned(), value);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                        if found.len() <= MAX_UNREAD.0 && looks_ours(&key) {
                            let name = key.chars().take(MAX_UNREAD.1).collect();
                            found.insert(name, String::new());
                        }
                    }
                }
                Ok(Annotations(found))
            }
        }
        deserializer.deserialize_any(Pairs)
    }
}

/// Does anybody but apicred hold a part of the status?
#[derive(Default)]
struct StatusManagers {
    strange: bool,
}

#[derive(Deserialize)]
struct Manager {
    #[serde(default)]
    manager: Option<String>,
    #[serde(default)]
    subresource: Option<String>,
}

impl<'de> Deserialize<'de> for StatusManagers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = StatusManagers;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("managed fields")
            }

            fn visit_unit<E>(self) -> Result<StatusManagers, E> {
                Ok(StatusManagers::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut entries: A,
            ) -> Result<StatusManagers, A::Error> {
                let mut strange = false;
                while let Some(entry) = entries.next_element::<Manager>()? {
                    strange |= entry.subresource.as_deref() == Some("status")
                        && entry.manager.as_deref() != Some(names::MANAGER);
                }
                Ok(StatusManagers { strange })
            }
        }
        deserializer.deserialize_any(Entries)
    }
}

impl<K: Resource> Resource for Readable<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dynamic)
    }

    fn group(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dynamic)
    }

    fn version(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dynamic)
    }

    fn plural(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dynamic)
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(unusable) => &unusable.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => object.meta_mut(),
            Err(unusable) => &mut unusable.metadata,
        }
    }
}

#[cfg(test)]
mod tests;
