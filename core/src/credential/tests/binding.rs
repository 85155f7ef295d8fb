use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    api::{
        Cloud, DeletionPolicy,
        names::{ALLOWED_AUDIENCES, ALLOWED_ISSUERS, CREDENTIAL_UID, PUBLISH_BY, STATE_OF},
    },
    credential::{
        Ask, Credential, Endpoint, Issuer, IssuerLookup,
        binding::{
            Use, is_named, may_ask, may_leave, may_open, may_post, may_request_audience, may_send,
            may_send_text, may_use_account, may_use_cloud,
        },
        parse,
    },
    fixtures::{cluster_issuer, credential_with, map, object, parse_both, token_issuer},
    oauth::{account_audience, known_endpoint},
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
    let mut at_entra = rules.clone();
    at_entra["oauth2"] = Value::Null;
    at_entra["entra"] = json!({ "tenantId": "contoso.example" });
    let entra = cluster(&at_entra);
    let resource_at = |issuer: &Issuer, resource: &str| {
        let ask = Ask {
            resources: vec![resource.to_owned()],
            ..Ask::default()
        };
        may_ask(issuer, "secops", Some(&BTreeMap::new()), &ask).is_ok()
    };
    let ask = |scopes: &[&str], resource: Option<&str>, audience: Option<&str>| {
        let ask = Ask {
            scopes: scopes.iter().map(|s| (*s).to_owned()).collect(),
            resources: resource.map(str::to_owned).into_iter().collect(),
            audience: audience.map(str::to_owned),
            ..Ask::default()
        };
        may_ask(&issuer, "secops", Some(&BTreeMap::new()), &ask)
    };
    assert!(ask(&["api/.default"], None, None).is_ok());
    assert!(ask(&["api/.default", "urn:r"], None, None).is_ok());
    // The v1 form of an allowed scope, at the issuer that has one.
    for resource in ["api", "api/"] {
        assert!(resource_at(&entra, resource) && !resource_at(&issuer, resource));
    }
    assert!(resource_at(&issuer, "urn:r"));
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
        assert_eq!(denial.reason().as_str(), "ScopeNotAllowed");
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
        assert_eq!(denial.reason().as_str(), "ParameterNotAllowed");
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

    // Of a Secret, only the name is compared: an answer by the value would tell whether a guess is right.
    for (allowed, taken) in [
        (json!({ "allowedScopes": ["api"] }), false),
        (json!({ "allowedParameters": ["hint=one", "other"] }), false),
        (json!({ "allowedParameters": ["hint"] }), true),
        (json!({}), true),
    ] {
        let mut rules = json!({ "allowedNamespaces": { "selector": {} } });
        crate::fixtures::merge(&mut rules, &allowed);
        let reference = crate::api::SecretKeyRef {
            name: "s".to_owned(),
            key: "k".to_owned(),
        };
        let ask = Ask {
            scopes: vec!["api".to_owned()],
            secret_parameters: [("hint".to_owned(), reference)].into(),
            ..Ask::default()
        };
        let asked = may_ask(&cluster(&rules), "secops", Some(&BTreeMap::new()), &ask);
        assert_eq!(asked.is_ok(), taken, "{allowed}");
        if let Err(denial) = asked {
            assert_eq!(denial.reason().as_str(), "ParameterNotAllowed");
            assert!(
                denial.message().contains("add only its name"),
                "{}",
                denial.message()
            );
        }
    }
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
        assert_eq!(denial.reason().as_str(), "NotAuthorizedBySecret", "{spec}");
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
        assert_eq!(denial.reason().as_str(), "ServiceAccountTokenRefused");
        assert!(denial.message().contains("robot"), "{}", denial.message());
    }
    let denial = may_request_audience("robot", &own[0], &own).unwrap_err();
    assert!(denial.message().contains("serviceAccount.audience"));
    assert!(may_request_audience("robot", "https://issuer.example.com", &own).is_ok());
}

/// Such tokens stand in Secrets beside client secrets, and whoever creates credentials may name any Secret.
#[test]
fn a_token_for_an_api_server_that_is_stored_in_a_secret_goes_to_no_issuer_that_its_owner_has_not_named()
 {
    let own = ["https://oidc.prod.example/cluster-7".to_owned()];
    let legacy = json!({
        "iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:secops:deployer",
        "kubernetes.io/serviceaccount/namespace": "secops",
    });
    let consents = |issuers: &str| Some(map(&[(ALLOWED_ISSUERS, issuers)]));
    for (name, _, credential) in uses() {
        let sends = |text: &str, notes: Option<&BTreeMap<String, String>>| {
            may_send_text(&credential, "s", notes, text, &own)
        };
        let nowhere = matches!(credential.issuer.endpoint, Endpoint::Nowhere);
        for claims in [
            legacy.clone(),
            json!({ "aud": own[0] }),
            json!({ "aud": ["vault", own[0]] }),
            json!({ "aud": "https://kubernetes.default.svc.cluster.local", "sub": "x" }),
            json!({ "aud": ["k3s"] }),
        ] {
            let token = jwt(&claims);
            for text in [token.clone(), format!("Bearer {token}")] {
                let denied = sends(&text, None);
                assert_eq!(denied.is_err(), !nowhere, "{name}: {claims}");
                assert_eq!(sends(&text, Some(&BTreeMap::new())), denied, "{name}");
                if let Err(denial) = denied {
                    assert_eq!(denial.reason().as_str(), "ServiceAccountTokenRefused");
                    assert!(
                        denial.message().contains("Secret s") && !denial.message().contains(&token)
                    );
                }
            }
            // Its owner has said where it goes; whether there, another rule says.
            assert!(sends(&token, consents("https://vault.example").as_ref()).is_ok());
        }
        // A token of a ServiceAccount for an issuer, a user's token, a client secret, and what is no token.
        for text in [
            jwt(
                &json!({ "iss": own[0], "aud": "api://AzureADTokenExchange", "sub": "system:serviceaccount:a:b" }),
            ),
            jwt(&json!({ "iss": "https://issuer.example.com", "aud": "kubernetes-dashboard" })),
            jwt(&json!({})),
            "a.b.c".to_owned(),
            "kubernetes/serviceaccount".to_owned(),
            "p w".to_owned(),
        ] {
            assert!(sends(&text, None).is_ok(), "{name}: {text}");
        }
    }
}

fn secret(annotations: &[(&str, &str)]) -> ObjectMeta {
    ObjectMeta {
        name: Some("s".to_owned()),
        annotations: Some(map(annotations)),
        ..ObjectMeta::default()
    }
}

/// Credentials that use Secret `s` for everything that a Secret can be used for, at an administrator's issuer.
fn uses() -> Vec<(&'static str, Use, Credential)> {
    let key = json!({ "name": "s", "key": "k" });
    let public = json!({ "secrets": null, "public": {} });
    let grant = |name: &str, inner: Value| json!({ "client": public, "grant": { name: inner } });
    let of = |change: Value| credential_with(&change);
    vec![
        ("client secret", Use::Client, of(json!({}))),
        (
            "certificate",
            Use::Client,
            of(json!({ "client": { "secrets": null, "certificates": [{ "secretName": "s" }] } })),
        ),
        (
            "mtls",
            Use::Client,
            of(json!({ "client": { "secrets": null, "mtls": { "secretName": "s" } } })),
        ),
        (
            "refresh token",
            Use::Grant,
            of(grant("refreshToken", json!({ "secretRef": key }))),
        ),
        (
            "subject token",
            Use::Grant,
            of(grant(
                "tokenExchange",
                json!({ "subject": { "secretRef": key, "tokenType": "urn:ietf:params:oauth:token-type:refresh_token" } }),
            )),
        ),
        (
            "assertion",
            Use::Grant,
            of(grant("jwtBearer", json!({ "assertionRef": key }))),
        ),
        (
            "password",
            Use::Grant,
            of(grant(
                "password",
                json!({ "username": "u", "passwordRef": key }),
            )),
        ),
        (
            "static key",
            Use::StaticKey,
            of(
                json!({ "issuerRef": null, "client": null, "scopes": null, "static": { "tokenRef": key } }),
            ),
        ),
        (
            "parameter",
            Use::Parameter,
            of(json!({ "parameters": [{ "name": "hint", "secretRef": key }] })),
        ),
        (
            "parameter of an extension grant",
            Use::Parameter,
            of(json!({ "grant": { "extension": {
                "grantType": "urn:x:y", "parameters": [{ "name": "hint", "secretRef": key }],
            } } })),
        ),
        (
            "parameter beside an exchange",
            Use::Parameter,
            of(json!({
                "parameters": [{ "name": "hint", "secretRef": key }],
                "grant": { "tokenExchange": { "subject": { "secretRef": key } } },
            })),
        ),
    ]
}

#[test]
fn an_annotation_that_dedicates_a_secret_excludes_every_other_use() {
    let serves = |meta: &ObjectMeta| -> Vec<&'static str> {
        let all = uses().into_iter();
        all.filter(|(_, purpose, credential)| may_open(credential, *purpose, meta).is_ok())
            .map(|(name, ..)| name)
            .collect()
    };
    let here = "https://issuer.example.com";
    let free = [
        "client secret",
        "certificate",
        "mtls",
        "subject token",
        "assertion",
        "password",
        "parameter",
        "parameter of an extension grant",
        "parameter beside an exchange",
    ];
    assert_eq!(serves(&secret(&[])), free);
    assert_eq!(serves(&secret(&[(STATE_OF, "alerts")])), ["refresh token"]);
    assert_eq!(
        serves(&secret(&[(PUBLISH_BY, "x, alerts")])),
        ["static key"]
    );
    for nothing in [
        secret(&[(STATE_OF, "other")]),
        secret(&[(STATE_OF, "")]),
        secret(&[(PUBLISH_BY, "other")]),
        secret(&[(STATE_OF, "alerts"), (PUBLISH_BY, "alerts")]),
        // A published token, also the credential's own from an earlier target.
        secret(&[(CREDENTIAL_UID, "another")]),
        secret(&[(CREDENTIAL_UID, crate::fixtures::UID)]),
        secret(&[(CREDENTIAL_UID, "")]),
        secret(&[(CREDENTIAL_UID, "another"), (PUBLISH_BY, "alerts")]),
        secret(&[(CREDENTIAL_UID, "another"), (STATE_OF, "alerts")]),
        secret(&[
            (CREDENTIAL_UID, "another"),
            (ALLOWED_ISSUERS, "https://other.example"),
        ]),
    ] {
        assert_eq!(serves(&nothing), [""; 0], "{:?}", nothing.annotations);
    }
    // The annotation was removed, the owner reference tells it.
    let mut owned = secret(&[]);
    owned.owner_references = Some(vec![
        serde_json::from_value(json!({ "apiVersion": "apicred.dev/v1alpha1", "kind": "ApiCredential", "name": "x", "uid": "u", "controller": true })).unwrap(),
    ]);
    assert_eq!(serves(&owned), [""; 0]);
    // A chain of tokens is a matter of explicit consent.
    assert_eq!(
        serves(&secret(&[
            (CREDENTIAL_UID, "another"),
            (ALLOWED_ISSUERS, here)
        ])),
        ["subject token", "assertion"]
    );
    // An owner pins a Secret to issuers, administrators' issuers included.
    assert_eq!(serves(&secret(&[(ALLOWED_ISSUERS, here)])), free);
    for elsewhere in [
        "https://other.example",
        "",
        ",",
        "https://issuer.example.com:8443",
    ] {
        assert_eq!(
            serves(&secret(&[(ALLOWED_ISSUERS, elsewhere)])),
            [""; 0],
            "{elsewhere}"
        );
    }
}

#[test]
fn a_secret_may_be_pinned_to_one_tenant_of_entra() {
    let of = |tenant: &str| {
        let change = json!({ "issuerRef": null, "entra": { "tenantId": tenant } });
        parse_both(&object(&change), |_| IssuerLookup::Missing).unwrap()
    };
    let pinned = secret(&[(
        ALLOWED_ISSUERS,
        "https://login.microsoftonline.com/good.example",
    )]);
    assert!(may_open(&of("good.example"), Use::Client, &pinned).is_ok());
    assert!(may_open(&of("GOOD.example"), Use::Client, &pinned).is_ok());
    assert!(may_open(&of("evil.example"), Use::Client, &pinned).is_err());
    let host = secret(&[(ALLOWED_ISSUERS, "https://login.microsoftonline.com")]);
    assert!(may_open(&of("evil.example"), Use::Client, &host).is_ok());
}

#[test]
fn a_name_names_every_object_of_the_name_and_a_name_with_uid_one_object() {
    for (entry, named) in [
        ("alerts", true),
        (" alerts ", true),
        ("alerts@uid-1", true),
        ("alerts@uid-2", false),
        ("alerts@", false),
        ("other@uid-1", false),
        ("@uid-1", false),
        ("alerts@uid-1@x", false),
        ("alert", false),
        ("", false),
        ("*", false),
    ] {
        assert_eq!(is_named(entry, "alerts", "uid-1"), named, "{entry:?}");
    }
    assert!(
        !is_named("alerts@", "alerts", ""),
        "an object without a UID"
    );
}

#[test]
fn a_cluster_issuer_limits_grants_and_subjects_and_what_a_grant_sends() {
    let key = json!({ "name": "s", "key": "k" });
    let asks = |rules: Value, grant: Value| {
        let issuer = cluster(&rules);
        let lookup = |_: &_| IssuerLookup::Found(issuer.clone());
        let public = json!({ "secrets": null, "public": {} });
        let change = json!({ "client": public, "scopes": ["read"], "grant": grant });
        let credential = parse_both(&object(&change), lookup).unwrap();
        may_ask(&issuer, "secops", Some(&BTreeMap::new()), &credential.ask)
            .map_err(|d| d.reason().as_str())
    };
    let all = |more: Value| {
        let mut rules = json!({ "allowedNamespaces": { "selector": {} } });
        crate::fixtures::merge(&mut rules, &more);
        rules
    };
    let password = json!({ "password": { "username": "ceo@corp.example", "passwordRef": key } });
    let signed = |more: Value| {
        let mut signed = json!({ "keyRef": key });
        crate::fixtures::merge(&mut signed, &more);
        json!({ "jwtBearer": { "signed": signed } })
    };
    let exchange = |requested: &str| json!({ "tokenExchange": { "subject": { "secretRef": key }, "requestedTokenType": requested } });
    let robot =
        json!({ "tokenExchange": { "subject": { "serviceAccount": { "name": "robot" } } } });
    let limited = json!({ "allowedScopes": ["read"] });
    let jwt_type = "urn:ietf:params:oauth:token-type:jwt";
    let usual = "urn:ietf:params:oauth:token-type:access_token";
    let refresh = json!({ "refreshToken": { "secretRef": key } });
    let extension = json!({ "extension": { "grantType": "urn:x:y", "parameters": [
        { "name": "account_id", "value": "1" }, { "name": "key", "secretRef": key },
    ] } });
    #[rustfmt::skip]
    let cases = [
        // Grants: all but password, or those that are listed.
        (json!({}), password.clone(), Err("GrantNotAllowed")),
        (json!({ "allowedGrants": ["Password"] }), password.clone(), Ok(())),
        (json!({ "allowedGrants": ["Password"] }), refresh.clone(), Err("GrantNotAllowed")),
        (json!({ "allowedGrants": [] }), refresh.clone(), Err("GrantNotAllowed")),
        (json!({}), refresh.clone(), Ok(())),
        (limited.clone(), refresh, Ok(())),
        (limited.clone(), password.clone(), Err("GrantNotAllowed")),
        // Subjects.
        (json!({ "allowedScopes": ["read"], "allowedGrants": ["Password"] }), password.clone(), Err("SubjectNotAllowed")),
        (json!({ "allowedScopes": ["read"], "allowedGrants": ["Password"], "allowedSubjects": ["ceo@corp.example"] }), password.clone(), Ok(())),
        (json!({ "allowedGrants": ["Password"], "allowedSubjects": ["CEO@corp.example", "x"] }), password, Err("SubjectNotAllowed")),
        (json!({}), signed(json!({ "subject": "admin@corp.example" })), Ok(())),
        (limited.clone(), signed(json!({ "subject": "admin@corp.example" })), Err("SubjectNotAllowed")),
        (json!({ "allowedScopes": ["read"], "allowedSubjects": ["admin@corp.example"] }), signed(json!({ "subject": "admin@corp.example" })), Ok(())),
        (json!({ "allowedSubjects": ["x"] }), signed(json!({ "subject": "admin@corp.example" })), Err("SubjectNotAllowed")),
        (limited.clone(), robot.clone(), Ok(())),
        (json!({ "allowedSubjects": ["x"] }), robot.clone(), Err("SubjectNotAllowed")),
        (json!({ "allowedSubjects": ["system:serviceaccount:other:robot"] }), robot.clone(), Err("SubjectNotAllowed")),
        (json!({ "allowedSubjects": ["system:serviceaccount:secops:robot"] }), robot, Ok(())),
        // What a grant sends beside secrets counts as a parameter.
        (limited.clone(), signed(json!({})), Ok(())),
        (limited.clone(), signed(json!({ "issuer": "robot@x" })), Err("ParameterNotAllowed")),
        (limited.clone(), signed(json!({ "audience": "https://other.example/token" })), Err("ParameterNotAllowed")),
        (json!({ "allowedScopes": ["read"], "allowedParameters": ["iss=robot@x", "aud=https://a"] }), signed(json!({ "issuer": "robot@x", "audience": "https://a" })), Ok(())),
        (json!({ "allowedScopes": ["read"], "allowedParameters": ["iss=robot@x"] }), signed(json!({ "issuer": "robot@y" })), Err("ParameterNotAllowed")),
        (json!({ "allowedParameters": [] }), signed(json!({ "issuer": "robot@x" })), Err("ParameterNotAllowed")),
        (json!({}), signed(json!({ "issuer": "robot@x", "audience": "https://a" })), Ok(())),
        (limited.clone(), exchange(usual), Ok(())),
        (limited.clone(), exchange(jwt_type), Err("ParameterNotAllowed")),
        (json!({ "allowedScopes": ["read"], "allowedParameters": ["requested_token_type"] }), exchange(jwt_type), Ok(())),
        (json!({}), exchange(jwt_type), Ok(())),
        // An extension grant, and each of its parameters, by name or with its value.
        (json!({}), extension.clone(), Err("GrantNotAllowed")),
        (json!({ "allowedGrants": ["Extension"] }), extension.clone(), Ok(())),
        (json!({ "allowedGrants": ["Extension"], "allowedParameters": [] }), extension.clone(), Err("ParameterNotAllowed")),
        (json!({ "allowedGrants": ["Extension"], "allowedScopes": ["read"] }), extension.clone(), Err("ParameterNotAllowed")),
        (json!({ "allowedGrants": ["Extension"], "allowedParameters": ["account_id", "key"] }), extension.clone(), Err("ParameterNotAllowed")),
        (json!({ "allowedGrants": ["Extension"], "allowedParameters": ["grant_type=other", "account_id", "key"] }), extension.clone(), Err("ParameterNotAllowed")),
        (json!({ "allowedGrants": ["Extension"], "allowedParameters": ["grant_type=urn:x:y", "account_id=2", "key"] }), extension.clone(), Err("ParameterNotAllowed")),
        (json!({ "allowedGrants": ["Extension"], "allowedParameters": ["grant_type=urn:x:y", "account_id=1"] }), extension.clone(), Err("ParameterNotAllowed")),
        (json!({ "allowedGrants": ["Extension"], "allowedParameters": ["grant_type=urn:x:y", "account_id=1", "key"] }), extension, Ok(())),
    ];
    for (rules, grant, expected) in cases {
        assert_eq!(
            asks(all(rules.clone()), grant.clone()),
            expected,
            "{rules} {grant}"
        );
    }
}

#[test]
fn no_refresh_token_is_requested_into_a_secret_that_workloads_mount() {
    for requested in [
        "urn:ietf:params:oauth:token-type:refresh_token",
        "URN:IETF:params:oauth:token-type:Refresh_Token",
        "refresh_token",
    ] {
        let grant = json!({ "tokenExchange": {
            "subject": { "secretRef": { "name": "s", "key": "k" } }, "requestedTokenType": requested,
        } });
        let object = object(&json!({ "grant": grant }));
        let faults =
            parse(&object, |_| IssuerLookup::Found(crate::fixtures::issuer())).unwrap_err();
        assert_eq!(
            faults[0].field,
            "spec.grant.tokenExchange.requestedTokenType"
        );
        let smuggled = crate::fixtures::object(
            &json!({ "parameters": [{ "name": "requested_token_type", "value": requested }] }),
        );
        let lookup = |_: &_| IssuerLookup::Found(crate::fixtures::issuer());
        assert!(parse(&smuggled, lookup).is_err());
    }
}

#[test]
fn a_service_account_says_where_its_tokens_go_and_for_which_audiences() {
    let account = |audience: Option<&str>| {
        let account = json!({ "name": "robot", "audience": audience });
        json!({ "client": { "secrets": null, "serviceAccount": account } })
    };
    let use_it = |issuer: Issuer, audience: Option<&str>, notes: &[(&str, &str)]| {
        let lookup = |_: &_| IssuerLookup::Found(issuer.clone());
        let credential = parse_both(&object(&account(audience)), lookup).unwrap();
        let endpoint = known_endpoint(&credential).unwrap();
        let audience = audience.map_or_else(
            || account_audience(&credential, Some(&endpoint)),
            str::to_owned,
        );
        may_use_account(
            &credential,
            Some(&endpoint),
            "robot",
            Some(&map(notes)),
            &audience,
        )
        .map_err(|d| d.reason().as_str())
    };
    let admin = |more: Value| {
        let mut rules = json!({ "oauth2": { "tokenUrl": "https://i.example.com/token" } });
        crate::fixtures::merge(&mut rules, &more);
        Issuer::cluster(&cluster_issuer(&rules)).unwrap()
    };
    let own = |more: Value| {
        let mut rules = json!({ "tokenUrl": "https://i.example.com/token" });
        crate::fixtures::merge(&mut rules, &more);
        namespaced(&json!({ "oauth2": rules }))
    };
    let aws = "sts.amazonaws.com";
    let lists = |audience| [(ALLOWED_AUDIENCES, audience)];
    let here = (ALLOWED_ISSUERS, "https://i.example.com");
    // The issuer's own audience needs no word, another one does.
    assert_eq!(use_it(admin(json!({})), None, &[]), Ok(()));
    assert_eq!(
        use_it(admin(json!({})), Some("https://i.example.com/token"), &[]),
        Ok(())
    );
    assert_eq!(
        use_it(admin(json!({})), Some("https://i.example.com/"), &[]),
        Ok(())
    );
    assert_eq!(
        use_it(admin(json!({})), Some(aws), &[]),
        Err("AudienceNotAllowed")
    );
    assert_eq!(
        use_it(
            admin(json!({})),
            Some(aws),
            &lists("vault, sts.amazonaws.com")
        ),
        Ok(())
    );
    assert_eq!(
        use_it(admin(json!({})), Some(aws), &lists("vault")),
        Err("AudienceNotAllowed")
    );
    let by_issuer = json!({ "allowedParameters": ["aud=sts.amazonaws.com"] });
    assert_eq!(use_it(admin(by_issuer.clone()), Some(aws), &[]), Ok(()));
    assert_eq!(
        use_it(admin(by_issuer), Some("vault"), &[]),
        Err("AudienceNotAllowed")
    );
    let named = json!({ "oauth2": { "issuer": aws } });
    assert_eq!(
        use_it(admin(named), None, &[]),
        Ok(()),
        "an administrator's word"
    );
    // `allowed-issuers` limits an administrator's issuer too.
    let elsewhere = [(ALLOWED_ISSUERS, "https://other.example")];
    assert_eq!(
        use_it(admin(json!({})), None, &elsewhere),
        Err("NotAuthorizedBySecret")
    );
    assert_eq!(use_it(admin(json!({})), None, &[here]), Ok(()));
    // An issuer of the namespace calls itself what it likes.
    assert_eq!(
        use_it(own(json!({})), None, &[]),
        Err("NotAuthorizedBySecret")
    );
    assert_eq!(use_it(own(json!({})), None, &[here]), Ok(()));
    let liar = || own(json!({ "issuer": aws }));
    assert_eq!(use_it(liar(), None, &[here]), Err("AudienceNotAllowed"));
    assert_eq!(
        use_it(liar(), Some(aws), &[here]),
        Err("AudienceNotAllowed")
    );
    assert_eq!(
        use_it(liar(), Some(aws), &[here, (ALLOWED_AUDIENCES, aws)]),
        Ok(())
    );
}

#[test]
fn a_national_cloud_is_used_where_the_installation_or_an_administrator_names_it() {
    let public = [Cloud::Public];
    let inline = |cloud| Issuer::inline("good.example", cloud).unwrap();
    assert!(may_use_cloud(&public, &inline(Cloud::Public)).is_ok());
    for cloud in [Cloud::USGov, Cloud::China] {
        let entra = json!({ "entra": { "tenantId": "t.example", "cloud": cloud } });
        for issuer in [inline(cloud), namespaced(&entra)] {
            let denial = may_use_cloud(&public, &issuer).unwrap_err();
            assert_eq!(denial.reason().as_str(), "CloudNotAllowed");
            assert!(
                denial.message().contains("entraClouds"),
                "{}",
                denial.message()
            );
            assert!(may_use_cloud(&[cloud], &issuer).is_ok());
        }
        assert!(may_use_cloud(&public, &Issuer::cluster(&cluster_issuer(&entra)).unwrap()).is_ok());
        // Nobody vouches for this one, so each Secret names it.
        let elsewhere = json!({ "entra": { "tenantId": "t.example", "cloud": cloud, "authorityHost": "https://e.example" } });
        assert!(may_use_cloud(&public, &namespaced(&elsewhere)).is_ok());
    }
    assert!(may_use_cloud(&[], &inline(Cloud::Public)).is_err());
    assert!(may_use_cloud(&[], &Issuer::nowhere()).is_ok());
}

/// The others would keep a token that the deletion of this one revokes.
#[test]
fn a_credential_that_revokes_its_token_shares_no_answer_with_others() {
    let credential = credential_with(&json!({}));
    assert!(credential.is_shareable());
    let mut revokes = credential;
    revokes.target.deletion = DeletionPolicy::Revoke;
    assert!(!revokes.is_shareable());
}
