use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    credential::{Credential, Endpoint, SecretStyle},
    fixtures::{credential, credential_with, map, secrets},
    plan::fingerprint::{DigestKey, fraction, request},
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
    fn a_fraction_is_in_zero_to_one_and_stable(words in prop::collection::vec(".{0,8}", 0..4)) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let fraction_now = fraction(&words);
        prop_assert!((0.0..1.0).contains(&fraction_now));
        prop_assert_eq!(fraction_now.to_bits(), fraction(&words).to_bits());
    }
}
