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
        && (by_agents || is_incomplete)
}

/// True if a gateway got no usable answer from the issuer (RFC 9110 sections 15.6.3 and 15.6.5), which may have processed the request.
fn is_of_gateway(token_error: &TokenError) -> bool {
    token_error.class == Class::Transient && matches!(token_error.http_status, Some(502 | 504))
}

/// After the last request without a clear answer, only a change or a request of a user causes another one. If a gateway answers, the wait is
/// long from the third failure on.
pub fn stop_unclear(
    credential: &Credential,
    observed: &Observed,
    token_error: &mut TokenError,
    now: Timestamp,
) {
    let last = observed.failure(credential);
    let (unclear, failures) = last.map_or((0, 0), |f| (f.unclear, f.failures));
    if is_unclear(credential, token_error) && unclear + 1 >= MOST {
        stop_password(token_error);
        return;
    }
    let is_password = matches!(credential.grant, Grant::Password(_));
    let is_longer = |wait| SignedDuration::try_from(wait).is_ok_and(|wait| wait > RARE);
    if is_password
        && is_of_gateway(token_error)
        && failures + 1 >= MOST
        && !token_error.retry_after.is_some_and(is_longer)
    {
        token_error.retry_at = token_error.retry_at.max(Some(later(now, RARE)));
    }
}
