//! A client whose key is replaced by its own registration (RFC 7592): at dev-issuer, whose answers can be lost, and at npm
//! `oidc-provider`, which is not part of this project.

use std::{net::TcpListener, sync::Arc};

use apicred::{
    api::{ApiClient, ApiClientStatus},
    credential::AuthenticationMethod,
};
use dev_issuer::{Client as OauthClient, Effect, Fault, RetryAfter, Surface};
use futures::future::join_all;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use testenv::{OidcOptions, OidcProvider, eventually};

use super::{
    Rig,
    rig::{RECORDS, SOURCE},
    soon,
};
use crate::{
    clients::by_client,
    renew::Policy,
    support::{LATER, Place, World, merge, run},
};

/// The message of `RotationBlocked` when the registration access token is not the current one.
const LOCKED: &str = "registration access token was refused";

/// A new key, as PEM, and its public JWK set.
fn key() -> (String, Value) {
    let pem = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256);
    let pem = pem.expect("a key").serialize_pem();
    let key = apicred::oauth::ClientKey::read(&pem).expect("a key");
    let spec = json!({ "id": "c", "key": { "secretName": "s", "key": "k" } });
    let client = serde_json::from_value(spec).expect("a client");
    let settings = match AuthenticationMethod::parse(Some(&client)) {
        Ok(AuthenticationMethod::Key(settings)) => Some(settings),
        _ => None,
    };
    let settings = settings.expect("a client with a key");
    (pem, key.public_set(&settings).expect("its public key"))
}

/// The same key as a private JWK with `alg`.
fn as_jwk(pem: String) -> String {
    // RFC 8037 appendix A.1.
    let example = r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let example = apicred::oauth::ClientKey::read(example).expect("a key");
    let jwk = example.successor(pem.into()).expect("a JWK");
    let mut jwk: Value = serde_json::from_str(jwk.expose_secret()).expect("JSON");
    jwk["alg"] = json!("ES256");
    jwk.to_string()
}

/// The thumbprint of the only key at the beginning.
fn thumbprint(jwks: &Value) -> String {
    jwks["keys"][0]["kid"].as_str().expect("a kid").to_owned()
}

fn update(effect: Effect) -> Fault {
    Fault::new(effect).on(Surface::Registration).times(1)
}

/// Stores a new registration access token in the Secret, as a user does who got one from the issuer.
async fn store_another(place: &Place, app: &str) {
    let (_, token) = place.issuer.registration(app);
    let data = json!({ "registration_access_token": token });
    place.put_secrets(SOURCE, &data).await;
}

fn is_locked(status: &ApiClientStatus) -> bool {
    let mut all = status.conditions.iter();
    all.any(|c| c.type_ == "RotationBlocked" && c.message.contains(LOCKED))
}

/// Waits until the registration access token is reported as refused, which must be true, and stores another one.
async fn unlock(place: Arc<Place>, clients: Api<ApiClient>, app: String) {
    loop {
        let client = clients.get("shared").await.expect("the client");
        if client.status.as_ref().is_some_and(is_locked) {
            let source = place.secrets().get(SOURCE).await.expect("the Secret");
            let stored = source.data.unwrap_or_default()["registration_access_token"].clone();
            let token = place.issuer.registration_access_token(&app);
            let token = token.map(String::into_bytes);
            assert_ne!(Some(stored.0), token, "the issuer takes it");
            return store_another(&place, &app).await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

impl Rig<'_> {
    /// Changes the client to one with a key that may change its own registration.
    async fn put_key(&self, pem: &str, registration: (&str, &str), issuer: Value) {
        let (url, token) = registration;
        self.place.put_issuer(issuer).await;
        let data = json!({
            "private.pem": pem, "registration_client_uri": url, "registration_access_token": token,
        });
        self.place.put_secrets(SOURCE, &data).await;
        self.annotate_source(json!({ "apicred.dev/rotate-by": "shared" }))
            .await;
        let spec = json!({
            "id": self.app, "secrets": null,
            "key": { "secretName": SOURCE, "key": "private.pem" },
            "rotation": merge(soon(), json!({ "registration": {} })),
        });
        self.place.put_client("shared", spec).await;
    }

    async fn token_in_secret(&self) -> String {
        let data = self.data().await;
        String::from_utf8_lossy(&data["registration_access_token"]).into_owned()
    }

    fn keys_at_issuer(&self) -> Vec<String> {
        let keys = self.place.issuer.keys_of(&self.app);
        let kid = |key: &Value| key["kid"].as_str().unwrap_or_default().to_owned();
        keys.iter().map(kid).collect()
    }

    /// As [`Rig::followed_through`]. A registration access token that was lost is replaced once. Returns whether the operator ended, and
    /// whether a token was lost.
    pub(super) async fn followed_with_help(&mut self, request: &str) -> (bool, bool) {
        let help = unlock(Arc::clone(&self.place), self.clients(), self.app.clone());
        tokio::select! {
            ended = self.followed_through(request) => return (ended, false),
            () = help => {}
        }
        (self.followed_through(request).await, true)
    }

    /// The rotation has ended: one key is registered, the same as in the Secret, and it gets tokens.
    async fn has_one_key(&self, request: &str) {
        self.is_left_with_one_key(request).await;
        self.renews().await;
    }

    /// The rotation has ended: one key is registered, and the Secret has the same one, with a registration access token that the issuer
    /// accepts.
    pub(super) async fn is_left_with_one_key(&self, request: &str) {
        let label = &self.place.namespace;
        let status = self.rotated(request).await;
        let current = status.keys[0].thumbprint.clone().unwrap_or_default();
        assert_eq!(self.keys_at_issuer(), [current], "{label}");
        let data = self.data().await;
        assert_eq!(data.len(), 3, "{label}: {:?}", data.keys());
        let token = self.place.issuer.registration_access_token(&self.app);
        assert_eq!(Some(self.token_in_secret().await), token, "{label}");
    }
}

/// The requested scope of a credential of the client with a key.
pub(super) fn with_scope(name: &str) -> Value {
    let mut spec = by_client(name);
    spec["scopes"] = json!(["read"]);
    spec["audience"] = json!("api://demo");
    spec
}

/// A client of dev-issuer's generic issuer, and the credential `a`. Its first key is adopted.
pub(super) async fn with_key<'w>(world: &'w World, label: &str) -> (Rig<'w>, String) {
    let rig = Rig::new(world, label).await;
    let (pem, jwks) = key();
    let first = thumbprint(&jwks);
    let mut client = OauthClient::new(&rig.app).role(RECORDS.0, RECORDS.1);
    client.jwks = Some(jwks);
    rig.place.add_client(client);
    let (url, token) = rig.place.issuer.registration(&rig.app);
    let oidc = json!({ "oidc": { "issuerUrl": rig.place.issuer.generic_issuer() } });
    let issuer = rig.place.issuer_spec(oidc);
    rig.put_key(&pem, (&url, &token), issuer).await;
    rig.place.create("a", with_scope("a")).await;
    rig.adopt(&first).await;
    (rig, first)
}

/// A fault at one update of a registration.
struct Case {
    label: String,
    /// So many updates pass before it.
    after: u32,
    effect: Effect,
    /// The update took effect, and the answer with the new token was lost.
    loses: bool,
}

fn cases() -> Vec<Case> {
    let throttled = Effect::TooManyRequests {
        retry_after: Some(RetryAfter::Seconds(1)),
    };
    let busy = Effect::Status {
        status: 503,
        body: None,
        retry_after: None,
    };
    let effects = [
        ("throttled", throttled, false),
        ("busy", busy, false),
        ("broken", Effect::ErrorAfter { status: 500 }, true),
        ("lost", Effect::Drop, true),
    ];
    let mut cases = Vec::new();
    for (name, effect, loses) in effects {
        // The update that adds a key, and the one that removes the key before it.
        for after in [0, 1] {
            cases.push(Case {
                label: format!("{name}-{after}"),
                after,
                effect: effect.clone(),
                loses,
            });
        }
    }
    cases
}

/// Follows a rotation to its end while the mounted token is used.
async fn follow(case: &Case, rig: &mut Rig<'_>, (first, request): (&str, &str)) {
    rig.place.ready("a").await;
    let before = rig.token_in_secret().await;
    let (done, reader) = rig.reader();
    let (_, lost) = rig.followed_with_help(request).await;
    assert_eq!(lost, case.loses, "{}", case.label);
    rig.has_one_key(request).await;
    assert_ne!(rig.keys_at_issuer(), [first], "{}", case.label);
    assert_ne!(rig.token_in_secret().await, before, "{}", case.label);
    rig.served((done, reader), &case.label).await;
}

#[test]
fn a_client_rotates_its_key_by_its_own_registration_whatever_answer_is_lost() {
    run(async {
        let world = World::own().await;
        let cases = cases();
        let rigs = cases.iter().map(async |case| {
            let (rig, first) = with_key(&world, &case.label).await;
            if case.after > 0 {
                let pass = update(Effect::None).times(case.after);
                rig.place.issuer.fault(pass);
            }
            rig.place.issuer.fault(update(case.effect.clone()));
            let request = rig.request().await;
            (rig, first, request)
        });
        let mut rigs = join_all(rigs).await;
        // The operator watches all namespaces.
        rigs[0].0.run().await;
        let all = cases.iter().zip(&mut rigs);
        let all =
            all.map(|(case, (rig, first, request))| follow(case, rig, (first.as_str(), request)));
        join_all(all).await;
        let ended = rigs[0].0.operator.as_mut().expect("it runs").ended();
        assert!(ended.is_none(), "the operator ended: {ended:?}");
    });
}

/// A client that is registered at npm `oidc-provider`; its address and its registration access token.
async fn registered(provider: &OidcProvider, jwks: &Value) -> [String; 3] {
    let metadata = json!({
        "token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "ES256",
        "grant_types": ["client_credentials"], "response_types": [], "redirect_uris": [],
        "scope": "read", "jwks": jwks,
    });
    let registered = provider.register(&metadata).await.expect("a client");
    let names = [
        "client_id",
        "registration_client_uri",
        "registration_access_token",
    ];
    names.map(|name| registered[name].as_str().expect("a text").to_owned())
}

#[test]
fn a_key_rotates_at_an_issuer_that_this_project_did_not_write() {
    run(async {
        let world = World::own().await;
        let mut rig = Rig::new(&world, "oidc-provider").await;
        let provider = OidcProvider::start(OidcOptions::default()).await;
        let provider = provider.expect("an issuer");
        let (pem, jwks) = key();
        let [id, url, token] = registered(&provider, &jwks).await;
        rig.app = id;
        let mut issuer = rig.place.issuer_spec(json!({
            "oidc": { "issuerUrl": provider.issuer_url() }, "caBundle": provider.ca_pem(),
        }));
        issuer["entra"] = Value::Null;
        rig.put_key(&as_jwk(pem), (&url, &token), issuer).await;
        let mut spec = by_client("a");
        spec["scopes"] = json!(["read"]);
        rig.place.create("a", spec).await;
        rig.adopt(&thumbprint(&jwks)).await;
        rig.run().await;
        rig.place.ready("a").await;
        for _ in 0..2 {
            let before = rig.token_in_secret().await;
            let request = rig.request().await;
            rig.followed_through(&request).await;
            let status = rig.rotated(&request).await;
            let token = rig.token_in_secret().await;
            assert_ne!(token, before, "each update gives another token");
            let stored = &rig.data().await["private.pem"];
            let stored: Value = serde_json::from_slice(stored).expect("a JWK, as before");
            assert_eq!(stored["kid"].as_str(), status.keys[0].thumbprint.as_deref());
            assert_eq!(stored["alg"], "ES256");
            // Only the key of the Secret is registered now.
            let shown = provider.registration(&url, &token).await;
            let shown = shown.expect("the registration");
            let keys = shown["jwks"]["keys"].as_array().expect("keys");
            assert_eq!(keys.len(), 1, "{shown}");
            assert_eq!(
                keys[0]["kid"].as_str(),
                status.keys[0].thumbprint.as_deref()
            );
        }
        let view = rig.place.view("token-a").await.expect("a token");
        let seen = provider.introspect(&view.token).await.expect("an answer");
        assert_eq!(seen["active"], true, "{seen}");
    });
}

/// The address of a registration is content of a Secret; the token is sent only to the issuer.
#[test]
fn a_registration_access_token_is_sent_to_no_other_host() {
    run(async {
        let world = World::own().await;
        let (mut rig, _) = with_key(&world, "elsewhere").await;
        let stranger = TcpListener::bind("127.0.0.1:0").expect("a port");
        stranger.set_nonblocking(true).expect("a socket");
        let address = stranger.local_addr().expect("an address");
        let data = json!({ "registration_client_uri": format!("https://{address}/reg") });
        rig.place.put_secrets(SOURCE, &data).await;
        rig.run().await;
        rig.place.ready("a").await;
        rig.request().await;
        rig.until_condition("RotationBlocked", "neither on the host of the issuer")
            .await;
        let came = stranger.accept();
        assert!(came.is_err(), "{came:?}");
    });
}

/// A policy, in force, that forbids every replacement of the registration access token.
async fn locked_secret(rig: &Rig<'_>) -> Policy {
    let rule = json!({ "apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"], "operations": ["UPDATE"] });
    let same = "!has(object.data) || !('registration_access_token' in object.data) || object.data['registration_access_token'] == oldObject.data['registration_access_token']";
    let policy = Policy::put(&rig.place, rule, (same, "the token stays")).await;
    eventually(LATER, "a policy in force", async || {
        !may_replace(&rig.place).await
    })
    .await;
    policy
}

/// An operator that serves only this client has reconciled it; then a policy forbids the replacement of its token.
async fn reconciled_and_locked(rig: &mut Rig<'_>) -> Policy {
    rig.start(None, &rig.place.namespace.clone()).await;
    rig.place.ready("a").await;
    rig.until("the first reconciliation", |s| s.rotation_state.is_some())
        .await;
    locked_secret(rig).await
}

async fn may_replace(place: &Place) -> bool {
    let params = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    let another = json!({ "stringData": { "registration_access_token": "another" } });
    let (secrets, another) = (place.secrets(), Patch::Merge(another));
    let patched = secrets.patch(SOURCE, &params, &another);
    patched.await.is_ok()
}

/// The issuer returned it, the one before it is not valid any more, and it is stored nowhere else.
#[test]
fn a_registration_access_token_that_cannot_be_stored_is_reported_and_stored_when_it_can_be() {
    run(async {
        let world = World::own().await;
        let (mut rig, first) = with_key(&world, "not-stored").await;
        let policy = reconciled_and_locked(&mut rig).await;
        let before = rig.token_in_secret().await;
        let request = rig.request().await;
        let expected = format!("could not be stored in Secret {SOURCE} (");
        rig.until_condition("RotationBlocked", &expected).await;
        assert_eq!(rig.token_in_secret().await, before);
        policy.lift().await;
        eventually(LATER, "the token in the Secret", async || {
            rig.token_in_secret().await != before
        })
        .await;
        assert!(!rig.followed_through(&request).await);
        rig.has_one_key(&request).await;
        assert_ne!(rig.keys_at_issuer(), [first]);
    });
}

/// `kubectl replace --force`, or a delete and an apply: the Secret has another UID, and what it had at first.
#[test]
fn a_registration_access_token_finds_a_secret_that_was_created_again() {
    run(async {
        let world = World::own().await;
        let (mut rig, _) = with_key(&world, "created-again").await;
        let policy = reconciled_and_locked(&mut rig).await;
        let before = rig.token_in_secret().await;
        let first = rig.data().await;
        let text = |key: &str| String::from_utf8_lossy(&first[key]).into_owned();
        let keys = [
            "private.pem",
            "registration_client_uri",
            "registration_access_token",
        ];
        let data: Value = keys.iter().map(|key| (*key, text(key))).collect();
        rig.request().await;
        let expected = format!("could not be stored in Secret {SOURCE} (");
        rig.until_condition("RotationBlocked", &expected).await;
        let secrets = rig.place.secrets();
        let deleted = secrets.delete(SOURCE, &DeleteParams::default()).await;
        deleted.expect("it goes");
        rig.until_condition("RotationBlocked", "because the Secret was deleted")
            .await;
        rig.place.put_secrets(SOURCE, &data).await;
        let expected = "has no annotation apicred.dev/rotate-by: shared";
        rig.until_condition("RotationBlocked", expected).await;
        policy.lift().await;
        rig.annotate_source(json!({ "apicred.dev/rotate-by": "shared" }))
            .await;
        eventually(LATER, "the token in the new Secret", async || {
            rig.token_in_secret().await != before
        })
        .await;
        // The issuer accepts it.
        rig.until("the rotation goes on", |s| {
            let mut all = s.conditions.iter();
            !all.any(|c| c.type_ == "RotationBlocked")
        })
        .await;
    });
}
