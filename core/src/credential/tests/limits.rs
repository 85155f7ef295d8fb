use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::binding::{cluster, namespaced};
use crate::{
    credential::{Issuer, IssuerLookup, RequestParameters, binding::may_request},
    fixtures::{map, object, parse_both},
};

fn is_allowed(issuer: &Issuer, namespace: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
    may_request(issuer, namespace, labels, &RequestParameters::default()).is_ok()
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
        (json!({ "selector": {} }), true),
        (json!({ "selector": { "matchLabels": { "env": "prod" } } }), true),
        (json!({ "selector": { "matchLabels": { "env": "prod", "team": "red" } } }), false),
        (json!({ "selector": { "matchLabels": { "env": "test" } } }), false),
        (json!({ "names": ["secops"], "selector": { "matchLabels": { "env": "test" } } }), true),
        (json!({ "names": ["other"], "selector": { "matchLabels": { "env": "prod" } } }), true),
        (expression("In", json!(["test", "prod"])), true),
        (expression("In", json!(["test"])), false),
        (expression("NotIn", json!(["test"])), true),
        (expression("NotIn", json!(["prod"])), false),
        (expression("Exists", json!([])), true),
        (expression("DoesNotExist", json!([])), false),
        (json!({ "selector": { "matchLabels": { "team": "blue" }, "matchExpressions": [{ "key": "env", "operator": "In", "values": ["test"] }] } }), false),
    ];
    for (rule, allowed) in cases {
        let issuer = if rule.is_null() {
            cluster(&json!({}))
        } else {
            cluster(&json!({ "allowedNamespaces": rule }))
        };
        assert_eq!(
            is_allowed(&issuer, "secops", Some(&labels)),
            allowed,
            "{rule}"
        );
    }
}

#[test]
fn absent_labels_match_only_the_negative_operators() {
    let none = BTreeMap::new();
    let (some, nothing) = (json!(["prod"]), json!([]));
    for (operator, values, allowed) in [
        ("In", &some, false),
        ("NotIn", &some, true),
        ("Exists", &nothing, false),
        ("DoesNotExist", &nothing, true),
    ] {
        let rule = json!({ "selector": { "matchExpressions": [{ "key": "env", "operator": operator, "values": values }] } });
        let issuer = cluster(&json!({ "allowedNamespaces": rule }));
        assert_eq!(
            is_allowed(&issuer, "secops", Some(&none)),
            allowed,
            "{operator}"
        );
        // A namespace whose labels are not known yet is allowed only by its name.
        assert!(!is_allowed(&issuer, "secops", None), "{operator}");
    }
    assert!(is_allowed(
        &cluster(&json!({ "allowedNamespaces": { "names": ["secops"] } })),
        "secops",
        None
    ));
}

#[test]
fn only_allowed_scopes_resources_and_audiences_may_be_requested() {
    let rules = json!({ "allowedNamespaces": { "selector": {} }, "allowedScopes": ["api/.default", "urn:r"] });
    let issuer = cluster(&rules);
    let mut at_entra = rules.clone();
    at_entra["oauth2"] = Value::Null;
    at_entra["entra"] = json!({ "tenantId": "contoso.example" });
    let entra = cluster(&at_entra);
    let resource_at = |issuer: &Issuer, resource: &str| {
        let request = RequestParameters {
            resources: vec![resource.to_owned()],
            ..RequestParameters::default()
        };
        may_request(issuer, "secops", Some(&BTreeMap::new()), &request).is_ok()
    };
    let request = |scopes: &[&str], resource: Option<&str>, audience: Option<&str>| {
        let request = RequestParameters {
            scopes: scopes.iter().map(|s| (*s).to_owned()).collect(),
            resources: resource.map(str::to_owned).into_iter().collect(),
            audience: audience.map(str::to_owned),
            ..RequestParameters::default()
        };
        may_request(&issuer, "secops", Some(&BTreeMap::new()), &request)
    };
    assert!(request(&["api/.default"], None, None).is_ok());
    assert!(request(&["api/.default", "urn:r"], None, None).is_ok());
    // The v1 form of an allowed scope, at the issuer that supports it.
    for resource in ["api", "api/"] {
        assert!(resource_at(&entra, resource) && !resource_at(&issuer, resource));
    }
    // A path is no proof that the server compares scopes as Entra ID does.
    let mut by_path = rules.clone();
    by_path["oauth2"] = json!({ "tokenUrl": "https://sso.corp.example/t/oauth2/v2.0/token" });
    assert!(!resource_at(&cluster(&by_path), "api"));
    let mut by_host = rules.clone();
    by_host["oauth2"] =
        json!({ "tokenUrl": "https://login.microsoftonline.com/t/oauth2/v2.0/token" });
    assert!(resource_at(&cluster(&by_host), "api"));
    assert!(resource_at(&issuer, "urn:r"));
    assert!(request(&[], None, Some("urn:r")).is_ok());
    for refused in [
        request(&[], None, None),
        request(&["API/.default"], None, None),
        request(&["api/.default", "more"], None, None),
        request(&["api/.default more"], None, None),
        request(&["api/.default"], Some("other"), None),
        request(&["api/.default"], None, Some("other")),
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
    assert!(
        may_request(
            &open,
            "secops",
            Some(&BTreeMap::new()),
            &RequestParameters::default()
        )
        .is_ok()
    );
}

#[test]
fn an_issuer_that_limits_scopes_takes_along_only_what_its_administrator_names() {
    let is_allowed = |rules: Value, parameters: &[(&str, &str)], claims: &[(&str, &str)]| {
        let mut all = json!({ "allowedNamespaces": { "selector": {} } });
        for (name, rule) in rules.as_object().unwrap() {
            all[name] = rule.clone();
        }
        let request = RequestParameters {
            scopes: vec!["api".to_owned()],
            parameters: map(parameters),
            claims: map(claims),
            ..RequestParameters::default()
        };
        may_request(&cluster(&all), "secops", Some(&BTreeMap::new()), &request)
    };
    let limited = json!({ "allowedScopes": ["api"] });
    let refused = |rules: &Value, parameters: &[(&str, &str)], claims: &[(&str, &str)]| {
        let denial = is_allowed(rules.clone(), parameters, claims).unwrap_err();
        assert_eq!(denial.reason().as_str(), "ParameterNotAllowed");
        denial.message().to_owned()
    };
    // Parameters that request more access, known ones and an unknown one.
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
            is_allowed(json!({}), &[(name, "x")], &[(name, "x")]).is_ok(),
            "{name}"
        );
    }
    let message = refused(&limited, &[], &[("target_audience", "x")]);
    assert!(message.contains("claim \"target_audience\""), "{message}");
    assert!(message.contains("spec.allowedParameters"), "{message}");

    // For a Secret, only the name is compared: a result that depends on the value would show whether a guess is right.
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
        let request = RequestParameters {
            scopes: vec!["api".to_owned()],
            secret_parameters: [("hint".to_owned(), reference)].into(),
            ..RequestParameters::default()
        };
        let result = may_request(&cluster(&rules), "secops", Some(&BTreeMap::new()), &request);
        assert_eq!(result.is_ok(), taken, "{allowed}");
        if let Err(denial) = result {
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
        is_allowed(
            some.clone(),
            &[("a", "x"), ("organization", "one")],
            &[("a", "=")]
        )
        .is_ok()
    );
    // Exactly: what an issuer reads leniently must not be allowed leniently.
    for other in [
        ("organization", "two"),
        ("Organization", "one"),
        ("a[]", "x"),
        ("organization=one", ""),
    ] {
        refused(&some, &[other], &[]);
    }
    // It also applies without a limit of scopes, and an empty list allows nothing.
    refused(&json!({ "allowedParameters": [] }), &[("a", "x")], &[]);
}

#[test]
fn an_issuer_of_the_own_namespace_needs_no_permission() {
    let issuer = namespaced(&json!({ "oauth2": { "tokenUrl": "https://i.example.com/t" } }));
    assert!(is_allowed(&issuer, "secops", None));
}

#[test]
fn a_cluster_issuer_limits_grants_and_subjects_and_what_a_grant_sends() {
    let key = json!({ "name": "s", "key": "k" });
    let is_allowed = |rules: Value, grant: Value| {
        let issuer = cluster(&rules);
        let lookup = |_: &_| IssuerLookup::Found(issuer.clone());
        let public = json!({ "secrets": null, "public": {} });
        let change = json!({ "client": public, "scopes": ["read"], "grant": grant });
        let credential = parse_both(&object(&change), lookup).unwrap();
        may_request(
            &issuer,
            "secops",
            Some(&BTreeMap::new()),
            &credential.request,
        )
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
        // Grants: all except password, or those that are listed.
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
        // What a grant sends in addition to secrets counts as a parameter.
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
            is_allowed(all(rules.clone()), grant.clone()),
            expected,
            "{rules} {grant}"
        );
    }
}
