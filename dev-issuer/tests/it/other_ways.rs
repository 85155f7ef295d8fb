//! Ways of issuers in use: audiences that must be named, answers that do not state a lifetime, and what the metadata
//! contains about them.

use dev_issuer::{Client, Config};
use serde_json::json;

use crate::signer::Signer;
use crate::support::{Bench, DEMO, form};

const TOKEN: &str = "/generic/token";

#[tokio::test]
async fn a_client_may_require_an_audience() {
    let bench = Bench::new().await;
    let changes = [
        ("client_id", "demo-audience"),
        ("client_secret", "audience~secret.1"),
        ("scope", ""),
    ];
    let fields = form(DEMO, &changes);
    for (what, audience) in [
        ("none", ""),
        ("unknown", "api://nobody"),
        ("not granted", "00000000-0000-4000-8000-0000000000c1"),
    ] {
        let reply = bench
            .post(TOKEN, &form(&fields, &[("audience", audience)]))
            .await;
        let seen = (reply.status, reply.json()["error"].clone());
        assert_eq!(seen, (403, json!("access_denied")), "{what}: {reply:?}");
    }
    for name in ["audience", "resource"] {
        let reply = bench
            .post(TOKEN, &form(&fields, &[(name, "api://demo")]))
            .await;
        assert_eq!(
            bench.call("/api/demo/records", &reply.token()).await.status,
            200
        );
    }
    let usual = Client::new("usual")
        .secret("usual~secret.1")
        .wants_audience()
        .default_audience("api://demo")
        .role("demo", "Records.Read");
    bench.issuer.add_client(usual).unwrap();
    let fields = form(
        &fields,
        &[("client_id", "usual"), ("client_secret", "usual~secret.1")],
    );
    let claims = bench
        .issuer
        .validate(&bench.post(TOKEN, &fields).await.token());
    assert_eq!(claims.unwrap().aud, "api://demo");
}

#[tokio::test]
async fn a_response_may_contain_instance_url_and_no_lifetime() {
    let bench = Bench::new().await;
    let changes = [
        ("client_id", "demo-instance"),
        ("client_secret", "instance~secret.1"),
        ("scope", ""),
    ];
    let reply = bench.post(TOKEN, &form(DEMO, &changes)).await;
    let json = reply.json();
    let mut names: Vec<&String> = json.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(
        names,
        [
            "access_token",
            "id",
            "instance_url",
            "issued_at",
            "token_type"
        ]
    );
    assert_eq!(json["instance_url"], bench.issuer.origin());
    let claims = bench.issuer.validate(&reply.token()).unwrap();
    assert_eq!(json["issued_at"], (claims.iat * 1000).to_string());
    assert_eq!(
        bench.call("/api/demo/records", &reply.token()).await.status,
        200
    );
    // For a user's token too.
    let user = crate::browser::USER;
    let refresh = bench
        .issuer
        .issue_generic_refresh_token("demo-instance", user, "a");
    let fields = form(DEMO, &changes);
    let fields = form(
        &fields,
        &[("grant_type", "refresh_token"), ("refresh_token", &refresh)],
    );
    let json = bench.post(TOKEN, &fields).await.json();
    assert!(
        json["instance_url"].is_string() && json.get("expires_in").is_none(),
        "{json}"
    );
}

#[tokio::test]
async fn metadata_names_what_there_is() {
    let bench = Bench::new().await;
    let metadata = bench
        .get("/generic/.well-known/openid-configuration")
        .await
        .json();
    let revoke = format!("{}/revoke", bench.issuer.generic_issuer());
    assert_eq!(metadata["revocation_endpoint"], revoke);
    let has = |field: &str, value: &str| {
        let list = metadata[field].as_array().unwrap();
        assert!(list.contains(&json!(value)), "{field} {value}");
    };
    for grant in [
        "refresh_token",
        "password",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:token-exchange",
    ] {
        has("grant_types_supported", grant);
    }
    for field in [
        "token_endpoint_auth_methods_supported",
        "revocation_endpoint_auth_methods_supported",
    ] {
        has(field, "private_key_jwt");
        has(field, "none");
    }
    has("token_endpoint_auth_signing_alg_values_supported", "ES256");
    for path in ["/{tenant}/v2.0", "/{tenant}"] {
        let path = format!("{path}/.well-known/openid-configuration");
        let methods = bench.get(&path).await.json();
        let methods = methods["token_endpoint_auth_methods_supported"].to_string();
        assert!(methods.contains("private_key_jwt"), "{methods}");
    }
}

#[test]
fn a_file_sets_it_all_and_what_is_wrong_is_reported() {
    let signer = Signer::rsa();
    let jwks = signer.jwks("k1");
    let yaml = json!({
        "trusted": [{ "issuer": "https://idp.example", "jwks": jwks }],
        "assertionAudience": "tokenEndpoint",
        "clients": [{
            "id": "robot", "certificates": [signer.pem], "jwks": jwks, "delegation": true,
            "subjectNames": [{ "subject": { "dn": "CN=robot" }, "authority": signer.pem }],
            "federated": [{ "issuer": "https://idp.example", "subject": "s", "audience": "a" }],
            "wantsAudience": true, "withoutLifetime": true, "defaultAudience": "api://demo",
        }],
        "users": [{
            "name": "eve", "password": { "value": "x" }, "needsMfa": true, "refused": 53003,
            "scopes": { "demo": ["Records.Read"] },
        }],
    });
    Config::from_yaml(&yaml.to_string()).unwrap();
    let p256 = Signer::p256().pem;
    let long = "x".repeat(601);
    #[rustfmt::skip]
    let table = [
        ("/trusted/0/issuer", json!(""), "trusted[0].issuer"),
        ("/trusted/0/jwks", json!({ "keys": [] }), "trusted[0].jwks"),
        ("/clients/0/jwks", json!("x"), "clients[0].jwks"),
        ("/clients/0/certificates", json!(["x"]), "clients[0].certificates[0]"),
        ("/clients/0/certificates", json!([p256]), "clients[0].certificates[0]"),
        ("/clients/0/subjectNames/0/authority", json!("x"), "clients[0].subjectNames[0].authority"),
        ("/clients/0/subjectNames/0/subject", json!({ "dn": "robot" }), "clients[0].subjectNames[0].subject.dn"),
        ("/clients/0/federated/0/subject", json!(""), "clients[0].federated[0].subject"),
        ("/clients/0/federated/0/audience", json!(long), "clients[0].federated[0].audience"),
        ("/users/0/scopes", json!({ "demo": ["Nope"] }), "users[0].scopes.demo"),
        ("/assertionAudience", json!("anyone"), "assertionAudience"),
    ];
    for (pointer, value, field) in table {
        let mut bad = yaml.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        let error = Config::from_yaml(&bad.to_string()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("config: {field}: ")), "{error}");
    }
}
