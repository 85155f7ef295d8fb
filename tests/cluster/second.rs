//! Tokens that a second request completes: a password for `docker login`, and tokens of a Google service account without a key.

use dev_issuer::{Effect, Fault, RetryAfter, Surface};
use serde_json::{Value, json};

use crate::{
    service_accounts::{cluster_issuer, service_account},
    support::{Place, World, condition, run},
};

/// Changes this place's issuer to one with a second request.
async fn put_issuer(place: &Place, kind: Value, more: Value) {
    let mut spec = place.issuer_spec(kind);
    for (name, value) in more.as_object().into_iter().flatten() {
        spec[name] = value.clone();
    }
    place.put_issuer(spec).await;
    place.issuer_ready().await;
}

#[test]
fn a_token_of_entra_becomes_what_a_docker_client_logs_in_with() {
    run(async {
        let world = World::shared().await;
        let place = world.place("registry").await;
        let host = place
            .issuer
            .origin()
            .trim_start_matches("https://")
            .to_owned();
        let entra =
            json!({ "tenantId": place.issuer.tenant(), "authorityHost": place.issuer.origin() });
        let second = json!({ "azureContainerRegistry": { "registry": host } });
        put_issuer(
            &place,
            json!({ "entra": entra }),
            json!({ "secondRequest": second }),
        )
        .await;
        let nobody = "00000000-0000-0000-0000-000000000000";
        let spec = json!({
            "scopes": ["https://containerregistry.azure.net/.default"],
            "target": {
                "type": "kubernetes.io/dockerconfigjson",
                "keys": [{ "format": "DockerConfig", "host": host, "username": nobody }],
            },
        });
        // Without the role the registry refuses the token, and the client secret does not count as refused.
        place.create("c", spec).await;
        let reported = place.not_ready("c", "SecondRequestRefused").await;
        assert!(
            reported.contains("AcrPull") && reported.contains(&host),
            "{reported}"
        );
        let credential = place.credentials().get("c").await.expect("a credential");
        assert!(condition(&credential, "ClientCredentialExpiring").is_none());
        place.add_client(place.oauth_client().role("registry", "AcrPull"));
        place.request_renewal("c").await;
        place
            .until("c", "ready", |c| {
                condition(c, "Ready").filter(|ready| ready.status == "True")
            })
            .await;
        let secret = place.secrets().get("token").await.expect("a Secret");
        let config = secret.data.expect("data").remove(".dockerconfigjson");
        let config: Value = serde_json::from_slice(&config.expect("a file").0).expect("JSON");
        let auth = config["auths"][&host]["auth"].as_str().expect("a login");
        let login = |auth: String| {
            let url = format!("{}/v2/", place.issuer.origin());
            let request = place.http.get(url).header("authorization", auth);
            async move { request.send().await.expect("an answer").status().as_u16() }
        };
        assert_eq!(login(format!("Basic {auth}")).await, 200);
        assert_eq!(login("Basic bm9ib2R5OnRva2Vu".to_owned()).await, 401);
    });
}

/// The registry's requests count towards the pause of the client, as those of the token endpoint do.
#[test]
fn a_429_of_the_second_request_pauses_the_client() {
    run(async {
        let world = World::shared().await;
        // Faults of second requests do not depend on the client.
        let place = world.place_with_own_issuer("registry-throttled").await;
        let origin = place.issuer.origin();
        let host = origin.trim_start_matches("https://").to_owned();
        let entra = json!({ "tenantId": place.issuer.tenant(), "authorityHost": origin });
        let second = json!({ "azureContainerRegistry": { "registry": host } });
        put_issuer(
            &place,
            json!({ "entra": entra }),
            json!({ "secondRequest": second }),
        )
        .await;
        place.add_client(place.oauth_client().role("registry", "AcrPull"));
        let busy = Effect::TooManyRequests {
            retry_after: Some(RetryAfter::Seconds(600)),
        };
        let mut fault = Fault::new(busy).times(1);
        fault.on = Surface::SecondRequest;
        place.issuer.fault(fault);
        let spec = |name: &str| {
            json!({
                "scopes": ["https://containerregistry.azure.net/.default"],
                "target": { "secretName": name },
            })
        };
        place.create("first", spec("first")).await;
        place.not_ready("first", "Throttled").await;
        let mut other = spec("second");
        other["minLifetime"] = json!("5m");
        place.create("second", other).await;
        place.not_ready("second", "IssuerPaused").await;
        assert_eq!(place.posts(), 1, "the second credential sent no request");
    });
}

#[test]
fn a_service_account_of_the_cluster_stands_for_one_of_google_without_a_key() {
    run(async {
        let world = World::shared().await;
        let place = world.place("keyless-google").await;
        let (issuer, jwks) = cluster_issuer(world).await;
        place.issuer.trust_issuer(&issuer, &jwks).expect("keys");
        let pool = format!(
            "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/{}/providers/cluster",
            place.client
        );
        let audiences = json!({ "apicred.dev/allowed-audiences": pool });
        service_account(&place, "reader", audiences).await;
        let subject = format!("system:serviceaccount:{}:reader", place.namespace);
        let mut sts = dev_issuer::Client::new(format!("sts-{}", place.client));
        sts.workload_pool = Some(pool.clone());
        place.add_client(sts);
        let email = format!("{}@p-1.iam.gserviceaccount.com", place.client);
        let robot = || {
            dev_issuer::Client::new(&email)
                .default_audience("api://demo")
                .role("demo", "Records.Read")
        };
        place.add_client(robot());
        let sts = json!({ "tokenUrl": place.issuer.generic_token_url() });
        let account = json!({ "email": email, "endpoint": place.issuer.origin() });
        let second = json!({ "googleServiceAccount": account });
        put_issuer(
            &place,
            json!({ "oauth2": sts }),
            json!({ "secondRequest": second }),
        )
        .await;
        let spec = json!({
            "client": null, "audience": pool,
            "scopes": ["https://www.googleapis.com/auth/devstorage.read_only"],
            "grant": { "tokenExchange": {
                "subject": { "serviceAccount": { "name": "reader", "audience": pool } },
            } },
        });
        place.create("c", spec).await;
        let reported = place.not_ready("c", "SecondRequestRefused").await;
        assert!(
            reported.contains("workloadIdentityUser") && reported.contains(&email),
            "{reported}"
        );
        let mut robot = robot();
        robot.impersonators = vec![subject];
        place.add_client(robot);
        place.request_renewal("c").await;
        let view = place.ready("c").await;
        assert_eq!(view.claims["sub"], email);
        assert_eq!(
            view.claims["scope"],
            "https://www.googleapis.com/auth/devstorage.read_only"
        );
        assert_eq!(place.call("demo", "records", &view.token).await, 200);
    });
}
