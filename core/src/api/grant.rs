//! `spec.grant`: how a token is obtained. Exactly one key is set.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    client::{SecretKeyRef, ServiceAccountToken, SigningAlgorithm},
    parameter::ExtensionParameter,
};

/// How the token is granted: exactly one key.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = super::crd::one_of(&["clientCredentials", "refreshToken", "onBehalfOf", "jwtBearer", "tokenExchange", "password", "extension"], "grant has"))]
pub struct Grant {
    /// RFC 6749 section 4.4: the client requests a token for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_credentials: Option<ClientCredentials>,
    /// RFC 6749 section 6: for a user who signed in once with `kubectl apicred login`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<RefreshToken>,
    /// Entra ID's on-behalf-of flow: a user's token for this client into a user's token for another API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<OnBehalfOf>,
    /// RFC 7523 section 2.1: an assertion is the grant, as for Google's service accounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt_bearer: Option<JwtBearer>,
    /// RFC 8693: one token into another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_exchange: Option<TokenExchange>,
    /// RFC 6749 section 4.3: a user's password. The last resort; OAuth 2.1 has removed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
    /// RFC 6749 section 4.5: a grant of the issuer, by its name and parameters (Zoom, IBM Cloud, SAP).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<Extension>,
}

/// A grant, by the name of its key in `spec.grant`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[schemars(transform = super::crd::undescribed)]
pub enum GrantKey {
    /// Client credentials.
    #[default]
    ClientCredentials,
    /// Refresh token.
    RefreshToken,
    /// On behalf of.
    OnBehalfOf,
    /// JWT bearer.
    JwtBearer,
    /// Token exchange.
    TokenExchange,
    /// Password.
    Password,
    /// Extension.
    Extension,
}

impl GrantKey {
    /// Its name in `allowedGrants`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientCredentials => "ClientCredentials",
            Self::RefreshToken => "RefreshToken",
            Self::OnBehalfOf => "OnBehalfOf",
            Self::JwtBearer => "JwtBearer",
            Self::TokenExchange => "TokenExchange",
            Self::Password => "Password",
            Self::Extension => "Extension",
        }
    }
}

/// The client credentials grant has no settings.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct ClientCredentials {}

/// The Secret of the refresh token.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RefreshToken {
    /// The state Secret, created by `kubectl apicred login`, with the latest refresh token. Its annotation `apicred.dev/state-of` names this
    /// credential.
    pub secret_ref: SecretKeyRef,
}

/// Where the user's token comes from.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OnBehalfOf {
    /// A user's access token for this client. Another program must keep it valid.
    pub assertion_ref: SecretKeyRef,
}

/// The assertion: from a Secret, or signed for each request.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = super::crd::one_of(&["assertionRef", "signed"], "jwtBearer has"))]
pub struct JwtBearer {
    /// A ready assertion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assertion_ref: Option<SecretKeyRef>,
    /// A key that signs a new assertion for each request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<SignedAssertion>,
}

/// The claims of the assertion and its key.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SignedAssertion {
    /// The private key: PEM, a JWK, or the JSON key file of a Google service account, which also contains `issuer` and
    /// `keyId`.
    pub key_ref: SecretKeyRef,
    /// `iss`: signer. The e-mail address of the key file if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub issuer: Option<String>,
    /// `sub`: for whom. If not set: none for a Google key file, else the same as `issuer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub subject: Option<String>,
    /// `aud`; the token endpoint if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub audience: Option<String>,
    /// `kid` of the header. If not set: that of a JWK or Google key file, else none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub key_id: Option<String>,
    /// Signature algorithm; that of a JWK, else `RS256` for RSA, `ES256` for P-256 if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<SigningAlgorithm>,
    /// Where `spec.scopes` are sent: in the assertion as for Google, or in the form. If not set: `Claim` for a Google key file, else
    /// `Parameter`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes_in: Option<ScopePlace>,
    /// Further claims, texts only. None if not set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16), schema_with = "super::crd::bounded_map")]
    #[x_kube(validation = Rule::new("self.all(k, !(k in ['iss','sub','aud','exp','nbf','iat','jti','scope']))")
        .reason(Reason::FieldValueInvalid)
        .message("claims may not carry iss, sub, aud, exp, nbf, iat, jti or scope: apicred sets them from the fields of the spec"))]
    pub claims: BTreeMap<String, String>,
}

/// Where scopes go in the JWT bearer grant.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[schemars(transform = super::crd::undescribed)]
pub enum ScopePlace {
    /// A claim of the assertion.
    Claim,
    /// The form parameter of RFC 6749.
    Parameter,
}

/// The tokens to exchange and what for.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenExchange {
    /// On whose behalf.
    pub subject: TokenSource,
    /// The acting party, if it is not the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<TokenSource>,
    /// `requested_token_type`, a URN; left to the issuer if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub requested_token_type: Option<String>,
}

/// A token from a Secret or of a ServiceAccount.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = super::crd::one_of(&["secretRef", "serviceAccount"], "a token comes from"))]
pub struct TokenSource {
    /// A key of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
    /// A ServiceAccount of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<ServiceAccountToken>,
    /// Its type, a URN of RFC 8693 section 3. If not set: `…:jwt` for a ServiceAccount, `…:access_token` for a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub token_type: Option<String>,
}

/// User name and password.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Password {
    /// Sign-in name.
    #[schemars(length(min = 1, max = 256))]
    pub username: String,
    /// Where the password is.
    pub password_ref: SecretKeyRef,
}

/// A grant that only the issuer defines.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Extension {
    /// The value of `grant_type`: an absolute URI, or the name that the issuer documents (Zoom: `account_credentials`).
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^([-._0-9A-Za-z]+|[A-Za-z][-+.0-9A-Za-z]*:[\\\\x21\\\\x23-\\\\x5B\\\\x5D-\\\\x7E]+)$')")
        .reason(Reason::FieldValueInvalid)
        .message("grantType is an absolute URI, such as urn:ibm:params:oauth:grant-type:apikey, or a name of letters, digits, '-', '.' and '_'"),
        validation = super::parameter::grant_type_of_extension())]
    pub grant_type: String,
    /// What the grant requires, each with a `value` or a `secretRef`. None if not set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub parameters: Vec<ExtensionParameter>,
}
