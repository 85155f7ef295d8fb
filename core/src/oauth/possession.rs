//! The proof of possession that Microsoft Graph requires for changes of an application's certificates.
//! <https://learn.microsoft.com/graph/application-rollkey-prooftoken>

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::json;

use super::{
    assertion::{BACKDATED, Header, sign},
    keys::Identity,
};
use crate::api::SigningAlgorithm;

/// `aud` of the proof: the id of Azure AD Graph. Both pages of Microsoft have named it since 2024; older copies named
/// `00000003-0000-0000-c000-000000000000`.
pub const PROOF_AUDIENCE: &str = "00000002-0000-0000-c000-000000000000";
/// From `nbf` to `exp` the limit is ten minutes. This leaves a margin for servers that calculate differently.
const LIFETIME: i64 = 540;

/// The proof, signed with the key of a certificate that is currently valid for the application. `object_id` is the
/// application's object ID, not the client ID.
///
/// # Errors
/// A sentence for the user, without a full stop.
pub fn proof_of_possession(
    identity: &Identity,
    (audience, object_id): (&str, &str),
    now: Timestamp,
) -> Result<SecretString, String> {
    let of = |problem: &str| format!("the private key {problem}");
    let key = identity.key().map_err(of)?;
    let algorithm = key.algorithm(None, SigningAlgorithm::RS256).map_err(of)?;
    if !algorithm.is_rsa() {
        return Err(of(
            "is not an RSA key, and Entra ID accepts no other; use RSA",
        ));
    }
    let x5t = identity.thumbprint_sha1();
    // The key ID as in Microsoft's sample (X509SigningCredentials).
    let kid = leaf(identity).map(|der| hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, &der).as_ref()));
    let header = Header {
        key_id: kid.map(|kid| kid.to_uppercase()),
        x5t: Some(x5t),
        ..Header::default()
    };
    let now = now.as_second();
    let claims = json!({
        "aud": audience,
        "iss": object_id,
        "nbf": now - BACKDATED,
        "exp": now - BACKDATED + LIFETIME,
    });
    sign(key, algorithm, &header, &claims)
        .map(SecretString::from)
        .map_err(of)
}

/// The client's own certificate as DER.
pub(crate) fn leaf(identity: &Identity) -> Option<Vec<u8>> {
    STANDARD.decode(identity.x5c().first()?).ok()
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
