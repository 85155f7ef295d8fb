//! Managed identities, and what they can be combined with.

use super::*;

#[test]
fn identities_are_selected_by_one_name() {
    let with_identity = with(entra(), &json!({ "managedIdentity": { "imds": {} } }));
    #[rustfmt::skip]
    let cases = [
        (json!({ "id": NONE, "managedIdentity": {} }), Selector::System),
        (json!({ "id": "c", "managedIdentity": {} }), Selector::Client("c".to_owned())),
        (json!({ "id": NONE, "managedIdentity": { "objectId": "o" } }), Selector::Object("o".to_owned())),
        (json!({ "id": NONE, "managedIdentity": { "resourceId": "/r" } }), Selector::Resource("/r".to_owned())),
    ];
    for (change, selector) in cases {
        let credential = parsed(&with_identity, &client(&change)).unwrap();
        assert_eq!(
            credential.authentication,
            AuthenticationMethod::ManagedIdentity(selector)
        );
        assert!(credential.of_identity().is_none());
    }
}

#[test]
fn an_identity_asserts_for_an_application_by_the_audience_of_its_cloud() {
    #[rustfmt::skip]
    let cases = [
        (json!({ "asAssertion": {} }), "Public", Selector::System, "api://AzureADTokenExchange"),
        (json!({ "asAssertion": {}, "clientId": "i" }), "USGov", Selector::Client("i".to_owned()), "api://AzureADTokenExchangeUSGov"),
        (json!({ "asAssertion": {}, "objectId": "o" }), "China", Selector::Object("o".to_owned()), "api://AzureADTokenExchangeChina"),
        (json!({ "asAssertion": {}, "resourceId": "/r" }), "Public", Selector::Resource("/r".to_owned()), "api://AzureADTokenExchange"),
    ];
    for (identity, cloud, selector, audience) in cases {
        let mut issuer = with(entra(), &json!({ "managedIdentity": { "imds": {} } }));
        issuer["entra"]["cloud"] = json!(cloud);
        let change = client(&json!({ "id": "app", "managedIdentity": identity }));
        let credential = parsed(&issuer, &change).unwrap();
        assert_eq!(
            credential.authentication,
            AuthenticationMethod::IdentityAssertion(selector.clone())
        );
        assert_eq!(credential.client_id, "app");
        let own = credential.of_identity().unwrap();
        assert_eq!(
            own.authentication,
            AuthenticationMethod::ManagedIdentity(selector)
        );
        assert_eq!(own.request.resources, [audience]);
        assert!(own.request.scopes.is_empty() && own.client_id.is_empty());
    }
}

#[test]
fn only_this_machine_provides_an_identity() {
    let operator_identity = |how: Value| {
        Issuer::cluster(&cluster_issuer(&with(
            entra(),
            &json!({ "managedIdentity": how }),
        )))
    };
    for good in [
        json!({ "imds": {} }),
        json!({ "imds": { "endpoint": "http://127.0.0.1:8080" } }),
        json!({ "azureArc": {} }),
        json!({ "appService": {} }),
        json!({ "workloadIdentity": {} }),
    ] {
        assert!(
            operator_identity(good.clone())
                .unwrap()
                .operator_identity
                .is_some(),
            "{good}"
        );
    }
    for bad in [
        json!({}),
        json!({ "imds": {}, "appService": {} }),
        json!({ "imds": { "endpoint": "http://10.0.0.1" } }),
        json!({ "imds": { "endpoint": "https://169.254.169.254" } }),
        json!({ "imds": { "endpoint": "http://169.254.169.254/x" } }),
        json!({ "imds": { "endpoint": "http://localhost" } }),
        json!({ "azureArc": { "endpoint": "http://169.254.169.254.evil.example" } }),
    ] {
        let faults = operator_identity(bad.clone()).err();
        assert!(
            faults.is_some_and(|f| f[0].field.starts_with("spec.managedIdentity")),
            "{bad}"
        );
    }
    let elsewhere = with(generic(), &json!({ "managedIdentity": { "imds": {} } }));
    assert!(Issuer::cluster(&cluster_issuer(&elsewhere)).is_err());
}
