//! `allowedNamespaces` as the API server accepts or refuses it: each accepted selector has the meaning that it shows.

use apicred::api::ClusterTokenIssuer;
use serde_json::{Value, json};

use super::send;
use crate::support::{World, run};

fn issuer(namespaces: &Value) -> Value {
    json!({ "oauth2": { "tokenUrl": "https://a.example/token" }, "allowedNamespaces": namespaces })
}

fn condition(condition: &Value) -> Value {
    issuer(&json!({ "selector": { "matchExpressions": [condition] } }))
}

#[test]
fn namespace_selectors_are_accepted_or_refused_with_a_message() {
    run(async {
        let world = World::shared().await;
        let (operator, label) = ("In and NotIn need values", "a condition compares a label");
        for (spec, expected) in [
            (
                condition(&json!({ "key": "team", "operator": "NotIn" })),
                operator,
            ),
            (
                condition(&json!({ "key": "team", "operator": "In", "values": [] })),
                "values",
            ),
            (
                condition(&json!({ "key": "team", "operator": "Exists", "values": ["other"] })),
                operator,
            ),
            (
                condition(&json!({ "key": "team", "operator": "DoesNotExist", "values": ["x"] })),
                operator,
            ),
            (
                condition(&json!({ "key": "team", "operator": "in", "values": ["x"] })),
                "Unsupported value",
            ),
            (
                condition(&json!({ "key": "team", "operator": "=", "values": ["x"] })),
                "Unsupported value",
            ),
            (
                condition(&json!({ "key": "", "operator": "DoesNotExist" })),
                "key",
            ),
            (
                condition(&json!({ "key": "a b", "operator": "DoesNotExist" })),
                label,
            ),
            (
                condition(&json!({ "key": "a..b/c", "operator": "DoesNotExist" })),
                label,
            ),
            (
                condition(&json!({ "key": "team", "operator": "NotIn", "values": ["a b"] })),
                label,
            ),
            (
                issuer(&json!({ "selector": { "matchLabels": { "a b": "x" } } })),
                "this is not a label",
            ),
            (
                issuer(&json!({ "selector": { "matchLabels": { "team": "a,b" } } })),
                "this is not a label",
            ),
            (
                issuer(&json!({ "names": ["*"] })),
                "selector: {} allows every namespace",
            ),
            (
                issuer(&json!({ "names": ["Team"] })),
                "not the name of a namespace",
            ),
        ] {
            let reported = send::<ClusterTokenIssuer>(world, &spec)
                .await
                .expect_err(&format!("{spec} was taken"));
            assert!(
                reported.contains(expected),
                "{spec}: {expected:?} is not in: {reported}"
            );
        }
        for spec in [
            issuer(&json!({ "selector": {} })),
            issuer(&json!({ "names": ["team-a", "0"] })),
            issuer(
                &json!({ "selector": { "matchLabels": { "kubernetes.io/metadata.name": "a", "empty": "" } } }),
            ),
            condition(
                &json!({ "key": "example.com/Team_1", "operator": "NotIn", "values": ["", "a.b-c_d"] }),
            ),
            condition(&json!({ "key": "team", "operator": "DoesNotExist" })),
        ] {
            let taken = send::<ClusterTokenIssuer>(world, &spec).await;
            assert_eq!(taken, Ok(spec.clone()), "{spec}");
        }
    });
}
