//! Turns an answer without a token into a [`TokenError`]: its details, its class, and its meaning for the grant and the client of a
//! credential.

mod advice;
mod password;

pub use password::stop_password;

use std::{borrow::Cow, time::Duration};

use crate::Reason;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    Class, Grant, NextStep, Note, RawAnswer, Stage, TokenError, aadsts, challenge,
    classes::{self, Seen, classify, without_examples},
    consent,
    error_body::{self, code, description, stated_code},
    error_kind::Meaning,
    gateway::{self, By},
    grant::{Refused, User},
    lifetime::is_guid,
    managed_identity,
    product_code::product_code,
    token_error::{Detail, MOST_DIGITS},
};
use crate::{
    credential::{AuthenticationMethod, Credential, Endpoint, Protocol, SecretStyle},
    input::{get, text_of},
};

/// A redirect to a login page.
const LOGIN_PAGE: &str = "the server redirects to a login page: it has no token endpoint at this URL, or a proxy requires a sign-in first; correct the URL of the issuer, or have the proxy allow this path without a sign-in";
/// Largest number of codes that are read from one answer.
const MOST_NUMBERS: usize = 8;

/// The meaning of an answer without a token, for a credential if it is known.
pub(super) fn token_error(
    raw: &RawAnswer,
    fields: Option<&Map<String, Value>>,
    now: Timestamp,
    credential: Option<&Credential>,
) -> TokenError {
    let none = Map::new();
    let body = fields.unwrap_or(&none);
    let error = text_of(body, "error").and_then(|code| stated_code(&code));
    let number = aadsts_code(body);
    let by = gateway::by(raw, fields);
    let text = error_body::reported(raw, fields).map(|text| without_examples(&text.to_lowercase()));
    let text = text.unwrap_or_default();
    let other = error.is_none().then(|| code(body)).flatten();
    let guessed = || classes::spoken(raw.status, &text).filter(|_| by.is_none());
    let known = |code: &&str| classes::is_specific(code);
    let stated = error.as_deref().or(other.as_deref());
    let seen = Seen {
        status: raw.status,
        error: stated.filter(known).or_else(guessed).or(stated),
        code: number,
        text: &text,
        by,
        user: credential.is_none_or(|c| c.grant.user() != User::None),
        asserted: credential.is_some_and(|c| is_asserted(c, &text)),
    };
    let Meaning {
        class,
        reason,
        next_step,
        about_client,
    } = classify(&seen);
    let token_error = TokenError {
        class,
        reason,
        stage: stage(&seen),
        next_step: with_details(next_step, raw, body),
        http_status: Some(raw.status),
        detail: Some(Box::new(Detail {
            content_type: media_type(raw, by),
            code: product_code(body, error.as_deref(), description(body)),
            claims: challenge::claims(body),
            ..Detail::default()
        })),
        error: error.clone(),
        aadsts: number,
        correlation_id: guid(body, "correlation_id"),
        trace_id: guid(body, "trace_id"),
        retry_after: pause(raw, &seen, now),
        about_client,
        not_sent: false,
        until_change: false,
        retry_at: None,
    };
    match credential {
        Some(credential) => for_credential(credential, &seen, token_error),
        None => token_error,
    }
}

/// The next step, with the details that only this answer has.
fn with_details(step: NextStep, raw: &RawAnswer, body: &Map<String, Value>) -> NextStep {
    let location = raw.location.as_deref().unwrap_or_default();
    let mut step = if (300..=399).contains(&raw.status) && gateway::is_login_page(location) {
        LOGIN_PAGE.into()
    } else {
        step
    };
    if let Some(requested_claims) = challenge::requested(body) {
        step.note(Note::Aside(requested_claims));
    }
    step
}

/// A GUID in the answer.
fn guid(body: &Map<String, Value>, name: &str) -> Option<String> {
    let id = text_of(body, name).filter(|id| is_guid(id));
    id.map(Cow::into_owned)
}

/// The pause that the issuer requests, or the known one of its code, whichever is longer.
fn pause(raw: &RawAnswer, seen: &Seen<'_>, now: Timestamp) -> Option<Duration> {
    let requested_pause = raw.requested_pause(now);
    let known = seen
        .code
        .and_then(|n| aadsts::known(n, seen.error, seen.user))
        .and_then(|k| k.wait);
    requested_pause.max(known)
}

/// The details of an answer whose token is refused.
pub(super) fn detail(raw: &RawAnswer, credential: Option<&Credential>) -> Detail {
    Detail {
        content_type: media_type(raw, None),
        issuer: credential.map(|c| c.issuer.origin.clone()),
        ..Detail::default()
    }
}

/// Whether a token endpoint answered, as far as the answer shows it.
const fn stage(seen: &Seen<'_>) -> Stage {
    match (seen.error, seen.by) {
        (None, Some(By::Page | By::Gateway(_))) => Stage::Foreign,
        (None, None) if seen.status >= 200 && seen.status <= 299 => Stage::Foreign,
        (Some(_), _) | (None, Some(By::NoCertificate | By::CertificateNotTrusted) | None) => {
            Stage::Answered
        }
    }
}

/// True if an assertion authenticates the client. If the document of the issuer selects how a secret is used, the text shows it.
fn is_asserted(credential: &Credential, text: &str) -> bool {
    match &credential.authentication {
        AuthenticationMethod::Certificates(_)
        | AuthenticationMethod::Key(_)
        | AuthenticationMethod::Assertion(_)
        | AuthenticationMethod::ServiceAccount(_)
        | AuthenticationMethod::IdentityAssertion(_)
        | AuthenticationMethod::ManagedIdentity(_) => true,
        AuthenticationMethod::Secrets(_) => match credential.issuer.style {
            Some(SecretStyle::Jwt(_)) => true,
            None => ["assertion", "jwt", "jti"].iter().any(|w| text.contains(w)),
            Some(_) => false,
        },
        _ => false,
    }
}

/// Applies the meaning of the error for the grant.
fn apply_grant(credential: &Credential, seen: &Seen<'_>, token_error: &mut TokenError) {
    let name = format!("{}/{}", credential.namespace, credential.name);
    let refused = Refused {
        error: seen.error.unwrap_or_default(),
        text: seen.text,
        credential: &name,
    };
    // A page or a gateway shows nothing about the grant.
    let of_grant = seen
        .error
        .filter(|_| seen.by.is_none())
        .and_then(|_| credential.grant.flow().refused(&refused));
    let numbered = token_error
        .aadsts
        .is_some_and(|n| aadsts::known(n, seen.error, seen.user).is_some());
    match of_grant {
        // The known number is more specific than the grant, but the grant decides who must act.
        Some(of_grant) if numbered => {
            let both = (of_grant.class, token_error.class) == (Class::NeedsUser, Class::NeedsUser);
            if both {
                token_error.next_step.note(Note::Clause(of_grant.next_step));
            }
        }
        // Too many requests, whatever the code is. A password counts as refused unless the text shows this.
        Some(of_grant)
            if token_error.class == Class::Throttled
                && (!of_grant.until_change || classes::describes_throttling(seen.text)) => {}
        // The text names the client secret, whatever the code is.
        Some(_)
            if token_error.about_client
                && seen
                    .error
                    .is_some_and(|error| classes::is_about_secret(error, seen.text)) => {}
        // An error about the client's own secret or assertion, or about DPoP, is an error of the client for every grant. A router does not
        // know the grant.
        Some(_)
            if token_error.about_client
                && token_error.reason != Reason::AssertionRefused
                && matches!(seen.error, Some("invalid_grant" | "invalid_request")) => {}
        Some(_)
            if matches!(
                token_error.reason,
                Reason::DpopRequired
                    | Reason::EndpointNotFound
                    | Reason::ClientAuthenticationUnsupported
            ) => {}
        Some(_)
            if seen.error == Some("invalid_request")
                && token_error.reason == Reason::ClientNotAuthorized => {}
        Some(_)
            if seen.asserted
                && matches!(
                    token_error.reason,
                    Reason::AssertionTimeRefused | Reason::AssertionReplayed
                ) => {}
        Some(of_grant) => {
            token_error.class = of_grant.class;
            token_error.reason = of_grant.reason;
            token_error.next_step = of_grant.next_step.into();
            token_error.about_client = false;
            token_error.until_change = of_grant.until_change;
        }
        None => {}
    }
}

fn for_credential(
    credential: &Credential,
    seen: &Seen<'_>,
    mut token_error: TokenError,
) -> TokenError {
    if matches!(
        credential.authentication,
        AuthenticationMethod::ManagedIdentity(_)
    ) && token_error.aadsts.is_none()
    {
        return managed_identity::refused(seen.status, token_error);
    }
    let detail = token_error.detail.get_or_insert_default();
    detail.issuer = Some(credential.issuer.origin.clone());
    if classes::is_about_audience(seen) {
        token_error.next_step = advice::of_audience(&credential.authentication).into();
    }
    advice::of_stored_assertion(credential, &mut token_error);
    apply_grant(credential, seen, &mut token_error);
    advice::of_extension(credential, &mut token_error);
    // Django and others have a path only with a slash at its end.
    if let (Reason::EndpointNotFound, 404, Endpoint::Fixed(url)) =
        (token_error.reason, seen.status, &credential.issuer.endpoint)
        && credential.issuer.protocol == Protocol::OAuth
        && !url.path().ends_with('/')
    {
        let note = "some servers demand a slash at the end of tokenUrl";
        token_error.next_step.note(Note::Clause(note.to_owned()));
    }
    if token_error.class == Class::NeedsUser {
        advice::without_user(credential, &mut token_error);
    }
    if token_error.reason == Reason::ClientRefused && token_error.about_client {
        token_error.next_step = advice::client_refused(credential, seen, &token_error);
        // Without client authentication, another entry or a newer one cannot help.
        token_error.about_client = !matches!(
            credential.authentication,
            AuthenticationMethod::Public | AuthenticationMethod::Absent
        );
    }
    let is_mtls = credential.authentication.shows_certificate();
    if is_mtls && (seen.by == Some(By::NoCertificate) || seen.status == 496) {
        token_error.next_step = advice::CERTIFICATE_LOST.into();
    }
    token_error.about_client &= !advice::is_about_another(credential, seen);
    if token_error.reason == Reason::ConsentRequired {
        token_error
            .next_step
            .note(Note::Rest(consent::how(credential)));
    }
    if matches!(credential.grant, Grant::Password(_)) {
        password::stop(seen, &mut token_error);
    }
    token_error
}

/// The media type of an answer, if it is not that of an OAuth answer: in the form of the IANA registry.
fn media_type(raw: &RawAnswer, by: Option<By>) -> Option<String> {
    let kind = raw.content_type.as_deref()?;
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    let plain = kind.bytes().filter(u8::is_ascii_digit).count() <= MOST_DIGITS
        && kind
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"/+.-".contains(&b));
    let fits = (3..=48).contains(&kind.len()) && kind.contains('/') && plain;
    let usual = kind == "application/json" && by != Some(By::Page);
    (fits && !usual).then_some(kind)
}

/// The first known number of `error_codes`, or its first; else the number in the description, for an endpoint that sends no list.
fn aadsts_code(fields: &Map<String, Value>) -> Option<u32> {
    let list = match get(fields, "error_codes") {
        Some(Value::Array(all)) => &all[..all.len().min(MOST_NUMBERS)],
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    let number = |value: &Value| match value {
        Value::Number(number) => u32::try_from(number.as_u64()?).ok(),
        Value::String(text) => number_in(text.trim()),
        _ => None,
    };
    let numbers: Vec<u32> = list.iter().filter_map(number).collect();
    let known = |n: &&u32| aadsts::known(**n, None, true).is_some();
    let listed = numbers.iter().find(known).or(numbers.first()).copied();
    let described = || number_in(description(fields)?.trim_start().strip_prefix("AADSTS")?);
    listed.or_else(described)
}

/// The number at the beginning of a text.
fn number_in(text: &str) -> Option<u32> {
    let text = text.strip_prefix("AADSTS").unwrap_or(text);
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text[..end.min(9)].parse().ok()
}

#[cfg(test)]
mod tests;
