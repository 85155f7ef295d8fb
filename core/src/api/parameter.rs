//! Parameters of a token request, and the names that they may not have.
//!
//! Each list exists only once: the CEL rules are built from it, and [`crate::credential`] checks with it.

use kube::{
    KubeSchema,
    core::{Reason, Rule},
};
use serde::{Deserialize, Serialize};

use super::client::SecretKeyRef;

/// Form parameters for which the spec has fields. In `parameters` they would bypass the limits of the issuer's `allowedScopes` and of the
/// Secret's annotation.
pub const WITH_FIELDS: [&str; 21] = [
    "grant_type",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "scope",
    "resource",
    "audience",
    "code",
    "refresh_token",
    "assertion",
    "username",
    "password",
    "subject_token",
    "actor_token",
    "requested_token_use",
    "requested_token_type",
    "subject_token_type",
    "actor_token_type",
    "code_verifier",
    "device_code",
];

/// Fields of a token request that are not secret; all others are.
pub const NO_SECRETS: [&str; 17] = [
    "grant_type",
    "client_id",
    "client_assertion_type",
    "scope",
    "resource",
    "audience",
    "username",
    "requested_token_use",
    "requested_token_type",
    "subject_token_type",
    "actor_token_type",
    "token_type_hint",
    "redirect_uri",
    "response_type",
    "code_challenge_method",
    "prompt",
    "response_mode",
];

/// Fields that an extension grant may define itself (SAP's `saml2-bearer` has `assertion`), because no other grant sends them with it.
/// Passwords are not included: only `grant.password` ensures that a refused one is never repeated.
pub const OF_EXTENSIONS: [&str; 5] = [
    "assertion",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
];

/// Parameters of the authorization request that concern the browser and the page that it shows: those of OpenID Connect Core (section 3.1.2.1)
/// and of OAuth 2.0 Multiple Response Types, and those of Google (developers.google.com/identity/protocols/oauth2/web-server) and Dropbox
/// (dropbox.com/developers/documentation/http/documentation) that decide about the refresh token and the consent.
const OF_BROWSER: [&str; 9] = [
    "response_mode",
    "display",
    "prompt",
    "hd",
    "access_type",
    "token_access_type",
    "include_granted_scopes",
    "enable_granular_consent",
    "approval_prompt",
];

/// Parameters of the authorization request that concern the user: OpenID Connect Core section 3.1.2.1, and `domain_hint` of Entra ID. The device
/// authorization request needs them too, because a user signs in there as well.
const OF_USER: [&str; 7] = [
    "login_hint",
    "domain_hint",
    "max_age",
    "acr_values",
    "id_token_hint",
    "ui_locales",
    "claims_locales",
];

/// True for a parameter that only the request for a sign-in has. Some token endpoints refuse it (Google: "Parameter not allowed for this
/// message type"). All others are sent with both requests: servers differ in which of the two needs `resource`, `audience` and their own ones.
pub fn is_of_authorization(name: &str) -> bool {
    OF_BROWSER.contains(&name) || OF_USER.contains(&name)
}

/// True if the device authorization request (RFC 8628) has this one of them too.
pub fn is_of_user(name: &str) -> bool {
    OF_USER.contains(&name)
}

/// Grant types with their own key in `spec.grant`, or that need a user's browser, with the replacement.
pub const GRANT_TYPES: [(&str, &str); 8] = [
    ("client_credentials", "grant.clientCredentials"),
    ("refresh_token", "grant.refreshToken"),
    ("password", "grant.password"),
    (
        "authorization_code",
        "grant.refreshToken and kubectl apicred login",
    ),
    ("implicit", "grant.refreshToken and kubectl apicred login"),
    (
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "grant.jwtBearer",
    ),
    (
        "urn:ietf:params:oauth:grant-type:token-exchange",
        "grant.tokenExchange",
    ),
    (
        "urn:ietf:params:oauth:grant-type:device_code",
        "grant.refreshToken and kubectl apicred login",
    ),
];

/// Rule of a text that must not be one of these, in upper or lower case.
fn none_of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Rule {
    let texts: Vec<String> = texts.into_iter().map(|text| format!("'{text}'")).collect();
    Rule::new(format!("!(self.lowerAscii() in [{}])", texts.join(",")))
        .reason(Reason::FieldValueForbidden)
}

/// Rule of a parameter: if it is not secret, its value must be in the spec. `fields`: names that another rule refuses.
fn secret_if_referred(fields: &[&str]) -> Rule {
    let names = NO_SECRETS.into_iter().filter(|name| !fields.contains(name));
    let names: Vec<String> = names.map(|name| format!("'{name}'")).collect();
    let names = names.join(",");
    Rule::new(format!("!has(self.secretRef) || !(self.name in [{names}])"))
        .reason(Reason::FieldValueForbidden)
        .field_path(".secretRef")
        .message("this parameter is not secret: set value instead of secretRef")
}

/// Names that a parameter of an extension grant may not have.
fn not_in_extension() -> Vec<&'static str> {
    let with_fields = WITH_FIELDS.into_iter();
    with_fields
        .filter(|name| !OF_EXTENSIONS.contains(name))
        .collect()
}

/// Rule of the name of a parameter of an extension grant.
fn name_in_extension() -> Rule {
    none_of(not_in_extension())
        .message("parameters of an extension grant may not carry grant_type, client authentication, scope, resource, audience, refresh tokens, codes or passwords: use the fields of the spec for them")
}

/// Rule of the grant type of an extension grant.
pub(super) fn grant_type_of_extension() -> Rule {
    none_of(GRANT_TYPES.map(|(name, _)| name))
        .message("this grant is not an extension: use grant.clientCredentials, refreshToken (for authorization and device codes as well), jwtBearer, tokenExchange or password")
}

/// One parameter of a token request.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = super::crd::one_of(&["value", "secretRef"], "a parameter has"),
    validation = secret_if_referred(&WITH_FIELDS))]
pub struct Parameter {
    /// Name of the parameter.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = none_of(WITH_FIELDS)
        .message("parameters may not carry grant_type, client_id, secrets, assertions, scope, resource or audience: use the fields of the spec for them"))]
    pub name: String,
    /// Its value, readable by all. Not set if `secretRef` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub value: Option<String>,
    /// Key of a Secret in this namespace with its value: one line. It may be sent where a client secret may be. Not set if `value` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
}

/// One parameter of an extension grant. Only the rule of its name differs from [`Parameter`].
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = super::crd::one_of(&["value", "secretRef"], "a parameter has"),
    validation = secret_if_referred(&not_in_extension()))]
pub struct ExtensionParameter {
    /// Name of the parameter.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = name_in_extension())]
    pub name: String,
    /// Its value, readable by all. Not set if `secretRef` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub value: Option<String>,
    /// Key of a Secret in this namespace with its value: one line. It may be sent where a client secret may be. Not set if `value` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
}

impl From<&ExtensionParameter> for Parameter {
    /// Converts it to a parameter of the request.
    fn from(parameter: &ExtensionParameter) -> Self {
        Self {
            name: parameter.name.clone(),
            value: parameter.value.clone(),
            secret_ref: parameter.secret_ref.clone(),
        }
    }
}
