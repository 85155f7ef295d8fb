//! `client.key`: a private key without a certificate, as PEM or as JWK, and the public JWK to register.

use rustls::pki_types::PrivateKeyDer;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::{
    jwk, pem, private_jwk,
    private_keys::{NO_KEY, USABLE, private_keys},
    signing_key::{KeyShape, SigningKey},
};
use crate::{api::SigningAlgorithm, credential::PrivateKey};

/// A private key that signs client assertions.
pub struct ClientKey {
    key: SigningKey,
    /// `kid` of its JWK, if it was stored as a JWK with one.
    own_id: Option<String>,
    /// `alg` of its JWK, if it has one.
    algorithm: Option<SigningAlgorithm>,
    form: Form,
    fingerprint_input: String,
}

/// How a private key is stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    Pem,
    Jwk,
    /// A JWK set with one key.
    JwkSet,
}

impl ClientKey {
    /// Reads the value of a Secret's key.
    ///
    /// # Errors
    /// The rest of a sentence that begins with the key's name.
    pub fn read(text: &str) -> Result<Self, String> {
        let bare = text.trim_start_matches(pem::is_around);
        let (key, own_id, algorithm, form) = if bare.starts_with(['{', '[']) {
            let jwk = jwk::private(bare)?;
            let form = if jwk.is_in_set {
                Form::JwkSet
            } else {
                Form::Jwk
            };
            (jwk.key, jwk.key_id, jwk.algorithm, form)
        } else {
            (SigningKey::of(&of_pem(text)?)?, None, None, Form::Pem)
        };
        let fingerprint_input = format!("{}\n{own_id:?}\n{algorithm:?}", jwk::thumbprint(&key));
        Ok(Self {
            key,
            own_id,
            algorithm,
            form,
            fingerprint_input,
        })
    }

    /// A new key in the form in which this one is stored, because other programs may read the Secret as well: PEM, or a JWK with the
    /// thumbprint as `kid` and with the same `alg`. `pem`: the new key, as PKCS#8.
    ///
    /// # Errors
    /// The rest of a sentence that begins with the key's name.
    pub fn successor(&self, pem: SecretString) -> Result<SecretString, String> {
        if self.form == Form::Pem {
            return Ok(pem);
        }
        let der = of_pem(pem.expose_secret())?;
        let key = SigningKey::of(&der)?;
        let mut members = private_jwk::members(&key, &der).ok_or("cannot be written as a JWK")?;
        members.insert("kid".to_owned(), json!(jwk::thumbprint(&key)));
        members.insert("use".to_owned(), json!("sig"));
        if let Some(algorithm) = self.algorithm {
            members.insert("alg".to_owned(), json!(algorithm.as_str()));
        }
        let stored = match self.form {
            Form::JwkSet => json!({ "keys": [members] }),
            Form::Jwk | Form::Pem => Value::Object(members),
        };
        Ok(SecretString::from(stored.to_string()))
    }

    /// Its thumbprint (RFC 7638).
    pub fn thumbprint(&self) -> String {
        jwk::thumbprint(&self.key)
    }

    /// The type and size for a new key of the same kind.
    pub fn shape(&self) -> KeyShape {
        self.key.shape()
    }

    pub(super) const fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Distinguishes it from other keys. Contains no secret.
    pub(super) fn fingerprint_input(&self) -> &str {
        &self.fingerprint_input
    }

    /// `kid` of its assertions: the value in the spec, else that of the JWK, else the thumbprint of RFC 7638.
    pub fn id(&self, settings: &PrivateKey) -> String {
        let written = settings.key_id.clone().or_else(|| self.own_id.clone());
        written.unwrap_or_else(|| jwk::thumbprint(&self.key))
    }

    /// The algorithm of its assertions. `listed`: those that the issuer accepts, if it lists them.
    ///
    /// # Errors
    /// The rest of a sentence that begins with the key's name.
    pub(super) fn algorithm(
        &self,
        settings: &PrivateKey,
        listed: Option<&[SigningAlgorithm]>,
    ) -> Result<SigningAlgorithm, &'static str> {
        let chosen = settings.algorithm.or(self.algorithm);
        self.key.algorithm(chosen, self.key.usual(listed))
    }

    /// The JWK set to register at the issuer: the public key, its `kid` and its use. `alg` is included only if it was chosen,
    /// because a key with `alg` must not be used for anything else (RFC 7517 section 4.4).
    ///
    /// # Errors
    /// The rest of a sentence that begins with the key's name.
    pub fn public_set(&self, settings: &PrivateKey) -> Result<Value, String> {
        let mut members: Map<String, Value> = jwk::public(&self.key);
        members.insert("kid".to_owned(), json!(self.id(settings)));
        members.insert("use".to_owned(), json!("sig"));
        if settings.algorithm.is_some() || self.algorithm.is_some() {
            let algorithm = self.algorithm(settings, None)?;
            members.insert("alg".to_owned(), json!(algorithm.as_str()));
        }
        Ok(json!({ "keys": [members] }))
    }
}

/// The only private key of a PEM text.
fn of_pem(text: &str) -> Result<PrivateKeyDer<'static>, String> {
    let mut keys = private_keys(text).map_err(|problem| match pem::form_of_text(text) {
        Some(form) if form == pem::PUBLIC => {
            "is a public key; store the private key that belongs to it, and register this one at the issuer"
                .to_owned()
        }
        _ if pem::blocks(text).iter().any(pem::Block::is_certificate) => {
            "holds a certificate and no private key; store the private key that belongs to it, or use client.certificates"
                .to_owned()
        }
        None if problem == NO_KEY => {
            format!("is neither PEM nor a JWK; store a private key ({USABLE})")
        }
        _ => problem,
    })?;
    keys.dedup_by(|a, b| a.secret_der() == b.secret_der());
    let count = keys.len();
    let only = keys.pop().filter(|_| count == 1);
    only.ok_or_else(|| {
        format!("holds {count} private keys; store only the one whose public key is registered")
    })
}
