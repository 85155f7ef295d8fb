//! A Secret of cert-manager is not written. The last good certificate, which is in the copy ([`crate::publish::last_good`]),
//! announces the certificate in the Secret; `core/rotation/upload.rs` explains the states.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{
    ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Api;

use super::{
    driver::{Driver, RECHECK, StepInputs},
    patience::LONGEST,
    seen::{ClientValue, users},
};
use crate::controller::{
    api::calls::{ApiErrorKind, call},
    cache::cached_client::CachedClient,
};
use crate::{
    api::names,
    credential::Credential,
    plan::fingerprint::DigestKey,
    publish::last_good::{self, LastGood},
    rotation::{
        Before, Kind, Record, Registry, Rotating, StoredRecord, Uploading, used_at, used_before,
        values::NEXT,
    },
};

/// The name of the copy, if cert-manager creates the certificates of this Secret, so that they are uploaded.
pub(super) fn copy_of(
    rotating: &Rotating,
    credential: &Credential,
    meta: &ObjectMeta,
) -> Option<String> {
    let annotations = meta.annotations.as_ref()?;
    let uploads = rotating.settings.kind == Kind::Certificate
        && matches!(rotating.registry, Registry::Graph(_))
        && annotations.contains_key(names::CERT_MANAGER);
    // The client has one certificate.
    let copied = credential.authentication.copies().pop()?;
    uploads.then_some(copied.copy.name)
}

/// The data of a Secret.
type Data = BTreeMap<String, ByteString>;

/// The pair in the copy as the current value, and the pair in the Secret as the next value.
fn side_by_side(rotating: &Rotating, copy: &Data, secret: &Data) -> Data {
    let mut all = Data::new();
    for key in &rotating.keys {
        all.extend(copy.get(key).map(|v| (key.clone(), v.clone())));
        all.extend(secret.get(key).map(|v| (format!("{key}{NEXT}"), v.clone())));
    }
    all
}

/// Puts both pairs where the steps of a rotation expect them. The result is never written.
pub(super) fn joined(
    rotating: &Rotating,
    digests: &DigestKey,
    secret: &mut Secret,
    copy: Option<&Data>,
) -> Uploading {
    let slot =
        |data: &Data| ClientValue::read(rotating, data, "").and_then(|v| v.slot(rotating, digests));
    let seen = Uploading {
        secret: secret.data.as_ref().and_then(slot),
        copy: copy.and_then(slot),
        named: rotating.object_id.is_some(),
        ..Uploading::default()
    };
    if let (Some(copy), Some(own), Some(_)) = (copy, &secret.data, &seen.slots().next) {
        secret.data = Some(side_by_side(rotating, copy, own));
    }
    seen
}

impl Driver {
    /// The data of the copy, if this Secret has one.
    pub(super) async fn copy(
        &self,
        name: &str,
        of: &ObjectMeta,
    ) -> Result<Option<Data>, (String, Duration)> {
        let context = &self.context;
        if !last_good::is_wanted(of) {
            let source = of.name.as_deref().unwrap_or_default();
            let why = format!(
                "Secret {source} belongs to cert-manager, and its annotation {} does not let apicred keep the last good certificate, which proves a new one; remove the annotation, or rotation",
                names::KEEP_LAST_GOOD
            );
            return Err((why, RECHECK));
        }
        let api: Api<Secret> = Api::namespaced(context.client.clone(), &self.key.namespace);
        let copy = match call(&context.metrics, "get_secret", || api.get(name)).await {
            Ok(copy) => copy,
            Err(ApiErrorKind::NotFound) => return Ok(None),
            Err(_) => {
                let why = format!("Secret {name} cannot be read; apicred tries again");
                return Err((why, LONGEST));
            }
        };
        let Some(stored) = LastGood::read(&copy.metadata) else {
            let why = format!(
                "Secret {name} has the name of the last good certificate, and apicred did not create it; delete it, or remove rotation"
            );
            return Err((why, RECHECK));
        };
        let same = stored.of.is_some_and(|(uid, _)| Some(uid) == of.uid);
        let stays = copy.metadata.deletion_timestamp.is_none();
        Ok(copy.data.filter(|_| same && stays))
    }

    /// All observations of an upload.
    pub(super) fn uploading(
        &self,
        client: &CachedClient,
        inputs: &StepInputs,
        pairs: &Uploading,
    ) -> Uploading {
        let meta = &inputs.secret.metadata;
        let (uid, version) = (meta.uid.as_deref(), meta.resource_version.as_deref());
        let namespace = &self.key.namespace;
        let users = users(
            &self.context,
            namespace,
            &inputs.rotating,
            &inputs.place.credential.issuer,
            uid.unwrap_or_default(),
        );
        let none = BTreeMap::new();
        let noted = Record::read(meta.annotations.as_ref().unwrap_or(&none));
        let before = match noted {
            StoredRecord::Record(record) => Some(Before {
                record,
                names: inputs.names(&self.uid),
            }),
            StoredRecord::Absent | StoredRecord::Unreadable => None,
        };
        let source = (namespace.clone(), inputs.rotating.secret.clone());
        Uploading {
            before,
            used_at: used_at(&users, version.unwrap_or_default()),
            used_before: used_before(&users),
            not_kept: self.context.not_copied(&source),
            requested: client.rotate_requested.clone(),
            handled: self.uploads.handled.clone().or(client.handled()),
            ..pairs.clone()
        }
    }
}
