//! The token of a managed identity in place of a secret.

use dev_issuer::{Client, Cloud, Config, Tenant};

use crate::identity::{GIVEN, MEANT, anywhere, get, machine};
use crate::signer::with_assertion;
use crate::support::Bench;

const AUDIENCE: &str = "api://AzureADTokenExchange";
const OTHER: &str = "22222222-0000-4000-8000-000000000000";
const OBJECT: &str = "00000000-0000-4000-8000-0000000000f3";

fn request(client: &str) -> Vec<(&str, &str)> {
    vec![
        ("grant_type", "client_credentials"),
        ("client_id", client),
        ("scope", "api://demo/.default"),
    ]
}

/// A machine whose given identity has this object id.
fn asserting() -> Config {
    let mut config: Config = machine(dev_issuer::IdentityEndpoints {
        imds: Some(anywhere()),
        ..Default::default()
    });
    for identity in &mut config.managed_identities {
        if identity.client_id == GIVEN {
            identity.object_id = Some(OBJECT.to_owned());
        }
    }
    config
}

#[tokio::test]
async fn an_application_trusts_an_identity_of_its_own_tenant_and_no_application() {
    let mut config = asserting();
    config.tenants.push(Tenant {
        id: OTHER.to_owned(),
        domains: Vec::new(),
    });
    let bench = Bench::with(config).await;
    let issuer = format!("{}/{}/v2.0", bench.issuer.origin(), bench.issuer.tenant());
    let client = |id: &str| {
        Client::new(id)
            .federated(issuer.as_str(), OBJECT, AUDIENCE)
            .role("demo", "Records.Read")
    };
    let mut elsewhere = client("elsewhere");
    elsewhere.tenants = vec![OTHER.to_owned(), bench.issuer.tenant().to_owned()];
    let stranger = Client::new("stranger").federated(issuer.as_str(), "other", AUDIENCE);
    let secret = Client::new("plain").secret("plain-secret");
    for client in [client("trusting"), elsewhere, stranger, secret] {
        bench.issuer.add_client(client).unwrap();
    }
    let url = bench.issuer.imds_url().unwrap();
    let query = format!("api-version=2018-02-01&resource={AUDIENCE}&client_id={GIVEN}");
    let reply = get(&bench, &url, &query, &[MEANT]).await;
    let assertion = reply.token();

    let token = bench
        .v2(&with_assertion(&request("trusting"), &assertion))
        .await
        .token();
    let seen = bench.issuer.validate(&token).unwrap();
    assert_eq!(seen.client(), Some("trusting"));
    assert_eq!(seen.xms_mirid, None, "the application's own token");
    let refused = bench
        .v2(&with_assertion(&request("elsewhere"), &assertion))
        .await;
    assert!(refused.body.contains("AADSTS700236"), "{refused:?}");
    let refused = bench
        .v2(&with_assertion(&request("stranger"), &assertion))
        .await;
    assert!(refused.body.contains("AADSTS700213"), "{refused:?}");

    // Neither the identity's token for another API nor an application's token authenticates an application.
    let query = format!("api-version=2018-02-01&resource=api://demo&client_id={GIVEN}");
    let reply = get(&bench, &url, &query, &[MEANT]).await;
    let other = reply.token();
    let mut form = request("plain");
    form[2].1 = "api://AzureADTokenExchange/.default";
    form.push(("client_secret", "plain-secret"));
    let plain = bench.v2(&form).await.token();
    for (text, number) in [(other, "AADSTS700222"), (plain, "AADSTS700222")] {
        let refused = bench.v2(&with_assertion(&request("trusting"), &text)).await;
        assert!(refused.body.contains(number), "{number}: {refused:?}");
    }
}

#[tokio::test]
async fn each_cloud_has_an_audience_of_its_own_for_these_assertions() {
    let public = (Cloud::Public, AUDIENCE.to_owned());
    let clouds = [
        public,
        (Cloud::USGov, format!("{AUDIENCE}USGov")),
        (Cloud::China, format!("{AUDIENCE}China")),
    ];
    for (cloud, audience) in &clouds {
        let mut config = asserting();
        config.cloud = *cloud;
        let bench = Bench::with(config).await;
        let issuer = format!("{}/{}/v2.0", bench.issuer.origin(), bench.issuer.tenant());
        for (id, audience) in ["public", "usgov", "china"].into_iter().zip(&clouds) {
            let client = Client::new(id).role("demo", "Records.Read");
            let client = client.federated(issuer.as_str(), OBJECT, audience.1.as_str());
            bench.issuer.add_client(client).unwrap();
        }
        let url = bench.issuer.imds_url().unwrap();
        for (other, name) in &clouds {
            let query = format!("api-version=2018-02-01&resource={name}&client_id={GIVEN}");
            let reply = get(&bench, &url, &query, &[MEANT]).await;
            assert_eq!(reply.status == 200, cloud == other, "{cloud:?}: {reply:?}");
        }
        let query = format!("api-version=2018-02-01&resource={audience}&client_id={GIVEN}");
        let assertion = get(&bench, &url, &query, &[MEANT]).await.token();
        for (other, id) in clouds.iter().map(|c| c.0).zip(["public", "usgov", "china"]) {
            let reply = bench.v2(&with_assertion(&request(id), &assertion)).await;
            assert_eq!(
                reply.status == 200,
                *cloud == other,
                "{cloud:?} {id}: {reply:?}"
            );
        }
    }
}
