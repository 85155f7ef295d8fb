//! Specs of an `ApiClient`, and of a credential that names one, that the API server refuses.

use apicred::api::{ApiClient, ApiCredential};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::{
    crd::send,
    plugin::Plugin,
    support::{World, merge, run},
};

#[test]
fn a_credential_names_its_client_once_and_a_client_its_issuer_once() {
    run(async {
        let world = World::shared().await;
        let entra = json!({ "tenantId": "contoso.onmicrosoft.com" });
        let issuer = json!({ "kind": "TokenIssuer", "name": "mine" });
        let cluster = json!({ "kind": "ClusterTokenIssuer", "name": "shared" });
        let key = json!({ "name": "s", "key": "k" });
        let credential = json!({
            "clientRef": { "name": "shared" }, "scopes": ["api://demo/.default"], "target": { "secretName": "t" },
        });
        let inline = json!({ "id": "c", "public": {} });
        for change in [
            json!({}),
            json!({ "issuerRef": issuer }),
            json!({ "entra": entra }),
        ] {
            let spec = merge(credential.clone(), change);
            assert_eq!(send::<ApiCredential>(world, &spec).await, Ok(spec));
        }
        for (change, path, expected) in [
            (
                json!({ "client": inline }),
                "spec.clientRef",
                "name the client once",
            ),
            (
                json!({ "clientRef": null, "entra": entra }),
                "spec.client",
                "client is missing",
            ),
            (
                json!({ "clientRef": null, "client": inline }),
                "spec.issuerRef",
                "name the issuer once",
            ),
            (
                json!({ "issuerRef": issuer, "entra": entra }),
                "spec.issuerRef",
                "name the issuer once",
            ),
            (
                json!({ "static": { "tokenRef": key }, "scopes": null }),
                "spec.static",
                "remove issuerRef, entra, client, clientRef",
            ),
            (
                json!({ "clientRef": null, "entra": entra, "client": { "id": "c", "mtls": { "secretName": "s" } } }),
                "spec.client.mtls",
                "use client.certificates",
            ),
            (
                json!({ "clientRef": null, "entra": entra, "client": { "id": "c", "key": { "secretName": "s", "key": "k" } } }),
                "spec.client.key",
                "use client.certificates",
            ),
            (
                json!({ "clientRef": null, "entra": entra, "client": { "managedIdentity": {} } }),
                "spec.client.managedIdentity",
                "ClusterTokenIssuer",
            ),
            (
                json!({ "clientRef": { "name": "other/shared" } }),
                "spec.clientRef.name",
                "not the name of an object",
            ),
            (
                json!({ "clientRef": {} }),
                "spec.clientRef.name",
                "Required value",
            ),
        ] {
            // A null in a merge removes a field, so that a replaced object begins empty.
            let mut spec = merge(credential.clone(), change.clone());
            if change["clientRef"].is_object() {
                spec["clientRef"] = change["clientRef"].clone();
            }
            let reported = send::<ApiCredential>(world, &spec).await.expect_err(path);
            assert!(
                reported.contains(path) && reported.contains(expected),
                "{spec}: {reported}"
            );
        }

        let client = json!({ "entra": entra, "id": "c", "secrets": [key] });
        let guid = "5d1e2f3a-4b5c-4d6e-8f70-8192a3b4c5d6";
        // The example of RFC 7638, section 3.1.
        let thumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
        let by = |rotation: Value| {
            let manager = json!({ "managementRef": { "name": "m" } });
            json!({ "rotation": merge(manager, rotation) })
        };
        let by_key = |key: Value, rotation: Value| {
            json!({
                "entra": null, "issuerRef": issuer, "secrets": null,
                "key": merge(json!({ "secretName": "s", "key": "k" }), key),
                "rotation": merge(json!({ "registration": {} }), rotation),
            })
        };
        let certificate = json!({ "secretName": "s", "privateKeyKey": "new.key" });
        for change in [
            json!({}),
            json!({ "entra": null, "issuerRef": issuer }),
            json!({ "secrets": null, "certificates": [certificate, { "secretName": "s" }] }),
            json!({ "secrets": null, "serviceAccount": { "name": "s" } }),
            json!({ "secrets": null, "id": null, "managedIdentity": {}, "entra": null, "issuerRef": cluster }),
            json!({ "secrets": null, "mtls": { "secretName": "s" }, "entra": null, "issuerRef": issuer }),
            json!({ "secrets": null, "public": {} }),
            json!({ "objectId": guid, "rotation": { "managementRef": { "name": "m" }, "adopt": { "keyId": guid } } }),
            json!({ "secrets": null, "certificates": [certificate], "rotation": {} }),
            by_key(
                json!({}),
                json!({ "registration": { "urlKey": "u", "tokenKey": "t" } }),
            ),
            by_key(json!({}), json!({ "adopt": { "keyId": thumbprint } })),
            json!({ "secrets": null, "certificates": [certificate], "rotation": {
                "every": "720h", "validity": "721h", "overlap": "1h", "key": { "algorithm": "RSA", "size": 4096 } } }),
        ] {
            let spec = merge(client.clone(), change);
            assert_eq!(send::<ApiClient>(world, &spec).await, Ok(spec));
        }
        let of_issuer = |change: Value| merge(json!({ "entra": null, "secrets": null }), change);
        for (change, path, expected) in [
            (
                json!({ "secrets": null, "mtls": { "secretName": "s" } }),
                "spec.mtls",
                "use certificates",
            ),
            (
                json!({ "secrets": null, "key": { "secretName": "s", "key": "k" } }),
                "spec.key",
                "use certificates",
            ),
            (
                json!({ "secrets": null, "managedIdentity": { "asAssertion": {} } }),
                "spec.managedIdentity",
                "ClusterTokenIssuer",
            ),
            (
                of_issuer(json!({ "issuerRef": issuer, "managedIdentity": {}, "id": null })),
                "spec.managedIdentity",
                "ClusterTokenIssuer",
            ),
            (
                json!({ "issuerRef": issuer }),
                "spec.issuerRef",
                "registered at exactly one of",
            ),
            (
                json!({ "entra": null }),
                "spec.issuerRef",
                "registered at exactly one of",
            ),
            (json!({ "id": null }), "spec.id", "id is missing"),
            (
                json!({ "secrets": null }),
                "spec.secrets",
                "authenticates by exactly one of",
            ),
            (
                json!({ "public": {} }),
                "spec.secrets",
                "authenticates by exactly one of",
            ),
            (
                json!({ "secrets": [key, key] }),
                "spec.secrets",
                "must name another key",
            ),
            (
                json!({ "secrets": [{ "name": "a/b", "key": "k" }] }),
                "spec.secrets[0].name",
                "give the name of one in this namespace",
            ),
            (json!({ "id": "a\u{202e}b" }), "spec.id", "should match"),
            (
                json!({ "secrets": null, "managedIdentity": { "objectId": "o" } }),
                "spec.managedIdentity",
                "once",
            ),
            (
                json!({ "rotation": {} }),
                "spec.rotation.managementRef",
                "managementRef is missing",
            ),
            (
                json!({ "secrets": null, "public": {}, "rotation": {} }),
                "spec.rotation",
                "keep one entry",
            ),
            (
                json!({ "secrets": null, "certificates": [certificate, { "secretName": "t" }], "rotation": {} }),
                "spec.rotation",
                "keep one entry",
            ),
            (
                by(json!({ "every": "4319h" })),
                "spec.rotation.validity",
                "at least every + overlap",
            ),
            (
                by(json!({ "overlap": "2161h" })),
                "spec.rotation.validity",
                "at least every + overlap",
            ),
            (
                by(json!({ "every": "1h" })),
                "spec.rotation.every",
                "between 2h",
            ),
            (
                by(json!({ "key": { "size": 1024 } })),
                "spec.rotation.key.size",
                "2048, 3072 or 4096",
            ),
            (
                by(json!({ "key": { "size": 4096 } })),
                "spec.rotation.key",
                "a client secret has none",
            ),
            (
                by(json!({ "adopt": { "keyId": "x" } })),
                "spec.rotation.adopt.keyId",
                "GUID",
            ),
            (
                by(json!({ "adopt": { "keyId": thumbprint } })),
                "spec.rotation.adopt.keyId",
                "GUID at Entra ID",
            ),
            (
                by_key(json!({}), json!({ "adopt": { "keyId": guid } })),
                "spec.rotation.adopt.keyId",
                "thumbprint of a public key",
            ),
            (json!({ "objectId": "x" }), "spec.objectId", "GUID"),
            (
                json!({ "rotation": { "registration": {} } }),
                "spec.rotation.registration",
                "use key",
            ),
            (
                by_key(json!({ "keyId": "k" }), json!({})),
                "spec.rotation.registration",
                "remove keyId",
            ),
            (
                by_key(json!({}), json!({ "managementRef": { "name": "m" } })),
                "spec.rotation.registration",
                "managementRef",
            ),
            (
                by_key(json!({}), json!({ "key": { "size": 4096 } })),
                "spec.rotation.registration",
                "rotation.key",
            ),
        ] {
            let spec = merge(client.clone(), change);
            let reported = send::<ApiClient>(world, &spec).await.expect_err(path);
            assert!(
                reported.contains(path) && reported.contains(expected),
                "{spec}: {reported}"
            );
        }
    });
}

/// A request that stays on the object would be served when a user sets `rotation` later.
#[test]
fn a_rotation_of_a_client_without_one_is_refused_and_requests_nothing() {
    run(async {
        let world = World::shared().await;
        let place = world.place("no-rotation").await;
        place.put_client("shared", json!({})).await;
        let kubeconfig = world.cluster.admin_kubeconfig().into();
        for more in [None, Some("--wait")] {
            let mut args = vec!["rotate", "shared", "-n", &place.namespace];
            args.extend(more);
            let (good, output) = Plugin::start(&kubeconfig, &args).end().await;
            assert!(!good && output.contains("has no spec.rotation"), "{output}");
            assert!(output.contains("set it"), "{output}");
        }
        let client = place.clients().get("shared").await.expect("a client");
        assert!(
            client.annotations().is_empty(),
            "{:?}",
            client.annotations()
        );
    });
}
