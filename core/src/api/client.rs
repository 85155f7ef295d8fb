//! The OAuth client of a credential: its ID and its client authentication.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The OAuth client and its client authentication. Exactly one of `secrets`, `certificates`, `key`, `assertion`, `serviceAccount`,
/// `managedIdentity`, `mtls` and `public`.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = super::crd::one_of(&["secrets", "certificates", "key", "assertion", "serviceAccount", "managedIdentity", "mtls", "public"], "a client authenticates by"),
    validation = Rule::new("has(self.id) || (has(self.managedIdentity) && !has(self.managedIdentity.asAssertion))")
        .reason(Reason::FieldValueRequired).field_path(".id")
        .message("client.id is missing; only a managed identity that is the client itself can do without it"),
    validation = Rule::new("!has(self.id) || !has(self.managedIdentity) || has(self.managedIdentity.asAssertion) || !(has(self.managedIdentity.objectId) || has(self.managedIdentity.resourceId))")
        .reason(Reason::FieldValueForbidden).field_path(".managedIdentity")
        .message("name a user-assigned identity once: client.id, managedIdentity.objectId or managedIdentity.resourceId")
)]
pub struct Client {
    /// Client (application) id. With `managedIdentity` and without `asAssertion`, the client id of a user-assigned identity; if not
    /// set, another field selects it, or it is system-assigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = super::rules::no_blank_around("id"))]
    pub id: Option<String>,
    /// Client secrets, newest first: each is a key of a Secret in this namespace. They are tried in order: list the new and the
    /// old one during a rotation. None if not set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 4), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new("self.all(s, self.exists_one(t, t.name == s.name && t.key == s.key))")
        .reason(Reason::FieldValueInvalid)
        .message("each entry of secrets must name another key: remove the duplicate"))]
    pub secrets: Vec<ClientSecret>,
    /// Certificates, newest first. The private key of one signs a client assertion (`private_key_jwt`, RFC 7523 section 2.2).
    /// They are tried in order: list the new and the old one until the issuer knows the new one.
    /// None if not set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 4), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new("self.all(c, self.exists_one(d, d.secretName == c.secretName && (has(d.privateKeyKey) ? d.privateKeyKey : 'tls.key') == (has(c.privateKeyKey) ? c.privateKeyKey : 'tls.key')))")
        .reason(Reason::FieldValueInvalid)
        .message("each entry of certificates must name another private key: remove the duplicate"))]
    pub certificates: Vec<CertificateClient>,
    /// A private key without a certificate, which signs a client assertion (`private_key_jwt`, RFC 7523 section 2.2). The issuer must know its
    /// public key: `kubectl apicred jwks NAME` prints it. Not for Entra ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Box<KeyClient>>,
    /// A client assertion that something else keeps up to date in a Secret: a JWT, such as a JWT-SVID of SPIFFE. Read for
    /// each token request; not sent after it has expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assertion: Option<Box<AssertionClient>>,
    /// A token of a ServiceAccount in this namespace as client assertion. Nothing is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<Box<ServiceAccountToken>>,
    /// The Azure identity of the operator's machine or pod. Needs a ClusterTokenIssuer that allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_identity: Option<Box<ManagedIdentityClient>>,
    /// A certificate for the TLS handshake (RFC 8705).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtls: Option<Box<MtlsClient>>,
    /// No client authentication: a public client, for grants that carry their own credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<PublicClient>,
}

/// A client secret: one key of a Secret in the same namespace, and when it expires.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientSecret {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = super::crd::name_alone())]
    pub name: String,
    /// Key in its data.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = super::crd::data_key())]
    pub key: String,
    /// When the client secret expires, for a warning ahead of it: RFC 3339 (`2027-06-30T00:00:00Z`) or a date
    /// (`2027-06-30`, its beginning in UTC). The annotation `apicred.dev/secret-expires-at` on the Secret takes
    /// precedence. If not set, there is no warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    #[x_kube(validation = super::rules::time_or_day("expiresAt"))]
    pub expires_at: Option<String>,
}

impl ClientSecret {
    /// The reference to the key of the Secret.
    pub fn reference(&self) -> SecretKeyRef {
        SecretKeyRef {
            name: self.name.clone(),
            key: self.key.clone(),
        }
    }
}

/// One key of a Secret in the same namespace.
#[derive(
    KubeSchema, Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = super::crd::name_alone())]
    pub name: String,
    /// Key in its data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A certificate and its private key in a Secret, PEM, such as one of type `kubernetes.io/tls`.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateClient {
    /// Name of the Secret, in this namespace.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = super::crd::name_alone())]
    pub secret_name: String,
    /// Key of the certificate, the chain after it; `tls.crt` if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub certificate_key: Option<String>,
    /// Key of the private key (PKCS#8, PKCS#1 or SEC 1); `tls.key` if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub private_key_key: Option<String>,
    /// Signature algorithm. If not set: `PS256` for an RSA key at Entra ID, `RS256` for one elsewhere unless the issuer lists only others;
    /// `ES256`, `ES384`, `ES512` for an EC key by its curve; `EdDSA` for Ed25519.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<SigningAlgorithm>,
    /// `kid` of the assertion's header, as registered with the issuer. None if not set: Entra ID uses the thumbprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub key_id: Option<String>,
    /// Thumbprint of the certificate in the assertion's header: `Sha1` (`x5t`) or `Sha256` (`x5t#S256`). If not set: at
    /// Entra ID `Sha1` with RS256 and else `Sha256`; elsewhere none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbprint: Option<Thumbprint>,
    /// Sends the certificate chain along (`x5c`), for Entra ID's trust by subject name and issuer. `false` if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x5c: Option<bool>,
}

/// A private key in a Secret: PEM (PKCS#8, PKCS#1 or SEC 1) or a JWK.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyClient {
    /// Name of the Secret, in this namespace.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = super::crd::name_alone())]
    pub secret_name: String,
    /// Key in its data. It contains one private key: RSA of 2048 bits or more, EC on P-256, P-384 or P-521, or Ed25519.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
    /// `kid` of the assertion's header, as registered with the issuer. If not set: `kid` of the JWK, else the thumbprint of the public key (RFC
    /// 7638).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub key_id: Option<String>,
    /// Signature algorithm. If not set: `alg` of the JWK, else by the key: `RS256` for RSA unless the issuer lists only others; `ES256`,
    /// `ES384`, `ES512` by the curve; `EdDSA` for Ed25519.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<SigningAlgorithm>,
}

/// A JWT in a Secret.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AssertionClient {
    /// Name of the Secret, in this namespace.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = super::crd::name_alone())]
    pub secret_name: String,
    /// Key in its data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Algorithms of signed assertions (RFC 7518 section 3.1, RFC 8037 section 3.1, RFC 9864).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[schemars(transform = super::crd::undescribed)]
pub enum SigningAlgorithm {
    /// RSASSA-PSS with SHA-256, as Microsoft recommends.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// ECDSA on P-521 with SHA-512.
    ES512,
    /// Ed25519, by the name of RFC 8037.
    EdDSA,
    /// Ed25519, by the name of RFC 9864.
    Ed25519,
}

impl SigningAlgorithm {
    /// All algorithms.
    pub const ALL: [Self; 11] = [
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::ES256,
        Self::ES384,
        Self::ES512,
        Self::EdDSA,
        Self::Ed25519,
    ];

    /// The name in `alg` of a JWT.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::ES512 => "ES512",
            Self::EdDSA => "EdDSA",
            Self::Ed25519 => "Ed25519",
        }
    }

    /// Whether it needs an RSA key. Entra ID accepts no other.
    pub const fn is_rsa(self) -> bool {
        matches!(
            self,
            Self::PS256 | Self::PS384 | Self::PS512 | Self::RS256 | Self::RS384 | Self::RS512
        )
    }
}

/// Thumbprint of the certificate in the assertion's header (RFC 7515 sections 4.1.7 and 4.1.8). If not set: at Entra ID
/// `Sha1` with RS256 and else `Sha256`; elsewhere none.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[schemars(transform = super::crd::undescribed)]
pub enum Thumbprint {
    /// `x5t`.
    Sha1,
    /// `x5t#S256`.
    Sha256,
}

/// A token of a ServiceAccount, created for each use.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountToken {
    /// Name of the ServiceAccount, in this namespace.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = super::crd::object_name())]
    pub name: String,
    /// Audience of the token. If not set: that of Entra ID's cloud (`api://AzureADTokenExchange`), else the
    /// issuer's identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 600))]
    pub audience: Option<String>,
    /// Lifetime of the token in seconds, at least 600. If not set: 600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 600, max = 86400))]
    pub expiration_seconds: Option<i32>,
}

/// Which managed identity; system-assigned if none is named.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.objectId) && has(self.resourceId))")
        .reason(Reason::FieldValueForbidden).field_path(".resourceId")
        .message("name a user-assigned identity once: client.id, managedIdentity.objectId or managedIdentity.resourceId"),
    validation = Rule::new("!has(self.clientId) || (has(self.asAssertion) && !has(self.objectId) && !has(self.resourceId))")
        .reason(Reason::FieldValueForbidden).field_path(".clientId")
        .message("managedIdentity.clientId requires asAssertion, without objectId and resourceId; if the identity is the client, set client.id")
)]
pub struct ManagedIdentityClient {
    /// The token of the identity is the client assertion of the application `client.id`, which has a federated credential for
    /// the identity, in this tenant or in another one. It is requested for each token request and never stored. If not set,
    /// the identity is the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_assertion: Option<AsAssertion>,
    /// Client id of a user-assigned identity, with `asAssertion`. Not set if another field selects it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub client_id: Option<String>,
    /// Object (principal) id of a user-assigned identity. Not set if another field selects it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub object_id: Option<String>,
    /// Resource id of a user-assigned identity (`/subscriptions/…`). Not set if another field selects it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub resource_id: Option<String>,
}

/// The token of an identity as client assertion; it has no settings. Its audience is the one of the cloud
/// (`api://AzureADTokenExchange`).
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct AsAssertion {}

/// A certificate and its key in a Secret, PEM.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MtlsClient {
    /// Name of the Secret, in this namespace.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = super::crd::name_alone())]
    pub secret_name: String,
    /// Key of the certificate with its whole chain; `tls.crt` if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub certificate_key: Option<String>,
    /// Key of the private key; `tls.key` if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub private_key_key: Option<String>,
}

/// A public client has no settings.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct PublicClient {}
