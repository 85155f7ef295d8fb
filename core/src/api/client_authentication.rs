//! How a client secret is sent to an issuer, or signs for the client.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a client secret is used: exactly one key. The methods are never tried one after the other, because a failure can count as a bad sign-in.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = super::crd::one_of(&["basic", "post", "secretJwt"], "clientAuthentication has"))]
pub struct ClientAuthentication {
    /// In the `Authorization: Basic` header (`client_secret_basic`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicAuthentication>,
    /// In the form body (`client_secret_post`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post: Option<PostAuthentication>,
    /// Not sent: it signs a client assertion (`client_secret_jwt`, OpenID Connect Core section 9).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_jwt: Option<SecretJwtAuthentication>,
}

/// Settings of `basic`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuthentication {
    /// How id and secret are encoded before base64; `Form` if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<BasicEncoding>,
}

/// Encodings of the two halves of a Basic header.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[schemars(transform = super::crd::undescribed)]
pub enum BasicEncoding {
    /// Form-encoded first (RFC 6749 section 2.3.1).
    #[default]
    Form,
    /// As they are, for servers that do not decode.
    Raw,
}

/// Settings of `secretJwt`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretJwtAuthentication {
    /// Algorithm of the signature. If not set: the first of `HS256`, `HS384` and `HS512` that the discovery document lists, else
    /// `HS256`. The secret must have at least as many bytes as the hash: 32, 48 or 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<SecretAlgorithm>,
}

/// Algorithms of assertions that a client secret signs (RFC 7518 section 3.2).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[schemars(transform = super::crd::undescribed)]
pub enum SecretAlgorithm {
    /// HMAC with SHA-256.
    HS256,
    /// HMAC with SHA-384.
    HS384,
    /// HMAC with SHA-512.
    HS512,
}

/// `post` has no settings.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct PostAuthentication {}
