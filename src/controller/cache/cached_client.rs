//! An `ApiClient` as cached.

use std::collections::{BTreeMap, HashSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;

use super::{
    index::{IssuerName, SecretName},
    readable::{Flaw, Readable, identity},
};
use crate::{
    api::{ApiClient, ApiClientSpec, ApiClientStatus, IssuerKind, names},
    credential::{
        AuthenticationMethod, MAX_RENEW_REQUEST,
        annotations::{self, AnnotatedKind},
    },
    printable,
};

/// An `ApiClient`, trimmed to the used fields.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::controller) struct CachedClient {
    /// The identity of the object and its generation.
    pub(in crate::controller) metadata: ObjectMeta,
    /// Its spec, or why the spec is not known.
    pub(in crate::controller) spec: Result<ApiClientSpec, Flaw>,
    pub(in crate::controller) status: Option<ApiClientStatus>,
    /// The rotation that a user requested.
    pub(in crate::controller) rotate_requested: Option<String>,
    pub(in crate::controller) deleting: bool,
    /// The message about annotations that have no effect.
    pub(in crate::controller) unread: Option<String>,
    /// Names of the Secrets for client authentication.
    pub(super) sources: Box<[String]>,
    /// Name of the Secret with the last good certificate, if that certificate may prove that a new one belongs to the client.
    copy: Option<Box<str>>,
    /// Name of the ServiceAccount for client authentication.
    pub(super) account: Option<Box<str>>,
}

impl From<Readable<ApiClient>> for CachedClient {
    fn from(object: Readable<ApiClient>) -> Self {
        let generation = object.meta().generation;
        let metadata = ObjectMeta {
            generation,
            ..identity(object.meta())
        };
        let (rotate_requested, unread, deleting) = {
            let meta = object.meta();
            let noted = meta.annotations.as_ref();
            let requested = noted.and_then(|a| a.get(names::ROTATE_REQUESTED_AT));
            let cut = |v: &String| printable(v).chars().take(MAX_RENEW_REQUEST).collect();
            let keys = noted.into_iter().flat_map(BTreeMap::keys);
            let unread = annotations::unread(keys, AnnotatedKind::Client);
            let deleting = meta.deletion_timestamp.is_some();
            (requested.map(cut), unread, deleting)
        };
        let (spec, status) = match object.0 {
            Ok(object) => (Ok(object.spec), object.status),
            Err(unusable) => {
                let status = unusable.status.as_ref();
                let status = status.and_then(|s| serde_json::from_str(s.get()).ok());
                (Err(unusable.flaw), status)
            }
        };
        let authentication = spec.as_ref().ok();
        let authentication =
            authentication.and_then(|spec| AuthenticationMethod::parse(Some(&spec.client)).ok());
        let sources = authentication
            .as_ref()
            .map_or(Vec::new(), AuthenticationMethod::alternatives);
        let rotates = spec.as_ref().is_ok_and(|spec| spec.rotation.is_some());
        let copy = authentication.as_ref().filter(|_| rotates);
        let copy = copy.and_then(|way| Some(way.copies().pop()?.copy.name.into()));
        let account = match authentication {
            Some(AuthenticationMethod::ServiceAccount(account)) => Some(account.name.into()),
            _ => None,
        };
        Self {
            metadata,
            spec,
            status,
            rotate_requested,
            deleting,
            unread,
            sources: sources.into_iter().map(|r| r.name).collect(),
            copy,
            account,
        }
    }
}

impl CachedClient {
    /// The rotation request that was handled last, according to the status.
    pub(in crate::controller) fn handled(&self) -> Option<String> {
        self.status.as_ref()?.last_handled_rotate_request.clone()
    }

    /// Name of the first Secret for client authentication.
    pub(in crate::controller) fn source(&self) -> Option<&str> {
        self.sources.first().map(String::as_str)
    }

    /// Name of the Secret with the last good certificate, if there can be one.
    pub(in crate::controller) fn copy(&self) -> Option<&str> {
        self.copy.as_deref()
    }

    /// Name of the `ApiCredential` whose token rotates its client credential.
    pub(in crate::controller) fn manager(&self) -> Option<&str> {
        let rotation = self.spec.as_ref().ok()?.rotation.as_ref()?;
        let manager = rotation.management_ref.as_ref();
        manager.map(|manager| manager.name.as_str())
    }

    /// Whether both have the same request. A change of the status or a label is ignored.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        self.metadata.uid == other.metadata.uid && self.spec == other.spec
    }

    /// Whether it authenticates with a ServiceAccount.
    pub(in crate::controller) fn has_account(&self) -> bool {
        self.account.is_some()
    }

    /// The objects that its status depends on.
    pub(super) fn needs(&self, home: &str) -> HashSet<Dependency> {
        let own = |name: &str| (home.to_owned(), name.to_owned());
        let secrets = self
            .sources
            .iter()
            .map(|name| Dependency::Secret(own(name)));
        let copies = self.copy.iter().map(|name| Dependency::Secret(own(name)));
        let account = self
            .account
            .iter()
            .map(|name| Dependency::Account(own(name)));
        let spec = self.spec.as_ref().ok();
        let issuer = spec.and_then(|s| s.issuer_ref.as_ref()).map(|r| {
            let home = match r.kind {
                IssuerKind::TokenIssuer => home,
                IssuerKind::ClusterTokenIssuer => "",
            };
            Dependency::Issuer((r.kind, home.to_owned(), r.name.clone()))
        });
        secrets.chain(copies).chain(account).chain(issuer).collect()
    }
}

/// What is stored of a Secret that was read for the check of a client. It contains no values.
#[derive(Debug)]
pub(in crate::controller) struct Opened {
    /// Its name, UID, version, and what its owner allows.
    pub(in crate::controller) meta: ObjectMeta,
    /// Names of its keys.
    pub(in crate::controller) keys: HashSet<String>,
}

/// An object that a client depends on.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Dependency {
    /// Namespace and name of a Secret.
    Secret(SecretName),
    /// Namespace and name of a ServiceAccount.
    Account((String, String)),
    Issuer(IssuerName),
}
