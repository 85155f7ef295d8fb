//! What an answer to a registration request contains in addition to the registration: another address; and a `jwks_uri` without a value.

use serde_json::{Value, json};
use url::Url;

use crate::{
    fixtures::{at, json_answer},
    oauth::RawAnswer,
    rotation::{
        Class, Kind,
        graph::{application, new_password},
        registration::{moved, of_another, registration},
    },
};

/// A gateway compresses an answer although the request forbids it.
#[test]
fn a_compressed_answer_is_reported_with_its_coding() {
    let compressed = |status, coding: Option<&str>, body: &[u8]| RawAnswer {
        content_encoding: coding.map(str::to_owned),
        ..RawAnswer::new(status, body.to_vec())
    };
    let words = "compressed with gzip, although the request forbids it";
    let gzip = b"\x1f\x8b\x08\0\0";
    for (coding, body) in [
        (Some("gzip"), &gzip[..]),
        (None, gzip),
        (Some("gzip"), b"\0\x01"),
    ] {
        let read = |status| {
            let fault = registration(&compressed(status, coding, body), "c-1", at(0));
            fault.err().expect("no registration")
        };
        let fault = read(200);
        assert!(
            fault.class == Class::Invalid && fault.may_have_happened,
            "{fault:?}"
        );
        assert!(fault.message.contains(words), "{}", fault.message);
        let refused = read(401);
        assert_eq!(refused.class, Class::Caller);
        assert!(refused.message.contains(words), "{}", refused.message);
        for status in [200, 403, 502] {
            let raw = compressed(status, coding, body);
            let read = application(&raw, "c-1", Kind::Secret, at(0)).err();
            let made = new_password(&raw, at(0)).err();
            for fault in [read, made] {
                let fault = fault.expect("no document");
                assert!(fault.message.contains(words), "{}", fault.message);
            }
        }
    }
    // The gateway has decompressed it, and left the header.
    let body = json!({ "client_id": "c-1", "jwks": { "keys": [] } }).to_string();
    let plain = compressed(200, Some("gzip"), body.as_bytes());
    assert!(registration(&plain, "c-1", at(0)).is_ok());
}

#[test]
fn an_answer_without_the_public_keys_shows_nothing_about_them() {
    for (jwks, has_keys) in [
        (json!({ "keys": [] }), true),
        (json!({ "keys": [{ "kty": "EC" }] }), true),
        (json!({ "keys": null }), false),
        (json!({}), false),
        (Value::Null, false),
    ] {
        let body = json!({ "client_id": "c-1", "jwks": jwks });
        let read = registration(&json_answer(200, &body), "c-1", at(0));
        let read = read.unwrap();
        assert_eq!(read.has_keys(), has_keys, "{jwks}");
        let listed = read.with_keys();
        assert_eq!(listed.is_ok(), has_keys, "{jwks}");
        if let Err(fault) = listed {
            assert!(fault.message.contains("(jwks)"), "{fault:?}");
            assert!(!fault.sent && !fault.may_have_happened, "{fault:?}");
        }
    }
    let body = json!({ "client_id": "c-1" });
    let read = registration(&json_answer(200, &body), "c-1", at(0));
    assert_eq!(read.ok().map(|r| r.has_keys()), Some(false));
}

/// Its token is not stored in place of the one of this client.
#[test]
fn an_answer_about_another_client_is_recognized_before_anything_of_it_is_stored() {
    let token = json!("q7Zt-41x");
    for (status, body, is_other) in [
        (200, json!({ "client_id": "c-2" }), true),
        (200, json!({ "client_id": 7 }), true),
        (200, json!({ "client_id": "C-1" }), true),
        (200, json!({ "client_id": "c-1" }), false),
        // It may be the only copy of a new token of this client.
        (200, json!({ "client_id": null }), false),
        (200, json!({}), false),
        (400, json!({ "client_id": "c-2" }), false),
    ] {
        let mut body = body;
        body["registration_access_token"] = token.clone();
        let fault = of_another(&json_answer(status, &body), "c-1");
        assert_eq!(fault.is_some(), is_other, "{status} {body}");
        assert!(fault.is_none_or(|fault| !fault.message.contains("q7Zt")));
    }
}

#[test]
fn an_answer_may_name_another_address_of_the_registration() {
    let sent: Url = "https://issuer.example/reg/c-1".parse().unwrap();
    let other = "https://issuer.example/v2/reg/c-1";
    for (status, uri, found) in [
        (200, json!(other), Some(other)),
        (
            201,
            json!("https://other.example/r"),
            Some("https://other.example/r"),
        ),
        // The same address in another spelling.
        (200, json!("HTTPS://issuer.example:443/reg/c-1"), None),
        (200, json!("/v2/reg/c-1"), None),
        (200, json!(""), None),
        (200, Value::Null, None),
        (200, json!([other]), None),
        (400, json!(other), None),
        (500, json!(other), None),
    ] {
        let body = json!({ "client_id": "c-1", "registration_client_uri": uri });
        let seen = moved(&json_answer(status, &body), &sent);
        assert_eq!(seen.as_ref().map(Url::as_str), found, "{status} {uri}");
    }
    assert_eq!(moved(&json_answer(200, &json!({})), &sent), None);
    assert_eq!(moved(&json_answer(200, &json!([])), &sent), None);
}

#[test]
fn a_jwks_uri_without_a_value_hinders_nothing_and_is_not_sent_back() {
    let jwk = json!({ "kty": "EC", "crv": "P-256", "x": "eHg", "y": "eXk" });
    for (jwks_uri, is_good) in [
        (json!(""), true),
        (json!(" "), true),
        (Value::Null, true),
        (json!("https://client.example/jwks"), false),
    ] {
        let body = json!({ "client_id": "c-1", "jwks_uri": jwks_uri, "jwks": { "keys": [] } });
        let read = registration(&json_answer(200, &body), "c-1", at(0));
        assert_eq!(read.is_ok(), is_good, "{jwks_uri}");
        let Ok(read) = read else {
            continue;
        };
        let update = read.with(jwk.as_object().unwrap());
        assert_eq!(update.get("jwks_uri"), None, "{jwks_uri}");
        assert_eq!(update["jwks"]["keys"], json!([jwk]));
    }
}
