//! The real servers stop, start, lose data, and run full, in the middle of a scenario (F15, F17, F18). The tests share two
//! control planes of their own and take turns.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use apicred::api::ApiCredential;
use futures::future::{join, join3};
use k8s_openapi::api::{core::v1::Namespace, rbac::v1::ClusterRoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::{Value, json};
use testenv::{Component, eventually};
use tokio::sync::{Mutex, Notify};

use crate::{
    calls::{Call, Entry},
    oracles::check,
    scenario::{Case, Mode, operator, reference},
    support::{LATER, World, run},
    wire::Wire,
};

/// A world whose servers may be stopped.
pub(crate) static FRAGILE: Mutex<Option<World>> = Mutex::const_new(None);
/// A world whose rights and kinds may be removed.
pub(crate) static LAWLESS: Mutex<Option<World>> = Mutex::const_new(None);

/// A request in the middle of a scenario.
pub(crate) type Moment = fn(&Call) -> bool;

const FIRST_SECRET: Moment = |call| call.text() == "create secrets ";
const STATUS: Moment = |call| call.text() == "patch apicredentials/status c";
pub(crate) const ROTATION: Moment = |call| call.text() == "patch secrets token";

/// The wires of two scenarios, one in each mode.
pub(crate) struct Wires([Wire; 2]);

impl Wires {
    /// Whether this holds for the requests of each scenario.
    pub(crate) fn all(&self, holds: impl Fn(&[Entry]) -> bool) -> bool {
        self.0.iter().all(|wire| holds(&wire.journal()))
    }
}

/// Lets the requests of two scenarios continue.
pub(crate) struct Go([Arc<Notify>; 2]);

impl Go {
    pub(crate) fn notify_one(&self) {
        for go in &self.0 {
            go.notify_one();
        }
    }
}

/// Runs a scenario in each mode in this world, both at once. At the first request that fits, the servers are disturbed; the request
/// is held back until `disturb` returns. The operator's own deadline of a call is 10 s.
pub(crate) async fn disturbed(
    world: &mut World,
    name: &str,
    moment: Moment,
    disturb: impl AsyncFnOnce(&mut World, &Wires, &Go),
) -> Wires {
    let usual = reference().await;
    let [one, two] = Mode::BOTH.map(|mode| Case::within(world, name, mode));
    let (mut one, mut two) = join(one, two).await;
    let wires = Wires([one.wire.clone(), two.wire.clone()]);
    let ((here, go), (there, go_too)) = (one.wire.hold_first(moment), two.wire.hold_first(moment));
    let go = Go([go, go_too]);
    let frozen = [Arc::clone(&one.frozen), Arc::clone(&two.frozen)];
    let freeze = |is_frozen: bool| {
        for frozen in &frozen {
            frozen.store(is_frozen, Ordering::SeqCst);
        }
    };
    let happen = async {
        join(here.notified(), there.notified()).await;
        freeze(true);
        disturb(world, &wires, &go).await;
        freeze(false);
    };
    let (first, second, ()) = join3(one.live(), two.live(), happen).await;
    check(&first, usual);
    check(&second, usual);
    join(one.end(&first), two.end(&second)).await;
    wires
}

/// The world, with its servers running.
pub(crate) async fn fragile(world: &mut Option<World>) -> &mut World {
    if world.is_none() {
        *world = Some(World::own().await);
    }
    let world = world.as_mut().expect("it was just made");
    world.cluster.start_apiserver().await.expect("it starts");
    world
}

#[test]
fn an_api_server_that_is_killed_at_any_moment_of_a_scenario_costs_nothing() {
    run(async {
        let mut world = FRAGILE.lock().await;
        let world = fragile(&mut world).await;
        for (name, moment) in [
            ("f18-first", FIRST_SECRET),
            ("f18-status", STATUS),
            ("f18-rotation", ROTATION),
        ] {
            let wires = disturbed(world, name, moment, async |world, _, go| {
                world.cluster.stop_apiserver();
                go.notify_one();
                // It starts with another certificate of its authority, as after an upgrade.
                world.cluster.renew_certificate().expect("a certificate");
                world.cluster.start_apiserver().await.expect("it is back");
            })
            .await;
            let refused = wires.all(|journal| {
                let mut spoilt = journal.iter().filter(|e| e.spoilt);
                spoilt.any(|e| e.answered.is_none())
            });
            assert!(refused, "{name}: the request met a server that was up");
        }
    });
}

#[test]
fn an_etcd_that_forgot_all_old_versions_makes_the_operator_list_again_and_costs_nothing() {
    run(async {
        let mut world = FRAGILE.lock().await;
        let world = fragile(&mut world).await;
        let wires = disturbed(world, "f15", ROTATION, async |world, _, go| {
            world.cluster.stop_apiserver();
            go.notify_one();
            let head = etcd(world, "kv/range", json!({ "key": "AA==" })).await;
            let revision = head["header"]["revision"].clone();
            etcd(
                world,
                "kv/compaction",
                json!({ "revision": revision, "physical": true }),
            )
            .await;
            world.cluster.start_apiserver().await.expect("it is back");
        })
        .await;
        // A watch whose version the server calls too old lists again.
        eventually(LATER, "another list", async || {
            wires.all(|journal| {
                let lists = journal.iter().filter(|e| e.call.text() == "list secrets ");
                lists.count() > 1
            })
        })
        .await;
    });
}

#[test]
fn an_etcd_that_is_full_stops_writes_and_costs_no_token() {
    run(async {
        let mut world = FRAGILE.lock().await;
        let world = fragile(&mut world).await;
        for (name, moment) in [("f17-first", FIRST_SECRET), ("f17-rotation", ROTATION)] {
            disturbed(world, name, moment, async |world, wires, go| {
                let alarm = |action: &str| json!({ "action": action, "alarm": "NOSPACE" });
                etcd(world, "maintenance/alarm", alarm("ACTIVATE")).await;
                go.notify_one();
                let refused = || wires.all(|all| all.iter().any(|e| e.answered == Some(500)));
                eventually(LATER, "a write that is refused", async || refused()).await;
                // Each member that raised one must clear it.
                let raised = etcd(world, "maintenance/alarm", json!({ "action": "GET" })).await;
                for raised in raised["alarms"].as_array().into_iter().flatten() {
                    let mut off = raised.clone();
                    off["action"] = json!("DEACTIVATE");
                    etcd(world, "maintenance/alarm", off).await;
                }
            })
            .await;
        }
    });
}

/// Calls etcd itself, through its JSON gateway.
async fn etcd(world: &World, call: &str, body: Value) -> Value {
    let http = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let url = format!("{}/v3/{call}", world.cluster.etcd_url());
    let answer = http
        .post(url)
        .body(body.to_string())
        .send()
        .await
        .expect("an answer");
    let status = answer.status();
    let text = answer.text().await.expect("a text");
    assert!(status.is_success(), "{call}: {status} {text}");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn rights_that_are_taken_away_and_given_back_cost_no_token() {
    run(async {
        let mut world = LAWLESS.lock().await;
        let world = fragile(&mut world).await;
        let bindings: Api<ClusterRoleBinding> = Api::all(world.admin.clone());
        let theirs: Api<Namespace> = Api::all(operator(world).await);
        for (name, moment) in [
            (
                "f18-rbac-start",
                (|call| call.text() == "list secrets ") as Moment,
            ),
            ("f18-rbac-first", FIRST_SECRET),
            ("f18-rbac-rotation", ROTATION),
        ] {
            let mut binding = bindings.get("apicred").await.expect("the chart's binding");
            disturbed(world, name, moment, async |_, wires, go| {
                let params = DeleteParams::default();
                bindings.delete("apicred", &params).await.expect("it goes");
                let few = ListParams::default().limit(1);
                eventually(LATER, "rights that are gone", async || {
                    theirs.list(&few).await.is_err()
                })
                .await;
                go.notify_one();
                let refused = || wires.all(|all| all.iter().any(|e| e.answered == Some(403)));
                eventually(LATER, "a refusal", async || refused()).await;
                binding.metadata.resource_version = None;
                binding.metadata.uid = None;
                let params = PostParams::default();
                bindings
                    .create(&params, &binding)
                    .await
                    .expect("it is back");
                eventually(LATER, "rights that are back", async || {
                    theirs.list(&few).await.is_ok()
                })
                .await;
            })
            .await;
        }
    });
}

#[test]
fn kinds_that_are_deleted_and_recreated_are_served_again() {
    run(async {
        let mut world = LAWLESS.lock().await;
        let world = fragile(&mut world).await;
        let mut cases = Vec::new();
        for mode in Mode::BOTH {
            let mut case = Case::within(world, "f18-crd", mode).await;
            case.start();
            case.place.create("c", json!({})).await;
            let first = case.until_ready(None).await;
            cases.push((case, first));
        }
        let kinds: Api<CustomResourceDefinition> = Api::all(world.admin.clone());
        let name = "apicredentials.apicred.dev";
        let mut kind = kinds.get(name).await.expect("the kind");
        kinds
            .delete(name, &DeleteParams::default())
            .await
            .expect("it goes");
        let gone = async || kinds.get_opt(name).await.is_ok_and(|k| k.is_none());
        eventually(LATER, "the end of the kind", gone).await;
        eventually(LATER, "a watch that finds no kind", async || {
            cases.iter().all(|(case, _)| {
                let journal = case.wire.journal();
                let mut gone = journal.iter().filter(|e| e.answered == Some(404));
                gone.any(|e| !e.call.is_single())
            })
        })
        .await;
        kind.metadata = kube::api::ObjectMeta {
            name: Some(name.to_owned()),
            ..Default::default()
        };
        kind.status = None;
        kinds
            .create(&PostParams::default(), &kind)
            .await
            .expect("it is back");
        let credentials: Api<ApiCredential> = Api::all(world.admin.clone());
        eventually(LATER, "the kind is served", async || {
            credentials.list(&ListParams::default()).await.is_ok()
        })
        .await;
        for (mut case, first) in cases {
            let made = case.place.create("c", json!({})).await;
            let second = case.until_ready(None).await;
            assert_ne!(
                first.token, second.token,
                "another credential, another token"
            );
            let uid = &second.annotations["apicred.dev/credential-uid"];
            assert_eq!(made.metadata.uid.as_ref(), Some(uid));
            assert_eq!(case.place.posts(), 2, "O3");
            case.stays_quiet(Duration::from_secs(1)).await;
            case.stop().await;
        }
    });
}

/// A process that is stopped until this is dropped.
struct Stopped(String);

impl Stopped {
    fn signal(pid: &str, name: &str) {
        let sent = std::process::Command::new("kill")
            .args([name, pid])
            .status();
        assert!(sent.is_ok_and(|s| s.success()), "{name} {pid}");
    }

    fn new(pid: u32) -> Self {
        let pid = pid.to_string();
        Self::signal(&pid, "-STOP");
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        Self::signal(&self.0, "-CONT");
    }
}

#[test]
fn a_secret_that_the_garbage_collector_forgets_is_taken_over() {
    run(async {
        let mut world = LAWLESS.lock().await;
        let world = fragile(&mut world).await;
        let mut case = Case::new(world, "r3-collector").await;
        case.start();
        let labels = json!({ "target": { "labels": { "example.com/team": "old" } } });
        case.place.create("c", labels).await;
        let first = case.until_ready(None).await;
        let collector = Stopped::new(world.cluster.pid_of(Component::ControllerManager));
        case.place.delete("c").await;
        case.place.create("c", json!({})).await;
        case.place
            .not_ready("c", "WaitingForGarbageCollector")
            .await;
        let left = case.place.view("token").await.expect("it is there still");
        assert_eq!(left.token, first.token, "the collector has its time");
        let second = case.until_ready(Some((&first, None))).await;
        assert_ne!(second.token, first.token);
        assert_eq!(case.place.posts(), 2, "O3");
        let secret = case.place.secrets().get("token").await;
        let meta = secret.expect("it is there").metadata;
        let c = case
            .place
            .credentials()
            .get("c")
            .await
            .expect("it is there");
        let owners = meta.owner_references.unwrap_or_default();
        let uids: Vec<Option<String>> = owners.iter().map(|o| Some(o.uid.clone())).collect();
        assert_eq!(uids, [c.metadata.uid]);
        let labels = meta.labels.unwrap_or_default();
        assert!(!labels.contains_key("example.com/team"), "{labels:?}");
        case.stays_quiet(Duration::from_millis(400)).await;
        drop(collector);
        case.place.delete("c").await;
        case.until_gone().await;
        case.stop().await;
    });
}

#[test]
fn a_forgotten_secret_gets_its_new_owner_even_if_no_token_can_be_had() {
    run(async {
        let mut world = LAWLESS.lock().await;
        let world = fragile(&mut world).await;
        let mut case = Case::new(world, "r3-no-token").await;
        case.start();
        case.place.create("c", json!({})).await;
        case.until_ready(None).await;
        let collector = Stopped::new(world.cluster.pid_of(Component::ControllerManager));
        case.place.delete("c").await;
        let nowhere = json!({ "client": { "secrets": [{ "name": "nowhere", "key": "k" }] } });
        case.place.create("c", nowhere).await;
        let c = case
            .place
            .credentials()
            .get("c")
            .await
            .expect("it is there");
        testenv::eventually(Duration::from_mins(2), "the new owner", async || {
            let secret = case.place.secrets().get("token").await;
            let owners = secret.expect("it is there").metadata.owner_references;
            let uids = owners.unwrap_or_default().into_iter().map(|o| o.uid);
            uids.collect::<Vec<_>>() == c.metadata.uid.clone().into_iter().collect::<Vec<_>>()
        })
        .await;
        case.place.not_ready("c", "ClientSecretMissing").await;
        assert_eq!(case.place.posts(), 1, "O3");
        drop(collector);
        case.place.delete("c").await;
        case.until_gone().await;
        case.stop().await;
    });
}
