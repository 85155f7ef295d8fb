//! The grants: how a token is obtained. Each file has one grant, and defines its inputs, the values that require another token if they
//! change, the form fields, and the meaning of its token errors. `docs/development.md` shows how to add one.
//!
//! Never reads the inputs: the shell reads them and passes them in.

mod assertion_key;
mod exchange;
mod extension;
mod jwt_bearer;
mod on_behalf_of;
mod password;
mod refresh;

use crate::Reason;
use secrecy::SecretString;

pub use exchange::Exchange;
pub use jwt_bearer::{JwtBearer, Signed};
pub use refresh::{RefreshToken, not_signed_in, sign_in};

use super::{Class, RequiredInput, TokenEndpoint, stored_assertion::alone};
use crate::{
    api::{self, GrantKey},
    credential::{Credential, FieldError, Subject},
};

/// A valid grant.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Grant {
    /// RFC 6749 section 4.4.
    #[default]
    ClientCredentials,
    /// RFC 6749 section 6.
    RefreshToken(refresh::RefreshToken),
    /// Entra ID's on-behalf-of flow.
    OnBehalfOf(on_behalf_of::OnBehalfOf),
    /// RFC 7523 section 2.1.
    JwtBearer(JwtBearer),
    /// RFC 8693.
    TokenExchange(Exchange),
    /// RFC 6749 section 4.3.
    Password(password::Password),
    /// RFC 6749 section 4.5.
    Extension(extension::Extension),
}

/// The circumstances of one request, for the grants that sign or name something.
pub struct GrantContext<'a> {
    /// The credential.
    pub credential: &'a Credential,
    /// The endpoint of the request.
    pub endpoint: &'a TokenEndpoint,
    /// Now.
    pub now: jiff::Timestamp,
    /// A unique id, for `jti`.
    pub assertion_id: &'a str,
}

/// Form fields of a request; values may be secret.
pub type Fields = Vec<(&'static str, SecretString)>;

/// The meaning of a token error for a grant: class, stable reason, next step, and whether a timer may try again.
pub struct Classified {
    /// How to wait.
    pub class: Class,
    /// Stable reason.
    pub reason: Reason,
    /// What to do.
    pub next_step: String,
    /// True if only a change of the inputs may cause another attempt.
    pub until_change: bool,
}

/// The parts of a token error that a grant uses.
#[derive(Clone, Copy)]
pub(super) struct Refused<'a> {
    /// `error`, or the code that is used instead.
    pub(super) error: &'a str,
    /// `error_description` in lower case: evidence where `error` has several meanings.
    pub(super) text: &'a str,
    /// `namespace/name` of the credential.
    pub(super) credential: &'a str,
}

impl Refused<'_> {
    fn is(&self, errors: &[&str]) -> bool {
        errors.contains(&self.error)
    }

    fn mentions(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|p| self.text.contains(p))
    }
}

/// The user of a grant. The user can help if the issuer requires one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum User {
    /// There is none.
    None,
    /// Signs in with `kubectl apicred login`.
    SignsIn,
    /// Is signed in to another application, which forwards a token.
    BringsToken,
    /// Has a password, and is not present.
    Password,
}

/// The interface of a grant.
pub(super) trait Flow {
    /// Value of `grant_type`.
    fn grant_type(&self) -> &str;
    /// The inputs to read before a request, in the order in which [`Flow::fields`] gets them.
    fn needs(&self) -> Vec<RequiredInput> {
        Vec::new()
    }
    /// Values that identify the requested token, for its fingerprint. The content of [`Flow::needs`] is added by the caller.
    fn fingerprint_parts(&self) -> Vec<String> {
        Vec::new()
    }
    /// The form fields, in addition to `grant_type`, the client authentication and the token request parameters.
    ///
    /// # Errors
    /// A sentence for the user when an input cannot be used.
    fn fields(
        &self,
        _grant_inputs: &[SecretString],
        _around: &GrantContext<'_>,
    ) -> Result<Fields, String> {
        Ok(Vec::new())
    }
    /// The subjects that the spec names. An issuer may limit them.
    fn subjects(&self) -> Vec<Subject> {
        Vec::new()
    }
    /// Values of the spec that [`Flow::fields`] sends in addition to secrets, with their names in `allowedParameters`.
    fn inputs(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
    /// True if the token is for a user, so that scopes are listed one by one.
    fn for_user(&self) -> bool {
        false
    }
    /// The user that the grant has.
    fn user(&self) -> User {
        User::None
    }
    /// The value of `scope`. If empty, none is sent.
    fn scope(&self, credential: &Credential) -> String {
        credential.request.scopes.join(" ")
    }
    /// True if scopes are sent in the form. (Google requires them in the assertion.)
    fn scopes_in_form(&self, _grant_inputs: &[SecretString]) -> bool {
        true
    }
    /// True if equal requests in flight may be sent as one.
    fn is_shareable(&self) -> bool {
        true
    }
    /// The meaning of `invalid_grant` and similar errors for this grant.
    fn refused(&self, _refused: &Refused<'_>) -> Option<Classified> {
        None
    }
}

struct ClientCredentials;

/// Errors that issuers send if they require a user.
const REQUIRES_USER: [&str; 4] = [
    "invalid_grant",
    "interaction_required",
    "login_required",
    "account_selection_required",
];

impl Flow for ClientCredentials {
    fn grant_type(&self) -> &'static str {
        "client_credentials"
    }

    /// RFC 6749 section 4.4 has no user and no grant that could be invalid. Salesforce sends these errors if the client has
    /// no run-as user, Entra ID if an assignment is missing.
    fn refused(&self, refused: &Refused<'_>) -> Option<Classified> {
        refused.is(&REQUIRES_USER).then(|| Classified {
            class: Class::Denied,
            reason: Reason::GrantRefused,
            next_step: "the issuer does not issue tokens to this client without a user: enable the client credentials grant for it (Salesforce: choose a user to run as, and use the host of your own domain; Entra ID: assign an app role)".to_owned(),
            until_change: false,
        })
    }
}

impl Grant {
    /// Parses `spec.grant`; if not set, it is the client credentials grant.
    ///
    /// # Errors
    /// Every fault, with field paths.
    pub fn parse(spec: Option<&api::Grant>) -> Result<Self, Vec<FieldError>> {
        let Some(spec) = spec else {
            return Ok(Self::ClientCredentials);
        };
        let mut found = Vec::new();
        let mut errors = Vec::new();
        let mut take = |grant: Result<Self, Vec<FieldError>>| match grant {
            Ok(grant) => found.push(grant),
            Err(faults) => errors.extend(faults),
        };
        if spec.client_credentials.is_some() {
            take(Ok(Self::ClientCredentials));
        }
        if let Some(g) = &spec.refresh_token {
            take(Ok(Self::RefreshToken(refresh::RefreshToken::new(g))));
        }
        if let Some(g) = &spec.on_behalf_of {
            take(Ok(Self::OnBehalfOf(on_behalf_of::OnBehalfOf::new(g))));
        }
        if let Some(g) = &spec.jwt_bearer {
            take(JwtBearer::parse(g).map(Self::JwtBearer));
        }
        if let Some(g) = &spec.token_exchange {
            take(Exchange::parse(g).map(Self::TokenExchange));
        }
        if let Some(g) = &spec.password {
            take(Ok(Self::Password(password::Password::new(g))));
        }
        if let Some(g) = &spec.extension {
            take(extension::Extension::parse(g).map(Self::Extension));
        }
        match (found.pop(), found.is_empty(), errors.is_empty()) {
            (Some(grant), true, true) => Ok(grant),
            (_, _, false) => Err(errors),
            _ => Err(vec![FieldError::new(
                "spec.grant",
                "needs exactly one key: clientCredentials, refreshToken, onBehalfOf, jwtBearer, tokenExchange, password or extension",
            )]),
        }
    }

    pub(super) fn flow(&self) -> &dyn Flow {
        match self {
            Self::ClientCredentials => &ClientCredentials,
            Self::RefreshToken(g) => g,
            Self::OnBehalfOf(g) => g,
            Self::JwtBearer(g) => g,
            Self::TokenExchange(g) => g,
            Self::Password(g) => g,
            Self::Extension(g) => g,
        }
    }

    /// The inputs to read before a request.
    pub fn needs(&self) -> Vec<RequiredInput> {
        self.flow().needs()
    }

    /// Values that identify the requested token, for its fingerprint; `grant_type` first.
    pub fn fingerprint_parts(&self) -> Vec<String> {
        let mut parts = vec![self.flow().grant_type().to_owned()];
        parts.extend(self.flow().fingerprint_parts());
        parts
    }

    /// Its key in `spec.grant`.
    pub const fn key(&self) -> GrantKey {
        match self {
            Self::ClientCredentials => GrantKey::ClientCredentials,
            Self::RefreshToken(_) => GrantKey::RefreshToken,
            Self::OnBehalfOf(_) => GrantKey::OnBehalfOf,
            Self::JwtBearer(_) => GrantKey::JwtBearer,
            Self::TokenExchange(_) => GrantKey::TokenExchange,
            Self::Password(_) => GrantKey::Password,
            Self::Extension(_) => GrantKey::Extension,
        }
    }

    /// The subjects that the spec names.
    pub fn subjects(&self) -> Vec<Subject> {
        self.flow().subjects()
    }

    /// Values of the spec that are sent in addition to secrets, by name.
    pub fn inputs(&self) -> Vec<(&'static str, String)> {
        self.flow().inputs()
    }

    /// True if the token is for a user.
    pub fn for_user(&self) -> bool {
        self.flow().for_user()
    }

    /// The user who can help, if the issuer requires one.
    pub fn user(&self) -> User {
        self.flow().user()
    }

    /// True if equal requests in flight may be sent as one.
    pub fn is_shareable(&self) -> bool {
        self.flow().is_shareable()
    }
}
