//! Credentials of clusters whose CRDs are newer than this plugin: only what a renewal needs must have a known form.

use apicred::api::ApiCredential;
use kube::{Api, api::DynamicObject};
use serde_json::{Value, json};

use crate::cluster::{ApiErrorKind, Cluster, Failed, call};

/// The fields of the status that a renewal needs.
const STATUS: [&str; 5] = [
    "observedGeneration",
    "conditions",
    "lastAttempt",
    "nextAttempt",
    "lastHandledRenewRequest",
];

/// The credentials of the namespace, in any form.
pub(crate) fn credentials(cluster: &Cluster) -> Api<DynamicObject> {
    cluster.untyped::<ApiCredential>()
}

/// Reads a credential.
pub(crate) async fn get(cluster: &Cluster, name: &str) -> Result<ApiCredential, Failed> {
    credential(&call(credentials(cluster).get(name)).await?)
}

/// The credential. If this plugin does not know a value in it, only the parts that a renewal needs.
pub(crate) fn credential(object: &DynamicObject) -> Result<ApiCredential, Failed> {
    let whole = serde_json::to_value(object).unwrap_or_default();
    let read = |value: Value| serde_json::from_value::<ApiCredential>(value).ok();
    let known = || {
        let mut part = whole.clone();
        part["spec"] = json!({
            "suspend": whole["spec"]["suspend"], "target": { "secretName": "unknown" },
        });
        if let Some(status) = part["status"].as_object_mut() {
            status.retain(|field, _| STATUS.contains(&field.as_str()));
        }
        read(part)
    };
    let found = read(whole.clone()).or_else(known);
    found.ok_or_else(|| ApiErrorKind::Unreadable.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(spec: &Value, status: &Value) -> DynamicObject {
        let object = json!({
            "apiVersion": "apicred.dev/v1alpha1", "kind": "ApiCredential",
            "metadata": { "name": "c", "namespace": "team", "annotations": { "a": "b" } },
            "spec": spec, "status": status,
        });
        serde_json::from_value(object).expect("an object")
    }

    #[test]
    fn a_value_of_a_newer_version_hides_nothing_that_a_renewal_needs() {
        let status = json!({ "observedGeneration": 3, "lastHandledRenewRequest": "mine" });
        let mut newer = status.clone();
        newer["client"] = json!(["another", "form"]);
        for (spec, status) in [
            (
                json!({ "suspend": true, "target": { "secretName": "t" } }),
                &status,
            ),
            (
                json!({ "suspend": true, "target": { "secretName": "t", "formats": 7 }, "grant": "new" }),
                &status,
            ),
            (
                json!({ "suspend": true, "target": { "secretName": "t" } }),
                &newer,
            ),
        ] {
            let found = credential(&object(&spec, status)).expect("a credential");
            assert_eq!(found.spec.suspend, Some(true), "{spec}");
            let status = found.status.expect("a status");
            assert_eq!(status.observed_generation, Some(3));
            assert_eq!(status.last_handled_renew_request.as_deref(), Some("mine"));
            assert_eq!(found.metadata.annotations.expect("annotations")["a"], "b");
        }
        let failed = credential(&object(&json!({}), &json!({ "conditions": 7 })));
        let why = failed.expect_err("another form").about("reading");
        assert!(why.contains("older than the CRDs"), "{why}");
    }
}
