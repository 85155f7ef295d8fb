use super::*;
use crate::fixtures::{cluster_issuer, issuer};
use serde_json::json;
use url::Url;

fn entra() -> Issuer {
    let spec =
        json!({ "entra": { "tenantId": "t.example" }, "allowedNamespaces": { "selector": {} } });
    Issuer::cluster(&cluster_issuer(&spec)).unwrap()
}

fn at(token_url: &str) -> Issuer {
    let mut issuer = issuer();
    issuer.endpoint = Endpoint::Fixed(Url::parse(token_url).unwrap());
    issuer
}

fn github_app() -> Issuer {
    let spec =
        json!({ "githubApp": { "installationId": 1 }, "allowedNamespaces": { "selector": {} } });
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
        ("https://login.microsoftonline.us/t/oauth2/v2.0/token", Dialect::Entra),
        ("https://login.chinacloudapi.cn/t/oauth2/token", Dialect::Entra),
        ("https://contoso.b2clogin.cn/t/p/oauth2/v2.0/token", Dialect::Entra),
        ("https://contoso.ciamlogin.com/t/oauth2/v2.0/token", Dialect::Entra),
        // A domain of the customer in front of Azure AD B2C.
        ("https://login.acme.example/t/p/oauth2/v2.0/token", Dialect::Entra),
        ("https://login.acme.example/oauth2/v1/token", Dialect::Standard),
    ];
    for (url, dialect) in cases {
        assert_eq!(Dialect::of(&at(url)), dialect, "{url}");
    }
    assert_eq!(Dialect::of(&entra()), Dialect::Entra);
    // From the protocol and not from the path.
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
    /// Token URL (None: Entra ID), requested, granted, lacking.
    type Case = (
        &'static str,
        &'static [&'static str],
        Option<&'static str>,
        &'static [&'static str],
    );
    #[rustfmt::skip]
    let cases: &[Case] = &[
        // Nothing is reported.
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
        // Case and the name of an API are ignored only at Entra ID.
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
    for (token_url, requested, granted, lacking) in cases {
        let issuer = match *token_url {
            "" => entra(),
            GITHUB_APP => github_app(),
            _ => at(token_url),
        };
        let requested: Vec<String> = requested.iter().map(|s| (*s).to_owned()).collect();
        assert_eq!(
            not_granted(&issuer, &requested, *granted),
            *lacking,
            "{token_url} {requested:?} {granted:?}"
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
        // Names that are equal at Entra ID are different elsewhere.
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
        // The aliases that apicred knows do not widen an administrator's list.
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
