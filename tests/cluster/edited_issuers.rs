//! Issuers that are applied together with their CAs and credentials, and issuers that are edited.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use apicred::api::TokenIssuer;
use kube::{Api, api::ListParams};
use serde_json::{Value, json};
use testenv::eventually;

use crate::support::{ANSWER, Listener, Place, SOON, World, condition, issuer_of, reply, run};

fn posts(listener: &Listener) -> usize {
    let all = listener.requests();
    all.iter().filter(|r| r.starts_with("POST")).count()
}

/// The spec of the issuer of a place, with these fields in addition.
fn spec(place: &Place, ca: &str, more: &Value) -> Value {
    let mut spec = json!({
        "caBundle": ca,
        "network": { "allowedCidrs": ["127.0.0.1/32"] },
        "allowedNamespaces": { "names": [place.namespace] },
    });
    for (name, value) in more.as_object().expect("fields") {
        spec[name] = value.clone();
    }
    spec
}

#[test]
fn an_edit_without_a_document_keeps_the_endpoint_of_the_same_url_and_reports_the_fault() {
    run(async {
        let world = World::shared().await;
        let place = world.place("no-document").await;
        let gone = Arc::<AtomicBool>::default();
        let listener = Listener::replying({
            let gone = Arc::clone(&gone);
            move |request| {
                if request.starts_with("POST") {
                    return reply("200 OK", "", ANSWER.as_bytes());
                }
                if gone.load(Ordering::SeqCst) {
                    return reply("404 Not Found", "", b"");
                }
                let origin = issuer_of(request);
                let found = json!({ "issuer": format!("{origin}/tenant"), "token_endpoint": format!("{origin}/token") });
                reply("200 OK", "", found.to_string().as_bytes())
            }
        });
        let put = async |path: &str, in_flight: u32| {
            let more = json!({
                "oidc": { "issuerUrl": format!("{}/{path}", listener.origin()) },
                "limits": { "maxInFlight": in_flight },
            });
            place
                .put_issuer(spec(&place, &listener.ca_pem, &more))
                .await;
        };
        put("tenant", 8).await;
        place.create("c", json!({})).await;
        place.ready("c").await;
        gone.store(true, Ordering::SeqCst);
        put("tenant", 9).await;
        let words = ["discovery", "last correct document is used"];
        place.until_issuer_reports("DiscoveryFailed", &words).await;
        let before = posts(&listener);
        place.request_renewal("c").await;
        eventually(
            SOON,
            "a renewal at the endpoint that is known",
            async || (posts(&listener) > before).then_some(()),
        )
        .await;
        gone.store(false, Ordering::SeqCst);
        put("tenant", 10).await;
        place
            .until_issuer_reports("EndpointKnown", &["is known"])
            .await;
        // The endpoint says nothing about another URL.
        gone.store(true, Ordering::SeqCst);
        let before = posts(&listener);
        put("other", 10).await;
        place
            .until_issuer_reports("DiscoveryFailed", &["404"])
            .await;
        place.request_renewal("c").await;
        place
            .until("c", "that its document is missing", |c| {
                let all = ["Ready", "RenewalFailing"].map(|kind| condition(c, kind));
                let mut all = all.into_iter().flatten();
                all.find(|r| r.reason == "DiscoveryFailed")
            })
            .await;
        assert_eq!(posts(&listener), before);
    });
}

#[test]
fn a_pause_ends_when_the_issuer_names_another_host_and_not_before() {
    run(async {
        let world = World::shared().await;
        let place = world.place("other-host").await;
        let wrong = Listener::replying(|request| {
            if request.starts_with("POST") {
                reply("429 Too Many Requests", "Retry-After: 3600\r\n", b"")
            } else {
                reply("200 OK", "", b"")
            }
        });
        let right = Listener::answering("200 OK", |_| ANSWER.to_owned());
        let ca = format!("{}\n{}", wrong.ca_pem, right.ca_pem);
        let put = async |url: &str| {
            let more = json!({ "oauth2": { "tokenUrl": url } });
            place.put_issuer(spec(&place, &ca, &more)).await;
        };
        put(&wrong.token_url).await;
        place.create("c", json!({})).await;
        place.not_ready("c", "Throttled").await;
        // The same server has requested the pause.
        put(&format!("{}/other", wrong.origin())).await;
        place.not_ready("c", "IssuerPaused").await;
        assert_eq!(posts(&wrong), 1);
        put(&right.token_url).await;
        place.ready("c").await;
        assert_eq!(posts(&wrong), 1);
    });
}

#[test]
fn a_ca_bundle_that_is_applied_with_its_users_is_no_fault_and_too_many_are() {
    run(async {
        let world = World::shared().await;
        let place = world.place("ca-apply").await;
        let origin = place.issuer.origin();
        let annotations =
            json!({ "metadata": { "annotations": { "apicred.dev/allowed-issuers": origin } } });
        place.edit_secret("source", annotations).await;
        let issuer = |name: &str, roots: &str| {
            json!({
                "apiVersion": "apicred.dev/v1alpha1", "kind": "TokenIssuer",
                "metadata": { "name": name, "namespace": place.namespace },
                "spec": {
                    "oidc": { "issuerUrl": place.issuer.generic_issuer() },
                    "caBundleRef": { "kind": "ConfigMap", "name": roots },
                },
            })
        };
        let names: Vec<String> = (0..12).map(|n| format!("c{n:02}")).collect();
        let mut all = String::new();
        for name in &names {
            let roots = json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": { "name": name, "namespace": place.namespace },
                "data": { "ca.crt": place.issuer.ca_pem() },
            });
            writeln!(all, "{roots}\n---\n{}\n---", issuer(name, name)).unwrap();
        }
        world.cluster.kubectl_apply(&all).await.unwrap();
        for name in &names {
            let issuer = json!({ "kind": "TokenIssuer", "name": name });
            let spec = json!({ "issuerRef": issuer, "target": { "secretName": name } });
            place.create(name, spec).await;
        }
        for name in &names {
            place.ready(name).await;
            let events = place.events(name).await;
            assert!(events.iter().all(|e| e.0 != "Warning"), "{events:?}");
        }
        // The bound of the namespace: 16 objects. None of these has to exist.
        let more: Vec<String> = (0..6).map(|n| format!("more-{n}")).collect();
        let all: Vec<String> = more.iter().map(|n| issuer(n, n).to_string()).collect();
        world
            .cluster
            .kubectl_apply(&all.join("\n---\n"))
            .await
            .unwrap();
        let issuers: Api<TokenIssuer> = Api::namespaced(place.kube.clone(), &place.namespace);
        eventually(SOON, "two issuers report the limit", async || {
            let listed = issuers.list(&ListParams::default()).await.unwrap();
            let faults = listed
                .into_iter()
                .flat_map(|i| i.status.unwrap_or_default().conditions);
            let faults: Vec<String> = faults
                .filter(|c| c.reason == "CaBundleInvalid")
                .map(|c| c.message)
                .collect();
            let limited = faults.iter().filter(|m| m.contains("more than 16")).count();
            if limited == 2 && faults.len() == 6 {
                Ok(())
            } else {
                Err(format!("{faults:?}"))
            }
        })
        .await;
        place.request_renewal(&names[0]).await;
        place.ready(&names[0]).await;
    });
}
