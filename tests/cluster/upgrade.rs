//! The lifecycle of a release with running credentials: an upgrade, a rollback, an uninstallation, and an installation with another name. No
//! Secret changes, and no token is requested.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use serde_json::json;
use testenv::eventually;

use crate::{
    clients::by_client,
    support::{NAMESPACE, Operator, Place, SOON, World, is_well, run},
};

/// The chart before most of its values were added. Until there is a release, it takes the place of the last one.
const BEFORE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/chart/data/apicred-0.1.0-before.tgz"
);
const NOW: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/apicred");
/// Credentials of the place, each with its own Secret.
const CREDENTIALS: [&str; 3] = ["plain", "formats", "by-client"];

/// Runs helm, which must succeed.
async fn helm(world: &World, args: &[&str]) {
    let done = world.cluster.helm(args).await;
    done.unwrap_or_else(|e| unreachable!("{e}"));
}

/// The target Secrets with their versions, since each write changes one, and the number of token requests.
async fn state(place: &Place) -> (Vec<Secret>, usize) {
    let mut all = Vec::new();
    for name in CREDENTIALS {
        let target = format!("t-{name}");
        all.push(place.secrets().get(&target).await.expect("a Secret"));
    }
    (all, place.posts())
}

/// The operator has reconciled every credential, and has sent and written nothing.
async fn is_quiet(
    world: &World,
    operator: &Operator,
    place: &Place,
    before: &(Vec<Secret>, usize),
) {
    eventually(SOON, "a reconciliation of every credential", async || {
        operator.reconciles().await >= 3
    })
    .await;
    world.stays_quiet(place, Duration::from_secs(1)).await;
    assert_eq!(&state(place).await, before, "a write or a token request");
}

/// Ends the operator and starts another one, as a new pod after a change of the Deployment.
async fn rolls(world: &mut World, place: &Place, before: &(Vec<Secret>, usize)) {
    world.take_operator().terminate().await;
    world.start_operator().await;
    is_quiet(world, world.operator(), place, before).await;
}

#[test]
fn an_upgrade_a_rollback_and_a_move_to_another_release_write_no_secret_and_cost_no_token() {
    run(async {
        let mut world = World::own().await;
        let in_place = ["--namespace", NAMESPACE];
        let to = |chart: &'static str| {
            let keep = ["--reset-then-reuse-values", "--set", "replicas=0"];
            [&["upgrade", "apicred", chart], &in_place[..], &keep].concat()
        };
        helm(&world, &to(BEFORE)).await;
        world.start_operator().await;
        let place = world.place("upgrade").await;
        place
            .create("plain", json!({ "target": { "secretName": "t-plain" } }))
            .await;
        let keys = json!([{ "format": "Token" }, { "format": "Authorization" }]);
        let formats = json!({ "target": { "secretName": "t-formats", "keys": keys } });
        place.create("formats", formats).await;
        place.put_client("shared", json!({})).await;
        let mut shared = by_client("by-client");
        shared["target"]["secretName"] = json!("t-by-client");
        place.create("by-client", shared).await;
        for name in CREDENTIALS {
            place
                .until(name, "ready", |c| is_well(c).then_some(()))
                .await;
        }
        let before = state(&place).await;
        is_quiet(&world, world.operator(), &place, &before).await;

        helm(&world, &to(NOW)).await;
        rolls(&mut world, &place, &before).await;
        helm(
            &world,
            &[&["rollback", "apicred", "2"], &in_place[..]].concat(),
        )
        .await;
        rolls(&mut world, &place, &before).await;
        helm(&world, &to(NOW)).await;

        world.take_operator().terminate().await;
        helm(
            &world,
            &[&["uninstall", "apicred", "--wait"], &in_place[..]].concat(),
        )
        .await;
        assert_eq!(state(&place).await, before);
        place.credentials().get("plain").await.expect("it is kept");

        // Another name in another namespace, where the key of the digests differs too.
        let owns = [
            "--take-ownership",
            "--set",
            "replicas=0,crds.checkOwner=false",
        ];
        let elsewhere = ["--namespace", "elsewhere", "--create-namespace"];
        helm(
            &world,
            &[&["install", "tokens", NOW], &elsewhere[..], &owns].concat(),
        )
        .await;
        let hour = Duration::from_hours(1);
        let kubeconfig = world
            .cluster
            .service_account_kubeconfig("elsewhere", "tokens", hour);
        let kubeconfig = kubeconfig
            .await
            .expect("the ServiceAccount of the new release");
        let environment = [("POD_NAMESPACE", "elsewhere".to_owned())];
        let log = world.next_log("moved");
        let moved = Operator::start(&kubeconfig, &environment, log).await;
        is_quiet(&world, &moved, &place, &before).await;
    });
}
