//! Why a credential has no token, or why its renewal fails: the reason, the message, and who can end it.

use jiff::Timestamp;

use super::{
    Cause, Failure, Observed, Outcome, over,
    progress::{End, Fault, GRACE},
    schedule,
};
use crate::{Reason, StoredReason, credential::Credential, oauth::Class};

/// What is reported about the state, in addition to the facts of the token.
pub(super) struct Problem {
    pub(super) reason: StoredReason,
    pub(super) message: String,
    end: End,
}

impl Problem {
    pub(super) fn fault(&self) -> Fault<'_> {
        Fault {
            reason: &self.reason,
            message: &self.message,
            end: self.end,
        }
    }
}

/// While the first token is requested.
pub(super) const FIRST: Fault<'static> = Fault {
    reason: &StoredReason::Known(Reason::Pending),
    message: "no token has been published yet",
    end: End::Progress,
};

/// The problem after a step with this outcome.
pub(super) fn problem(
    credential: &Credential,
    observed: &Observed,
    outcome: &Outcome,
    now: Timestamp,
) -> Option<Problem> {
    if let Some(message) = over::unremoved(credential, observed, outcome, now) {
        return Some(Problem {
            reason: Reason::Ended.into(),
            message,
            end: End::User,
        });
    }
    match outcome {
        Outcome::Steady | Outcome::Minted(_) | Outcome::Queued { .. } | Outcome::Released => None,
        Outcome::Suspended => observed.valid(credential, now).is_none().then(|| Problem {
            reason: Reason::Suspended.into(),
            message: "spec.suspend is set and there is no valid token; unset it to get one"
                .to_owned(),
            end: End::User,
        }),
        Outcome::Waiting {
            reason, message, ..
        } => Some(Problem {
            reason: (*reason).into(),
            message: message.clone(),
            end: match End::of(&(*reason).into()) {
                End::User => End::Progress,
                end => end,
            },
        }),
        Outcome::Refused { reason, message } => Some(Problem {
            reason: (*reason).into(),
            message: message.clone(),
            // A sign-in that is in progress may create the state Secret.
            end: if *reason == Reason::SignInRequired {
                End::Neighbour
            } else {
                End::of(&(*reason).into())
            },
        }),
        Outcome::Failed | Outcome::Backoff => observed
            .memory
            .failure
            .as_ref()
            .map(|f| failed(credential, f)),
    }
}

fn failed(credential: &Credential, failure: &Failure) -> Problem {
    let token_error = match &failure.cause {
        Cause::Seen(token_error) => token_error,
        Cause::Recalled(recalled) => {
            return Problem {
                reason: recalled.reason.clone(),
                message: recalled.message.clone(),
                end: match End::of(&recalled.reason) {
                    End::User if !recalled.stalled => End::Progress,
                    end => end,
                },
            };
        }
    };
    let mut message = token_error.message();
    if failure.changed.is_some() {
        // Entra ID also reports a new secret as expired while a replica knows only the expired ones.
        message.push_str(&format!(
            "; the Secret has just changed and the issuer may not know the new {} yet, so apicred tries again soon",
            credential.authentication.noun()
        ));
    }
    let waits = matches!(
        token_error.class,
        Class::Invalid | Class::Denied | Class::NeedsUser
    );
    Problem {
        reason: token_error.reason.into(),
        message,
        end: match failure.changed {
            _ if !waits => End::Progress,
            None => End::of(&token_error.reason.into()),
            Some(changed) => End::Until(schedule::later(changed, GRACE)),
        },
    }
}
