use serde_json::{Value, json};
use url::Url;

use crate::{
    credential::SecretStyle,
    issuer::discovery::{addresses, read},
    oauth::{Class, Refusal, TokenEndpoint},
};

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

fn document(change: &Value) -> Vec<u8> {
    let mut whole = json!({ "issuer": "https://i.example.com/realm", "token_endpoint": "https://t.example.com/token/" });
    crate::fixtures::merge(&mut whole, change);
    whole.to_string().into_bytes()
}

fn of(change: &Value, style: Option<SecretStyle>) -> Result<TokenEndpoint, Refusal> {
    read(
        &url("https://i.example.com/realm"),
        &document(change),
        style,
    )
}

#[test]
fn both_well_known_places_are_asked_in_order() {
    let list = |issuer: &str| {
        addresses(&url(issuer))
            .iter()
            .map(Url::to_string)
            .collect::<Vec<_>>()
    };
    let cases = [
        (
            "https://i",
            "https://i/.well-known/openid-configuration",
            "https://i/.well-known/oauth-authorization-server",
        ),
        (
            "https://i:8443/",
            "https://i:8443/.well-known/openid-configuration",
            "https://i:8443/.well-known/oauth-authorization-server",
        ),
        (
            "https://i/a/b",
            "https://i/a/b/.well-known/openid-configuration",
            "https://i/.well-known/oauth-authorization-server/a/b",
        ),
        (
            "https://i/a/",
            "https://i/a/.well-known/openid-configuration",
            "https://i/.well-known/oauth-authorization-server/a",
        ),
    ];
    for (issuer, first, second) in cases {
        assert_eq!(list(issuer), [first, second], "{issuer}");
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
    // Of the scopes those alone that apicred would ask for.
    let scopes = ["openid", "offline_access"].map(str::to_owned).to_vec();
    assert_eq!(found.scopes, Some(scopes));
}

#[test]
fn what_is_kept_of_a_document_is_little_however_large_it_is() {
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
        // Megabytes of parts would take tens of them in memory, for every issuer that is looked at.
        json!({ "x": many }),
    ] {
        assert_eq!(of(&refused, None).err().unwrap().reason, "DiscoveryFailed");
    }
}

#[test]
fn a_document_for_another_issuer_is_refused() {
    for same in [
        "https://i.example.com/realm",
        "https://i.example.com/realm/",
    ] {
        assert!(of(&json!({ "issuer": same }), None).is_ok(), "{same}");
    }
    assert!(
        read(
            &url("https://i/"),
            &document(&json!({ "issuer": "https://i" })),
            None
        )
        .is_ok()
    );
    for other in [
        json!("https://evil.example.com/realm"),
        json!("https://i.example.com"),
        json!("https://i.example.com/realm2"),
        json!("https://i.example.com/Realm"),
        json!("http://i.example.com/realm"),
        json!(""),
        json!(null),
        json!(7),
        json!([]),
    ] {
        let refusal = of(&json!({ "issuer": other.clone() }), None).unwrap_err();
        assert_eq!(
            (refusal.class, refusal.reason),
            (Class::Invalid, "DiscoveryFailed"),
            "{other}"
        );
    }
}

#[test]
fn an_endpoint_that_leads_away_from_tls_or_is_none_is_refused() {
    for bad in [
        json!("http://t.example.com/token"),
        json!("/token"),
        json!(""),
        json!(null),
        json!(7),
        json!("https://user@t/token"),
        json!("https://:password@t/token"),
        json!("https://t/token#f"),
        json!("file:///etc/passwd"),
        json!("javascript:x"),
    ] {
        let refusal = of(&json!({ "token_endpoint": bad.clone() }), None).unwrap_err();
        assert!(
            refusal.next_step.contains("https token_endpoint"),
            "{bad}: {}",
            refusal.next_step
        );
    }
}

#[test]
fn a_body_that_is_no_document_is_refused_without_being_shown() {
    for body in [
        &b""[..],
        b"[]",
        b"null",
        b"<html>C4NARY</html>",
        b"\xff\xfe",
        b"{\"issuer\":",
    ] {
        let refusal = read(&url("https://i"), body, None).unwrap_err();
        assert_eq!(refusal.reason, "DiscoveryFailed");
        assert!(!format!("{refusal:?}").contains("C4NARY"));
    }
}

#[test]
fn the_secret_travels_as_the_spec_says_else_as_the_issuer_offers() {
    use SecretStyle::{BasicForm, BasicRaw, Post};
    let methods = |list: Value| json!({ "token_endpoint_auth_methods_supported": list });
    #[rustfmt::skip]
    let cases = [
        (json!({}), None, Some(BasicForm)),
        (methods(json!(["client_secret_basic"])), None, Some(BasicForm)),
        (methods(json!(["client_secret_post", "client_secret_basic"])), None, Some(BasicForm)),
        (methods(json!(["private_key_jwt", "client_secret_post"])), None, Some(Post)),
        (methods(json!(["private_key_jwt"])), None, None),
        (methods(json!([])), None, None),
        (methods(json!(["client_secret_basic"])), Some(Post), Some(Post)),
        (methods(json!(["client_secret_post"])), Some(BasicRaw), Some(BasicRaw)),
        (methods(json!(["private_key_jwt"])), Some(Post), Some(Post)),
        (methods(json!("client_secret_post")), None, Some(BasicForm)),
    ];
    for (change, wanted, expected) in cases {
        assert_eq!(
            of(&change, wanted)
                .ok()
                .filter(|e| e.takes_secrets)
                .map(|e| e.style),
            expected,
            "{change} {wanted:?}"
        );
    }
}
