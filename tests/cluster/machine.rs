//! Clients without a stored credential: the identity of the operator's own machine, which an administrator allows. And keys that
//! are published without a request.

use std::net::SocketAddr;

use dev_issuer::{
    AppService, AuthMethod, AzureArc, Client, Config, DevIssuer, IdentityEndpoints,
    ManagedIdentity, Secret, Tenant,
};
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::support::{Place, SOON, World, run};

const OWN: &str = "00000000-0000-4000-8000-0000000000f1";
pub(crate) const GIVEN: &str = "00000000-0000-4000-8000-0000000000f2";
const GIVEN_RESOURCE: &str = "/userAssignedIdentities/demo-identity";
const HEADER: &str = "canary-identity-header";
/// A key that is registered at the issuer from its start.
const CLOUD_APPS_KEY: &str = "cloudapps~static.1";

pub(crate) fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A machine in Azure: its own identity, which may read, and an assigned one, which may write.
async fn machine(folder: &std::path::Path) -> DevIssuer {
    let config = machine_config(folder);
    DevIssuer::start(config).await.expect("an issuer")
}

fn machine_config(folder: &std::path::Path) -> Config {
    let own = ManagedIdentity::system_assigned(OWN, "/virtualMachines/demo-machine");
    let given = ManagedIdentity::user_assigned(GIVEN, GIVEN_RESOURCE);
    Config {
        identity: IdentityEndpoints {
            imds: Some(anywhere()),
            app_service: Some(AppService {
                listen: anywhere(),
                header: Secret::new(HEADER),
            }),
            arc: Some(AzureArc {
                listen: anywhere(),
                key_folder: folder.to_owned(),
                ignores_choice: false,
            }),
        },
        managed_identities: vec![
            own.role("demo", "Records.Read"),
            given.role("demo", "Records.Write"),
        ],
        ..Config::default()
    }
}

/// The identity that was assigned to the machine, with its object ID, which applications register.
pub(crate) fn given() -> ManagedIdentity {
    let mut identity = ManagedIdentity::user_assigned(GIVEN, GIVEN_RESOURCE);
    identity.object_id = Some(GIVEN_OBJECT.to_owned());
    identity
}

/// `http://address:port` of a URL.
pub(crate) fn origin(url: &str) -> String {
    url.split('/').take(3).collect::<Vec<_>>().join("/")
}

/// A client that is the machine itself, or one of its identities.
fn identity(which: &Value) -> Value {
    let mut client = json!({ "secrets": null, "id": null, "managedIdentity": {} });
    for (name, value) in which.as_object().expect("an object") {
        if name == "id" {
            client["id"] = value.clone();
        } else {
            client["managedIdentity"][name] = value.clone();
        }
    }
    json!({ "client": client, "target": { "secretName": "token" } })
}

async fn allow_identity(place: &Place, source: Value) {
    let mut spec = place.entra_issuer();
    spec["managedIdentity"] = source;
    place.put_issuer(spec).await;
    place.issuer_ready().await;
}

#[test]
fn each_identity_endpoint_serves_only_the_allowed_namespaces() {
    run(async {
        let mut world = World::own().await;
        let folder = tempfile::tempdir().expect("a folder");
        let issuer = machine(folder.path()).await;
        let imds = origin(&issuer.imds_url().expect("it listens"));
        let arc = origin(&issuer.arc_url().expect("it listens"));
        let app_service = issuer.app_service_url().expect("it listens");
        world.canaries.add(HEADER);
        world.environment = vec![
            ("IDENTITY_ENDPOINT", app_service),
            ("IDENTITY_HEADER", HEADER.to_owned()),
            ("APICRED_ARC_FOLDER", folder.path().display().to_string()),
        ];
        world.start_operator().await;
        let place = world.place_at("machine", issuer).await;

        let own = json!({});
        place.create("c", identity(&own)).await;
        let reported = place.not_ready("c", "IdentityNotAllowed").await;
        assert!(reported.contains("ClusterTokenIssuer"), "{reported}");
        place.delete("c").await;

        for (i, source) in [
            json!({ "imds": { "endpoint": imds } }),
            json!({ "azureArc": { "endpoint": arc } }),
            json!({ "appService": {} }),
        ]
        .into_iter()
        .enumerate()
        {
            allow_identity(&place, source.clone()).await;
            for (j, (which, path)) in [
                (json!({}), "records"),
                (json!({ "id": GIVEN }), "records/write"),
                (json!({ "resourceId": GIVEN_RESOURCE }), "records/write"),
            ]
            .into_iter()
            .enumerate()
            {
                let name = format!("c-{i}-{j}");
                let mut spec = identity(&which);
                spec["target"]["secretName"] = json!(name);
                place.create(&name, spec).await;
                let view = place.ready(&name).await;
                let status = place.call("demo", path, &view.token).await;
                assert!(
                    [200, 201, 204].contains(&status),
                    "{source} {which}: {status}"
                );
            }
        }

        // An identity that the machine does not have.
        place
            .create("none", {
                let mut spec = identity(&json!({ "id": "00000000-0000-4000-8000-00000000dead" }));
                spec["target"]["secretName"] = json!("none");
                spec
            })
            .await;
        let reported = place.not_ready("none", "IdentityNotFound").await;
        assert!(reported.contains("client.id"), "{reported}");
        world.operator_runs();
    });
}

/// The object ID of the assigned identity, which applications register.
pub(crate) const GIVEN_OBJECT: &str = "00000000-0000-4000-8000-0000000000f3";
pub(crate) const CUSTOMER: &str = "22222222-0000-4000-8000-000000000000";
pub(crate) const TRUSTING: &str = "00000000-0000-4000-8000-0000000000f4";

/// Registers an application that trusts the machine's identity, with tokens for this audience.
pub(crate) fn trust(issuer: &DevIssuer, audience: &str) {
    let home = format!("{}/{}/v2.0", issuer.origin(), issuer.tenant());
    let known = Client::new(TRUSTING)
        .federated(home, GIVEN_OBJECT, audience)
        .role("demo", "Records.Read");
    issuer.add_client(known).expect("a client");
}

#[test]
fn an_application_trusts_the_operators_identity_also_in_another_tenant_and_nothing_is_stored() {
    run(async {
        let mut world = World::own().await;
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = machine_config(folder.path());
        for identity in &mut config.managed_identities {
            if identity.client_id == GIVEN {
                identity.object_id = Some(GIVEN_OBJECT.to_owned());
            }
        }
        config.tenants.push(Tenant {
            id: CUSTOMER.to_owned(),
            domains: Vec::new(),
        });
        let issuer = DevIssuer::start(config).await.expect("an issuer");
        trust(&issuer, "api://AzureADTokenExchange");
        let imds_url = issuer.imds_url().expect("it listens");
        let arc = origin(&issuer.arc_url().expect("it listens"));
        world.canaries.add(HEADER);
        world.environment = vec![
            (
                "IDENTITY_ENDPOINT",
                issuer.app_service_url().expect("it listens"),
            ),
            ("IDENTITY_HEADER", HEADER.to_owned()),
            ("APICRED_ARC_FOLDER", folder.path().display().to_string()),
        ];
        world.start_operator().await;
        let place = world.place_at("asserting", issuer).await;
        // The endpoints return one token until it is about to expire: apicred gets this one.
        let query =
            format!("api-version=2018-02-01&resource=api://AzureADTokenExchange&client_id={GIVEN}");
        let requests = place
            .http
            .get(format!("{imds_url}?{query}"))
            .header("metadata", "true");
        let answer: Value = requests
            .send()
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON");
        let assertion = answer["access_token"].as_str().expect("a token").to_owned();
        world.canaries.add(&assertion);

        let imds = json!({ "imds": { "endpoint": origin(&imds_url) } });
        let tenants = [place.issuer.tenant().to_owned(), CUSTOMER.to_owned()];
        let counted = format!(
            "apicred_token_requests_total{{grant=\"ClientCredentials\",result=\"ok\",issuer=\"{}\"}}",
            place.issuer_name
        );
        for (i, (source, tenant)) in [
            (imds.clone(), &tenants[0]),
            (json!({ "appService": {} }), &tenants[0]),
            (json!({ "azureArc": { "endpoint": arc } }), &tenants[0]),
            (imds, &tenants[1]),
        ]
        .into_iter()
        .enumerate()
        {
            let mut spec = place.entra_issuer();
            spec["entra"]["tenantId"] = json!(tenant);
            spec["managedIdentity"] = source.clone();
            place.put_issuer(spec).await;
            place.issuer_ready().await;
            let name = format!("c-{i}");
            let client = json!({
                "secrets": null, "id": TRUSTING,
                "managedIdentity": { "clientId": GIVEN, "asAssertion": {} },
            });
            let object = json!({ "client": client, "target": { "secretName": name } });
            place.create(&name, object).await;
            let view = place.ready(&name).await;
            let status = place.call("demo", "records", &view.token).await;
            assert_eq!(status, 200, "{source} {tenant}");
            if i == 0 {
                // The request to the identity endpoint is counted as well. Later ones may share a token request.
                let counted = world.operator().metric(&counted).await;
                let sent = place.issuer.token_requests_of(TRUSTING).len();
                assert_eq!((sent, counted), (1, Some(2)));
            }
        }
        let requests = place.issuer.token_requests_of(TRUSTING);
        // The change of the tenant changes the request: the credentials before it request again.
        assert!(requests.len() >= 4, "{}", requests.len());
        assert!(
            requests
                .iter()
                .all(|r| r.auth_method == AuthMethod::FederatedJwt)
        );
        for secret in place
            .secrets()
            .list(&ListParams::default())
            .await
            .expect("Secrets")
        {
            for (key, value) in secret.data.unwrap_or_default() {
                let text = String::from_utf8_lossy(&value.0).into_owned();
                assert!(
                    !text.contains(&assertion),
                    "{:?} {key}",
                    secret.metadata.name
                );
            }
        }

        // An identity that the application does not trust.
        let client =
            json!({ "secrets": null, "id": TRUSTING, "managedIdentity": { "asAssertion": {} } });
        let object = json!({ "client": client, "target": { "secretName": "none" } });
        place.create("none", object).await;
        let reported = place.not_ready("none", "FederationMismatch").await;
        assert!(
            reported.contains("no federated credential") && reported.contains("sent: issuer"),
            "{reported}"
        );
        world.operator_runs();
    });
}

#[test]
fn a_static_key_is_published_only_for_the_credentials_that_its_owner_names() {
    run(async {
        let world = World::shared().await;
        let place = world.place("static").await;
        place.put_secret("legacy", "key", CLOUD_APPS_KEY).await;
        let object = json!({
            "issuerRef": null, "client": null, "scopes": null,
            "static": { "tokenRef": { "name": "legacy", "key": "key" } },
            "target": { "secretName": "token", "keys": null },
        });
        place.create("c", object).await;
        let reported = place.not_ready("c", "NotAuthorizedBySecret").await;
        assert!(reported.contains("apicred.dev/publish-by: c"), "{reported}");
        place
            .edit_secret(
                "legacy",
                json!({ "metadata": { "annotations": { "apicred.dev/publish-by": "other, c" } } }),
            )
            .await;
        let secret = testenv::eventually(SOON, "the key", async || {
            let secret = place.secrets().get("token").await.ok()?;
            let data = secret.data?;
            let text = |k: &str| {
                data.get(k)
                    .map(|b| String::from_utf8_lossy(&b.0).into_owned())
            };
            let notes = secret.metadata.annotations?;
            let invented = ["expires-at", "renew-at", "renew-reason"]
                .iter()
                .any(|note| notes.contains_key(&format!("apicred.dev/{note}")));
            Some((
                text("token")?,
                text("token_type")?,
                invented || data.contains_key("expires_at"),
            ))
        })
        .await;
        assert_eq!(
            secret,
            (CLOUD_APPS_KEY.to_owned(), "Token".to_owned(), false)
        );
        let url = place.issuer.api_url("cloudapps", "v1/alerts/");
        let answer = place
            .http
            .get(url)
            .header("authorization", format!("Token {CLOUD_APPS_KEY}"));
        assert_eq!(
            answer.send().await.expect("an answer").status().as_u16(),
            200
        );
        place
            .until("c", "ready and aged", |c| {
                let status = c.status.as_ref()?;
                let ready = status
                    .conditions
                    .iter()
                    .any(|c| c.type_ == "Ready" && c.status == "True");
                (ready
                    && status.expires_at.is_none()
                    && status.renew_at.is_none()
                    && status.renew_reason.is_none()
                    && status.client.is_none())
                .then_some(())
            })
            .await;
        // A key that is older than its limit is reported, and is still published.
        place
            .edit(
                "c",
                json!({ "spec": { "static": { "createdAt": "2020-01-01T00:00:00Z" } } }),
            )
            .await;
        place
            .until("c", "reported as old", |c| {
                crate::support::condition(c, "ClientCredentialExpiring")
                    .filter(|c| c.reason == "StaticKeyOld")
            })
            .await;
        // Other tests read all Secrets of the world and expect tokens in them.
        place.delete("c").await;
    });
}
