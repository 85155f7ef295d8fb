mod body;
mod failures;
mod methods;
mod unused;

use crate::Reason;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use url::Url;

use crate::{
    api::{SecretAlgorithm, SigningAlgorithm},
    credential::{Issuer, OptionalEndpoints, SecretStyle},
    fixtures::{cluster_issuer, token_issuer},
    input::NotObject,
    oauth::{
        Class, Stage, TokenEndpoint, TokenError,
        discovery::{
            Redirect, Seen, Unusable, addresses, completed, conclude, disproves, is_silence, read,
            redirected,
        },
    },
};

const ISSUER: &str = "https://i.example.com/realm";

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

fn document(change: &Value) -> Vec<u8> {
    let mut whole = json!({ "issuer": ISSUER, "token_endpoint": "https://t.example.com/token/" });
    crate::fixtures::merge(&mut whole, change);
    whole.to_string().into_bytes()
}

fn of(change: &Value, style: Option<SecretStyle>) -> Result<TokenEndpoint, TokenError> {
    read_as(ISSUER, &document(change), style)
}

/// The same with the error that a user sees.
fn read_as(
    issuer: &str,
    body: &[u8],
    style: Option<SecretStyle>,
) -> Result<TokenEndpoint, TokenError> {
    let place = addresses(&url(ISSUER)).remove(0);
    read(issuer, body, style).map_err(|why| conclude(issuer, &[(place, Seen::Unusable(why))]))
}

#[test]
fn every_well_known_url_is_requested_in_order_and_once() {
    let cases = [
        (
            "https://i",
            &[
                "/.well-known/openid-configuration",
                "/.well-known/oauth-authorization-server",
            ][..],
        ),
        (
            "https://i:8443/",
            &[
                ":8443/.well-known/openid-configuration",
                ":8443/.well-known/oauth-authorization-server",
            ],
        ),
        (
            "https://i/a/b",
            &[
                "/a/b/.well-known/openid-configuration",
                "/.well-known/oauth-authorization-server/a/b",
                "/a/b/.well-known/oauth-authorization-server",
                "/.well-known/openid-configuration/a/b",
            ],
        ),
        (
            "https://i/a/",
            &[
                "/a/.well-known/openid-configuration",
                "/.well-known/oauth-authorization-server/a",
                "/a/.well-known/oauth-authorization-server",
                "/.well-known/openid-configuration/a",
            ],
        ),
        (
            "https://i/a%20b%2Fc",
            &[
                "/a%20b%2Fc/.well-known/openid-configuration",
                "/.well-known/oauth-authorization-server/a%20b%2Fc",
                "/a%20b%2Fc/.well-known/oauth-authorization-server",
                "/.well-known/openid-configuration/a%20b%2Fc",
            ],
        ),
    ];
    for (issuer, paths) in cases {
        let addresses_read: Vec<String> =
            addresses(&url(issuer)).iter().map(Url::to_string).collect();
        let expected: Vec<String> = paths.iter().map(|p| format!("https://i{p}")).collect();
        assert_eq!(addresses_read, expected, "{issuer}");
    }
}

#[test]
fn a_redirect_is_followed_within_its_origin_alone() {
    let from = url("https://i.example.com/a/.well-known/openid-configuration");
    let here = |path: &str| Redirect::Here(url(&format!("https://i.example.com{path}")));
    let away = |origin: &str| Redirect::Away(Some(origin.to_owned()));
    #[rustfmt::skip]
    let cases = [
        (Some("/b"), here("/b")),
        (Some("?x=1"), here("/a/.well-known/openid-configuration?x=1")),
        (Some("https://i.example.com:443/b#f"), here("/b")),
        (Some("https://u:p@i.example.com/b"), here("/b")),
        (Some("https://www.i.example.com/b?secret=1"), away("https://www.i.example.com")),
        (Some("https://i.example.com:8443/b"), away("https://i.example.com:8443")),
        (Some("http://i.example.com/b"), away("http://i.example.com")),
        (Some("//169.254.169.254/x"), away("https://169.254.169.254")),
        (Some("https://ex\u{e4}mple.com/"), away("https://xn--exmple-cua.com")),
        (Some("javascript:alert(1)"), Redirect::Away(None)),
        (Some("data:,x"), Redirect::Away(None)),
        (Some("https://"), Redirect::Away(None)),
        (None, Redirect::Away(None)),
    ];
    for (location, leads) in cases {
        assert_eq!(redirected(&from, location), leads, "{location:?}");
    }
}

#[test]
fn the_token_endpoint_is_used_exactly_as_published() {
    let found = of(&json!({}), None).unwrap();
    assert_eq!(
        found,
        TokenEndpoint {
            issuer: Some("https://i.example.com/realm".to_owned()),
            ..TokenEndpoint::bare(url("https://t.example.com/token/"), SecretStyle::BasicForm)
        }
    );
}

#[test]
fn the_places_of_a_sign_in_are_read_as_far_as_they_can_be_used() {
    let found = of(
        &json!({
            "authorization_endpoint": "https://i.example.com/authorize",
            "device_authorization_endpoint": "http://i.example.com/device",
            "scopes_supported": ["openid", 7, "read", "offline_access"],
        }),
        None,
    )
    .unwrap();
    assert_eq!(
        found.authorization,
        Some(url("https://i.example.com/authorize"))
    );
    assert_eq!(found.device, None);
    // Only the scopes that apicred would request.
    let scopes = ["openid", "offline_access"].map(str::to_owned).to_vec();
    assert_eq!(found.scopes, Some(scopes));
}

#[test]
fn what_is_stored_of_a_document_is_little_however_large_it_is() {
    let scopes: Vec<String> = (0..4000).map(|n| format!("scope-{n}")).collect();
    let long = format!("https://i.example.com/{}", "x".repeat(3000));
    let found = of(
        &json!({ "scopes_supported": scopes, "revocation_endpoint": long, "device_authorization_endpoint": long }),
        None,
    )
    .unwrap();
    assert_eq!(found.scopes, Some(Vec::new()));
    assert_eq!((found.revocation, found.device), (None, None));
    let many: Vec<u8> = vec![0; 10_000];
    for refused in [
        json!({ "token_endpoint": long }),
        json!({ "issuer": format!("https://i.example.com/realm{}", "/".repeat(100)) }),
        // Megabytes of parts would take ten times as much memory, for every reconciled issuer.
        json!({ "x": many }),
    ] {
        assert_eq!(
            of(&refused, None).err().unwrap().reason.as_str(),
            "DiscoveryFailed"
        );
    }
}

#[test]
fn identifiers_are_compared_as_they_were_written() {
    // The identifier in the spec, the one in the document, and whether it is accepted.
    #[rustfmt::skip]
    let cases = [
        ("https://i.example.com/realm", "https://i.example.com/realm", true),
        ("https://i.example.com/realm", "https://i.example.com/realm/", true),
        ("https://i.example.com/realm/", "https://i.example.com/realm", true),
        ("https://i.example.com", "https://i.example.com/", true),
        ("https://i.example.com/", "https://i.example.com", true),
        // An unusual spelling of a server is correct if the spec has the same.
        ("https://I.example.com/Realm", "https://I.example.com/Realm", true),
        ("https://i.example.com:443/realm", "https://i.example.com:443/realm", true),
        ("https://i.example.com/a%2fb", "https://i.example.com/a%2fb", true),
        ("https://i.example.com/r\u{e9}", "https://i.example.com/r\u{e9}", true),
        ("https://i.example.com/a/../b", "https://i.example.com/a/../b", true),
        ("https://i.example.com/realm", "https://i.example.com/realm//", false),
        ("https://i.example.com/realm", "https://i.example.com/Realm", false),
        ("https://i.example.com/realm", "https://I.example.com/realm", false),
        ("https://i.example.com/realm", "https://i.example.com:443/realm", false),
        ("https://i.example.com:443/realm", "https://i.example.com/realm", false),
        ("https://i.example.com/a%2fb", "https://i.example.com/a%2Fb", false),
        ("https://i.example.com/a/../b", "https://i.example.com/b", false),
        ("https://i.example.com/realm", "https://i.example.com/realm2", false),
        ("https://i.example.com/realm", "https://i.example.com", false),
        ("https://i.example.com/realm", "http://i.example.com/realm", false),
        ("https://i.example.com/realm", " https://i.example.com/realm", false),
        ("https://i.example.com/realm", "https://evil.example.com/realm", false),
        ("https://i.example.com/realm", "", false),
        ("https://i.example.com/realm", "/", false),
    ];
    for (written, named, taken) in cases {
        let found = read(written, &document(&json!({ "issuer": named })), None);
        match found {
            Ok(found) => assert!(taken && found.issuer.as_deref() == Some(named), "{named}"),
            Err(why) => {
                assert!(!taken, "{written} {named}");
                assert_eq!(why, Unusable::Issuer(Some(named.to_owned())));
            }
        }
    }
}

#[test]
fn an_issuer_that_was_found_is_named_with_the_way_out() {
    // The issuer in the document, and the parts of the message about it.
    #[rustfmt::skip]
    let cases = [
        // Azure AD B2C and Oracle IDCS name one issuer for many documents.
        (json!("https://login.b2c.example.com/11111111-2222-4333-8444-555555555555/v2.0/"),
            &["another issuer, \"https://login.b2c.example.com/11111111-2222-4333-8444-555555555555/v2.0/\"", "set issuerUrl", "oauth2.tokenUrl"][..]),
        (json!("https://i.example.com/Realm"), &["letter by letter; set issuerUrl: https://i.example.com/Realm"]),
        (json!("https://i.example.com:443/realm"), &["set issuerUrl: https://i.example.com:443/realm"]),
        (json!("http://i.example.com/realm"), &["\"http://i.example.com/realm\", which is not https", "oauth2.tokenUrl"]),
        (json!("https://sts.windows.net/11111111-2222-4333-8444-555555555555/"), &["entra.tenantId"]),
        (json!("https://login.microsoftonline.com/{tenantid}/v2.0"), &["entra.tenantId", "{tenantid}"]),
        (json!("https://login.microsoftonline.us/{tenantid}/v2.0"), &["entra.tenantId"]),
        (json!("accounts.google.com"), &["not a URL", "oauth2.tokenUrl"]),
        (json!("https://i.example.com/a b"), &["not a URL", "oauth2.tokenUrl"]),
        (json!("https://i.example.com/\u{202e}x"), &["not a URL"]),
        (json!("https://i.example.com/<script>"), &["not a URL"]),
        (json!(format!("https://i.example.com/{}", "x".repeat(300))), &["too long"]),
        (json!(""), &["names no issuer", "oauth2.tokenUrl"]),
        (json!(null), &["names no issuer"]),
        (json!(7), &["names no issuer"]),
        (json!([]), &["names no issuer"]),
    ];
    for (named, expected) in cases {
        let token_error = of(&json!({ "issuer": named }), None).unwrap_err();
        assert_eq!(
            (token_error.class, token_error.reason.as_str()),
            (Class::Invalid, "DiscoveryFailed")
        );
        let message = token_error.message();
        for expected_part in expected {
            assert!(
                message.contains(expected_part),
                "{named}: {expected_part:?} in {message}"
            );
        }
        assert!(
            message.len() < 500 && message.bytes().all(|b| (0x20..=0x7e).contains(&b)),
            "{message}"
        );
    }
}

#[test]
fn an_endpoint_that_leads_away_from_tls_or_is_none_is_refused() {
    #[rustfmt::skip]
    let cases = [
        (json!("http://t.example.com/token?x=C4NARY"), "at http://t.example.com;"),
        (json!("/token"), "relative"),
        (json!("token"), "relative"),
        (json!(""), "is not a URL"),
        (json!(null), "no token_endpoint"),
        (json!(7), "is not a URL"),
        (json!("https://user@t/token"), "has a user"),
        (json!("https://:password@t/token"), "has a user"),
        (json!("https://t/token#f"), "a fragment"),
        (json!(format!("https://t/{}", "x".repeat(3000))), "2048"),
        (json!("file:///etc/passwd"), "is not a URL"),
        (json!("javascript:x"), "is not a URL"),
    ];
    for (bad, expected) in cases {
        let token_error = of(&json!({ "token_endpoint": bad }), None).unwrap_err();
        let message = token_error.message();
        assert!(
            message.contains(expected) && message.contains("oauth2.tokenUrl"),
            "{bad}: {message}"
        );
        assert!(
            !message.contains("C4NARY")
                && !message.contains("passw")
                && token_error.class == Class::Invalid,
            "{message}"
        );
    }
}

/// The answers, and the result: class, HTTP status, and parts of the message.
type Case = (Vec<Seen>, Class, Option<u16>, &'static [&'static str]);

#[test]
fn endpoints_of_the_spec_go_before_those_of_the_document() {
    let spec = json!({
        "oidc": {
            "issuerUrl": ISSUER,
            "revocationUrl": "https://t.example.com/own/revoke",
            "deviceAuthorizationUrl": "https://i.example.com/own/device",
        },
        "allowedNamespaces": { "selector": {} },
    });
    let issuer = Issuer::cluster(&cluster_issuer(&spec)).unwrap();
    let aliases = json!({
        "mtls_endpoint_aliases": {
            "token_endpoint": "https://m.example.com/token",
            "revocation_endpoint": "https://m.example.com/revoke",
            "device_authorization_endpoint": "https://m.example.com/device",
        },
        "revocation_endpoint": "https://i.example.com/revoke",
        "authorization_endpoint": "https://i.example.com/authorize",
    });
    let found = of(&aliases, None).unwrap();
    assert_eq!(found.posted(true).as_str(), "https://m.example.com/token");
    let at = |url: Option<&Url>| url.map(ToString::to_string).unwrap_or_default();
    assert_eq!(at(found.revoked_at(true)), "https://m.example.com/revoke");
    assert_eq!(at(found.revoked_at(false)), "https://i.example.com/revoke");
    assert_eq!(at(found.device_at(true)), "https://m.example.com/device");
    assert_eq!(found.device_at(false), None);
    assert_eq!(
        completed(found.clone(), &OptionalEndpoints::default()),
        found
    );

    let completed = completed(found, &issuer.places);
    for certificate in [false, true] {
        assert_eq!(
            at(completed.revoked_at(certificate)),
            "https://t.example.com/own/revoke"
        );
        assert_eq!(
            at(completed.device_at(certificate)),
            "https://i.example.com/own/device"
        );
    }
    assert_eq!(
        at(completed.authorization.as_ref()),
        "https://i.example.com/authorize"
    );
}

#[test]
fn urls_of_a_spec_have_no_line_end_and_are_https() {
    for (kind, field) in [
        ("oidc", "issuerUrl"),
        ("oidc", "revocationUrl"),
        ("oidc", "authorizationUrl"),
        ("oidc", "deviceAuthorizationUrl"),
        ("oauth2", "tokenUrl"),
        ("oauth2", "revocationUrl"),
        ("oauth2", "deviceAuthorizationUrl"),
    ] {
        let base = match kind {
            "oidc" => json!({ "issuerUrl": ISSUER }),
            _ => json!({ "tokenUrl": ISSUER }),
        };
        for (url, expected) in [
            ("https://i.example.com/x\n", "line end"),
            ("https://i.example.com/x ", "line end or a blank"),
            ("https://i.exa\tmple.com/x", "line end"),
            ("http://i.example.com/x", "https"),
        ] {
            let mut spec = json!({});
            spec[kind] = base.clone();
            spec[kind][field] = json!(url);
            let faults = Issuer::namespaced(&token_issuer(&spec), &[]).unwrap_err();
            assert_eq!(faults.len(), 1);
            assert_eq!(faults[0].field, format!("spec.{kind}.{field}"));
            assert!(faults[0].problem.contains(expected), "{:?}", faults[0]);
        }
    }
}
