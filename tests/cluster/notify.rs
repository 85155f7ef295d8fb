//! `spec.target.notifyPods`: which pods are notified, when, at what cost, and with which right. No kubelet runs here; its behaviour is
//! measured on real nodes (docs/workloads.md).

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::Pod,
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use testenv::eventually;

use crate::{
    namespaced::{by_own_issuer, confine, own_issuer},
    support::{LATER, NAMESPACE, Place, SOON, SecretView, World, condition, merge, run, typed},
};

/// The annotation.
const UPDATED: &str = "apicred.dev/token-updated-at";
/// The `ClusterRole` of the chart.
const ROLE: &str = "apicred-notify-pods";
/// Pods of a storm: more than a page of a list.
const MANY: usize = 520;

fn pods(place: &Place) -> Api<Pod> {
    Api::namespaced(place.kube.clone(), &place.namespace)
}

fn pod(name: &str, app: &str) -> Pod {
    typed(json!({
        "metadata": { "name": name, "labels": { "app": app }, "annotations": { "owner": "team" } },
        "spec": { "containers": [{ "name": "app", "image": "app.example/app:1" }], "automountServiceAccountToken": false },
    }))
}

pub(crate) async fn create(place: &Place, name: &str, app: &str) {
    // A controller creates the ServiceAccount `default`.
    let made = async || {
        pods(place)
            .create(&PostParams::default(), &pod(name, app))
            .await
    };
    eventually(SOON, "a pod", async || made().await.map(drop)).await;
}

pub(crate) fn notifying(app: &str) -> Value {
    json!({ "target": { "notifyPods": { "selector": { "matchLabels": { "app": app } } } } })
}

/// Grants the operator its rights in a namespace, and waits until they are effective.
async fn allow(world: &World, place: &Place) {
    let (there, role) = (place.namespace.as_str(), format!("--clusterrole={ROLE}"));
    let account = format!("--serviceaccount={NAMESPACE}:apicred");
    let bind = ["create", "rolebinding", ROLE, "-n", there, &role, &account];
    world.cluster.kubectl(&bind).await.expect("a binding");
    allowed(world, place).await;
}

/// Runs the command at the end of a message.
pub(crate) async fn run_reported(world: &World, message: &str) {
    let (_, command) = message.split_once("kubectl ").expect(message);
    let command: Vec<&str> = command.split(' ').collect();
    world.cluster.kubectl(&command).await.expect(message);
}

/// Grants the right as a message describes it, and requests the next token. Returns when it was issued.
async fn renewed_with_right(
    world: &World,
    place: &Place,
    (message, view): (&str, &SecretView),
) -> Timestamp {
    run_reported(world, message).await;
    allowed(world, place).await;
    place.request_renewal("c").await;
    let view = place.another_token("token", view).await;
    view.annotations["apicred.dev/issued-at"]
        .parse()
        .expect("a time")
}

async fn allowed(world: &World, place: &Place) {
    let user = format!("--as=system:serviceaccount:{NAMESPACE}:apicred");
    for verb in ["list", "patch"] {
        let can_i = ["auth", "can-i", verb, "pods", "-n", &place.namespace, &user];
        let can_i = || world.cluster.kubectl(&can_i);
        eventually(SOON, "the right", async || can_i().await.map(drop)).await;
    }
}

/// Pods with the time in their annotation.
pub(crate) async fn noted(place: &Place) -> BTreeMap<String, Option<Timestamp>> {
    let list = pods(place).list(&ListParams::default()).await;
    let list = list.expect("pods").into_iter();
    list.map(|pod| {
        let noted = pod
            .annotations()
            .get(UPDATED)
            .map(|t| t.parse().expect("a time"));
        (pod.name_any(), noted)
    })
    .collect()
}

/// Waits until these pods are notified of a write since `since`.
async fn notified(place: &Place, names: &[&str], since: Timestamp) {
    eventually(SOON, "the notification", async || {
        let noted = noted(place).await;
        let knows = |name: &&str| noted.get(*name).copied().flatten() >= Some(since);
        if names.iter().all(knows) {
            Ok(())
        } else {
            Err(format!("{noted:?}"))
        }
    })
    .await;
}

#[test]
fn the_pods_of_a_selector_are_notified_after_each_write_and_nothing_else_of_them_changes() {
    run(async {
        let world = World::shared().await;
        let place = world.place("notify").await;
        allow(world, &place).await;
        for (name, app) in [("a-1", "a"), ("a-2", "a"), ("b-1", "b")] {
            create(&place, name, app).await;
        }
        let before = pods(&place).get("a-1").await.unwrap();
        let mark = world.mark();
        place.create("c", notifying("a")).await;
        let mut view = place.ready("c").await;
        for round in 1..=3 {
            let issued: Timestamp = view.annotations["apicred.dev/issued-at"].parse().unwrap();
            // Two tokens may be issued in one second.
            let tally = eventually(SOON, "the notification", async || {
                let tally = world.since(mark, &place);
                let done = tally.count("patch", "pods") >= 2 * round;
                if done {
                    Ok(tally)
                } else {
                    Err(format!("{:?}", tally.sums()))
                }
            })
            .await;
            notified(&place, &["a-1", "a-2"], issued).await;
            assert_eq!(noted(&place).await["b-1"], None, "it is not selected");
            assert_eq!(tally.count("list", "pods"), round, "{:?}", tally.sums());
            assert_eq!(
                tally.count("patch", "pods"),
                2 * round,
                "{:?}",
                tally.sums()
            );
            // Never before the write.
            let of = |verb: &[&str], resource: &str| {
                let all = tally.0.iter().filter(|e| e.resource == resource);
                let mut all: Vec<_> = all.filter(|e| verb.contains(&e.verb.as_str())).collect();
                all.sort_by_key(|e| e.request_received);
                all.into_iter()
                    .map(|e| (e.request_received, e.answered))
                    .collect::<Vec<_>>()
            };
            let (writes, patches) = (of(&["create", "patch"], "secrets"), of(&["patch"], "pods"));
            assert_eq!(writes.len(), round);
            for (n, (_, written)) in writes.iter().enumerate() {
                let later = patches.iter().filter(|(sent, _)| sent >= written).count();
                assert_eq!(later, patches.len() - 2 * n, "{writes:?} {patches:?}");
            }
            if round < 3 {
                place.request_renewal("c").await;
                view = place.another_token("token", &view).await;
            }
        }
        // Other formats are a write as well.
        place
            .edit(
                "c",
                json!({ "spec": { "target": { "keys": [{ "format": "Token" }] } } }),
            )
            .await;
        let now = Timestamp::now();
        eventually(SOON, "the other format", async || {
            place
                .secrets()
                .get("token")
                .await
                .unwrap()
                .data
                .is_some_and(|d| d.len() == 1)
        })
        .await;
        notified(
            &place,
            &["a-1", "a-2"],
            now - jiff::SignedDuration::from_secs(2),
        )
        .await;
        let after = pods(&place).get("a-1").await.unwrap();
        assert_eq!(after.spec, before.spec);
        assert_eq!(after.labels(), before.labels());
        assert_eq!(after.annotations()["owner"], "team");
        assert_eq!(after.annotations().len(), 2);
        world.stays_quiet(&place, Duration::from_secs(2)).await;
    });
}

#[test]
fn without_the_right_the_command_is_reported_and_it_is_the_right_one() {
    run(async {
        let mut world = World::own().await;
        world.start_operator().await;
        let place = world.place("bar").await;
        place.add_client(place.oauth_client().lifetime(Duration::from_mins(1)));
        create(&place, "a-1", "a").await;
        place.create("c", notifying("a")).await;
        // The token is published nevertheless.
        let view = place.ready("c").await;
        let risk = place
            .until("c", "LifetimeAtRisk", |c| {
                condition(c, "LifetimeAtRisk").filter(|r| r.reason == "PodsNotNotified")
            })
            .await;
        eventually(SOON, "the event", async || {
            let events = place.events("c").await;
            events.iter().any(|e| e.1 == "PodsNotNotified")
        })
        .await;
        let issued = renewed_with_right(&world, &place, (&risk.message, &view)).await;
        notified(&place, &["a-1"], issued).await;
        place
            .until("c", "no LifetimeAtRisk", |c| {
                condition(c, "LifetimeAtRisk").is_none().then_some(())
            })
            .await;
        for result in ["ok", "failed"] {
            let series = format!("apicred_pod_notifications_total{{result=\"{result}\"}}");
            let pods = world.operator().metric(&series).await;
            assert!(pods > Some(0), "{series}: {pods:?}");
        }
    });
}

#[test]
fn a_namespaced_operator_notifies_by_the_same_binding_in_its_namespaces_and_lists_no_other() {
    run(async {
        let mut world = World::own().await;
        let (place, other) = (world.place("own").await, world.place("other").await);
        for place in [&place, &other] {
            own_issuer(place).await;
            create(place, "web-1", "web").await;
            create(place, "api-1", "api").await;
            create(place, "job-1", "job").await;
        }
        let mark = world.mark();
        confine(&mut world, &[&place.namespace], false).await;
        let mut spec = merge(by_own_issuer(), notifying("web"));
        spec["target"]["notifyPods"]["selector"] = json!({ "matchExpressions": [
            { "key": "app", "operator": "In", "values": ["web", "api"] },
        ] });
        place.create("c", spec).await;
        let view = place.ready("c").await;
        let risk = place
            .until("c", "LifetimeAtRisk", |c| {
                condition(c, "LifetimeAtRisk").filter(|r| r.reason == "PodsNotNotified")
            })
            .await;
        let issued = renewed_with_right(&world, &place, (&risk.message, &view)).await;
        notified(&place, &["web-1", "api-1"], issued).await;
        assert_eq!(noted(&place).await["job-1"], None, "it is not selected");
        let tally = world.all_since(mark);
        let mut pods = tally.0.iter().filter(|e| e.resource == "pods");
        let elsewhere = pods.find(|e| e.namespace != place.namespace);
        assert!(elsewhere.is_none(), "{elsewhere:?}");

        // The policy that limits this right does not depend on the mode.
        let policy = ["get", "validatingadmissionpolicybinding", ROLE];
        world.cluster.kubectl(&policy).await.expect("the policy");
    });
}

#[test]
fn the_next_leader_notifies_of_a_write_that_the_last_one_did_not() {
    run(async {
        let mut world = World::own().await;
        world.start_operator().await;
        let place = world.place("next").await;
        allow(&world, &place).await;
        create(&place, "a-1", "a").await;
        create(&place, "b-1", "b").await;
        place.create("c", notifying("a")).await;
        place
            .create("d", json!({ "target": { "secretName": "other" } }))
            .await;
        let view = place.ready("c").await;
        place.ready("d").await;
        let issued: Timestamp = view.annotations["apicred.dev/issued-at"].parse().unwrap();
        notified(&place, &["a-1"], issued).await;
        world.kill_operator().await;
        // As if it had been killed between the write and the notification.
        let forget = Patch::Merge(json!({ "metadata": { "annotations": { UPDATED: null } } }));
        let forgotten = pods(&place)
            .patch("a-1", &PatchParams::default(), &forget)
            .await;
        forgotten.expect("an edit");
        let (mark, posts) = (world.mark(), place.posts());
        world.start_operator().await;
        notified(&place, &["a-1"], issued).await;
        let tally = world.since(mark, &place);
        assert_eq!(tally.count("list", "pods"), 1, "only where it is requested");
        assert_eq!(tally.count("patch", "pods"), 1);
        assert_eq!(place.posts(), posts, "no token is requested for it");
    });
}

#[test]
fn a_storm_of_pods_is_notified_and_delays_no_renewal() {
    run(async {
        let world = World::shared().await;
        let place = world.place("storm").await;
        allow(world, &place).await;
        create(&place, "a-0", "a").await;
        let worker = async |worker: usize| {
            for n in (1..MANY).filter(|n| n % 8 == worker) {
                create(&place, &format!("a-{n}"), "a").await;
            }
        };
        join_all((0..8).map(worker)).await;
        place
            .create("other", json!({ "target": { "secretName": "other" } }))
            .await;
        let other = place.ready("other").await;
        let mark = world.mark();
        place.create("c", notifying("a")).await;
        let view = place.ready("c").await;
        // While they are being notified.
        place.request_renewal("other").await;
        place.another_token("other", &other).await;
        let issued: Timestamp = view.annotations["apicred.dev/issued-at"].parse().unwrap();
        eventually(LATER, "all pods", async || {
            let noted = noted(&place).await;
            let known = noted.values().filter(|n| **n >= Some(issued)).count();
            if known == MANY {
                Ok(())
            } else {
                Err(format!("{known} of {MANY}"))
            }
        })
        .await;
        let tally = world.since(mark, &place);
        assert_eq!(tally.count("patch", "pods"), MANY, "{:?}", tally.sums());
        assert_eq!(tally.count("list", "pods"), 2, "two pages");
    });
}

/// Argo CD and Flux apply the Deployment, and a `ReplicaSet` compares its template.
#[test]
fn owners_and_appliers_of_notified_pods_see_no_change() {
    run(async {
        let world = World::shared().await;
        let place = world.place("owners").await;
        allow(world, &place).await;
        let deployments: Api<Deployment> = Api::namespaced(place.kube.clone(), &place.namespace);
        let sets: Api<ReplicaSet> = Api::namespaced(place.kube.clone(), &place.namespace);
        let manifest = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "app" },
            "spec": {
                "replicas": 2,
                "selector": { "matchLabels": { "app": "a" } },
                "template": {
                    "metadata": { "labels": { "app": "a" }, "annotations": { "owner": "team" } },
                    "spec": { "containers": [{ "name": "app", "image": "app.example/app:1" }] },
                },
            },
        });
        let apply = || async {
            let params = PatchParams::apply("argocd-controller").force();
            let applied = deployments
                .patch("app", &params, &Patch::Apply(&manifest))
                .await;
            applied.expect("server-side apply")
        };
        apply().await;
        eventually(LATER, "two pods", async || noted(&place).await.len() == 2).await;
        // Until the controllers have nothing more to write.
        let versions = async || {
            let sets = sets.list(&ListParams::default()).await.unwrap();
            let sets = sets.iter().map(|s| (s.name_any(), s.resource_version()));
            let deployment = deployments.get("app").await.unwrap();
            (deployment.resource_version(), sets.collect::<Vec<_>>())
        };
        let mut rest = versions().await;
        eventually(SOON, "rest", async || {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let now = versions().await;
            let same = now == rest;
            rest = now;
            same
        })
        .await;
        place.create("c", notifying("a")).await;
        let view = place.ready("c").await;
        let issued: Timestamp = view.annotations["apicred.dev/issued-at"].parse().unwrap();
        let names: Vec<String> = noted(&place).await.into_keys().collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        notified(&place, &names, issued).await;
        let before = deployments.get("app").await.unwrap();
        assert_eq!(apply().await.resource_version(), before.resource_version());
        assert_eq!(versions().await, rest, "an owner was changed");
        let after: Vec<String> = noted(&place).await.into_keys().collect();
        assert_eq!(after, names, "a pod was replaced");
    });
}
