//! Gathers what a plan needs, from what the watches have shown. No call is made here.

use jiff::Timestamp;

use super::context::{Context, lock};
use crate::{
    api::SecretKeyRef,
    credential::{
        Credential, Key,
        binding::{self, Denial},
    },
    plan::{Observed, Source, fingerprint},
    publish::ownership,
};

/// What is seen of the world around a credential.
pub(super) fn observe(
    context: &Context,
    credential: &Credential,
    key: &Key,
    deleting: bool,
    now: Timestamp,
) -> Observed {
    let (target, sources, companions) = {
        let secrets = lock(&context.secrets);
        let name = |secret: &str| (credential.namespace.clone(), secret.to_owned());
        let target = secrets.get(&name(&credential.target.name));
        let look = |references: Vec<SecretKeyRef>| -> Vec<Source> {
            let seen = |reference: SecretKeyRef| {
                let seen = secrets
                    .get(&name(&reference.name))
                    .filter(|s| !s.facts.deleting);
                Source {
                    reference: reference.clone(),
                    created_at: seen.and_then(|s| s.facts.created_at),
                    expires_at: seen.and_then(|s| s.facts.secret_expires_at),
                    present: seen.map(|s| (s.facts.uid.clone(), s.facts.version.clone())),
                    changed_at: seen.and_then(|s| s.changed_at),
                }
            };
            references.into_iter().map(seen).collect()
        };
        (
            ownership::target(credential, target.map(|s| &s.facts)),
            look(credential.alternatives()),
            look(credential.companions()),
        )
    };
    let (permission, terminating) = permission(context, credential);
    let deleting = deleting || terminating;
    let senior = lock(&context.index).senior(key);
    let (memory, held) = context.with_state(key, &credential.uid, |state| {
        let request = fingerprint::request(credential);
        let fits = |h: &super::context::Held| {
            h.request == request
                && h.token.expires_at > now
                && h.renew_requested == credential.renew_requested
        };
        if !state.held.as_ref().is_some_and(fits) {
            state.held = None;
        }
        (state.memory.clone(), state.held.is_some())
    });
    let mut observed = Observed {
        deleting,
        target,
        senior,
        permission,
        sources,
        companions,
        memory,
        held,
    };
    if let Some(record) = observed.record().cloned() {
        observed.memory.learn(&record.sources);
    }
    observed
}

/// May this credential ask its issuer for this, and is its namespace going?
pub(super) fn permission(context: &Context, credential: &Credential) -> (Result<(), Denial>, bool) {
    // A namespace that the watch has not shown yet has no labels to go by, which is not the same as none.
    let namespace = context.namespace(&credential.namespace);
    let permission = binding::may_ask(
        &credential.issuer,
        &credential.namespace,
        namespace.as_ref().map(|n| &n.labels),
        &credential.ask,
    );
    (permission, namespace.is_some_and(|n| n.terminating))
}
