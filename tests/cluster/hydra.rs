//! Ory Hydra, which is not part of this project: every way to a token that it offers, with discovery and with a token URL, and
//! mistakes of users.

use std::path::PathBuf;

use serde_json::{Value, json};
use testenv::{Hydra, eventually};
use tokio::sync::OnceCell;

use crate::{
    plugin::{Plugin, browse_by, unchanged, user_kubeconfig},
    providers::state,
    support::{
        Place, SOON, World,
        keys::{Keys, Kind, keys},
        merge, run,
    },
};

const CALLBACK: &str = "http://127.0.0.1/callback";
const USER: &str = "ada";
const SECRET: &str = "hydra~secret +/%&= 0";

pub(crate) struct Bench {
    issuer: Hydra,
    signer: Keys,
    /// A key that the issuer trusts to name `somebody`.
    asserter: Keys,
}

async fn bench() -> &'static Bench {
    static BENCH: OnceCell<Bench> = OnceCell::const_new();
    BENCH
        .get_or_init(|| async {
            let issuer = Hydra::start().await.expect("an issuer");
            let (signer, asserter) = (
                keys(Kind::Rsa, "signer", None),
                keys(Kind::Rsa, "asserter", None),
            );
            let mut post = client("post", "client_secret_post");
            post["audience"] = json!(["https://api.example"]);
            let mut signing = client("signer", "private_key_jwt");
            signing["client_secret"] = Value::Null;
            signing["jwks"] = signer.jwks.clone();
            signing["token_endpoint_auth_signing_alg"] = json!("RS256");
            let mut asserting = client("asserting", "client_secret_basic");
            asserting["grant_types"] = json!(["urn:ietf:params:oauth:grant-type:jwt-bearer"]);
            let mut user = client("user", "none");
            user["client_secret"] = Value::Null;
            user["grant_types"] = json!(["authorization_code", "refresh_token"]);
            user["response_types"] = json!(["code"]);
            user["scope"] = json!("read openid offline_access");
            user["redirect_uris"] = json!([CALLBACK]);
            // A client that may not request `openid`.
            let mut no_openid = user.clone();
            no_openid["client_id"] = json!("user-without-openid");
            no_openid["scope"] = json!("read offline_access");
            let basic = client("basic", "client_secret_basic");
            for metadata in [&basic, &post, &signing, &asserting, &user, &no_openid] {
                issuer.add_client(metadata).await.expect("a client");
            }
            let jwk = &asserter.jwks["keys"][0];
            issuer
                .trust("https://asserter.example", "somebody", jwk)
                .await
                .expect("a trusted key");
            Bench {
                issuer,
                signer,
                asserter,
            }
        })
        .await
}

/// A client that requests tokens for itself.
fn client(id: &str, method: &str) -> Value {
    json!({
        "client_id": id, "client_secret": SECRET, "token_endpoint_auth_method": method,
        "grant_types": ["client_credentials"], "scope": "read write",
    })
}

/// How the issuer is configured.
#[derive(Clone, Copy, Debug)]
pub(crate) enum By {
    Discovery,
    TokenUrl,
}

const BOTH: [By; 2] = [By::Discovery, By::TokenUrl];

/// A place whose issuer is Hydra, with changes on top.
pub(crate) async fn place(
    world: &World,
    label: &str,
    by: By,
    change: Value,
) -> (&'static Bench, Place) {
    let bench = bench().await;
    let place = world.place(label).await;
    let issuer = &bench.issuer;
    let kind = match by {
        By::Discovery => json!({ "oidc": { "issuerUrl": issuer.issuer_url() } }),
        By::TokenUrl => json!({ "oauth2": {
            "tokenUrl": issuer.token_url(), "authorizationUrl": issuer.authorization_url(),
            "revocationUrl": issuer.revocation_url(), "issuer": issuer.issuer_url(),
        } }),
    };
    // It accepts only this as the audience of an assertion.
    let more = json!({ "assertionAudience": "TokenEndpoint", "caBundle": issuer.ca_pem() });
    let spec = place.issuer_spec(merge(kind, more));
    place.put_issuer(merge(spec, change)).await;
    place.issuer_ready().await;
    place.put_source(SECRET).await;
    place.put_tls("signer", &bench.signer).await;
    (bench, place)
}

/// The client secret is sent in the form.
fn by_post(by: By) -> Value {
    let post = json!({ "clientAuthentication": { "post": {} } });
    match by {
        By::Discovery => json!({ "oidc": post }),
        By::TokenUrl => json!({ "oauth2": post }),
    }
}

/// `more` on top of `usual`. A null stays, because it removes a part of the spec that the place adds below.
pub(crate) fn over(mut usual: Value, more: Value) -> Value {
    match (usual.as_object_mut(), more) {
        (Some(whole), Value::Object(more)) => {
            for (name, value) in more {
                let below = whole.remove(&name).unwrap_or_default();
                whole.insert(name, over(below, value));
            }
            usual
        }
        (_, more) => more,
    }
}

/// A credential of a client, with its own target.
fn of(id: &str, more: Value) -> Value {
    let usual = json!({
        "client": { "id": id }, "scopes": ["read"], "target": { "secretName": format!("token-{id}") },
        "deletionPolicy": "Revoke",
    });
    over(usual, more)
}

pub(crate) fn signed_by(secret: &str) -> Value {
    let certificate = json!({ "secretName": secret, "keyId": "signer", "algorithm": "RS256" });
    json!({ "client": { "secrets": null, "certificates": [certificate] } })
}

fn asserted() -> Value {
    let signed = json!({
        "keyRef": { "name": "asserter", "key": "tls.key" }, "keyId": "asserter",
        "issuer": "https://asserter.example", "subject": "somebody",
    });
    json!({ "grant": { "jwtBearer": { "signed": signed } } })
}

async fn is_live(bench: &Bench, token: &str) -> bool {
    let known = bench.issuer.introspect(token).await.expect("an answer");
    known["active"] == true
}

#[test]
fn every_way_of_a_client_to_a_token_works_and_the_token_is_revoked_by_discovery_and_by_token_url() {
    run(async {
        let world = World::shared().await;
        for by in BOTH {
            for (id, post, more) in [
                ("basic", false, json!({})),
                ("post", true, json!({ "audience": "https://api.example" })),
                ("signer", false, signed_by("signer")),
                ("asserting", false, asserted()),
            ] {
                let change = if post { by_post(by) } else { json!({}) };
                let (bench, place) = place(world, "hydra-client", by, change).await;
                place.put_tls("asserter", &bench.asserter).await;
                place.create("c", of(id, more)).await;
                let view = place.ready("c").await;
                assert!(is_live(bench, &view.token).await, "{id} {by:?}");
                place.request_renewal("c").await;
                let target = format!("token-{id}");
                let view = place.another_token(&target, &view).await;
                assert!(is_live(bench, &view.token).await, "{id} {by:?}");
                place.delete("c").await;
                eventually(SOON, format!("{id} {by:?} revokes"), async || {
                    !is_live(bench, &view.token).await
                })
                .await;
            }
        }
    });
}

/// Signs in with a browser, in which the user agrees to everything.
async fn sign_in(bench: &Bench, kubeconfig: &PathBuf, args: &[&str]) -> String {
    let mut plugin = Plugin::start(kubeconfig, args);
    for _ in 0..3 {
        let address = plugin.address().await;
        let issuer = &bench.issuer;
        let page = browse_by(issuer.ca_pem(), &address, async |at| {
            issuer.decide(at, USER).await.expect("a decision")
        })
        .await;
        if page.contains("You are signed in") {
            break;
        }
        assert!(page.contains("requested again"), "{page}");
    }
    let (good, printed) = plugin.end().await;
    assert!(good, "{printed}");
    printed
}

#[test]
fn a_user_signs_in_and_the_refresh_token_is_rotated_and_revoked_by_discovery_and_by_token_url() {
    run(async {
        let world = World::shared().await;
        for (by, id) in [
            (By::Discovery, "user"),
            (By::TokenUrl, "user"),
            // Its metadata lists `openid`, and the client may not request it.
            (By::Discovery, "user-without-openid"),
        ] {
            let (bench, place) = place(world, "hydra-user", by, json!({})).await;
            let kubeconfig = user_kubeconfig(world, &place, true).await;
            let spec = json!({
                "client": { "secrets": null, "public": {} },
                "grant": { "refreshToken": { "secretRef": { "name": "state", "key": "refresh_token" } } },
            });
            place.create("c", of(id, spec)).await;
            let mut args = vec!["login", "c", "-n", &place.namespace];
            // If an issuer has no metadata, only the scopes of the credential are requested.
            if matches!(by, By::TokenUrl) {
                args.extend(["--scopes", "read,offline_access"]);
            }
            let printed = sign_in(bench, &kubeconfig, &args).await;
            let lacks = id == "user-without-openid";
            assert_eq!(printed.contains("had added openid"), lacks, "{printed}");
            unchanged(&place, &printed).await;
            let mut view = place.ready("c").await;
            for _ in 0..3 {
                let (before, _) = state(&place).await;
                assert!(is_live(bench, &view.token).await, "{id} {by:?}");
                place.request_renewal("c").await;
                view = place.another_token(&format!("token-{id}"), &view).await;
                let (after, _) = state(&place).await;
                assert_ne!(before, after, "it rotates");
            }
            let (last, _) = state(&place).await;
            assert!(is_live(bench, &last).await);
            place.delete("c").await;
            eventually(SOON, "the end of the refresh token", async || {
                !is_live(bench, &last).await
            })
            .await;
        }
    });
}
