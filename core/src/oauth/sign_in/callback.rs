//! Parses the redirect back to this machine (RFC 6749 section 4.1.2).
//!
//! Any program can send a browser to a local port. So a redirect without the sent `state` is ignored, and none of its text is returned.

use crate::Reason;
use secrecy::SecretString;
use url::form_urlencoded;

use super::Consent;
use crate::oauth::{
    Class, TokenError, aadsts,
    classes::{Seen, classify},
    error_code,
    error_kind::Meaning,
};

/// Longest code that is accepted; Entra's have about 1.5 KiB.
const MAX_CODE: usize = 16 * 1024;

/// A request to the callback address.
pub enum Callback {
    /// The code.
    Code(SecretString),
    /// The issuer or the user refused.
    Refused(TokenError),
    /// Not the answer to this sign-in, which continues to wait.
    Stray,
}

/// The accepted sender of the redirect, according to the parameter `iss` of RFC 9207.
#[derive(Clone, Copy)]
pub struct Sender<'a> {
    /// The issuer's identifier, if it is known.
    pub issuer: Option<&'a str>,
    /// True if the issuer announces that it identifies itself in every answer
    /// (`authorization_response_iss_parameter_supported`).
    pub announced: bool,
    /// What the user allowed.
    pub consent: &'a Consent,
}

impl Sender<'_> {
    /// RFC 9207 section 2.4. A duplicate `iss` is not the issuer's.
    fn is(&self, reported: &[String]) -> bool {
        match reported {
            [] => !self.announced,
            [reported] => {
                self.issuer.is_none_or(|known| reported == known)
                    && self.consent.accepts_name(reported)
            }
            _ => false,
        }
    }
}

/// Reads the query of a callback.
pub fn callback(query: &str, state: &str, sender: Sender<'_>) -> Callback {
    let one = |name: &str| {
        let mut all = form_urlencoded::parse(query.as_bytes()).filter(|(n, _)| n == name);
        let first = all.next().map(|(_, v)| v.into_owned());
        // RFC 6749 section 3.1: a duplicate parameter is a forgery or an error.
        first.filter(|v| all.next().is_none() && !v.is_empty())
    };
    if one("state").as_deref() != Some(state) {
        return Callback::Stray;
    }
    let reported: Vec<String> = form_urlencoded::parse(query.as_bytes())
        .filter(|(n, _)| n == "iss")
        .map(|(_, v)| v.into_owned())
        .collect();
    if !sender.is(&reported) {
        return Callback::Refused(TokenError::local(
            Class::Invalid,
            Reason::IssuerMismatch,
            "another issuer than the requested one sent the browser back, or the issuer did not name itself although it announces this (RFC 9207), so the code was not used; run the command again",
        ));
    }
    if let Some(error) = one("error") {
        let number = one("error_description").as_deref().and_then(aadsts_number);
        return Callback::Refused(refused(error_code(&error), number));
    }
    match one("code") {
        Some(code)
            if code.len() <= MAX_CODE
                && code.bytes().all(|b| b.is_ascii_graphic() || b == b' ') =>
        {
            Callback::Code(SecretString::from(code))
        }
        _ => Callback::Refused(TokenError::local(
            Class::Invalid,
            Reason::MalformedAnswer,
            "the browser came back without a code; run the command again",
        )),
    }
}

/// The number at the beginning of Entra's descriptions.
fn aadsts_number(description: &str) -> Option<u32> {
    let digits = description.strip_prefix("AADSTS")?;
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    digits[..end.min(9)].parse().ok()
}

/// An error of the authorization endpoint (RFC 6749 section 4.1.2.1, OpenID Connect Core section 3.1.2.6).
fn refused(error: Option<String>, number: Option<u32>) -> TokenError {
    let Meaning {
        class,
        reason,
        mut next_step,
        ..
    } = classify(&Seen {
        status: 400,
        error: error.as_deref(),
        code: number,
        user: true,
        ..Seen::default()
    });
    let known = number.is_some_and(|n| aadsts::known(n, error.as_deref(), true).is_some());
    let better = match error.as_deref() {
        Some("access_denied") => {
            Some("the sign-in was declined; run the command again if that was a mistake")
        }
        Some("consent_required") => Some(
            "the application needs a consent that this user may not give; ask an administrator of the issuer",
        ),
        Some("unauthorized_client") => {
            Some("allow this client the authorization code at the issuer")
        }
        Some("unsupported_response_type") => {
            Some("the issuer does not give codes to this client; allow it the authorization code")
        }
        Some("invalid_scope") => Some(
            "the issuer does not know a scope; correct spec.scopes, or choose others with --scopes",
        ),
        Some("server_error" | "temporarily_unavailable") => {
            Some("the issuer failed; run the command again")
        }
        Some("login_required" | "interaction_required") => {
            Some("the issuer requires a sign-in; run the command again")
        }
        _ => None,
    };
    if let (Some(better), false) = (better, known) {
        next_step = better.into();
    }
    TokenError {
        error,
        aadsts: number,
        ..TokenError::local(class, reason, next_step)
    }
}
