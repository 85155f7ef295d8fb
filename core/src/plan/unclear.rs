//! Requests with a password whose answer is missing or unclear: the issuer may have refused the password, and each refused attempt counts
//! towards a lockout. So the number of such requests is limited, and a timer makes no more, or few.

use jiff::{SignedDuration, Timestamp};

use super::{Observed, schedule::later};
use crate::{
    Reason,
    credential::Credential,
    oauth::{Class, Grant, Stage, TokenError, stop_password},
};

/// Most such requests in a row. Issuers lock a user out after about five to ten refused attempts.
pub(super) const MOST: u32 = 3;
/// The wait after that number of requests if a gateway answers for the issuer: an outage must end without a user, and most issuers have
/// forgotten a refused attempt by then.
const RARE: SignedDuration = SignedDuration::from_hours(1);

/// True if the request may have arrived, and the answer does not show whether the password was refused.
pub(super) fn is_unclear(credential: &Credential, token_error: &TokenError) -> bool {
    // The agents that check passwords in Active Directory for Entra ID.
    let by_agents = token_error
        .aadsts
        .is_some_and(|n| (80_000..81_000).contains(&n));
    let is_incomplete = match token_error.stage {
        Stage::Own | Stage::Foreign | Stage::Answered => {
            token_error.reason == Reason::AnswerTooLarge
        }
        Stage::Proxy
        | Stage::Tunnel
        | Stage::Name
        | Stage::Connect
        | Stage::Tls
        | Stage::ClientCertificate
        | Stage::Timeout
        | Stage::BrokenOff => true,
    };
    matches!(credential.grant, Grant::Password(_))
        && !token_error.not_sent
        && (by_agents || is_incomplete || is_of_gateway(token_error))
}

/// True if a gateway got no usable answer from the issuer (RFC 9110 sections 15.6.3 and 15.6.5), which may have processed the request.
fn is_of_gateway(token_error: &TokenError) -> bool {
    token_error.class == Class::Transient && matches!(token_error.http_status, Some(502 | 504))
}

/// After the last of these requests, only a change or a request of a user causes another one. If a gateway answered, the wait is long.
pub fn stop_unclear(
    credential: &Credential,
    observed: &Observed,
    token_error: &mut TokenError,
    now: Timestamp,
) {
    let before = observed.failure(credential).map_or(0, |f| f.unclear);
    if !is_unclear(credential, token_error) || before + 1 < MOST {
        return;
    }
    if is_of_gateway(token_error) {
        token_error.retry_at = Some(later(now, RARE));
    } else {
        stop_password(token_error);
    }
}
