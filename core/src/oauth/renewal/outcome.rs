//! What an answer to a refresh means for the refresh token, and the notes about it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::super::{
    Class, Granted, TokenError,
    spent::{self, Spent},
};
use super::{Notes, ReuseRule, Send, refused_mark};
use crate::api::names;

/// The state of the refresh token that was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenState {
    /// Spent; the new one is here.
    Rotated,
    /// Used, and still valid.
    Unchanged,
    /// Not used: the request was not sent, or refused for another reason.
    Intact,
    /// Not known.
    Unknown,
    /// Refused, and not valid any more.
    Dead,
}

/// What an answer, or a missing answer, shows about the refresh token that was sent. Total: without evidence the state is unknown.
pub fn token_state(granted: &Granted, token_error: Option<&TokenError>) -> TokenState {
    match (granted, token_error) {
        (Granted::New(_), _) => TokenState::Rotated,
        (Granted::Same, _) | (Granted::Nothing, None) => TokenState::Unchanged,
        (Granted::Nothing, Some(token_error)) => without_grant(token_error),
    }
}

/// OAuth errors that a token endpoint sends before it grants (RFC 6749 section 5.2 and its extensions). With a status of 500
/// and above any other text may come from a gateway, and `server_error` does not show when the failure happened.
const BEFORE_GRANT: [&str; 10] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "invalid_scope",
    "invalid_target",
    "unauthorized_client",
    "unsupported_grant_type",
    "access_denied",
    "temporarily_unavailable",
    "slow_down",
];

fn without_grant(token_error: &TokenError) -> TokenState {
    if token_error.not_sent {
        return TokenState::Intact;
    }
    let error = token_error.error.as_deref();
    match (token_error.http_status, error) {
        // The server states a time for the next attempt, so it has not started.
        (Some(503), _) if token_error.retry_after.is_some() => TokenState::Intact,
        (Some(500..=599), Some(error)) if BEFORE_GRANT.contains(&error) => TokenState::Intact,
        // An OAuth error comes from the token endpoint, so it did not grant.
        (Some(200..=299 | 400..=499), Some(error)) => {
            // Doubtful: it may be about another parameter.
            if token_error.class == Class::NeedsUser && error != "invalid_request" {
                TokenState::Dead
            } else {
                TokenState::Intact
            }
        }
        // 408 and the statuses that proxies invented (444, 460, 499, …) are about a connection, not about the request.
        (Some(408 | 440..=499), None) => TokenState::Unknown,
        // A redirect refers to another URL and has not granted. apicred does not follow it.
        (Some(300..=399), _) | (Some(400..=499), None) => TokenState::Intact,
        // No answer; a gateway's 502 or 503; a token answer that cannot be read; a failure in apicred after the answer.
        _ => TokenState::Unknown,
    }
}

/// A refresh token that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Keyed digest of the refresh token.
    pub token: String,
    /// Keyed digest of the request.
    pub request: String,
    /// The time of the request.
    pub at: Timestamp,
    /// As it was decided.
    pub how: Send,
    /// Refresh tokens that were spent before, from all notes.
    pub spent: Vec<Spent>,
}

/// Annotations to write; `None` removes one.
pub type Changes = BTreeMap<&'static str, Option<String>>;

/// The notes to write to the state Secret after a request. `new` is the digest of the new refresh token. `None` if nothing changes.
pub fn after(
    notes: &Notes,
    rule: ReuseRule,
    sent: &Sent,
    (token_state, error, new): (TokenState, Option<&str>, Option<&str>),
) -> Option<Changes> {
    let marked = sent.how != Send::default();
    match token_state {
        TokenState::Unknown => None,
        TokenState::Unchanged
            if !marked && notes.rotates == Some(false) && notes.dead.is_none() =>
        {
            None
        }
        TokenState::Rotated | TokenState::Unchanged => {
            let rotated = token_state == TokenState::Rotated;
            let mut changes = Changes::from([
                (names::IN_FLIGHT_SINCE, None),
                (names::SIGN_IN_REQUIRED, None),
                (names::ROTATES, Some(rotated.to_string())),
            ]);
            if !rule.is_always() {
                let there = new.unwrap_or(&sent.token);
                changes.insert(names::STORED_REFRESH_TOKEN, Some(there.to_owned()));
                let mut spent = spent_after(notes, sent, token_state);
                // A refresh token that the issuer has issued again is not spent.
                spent.retain(|s| s.digest != *there);
                if !spent.is_empty() || !notes.spent.is_empty() {
                    let written = Some(spent::write(&spent)).filter(|text| !text.is_empty());
                    changes.insert(names::SPENT_REFRESH_TOKENS, written);
                }
            }
            Some(changes)
        }
        TokenState::Intact => {
            let mark = sent.how.mark.as_ref()?;
            let doubt = sent.how.doubt.as_ref();
            debug_assert!(doubt.is_none_or(|d| d != mark));
            // An unknown outcome stays unknown.
            Some([(names::IN_FLIGHT_SINCE, doubt.map(|d| d.text.clone()))].into())
        }
        TokenState::Dead => {
            let mark = refused_mark(error, &sent.request);
            let mut changes = Changes::from([(names::SIGN_IN_REQUIRED, Some(mark))]);
            // Another request must not use a refresh token that may be spent.
            if sent.how.doubt.is_none() {
                changes.insert(names::IN_FLIGHT_SINCE, None);
            }
            Some(changes)
        }
    }
}

/// The spent refresh tokens after this one was sent.
pub fn spent_after(notes: &Notes, sent: &Sent, token_state: TokenState) -> Vec<Spent> {
    let mut all = spent::merge(&notes.spent, &sent.spent);
    if token_state == TokenState::Rotated {
        let own = notes.stored.as_deref() == Some(sent.token.as_str());
        all = spent::add(all, Spent::new(&sent.token, sent.at, !own));
    }
    all
}
