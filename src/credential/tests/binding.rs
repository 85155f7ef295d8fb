use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    api::names::ALLOWED_ISSUERS,
    credential::{
        Ask, Issuer,
        binding::{may_ask, may_leave, may_post, may_request_audience, may_send},
    },
    fixtures::{cluster_issuer, map, token_issuer},
};

fn cluster(rules: &Value) -> Issuer {
    let mut spec = json!({ "oauth2": { "tokenUrl": "https://issuer.example.com:8443/token" } });
    for (key, value) in rules.as_object().unwrap() {
        spec[key.as_str()] = value.clone();
    }
    Issuer::cluster(&cluster_issuer(&spec)).unwrap()
}

fn namespaced(spec: &Value) -> Issuer {
    Issuer::namespaced(&token_issuer(spec), &[]).unwrap()
}

fn asks(issuer: &Issuer, namespace: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
    may_ask(issuer, namespace, labels, &Ask::default()).is_ok()
}

#[test]
fn namespaces_are_allowed_by_name_or_by_label_and_else_not() {
    let labels = map(&[("env", "prod"), ("team", "blue")]);
    let expression = |operator: &str, values: Value| json!({ "selector": { "matchExpressions": [{ "key": "env", "operator": operator, "values": values }] } });
    #[rustfmt::skip]
    let cases = [
        (Value::Null, false),
        (json!({ "names": [] }), false),
        (json!({ "names": ["other"] }), false),
        (json!({ "names": ["secops"] }), true),
        (json!({ "names": ["secops*", "SECOPS", ""] }), false),
        (json!({ "selector": {} }), true),
        (json!({ "selector": { "matchLabels": { "env": "prod" } } }), true),
        (json!({ "selector": { "matchLabels": { "env": "prod", "team": "red" } } }), false),
        (json!({ "selector": { "matchLabels": { "env": "test" } } }), false),
        (json!({ "names": ["secops"], "selector": { "matchLabels": { "env": "test" } } }), true),
        (json!({ "names": ["other"], "selector": { "matchLabels": { "env": "prod" } } }), true),
        (expression("In", json!(["test", "prod"])), true),
        (expression("In", json!(["test"])), false),
        (expression("In", json!([])), false),
        (expression("NotIn", json!(["test"])), true),
        (expression("NotIn", json!(["prod"])), false),
        (expression("Exists", Value::Null), true),
        (expression("DoesNotExist", Value::Null), false),
        // An operator that is not known lets nobody in.
        (expression("Gt", json!(["0"])), false),
        (expression("", json!(["prod"])), false),
        (json!({ "selector": { "matchLabels": { "team": "blue" }, "matchExpressions": [{ "key": "env", "operator": "In", "values": ["test"] }] } }), false),
    ];
    for (rule, allowed) in cases {
        let issuer = if rule.is_null() {
            cluster(&json!({}))
        } else {
            cluster(&json!({ "allowedNamespaces": rule }))
        };
        assert_eq!(asks(&issuer, "secops", Some(&labels)), allowed, "{rule}");
    }
}

#[test]
fn absent_labels_match_only_the_negative_operators() {
    let none = BTreeMap::new();
    for (operator, allowed) in [
        ("In", false),
        ("NotIn", true),
        ("Exists", false),
        ("DoesNotExist", true),
    ] {
        let rule = json!({ "selector": { "matchExpressions": [{ "key": "env", "operator": operator, "values": ["prod"] }] } });
        let issuer = cluster(&json!({ "allowedNamespaces": rule }));
        assert_eq!(asks(&issuer, "secops", Some(&none)), allowed, "{operator}");
        // A namespace that was not seen yet is let in by its name only.
        assert!(!asks(&issuer, "secops", None), "{operator}");
    }
    assert!(asks(
        &cluster(&json!({ "allowedNamespaces": { "names": ["secops"] } })),
        "secops",
        None
    ));
}

#[test]
fn only_allowed_scopes_resources_and_audiences_may_be_asked_for() {
    let rules = json!({ "allowedNamespaces": { "selector": {} }, "allowedScopes": ["api/.default", "urn:r"] });
    let issuer = cluster(&rules);
    let ask = |scopes: &[&str], resource: Option<&str>, audience: Option<&str>| {
        let ask = Ask {
            scopes: scopes.iter().map(|s| (*s).to_owned()).collect(),
            resource: resource.map(str::to_owned),
            audience: audience.map(str::to_owned),
            ..Ask::default()
        };
        may_ask(&issuer, "secops", Some(&BTreeMap::new()), &ask)
    };
    assert!(ask(&["api/.default"], None, None).is_ok());
    assert!(ask(&["api/.default", "urn:r"], None, None).is_ok());
    assert!(
        ask(&[], Some("api"), None).is_ok(),
        "the v1 form of an allowed scope"
    );
    assert!(ask(&[], Some("api/"), None).is_ok());
    assert!(ask(&[], None, Some("urn:r")).is_ok());
    for refused in [
        ask(&[], None, None),
        ask(&["API/.default"], None, None),
        ask(&["api/.default", "more"], None, None),
        ask(&["api/.default more"], None, None),
        ask(&["api/.default"], Some("other"), None),
        ask(&["api/.default"], None, Some("other")),
    ] {
        let denial = refused.unwrap_err();
        assert_eq!(denial.reason(), "ScopeNotAllowed");
        assert!(
            denial.message().contains("api/.default"),
            "{}",
            denial.message()
        );
    }
    let open = cluster(&json!({ "allowedNamespaces": { "selector": {} } }));
    assert!(may_ask(&open, "secops", Some(&BTreeMap::new()), &Ask::default()).is_ok());
}

#[test]
fn an_issuer_that_limits_scopes_takes_along_only_what_its_administrator_names() {
    let asks = |rules: Value, parameters: &[(&str, &str)], claims: &[(&str, &str)]| {
        let mut all = json!({ "allowedNamespaces": { "selector": {} } });
        for (name, rule) in rules.as_object().unwrap() {
            all[name] = rule.clone();
        }
        let ask = Ask {
            scopes: vec!["api".to_owned()],
            parameters: map(parameters),
            claims: map(claims),
            ..Ask::default()
        };
        may_ask(&cluster(&all), "secops", Some(&BTreeMap::new()), &ask)
    };
    let limited = json!({ "allowedScopes": ["api"] });
    let refused = |rules: &Value, parameters: &[(&str, &str)], claims: &[(&str, &str)]| {
        let denial = asks(rules.clone(), parameters, claims).unwrap_err();
        assert_eq!(denial.reason(), "ParameterNotAllowed");
        denial.message().to_owned()
    };
    // Words for more rights, known ones and one that nobody knows.
    for name in [
        "authorization_details",
        "Claims",
        "permission",
        "request_uri",
        "organization",
        "requested_subject",
        "made_up",
    ] {
        let message = refused(&limited, &[(name, "x")], &[]);
        assert!(
            message.contains(&format!("parameter \"{name}\"")),
            "{message}"
        );
        assert!(
            asks(json!({}), &[(name, "x")], &[(name, "x")]).is_ok(),
            "{name}"
        );
    }
    let message = refused(&limited, &[], &[("target_audience", "x")]);
    assert!(message.contains("claim \"target_audience\""), "{message}");
    assert!(message.contains("spec.allowedParameters"), "{message}");

    let some = json!({ "allowedScopes": ["api"], "allowedParameters": ["a", "organization=one"] });
    assert!(
        asks(
            some.clone(),
            &[("a", "x"), ("organization", "one")],
            &[("a", "=")]
        )
        .is_ok()
    );
    // Letter by letter: what an issuer reads leniently is not let in leniently.
    for other in [
        ("organization", "two"),
        ("Organization", "one"),
        ("a[]", "x"),
        ("organization=one", ""),
    ] {
        refused(&some, &[other], &[]);
    }
    // It holds without a limit of scopes as well, and an empty list means nothing.
    refused(&json!({ "allowedParameters": [] }), &[("a", "x")], &[]);
}

#[test]
fn an_issuer_of_the_own_namespace_asks_for_no_permission_to_ask() {
    let issuer = namespaced(&json!({ "oauth2": { "tokenUrl": "https://i.example.com/t" } }));
    assert!(asks(&issuer, "secops", None));
}

#[test]
fn administrators_and_the_known_entra_hosts_vouch_and_nobody_else() {
    let send = |issuer: &Issuer| may_send(issuer, "client", None).is_ok();
    assert!(send(&cluster(&json!({}))));
    assert!(send(&namespaced(
        &json!({ "entra": { "tenantId": "t", "cloud": "China" } })
    )));
    for spec in [
        json!({ "oauth2": { "tokenUrl": "https://i.example.com/t" } }),
        json!({ "oidc": { "issuerUrl": "https://i.example.com" } }),
        json!({ "entra": { "tenantId": "t", "authorityHost": "https://i.example.com" } }),
        // A CA of the namespace's own could say that any host is Entra's.
        json!({ "entra": { "tenantId": "t" }, "caBundle": "PEM" }),
        // Even the real host, once it is written by hand, is the namespace's word.
        json!({ "entra": { "tenantId": "t", "authorityHost": "https://login.microsoftonline.com" } }),
    ] {
        let denial = may_send(&namespaced(&spec), "client", None).unwrap_err();
        assert_eq!(denial.reason(), "NotAuthorizedBySecret", "{spec}");
        assert!(
            denial
                .message()
                .contains("apicred.dev/allowed-issuers: https://"),
            "{}",
            denial.message()
        );
    }
}

#[test]
fn a_secret_names_the_exact_origin_in_any_case_with_or_without_a_slash() {
    let plain = namespaced(&json!({ "oauth2": { "tokenUrl": "https://i.example.com/token" } }));
    let port = namespaced(&json!({ "oauth2": { "tokenUrl": "https://i.example.com:8443/token" } }));
    #[rustfmt::skip]
    let cases = [
        ("https://i.example.com", true, false),
        ("https://i.example.com/", true, false),
        ("HTTPS://I.Example.COM", true, false),
        (" https://other , https://i.example.com ", true, false),
        ("https://i.example.com:8443", false, true),
        ("https://i.example.com:8443/", false, true),
        ("https://i.example.com:844", false, false),
        ("https://i.example.com/token", false, false),
        ("https://i.example.com.evil.com", false, false),
        ("https://evil.com/https://i.example.com", false, false),
        ("https://i.example.co", false, false),
        ("http://i.example.com", false, false),
        ("i.example.com", false, false),
        ("*", false, false),
        ("https://*.example.com", false, false),
        ("https://i.example.com https://x", false, false),
        ("https://i.example.com;https://x", false, false),
        ("", false, false),
    ];
    for (annotation, to_plain, to_port) in cases {
        let annotations = map(&[(ALLOWED_ISSUERS, annotation)]);
        let send = |issuer: &Issuer| may_send(issuer, "client", Some(&annotations)).is_ok();
        assert_eq!(
            (send(&plain), send(&port)),
            (to_plain, to_port),
            "{annotation:?}"
        );
    }
    let other_key = map(&[("apicred.dev/allowed-issuer", "https://i.example.com")]);
    assert!(may_send(&plain, "client", Some(&other_key)).is_err());
}

#[test]
fn a_discovered_endpoint_elsewhere_must_be_named_as_well() {
    let issuer = namespaced(&json!({ "oidc": { "issuerUrl": "https://i.example.com" } }));
    let post = |origin: &str, named: &str| {
        let annotations = map(&[(ALLOWED_ISSUERS, named)]);
        may_post(&issuer, origin, "client", Some(&annotations)).is_ok()
    };
    assert!(post("https://i.example.com", "https://i.example.com"));
    assert!(!post("https://t.example.com", "https://i.example.com"));
    assert!(post(
        "https://t.example.com",
        "https://i.example.com, https://t.example.com"
    ));
    assert!(
        may_post(
            &cluster(&json!({})),
            "https://t.example.com",
            "client",
            None
        )
        .is_ok()
    );
}

proptest! {
    #[test]
    fn no_annotation_but_the_exact_origin_lets_an_unvouched_issuer_have_a_secret(
        host in "[a-z]{1,3}\\.(com|net)", port in prop::option::of(1_u16..), value in "(https?://)?[a-z]{0,3}[.:/, *]?(com|net|[0-9]{0,5})/?",
        exact in any::<bool>(), key in "(apicred\\.dev/)?(allowed-issuers|allowed|x)",
    ) {
        let authority = port.map_or_else(|| host.clone(), |p| format!("{host}:{p}"));
        let issuer = namespaced(&json!({ "oauth2": { "tokenUrl": format!("https://{authority}/t") } }));
        let value = if exact { issuer.origin.clone() } else { value };
        let annotations = map(&[(key.as_str(), value.as_str())]);
        let named = key == ALLOWED_ISSUERS
            && value.split(',').any(|o| o.trim().trim_end_matches('/').to_lowercase() == issuer.origin);
        prop_assert_eq!(may_send(&issuer, "client", Some(&annotations)).is_ok(), named);
        prop_assert!(may_send(&issuer, "client", None).is_err());
    }
}

/// A JWT with this claims set; nobody checks the signature.
fn jwt(claims: &Value) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2ln", part(&json!({ "alg": "RS256" })), part(claims))
}

#[test]
fn a_service_account_token_that_the_api_server_accepts_goes_to_no_issuer() {
    let own = [
        "https://oidc.prod.example/cluster-7".to_owned(),
        "x".repeat(400),
    ];
    let leaves = |aud: Value| may_leave("robot", &jwt(&json!({ "aud": aud })), &own).is_ok();
    assert!(leaves(json!("https://issuer.example.com")));
    assert!(leaves(json!(["https://issuer.example.com", "vault"])));
    assert!(leaves(json!("https://oidc.prod.example/cluster-77")));
    for aud in [
        json!("https://oidc.prod.example/cluster-7"),
        json!(["https://oidc.prod.example/cluster-7"]),
        // One of many is enough, at every place in the list and of every length.
        json!(["vault", "https://oidc.prod.example/cluster-7"]),
        json!(["x".repeat(400)]),
        json!(
            (0..300)
                .map(|i| format!("a{i}"))
                .chain([own[0].clone()])
                .collect::<Vec<_>>()
        ),
        // Common names hold also where the server's own audiences are not known.
        json!("https://kubernetes.default.svc.cluster.local"),
        json!(["vault", "k3s"]),
        json!("https://x.hcp.westeurope.azmk8s.io:443"),
        // What cannot be read is not sent.
        json!([]),
        json!({}),
        json!(7),
        json!(["vault", 7]),
        Value::Null,
    ] {
        assert!(!leaves(aud.clone()), "{aud}");
    }
    for token in ["", "opaque", "a.b", "a.b.c.d", "!.!.!"] {
        let denial = may_leave("robot", token, &own).unwrap_err();
        assert_eq!(denial.reason(), "ServiceAccountTokenRefused");
        assert!(denial.message().contains("robot"), "{}", denial.message());
    }
    let denial = may_request_audience("robot", &own[0], &own).unwrap_err();
    assert!(denial.message().contains("serviceAccount.audience"));
    assert!(may_request_audience("robot", "https://issuer.example.com", &own).is_ok());
}
