//! The other values of a rotation must have room next to the current one.

use serde_json::{Value, json};

use crate::{
    api::ApiClientSpec,
    credential::{AuthenticationMethod, FieldError, Issuer},
    fixtures::token_issuer,
    rotation::{Pace, Rotating, Trials, rotating},
};

fn parsed(spec: &Value, issuer: &Value) -> Result<Rotating, FieldError> {
    let spec: ApiClientSpec = serde_json::from_value(spec.clone()).unwrap();
    let issuer = Issuer::namespaced(&token_issuer(issuer), &[]).unwrap();
    let method = AuthenticationMethod::parse(Some(&spec.client)).unwrap();
    let pace = (Trials::default(), Pace::default());
    rotating(&spec, (&issuer, &method), pace).map(Option::unwrap)
}

/// A client of Entra ID with this method.
fn entra(method: &str, entry: &Value) -> Result<Rotating, FieldError> {
    let tenant = "7f9e0000-0000-4000-8000-000000000003";
    let spec = json!({
        "entra": { "tenantId": tenant }, "id": "1c1b7a0e-0000-4000-8000-000000000002",
        method: [entry], "rotation": { "managementRef": { "name": "m" } },
    });
    parsed(&spec, &json!({ "entra": { "tenantId": tenant } }))
}

fn secret(key: &str) -> Result<Rotating, FieldError> {
    entra("secrets", &json!({ "name": "s", "key": key }))
}

fn certificate(certificate: &str, private: &str) -> Result<Rotating, FieldError> {
    let pair =
        json!({ "secretName": "s", "certificateKey": certificate, "privateKeyKey": private });
    entra("certificates", &pair)
}

fn private_key(key: &str) -> Result<Rotating, FieldError> {
    let spec = json!({
        "issuerRef": { "kind": "TokenIssuer", "name": "i" }, "id": "c-1",
        "key": { "secretName": "s", "key": key }, "rotation": { "registration": {} },
    });
    parsed(
        &spec,
        &json!({ "oidc": { "issuerUrl": "https://issuer.example" } }),
    )
}

#[test]
fn a_key_with_no_room_for_the_other_values_is_refused_before_anything_is_sent() {
    let (long, most) = ("k".repeat(245), "k".repeat(244));
    for (refused, fits, field) in [
        (secret(&long), secret(&most), "spec.secrets[0].key"),
        (
            certificate(&long, "b"),
            certificate(&most, "b"),
            "spec.certificates[0].certificateKey",
        ),
        (
            certificate("a", &long),
            certificate("a", &most),
            "spec.certificates[0].privateKeyKey",
        ),
        (
            certificate(&long, &long),
            certificate(&most, &most),
            "spec.certificates[0].certificateKey",
        ),
        (private_key(&long), private_key(&most), "spec.key.key"),
    ] {
        let fault = refused.expect_err(field);
        assert_eq!(fault.field, field);
        let text = format!("{fault:?}");
        assert!(text.contains("at most 244 characters"), "{text}");
        assert!(fits.is_ok(), "{fits:?}");
    }
}

#[test]
fn no_key_of_a_pair_is_where_a_rotation_stores_another_value() {
    for (a, b) in [("a", "a-next"), ("a-previous", "a"), ("a-next", "a")] {
        let fault = certificate(a, b).expect_err("one would replace the other");
        let text = format!("{fault:?}");
        assert!(text.contains("another value"), "{text}");
    }
    assert!(certificate("a", "a-key").is_ok());
}

#[test]
fn a_file_with_certificate_and_key_is_one_value() {
    assert_eq!(
        certificate("client.pem", "client.pem").unwrap().keys,
        ["client.pem"]
    );
    assert_eq!(certificate("a", "b").unwrap().keys, ["a", "b"]);
}
