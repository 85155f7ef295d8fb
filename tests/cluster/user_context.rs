//! Tokens of a user: refresh token, on behalf of, and password.

use std::time::Duration;

use dev_issuer::User;
use serde_json::{Value, json};

use super::systems::{PASSWORD, place, user, works};
use crate::support::{Place, World, condition, run};

/// A credential for a user at Entra.
fn of_user(api: &str, more: &Value) -> Value {
    let mut spec = json!({
        "client": { "secrets": null, "public": {} },
        "grant": { "refreshToken": { "secretRef": { "name": "state", "key": "refresh_token" } } },
        "scopes": null, "api": api,
    });
    for (key, value) in more.as_object().expect("an object") {
        spec[key] = value.clone();
    }
    spec
}

#[test]
fn user_context_by_refresh_token_at_entra() {
    run(async {
        let world = World::shared().await;
        for (label, api, scopes, call) in [
            (
                "mcas-user",
                "CloudAppSecurity",
                Value::Null,
                ("cloudapps", "v1/alerts"),
            ),
            (
                "mdca-user",
                "DefenderForCloudApps",
                json!(["Investigation.Read"]),
                ("cloudapps", "v1/alerts"),
            ),
            (
                "mde-user",
                "DefenderForEndpoint",
                json!(["Alert.Read"]),
                ("endpoint", "alerts"),
            ),
        ] {
            let place = place(world, label).await;
            place.add_client(
                dev_issuer::Client::new(&place.client)
                    .public()
                    .scope("cloudapps", "Investigation.Read")
                    .scope("endpoint", "Alert.Read"),
            );
            let token = place.issuer.issue_refresh_token(
                &place.client,
                &user(label),
                "05a65629-4c1b-48c1-a78b-804c4abdd4af/.default offline_access",
            );
            place.put_secret("state", "refresh_token", &token).await;
            let note = json!({ "metadata": { "annotations": { "apicred.dev/state-of": "c" } } });
            place.edit_secret("state", note).await;
            place
                .create("c", of_user(api, &json!({ "scopes": scopes })))
                .await;
            let view = place.ready("c").await;
            assert!(view.claims["scp"].is_string(), "a user's token");
            assert_eq!(
                place.call(call.0, call.1, &view.token).await,
                200,
                "{label}"
            );
            // Entra ID allows a second use, so nothing is marked.
            let state = place.secrets().get("state").await.expect("the state");
            // The answer contains another refresh token only if one was requested.
            let data = state.data.as_ref().expect("data");
            assert_ne!(data["refresh_token"].0, token.as_bytes(), "{label}");
            let notes = state.metadata.annotations.unwrap_or_default();
            assert!(!notes.contains_key("apicred.dev/in-flight-since"));
            place.issuer.revoke_sign_ins(&user(label));
            place.request_renewal("c").await;
            let late = place
                .until("c", "a user is required", |c| {
                    condition(c, "RenewalFailing").filter(|r| r.status == "True")
                })
                .await;
            assert!(
                late.message.contains("kubectl apicred login c"),
                "{}",
                late.message
            );
        }
    });
}

/// A ClusterTokenIssuer accepts no password unless its administrator allows it.
async fn allow_passwords(place: &Place) {
    let mut spec = place.entra_issuer();
    spec["allowedGrants"] = json!(["OnBehalfOf", "Password"]);
    place.put_issuer(spec).await;
    place.issuer_ready().await;
}

#[test]
fn on_behalf_of_and_password_at_entra() {
    run(async {
        let world = World::shared().await;
        let label = "other-user";
        let place = place(world, label).await;
        let hour = Duration::from_hours(1);
        let assertion = place
            .issuer
            .issue_user_token(&place.client, &user(label), hour);
        place.put_secret("assertion", "token", &assertion).await;
        let grant =
            json!({ "onBehalfOf": { "assertionRef": { "name": "assertion", "key": "token" } } });
        let spec = json!({ "grant": grant, "scopes": null, "api": "MicrosoftGraph", "target": { "secretName": "obo" } });
        place.create("obo", spec).await;
        works(&place, "obo", ("graph", "v1.0/me")).await;

        // The samples of Defender for Endpoint in user context: v1, with a password.
        allow_passwords(&place).await;
        place.put_secret("password", "password", PASSWORD).await;
        let grant = json!({ "password": { "username": user(label), "passwordRef": { "name": "password", "key": "password" } } });
        let spec = json!({ "grant": grant, "scopes": null, "api": "DefenderForEndpoint", "endpointVersion": "V1", "target": { "secretName": "ropc" } });
        place.create("ropc", spec).await;
        works(&place, "ropc", ("endpoint", "alerts")).await;
    });
}

#[test]
fn a_refused_password_is_not_tried_again_even_by_another_process() {
    run(async {
        let mut world = World::own().await;
        world.start_operator().await;
        let label = "locked";
        let place = place(&world, label).await;
        allow_passwords(&place).await;
        place
            .put_secret("password", "password", "wrong~password.of-this-test")
            .await;
        let grant = json!({ "password": { "username": user(label), "passwordRef": { "name": "password", "key": "password" } } });
        let spec = json!({ "grant": grant, "scopes": null, "api": "MicrosoftGraph" });
        place.create("c", spec).await;
        place
            .until("c", "refused with 50126", |c| {
                let status = c.status.as_ref()?;
                let last = status.last_attempt.as_ref()?;
                (last.code.as_deref() == Some("AADSTS50126") && status.next_attempt.is_none())
                    .then_some(())
            })
            .await;
        let before = place.posts();
        world.stays_quiet(&place, Duration::from_secs(2)).await;
        world.kill_operator().await;
        world.start_operator().await;
        place.operator_has_seen_it().await;
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        assert_eq!(place.posts(), before, "each try counts towards a lockout");
        place.put_secret("password", "password", PASSWORD).await;
        works(&place, "c", ("graph", "v1.0/me")).await;
    });
}

#[test]
fn what_a_user_has_to_do_is_reported() {
    run(async {
        let world = World::shared().await;
        let label = "mfa";
        let place = place(world, label).await;
        place
            .issuer
            .add_user(User::new(user(label), PASSWORD).needs_mfa())
            .expect("a user");
        let assertion =
            place
                .issuer
                .issue_user_token(&place.client, &user(label), Duration::from_hours(1));
        place.put_secret("assertion", "token", &assertion).await;
        let grant =
            json!({ "onBehalfOf": { "assertionRef": { "name": "assertion", "key": "token" } } });
        place
            .create(
                "c",
                json!({ "grant": grant, "scopes": null, "api": "MicrosoftGraph" }),
            )
            .await;
        place
            .until("c", "a user is needed", |c| {
                let last = c.status.as_ref()?.last_attempt.as_ref()?;
                (last.code.as_deref() == Some("AADSTS50076")
                    && last.error.as_deref() == Some("interaction_required"))
                .then_some(())
            })
            .await;
    });
}
