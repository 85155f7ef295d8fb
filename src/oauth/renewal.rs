//! What keeps a refresh token safe when an answer is lost. Many issuers rotate: the old token dies with its first
//! use, and a second use counts as theft that kills the whole family (facts, section 7). So before a request a mark
//! is set on the state Secret, and a mark that is found there says that the outcome of a request is unknown.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{Class, Refusal, grant::sign_in};
use crate::api::{Reuse, names};

/// What an issuer does with a refresh token that comes a second time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReuseRule {
    /// As the issuer object says; Entra ID is `Always`.
    pub reuse: Option<Reuse>,
    /// For how long after the first use it may come again.
    pub window: SignedDuration,
}

/// What stands on the state Secret.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notes {
    /// Sent, and not answered yet.
    pub in_flight_since: Option<Timestamp>,
    /// Did the issuer rotate at the last refresh?
    pub rotates: Option<bool>,
    /// The refresh token is of no use any more.
    pub sign_in_required: bool,
}

/// What to do with the refresh token that is there.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Send it; set the mark before, if there is a moment here.
    Send {
        /// The mark to set.
        mark: Option<Timestamp>,
    },
    /// Do not send it.
    Stop(Refusal),
}

/// What became of the refresh token that was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// Used; the answer is here.
    Used,
    /// Not used: the issuer was not reached, or refused for another reason.
    Intact,
    /// Nobody can say.
    Unknown,
    /// Refused for good.
    Dead,
}

impl Notes {
    /// From the annotations of a state Secret. A mark that cannot be read counts as one from long ago.
    pub fn read(annotations: Option<&BTreeMap<String, String>>) -> Self {
        let text = |name| annotations.and_then(|a| a.get(name)).map(String::as_str);
        Self {
            in_flight_since: text(names::IN_FLIGHT_SINCE)
                .map(|t| t.parse().unwrap_or(Timestamp::UNIX_EPOCH)),
            rotates: text(names::ROTATES).map(|t| t != "false"),
            sign_in_required: text(names::SIGN_IN_REQUIRED).is_some(),
        }
    }
}

/// Before a request.
pub fn before(state: &Notes, rule: ReuseRule, credential: &str, now: Timestamp) -> Step {
    if rule.reuse == Some(Reuse::Always) {
        return Step::Send { mark: None };
    }
    if state.sign_in_required {
        return Step::Stop(needs_user(
            "SignInRequired",
            "the issuer does not accept the refresh token any more",
            credential,
        ));
    }
    match state.in_flight_since {
        None => Step::Send { mark: Some(now) },
        // The window counts from the first use, so its mark stays.
        Some(since) if now.duration_since(since).abs() <= rule.window => Step::Send { mark: None },
        Some(_) if rule.reuse.is_none() && state.rotates == Some(false) => {
            Step::Send { mark: None }
        }
        Some(_) => Step::Stop(needs_user(
            "RefreshOutcomeUnknown",
            "the answer to a refresh was lost, and this issuer may take a second use of the refresh token for theft",
            credential,
        )),
    }
}

fn needs_user(reason: &'static str, what: &str, credential: &str) -> Refusal {
    Refusal {
        until_change: true,
        ..Refusal::local(
            Class::NeedsUser,
            reason,
            format!("{what}; {}", sign_in(credential)),
        )
    }
}

/// What a refusal says about the refresh token that was sent with the request.
pub fn fate(refusal: &Refusal) -> Fate {
    match (refusal.http_status, refusal.class) {
        (None, _) if refusal.maybe_sent => Fate::Unknown,
        (None | Some(429 | 503), _) => Fate::Intact,
        (Some(_), Class::NeedsUser) if refusal.error.as_deref() != Some("invalid_request") => {
            Fate::Dead
        }
        // An OAuth error is the token endpoint's own word: it did not grant.
        (Some(status), _) if refusal.error.is_some() || (400..=499).contains(&status) => {
            Fate::Intact
        }
        // A gateway's 502, a token that could not be read: the endpoint behind it may have granted.
        (Some(_), _) => Fate::Unknown,
    }
}
