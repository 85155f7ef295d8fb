//! Device authorization (RFC 8628): a user types a code on another device, and this machine polls for the result.

use crate::Reason;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use url::Url;

use super::redeem::{explained, post};
use crate::{
    api::parameter::is_of_user,
    credential::Credential,
    input::{self, get, stated, text_of},
    oauth::{
        AnswerContext, Class, Material, RawAnswer, RequestContext, TokenEndpoint, TokenError,
        TokenRequest, answer,
        classes::is_specific,
        compression,
        discovery::not_https,
        error_body::{code, description, snake},
        grant::Fields,
        response::fields,
    },
};

/// The interval if the issuer sends none (section 3.2).
const INTERVAL: Duration = Duration::from_secs(5);
/// `slow_down` increases the interval permanently by this (section 3.5).
const SLOWER: Duration = Duration::from_secs(5);
/// No issuer may set a shorter interval, or one so long that the user gives up.
const BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// Lifetime of a code if the answer has none; Entra's is the same (facts, section 1.8).
const LIFETIME: Duration = Duration::from_mins(15);
/// The longest wait for a code.
const LONGEST: Duration = Duration::from_hours(1);

/// A device code that waits for its user.
pub struct Device {
    /// What is redeemed.
    pub code: SecretString,
    /// The code that the user types. Printable.
    pub user_code: String,
    /// The page where the user types it.
    pub page: Url,
    /// The page with the code in its URL, if the issuer has one.
    pub direct: Option<Url>,
    /// The lifetime of the code.
    pub lifetime: Duration,
    /// The pause between two attempts.
    pub interval: Duration,
}

/// The request for a code (section 3.1). A confidential client authenticates here as well. `challenge` is a PKCE challenge
/// for issuers that require one in this flow too.
///
/// # Errors
/// When the issuer has no such endpoint, or the client authentication cannot be used.
pub fn device_request(
    credential: &Credential,
    endpoint: &TokenEndpoint,
    material: &Material,
    challenge: Option<&str>,
    moment: RequestContext<'_>,
) -> Result<TokenRequest, TokenError> {
    let certificate = material.shows_certificate();
    // A code that cannot be redeemed is not requested.
    endpoint.posted_by(certificate)?;
    let url = endpoint.device_at(certificate).ok_or_else(|| {
        let why = endpoint.unused("device_authorization_endpoint", certificate).unwrap_or(
            "the issuer names no device authorization endpoint; set oauth2.deviceAuthorizationUrl (or oidc.deviceAuthorizationUrl) on it",
        );
        TokenError::local(
            Class::Invalid,
            Reason::SignInNotPossible,
            format!("{why}, or leave --device out"),
        )
    })?;
    let request = &credential.request;
    let text = |value: &str| SecretString::from(value);
    let mut fields: Fields = Vec::new();
    let scope = request.scopes.join(" ");
    if !scope.is_empty() {
        fields.push(("scope", text(&scope)));
    }
    fields.extend(request.resources.iter().map(|r| ("resource", text(r))));
    fields.extend(request.audience.as_deref().map(|a| ("audience", text(a))));
    if let Some(challenge) = challenge {
        fields.push(("code_challenge", text(challenge)));
        fields.push(("code_challenge_method", text("S256")));
    }
    let of_user = request.sign_in_parameters.iter();
    let of_user = of_user.filter(|(name, _)| is_of_user(name));
    let of_user = of_user.map(|(name, value)| (name.as_str(), text(value)));
    let of_user = of_user.collect();
    post(
        credential,
        (endpoint, url),
        material,
        (fields, of_user),
        moment,
    )
}

/// Reads the answer to it (section 3.2). Seconds are sent as numbers and as texts (facts, section 1.8).
///
/// # Errors
/// A classified token error.
pub fn device_answer(
    credential: &Credential,
    raw: &RawAnswer,
    now: Timestamp,
) -> Result<Device, TokenError> {
    let fields = fields(raw).unwrap_or_default();
    // It is printed to a terminal, where control characters are commands.
    let text = |name: &str| {
        let text = text_of(&fields, name)?.into_owned();
        let fits =
            (1..=4096).contains(&text.len()) && text.bytes().all(|b| (0x20..=0x7e).contains(&b));
        fits.then_some(text)
    };
    let page = |name: &str| {
        let url = Url::parse(&text(name)?).ok()?;
        let plain = url.username().is_empty() && url.password().is_none();
        (url.scheme() == "https" && plain).then_some(url)
    };
    let seconds = |name: &str| {
        let span = input::seconds(get(&fields, name)?)?;
        Duration::try_from(span).ok()
    };
    let success = (200..=299).contains(&raw.status) && stated(&fields, "error").is_none();
    // Google's name for it is older than the standard.
    let verification = page("verification_uri").or_else(|| page("verification_url"));
    let (true, Some(code), Some(user_code), Some(page_)) = (
        success,
        text("device_code"),
        text("user_code"),
        verification,
    ) else {
        let context = AnswerContext {
            sent: now,
            now,
            assumed_lifetime: None,
        };
        let page = text("verification_uri").or_else(|| text("verification_url"));
        let has_codes = text("device_code").is_some() && text("user_code").is_some();
        return Err(match answer(raw, context) {
            Err(token_error) if token_error.reason != Reason::MalformedAnswer => {
                explained(credential, token_error)
            }
            _ => match compression(raw) {
                Some(compressed) => unusable(format!(
                    "the answer of the device authorization endpoint is {compressed}; turn compression off there, or in the gateway before it"
                )),
                None => malformed(page.filter(|_| has_codes).as_deref()),
            },
        });
    };
    Ok(Device {
        code: SecretString::from(code),
        user_code,
        page: page_,
        direct: page("verification_uri_complete"),
        lifetime: seconds("expires_in").unwrap_or(LIFETIME).min(LONGEST),
        interval: seconds("interval")
            .unwrap_or(INTERVAL)
            .clamp(BOUNDS.0, BOUNDS.1),
    })
}

/// The error for an answer that cannot be used. `page`: the address that is the only fault.
fn malformed(page: Option<&str>) -> TokenError {
    let message = page.map_or_else(
        || "the answer has no device code that could be used; is the URL a device authorization endpoint?".to_owned(),
        |page| {
            let answer = "the answer of the device authorization endpoint";
            not_https((answer, "verification_uri"), page, "leave --device out")
        },
    );
    unusable(message)
}

fn unusable(message: String) -> TokenError {
    TokenError::local(Class::Invalid, Reason::MalformedAnswer, message)
}

/// The codes that [`Pace::after`] reads: those of section 3.5, and the names of Entra ID and GitHub.
const CODES: [&str; 6] = [
    "authorization_pending",
    "slow_down",
    "access_denied",
    "authorization_declined",
    "expired_token",
    "bad_verification_code",
];

/// The code of an attempt whose `error` is missing or unknown: in another spelling, in the field of a product, or as the whole
/// text (Twitch: `{"status": 400, "message": "authorization_pending"}`).
pub(super) fn stated_elsewhere(raw: &RawAnswer, token_error: &TokenError) -> Option<&'static str> {
    let known = token_error.error.as_deref().is_some_and(is_specific);
    if known || token_error.reason == Reason::GatewayRefused {
        return None;
    }
    let fields = fields(raw)?;
    let error = text_of(&fields, "error").and_then(|error| snake(&error));
    let text = description(&fields).map(|text| text.trim().to_ascii_lowercase());
    let all = [error, code(&fields), text];
    let find = |seen: String| CODES.into_iter().find(|code| *code == seen);
    all.into_iter().flatten().find_map(find)
}

/// The polling interval.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pace {
    /// The pause before the next attempt.
    pub interval: Duration,
}

/// The meaning of an attempt without a token.
#[derive(Debug)]
pub enum Poll {
    /// Try again after the pause.
    Again,
    /// It has expired.
    Over(TokenError),
}

impl Pace {
    /// Reads a token error (section 3.5). Its `error` decides, whatever the status: 400 and 401 were both seen.
    pub fn after(&mut self, token_error: TokenError) -> Poll {
        let over = |token_error: TokenError, reason, next_step: &'static str| {
            Poll::Over(TokenError {
                class: Class::NeedsUser,
                reason,
                next_step: next_step.into(),
                ..token_error
            })
        };
        match token_error.error.as_deref() {
            Some("authorization_pending") => Poll::Again,
            Some("slow_down") => {
                self.interval += SLOWER;
                Poll::Again
            }
            Some("access_denied" | "authorization_declined") => over(
                token_error,
                Reason::SignInDeclined,
                "the sign-in was declined; run the command again if that was a mistake",
            ),
            Some("expired_token" | "bad_verification_code") => over(
                token_error,
                Reason::SignInExpired,
                "the code expired before it was used; run the command again",
            ),
            // No answer: polls more slowly until the code expires.
            _ if matches!(token_error.class, Class::Transient | Class::Throttled) => {
                let retry_after = token_error.retry_after.unwrap_or_default();
                self.interval = (self.interval * 2).min(BOUNDS.1).max(retry_after);
                Poll::Again
            }
            _ => Poll::Over(token_error),
        }
    }
}
