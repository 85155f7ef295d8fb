//! Grants that only their issuer defines, from YAML to an answer of an API with the mounted token.

use dev_issuer::SamlAssertion;
use serde_json::{Value, json};

use crate::support::{Place, World, run};

/// A place whose issuer is the generic one of dev-issuer, and allows the grant.
async fn place(world: &World, label: &str, more: Value) -> Place {
    let place = world.place(label).await;
    let oidc = json!({ "issuerUrl": place.issuer.generic_issuer() });
    let mut spec = place.issuer_spec(json!({ "oidc": oidc, "allowedGrants": ["Extension"] }));
    for (name, value) in more.as_object().into_iter().flatten() {
        spec[name] = value.clone();
    }
    place.put_issuer(spec).await;
    place.issuer_ready().await;
    place
}

#[test]
fn an_account_of_zoom_and_a_wrong_one() {
    run(async {
        let world = World::shared().await;
        let limits =
            json!({ "allowedParameters": ["grant_type=account_credentials", "account_id"] });
        let place = place(world, "zoom", limits).await;
        let mut client = place.oauth_client();
        client.account_id = Some("Ab1-account".to_owned());
        place.add_client(client);
        let grant = |account: &str| {
            json!({ "extension": {
                "grantType": "account_credentials",
                "parameters": [{ "name": "account_id", "value": account }],
            } })
        };
        let spec = json!({ "grant": grant("another"), "scopes": null, "audience": "api://demo" });
        place.create("c", spec).await;
        place.not_ready("c", "InvalidRequest").await;
        place
            .edit("c", json!({ "spec": { "grant": { "extension": { "parameters": [{ "name": "account_id", "value": "Ab1-account" }] } } } }))
            .await;
        let view = place.ready("c").await;
        assert_eq!(place.call("demo", "records", &view.token).await, 200);
        // A parameter that the administrator did not list is not sent.
        let other = json!({
            "grant": { "extension": { "grantType": "urn:ibm:params:oauth:grant-type:apikey" } },
            "scopes": null, "target": { "secretName": "other" },
        });
        place.create("other", other).await;
        place.not_ready("other", "ParameterNotAllowed").await;
    });
}

#[test]
fn an_api_key_of_ibm_cloud_without_a_client_and_its_replacement() {
    run(async {
        let world = World::shared().await;
        let place = place(world, "ibm", json!({})).await;
        let key = "Kq7~wJ2-api-key-of-this-test+/=";
        let mut client = place.oauth_client();
        client.api_key = Some(key.to_owned());
        place.add_client(client);
        place
            .put_secret("ibm", "apikey", "Zz9~not-the-api-key-of-anybody")
            .await;
        let spec = json!({
            "client": null, "scopes": null, "audience": "api://demo",
            "grant": { "extension": {
                "grantType": "urn:ibm:params:oauth:grant-type:apikey",
                "parameters": [{ "name": "apikey", "secretRef": { "name": "ibm", "key": "apikey" } }],
            } },
        });
        place.create("c", spec).await;
        let reported = place.not_ready("c", "GrantRefused").await;
        assert!(
            reported.contains("grant.extension.parameters"),
            "{reported}"
        );
        // A change of the Secret is used at once.
        place.put_secret("ibm", "apikey", key).await;
        let view = place.ready("c").await;
        assert_eq!(place.call("demo", "records", &view.token).await, 200);
    });
}

#[test]
fn a_saml_assertion_of_sap_and_the_one_that_follows_it() {
    run(async {
        let world = World::shared().await;
        let limits = json!({ "allowedParameters": [
            "grant_type=urn:ietf:params:oauth:grant-type:saml2-bearer", "company_id=acme", "assertion",
        ] });
        let place = place(world, "sap", limits).await;
        let mut client = place.oauth_client().public();
        client.secrets.clear();
        client.saml = Some(SamlAssertion {
            company_id: "acme".to_owned(),
            assertion: "PHNhbWw+bmV3PC9zYW1sPg==".to_owned(),
        });
        place.add_client(client);
        // An expired one.
        place
            .put_secret("saml", "assertion", "PHNhbWw+b2xkPC9zYW1sPg==")
            .await;
        let spec = json!({
            "client": { "secrets": null, "public": {} }, "scopes": null, "audience": "api://demo",
            "grant": { "extension": {
                "grantType": "urn:ietf:params:oauth:grant-type:saml2-bearer",
                "parameters": [
                    { "name": "company_id", "value": "acme" },
                    { "name": "assertion", "secretRef": { "name": "saml", "key": "assertion" } },
                ],
            } },
        });
        place.create("c", spec).await;
        let reported = place.not_ready("c", "GrantRefused").await;
        assert!(
            reported.contains("grant.extension.parameters"),
            "{reported}"
        );
        place
            .put_secret("saml", "assertion", "PHNhbWw+bmV3PC9zYW1sPg==")
            .await;
        let view = place.ready("c").await;
        assert_eq!(place.call("demo", "records", &view.token).await, 200);
    });
}
