//! The request of a caller, and the identity that it selects.

use crate::config::{Config, ManagedIdentity};
use crate::form::{Form, Malformed};

/// A parsed request.
pub(super) struct IdentityRequest {
    query: Result<Form, Malformed>,
    /// The endpoint's parameter name for the resource ID of an identity.
    resource_id: &'static str,
}

/// Why a permitted caller gets no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    Malformed,
    NoVersion,
    UnknownVersion,
    NoResource,
    /// There is no such API.
    UnknownResource(String),
    /// None of the machine's identities has this id.
    UnknownIdentity,
    /// The machine has several identities, none of them its own, and the caller named none.
    SeveralIdentities,
    /// The caller named more than one.
    Contradiction,
}

impl IdentityRequest {
    pub(super) fn read(query: &str, resource_id: &'static str) -> Self {
        Self {
            query: Form::parse(query.as_bytes()),
            resource_id,
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.query.as_ref().ok()?.get(name)
    }

    /// The API to get a token for.
    pub(super) fn resource(&self) -> Option<&str> {
        self.get("resource")
    }

    /// The API to get a token for, if the request is well formed.
    pub(super) fn checked(&self, versions: &[&str]) -> Result<&str, Problem> {
        let form = self.query.as_ref().map_err(|_| Problem::Malformed)?;
        if form.duplicate(None).is_some() {
            return Err(Problem::Malformed);
        }
        let version = form.get("api-version").ok_or(Problem::NoVersion)?;
        if !versions.contains(&version) {
            return Err(Problem::UnknownVersion);
        }
        self.resource().ok_or(Problem::NoResource)
    }

    /// The parameters with which the caller selected, name and value.
    pub(super) fn choices(&self) -> impl Iterator<Item = (&'static str, &str)> {
        ["client_id", "object_id", self.resource_id]
            .into_iter()
            .filter_map(|name| Some((name, self.get(name)?)))
    }

    /// The identity that the caller selected, or the default one.
    pub(super) fn choose<'c>(&self, config: &'c Config) -> Result<&'c ManagedIdentity, Problem> {
        let mut choices = self.choices();
        let Some((name, value)) = choices.next() else {
            return default_of(config);
        };
        if choices.next().is_some() {
            return Err(Problem::Contradiction);
        }
        let is_it = |identity: &&ManagedIdentity| match name {
            "client_id" => identity.client_id.eq_ignore_ascii_case(value),
            "object_id" => identity.object_id().eq_ignore_ascii_case(value),
            _ => identity.resource_id.eq_ignore_ascii_case(value),
        };
        let found = config.managed_identities.iter().find(is_it);
        found.ok_or(Problem::UnknownIdentity)
    }
}

/// The machine's own identity, else the only one there is.
pub(super) fn default_of(config: &Config) -> Result<&ManagedIdentity, Problem> {
    let all = &config.managed_identities;
    match (all.iter().find(|i| i.system_assigned), all.as_slice()) {
        (Some(own), _) => Ok(own),
        (None, [only]) => Ok(only),
        (None, []) => Err(Problem::UnknownIdentity),
        (None, _) => Err(Problem::SeveralIdentities),
    }
}

impl Problem {
    /// `error` of the answer.
    pub(super) fn error(&self) -> &'static str {
        match self {
            Self::UnknownResource(_) => "invalid_resource",
            _ => "invalid_request",
        }
    }

    pub(super) fn text(&self) -> String {
        let text = match self {
            Self::Malformed => "The query is malformed",
            Self::NoVersion => "Required query variable 'api-version' is missing",
            Self::UnknownVersion => "The api-version is not supported",
            Self::NoResource => "Required query variable 'resource' is missing",
            Self::UnknownResource(name) => {
                return format!("AADSTS500011: The resource principal named {name} was not found.");
            }
            Self::UnknownIdentity => "Identity not found",
            Self::SeveralIdentities => {
                "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in \
                 the token request"
            }
            Self::Contradiction => "Name an identity in one way only",
        };
        text.to_owned()
    }
}
