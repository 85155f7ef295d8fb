use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    Reason,
    api::{ApiCredential, DeletionPolicy, IssuerKind, SecretKeyRef, SecretType},
    credential::{FieldError, Issuer, IssuerId, IssuerLookup, SecretStyle, parse},
    fixtures::{cluster_issuer, issuer, map, merge, object, secs},
};

fn errors(object: &ApiCredential, lookup: IssuerLookup) -> Vec<FieldError> {
    parse(object, |_| lookup).err().unwrap_or_default()
}

fn fields(errors: &[FieldError]) -> Vec<&str> {
    errors.iter().map(|e| e.field.as_str()).collect()
}

/// A spec with inline Entra instead of the issuer object.
fn entra(change: &Value) -> ApiCredential {
    let mut spec = json!({ "issuerRef": null, "entra": { "tenantId": "contoso.onmicrosoft.com" } });
    // Merged by hand: a null inside must reach the merge of the fixture.
    for (key, value) in change.as_object().unwrap() {
        spec[key.as_str()] = value.clone();
    }
    object(&spec)
}

#[test]
fn a_good_spec_becomes_its_values() {
    let mut object = object(&json!({
        "client": { "secrets": [{ "name": "old", "key": "s" }, { "name": "new", "key": "s" }] },
        "resources": ["urn:r"], "audience": "urn:a", "parameters": [{ "name": "claims", "value": "{}" }, { "name": "hint", "secretRef": { "name": "s", "key": "k" } }],
        "target": { "type": "apicred.dev/token", "labels": { "team": "blue" }, "annotations": { "a/b": "c" } },
        "minLifetime": "20m", "suspend": true, "deletionPolicy": "Retain", "grant": { "clientCredentials": {} }
    }));
    object.metadata.annotations =
        Some(map(&[("apicred.dev/renew-requested-at", &"é".repeat(500))]));
    let parsed = parse(&object, |reference| {
        assert_eq!(
            (reference.kind, reference.name.as_str()),
            (IssuerKind::ClusterTokenIssuer, "contoso")
        );
        IssuerLookup::Found(issuer())
    })
    .unwrap();
    assert_eq!(
        (
            parsed.namespace.as_str(),
            parsed.name.as_str(),
            parsed.generation
        ),
        ("secops", "alerts", 3)
    );
    assert_eq!(
        parsed
            .alternatives()
            .iter()
            .map(|s| s.name.as_str())
            .collect::<Vec<_>>(),
        ["old", "new"]
    );
    assert_eq!(parsed.request.scopes, ["https://api.example.com/.default"]);
    assert_eq!(
        (
            parsed.request.resources.first().map(String::as_str),
            parsed.request.audience.as_deref()
        ),
        (Some("urn:r"), Some("urn:a"))
    );
    assert_eq!(parsed.request.parameters, map(&[("claims", "{}")]));
    let reference = |name: &str, key: &str| SecretKeyRef {
        name: name.to_owned(),
        key: key.to_owned(),
    };
    assert_eq!(
        parsed.request.secret_parameters,
        [("hint".to_owned(), reference("s", "k"))].into()
    );
    assert_eq!(parsed.grant_sources(), [reference("s", "k")]);
    assert_eq!(
        (parsed.target.type_, parsed.target.deletion),
        (SecretType::Token, DeletionPolicy::Retain)
    );
    assert_eq!(
        (parsed.target.labels, parsed.target.annotations),
        (map(&[("team", "blue")]), map(&[("a/b", "c")]))
    );
    assert_eq!(
        (parsed.min_lifetime, parsed.suspend),
        (Some(secs(1200)), true)
    );
    assert_eq!(
        parsed.renew_requested.unwrap().chars().count(),
        128,
        "echoed values are bounded"
    );
}

#[test]
fn what_is_left_out_has_its_default() {
    let parsed = parse(&object(&json!({})), |_| IssuerLookup::Found(issuer())).unwrap();
    assert_eq!(
        (parsed.target.type_, parsed.target.deletion),
        (SecretType::Opaque, DeletionPolicy::Delete)
    );
    assert_eq!(
        (parsed.min_lifetime, parsed.suspend, parsed.renew_requested),
        (None, false, None)
    );
    let inline = parse(&entra(&json!({})), |_| {
        unreachable!("inline Entra looks nothing up")
    })
    .unwrap();
    assert_eq!(inline.issuer.origin, "https://login.microsoftonline.com");
    assert_eq!(inline.issuer.style, Some(SecretStyle::Post));
}

#[test]
fn each_fault_names_its_field() {
    #[rustfmt::skip]
    let cases = [
        (json!({ "issuerRef": null }), vec!["spec"]),
        (json!({ "entra": { "tenantId": "t" } }), vec!["spec"]),
        (json!({ "client": { "id": "" } }), vec!["spec.client.id"]),
        (json!({ "client": { "id": "a\nb" } }), vec!["spec.client.id"]),
        (json!({ "client": { "id": " a" } }), vec!["spec.client.id"]),
        (json!({ "client": { "secrets": [] } }), vec!["spec.client.secrets"]),
        (json!({ "client": { "secrets": [{ "name": "ok", "key": "k" }, { "name": "ok", "key": "k" }] } }), vec!["spec.client.secrets[1].name"]),
        (json!({ "client": { "secrets": [{ "name": "ok", "key": "k" }, { "name": "ok", "key": "l", "expiresAt": "soon" }] } }), vec!["spec.client.secrets[1].expiresAt"]),
        (json!({ "client": { "secrets": null, "certificates": [{ "secretName": "ok" }, { "secretName": "ok", "privateKeyKey": "tls.key" }] } }), vec!["spec.client.certificates[1].secretName"]),
        (json!({ "client": { "secrets": null, "certificates": [{ "secretName": "ok" }, { "secretName": "alerts-token" }] } }), vec!["spec.client.certificates[1].secretName"]),
        (json!({ "client": { "secrets": [{ "name": "ok", "key": "k" }, { "name": "alerts-token", "key": "k" }] } }), vec!["spec.client.secrets[1].name"]),
        (json!({ "grant": {} }), vec!["spec.grant"]),
        (json!({ "minLifetime": "9s" }), vec!["spec.minLifetime"]),
        (json!({ "minLifetime": "-15m" }), vec!["spec.minLifetime"]),
        (json!({ "minLifetime": "25h" }), vec!["spec.minLifetime"]),
        (json!({ "minLifetime": "9999999999999h" }), vec!["spec.minLifetime"]),
        (json!({ "parameters": [{ "name": "scope", "value": "more" }] }), vec!["spec.parameters[0].name"]),
        (json!({ "parameters": [{ "name": "Client_Secret", "value": "x" }, { "name": "Resource", "value": "y" }, { "name": "fine", "value": "z" }] }), vec!["spec.parameters[0].name", "spec.parameters[1].name"]),
        // PHP would read each of these as a parameter that has a field in the spec.
        (json!({ "parameters": [{ "name": " scope", "value": "more" }] }), vec!["spec.parameters[0].name"]),
        (json!({ "parameters": [{ "name": "scope[]", "value": "more" }] }), vec!["spec.parameters[0].name"]),
        (json!({ "parameters": [{ "name": "client.secret", "value": "more" }] }), vec!["spec.parameters[0].name"]),
        (json!({ "parameters": [{ "name": "a", "value": "b" }, { "name": "a", "value": "c" }] }), vec!["spec.parameters[1].name"]),
        (json!({ "parameters": [{ "name": "a" }] }), vec!["spec.parameters[0].value"]),
        (json!({ "parameters": [{ "name": "a", "value": "b", "secretRef": { "name": "s", "key": "k" } }] }), vec!["spec.parameters[0].secretRef"]),
        (json!({ "parameters": [{ "name": "prompt", "secretRef": { "name": "s", "key": "k" } }] }), vec!["spec.parameters[0].secretRef"]),
        (json!({ "parameters": [{ "name": "a", "secretRef": { "name": "other/s", "key": "k" } }] }), vec!["spec.parameters[0].secretRef.name"]),
        (json!({ "parameters": [{ "name": "a", "secretRef": { "name": "alerts-token", "key": "k" } }] }), vec!["spec.parameters[0].secretRef.name"]),
        (json!({ "parameters": [{ "name": "scope\0", "value": "more" }] }), vec!["spec.parameters[0].name"]),
        (json!({ "target": { "labels": { "app.kubernetes.io/instance": "argo" } } }), vec!["spec.target.labels"]),
        (json!({ "target": { "labels": { "app.kubernetes.io/managed-by": "me" } } }), vec!["spec.target.labels"]),
        (json!({ "target": { "annotations": { "app.kubernetes.io/name": "me" } } }), vec!["spec.target.annotations"]),
        (json!({ "target": { "labels": { "k8s.io/x": "1", "a.fluxcd.io/x": "1", "fine": "1" } } }), vec!["spec.target.labels", "spec.target.labels"]),
        (json!({ "target": { "annotations": { "apicred.dev/expires-at": "x" } } }), vec!["spec.target.annotations"]),
        (json!({ "target": { "annotations": { "example.com/foo bar": "x" } } }), vec!["spec.target.annotations"]),
        (json!({ "target": { "annotations": { "a..example.com/foo": "x", "Example.com/Fine": "any text!" } } }), vec!["spec.target.annotations"]),
        (json!({ "target": { "labels": { "a..example.com/foo": "x" } } }), vec!["spec.target.labels"]),
        (json!({ "target": { "labels": { "example.com/foo": "no label" } } }), vec!["spec.target.labels"]),
        (json!({ "target": { "annotations": { "argocd.argoproj.io/sync-options": "x" } } }), vec!["spec.target.annotations"]),
    ];
    for (change, expected) in cases {
        let errors = errors(&object(&change), IssuerLookup::Found(issuer()));
        assert_eq!(fields(&errors), expected, "{change}");
        assert!(
            errors.iter().all(|e| e.reason == Reason::InvalidSpec),
            "{change}"
        );
    }
}

#[test]
fn keys_that_only_look_reserved_are_allowed() {
    let labels = json!({ "target": { "labels": {
        "app.kubernetes.io/name": "1", "app.kubernetes.io/part-of": "1",
        "team": "1", "kubernetes.io": "1", "notkubernetes.io/x": "1", "example.com/kubernetes.io": "1", "io/x": "1"
    } } });
    assert_eq!(errors(&object(&labels), IssuerLookup::Found(issuer())), []);
}

#[test]
fn all_faults_are_reported_at_once() {
    let object = object(&json!({
        "client": { "id": "", "secrets": [] },
        "grant": {},
        "minLifetime": "1s",
        "parameters": [{ "name": "client_id", "value": "x" }],
        "target": { "labels": { "k8s.io/a": "b" }, "annotations": { "k8s.io/a": "b" } }
    }));
    let errors = errors(&object, IssuerLookup::Missing);
    let mut found = fields(&errors);
    found.sort_unstable();
    let expected = [
        "spec.client.id",
        "spec.client.secrets",
        "spec.grant",
        "spec.issuerRef",
        "spec.minLifetime",
        "spec.parameters[0].name",
        "spec.target.annotations",
        "spec.target.labels",
    ];
    assert_eq!(found, expected);
    let line = FieldError::join(&errors);
    assert!(
        expected.iter().all(|f| line.contains(&format!("{f}: "))),
        "{line}"
    );
}

#[test]
fn an_issuer_that_is_missing_or_faulty_has_a_reason_of_its_own() {
    let gone = errors(&object(&json!({})), IssuerLookup::Missing);
    assert_eq!(
        (gone[0].field.as_str(), gone[0].reason),
        ("spec.issuerRef", Reason::IssuerNotFound)
    );
    assert_eq!(
        gone[0].problem,
        "ClusterTokenIssuer contoso does not exist; create it or correct the name"
    );
    for (kind, other) in [
        ("TokenIssuer", "ClusterTokenIssuer"),
        ("ClusterTokenIssuer", "TokenIssuer"),
    ] {
        let named = object(&json!({ "issuerRef": { "kind": kind, "name": "contoso" } }));
        let named = errors(&named, IssuerLookup::OtherKind);
        assert_eq!(named[0].reason, Reason::IssuerNotFound);
        assert_eq!(
            named[0].problem,
            format!(
                "{kind} contoso does not exist, but a {other} of this name does; set issuerRef.kind to {other}, or create it"
            )
        );
    }
    let fault = FieldError::new("spec.oidc.issuerUrl", "must start with https://");
    let faulty = errors(&object(&json!({})), IssuerLookup::Faulty(vec![fault]));
    assert_eq!(
        (faulty[0].field.as_str(), faulty[0].reason),
        ("spec.issuerRef", Reason::IssuerNotReady)
    );
    assert!(
        faulty[0]
            .problem
            .contains("spec.oidc.issuerUrl: must start with https://"),
        "{}",
        faulty[0]
    );
}

#[test]
fn entra_takes_one_default_scope_or_one_resource() {
    #[rustfmt::skip]
    let cases = [
        (json!({}), vec![]),
        (json!({ "scopes": null, "resources": ["https://api.example.com"] }), vec![]),
        (json!({ "scopes": null }), vec!["spec.scopes"]),
        (json!({ "scopes": ["api"] }), vec!["spec.scopes[0]"]),
        (json!({ "scopes": ["a/.default", "b/.default"] }), vec!["spec.scopes"]),
        (json!({ "resources": ["r"] }), vec!["spec.resources"]),
        (json!({ "audience": "a" }), vec!["spec.audience"]),
        (json!({ "audience": "a", "scopes": null }), vec!["spec.audience", "spec.scopes"]),
    ];
    for (change, expected) in cases {
        assert_eq!(
            fields(&errors(&entra(&change), IssuerLookup::Missing)),
            expected,
            "{change}"
        );
    }
    let hint = &errors(
        &entra(&json!({ "scopes": ["https://api.example.com/"] })),
        IssuerLookup::Missing,
    )[0];
    assert!(
        hint.problem
            .contains("did you mean \"https://api.example.com/.default\"?"),
        "{hint}"
    );
    for (scope, api) in [
        (
            "https://graph.microsoft.com/User.Read.All",
            "https://graph.microsoft.com",
        ),
        ("User.Read.All", "https://graph.microsoft.com"),
        ("api://app/user_impersonation", "api://app"),
        ("https://api.example.com", "https://api.example.com"),
        ("https://contoso.example/app", "https://contoso.example/app"),
        ("https://Contoso.Example", "https://Contoso.Example"),
        ("api", "api"),
    ] {
        let reported = &errors(&entra(&json!({ "scopes": [scope] })), IssuerLookup::Missing)[0];
        let fix = format!("did you mean \"{api}/.default\"?");
        assert!(reported.problem.contains(&fix), "{scope}: {reported}");
    }
    // The same rules apply to Entra by reference, and to no other issuer.
    let by_reference =
        Issuer::cluster(&cluster_issuer(&json!({ "entra": { "tenantId": "t" } }))).unwrap();
    let two = object(&json!({ "scopes": ["a", "b"], "audience": "c" }));
    assert_eq!(
        fields(&errors(&two, IssuerLookup::Found(by_reference))),
        ["spec.audience", "spec.scopes"]
    );
    assert_eq!(errors(&two, IssuerLookup::Found(issuer())), []);
}

#[test]
fn a_tenant_cannot_leave_its_place_in_the_url() {
    for tenant in [
        "",
        "common",
        "Organizations",
        "CONSUMERS",
        "a/b",
        "a?b",
        "a#b",
        "a b",
        "a@b",
        "a%2fb",
        "..",
        ".",
        "a.",
        "-a",
        "tenänt",
    ] {
        let errors = errors(
            &entra(&json!({ "entra": { "tenantId": tenant } })),
            IssuerLookup::Missing,
        );
        assert_eq!(fields(&errors), ["spec.entra.tenantId"], "{tenant}");
    }
    for (cloud, host) in [
        ("Public", "https://login.microsoftonline.com"),
        ("USGov", "https://login.microsoftonline.us"),
        ("China", "https://login.partner.microsoftonline.cn"),
    ] {
        let spec = entra(&json!({ "entra": { "tenantId": "6f3c0000-aaaa", "cloud": cloud } }));
        let issuer = parse(&spec, |_| IssuerLookup::Missing).unwrap().issuer;
        assert_eq!((issuer.origin.as_str(), issuer.vouched), (host, true));
        assert_eq!(issuer.id, IssuerId::Inline(format!("{host}/6f3c0000-aaaa")));
    }
}

proptest! {
    #[test]
    fn no_text_in_any_field_makes_parse_panic_and_bad_text_never_passes(
        id in ".{0,12}", tenant in ".{0,12}", scope in ".{0,12}", label in ".{0,12}", target in ".{0,12}",
    ) {
        let mut change = json!({ "issuerRef": null, "entra": {}, "client": {}, "target": { "labels": {} } });
        merge(&mut change, &json!({ "client": { "id": id }, "scopes": [scope] }));
        change["entra"]["tenantId"] = json!(tenant);
        change["target"]["secretName"] = json!(target);
        change["target"]["labels"][label.as_str()] = json!("x");
        change["issuerRef"] = Value::Null;
        if let Ok(parsed) = parse(&object(&change), |_| IssuerLookup::Missing) {
            prop_assert!(!parsed.client_id.chars().any(char::is_control));
            prop_assert!(parsed.request.scopes[0].ends_with("/.default"));
            prop_assert!(tenant.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-'));
        }
    }
}
