//! A combination that does not fit is reported before anything is sent: each fault with its field and the fix.

mod identities;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    api::{ApiPreset, Cloud},
    credential::{
        AuthenticationMethod, Credential, FieldError, Issuer, IssuerLookup, RequestParameters,
        Selector, binding::may_serve, parse, preset,
    },
    fixtures::{cluster_issuer, map, merge, object},
};

const NONE: Value = Value::Null;

fn parsed(issuer: &Value, change: &Value) -> Result<Credential, Vec<FieldError>> {
    let issuer = Issuer::cluster(&cluster_issuer(issuer)).unwrap();
    parse(&object(change), |_| IssuerLookup::Found(issuer))
}

fn entra() -> Value {
    json!({ "entra": { "tenantId": "contoso.example" } })
}

fn generic() -> Value {
    json!({ "oidc": { "issuerUrl": "https://i.example.com" } })
}

fn reference() -> Value {
    json!({ "name": "s", "key": "k" })
}

/// A client of another kind.
fn client(change: &Value) -> Value {
    let mut client = json!({ "secrets": NONE });
    for (key, value) in change.as_object().unwrap() {
        client[key] = value.clone();
    }
    json!({ "client": client })
}

fn with(mut base: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        base[key] = value.clone();
    }
    base
}

#[test]
fn what_does_not_fit_is_reported_with_its_field_and_the_fix() {
    let with_identity = |how: Value| with(entra(), &json!({ "managedIdentity": how }));
    let key = reference();
    #[rustfmt::skip]
    let cases = [
        // Authentication methods and grants that an issuer does not accept.
        (generic(), json!({ "grant": { "onBehalfOf": { "assertionRef": key } } }), "spec.grant.onBehalfOf", "tokenExchange"),
        (entra(), json!({ "grant": { "tokenExchange": { "subject": { "secretRef": key } } } }), "spec.grant.tokenExchange", "onBehalfOf"),
        (entra(), json!({ "grant": { "jwtBearer": { "assertionRef": key } } }), "spec.grant.jwtBearer", "client.certificates"),
        (entra(), client(&json!({ "mtls": { "secretName": "t" } })), "spec.client.mtls", "use certificates"),
        (entra(), client(&json!({ "key": { "secretName": "t", "key": "k" } })), "spec.client.key", "use certificates"),
        (generic(), client(&json!({ "key": { "secretName": "../t", "key": "k" } })), "spec.client", "write only the name"),
        (generic(), client(&json!({ "assertion": { "secretName": "a/t", "key": "k" } })), "spec.client", "write only the name"),
        (generic(), client(&json!({ "key": { "secretName": "alerts-token", "key": "k" } })), "spec.client.key.secretName", "again with another target.secretName"),
        (generic(), client(&json!({ "assertion": { "secretName": "alerts-token", "key": "k" } })), "spec.client.assertion.secretName", "again with another target.secretName"),
        (generic(), client(&json!({ "key": { "secretName": "t", "key": "k" }, "assertion": { "secretName": "t", "key": "k" } })), "spec.client", "has key and assertion, but"),
        (entra(), client(&json!({ "managedIdentity": { "asAssertion": {} } })), "spec.client.managedIdentity", "ClusterTokenIssuer"),
        (with_identity(json!({ "imds": {} })), client(&json!({ "id": NONE, "managedIdentity": { "asAssertion": {} } })), "spec.client.id", "is missing"),
        (with_identity(json!({ "imds": {} })), client(&json!({ "id": NONE, "managedIdentity": { "clientId": "c" } })), "spec.client.managedIdentity", "can only be used with asAssertion"),
        (with_identity(json!({ "imds": {} })), client(&json!({ "managedIdentity": { "clientId": "c", "objectId": "o", "asAssertion": {} } })), "spec.client.managedIdentity", "once"),
        (with_identity(json!({ "workloadIdentity": {} })), client(&json!({ "managedIdentity": { "asAssertion": {} } })), "spec.client.managedIdentity.asAssertion", "is a client assertion already"),
        (entra(), json!({ "deletionPolicy": "Revoke" }), "spec.deletionPolicy", "no revocation endpoint"),
        (generic(), json!({ "client": NONE }), "spec.client", "is missing"),
        (generic(), client(&json!({ "public": {} })), "spec.client.public", "cannot use this grant"),
        (generic(), client(&json!({ "managedIdentity": {}, "id": NONE })), "spec.client.managedIdentity", "ClusterTokenIssuer"),
        (with_identity(json!({ "workloadIdentity": {} })), client(&json!({ "id": NONE, "managedIdentity": { "objectId": "o" } })), "spec.client.managedIdentity", "by client.id only"),
        (with_identity(json!({ "imds": {} })), with(client(&json!({ "managedIdentity": {} })), &json!({ "grant": { "password": { "username": "u", "passwordRef": key } } })), "spec.client.managedIdentity", "remove grant"),
        (with_identity(json!({ "imds": {} })), client(&json!({ "id": "a", "managedIdentity": { "objectId": "o" } })), "spec.client.managedIdentity", "once"),
        (entra(), client(&json!({ "serviceAccount": { "name": "a", "audience": "https://kubernetes.default.svc.cluster.local" } })), "spec.client.serviceAccount.audience", "sign in to the cluster"),
        (entra(), client(&json!({ "secrets": [{ "name": "other/client", "key": "k" }] })), "spec.client", "write only the name"),
        (entra(), client(&json!({ "certificates": [{ "secretName": "../client" }] })), "spec.client", "write only the name"),
        (entra(), client(&json!({ "serviceAccount": { "name": "a", "audience": "k3s" } })), "spec.client.serviceAccount.audience", "sign in to the cluster"),
        (entra(), client(&json!({ "serviceAccount": { "name": "a", "audience": "https://container.googleapis.com/v1/projects/p/locations/l/clusters/c" } })), "spec.client.serviceAccount.audience", "sign in to the cluster"),
        (entra(), client(&json!({ "serviceAccount": { "name": "a", "audience": "https://c-1.hcp.westeurope.azmk8s.io:443" } })), "spec.client.serviceAccount.audience", "sign in to the cluster"),
        (generic(), json!({ "grant": { "tokenExchange": { "subject": { "serviceAccount": { "name": "a", "audience": "kubernetes" } } } } }), "spec.grant", "serviceAccount.audience is the Kubernetes API's own"),
        (json!({ "oauth2": { "tokenUrl": "https://i.example.com/t", "issuer": "https://kubernetes.default.svc" } }), client(&json!({ "serviceAccount": { "name": "a" } })), "spec.client.serviceAccount.audience", "sign in to the cluster"),
        (entra(), client(&json!({ "serviceAccount": { "name": "a/../../../../other/serviceaccounts/b" } })), "spec.client.serviceAccount.name", "of this namespace"),
        (entra(), client(&json!({ "serviceAccount": { "name": ".." } })), "spec.client.serviceAccount.name", "of this namespace"),
        (entra(), client(&json!({ "serviceAccount": { "name": "a?b" } })), "spec.client.serviceAccount.name", "of this namespace"),
        (generic(), json!({ "grant": { "tokenExchange": { "subject": { "serviceAccount": { "name": "a%2fb" } } } } }), "spec.grant", "serviceAccount.name must be the name of a ServiceAccount of this namespace"),
        // Clients.
        (generic(), json!({ "client": { "id": "" } }), "spec.client.id", "is missing"),
        (generic(), json!({ "client": { "public": {} } }), "spec.client", "has secrets and public, but a client authenticates in exactly one way"),
        (generic(), client(&json!({ "certificates": [{ "secretName": "alerts-token" }] })), "spec.client.certificates[0].secretName", "again with another target.secretName"),
        (generic(), json!({ "grant": { "refreshToken": { "secretRef": { "name": "alerts-token", "key": "k" } } } }), "spec.grant", "again with another target.secretName"),
        // Grants.
        (generic(), json!({ "grant": {} }), "spec.grant", "exactly one key"),
        (generic(), json!({ "grant": { "clientCredentials": {}, "refreshToken": { "secretRef": key } } }), "spec.grant", "exactly one key"),
        (generic(), json!({ "grant": { "jwtBearer": {} } }), "spec.grant.jwtBearer", "exactly one of"),
        (generic(), json!({ "grant": { "tokenExchange": { "subject": {}, "actor": {} } } }), "spec.grant.tokenExchange.actor", "exactly one of"),
        (generic(), json!({ "grant": { "jwtBearer": { "signed": { "keyRef": key, "claims": { "exp": "0" } } } } }), "spec.grant.jwtBearer.signed.claims", "apicred sets it"),
        // Token request parameters, and mistakes of the documentation's samples.
        (entra(), json!({ "audience": "x" }), "spec.audience", "no audience parameter"),
        (entra(), json!({ "scopes": NONE }), "spec.scopes", "needs api"),
        (entra(), json!({ "resources": ["x"] }), "spec.resources", "not both"),
        (entra(), json!({ "scopes": NONE, "resources": ["https://graph.microsoft.com", "api://demo"] }), "spec.resources", "a credential for each API"),
        (entra(), json!({ "scopes": NONE, "resources": ["https://graph.microsoft.com/.default"] }), "spec.resources[0]", "write resources: [\"https://graph.microsoft.com\"]"),
        (entra(), json!({ "scopes": NONE, "resources": ["https://graph.microsoft.com"], "endpointVersion": "V2" }), "spec.resources", "scopes: [\"https://graph.microsoft.com/.default\"]"),
        // Managed Desktop's table: the v1 URL with a scope.
        (entra(), json!({ "scopes": ["https://mwaas-services-customerapi-prod.azurewebsites.net/.default"], "endpointVersion": "V1" }), "spec.scopes", "resources: [\"https://mwaas-services-customerapi-prod.azurewebsites.net\"]"),
        (entra(), json!({ "scopes": ["https%3A%2F%2Fgraph.microsoft.com%2F.default"] }), "spec.scopes[0]", "write it plainly"),
        (entra(), json!({ "scopes": ["https://graph.microsoft.com/User.Read"] }), "spec.scopes[0]", "/.default"),
        (entra(), json!({ "scopes": ["a/.default", "b/.default"] }), "spec.scopes", "one API at a time"),
        (entra(), json!({ "grant": { "refreshToken": { "secretRef": key } }, "scopes": ["User.Read", "offline_access", "https://vault.azure.net/user_impersonation"] }), "spec.scopes", "https://graph.microsoft.com and https://vault.azure.net"),
        (entra(), json!({ "grant": { "refreshToken": { "secretRef": key } }, "scopes": ["https://graph.microsoft.com/.default", "User.Read"] }), "spec.scopes", "and the permission \"User.Read\""),
        (entra(), json!({ "grant": { "refreshToken": { "secretRef": key } }, "scopes": ["User.Read", "offline_access", ".default"] }), "spec.scopes", "have \".default\" and"),
        (entra(), json!({ "grant": { "onBehalfOf": { "assertionRef": key } }, "scopes": ["api://orders/.default", "api://orders/Read"] }), "spec.scopes", "AADSTS70011"),
        (entra(), json!({ "grant": { "onBehalfOf": { "assertionRef": key } }, "api": "MicrosoftGraph", "scopes": [".default", "User.Read"] }), "spec.scopes", "and the permission \"User.Read\""),
        (entra(), json!({ "scopes": ["https://mmdls.microsoft.com/.default"] }), "spec.scopes[0]", "api: ManagedDesktop"),
        (entra(), json!({ "scopes": ["https://contoso.eu.portal.cloudappsecurity.com/.default"] }), "spec.scopes[0]", "api: DefenderForCloudApps"),
        (entra(), json!({ "scopes": NONE, "resources": ["https://api.securitycenter.windows.com"] }), "spec.resources[0]", "api: DefenderForEndpoint"),
        (entra(), json!({ "parameters": [{ "name": "grant_type", "value": "client_credential" }] }), "spec.parameters[0].name", "use the field"),
        (entra(), json!({ "api": "MicrosoftGraph" }), "spec.api", "remove scopes"),
        (entra(), json!({ "scopes": ["Alert.Read.All"] }), "spec.scopes[0]", "set api: DefenderForEndpoint,"),
        (entra(), json!({ "scopes": ["alert.readwrite.all"] }), "spec.scopes[0]", "set api: DefenderForEndpoint,"),
        (entra(), json!({ "scopes": ["Machine.Read.All"] }), "spec.scopes[0]", "set api: DefenderForEndpoint,"),
        (entra(), json!({ "scopes": ["AdvancedQuery.Read.All"] }), "spec.scopes[0]", "set api: DefenderForEndpoint,"),
        (entra(), json!({ "scopes": ["Incident.Read.All"] }), "spec.scopes[0]", "set api: DefenderXdr,"),
        (entra(), json!({ "scopes": ["Investigation.Read"] }), "spec.scopes[0]", "set api: DefenderForCloudApps,"),
        (entra(), json!({ "scopes": ["MmdSupport.ReadWrite"] }), "spec.scopes[0]", "set api: ManagedDesktop,"),
        (entra(), json!({ "scopes": ["SecurityAlert.Read.All"] }), "spec.scopes[0]", "https://graph.microsoft.com/.default"),
        (entra(), json!({ "scopes": ["https://alert.example.com"] }), "spec.scopes[0]", "https://alert.example.com/.default"),
        (json!({ "entra": { "tenantId": "c.example", "cloud": "China" } }), json!({ "scopes": ["Alert.Read.All"] }), "spec.scopes[0]", "did you mean"),
        (generic(), json!({ "client": { "id": "client-1\n" } }), "spec.client.id", "has a line end"),
        (generic(), json!({ "client": { "id": "client-1\r\n" } }), "spec.client.id", "has a line end"),
        (generic(), json!({ "client": { "id": "client-1\t" } }), "spec.client.id", "has a tab"),
        (generic(), json!({ "client": { "id": " client-1" } }), "spec.client.id", "has a space at its start or end"),
        (generic(), json!({ "client": { "id": "client-1\u{a0}" } }), "spec.client.id", "has a space at its start or end"),
        (generic(), json!({ "client": { "id": "client\u{7}1" } }), "spec.client.id", "has a control character"),
        (generic(), json!({ "client": { "id": "client-1\u{200b}" } }), "spec.client.id", "has an invisible character"),
        (generic(), json!({ "client": { "id": "\u{feff}client-1" } }), "spec.client.id", "has an invisible character"),
        (generic(), json!({ "client": { "id": "" } }), "spec.client.id", "is missing"),
        (generic(), json!({ "target": { "secretName": "a..b" } }), "spec.target.secretName", "is not a valid name"),
        (generic(), json!({ "target": { "secretName": "a.-b" } }), "spec.target.secretName", "is not a valid name"),
        (generic(), json!({ "api": "MicrosoftGraph", "scopes": NONE }), "spec.api", "not Entra ID"),
        (generic(), json!({ "endpointVersion": "V2" }), "spec.endpointVersion", "remove it"),
        (json!({ "entra": { "tenantId": "c.example", "cloud": "China" } }), json!({ "api": "DefenderXdr", "scopes": NONE }), "spec.api", "no documented address"),
        // The target.
        (generic(), json!({ "target": { "keys": [{ "format": "Netrc" }] } }), "spec.target.keys[0].host", "is missing"),
        (generic(), json!({ "target": { "keys": [{ "format": "Token" }, { "format": "Json", "key": "token" }] } }), "spec.target.keys[1].key", "is used twice"),
    ];
    for (issuer, change, field, expected) in cases {
        let faults = parsed(&issuer, &change).expect_err(&change.to_string());
        let found = faults
            .iter()
            .find(|f| f.field == field && f.problem.contains(expected));
        assert!(
            found.is_some(),
            "{change}: no \"{expected}\" at {field} in {faults:?}"
        );
    }
}

#[test]
fn a_static_key_has_neither_issuer_nor_client_nor_scopes() {
    let fixed = json!({ "issuerRef": NONE, "client": NONE, "scopes": NONE, "static": { "tokenRef": reference() } });
    let credential = parse(&object(&fixed), |_| IssuerLookup::Missing).unwrap();
    assert_eq!(
        (credential.authentication, credential.request),
        (AuthenticationMethod::Absent, RequestParameters::default())
    );
    for (more, field) in [
        (
            json!({ "issuerRef": { "kind": "TokenIssuer", "name": "x" } }),
            "spec.issuerRef",
        ),
        (
            json!({ "entra": { "tenantId": "contoso.example" } }),
            "spec.entra",
        ),
        (
            json!({ "grant": { "clientCredentials": {} } }),
            "spec.grant",
        ),
        (
            json!({ "target": { "secretName": "s" } }),
            "spec.static.tokenRef.name",
        ),
        (
            json!({ "client": { "id": "x", "public": {} } }),
            "spec.client",
        ),
        (json!({ "scopes": ["x"] }), "spec.scopes"),
        (json!({ "resources": ["x"] }), "spec.resources"),
        (json!({ "audience": "x" }), "spec.audience"),
        (
            json!({ "parameters": [{ "name": "x", "value": "y" }] }),
            "spec.parameters",
        ),
        (json!({ "endpointVersion": "V1" }), "spec.endpointVersion"),
        (json!({ "expect": { "roles": ["x"] } }), "spec.expect"),
        (json!({ "minLifetime": "15m" }), "spec.minLifetime"),
        (json!({ "api": "CloudAppSecurity" }), "spec.api"),
        (json!({ "deletionPolicy": "Revoke" }), "spec.deletionPolicy"),
    ] {
        let faults = parse(&object(&with(fixed.clone(), &more)), |_| {
            IssuerLookup::Missing
        });
        let faults = faults.expect_err(field);
        assert!(
            faults.iter().any(|f| f.field == field),
            "{more}: {faults:?}"
        );
    }
}

#[test]
fn presets_fill_in_what_is_requested() {
    let refresh = json!({ "refreshToken": { "secretRef": reference() } });
    let graph = "https://graph.microsoft.com";
    #[rustfmt::skip]
    let cases = [
        (json!({ "api": "MicrosoftGraph", "scopes": NONE }), vec![format!("{graph}/.default")], None),
        (json!({ "api": "MicrosoftGraph", "scopes": NONE, "endpointVersion": "V1" }), vec![], Some(graph)),
        (json!({ "api": "CloudAppSecurity", "scopes": NONE }), vec!["05a65629-4c1b-48c1-a78b-804c4abdd4af/.default".to_owned()], None),
        (json!({ "api": "MicrosoftGraph", "grant": refresh, "scopes": ["User.Read", "offline_access", "api://x/y"] }),
            vec![format!("{graph}/User.Read"), "offline_access".to_owned(), "api://x/y".to_owned()], None),
        (json!({ "api": "MicrosoftGraph", "grant": refresh, "scopes": [".default", "openid", "offline_access"] }),
            vec![format!("{graph}/.default"), "openid".to_owned(), "offline_access".to_owned()], None),
        (json!({ "grant": refresh, "scopes": ["email", "profile", "api://x/.default"] }),
            vec!["email".to_owned(), "profile".to_owned(), "api://x/.default".to_owned()], None),
    ];
    for (change, scopes, resource) in cases {
        let credential = parsed(&entra(), &change).unwrap();
        assert_eq!(
            (
                credential.request.scopes,
                credential.request.resources.first().map(String::as_str)
            ),
            (scopes, resource),
            "{change}"
        );
    }
    let gov = json!({ "entra": { "tenantId": "c.example", "cloud": "USGov" } });
    let credential = parsed(&gov, &json!({ "api": "MicrosoftGraph", "scopes": NONE })).unwrap();
    assert_eq!(
        credential.request.scopes,
        ["https://graph.microsoft.us/.default"]
    );
}

#[test]
fn old_and_new_names_are_one_api() {
    for cloud in [Cloud::Public, Cloud::USGov, Cloud::China] {
        assert_eq!(
            preset(ApiPreset::DefenderForCloudApps, cloud),
            preset(ApiPreset::CloudAppSecurity, cloud)
        );
        assert_eq!(
            preset(ApiPreset::DefenderForEndpoint, cloud),
            preset(ApiPreset::WindowsDefenderAtp, cloud)
        );
        for api in [ApiPreset::MicrosoftGraph, ApiPreset::AzureResourceManager] {
            let known = preset(api, cloud).unwrap();
            assert!(known.base_url.starts_with("https://") && !known.audience.ends_with('/'));
        }
    }
}

#[test]
fn a_secret_is_used_as_static_key_or_refresh_token_only_with_its_annotation() {
    let fixed = json!({ "issuerRef": NONE, "client": NONE, "scopes": NONE, "static": { "tokenRef": reference() } });
    let fixed = parse(&object(&fixed), |_| IssuerLookup::Missing).unwrap();
    let refresh = json!({ "grant": { "refreshToken": { "secretRef": reference() } } });
    let refresh = parsed(&generic(), &refresh).unwrap();
    let plain = parsed(&generic(), &json!({})).unwrap();
    let (publish, state) = ("apicred.dev/publish-by", "apicred.dev/state-of");
    #[rustfmt::skip]
    let cases = [
        (&plain, None, true),
        (&fixed, None, false),
        (&fixed, Some((publish, "alerts")), true),
        (&fixed, Some((publish, "other, alerts")), true),
        (&fixed, Some((publish, "alerts2")), false),
        (&fixed, Some((state, "alerts")), false),
        (&refresh, None, false),
        (&refresh, Some((state, "alerts")), true),
        // Only one credential may ever use a refresh token.
        (&refresh, Some((state, "alerts,other")), false),
        (&refresh, Some((publish, "alerts")), false),
    ];
    for (credential, annotation, expected) in cases {
        let annotations = annotation.map(|a| map(&[a]));
        let allowed = may_serve(credential, "s", annotations.as_ref());
        assert_eq!(allowed.is_ok(), expected, "{annotation:?}");
        if let Err(denial) = allowed {
            assert!(
                denial.message().contains("alerts on it"),
                "{}",
                denial.message()
            );
        }
    }
}

proptest! {
    /// Whatever is merged into a spec, parsing returns a credential or faults with fields.
    #[test]
    fn parsing_is_total(
        client in prop::sample::select(vec![json!({}), json!({ "public": {} }), json!({ "secrets": NONE, "certificates": [{ "secretName": "t" }] }), NONE]),
        fixed in prop::sample::select(vec![NONE, json!({ "tokenRef": { "name": "a", "key": "b" } })]),
        grant in prop::sample::select(vec![NONE, json!({}),
            json!({ "password": { "username": "u", "passwordRef": { "name": "a", "key": "b" } } }), json!({ "jwtBearer": { "signed": { "keyRef": { "name": "a", "key": "b" } } } })]),
        text in ".{0,30}", version in prop::sample::select(vec![NONE, json!("V1"), json!("V2")]), at_entra in any::<bool>(),
    ) {
        let mut change = json!({ "grant": grant, "static": fixed, "endpointVersion": version, "scopes": [text], "resources": [text] });
        merge(&mut change, &json!({ "client": client }));
        let issuer = if at_entra { entra() } else { generic() };
        if let Err(faults) = parsed(&issuer, &change) {
            prop_assert!(!faults.is_empty());
            prop_assert!(faults.iter().all(|f| !f.field.is_empty() && f.problem.len() > 5));
        }
    }
}
