use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::{
    credential::{Credential, Endpoint, SecretStyle},
    fixtures::{credential, credential_with, map, secrets},
    oauth::{Identity, Material, TokenEndpoint},
    plan::fingerprint::{DigestKey, fraction, in_flight, request},
};

type Change = fn(&mut Credential);

#[test]
fn a_change_of_anything_that_makes_another_token_changes_the_request_digest() {
    let changes: [(&str, Change); 8] = [
        ("endpoint", |c| {
            c.issuer.endpoint =
                Endpoint::Fixed("https://issuer.example.com/token2".parse().unwrap());
        }),
        ("kind of endpoint", |c| {
            c.issuer.endpoint =
                Endpoint::Discover("https://issuer.example.com/token".parse().unwrap());
        }),
        ("client", |c| c.client_id.push('x')),
        ("scopes", |c| c.request.scopes.push("more".to_owned())),
        ("resources", |c| {
            c.request.resources = vec!["urn:api".to_owned()];
        }),
        ("audience", |c| {
            c.request.audience = Some("urn:api".to_owned());
        }),
        ("parameter name", |c| {
            c.request.parameters = map(&[("claims", "x")]);
        }),
        ("parameter value", |c| {
            c.request.parameters = map(&[("claims", "y")]);
        }),
    ];
    let mut seen = vec![request(&credential())];
    for (what, change) in changes {
        let mut other = credential();
        change(&mut other);
        let digest = request(&other);
        assert!(!seen.contains(&digest), "{what}");
        seen.push(digest);
    }
}

#[test]
fn a_change_of_anything_else_leaves_the_request_digest_alone() {
    let changes: [(&str, Change); 10] = [
        ("name of the issuer", |c| {
            c.issuer.version = "other/9".to_owned();
        }),
        ("style", |c| c.issuer.style = Some(SecretStyle::Post)),
        ("roots", |c| c.issuer.ca_bundle = Some("PEM".to_owned())),
        ("limits", |c| c.issuer.requests_per_second = 1),
        ("order of secrets", |c| secrets(c).reverse()),
        ("target", |c| c.target.labels = map(&[("a", "b")])),
        ("minimum", |c| {
            c.min_lifetime = Some(jiff::SignedDuration::from_mins(1));
        }),
        ("suspend", |c| c.suspend = true),
        ("generation", |c| c.generation += 1),
        ("renewal request", |c| {
            c.renew_requested = Some("now".to_owned());
        }),
    ];
    for (what, change) in changes {
        let mut other = credential();
        change(&mut other);
        assert_eq!(request(&other), request(&credential()), "{what}");
    }
}

#[test]
fn no_two_lists_read_as_one() {
    let specs = [
        json!({ "scopes": ["a", "b"] }),
        json!({ "scopes": ["ab"] }),
        json!({ "scopes": ["a|1:b"] }),
        json!({ "scopes": ["b", "a"] }),
        json!({ "scopes": ["a|", "b"] }),
        json!({ "scopes": ["a", "|b"] }),
        json!({ "scopes": ["a"], "resources": ["b"] }),
        json!({ "scopes": ["a"], "audience": "b" }),
        json!({ "scopes": ["a"], "parameters": [{ "name": "b", "value": "c" }] }),
        json!({ "scopes": ["a"], "parameters": [{ "name": "b|1:c", "value": "" }] }),
        json!({ "scopes": ["a"], "parameters": [{ "name": "b", "value": "" }, { "name": "c", "value": "" }] }),
        json!({ "scopes": ["a"], "parameters": [{ "name": "b", "secretRef": { "name": "c", "key": "d" } }] }),
        json!({ "scopes": null, "resources": ["a"] }),
        json!({ "scopes": null, "audience": "a" }),
        json!({ "scopes": null, "resources": ["a"], "audience": "a" }),
    ];
    let digests: std::collections::BTreeSet<String> = specs
        .iter()
        .map(|s: &Value| request(&credential_with(s)))
        .collect();
    assert_eq!(digests.len(), specs.len());
}

#[test]
fn the_fingerprint_depends_on_request_secret_and_key_and_shows_none_of_them() {
    let (key, other) = (DigestKey::new(&[1; 32]), DigestKey::new(&[2; 32]));
    let base = key.fingerprint("request", &["hunter2"]);
    assert_eq!(
        base,
        DigestKey::new(&[1; 32]).fingerprint("request", &["hunter2"])
    );
    for different in [
        key.fingerprint("request", &["hunter3"]),
        key.fingerprint("request2", &["hunter2"]),
        key.fingerprint("requesthunter", &["2"]),
        key.fingerprint("request", &["hunter2", ""]),
        key.fingerprint("request", &["hunt", "er2"]),
        other.fingerprint("request", &["hunter2"]),
        key.token("hunter2"),
    ] {
        assert_ne!(base, different);
    }
    assert_eq!(base.len(), 22, "128 bits in base64");
    assert!(!base.contains("hunter") && !base.contains("request"));
}

proptest! {
    #[test]
    fn different_scope_lists_never_share_a_digest(
        a in prop::collection::vec("[ab|:1#]{0,3}", 1..4), b in prop::collection::vec("[ab|:1#]{0,3}", 1..4),
    ) {
        let digest = |scopes: &[String]| {
            let mut credential = credential();
            credential.request.scopes = scopes.to_vec();
            request(&credential)
        };
        prop_assert_eq!(digest(&a) == digest(&b), a == b);
    }

    #[test]
    fn a_fraction_is_in_zero_to_one_and_stable(expected in prop::collection::vec(".{0,8}", 0..4)) {
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        let fraction_now = fraction(&expected);
        prop_assert!((0.0..1.0).contains(&fraction_now));
        prop_assert_eq!(fraction_now.to_bits(), fraction(&expected).to_bits());
    }
}

/// The key of a request in progress, at an endpoint of this style. The read values are the same for all.
fn flight(credential: &Credential, style: SecretStyle, material: &Material) -> String {
    let endpoint = TokenEndpoint::bare("https://issuer.example.com/token".parse().unwrap(), style);
    in_flight("fingerprint", credential, &endpoint, material)
}

#[test]
fn requests_that_differ_in_anything_that_is_sent_are_not_sent_as_one() {
    let client = |way: Value| {
        let mut client = json!({ "id": "client-1", "secrets": null });
        crate::fixtures::merge(&mut client, &way);
        json!({ "client": client })
    };
    let certificate = |more: Value| {
        let mut one = json!({ "secretName": "pair" });
        crate::fixtures::merge(&mut one, &more);
        client(json!({ "certificates": [one] }))
    };
    let key = |more: Value| {
        let mut one = json!({ "secretName": "pair", "key": "k" });
        crate::fixtures::merge(&mut one, &more);
        client(json!({ "key": one }))
    };
    let account = |more: Value| {
        let mut one = json!({ "name": "sync" });
        crate::fixtures::merge(&mut one, &more);
        client(json!({ "serviceAccount": one }))
    };
    let signed = |more: Value| {
        let mut one = json!({ "keyRef": { "name": "pair", "key": "k" }, "issuer": "i" });
        crate::fixtures::merge(&mut one, &more);
        json!({ "grant": { "jwtBearer": { "signed": one } } })
    };
    let exchange = |account: Value| json!({ "grant": { "tokenExchange": { "subject": { "serviceAccount": account } } } });
    let specs = [
        json!({}),
        client(json!({ "id": "client-2", "secrets": [{ "name": "client", "key": "secret" }] })),
        json!({ "client": { "secrets": [{ "name": "other", "key": "secret" }] } }),
        json!({ "client": { "secrets": [{ "name": "client", "key": "other" }] } }),
        json!({
            "client": { "id": "client-1", "secrets": null, "public": {} },
            "grant": { "password": { "username": "u", "passwordRef": { "name": "s", "key": "k" } } },
        }),
        client(json!({ "assertion": { "secretName": "pair", "key": "k" } })),
        client(json!({ "mtls": { "secretName": "pair" } })),
        certificate(json!({})),
        certificate(json!({ "keyId": "a" })),
        certificate(json!({ "keyId": "b" })),
        certificate(json!({ "algorithm": "RS256" })),
        certificate(json!({ "algorithm": "PS256" })),
        certificate(json!({ "thumbprint": "Sha1" })),
        certificate(json!({ "thumbprint": "Sha256" })),
        certificate(json!({ "x5c": true })),
        certificate(json!({ "certificateKey": "c" })),
        certificate(json!({ "privateKeyKey": "p" })),
        key(json!({})),
        key(json!({ "keyId": "a" })),
        key(json!({ "keyId": "b" })),
        key(json!({ "algorithm": "RS256" })),
        key(json!({ "algorithm": "PS256" })),
        account(json!({})),
        account(json!({ "name": "other" })),
        account(json!({ "audience": "urn:api" })),
        account(json!({ "expirationSeconds": 3600 })),
        signed(json!({})),
        signed(json!({ "keyId": "a" })),
        signed(json!({ "algorithm": "RS256" })),
        signed(json!({ "algorithm": "PS256" })),
        signed(json!({ "scopesIn": "Claim" })),
        signed(json!({ "scopesIn": "Parameter" })),
        signed(json!({ "issuer": "j" })),
        signed(json!({ "subject": "j" })),
        signed(json!({ "audience": "j" })),
        signed(json!({ "claims": { "a": "b" } })),
        exchange(json!({ "name": "sync" })),
        exchange(json!({ "name": "sync", "expirationSeconds": 3600 })),
        json!({ "scopes": ["other"] }),
        json!({ "audience": "urn:api" }),
        json!({ "parameters": [{ "name": "a", "value": "b" }] }),
        json!({ "parameters": [{ "name": "a", "secretRef": { "name": "b", "key": "c" } }] }),
    ];
    let of = |credential: &Credential| flight(credential, SecretStyle::Post, &Material::None);
    let mut seen: Vec<String> = specs.iter().map(|s| of(&credential_with(s))).collect();
    let changes: [Change; 4] = [
        |c| c.namespace.push('x'),
        |c| c.issuer.version.push('x'),
        |c| {
            let tenant = "t.example".to_owned();
            c.issuer.id = crate::credential::IssuerId::Inline(tenant);
        },
        |c| c.client_id.push('x'),
    ];
    for change in changes {
        let mut other = credential();
        change(&mut other);
        seen.push(of(&other));
    }
    for style in [
        SecretStyle::BasicForm,
        SecretStyle::BasicRaw,
        SecretStyle::Jwt(None),
    ] {
        seen.push(flight(&credential(), style, &Material::None));
    }
    for place in [0, 1] {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap();
        let certificate = certificate.self_signed(&key).unwrap();
        let identity = Identity::from_pem(&certificate.pem(), &key.serialize_pem()).ok();
        let material = Material::Signer(Box::new(identity.unwrap()), place);
        seen.push(flight(&credential(), SecretStyle::Post, &material));
    }
    for stored in ["one", "two"] {
        let material = Material::Stored(SecretString::from(stored));
        seen.push(flight(&credential(), SecretStyle::Post, &material));
    }
    let mut endpoint = TokenEndpoint::bare(
        "https://issuer.example.com/token".parse().unwrap(),
        SecretStyle::Post,
    );
    seen.push(in_flight(
        "other",
        &credential(),
        &endpoint,
        &Material::None,
    ));
    endpoint.issuer = Some("https://issuer.example.com".to_owned());
    seen.push(in_flight(
        "fingerprint",
        &credential(),
        &endpoint,
        &Material::None,
    ));
    let different: std::collections::BTreeSet<&String> = seen.iter().collect();
    assert_eq!(different.len(), seen.len());
}

#[test]
fn credentials_that_differ_in_what_is_not_sent_share_a_request_and_a_new_key_id_is_no_new_token() {
    let changes: [Change; 6] = [
        |c| c.name.push('x'),
        |c| c.uid.push('x'),
        |c| c.generation += 1,
        |c| c.target.name.push('x'),
        |c| c.min_lifetime = Some(jiff::SignedDuration::from_mins(1)),
        |c| c.suspend = true,
    ];
    let of = |credential: &Credential| flight(credential, SecretStyle::Post, &Material::None);
    for (place, change) in changes.iter().enumerate() {
        let mut other = credential();
        change(&mut other);
        assert_eq!(of(&other), of(&credential()), "{place}");
    }
    let key = |more: Value| {
        let mut one = json!({ "secretName": "pair", "key": "k" });
        crate::fixtures::merge(&mut one, &more);
        request(&credential_with(
            &json!({ "client": { "secrets": null, "key": one } }),
        ))
    };
    for edit in [json!({ "keyId": "a" }), json!({ "algorithm": "PS256" })] {
        assert_eq!(key(edit.clone()), key(json!({})), "{edit}");
    }
}
