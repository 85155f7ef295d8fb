//! Whether an answer shows that the issuer did not examine the password of the request. Each refused attempt counts towards a lockout,
//! whatever its form is: a web server that answers for the token endpoint sends pages, XML or its own errors.

use crate::{
    Reason,
    oauth::{
        Class, NextStep, Note, TokenError, aadsts,
        classes::{Seen, names_failure},
    },
};

/// For an answer that does not show whether the password was examined.
const NOT_AGAIN: &str = "the issuer may have refused the password, and repeated attempts lock the user out: apicred does not send it again until its Secret changes or a renewal is requested (kubectl apicred renew)";

/// No timer sends the password again, unless the answer shows that it was not examined.
pub(super) fn stop(seen: &Seen<'_>, token_error: &mut TokenError) {
    if !is_unseen(seen, token_error) {
        stop_password(token_error);
    }
    let is_blocked = token_error.class == Class::Denied && token_error.reason == Reason::Throttled;
    if is_blocked {
        token_error.reason = Reason::AccountLocked;
        token_error.next_step = "the issuer has blocked the user or this address after failed attempts: remove the block there, and correct the password; apicred does not send it again until its Secret changes or a renewal is requested (kubectl apicred renew)".into();
    }
}

/// Only a change of the inputs, or a request of a user, may cause another attempt with this password.
pub fn stop_password(token_error: &mut TokenError) {
    token_error.until_change = true;
    if matches!(token_error.class, Class::Transient | Class::Throttled) {
        token_error.class = Class::Denied;
        token_error.retry_after = None;
        token_error.next_step = NextStep::from(token_error.next_step.what());
        token_error
            .next_step
            .note(Note::Clause(NOT_AGAIN.to_owned()));
    }
}

/// True if the answer shows that the password was not examined.
fn is_unseen(seen: &Seen<'_>, token_error: &TokenError) -> bool {
    match token_error.class {
        Class::Throttled => !is_lockout(seen),
        Class::Transient => {
            // Entra ID names its own failures by number.
            let numbered = seen
                .code
                .and_then(|n| aadsts::known(n, seen.error, seen.user));
            // A refused client assertion comes before the password.
            let of_client = matches!(
                token_error.reason,
                Reason::AssertionTimeRefused | Reason::AssertionReplayed
            );
            numbered.is_some()
                || of_client
                || matches!(seen.status, 407 | 421 | 425 | 502..=504)
                    && seen.error.is_none_or(names_failure)
        }
        Class::Denied | Class::Invalid | Class::NeedsUser => false,
    }
}

/// True for a limit of failed attempts, by the code (Auth0: `too_many_attempts`) or by the text. Not for a limit of requests, such as
/// "attempt again in 60 seconds" or "request blocked".
fn is_lockout(seen: &Seen<'_>) -> bool {
    const ATTEMPTS: [&str; 10] = [
        "attempts",
        "attempt limit",
        "attempt count",
        "authentication attempt",
        "failed attempt",
        "login attempt",
        "sign-in attempt",
        "failed log",
        "failed sign",
        "password",
    ];
    const LOCKED: [&str; 4] = ["blocked", "locked", "suspended", "disabled"];
    const WHOM: [&str; 5] = ["account", "user", "login", "ip address", "your ip"];
    let code = seen.error.unwrap_or_default();
    let mentions = |words: &[&str]| {
        let mut words = words.iter();
        words.any(|word| seen.text.contains(word) || code.contains(word))
    };
    mentions(&ATTEMPTS) || mentions(&LOCKED) && mentions(&WHOM)
}
