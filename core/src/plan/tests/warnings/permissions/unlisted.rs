//! `expect.exact`: permissions that cannot be stored by name count as well.

use super::{exceeded::exceeded, *};

/// The expectation, the claims of the token, the scopes of the answer, and parts of the message.
type Case<'a> = (Value, Option<Value>, Option<&'a str>, Option<&'a str>);

#[test]
fn permissions_with_odd_names_and_beyond_the_bound_are_counted() {
    let roles = json!({ "roles": ["read"], "exact": true });
    let scopes = json!({ "scopes": ["read"], "exact": true });
    let many =
        |from: usize| -> Vec<String> { (from..100).map(|n| format!("role-{n:03}")).collect() };
    let listed: Vec<String> = many(68);
    let long = "r".repeat(257);
    let of = |roles: Value| json!({ "roles": roles });
    let secret_like = "Zx9Qw8Er7Ty6Ui5Op4As3Df2Gh1";
    #[rustfmt::skip]
    let cases: [Case<'_>; 20] = [
        (roles.clone(), Some(of(json!(["read", "Global Administrator"]))), None, Some("(1 whose names are not shown)")),
        (roles.clone(), Some(of(json!(["read", "Verwaltung-Ä", "администратор"]))), None, Some("(2 whose names are not shown)")),
        (roles.clone(), Some(of(json!(["read", "write", "Global Administrator"]))), None, Some("write and 1 whose names are not shown")),
        (roles.clone(), Some(of(json!(["read", "a b", "a b"]))), None, Some("(1 whose")),
        (roles.clone(), Some(of(json!(["read", long]))), None, Some("(1 whose")),
        (roles.clone(), Some(of(json!(["read", ""]))), None, None),
        (roles.clone(), Some(of(json!(["read", 7, { "name": "admin" }]))), None, Some("(2 whose")),
        (roles.clone(), Some(of(json!(["read", null]))), None, None),
        (roles.clone(), Some(of(json!(["read"]))), None, None),
        // Keycloak, and Auth0.
        (roles.clone(), Some(json!({ "realm_access": { "roles": ["read", "a b"] } })), None, Some("(1 whose")),
        (roles.clone(), Some(json!({ "permissions": ["read", "a b"], "roles": ["c d"] })), None, Some("(2 whose")),
        // The expectation has such a name itself, and may be that permission.
        (json!({ "roles": ["Global Administrator"], "exact": true }), Some(of(json!(["Global Administrator"]))), None, None),
        (json!({ "roles": ["Global Administrator"], "exact": true }), Some(of(json!(["Global Administrator", "a b"]))), None, Some("(1 whose")),
        // More than are stored: the expected permission may be among the others.
        (json!({ "roles": ["role-000"], "exact": true }), Some(of(json!(many(0)))), None, Some("36 whose names are not shown")),
        (json!({ "roles": listed, "exact": true }), Some(of(json!(many(68)))), None, None),
        // A list that is not set is not compared.
        (scopes.clone(), Some(json!({ "scope": "read", "roles": ["a b"] })), None, None),
        (scopes.clone(), Some(json!({ "scope": "read verwaltung-ä" })), None, Some("(1 whose")),
        (scopes.clone(), Some(json!({ "scp": ["read", "a b"] })), None, Some("(1 whose")),
        // The scopes of the answer.
        (scopes.clone(), None, Some(&format!("read {secret_like}")), Some("(1 whose")),
        (scopes.clone(), None, Some("read verwaltung-ä"), Some("verwaltung")),
    ];
    for (expect, claims, scope, expected) in cases {
        let seen = exceeded(&expect, claims.as_ref(), scope);
        let as_expected = match (&seen, expected) {
            (Some(seen), Some(expected)) => seen.contains(expected),
            (None, None) => true,
            _ => false,
        };
        assert!(as_expected, "{expect} {claims:?} {scope:?}: {seen:?}");
        assert!(!seen.unwrap_or_default().contains(&secret_like[..8]));
    }
}
