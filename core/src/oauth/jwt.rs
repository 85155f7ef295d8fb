//! Reads the header and the claims of a JWT (RFC 7519). Checks no signature: apicred is not the audience of these tokens, so no
//! decision may trust them.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::input::{epoch, number, object};

/// The JSON object in one part of a JWT. Padding is accepted, although RFC 7515 section 2 forbids it: some issuers send it.
pub(super) fn part(encoded: &str) -> Option<Map<String, Value>> {
    object(&URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('=')).ok()?).ok()
}

/// The claims set of a signed JWT, which has three parts.
pub(super) fn claims(token: &str) -> Option<Map<String, Value>> {
    let mut parts = token.split('.');
    let fields = (parts.next(), parts.next(), parts.next(), parts.next());
    let (Some(_), Some(payload), Some(_), None) = fields else {
        return None;
    };
    part(payload)
}

/// `exp` of a JWT (RFC 7519 section 4.1.4), if it can be read.
pub(super) fn expiry(token: &str) -> Option<Timestamp> {
    let seconds = claims(token)?.get("exp").and_then(number)?;
    epoch(seconds).or_else(|| (seconds <= 0.0).then_some(Timestamp::UNIX_EPOCH))
}

/// Every audience in the `aud` claim of a JWT, exactly as written: one text or a list (RFC 7519 section 4.1.3).
/// Empty if the token cannot be read or if one entry is not a text.
pub fn audiences(token: &str) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match claims(token).as_ref().and_then(|c| c.get("aud")) {
        Some(Value::Array(entries)) => entries.iter().map(text).collect(),
        Some(one) => text(one).map(|one| vec![one]),
        None => None,
    }
    .unwrap_or_default()
}

/// True for a token of a ServiceAccount without an audience, as in Secrets of the type `kubernetes.io/service-account-token`.
/// Each API server of its cluster accepts it, and it does not expire (source: pkg/serviceaccount/legacy.go of Kubernetes).
pub fn is_legacy_account_token(token: &str) -> bool {
    let claims = claims(token);
    let issuer = claims.as_ref().and_then(|c| c.get("iss"));
    issuer.and_then(Value::as_str) == Some("kubernetes/serviceaccount")
}
