//! A private key that signs assertions, and the algorithms that it can sign with (RFC 7518 section 3.1, RFC 8037, RFC 9864).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaKeyPair, RsaSignatureEncoding,
};
use rustls::pki_types::PrivateKeyDer;

use super::private_keys::{NO_KEY, USABLE, kind, private_keys};
use crate::api::SigningAlgorithm::{
    self, ES256, ES384, ES512, Ed25519, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512,
};

/// A curve of ECDSA; each has one algorithm.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Curve {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
}

impl Curve {
    pub(super) const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// Its name in JWKs (RFC 7518 section 6.2.1.1).
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    /// Bytes of a coordinate.
    pub(super) const fn size(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    pub(super) const fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
            Self::P521 => &ECDSA_P521_SHA512_FIXED_SIGNING,
        }
    }
}

/// Type and size of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyShape {
    /// RSA, with this number of bits.
    Rsa(usize),
    /// ECDSA on a curve.
    Ec(Curve),
    /// Ed25519.
    Ed25519,
}

/// A private key that can sign.
pub enum SigningKey {
    /// RSA of 2048 bits or more.
    Rsa(Box<RsaKeyPair>),
    /// ECDSA.
    Ec(Curve, Box<EcdsaKeyPair>),
    /// Ed25519.
    Ed25519(Box<Ed25519KeyPair>),
}

impl SigningKey {
    /// Reads a private key of a PEM text: PKCS#8, PKCS#1 or SEC 1, not encrypted. Of several keys, the first that can sign.
    ///
    /// # Errors
    /// The rest of a sentence that begins with the key's name.
    pub fn from_pem(text: &str) -> Result<Self, String> {
        let mut problem = None;
        for key in private_keys(text)? {
            match Self::of(&key) {
                Ok(key) => return Ok(key),
                Err(why) => problem = problem.or(Some(why)),
            }
        }
        Err(problem.unwrap_or_else(|| NO_KEY.to_owned()))
    }

    /// Reads a key in DER.
    ///
    /// # Errors
    /// The rest of a sentence that begins with the key's name.
    pub(super) fn of(der: &PrivateKeyDer<'_>) -> Result<Self, String> {
        let bytes = der.secret_der();
        let rsa = match der {
            PrivateKeyDer::Pkcs1(_) => RsaKeyPair::from_der(bytes),
            _ => RsaKeyPair::from_pkcs8(bytes),
        };
        if let Ok(key) = rsa {
            return Ok(Self::Rsa(Box::new(key)));
        }
        if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes) {
            return Ok(Self::Ed25519(Box::new(key)));
        }
        let ec = Curve::ALL.into_iter().find_map(|curve| {
            let key = EcdsaKeyPair::from_private_key_der(curve.signing(), bytes).ok()?;
            Some(Self::Ec(curve, Box::new(key)))
        });
        ec.ok_or_else(|| {
            format!(
                "is {}, which apicred cannot sign assertions with; use {USABLE}",
                kind(der)
            )
        })
    }

    /// The type and size for a new key of the same kind.
    pub fn shape(&self) -> KeyShape {
        match self {
            Self::Rsa(key) => KeyShape::Rsa(key.public_modulus_len() * 8),
            Self::Ec(curve, _) => KeyShape::Ec(*curve),
            Self::Ed25519(_) => KeyShape::Ed25519,
        }
    }

    /// The algorithms that it can sign with, the usual one first: servers without a list support at least RS256.
    pub(super) const fn algorithms(&self) -> &'static [SigningAlgorithm] {
        match self {
            Self::Rsa(_) => &[RS256, PS256, PS384, PS512, RS384, RS512],
            Self::Ec(Curve::P256, _) => &[ES256],
            Self::Ec(Curve::P384, _) => &[ES384],
            Self::Ec(Curve::P521, _) => &[ES512],
            // RFC 9864 replaces the former by the latter. Most servers know only the former.
            Self::Ed25519(_) => &[EdDSA, Ed25519],
        }
    }

    /// The first of its algorithms that the issuer lists, else its usual one.
    pub(super) fn usual(&self, listed: Option<&[SigningAlgorithm]>) -> SigningAlgorithm {
        let mine = self.algorithms();
        let known = |a: &&SigningAlgorithm| listed.is_some_and(|list| list.contains(a));
        *mine.iter().find(known).unwrap_or(&mine[0])
    }

    /// The algorithm to sign with: the user's choice if the key supports it, else `usual` if the key supports it, else its usual one.
    ///
    /// # Errors
    /// The rest of a sentence that begins with the key's name.
    pub fn algorithm(
        &self,
        chosen: Option<SigningAlgorithm>,
        usual: SigningAlgorithm,
    ) -> Result<SigningAlgorithm, &'static str> {
        let mine = self.algorithms();
        match chosen {
            Some(chosen) if mine.contains(&chosen) => Ok(chosen),
            Some(_) => Err(match self {
                Self::Rsa(_) => {
                    "is an RSA key; set algorithm to PS256 or RS256 (or one of them with 384 or 512)"
                }
                Self::Ec(Curve::P256, _) => "is an EC key on P-256; set algorithm to ES256",
                Self::Ec(Curve::P384, _) => "is an EC key on P-384; set algorithm to ES384",
                Self::Ec(Curve::P521, _) => "is an EC key on P-521; set algorithm to ES512",
                Self::Ed25519(_) => "is an Ed25519 key; set algorithm to EdDSA or Ed25519",
            }),
            None if mine.contains(&usual) => Ok(usual),
            None => Ok(mine[0]),
        }
    }

    /// Signs.
    ///
    /// # Errors
    /// The rest of a sentence that begins with the key's name.
    pub fn sign(
        &self,
        algorithm: SigningAlgorithm,
        message: &[u8],
    ) -> Result<Vec<u8>, &'static str> {
        const FAILED: &str = "could not sign; is it damaged?";
        #[expect(
            clippy::disallowed_types,
            reason = "the salt of PSS and the nonce of ECDSA come from nowhere outside: a nonce that repeats gives the key away"
        )]
        let random = aws_lc_rs::rand::SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let encoding = encoding(algorithm).ok_or(FAILED)?;
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(encoding, &random, message, &mut signature)
                    .map_err(|_| FAILED)?;
                Ok(signature)
            }
            Self::Ec(_, key) => key
                .sign(&random, message)
                .map(|s| s.as_ref().to_vec())
                .map_err(|_| FAILED),
            Self::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
        }
    }

    /// The public key, in the form of its library.
    pub(super) fn public(&self) -> Public<'_> {
        match self {
            Self::Rsa(key) => Public::Rsa(key.public_key().as_ref()),
            Self::Ec(curve, key) => Public::Ec {
                curve: *curve,
                point: key.public_key().as_ref(),
            },
            Self::Ed25519(key) => Public::Ed25519(key.public_key().as_ref()),
        }
    }
}

/// A public key in parts.
pub(super) enum Public<'a> {
    /// `RSAPublicKey` in DER (RFC 8017 appendix A.1.1).
    Rsa(&'a [u8]),
    /// The point is not compressed: `04`, x, y (SEC 1 section 2.3.3).
    Ec {
        curve: Curve,
        point: &'a [u8],
    },
    Ed25519(&'a [u8]),
}

const fn encoding(algorithm: SigningAlgorithm) -> Option<&'static RsaSignatureEncoding> {
    Some(match algorithm {
        RS256 => &RSA_PKCS1_SHA256,
        RS384 => &RSA_PKCS1_SHA384,
        RS512 => &RSA_PKCS1_SHA512,
        PS256 => &RSA_PSS_SHA256,
        PS384 => &RSA_PSS_SHA384,
        PS512 => &RSA_PSS_SHA512,
        ES256 | ES384 | ES512 | EdDSA | Ed25519 => return None,
    })
}
