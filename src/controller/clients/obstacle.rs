//! Other writers of a client's Secret. If such a tool restores the old content, the new client credential stops working: the
//! old client credential is removed at the issuer while the Secret contains it again.

use k8s_openapi::{
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta},
};

use crate::{
    api::names,
    credential::{Key, TLS, binding::is_named},
    rotation::{Kind, Record, Rotating, StoredRecord},
};

/// Labels and annotations of tools that restore the content of a Secret. The list is not complete: see also [`MANAGERS`].
const MARKS: [(&str, &str); 12] = [
    (names::CERT_MANAGER, "cert-manager"),
    ("argocd.argoproj.io/tracking-id", "Argo CD"),
    ("argocd.argoproj.io/instance", "Argo CD"),
    ("kustomize.toolkit.fluxcd.io/name", "Flux"),
    ("helm.toolkit.fluxcd.io/name", "Flux"),
    ("meta.helm.sh/release-name", "Helm"),
    ("reconcile.external-secrets.io/managed", "External Secrets"),
    (
        "reconcile.external-secrets.io/data-hash",
        "External Secrets",
    ),
    ("replicator.v1.mittwald.de/replicated-at", "Replicator"),
    ("reflector.v1.k8s.emberstack.com/reflects", "Reflector"),
    ("objectset.rio.cattle.io/applied", "Fleet"),
    (
        "config.k8s.io/owning-inventory",
        "an inventory of kpt or cli-utils",
    ),
];

/// Prefixes of the field managers that such tools use.
const MANAGERS: [(&str, &str); 12] = [
    ("argocd", "Argo CD"),
    ("kustomize-controller", "Flux"),
    ("helm", "Helm"),
    ("externalsecrets.external-secrets.io", "External Secrets"),
    ("external-secrets", "External Secrets"),
    ("vault-secrets-operator", "Vault Secrets Operator"),
    ("sealed-secrets", "Sealed Secrets"),
    ("secrets-store-csi-driver", "the Secrets Store CSI driver"),
    ("Terraform", "Terraform"),
    ("HashiCorp", "Terraform"),
    ("pulumi", "Pulumi"),
    ("fleet", "Fleet"),
];

/// Why the content of this Secret may not be replaced. If the Secret can never be used, its owner need not allow anything, so that is reported
/// first.
pub(super) fn obstacle(
    secret: &Secret,
    rotating: &Rotating,
    key: &Key,
    uid: &str,
) -> Option<String> {
    found(secret, (rotating.settings.kind, &rotating.keys), key, uid)
}

/// Adds the credential that a rotation was adding to the reason why the Secret may not be changed: its answer may be lost.
pub(super) fn with_added(why: String, secret: &Secret, uid: &str) -> String {
    let annotations = secret.metadata.annotations.as_ref();
    let noted = annotations.map(Record::read);
    let Some(StoredRecord::Record(record)) = noted else {
        return why;
    };
    let deleting = secret.metadata.deletion_timestamp.is_some();
    match record.adds(uid) {
        Some(name) if deleting => format!(
            "{why}; a credential whose name ends with {name} may be at the issuer: remove it there"
        ),
        Some(name) => format!(
            "{why}; a credential whose name ends with {name} may be at the issuer, and apicred continues with it when the Secret may be changed"
        ),
        None => why,
    }
}

/// Why the content may not be replaced, for this kind of credential, under these keys of the Secret.
fn found(secret: &Secret, (kind, keys): (Kind, &[String]), key: &Key, uid: &str) -> Option<String> {
    let meta = &secret.metadata;
    let name = meta.name.as_deref().unwrap_or_default();
    let annotations = meta.annotations.as_ref();
    let noted = |key: &str| annotations.and_then(|a| a.get(key));
    let (certificate, private) = TLS;
    let pair = kind == Kind::Certificate && keys != [certificate, private];
    if pair && noted(names::CERT_MANAGER).is_some() {
        return Some(format!(
            "Secret {name} belongs to cert-manager, and a certificate of cert-manager is uploaded from the keys {certificate} and {private} only; use the keys {certificate} and {private} (remove certificateKey and privateKeyKey)"
        ));
    }
    let owner = owner(meta)
        .or_else(|| marked(meta))
        .or_else(|| writer(meta));
    let allowed = noted(names::ROTATE_BY).is_some_and(|by| is_named(by, &key.name, uid));
    // Without the permission of its owner, a user of the client may not be able to read the Secret: nothing of it is shown.
    let owner = owner.map(|owner| {
        if allowed {
            owner
        } else {
            "another tool or object".to_owned()
        }
    });
    if let Some(owner) = owner {
        return Some(format!(
            "Secret {name} belongs to {owner}, which would put the old content back; give the client a Secret of its own, or remove rotation"
        ));
    }
    if meta.deletion_timestamp.is_some() {
        return Some(format!("Secret {name} is being deleted; create it again"));
    }
    if secret.immutable == Some(true) {
        return Some(format!(
            "Secret {name} is immutable; create it again without immutable"
        ));
    }
    (!allowed).then(|| {
        format!(
            "Secret {name} may not be changed by this client; its owner must set the annotation {}: {} on it",
            names::ROTATE_BY,
            key.name
        )
    })
}

/// The object that fills this Secret: its controller, or a custom resource. Owners of other kinds exist for garbage collection.
fn owner(meta: &ObjectMeta) -> Option<String> {
    let mut owners = meta.owner_references.iter().flatten();
    let fills = owners.find(|owner| {
        let group = owner.api_version.split('/').next().unwrap_or_default();
        owner.controller == Some(true) || (group.contains('.') && group != names::GROUP)
    });
    fills.map(|owner| format!("{} {}", owner.kind, owner.name))
}

/// Finds a tool by a label or an annotation.
fn marked(meta: &ObjectMeta) -> Option<String> {
    let maps = || {
        [meta.annotations.as_ref(), meta.labels.as_ref()]
            .into_iter()
            .flatten()
    };
    let has = |key: &str| maps().any(|map| map.contains_key(key));
    let known = MARKS.iter().find(|(key, _)| has(key));
    // Tools write their name here (a recommended label of Kubernetes).
    let by = maps().find_map(|map| map.get("app.kubernetes.io/managed-by"));
    let by = by
        .filter(|by| !by.is_empty())
        .map(|by| crate::printable(by).into_owned());
    known.map(|(_, tool)| (*tool).to_owned()).or(by)
}

/// Finds a tool by the field manager that owns a key of the data.
fn writer(meta: &ObjectMeta) -> Option<String> {
    let mut entries = meta.managed_fields.iter().flatten().filter(|e| has_data(e));
    entries.find_map(|entry| {
        let manager = entry.manager.as_deref().unwrap_or_default();
        let known = MANAGERS.iter().find(|(name, _)| manager.starts_with(name));
        known.map(|(_, tool)| (*tool).to_owned())
    })
}

fn has_data(entry: &ManagedFieldsEntry) -> bool {
    let fields = entry.fields_v1.as_ref();
    fields.is_some_and(|fields| fields.0.get("f:data").is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    #[test]
    fn only_the_owner_allows_a_client_to_change_a_secret_that_no_other_tool_fills() {
        let key = Key::new("secops", "defender");
        let reported = |meta: &Json, immutable: bool| {
            let mut all =
                json!({ "name": "s", "annotations": { "apicred.dev/rotate-by": "defender" } });
            for (name, value) in meta.as_object().into_iter().flatten() {
                all[name] = value.clone();
            }
            let secret = json!({ "metadata": all, "immutable": immutable });
            let secret = serde_json::from_value(secret).unwrap();
            found(&secret, (Kind::Secret, &[]), &key, "u")
        };
        let by = |name: &str| json!({ "annotations": { "apicred.dev/rotate-by": name } });
        let with = |key: &str| json!({ "labels": { key: "x" } });
        let owner = json!({ "ownerReferences": [{
            "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "name": "e", "uid": "1", "controller": true,
        }] });
        let vault = json!({ "ownerReferences": [{
            "apiVersion": "secrets.hashicorp.com/v1beta1", "kind": "VaultStaticSecret", "name": "v", "uid": "1",
        }] });
        let manager = |name: &str, fields: Json| {
            let entry = json!({
                "manager": name, "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields,
            });
            json!({ "managedFields": [entry] })
        };
        let data = json!({ "f:data": { "f:value": {} } });
        let notes = json!({ "f:metadata": { "f:annotations": {} } });
        let follower = json!({ "ownerReferences": [{ "apiVersion": "v1", "kind": "ConfigMap", "name": "e", "uid": "1" }] });
        for (meta, immutable, words) in [
            (json!({}), false, None),
            (by("defender@u"), false, None),
            (follower, false, None),
            (by("defender@v"), false, Some("rotate-by: defender")),
            (by("other"), false, Some("rotate-by: defender")),
            (
                json!({ "annotations": null }),
                false,
                Some("rotate-by: defender"),
            ),
            (json!({}), true, Some("immutable")),
            (owner, false, Some("ExternalSecret e")),
            (vault, false, Some("VaultStaticSecret v")),
            (manager("kubectl-create", data.clone()), false, None),
            (manager("argocd-controller", notes), false, None),
            (
                manager("argocd-controller", data.clone()),
                false,
                Some("Argo CD"),
            ),
            (manager("Terraform", data.clone()), false, Some("Terraform")),
            (
                manager("externalsecrets.external-secrets.io/graph", data),
                false,
                Some("External Secrets"),
            ),
            (
                with("reconcile.external-secrets.io/managed"),
                false,
                Some("External Secrets"),
            ),
            (
                with("app.kubernetes.io/managed-by"),
                false,
                Some("belongs to x"),
            ),
            (with("app.kubernetes.io/instance"), false, None),
            (with("argocd.argoproj.io/instance"), false, Some("Argo CD")),
            (
                with("kustomize.toolkit.fluxcd.io/name"),
                false,
                Some("Flux"),
            ),
            (
                with("cert-manager.io/certificate-name"),
                false,
                Some("cert-manager"),
            ),
        ] {
            let server_message = reported(&meta, immutable);
            match words {
                None => assert_eq!(server_message, None, "{meta}"),
                Some(words) => assert!(
                    server_message.as_ref().is_some_and(|s| s.contains(words)),
                    "{meta}: {server_message:?}"
                ),
            }
        }
    }

    #[test]
    fn what_never_lets_a_secret_be_used_is_reported_before_the_permission_of_its_owner() {
        let key = Key::new("secops", "defender");
        let message_for = |kind, secret: Json| {
            let secret = serde_json::from_value(secret).unwrap();
            let keys = ["tls-combined.pem".to_owned()];
            found(&secret, (kind, &keys), &key, "u").unwrap_or_default()
        };
        let by_cert_manager = json!({ "metadata": {
            "name": "s", "annotations": { "cert-manager.io/certificate-name": "c" },
        } });
        let text = message_for(Kind::Certificate, by_cert_manager.clone());
        assert!(text.contains("use the keys tls.crt and tls.key"), "{text}");
        assert!(!text.contains("of its own"), "{text}");
        // A client secret has no such keys.
        let text = message_for(Kind::Secret, by_cert_manager);
        assert!(text.contains("a Secret of its own"), "{text}");
        let label = json!({ "reconcile.external-secrets.io/managed": "true" });
        let of_another = json!({ "metadata": { "name": "s", "labels": label } });
        let text = message_for(Kind::Secret, of_another);
        assert!(text.contains("belongs to another tool or object"), "{text}");
        let text = message_for(
            Kind::Secret,
            json!({ "metadata": { "name": "s" }, "immutable": true }),
        );
        assert!(text.contains("is immutable"), "{text}");
        // A finalizer keeps it for now.
        let ends = json!({ "name": "s", "deletionTimestamp": "2026-12-01T00:00:00Z",
            "annotations": { "apicred.dev/rotate-by": "defender" } });
        let text = message_for(Kind::Secret, json!({ "metadata": ends }));
        assert_eq!(text, "Secret s is being deleted; create it again");
        let text = message_for(Kind::Secret, json!({ "metadata": { "name": "s" } }));
        assert!(text.contains("rotate-by: defender"), "{text}");
    }
}
