//! Requests to Microsoft Graph byte by byte, and its answers by kind.

mod answers;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;
use rcgen::{
    CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::{
    api::Cloud,
    fixtures::{at, json_answer},
    oauth::{Identity, Method, PROOF_AUDIENCE, RawAnswer, proof_of_possession},
    rotation::{
        Class, Fault, KeyMark, Kind, Mark,
        graph::{
            Address, Graph, GraphCall, GraphRequest, application, endpoint, hint, new_key,
            new_password, removed, request_id, thumbprints,
        },
    },
};

const OBJECT: &str = "5d1e0000-0000-4000-8000-000000000001";
const CLIENT: &str = "1c1b7a0e-0000-4000-8000-000000000002";
const ID: &str = "f0b0b335-1d71-4883-8f98-567911bfdca6";

fn identity(pair: &KeyPair) -> Identity {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "apicred/c/u/1");
    let certificate = params.self_signed(pair).unwrap();
    Identity::from_pem(&certificate.pem(), &pair.serialize_pem()).unwrap()
}

fn rsa() -> Identity {
    identity(&KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap())
}

fn call(token: &SecretString) -> GraphCall<'_> {
    GraphCall {
        token,
        request_id: ID,
    }
}

fn graph() -> Graph {
    Graph::of(Cloud::Public).unwrap()
}

fn body(request: &GraphRequest) -> Value {
    serde_json::from_str(request.body.as_ref().unwrap().expose_secret()).unwrap()
}

fn error_answer(status: u16, code: &str, message: &str) -> RawAnswer {
    let inner = json!({ "date": "2026-01-01T00:00:00", "request-id": ID, "client-request-id": ID });
    json_answer(
        status,
        &json!({ "error": { "code": code, "message": message, "innerError": inner } }),
    )
}

#[test]
fn each_request_has_its_address_its_headers_and_its_body() {
    let token = SecretString::from("caller");
    let certificate = rsa();
    let proof = SecretString::from("a.b.c");
    let base = "https://graph.microsoft.com/v1.0/applications";
    let by_client = format!("{base}(appId=%27{CLIENT}%27)");
    let read = graph().read(Address::Object(OBJECT), call(&token)).unwrap();
    let select = "$select=id,appId,passwordCredentials,keyCredentials";
    assert_eq!(read.url.as_str(), format!("{base}/{OBJECT}?{select}"));
    assert!(read.method == Method::Get && read.body.is_none());
    let read = graph().read(Address::Client(CLIENT), call(&token)).unwrap();
    let literal = read.url.as_str().replace("%27", "'");
    assert_eq!(
        literal,
        format!("{}?{select}", by_client.replace("%27", "'"))
    );
    let headers: Vec<_> = read
        .headers
        .iter()
        .map(|(k, v)| (*k, v.expose_secret()))
        .collect();
    assert_eq!(
        headers,
        [
            ("accept", "application/json"),
            ("client-request-id", ID),
            ("authorization", "Bearer caller")
        ]
    );
    let add = graph()
        .add_password(
            Address::Object(OBJECT),
            ("apicred/c/u/1", at(0)),
            call(&token),
        )
        .unwrap();
    assert_eq!(add.url.as_str(), format!("{base}/{OBJECT}/addPassword"));
    let until = at(0).to_string();
    assert_eq!(
        body(&add),
        json!({ "passwordCredential": { "displayName": "apicred/c/u/1", "endDateTime": until } })
    );
    let remove = graph()
        .remove_password(Address::Object(OBJECT), ID, call(&token))
        .unwrap();
    assert_eq!(
        remove.url.as_str(),
        format!("{base}/{OBJECT}/removePassword")
    );
    assert_eq!(body(&remove), json!({ "keyId": ID }));
    let add = graph()
        .add_key(Address::Object(OBJECT), &certificate, &proof, call(&token))
        .unwrap();
    assert_eq!(add.url.as_str(), format!("{base}/{OBJECT}/addKey"));
    let key = &certificate.x5c()[0];
    assert_eq!(
        body(&add),
        json!({
            "keyCredential": { "type": "AsymmetricX509Cert", "usage": "Verify", "key": key },
            "passwordCredential": null,
            "proof": "a.b.c",
        })
    );
    let remove = graph()
        .remove_key(Address::Object(OBJECT), ID, &proof, call(&token))
        .unwrap();
    assert_eq!(body(&remove), json!({ "keyId": ID, "proof": "a.b.c" }));
    assert_eq!(remove.method, Method::PostJson);
}

#[test]
fn an_id_that_is_no_guid_names_nothing() {
    let token = SecretString::from("caller");
    for id in ["", "..", "a/b", "me", "x')/owners('", "5d1e"] {
        for address in [Address::Object(id), Address::Client(id)] {
            assert!(graph().read(address, call(&token)).is_none(), "{id}");
        }
    }
}

#[test]
fn each_cloud_has_its_host() {
    for (cloud, host) in [
        (Cloud::Public, "https://graph.microsoft.com"),
        (Cloud::USGov, "https://graph.microsoft.us"),
        (Cloud::China, "https://microsoftgraph.chinacloudapi.cn"),
    ] {
        assert_eq!(
            endpoint(cloud),
            Some((format!("{host}/v1.0").as_str(), host))
        );
    }
}

#[test]
fn a_proof_names_the_application_and_is_valid_for_ten_minutes_at_most() {
    let certificate = rsa();
    let proof = proof_of_possession(&certificate, (PROOF_AUDIENCE, OBJECT), at(0)).unwrap();
    let proof = proof.expose_secret();
    assert!(!proof.contains('='), "no padding: {proof}");
    let part = |nth: usize| -> Value {
        let part = proof.split('.').nth(nth).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    let (header, claims) = (part(0), part(1));
    assert_eq!(header["alg"], "RS256");
    assert_eq!(header["x5t"], certificate.thumbprint_sha1());
    assert_eq!(claims["aud"], PROOF_AUDIENCE);
    assert_eq!(claims["iss"], OBJECT);
    let time = |name: &str| claims[name].as_i64().unwrap();
    assert!(time("nbf") < at(0).as_second());
    assert!(time("exp") - time("nbf") <= 600);
    assert!(time("exp") > at(300).as_second());
    let p256 = identity(&KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap());
    let refused = proof_of_possession(&p256, (PROOF_AUDIENCE, OBJECT), at(0));
    assert!(refused.is_err(), "Entra ID takes no EC key");
}
