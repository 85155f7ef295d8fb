//! Requests with a password whose answer is missing or unclear: the issuer may have refused the password, and each refused attempt counts
//! towards a lockout. So the number of such requests is limited, and a timer makes no more.

use super::Observed;
use crate::{
    credential::Credential,
    oauth::{Grant, Stage, TokenError, stop_password},
};

/// Most such requests in a row. Issuers lock a user out after about five to ten refused attempts.
pub(super) const MOST: u32 = 3;

/// True if the request may have arrived, and the answer does not show whether the password was refused.
pub(super) fn is_unclear(credential: &Credential, token_error: &TokenError) -> bool {
    // The agents that check passwords in Active Directory for Entra ID.
    let by_agents = token_error
        .aadsts
        .is_some_and(|n| (80_000..81_000).contains(&n));
    matches!(credential.grant, Grant::Password(_))
        && !token_error.not_sent
        && (by_agents || matches!(token_error.stage, Stage::Timeout | Stage::BrokenOff))
}

/// After the last of these requests, only a change or a request of a user causes another one.
pub fn stop_unclear(credential: &Credential, observed: &Observed, token_error: &mut TokenError) {
    let before = observed.failure(credential).map_or(0, |f| f.unclear);
    if is_unclear(credential, token_error) && before + 1 >= MOST {
        stop_password(token_error);
    }
}
