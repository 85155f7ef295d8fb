//! Attempts to have a secret sent, copied, overwritten or taken over without the right to read it (T1, T4, T12, T15).

use kube::api::PostParams;
use serde_json::{Value, json};

use super::attacker::{Attacker, CREDENTIALS, ISSUERS_AND_CREDENTIALS, foreign_secrets};
use crate::support::{Listener, Place, SOON, World, issuer_of, merge, run, typed, unique};

/// Every way in which a credential can use the Secret `source`.
fn ways() -> Vec<(&'static str, Value)> {
    let source = json!({ "name": "source", "key": "client-secret" });
    let public = json!({ "secrets": null, "public": {} });
    let pair = json!({ "secretName": "source", "certificateKey": "client-secret", "privateKeyKey": "client-secret" });
    vec![
        ("secret", json!({})),
        (
            "password",
            json!({ "client": public, "grant": { "password": { "username": "u", "passwordRef": source } } }),
        ),
        (
            "assertion",
            json!({ "client": null, "grant": { "jwtBearer": { "assertionRef": source } } }),
        ),
        (
            "signed",
            json!({ "client": null, "grant": { "jwtBearer": { "signed": { "keyRef": source, "issuer": "i" } } } }),
        ),
        (
            "exchange",
            json!({ "client": null, "grant": { "tokenExchange": { "subject": { "secretRef": source } } } }),
        ),
        (
            "refresh",
            json!({ "client": public, "grant": { "refreshToken": { "secretRef": source } } }),
        ),
        (
            "obo",
            json!({ "grant": { "onBehalfOf": { "assertionRef": source } } }),
        ),
        (
            "certificate",
            json!({ "client": { "secrets": null, "certificates": [pair] } }),
        ),
        (
            "mtls",
            json!({ "client": { "secrets": null, "mtls": pair } }),
        ),
        (
            "parameter",
            json!({
                "client": null, "grant": { "tokenExchange": { "subject": { "secretRef": source } } },
                "parameters": [{ "name": "hint", "secretRef": source }],
            }),
        ),
        (
            "account",
            json!({ "client": { "secrets": null, "serviceAccount": { "name": "default" } } }),
        ),
    ]
}

/// A token endpoint that also has a discovery document, for every request.
fn listener() -> Listener {
    Listener::answering("200 OK", |request| {
        let issuer = issuer_of(request);
        json!({
            "issuer": issuer,
            "token_endpoint": format!("{issuer}/token"),
            "mtls_endpoint_aliases": { "token_endpoint": format!("{issuer}/mtls") },
            "access_token": "opaque-5f1c9d0b7a", "token_type": "Bearer", "expires_in": 1200,
        })
        .to_string()
    })
}

/// What an attacker at that address could have learnt: nothing was posted, and requests for documents contained no credentials.
fn got_nothing(place: &Place, listener: &Listener) {
    let requests = listener.requests();
    let posted: Vec<&String> = requests
        .iter()
        .filter(|r| !r.starts_with("GET /.well-known/"))
        .collect();
    assert!(
        posted.is_empty(),
        "{} requests with something in them",
        posted.len()
    );
    assert_eq!(place.canaries.net().first_leak(&requests.concat()), None);
}

#[test]
fn a_user_who_creates_issuers_and_credentials_receives_no_secret() {
    run(async {
        let world = World::shared().await;
        let place = world.place("t1").await;
        let attacker = Attacker::of(world, &place, ISSUERS_AND_CREDENTIALS).await;
        attacker.reads_no_secrets().await;
        let before = foreign_secrets(&place).await;
        let listener = listener();
        let tenant = json!({ "tenantId": "t.example", "authorityHost": listener.origin() });
        let mut denied = 0;
        for (kind, spec) in [
            (
                "oauth2",
                json!({ "tokenUrl": listener.token_url, "clientAuthentication": { "post": {} } }),
            ),
            ("oidc", json!({ "issuerUrl": listener.origin() })),
            ("entra", tenant),
        ] {
            let spec = json!({ kind: spec, "caBundle": listener.ca_pem });
            attacker.issuer(kind, spec).await.unwrap();
            for (way, changes) in ways() {
                let name = format!("{kind}-{way}");
                let issuer = json!({ "issuerRef": { "kind": "TokenIssuer", "name": kind }, "target": { "secretName": name } });
                let spec = merge(place.spec(changes), issuer);
                attacker.credential(&name, spec).await.unwrap();
                let reason = attacker
                    .refused(&name, &["NotAuthorizedBySecret", "InvalidSpec"])
                    .await;
                denied += usize::from(reason == "NotAuthorizedBySecret");
            }
        }
        assert!(
            denied >= 20,
            "only {denied} were refused for the right reason"
        );

        // A key is not copied either, and a password is sent to no tenant that its Secret does not name.
        let source = json!({ "name": "source", "key": "client-secret" });
        for (name, changes) in [
            (
                "static",
                json!({ "issuerRef": null, "client": null, "scopes": null, "static": { "tokenRef": source } }),
            ),
            (
                "tenant",
                json!({
                    "issuerRef": null, "entra": { "tenantId": "mallory.example" },
                    "client": { "secrets": null, "public": {} },
                    "grant": { "password": { "username": "u@mallory.example", "passwordRef": source } },
                }),
            ),
        ] {
            let spec = merge(
                place.spec(changes),
                json!({ "target": { "secretName": name } }),
            );
            attacker.credential(name, spec).await.unwrap();
            attacker.refused(name, &["NotAuthorizedBySecret"]).await;
        }

        // A credential that works is changed to the attacker's issuer: the token stays, and no request is sent there.
        place.create("honest", json!({})).await;
        let token = place.ready("honest").await.token;
        let mine = json!({ "kind": "TokenIssuer", "name": "oauth2" });
        attacker
            .edit("honest", json!({ "spec": { "issuerRef": mine } }))
            .await;
        place.not_ready("honest", "NotAuthorizedBySecret").await;
        assert_eq!(place.view("token").await.unwrap().token, token);

        got_nothing(&place, &listener);
        assert_eq!(place.posts(), 1, "the honest one");
        assert_eq!(foreign_secrets(&place).await, before, "O5");
        attacker.learns_nothing(&place).await;
    });
}

#[test]
fn an_issuer_of_other_namespaces_gets_no_secret_not_even_to_revoke_a_token() {
    run(async {
        let world = World::shared().await;
        let place = world.place("t15").await;
        place.create("honest", json!({})).await;
        let held = place.ready("honest").await;
        // An administrator's permission for another namespace, with an address at which the attacker listens.
        let listener = listener();
        let other = format!("{}-other", place.issuer_name);
        let issuer = typed(json!({ "metadata": { "name": other }, "spec": {
            "oauth2": { "tokenUrl": listener.token_url, "revocationUrl": format!("{}/revoke", listener.origin()) },
            "caBundle": listener.ca_pem,
            "network": { "allowedCidrs": ["127.0.0.0/8"] },
            "allowedNamespaces": { "names": ["somebody-else"] },
        } }));
        place
            .issuers()
            .create(&PostParams::default(), &issuer)
            .await
            .unwrap();
        let theirs = json!({ "kind": "ClusterTokenIssuer", "name": other });
        let attacker = Attacker::of(world, &place, CREDENTIALS).await;
        attacker.reads_no_secrets().await;
        for kind in ["tokenissuers", "clustertokenissuers"] {
            assert!(!attacker.may("create", "apicred.dev", kind).await, "{kind}");
        }
        let mine = json!({ "oauth2": { "tokenUrl": listener.token_url } });
        let refused = attacker.issuer("mine", mine).await.unwrap_err();
        assert!(refused.contains("forbidden"), "{refused}");
        let before = foreign_secrets(&place).await;
        for (way, changes) in ways() {
            // Only the grant of Entra ID obtains nothing that could be revoked.
            let policy = if way == "obo" { "Delete" } else { "Revoke" };
            let patch = json!({ "issuerRef": theirs, "deletionPolicy": policy, "target": { "secretName": way } });
            attacker
                .credential(way, merge(place.spec(changes), patch))
                .await
                .unwrap();
            attacker
                .refused(way, &["NotAuthorizedByIssuer", "InvalidSpec"])
                .await;
            attacker.delete(way).await;
        }
        // An existing token, and the client secret with it, are not sent for a revocation either.
        let lead = json!({ "spec": { "issuerRef": theirs, "deletionPolicy": "Revoke" } });
        attacker.edit("honest", lead).await;
        place.operator_has_seen_it().await;
        assert_eq!(place.view("token").await.unwrap().token, held.token);
        attacker.delete("honest").await;
        // The revocation is tried after the deletion; the log shows its result.
        let reported = testenv::eventually(SOON, "the end of the revocation", async || {
            let logs = world.operator_logs();
            let mut reported = logs.lines().filter(|l| l.contains("revoked"));
            let reported =
                reported.find(|l| l.contains(&place.namespace) && l.contains("\"honest\""));
            reported.map(str::to_owned).ok_or("not yet")
        })
        .await;
        // Refused before anything is read, and not only because the Secret was already deleted.
        assert!(reported.contains("does not serve namespace"), "{reported}");
        got_nothing(&place, &listener);
        assert_eq!(foreign_secrets(&place).await, before, "O5");
        attacker.learns_nothing(&place).await;
    });
}

#[test]
fn no_secret_is_overwritten_or_adopted_that_did_not_request_it() {
    run(async {
        let world = World::shared().await;
        let place = world.place("t4").await;
        let attacker = Attacker::of(world, &place, CREDENTIALS).await;
        attacker.reads_no_secrets().await;
        place
            .put_secret("theirs", "password", &format!("~{}", unique()))
            .await;
        place
            .put_secret("other-state", "refresh_token", &format!("~{}", unique()))
            .await;
        let note = json!({ "metadata": { "annotations": { "apicred.dev/state-of": "another", "apicred.dev/adopt-by": "another" } } });
        place.edit_secret("other-state", note).await;
        let before = foreign_secrets(&place).await;
        for (target, policy) in [("theirs", "Delete"), ("other-state", "Retain")] {
            let name = format!("{target}-{}", policy.to_lowercase());
            let keys = json!([{ "format": "Token", "key": "password" }]);
            let spec = place.spec(json!({ "target": { "secretName": target, "keys": keys }, "deletionPolicy": policy }));
            attacker.credential(&name, spec).await.unwrap();
            attacker.refused(&name, &["SecretNotOwned"]).await;
        }
        // The Secret with the client secret cannot be its own target, whatever its name is.
        let refused = attacker
            .credential(
                "itself",
                place.spec(json!({ "target": { "secretName": "source" } })),
            )
            .await;
        assert!(refused.unwrap_err().contains("also a source"));
        let source = json!({ "name": "other-state", "key": "refresh_token" });
        let grant = json!({ "refreshToken": { "secretRef": source } });
        let public = json!({ "secrets": null, "public": {} });
        let spec = place.spec(
            json!({ "grant": grant, "client": public, "target": { "secretName": "stolen" } }),
        );
        attacker.credential("thief", spec).await.unwrap();
        attacker.refused("thief", &["NotAuthorizedBySecret"]).await;
        // The deletion of the attacker's objects does not delete objects of others.
        for name in ["theirs-delete", "other-state-retain", "thief"] {
            attacker.delete(name).await;
        }
        place.operator_has_seen_it().await;
        assert_eq!(
            foreign_secrets(&place).await,
            before,
            "O5: not a byte of them may change"
        );
        assert_eq!(place.posts(), 0);
        attacker.learns_nothing(&place).await;
    });
}

#[test]
fn a_refresh_token_is_never_in_the_secret_that_workloads_mount() {
    run(async {
        let world = World::shared().await;
        let place = world.place("t12").await;
        place.add_client(
            dev_issuer::Client::new(&place.client)
                .public()
                .scope("graph", "User.Read"),
        );
        let user = format!("{}@contoso.example", place.client);
        place
            .issuer
            .add_user(dev_issuer::User::new(&user, "ada~password.of-this-test"))
            .unwrap();
        let token = place.issuer.issue_refresh_token(
            &place.client,
            &user,
            "00000003-0000-0000-c000-000000000000/.default offline_access",
        );
        place.put_secret("state", "refresh_token", &token).await;
        let note = json!({ "metadata": { "annotations": { "apicred.dev/state-of": "c" } } });
        place.edit_secret("state", note).await;
        let formats = [
            "Token",
            "TokenType",
            "ExpiresAt",
            "Json",
            "Authorization",
            "DotEnv",
        ];
        let keys: Vec<Value> = formats.iter().map(|f| json!({ "format": f })).collect();
        let spec = json!({
            "grant": { "refreshToken": { "secretRef": { "name": "state", "key": "refresh_token" } } },
            "client": { "secrets": null, "public": {} },
            "scopes": null, "api": "MicrosoftGraph",
            "target": { "keys": keys },
        });
        place.create("c", spec).await;
        let first = place.ready("c").await;
        place.request_renewal("c").await;
        place.another_token("token", &first).await;
        let state = place.secrets().get("state").await.unwrap();
        let next = String::from_utf8(state.data.unwrap()["refresh_token"].0.clone()).unwrap();
        place.canaries.add(&next);
        let mounted = place.secrets().get("token").await.unwrap();
        for (key, value) in mounted.data.unwrap() {
            let text = String::from_utf8_lossy(&value.0).into_owned();
            for refresh_token in [&token, &next] {
                assert!(
                    !text.contains(refresh_token.as_str()),
                    "it is under key {key}"
                );
            }
            assert!(!text.contains("refresh_token"), "key {key} speaks of one");
        }
        let noted = serde_json::to_string(&mounted.metadata).unwrap();
        for refresh_token in [&token, &next] {
            assert!(
                !noted.contains(refresh_token.as_str()),
                "it is in the metadata"
            );
        }
    });
}
