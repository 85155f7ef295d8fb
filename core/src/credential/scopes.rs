//! Compares scopes, resources and audiences with the rules of each issuer.
//!
//! A tolerance for one issuer never applies to another: according to RFC 6749 section 3.3, scopes are case-sensitive and separated by blanks.

use super::{Endpoint, Issuer, Protocol};
use crate::oauth::{LEVELS, permission};

/// How an issuer writes scopes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dialect {
    /// Microsoft Entra ID: an API and a permission, not case-sensitive. Permissions of Microsoft Graph may be written without the API
    /// (learn.microsoft.com/entra/identity-platform/scopes-oidc).
    Entra,
    /// Google: `email` and `profile` have long names (developers.google.com/identity/protocols/oauth2/scopes).
    Google,
    /// GitHub: answers with commas, and returns only the widest scope
    /// (docs.github.com/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps).
    GitHub,
    /// Permissions of a GitHub App: a level includes the lower ones, and `metadata:read` is added to each permission
    /// (docs.github.com/apps/creating-github-apps/registering-a-github-app/choosing-permissions-for-a-github-app).
    GitHubApp,
    /// Slack: commas in requests and answers (api.slack.com/authentication/oauth-v2).
    Slack,
    /// According to the RFC.
    Standard,
}

/// The names of Microsoft Graph.
const GRAPH: [&str; 5] = [
    "https://graph.microsoft.com",
    "https://graph.microsoft.us",
    "https://dod-graph.microsoft.us",
    "https://microsoftgraph.chinacloudapi.cn",
    "00000003-0000-0000-c000-000000000000",
];
/// Hosts of Entra ID, for issuers that are declared by a URL: the clouds, External ID and Azure AD B2C. Microsoft's libraries know the same
/// ones (`WELL_KNOWN_AUTHORITY_HOSTS` and `WELL_KNOWN_B2C_HOSTS` of MSAL for Python).
const MICROSOFT: [&str; 12] = [
    "login.microsoftonline.com",
    "login.microsoft.com",
    "login.windows.net",
    "sts.windows.net",
    "login.microsoftonline.us",
    "login.partner.microsoftonline.cn",
    "login.chinacloudapi.cn",
    "ciamlogin.com",
    "b2clogin.com",
    "b2clogin.cn",
    "b2clogin.us",
    "b2clogin.de",
];
/// The end of their token URLs. In front of Azure AD B2C and External ID, customers have their own domains
/// (learn.microsoft.com/azure/active-directory-b2c/custom-domain).
const MICROSOFT_PATH: &str = "/oauth2/v2.0/token";
/// Scopes for the sign-in and not for an API (OpenID Connect Core sections 5.4 and 11).
const SIGN_IN: [&str; 4] = ["openid", "profile", "email", "offline_access"];
/// The long names of scopes at Google.
const LONG: [(&str, &str); 2] = [
    ("email", "https://www.googleapis.com/auth/userinfo.email"),
    (
        "profile",
        "https://www.googleapis.com/auth/userinfo.profile",
    ),
];
/// The permission that GitHub adds to each token of a GitHub App.
const IMPLIED: &str = "metadata:read";
/// Scopes of GitHub that include others.
const CONTAINED: [(&str, &[&str]); 4] = [
    (
        "repo",
        &[
            "repo:status",
            "repo_deployment",
            "public_repo",
            "repo:invite",
            "security_events",
        ],
    ),
    ("user", &["read:user", "user:email", "user:follow"]),
    ("project", &["read:project"]),
    ("write:packages", &["read:packages"]),
];

impl Dialect {
    /// The dialect of an issuer, to read its answers. GitHub Enterprise and custom domains of Azure AD B2C have other hosts and the same path.
    pub fn of(issuer: &Issuer) -> Self {
        let (Endpoint::Fixed(url) | Endpoint::Discover(url)) = &issuer.endpoint else {
            return Self::of_host(issuer);
        };
        match Self::of_host(issuer) {
            Self::Standard if url.path() == "/login/oauth/access_token" => Self::GitHub,
            Self::Standard if url.path().ends_with(MICROSOFT_PATH) => Self::Entra,
            known => known,
        }
    }

    /// The dialect of an issuer, from its declared protocol and from known hosts. A server with an unknown host may compare scopes in another
    /// way than its path suggests, so only this is used for what an administrator allows.
    pub fn of_host(issuer: &Issuer) -> Self {
        if issuer.protocol == Protocol::GitHubApp {
            return Self::GitHubApp;
        }
        let url = match &issuer.endpoint {
            Endpoint::Entra { .. } => return Self::Entra,
            Endpoint::Nowhere => return Self::Standard,
            Endpoint::Fixed(url) | Endpoint::Discover(url) => url,
        };
        let below = |host: &str, domain: &str| {
            host.strip_suffix(domain)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        match url.host_str().unwrap_or_default() {
            host if MICROSOFT.iter().any(|domain| below(host, domain)) => Self::Entra,
            "oauth2.googleapis.com" | "accounts.google.com" | "www.googleapis.com" => Self::Google,
            host if below(host, "slack.com") => Self::Slack,
            "github.com" => Self::GitHub,
            _ => Self::Standard,
        }
    }

    /// Splits a text into single scopes.
    fn split(self, text: &str) -> Vec<&str> {
        let commas = matches!(self, Self::GitHub | Self::Slack);
        let parts = text.split(|c: char| c.is_ascii_whitespace() || commas && c == ',');
        parts.filter(|s| !s.is_empty()).collect()
    }

    /// Whether this scope may be granted although the answer does not list it. A refresh token or an ID token in the answer then shows that it was granted.
    fn is_silent(self, scope: &str) -> bool {
        match self {
            Self::GitHubApp => scope == IMPLIED,
            Self::Entra => SIGN_IN.iter().any(|s| s.eq_ignore_ascii_case(scope)),
            _ => ["openid", "offline_access"].contains(&scope),
        }
    }

    /// Returns true if a granted scope includes the requested one.
    fn covers(self, granted: &str, wanted: &str) -> bool {
        match self {
            Self::Entra => covers_at_entra(granted, wanted),
            Self::Google => {
                let long = |scope: &str| {
                    let known = LONG.iter().find(|(short, _)| *short == scope);
                    known.map_or_else(|| scope.to_owned(), |(_, long)| (*long).to_owned())
                };
                long(granted) == long(wanted)
            }
            Self::GitHub => granted == wanted || contains_at_github(granted, wanted),
            Self::GitHubApp => granted == wanted || contains_permission(granted, wanted),
            Self::Slack | Self::Standard => granted == wanted,
        }
    }
}

/// Scopes of GitHub: `admin:org` includes `write:org`, which includes `read:org`. Other inclusions are in [`CONTAINED`].
fn contains_at_github(granted: &str, wanted: &str) -> bool {
    let listed = CONTAINED
        .iter()
        .any(|(wide, narrow)| *wide == granted && narrow.contains(&wanted));
    let rank = |verb: &str| ["read", "write", "admin"].iter().position(|v| *v == verb);
    let wider = match (granted.split_once(':'), wanted.split_once(':')) {
        (Some((wide, of)), Some((narrow, same))) if of == same => {
            matches!((rank(wide), rank(narrow)), (Some(w), Some(n)) if w > n)
        }
        _ => false,
    };
    listed || wider
}

/// Whether a permission of a GitHub App includes another one.
fn contains_permission(granted: &str, wanted: &str) -> bool {
    let rank = |level: &str| LEVELS.iter().position(|l| *l == level);
    match (permission(granted), permission(wanted)) {
        (Some((one, wide)), Some((other, narrow))) => one == other && rank(wide) >= rank(narrow),
        _ => false,
    }
}

/// A scope of Entra ID: its API, if it names one, and the permission.
pub(super) fn at_entra(scope: &str) -> (Option<&str>, &str) {
    match scope.rsplit_once('/') {
        // `api://GUID` alone is an API without a permission.
        Some((api, permission)) if !api.ends_with(':') && !api.ends_with(":/") => {
            (Some(api), permission)
        }
        _ => (None, scope),
    }
}

/// Whether both texts name the same API of Entra ID. A trailing slash is part of an API's name, and `aud` contains it, but both names mean one
/// API; so do `api://GUID` and `GUID`.
pub(super) fn is_one_api(one: &str, other: &str) -> bool {
    let plain = |api: &str| {
        let api = api.strip_suffix('/').unwrap_or(api).to_ascii_lowercase();
        api.strip_prefix("api://").map(str::to_owned).unwrap_or(api)
    };
    let (one, other) = (plain(one), plain(other));
    one == other || GRAPH.contains(&one.as_str()) && GRAPH.contains(&other.as_str())
}

/// A permission without an API belongs to Microsoft Graph, or to the one API that a token is for, so it matches every API.
fn covers_at_entra(granted: &str, wanted: &str) -> bool {
    let ((granted_api, granted), (wanted_api, wanted)) = (at_entra(granted), at_entra(wanted));
    let api = match (granted_api, wanted_api) {
        (Some(one), Some(other)) => is_one_api(one, other),
        _ => true,
    };
    api && granted.eq_ignore_ascii_case(wanted)
}

/// Scopes that were requested and not granted, as far as the answer shows it (RFC 6749 section 5.1: the answer must contain the scope if it
/// differs from the request). Without a text, or with an empty one, the result is empty.
pub fn not_granted(issuer: &Issuer, wanted: &[String], granted: Option<&str>) -> Vec<String> {
    let dialect = Dialect::of(issuer);
    let all: Vec<&str> = granted.map(|text| dialect.split(text)).unwrap_or_default();
    if all.is_empty() {
        return Vec::new();
    }
    let wanted = wanted.iter().flat_map(|entry| dialect.split(entry));
    let wanted: Vec<&str> = wanted.filter(|scope| !dialect.is_silent(scope)).collect();
    // According to the RFC, a comma may be part of a scope. But many servers separate scopes by commas, and requested scopes rarely contain
    // one.
    let by_commas = !wanted.iter().any(|scope| scope.contains(','));
    let granted = all
        .iter()
        .flat_map(|scope| scope.split(|c: char| by_commas && c == ','))
        .filter(|scope| !scope.is_empty());
    let granted: Vec<&str> = granted.collect();
    // `<api>/.default` requests all permissions, so no single scope of the answer must match it.
    let whatever = |scope: &str| {
        dialect == Dialect::Entra && at_entra(scope).1.eq_ignore_ascii_case(".default")
    };
    wanted
        .into_iter()
        .filter(|scope| !whatever(scope) && !granted.iter().any(|g| dialect.covers(g, scope)))
        .map(str::to_owned)
        .collect()
}

/// The wanted scopes that no scope in `held` includes.
pub(crate) fn lacking(issuer: &Issuer, wanted: &[String], held: &[String]) -> Vec<String> {
    let dialect = Dialect::of(issuer);
    let has = |scope: &str| held.iter().any(|h| h == scope || dialect.covers(h, scope));
    let lacks = wanted.iter().filter(|scope| !has(scope));
    lacks.cloned().collect()
}

/// Whether the issuer adds this permission to a token although it was not requested.
pub(crate) fn is_implied(issuer: &Issuer, scope: &str) -> bool {
    Dialect::of(issuer) == Dialect::GitHubApp && scope == IMPLIED
}

/// What a credential requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wanted<'a> {
    /// `scope`.
    Scope(&'a str),
    /// `resource`.
    Resource(&'a str),
    /// `audience`.
    Audience(&'a str),
}

impl<'a> Wanted<'a> {
    /// The text in the spec.
    pub const fn text(self) -> &'a str {
        match self {
            Self::Scope(text) | Self::Resource(text) | Self::Audience(text) => text,
        }
    }
}

/// Whether an entry of `allowedScopes` allows this. The texts must be identical, with two exceptions. A permission of a GitHub App allows the
/// lower levels. At Entra ID texts are not case-sensitive, and `<api>/.default` (v2) and the resource `<api>` (v1) are two names of the same
/// API, with and without a trailing slash.
pub fn allows(dialect: Dialect, entry: &str, wanted: Wanted<'_>) -> bool {
    if entry == wanted.text() {
        return true;
    }
    match (dialect, wanted) {
        (Dialect::Entra, _) => {}
        (Dialect::GitHubApp, Wanted::Scope(scope)) => return contains_permission(entry, scope),
        _ => return false,
    }
    let whole = |scope: &str| -> Option<String> {
        let (api, permission) = at_entra(scope);
        api.filter(|_| permission.eq_ignore_ascii_case(".default"))
            .map(str::to_owned)
    };
    let entry_api = whole(entry);
    match wanted {
        Wanted::Scope(scope) => match (entry_api, whole(scope)) {
            (Some(allowed), Some(api)) => is_same_api(&allowed, &api),
            // The entry is a resource (v1), the credential requests `<api>/.default` (v2).
            (None, Some(api)) => is_same_api(entry, &api),
            (_, None) => entry.eq_ignore_ascii_case(scope),
        },
        Wanted::Resource(resource) => is_same_api(entry_api.as_deref().unwrap_or(entry), resource),
        Wanted::Audience(_) => false,
    }
}

/// Like [`is_one_api`], but without aliases (`api://GUID` and `GUID`, the names of Microsoft Graph): an alias must not widen an administrator's list.
fn is_same_api(one: &str, other: &str) -> bool {
    let bare = |api: &str| api.strip_suffix('/').unwrap_or(api).to_ascii_lowercase();
    bare(one) == bare(other)
}

/// APIs of Entra ID that scopes name, each once. A permission without an API belongs to Microsoft Graph.
pub(super) fn apis_at_entra(scopes: &[String]) -> Vec<String> {
    let mut apis: Vec<String> = Vec::new();
    let about_api = |s: &&String| !SIGN_IN.iter().any(|n| n.eq_ignore_ascii_case(s));
    for scope in scopes.iter().filter(about_api) {
        let api = at_entra(scope).0.unwrap_or(GRAPH[0]);
        if !apis.iter().any(|known| is_one_api(known, api)) {
            apis.push(api.to_owned());
        }
    }
    apis
}

#[cfg(test)]
mod tests;
