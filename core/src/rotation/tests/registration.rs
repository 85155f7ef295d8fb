//! Registration management: what is sent back, which token is found, and the meaning of errors.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::{
    api::ApiClientSpec,
    credential::{AuthenticationMethod, FieldError, Issuer},
    fixtures::{at, token_issuer},
    oauth::{Method, RawAnswer},
    rotation::{
        Class, Kind, Pace, Registry, Rotating, Trials,
        registration::{Access, Registration, TOKEN_KEY, URL_KEY, registration, renewed},
        rotating,
    },
};

/// The key of RFC 7638 section 3.1 and its thumbprint.
const MODULUS: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
const THUMBPRINT: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";

fn access() -> Access {
    Access {
        url: "https://issuer.example/reg/c-1".parse().unwrap(),
        token: SecretString::from("old-token"),
    }
}

fn answer(status: u16, body: &Value) -> RawAnswer {
    RawAnswer {
        status,
        content_type: Some("application/json".to_owned()),
        content_encoding: None,
        limit_reset: None,
        retry_after: (status == 429).then(|| "7".to_owned()),
        challenge: None,
        date: None,
        age: None,
        location: None,
        body: body.to_string().into_bytes(),
    }
}

fn rsa() -> Value {
    json!({ "kty": "RSA", "n": MODULUS, "e": "AQAB", "kid": "chosen by somebody", "alg": "RS256" })
}

fn stored() -> Value {
    json!({
        "client_id": "c-1", "client_name": "Orders", "client_secret": "s3cret", "contacts": null,
        "client_secret_expires_at": 0, "client_id_issued_at": 1_700_000_000,
        "registration_access_token": "new-token", "registration_client_uri": "https://issuer.example/reg/c-1",
        "jwks": { "keys": [rsa(), { "kty": "oct-like", "k": "of a kind that nobody knows" }] },
    })
}

fn read(body: &Value) -> Registration {
    match registration(&answer(200, body), "c-1", at(0)) {
        Ok(registration) => registration,
        Err(fault) => panic!("{fault:?}"),
    }
}

#[test]
fn a_registration_is_sent_back_whole_with_one_key_more_or_less() {
    let registration = read(&stored());
    let next = json!({ "kty": "EC", "crv": "P-256", "x": "eHg", "y": "eXk", "kid": "next" });
    let Value::Object(jwk) = &next else {
        unreachable!("it is an object")
    };
    let added = registration.with(jwk);
    let keys = added["jwks"]["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 3);
    assert_eq!((&keys[0], &keys[2]), (&rsa(), &next));
    for (name, value) in [
        ("client_id", json!("c-1")),
        ("client_name", json!("Orders")),
        ("client_secret", json!("s3cret")),
        ("contacts", Value::Null),
    ] {
        assert_eq!(added.get(name), Some(&value), "{name}");
    }
    for name in [
        "client_secret_expires_at",
        "client_id_issued_at",
        "registration_access_token",
        "registration_client_uri",
    ] {
        assert_eq!(added.get(name), None, "{name}");
    }
    // If it is sent twice, it is not added twice.
    let again = read(&added);
    assert_eq!(again.with(jwk), added);
    let application = registration.application(at(0));
    let ids: Vec<&str> = application.keys.iter().map(|k| k.id.as_str()).collect();
    assert_eq!(ids, [THUMBPRINT]);
    assert!(registration.has(THUMBPRINT));
    let removed = registration.without(THUMBPRINT);
    assert_eq!(removed["jwks"]["keys"].as_array().unwrap().len(), 1);
    assert!(!read(&removed).has(THUMBPRINT));
}

#[test]
fn a_new_token_is_found_whatever_else_is_wrong_with_the_answer() {
    let sent = SecretString::from("old-token");
    let token = |status, body: &Value| {
        renewed(&answer(status, body), &sent).map(|t| t.expose_secret().to_owned())
    };
    let new = Some("new-token".to_owned());
    assert_eq!(token(200, &stored()), new);
    let strange = json!({ "registration_access_token": "new-token", "client_id": 7 });
    assert_eq!(token(201, &strange), new);
    for (status, body) in [
        (200, json!({ "registration_access_token": "old-token" })),
        (200, json!({ "registration_access_token": "" })),
        (200, json!({ "client_id": "c-1" })),
        (200, json!([])),
        (401, strange),
    ] {
        assert_eq!(token(status, &body), None, "{status} {body}");
    }
}

#[test]
fn requests_name_the_registration_and_carry_the_token() {
    let access = access();
    let request = access.read();
    assert_eq!(request.method, Method::Get);
    assert_eq!(request.url.as_str(), "https://issuer.example/reg/c-1");
    assert!(request.body.is_none());
    let bearer = request.headers.iter().find(|(n, _)| *n == "authorization");
    assert_eq!(bearer.unwrap().1.expose_secret(), "Bearer old-token");
    let request = access.update(&json!({ "client_id": "c-1" }));
    assert_eq!(request.method, Method::PutJson);
    assert_eq!(
        request.body.unwrap().expose_secret(),
        r#"{"client_id":"c-1"}"#
    );
}

#[test]
fn each_error_has_its_class_and_shows_no_text_of_the_server() {
    let text = "a description with the token old-token in it";
    for (status, error, class, may_have_happened) in [
        (400, "invalid_client_metadata", Class::Invalid, false),
        (401, "invalid_token", Class::Caller, false),
        (403, "access_denied", Class::Invalid, false),
        (404, "not_found", Class::NoApplication, false),
        (405, "", Class::NoApplication, false),
        (429, "", Class::Throttled, false),
        (500, "server_error", Class::Transient, true),
        (503, "", Class::Transient, true),
    ] {
        let body = json!({ "error": error, "error_description": text });
        let Err(fault) = registration(&answer(status, &body), "c-1", at(0)) else {
            panic!("{status} is an error")
        };
        assert_eq!(
            (fault.class, fault.may_have_happened),
            (class, may_have_happened),
            "{status}"
        );
        assert!(fault.message.contains(&format!("HTTP {status}")));
        assert!(!fault.message.contains("old-token"), "{}", fault.message);
        assert_eq!(fault.retry_after.is_some(), status == 429);
    }
    for (body, expected) in [
        (json!({ "client_id": "c-2" }), "of another client"),
        (json!({}), "of another client"),
        (json!([]), "without a JSON document"),
        (
            json!({ "client_id": "c-1", "jwks_uri": "https://c.example" }),
            "jwks_uri",
        ),
    ] {
        let Err(fault) = registration(&answer(200, &body), "c-1", at(0)) else {
            panic!("{body} is of no use")
        };
        assert!(fault.message.contains(expected), "{}", fault.message);
    }
}

fn spec_of(registration: &Value, key: &str) -> Result<Option<Rotating>, FieldError> {
    let spec = json!({
        "issuerRef": { "kind": "TokenIssuer", "name": "i" }, "id": "c-1",
        "key": { "secretName": "s", "key": key }, "rotation": { "registration": registration },
    });
    let spec: ApiClientSpec = serde_json::from_value(spec).unwrap();
    let issuer = json!({ "oidc": { "issuerUrl": "https://issuer.example" } });
    let issuer = Issuer::namespaced(&token_issuer(&issuer), &[]).unwrap();
    let method = AuthenticationMethod::parse(Some(&spec.client)).unwrap();
    let pace = (Trials::default(), Pace::default());
    rotating(&spec, (&issuer, &method), pace)
}

#[test]
fn address_and_token_stand_under_keys_of_their_own() {
    let usual = spec_of(&json!({}), "k").unwrap().unwrap();
    let Registry::Registration { url, token } = &usual.registry else {
        panic!("{:?}", usual.registry)
    };
    assert_eq!((url.as_str(), token.as_str()), (URL_KEY, TOKEN_KEY));
    assert_eq!(
        (usual.settings.kind, usual.keys.as_slice()),
        (Kind::Key, &["k".to_owned()][..])
    );
    assert!(spec_of(&json!({ "urlKey": "u", "tokenKey": "k-other" }), "k").is_ok());
    for (registration, key) in [
        (json!({ "urlKey": "k" }), "k"),
        (json!({ "tokenKey": "k" }), "k"),
        (json!({ "tokenKey": "k-next" }), "k"),
        (json!({ "urlKey": "k-previous" }), "k"),
        (json!({ "urlKey": "x", "tokenKey": "x" }), "k"),
        (json!({}), URL_KEY),
    ] {
        let fault = spec_of(&registration, key).unwrap_err();
        assert_eq!(fault.field, "spec.rotation.registration", "{registration}");
    }
}
