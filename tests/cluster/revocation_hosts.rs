//! Where a token is revoked, and how the client authenticates there: as at the token endpoint, whatever the revocation endpoint is.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use apicred::api::TokenIssuer;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use super::revocation::{gone, issuer, no_warning, place, revoke, revoked, spec_of};
use crate::{
    hydra::over,
    service_accounts::service_account,
    support::{
        Listener, Place, SOON, World, issuer_of,
        keys::{Kind, keys},
        reply, run, typed,
    },
};

/// The `TokenIssuer` with this spec, and the field that selects it.
async fn own_issuer(place: &Place, name: &str, mut spec: Value) -> Value {
    for field in ["allowedNamespaces", "network"] {
        spec.as_object_mut().expect("a spec").remove(field);
    }
    let object: TokenIssuer = typed(json!({
        "apiVersion": "apicred.dev/v1alpha1", "kind": "TokenIssuer",
        "metadata": { "name": name }, "spec": spec,
    }));
    let issuers: Api<TokenIssuer> = Api::namespaced(place.kube.clone(), &place.namespace);
    let made = issuers.create(&PostParams::default(), &object).await;
    made.expect("an issuer");
    json!({ "issuerRef": { "kind": "TokenIssuer", "name": name } })
}

/// Lets the owner of a Secret, or of a state Secret of `name`, send it to these origins.
async fn allow(place: &Place, secret: &str, of: Option<&str>, origins: &[&str]) {
    let notes = json!({
        "apicred.dev/allowed-issuers": origins.join(","), "apicred.dev/state-of": of,
    });
    place
        .edit_secret(secret, json!({ "metadata": { "annotations": notes } }))
        .await;
}

/// The value of a field of the one revocation of this token.
fn sent(listener: &Listener, token: &str, field: &str) -> Option<String> {
    let requests = listener.requests();
    let mut ends = requests.iter().filter(|r| r.starts_with("POST /revoke "));
    let body = ends.find(|r| r.contains(&format!("token={token}")))?;
    let (_, body) = body.split_once("\r\n\r\n")?;
    let mut pairs = url::form_urlencoded::parse(body.as_bytes());
    let found = pairs.find(|(name, _)| name == field);
    found.map(|(_, value)| value.into_owned())
}

/// `aud` of a JWT.
fn audience(jwt: &str) -> Value {
    let claims = jwt.split('.').nth(1).expect("a JWT");
    let claims = URL_SAFE_NO_PAD.decode(claims).expect("base64url");
    let claims: Value = serde_json::from_slice(&claims).expect("claims");
    let audience = &claims["aud"];
    audience.get(0).unwrap_or(audience).clone()
}

/// Both ends of a credential with `Revoke`.
const ENDS: [&str; 2] = ["a deletion", "notAfter"];

async fn end(place: &Place, name: &str, way: &str) {
    if way == ENDS[0] {
        place.delete(name).await;
        gone(place, name, SOON).await;
    } else {
        let now = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
        let now = jiff::Timestamp::from_second(now.as_second()).expect("a time");
        let end = json!({ "spec": { "notAfter": now.to_string() } });
        place.edit(name, end).await;
        place.not_ready(name, "Ended").await;
    }
    no_warning(place, name).await;
}

#[test]
fn a_refresh_token_without_discovery_is_revoked_at_the_issuers_of_both_kinds() {
    run(async {
        let world = World::shared().await;
        let count = AtomicUsize::new(0);
        let listener = Listener::replying(move |request| {
            if request.starts_with("POST /revoke ") {
                return reply("200 OK", "", b"");
            }
            let n = count.fetch_add(1, Ordering::SeqCst);
            let token = json!({
                "access_token": format!("t0ken-{n}"), "token_type": "Bearer", "expires_in": 3600,
                "refresh_token": format!("r0tated-{n}-after-the-first-use"),
            });
            reply("200 OK", "", token.to_string().as_bytes())
        });
        let place = place(world, "end-refresh", &listener).await;
        let own = own_issuer(&place, "mine", spec_of(&place, &listener)).await;
        allow(&place, "source", None, &[listener.origin()]).await;
        for (kind, issuer) in [("own", own), ("cluster", json!({}))] {
            for (number, way) in ENDS.into_iter().enumerate() {
                let name = format!("{kind}-{number}");
                let state = format!("state-{name}");
                let first = format!("Zq8Vx3Lk7Tn5Wd2~{name}");
                place.put_secret(&state, "k", &first).await;
                allow(&place, &state, Some(&name), &[listener.origin()]).await;
                let key = json!({ "name": state, "key": "k" });
                let grant = json!({ "grant": { "refreshToken": { "secretRef": key } } });
                let spec = over(over(revoke(&name), grant), issuer.clone());
                place.create(&name, spec).await;
                let view = place.ready(&name).await;
                let refresh_token =
                    view.token.replace("t0ken-", "r0tated-") + "-after-the-first-use";
                end(&place, &name, way).await;
                let hint = sent(&listener, &refresh_token, "token_type_hint");
                assert_eq!(hint.as_deref(), Some("refresh_token"), "{name} {way}");
            }
        }
    });
}

#[test]
fn a_client_with_a_certificate_revokes_at_the_host_for_certificates() {
    run(async {
        let world = World::shared().await;
        let at_certificates = issuer(|_| "200 OK");
        let alias = at_certificates.origin().to_owned();
        let whole = Arc::new(AtomicBool::new(true));
        let is_whole = Arc::clone(&whole);
        let server = Listener::replying(move |request| {
            if request.starts_with("POST ") {
                return reply("200 OK", "", b"");
            }
            let own = issuer_of(request);
            let mut aliases = json!({ "token_endpoint": format!("{alias}/token") });
            if is_whole.load(Ordering::SeqCst) {
                aliases["revocation_endpoint"] = json!(format!("{alias}/revoke"));
            }
            let document = json!({
                "issuer": own, "token_endpoint": format!("{own}/token"),
                "revocation_endpoint": format!("{own}/revoke"), "mtls_endpoint_aliases": aliases,
            });
            reply("200 OK", "", document.to_string().as_bytes())
        });
        let place = world.place("end-alias").await;
        let both = format!("{}\n{}", server.ca_pem, at_certificates.ca_pem);
        let pair = keys(Kind::Rsa, "shown", None);
        place.put_tls("shown", &pair).await;
        let origins = [server.origin(), at_certificates.origin()];
        allow(&place, "shown", None, &origins).await;
        let client = json!({ "client": { "secrets": null, "mtls": { "secretName": "shown" } } });
        for (name, all, kind) in [
            ("cluster", true, "ClusterTokenIssuer"),
            ("own", true, "TokenIssuer"),
            // The document need not name all aliases.
            ("one", false, "TokenIssuer"),
        ] {
            whole.store(all, Ordering::SeqCst);
            let spec = json!({
                "oidc": { "issuerUrl": server.origin() }, "caBundle": both,
                "network": { "allowedCidrs": ["127.0.0.0/8"] },
                "allowedNamespaces": { "names": [place.namespace] },
            });
            let issuer = if kind == "TokenIssuer" {
                own_issuer(&place, name, spec).await
            } else {
                place.put_issuer(spec).await;
                json!({})
            };
            let spec = over(over(revoke(name), client.clone()), issuer);
            place.create(name, spec).await;
            let token = place.ready(name).await.token;
            end(&place, name, ENDS[0]).await;
            let at = if all { &at_certificates } else { &server };
            assert!(revoked(at, &token), "{name}");
        }
    });
}

/// The client authenticates as at the token endpoint (fosite: Hydra, Authelia).
#[test]
fn the_assertion_of_a_revocation_is_for_the_token_endpoint() {
    run(async {
        let world = World::shared().await;
        let listener = issuer(|_| "200 OK");
        let place = world.place("end-audience").await;
        let mut spec = spec_of(&place, &listener);
        spec["oauth2"]["clientAuthentication"] = json!({ "secretJwt": {} });
        place.put_issuer(spec).await;
        place
            .put_source("x7Qm2Vf9Kd4Rz8Np1Wt6Yb3Hs5Lc0Gj7Ua2Eo9Ii4Xk8Mv1Tz6")
            .await;
        place
            .put_tls("signer", &keys(Kind::Rsa, "signer", None))
            .await;
        service_account(&place, "workload", Value::Null).await;
        let none = json!(null);
        for (name, client) in [
            ("secret", json!({})),
            (
                "certificate",
                json!({ "secrets": none, "certificates": [{ "secretName": "signer" }] }),
            ),
            (
                "account",
                json!({ "secrets": none, "serviceAccount": { "name": "workload" } }),
            ),
        ] {
            for (number, way) in ENDS.into_iter().enumerate() {
                let name = format!("{name}-{number}");
                let spec = over(revoke(&name), json!({ "client": client }));
                place.create(&name, spec).await;
                let token = place.ready(&name).await.token;
                end(&place, &name, way).await;
                let assertion = sent(&listener, &token, "client_assertion");
                let assertion = assertion.unwrap_or_else(|| panic!("{name} is not revoked"));
                assert_eq!(audience(&assertion), json!(listener.token_url), "{name}");
            }
        }
    });
}
