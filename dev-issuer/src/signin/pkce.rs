//! Proof Key for Code Exchange (RFC 7636), only S256: `plain` protects nothing that TLS does not protect.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The only method.
pub(crate) const METHOD: &str = "S256";

/// Whether this could be a challenge: 32 bytes, base64url without padding (RFC 7636 section 4.2).
pub(crate) fn is_challenge(text: &str) -> bool {
    URL_SAFE_NO_PAD
        .decode(text)
        .is_ok_and(|hash| hash.len() == 32)
}

/// Whether the verifier is well formed (RFC 7636 section 4.1) and belongs to the challenge.
pub(crate) fn verifies(verifier: &str, challenge: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let hash = digest::digest(&digest::SHA256, verifier.as_bytes());
    let made = URL_SAFE_NO_PAD.encode(hash);
    (43..=128).contains(&verifier.len())
        && verifier.bytes().all(good)
        && verify_slices_are_equal(made.as_bytes(), challenge.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7636 appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn the_example_of_the_rfc_verifies_and_others_do_not() {
        assert!(verifies(VERIFIER, CHALLENGE));
        assert!(!verifies(&VERIFIER.replace('d', "e"), CHALLENGE));
        assert!(!verifies(CHALLENGE, CHALLENGE), "plain");
        let challenge = |verifier: &str| {
            URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()))
        };
        for (verifier, good) in [
            ("a".repeat(42), false),
            ("a".repeat(43), true),
            ("a".repeat(128), true),
            ("a".repeat(129), false),
            (format!("{} ", "a".repeat(43)), false),
        ] {
            let challenge = challenge(&verifier);
            assert_eq!(verifies(&verifier, &challenge), good, "{verifier}");
        }
    }

    #[test]
    fn a_challenge_is_a_hash() {
        assert!(is_challenge(CHALLENGE));
        for bad in [
            "",
            "abc",
            VERIFIER.get(1..).unwrap(),
            &format!("{CHALLENGE}="),
        ] {
            assert!(!is_challenge(bad), "{bad}");
        }
    }
}
