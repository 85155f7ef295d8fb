//! Permissions of a token beyond the expected ones.

use super::*;

/// The expectation, the claims of the token, the scopes of the answer, and parts of the message.
type Exceeding<'a> = (
    &'a Value,
    Option<Value>,
    Option<&'a str>,
    Option<&'a [&'a str]>,
);

/// The condition of a token with more permissions than are expected.
pub(super) fn exceeded(
    expect: &Value,
    claims: Option<&Value>,
    scope: Option<&str>,
) -> Option<String> {
    let credential = crate::fixtures::credential_with(&json!({ "expect": expect, "scopes": null }));
    let mut token = crate::fixtures::token("t");
    token.claims = claims.and_then(|c| crate::oauth::claims_of(&jwt(c)).map(Box::new));
    token.scope = scope.map(str::to_owned);
    let mut shown = record(&credential, (-300, 1500, 3300));
    shown.claims = crate::plan::expect::claims(&credential, &token);
    let world = holding(&credential, shown);
    reported(&credential, &world, "PermissionsExceeded", 0).map(|(reason, message)| {
        assert_eq!(reason, "PermissionsExceeded");
        message
    })
}

#[test]
fn a_token_with_more_than_is_expected_is_reported_if_that_is_wanted() {
    let exact = |more: Value| {
        let mut expect = json!({ "exact": true });
        crate::fixtures::merge(&mut expect, &more);
        expect
    };
    let roles = exact(json!({ "roles": ["read"] }));
    let scopes = exact(json!({ "scopes": ["read"] }));
    let both = exact(json!({ "roles": ["read"], "scopes": ["read"] }));
    let held = |roles: Value, scope: &str| json!({ "roles": roles, "scope": scope });
    let secret_like = "Zx9Qw8Er7Ty6Ui5Op4As3Df2Gh1";
    #[rustfmt::skip]
    let cases: [Exceeding<'_>; 15] = [
        (&roles, Some(held(json!(["read"]), "")), None, None),
        (&roles, Some(held(json!(["read", "write"]), "")), None, Some(&["application permissions write", "expect.roles"])),
        (&roles, Some(held(json!([]), "")), None, None),
        // A list that is not set is not compared.
        (&roles, Some(held(json!(["read"]), "read admin")), None, None),
        (&scopes, Some(held(json!(["root"]), "read")), None, None),
        (&scopes, Some(held(json!([]), "read admin")), None, Some(&["delegated permissions admin", "expect.scopes"])),
        (&both, Some(held(json!(["a"]), "b")), None, Some(&["application permissions a", "delegated permissions b", "expect.roles and expect.scopes"])),
        // Scopes of a sign-in grant no access to an API.
        (&scopes, Some(held(json!([]), "openid profile email offline_access read")), None, None),
        // At issuers other than Entra ID values are case-sensitive.
        (&roles, Some(held(json!(["Read"]), "")), None, Some(&["Read"])),
        // An opaque token: the scopes of the answer.
        (&scopes, None, Some("read"), None),
        (&scopes, None, Some("read admin"), Some(&["admin"])),
        (&scopes, None, None, None),
        (&roles, None, Some("read admin"), None),
        // A name that looks like data is counted and not shown.
        (&roles, Some(held(json!(["read", secret_like]), "")), None, Some(&["1 whose names are not shown"])),
        (&json!({ "roles": ["read"] }), Some(held(json!(["read", "write"]), "")), None, None),
    ];
    for (expect, claims, scope, expected) in cases {
        let seen = exceeded(expect, claims.as_ref(), scope);
        assert_eq!(
            seen.is_some(),
            expected.is_some(),
            "{expect} {claims:?} {scope:?}: {seen:?}"
        );
        let (Some(seen), Some(expected)) = (seen, expected) else {
            continue;
        };
        assert!(
            expected.iter().all(|w| seen.contains(w)),
            "{expected:?}: {seen}"
        );
        assert!(!seen.contains(&secret_like[..8]), "{seen}");
    }
    // At Entra ID values are not case-sensitive, and the message names the place in the portal.
    let credential = expecting(&json!({ "roles": ["investigation.read"], "exact": true }));
    let mut noted = record(&credential, (-300, 1500, 3300));
    let held = |roles: &[&str]| {
        Some(Box::new(Claims {
            roles: roles.iter().map(|r| (*r).to_owned()).collect(),
            ..Claims::default()
        }))
    };
    let seen = |noted: &crate::publish::Record| {
        reported(
            &credential,
            &holding(&credential, noted.clone()),
            "PermissionsExceeded",
            0,
        )
    };
    noted.claims = held(&["Investigation.Read"]);
    assert_eq!(seen(&noted), None);
    noted.claims = held(&["Investigation.Read", "Investigation.ReadWrite"]);
    let (_, message) = seen(&noted).unwrap();
    assert!(
        message.contains("Investigation.ReadWrite") && message.contains("API permissions"),
        "{message}"
    );
}
