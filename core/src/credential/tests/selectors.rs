//! Values of `allowedNamespaces` that are neither valid names nor a valid selector. They are refused, and no namespace is served.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    Reason,
    api::{AllowedNamespaces, ClusterTokenIssuer},
    credential::{Issuer, binding::may_be_served},
    fixtures::{cluster_issuer, map},
};

fn issuer(namespaces: &Value) -> ClusterTokenIssuer {
    cluster_issuer(
        &json!({ "oauth2": { "tokenUrl": "https://i/t" }, "allowedNamespaces": namespaces }),
    )
}

fn condition(condition: &Value) -> Value {
    json!({ "selector": { "matchExpressions": [condition] } })
}

#[test]
fn a_selector_that_kubernetes_refuses_is_refused_and_selects_no_namespace() {
    let (key, values) = (
        "spec.allowedNamespaces.selector.matchExpressions[0].key",
        "spec.allowedNamespaces.selector.matchExpressions[0].values",
    );
    let labels = "spec.allowedNamespaces.selector.matchLabels";
    for (namespaces, field) in [
        (
            condition(&json!({ "key": "team", "operator": "NotIn" })),
            values,
        ),
        (
            condition(&json!({ "key": "team", "operator": "NotIn", "values": [] })),
            values,
        ),
        (
            condition(&json!({ "key": "team", "operator": "In" })),
            values,
        ),
        (
            condition(&json!({ "key": "team", "operator": "Exists", "values": ["other"] })),
            values,
        ),
        (
            condition(&json!({ "key": "absent", "operator": "DoesNotExist", "values": ["x"] })),
            values,
        ),
        (
            condition(&json!({ "key": "absent", "operator": "NotIn", "values": ["a b"] })),
            values,
        ),
        (
            condition(&json!({ "key": "", "operator": "DoesNotExist" })),
            key,
        ),
        (
            condition(&json!({ "key": "a b", "operator": "DoesNotExist" })),
            key,
        ),
        (
            condition(&json!({ "key": "A.B/c", "operator": "DoesNotExist" })),
            key,
        ),
        (
            condition(&json!({ "key": "a..b/c", "operator": "DoesNotExist" })),
            key,
        ),
        (
            condition(&json!({ "key": "a/b/c", "operator": "DoesNotExist" })),
            key,
        ),
        (
            condition(&json!({ "key": "a/", "operator": "DoesNotExist" })),
            key,
        ),
        (
            json!({ "selector": { "matchLabels": { "a b": "x" } } }),
            labels,
        ),
        (
            json!({ "selector": { "matchLabels": { "team": "blue,red" } } }),
            labels,
        ),
        (json!({ "names": ["*"] }), "spec.allowedNamespaces.names[0]"),
        (
            json!({ "names": ["secops", "Team"] }),
            "spec.allowedNamespaces.names[1]",
        ),
        (
            json!({ "names": ["team-*"] }),
            "spec.allowedNamespaces.names[0]",
        ),
        (
            json!({ "names": ["-a"] }),
            "spec.allowedNamespaces.names[0]",
        ),
    ] {
        let errors = Issuer::cluster(&issuer(&namespaces))
            .err()
            .unwrap_or_else(|| panic!("{namespaces} was taken"));
        assert_eq!(errors.len(), 1, "{namespaces}: {errors:?}");
        assert_eq!(
            (errors[0].field.as_str(), errors[0].reason),
            (field, Reason::InvalidSpec),
            "{namespaces}"
        );
        // Even if parsing had accepted the value, the check serves no namespace.
        let mut lax = Issuer::cluster(&issuer(&json!({ "names": [] }))).unwrap();
        let allowed: AllowedNamespaces = serde_json::from_value(namespaces.clone()).unwrap();
        lax.allowed_namespaces = Some(AllowedNamespaces {
            names: None,
            ..allowed
        });
        let labels: BTreeMap<String, String> = map(&[("team", "blue")]);
        assert!(
            may_be_served(&lax, "apps", Some(&labels)).is_err(),
            "{namespaces}"
        );
    }
}

#[test]
fn operators_are_those_of_kubernetes_to_the_letter() {
    for operator in ["in", "=", "==", "!=", "notin", "exists", "Gt", ""] {
        let namespaces =
            condition(&json!({ "key": "team", "operator": operator, "values": ["a"] }));
        let read = serde_json::from_value::<AllowedNamespaces>(namespaces);
        assert!(read.is_err(), "{operator:?} was taken");
    }
}

#[test]
fn a_selector_that_kubernetes_accepts_is_accepted() {
    for (namespaces, served) in [
        (json!({ "selector": {} }), true),
        (json!({ "selector": { "matchExpressions": [] } }), true),
        (
            condition(&json!({ "key": "team", "operator": "NotIn", "values": ["red", ""] })),
            true,
        ),
        (
            condition(&json!({ "key": "example.com/Team_1", "operator": "DoesNotExist" })),
            true,
        ),
        (
            condition(&json!({ "key": "team", "operator": "Exists", "values": [] })),
            true,
        ),
        (
            json!({ "selector": { "matchLabels": { "kubernetes.io/metadata.name": "apps" } } }),
            true,
        ),
        (
            json!({ "selector": { "matchLabels": { "team": "" } } }),
            false,
        ),
        (json!({ "names": ["apps", "0-a"] }), true),
    ] {
        let issuer =
            Issuer::cluster(&issuer(&namespaces)).unwrap_or_else(|e| panic!("{namespaces}: {e:?}"));
        let labels = map(&[("team", "blue"), ("kubernetes.io/metadata.name", "apps")]);
        let result = may_be_served(&issuer, "apps", Some(&labels));
        assert_eq!(result.is_ok(), served, "{namespaces}");
    }
}
