//! Publishes a token: checks that it is still needed and new, writes it once, and records the result.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    rejected::{unfit, write_failed},
    wanted::{Wanted, wanted},
    write::{WriteError, write},
};
use crate::controller::{
    api::calls::ApiErrorKind,
    context::Context,
    notify,
    reconciliation::Reconciliation,
    state::{Revocable, UnpublishedToken},
    token::digest_key::token_digest,
};
use crate::{
    Reason,
    api::DeletionPolicy,
    plan::{self, Memory, Minted, NewToken, Outcome, Received, RenewalCause, record},
    publish::Record,
};

/// Writes a token that was received. Its end is that of everything that the Secret contains.
pub(in crate::controller) async fn publish(
    reconciliation: &mut Reconciliation<'_>,
    held: &UnpublishedToken,
    why: RenewalCause,
) -> Outcome {
    let (context, credential) = (reconciliation.context, reconciliation.credential);
    let limited = held.token.limited_by(&credential.target.keys);
    let limited = limited.map(|token| UnpublishedToken {
        token: Arc::new(token),
        ..held.clone()
    });
    let held = limited.as_ref().unwrap_or(held);
    let Ok(digests) = context.digest_key.get(&context.metrics).await else {
        return write_failed(reconciliation, ApiErrorKind::Unavailable);
    };
    // The check is made after the wait for the key, and again immediately before each attempt to write.
    match wanted(reconciliation) {
        Wanted::Here => {}
        other => return unwanted(reconciliation, other),
    }
    let token_digest = token_digest(digests, &held.token);
    let received = Received {
        fingerprint: &held.fingerprint,
        token_digest: &token_digest,
        sources: &held.sources,
        expires_at: held.token.expires_at,
        limited: limited.is_some(),
        why,
    };
    if let Some(until) = repeated_until(reconciliation, &received) {
        return repeated(reconciliation, why, until);
    }
    let observed = &reconciliation.observed;
    let record = Record {
        issuer: held.issued.issuer.clone(),
        spent: held.spent.clone(),
        ..record(
            credential,
            NewToken {
                token: &held.token,
                token_digest,
                fingerprint: held.fingerprint.clone(),
                sources: held.sources.clone(),
                certificate_validity: held.certificate_validity,
            },
            (observed.promise(credential), digests.phase()),
        )
    };
    match write(reconciliation, &record, held).await {
        Ok(()) => published(reconciliation, &record, held, why),
        Err(WriteError::Call(failed)) if failed.error_kind == ApiErrorKind::Unwanted => {
            let now = wanted(reconciliation);
            unwanted(reconciliation, now)
        }
        Err(WriteError::Call(failed)) => write_failed(reconciliation, failed),
        Err(WriteError::Unfit(problem)) => unfit(reconciliation, problem),
    }
}

/// The token is correct, but its Secret or metadata changed: the next reconcile uses the token from memory.
fn unwanted(reconciliation: &Reconciliation<'_>, wanted: Wanted) -> Outcome {
    if wanted == Wanted::Nowhere {
        reconciliation.drop_held();
    }
    reconciliation.again()
}

/// The time before which no new request is sent, if the issuer repeats the token that the Secret contains.
fn repeated_until(
    reconciliation: &Reconciliation<'_>,
    received: &Received<'_>,
) -> Option<Timestamp> {
    let (context, credential) = (reconciliation.context, reconciliation.credential);
    let observed = &reconciliation.observed;
    let now = context.clock.now();
    observed.valid(credential, now)?;
    let old = observed.record().filter(|_| !observed.memory.unreadable)?;
    plan::repeated_until(old, received, now)
}

fn repeated(
    reconciliation: &mut Reconciliation<'_>,
    why: RenewalCause,
    until: Timestamp,
) -> Outcome {
    reconciliation.observed.memory.failure = None;
    reconciliation.drop_held();
    if why == RenewalCause::SourceChanged {
        // No renewal is due: another client secret was tried, and its result is stored.
        return reconciliation.again();
    }
    reconciliation.observed.memory.not_before = Some(until);
    repeating(until)
}

/// Records that the token was written.
fn published(
    reconciliation: &mut Reconciliation<'_>,
    record: &Record,
    held: &UnpublishedToken,
    why: RenewalCause,
) -> Outcome {
    let (context, credential) = (reconciliation.context, reconciliation.credential);
    let revocable = (credential.target.deletion == DeletionPolicy::Revoke).then(|| Revocable {
        token: Arc::clone(&held.token),
        issued: held.issued.clone(),
    });
    reconciliation.written(revocable);
    let observed = &mut reconciliation.observed;
    observed.memory = Memory {
        refused: record.sources.refused.clone(),
        repairs: observed.memory.repairs,
        paced_until: observed.memory.paced_until,
        ..Memory::default()
    };
    let now = context.clock.now();
    // The first token of a credential is not a repair.
    if why != RenewalCause::Absent || context.has_published(&reconciliation.key) {
        observed.memory.published(why, now);
    }
    notify::wrote(context, credential, now);
    measure(context, observed.record(), why);
    // A static key has no known expiry.
    let timed = !record.is_static();
    tracing::info!(
        why = why.as_str(),
        expires_at = timed.then(|| record.expires_at.to_string()),
        renew_at = timed.then(|| record.renew_at.to_string()),
        renew_reason = timed.then_some(&record.renew_reason),
        token_id = held.token.id,
        correlation_id = held.token.correlation_id,
        "token published"
    );
    Outcome::Minted(Minted {
        why,
        at: held.token.issued_at,
        correlation_id: held.token.correlation_id.clone(),
    })
}

/// Counts a written token, and measures the remaining lifetime of the token that it replaces.
fn measure(context: &Context, old: Option<&Record>, why: RenewalCause) {
    context.metrics.published(why.as_str());
    // A static key has no known expiry.
    let Some(old) = old.filter(|old| !old.is_static()) else {
        return;
    };
    let now = context.clock.now();
    let left = old.expires_at.duration_since(now);
    context.metrics.replaced(left.as_secs_f64());
    // Other renewals happen before they are due.
    if matches!(why, RenewalCause::Due | RenewalCause::Expired) {
        let late = now.duration_since(old.renew_at);
        context.metrics.renewed(late.as_secs_f64());
    }
}

pub(in crate::controller) fn repeating(until: Timestamp) -> Outcome {
    Outcome::Waiting {
        reason: Reason::IssuerRepeatsToken,
        message:
            "the issuer returned the same token again (it caches tokens); apicred requests again later"
                .to_owned(),
        until,
    }
}
