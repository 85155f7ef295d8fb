//! The spec of a credential, parsed into valid values.
//!
//! [`parse()`] reports all invalid fields at once, each with its path and the fix. All later code takes a [`Credential`] and does not check it
//! again. [`binding`] is the boundary between tenants: it decides whether a namespace may request a token from an issuer, and whether the
//! content of a Secret may be sent to an origin. [`addresses`] decides which network addresses an issuer may have.
//!
//! Never reads a Secret: it works with names and metadata.

mod account_tokens;
pub mod addresses;
mod allowed_issuers;
pub mod annotations;
mod authentication;
pub mod binding;
pub mod ca_limits;
mod client;
mod client_keys;
mod error;
mod fit;
mod github;
mod hop;
mod issued;
mod issuer;
mod issuer_spec;
mod labels;
mod last_good;
mod limits;
mod parameters;
mod parse;
mod place;
mod pods;
mod presets;
mod request_parameters;
pub mod scopes;
mod static_key;
mod target;
mod target_keys;
#[cfg(test)]
mod tests;

pub use authentication::{AuthenticationMethod, Lacking, Selector};
pub use client::{ClientLookup, RotatedBy, parse_client, parse_with_client, resolve};
pub use client_keys::{AccountToken, Certificate, KeyPair, PrivateKey};
pub use error::FieldError;
pub use fit::is_object_name;
pub use hop::Hop;
pub use issuer::{
    CaFault, CaSource, Endpoint, Issuer, IssuerId, OperatorIdentity, OptionalEndpoints, Protocol,
    SecretStyle,
};
pub use last_good::{Copied, TLS, source_of};
pub use parse::{IssuerLookup, MAX_RENEW_REQUEST, end_of_secret, parse};
pub use place::entra_authority;
pub use presets::{Preset, preset};
pub(crate) use request_parameters::is_of_sign_in;
pub use static_key::StaticKey;
pub use target_keys::{KeyPattern, may_have_metadata};

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use binding::Use;

use crate::{
    api::{DeletionPolicy, Expectation, GrantKey, SecretKeyRef, SecretType, TargetKey},
    oauth::{Grant, RequiredInput, account_audience},
};

/// A valid credential with its issuer.
#[derive(Clone, Debug, PartialEq)]
pub struct Credential {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// UID of the object.
    pub uid: String,
    /// Generation of the spec.
    pub generation: i64,
    /// The issuer.
    pub issuer: Issuer,
    /// Generation of the `ApiClient` that it names. The shell sets it.
    pub client_generation: Option<i64>,
    /// OAuth client id; empty if there is none.
    pub client_id: String,
    /// The client authentication.
    pub authentication: AuthenticationMethod,
    /// When client secrets expire, if the spec declares it.
    pub secret_expiries: BTreeMap<SecretKeyRef, Timestamp>,
    /// The `ApiClient` that rotates its client credential. The credential then has one source.
    pub rotated: Option<Box<RotatedBy>>,
    /// The key that is published as it is. If set, no token is requested: grant, client and request are empty.
    pub static_key: Option<StaticKey>,
    /// How the token is granted.
    pub grant: Grant,
    /// The token request parameters.
    pub request: RequestParameters,
    /// The expected content of the token.
    pub expect: Option<Expectation>,
    /// The Secret that gets the token.
    pub target: TargetSecret,
    /// `spec.minLifetime`, if set.
    pub min_lifetime: Option<SignedDuration>,
    /// When the credential expires: no token is requested after that.
    pub end: Option<Timestamp>,
    /// Nothing is to be done.
    pub suspend: bool,
    /// Value of the annotation that requests a renewal.
    pub renew_requested: Option<String>,
    /// The message about annotations below `apicred.dev` that have no effect.
    pub unread: Option<String>,
}

impl Credential {
    /// Keys of Secrets of which one authenticates the client, in the order in which they are tried.
    pub fn alternatives(&self) -> Vec<SecretKeyRef> {
        self.authentication.alternatives()
    }

    /// Its namespace and name.
    pub fn key(&self) -> Key {
        Key {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }

    /// Whether one answer may be used for this credential and others that request the same at this moment. Not if its token is revoked on
    /// deletion: the others would then have a useless token.
    pub fn is_shareable(&self) -> bool {
        self.static_key.is_none()
            && self.grant.is_shareable()
            && self.target.deletion != DeletionPolicy::Revoke
    }

    /// The request with which the operator's identity gets the client assertion of this credential, if its client authenticates in that way:
    /// the same issuer, and the identity as the client.
    pub fn of_identity(&self) -> Option<Self> {
        let AuthenticationMethod::IdentityAssertion(selector) = &self.authentication else {
            return None;
        };
        Some(Self {
            authentication: AuthenticationMethod::ManagedIdentity(selector.clone()),
            client_id: String::new(),
            grant: Grant::ClientCredentials,
            request: RequestParameters {
                resources: vec![account_audience(self, None)],
                ..RequestParameters::default()
            },
            ..self.clone()
        })
    }

    /// What must be read in addition to the client authentication, with its purpose: the static key, or the inputs of the grant and then the
    /// values of parameters that are in Secrets, by their names.
    pub fn inputs(&self) -> Vec<(Use, RequiredInput)> {
        if let Some(key) = &self.static_key {
            return vec![(Use::StaticKey, RequiredInput::Line(key.token.clone()))];
        }
        let grant = self.grant.needs().into_iter();
        let parameters = self.request.secret_parameters.values();
        grant
            .map(|need| (Use::Grant, need))
            .chain(parameters.map(|key| (Use::Parameter, RequiredInput::Line(key.clone()))))
            .collect()
    }

    /// Keys of the Secrets among them.
    pub fn grant_sources(&self) -> Vec<SecretKeyRef> {
        let inputs = self.inputs();
        inputs
            .iter()
            .filter_map(|(_, need)| need.reference().cloned())
            .collect()
    }
}

/// The part of a token request that defines what the token is for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestParameters {
    /// Scopes, in the user's order.
    pub scopes: Vec<String>,
    /// Resource indicators.
    pub resources: Vec<String>,
    /// Audience parameter.
    pub audience: Option<String>,
    /// Further form parameters.
    pub parameters: BTreeMap<String, String>,
    /// Parameters of the authorization request alone, if a user signs in: the token endpoint may refuse them.
    pub sign_in_parameters: BTreeMap<String, String>,
    /// Further form parameters whose values are in Secrets.
    pub secret_parameters: BTreeMap<String, SecretKeyRef>,
    /// Further claims of an assertion that apicred signs.
    pub claims: BTreeMap<String, String>,
    /// The grant.
    pub grant: GrantKey,
    /// The subjects that the spec names.
    pub subjects: Vec<Subject>,
    /// Other fields of the grant that are sent in the request: `requested_token_type`, `iss` and `aud` of an assertion.
    pub inputs: Vec<(&'static str, String)>,
    /// The audience of the preset, if the spec names one.
    pub preset: Option<&'static str>,
}

/// For whom a token is requested, if the spec names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Subject {
    /// A user name, or the `sub` of a signed assertion.
    Name(String),
    /// A ServiceAccount of the credential's namespace, by name.
    Account(String),
}

/// The Secret to write, as the spec declares it.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetSecret {
    /// Name in the credential's namespace.
    pub name: String,
    /// Its type.
    pub type_: SecretType,
    /// User labels.
    pub labels: BTreeMap<String, String>,
    /// User annotations.
    pub annotations: BTreeMap<String, String>,
    /// Keys and their formats, with defaults filled in.
    pub keys: Vec<TargetKey>,
    /// What happens to it when the credential is deleted.
    pub deletion: DeletionPolicy,
    /// Which pods are notified of a write: a label selector, as the API server reads it.
    pub notify_pods: Option<String>,
}

/// Identity of a credential that is being deleted or cannot be parsed: enough to find what belongs to it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Key {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
}

impl Key {
    /// The object of this name in a namespace.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Order of two credentials that name one Secret: the older one has precedence, by UID if the times are equal.
pub type Seniority = (Timestamp, std::sync::Arc<str>);
