//! Fields of an answer other than the token (`format: AnswerField`), and permissions of a token that are not expected
//! (`expect.exact`).

use dev_issuer::User;
use serde_json::json;
use testenv::eventually;

use crate::support::{SOON, World, condition, run};

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
