//! Details that help with a token error: the text of the issuer, the claims of the assertion, the requested parameters, and a wrong clock.

use crate::Reason;
use jiff::Timestamp;

use super::{
    Class, Grant, Note, RawAnswer, RequiredInput, SentSecrets, TokenError, classes::lacks_client,
    error_body::reported, grant::JwtBearer, redaction::CLIENT_SECRET_JWT, response::fields,
    token_like,
};
use crate::{
    credential::{AuthenticationMethod, Credential, Endpoint},
    input::http_date,
    printable::printable,
};

/// The smallest difference of clocks that is reported, in seconds. Assertions are backdated by 30 s, an answer takes up to 15
/// s, and `Date` has whole seconds.
const SKEW: i64 = 30;
/// Most characters of the requested scopes, resources and audience that are shown.
const MOST_REQUESTED: usize = 200;

/// Adds details to the token error of an answer. `now` is the time of the answer.
#[must_use]
pub fn explained(
    mut token_error: TokenError,
    credential: &Credential,
    raw: &RawAnswer,
    echo: &SentSecrets,
    now: Timestamp,
) -> TokenError {
    if token_error.http_status.is_none() {
        return token_error;
    }
    if let (
        true,
        Reason::FederationMismatch | Reason::AssertionRefused | Reason::SubjectTokenRefused,
        Some(sent),
    ) = (
        sends_identity(credential),
        token_error.reason,
        echo.identity(),
    ) {
        token_error.next_step.note(Note::SentIdentity(sent));
    }
    let entra = matches!(credential.issuer.endpoint, Endpoint::Entra { .. });
    if let (Reason::ClientRefused | Reason::ClientAuthenticationUnsupported, false, Some(method)) =
        (token_error.reason, entra, echo.method())
    {
        token_error
            .next_step
            .note(Note::SentMethod(method.to_owned()));
        // A server that expects the client in the form does not find it in the header.
        let text = reported(raw, fields(raw).as_ref()).map(|text| text.to_lowercase());
        if method == "client_secret_basic" && text.is_some_and(|text| lacks_client(&text)) {
            let fix = "it looks for the client in the form: set clientAuthentication: {post: {}} on the issuer";
            token_error.next_step.note(Note::Clause(fix.to_owned()));
        }
    }
    if matches!(
        token_error.reason,
        Reason::InvalidScope
            | Reason::ResourceUnknown
            | Reason::ResourceDisabled
            | Reason::ConsentRequired
            | Reason::RoleNotAssigned
            | Reason::AccessDenied
            | Reason::ClientNotAuthorized
    ) && let Some(requested) = requested(credential)
    {
        token_error.next_step.note(Note::Requested(requested));
    }
    let clock = raw.date.as_deref().and_then(|date| clock(date, now));
    if let (true, true, Some(clock)) = (
        sends_assertion(credential, echo),
        token_error.class != Class::Throttled,
        clock,
    ) {
        token_error.next_step.note(Note::Clause(clock));
    }
    if let (300..=399, Some(location)) = (raw.status, raw.location.as_deref())
        && let Some(leads) = echo.redirect(location, credential.issuer.vouched)
    {
        token_error.next_step.note(Note::Aside(leads));
    }
    if credential.issuer.vouched {
        let issuer_message = issuer_message(raw, token_error.aadsts, echo);
        token_error.detail.get_or_insert_default().issuer_message = issuer_message;
    }
    token_error
}

/// True if the client or the grant sends a token of a `ServiceAccount` or a managed identity.
fn sends_identity(credential: &Credential) -> bool {
    let needs = credential.grant.needs();
    matches!(
        credential.authentication,
        AuthenticationMethod::ServiceAccount(_)
            | AuthenticationMethod::ManagedIdentity(_)
            | AuthenticationMethod::IdentityAssertion(_)
    ) || needs.iter().any(|n| matches!(n, RequiredInput::Account(_)))
}

/// True if an assertion is sent. The issuer compares its times with its own clock.
fn sends_assertion(credential: &Credential, echo: &SentSecrets) -> bool {
    sends_identity(credential)
        || matches!(
            credential.authentication,
            AuthenticationMethod::Certificates(_)
                | AuthenticationMethod::Key(_)
                | AuthenticationMethod::Assertion(_)
        )
        || echo.method() == Some(CLIENT_SECRET_JWT)
        || matches!(&credential.grant, Grant::JwtBearer(JwtBearer::Signed(_)))
}

/// The text of the issuer without the sent secrets, and without the number that is reported separately.
fn issuer_message(raw: &RawAnswer, number: Option<u32>, echo: &SentSecrets) -> Option<String> {
    let parsed = fields(raw);
    // The text of a success may be the token itself, under any name.
    if parsed.is_none() && (200..=299).contains(&raw.status) {
        return None;
    }
    let text = reported(raw, parsed.as_ref())?;
    let number = number.map(|n| format!("AADSTS{n}: "));
    let text = number.and_then(|n| text.strip_prefix(&n)).unwrap_or(&text);
    let answered = parsed.as_ref().map(token_like::secrets);
    echo.quote(text, &answered.unwrap_or_default())
}

/// The requested scopes, resources and audience, with the names of the spec.
fn requested(credential: &Credential) -> Option<String> {
    let request = &credential.request;
    let scopes =
        (!request.scopes.is_empty()).then(|| format!("scopes {}", request.scopes.join(" ")));
    let resource = (!request.resources.is_empty())
        .then(|| format!("resources {}", request.resources.join(" ")));
    let audience = request.audience.as_ref().map(|a| format!("audience {a}"));
    let all: Vec<String> = scopes.into_iter().chain(resource).chain(audience).collect();
    let text = all.join(", ");
    let cut: String = text.chars().take(MOST_REQUESTED).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    (!text.is_empty()).then(|| format!("{}{more}", printable(&cut)))
}

/// The difference between our clock and the issuer's, from the `Date` of its answer (RFC 9110 section 6.6.1).
pub(super) fn clock(date: &str, now: Timestamp) -> Option<String> {
    let theirs = http_date(date)?;
    let ahead = now.as_second() - theirs.as_second();
    let way = if ahead > 0 { "ahead of" } else { "behind" };
    (ahead.abs() > SKEW)
        .then(|| format!("this node's clock is {} s {way} the issuer's", ahead.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_named_with_its_direction() {
        let now: Timestamp = "2026-10-21T07:28:00Z".parse().unwrap();
        for (date, issuer_message) in [
            ("Wed, 21 Oct 2026 07:28:00 GMT", None),
            ("Wed, 21 Oct 2026 07:27:30 GMT", None),
            ("Wed, 21 Oct 2026 07:28:30 GMT", None),
            (
                "Wed, 21 Oct 2026 07:27:15 GMT",
                Some("this node's clock is 45 s ahead of the issuer's"),
            ),
            (
                "Wed, 21 Oct 2026 07:30:00 GMT",
                Some("this node's clock is 120 s behind the issuer's"),
            ),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(clock(date, now).as_deref(), issuer_message, "{date}");
        }
    }
}
