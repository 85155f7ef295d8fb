//! Objects from the API server, trimmed while they are decoded. Fields that apicred does not use are skipped. Of an object that
//! does not match its type, the name and the error are known: it does not affect other objects, it still exists, and it never counts as deleted.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta, Time};
use kube::Resource;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{json, value::RawValue};

use super::remains::Remains;
use crate::{
    Reason,
    api::{ApiClient, ApiCredential, ClusterTokenIssuer, TokenIssuer, names},
    credential::{FieldError, MAX_RENEW_REQUEST, annotations::looks_ours},
};

/// A kind whose spec has a maximum size: the author of an object must not control how much memory it needs.
pub(in crate::controller) trait Bounded: Resource + DeserializeOwned {
    /// The maximum size of a usable spec, in bytes of JSON.
    const MAX_SPEC: usize;
}

impl Bounded for ApiCredential {
    const MAX_SPEC: usize = 64 * 1024;
}

impl Bounded for ApiClient {
    const MAX_SPEC: usize = 64 * 1024;
}

// A `caBundle` may have up to 64 KiB.
impl Bounded for TokenIssuer {
    const MAX_SPEC: usize = 128 * 1024;
}

impl Bounded for ClusterTokenIssuer {
    const MAX_SPEC: usize = 128 * 1024;
}

/// The maximum size of a status. apicred never writes a larger one.
const MAX_STATUS: usize = 64 * 1024;
/// The maximum length of a field path in a message, in characters.
const MAX_PATH: usize = 128;

/// An object, or what is known of an unusable one.
#[derive(Clone, Debug)]
pub(in crate::controller) struct Readable<K>(pub(in crate::controller) Result<K, Box<Unusable>>);

/// An object that exists or existed, and whose spec is not known.
#[derive(Clone, Debug)]
pub(in crate::controller) struct Unusable {
    pub(in crate::controller) metadata: ObjectMeta,
    /// Its status, as JSON.
    pub(in crate::controller) status: Option<Box<RawValue>>,
    /// The fields of a credential that are used nevertheless.
    pub(in crate::controller) remains: Remains,
    pub(in crate::controller) flaw: Flaw,
}

/// Why the spec of an object is not known.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(in crate::controller) enum Flaw {
    /// A later list does not contain the object. Used only for deletions.
    NotListed,
    /// The spec is larger than the maximum.
    TooLarge {
        /// The size of its JSON in bytes.
        size: usize,
        /// The maximum size.
        max: usize,
    },
    /// This field does not match the type.
    DoesNotFit(String),
}

impl Flaw {
    /// Returns it as an error of the spec.
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
    /// Reads the JSON of an object. Fails only if the JSON is not an object.
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
            // A status that does not match is written again: decisions do not depend on it.
            match parsed.map_or_else(|| typed::<K>(spec, None), Ok) {
                Ok(mut object) => {
                    *object.meta_mut() = metadata;
                    return Ok(Self(Ok(object)));
                }
                Err(field) => Flaw::DoesNotFit(field),
            }
        };
        Ok(Self(Err(Box::new(Unusable {
            metadata,
            status: status.map(ToOwned::to_owned),
            remains: Remains::of(spec),
            flaw,
        }))))
    }
}

impl<K: Resource> Readable<K> {
    /// A deleted object: only its identity is known.
    pub(in crate::controller) fn not_listed(meta: &ObjectMeta) -> Self {
        Self(Err(Box::new(Unusable {
            metadata: identity(meta),
            status: None,
            remains: Remains::default(),
            flaw: Flaw::NotListed,
        })))
    }

    /// Why the object is unusable.
    pub(in crate::controller) fn flaw(&self) -> Option<&Flaw> {
        self.0.as_ref().err().map(|unusable| &unusable.flaw)
    }
}

/// The identity of an object.
pub(in crate::controller) fn identity(meta: &ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        ..ObjectMeta::default()
    }
}

/// The object with this spec and this status, or the field that does not match.
fn typed<K: Resource + DeserializeOwned>(spec: &str, status: Option<&str>) -> Result<K, String> {
    let status = status.map_or(String::new(), |status| format!(r#","status":{status}"#));
    let json = format!(r#"{{"metadata":{},"spec":{spec}{status}}}"#, json!({}));
    serde_json::from_str(&json).or_else(|_| {
        // Parses again to get the path: for valid objects the path is not tracked.
        let mut json = serde_json::Deserializer::from_str(&json);
        serde_path_to_error::deserialize(&mut json)
            .map_err(|error| field(&error.path().to_string()))
    })
}

/// A path for a message. It can contain keys of maps, which the author of the object chooses.
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

/// The used part of an object's metadata. Managed fields alone are four fifths of a typical object.
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
        // If another manager owns a part of the status, one entry represents all managers.
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
            // Finalizers of other controllers are read when the finalizer of apicred is changed.
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

/// The maximum number of annotations without effect that are stored for the report, and the maximum length of each name.
const MAX_UNREAD: (usize, usize) = (4, 128);

/// The annotations that control apicred, up to the length that is read, and the names of other annotations that look like annotations of apicred.
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

/// Whether any manager other than apicred owns a part of the status.
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
