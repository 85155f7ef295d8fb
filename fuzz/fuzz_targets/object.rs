//! Any JSON in the format of the kinds, as an older CRD may have stored it: it is parsed, or refused with a message.
#![no_main]

use apicred::{
    api::{ApiClient, ApiCredential, ClusterTokenIssuer, TokenIssuer},
    credential::{
        ClientLookup, Endpoint, Issuer, IssuerLookup, parse_client, parse_with_client,
    },
    oauth::known_endpoint,
};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fn whole(kind: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "apicred.dev/v1alpha1", "kind": kind,
        "metadata": { "name": "o", "namespace": "n", "uid": "u", "generation": 1 }, "spec": spec,
    })
}

fn check(issuer: &Issuer) {
    if matches!(issuer.endpoint, Endpoint::Nowhere) {
        return;
    }
    assert!(issuer.origin.starts_with("https://"), "{}", issuer.origin);
    assert!(issuer.requests_per_second >= 1 && issuer.max_in_flight >= 1);
}

fuzz_target!(|data: &[u8]| {
    // `{"issuer": …, "client": …, "credential": …}`
    let Ok(both) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    let own = serde_json::from_value::<TokenIssuer>(whole("TokenIssuer", &both["issuer"])).ok();
    let cluster =
        serde_json::from_value::<ClusterTokenIssuer>(whole("ClusterTokenIssuer", &both["issuer"]))
            .ok();
    let own = own.map(|i| Issuer::namespaced(&i, &[]));
    let cluster = cluster.map(|i| Issuer::cluster(&i));
    for issuer in [&own, &cluster].into_iter().flatten() {
        match issuer {
            Ok(issuer) => check(issuer),
            Err(faults) => assert!(!faults.is_empty()),
        }
    }
    let client = serde_json::from_value::<ApiClient>(whole("ApiClient", &both["client"])).ok();
    let Ok(object) =
        serde_json::from_value::<ApiCredential>(whole("ApiCredential", &both["credential"]))
    else {
        return;
    };
    for issuer in [own, cluster] {
        let lookup = |_: &_| match issuer.clone() {
            Some(Ok(issuer)) => IssuerLookup::Found(issuer),
            Some(Err(faults)) => IssuerLookup::Faulty(faults),
            None => IssuerLookup::Missing,
        };
        if let Some(client) = &client {
            match parse_client(&client.spec, &lookup) {
                Err(faults) => assert!(!faults.is_empty()),
                Ok((issuer, _)) => check(&issuer),
            }
        }
        let clients = |_: &str| match &client {
            Some(client) => ClientLookup::Found(Box::new(client.spec.clone())),
            None => ClientLookup::Missing,
        };
        match parse_with_client(&object, clients, &lookup) {
            Err(faults) => assert!(!faults.is_empty()),
            Ok(credential) => {
                check(&credential.issuer);
                assert_eq!(credential.namespace, "n");
                if let Some(endpoint) = known_endpoint(&credential) {
                    assert_eq!(endpoint.url.scheme(), "https");
                    assert_eq!(
                        endpoint.url.origin().ascii_serialization(),
                        credential.issuer.origin
                    );
                }
                let target = &credential.target.name;
                let sources = credential
                    .alternatives()
                    .into_iter()
                    .chain(credential.grant_sources());
                assert!(
                    sources.into_iter().all(|s| s.name != *target),
                    "a source is the target"
                );
            }
        }
    }
});
