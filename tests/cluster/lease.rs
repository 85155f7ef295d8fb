//! A Lease that is deleted, edited manually, or made inaccessible to the operators (F05), and one that is lost repeatedly (F06).

use std::time::Duration;

use k8s_openapi::api::{coordination::v1::Lease, rbac::v1::RoleBinding};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use testenv::{Component, eventually};

use crate::{
    leader::{environment, leader, leads, start},
    providers::{state, user},
    support::{LATER, Listener, NAMESPACE, Operator, Place, World, run},
};

/// How often the Lease is taken away.
const TIMES: usize = 10;

fn leases(world: &World) -> Api<Lease> {
    Api::namespaced(world.admin.clone(), NAMESPACE)
}

/// Writes an unknown holder into the Lease, with a duration of so many seconds.
async fn assign_to_ended_process(world: &World, seconds: u32) {
    let spec = json!({ "holderIdentity": "dead", "leaseDurationSeconds": seconds });
    let patch = Patch::Merge(json!({ "spec": spec }));
    let params = PatchParams::default();
    let patched = leases(world).patch("apicred", &params, &patch).await;
    patched.expect("an edit");
}

/// Waits until it has ended, with an error: an operator without a lease must not continue.
async fn gives_up(operator: &mut Operator, name: &str) {
    eventually(LATER, format!("the end of {name}"), async || {
        operator.ended().map(|status| assert!(!status.success()))
    })
    .await;
}

/// The leader serves a request.
async fn works(place: &Place) {
    let old = place.view("token").await.expect("a token");
    place.request_renewal("c").await;
    place.another_token("token", &old).await;
}

#[test]
fn a_lease_that_is_deleted_or_assigned_to_an_ended_process_finds_one_leader_again() {
    run(async {
        let world = World::own().await;
        let mut first = start(&world, "first").await;
        leads(&world, "first", LATER).await;
        let place = world.place("lease").await;
        place.create("c", json!({})).await;
        place.ready("c").await;
        let mut second = start(&world, "second").await;

        let params = DeleteParams::default();
        let deleted = leases(&world).delete("apicred", &params).await;
        deleted.expect("a deletion");
        // The former leader finds that its Lease was deleted and ends, or acquires it again before the other one sees this.
        let now = eventually(LATER, "a leader", async || {
            let now = leader(&world).await?;
            (now == "first" || first.ended().is_some()).then_some(now)
        })
        .await;
        works(&place).await;
        assert_eq!(place.posts(), 2, "{now} leads");

        let third = start(&world, "third").await;
        assign_to_ended_process(&world, 3).await;
        let leading = if now == "first" {
            &mut first
        } else {
            &mut second
        };
        gives_up(leading, &now).await;
        eventually(LATER, "a living leader", async || {
            leader(&world)
                .await
                .is_some_and(|l| l != "dead" && l != now)
        })
        .await;
        works(&place).await;
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        assert_eq!(place.posts(), 3, "no change of the leader costs a token");
        drop(third);
    });
}

#[test]
fn without_access_to_the_lease_the_leader_stops_and_no_replica_leads() {
    run(async {
        let world = World::own().await;
        let mut first = start(&world, "first").await;
        leads(&world, "first", LATER).await;
        let place = world.place("refused").await;
        place.create("c", json!({})).await;
        let old = place.ready("c").await;
        let mut second = start(&world, "second").await;

        let bindings: Api<RoleBinding> = Api::namespaced(world.admin.clone(), NAMESPACE);
        let mut binding = bindings.get("apicred").await.expect("the chart's binding");
        let params = DeleteParams::default();
        bindings.delete("apicred", &params).await.expect("it goes");
        gives_up(&mut first, "first").await;
        // No process may read the Lease, so none may work.
        place.request_renewal("c").await;
        let mark = world.mark();
        eventually(LATER, "a standby that is refused again", async || {
            let tally = world.all_since(mark);
            let refused = tally
                .0
                .iter()
                .filter(|e| e.resource == "leases" && e.code == 403);
            refused.count() > 2
        })
        .await;
        assert_eq!(place.posts(), 1, "a token was requested without a lease");
        assert!(second.ended().is_none(), "a standby goes on standing by");

        binding.metadata.resource_version = None;
        binding.metadata.uid = None;
        let params = PostParams::default();
        let made = bindings.create(&params, &binding).await;
        made.expect("it is back");
        leads(&world, "second", LATER).await;
        place.another_token("token", &old).await;
        assert_eq!(place.posts(), 2);
    });
}

#[test]
fn a_lease_that_is_lost_again_and_again_costs_no_token_and_doubles_nothing() {
    run(async {
        let world = World::own().await;
        let mut operator = start(&world, "again").await;
        leads(&world, "again", LATER).await;
        let place = world.place("again").await;
        place.create("c", json!({})).await;
        let first = place.ready("c").await;
        for _ in 0..TIMES {
            assign_to_ended_process(&world, 1).await;
            gives_up(&mut operator, "it").await;
            // As the kubelet does it.
            operator = start(&world, "again").await;
            leads(&world, "again", LATER).await;
        }
        assert_eq!(place.posts(), 1);
        let mark = world.mark();
        place.request_renewal("c").await;
        place.another_token("token", &first).await;
        place.ready("c").await;
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        assert_eq!(place.posts(), 2, "one wish, one token");
        let tally = world.since(mark, &place);
        assert_eq!(tally.count("patch", "secrets"), 1, "{:?}", tally.sums());
        assert!(operator.ended().is_none());
    });
}

/// R1: the API server is unreachable from the moment at which the token is issued until the lease is lost.
#[test]
fn a_refresh_that_was_sent_is_stored_although_the_lease_is_lost() {
    run(async {
        let world = World::own().await;
        let server = world.cluster.pid_of(Component::ApiServer).to_string();
        let signal = |name: &str, pid: &str| {
            let sent = std::process::Command::new("kill")
                .args([name, pid])
                .status();
            assert!(sent.is_ok_and(|s| s.success()), "{name}");
        };
        let stopped = server.clone();
        let listener = Listener::answering("200 OK", move |_| {
            signal("-STOP", &stopped);
            json!({
                "access_token": "opaque-of-the-second", "token_type": "bearer", "expires_in": 1200,
                "refresh_token": "the-second-refresh-token",
            })
            .to_string()
        });
        let mut first = start(&world, "first").await;
        leads(&world, "first", LATER).await;
        let place = world.place("stored").await;
        place.put_token_url(&listener).await;
        place.issuer_ready().await;
        let old = "the-first-refresh-token";
        place.put_secret("state", "refresh_token", old).await;
        let of = json!({ "metadata": { "annotations": { "apicred.dev/state-of": "c" } } });
        place.edit_secret("state", of).await;
        place.create("c", user("user")).await;
        eventually(LATER, "the loss of the lease", async || {
            let (code, body) = first.get("/readyz").await?;
            (code == 503 && body.contains("the lease was lost")).then_some(())
        })
        .await;
        assert!(first.ended().is_none(), "it has something to store");
        signal("-CONT", &server);
        gives_up(&mut first, "first").await;
        let (token, notes) = state(&place).await;
        assert_eq!(token, "the-second-refresh-token");
        assert!(!notes.contains_key("apicred.dev/in-flight-since"));
        assert_eq!(
            listener.requests().len(),
            1,
            "nothing is sent without a lease"
        );
    });
}

/// B12: a read of a file that does not return, as on a mount that hangs, blocks a thread of the process.
#[test]
fn a_process_that_lost_its_lease_ends_although_a_thread_of_it_is_blocked() {
    run(async {
        let world = World::own().await;
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        let made = std::process::Command::new("mkfifo").arg(&file).status();
        assert!(made.is_ok_and(|s| s.success()), "a pipe");
        let mut environment = environment("first").to_vec();
        let variable = "AZURE_FEDERATED_TOKEN_FILE";
        environment.push((variable, file.display().to_string()));
        let log = world.next_log("first");
        let mut first = Operator::start(world.operator_kubeconfig(), &environment, log).await;
        leads(&world, "first", LATER).await;
        let place = world.place("blocked").await;
        let mut spec = place.entra_issuer();
        spec["managedIdentity"] = json!({ "workloadIdentity": {} });
        place.put_issuer(spec).await;
        place.issuer_ready().await;
        let by = json!({ "client": { "secrets": null, "managedIdentity": {} } });
        place.create("c", by).await;
        // Waits until the operator has opened the pipe; it reads then for as long as this is open.
        let open = std::fs::OpenOptions::new();
        let opens = tokio::task::spawn_blocking(move || open.clone().write(true).open(file));
        let opened = tokio::time::timeout(LATER, opens).await;
        let _open = opened
            .expect("it is read")
            .expect("a thread")
            .expect("a pipe");
        assign_to_ended_process(&world, 1).await;
        let ended = eventually(LATER, "its end", async || first.ended()).await;
        // It exits normally; the thread that ends a busy process (code 3) is not needed.
        assert_eq!(ended.code(), Some(1));
    });
}
