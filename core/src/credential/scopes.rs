//! Compares scopes, resources and audiences with the rules of each issuer.
//!
//! A tolerance for one issuer never applies to another: by RFC 6749 section 3.3, scopes are case-sensitive and separated by blanks.

use super::{Endpoint, Issuer, Protocol};
use crate::oauth::{LEVELS, permission};

/// How an issuer writes scopes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dialect {
    /// Microsoft Entra ID: an API and a permission, without regard to case; Microsoft Graph's by the permission alone
    /// (learn.microsoft.com/entra/identity-platform/scopes-oidc).
    Entra,
    /// Google: `email` and `profile` have long names (developers.google.com/identity/protocols/oauth2/scopes).
    Google,
    /// GitHub: answers with commas, and names the widest scope alone
    /// (docs.github.com/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps).
    GitHub,
    /// Permissions of a GitHub App: a level includes the lower ones, and `metadata:read` comes with each permission
    /// (docs.github.com/apps/creating-github-apps/registering-a-github-app/choosing-permissions-for-a-github-app).
    GitHubApp,
    /// Slack: commas in requests and answers (api.slack.com/authentication/oauth-v2).
    Slack,
    /// By the RFC.
    Standard,
}

/// Microsoft Graph by its names.
const GRAPH: [&str; 5] = [
    "https://graph.microsoft.com",
    "https://graph.microsoft.us",
    "https://dod-graph.microsoft.us",
    "https://microsoftgraph.chinacloudapi.cn",
    "00000003-0000-0000-c000-000000000000",
];
/// Hosts of Entra ID, for issuers that are declared by a URL: the clouds, External ID and Azure AD B2C.
const MICROSOFT: [&str; 6] = [
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "login.partner.microsoftonline.cn",
    "login.windows.net",
    "ciamlogin.com",
    "b2clogin.com",
];
/// What is about the sign-in and not about an API (OpenID Connect Core sections 5.4 and 11).
const SIGN_IN: [&str; 4] = ["openid", "profile", "email", "offline_access"];
/// The long names of scopes at Google.
const LONG: [(&str, &str); 2] = [
    ("email", "https://www.googleapis.com/auth/userinfo.email"),
    (
        "profile",
        "https://www.googleapis.com/auth/userinfo.profile",
    ),
];
/// The permission that GitHub adds to every other one.
const IMPLIED: &str = "metadata:read";
/// Scopes of GitHub that others contain.
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
    /// The dialect of an issuer, by the protocol it is declared with and by the hosts that are known. GitHub Enterprise
    /// has hosts of its own and the same path.
    pub fn of(issuer: &Issuer) -> Self {
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
            _ if url.path() == "/login/oauth/access_token" => Self::GitHub,
            _ => Self::Standard,
        }
    }

    /// The single scopes of a text.
    fn split(self, text: &str) -> Vec<&str> {
        let commas = matches!(self, Self::GitHub | Self::Slack);
        let parts = text.split(|c: char| c.is_ascii_whitespace() || commas && c == ',');
        parts.filter(|s| !s.is_empty()).collect()
    }

    /// Is this asked for and rarely named in the answer, although it counts? A refresh token or an ID token shows it.
    fn is_silent(self, scope: &str) -> bool {
        match self {
            Self::GitHubApp => scope == IMPLIED,
            Self::Entra => SIGN_IN.iter().any(|s| s.eq_ignore_ascii_case(scope)),
            _ => ["openid", "offline_access"].contains(&scope),
        }
    }

    /// True if a granted scope contains the requested one.
    fn covers(self, granted: &str, asked: &str) -> bool {
        match self {
            Self::Entra => covers_at_entra(granted, asked),
            Self::Google => {
                let long = |scope: &str| {
                    let known = LONG.iter().find(|(short, _)| *short == scope);
                    known.map_or_else(|| scope.to_owned(), |(_, long)| (*long).to_owned())
                };
                long(granted) == long(asked)
            }
            Self::GitHub => granted == asked || contains_at_github(granted, asked),
            Self::GitHubApp => granted == asked || contains_permission(granted, asked),
            Self::Slack | Self::Standard => granted == asked,
        }
    }
}

/// `admin:org` contains `write:org`, which contains `read:org`; the others are in the table.
fn contains_at_github(granted: &str, asked: &str) -> bool {
    let listed = CONTAINED
        .iter()
        .any(|(wide, narrow)| *wide == granted && narrow.contains(&asked));
    let rank = |verb: &str| ["read", "write", "admin"].iter().position(|v| *v == verb);
    let wider = match (granted.split_once(':'), asked.split_once(':')) {
        (Some((wide, of)), Some((narrow, same))) if of == same => {
            matches!((rank(wide), rank(narrow)), (Some(w), Some(n)) if w > n)
        }
        _ => false,
    };
    listed || wider
}

/// Does a permission of a GitHub App include another one?
fn contains_permission(granted: &str, asked: &str) -> bool {
    let rank = |level: &str| LEVELS.iter().position(|l| *l == level);
    match (permission(granted), permission(asked)) {
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

/// Do both texts name one API of Entra ID? The slash at the end is part of an API's name, and `aud` has it, but both names
/// are one API; so are `api://GUID` and `GUID`.
pub(super) fn is_one_api(one: &str, other: &str) -> bool {
    let plain = |api: &str| {
        let api = api.strip_suffix('/').unwrap_or(api).to_ascii_lowercase();
        api.strip_prefix("api://").map(str::to_owned).unwrap_or(api)
    };
    let (one, other) = (plain(one), plain(other));
    one == other || GRAPH.contains(&one.as_str()) && GRAPH.contains(&other.as_str())
}

/// A name without an API is Microsoft Graph's, or of the one API that a token is for, so it fits every API.
fn covers_at_entra(granted: &str, asked: &str) -> bool {
    let ((granted_api, granted), (asked_api, asked)) = (at_entra(granted), at_entra(asked));
    let api = match (granted_api, asked_api) {
        (Some(one), Some(other)) => is_one_api(one, other),
        _ => true,
    };
    api && granted.eq_ignore_ascii_case(asked)
}

/// Scopes that were asked for and not granted, as far as the answer tells (RFC 6749 section 5.1: a scope that is not the
/// one asked for must be named). No text, or an empty one, tells nothing.
pub fn not_granted(issuer: &Issuer, asked: &[String], granted: Option<&str>) -> Vec<String> {
    let dialect = Dialect::of(issuer);
    let all: Vec<&str> = granted.map(|text| dialect.split(text)).unwrap_or_default();
    if all.is_empty() {
        return Vec::new();
    }
    let asked = asked.iter().flat_map(|entry| dialect.split(entry));
    let asked: Vec<&str> = asked.filter(|scope| !dialect.is_silent(scope)).collect();
    // By the RFC, a comma may be part of a scope. But many servers separate scopes by commas, and requested scopes
    // rarely contain one.
    let by_commas = !asked.iter().any(|scope| scope.contains(','));
    let granted = all
        .iter()
        .flat_map(|scope| scope.split(|c: char| by_commas && c == ','))
        .filter(|scope| !scope.is_empty());
    let granted: Vec<&str> = granted.collect();
    // `.default` means all permissions.
    let whatever = |scope: &str| {
        dialect == Dialect::Entra && at_entra(scope).1.eq_ignore_ascii_case(".default")
    };
    asked
        .into_iter()
        .filter(|scope| !whatever(scope) && !granted.iter().any(|g| dialect.covers(g, scope)))
        .map(str::to_owned)
        .collect()
}

/// Which of these scopes none of the held ones covers.
pub(crate) fn lacking(issuer: &Issuer, wanted: &[String], held: &[String]) -> Vec<String> {
    let dialect = Dialect::of(issuer);
    let has = |scope: &str| held.iter().any(|h| h == scope || dialect.covers(h, scope));
    let lacks = wanted.iter().filter(|scope| !has(scope));
    lacks.cloned().collect()
}

/// Does the issuer add this permission to a token by itself?
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
    /// As it is written.
    pub const fn text(self) -> &'a str {
        match self {
            Self::Scope(text) | Self::Resource(text) | Self::Audience(text) => text,
        }
    }
}

/// Does an entry of `allowedScopes` allow this? Letter by letter. A permission of a GitHub App allows the lower levels. At Entra ID without regard to case, and `<api>/.default`
/// (v2) and the resource `<api>` (v1) are one thing under two names, with and without a slash at the end.
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
            // A resource in the list.
            (None, Some(api)) => is_same_api(entry, &api),
            (_, None) => entry.eq_ignore_ascii_case(scope),
        },
        Wanted::Resource(resource) => is_same_api(entry_api.as_deref().unwrap_or(entry), resource),
        Wanted::Audience(_) => false,
    }
}

/// The same, without names that only happen to be known here: a list of an administrator is not widened by a guess.
fn is_same_api(one: &str, other: &str) -> bool {
    let bare = |api: &str| api.strip_suffix('/').unwrap_or(api).to_ascii_lowercase();
    bare(one) == bare(other)
}

/// APIs of Entra ID that scopes name, each once; a permission alone is Microsoft Graph's.
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
mod tests {
    use super::*;
    use crate::fixtures::{cluster_issuer, issuer};
    use serde_json::json;
    use url::Url;

    fn entra() -> Issuer {
        let spec = json!({ "entra": { "tenantId": "t.example" }, "allowedNamespaces": { "selector": {} } });
        Issuer::cluster(&cluster_issuer(&spec)).unwrap()
    }

    fn at(token_url: &str) -> Issuer {
        let mut issuer = issuer();
        issuer.endpoint = Endpoint::Fixed(Url::parse(token_url).unwrap());
        issuer
    }

    fn github_app() -> Issuer {
        let spec = json!({ "githubApp": { "installationId": 1 }, "allowedNamespaces": { "selector": {} } });
        Issuer::cluster(&cluster_issuer(&spec)).unwrap()
    }

    #[test]
    fn each_issuer_has_its_dialect_and_no_other_has_it() {
        #[rustfmt::skip]
        let cases = [
            ("https://oauth2.googleapis.com/token", Dialect::Google),
            ("https://oauth2.googleapis.com.evil.example/token", Dialect::Standard),
            ("https://slack.com/api/oauth.v2.access", Dialect::Slack),
            ("https://acme.slack.com/api/oauth.v2.access", Dialect::Slack),
            ("https://notslack.com/api/oauth.v2.access", Dialect::Standard),
            ("https://github.com/login/oauth/access_token", Dialect::GitHub),
            ("https://git.acme.example/login/oauth/access_token", Dialect::GitHub),
            ("https://git.acme.example/oauth/token", Dialect::Standard),
            ("https://login.microsoftonline.com/t/oauth2/v2.0/token", Dialect::Entra),
            ("https://contoso.b2clogin.com/t/p/oauth2/v2.0/token", Dialect::Entra),
            ("https://login.microsoftonline.com.evil.example/token", Dialect::Standard),
        ];
        for (url, dialect) in cases {
            assert_eq!(Dialect::of(&at(url)), dialect, "{url}");
        }
        assert_eq!(Dialect::of(&entra()), Dialect::Entra);
        // By the protocol and not by the path.
        assert_eq!(Dialect::of(&github_app()), Dialect::GitHubApp);
        let path = "https://api.github.com/app/installations/1/access_tokens";
        assert_eq!(Dialect::of(&at(path)), Dialect::Standard);
    }

    #[test]
    fn granted_scopes_are_compared_as_the_issuer_writes_them() {
        const GITHUB: &str = "https://github.com/login/oauth/access_token";
        const GOOGLE: &str = "https://oauth2.googleapis.com/token";
        const SLACK: &str = "https://slack.com/api/oauth.v2.access";
        const OTHER: &str = "https://as.example.com/token";
        const GITHUB_APP: &str = "https://api.github.com/app/installations/1/access_tokens";
        /// Token URL (none: Entra ID), asked, granted, lacking.
        type Case = (
            &'static str,
            &'static [&'static str],
            Option<&'static str>,
            &'static [&'static str],
        );
        #[rustfmt::skip]
        let cases: &[Case] = &[
            // Nothing is told.
            (OTHER, &["read"], None, &[]),
            (OTHER, &["read"], Some(""), &[]),
            (OTHER, &["read"], Some("  "), &[]),
            (OTHER, &["read", "write"], Some("write read admin"), &[]),
            (OTHER, &["read", "write"], Some("read"), &["write"]),
            (OTHER, &["read write"], Some("read"), &["write"]),
            (OTHER, &["read", "write"], Some("read\twrite"), &[]),
            (OTHER, &["read", "write"], Some("read,write"), &[]),
            (OTHER, &["a,b"], Some("a,b"), &[]),
            (OTHER, &["a,b"], Some("a b"), &["a,b"]),
            // Case and the name of an API count at all but Entra ID.
            (OTHER, &["Read"], Some("read"), &["Read"]),
            (OTHER, &["https://api.example.com/read"], Some("read"), &["https://api.example.com/read"]),
            (OTHER, &["api/read"], Some("other/read"), &["api/read"]),
            (OTHER, &["https://api.example.com/.default"], Some("read"), &["https://api.example.com/.default"]),
            (OTHER, &["openid", "offline_access", "read"], Some("read"), &[]),
            (OTHER, &["email", "profile", "read"], Some("read"), &["email", "profile"]),
            (OTHER, &["email"], Some("https://www.googleapis.com/auth/userinfo.email"), &["email"]),
            (OTHER, &["user:email"], Some("user"), &["user:email"]),
            ("", &["User.Read"], Some("user.read"), &[]),
            ("", &["https://graph.microsoft.com/User.Read"], Some("User.Read openid profile email"), &[]),
            ("", &["User.Read", "Mail.Read"], Some("https://graph.microsoft.com/User.Read"), &["Mail.Read"]),
            ("", &["https://graph.microsoft.com/.default"], Some("User.Read"), &[]),
            ("", &["https://database.windows.net//.default"], Some("https://database.windows.net//user_impersonation"), &[]),
            ("", &["https://database.windows.net/user_impersonation"], Some("https://database.windows.net//user_impersonation"), &[]),
            ("", &["api://one/Read"], Some("api://two/Read"), &["api://one/Read"]),
            ("", &["api://11111111-2222-4333-8444-555555555555/Read"], Some("11111111-2222-4333-8444-555555555555/Read"), &[]),
            ("", &["00000003-0000-0000-c000-000000000000/User.Read"], Some("https://graph.microsoft.com/User.Read"), &[]),
            ("", &["openid", "profile", "email", "offline_access", "User.Read"], Some("User.Read"), &[]),
            ("", &["https://vault.azure.net/user_impersonation", "User.Read"], Some("https://vault.azure.net/user_impersonation"), &["User.Read"]),
            (GOOGLE, &["openid", "email", "profile"], Some("https://www.googleapis.com/auth/userinfo.profile openid https://www.googleapis.com/auth/userinfo.email"), &[]),
            (GOOGLE, &["https://www.googleapis.com/auth/userinfo.email"], Some("email"), &[]),
            (GOOGLE, &["https://www.googleapis.com/auth/drive", "email"], Some("email"), &["https://www.googleapis.com/auth/drive"]),
            (GOOGLE, &["https://www.googleapis.com/auth/Drive"], Some("https://www.googleapis.com/auth/drive"), &["https://www.googleapis.com/auth/Drive"]),
            (GITHUB, &["repo", "gist"], Some("repo,gist"), &[]),
            (GITHUB, &["repo gist"], Some("repo"), &["gist"]),
            (GITHUB, &["user", "user:email", "public_repo"], Some("repo,user"), &[]),
            (GITHUB, &["read:org", "write:org"], Some("admin:org"), &[]),
            (GITHUB, &["admin:org"], Some("read:org"), &["admin:org"]),
            (GITHUB, &["read:org"], Some("admin:repo_hook"), &["read:org"]),
            (GITHUB, &["Repo"], Some("repo"), &["Repo"]),
            (SLACK, &["chat:write", "channels:read"], Some("channels:read,chat:write"), &[]),
            (SLACK, &["chat:write,channels:read"], Some("chat:write"), &["channels:read"]),
            (SLACK, &["channels:read"], Some("channels"), &["channels:read"]),
            (GITHUB_APP, &["contents:read"], Some("contents:write metadata:read"), &[]),
            (GITHUB_APP, &["contents:write"], Some("contents:admin"), &[]),
            (GITHUB_APP, &["contents:write"], Some("contents:read"), &["contents:write"]),
            (GITHUB_APP, &["contents:read"], Some("issues:write"), &["contents:read"]),
            (GITHUB_APP, &["contents:read", "metadata:read"], Some("contents:read"), &[]),
            (GITHUB_APP, &["metadata:write"], Some("metadata:read"), &["metadata:write"]),
            (OTHER, &["contents:read"], Some("contents:write"), &["contents:read"]),
            (OTHER, &["metadata:read"], Some("contents:read"), &["metadata:read"]),
        ];
        for (token_url, asked, granted, lacking) in cases {
            let issuer = match *token_url {
                "" => entra(),
                GITHUB_APP => github_app(),
                _ => at(token_url),
            };
            let asked: Vec<String> = asked.iter().map(|s| (*s).to_owned()).collect();
            assert_eq!(
                not_granted(&issuer, &asked, *granted),
                *lacking,
                "{token_url} {asked:?} {granted:?}"
            );
        }
    }

    #[test]
    fn a_list_of_allowed_scopes_means_what_its_issuer_means() {
        use Dialect::{Entra, GitHubApp, Standard};
        use Wanted::{Audience, Resource, Scope};
        #[rustfmt::skip]
        let cases = [
            (Standard, "read", Scope("read"), true),
            (Standard, "read", Scope("Read"), false),
            (Standard, "https://a", Resource("https://a"), true),
            (Standard, "https://a", Resource("https://a/"), false),
            (Standard, "https://a", Audience("https://a"), true),
            // What is one thing at Entra ID is not elsewhere.
            (Standard, "https://a/.default", Resource("https://a"), false),
            (Standard, "https://a/.default", Audience("https://a"), false),
            (Standard, "https://a", Scope("https://a/.default"), false),
            (Entra, "https://a/.default", Scope("https://a/.default"), true),
            (Entra, "https://a/.default", Scope("https://A/.Default"), true),
            (Entra, "https://a/.default", Resource("https://a"), true),
            (Entra, "https://a/.default", Resource("https://a/"), true),
            (Entra, "https://database.windows.net//.default", Resource("https://database.windows.net/"), true),
            (Entra, "https://database.windows.net//.default", Resource("https://database.windows.net"), true),
            (Entra, "https://database.windows.net//.default", Scope("https://database.windows.net/.default"), true),
            (Entra, "https://database.windows.net/", Scope("https://database.windows.net//.default"), true),
            (Entra, "https://database.windows.net/", Resource("https://database.windows.net"), true),
            (Entra, "https://database.windows.net///.default", Resource("https://database.windows.net"), false),
            (Entra, "https://a/.default", Scope("https://b/.default"), false),
            (Entra, "https://a/.default", Resource("https://a.evil.example"), false),
            (Entra, "https://a/.default", Scope("https://a/User.Read"), false),
            (Entra, "https://a/User.Read", Scope("https://a/user.read"), true),
            (Entra, "https://a/User.Read", Scope("User.Read"), false),
            (Entra, "https://a/User.Read", Resource("https://a"), false),
            (Entra, "https://a/User.Read", Scope("https://a/.default"), false),
            // An administrator's list is not widened by names that are known here.
            (Entra, "00000003-0000-0000-c000-000000000000/.default", Resource("https://graph.microsoft.com"), false),
            (Entra, "api://x/.default", Scope("x/.default"), false),
            (GitHubApp, "contents:write", Scope("contents:read"), true),
            (GitHubApp, "contents:admin", Scope("contents:read"), true),
            (GitHubApp, "contents:read", Scope("contents:write"), false),
            (GitHubApp, "content:write", Scope("contents:read"), false),
            (GitHubApp, "contents:write", Scope("metadata:read"), false),
            (GitHubApp, "contents:write", Resource("contents:read"), false),
            (GitHubApp, "app", Resource("app"), true),
            (GitHubApp, "app", Resource("app2"), false),
            (Standard, "contents:write", Scope("contents:read"), false),
        ];
        for (dialect, entry, wanted, allowed) in cases {
            assert_eq!(
                allows(dialect, entry, wanted),
                allowed,
                "{entry} {wanted:?}"
            );
        }
    }

    #[test]
    fn the_apis_of_a_request_are_counted_once() {
        #[rustfmt::skip]
        let cases: &[(&[&str], usize)] = &[
            (&["User.Read", "Mail.Read", "openid", "offline_access"], 1),
            (&["https://graph.microsoft.com/User.Read", "Mail.Read"], 1),
            (&["00000003-0000-0000-c000-000000000000/User.Read", "https://Graph.microsoft.com/Mail.Read"], 1),
            (&["User.Read", "https://vault.azure.net/user_impersonation"], 2),
            (&["api://a/Read", "api://b/Read"], 2),
            (&["https://database.windows.net//a", "https://database.windows.net/b"], 1),
            (&["openid"], 0),
        ];
        for (scopes, count) in cases {
            let scopes: Vec<String> = scopes.iter().map(|s| (*s).to_owned()).collect();
            assert_eq!(apis_at_entra(&scopes).len(), *count, "{scopes:?}");
        }
    }
}
