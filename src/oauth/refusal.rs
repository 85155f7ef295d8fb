//! An answer without a token: what kind of failure it is and what a person can do.

use std::time::Duration;

use jiff::Timestamp;

use super::aadsts;
use crate::issuer::addresses::AddressNotAllowed;

/// Failure classes; each has its own way of waiting (DESIGN, section 3).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Class {
    /// The request is wrong and stays wrong until somebody changes it.
    Invalid,
    /// The client was refused.
    Denied,
    /// A person has to sign in or consent.
    NeedsUser,
    /// Too many requests.
    Throttled,
    /// Worth trying again soon.
    Transient,
}

impl Class {
    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Denied => "denied",
            Self::NeedsUser => "needs_user",
            Self::Throttled => "throttled",
            Self::Transient => "transient",
        }
    }
}

/// Why there is no token. Carries nothing of the answer's body but codes and ids from fixed alphabets.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// How to wait.
    pub class: Class,
    /// Stable reason for conditions and events.
    pub reason: &'static str,
    /// One sentence with the next step.
    pub next_step: String,
    /// HTTP status, if there was an answer.
    pub http_status: Option<u16>,
    /// OAuth `error`.
    pub error: Option<String>,
    /// AADSTS number.
    pub aadsts: Option<u32>,
    /// Entra's id of the request.
    pub correlation_id: Option<String>,
    /// Entra's id of the answer.
    pub trace_id: Option<String>,
    /// How long the issuer asks to be left alone.
    pub retry_after: Option<Duration>,
    /// Was the client's proof refused, so that the next secret of the list may do better?
    pub about_client: bool,
    /// Is it certain that no byte of the request reached the issuer? Unknown counts as no.
    pub not_sent: bool,
    /// Only a change of the inputs may lead to another try; no timer does.
    pub until_change: bool,
    /// The next try makes sense at this time and not before.
    pub retry_at: Option<Timestamp>,
}

impl From<AddressNotAllowed> for Refusal {
    fn from(refused: AddressNotAllowed) -> Self {
        Self::local(Class::Invalid, "AddressNotAllowed", refused.to_string())
    }
}

impl Refusal {
    /// A failure of apicred's own telling, without an answer of the issuer.
    pub fn local(class: Class, reason: &'static str, next_step: impl Into<String>) -> Self {
        Self {
            class,
            reason,
            next_step: next_step.into(),
            http_status: None,
            error: None,
            aadsts: None,
            correlation_id: None,
            trace_id: None,
            retry_after: None,
            about_client: false,
            not_sent: false,
            until_change: false,
            retry_at: None,
        }
    }

    /// The sentence for conditions and events: the codes that are known, then the next step.
    pub fn message(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.http_status.map(|s| format!("HTTP {s}")));
        parts.extend(self.error.clone());
        parts.extend(self.aadsts.map(|n| format!("AADSTS{n}")));
        let mut text = if parts.is_empty() {
            self.next_step.clone()
        } else {
            format!(
                "the issuer answered {}: {}",
                parts.join(", "),
                self.next_step
            )
        };
        if let Some(id) = &self.correlation_id {
            text.push_str(" (correlation id ");
            text.push_str(id);
            text.push(')');
        }
        text
    }
}

/// What an OAuth `error`, a status and an AADSTS number mean together: class, reason, next step, client refused?
pub(super) fn classify(
    status: u16,
    error: Option<&str>,
    code: Option<u32>,
) -> (Class, &'static str, String, bool) {
    let (class, reason, next, client) = by_protocol(status, error);
    match code.and_then(aadsts::known) {
        Some(known) => (
            known.class,
            known.reason,
            known.next_step.to_owned(),
            known.about_client,
        ),
        None => (class, reason, next.to_owned(), client),
    }
}

/// By status first where it is about the service, then by `error` (RFC 6749 section 5.2), then by status again:
/// real servers answer a wrong secret with 400 or 401, with several codes or none (facts, section 5.4).
fn by_protocol(status: u16, error: Option<&str>) -> (Class, &'static str, &'static str, bool) {
    match (status, error) {
        (429, _) | (_, Some("slow_down")) => (
            Class::Throttled,
            "Throttled",
            "the issuer asks for fewer requests; apicred pauses",
            false,
        ),
        (500..=599 | 408, _) | (_, Some("server_error" | "temporarily_unavailable")) => (
            Class::Transient,
            "IssuerUnavailable",
            "the issuer failed; apicred tries again",
            false,
        ),
        (300..=399, _) => (
            Class::Invalid,
            "RedirectRefused",
            "the token endpoint redirects and apicred never follows; correct the URL to the final one",
            false,
        ),
        (404 | 405, None) => (
            Class::Invalid,
            "EndpointNotFound",
            "no token endpoint answers at this URL; correct the issuer",
            false,
        ),
        (_, Some("invalid_client")) | (401, _) => (
            Class::Denied,
            "ClientRefused",
            "check client.id and the client secret",
            true,
        ),
        (_, Some("unauthorized_client")) => (
            Class::Denied,
            "ClientNotAuthorized",
            "allow this client this grant at the issuer",
            true,
        ),
        (_, Some("invalid_scope")) => {
            (Class::Invalid, "InvalidScope", "correct spec.scopes", false)
        }
        (_, Some("invalid_target" | "invalid_resource")) => (
            Class::Invalid,
            "ResourceUnknown",
            "correct spec.resource, spec.audience or spec.scopes",
            false,
        ),
        (_, Some("unsupported_grant_type")) => (
            Class::Invalid,
            "GrantNotSupported",
            "the issuer does not know this grant; choose another",
            false,
        ),
        (_, Some("invalid_request")) => (
            Class::Invalid,
            "InvalidRequest",
            "the issuer misses or refuses a parameter; check scopes, resource, audience and parameters",
            false,
        ),
        (
            _,
            Some("invalid_grant" | "interaction_required" | "login_required" | "consent_required"),
        ) => (
            Class::NeedsUser,
            "NeedsUser",
            "the issuer wants a person to consent or to sign in",
            false,
        ),
        (403, _) | (_, Some("access_denied")) => (
            Class::Denied,
            "AccessDenied",
            "the issuer forbids this request; check the client's permissions there",
            false,
        ),
        (200..=299, Some(_)) => (
            Class::Invalid,
            "RequestRefused",
            "the issuer answered with an error",
            false,
        ),
        (200..=299, None) => (
            Class::Transient,
            "MalformedAnswer",
            "the answer is not a token answer; is the URL a token endpoint, and nothing in between?",
            false,
        ),
        _ => (
            Class::Invalid,
            "RequestRefused",
            "the issuer refuses the request; check the spec",
            false,
        ),
    }
}

/// No error code has more digits than this; keys and tokens in small letters have.
pub(super) const MOST_DIGITS: usize = 4;

/// An OAuth error code as it may be shown: RFC 6749 codes and their like. Anything else could be text that an
/// attacker wants read back (reliability research, T2), and is dropped.
pub fn error_code(text: &str) -> Option<String> {
    let fits = (1..=64).contains(&text.len())
        && text.bytes().filter(u8::is_ascii_digit).count() <= MOST_DIGITS
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    fits.then(|| text.to_owned())
}
