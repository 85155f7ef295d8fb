//! The three writes of a target Secret: create it, replace its token, correct its metadata.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::Resource;
use serde_json::{Map, Value, json};

use super::{ManagedKeys, Record, Template, noted_type, ownership::Published};
use crate::api::{ApiCredential, SecretType, names};

/// A Secret to create. It is created, never applied: a create fails if another writer was faster.
pub fn create(
    namespace: &str,
    name: &str,
    template: &Template,
    record: &Record,
    data: BTreeMap<String, ByteString>,
) -> Secret {
    let annotations = template_annotations(template)
        .chain(record.annotations())
        .filter_map(|(k, v)| Some((k, v?)))
        .collect();
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(template.labels.clone()),
            annotations: Some(annotations),
            owner_references: template.owned.then(|| vec![owner_reference(template)]),
            ..ObjectMeta::default()
        },
        type_: Some(template.type_.to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}

/// A patch that writes a token into a Secret at `version`, and corrects its metadata in the same write. Keys that were written before and are
/// not wanted any more are removed.
pub fn rotate_patch(
    version: &str,
    template: &Template,
    keys_before: &ManagedKeys,
    record: &Record,
    data: &BTreeMap<String, ByteString>,
) -> Value {
    let mut patch = template_patch(version, template, keys_before, record.annotations());
    let mut files: Map<String, Value> = keys_before
        .files()
        .map(|key| (key.to_owned(), Value::Null))
        .collect();
    files.extend(data.iter().map(|(key, value)| (key.clone(), json!(value))));
    patch["data"] = Value::Object(files);
    patch
}

/// A patch that replaces an earlier owner with this one at `version`: a Secret has one controller. The data stays, and so does the list of the
/// set keys, with which the next write removes them. The token was requested for another object, so the annotations that make it valid are
/// removed.
pub fn take_over_patch(version: &str, template: &Template, earlier_uid: &str) -> Value {
    let whose = |name: &str| (name.to_owned(), json!(template.annotations.get(name)));
    let mut annotations: Map<String, Value> = [names::CREDENTIAL, names::CREDENTIAL_UID]
        .map(whose)
        .into_iter()
        .collect();
    let notes = [names::ISSUED_AT, names::REQUEST_DIGEST, names::FINGERPRINT];
    annotations.extend(notes.map(|name| (name.to_owned(), Value::Null)));
    let mut owners = owners_patch(template);
    owners.push(json!({ "$patch": "delete", "uid": earlier_uid }));
    json!({
        "metadata": {
            "resourceVersion": version,
            "annotations": annotations,
            "ownerReferences": owners,
        },
    })
}

/// A patch that changes only the metadata of a Secret at `version`; the token is neither read nor sent.
pub fn render_patch(version: &str, template: &Template, keys_before: &ManagedKeys) -> Value {
    template_patch(version, template, keys_before, BTreeMap::new())
}

/// A patch that removes the token from a Secret at `version`: its files and its record. The Secret stays, so that Pods that mount it can start.
/// Running Pods lose the files.
pub fn empty_patch(version: &str, published: &Published) -> Value {
    let keys = &published.managed_keys;
    let mut annotations: Map<String, Value> = names::RECORD
        .iter()
        .map(|name| ((*name).to_owned(), Value::Null))
        .collect();
    let left = ManagedKeys {
        data: Vec::new(),
        ..ManagedKeys::clone(keys)
    };
    let left = serde_json::to_string(&left).unwrap_or_default();
    annotations.insert(names::MANAGED_KEYS.to_owned(), json!(left));
    let mut files: Map<String, Value> = keys
        .files()
        .map(|key| (key.to_owned(), Value::Null))
        .collect();
    // The API server does not accept a Secret of this type without this key.
    let docker = SecretType::DockerConfigJson.as_str();
    if noted_type(&published.template_digest) == Some(docker) {
        let nothing = ByteString(br#"{"auths":{}}"#.to_vec());
        files.insert(".dockerconfigjson".to_owned(), json!(nothing));
    }
    json!({
        "metadata": { "resourceVersion": version, "annotations": annotations },
        "data": files,
    })
}

fn template_patch(
    version: &str,
    template: &Template,
    before: &ManagedKeys,
    record: BTreeMap<String, Option<String>>,
) -> Value {
    // All keys that were set are removed, and those that are still wanted are set again.
    let off = |keys: &[String]| -> Map<String, Value> {
        keys.iter().map(|k| (k.clone(), Value::Null)).collect()
    };
    let mut labels = off(&before.labels);
    labels.extend(template.labels.iter().map(|(k, v)| (k.clone(), json!(v))));
    let mut annotations = off(&before.annotations);
    annotations.extend(
        template_annotations(template)
            .chain(record)
            .map(|(k, v)| (k, json!(v))),
    );
    json!({
        "metadata": {
            "resourceVersion": version,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": owners_patch(template),
        },
        "type": template.type_,
    })
}

/// Sets the owner reference, or removes it.
fn owners_patch(template: &Template) -> Vec<Value> {
    vec![if template.owned {
        json!(owner_reference(template))
    } else {
        // Strategic merge removes one entry of the list by its key and does not change the others.
        json!({ "$patch": "delete", "uid": template.owner.uid })
    }]
}

/// The annotations, with the digest and the list of managed keys.
fn template_annotations(template: &Template) -> impl Iterator<Item = (String, Option<String>)> {
    let keys = serde_json::to_string(&template.keys()).unwrap_or_default();
    // Neither in the digest nor among the managed keys: a Secret without it gets it with the next token, and not at once.
    let default = (names::RELOADER_IGNORE.to_owned(), "true".to_owned());
    let default = (!template.annotations.contains_key(&default.0)).then_some(default);
    template
        .annotations
        .clone()
        .into_iter()
        .chain(default)
        .chain([
            (names::TEMPLATE_DIGEST.to_owned(), template.digest()),
            (names::MANAGED_KEYS.to_owned(), keys),
        ])
        .map(|(k, v)| (k, Some(v)))
}

fn owner_reference(template: &Template) -> OwnerReference {
    OwnerReference {
        api_version: ApiCredential::api_version(&()).into_owned(),
        kind: ApiCredential::kind(&()).into_owned(),
        name: template.owner.name.clone(),
        uid: template.owner.uid.clone(),
        controller: Some(true),
        // The credential may be deleted before its Secret: no deletion must wait.
        block_owner_deletion: Some(false),
    }
}
