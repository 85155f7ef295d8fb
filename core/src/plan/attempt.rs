//! `status.lastAttempt`: the last request to the issuer, from the memory of this process and from status.

use crate::Reason;
use jiff::{SignedDuration, Timestamp};

use super::{Cause, Failure, Outcome, conditions::time, schedule};
use crate::{
    api::{ApiCredentialStatus, AttemptResult, LastAttempt},
    oauth::{Class, TokenError},
    publish::Record,
};

/// Longest time in seconds from a token request to the end of the write of its token: the deadline of a reconciliation.
const ANSWER: i64 = 75;

/// The last attempt, as this process knows it.
pub(super) fn last_attempt(outcome: &Outcome, failure: Option<&Failure>) -> Option<LastAttempt> {
    if let Outcome::Minted(minted) = outcome {
        return Some(succeeded(minted.at, minted.correlation_id.clone()));
    }
    failure.map(|f| match &f.cause {
        Cause::Recalled(recalled) => recalled.attempt.clone(),
        Cause::Seen(token_error) => LastAttempt {
            time: time(f.at),
            result: AttemptResult::Failed,
            reason: Some(token_error.reason.to_string()),
            http_status: token_error.http_status.map(i32::from),
            error: token_error.error.clone(),
            code: token_error.code(),
            correlation_id: token_error.correlation_id.clone(),
            trace_id: token_error.trace_id.clone(),
            claims: requested_claims(token_error),
            inputs: Some(f.stamp.clone()),
            unclear: i32::try_from(f.unclear).ok().filter(|count| *count > 0),
        },
    })
}

/// The claims that a user can satisfy by a sign-in.
fn requested_claims(token_error: &TokenError) -> Option<String> {
    let detail = token_error.detail.as_ref();
    detail
        .filter(|_| token_error.class == Class::NeedsUser)?
        .claims
        .clone()
}

/// The last attempt according to status. If a token is newer than the failure, the attempt succeeded but could not be reported. The same holds
/// if a token exists although the answer to its write was lost.
pub(super) fn remembered(
    old: &ApiCredentialStatus,
    record: Option<&Record>,
) -> Option<LastAttempt> {
    let last = old.last_attempt.as_deref().cloned()?;
    let unheard =
        last.reason.as_deref().and_then(Reason::parse) == Some(Reason::KubernetesUnavailable);
    let slack = SignedDuration::from_secs(if unheard { ANSWER } else { 0 });
    let got = |r: &&Record| schedule::later(r.issued_at, slack) > last.time.0;
    match record.filter(|r| last.result == AttemptResult::Failed && got(r)) {
        Some(record) => Some(succeeded(record.issued_at, None)),
        None => Some(last),
    }
}

fn succeeded(at: Timestamp, correlation_id: Option<String>) -> LastAttempt {
    LastAttempt {
        time: time(at),
        result: AttemptResult::Succeeded,
        reason: None,
        http_status: None,
        error: None,
        code: None,
        correlation_id,
        trace_id: None,
        claims: None,
        inputs: None,
        unclear: None,
    }
}
