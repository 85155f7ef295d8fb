//! Metadata of Secrets and namespaces, trimmed to the used parts. Other users control its content, and much of it is in memory
//! at the same time while namespaces are listed. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::core::v1::{Namespace, Secret, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, ObjectMeta, OwnerReference},
};
use kube::api::PartialObjectMeta;
use serde_json::{Map, Value};

use super::readable;
use crate::{
    api::names,
    credential::annotations::{AnnotatedKind, looks_ours, unread},
    publish::ManagedKeys,
};

/// The maximum size of annotations or labels in bytes of JSON. Larger ones are not used. The claims of one token have up to 48 KiB.
const MAX_PAIRS: usize = 64 * 1024;
/// The maximum for a Secret that apicred did not write.
const MAX_PAIRS_OF_OTHERS: usize = 16 * 1024;
/// The maximum length of a kind or a name: names of objects have at most 253 characters.
const MAX_TEXT: usize = 512;
/// The key under which the message about annotations without effect of a ServiceAccount is stored, instead of these annotations.
pub(in crate::controller) const UNREAD: &str = "unread";
/// Replaces annotations of a ServiceAccount that are too large to be stored.
pub(in crate::controller) const UNKNOWN: &str = "unknown";
/// Metadata below this size is not changed.
const SMALL: usize = 16 * 1024;

/// Reads the metadata of a Secret.
pub(in crate::controller) fn secret(
    json: &[u8],
) -> Result<PartialObjectMeta<Secret>, serde_json::Error> {
    let mut object: PartialObjectMeta<Secret> = serde_json::from_slice(json)?;
    trim_secret(&mut object.metadata, json.len());
    Ok(object)
}

/// Reads the identity of a ServiceAccount, what its owner allows, and the message about its other annotations.
pub(in crate::controller) fn account(
    json: &[u8],
) -> Result<PartialObjectMeta<ServiceAccount>, serde_json::Error> {
    let mut object: PartialObjectMeta<ServiceAccount> = serde_json::from_slice(json)?;
    let mut annotations = std::mem::take(&mut object.metadata.annotations).unwrap_or_default();
    let reported = unread(annotations.keys(), AnnotatedKind::Account);
    annotations.retain(|key, _| {
        [names::ALLOWED_ISSUERS, names::ALLOWED_AUDIENCES].contains(&key.as_str())
    });
    if size(Some(&annotations)) > MAX_PAIRS_OF_OTHERS {
        annotations = BTreeMap::from([(UNKNOWN.to_owned(), String::new())]);
    }
    annotations.extend(reported.map(|reported| (UNREAD.to_owned(), reported)));
    object.metadata = ObjectMeta {
        annotations: Some(annotations),
        ..readable::identity(&object.metadata)
    };
    Ok(object)
}

/// Reads the metadata of a namespace. If the labels are too large, none of them is used; the namespace then has no
/// `creationTimestamp` here, see [`is_usable`].
pub(in crate::controller) fn namespace(
    json: &[u8],
) -> Result<PartialObjectMeta<Namespace>, serde_json::Error> {
    let mut object: PartialObjectMeta<Namespace> = serde_json::from_slice(json)?;
    let meta = std::mem::take(&mut object.metadata);
    let fits = size(meta.labels.as_ref()) <= MAX_PAIRS;
    object.metadata = ObjectMeta {
        name: meta.name,
        uid: meta.uid,
        resource_version: meta.resource_version,
        deletion_timestamp: meta.deletion_timestamp,
        creation_timestamp: meta.creation_timestamp.filter(|_| fits),
        labels: meta.labels.filter(|_| fits),
        ..ObjectMeta::default()
    };
    Ok(object)
}

/// Whether the labels of a namespace are known. If not, it is treated as a namespace that the watch has not delivered: no rule
/// about labels matches it, and an issuer with such a rule does not serve it.
pub(in crate::controller) fn is_usable(namespace: &PartialObjectMeta<Namespace>) -> bool {
    namespace.metadata.creation_timestamp.is_some()
}

/// The maximum number of known owners of a certificate copy. Each further owner only stores the copy once more at each renewal.
const MAX_OWNERS: usize = 100;

/// Removes the unused parts of a Secret's metadata, whose JSON has this size. The parts that determine the ownership of a
/// target are retained (`publish::ownership`).
fn trim_secret(meta: &mut ObjectMeta, json: usize) {
    let owner_is_credential = |owner: &OwnerReference| {
        owner.controller == Some(true)
            && owner.kind == "ApiCredential"
            && owner.api_version.starts_with(names::GROUP)
    };
    let owners = || meta.owner_references.iter().flatten();
    let noted = meta.annotations.as_ref();
    let ours = noted.is_some_and(|a| a.contains_key(names::CREDENTIAL_UID))
        || owners().any(owner_is_credential);
    // All credentials that stored the last good certificate share its copy.
    let copy = noted.is_some_and(|a| a.contains_key(names::LAST_GOOD_OF));
    meta.finalizers = None;
    if let Some(owners) = &mut meta.owner_references {
        if copy {
            owners.truncate(MAX_OWNERS);
        } else {
            // The API server allows at most one controller.
            owners.retain(|owner| owner.controller == Some(true));
            owners.truncate(1);
        }
        for owner in owners {
            for text in [
                &mut owner.kind,
                &mut owner.name,
                &mut owner.uid,
                &mut owner.api_version,
            ] {
                cut(text);
            }
        }
    }
    if !ours {
        meta.labels = None;
        meta.managed_fields = None;
        if let Some(annotations) = &mut meta.annotations {
            // For example a misspelt prefix, which is reported.
            annotations.retain(|key, _| looks_ours(key) || key == names::CERT_MANAGER);
            if size(Some(annotations)) > MAX_PAIRS_OF_OTHERS {
                annotations.clear();
            }
        }
        return;
    }
    if json > SMALL {
        trim_target(meta);
    }
}

/// Retains of a large target Secret what apicred wrote, and which other managers wrote there.
fn trim_target(meta: &mut ObjectMeta) {
    let keys = meta.annotations.as_ref();
    let keys = keys.map_or_else(ManagedKeys::unknown, ManagedKeys::read);
    let labels: BTreeSet<&str> = keys.labels.iter().map(String::as_str).collect();
    let annotations: BTreeSet<&str> = keys.annotations.iter().map(String::as_str).collect();
    let of_apicred = |key: &str| key.starts_with(names::PREFIX);
    if let Some(present) = &mut meta.labels {
        present.retain(|key, _| labels.contains(key.as_str()));
    }
    if let Some(present) = &mut meta.annotations {
        present.retain(|key, _| annotations.contains(key.as_str()) || of_apicred(key));
        if size(Some(present)) > MAX_PAIRS {
            present.clear();
        }
    }
    let data: BTreeSet<&str> = keys.files().collect();
    for entry in meta.managed_fields.iter_mut().flatten() {
        let Some(FieldsV1(Value::Object(fields))) = &mut entry.fields_v1 else {
            continue;
        };
        let mut used = Map::new();
        for part in ["f:data", "f:stringData"] {
            if let Some(mut owned) = object(fields, part) {
                owned.retain(|key, _| data.contains(key.trim_start_matches("f:")));
                used.insert(part.to_owned(), owned.into());
            }
        }
        if let Some(mut owned) = object(fields, "f:metadata")
            && let Some(mut noted) = object(&mut owned, "f:annotations")
        {
            noted.retain(|key, _| of_apicred(key.trim_start_matches("f:")));
            let noted = Map::from_iter([("f:annotations".to_owned(), noted.into())]);
            used.insert("f:metadata".to_owned(), noted.into());
        }
        *fields = used;
    }
    if let Some(entries) = &mut meta.managed_fields {
        let empty = |entry: &ManagedFieldsEntry| match &entry.fields_v1 {
            Some(FieldsV1(Value::Object(fields))) => fields.is_empty(),
            _ => true,
        };
        let ours = |entry: &ManagedFieldsEntry| entry.manager.as_deref() == Some(names::MANAGER);
        entries.retain(|entry| ours(entry) || !empty(entry));
    }
}

fn object(fields: &mut Map<String, Value>, key: &str) -> Option<Map<String, Value>> {
    match fields.remove(key) {
        Some(Value::Object(map)) => Some(map),
        _ => None,
    }
}

fn cut(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(MAX_TEXT) {
        text.truncate(end);
        text.shrink_to_fit();
    }
}

fn size(pairs: Option<&BTreeMap<String, String>>) -> usize {
    let pairs = pairs.into_iter().flatten();
    pairs.map(|(key, value)| key.len() + value.len()).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::publish::ownership::examine;

    fn fat() -> String {
        "x".repeat(200_000)
    }

    fn target() -> Value {
        json!({
            "namespace": "n", "name": "t", "uid": "u", "resourceVersion": "9", "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": { "app.kubernetes.io/managed-by": "apicred", "team": "a", "foreign": "b" },
            "annotations": {
                "apicred.dev/credential": "c", "apicred.dev/credential-uid": "cu", "apicred.dev/template-digest": "d:Opaque",
                "apicred.dev/managed-keys": r#"{"l":["app.kubernetes.io/managed-by","team"],"a":["note"],"d":["token=Token"]}"#,
                "note": "n", "foreign": "f",
            },
            "ownerReferences": [{ "apiVersion": "apicred.dev/v1alpha1", "kind": "ApiCredential", "name": "c", "uid": "cu", "controller": true }],
            "managedFields": [
                { "manager": "apicred", "operation": "Update", "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {
                    "f:data": { ".": {}, "f:token": {} }, "f:type": {},
                    "f:metadata": { "f:annotations": { "f:apicred.dev/credential": {} }, "f:labels": { "f:team": {} } } } },
            ],
        })
    }

    fn facts(
        meta: &Value,
    ) -> (
        crate::publish::ownership::SecretFacts,
        crate::publish::ownership::SecretFacts,
        usize,
    ) {
        let mut object: ObjectMeta = serde_json::from_value(meta.clone()).unwrap();
        let before = examine(&object);
        trim_secret(&mut object, meta.to_string().len());
        (
            before,
            examine(&object),
            serde_json::to_vec(&object).unwrap().len(),
        )
    }

    #[test]
    fn what_is_taken_off_a_secret_changes_nothing_that_is_known_of_it() {
        let foreign = json!({ "manager": "kubectl", "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": { "f:data": { "f:token": {} } } });
        let other = json!({ "manager": "kubectl", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {
            "f:data": { "f:other": {} }, "f:metadata": { "f:labels": { "f:x": {} }, "f:annotations": { "f:apicred.dev/expires-at": {} } } } });
        let mut cases =
            vec![json!({ "namespace": "n", "name": "s", "uid": "u", "resourceVersion": "1" })];
        for entry in [None, Some(foreign), Some(other)] {
            let mut meta = target();
            meta["managedFields"].as_array_mut().unwrap().extend(entry);
            cases.push(meta);
        }
        let mut bare = target();
        bare["annotations"] =
            json!({ "apicred.dev/adopt-by": "c", "apicred.dev/secret-expires-at": "2027-01-01" });
        cases.push(bare.clone());
        bare["ownerReferences"][0]["kind"] = json!("Deployment");
        cases.push(bare);
        // A Secret of cert-manager, whose certificate is copied.
        cases.push(json!({
            "namespace": "n", "name": "t", "uid": "u", "resourceVersion": "9",
            "annotations": { "cert-manager.io/certificate-name": "t", "cert-manager.io/alt-names": "a" },
        }));
        // The copy of a certificate, which several credentials own.
        let owner = |uid: &str| json!({ "apiVersion": "apicred.dev/v1alpha1", "kind": "ApiCredential", "name": "c", "uid": uid });
        cases.push(json!({
            "namespace": "n", "name": "t-last-good", "uid": "u", "resourceVersion": "9",
            "labels": { "app.kubernetes.io/managed-by": "apicred" },
            "annotations": { "apicred.dev/last-good-of": "source/7" },
            "ownerReferences": [owner("one"), owner("two")],
        }));
        for meta in cases {
            let (before, after, _) = facts(&meta);
            assert_eq!(before, after, "{meta}");
            let mut large = meta.clone();
            large["labels"]["fat"] = json!(fat());
            large["annotations"]["fat"] = json!(fat());
            large["finalizers"] = json!([fat()]);
            let fields =
                json!({ "f:data": { (fat()): {} }, "f:metadata": { "f:labels": { (fat()): {} } } });
            let entry = json!({ "manager": "z", "operation": "Update", "time": "2025-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields });
            if let Some(entries) = large["managedFields"].as_array_mut() {
                entries.push(entry);
            } else {
                large["managedFields"] = json!([entry]);
            }
            let (before, after, size) = facts(&large);
            assert_eq!(before, after, "{meta}");
            assert!(size < 4000, "{size}: {meta}");
        }
    }

    #[test]
    fn texts_of_others_are_cut() {
        let mut meta = target();
        meta["annotations"] = json!({ "apicred.dev/adopt-by": fat() });
        meta["ownerReferences"][0]["kind"] = json!(fat());
        meta["ownerReferences"][0]["name"] = json!(fat());
        let (_, after, size) = facts(&meta);
        assert!(size < 4 * MAX_TEXT, "{size}");
        assert_eq!(after.adopt_by, None);
        let mut meta = target();
        meta["annotations"]["apicred.dev/template-digest"] = json!(fat());
        assert!(facts(&meta).2 < 4000);
    }

    #[test]
    fn a_namespace_with_too_many_labels_is_not_usable() {
        let read = |labels: Value| {
            let object = json!({ "metadata": { "name": "n", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": { "a": fat() }, "labels": labels } });
            namespace(object.to_string().as_bytes()).unwrap()
        };
        let small = read(json!({ "team": "a" }));
        assert!(is_usable(&small));
        assert_eq!(small.metadata.labels.as_ref().map(BTreeMap::len), Some(1));
        let large = read(json!({ "team": fat() }));
        assert!(!is_usable(&large));
        for object in [small, large] {
            assert!(serde_json::to_vec(&object).unwrap().len() < 500);
        }
    }
}
