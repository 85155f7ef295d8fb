//! Every client authentication method and every grant of an issuer that is not part of this project.

use serde_json::{Value, json};
use testenv::{OidcClient, OidcClientAuth, OidcOptions, OidcProvider, eventually};
use tokio::sync::OnceCell;

use crate::support::{
    Place, SOON, World, condition,
    keys::{Authority, Keys, Kind, authority, keys},
    run,
};

/// The redirect URI of a user's sign-in; no user signs in with a browser here.
pub(crate) const NOWHERE: &str = "http://127.0.0.1/callback";

/// The provider and the keys of its clients.
struct Provider {
    issuer: OidcProvider,
    keys: Vec<(&'static str, Keys)>,
}

/// IDs of the clients that sign, with their kind of key and algorithm.
const SIGNERS: [(&str, Kind, &str); 3] = [
    ("rs256", Kind::Rsa, "RS256"),
    ("ps256", Kind::Rsa, "PS256"),
    ("es256", Kind::P256, "ES256"),
];

/// Clients whose secret signs, and the algorithm that each is registered for.
const SECRET_SIGNERS: [(&str, &str); 2] = [("hs256", "HS256"), ("hs512", "HS512")];
/// As long as the longest hash requires.
const SIGNING_SECRET: &str = "Uo1+Zk9/Rw4~Xb7 & Tq2Gn5Vd8Jc3Ls6Pm0Hy1Fz4Ke7Wa2Bo5Nu8Ci3Qx6Dr9Gt1";

async fn provider() -> &'static Provider {
    static PROVIDER: OnceCell<Provider> = OnceCell::const_new();
    PROVIDER
        .get_or_init(|| async {
            let ca: Authority = authority();
            let mut all = Vec::new();
            let mut options = OidcOptions {
                client_ca: ca.pem(),
                ..OidcOptions::default()
            };
            for (id, kind, algorithm) in SIGNERS {
                let own = keys(kind, id, None);
                options.clients.push(
                    OidcClient::new(id, OidcClientAuth::PrivateKeyJwt)
                        .jwks(own.jwks.clone(), algorithm),
                );
                all.push((id, own));
            }
            for (id, algorithm) in SECRET_SIGNERS {
                let mut client =
                    OidcClient::new(id, OidcClientAuth::SecretJwt).secret(SIGNING_SECRET);
                client.signing_alg = Some(algorithm.to_owned());
                options.clients.push(client);
            }
            let own = keys(Kind::P256, "mtls", Some(&ca));
            options
                .clients
                .push(OidcClient::new("mtls", OidcClientAuth::Tls).tls_subject("CN=mtls"));
            all.push(("mtls", own));
            let own = keys(Kind::P256, "self-signed", None);
            let mut client = OidcClient::new("self-signed", OidcClientAuth::SelfSignedTls);
            client.jwks = Some(own.jwks.clone());
            options.clients.push(client);
            all.push(("self-signed", own));
            for id in ["user", "user-lost", "user-revoked"] {
                options
                    .clients
                    .push(OidcClient::new(id, OidcClientAuth::Public).sign_in(NOWHERE));
            }
            Provider {
                issuer: OidcProvider::start(options).await.expect("an issuer"),
                keys: all,
            }
        })
        .await
}

/// A place whose issuer is the provider.
async fn place(world: &World, label: &str, more: Value) -> (&'static Provider, Place) {
    let provider = provider().await;
    let place = world.place(label).await;
    let mut spec = place.issuer_spec(json!({
        "oidc": { "issuerUrl": provider.issuer.issuer_url() },
        "caBundle": provider.issuer.ca_pem(),
    }));
    spec["entra"] = Value::Null;
    for (name, value) in more.as_object().into_iter().flatten() {
        spec[name] = value.clone();
    }
    place.put_issuer(spec).await;
    place.issuer_ready().await;
    (provider, place)
}

/// How often the provider issued a token to a client, and with which client authentication.
async fn granted(provider: &Provider, client: &str) -> Vec<(String, u32)> {
    let seen = provider.issuer.requests().await.expect("what was seen");
    seen.into_iter()
        .filter(|s| s.client_id == client && s.status == 200)
        .map(|s| (s.auth_method, s.count))
        .collect()
}

/// The answers to a client: status, error, number.
pub(crate) async fn answers(issuer: &OidcProvider, client: &str) -> Vec<(u16, String, u32)> {
    let seen = issuer.requests().await.expect("what was seen");
    seen.into_iter()
        .filter(|s| s.client_id == client)
        .map(|s| (s.status, s.error, s.count))
        .collect()
}

async fn live(provider: &Provider, token: &str) -> bool {
    provider.issuer.introspect(token).await.expect("an answer")["active"] == true
}

#[test]
fn each_algorithm_of_signed_assertions_is_taken_and_a_new_certificate_is_taken_up_at_once() {
    run(async {
        let world = World::shared().await;
        for audience in ["Issuer", "TokenEndpoint"] {
            let more = json!({ "assertionAudience": audience });
            let (provider, place) = place(world, "signed", more).await;
            for (id, _, algorithm) in SIGNERS {
                let own = &provider
                    .keys
                    .iter()
                    .find(|(k, _)| *k == id)
                    .expect("keys")
                    .1;
                let before = granted(provider, id).await.first().map_or(0, |g| g.1);
                place.put_tls(id, own).await;
                let client = json!({
                    "id": id, "secrets": null,
                    "certificates": [{ "secretName": id, "algorithm": algorithm, "keyId": id }],
                });
                let spec = json!({
                    "client": client, "scopes": ["read"], "target": { "secretName": format!("token-{id}") },
                });
                place.create(id, spec).await;
                let view = place.ready(id).await;
                assert!(live(provider, &view.token).await, "{id}");
                assert_eq!(
                    granted(provider, id).await,
                    [("private_key_jwt".to_owned(), before + 1)]
                );
                let credential = place.credentials().get(id).await.expect("a credential");
                let ends = credential
                    .status
                    .expect("a status")
                    .client
                    .and_then(|client| client.expires_at);
                assert!(ends.is_some(), "the certificate's expiry is shown");
            }
        }
    });
}

#[test]
fn a_client_secret_signs_assertions_where_the_issuer_is_set_to_it() {
    run(async {
        let world = World::shared().await;
        for (id, algorithm) in SECRET_SIGNERS {
            let how = json!({ "oidc": {
                "issuerUrl": provider().await.issuer.issuer_url(),
                "clientAuthentication": { "secretJwt": { "algorithm": algorithm } },
            } });
            let (provider, place) = place(world, "secret-jwt", how).await;
            // A secret that the issuer could accept, but that is too short to sign.
            place.put_source("Xw8Kq3Zt7Lm1Vb5Nc9Jd2Hf6Gs4Pr0Y").await;
            let spec = json!({ "client": { "id": id }, "scopes": ["read"] });
            place.create("c", spec).await;
            let reported = place.not_ready("c", "ClientSecretInvalid").await;
            assert!(
                reported.contains(algorithm) && reported.contains("clientAuthentication"),
                "{reported}"
            );
            place
                .put_source(&"Xw8Kq3Zt7Lm1Vb5Nc9Jd2Hf6Gs4Pr0Ya".repeat(2))
                .await;
            let reported = place.not_ready("c", "ClientRefused").await;
            assert!(
                reported.contains("client secret") && reported.contains("sent: client_secret_jwt"),
                "{reported}"
            );
            place.put_source(SIGNING_SECRET).await;
            let view = place.ready("c").await;
            assert!(live(provider, &view.token).await, "{id}");
            assert_eq!(
                granted(provider, id).await,
                [("client_secret_jwt".to_owned(), 1)]
            );
        }
    });
}

#[test]
fn a_certificate_that_the_issuer_does_not_know_is_reported_and_corrected_by_its_renewal() {
    run(async {
        let world = World::shared().await;
        let (provider, place) = place(world, "unknown-key", json!({})).await;
        place
            .put_tls("es256", &keys(Kind::P256, "es256", None))
            .await;
        let client = json!({
            "id": "es256", "secrets": null, "certificates": [{ "secretName": "es256", "keyId": "es256" }],
        });
        let spec = json!({ "client": client, "scopes": ["read"] });
        place.create("c", spec).await;
        let reported = place.not_ready("c", "ClientRefused").await;
        assert!(
            reported.contains("certificate")
                && reported.contains("the certificate in Secret es256 (key tls.key)"),
            "{reported}"
        );
        let own = &provider
            .keys
            .iter()
            .find(|(k, _)| *k == "es256")
            .expect("keys")
            .1;
        place.put_tls("es256", own).await;
        let view = place.ready("c").await;
        assert!(live(provider, &view.token).await);
    });
}

#[test]
fn certificates_in_the_handshake_authenticate_their_clients() {
    run(async {
        let world = World::shared().await;
        let (provider, place) = place(world, "mtls", json!({})).await;
        for (id, method) in [
            ("mtls", "tls_client_auth"),
            ("self-signed", "self_signed_tls_client_auth"),
        ] {
            let own = &provider
                .keys
                .iter()
                .find(|(k, _)| *k == id)
                .expect("keys")
                .1;
            place.put_tls(id, own).await;
            let spec = json!({
                "client": { "id": id, "secrets": null, "mtls": { "secretName": id } },
                "scopes": ["read"], "target": { "secretName": format!("token-{id}") },
            });
            place.create(id, spec).await;
            let view = place.ready(id).await;
            assert!(live(provider, &view.token).await, "{id}");
            assert_eq!(granted(provider, id).await, [(method.to_owned(), 1)]);
        }
        // The certificate of another client, over separate connections.
        let stranger = keys(Kind::P256, "mtls", None);
        place.put_tls("stranger", &stranger).await;
        let spec = json!({
            "client": { "id": "mtls", "secrets": null, "mtls": { "secretName": "stranger" } },
            "scopes": ["read"], "target": { "secretName": "token-stranger" },
        });
        place.create("stranger", spec).await;
        place.not_ready("stranger", "ClientRefused").await;
    });
}

/// A credential of a user who signed in.
pub(crate) fn user(id: &str) -> Value {
    json!({
        "client": { "id": id, "secrets": null, "public": {} },
        "grant": { "refreshToken": { "secretRef": { "name": "state", "key": "refresh_token" } } },
        "scopes": ["read"],
    })
}

/// Stores a refresh token where a sign-in stores it.
pub(crate) async fn signed_in(place: &Place, issuer: &OidcProvider, id: &str) -> String {
    let token = issuer
        .refresh_token(id, "read openid offline_access")
        .await
        .expect("a refresh token");
    place.put_secret("state", "refresh_token", &token).await;
    place
        .edit_secret(
            "state",
            json!({ "metadata": { "annotations": { "apicred.dev/state-of": "c", "apicred.dev/in-flight-since": null, "apicred.dev/sign-in-required": null } } }),
        )
        .await;
    token
}

pub(crate) async fn state(place: &Place) -> (String, std::collections::BTreeMap<String, String>) {
    let secret = place
        .secrets()
        .get("state")
        .await
        .expect("the state Secret");
    let data = secret.data.unwrap_or_default();
    let token = data.get("refresh_token").expect("a refresh token");
    (
        String::from_utf8_lossy(&token.0).into_owned(),
        secret.metadata.annotations.unwrap_or_default(),
    )
}

#[test]
fn a_refresh_token_is_rotated_stored_and_never_used_twice() {
    run(async {
        let world = World::shared().await;
        let (provider, place) = place(world, "refresh", json!({})).await;
        place.create("c", user("user")).await;
        let reported = place.not_ready("c", "SignInRequired").await;
        assert!(reported.contains("kubectl apicred login c"), "{reported}");
        // A state Secret that was created manually.
        place.put_secret("state", "other", "something else").await;
        let note = json!({ "metadata": { "annotations": { "apicred.dev/state-of": "c" } } });
        place.edit_secret("state", note).await;
        let reported = place.not_ready("c", "SourceKeyMissing").await;
        assert!(
            reported.contains("has no key refresh_token")
                && reported.contains("kubectl apicred login c"),
            "{reported}"
        );
        let first = signed_in(&place, &provider.issuer, "user").await;
        let view = place.ready("c").await;
        assert!(live(provider, &view.token).await);
        let (second, notes) = state(&place).await;
        assert_ne!(first, second, "the issuer rotates");
        assert!(!notes.contains_key("apicred.dev/in-flight-since"));
        assert_eq!(
            notes.get("apicred.dev/rotates").map(String::as_str),
            Some("true")
        );
        for _ in 0..3 {
            let old = place.view("token").await.expect("a token");
            place.request_renewal("c").await;
            place.another_token("token", &old).await;
        }
        assert_eq!(granted(provider, "user").await, [("none".to_owned(), 4)]);
        let (last, _) = state(&place).await;
        assert!(provider.issuer.is_alive(&last).await.expect("an answer"));
        assert!(!provider.issuer.is_alive(&first).await.expect("an answer"));
        // A label on the state Secret is not a reason for a token.
        place
            .edit_secret(
                "state",
                json!({ "metadata": { "labels": { "team": "blue" } } }),
            )
            .await;
        world
            .stays_quiet(&place, std::time::Duration::from_secs(2))
            .await;
        assert_eq!(granted(provider, "user").await, [("none".to_owned(), 4)]);
    });
}

#[test]
fn a_refresh_token_that_died_requires_its_user_and_a_new_one_is_used_at_once() {
    run(async {
        let world = World::shared().await;
        let (provider, place) = place(world, "dead", json!({})).await;
        signed_in(&place, &provider.issuer, "user-lost").await;
        place.create("c", user("user-lost")).await;
        let old = place.ready("c").await;
        place
            .put_secret("state", "refresh_token", "no-such-token")
            .await;
        let late = place
            .until("c", "renewal in trouble", |c| {
                condition(c, "RenewalFailing").filter(|r| r.status == "True")
            })
            .await;
        assert_eq!(late.reason, "SignInRequired");
        assert!(
            late.message.contains("kubectl apicred login c --namespace"),
            "{}",
            late.message
        );
        let (_, notes) = state(&place).await;
        assert!(
            notes.contains_key("apicred.dev/sign-in-required"),
            "{notes:?}"
        );
        // It is not tried again.
        let requests = answers(&provider.issuer, "user-lost").await;
        world
            .stays_quiet(&place, std::time::Duration::from_secs(2))
            .await;
        assert_eq!(requests, answers(&provider.issuer, "user-lost").await);
        assert_eq!(
            place
                .view("token")
                .await
                .expect("the last good token")
                .token,
            old.token
        );
        signed_in(&place, &provider.issuer, "user-lost").await;
        place.another_token("token", &old).await;
        place.ready("c").await;
    });
}

#[test]
fn what_is_deleted_and_wants_it_is_revoked() {
    run(async {
        let world = World::shared().await;
        let (provider, place) = place(world, "revoke", json!({})).await;
        signed_in(&place, &provider.issuer, "user-revoked").await;
        let mut spec = user("user-revoked");
        spec["deletionPolicy"] = json!("Revoke");
        place.create("c", spec).await;
        let view = place.ready("c").await;
        let (token, _) = state(&place).await;
        assert!(provider.issuer.is_alive(&token).await.expect("an answer"));
        place.delete("c").await;
        eventually(SOON, "the end of the refresh token", async || {
            !provider.issuer.is_alive(&token).await.unwrap_or(true)
        })
        .await;
        assert!(!live(provider, &view.token).await, "and of what came of it");
    });
}
