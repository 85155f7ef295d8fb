//! Parts of a request that are in other objects: a parameter, and the CAs of an issuer.

use kube::api::{Patch, PatchParams};
use serde_json::json;
use testenv::eventually;

use crate::support::{Listener, SOON, World, condition, merge, run, unique};

#[test]
fn a_parameter_from_a_secret_is_sent_watched_and_never_shown() {
    run(async {
        let world = World::shared().await;
        let place = world.place("secret-parameter").await;
        let listener = Listener::answering("200 OK", |_| {
            let token = unique();
            json!({ "access_token": token, "token_type": "Bearer", "expires_in": 3600 }).to_string()
        });
        let oauth2 = json!({ "tokenUrl": listener.token_url });
        let spec = json!({ "entra": null, "oauth2": oauth2, "caBundle": listener.ca_pem });
        place.put_issuer(merge(place.entra_issuer(), spec)).await;
        place.issuer_ready().await;
        let hidden = [unique(), unique()].map(|u| format!("hint~{u}"));
        let parameter = json!([
            { "name": "hint", "secretRef": { "name": "hint", "key": "value" } },
            { "name": "plain", "value": "p" },
        ]);
        place
            .create("c", json!({ "scopes": null, "parameters": parameter }))
            .await;
        place.not_ready("c", "SourceMissing").await;
        assert_eq!(listener.requests().len(), 0);
        for (at, value) in hidden.iter().enumerate() {
            // A new value makes a different request: its token is requested at once.
            place.put_secret("hint", "value", value).await;
            eventually(SOON, "the request", async || {
                listener.requests().len() == at + 1
            })
            .await;
            place.ready("c").await;
            let sent = listener.requests()[at].clone();
            let (_, body) = sent.split_once("\r\n\r\n").unwrap();
            let form: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes())
                .into_owned()
                .collect();
            let of = |name: &str| -> Vec<&str> {
                let pairs = form.iter().filter(|(n, _)| n == name);
                pairs.map(|(_, v)| v.as_str()).collect()
            };
            assert_eq!((of("hint"), of("plain")), (vec![value.as_str()], vec!["p"]));
        }
        let seen = place.credentials().get("c").await.unwrap();
        let target = place.secrets().get("token").await.unwrap();
        let seen = format!("{seen:?} {:?}", target.metadata);
        assert!(hidden.iter().all(|h| !seen.contains(h)), "{seen}");
        // Its owner restricts it to another issuer.
        let pin = json!({ "metadata": { "annotations": { "apicred.dev/allowed-issuers": "https://other.example" } } });
        place.edit_secret("hint", pin).await;
        place.request_renewal("c").await;
        place
            .until("c", "the pin", |c| {
                condition(c, "RenewalFailing").filter(|r| r.reason == "NotAuthorizedBySecret")
            })
            .await;
        assert_eq!(listener.requests().len(), 2);
    });
}

#[test]
fn a_ca_bundle_out_of_an_object_is_followed_and_nothing_is_sent_without_it() {
    run(async {
        let world = World::shared().await;
        let place = world.place("ca-ref").await;
        let put = async |kind: &str, data: &str| {
            let object = json!({
                "apiVersion": "v1", "kind": kind,
                "metadata": { "name": "roots", "namespace": place.namespace },
                (if kind == "Secret" { "stringData" } else { "data" }): { "ca.crt": data },
            });
            world
                .cluster
                .kubectl_apply(&object.to_string())
                .await
                .unwrap();
        };
        let delete = async |kind: &str| {
            let args = ["delete", "-n", &place.namespace, kind, "roots"];
            world.cluster.kubectl(&args).await.unwrap();
        };
        // No administrator vouches for a TokenIssuer.
        let annotations = json!({ "metadata": { "annotations": { "apicred.dev/allowed-issuers": place.issuer.origin() } } });
        let params = PatchParams::default();
        let secrets = place.secrets();
        secrets
            .patch("source", &params, &Patch::Merge(&annotations))
            .await
            .unwrap();
        for kind in ["ConfigMap", "Secret"] {
            let name = kind.to_lowercase();
            let issuer = json!({
                "apiVersion": "apicred.dev/v1alpha1", "kind": "TokenIssuer",
                "metadata": { "name": name, "namespace": place.namespace },
                "spec": {
                    "oidc": { "issuerUrl": place.issuer.generic_issuer() },
                    "caBundleRef": { "kind": kind, "name": "roots" },
                },
            });
            world
                .cluster
                .kubectl_apply(&issuer.to_string())
                .await
                .unwrap();
            let spec = json!({
                "issuerRef": { "kind": "TokenIssuer", "name": name },
                "target": { "secretName": name },
            });
            place.create(&name, spec).await;
            place
                .until(&name, "that it is not there", |c| {
                    condition(c, "Ready").filter(|r| {
                        r.reason == "CaBundleInvalid" && r.message.contains("does not exist")
                    })
                })
                .await;
            let before = place.posts();
            put(kind, "no certificate").await;
            place
                .until(&name, "what is wrong with it", |c| {
                    condition(c, "Ready")
                        .filter(|r| r.message.contains("contains no PEM certificate"))
                })
                .await;
            assert_eq!(place.posts(), before);
            put(kind, place.issuer.ca_pem()).await;
            place.ready(&name).await;
            assert_eq!(place.posts(), before + 1);
            // The token is valid, but the next renewal would fail.
            delete(kind).await;
            place
                .until(&name, "the loss", |c| {
                    condition(c, "RenewalFailing").filter(|r| r.reason == "CaBundleInvalid")
                })
                .await;
            put(kind, place.issuer.ca_pem()).await;
            place.ready(&name).await;
            assert_eq!(place.posts(), before + 1);
        }
    });
}
