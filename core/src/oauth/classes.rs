//! The class of an answer without a token: one table of kinds, and tables that select a kind by status, by `error`, by the
//! text of the error, and by the server that answered. A new case is one line.
//!
//! `error_description` is read if one code has two meanings (RFC 6749 section 5.2 does not define its text). It only selects a class;
//! this module never shows it.

mod described;

use super::{
    Class, NextStep, aadsts,
    error_kind::{Kind, Meaning, meaning, then},
    gateway::By,
};
use crate::Reason;
use described::{DESCRIBED, names_subject};
pub(super) use described::{describes_throttling, is_about_secret};

/// The properties of an answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen<'a> {
    /// HTTP status.
    pub(super) status: u16,
    /// OAuth `error`, or the code that is used instead.
    pub(super) error: Option<&'a str>,
    /// AADSTS number.
    pub(super) code: Option<u32>,
    /// `error_description` or a similar field, in lower case.
    pub(super) text: &'a str,
    /// Who answered, if it was not a token endpoint.
    pub(super) by: Option<By>,
    /// True if the grant has a user, or if that is not known.
    pub(super) user: bool,
    /// True if an assertion authenticated the client.
    pub(super) asserted: bool,
}

/// By `error` and by the codes that products use instead: RFC 6749 and its extensions first, then GitHub, Slack, Salesforce,
/// Okta, Auth0, Google, AWS, `HubSpot`, Cloud Foundry.
#[rustfmt::skip]
const ERRORS: &[(&[&str], Kind)] = &[
    (&["slow_down", "too_many_requests", "rate_limit_exceeded", "ratelimited", "rate_limited", "throttled", "too_many_attempts", "request_limit_exceeded", "limit_exceeded", "quota_exceeded", "resource_exhausted", "too_many_requests_exception", "limit_exceeded_exception", "e0000047"], Kind::Throttled),
    (&["server_error", "temporarily_unavailable", "internal_error", "internal_server_error", "fatal_error", "unknown_error", "service_unavailable", "unavailable", "request_timeout", "internal_error_exception", "e0000009"], Kind::Unavailable),
    (&["invalid_client", "invalid_auth", "not_authed", "incorrect_client_credentials", "bad_client_secret", "invalid_client_secret", "invalid_client_credentials", "invalid_credentials", "bad_credentials", "authentication_failed", "unauthenticated", "invalid_api_key", "authentication_failure", "not_authenticated", "not_authorized_exception", "invalid_client_exception", "partner_authentication_failed", "e0000004"], Kind::ClientRefused),
    (&["invalid_client_id", "bad_client_id", "client_not_found", "unknown_client", "deleted_client", "application_not_found", "application_cannot_be_found", "invalid_client_identifier", "issuer_not_found", "resource_not_found_exception"], Kind::ClientUnknown),
    (&["disabled_client", "client_disabled", "restricted_client", "account_inactive", "application_suspended", "inactive_user", "inactive_org", "user_disabled", "org_login_required"], Kind::ClientDisabled),
    (&["unauthorized_client", "client_not_enabled", "device_flow_disabled", "admin_policy_enforced", "org_internal", "team_access_not_granted", "ekm_access_denied", "not_allowed_token_type", "invalid_app_access"], Kind::ClientNotAuthorized),
    (&["unsupported_token_endpoint_auth_method", "unsupported_auth_method", "invalid_client_authentication_method"], Kind::AuthMethod),
    (&["jti_known", "jti_already_used", "assertion_replayed"], Kind::Replayed),
    (&["invalid_assertion", "invalid_client_assertion", "no_valid_keys_or_signatures"], Kind::Assertion),
    (&["invalid_scope", "invalid_scopes", "missing_scope", "insufficient_scope"], Kind::Scope),
    (&["invalid_target", "invalid_resource", "invalid_audience", "unknown_audience", "resource_not_found", "target_not_found"], Kind::Resource),
    (&["payment_required", "license_expired", "subscription_expired", "license_required"], Kind::Licence),
    (&["unsupported_grant_type", "invalid_grant_type", "unsupported_grant", "unsupported_response_type"], Kind::Grant),
    (&["unsupported_token_type", "invalid_request", "bad_request", "invalid_argument", "invalid_parameter", "invalid_parameters", "missing_parameter", "invalid_request_error", "invalid_parameter_exception", "validation_error", "invalid_arguments"], Kind::Request),
    (&["invalid_grant", "interaction_required", "login_required", "account_selection_required"], Kind::User),
    (&["consent_required"], Kind::Consent),
    (&["mfa_required", "mfa_enrollment_required", "unmet_authentication_requirements", "insufficient_user_authentication"], Kind::Mfa),
    (&["bad_refresh_token", "invalid_refresh_token", "refresh_token_expired", "expired_refresh_token", "token_revoked", "token_expired", "expired_token", "invalid_rapt", "bad_verification_code", "invalid_code"], Kind::TokenDead),
    (&["invalid_user_password", "invalid_password", "invalid_username_or_password", "password_leaked"], Kind::Password),
    (&["access_denied", "forbidden", "permission_denied", "not_authorized", "access_denied_exception", "unverified_user_email", "requires_verification", "e0000006"], Kind::Denied),
    (&["use_dpop_nonce", "invalid_dpop_proof", "missing_dpop_proof", "dpop_required"], Kind::Dpop),
    (&["redirect_uri_mismatch", "invalid_redirect_uri"], Kind::Redirect),
    (&["not_found", "method_not_allowed", "method_deprecated", "unknown_method", "e0000007", "e0000022"], Kind::NoEndpoint),
];

/// Words for a missing parameter, and the parameters that name and authenticate a client.
const LACKING: [&str; 8] = [
    "missing",
    "required",
    "not provided",
    "not present",
    "must be provided",
    "absent",
    "not found in",
    "is empty",
];
const OF_CLIENT: [&str; 6] = [
    "client_id",
    "client id",
    "clientid",
    "client_secret",
    "client secret",
    "clientsecret",
];
/// The number of characters before and after the name of the parameter in which such a word counts.
const NEAR: (usize, usize) = (32, 24);

/// True if a server reports, in lower case, that the client's id or secret is missing in the request. It may expect them in
/// the form while they are in the header, or the reverse.
pub(super) fn lacks_client(text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    let around = |at: usize, name: &str| -> String {
        let at = text[..at].chars().count();
        let end = (at + name.len() + NEAR.1).min(chars.len());
        chars[at.saturating_sub(NEAR.0)..end].iter().collect()
    };
    OF_CLIENT.iter().any(|name| {
        text.match_indices(name).any(|(at, name)| {
            let around = around(at, name);
            LACKING.iter().any(|word| around.contains(word))
        })
    })
}

/// Texts of servers that send no code, and the code with the same meaning, which the grants know as well. The first row
/// counts of which each list has a phrase in the text.
#[rustfmt::skip]
const SPOKEN: &[(&[&[&str]], &str)] = &[
    (&[&["dpop"]], "dpop_required"),
    (&[&["too many", "rate limit", "rate-limit", "quota", "throttl", "slow down"]], "too_many_requests"),
    (&[&["internal error", "internal server error", "temporarily unavailable", "try again later", "unexpected error has occurred"]], "server_error"),
    // IBM Cloud IAM.
    (&[&["api key", "api_key", "apikey"], &["not found", "could not be found", "not valid", "invalid", "disabled", "expired", "locked", "unknown"]], "invalid_api_key"),
    (&[&["redirect_uri", "redirect uri", "redirect url", "redirecturi"]], "invalid_redirect_uri"),
    (&[&["authentication method", "auth method", "auth_method"]], "invalid_client_authentication_method"),
    (&[&["client_assertion", "client assertion"]], "invalid_client"),
    (&[&["grant type", "grant_type", "grant-type", "granttype", " grant ", "the flow", "service account", "client credentials"], &["not allowed", "not authorized", "not authorised", "unauthorized", "not permitted", "not enabled", "disabled", "forbidden", "may not"]], "unauthorized_client"),
    (&[&["grant type", "grant_type", "grant-type", "granttype"], &["missing", "required", "empty", "blank"]], "invalid_request"),
    (&[&["grant type", "grant_type", "grant-type", "granttype"]], "unsupported_grant_type"),
    (&[&["refresh token", "refresh_token", "refreshtoken"], &["invalid", "expired", "revoked", "unknown", "not found", "not valid", "not active", "inactive", "already", "no longer", "does not exist", "reuse"]], "invalid_refresh_token"),
    (&[&["client", "application", "app "], &["disabled", "deactivated", "suspended", "inactive", "not active", "blocked"]], "client_disabled"),
    (&[&["client_secret", "client secret", "clientsecret", "secret key", "client credentials", "client authentication", "authenticate client", "authenticating client", "authenticate the client"]], "invalid_client"),
    (&[&["client", "application", "app_id", "appid"], &["unknown", "not found", "not exist", "doesn't exist", "no such", "cannot find", "could not find", "can't find", "not registered", "unregistered", "not recognized", "unrecognized"]], "unknown_client"),
    (&[&["client_id", "client id", "clientid", "client identifier"]], "unknown_client"),
    (&[&["invalid client", "bad client", "wrong client"]], "invalid_client"),
    (&[&["client"], &["not allowed", "not authorized", "not authorised", "unauthorized", "not permitted", "not enabled", "lacks", "may not"]], "unauthorized_client"),
    (&[&["scope"]], "invalid_scope"),
    (&[&["audience", "resource parameter", "resource indicator", "unknown resource", "resource server", "invalid resource"]], "invalid_target"),
    (&[&["subject_token", "subject token", "assertion", "jwt"]], "invalid_grant"),
    (&[&["credential", "password", "username", "user name", "login failed", "authentication failed", "authentication failure", "not authenticated", "unauthenticated", "authentication required", "authentication is required"]], "invalid_credentials"),
    (&[&["permission", "access denied", "access is denied", "forbidden", "not allowed", "not authorized", "not authorised", "not permitted"]], "access_denied"),
    (&[&["parameter", "field", "request body", "content-type", "content type"]], "invalid_request"),
];

/// True for a code of the table that is more exact than the text with it. Frameworks answer `bad_request` for everything.
pub(super) fn is_specific(code: &str) -> bool {
    let found = ERRORS.iter().find(|(errors, _)| errors.contains(&code));
    found.is_some_and(|(_, kind)| {
        *kind != Kind::Request || matches!(code, "invalid_request" | "unsupported_token_type")
    })
}

/// The code for an answer that has only a text. For statuses about the path or the service, the status is enough.
pub(super) fn spoken(status: u16, text: &str) -> Option<&'static str> {
    if !matches!(status, 200..=299 | 400..=403 | 422) {
        return None;
    }
    if lacks_client(text) {
        return Some("invalid_client_authentication_method");
    }
    let has = |all: &&[&str]| all.iter().any(|phrase| text.contains(phrase));
    let row = SPOKEN.iter().find(|(lists, _)| lists.iter().all(has));
    row.map(|(_, code)| *code)
}

/// By status, if nothing else is known.
#[rustfmt::skip]
const STATUSES: &[(&[u16], Kind)] = &[
    (&[402], Kind::Licence),
    (&[404, 405, 406, 410, 411, 415, 426], Kind::NoEndpoint),
    (&[407], Kind::ProxyAuth),
    (&[409, 421, 425], Kind::NotNow),
    (&[422], Kind::Request),
    (&[413, 414, 431], Kind::TooLarge),
    (&[451], Kind::Legal),
    (&[495], Kind::CertificateNotTrusted),
    (&[496], Kind::CertificateRefused),
    (&[401], Kind::ClientRefused),
    (&[403], Kind::Forbidden),
];

/// The equal code of the table, if there is one.
pub(super) fn known(code: &str) -> Option<&'static str> {
    let all = ERRORS.iter().flat_map(|(errors, _)| errors.iter());
    all.copied().find(|known| *known == code)
}

/// Returns the meaning of an answer.
pub(super) fn classify(seen: &Seen<'_>) -> Meaning {
    if let Some(number) = seen.code {
        return by_number(number, seen);
    }
    if let Some(By::Gateway(name)) = seen.by
        && matches!(seen.status, 400..=403 | 406)
    {
        return Meaning {
            class: Class::Denied,
            reason: Reason::GatewayRefused,
            next_step: format!(
                "the answer has the form of {name}, not of a token endpoint: check the URL of the issuer, and what the gateway requires (route, API key, allowed addresses)"
            )
            .into(),
            about_client: false,
        };
    }
    meaning(kind(seen))
}

/// Whether the issuer expects another audience in the assertion of the client, according to its text.
pub(super) fn is_about_audience(seen: &Seen<'_>) -> bool {
    let numbered = seen
        .code
        .is_some_and(|n| aadsts::known(n, seen.error, seen.user).is_some());
    !numbered && kind(seen) == Kind::Audience
}

/// A known number decides. An unknown number does not change the class of `error`, and does not blame a credential of the
/// client: Entra ID answers `invalid_client` for many errors that are not about a secret.
fn by_number(number: u32, seen: &Seen<'_>) -> Meaning {
    if let Some(known) = aadsts::known(number, seen.error, seen.user) {
        return Meaning {
            class: known.class,
            reason: known.reason,
            next_step: NextStep::new(known.next_step, then(known.reason)),
            about_client: known.about_client,
        };
    }
    let kind = kind(seen);
    let next_step = match kind {
        Kind::ClientRefused | Kind::Unknown | Kind::Request => {
            "apicred does not know this number; its page says what Entra ID means".into()
        }
        _ => meaning(kind).next_step,
    };
    Meaning {
        about_client: false,
        next_step,
        ..meaning(kind)
    }
}

/// Codes that name an outage, whatever the status is.
const OUTAGES: [&str; 4] = [
    "temporarily_unavailable",
    "service_unavailable",
    "unavailable",
    "request_timeout",
];

/// Whether this code is usually about a failure of the server.
pub(super) fn names_failure(error: &str) -> bool {
    of_code(error) == Some(Kind::Unavailable)
}

/// The usual kind of this code.
fn of_code(error: &str) -> Option<Kind> {
    let known = ERRORS.iter().find(|(errors, _)| errors.contains(&error));
    known.map(|(_, kind)| *kind)
}

/// What a client authenticates with, in the words of servers.
const AUTHENTICATORS: [&str; 4] = ["secret", "credential", "password", "certificate"];

/// What joins two possible causes. Without it, the name of an authenticator may be part of the client's own id ("secret-sync").
const JOINED: [&str; 3] = [" or ", " and ", "/secret"];

/// The kind of an answer. Many servers do not show whether the id or the secret is wrong ("incorrect client id or secret"):
/// another secret of the client may then work.
fn kind(seen: &Seen<'_>) -> Kind {
    let named = AUTHENTICATORS.iter().any(|word| seen.text.contains(word));
    let joined = JOINED.iter().any(|word| seen.text.contains(word));
    match by_tables(seen) {
        Kind::ClientUnknown if named && joined => Kind::ClientRefused,
        Kind::ClientDisabled if named && seen.text.contains(" or ") => Kind::ClientRefused,
        kind => kind,
    }
}

/// By status first if it is about the service, then by `error` (RFC 6749 section 5.2), then by status again: real servers
/// answer a wrong secret with 400 or 401, with several codes or none (facts, section 5.4).
fn by_tables(seen: &Seen<'_>) -> Kind {
    let by_error = seen.error.and_then(of_code);
    match (seen.status, seen.error) {
        (429, _) => return Kind::Throttled,
        (500..=599 | 408, _) if by_error != Some(Kind::Throttled) => return Kind::Unavailable,
        (300..=399, _) => return Kind::Redirects,
        _ => {}
    }
    if let Some(error) = seen.error {
        // Auth0 answers this for a wrong secret.
        if (seen.status, error, seen.text.trim()) == (401, "access_denied", "unauthorized") {
            return Kind::ClientRefused;
        }
        // Cloud Foundry's UAA answers this for a wrong secret, Auth0 for a user that a rule denies.
        if error == "unauthorized" {
            let refused = seen.status == 401;
            return if refused {
                Kind::ClientRefused
            } else {
                Kind::Denied
            };
        }
        let fits = |(errors, asserted, phrases, _): &&(&[&str], bool, &[&str], Kind)| {
            errors.contains(&error)
                && (!asserted || seen.asserted && !names_subject(seen.text))
                && phrases.iter().any(|p| seen.text.contains(p))
        };
        if let Some((.., kind)) = DESCRIBED.iter().find(fits) {
            return *kind;
        }
        if matches!(error, "invalid_request" | "invalid_client") && lacks_client(seen.text) {
            return Kind::AuthMethod;
        }
        if is_about_secret(error, seen.text) {
            return Kind::ClientRefused;
        }
    }
    // A server that fails does not answer 401. A text beside the code may describe a failure.
    if (seen.status, by_error) == (401, Some(Kind::Unavailable))
        && seen.text.trim().is_empty()
        && !seen.error.is_some_and(|error| OUTAGES.contains(&error))
    {
        return Kind::ClientRefused;
    }
    if let Some(kind) = by_error {
        // The code of a router for a path or method that does not exist there (npm `oidc-provider`).
        let unrouted = kind == Kind::Request && matches!(seen.status, 404 | 405);
        return if unrouted { Kind::NoEndpoint } else { kind };
    }
    let by_status = || {
        let known = STATUSES.iter().find(|(all, _)| all.contains(&seen.status));
        known.map(|(_, kind)| *kind)
    };
    match (seen.by, seen.status) {
        (Some(By::NoCertificate), _) => Kind::CertificateRefused,
        (Some(By::CertificateNotTrusted), _) => Kind::CertificateNotTrusted,
        (Some(By::Page), 200..=299 | 400 | 401 | 403) => Kind::Page,
        (_, 200..=299) if seen.error.is_none() => Kind::Malformed,
        (_, 200..=299) => Kind::Answer,
        // An unknown code still comes from the token endpoint.
        (_, 404..=406 | 410..=426) if seen.error.is_some() => Kind::Unknown,
        (_, 403) if seen.error.is_some() => Kind::Denied,
        _ => by_status().unwrap_or(Kind::Unknown),
    }
}

/// Possible causes that servers list, which are not evidence of one: RFC 6749 section 5.2 defines `invalid_grant` with these
/// words, and many servers repeat them.
const POSSIBLE: [&str; 3] = [
    // Doorkeeper, which GitLab is built on.
    "due to unknown client, no client authentication included, or unsupported authentication method",
    "is invalid, expired, revoked, does not match the redirection uri used in the authorization request, or was issued to another client",
    "is invalid, expired or revoked",
];

/// Removes the possible causes that a server lists: Ory Hydra and others that use fosite send with each `invalid_client`
/// "(e.g., unknown client, no client authentication included, or unsupported authentication method)".
pub(super) fn without_examples(text: &str) -> String {
    let mut left = text.to_owned();
    // Only ASCII letters change, so positions in the text stay the same.
    while let Some(begin) = left.to_ascii_lowercase().find("(e.g.") {
        let end = left[begin..]
            .find(')')
            .map_or(left.len(), |at| begin + at + 1);
        let begin = left[..begin].trim_end().len();
        left.replace_range(begin..end, "");
    }
    for phrase in POSSIBLE {
        while let Some(begin) = left.to_ascii_lowercase().find(phrase) {
            left.replace_range(begin..begin + phrase.len(), "is refused");
        }
    }
    left
}

#[cfg(test)]
mod tests;
