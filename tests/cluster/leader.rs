//! Several operators on one cluster: one is active, the others are on standby and take over.

use std::time::Duration;

use k8s_openapi::api::{
    coordination::v1::Lease,
    rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role},
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use testenv::eventually;

use crate::support::{LATER, NAMESPACE, Operator, Recorder, World, run};

pub(crate) fn environment(name: &str) -> [(&'static str, String); 2] {
    [
        ("POD_NAME", name.to_owned()),
        ("APICRED_LEADER_ELECT", "true".to_owned()),
    ]
}

/// An operator that competes for the lease, under its own name.
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
        // So no replica waits until the lease expires.
        assert!(world.operator_logs().contains("lease released"));
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
fn a_restarted_container_leads_at_once_if_the_process_before_it_has_ended() {
    run(async {
        let world = World::own().await;
        let file = world.cluster.dir().join("instance").display().to_string();
        let container = async |lifetime: &str| {
            let mut environment = environment("pod").to_vec();
            environment.push(("APICRED_INSTANCE_FILE", file.clone()));
            let log = world.next_log(lifetime);
            let started =
                Operator::start(world.operator_kubeconfig(), &environment, log.clone()).await;
            (started, log)
        };
        let text = |log: &std::path::PathBuf| std::fs::read_to_string(log).unwrap_or_default();
        let (first, _) = container("first").await;
        leads(&world, "pod", LATER).await;
        first.kill().await;

        // It is ready before it leads, as a standby is.
        let (second, log) = container("second").await;
        eventually(LATER, "the second process leads", async || {
            text(&log).contains("\"leading\"").then_some(())
        })
        .await;
        assert!(!text(&log).contains("on standby"), "{}", text(&log));

        // One that is suspended has not ended, and its Lease is valid.
        second.signal("STOP").await;
        let (third, log) = container("third").await;
        eventually(LATER, "the third process waits", async || {
            text(&log).contains("on standby").then_some(())
        })
        .await;
        assert!(
            text(&log).contains("another process holds the lock"),
            "{}",
            text(&log)
        );
        second.kill().await;
        third.kill().await;
    });
}

#[test]
fn a_leader_that_was_suspended_beyond_its_lease_writes_nothing_and_ends() {
    run(async {
        let world = World::own().await;
        let mut sleeper = start(&world, "sleeper").await;
        leads(&world, "sleeper", LATER).await;
        let place = world.place("sleeper").await;
        place.create("c", json!({})).await;
        place.ready("c").await;
        let _other = start(&world, "other").await;
        let recorder = Recorder::of(&place, "token");
        // Suspended in the middle of a rotation: its request is in flight when it stops.
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
            let (code, body) = second.get("/readyz").await?;
            (code == 503 && body.contains("the operator's role lacks list on")).then_some(())
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

/// These rules without a verb on a resource.
pub(crate) fn without(rules: &[PolicyRule], verb: &str, resource: &str) -> Vec<PolicyRule> {
    let mut rules = rules.to_vec();
    let of = rules.iter_mut().filter(|rule| {
        let resources = rule.resources.iter().flatten();
        resources.into_iter().any(|r| r == resource) && rule.verbs.iter().any(|v| v == verb)
    });
    let count = of.map(|rule| rule.verbs.retain(|v| v != verb)).count();
    assert_eq!(count, 1, "{verb} on {resource}");
    // The API server refuses an empty list of verbs.
    rules.retain(|rule| !rule.verbs.is_empty());
    rules
}

/// Waits until a standby that is not Ready reports that it lacks this right.
pub(crate) async fn lacks(standby: &Operator, verb: &str, resource: &str) {
    let what = format!("that {verb} on {resource} is missing");
    let missing = format!("the operator's role lacks {verb} on {resource}");
    eventually(LATER, what, async || {
        let (code, body) = standby.get("/readyz").await.ok_or("no answer")?;
        if code == 503 && body.contains(&missing) {
            Ok(())
        } else {
            Err(format!("{code} {body}"))
        }
    })
    .await;
}

pub(crate) async fn could_work(standby: &Operator) {
    eventually(LATER, "a standby that could work", async || {
        let (code, body) = standby.get("/readyz").await.ok_or("no answer")?;
        if code == 200 { Ok(()) } else { Err(body) }
    })
    .await;
}

/// Rights that no list checks.
pub(crate) const NEEDED: [(&str, &str); 10] = [
    ("patch", "secrets"),
    ("create", "secrets"),
    ("get", "secrets"),
    ("watch", "apicredentials"),
    ("patch", "apicredentials"),
    ("patch", "apicredentials/status"),
    ("watch", "apiclients"),
    ("patch", "apiclients/status"),
    ("patch", "tokenissuers/status"),
    ("create", "events"),
];

#[test]
fn a_standby_that_may_not_write_is_not_ready() {
    run(async {
        let world = World::own().await;
        let _first = start(&world, "first").await;
        leads(&world, "first", LATER).await;
        let (params, patch) = (PatchParams::default(), |rules: &[PolicyRule]| {
            Patch::Merge(json!({ "rules": rules }))
        });
        let roles: Api<ClusterRole> = Api::all(world.admin.clone());
        let role = roles.get("apicred").await.expect("the chart's role");
        let all = role.rules.unwrap_or_default();
        let log = world.next_log("second");
        let mut second = None;
        for (verb, resource) in NEEDED.into_iter().chain([
            ("patch", "clustertokenissuers/status"),
            ("watch", "namespaces"),
        ]) {
            let less = patch(&without(&all, verb, resource));
            let patched = roles.patch("apicred", &params, &less).await;
            patched.expect("an edit");
            if second.is_none() {
                let environment = environment("second");
                let kubeconfig = world.operator_kubeconfig();
                second = Some(Operator::launch(kubeconfig, &environment, log.clone()).await);
            }
            lacks(second.as_ref().expect("it runs"), verb, resource).await;
        }
        let second = second.expect("it runs");
        // The right on its Lease, in its own namespace.
        let own: Api<Role> = Api::namespaced(world.admin.clone(), NAMESPACE);
        let home = own.get("apicred").await.expect("the chart's role");
        let home = home.rules.unwrap_or_default();
        let less = patch(&without(&home, "update", "leases"));
        own.patch("apicred", &params, &less).await.expect("an edit");
        let patched = roles.patch("apicred", &params, &patch(&all)).await;
        patched.expect("an edit");
        lacks(&second, "update", "leases").await;
        let patched = own.patch("apicred", &params, &patch(&home)).await;
        patched.expect("an edit");
        could_work(&second).await;
    });
}

/// A cluster without the role `system:basic-user`: the API server does not report the allowed rights, so only the lists are checked.
#[test]
fn a_standby_that_may_not_review_its_rights_is_ready_by_its_lists() {
    run(async {
        let world = World::own().await;
        let _first = start(&world, "first").await;
        leads(&world, "first", LATER).await;
        let bindings: Api<ClusterRoleBinding> = Api::all(world.admin.clone());
        for name in [
            "system:basic-user",
            "system:discovery",
            "system:public-info-viewer",
        ] {
            let gone = bindings.delete(name, &DeleteParams::default()).await;
            gone.expect("it is there by default");
        }
        let mark = world.mark();
        let second = start(&world, "second").await;
        could_work(&second).await;
        let refused = world.all_since(mark);
        let refused = refused.0.iter().filter(|e| e.code == 403);
        assert!(refused.count() > 0, "it was not asked");
    });
}
