//! The keys that sign tokens, and the sets in which their public keys are published.

use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde::Serialize;
use serde_json::{Value, json};

use crate::Error;

/// The only algorithm that is used and accepted.
pub(crate) const ALGORITHM: Algorithm = Algorithm::RS256;

struct SigningKey {
    kid: String,
    private: EncodingKey,
    public: DecodingKey,
    jwk: Jwk,
}

/// The key that signs now and the previous one. The previous one stays published for one rotation, as
/// with a real issuer: tokens with its signature are still in use.
pub(crate) struct KeyRing {
    current: SigningKey,
    previous: Option<SigningKey>,
}

impl KeyRing {
    /// Takes a noticeable part of a second; it must be called where blocking is allowed.
    pub(crate) fn generate() -> Result<Self, Error> {
        Ok(Self {
            current: SigningKey::generate()?,
            previous: None,
        })
    }

    pub(crate) fn rotate(&mut self, fresh: Self) {
        let old = std::mem::replace(&mut self.current, fresh.current);
        self.previous = Some(old);
    }

    pub(crate) fn sign(&self, typ: &str, claims: &impl Serialize) -> String {
        let mut header = Header::new(ALGORITHM);
        header.typ = Some(typ.to_owned());
        header.kid = Some(self.current.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.current.private)
            .expect("a key that was just made signs a small object")
    }

    pub(crate) fn public(&self, kid: &str) -> Option<&DecodingKey> {
        self.keys()
            .find(|key| key.kid == kid)
            .map(|key| &key.public)
    }

    /// The set according to RFC 7517.
    pub(crate) fn jwks(&self) -> Value {
        json!({ "keys": self.keys().map(|key| &key.jwk).collect::<Vec<_>>() })
    }

    /// The set as Entra publishes it: no `alg`, and the issuer of each key, which a resource
    /// server must compare with the token (Microsoft's page on access tokens, "validate the issuer").
    pub(crate) fn entra_jwks(&self, issuer: &str) -> Value {
        let mut set = self.jwks();
        for key in set["keys"].as_array_mut().into_iter().flatten() {
            if let Some(key) = key.as_object_mut() {
                key.remove("alg");
                key.insert("issuer".to_owned(), json!(issuer));
            }
        }
        set
    }

    fn keys(&self) -> impl Iterator<Item = &SigningKey> {
        std::iter::once(&self.current).chain(&self.previous)
    }
}

impl SigningKey {
    fn generate() -> Result<Self, Error> {
        let what = "an RSA key";
        let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)
            .map_err(|error| Error::crypto(what, &error))?;
        let private = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes())
            .map_err(|error| Error::crypto(what, &error))?;
        let mut jwk = Jwk::from_encoding_key(&private, ALGORITHM)
            .map_err(|error| Error::crypto(what, &error))?;
        let kid = jwk
            .thumbprint(ThumbprintHash::SHA256)
            .map_err(|error| Error::crypto(what, &error))?;
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        let public = DecodingKey::from_jwk(&jwk).map_err(|error| Error::crypto(what, &error))?;
        Ok(Self {
            kid,
            private,
            public,
            jwk,
        })
    }
}
