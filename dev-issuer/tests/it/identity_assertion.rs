//! The token of a managed identity in place of a secret.

use dev_issuer::{Client, Config, Tenant};

use crate::identity::{GIVEN, MEANT, anywhere, get, machine};
use crate::signer::proved;
use crate::support::Bench;

const AUDIENCE: &str = "api://AzureADTokenExchange";
const OTHER: &str = "22222222-0000-4000-8000-000000000000";
const OBJECT: &str = "00000000-0000-4000-8000-0000000000f3";

fn ask(client: &str) -> Vec<(&str, &str)> {
    vec![
        ("grant_type", "client_credentials"),
        ("client_id", client),
        ("scope", "api://demo/.default"),
    ]
}

#[tokio::test]
async fn an_application_trusts_an_identity_of_its_own_tenant_and_no_application() {
    let mut config: Config = machine(dev_issuer::IdentityEndpoints {
        imds: Some(anywhere()),
        ..Default::default()
    });
    for identity in &mut config.managed_identities {
        if identity.client_id == GIVEN {
            identity.object_id = Some(OBJECT.to_owned());
        }
    }
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
        .v2(&proved(&ask("trusting"), &assertion))
        .await
        .token();
    let seen = bench.issuer.validate(&token).unwrap();
    assert_eq!(seen.client(), Some("trusting"));
    assert_eq!(seen.xms_mirid, None, "the application's own token");
    let refused = bench.v2(&proved(&ask("elsewhere"), &assertion)).await;
    assert!(refused.body.contains("AADSTS700236"), "{refused:?}");
    let refused = bench.v2(&proved(&ask("stranger"), &assertion)).await;
    assert!(refused.body.contains("AADSTS700213"), "{refused:?}");

    // Neither the identity's token for another API nor an application's token stands for an application.
    let query = format!("api-version=2018-02-01&resource=api://demo&client_id={GIVEN}");
    let reply = get(&bench, &url, &query, &[MEANT]).await;
    let other = reply.token();
    let mut form = ask("plain");
    form[2].1 = "api://AzureADTokenExchange/.default";
    form.push(("client_secret", "plain-secret"));
    let plain = bench.v2(&form).await.token();
    for (text, number) in [(other, "AADSTS700222"), (plain, "AADSTS700222")] {
        let refused = bench.v2(&proved(&ask("trusting"), &text)).await;
        assert!(refused.body.contains(number), "{number}: {refused:?}");
    }
}
