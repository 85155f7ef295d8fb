//! API servers behind a wire: one connection that is dead without a reset (F12, F13), and one to a server
//! that is cut off from its store and has only old data (F16).

use std::time::Duration;

use serde_json::json;
use testenv::eventually;

use crate::{
    relay::Relay,
    scenario::{Case, Mode, in_both_modes, world},
    servers::{FRAGILE, fragile},
    support::{LATER, World, run},
};

/// The bound on a silent connection in this test. In the program it is 230 s, longer than any watch.
const SILENCE: Duration = Duration::from_secs(5);

#[test]
fn connections_without_data_are_closed_and_cost_no_token() {
    run(in_both_modes(async |mode| {
        let world = world().await;
        let relay = Relay::to(world.cluster.server_url()).await;
        let folder = tempfile::tempdir().expect("a folder");
        let mut case = Case::within(world, "f13-frozen", mode).await;
        case.kubeconfig = folder.path().join("config");
        relay.kubeconfig(world.operator_kubeconfig(), &case.kubeconfig);
        case.silence = Some(SILENCE);
        case.start();
        case.place.create("c", json!({})).await;
        let mut last = case.until_ready(None).await;
        for round in 1..=2 {
            case.stays_quiet(Duration::from_millis(300)).await;
            relay.freeze();
            // Reported on a watch that is dead.
            let renewal_id = case.place.request_renewal("c").await;
            last = case.until_ready(Some((&last, Some(&renewal_id)))).await;
            assert_eq!(case.place.posts(), 1 + round, "O3");
        }
        case.stays_quiet(Duration::from_secs(1)).await;
        case.stop().await;
    }));
}

/// The operator switches from a server with the newest data to one that was cut off from etcd before its last writes, first with
/// its cache, and then as a new process without one.
#[test]
fn no_decision_is_made_on_old_data_of_the_api_server() {
    run(async {
        let mut world = FRAGILE.lock().await;
        let world = fragile(&mut world).await;
        for mode in Mode::BOTH {
            serves_only_old_data(world, mode).await;
        }
    });
}

async fn serves_only_old_data(world: &World, mode: Mode) {
    let store = Relay::to(&world.cluster.etcd_url()).await;
    let etcd = format!("http://{}", store.address());
    let past = world.cluster.another_apiserver(&etcd).await;
    let past = past.expect("another API server");
    let relay = Relay::to(world.cluster.server_url()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut case = Case::within(world, "f16", mode).await;
    case.kubeconfig = folder.path().join("config");
    relay.kubeconfig(world.operator_kubeconfig(), &case.kubeconfig);
    case.start();
    // In the old data of the other server there is a credential, and no Secret.
    let suspended = json!({ "suspend": true });
    case.place.create("c", suspended).await;
    case.stays_quiet(Duration::from_secs(1)).await;
    store.pause();
    case.place
        .edit("c", json!({ "spec": { "suspend": false } }))
        .await;
    let first = case.until_ready(None).await;
    let second = case.place.request_renewal("c").await;
    let second = case.until_ready(Some((&first, Some(&second)))).await;
    case.stays_quiet(Duration::from_millis(300)).await;

    let requests = |case: &Case, verb: &str| {
        let journal = case.wire.journal();
        journal.iter().filter(|e| e.call.verb == verb).count()
    };
    let before = requests(&case, "watch");
    relay.lead_to(past.url());
    eventually(LATER, "five watches there", async || {
        requests(&case, "watch") >= before + 5
    })
    .await;
    let renewal_id = case.place.request_renewal("c").await;
    case.stays_quiet(Duration::from_secs(1)).await;
    assert_eq!(case.place.posts(), 2, "with what it knows");
    case.kill().await;
    let before = requests(&case, "list");
    case.start();
    eventually(LATER, "five lists there", async || {
        requests(&case, "list") >= before + 5
    })
    .await;
    case.stays_quiet(Duration::from_secs(1)).await;
    assert_eq!(case.place.posts(), 2, "with what that server knows");
    let view = case.place.view("token").await.expect("the Secret");
    assert_eq!(view.version, second.version, "O1");

    store.go_on();
    case.until_ready(Some((&second, Some(&renewal_id)))).await;
    assert_eq!(case.place.posts(), 3, "O3");
    case.stays_quiet(Duration::from_millis(500)).await;
    case.stop().await;
}
