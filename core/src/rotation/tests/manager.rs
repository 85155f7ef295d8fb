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
    let (own, manager) = (for_graph(own, &json!({})), for_graph(manager, change));
    may_change(&own, &manager, None).err()
}

#[test]
fn the_token_of_a_tenant_that_is_named_by_a_domain_shows_its_id() {
    let of = |tenant: &str| for_graph(&entra(&json!({ "tenantId": tenant })), &json!({}));
    let domain = "contoso.onmicrosoft.com";
    let another = "is of tenant 7a0e6f3c";
    let write = |id: &str| format!("write its ID in both ({id})");
    for (own, manager, tid, words) in [
        (ONE, domain, Some(ONE), None),
        (ONE, domain, Some(&*ONE.to_uppercase()), None),
        (ONE, domain, Some(OTHER), Some(another.to_owned())),
        (ONE, domain, None, Some(write(ONE))),
        // It is no ID.
        (ONE, domain, Some(domain), Some(write(ONE))),
        // The ID of the client's own name is not known.
        (domain, ONE, Some(ONE), Some(write(ONE))),
        (domain, "fabrikam.com", Some(OTHER), Some(write(OTHER))),
        (
            domain,
            "fabrikam.com",
            None,
            Some(write("az account show --query tenantId")),
        ),
        // A token cannot be of another tenant than the one that is named by its ID.
        (ONE, OTHER, Some(ONE), Some(another.to_owned())),
    ] {
        let said = may_change(&of(own), &of(manager), tid).err();
        let as_expected = match (&words, &said) {
            (Some(words), Some(said)) => said.contains(words),
            (words, said) => words.is_none() && said.is_none(),
        };
        assert!(as_expected, "{own} by {manager} {tid:?}: {said:?}");
    }
}

#[test]
fn a_token_of_the_same_tenant_alone_manages_a_client() {
    let of = |tenant: &str| entra(&json!({ "tenantId": tenant }));
    for (own, manager, expected) in [
        (ONE, ONE, None),
        (ONE, &*ONE.to_uppercase(), None),
        ("contoso.onmicrosoft.com", "Contoso.onmicrosoft.com", None),
        (ONE, OTHER, Some("of the same tenant")),
        // apicred cannot know whether these are the same tenant.
        ("contoso.onmicrosoft.com", ONE, Some("write its ID in both")),
        (ONE, "contoso.onmicrosoft.com", Some("write its ID in both")),
        ("contoso.com", "fabrikam.com", Some("write its ID in both")),
    ] {
        let refusal_text = refused(&of(own), (&of(manager), &json!({})));
        let as_expected = match (expected, &refusal_text) {
            (None, None) => true,
            (Some(expected), Some(refusal_text)) => {
                refusal_text.contains(expected)
                    && refusal_text.contains(own)
                    && refusal_text.contains(manager)
            }
            _ => false,
        };
        assert!(as_expected, "{own} by {manager}: {refusal_text:?}");
    }
}

#[test]
fn a_token_of_another_cloud_or_of_an_issuer_without_voucher_manages_no_client() {
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
        let refusal_text = refused(own, (manager, &plain)).unwrap();
        assert!(refusal_text.contains("another issuer"), "{refusal_text}");
    }
}

#[test]
fn a_token_for_something_else_or_of_the_v1_endpoint_manages_no_client() {
    let issuer = entra(&json!({ "tenantId": ONE }));
    let refusal_text = |change: &Value| refused(&issuer, (&issuer, change));
    let v1 = refusal_text(&json!({ "endpointVersion": "V1" })).unwrap();
    assert!(v1.contains("remove endpointVersion"), "{v1}");
    for other in [
        json!({ "api": "DefenderForEndpoint" }),
        json!({ "api": "DefenderForEndpoint", "endpointVersion": "V1" }),
    ] {
        let refusal_text = refusal_text(&other).unwrap();
        assert!(
            refusal_text.contains("set api: MicrosoftGraph"),
            "{other}: {refusal_text}"
        );
    }
    let written = json!({ "api": null, "scopes": ["https://graph.microsoft.com/.default"] });
    assert_eq!(refusal_text(&written), None);
}
