//! What a token of a GitHub App has and lacks of `spec.expect`: permissions of the installation, each with a level.

use serde_json::{Value, json};

use crate::{
    credential::{Credential, Issuer, IssuerLookup, parse},
    fixtures::{at, cluster_issuer, holding, merge, object, record, token},
    plan::{Outcome, expect, status},
};

fn credential(change: &Value) -> Credential {
    let spec =
        json!({ "githubApp": { "installationId": 4711 }, "allowedNamespaces": { "selector": {} } });
    let issuer = Issuer::cluster(&cluster_issuer(&spec)).unwrap();
    let key = json!({ "secretName": "app", "key": "private-key.pem" });
    let mut spec =
        json!({ "scopes": null, "client": { "id": "Iv23li", "secrets": null, "key": key } });
    merge(&mut spec, change);
    parse(&object(&spec), |_| IssuerLookup::Found(issuer)).unwrap()
}

/// Reason and message of the conditions about permissions. Tokens of GitHub cannot be read, so the permissions are those of the
/// answer.
fn reported(expected: &Value, granted: &str) -> Vec<(String, String)> {
    let credential = credential(&json!({ "expect": expected }));
    let mut token = token("t");
    token.claims = None;
    token.scope = Some(granted.to_owned());
    let mut shown = record(&credential, (-300, 1500, 3300));
    shown.claims = expect::claims(&credential, &token);
    let world = holding(&credential, shown);
    let view = status(&credential, &world, &Outcome::Steady, None, at(0)).status;
    let all = view.conditions.into_iter();
    all.filter(|c| c.type_.starts_with("Permissions"))
        .map(|c| (c.reason, c.message))
        .collect()
}

#[test]
fn a_level_includes_the_lower_ones_and_metadata_comes_with_each_permission() {
    let read = json!({ "scopes": ["contents:read"] });
    let exactly = json!({ "scopes": ["contents:read"], "exact": true });
    #[rustfmt::skip]
    let cases = [
        (&read, "contents:read metadata:read", &[][..]),
        (&read, "contents:write metadata:read", &[]),
        (&read, "contents:admin", &[]),
        (&read, "issues:write metadata:read", &["ScopesMissing"]),
        (&exactly, "contents:read metadata:read", &[]),
        (&exactly, "contents:read", &[]),
        (&exactly, "contents:write metadata:read", &["PermissionsExceeded"]),
        (&exactly, "contents:read issues:read", &["PermissionsExceeded"]),
        (&exactly, "contents:read metadata:write", &["PermissionsExceeded"]),
        (&exactly, "issues:read", &["ScopesMissing", "PermissionsExceeded"]),
    ];
    for (expected, granted, reasons) in cases {
        let seen = reported(expected, granted);
        let found: Vec<&str> = seen.iter().map(|(reason, _)| reason.as_str()).collect();
        assert_eq!(found, reasons, "{expected} {granted}: {seen:?}");
        // Terms of Entra ID.
        for (_, message) in &seen {
            assert!(!message.contains("delegated"), "{message}");
            assert!(message.contains("installation"), "{message}");
        }
    }
    // A lower level than the expected one is missing, although the expected level includes it.
    let wide = json!({ "scopes": ["contents:write"], "exact": true });
    let seen = reported(&wide, "contents:read");
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].0, "ScopesMissing");
}
