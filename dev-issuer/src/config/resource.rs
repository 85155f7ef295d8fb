//! The APIs that tokens are for.

use serde::Deserialize;

use super::Secret;

/// An API that tokens are for.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resource {
    /// Its name in `/api/{name}/…` and in the roles of clients.
    pub name: String,
    /// Its application id, a GUID: the audience of v2 tokens.
    pub app_id: String,
    /// Its App ID URIs.
    #[serde(default)]
    pub uris: Vec<String>,
    /// `accessTokenAcceptedVersion`: it determines the form of the token; the endpoint does not.
    #[serde(default = "Resource::version_if_unset")]
    pub access_token_accepted_version: u8,
    /// The application roles it defines.
    #[serde(default)]
    pub roles: Vec<String>,
    /// The delegated permissions it defines.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The routes that it serves.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Keys that it accepts as `Authorization: Token <key>`, in addition to tokens.
    #[serde(default)]
    pub static_keys: Vec<Secret>,
}

/// One part of a protected API.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// Path below `/api/{name}`; everything below it belongs to it.
    pub path: String,
    /// The token must have one of these, as role or as delegated permission; if empty, any valid token is accepted.
    #[serde(default)]
    pub roles: Vec<String>,
}

impl Resource {
    /// Entra reads an unset `accessTokenAcceptedVersion` as 1.
    fn version_if_unset() -> u8 {
        1
    }

    /// Whether a scope or `resource` value refers to this API: by its application ID or an App ID URI. URIs may
    /// have a trailing slash, which is then also in `aud` of a v1 token.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.app_id.eq_ignore_ascii_case(name)
            || self
                .uris
                .iter()
                .any(|uri| uri == name || name.strip_suffix('/') == Some(uri))
    }

    /// All `aud` values that this API accepts.
    pub(crate) fn audiences(&self) -> Vec<String> {
        let uris = self.uris.iter().flat_map(|u| [u.clone(), format!("{u}/")]);
        std::iter::once(self.app_id.clone()).chain(uris).collect()
    }

    /// The route that serves a path: the longest one that contains it.
    pub(crate) fn route_for(&self, path: &str) -> Option<&Route> {
        let path = path.trim_matches('/');
        self.routes
            .iter()
            .filter(|route| {
                let prefix = route.path.trim_matches('/');
                let rest = path.strip_prefix(prefix);
                rest.is_some_and(|r| prefix.is_empty() || r.is_empty() || r.starts_with('/'))
            })
            .max_by_key(|route| route.path.len())
    }
}
