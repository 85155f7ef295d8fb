//! Errors by their number alone: of a user's policy, or of a test's fault.
//!
//! Microsoft's page of numbers contains neither `error` nor status of most. Where no report of the real service is known, they
//! are those that RFC 6749 section 5.2 and `OpenID` Connect Core section 3.1.2.6 require.

use serde_json::{Value, json};

use super::errors::{BAD, ErrorAnswer};
use crate::users::User;

/// The answer for an AADSTS number.
pub(crate) fn error_answer(code: u32) -> ErrorAnswer {
    let (status, error) = kind(code);
    let text = match code {
        65_001 => "The user or administrator has not consented to use the application.",
        50_076 | 50_079 => "A policy requires multi-factor authentication for this resource.",
        53_000..=53_004 | 530_000..=530_099 => {
            "Access has been blocked by Conditional Access policies."
        }
        50_158 => "External security challenge not satisfied.",
        _ => "The request was refused.",
    };
    let error_answer = ErrorAnswer::new(status, error, code, text);
    match suberror(code) {
        Some((suberror, true)) => error_answer.suberror(suberror).claims(&challenge(POLICY)),
        Some((suberror, false)) => error_answer.suberror(suberror),
        None => error_answer,
    }
}

fn kind(code: u32) -> (u16, &'static str) {
    match code {
        50_072
        | 50_074
        | 50_076
        | 50_078
        | 50_079
        | 50_105
        | 50_131
        | 50_158
        | 50_161
        | 53_000..=53_004
        | 53_011
        | 530_000..=530_099 => (BAD, "interaction_required"),
        50_013
        | 50_034
        | 50_053
        | 50_055..=50_057
        | 50_064
        | 50_089
        | 50_126
        | 50_132
        | 50_133
        | 50_144
        | 50_147
        | 50_173
        | 50_196
        | 54_005
        | 65_001
        | 65_004
        | 70_000
        | 70_008
        | 70_043
        | 90_094
        | 90_095
        | 500_133
        | 501_481
        | 501_491
        | 700_082
        | 700_084
        | 7_000_114 => (BAD, "invalid_grant"),
        50_012 | 50_048 | 70_002 | 700_024 | 700_025 | 700_027 | 700_030 | 7_000_215
        | 7_000_218 | 7_000_222 => (401, "invalid_client"),
        70_001 | 700_011 | 700_016 | 7_000_112 => (BAD, "unauthorized_client"),
        50_001 | 500_011 => (BAD, "invalid_resource"),
        28_002 | 70_011 | 700_022 | 700_023 | 1_002_012 => (BAD, "invalid_scope"),
        90_055 => (429, "temporarily_unavailable"),
        50_033 | 50_087 | 80_002 | 90_006 | 90_012 | 90_024 | 90_033 | 90_090 | 90_091 => {
            (503, "temporarily_unavailable")
        }
        _ => (BAD, "invalid_request"),
    }
}

/// The `suberror` that MSAL reads, and whether the answer contains `claims` for the next request.
fn suberror(code: u32) -> Option<(&'static str, bool)> {
    match code {
        50_072 | 50_074 | 50_076 | 50_078 | 50_079 | 50_158 => Some(("basic_action", true)),
        53_000..=53_004 | 53_011 | 530_000..=530_099 => Some(("message_only", true)),
        50_055 => Some(("user_password_expired", false)),
        65_001 => Some(("consent_required", false)),
        50_173 | 70_008 | 700_082 | 700_084 => Some(("bad_token", false)),
        _ => None,
    }
}

/// The policy of errors by number alone.
const POLICY: &str = "0f1e2d3c-4b5a-4c6d-8e7f-90a1b2c3d4e5";

/// Names the required policy, as text in a text
/// (<https://learn.microsoft.com/entra/identity-platform/claims-challenge>).
fn challenge(policy: &str) -> String {
    json!({ "access_token": { "polids": { "essential": true, "values": [policy] } } }).to_string()
}

/// Refuses a user whose policy was not named by the `claims` of the sign-in.
pub(super) fn check(user: &User, claims: Option<&str>) -> Result<(), ErrorAnswer> {
    let Some(policy) = user.policy.as_deref() else {
        return Ok(());
    };
    let requested = claims.and_then(|text| serde_json::from_str::<Value>(text).ok());
    let named = requested.as_ref().and_then(|requested| {
        let policies = &requested["access_token"]["polids"];
        let many = policies["values"].as_array().into_iter().flatten();
        let mut all = many.chain(policies.get("value"));
        all.find(|named| named.as_str() == Some(policy))
    });
    if named.is_some() {
        return Ok(());
    }
    let code = 50_076;
    let (status, error) = kind(code);
    let text = "A policy requires multi-factor authentication for this resource.";
    let error_answer = ErrorAnswer::new(status, error, code, text);
    Err(error_answer
        .suberror("basic_action")
        .claims(&challenge(policy)))
}
