//! Attempts to have a token, or a Secret that its owner dedicated to another use, sent to another issuer (T17, T18), and to request
//! from an administrator's issuer what its limits do not allow (T19).

use kube::api::{DeleteParams, PropagationPolicy};
use serde_json::{Value, json};
use testenv::eventually;

use super::attacker::{Attacker, CREDENTIALS, ISSUERS_AND_CREDENTIALS};
use crate::support::{LATER, Listener, Place, World, condition, merge, run, unique};

/// An issuer that returns this token.
fn giving(token: &str) -> Listener {
    let answer = json!({ "access_token": token, "token_type": "Bearer", "expires_in": 3600 });
    Listener::answering("200 OK", move |_| answer.to_string())
}

/// An issuer that never answers successfully, so that the old token stays in the Secret.
fn refusing() -> Listener {
    Listener::answering("503 Service Unavailable", |_| "{}".to_owned())
}

fn oauth2(listener: &Listener) -> Value {
    json!({
        "oauth2": {
            "tokenUrl": listener.token_url,
            "revocationUrl": format!("{}/revoke", listener.origin()),
        },
        "caBundle": listener.ca_pem,
    })
}

/// The place's issuer becomes this listener.
async fn offer(place: &Place, listener: &Listener) {
    let mut spec = oauth2(listener);
    spec["network"] = json!({ "allowedCidrs": ["127.0.0.0/8"] });
    spec["allowedNamespaces"] = json!({ "names": [place.namespace] });
    place.put_issuer(spec).await;
    place.issuer_ready().await;
}

/// Deletes a credential and retains its Secret; returns the operator's log about the revocation.
async fn deleted(world: &World, place: &Place, attacker: &Attacker, name: &str) -> String {
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    let deletion = attacker.credentials().delete(name, &params).await;
    deletion.expect("a deletion");
    let quoted = format!("\"{name}\"");
    eventually(LATER, "the end of the revocation", async || {
        let logs = world.operator_logs();
        let mut reported = logs.lines().filter(|l| l.contains("revoked"));
        let reported = reported.find(|l| l.contains(&place.namespace) && l.contains(&quoted));
        reported.map(str::to_owned).ok_or("not yet")
    })
    .await
}

fn got(listener: &Listener, what: &str) -> bool {
    listener.requests().iter().any(|r| r.contains(what))
}

#[test]
fn no_history_of_edits_makes_a_token_leave_for_another_issuer() {
    run(async {
        let world = World::shared().await;
        let place = world.place("t17").await;
        let token = format!("legit-{}", unique());
        let (good, evil) = (giving(&token), refusing());
        offer(&place, &good).await;
        let attacker = Attacker::of(world, &place, ISSUERS_AND_CREDENTIALS).await;
        attacker.reads_no_secrets().await;
        attacker.issuer("evil", oauth2(&evil)).await.unwrap();
        // A Secret of low value, whose owner allows it to be sent to the attacker's URL.
        place.put_secret("low-value", "k", &unique()).await;
        let note = json!({ "apicred.dev/allowed-issuers": evil.origin() });
        place
            .edit_secret("low-value", json!({ "metadata": { "annotations": note } }))
            .await;
        let key = format!("static-{}", unique());
        place.put_secret("key", "k", &key).await;
        let note = json!({ "apicred.dev/publish-by": "portal" });
        place
            .edit_secret("key", json!({ "metadata": { "annotations": note } }))
            .await;

        // The token is known only from the Secret, or from memory.
        for (name, policy) in [("payroll", json!(null)), ("ledger", json!("Revoke"))] {
            let spec = json!({ "deletionPolicy": policy, "target": { "secretName": name } });
            place.create(name, spec).await;
            place.ready(name).await;
        }
        let fixed = json!({
            "issuerRef": null, "client": null, "scopes": null, "target": { "secretName": "portal" },
            "static": { "tokenRef": { "name": "key", "key": "k" } },
        });
        place.create("portal", fixed).await;
        place
            .until("portal", "ready", |c| {
                condition(c, "Ready").filter(|c| c.status == "True")
            })
            .await;
        let lead = json!({ "spec": {
            "issuerRef": { "kind": "TokenIssuer", "name": "evil" }, "deletionPolicy": "Revoke",
            "client": { "id": "c", "secrets": [{ "name": "low-value", "key": "k" }] },
            "scopes": ["s"], "static": null,
        } });
        for name in ["payroll", "ledger", "portal"] {
            attacker.edit(name, lead.clone()).await;
            place
                .until(name, "asked of the attacker's issuer", |c| {
                    let last = c.status.as_ref()?.last_attempt.as_ref()?;
                    (last.http_status == Some(503)).then_some(())
                })
                .await;
            let reported = deleted(world, &place, &attacker, name).await;
            assert!(reported.contains("not revoked"), "{name}: {reported}");
        }
        assert!(evil.requests().len() >= 3, "the attack reached his address");
        assert!(!got(&evil, "/revoke"), "{:?}", evil.requests());
        assert!(!got(&evil, &token) && !got(&evil, &key));

        // A token without such an edit is revoked where it was issued. It is deleted first: this issuer returns the same token to all, and it is
        // not revoked while another credential has it.
        let honest = json!({ "deletionPolicy": "Revoke", "target": { "secretName": "honest" } });
        place.create("honest", honest).await;
        place.ready("honest").await;
        let reported = deleted(world, &place, &attacker, "honest").await;
        assert!(!reported.contains("not revoked"), "{reported}");
        assert!(got(&good, "/revoke"), "{:?}", good.requests());
        // The issuer object itself is changed to another URL, by a user who may edit it.
        let moved = json!({ "deletionPolicy": "Revoke", "target": { "secretName": "moved" } });
        place.create("moved", moved).await;
        place.ready("moved").await;
        offer(&place, &evil).await;
        let reported = deleted(world, &place, &attacker, "moved").await;
        assert!(reported.contains("not revoked"), "{reported}");
        assert!(!got(&evil, "/revoke") && !got(&evil, &token));
        attacker.learns_nothing(&place).await;
    });
}

#[test]
fn a_secret_that_is_dedicated_to_one_use_serves_no_other() {
    run(async {
        let world = World::shared().await;
        let place = world.place("t18").await;
        let attacker = Attacker::of(world, &place, CREDENTIALS).await;
        attacker.reads_no_secrets().await;
        place.create("honest", json!({})).await;
        place.ready("honest").await;
        for (name, note) in [
            ("state", json!({ "apicred.dev/state-of": "ada" })),
            (
                "pinned",
                json!({ "apicred.dev/state-of": "mallory-refresh@not-this-object" }),
            ),
            ("key", json!({ "apicred.dev/publish-by": "portal" })),
            (
                "elsewhere",
                json!({ "apicred.dev/allowed-issuers": "https://idp-a.example" }),
            ),
        ] {
            place.put_secret(name, "k", &unique()).await;
            place
                .edit_secret(name, json!({ "metadata": { "annotations": note } }))
                .await;
        }
        let public = json!({ "secrets": null, "public": {} });
        for source in ["state", "pinned", "key", "elsewhere", "token"] {
            let key = if source == "token" { "token" } else { "k" };
            let of = json!({ "name": source, "key": key });
            let pair = json!({ "secretName": source, "certificateKey": key, "privateKeyKey": key });
            for (way, changes) in [
                ("secret", json!({ "client": { "secrets": [of] } })),
                (
                    "pair",
                    json!({ "client": { "secrets": null, "certificates": [pair] } }),
                ),
                (
                    "obo",
                    json!({ "grant": { "onBehalfOf": { "assertionRef": of } } }),
                ),
                (
                    "refresh",
                    json!({ "client": public, "grant": { "refreshToken": { "secretRef": of } } }),
                ),
                (
                    "static",
                    json!({ "issuerRef": null, "client": null, "scopes": null, "static": { "tokenRef": of } }),
                ),
            ] {
                let name = format!("mallory-{way}-{source}");
                let target = json!({ "target": { "secretName": name } });
                let spec = merge(place.spec(changes), target);
                attacker.credential(&name, spec).await.unwrap();
                attacker.refused(&name, &["NotAuthorizedBySecret"]).await;
            }
        }
        // The name alone is not sufficient if the owner pinned the object.
        let of = json!({ "name": "pinned", "key": "k" });
        let changes = json!({ "client": public, "grant": { "refreshToken": { "secretRef": of } }, "target": { "secretName": "p" } });
        attacker
            .credential("mallory-refresh", place.spec(changes))
            .await
            .unwrap();
        attacker
            .refused("mallory-refresh", &["NotAuthorizedBySecret"])
            .await;
        assert_eq!(place.posts(), 1, "the honest one");
        attacker.learns_nothing(&place).await;
    });
}

#[test]
fn an_issuer_with_limits_gets_no_request_beside_them() {
    run(async {
        let world = World::shared().await;
        let place = world.place("t19").await;
        let issuer = giving(&format!("t-{}", unique()));
        let mut spec = oauth2(&issuer);
        spec["network"] = json!({ "allowedCidrs": ["127.0.0.0/8"] });
        spec["allowedNamespaces"] = json!({ "names": [place.namespace] });
        spec["allowedScopes"] = json!(["read"]);
        place.put_issuer(spec).await;
        place.issuer_ready().await;
        let attacker = Attacker::of(world, &place, CREDENTIALS).await;
        attacker.reads_no_secrets().await;
        let source = json!({ "name": "source", "key": "client-secret" });
        let public = json!({ "secrets": null, "public": {} });
        let exchange = |account: Value, requested: Value| json!({ "tokenExchange": { "subject": { "serviceAccount": account }, "requestedTokenType": requested } });
        let deployer = json!({ "name": "default" });
        let for_aws = json!({ "name": "default", "audience": "sts.amazonaws.com", "expirationSeconds": 86400 });
        let refresh = json!("urn:ietf:params:oauth:token-type:refresh_token");
        let saml = json!("urn:ietf:params:oauth:token-type:saml2");
        let password =
            json!({ "password": { "username": "ceo@corp.example", "passwordRef": source } });
        let signed = |more: Value| json!({ "jwtBearer": { "signed": merge(json!({ "keyRef": source, "issuer": "i" }), more) } });
        for (name, client, grant, reason) in [
            ("password", public.clone(), password, "GrantNotAllowed"),
            ("iss", Value::Null, signed(json!({})), "ParameterNotAllowed"),
            (
                "aud",
                Value::Null,
                signed(json!({ "issuer": null, "audience": "https://other.example/token" })),
                "ParameterNotAllowed",
            ),
            (
                "sub",
                Value::Null,
                signed(json!({ "issuer": null, "subject": "admin@corp.example" })),
                "SubjectNotAllowed",
            ),
            (
                "refresh",
                Value::Null,
                exchange(deployer.clone(), refresh),
                "InvalidSpec",
            ),
            (
                "saml",
                Value::Null,
                exchange(deployer, saml),
                "ParameterNotAllowed",
            ),
            (
                "aws",
                Value::Null,
                exchange(for_aws, Value::Null),
                "AudienceNotAllowed",
            ),
        ] {
            let changes = json!({ "client": client, "grant": grant, "scopes": ["read"], "target": { "secretName": name } });
            attacker
                .credential(name, place.spec(changes))
                .await
                .unwrap();
            attacker.refused(name, &[reason]).await;
        }
        assert!(issuer.requests().is_empty(), "{:?}", issuer.requests());
        attacker.learns_nothing(&place).await;
    });
}

#[test]
fn a_secret_goes_to_no_national_cloud_that_the_installation_does_not_name() {
    run(async {
        let world = World::shared().await;
        let place = world.place("clouds").await;
        let attacker = Attacker::of(world, &place, ISSUERS_AND_CREDENTIALS).await;
        attacker.reads_no_secrets().await;
        for cloud in ["China", "USGov"] {
            let entra = json!({ "tenantId": "mallory.example", "cloud": cloud });
            let lower = cloud.to_ascii_lowercase();
            let inline = place.spec(
                json!({ "issuerRef": null, "entra": entra, "target": { "secretName": lower } }),
            );
            attacker.credential(&lower, inline).await.unwrap();
            attacker
                .issuer(&lower, json!({ "entra": entra }))
                .await
                .unwrap();
            let reported = attacker.issuer_refused(&lower).await;
            assert!(reported.contains("entraClouds"), "{reported}");
            let named = format!("{lower}-issuer");
            let issuer = json!({ "kind": "TokenIssuer", "name": lower });
            let by_name =
                place.spec(json!({ "issuerRef": issuer, "target": { "secretName": named } }));
            attacker.credential(&named, by_name).await.unwrap();
            for name in [&lower, &named] {
                attacker.refused(name, &["CloudNotAllowed"]).await;
            }
        }
        attacker.learns_nothing(&place).await;
    });
}
