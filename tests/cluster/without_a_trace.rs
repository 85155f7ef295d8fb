//! Rules that must hold for all work of the other tests in the shared world. Its name makes it start last.

use std::{collections::BTreeSet, sync::atomic::Ordering, time::Duration};

use apicred::api::{ApiCredential, ClusterTokenIssuer, TokenIssuer};
use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace, Secret, ServiceAccount},
    events::v1::Event,
    rbac::v1::ClusterRole,
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, PostParams},
};
use serde_json::json;
use testenv::eventually;

use crate::clients::by_client;
use crate::support::{
    Listener, NAMESPACE, Place, SecretView, World, condition, run, typed, unique,
};

/// The longest duration of the other tests of the shared world.
const OTHERS: Duration = Duration::from_mins(4);

/// Everything that an operator does, with and without errors, so that this test does not depend on other tests.
async fn a_whole_lifecycle(world: &World) -> Place {
    let place = world.place("whole-life").await;
    let issuers: Api<TokenIssuer> = Api::namespaced(place.kube.clone(), &place.namespace);
    let entra =
        json!({ "tenantId": place.issuer.tenant(), "authorityHost": place.issuer.origin() });
    let roots = typed(
        json!({ "metadata": { "name": "roots" }, "data": { "ca.crt": place.issuer.ca_pem() } }),
    );
    Api::<ConfigMap>::namespaced(place.kube.clone(), &place.namespace)
        .create(&PostParams::default(), &roots)
        .await
        .expect("a ConfigMap");
    let spec = json!({ "entra": entra, "caBundleRef": { "kind": "ConfigMap", "name": "roots" } });
    let issuer = typed(json!({ "metadata": { "name": "mine" }, "spec": spec }));
    issuers
        .create(&PostParams::default(), &issuer)
        .await
        .expect("an issuer");
    place.create("good", json!({})).await;
    let first = place.ready("good").await;
    place.put_client("shared", json!({})).await;
    place.create("by-client", by_client("by-client")).await;
    place.ready("by-client").await;
    place
        .until_client_reports("shared", "True", "ClientValid")
        .await;
    place.request_renewal("good").await;
    place.another_token("token", &first).await;
    place
        .put_secret("bad", "k", &format!("bad~{}", unique()))
        .await;
    let refs = json!([{ "name": "bad", "key": "k" }]);
    let bad = json!({ "client": { "secrets": refs }, "target": { "secretName": "bad-token" } });
    place.create("bad", bad).await;
    place.not_ready("bad", "ClientSecretRefused").await;
    // A ServiceAccount for an issuer that no administrator vouches for: its owner allows it, and it is not registered at the issuer.
    let account = typed(json!({ "metadata": {
        "name": "workload",
        "annotations": {
            "apicred.dev/allowed-issuers": place.issuer.origin(),
            "apicred.dev/allowed-audiences": "api://AzureADTokenExchange",
        },
    } }));
    Api::<ServiceAccount>::namespaced(place.kube.clone(), &place.namespace)
        .create(&PostParams::default(), &account)
        .await
        .expect("a ServiceAccount");
    let keyless = json!({
        "issuerRef": { "kind": "TokenIssuer", "name": "mine" },
        "client": { "secrets": null, "serviceAccount": { "name": "workload" } },
        "target": { "secretName": "keyless-token" },
    });
    place.create("keyless", keyless).await;
    place
        .until("keyless", "asked", |c| {
            c.status.as_ref()?.last_attempt.as_ref().map(|_| ())
        })
        .await;
    revoked(world).await;
    eventually(
        OTHERS,
        "the judgement of the namespaced issuer",
        async || issuers.get("mine").await.is_ok_and(|i| i.status.is_some()),
    )
    .await;
    place
}

/// A credential that is created and deleted with a finalizer.
async fn revoked(world: &World) {
    let place = world.place("whole-life-end").await;
    place.put_listener(&Listener::start()).await;
    place
        .create("revoked", json!({ "deletionPolicy": "Revoke" }))
        .await;
    eventually(OTHERS, "the finalizer", async || {
        let found = place.credentials().get("revoked").await;
        found.is_ok_and(|c| c.metadata.finalizers.is_some())
    })
    .await;
    place.delete("revoked").await;
    eventually(OTHERS, "the end of the finalizer", async || {
        let found = place.credentials().get_opt("revoked").await;
        found.is_ok_and(|c| c.is_none())
    })
    .await;
}

/// Waits until no other test uses the shared world any more.
async fn alone(world: &World) {
    eventually(OTHERS, "the end of all other tests", async || {
        let left = world.visitors.load(Ordering::SeqCst);
        if left == 0 {
            Ok(())
        } else {
            Err(format!("{left} places in use"))
        }
    })
    .await;
}

#[test]
fn no_secret_and_no_token_is_found_anywhere_but_in_secrets() {
    run(async {
        let world = World::shared().await;
        drop(a_whole_lifecycle(world).await);
        alone(world).await;
        let net = world.canaries.net();
        assert!(world.canaries.len() >= 4, "nothing to listen for");
        let logs = world.operator_logs();
        assert!(
            logs.contains("token published"),
            "these are no logs of an operator"
        );
        let events = world.all::<Event>().await;
        assert!(
            events.contains("ClientSecretRefused"),
            "these are no events of an operator"
        );
        let metadata: Vec<_> = Api::<Secret>::all(world.admin.clone())
            .list_metadata(&ListParams::default())
            .await
            .expect("metadata")
            .items
            .into_iter()
            // Manifests that users apply with kubectl may be copied into an annotation; here this does not happen.
            .map(|s| s.metadata)
            .collect();
        let audit = world.cluster.audit_events(|_| true).expect("an audit log");
        let uris: Vec<&str> = audit.iter().map(|e| e.uri.as_str()).collect();
        let mut admin = String::new();
        for path in ["/livez", "/readyz", "/metrics"] {
            admin.push_str(&world.operator().get(path).await.expect("an answer").1);
        }
        for (place, text) in [
            ("logs", logs),
            ("events", events),
            ("ApiCredentials", world.all::<ApiCredential>().await),
            ("TokenIssuers", world.all::<TokenIssuer>().await),
            (
                "ClusterTokenIssuers",
                world.all::<ClusterTokenIssuer>().await,
            ),
            (
                "metadata of Secrets",
                serde_json::to_string(&metadata).expect("JSON"),
            ),
            ("requested URLs", uris.join("\n")),
            ("admin server", admin),
        ] {
            assert_eq!(net.first_leak(&text), None, "O10: a leak in {place}");
        }
    });
}

#[test]
fn the_role_is_enough_and_all_of_it_is_used() {
    run(async {
        let world = World::shared().await;
        drop(a_whole_lifecycle(world).await);
        alone(world).await;
        let namespaces: Api<Namespace> = Api::all(world.admin.clone());
        let list = namespaces.list(&ListParams::default()).await.unwrap();
        let alive: BTreeSet<String> = list.items.iter().map(ResourceExt::name_any).collect();
        let requests = world
            .cluster
            .audit_events(|e| e.user.ends_with(&format!(":{NAMESPACE}:apicred")))
            .unwrap();
        let refused: Vec<_> = requests
            .iter()
            // The owner of a namespace grants the right on its pods; other tests check the behaviour without it.
            .filter(|e| e.resource != "pods")
            // A quota refuses new objects with the same status: `last_good::refused`.
            .filter(|e| !e.namespace.contains("last-good-quota"))
            // A namespace that is being deleted refuses new objects with the same status.
            .filter(|e| e.code == 403 && (e.namespace.is_empty() || alive.contains(&e.namespace)))
            .map(|e| (&e.verb, &e.resource, &e.subresource, &e.name))
            .collect();
        assert!(refused.is_empty(), "the role lacks {refused:?}");

        let used: BTreeSet<(String, String, String)> = requests
            .into_iter()
            .map(|e| {
                let resource = if e.subresource.is_empty() {
                    e.resource
                } else {
                    format!("{}/{}", e.resource, e.subresource)
                };
                (e.group, resource, e.verb)
            })
            .collect();
        let roles: Api<ClusterRole> = Api::all(world.admin.clone());
        let role = roles.get("apicred").await.unwrap();
        let mut granted = BTreeSet::new();
        for rule in role.rules.unwrap() {
            for group in rule.api_groups.unwrap() {
                for resource in rule.resources.iter().flatten() {
                    granted.extend(
                        rule.verbs
                            .iter()
                            .map(|v| (group.clone(), resource.clone(), v.clone())),
                    );
                }
            }
        }
        let idle: Vec<_> = granted.difference(&used).collect();
        assert!(
            idle.is_empty(),
            "the role grants what nothing uses: {idle:?}"
        );
    });
}

#[test]
fn what_is_called_ready_is_ready() {
    run(async {
        let world = World::shared().await;
        drop(a_whole_lifecycle(world).await);
        alone(world).await;
        let credentials: Api<ApiCredential> = Api::all(world.admin.clone());
        // The last test may have left work for the operator.
        let ready = eventually(OTHERS, "every Ready to be true", async || {
            let mut ready = 0;
            let list = credentials.list(&ListParams::default()).await;
            for credential in list.map_err(|e| e.to_string())? {
                let name = format!("{:?}/{}", credential.namespace(), credential.name_any());
                let status = credential.status.clone().unwrap_or_default();
                if status.observed_generation > credential.metadata.generation {
                    return Err(format!("{name} shows a generation that is not there"));
                }
                if condition(&credential, "Ready").is_none_or(|c| c.status != "True") {
                    continue;
                }
                let namespace = credential.namespace().unwrap_or_default();
                let secrets: Api<Secret> = Api::namespaced(world.admin.clone(), &namespace);
                let secret = secrets.get(&credential.spec.target.secret_name).await;
                // A legacy key has no known end.
                if credential.spec.static_key.is_some() {
                    let data = secret.map_err(|e| format!("{name}: {e}"))?.data;
                    if data.is_none_or(|d| d.get("token").is_none_or(|t| t.0.is_empty())) {
                        return Err(format!("{name} is Ready without its key"));
                    }
                    ready += 1;
                    continue;
                }
                let secret = secret.map_err(|e| format!("{name}: {e}"))?;
                // Other formats need not contain the expiry of the token; each key has some content.
                let keys = &credential.spec.target.keys;
                if !keys.is_empty() {
                    // Keys that the last answer could not fill are not written; they contain the token before.
                    if condition(&credential, "RenewalFailing").is_some_and(|c| c.status == "True")
                    {
                        continue;
                    }
                    let data = secret.data.unwrap_or_default();
                    let has = |key: &str| data.get(key).is_some_and(|d| !d.0.is_empty());
                    if !keys
                        .iter()
                        .all(|key| has(key.key.as_deref().unwrap_or(key.format.usual_key())))
                    {
                        return Err(format!("{name} is Ready without its keys"));
                    }
                    ready += 1;
                    continue;
                }
                let view = SecretView::of(&secret);
                let view = view.map_err(|e| format!("{name}: {e}"))?;
                if view.expires_at <= jiff::Timestamp::now() {
                    return Err(format!("{name} is Ready with a token that has ended"));
                }
                ready += 1;
            }
            Ok::<_, String>(ready)
        })
        .await;
        assert!(ready > 0, "nothing to judge by");
    });
}

#[test]
fn the_operator_has_not_stumbled() {
    run(async {
        let world = World::shared().await;
        drop(a_whole_lifecycle(world).await);
        alone(world).await;
        let logs = world.operator_logs();
        let errors: Vec<&str> = logs
            .lines()
            .filter(|l| l.contains("\"level\":\"ERROR\"") || l.contains("panicked"))
            .collect();
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(world.operator().get("/livez").await.map(|a| a.0), Some(200));
    });
}
