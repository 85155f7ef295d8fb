//! Token types: bearer tokens with another name, tokens that are bound to a key, and other tokens than access tokens.

use serde_json::{Value, json};

use super::answer::{jwt, raw};
use crate::{
    credential::{Credential, Issuer, IssuerLookup, parse},
    fixtures::{NOW, at, cluster_issuer, merge, object},
    oauth::{Class, Token, TokenError, answer_to},
};

const URN: &str = "urn:ietf:params:oauth:token-type:";

fn credential(grant: &Value) -> Credential {
    let issuer = json!({ "oauth2": { "tokenUrl": "https://as.example.com/token" } });
    let issuer = Issuer::cluster(&cluster_issuer(&issuer)).unwrap();
    parse(&object(&json!({ "grant": grant })), |_| {
        IssuerLookup::Found(issuer)
    })
    .unwrap()
}

fn exchange(requested: Option<&str>) -> Value {
    let subject = json!({ "secretRef": { "name": "source", "key": "k" } });
    let mut exchange = json!({ "subject": subject });
    if let Some(requested) = requested {
        exchange["requestedTokenType"] = json!(format!("{URN}{requested}"));
    }
    json!({ "tokenExchange": exchange })
}

fn read(grant: &Value, change: &Value) -> Result<Token, TokenError> {
    let mut body = json!({ "access_token": "t", "expires_in": 60 });
    merge(&mut body, change);
    let raw = raw(200, "application/json", body.to_string().as_bytes());
    answer_to(&credential(grant), &raw, at(0), at(1))
}

fn refused(grant: &Value, change: &Value) -> TokenError {
    let token_error = read(grant, change).err();
    let token_error = token_error.unwrap_or_else(|| panic!("{change}: a token"));
    assert_eq!(
        (token_error.class, token_error.reason.as_str()),
        (Class::Invalid, "TokenTypeNotSupported"),
        "{change}: {}",
        token_error.message()
    );
    token_error
}

#[test]
fn a_bearer_token_is_one_by_each_of_its_names() {
    let grant = json!({ "clientCredentials": {} });
    for name in [
        json!("Bearer"),
        json!("bearer"),
        json!("BEARER"),
        json!("Bearer "),
        json!(" bearer\n"),
        json!("\"Bearer\""),
        json!("BearerToken"),
        json!("bearer_token"),
        json!("Bearer Token"),
        json!("jwt-bearer"),
        json!("JWT"),
        json!("OAuth2"),
        json!("bot"),
        json!("access_token"),
        json!(format!("{URN}access_token")),
        json!(format!("{URN}jwt")),
        json!(["Bearer"]),
        json!(""),
        json!(null),
    ] {
        let token = read(&grant, &json!({ "token_type": name }));
        let token = token.unwrap_or_else(|r| panic!("{name}: {}", r.message()));
        assert_eq!(token.token_type, "Bearer", "{name}");
    }
}

#[test]
fn a_token_that_needs_a_key_is_refused_and_its_type_is_shown() {
    let grant = json!({ "clientCredentials": {} });
    for name in [
        "DPoP", "dpop", "DPOP ", "PoP", "pop", "MAC", "mac", "hmac", "HttpSig", "hok",
    ] {
        let token_error = refused(&grant, &json!({ "token_type": name }));
        let reported = token_error.message();
        assert!(
            reported.contains(&format!("token_type {}", name.trim())),
            "{reported}"
        );
        assert!(reported.contains("bound to a key"), "{reported}");
    }
    for key in ["jkt", "jwk", "kid"] {
        let claims = json!({ "exp": NOW + 60, "cnf": { key: "x" } });
        let token = json!({ "access_token": jwt(&claims), "token_type": "Bearer" });
        let reported = refused(&grant, &token).message();
        assert!(reported.contains("claim cnf"), "{reported}");
    }
    // The workload may have the certificate of mTLS.
    let claims = json!({ "exp": NOW + 60, "cnf": { "x5t#S256": "x" } });
    assert!(read(&grant, &json!({ "access_token": jwt(&claims) })).is_ok());
}

#[test]
fn another_type_is_refused_and_shown_only_if_it_looks_like_one() {
    let grant = json!({ "clientCredentials": {} });
    for (name, reported) in [
        (json!("example"), "token_type example"),
        (json!("Negotiate"), "token_type Negotiate"),
        (json!(format!("{URN}saml2")), "token_type saml2"),
        (json!("N_A"), "not an access token"),
        (json!("n/a"), "not an access token"),
        (json!("x".repeat(25)), "another token_type than Bearer"),
        (json!("a8f27c"), "token_type a8f27c"),
        (json!("a8f27c01"), "another token_type than Bearer"),
        (json!("two words"), "another token_type than Bearer"),
        (json!("\u{202e}reab"), "another token_type than Bearer"),
        (json!(7), "not a text"),
        (json!({ "a": 1 }), "not a text"),
        (json!(true), "not a text"),
    ] {
        let message = refused(&grant, &json!({ "token_type": name })).message();
        assert!(message.contains(reported), "{name}: {message}");
        assert!(!message.contains('\u{202e}'));
    }
}

#[test]
fn an_exchange_takes_the_type_that_it_requested_and_no_other() {
    let not_applicable = |issued: Option<&str>| {
        let issued = issued.map(|i| format!("{URN}{i}"));
        json!({ "token_type": "N_A", "issued_token_type": issued })
    };
    for (requested, issued) in [
        ("id_token", Some("id_token")),
        ("saml2", Some("saml2")),
        ("jwt", Some("jwt")),
        ("jwt", None),
    ] {
        let read = read(&exchange(Some(requested)), &not_applicable(issued));
        assert!(read.is_ok(), "{requested}");
    }
    for (requested, issued, reported) in [
        (Some("id_token"), Some("saml2"), "saml2"),
        (Some("access_token"), Some("id_token"), "id_token"),
        (None, Some("id_token"), "requestedTokenType"),
        (None, None, "requestedTokenType"),
    ] {
        let message = refused(&exchange(requested), &not_applicable(issued)).message();
        assert!(message.contains(reported), "{message}");
    }
    for requested in [None, Some("access_token")] {
        let refresh = json!({ "issued_token_type": format!("{URN}refresh_token") });
        let message = refused(&exchange(requested), &refresh).message();
        assert!(message.contains("refresh token"), "{message}");
    }
}
