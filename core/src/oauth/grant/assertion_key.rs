//! The key that signs the assertion of the JWT bearer grant: PEM, a JWK, or the key file of a Google service account.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    api::SigningAlgorithm,
    input,
    oauth::{jwk, pem, private_keys::USABLE, signing_key::SigningKey},
};

/// The form of a key file.
const KEY_FILE: &str = "key file";

/// A key, and what its source states about the assertion.
pub(super) struct AssertionKey {
    pub(super) key: SigningKey,
    /// What the source is, for a message.
    pub(super) form: &'static str,
    pub(super) issuer: Option<String>,
    pub(super) key_id: Option<String>,
    pub(super) algorithm: Option<SigningAlgorithm>,
}

/// The fields of a Google service account's key file that apicred reads. Its `token_uri` is not one of them: only issuers
/// decide where requests are sent.
#[derive(Deserialize)]
struct KeyFile {
    private_key: String,
    client_email: String,
    private_key_id: Option<String>,
}

/// Whether it is the key file of a Google service account.
pub(super) fn is_key_file(text: &str) -> bool {
    key_file(text).is_some()
}

impl AssertionKey {
    /// Reads the value of a Secret's key. `has_issuer`: the spec names the issuer, so the key inside of a damaged key file is enough.
    ///
    /// # Errors
    /// The rest of a sentence that begins with the key's name.
    pub(super) fn read(text: &str, has_issuer: bool) -> Result<Self, String> {
        if let Some(file) = key_file(text) {
            return Ok(Self {
                key: SigningKey::from_pem(&file.private_key)?,
                form: KEY_FILE,
                issuer: Some(file.client_email),
                key_id: file.private_key_id,
                algorithm: None,
            });
        }
        let bare = text.trim_start_matches(pem::is_around);
        // PEM does not begin with a brace.
        if bare.starts_with('{') {
            return of_json(bare);
        }
        match around_key_file(text).filter(|_| !has_issuer) {
            Some(fault) => Err(fault.to_owned()),
            None => Ok(Self {
                key: SigningKey::from_pem(text)?,
                form: "PEM key",
                issuer: None,
                key_id: None,
                algorithm: None,
            }),
        }
    }

    pub(super) fn is_key_file(&self) -> bool {
        self.form == KEY_FILE
    }
}

fn key_file(text: &str) -> Option<KeyFile> {
    serde_json::from_str(text).ok()
}

/// Reads a JWK, or reports what else a JSON object is.
fn of_json(text: &str) -> Result<AssertionKey, String> {
    let object = input::object(text.as_bytes()).map_err(|what| {
        format!("{what}; store the key file as it was downloaded, without a change")
    })?;
    if object.get("kty").and_then(Value::as_str) == Some("oct") {
        return Err(format!(
            "is a symmetric key (kty: oct); store a private key ({USABLE})"
        ));
    }
    if !object.contains_key("kty") && !object.contains_key("keys") {
        return Err(key_file_fault(&object).to_owned());
    }
    let jwk = jwk::private(text)?;
    Ok(AssertionKey {
        key: jwk.key,
        form: "JWK",
        issuer: None,
        key_id: jwk.key_id,
        algorithm: jwk.algorithm,
    })
}

/// What is wrong with an object that is neither a key file nor a JWK.
fn key_file_fault(file: &Map<String, Value>) -> &'static str {
    let has = |name| file.get(name).is_some_and(Value::is_string);
    match file.get("type").and_then(Value::as_str) {
        Some("authorized_user") => {
            "contains the credentials of a user (authorized_user); create a key of a service account"
        }
        Some("external_account") => {
            "is a configuration without a key (external_account); use grant.tokenExchange, or make a key of the service account"
        }
        None if !has("private_key") && !has("client_email") => {
            "is JSON, but neither the key file of a Google service account (it has no private_key) nor a JWK (it has no kty); store the key file as it was downloaded, or the private key as a JWK or as PEM"
        }
        _ if !has("private_key") => "has no private_key; store the key file as it was downloaded",
        _ if !has("client_email") => "has no client_email; store the key file as it was downloaded",
        _ => "is not a key file that can be read; store it as it was downloaded",
    }
}

/// What is around a key file, if it cannot be read as one. The key inside could be read, but not its issuer.
fn around_key_file(text: &str) -> Option<&'static str> {
    // As a JSON string, each quotation mark has a backslash.
    pem::is_key_file(&text.replace('\\', "")).then(|| {
        if text.trim().starts_with(['\'', '"']) {
            "is a key file in quotation marks; store it without them"
        } else {
            "is a key file with other text around it, such as brackets; store the key file as it was downloaded"
        }
    })
}
