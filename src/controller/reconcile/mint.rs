//! Gets a token: waits for a free request slot of the issuer, requests the token, and passes it to the write.

use crate::Reason;
use jiff::{SignedDuration, Timestamp};

use crate::controller::{
    limiter::issuers::{Admission, Permit},
    reconciliation::Reconciliation,
    state::UnpublishedToken,
    target::publish::publish,
    token::{
        acquire::{Acquisition, acquire},
        exchange::Acquired,
        inputs::Read,
    },
};
use crate::{
    credential::{Credential, binding::IssuedBy},
    limits::queue::Urgency,
    plan::{Outcome, RenewalCause, fingerprint, schedule},
    publish::RefusedSource,
    whole_second,
};

/// A place in the queue is reported after this time. An earlier report and its withdrawal would be two more writes for each of
/// thousands of credentials, and would delay the writes with tokens. In a minute, a queue of 7,200 is served at the rate of an issuer without limits.
pub(super) const PATIENCE: SignedDuration = SignedDuration::from_mins(1);

/// Requests a token and publishes it. `first` was already read.
pub(super) async fn mint(
    reconciliation: &mut Reconciliation<'_>,
    why: RenewalCause,
    first: Option<Read>,
) -> Outcome {
    let now = reconciliation.context.clock.now();
    let permit = match enter(reconciliation, why, now) {
        Ok(permit) => permit,
        Err(outcome) => return *outcome,
    };
    let credential = reconciliation.credential;
    reconciliation.observed.attempted(credential, why, now);
    let Acquisition { result, mut noted } = Box::pin(acquire(reconciliation, first, permit)).await;
    for refused in std::mem::take(&mut noted.refused) {
        reconciliation.observed.memory.refuse(refused);
    }
    match result {
        Ok(acquired) => {
            let held = held(reconciliation, acquired);
            reconciliation.hold(held.clone());
            publish(reconciliation, &held, why).await
        }
        Err(token_error) => {
            let outcome = reconciliation.failed(token_error);
            reconciliation
                .observed
                .note_sent(credential, noted.contents());
            outcome
        }
    }
}

/// Requests a free request slot of the issuer. If there is none, the outcome is to wait.
fn enter(
    reconciliation: &mut Reconciliation<'_>,
    why: RenewalCause,
    now: Timestamp,
) -> Result<Permit, Box<Outcome>> {
    let (context, credential) = (reconciliation.context, reconciliation.credential);
    let observed = &mut reconciliation.observed;
    let valid = observed.valid(credential, now);
    let before = valid.map_or(SignedDuration::ZERO, |r| {
        let lifetime = r.expires_at.duration_since(r.issued_at);
        observed.promise(credential).before(lifetime)
    });
    let failures = observed.memory.failure.as_ref().map_or(0, |f| f.failures);
    let urgency = Urgency::new(valid.map(|r| r.expires_at), before, failures, now);
    // A renewal that is due anyway does not count as requested.
    let requested = why == RenewalCause::Requested && valid.is_some_and(|r| r.renew_at > now);
    let key = &reconciliation.key;
    match context.limiter.enter(credential, key, urgency, requested) {
        Admission::Go(permit) => {
            observed.memory.queued_since = None;
            Ok(permit)
        }
        // The requeue is in addition to the trigger that will follow: it reports a long wait.
        Admission::Wait => {
            observed.memory.queued_since.get_or_insert(now);
            Err(Box::new(Outcome::Queued {
                until: schedule::later(now, PATIENCE),
            }))
        }
        Admission::Paused(until) => {
            observed.memory.queued_since = None;
            Err(Box::new(paused(credential, until)))
        }
    }
}

fn paused(credential: &Credential, until: Timestamp) -> Outcome {
    Outcome::Waiting {
        reason: Reason::IssuerPaused,
        message: format!(
            "{} is rate limiting; apicred requests again after {}",
            credential.issuer.id,
            // Rounded to seconds, so that one pause has one message.
            whole_second(until)
        ),
        until: spread(until, credential),
    }
}

/// The token with the data that is written together with it.
fn held(reconciliation: &mut Reconciliation<'_>, acquired: Acquired) -> UnpublishedToken {
    let credential = reconciliation.credential;
    let observed = &mut reconciliation.observed;
    let Acquired {
        token,
        mut sources,
        fingerprint,
        certificate_validity,
        issuer,
        spent,
    } = acquired;
    let request = fingerprint::request(credential);
    if let Some(used) = &sources.used {
        let same = |r: &RefusedSource| r.mark.name == used.name && r.mark.key == used.key;
        observed.memory.refused.retain(|r| !same(r));
    }
    // Also if nothing is written, so that a source that was tried is not tried again immediately.
    let used = sources.used.as_ref();
    sources.refused = (observed.memory).refused_to_store(&observed.sources, used, &request);
    UnpublishedToken {
        token,
        sources,
        fingerprint,
        certificate_validity,
        issued: IssuedBy { request, issuer },
        renew_requested: credential.renew_requested.clone(),
        spent,
    }
}

/// Spreads the requests after the end of a pause, so that they are not sent at the same time.
fn spread(until: Timestamp, credential: &Credential) -> Timestamp {
    let fraction = fingerprint::fraction(&[&credential.uid, &until.to_string()]);
    schedule::later(
        until,
        SignedDuration::try_from_secs_f64(2.0 * fraction).unwrap_or_default(),
    )
}
