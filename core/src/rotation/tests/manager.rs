//! Which `ApiCredential` may manage a client.

use serde_json::{Value, json};

use crate::{
    credential::{Credential, Issuer, IssuerLookup, parse},
    fixtures::{cluster_issuer, object, token_issuer},
    rotation::may_change,
};

const ONE: &str = "6f3c0a4e-0d9b-4b5e-8d52-4b8e9df41c1b";
const OTHER: &str = "7a0e6f3c-0d9b-4b5e-8d52-4b8e9df41c1b";

fn for_graph(issuer: &Issuer, change: &Value) -> Credential {
    let mut spec = json!({ "scopes": null, "api": "MicrosoftGraph" });
    for (name, value) in change.as_object().unwrap() {
        spec[name.as_str()] = value.clone();
    }
    parse(&object(&spec), |_| IssuerLookup::Found(issuer.clone())).unwrap()
}

fn entra(spec: &Value) -> Issuer {
    Issuer::cluster(&cluster_issuer(&json!({ "entra": spec }))).unwrap()
}

fn refused(own: &Issuer, (manager, change): (&Issuer, &Value)) -> Option<String> {
    may_change(&for_graph(own, &json!({})), &for_graph(manager, change)).err()
}

#[test]
fn a_token_of_the_same_tenant_alone_manages_a_client() {
    let of = |tenant: &str| entra(&json!({ "tenantId": tenant }));
    for (own, manager, words) in [
        (ONE, ONE, None),
        (ONE, &*ONE.to_uppercase(), None),
        ("contoso.onmicrosoft.com", "Contoso.onmicrosoft.com", None),
        (ONE, OTHER, Some("of the same tenant")),
        // apicred cannot know whether these are the same tenant.
        ("contoso.onmicrosoft.com", ONE, Some("write its ID in both")),
        (ONE, "contoso.onmicrosoft.com", Some("write its ID in both")),
        ("contoso.com", "fabrikam.com", Some("write its ID in both")),
    ] {
        let said = refused(&of(own), (&of(manager), &json!({})));
        let as_expected = match (words, &said) {
            (None, None) => true,
            (Some(words), Some(said)) => {
                said.contains(words) && said.contains(own) && said.contains(manager)
            }
            _ => false,
        };
        assert!(as_expected, "{own} by {manager}: {said:?}");
    }
}

#[test]
fn a_token_of_another_cloud_or_of_an_issuer_that_nobody_vouches_for_manages_none() {
    let public = entra(&json!({ "tenantId": ONE }));
    let government = entra(&json!({ "tenantId": ONE, "cloud": "USGov" }));
    let host = json!({
        "tenantId": ONE, "authorityHost": "https://login.example.com", "graphHost": "https://graph.example.com",
    });
    let named = |name: &str| {
        let mut object = token_issuer(&json!({ "entra": host }));
        object.metadata.name = Some(name.to_owned());
        Issuer::namespaced(&object, &[]).unwrap()
    };
    let (own, another) = (named("own"), named("another"));
    let plain = json!({});
    assert_eq!(refused(&own, (&own, &plain)), None);
    for (own, manager) in [
        (&public, &government),
        (&public, &own),
        (&own, &public),
        (&own, &another),
    ] {
        let said = refused(own, (manager, &plain)).unwrap();
        assert!(said.contains("another issuer"), "{said}");
    }
}

#[test]
fn a_token_for_something_else_or_of_the_v1_endpoint_manages_no_client() {
    let issuer = entra(&json!({ "tenantId": ONE }));
    let said = |change: &Value| refused(&issuer, (&issuer, change));
    let v1 = said(&json!({ "endpointVersion": "V1" })).unwrap();
    assert!(v1.contains("remove endpointVersion"), "{v1}");
    for other in [
        json!({ "api": "DefenderForEndpoint" }),
        json!({ "api": "DefenderForEndpoint", "endpointVersion": "V1" }),
    ] {
        let said = said(&other).unwrap();
        assert!(said.contains("set api: MicrosoftGraph"), "{other}: {said}");
    }
    let written = json!({ "api": null, "scopes": ["https://graph.microsoft.com/.default"] });
    assert_eq!(said(&written), None);
}
