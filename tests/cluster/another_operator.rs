//! Two operators that watch the whole cluster: a mistake that must cost no token and cause no endless changes.

use std::time::Duration;

use dev_issuer::RefreshPolicy;
use serde_json::json;
use testenv::eventually;

use crate::{
    plugin::ADA,
    support::{LATER, Operator, World, condition, run},
};

/// Credentials whose first token both may request at once.
const SIGN_INS: usize = 4;
/// Changes of the source that have no effect.
const TOUCHES: usize = 5;

#[test]
fn a_second_operator_is_reported_once_and_costs_no_token() {
    run(async {
        let mut world = World::own().await;
        world.start_operator().await;
        let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/apicred");
        let install = [
            "install",
            "second",
            chart,
            "--namespace",
            "second",
            "--create-namespace",
            "--set",
            "replicas=0,crds.install=false,rbac.aggregate=false,fullnameOverride=second",
        ];
        world
            .cluster
            .helm(&install)
            .await
            .expect("a second release");
        let account =
            world
                .cluster
                .service_account_kubeconfig("second", "second", Duration::from_hours(1));
        let kubeconfig = account.await.expect("a kubeconfig");
        let environment = [("POD_NAMESPACE", "second".to_owned())];
        let log = world.next_log("second");
        let second = Operator::start(&kubeconfig, &environment, log).await;
        // A token from before it leads may be its own, written with a key that was lost.
        eventually(LATER, "the second one leads", async || {
            (second.sum("apicred_leader").await == 1).then_some(())
        })
        .await;
        let place = world.place("two-operators").await;
        place.create("c", json!({})).await;
        place.ready("c").await;
        place
            .until("c", "the report", |c| {
                condition(c, "RenewalFailing").filter(|f| f.reason == "AnotherOperator")
            })
            .await;
        let token = place.ready("c").await.token;
        // Both may have requested the first one.
        let posts = place.posts();
        assert!(posts <= 2, "{posts}");
        for touch in 0..TOUCHES {
            let label = json!({ "metadata": { "labels": { "touched": touch.to_string() } } });
            place.edit_secret("source", label).await;
            world.stays_quiet(&place, Duration::from_secs(1)).await;
        }
        assert_eq!(place.posts(), posts, "a label brought a token");
        assert_eq!(place.ready("c").await.token, token);
        let foreign = world.operator().sum("apicred_foreign_writes_total").await
            + second.sum("apicred_foreign_writes_total").await;
        assert_eq!(foreign, 1);
        eventually(LATER, "one event", async || {
            let events = place.events("c").await;
            let reported = events.iter().filter(|e| e.1 == "AnotherOperator").count();
            (reported == 1)
                .then_some(())
                .ok_or_else(|| format!("{events:?}"))
        })
        .await;
        // The operator that wrote the token continues; a renewal by it is not a conflict.
        let first = place.ready("c").await;
        place.request_renewal("c").await;
        place.another_token("token", &first).await;
        world.stays_quiet(&place, Duration::from_secs(2)).await;
        assert_eq!(place.posts(), posts + 1);
        refresh_tokens_are_used_once(&world).await;
        second.kill().await;
    });
}

/// Credentials whose first token needs a refresh token that the issuer accepts only once: a second use would end the sign-in.
async fn refresh_tokens_are_used_once(world: &World) {
    let place = world.place("two-refresh").await;
    let mut client = place.oauth_client();
    client.refresh_policy = Some(RefreshPolicy::RotateWithReuseDetection);
    place.add_client(client);
    let oidc = json!({ "issuerUrl": place.issuer.generic_issuer() });
    place
        .put_issuer(place.issuer_spec(json!({ "oidc": oidc })))
        .await;
    place.issuer_ready().await;
    for number in 0..SIGN_INS {
        let (name, state) = (format!("c-{number}"), format!("state-{number}"));
        let token =
            place
                .issuer
                .issue_generic_refresh_token(&place.client, ADA, "records offline_access");
        place.put_secret(&state, "refresh_token", &token).await;
        let note = json!({ "metadata": { "annotations": { "apicred.dev/state-of": name } } });
        place.edit_secret(&state, note).await;
        let reference = json!({ "name": state, "key": "refresh_token" });
        let spec = json!({
            "grant": { "refreshToken": { "secretRef": reference } },
            "scopes": ["records"], "target": { "secretName": name },
        });
        place.create(&name, spec).await;
        place.ready(&name).await;
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        assert!(place.issuer.family_alive(&token), "used twice: {name}");
    }
}
