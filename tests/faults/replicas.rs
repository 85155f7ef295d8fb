//! Refreshes of several replicas (F05, F56): another one gets the lease in the middle of a refresh and works while
//! the first one still has a call in flight. No refresh token may be used twice, and no sign-in is lost: no replica is killed.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{
    FutureExt,
    future::{join_all, select_all},
};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use testenv::eventually;
use tokio::sync::Notify;

use crate::{
    calls::Call,
    inside::{Inside, LogBuffer},
    scenario::{Mode, world},
    support::{LATER, condition, run},
    user::{TURNS, User},
    wire::Wire,
};

/// One of several operators that compete for the same lease.
struct Replica {
    name: String,
    wire: Wire,
    log: LogBuffer,
    inside: Inside,
}

/// A user's credential, and the replicas that may renew it.
struct Several {
    user: User,
    replicas: Vec<Replica>,
}

/// When the lease is lost, relative to a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum How {
    /// It is sent only when another replica leads.
    Before,
    /// The server has executed it, and answers only when another replica leads.
    After,
    /// The server has executed it, and the connection breaks when another replica leads.
    Unanswered,
}

impl Several {
    /// Starts them, and waits for the first token.
    async fn start(mode: Mode, name: &str, count: usize) -> Self {
        let world = world().await;
        let user = User::new(mode, name, json!({ "reuse": "Never" })).await;
        let replicas = (0..count).map(|n| {
            let place = &user.case.place;
            let wire = Wire::to(&place.namespace, &place.issuer_name);
            let mut given = user.case.given(&wire);
            let (name, log) = (format!("replica-{n}"), LogBuffer::default());
            given.log = log.clone();
            given.lease = Some((name.clone(), world.cluster.admin_kubeconfig().into()));
            let inside = Inside::start(&user.case.kubeconfig, given);
            Replica {
                name,
                wire,
                log,
                inside,
            }
        });
        let replicas = replicas.collect();
        let mut several = Self { user, replicas };
        let spec = User::spec(json!({}));
        several.user.case.place.create("c", spec).await;
        assert!(several.user.until_served(None).await, "{name}");
        several
    }

    fn leases(&self) -> Api<Lease> {
        let place = &self.user.case.place;
        Api::namespaced(place.kube.clone(), &place.namespace)
    }

    /// The replica that leads.
    async fn leader(&self) -> Option<usize> {
        let lease = self.leases().get("apicred").await.ok()?;
        let holder = lease.spec?.holder_identity?;
        self.replicas.iter().position(|r| r.name == holder)
    }

    /// Takes the lease away, and waits until another replica leads and works.
    async fn change_leader(&self, served: impl AsyncFn() -> bool) {
        let name = &self.user.case.name;
        let old = self.leader().await.expect("a leader");
        let spec = json!({ "holderIdentity": "dead", "leaseDurationSeconds": 1 });
        let patch = Patch::Merge(json!({ "spec": spec }));
        let (leases, params) = (self.leases(), PatchParams::default());
        let given = leases.patch("apicred", &params, &patch).await;
        given.expect("an edit");
        let new = eventually(LATER, format!("{name}: another leader"), async || {
            self.leader().await.filter(|new| *new != old)
        })
        .await;
        let works = |wire: &Wire| wire.journal().iter().any(|e| e.call.is_single());
        eventually(LATER, format!("{name}: its work"), async || {
            works(&self.replicas[new].wire) || served().await
        })
        .await;
    }

    /// Stops all. Returns how many had lost the lease.
    async fn end(self) -> usize {
        let name = self.user.case.name.clone();
        let ends = self.replicas.into_iter().map(async |replica| {
            let (log, ended) = (replica.log, replica.inside.stop().await);
            assert!(
                !log.text().contains("could not be stored"),
                "{name}: {}",
                log.text()
            );
            match ended {
                Ok(()) => 0,
                Err(why) if why == "the lease was lost" => 1,
                Err(why) => unreachable!("{name}: {why}"),
            }
        });
        join_all(ends).await.into_iter().sum()
    }
}

/// One renewal, in which the lease is lost at call `k`. Returns the number of calls up to the end, or up to that
/// one.
async fn lead(mode: Mode, count: usize, k: usize, how: How) -> usize {
    let _turn = TURNS.acquire().await.expect("it is never closed");
    let name = format!("r-lease-{count}-{k}-{how:?}").to_lowercase();
    let mut several = Several::start(mode, &name, count).await;
    let seen = Arc::new(AtomicUsize::new(0));
    let (comes, goes): (Vec<Arc<Notify>>, Vec<Arc<Notify>>) = (several.replicas.iter())
        .map(|replica| {
            let seen = Arc::clone(&seen);
            let nth =
                move |call: &Call| call.is_single() && seen.fetch_add(1, Ordering::SeqCst) + 1 == k;
            match how {
                How::Before => replica.wire.hold_first(nth),
                How::After => replica.wire.late_first(nth),
                How::Unanswered => replica.wire.lost_first(nth),
            }
        })
        .unzip();
    let renewal_id = several.user.case.place.request_renewal("c").await;
    let met = {
        let come = select_all(comes.iter().map(|come| Box::pin(come.notified())));
        tokio::select! {
            biased;
            _ = come => true,
            served = several.user.until_served(Some(&renewal_id)) => {
                assert!(served, "{name}");
                false
            }
        }
    };
    if met {
        let place = Arc::clone(&several.user.case.place);
        let served = async || {
            let c = place.credentials().get("c").await.ok();
            let status = c.and_then(|c| c.status).unwrap_or_default();
            status.last_handled_renew_request.as_ref() == Some(&renewal_id)
        };
        several.change_leader(served).await;
        for go in &goes {
            go.notify_one();
        }
    }
    // An outcome that was unknown to the new leader is known after the old one has stored it.
    several
        .user
        .until("an end without a sign-in", |c| {
            let status = c.status.as_ref()?;
            let unknown =
                |kind| condition(c, kind).is_some_and(|c| c.reason == "RefreshOutcomeUnknown");
            let ready = condition(c, "Ready")?.status == "True";
            let served = status.last_handled_renew_request.as_ref() == Some(&renewal_id);
            (ready && served && !unknown("Ready") && !unknown("RenewalFailing")).then_some(())
        })
        .await;
    several
        .user
        .case
        .stays_quiet(Duration::from_millis(300))
        .await;
    several.user.whole(0).await;
    // The first token, this renewal, and one more if its first answer could not be published.
    let requests = several.user.issuer.requests();
    assert!((2..=3).contains(&requests), "{name}: {requests} requests");
    // A replica that is stopped before it notices ends without an error.
    assert!(several.end().await <= usize::from(met), "{name}");
    seen.load(Ordering::SeqCst)
}

/// At each call of a renewal.
async fn at_each_call(mode: Mode, count: usize) {
    let calls = lead(mode, count, usize::MAX, How::Before).await;
    assert!((5..20).contains(&calls), "{calls} calls");
    let scenarios = [How::Before, How::After, How::Unanswered]
        .into_iter()
        .flat_map(|how| {
            (1..=calls).map(move |k| AssertUnwindSafe(lead(mode, count, k, how)).catch_unwind())
        });
    let ends = join_all(scenarios).await;
    let failed = ends.iter().filter(|e| e.is_err()).count();
    assert_eq!(failed, 0, "lives of {} failed; see above", ends.len());
}

#[test]
fn a_lease_that_is_lost_at_any_call_of_a_refresh_costs_no_sign_in_with_two_replicas() {
    run(at_each_call(Mode::Cluster, 2));
}

#[test]
fn a_lease_that_is_lost_at_any_call_of_a_refresh_costs_no_sign_in_with_three_replicas() {
    run(at_each_call(Mode::Namespaced, 3));
}
