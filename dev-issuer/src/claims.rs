//! The claims of a token, and the checks of a resource server.

use jsonwebtoken::Validation;
use jsonwebtoken::errors::ErrorKind;
use serde::{Deserialize, Serialize};

use crate::keys::{ALGORITHM, KeyRing};

/// The claims of an access token. Its issuer determines which of them are present: Entra v1 (`appid`), Entra v2
/// (`azp`) or the generic issuer (`client_id`, RFC 9068).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The audience of the token.
    pub aud: String,
    /// The issuer of the token.
    pub iss: String,
    /// The time of issue, in Unix seconds.
    pub iat: i64,
    /// The time from which it is valid.
    pub nbf: i64,
    /// The time at which it expires.
    pub exp: i64,
    /// The client, in v1 tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub appid: Option<String>,
    /// How the client authenticated, in v1 tokens: `1` is a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub appidacr: Option<String>,
    /// The client, in v2 tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azp: Option<String>,
    /// How the client authenticated, in v2 tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azpacr: Option<String>,
    /// The client, in tokens of the generic issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The identity provider of the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idp: Option<String>,
    /// `app` or `user`: the kind of subject, in Entra's tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idtyp: Option<String>,
    /// Object id of the service principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oid: Option<String>,
    /// Application roles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Delegated permissions, in Entra's tokens for a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scp: Option<String>,
    /// The user's name, in Entra's v1 tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upn: Option<String>,
    /// The user's name, in the other tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_username: Option<String>,
    /// Scopes, in tokens of the generic issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The subject.
    pub sub: String,
    /// The tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tid: Option<String>,
    /// The token's id, in Entra's tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uti: Option<String>,
    /// The token's id, in tokens of the generic issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// Version of the token's form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ver: Option<String>,
    /// Resource id of the managed identity, in its tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xms_mirid: Option<String>,
    /// The key that a presenter of the token must have, in bound tokens (RFC 7800).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
}

/// What a token is bound to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// SHA-256 of a client certificate, base64url (RFC 8705 section 3.1).
    #[serde(rename = "x5t#S256")]
    pub x5t_s256: String,
}

impl Claims {
    /// The client, from any of its claims.
    pub fn client(&self) -> Option<&str> {
        [&self.appid, &self.azp, &self.client_id]
            .into_iter()
            .find_map(|id| id.as_deref())
    }

    /// Whether the token has this permission, as application role or as delegated permission.
    pub(crate) fn permits(&self, permission: &str) -> bool {
        let mut delegated = self.scp.iter().flat_map(|scp| scp.split(' '));
        delegated.any(|scope| scope == permission) || self.roles.iter().any(|r| r == permission)
    }

    /// The token's ID, from any of its claims.
    pub fn token_id(&self) -> Option<&str> {
        self.uti.as_deref().or(self.jti.as_deref())
    }
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// Not three parts of base64url and JSON with the claims it needs, or not signed at all.
    #[error("the token is malformed or not signed")]
    Malformed,
    /// Signed with an algorithm that is not on the list.
    #[error("the token is signed with an algorithm that is not allowed")]
    Algorithm,
    /// The key is not, or no longer, in the key set.
    #[error("the token is signed with an unknown key")]
    UnknownKey,
    /// The signature is wrong.
    #[error("the signature of the token is invalid")]
    Signature,
    /// Issued by another issuer.
    #[error("the issuer of the token is not trusted")]
    Issuer,
    /// Meant for another audience.
    #[error("the audience of the token is invalid")]
    Audience,
    /// Expired.
    #[error("the token is expired")]
    Expired,
    /// Revoked.
    #[error("the token was revoked")]
    Revoked,
    /// Not valid yet.
    #[error("the token is not valid yet")]
    NotYetValid,
}

/// What a resource server expects of a token.
pub(crate) struct Expected<'a> {
    pub(crate) issuers: &'a [String],
    /// `None` only where the caller checks the audience itself.
    pub(crate) audiences: Option<&'a [String]>,
    pub(crate) leeway_seconds: u64,
}

/// Checks signature, algorithm, issuer, audience and times (RFC 9068 section 4; Microsoft's page on access tokens).
/// The algorithm is compared with a fixed one before any key is chosen: the token must not pick it (RFC 8725 section 3.1).
pub(crate) fn validate(
    keys: &KeyRing,
    token: &str,
    expected: &Expected<'_>,
) -> Result<Claims, InvalidToken> {
    let header = jsonwebtoken::decode_header(token).map_err(|_| InvalidToken::Malformed)?;
    if header.alg != ALGORITHM {
        return Err(InvalidToken::Algorithm);
    }
    let kid = header.kid.ok_or(InvalidToken::UnknownKey)?;
    let key = keys.public(&kid).ok_or(InvalidToken::UnknownKey)?;

    let mut rules = Validation::new(ALGORITHM);
    rules.leeway = expected.leeway_seconds;
    rules.validate_nbf = true;
    rules.set_required_spec_claims(&["exp", "nbf", "iss", "aud"]);
    rules.set_issuer(expected.issuers);
    match expected.audiences {
        Some(audiences) => rules.set_audience(audiences),
        None => rules.validate_aud = false,
    }
    jsonwebtoken::decode::<Claims>(token, key, &rules)
        .map(|data| data.claims)
        .map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => InvalidToken::Signature,
            ErrorKind::InvalidIssuer => InvalidToken::Issuer,
            ErrorKind::InvalidAudience => InvalidToken::Audience,
            ErrorKind::ExpiredSignature => InvalidToken::Expired,
            ErrorKind::ImmatureSignature => InvalidToken::NotYetValid,
            ErrorKind::InvalidAlgorithm => InvalidToken::Algorithm,
            _ => InvalidToken::Malformed,
        })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Each token differs from a good one in one claim.
    #[test]
    fn every_claim_that_counts_is_checked() {
        let keys = KeyRing::generate().unwrap();
        let now = jiff::Timestamp::now().as_second();
        let good = json!({
            "aud": "api", "iss": "issuer", "sub": "x", "iat": now, "nbf": now, "exp": now + 60,
        });
        let table = [
            ("aud", json!("api"), Ok(())),
            ("aud", json!("other"), Err(InvalidToken::Audience)),
            ("aud", Value::Null, Err(InvalidToken::Malformed)),
            ("iss", json!("issuer/"), Err(InvalidToken::Issuer)),
            ("iss", Value::Null, Err(InvalidToken::Malformed)),
            ("exp", json!(now - 60), Err(InvalidToken::Expired)),
            ("exp", json!(now - 2), Ok(())),
            ("exp", Value::Null, Err(InvalidToken::Malformed)),
            ("nbf", json!(now + 60), Err(InvalidToken::NotYetValid)),
            ("nbf", json!(now + 2), Ok(())),
            ("nbf", Value::Null, Err(InvalidToken::Malformed)),
        ];
        for (claim, value, outcome) in table {
            let mut claims = good.clone();
            claims[claim] = value.clone();
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(claim);
            }
            let expected = Expected {
                issuers: &["issuer".to_owned()],
                audiences: Some(&["api".to_owned(), "api://demo".to_owned()]),
                leeway_seconds: 10,
            };
            let seen = validate(&keys, &keys.sign("JWT", &claims), &expected);
            assert_eq!(seen.map(|_| ()), outcome, "{claim} {value}");
        }
    }
}
