//! Whether a write is still what the newest spec asks for: the credential may have changed while its token was requested.

use crate::controller::{lookup::permission, reconciliation::Reconciliation, requeue::reference};
use crate::{
    credential::Credential,
    plan::{fingerprint, over},
};

#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Wanted {
    /// In the Secret that it was requested for.
    Here,
    /// In another form or another Secret.
    Elsewhere,
    /// Not at all.
    Nowhere,
}

/// The credential as the newest spec has it, if the object still is the one that the reconcile began with, and neither it nor
/// its namespace is being deleted.
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

/// Is the token still what the newest spec asks for? The request took its time, and the credential or its issuer
/// may have been edited or deleted meanwhile: what was asked for under an old spec is never written as new.
pub(super) fn wanted(reconciliation: &Reconciliation<'_>) -> Wanted {
    let (context, credential) = (reconciliation.context, reconciliation.credential);
    match newest(reconciliation) {
        None => Wanted::Nowhere,
        Some(now)
            // Another request for a renewal makes this token no worse: it is noted as the answer to the earlier one, and
            // the new one is served next. Dropped, it would cost a request for each edit.
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

/// Does the newest spec still want the Secret to look like this? A suspended credential wants its labels and its owner,
/// but no token.
pub(super) fn wants_metadata(reconciliation: &Reconciliation<'_>) -> bool {
    let target = &reconciliation.credential.target;
    newest(reconciliation).is_some_and(|now| now.target == *target)
}
