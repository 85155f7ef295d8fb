//! `spec.rotation` of an `ApiClient`: how its client secret or certificate is replaced.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Rotation of a client credential: the one entry of `certificates` or `secrets` at Microsoft Entra ID; `key` at an issuer where the client may
/// change its own registration (RFC 7592). The Secret's annotation `apicred.dev/rotate-by` must name this client, unless cert-manager creates
/// the certificate: that one is only uploaded, and its Secret is not changed.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = super::rules::validity(), validation = super::rules::adopted())]
pub struct Rotation {
    /// Interval between new credentials. `2160h` (90 days) if not set; at least `2h`.
    #[serde(
        default,
        deserialize_with = "super::duration::optional",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 20))]
    #[x_kube(validation = super::crd::duration("every", "2h", "43800h", "2160h"))]
    pub every: Option<kube::core::Duration>,
    /// How long a new credential is valid. `4320h` (180 days) if not set; at least `every` + `overlap`.
    #[serde(
        default,
        deserialize_with = "super::duration::optional",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 20))]
    #[x_kube(validation = super::crd::duration("validity", "2h", "87600h", "4320h"))]
    pub validity: Option<kube::core::Duration>,
    /// How long the previous credential stays valid after the switch. `24h` if not set.
    #[serde(
        default,
        deserialize_with = "super::duration::optional",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 20))]
    #[x_kube(validation = super::crd::duration("overlap", "0s", "8760h", "24h"))]
    pub overlap: Option<kube::core::Duration>,
    /// The key of new certificates. If not set: RSA, with as many bits as that of the current certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<RotationKey>,
    /// The ApiCredential of this namespace whose token calls Microsoft Graph. Required for `secrets`. If not set, a certificate
    /// is replaced by the client itself, which needs no permission. Not with `registration`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub management_ref: Option<ManagementRef>,
    /// The client changes its own registration at its issuer (RFC 7592). Required for `key`; not for Entra ID. If not set, Microsoft
    /// Graph is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<RegistrationKeys>,
    /// A credential that apicred did not create and may remove after it was replaced. If not set, such a credential stays at the issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt: Option<Adoption>,
}

/// The key of new certificates.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RotationKey {
    /// `RSA` if not set. Entra ID needs `RSA`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<KeyAlgorithm>,
    /// Bits: 2048, 3072 or 4096. If not set: as many as that of the current certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self in [2048, 3072, 4096]")
        .reason(Reason::FieldValueInvalid)
        .message("size is 2048, 3072 or 4096"))]
    pub size: Option<i32>,
}

/// Keys of the Secret of `key`. The registration access token in it is replaced if the issuer returns another.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.urlKey) ? self.urlKey : 'registration_client_uri') != (has(self.tokenKey) ? self.tokenKey : 'registration_access_token')")
    .reason(Reason::FieldValueInvalid).field_path(".tokenKey")
    .message("urlKey and tokenKey must be two keys: the registration access token is replaced, and the address stays"))]
pub struct RegistrationKeys {
    /// Key with the address of the registration, which must be on the host of the issuer or of its token endpoint;
    /// `registration_client_uri` if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub url_key: Option<String>,
    /// Key with the registration access token; `registration_access_token` if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub token_key: Option<String>,
}

/// Algorithms of keys.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(transform = super::crd::undescribed)]
pub enum KeyAlgorithm {
    /// RSA.
    #[default]
    RSA,
}

/// Refers to an `ApiCredential` of the same namespace.
#[derive(KubeSchema, Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ManagementRef {
    /// Name of the `ApiCredential`, in this namespace.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = super::crd::object_name())]
    pub name: String,
}

/// A credential not created by apicred.
#[derive(KubeSchema, Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Adoption {
    /// Its key ID at the issuer: `keyId` at Entra ID; with `registration` the thumbprint of its public key (RFC 7638), as
    /// `status.keys` shows it.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|[A-Za-z0-9_-]{43})$')")
        .reason(Reason::FieldValueInvalid)
        .message("keyId is a GUID at Entra ID, or the thumbprint of a public key (43 characters)"))]
    pub key_id: String,
}

/// A client secret, certificate or key in the Secret, as status shows it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientKey {
    /// `Current`, `Next` or `Previous`.
    pub state: String,
    /// The issuer's id of it, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// The first characters of a client secret, as the issuer shows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Thumbprint as the issuer shows it: SHA-1 of a certificate; of a public key that of RFC 7638.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbprint: Option<String>,
    /// When it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
}
