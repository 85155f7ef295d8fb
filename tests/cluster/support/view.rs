//! A target Secret as a workload sees it.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use serde_json::Value;

/// The content of a target Secret, checked for completeness.
#[derive(Clone, Debug)]
pub(crate) struct SecretView {
    pub(crate) uid: String,
    pub(crate) version: String,
    pub(crate) type_: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    /// Names of its owners.
    pub(crate) owners: Vec<String>,
    pub(crate) token: String,
    pub(crate) expires_at: Timestamp,
    /// The claims of the token, unchecked.
    pub(crate) claims: Value,
}

impl SecretView {
    /// Reads a Secret. Fails if any of the four keys is missing, empty, or contradicts the others (O1).
    pub(crate) fn of(secret: &Secret) -> Result<Self, String> {
        let data = secret.data.clone().unwrap_or_default();
        let text = |key: &str| {
            let bytes = data
                .get(key)
                .ok_or_else(|| format!("key {key} is missing"))?;
            let text =
                String::from_utf8(bytes.0.clone()).map_err(|_| format!("{key} is not text"))?;
            if text.is_empty() || text.trim() != text {
                return Err(format!("{key} is empty or has blanks around it"));
            }
            Ok(text)
        };
        let (token, whole) = (text("token")?, text("token.json")?);
        let expires = text("expires_at")?;
        let whole: Value =
            serde_json::from_str(&whole).map_err(|_| "token.json is no JSON".to_owned())?;
        let agrees = whole["access_token"] == token.as_str()
            && whole["token_type"] == text("token_type")?.as_str()
            && whole["expires_at"] == expires.as_str();
        if !agrees {
            return Err("token.json and the other keys contradict each other".to_owned());
        }
        let meta = secret.metadata.clone();
        let annotations = meta.annotations.unwrap_or_default();
        if annotations.get("apicred.dev/expires-at") != Some(&expires) {
            return Err("the annotation and the data end at two times".to_owned());
        }
        Ok(Self {
            uid: meta.uid.unwrap_or_default(),
            version: meta.resource_version.unwrap_or_default(),
            type_: secret.type_.clone().unwrap_or_default(),
            labels: meta.labels.unwrap_or_default(),
            annotations,
            owners: meta
                .owner_references
                .unwrap_or_default()
                .into_iter()
                .map(|o| o.name)
                .collect(),
            expires_at: expires
                .parse()
                .map_err(|_| "expires_at is no time".to_owned())?,
            claims: claims(&token),
            token,
        })
    }

    /// The id by which the issuer knows this token.
    pub(crate) fn token_id(&self) -> &str {
        self.claims["uti"]
            .as_str()
            .or(self.claims["jti"].as_str())
            .unwrap_or_default()
    }

    /// The digest of the request that this token answers.
    pub(crate) fn fingerprint(&self) -> &str {
        self.annotations
            .get("apicred.dev/fingerprint")
            .map_or("", String::as_str)
    }
}

/// The middle part of a JWT; null for an opaque token.
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap_or_default();
    let bytes = URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}
