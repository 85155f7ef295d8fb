//! The three writes of a target Secret: create it, rotate its token, change its dress.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::Resource;
use serde_json::{Map, Value, json};

use super::{Dress, DressKeys, Record};
use crate::api::{ApiCredential, names};

/// A Secret that is not there yet. Created, never applied: a create fails if somebody was faster.
pub fn create(
    namespace: &str,
    name: &str,
    dress: &Dress,
    record: &Record,
    data: BTreeMap<String, ByteString>,
) -> Secret {
    let annotations = worn(dress)
        .chain(record.annotations())
        .filter_map(|(k, v)| Some((k, v?)))
        .collect();
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(dress.labels.clone()),
            annotations: Some(annotations),
            owner_references: dress.owned.then(|| vec![owner_reference(dress)]),
            ..ObjectMeta::default()
        },
        type_: Some(dress.type_.to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}

/// A patch that puts a token into a Secret at `version`, and its dress right in the same write. Keys that were
/// written before and are not wanted any more go.
pub fn rotate_patch(
    version: &str,
    dress: &Dress,
    worn_before: &DressKeys,
    record: &Record,
    data: &BTreeMap<String, ByteString>,
) -> Value {
    let mut patch = dress_patch(version, dress, worn_before, record.annotations());
    let mut files: Map<String, Value> = worn_before
        .files()
        .map(|key| (key.to_owned(), Value::Null))
        .collect();
    files.extend(data.iter().map(|(key, value)| (key.clone(), json!(value))));
    patch["data"] = Value::Object(files);
    patch
}

/// A [`rotate_patch`] that also takes the owner reference of an earlier owner off: a Secret has one controller.
pub fn take_over_patch(
    version: &str,
    dress: &Dress,
    (earlier_uid, worn_before): (&str, &DressKeys),
    record: &Record,
    data: &BTreeMap<String, ByteString>,
) -> Value {
    let mut patch = rotate_patch(version, dress, worn_before, record, data);
    if let Some(owners) = patch["metadata"]["ownerReferences"].as_array_mut() {
        owners.push(json!({ "$patch": "delete", "uid": earlier_uid }));
    }
    patch
}

/// A patch that changes only the dress of a Secret at `version`; the token is neither read nor sent.
pub fn render_patch(version: &str, dress: &Dress, worn_before: &DressKeys) -> Value {
    dress_patch(version, dress, worn_before, BTreeMap::new())
}

fn dress_patch(
    version: &str,
    dress: &Dress,
    before: &DressKeys,
    record: BTreeMap<String, Option<String>>,
) -> Value {
    // Everything that was put on is taken off, and what is still wanted is put on again over it.
    let off = |keys: &[String]| -> Map<String, Value> {
        keys.iter().map(|k| (k.clone(), Value::Null)).collect()
    };
    let mut labels = off(&before.labels);
    labels.extend(dress.labels.iter().map(|(k, v)| (k.clone(), json!(v))));
    let mut annotations = off(&before.annotations);
    annotations.extend(worn(dress).chain(record).map(|(k, v)| (k, json!(v))));
    let owner = if dress.owned {
        json!([owner_reference(dress)])
    } else {
        // Strategic merge takes one entry of the list out by its key and leaves the others.
        json!([{ "$patch": "delete", "uid": dress.owner.uid }])
    };
    json!({
        "metadata": {
            "resourceVersion": version,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": owner,
        },
        "type": dress.type_,
    })
}

/// Annotations of a dress with the notes about it.
fn worn(dress: &Dress) -> impl Iterator<Item = (String, Option<String>)> {
    let keys = serde_json::to_string(&dress.keys()).unwrap_or_default();
    dress
        .annotations
        .clone()
        .into_iter()
        .chain([
            (names::DRESS.to_owned(), dress.digest()),
            (names::DRESS_KEYS.to_owned(), keys),
        ])
        .map(|(k, v)| (k, Some(v)))
}

fn owner_reference(dress: &Dress) -> OwnerReference {
    OwnerReference {
        api_version: ApiCredential::api_version(&()).into_owned(),
        kind: ApiCredential::kind(&()).into_owned(),
        name: dress.owner.name.clone(),
        uid: dress.owner.uid.clone(),
        controller: Some(true),
        // The credential may go before its Secret: nobody needs to wait.
        block_owner_deletion: Some(false),
    }
}
