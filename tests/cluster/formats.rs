//! Other keys and formats of a target: the content of the Secret follows `target.keys` in every situation.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use crate::support::{LATER, Place, SOON, World, a_second_after, condition, is_well, run};

/// A credential that publishes a static key in these formats.
async fn of_static_key(place: &Place, key: &str, keys: Value) {
    place.put_secret("legacy", "key", key).await;
    let note = json!({ "metadata": { "annotations": { "apicred.dev/publish-by": "c" } } });
    place.edit_secret("legacy", note).await;
    let spec = json!({
        "issuerRef": null, "client": null, "scopes": null,
        "static": { "tokenRef": { "name": "legacy", "key": "key" } },
        "target": { "secretName": "token", "keys": keys },
    });
    place.create("c", spec).await;
}

async fn want(place: &Place, keys: Value) {
    let spec = json!({ "spec": { "target": { "keys": keys } } });
    place.edit("c", spec).await;
}

/// Waits until the Secret has these keys, and returns their texts.
async fn has(place: &Place, names: &[&str]) -> BTreeMap<String, String> {
    testenv::eventually(SOON, format!("the keys {names:?}"), async || {
        let secret = place
            .secrets()
            .get("token")
            .await
            .map_err(|e| e.to_string())?;
        let data = secret.data.unwrap_or_default();
        let found: Vec<&str> = data.keys().map(String::as_str).collect();
        if found == names {
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
            Ok(data.into_iter().map(|(k, v)| (k, text(v.0))).collect())
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await
}

async fn well(place: &Place) {
    place
        .until("c", "no trouble", |c| is_well(c).then_some(()))
        .await;
}

async fn is(place: &Place, kind: &str, status: &str, reason: &str) -> String {
    let what = format!("{kind} {status} {reason}");
    place
        .until("c", &what, |c| {
            let found = condition(c, kind)?;
            (found.status == status && found.reason == reason).then_some(found.message)
        })
        .await
}

#[test]
fn a_token_that_a_format_cannot_carry_is_reported_and_published_as_soon_as_another_is_chosen() {
    run(async {
        let world = World::shared().await;
        let place = world.place("unfit").await;
        let odd = "an'odd~static.key";
        of_static_key(&place, odd, json!([{ "format": "DotEnv" }])).await;
        let reported = place.not_ready("c", "FormatUnfit").await;
        assert!(
            reported.contains("spec.target.keys") && reported.contains("DotEnv"),
            "{reported}"
        );
        assert!(
            place
                .secrets()
                .get_opt("token")
                .await
                .expect("an answer")
                .is_none()
        );
        // Minutes before the next attempt would be due.
        want(&place, json!([{ "format": "Header" }])).await;
        let header = format!("Authorization: Token {odd}\n");
        assert_eq!(has(&place, &["header"]).await["header"], header);
        well(&place).await;
        // The published content stays if the next selection is not possible.
        want(
            &place,
            json!([{ "format": "Header" }, { "format": "DotEnv" }]),
        )
        .await;
        is(&place, "RenewalFailing", "True", "FormatUnfit").await;
        is(&place, "Ready", "True", "TokenPublished").await;
        assert_eq!(has(&place, &["header"]).await["header"], header);
        want(&place, json!([{ "format": "Token" }])).await;
        assert_eq!(has(&place, &["token"]).await["token"], odd);
        well(&place).await;
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        place.delete("c").await;
    });
}

#[test]
fn a_key_that_cannot_be_read_back_is_read_from_its_source() {
    run(async {
        let world = World::shared().await;
        let place = world.place("hidden").await;
        let key = "a-plain~static.key";
        of_static_key(&place, key, json!([{ "format": "TokenType" }])).await;
        has(&place, &["token_type"]).await;
        // While it is suspended, it only waits, and sends no request.
        place
            .edit("c", json!({ "spec": { "suspend": true } }))
            .await;
        well(&place).await;
        let mark = world.mark();
        want(&place, json!([{ "format": "Token" }])).await;
        place.operator_has_seen_it().await;
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        let reads = world.since(mark, &place).count("get", "secrets");
        assert!(reads <= 2, "{reads} reads");
        has(&place, &["token_type"]).await;
        place
            .edit("c", json!({ "spec": { "suspend": false } }))
            .await;
        assert_eq!(has(&place, &["token"]).await["token"], key);
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        place.delete("c").await;
    });
}

#[test]
fn a_secret_that_holds_the_static_key_already_is_adopted_once() {
    run(async {
        let world = World::shared().await;
        let place = world.place("same-key").await;
        let key = "adopted~static.key";
        // An apply would claim ownership of the fields; a create by a user does not.
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "stringData": { "token": key },
            "metadata": { "name": "token", "annotations": { "apicred.dev/adopt-by": "c" } },
        });
        let params = kube::api::PostParams {
            field_manager: Some("a-user".to_owned()),
            ..kube::api::PostParams::default()
        };
        let secret = crate::support::typed(secret);
        let made = place.secrets().create(&params, &secret).await;
        a_second_after(&made.expect("a Secret").metadata).await;
        of_static_key(&place, key, Value::Null).await;
        has(&place, &["token", "token.json", "token_type"]).await;
        is(&place, "Ready", "True", "TokenPublished").await;
        world.stays_quiet(&place, Duration::from_secs(2)).await;
        place.delete("c").await;
    });
}

#[test]
fn a_pull_secret_is_one_that_kubernetes_takes() {
    run(async {
        let world = World::shared().await;
        let place = world.place("pull").await;
        let keys = json!([{ "format": "DockerConfig", "host": "registry.example.com" }]);
        let target = json!({ "type": "kubernetes.io/dockerconfigjson", "keys": keys });
        place.create("c", json!({ "target": target })).await;
        let data = has(&place, &[".dockerconfigjson"]).await;
        let config: Value = serde_json::from_str(&data[".dockerconfigjson"]).expect("JSON");
        let login = &config["auths"]["registry.example.com"];
        assert_eq!(login["username"], "oauth2");
        let token = login["password"].as_str().expect("a token");
        assert_eq!(place.call("demo", "records", token).await, 200);
        // One more key: the token is read from the existing file.
        want(&place, json!([keys[0], { "format": "Token" }])).await;
        let data = has(&place, &[".dockerconfigjson", "token"]).await;
        assert_eq!(data["token"], token);
        assert_eq!(place.posts(), 1);
        // A type cannot be changed: the message contains the next step.
        let other = json!({ "type": null, "keys": [{ "format": "Token" }] });
        place
            .edit("c", json!({ "spec": { "target": other } }))
            .await;
        let reported = is(&place, "RenewalFailing", "True", "TargetInvalid").await;
        let types = "has the type kubernetes.io/dockerconfigjson and spec.target.type is Opaque";
        assert!(
            reported.contains(types) && reported.contains("delete the Secret"),
            "{reported}"
        );
        assert_eq!(place.posts(), 1, "no token is requested for it");
        let params = kube::api::DeleteParams::default();
        place
            .secrets()
            .delete("token", &params)
            .await
            .expect("a deletion");
        testenv::eventually(LATER, "the new type", async || {
            let secret = place.secrets().get("token").await.ok()?;
            (secret.type_.as_deref() == Some("Opaque")).then_some(())
        })
        .await;
        place.delete("c").await;
    });
}
