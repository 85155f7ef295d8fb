//! A packed credential. There are ten thousand of them, and each one is reconciled a few times a day. Between two reconciles it
//! is stored as compressed JSON, which needs a third of the memory of the typed object.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, runtime::watcher::Event};
use lz4_flex::block::{compress_prepend_size_with_dict, decompress_size_prepended_with_dict};
use serde::Deserialize;

use super::{
    readable::{Flaw, Readable, Unusable},
    shown::Shown,
};
use crate::{
    api::{ApiCredential, ApiCredentialStatus, names},
    credential::annotations::looks_ours,
};

/// Common text of most credentials, in the order in which it is written: the compression refers to it. Any text works; the more
/// similar it is, the smaller the objects are.
const LIKENESS: &[u8] = br#""correlationId":","traceId":","httpStatus":200,"error":"invalid_client","code":"AADSTS7000215","reason":"RequestFailed","result":"Failed","nextAttempt":""refused":[{"at":"2026-01-01T00:00:00Z","reason":"ClientSecretRefused","ref":{"key":"client-secret","name":"","resourceVersion":""lastHandledRenewRequest":"{"apiVersion":"apicred.dev/v1alpha1","kind":"ApiCredential","metadata":{"annotations":{"apicred.dev/renew-requested-at":""},"creationTimestamp":"2026-01-01T00:00:00Z","generation":1,"name":"","namespace":"","resourceVersion":"","uid":""},"spec":{"issuerRef":{"kind":"TokenIssuer","name":"entra"},{"kind":"ClusterTokenIssuer","name":""},"client":{"id":"","certificates":[{"secretName":""}],"serviceAccount":{"name":"secretRef":{"name":"","key":"client-secret"}},"secrets":[{"key":"client-secret","name":""}]},"api":{"preset":"MicrosoftGraph"},"grant":{"refreshToken":{"stateSecretRef":{"name":""}}},"scopes":["https://graph.microsoft.com/.default"],"target":{"secretName":"token","deletionPolicy":"Delete","formats":[{"type":"Token"}]},"tenant":""},"status":{"observedGeneration":1,"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"the Secret holds a valid token","observedGeneration":1,"reason":"TokenPublished","status":"True","type":"Ready"}],"issuedAt":"2026-01-01T00:00:00Z","expiresAt":"2026-01-01T00:00:00Z","renewAt":"2026-01-01T00:00:00Z","renewReason":"Lifetime","lastAttempt":{"time":"2026-01-01T00:00:00Z","result":"Succeeded","httpStatus":200},"client":{"expiresAt":"2026-01-01T00:00:00Z","secretRef":{"key":"client-secret","name":""}},"tokenId":""}}"#;

/// A credential as stored.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "ApiCredential")]
pub(in crate::controller) struct PackedCredential {
    /// Why its spec is not known. In this case the body contains only its metadata and status.
    flaw: Option<Arc<Flaw>>,
    /// Only the namespace and name: the store and the queue of kube use and copy them.
    meta: ObjectMeta,
    pub(in crate::controller) uid: Box<str>,
    pub(in crate::controller) version: Box<str>,
    /// Digest of everything that triggers a reconcile.
    triggers: u64,
    pub(in crate::controller) shown: Shown,
    body: Arc<[u8]>,
}

/// With the two counters of its `Arc`, an object fits the allocator's class of 512 bytes; the next class has 640.
const _: () = assert!(size_of::<PackedCredential>() <= 512 - 16);

impl PackedCredential {
    /// The unpacked credential; `None` if its spec is not known.
    pub(in crate::controller) fn open(&self) -> Option<ApiCredential> {
        if self.flaw.is_some() {
            return None;
        }
        self.known()
    }

    /// The [`placeholder`] of a credential whose spec is not known, and why it is not known.
    pub(in crate::controller) fn open_unusable(&self) -> Option<(ApiCredential, &Flaw)> {
        let flaw = self.flaw()?;
        Some((self.known()?, flaw))
    }

    /// Its status.
    pub(in crate::controller) fn status(&self) -> Option<ApiCredentialStatus> {
        self.known()?.status
    }

    /// Why its spec is not known.
    pub(in crate::controller) fn flaw(&self) -> Option<&Flaw> {
        self.flaw.as_deref()
    }

    /// Its namespace and name.
    pub(in crate::controller) fn name(&self) -> (&str, &str) {
        let (namespace, name) = (&self.meta.namespace, &self.meta.name);
        (
            namespace.as_deref().unwrap_or_default(),
            name.as_deref().unwrap_or_default(),
        )
    }

    /// The identity of the object.
    pub(in crate::controller) fn identity(&self) -> ObjectMeta {
        let text = |text: &str| Some(text.to_owned());
        ObjectMeta {
            uid: text(&self.uid),
            resource_version: text(&self.version),
            ..self.meta.clone()
        }
    }

    /// The unpacked credential, or the [`placeholder`] if its spec is not known. `None` cannot occur: the data was packed here.
    pub(in crate::controller) fn known(&self) -> Option<ApiCredential> {
        let json = decompress_size_prepended_with_dict(&self.body, LIKENESS).ok()?;
        serde_json::from_slice(&json).ok()
    }

    /// True if both trigger the same reconcile: our own status, labels and other annotations are ignored.
    /// If another field manager owns part of the status, each change triggers one, because the status may need correcting.
    pub(in crate::controller) fn is_same_trigger(&self, other: &Self) -> bool {
        self.uid == other.uid && self.triggers == other.triggers
    }
}

/// A change for the store.
pub(in crate::controller) fn packed_event(
    event: &Event<Readable<ApiCredential>>,
) -> Event<PackedCredential> {
    let packed = |object: &Readable<ApiCredential>| match &object.0 {
        Ok(object) => PackedCredential::from(object),
        Err(unusable) => PackedCredential::from(unusable.as_ref()),
    };
    match event {
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(packed(object)),
        Event::InitDone => Event::InitDone,
        Event::Apply(object) => Event::Apply(packed(object)),
        Event::Delete(object) => Event::Delete(packed(object)),
    }
}

/// What is known of a credential whose spec is not known. In the spec of the result only the fields of [`super::remains::Remains`] are
/// meaningful.
pub(in crate::controller) fn placeholder(unusable: &Unusable) -> ApiCredential {
    let status = unusable.status.as_ref();
    ApiCredential {
        metadata: unusable.metadata.clone(),
        spec: unusable.remains.spec(),
        status: status.and_then(|s| serde_json::from_str(s.get()).ok()),
    }
}

impl From<&Unusable> for PackedCredential {
    fn from(unusable: &Unusable) -> Self {
        // Its spec is never used, see `open`.
        let mut packed = Self::from(placeholder(unusable));
        let mut hasher = DefaultHasher::new();
        (packed.triggers, &unusable.flaw).hash(&mut hasher);
        packed.triggers = hasher.finish();
        packed.flaw = Some(Arc::new(unusable.flaw.clone()));
        packed
    }
}

impl From<&ApiCredential> for PackedCredential {
    fn from(object: &ApiCredential) -> Self {
        let meta = &object.metadata;
        let text = |text: &Option<String>| text.as_deref().unwrap_or_default().into();
        let json = serde_json::to_vec(object).unwrap_or_default();
        Self {
            flaw: None,
            meta: ObjectMeta {
                namespace: meta.namespace.clone(),
                name: meta.name.clone(),
                ..ObjectMeta::default()
            },
            uid: text(&meta.uid),
            version: text(&meta.resource_version),
            triggers: triggers(object),
            shown: Shown::of(object),
            body: compress_prepend_size_with_dict(&json, LIKENESS).into(),
        }
    }
}

impl From<ApiCredential> for PackedCredential {
    fn from(object: ApiCredential) -> Self {
        Self::from(&object)
    }
}

impl Resource for PackedCredential {
    type DynamicType = ();
    type Scope = <ApiCredential as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        ApiCredential::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        ApiCredential::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        ApiCredential::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        ApiCredential::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

fn triggers(object: &ApiCredential) -> u64 {
    let meta = &object.metadata;
    let renew = meta
        .annotations
        .as_ref()
        .and_then(|a| a.get(names::RENEW_REQUESTED_AT));
    // For example a misspelt annotation, which is reported.
    let others = meta.annotations.iter().flat_map(BTreeMap::keys);
    let others: Vec<&String> = others
        .filter(|key| looks_ours(key) && *key != names::RENEW_REQUESTED_AT)
        .collect();
    let strange = meta.managed_fields.as_ref().map(|_| &meta.resource_version);
    let deleting = meta.deletion_timestamp.is_some();
    let finalizers = &meta.finalizers;
    let mut hasher = DefaultHasher::new();
    (
        meta.generation,
        deleting,
        finalizers,
        renew,
        others,
        strange,
    )
        .hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(status: &Value) -> ApiCredential {
        serde_json::from_value(json!({
            "apiVersion": "apicred.dev/v1alpha1",
            "kind": "ApiCredential",
            "metadata": {
                "name": "load-17", "namespace": "load-3", "generation": 2, "resourceVersion": "4711",
                "uid": "7e4dd9bb-4f7d-4ccd-b6a2-1d8f6c2b9a10", "creationTimestamp": "2026-07-27T10:00:00Z",
                "annotations": { "apicred.dev/renew-requested-at": "2026-07-27T11:00:00Z" },
            },
            "spec": {
                "issuerRef": { "kind": "ClusterTokenIssuer", "name": "entra" },
                "client": { "id": "client-17", "secrets": [{ "name": "source", "key": "client-secret" }] },
                "scopes": ["https://graph.microsoft.com/.default"],
                "target": { "secretName": "token-17" },
            },
            "status": status,
        }))
        .unwrap()
    }

    fn reported() -> Value {
        let condition = |kind: &str, status: &str, reason: &str| {
            json!({ "type": kind, "status": status, "reason": reason, "observedGeneration": 2,
                "message": format!("a sentence about {reason}, as long as they are"),
                "lastTransitionTime": "2026-07-27T10:00:01Z" })
        };
        json!({
            "observedGeneration": 2,
            "conditions": [
                condition("Ready", "True", "TokenPublished"),
                condition("ClientCredentialExpiring", "True", "SecretExpired"),
                condition("PermissionsMissing", "True", "RolesMissing"),
            ],
            "issuedAt": "2026-07-27T10:00:01Z", "expiresAt": "2026-07-27T11:00:01Z",
            "renewAt": "2026-07-27T10:40:00Z", "renewReason": "Lifetime",
            "client": { "secretRef": { "name": "source", "key": "client-secret" }, "expiresAt": "2026-07-01T00:00:00Z" },
            "tokenId": "bm90IGEgc2VjcmV0",
            "lastAttempt": { "time": "2026-07-27T10:00:01Z", "result": "Succeeded", "httpStatus": 200 },
        })
    }

    #[test]
    fn what_is_packed_comes_out_as_it_was() {
        for status in [json!(null), json!({}), reported()] {
            let object = object(&status);
            let packed = PackedCredential::from(&object);
            assert_eq!(packed.open().as_ref(), Some(&object));
            assert_eq!(
                (&*packed.uid, &*packed.version),
                ("7e4dd9bb-4f7d-4ccd-b6a2-1d8f6c2b9a10", "4711")
            );
        }
    }

    #[test]
    fn of_one_that_cannot_be_used_metadata_and_status_come_out_and_no_spec() {
        let unusable = |object: &ApiCredential, version: &str| {
            let mut json = serde_json::to_value(object).unwrap();
            json["spec"] = json!({ "target": version });
            json["metadata"]["resourceVersion"] = json!(version);
            PackedCredential::from(
                Readable::<ApiCredential>::read(json.to_string().as_bytes())
                    .unwrap()
                    .0
                    .unwrap_err()
                    .as_ref(),
            )
        };
        let object = object(&reported());
        let packed = unusable(&object, "4712");
        assert!(packed.open().is_none());
        let (placeholder, flaw) = packed.open_unusable().unwrap();
        assert_eq!(*flaw, Flaw::DoesNotFit("spec.target".to_owned()));
        assert_eq!(placeholder.status, object.status);
        assert_eq!(placeholder.metadata.uid, object.metadata.uid);
        assert!(packed.shown.published);
        // It triggers a reconcile when it becomes unusable, but not at each change of its status.
        assert!(!PackedCredential::from(&object).is_same_trigger(&packed));
        assert!(unusable(&object, "4713").is_same_trigger(&packed));
    }

    #[test]
    fn a_body_that_is_spoilt_is_no_credential() {
        let packed = PackedCredential::from(object(&reported()));
        for cut in 0..packed.body.len() {
            let body = Arc::from(&packed.body[..cut]);
            assert!(
                PackedCredential {
                    body,
                    ..packed.clone()
                }
                .open()
                .is_none(),
                "{cut}"
            );
        }
    }

    #[test]
    fn it_is_small() {
        let object = object(&reported());
        let json = serde_json::to_vec(&object).unwrap();
        let packed = PackedCredential::from(&object);
        assert!(
            packed.body.len() * 2 < json.len(),
            "{} of {}",
            packed.body.len(),
            json.len()
        );
    }

    #[test]
    fn metrics_need_not_open_it() {
        let shown = PackedCredential::from(object(&reported())).shown;
        assert!(shown.published && shown.permissions_missing);
        assert_eq!(
            (shown.ready, shown.client_expired()),
            (Some(true), Some(true))
        );
        assert_eq!(shown.expires_at, Some(1_785_150_001));
        assert_eq!(shown.client_credential_expires_at, Some(1_782_864_000));
        let shown = PackedCredential::from(object(&json!({}))).shown;
        assert_eq!(
            (shown.ready, shown.published, shown.expires_at),
            (None, false, None)
        );
    }

    #[test]
    fn only_what_a_reconcile_is_for_triggers_one() {
        let first = PackedCredential::from(object(&reported()));
        let with = |change: &dyn Fn(&mut ApiCredential)| {
            let mut object = object(&json!({}));
            change(&mut object);
            first.is_same_trigger(&PackedCredential::from(&object))
        };
        assert!(
            with(&|o| o.metadata.resource_version = Some("4712".to_owned())),
            "a status"
        );
        assert!(
            !with(&|o| o.metadata.managed_fields = Some(vec![])),
            "a status that another manager wrote"
        );
        assert!(!with(&|o| o.metadata.generation = Some(3)), "a spec");
        assert!(
            !with(&|o| o.metadata.uid = Some("another".to_owned())),
            "another object"
        );
        assert!(
            !with(&|o| o.metadata.annotations = None),
            "a requested renewal"
        );
        assert!(
            !with(&|o| o.metadata.deletion_timestamp = o.metadata.creation_timestamp.clone()),
            "a deletion"
        );
        assert!(
            !with(&|o| o.metadata.finalizers = Some(vec![names::REVOKE_FINALIZER.to_owned()])),
            "a finalizer that another writer added or removed"
        );
    }
}
