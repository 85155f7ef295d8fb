//! Specs with the objects that they refer to: the issuer and the client of a credential.

use std::time::Instant;

use kube::runtime::reflector::ObjectRef;

use super::Context;
use crate::controller::{
    cache::index::{Index, IssuerName},
    locks::lock,
    requeue::reference,
};
use crate::{
    api::{ApiCredential, IssuerKind, IssuerRef},
    credential::{
        Credential, FieldError, Issuer, IssuerId, IssuerLookup, Key, parse_with_client, resolve,
    },
};

impl Context {
    /// The issuer that a credential of `namespace` refers to.
    pub(in crate::controller) fn issuer(
        &self,
        namespace: &str,
        reference: &IssuerRef,
    ) -> IssuerLookup {
        let name = issuer_name(namespace, reference);
        if let Some(unusable) = lock(&self.unusable).get(&name) {
            return IssuerLookup::Faulty(vec![unusable.flaw.error()]);
        }
        let parsed = match reference.kind {
            IssuerKind::TokenIssuer => {
                let name = ObjectRef::new(&reference.name).within(namespace);
                self.token_issuers
                    .get(&name)
                    .map(|i| Issuer::namespaced(&i, &self.settings.allowed_cidrs))
            }
            IssuerKind::ClusterTokenIssuer if !self.settings.scope.reads_cluster() => {
                return IssuerLookup::OutOfScope;
            }
            IssuerKind::ClusterTokenIssuer => self
                .cluster_issuers
                .get(&ObjectRef::new(&reference.name))
                .map(|i| Issuer::cluster(&i)),
        };
        match parsed {
            None if self.has_other_kind(namespace, reference) => IssuerLookup::OtherKind,
            None => IssuerLookup::Missing,
            Some(Ok(issuer)) => IssuerLookup::Found(self.ca_bundles.fill(issuer)),
            Some(Err(errors)) => IssuerLookup::Faulty(errors),
        }
    }

    /// A credential as requested: with the client that it names, and the issuer.
    pub(in crate::controller) fn parse(
        &self,
        object: &ApiCredential,
    ) -> Result<Credential, Vec<FieldError>> {
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        // Read before the spec of the client: if the client is edited in the meantime, the spec is newer than this generation.
        let client = object.spec.client_ref.as_ref();
        let client = client.and_then(|r| self.clients.get(&Key::new(namespace, r.name.as_str())));
        let lookup = |name: &str| self.clients.lookup(namespace, name);
        let credential = parse_with_client(object, lookup, |r| self.issuer(namespace, r))?;
        Ok(Credential {
            client_generation: client.and_then(|c| c.metadata.generation),
            ..credential
        })
    }

    /// A credential whose token is revoked. `deleted`: when its own deletion was observed. If its client, and its issuer, were
    /// deleted together with it, their last state is used.
    pub(in crate::controller) fn parse_leaving(
        &self,
        object: &ApiCredential,
        deleted: Option<Instant>,
    ) -> Result<Credential, Vec<FieldError>> {
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        let client = |name: &str| self.clients.lookup_leaving(namespace, name);
        let issuer = |reference: &IssuerRef| match self.issuer(namespace, reference) {
            IssuerLookup::Missing | IssuerLookup::OtherKind => {
                let name = issuer_name(namespace, reference);
                let gone = deleted.and_then(|at| self.gone_issuers.get(&name, at));
                gone.map_or(IssuerLookup::Deleted, IssuerLookup::Found)
            }
            found => found,
        };
        parse_with_client(object, client, issuer)
    }

    /// Adds a credential to the index, including the sources and the issuer of the client that it names. Returns the
    /// credentials that name its former target.
    pub(in crate::controller) fn insert(
        &self,
        index: &mut Index,
        object: &ApiCredential,
    ) -> Vec<Key> {
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        // A deleted client still determines the issuer and the sources of a credential that is deleted together with it.
        let resolved = resolve(object, |name| self.clients.lookup_leaving(namespace, name));
        let resolved = resolved.as_deref().unwrap_or(object);
        let client = object.spec.client_ref.as_ref();
        index.insert(resolved, client.map(|r| r.name.as_str()))
    }

    /// Requeues the credentials that name a client, and indexes its sources and its issuer.
    pub(in crate::controller) fn follow(&self, index: &mut Index, client: &Key) {
        for key in &index.of_client(client) {
            let object = self.credentials.get(&reference(key));
            if let Some(object) = object.and_then(|packed| packed.open()) {
                self.insert(index, &object);
            }
            self.triggers.send(key);
        }
        if index.has_accounts() {
            self.accounts.want();
        }
    }

    /// Removes deleted clients and issuers that no credential names any more.
    pub(in crate::controller) fn forget_gone(&self, index: &Index) {
        self.clients
            .forget_gone(|client| index.names_client(client));
        let named = |issuer: &IssuerName| index.names_issuer(issuer);
        for (kind, namespace, name) in self.gone_issuers.forget(Instant::now(), named) {
            // A revocation at this issuer may have read its document again.
            let issuer = IssuerId::Object(kind, namespace, name);
            self.discovery.forget(&issuer);
        }
    }

    /// Whether an issuer with this name and the other kind exists.
    fn has_other_kind(&self, namespace: &str, reference: &IssuerRef) -> bool {
        let name = ObjectRef::new(&reference.name);
        match reference.kind {
            IssuerKind::TokenIssuer => self.cluster_issuers.get(&name).is_some(),
            IssuerKind::ClusterTokenIssuer => {
                let name = ObjectRef::new(&reference.name).within(namespace);
                self.token_issuers.get(&name).is_some()
            }
        }
    }
}

/// The issuer that a credential of `namespace` refers to.
fn issuer_name(namespace: &str, reference: &IssuerRef) -> IssuerName {
    let home = match reference.kind {
        IssuerKind::TokenIssuer => namespace,
        IssuerKind::ClusterTokenIssuer => "",
    };
    (reference.kind, home.to_owned(), reference.name.clone())
}
