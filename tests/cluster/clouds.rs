//! National clouds of Entra ID, at the host of each: the proxy connects these names to an issuer of the test.

use dev_issuer::{AuthMethod, Client, Cloud, Config, DevIssuer, IdentityEndpoints, Tenant};
use serde_json::{Value, json};
use testenv::{ConnectProxy, ConnectRequest};

use crate::{
    machine::{CUSTOMER, GIVEN, GIVEN_OBJECT, TRUSTING, anywhere, given, origin, trust},
    support::{Place, World, run},
};

/// A cloud, its authority host, and the audience of tokens that are client assertions there. Source:
/// learn.microsoft.com/entra/workload-id/workload-identity-federation-config-app-trust-managed-identity.
const CLOUDS: [(Cloud, &str, &str); 3] = [
    (
        Cloud::Public,
        "login.microsoftonline.com",
        "api://AzureADTokenExchange",
    ),
    (
        Cloud::USGov,
        "login.microsoftonline.us",
        "api://AzureADTokenExchangeUSGov",
    ),
    (
        Cloud::China,
        "login.partner.microsoftonline.cn",
        "api://AzureADTokenExchangeChina",
    ),
];

/// Entra ID of one cloud, with a machine whose identity an application trusts, and a customer's tenant.
async fn entra((cloud, host, audience): (Cloud, &str, &str)) -> DevIssuer {
    let mut config = Config {
        cloud,
        host: Some(host.to_owned()),
        identity: IdentityEndpoints {
            imds: Some(anywhere()),
            ..IdentityEndpoints::default()
        },
        managed_identities: vec![given()],
        ..Config::default()
    };
    config.tenants.push(Tenant {
        id: CUSTOMER.to_owned(),
        domains: Vec::new(),
    });
    let issuer = DevIssuer::start(config).await.expect("an issuer");
    trust(&issuer, audience);
    issuer
}

/// The issuer object of a cloud: only the cloud's name, no host.
async fn put_issuer(place: &Place, issuer: &DevIssuer, cloud: Cloud, tenant: &str) {
    let imds = origin(&issuer.imds_url().expect("it listens"));
    let mut spec = place.issuer_spec(json!({
        "entra": { "tenantId": tenant, "cloud": format!("{cloud:?}") },
        "managedIdentity": { "imds": { "endpoint": imds } },
    }));
    spec["caBundle"] = json!(issuer.ca_pem());
    place.put_issuer(spec).await;
    place.issuer_ready().await;
}

fn asserting(name: &str) -> Value {
    json!({
        "client": {
            "secrets": null, "id": TRUSTING,
            "managedIdentity": { "clientId": GIVEN, "asAssertion": {} },
        },
        "target": { "secretName": name },
    })
}

#[test]
fn an_identity_is_the_assertion_of_an_application_in_each_cloud_at_its_host_and_for_its_audience() {
    run(async {
        let proxy = ConnectProxy::start(None).await.expect("a proxy");
        let mut world = World::own().await;
        world.environment = vec![(
            "APICRED_ISSUER_PROXY",
            format!("http://{}", proxy.address()),
        )];
        world.start_operator().await;
        for (number, facts) in CLOUDS.into_iter().enumerate() {
            let (cloud, host, _) = facts;
            let issuer = entra(facts).await;
            proxy.lead(format!("{host}:443"), issuer.address());
            let place = world.place(&format!("cloud-{number}")).await;
            for (name, tenant) in [("home", issuer.tenant()), ("customer", CUSTOMER)] {
                put_issuer(&place, &issuer, cloud, tenant).await;
                place.create(name, asserting(name)).await;
                let view = place.ready(name).await;
                let seen = issuer.validate(&view.token).expect("a token of this cloud");
                assert_eq!(seen.client(), Some(TRUSTING));
                assert_eq!(seen.tid.as_deref(), Some(tenant), "{cloud:?} {name}");
            }
            let requests = issuer.token_requests_of(TRUSTING);
            assert!(!requests.is_empty() && place.posts() == 0, "{cloud:?}");
            let by = requests.iter().map(|r| r.auth_method);
            assert!(
                by.into_iter().all(|m| m == AuthMethod::FederatedJwt),
                "{cloud:?}"
            );
            let expected_request = ConnectRequest {
                target: format!("{host}:443"),
                status: Some(200),
            };
            assert!(
                proxy.requests().contains(&expected_request),
                "{:?}",
                proxy.requests()
            );

            // An application that trusts the audience of another cloud.
            let (.., foreign) = CLOUDS[(number + 1) % CLOUDS.len()];
            let home = format!("{}/{}/v2.0", issuer.origin(), issuer.tenant());
            let other = Client::new(TRUSTING).federated(home, GIVEN_OBJECT, foreign);
            issuer.add_client(other).expect("a client");
            put_issuer(&place, &issuer, cloud, issuer.tenant()).await;
            place.create("foreign", asserting("foreign")).await;
            let reported = place.not_ready("foreign", "FederationMismatch").await;
            assert!(reported.contains("audience"), "{reported}");
        }
        world.operator_runs();
    });
}
