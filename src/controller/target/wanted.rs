//! Whether a write still matches the newest spec: the credential may have changed while its token was requested.

use crate::controller::{lookup::permission, reconciliation::Reconciliation, requeue::reference};
use crate::{
    credential::Credential,
    plan::{fingerprint, over},
};

#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Wanted {
    /// The token is wanted in the Secret that it was requested for.
    Here,
    /// The token is wanted in another format or another Secret.
    Elsewhere,
    /// The token is no longer wanted.
    Nowhere,
}

/// The credential according to the newest spec. `None` if the object is not the one that the reconcile started with, or if the
/// object or its namespace is being deleted.
fn newest(reconciliation: &Reconciliation<'_>) -> Option<Credential> {
    let (context, credential) = (reconciliation.context, reconciliation.credential);
    let newest = context.credentials.get(&reference(&reconciliation.key))?;
    let newest = newest.open()?;
    let same = newest.metadata.uid.as_deref() == Some(credential.uid.as_str());
    let terminating = context
        .namespace(&credential.namespace)
        .is_some_and(|namespace| namespace.terminating);
    if !same || newest.metadata.deletion_timestamp.is_some() || terminating {
        return None;
    }
    context.parse(&newest).ok()
}

/// Whether the newest spec still wants the token. The request takes time, and the credential or its issuer may have been edited
/// or deleted in the meantime: a token that was requested for an old spec is never written as a new one.
pub(super) fn wanted(reconciliation: &Reconciliation<'_>) -> Wanted {
    let (context, credential) = (reconciliation.context, reconciliation.credential);
    match newest(reconciliation) {
        None => Wanted::Nowhere,
        Some(now)
            // A further renewal request does not make this token worse: the token is recorded as the answer to the earlier
            // request, and the new request is served next. Discarding the token would cost a token request for each edit.
            if now.suspend
                || over::is_over(now.end, context.clock.now())
                || fingerprint::request(&now) != fingerprint::request(credential)
                || permission(context, &now) != (Ok(()), false) =>
        {
            Wanted::Nowhere
        }
        Some(now) if now.target == credential.target => Wanted::Here,
        Some(_) => Wanted::Elsewhere,
    }
}

/// Whether the newest spec still wants these labels and this owner. A suspended credential wants its labels and its owner, but no token.
pub(super) fn wants_metadata(reconciliation: &Reconciliation<'_>) -> bool {
    let target = &reconciliation.credential.target;
    newest(reconciliation).is_some_and(|now| now.target == *target)
}
