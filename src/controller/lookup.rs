//! Looks up the sources and the permission of a credential in the cache. Makes no call.

use super::{cache::secrets::Secrets, context::Context, locks::lock};
use crate::{
    api::SecretKeyRef,
    credential::{
        Credential, Issuer,
        binding::{self, Denial},
        may_have_metadata,
    },
    plan::Source,
    publish::last_good,
};

/// The Secrets with the client credentials, with their current state.
pub(super) fn sources(context: &Context, credential: &Credential) -> Vec<Source> {
    client_sources(&lock(&context.secrets), credential)
}

/// The same Secrets, with the last good certificates after the entries of the spec.
pub(super) fn client_sources(secrets: &Secrets, credential: &Credential) -> Vec<Source> {
    let home = &credential.namespace;
    let mut references = credential.alternatives();
    for copied in credential.authentication.copies() {
        let facts = |name: &str| {
            let name = (home.clone(), name.to_owned());
            secrets.get(&name).map(|seen| &seen.facts)
        };
        let source = facts(&copied.certificate.pair.secret);
        if last_good::serves(source, facts(&copied.copy.name)) {
            references.push(copied.copy);
        }
    }
    of_secrets(secrets, home, references)
}

/// Whether this credential may send this request to its issuer, and whether its namespace is being deleted.
pub(super) fn permission(context: &Context, credential: &Credential) -> (Result<(), Denial>, bool) {
    // The labels of a namespace are unknown until the watch delivers it, which differs from a namespace without labels.
    let namespace = context.namespace(&credential.namespace);
    let settings = &context.settings;
    let permission = binding::may_request(
        &credential.issuer,
        &credential.namespace,
        namespace.as_ref().map(|n| &n.labels),
        &credential.request,
    )
    .and_then(|()| binding::may_use_cloud(&settings.entra_clouds, &credential.issuer))
    .and_then(|()| may_have_metadata(&settings.target_keys, credential));
    (permission, namespace.is_some_and(|n| n.terminating))
}

/// Checks that credentials of a namespace may use this issuer, independent of the request.
pub(super) fn may_use(context: &Context, issuer: &Issuer, namespace: &str) -> Result<(), Denial> {
    let facts = context.namespace(namespace);
    let labels = facts.as_ref().map(|n| &n.labels);
    binding::may_be_served(issuer, namespace, labels)
        .and_then(|()| binding::may_use_cloud(&context.settings.entra_clouds, issuer))
}

/// The sources, with the state of their Secrets.
pub(super) fn of_secrets(
    secrets: &Secrets,
    namespace: &str,
    references: Vec<SecretKeyRef>,
) -> Vec<Source> {
    let seen = |reference: SecretKeyRef| {
        let name = (namespace.to_owned(), reference.name.clone());
        let seen = secrets.get(&name).filter(|s| !s.facts.deleting);
        Source {
            reference,
            present: seen.map(|s| (s.facts.uid.clone(), s.facts.version.clone())),
            changed_at: seen.and_then(|s| s.changed_at),
            created_at: seen.and_then(|s| s.facts.created_at),
            expires_at: seen.and_then(|s| s.facts.secret_expires_at),
            expiry_unreadable: seen.is_some_and(|s| s.facts.expiry_unreadable),
            rotated_until: seen.and_then(|s| s.facts.rotated_until.clone()),
        }
    };
    references.into_iter().map(seen).collect()
}
