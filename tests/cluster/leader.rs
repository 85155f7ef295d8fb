//! Several operators on one cluster: one works, the others stand by and take over.

use std::time::Duration;

use k8s_openapi::api::{coordination::v1::Lease, rbac::v1::ClusterRoleBinding};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde_json::json;
use testenv::eventually;

use crate::support::{LATER, NAMESPACE, Operator, Recorder, World, run};

fn environment(name: &str) -> [(&'static str, String); 2] {
    [
        ("POD_NAME", name.to_owned()),
        ("APICRED_LEADER_ELECT", "true".to_owned()),
    ]
}

/// An operator that stands for the lease, under a name of its own.
pub(crate) async fn start(world: &World, name: &str) -> Operator {
    let environment = environment(name);
    Operator::start(
        world.operator_kubeconfig(),
        &environment,
        world.next_log(name),
    )
    .await
}

/// Name of the operator that leads.
pub(crate) async fn leader(world: &World) -> Option<String> {
    let api: Api<Lease> = Api::namespaced(world.admin.clone(), NAMESPACE);
    let spec = api.get_opt("apicred").await.ok()??.spec?;
    let holder = spec.holder_identity?;
    Some(holder.split('_').next()?.to_owned()).filter(|h| !h.is_empty())
}

pub(crate) async fn leads(world: &World, name: &str, within: Duration) {
    eventually(within, format!("{name} to lead"), async || {
        (leader(world).await.as_deref() == Some(name)).then_some(())
    })
    .await;
}

#[test]
fn one_works_the_others_take_over_after_an_end_and_after_a_crash() {
    run(async {
        let world = World::own().await;
        let first = start(&world, "first").await;
        leads(&world, "first", LATER).await;
        let place = world.place("leader").await;
        let second = start(&world, "second").await;
        let third = start(&world, "third").await;
        let recorder = Recorder::of(&place, "token");
        place.create("c", json!({})).await;
        place.ready("c").await;
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        assert_eq!(place.posts(), 1, "three operators, one token");

        let (status, _) = first.terminate().await;
        assert!(status.success(), "{status:?}");
        // So nobody waits for the end of the lease.
        assert!(world.operator_logs().contains("lease given back"));
        let next = eventually(LATER, "another leader", async || {
            leader(&world).await.filter(|l| l != "first")
        })
        .await;
        let old = place.view("token").await.expect("a token");
        place.request_renewal("c").await;
        place.another_token("token", &old).await;

        let (leading, standing) = if next == "second" {
            (second, third)
        } else {
            (third, second)
        };
        let other = if next == "second" { "third" } else { "second" };
        leading.kill().await;
        leads(&world, other, LATER).await;
        let old = place.view("token").await.expect("a token");
        place.request_renewal("c").await;
        place.another_token("token", &old).await;
        place.ready("c").await;
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        assert_eq!(place.posts(), 3, "no take-over costs a token");
        recorder.finish(&place);
        drop(standing);
    });
}

#[test]
fn a_leader_that_slept_past_its_lease_harms_nothing_and_ends() {
    run(async {
        let world = World::own().await;
        let mut sleeper = start(&world, "sleeper").await;
        leads(&world, "sleeper", LATER).await;
        let place = world.place("sleeper").await;
        place.create("c", json!({})).await;
        place.ready("c").await;
        let _other = start(&world, "other").await;
        let recorder = Recorder::of(&place, "token");
        // Asleep in the middle of a rotation: its request is out when it stops.
        let hold = place
            .issuer
            .hold(&place.client, dev_issuer::Point::BeforeAnswer);
        let old = place.view("token").await.expect("a token");
        place.request_renewal("c").await;
        hold.reached().await;
        sleeper.signal("STOP").await;
        hold.release();
        leads(&world, "other", LATER).await;
        place.another_token("token", &old).await;
        place.ready("c").await;
        let published = place.view("token").await.expect("a token");
        sleeper.signal("CONT").await;
        eventually(LATER, "the end of the sleeper", async || {
            sleeper.ended().map(|status| assert!(!status.success()))
        })
        .await;
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        let now = place.view("token").await.expect("a token");
        assert_eq!(now.token, published.token, "O4: a late write came through");
        recorder.finish(&place);
        assert_eq!(leader(&world).await.as_deref(), Some("other"));
    });
}

#[test]
fn a_standby_is_ready_only_if_it_could_work() {
    run(async {
        let world = World::own().await;
        let _first = start(&world, "first").await;
        leads(&world, "first", LATER).await;
        let bindings: Api<ClusterRoleBinding> = Api::all(world.admin.clone());
        let mut binding = bindings.get("apicred").await.expect("the chart's binding");
        let params = DeleteParams::default();
        bindings.delete("apicred", &params).await.expect("it goes");
        let log = world.next_log("second");
        let second =
            Operator::launch(world.operator_kubeconfig(), &environment("second"), log).await;
        eventually(LATER, "the missing right", async || {
            let (code, said) = second.get("/readyz").await?;
            (code == 503 && said.contains("the operator's role lacks list on")).then_some(())
        })
        .await;
        binding.metadata.resource_version = None;
        binding.metadata.uid = None;
        let params = PostParams::default();
        bindings
            .create(&params, &binding)
            .await
            .expect("it is back");
        eventually(LATER, "a standby that could work", async || {
            (second.get("/readyz").await?.0 == 200).then_some(())
        })
        .await;
        assert_eq!(leader(&world).await.as_deref(), Some("first"));
    });
}
