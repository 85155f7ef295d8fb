//! The proof of possession. <https://learn.microsoft.com/graph/application-rollkey-prooftoken>

use jsonwebtoken::Algorithm;
use serde_json::Value;

use super::credentials::Credential;
use super::errors::ErrorAnswer;
use crate::assertion::{Assertion, Certificate};

/// The only accepted audience.
const AUDIENCE: &str = "00000002-0000-0000-c000-000000000000";
/// From `nbf` to `exp`.
const LONGEST: i64 = 600;

/// Signed with the key of one of these certificates, valid now; for this application; for ten minutes at most; without
/// padding. Each fault has the same answer.
pub(super) fn check(
    proof: &Value,
    certificates: &[Credential],
    object_id: &str,
    now: i64,
) -> Result<(), ErrorAnswer> {
    let is_good = || {
        let text = proof.as_str().filter(|text| !text.contains('='))?;
        let assertion = Assertion::read(text).ok()?;
        let time = |name: &str| assertion.claims.get(name)?.as_i64();
        let (from, until) = (time("nbf")?, time("exp")?);
        let fits = assertion.claim("aud") == Some(AUDIENCE)
            && assertion.claim("iss") == Some(object_id)
            && (0..=LONGEST).contains(&until.saturating_sub(from));
        if !fits {
            return None;
        }
        assertion.check_times(now).ok()?;
        let allowed = [Algorithm::RS256, Algorithm::PS256];
        let mut keys = certificates
            .iter()
            .filter_map(|c| Certificate::read(c.pem()?)?.key(now).ok());
        keys.any(|key| assertion.verify(&key, &allowed).is_ok())
            .then_some(())
    };
    is_good().ok_or_else(ErrorAnswer::proof)
}
