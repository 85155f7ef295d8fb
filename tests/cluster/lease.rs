//! A Lease that is deleted, edited by hand, or kept from the operators (F05), and one that is lost again and again (F06).

use std::time::Duration;

use k8s_openapi::api::{coordination::v1::Lease, rbac::v1::RoleBinding};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use testenv::eventually;

use crate::{
    leader::{leader, leads, start},
    support::{LATER, NAMESPACE, Operator, Place, World, run},
};

/// How often the Lease is taken away.
const TIMES: usize = 10;

fn leases(world: &World) -> Api<Lease> {
    Api::namespaced(world.admin.clone(), NAMESPACE)
}

/// Writes a holder into the Lease that nobody knows, who asks to be believed for so long.
async fn give_to_the_dead(world: &World, seconds: u32) {
    let spec = json!({ "holderIdentity": "dead", "leaseDurationSeconds": seconds });
    let patch = Patch::Merge(json!({ "spec": spec }));
    let params = PatchParams::default();
    let patched = leases(world).patch("apicred", &params, &patch).await;
    patched.expect("an edit");
}

/// Waits until it has ended, and not well: what holds no lease must not go on.
async fn gives_up(operator: &mut Operator, name: &str) {
    eventually(LATER, format!("the end of {name}"), async || {
        operator.ended().map(|status| assert!(!status.success()))
    })
    .await;
}

/// Whoever leads does what is asked.
async fn works(place: &Place) {
    let old = place.view("token").await.expect("a token");
    place.request_renewal("c").await;
    place.another_token("token", &old).await;
}

#[test]
fn a_lease_that_is_deleted_or_given_to_the_dead_finds_one_leader_again() {
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
        // The one finds its Lease gone and ends, or takes it up again before the other sees that.
        let now = eventually(LATER, "a leader", async || {
            let now = leader(&world).await?;
            (now == "first" || first.ended().is_some()).then_some(now)
        })
        .await;
        works(&place).await;
        assert_eq!(place.posts(), 2, "{now} leads");

        let third = start(&world, "third").await;
        give_to_the_dead(&world, 3).await;
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
fn a_leader_that_may_not_touch_its_lease_gives_up_and_nobody_leads_until_it_may_again() {
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
        // Nobody may look, so nobody may work.
        place.request_renewal("c").await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(place.posts(), 1, "a token was asked for without a lease");
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
            give_to_the_dead(&world, 1).await;
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
