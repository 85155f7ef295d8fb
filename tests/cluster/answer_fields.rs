//! Fields of an answer other than the token (`format: AnswerField`), and permissions of a token that are not expected
//! (`expect.exact`).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use dev_issuer::User;
use jiff::Timestamp;
use serde_json::json;
use testenv::eventually;

use crate::support::{Listener, SOON, World, condition, reply, run};

#[test]
fn an_id_token_is_a_file_beside_the_access_token() {
    run(async {
        let world = World::shared().await;
        let place = world.place("id-token").await;
        let user = "ada@id-token.example";
        let password = "ada~password.with-an-id-token";
        place.canaries.add(password);
        let added = place.issuer.add_user(User::new(user, password));
        added.expect("a user");
        let oidc = json!({ "issuerUrl": place.issuer.generic_issuer() });
        let spec = place.issuer_spec(json!({ "oidc": oidc, "allowedGrants": ["Password"] }));
        place.put_issuer(spec).await;
        place.issuer_ready().await;
        place.put_secret("password", "password", password).await;
        let reference = json!({ "name": "password", "key": "password" });
        let key =
            |key: &str, field: &str| json!({ "format": "AnswerField", "key": key, "field": field });
        let spec = json!({
            "grant": { "password": { "username": user, "passwordRef": reference } },
            "scopes": ["openid", "read"], "audience": "api://demo",
            "target": { "keys": [{ "format": "Token" }] },
        });
        place.create("c", spec).await;
        place
            .until("c", "ready", |c| {
                condition(c, "Ready").filter(|r| r.status == "True")
            })
            .await;
        // A field that no file contains is only in another answer.
        let keys =
            json!([{ "format": "Token" }, key("id.jwt", "id_token"), key("seconds", "expires_in")]);
        place
            .edit("c", json!({ "spec": { "target": { "keys": keys } } }))
            .await;
        let files = eventually(SOON, "three files", async || {
            let secret = place.secrets().get("token").await;
            let data = secret.map_err(|e| e.to_string())?.data.unwrap_or_default();
            let text = |key: &str| {
                let bytes = data.get(key).map(|value| value.0.clone());
                String::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
            };
            let files = [text("token"), text("id.jwt"), text("seconds")];
            if files.iter().all(|file| !file.is_empty()) {
                Ok(files)
            } else {
                Err(format!("{:?}", data.keys().collect::<Vec<_>>()))
            }
        })
        .await;
        let [token, id, seconds] = files;
        assert_eq!(place.call("demo", "whoami", &token).await, 200);
        assert_eq!(id.split('.').count(), 3, "a JWT");
        assert_ne!(id, token);
        assert!(seconds.parse::<u32>().expect("a number") > 60);
        // A field that the answer does not have is reported, and the last token stays.
        let keys = json!([{ "format": "Token" }, key("else", "there_is_no_such_field")]);
        place
            .edit("c", json!({ "spec": { "target": { "keys": keys } } }))
            .await;
        let failing = place
            .until("c", "the missing field is reported", |c| {
                condition(c, "RenewalFailing").filter(|f| f.reason == "FormatUnfit")
            })
            .await;
        assert!(
            failing.message.contains("there_is_no_such_field"),
            "{}",
            failing.message
        );
    });
}

/// An answer with an access token of a day, and an ID token of 20 minutes.
fn with_short_id_token() -> Vec<u8> {
    let now = Timestamp::now().as_second();
    let claims = json!({ "iat": now, "exp": now + 1200 }).to_string();
    let claims = URL_SAFE_NO_PAD.encode(claims);
    let answer = json!({
        "access_token": "Hq7.n4Vx8Lr2Tz6Wm0Kc", "token_type": "Bearer", "expires_in": 86_400,
        "id_token": format!("eyJhbGciOiJub25lIn0.{claims}.Hq7-a-signature"),
    });
    reply("200 OK", "", answer.to_string().as_bytes())
}

#[test]
fn a_published_id_token_that_ends_first_ends_the_secret() {
    run(async {
        let world = World::shared().await;
        let place = world.place("short-id-token").await;
        let listener = Listener::replying(|_| with_short_id_token());
        let oauth2 = json!({ "tokenUrl": listener.token_url });
        let spec = json!({
            "oauth2": oauth2, "caBundle": listener.ca_pem, "network": { "allowedCidrs": ["127.0.0.1/32"] },
            "allowedNamespaces": { "names": [place.namespace] },
        });
        place.put_issuer(spec).await;
        place.put_source("Hq7~9fK2mX4vB8nR1tZ6wQ3e").await;
        let id = json!({ "format": "AnswerField", "key": "id.jwt", "field": "id_token" });
        let with = json!([{ "format": "Token" }, { "format": "ExpiresAt" }, id]);
        let without = json!([{ "format": "Token" }, { "format": "ExpiresAt" }]);
        for (name, keys, longest) in [("with", with, 1200), ("without", without, 86_400)] {
            let target = json!({ "secretName": name, "keys": keys });
            place
                .create(name, json!({ "scopes": ["read"], "target": target }))
                .await;
            let status = place
                .until(name, "ready", |c| {
                    let ready = condition(c, "Ready").is_some_and(|r| r.status == "True");
                    c.status.clone().filter(|_| ready)
                })
                .await;
            let left = |at: Timestamp| at.duration_since(Timestamp::now()).as_secs();
            let end = status.expires_at.expect("an end").0;
            assert!(
                (longest - 600..=longest).contains(&left(end)),
                "{name}: {end}"
            );
            let renewal = status.renew_at.expect("a renewal").0;
            assert!(renewal < end, "{name}: {renewal}");
            let secret = place.secrets().get(name).await.expect("a Secret");
            let file = secret.data.unwrap_or_default()["expires_at"].0.clone();
            assert_eq!(file, end.to_string().into_bytes(), "{name}");
        }
    });
}

#[test]
fn a_token_with_more_roles_than_are_expected_is_reported_and_stays() {
    run(async {
        let world = World::shared().await;
        let place = world.place("exact").await;
        let mut client = place.oauth_client();
        client = client.role("demo", "Records.Write");
        place.add_client(client);
        let expect = json!({ "roles": ["Records.Read"], "exact": true });
        place.create("c", json!({ "expect": expect })).await;
        let view = place.ready("c").await;
        assert_eq!(place.call("demo", "records", &view.token).await, 200);
        let exceeded = |c: &apicred::api::ApiCredential| condition(c, "PermissionsExceeded");
        let reported = place.until("c", "more than expected", exceeded).await;
        assert_eq!(
            (reported.status.as_str(), reported.reason.as_str()),
            ("True", "PermissionsExceeded")
        );
        assert!(
            reported.message.contains("Records.Write"),
            "{}",
            reported.message
        );
        place.add_client(place.oauth_client());
        place.request_renewal("c").await;
        place.another_token("token", &view).await;
        place
            .until("c", "no more than expected", |c| {
                exceeded(c).is_none().then_some(())
            })
            .await;
    });
}
