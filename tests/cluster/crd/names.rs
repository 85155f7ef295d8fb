//! Names of objects and keys of Secrets in a spec: an impossible name is refused at once, not only when the object is read.

use apicred::api::{ApiClient, ApiCredential};
use serde_json::{Value, json};

use super::send;
use crate::support::{World, run};

fn credential(issuer: &str, key: &str) -> Value {
    json!({
        "issuerRef": { "kind": "ClusterTokenIssuer", "name": issuer },
        "client": { "id": "a", "secrets": [{ "name": "s", "key": key }] },
        "scopes": ["a/.default"],
        "target": { "secretName": "t" },
    })
}

fn client(issuer: &str, key: &str) -> Value {
    json!({
        "issuerRef": { "kind": "ClusterTokenIssuer", "name": issuer },
        "id": "a",
        "secrets": [{ "name": "s", "key": key }],
    })
}

#[test]
fn names_of_issuers_and_keys_of_client_secrets_are_checked() {
    run(async {
        let world = World::shared().await;
        let (name, data) = (
            "this is not the name of an object",
            "a key is made of letters",
        );
        for (issuer, key, expected) in [
            ("ns/i", "k", name),
            ("My Issuer", "k", name),
            ("Issuer", "k", name),
            ("a..b", "k", name),
            ("a.-b", "k", name),
            ("-a", "k", name),
            ("a-", "k", name),
            ("i", "a/b", data),
            ("i", "a b", data),
            ("i", "..a", data),
        ] {
            for reported in [
                send::<ApiCredential>(world, &credential(issuer, key)).await,
                send::<ApiClient>(world, &client(issuer, key)).await,
            ] {
                let reported = reported.expect_err(&format!("{issuer} and {key} were taken"));
                assert!(
                    reported.contains(expected),
                    "{issuer} and {key}: {reported}"
                );
            }
        }
        for (issuer, key) in [("a", ".env"), ("a--b.c-1", "tls.crt"), ("0.a", "A_b-c.1")] {
            let (credential, client) = (credential(issuer, key), client(issuer, key));
            assert_eq!(
                send::<ApiCredential>(world, &credential).await,
                Ok(credential.clone())
            );
            assert_eq!(send::<ApiClient>(world, &client).await, Ok(client.clone()));
        }
    });
}
