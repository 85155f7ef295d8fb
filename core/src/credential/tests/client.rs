use serde_json::{Value, json};

use crate::{
    Reason,
    api::{ApiClientSpec, ApiCredential},
    credential::{
        AuthenticationMethod, ClientLookup, Credential, FieldError, Issuer, IssuerLookup, parse,
        parse_client, parse_with_client, resolve,
    },
    fixtures::{cluster_issuer, issuer, merge, object, parse_both},
};

/// An `ApiClient` as a user would write it, with `change` merged into its spec (null removes).
fn client(change: &Value) -> ApiClientSpec {
    let mut spec = json!({
        "issuerRef": { "kind": "ClusterTokenIssuer", "name": "contoso" },
        "id": "client-1",
        "secrets": [{ "name": "client", "key": "secret" }],
    });
    merge(&mut spec, change);
    serde_json::from_value(spec).unwrap()
}

/// A credential that names the client `defender`.
fn naming(change: &Value) -> ApiCredential {
    let mut spec =
        json!({ "client": null, "issuerRef": null, "clientRef": { "name": "defender" } });
    merge(&mut spec, change);
    object(&spec)
}

fn parsed(object: &ApiCredential, client: &Value) -> Result<Credential, Vec<FieldError>> {
    let clients = |name: &str| {
        assert_eq!(name, "defender");
        ClientLookup::Found(Box::new(self::client(client)))
    };
    parse_with_client(object, clients, |_| IssuerLookup::Found(issuer()))
}

#[test]
fn a_client_by_reference_is_the_same_credential_as_the_client_inline() {
    let key = json!({ "name": "s", "key": "k" });
    let exchange = json!({ "tokenExchange": { "subject": { "secretRef": key } } });
    let end = json!([{ "name": "a", "key": "k", "expiresAt": "2027-06-30" }, { "name": "b", "key": "k" }]);
    for inline in [
        json!({}),
        json!({ "client": { "secrets": end } }),
        json!({ "client": { "secrets": null, "certificates": [{ "secretName": "c", "algorithm": "ES256", "keyId": "1", "thumbprint": "Sha256", "x5c": true }] } }),
        json!({ "client": { "secrets": null, "serviceAccount": { "name": "sync", "audience": "sts" } } }),
        json!({ "client": { "secrets": null, "mtls": { "secretName": "c" } } }),
        json!({ "client": { "secrets": null, "public": {} }, "grant": exchange }),
        json!({ "issuerRef": null, "entra": { "tenantId": "contoso.example" } }),
        json!({ "issuerRef": null, "entra": { "tenantId": "contoso.example", "cloud": "USGov" } }),
        json!({ "parameters": [{ "name": "acr", "secretRef": key }], "minLifetime": "15m" }),
    ] {
        let parsed = parse_both(&object(&inline), |_| IssuerLookup::Found(issuer()));
        assert!(parsed.is_ok(), "{inline}: {parsed:?}");
    }
}

#[test]
fn the_issuer_is_that_of_the_client_and_may_be_named_again() {
    let contoso = json!({ "kind": "ClusterTokenIssuer", "name": "contoso" });
    let entra = |tenant: &str, cloud: Value| json!({ "tenantId": tenant, "cloud": cloud });
    let at_entra = json!({ "issuerRef": null, "entra": entra("contoso.example", Value::Null) });
    let none = json!({});
    #[rustfmt::skip]
    let cases = [
        (json!({ "issuerRef": contoso }), &none, None),
        (json!({ "issuerRef": { "kind": "TokenIssuer", "name": "contoso" } }), &none, Some("spec.issuerRef")),
        (json!({ "issuerRef": { "kind": "ClusterTokenIssuer", "name": "other" } }), &none, Some("spec.issuerRef")),
        (json!({ "entra": entra("contoso.example", Value::Null) }), &none, Some("spec.entra")),
        (json!({ "issuerRef": contoso }), &at_entra, Some("spec.issuerRef")),
        (json!({ "entra": entra("Contoso.Example", json!("Public")) }), &at_entra, None),
        (json!({ "entra": entra("fabrikam.example", Value::Null) }), &at_entra, Some("spec.entra")),
        (json!({ "entra": entra("contoso.example", json!("China")) }), &at_entra, Some("spec.entra")),
        // Both are set, and one of them is the issuer of the client.
        (json!({ "issuerRef": contoso, "entra": entra("contoso.example", Value::Null) }), &none, Some("spec.entra")),
        (json!({ "issuerRef": contoso, "entra": entra("contoso.example", Value::Null) }), &at_entra, Some("spec.issuerRef")),
    ];
    for (change, of_client, field) in cases {
        let parsed = parsed(&naming(&change), of_client);
        let found = parsed.as_ref().err().map(|faults| faults[0].field.as_str());
        assert_eq!(found, field, "{change}: {parsed:?}");
        if let Err(faults) = &parsed {
            assert!(faults[0].problem.contains("ApiClient defender"));
        }
    }
}

#[test]
fn a_fault_of_the_client_names_the_client_and_its_field() {
    #[rustfmt::skip]
    let cases = [
        (json!({}), json!({ "id": "" }), "ApiClient defender, spec.id: is missing"),
        (json!({}), json!({ "id": "a\tb" }), "ApiClient defender, spec.id: has a tab"),
        (json!({}), json!({ "secrets": null }), "ApiClient defender, spec.secrets: name the Secret"),
        (json!({}), json!({ "public": {} }), "ApiClient defender, spec: has secrets and public"),
        (json!({}), json!({ "secrets": [{ "name": "alerts-token", "key": "k" }] }), "ApiClient defender, spec.secrets[0].name: is the target Secret as well"),
        (json!({}), json!({ "secrets": null, "certificates": [{ "secretName": "alerts-token" }] }), "ApiClient defender, spec.certificates[0].secretName: is the target"),
        (json!({}), json!({ "secrets": null, "mtls": { "secretName": "alerts-token" } }), "ApiClient defender, spec.mtls.secretName: is the target"),
        (json!({}), json!({ "secrets": [{ "name": "a", "key": "k", "expiresAt": "soon" }] }), "ApiClient defender, spec.secrets[0].expiresAt: is not a time"),
        (json!({}), json!({ "secrets": null, "public": {} }), "ApiClient defender, spec.public: a public client cannot use"),
        (json!({}), json!({ "issuerRef": null }), "ApiClient defender, spec: set exactly one of"),
        (json!({}), json!({ "entra": { "tenantId": "contoso.example" } }), "ApiClient defender, spec: set exactly one of"),
        (json!({}), json!({ "issuerRef": null, "entra": { "tenantId": "common" } }), "ApiClient defender, spec.entra.tenantId"),
        (json!({}), json!({ "secrets": null, "serviceAccount": { "name": "a/b" } }), "ApiClient defender, spec.serviceAccount.name: must be the name"),
        (json!({}), json!({ "secrets": null, "serviceAccount": { "name": "a", "audience": "https://kubernetes.default.svc" } }), "ApiClient defender, spec.serviceAccount.audience: is the Kubernetes API's own"),
        (json!({ "client": { "id": "c", "public": {} } }), json!({}), "is set beside client"),
        (json!({ "static": { "tokenRef": { "name": "s", "key": "k" } } }), json!({}), "a static key has no client"),
    ];
    for (change, of_client, begin) in cases {
        let faults = parsed(&naming(&change), &of_client).unwrap_err();
        let fault = faults.iter().find(|f| f.field == "spec.clientRef");
        let problem = fault.map_or("", |f| f.problem.as_str());
        assert!(
            problem.starts_with(begin),
            "{change} {of_client}: {faults:?}"
        );
    }
    // A fault of the credential itself is reported at its own field.
    let faults = parsed(
        &naming(&json!({ "minLifetime": "1s" })),
        &json!({ "id": "" }),
    );
    let fields: Vec<String> = faults.unwrap_err().into_iter().map(|f| f.field).collect();
    assert_eq!(fields, ["spec.clientRef", "spec.minLifetime"]);
    // The ServiceAccount of the grant is in the credential.
    let exchange =
        json!({ "tokenExchange": { "subject": { "serviceAccount": { "name": "a/b" } } } });
    let faults = parsed(&naming(&json!({ "grant": exchange })), &json!({}));
    assert_eq!(faults.unwrap_err()[0].field, "spec.grant");
}

#[test]
fn a_client_or_its_issuer_that_is_missing_has_a_reason_of_its_own() {
    let lookup = |_: &_| IssuerLookup::Found(issuer());
    let gone = parse_with_client(&naming(&json!({})), |_| ClientLookup::Missing, lookup);
    let gone = gone.unwrap_err().remove(0);
    assert_eq!(
        (&*gone.field, gone.reason),
        ("spec.clientRef", Reason::ClientNotFound)
    );
    assert_eq!(
        gone.problem,
        "ApiClient defender does not exist in this namespace; create it or correct the name"
    );
    // Users should not create them for a credential that is being deleted.
    let gone = parse_with_client(&naming(&json!({})), |_| ClientLookup::Deleted, lookup);
    let gone = gone.unwrap_err().remove(0);
    assert_eq!(
        (&*gone.problem, gone.reason),
        (
            "ApiClient defender was deleted before this credential",
            Reason::ClientNotFound
        )
    );
    let missing = |_: &_| IssuerLookup::Deleted;
    let gone = parse(&crate::fixtures::object(&json!({})), missing);
    let gone = gone.unwrap_err().remove(0);
    assert!(gone.problem.ends_with(" before this credential"), "{gone}");
    let flaw = FieldError::new("spec.secrets", "does not fit").because(Reason::NotReadable);
    let clients = |_: &str| ClientLookup::Faulty(vec![flaw]);
    let faulty = parse_with_client(&naming(&json!({})), clients, lookup).unwrap_err();
    assert_eq!(
        (&*faulty[0].field, faulty[0].reason),
        ("spec.clientRef", Reason::NotReadable)
    );

    let clients = |_: &str| ClientLookup::Found(Box::new(client(&json!({}))));
    let orphan = parse_with_client(&naming(&json!({})), clients, |_| IssuerLookup::Missing);
    let orphan = orphan.unwrap_err().remove(0);
    assert_eq!(
        (&*orphan.field, orphan.reason),
        ("spec.clientRef", Reason::IssuerNotFound)
    );
    assert!(
        orphan
            .problem
            .starts_with("ApiClient defender, spec.issuerRef: ")
    );
    // A fault of an issuer that the credential itself names is reported there.
    let own = json!({ "issuerRef": { "kind": "ClusterTokenIssuer", "name": "contoso" } });
    let own = parse_with_client(&naming(&own), clients, |_| IssuerLookup::Missing);
    assert_eq!(own.unwrap_err()[0].field, "spec.issuerRef");
}

#[test]
fn an_unresolved_reference_is_no_credential() {
    let faults = parse(&naming(&json!({})), |_| IssuerLookup::Found(issuer()));
    assert!(faults.is_err());
    let inline = object(&json!({}));
    let same = resolve(&inline, |_| ClientLookup::Missing).unwrap();
    assert_eq!(*same, inline, "without a reference nothing is looked up");
}

#[test]
fn a_client_is_checked_on_its_own() {
    let check = |change: &Value, issuer: IssuerLookup| {
        parse_client(&client(change), |_| issuer).map(|(_, client_auth)| client_auth)
    };
    let found = || IssuerLookup::Found(issuer());
    let github = || {
        let spec = json!({ "githubApp": { "installationId": 1 } });
        IssuerLookup::Found(Issuer::cluster(&cluster_issuer(&spec)).unwrap())
    };
    let key = json!({ "secrets": null, "key": { "secretName": "t", "key": "k" } });
    assert!(matches!(
        check(&key, github()),
        Ok(AuthenticationMethod::Key(_))
    ));
    assert!(matches!(
        check(&json!({}), found()),
        Ok(AuthenticationMethod::Secrets(_))
    ));
    let public = json!({ "secrets": null, "public": {} });
    assert_eq!(check(&public, found()), Ok(AuthenticationMethod::Public));
    let end = json!({ "secrets": [{ "name": "a", "key": "k", "expiresAt": "soon" }] });
    let at_entra = |change: &Value| {
        let mut at = json!({ "issuerRef": null, "entra": { "tenantId": "contoso.example" }, "secrets": null });
        merge(&mut at, change);
        at
    };
    #[rustfmt::skip]
    let cases = vec![
        (json!({ "id": "" }), found(), "spec.id", Reason::InvalidSpec),
        (json!({ "secrets": null }), found(), "spec.secrets", Reason::InvalidSpec),
        (json!({ "public": {} }), found(), "spec", Reason::InvalidSpec),
        (end, found(), "spec.secrets[0].expiresAt", Reason::InvalidSpec),
        (json!({ "issuerRef": null }), found(), "spec", Reason::InvalidSpec),
        (json!({ "issuerRef": null, "entra": { "tenantId": "common" } }), found(), "spec.entra.tenantId", Reason::InvalidSpec),
        (at_entra(&json!({ "mtls": { "secretName": "t" } })), found(), "spec.mtls", Reason::InvalidSpec),
        (at_entra(&json!({ "key": { "secretName": "t", "key": "k" } })), found(), "spec.key", Reason::InvalidSpec),
        (at_entra(&json!({ "managedIdentity": {}, "id": null })), found(), "spec.managedIdentity", Reason::IdentityNotAllowed),
        (at_entra(&json!({ "managedIdentity": { "asAssertion": {} } })), found(), "spec.managedIdentity", Reason::IdentityNotAllowed),
        (json!({ "secrets": null, "serviceAccount": { "name": "a/b" } }), found(), "spec.serviceAccount.name", Reason::InvalidSpec),
        (json!({ "secrets": [{ "name": "a/b", "key": "k" }] }), found(), "spec", Reason::InvalidSpec),
        (json!({}), github(), "spec.key", Reason::InvalidSpec),
        (json!({ "secrets": null, "key": { "secretName": "t", "key": "k", "algorithm": "PS256" } }), github(), "spec.key.algorithm", Reason::InvalidSpec),
        (json!({}), IssuerLookup::Missing, "spec.issuerRef", Reason::IssuerNotFound),
        (json!({}), IssuerLookup::Deleted, "spec.issuerRef", Reason::IssuerNotFound),
        (json!({}), IssuerLookup::OutOfScope, "spec.issuerRef", Reason::IssuerOutOfScope),
        (json!({}), IssuerLookup::Faulty(Vec::new()), "spec.issuerRef", Reason::IssuerNotReady),
    ];
    for (change, issuer, field, reason) in cases {
        let faults = check(&change, issuer).unwrap_err();
        assert_eq!(
            (&*faults[0].field, faults[0].reason),
            (field, reason),
            "{change}"
        );
    }
}

#[test]
fn each_entry_of_a_client_has_the_keys_that_it_needs_in_its_secret() {
    let certificate = |name: &str| json!({ "secretName": name, "privateKeyKey": "new.key" });
    let assertion = json!({ "secretName": "jwt", "key": "a.jwt" });
    #[rustfmt::skip]
    let cases: [(Value, &[&[&str]]); 7] = [
        (json!({ "secrets": [{ "name": "a", "key": "x" }, { "name": "b", "key": "y" }] }), &[&["x"], &["y"]]),
        (json!({ "certificates": [certificate("a"), { "secretName": "b" }] }), &[&["tls.crt", "new.key"], &["tls.crt", "tls.key"]]),
        (json!({ "mtls": { "secretName": "a" } }), &[&["tls.crt", "tls.key"]]),
        (json!({ "key": { "secretName": "a", "key": "k.pem" } }), &[&["k.pem"]]),
        (json!({ "assertion": assertion }), &[&["a.jwt"]]),
        (json!({ "serviceAccount": { "name": "sync" } }), &[]),
        (json!({ "public": {} }), &[]),
    ];
    for (method, keys) in cases {
        let mut change = json!({ "secrets": null });
        merge(&mut change, &method);
        let spec = client(&change);
        let found = AuthenticationMethod::parse(Some(&spec.client));
        let found = found.unwrap_or_else(|faults| panic!("{method}: {faults:?}"));
        assert_eq!(found.keys(), keys, "{method}");
        assert_eq!(found.alternatives().len(), keys.len(), "{method}");
    }
}

#[test]
fn an_id_with_a_colon_is_refused_where_a_raw_basic_header_would_split_it() {
    let of = |auth: Value| {
        let spec = json!({
            "oauth2": { "tokenUrl": "https://issuer.example.com/token", "clientAuthentication": auth },
            "allowedNamespaces": { "selector": {} },
        });
        Issuer::cluster(&cluster_issuer(&spec)).unwrap()
    };
    let raw = json!({ "basic": { "encoding": "Raw" } });
    let public = json!({ "id": "urn:app:1", "secrets": null, "public": {} });
    let secret = json!({ "id": "urn:app:1" });
    for (auth, way, refused) in [
        (&raw, &secret, true),
        (&raw, &json!({}), false),
        (&raw, &public, false),
        (&json!({ "basic": {} }), &secret, false),
        (&json!({ "basic": { "encoding": "Form" } }), &secret, false),
        (&json!({ "post": {} }), &secret, false),
    ] {
        let shared = parse_client(&client(way), |_| IssuerLookup::Found(of(auth.clone())));
        let shared = shared.err().unwrap_or_default();
        // The grant of a public client is independent of this.
        let grant = json!({ "refreshToken": { "secretRef": { "name": "s", "key": "k" } } });
        let spec = object(&json!({ "client": way, "grant": grant }));
        let inline = parse(&spec, |_| IssuerLookup::Found(of(auth.clone())));
        let inline = inline.err().unwrap_or_default();
        for (faults, field) in [(shared, "spec.id"), (inline, "spec.client.id")] {
            assert_eq!(
                faults.len(),
                usize::from(refused),
                "{auth} {way}: {faults:?}"
            );
            let Some(fault) = faults.first() else {
                continue;
            };
            assert_eq!(fault.field, field);
            for expected in ["has a colon", "encoding Form", "post"] {
                assert!(fault.problem.contains(expected), "{fault}");
            }
        }
    }
}
