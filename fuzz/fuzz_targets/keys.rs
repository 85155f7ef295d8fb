//! Any text as PEM, as a key file of Google, as a client secret; and signatures with it.
#![no_main]

use std::sync::LazyLock;

use apicred::{
    api::ApiCredential,
    credential::{Credential, Issuer, IssuerLookup, parse},
    oauth::{Identity, Material, RequestContext, file, known_endpoint, request, word},
};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use secrecy::ExposeSecret;
use serde_json::json;

static SIGNER: LazyLock<Credential> = LazyLock::new(|| {
    let object: ApiCredential = serde_json::from_value(json!({
        "apiVersion": "apicred.dev/v1alpha1", "kind": "ApiCredential",
        "metadata": { "name": "c", "namespace": "n", "uid": "u", "generation": 1 },
        "spec": {
            "issuerRef": { "kind": "ClusterTokenIssuer", "name": "i" },
            "grant": { "jwtBearer": { "signed": { "keyRef": { "name": "s", "key": "k" } } } },
            "scopes": ["a"], "target": { "secretName": "t" },
        },
    }))
    .expect("an object");
    let issuer = serde_json::from_value(json!({
        "apiVersion": "apicred.dev/v1alpha1", "kind": "ClusterTokenIssuer",
        "metadata": { "name": "i", "uid": "u", "generation": 1 },
        "spec": { "oauth2": { "tokenUrl": "https://i.example.com/token" } },
    }))
    .expect("an issuer");
    parse(&object, |_| {
        IssuerLookup::Found(Issuer::cluster(&issuer).expect("valid"))
    })
    .expect("valid")
});

fuzz_target!(|data: &[u8]| {
    if let Ok(secret) = word(data) {
        let text = secret.expose_secret();
        assert!(!text.is_empty() && !text.chars().any(char::is_control));
    }
    if let Ok(material) = Material::from_secret_bytes(data)
        && let Some(form) = material.odd("client-1")
    {
        assert!(form.len() < 200 && form.chars().all(|c| !c.is_control()));
    }
    let Ok(grant_input) = file(data) else {
        return;
    };
    let text = grant_input.expose_secret();
    // Certificate and key are one after the other, or are one text.
    let (certificate, key) = text.split_once("\n\n").unwrap_or((text, text));
    for problem in [
        Identity::from_pem(certificate, key).err(),
        Identity::from_pem(key, certificate).err(),
    ]
    .into_iter()
    .flatten()
    {
        assert!(problem.len() < 400, "{} bytes", problem.len());
    }
    let moment = RequestContext {
        now: Timestamp::from_second(1_790_000_000).expect("in range"),
        request_id: "r",
        assertion_id: "a",
    };
    let endpoint = known_endpoint(&SIGNER).expect("known");
    if let Err(token_error) = request(
        &SIGNER,
        &endpoint,
        &Material::None,
        &[grant_input.clone()],
        moment,
    ) {
        assert!(token_error.message().len() < 500);
    }
});
