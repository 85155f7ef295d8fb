//! Servers that are slow, or stop for a while (F16, F17).

use std::{
    pin::pin,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use apicred::{
    app,
    clock::SystemClock,
    leader::{Lease, Lost},
    telemetry::health::Health,
};
use futures::future::join3;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use testenv::{Component, eventually};
use tokio::time::{sleep, timeout};

use crate::{
    calls::Fault,
    oracles::check,
    scenario::{Mode, Scenario, reference, world},
    servers::{FRAGILE, ROTATION, Wires, disturbed, fragile},
    support::{LATER, NAMESPACE, run},
    wire::Wire,
};

/// Each answer takes this long.
const SLOW: Duration = Duration::from_millis(1500);
/// Longer than a leader may be without a renewal.
const WATCHED: Duration = Duration::from_secs(25);

/// A client whose every request takes this long, and meets a fault from some moment on.
async fn slow(by: Duration, spoilt: Arc<AtomicBool>, fault: Fault) -> Client {
    let world = world().await;
    let read = Kubeconfig::read_from(world.operator_kubeconfig()).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
    let mut config = config.expect("a usable kubeconfig");
    app::harden(&mut config);
    let wire = Wire::to("nothing", "nothing");
    wire.rule(move |_| {
        Some(if spoilt.load(Ordering::SeqCst) {
            fault.clone()
        } else {
            Fault::Slow(by)
        })
    });
    wire.client(config)
}

#[test]
fn a_server_that_takes_a_second_and_more_for_each_answer_costs_nothing_and_leases_hold() {
    run(async {
        let slow = |wire: &Wire| wire.rule(|_| Some(Fault::Slow(SLOW)));
        let leases = async {
            lease_holds(Fault::status(500, "InternalError", &[])).await;
            // Only the calls of the Lease get no answer, before or after the server has executed them.
            lease_holds(Fault::Hole).await;
            lease_holds(Fault::HoleAfter).await;
        };
        let one = Scenario::lead("f17-slow", slow);
        let two = Scenario::lead_in(Mode::Namespaced, "f17-slow", slow);
        let (one, two, ()) = Box::pin(join3(one, two, leases)).await;
        for scenario in [one, two] {
            check(&scenario, reference().await);
        }
    });
}

/// A leader with slow answers keeps its Lease from a competitor with fast ones, and gives up in time when it gets no successful ones.
async fn lease_holds(fault: Fault) {
    let spoilt = Arc::<AtomicBool>::default();
    // The role contains only this Lease; no other test of this world has one.
    let replica = async |who: &'static str, by, spoilt| {
        let client = slow(by, spoilt, fault.clone()).await;
        Lease::new(client, NAMESPACE, "apicred", who, Arc::new(SystemClock))
    };
    let leader = replica("slow", Duration::from_secs(2), Arc::clone(&spoilt)).await;
    let authority = leader.authority();
    let mut standing = leader.acquire(&Health::default()).await;
    let rival = replica("rival", Duration::ZERO, Arc::default()).await;
    let health = Health::default();
    let mut rival = pin!(rival.acquire(&health));
    tokio::select! {
        lost = standing.keep() => unreachable!("it was lost: {lost:?}"),
        _ = &mut rival => unreachable!("another one took it"),
        () = sleep(WATCHED) => {}
    }
    assert!(authority.holds());
    spoilt.store(true, Ordering::SeqCst);
    tokio::select! {
        biased;
        lost = standing.keep() => assert_eq!(lost, Lost),
        _ = &mut rival => unreachable!("another one took it before it was given up"),
        () = sleep(LATER) => unreachable!("it is not given up"),
    }
    assert!(!authority.holds());
    let taken = timeout(LATER, rival).await;
    taken.expect("somebody takes it").release().await;
}

#[test]
fn an_etcd_that_stands_still_for_a_while_costs_no_token() {
    run(async {
        let mut world = FRAGILE.lock().await;
        let world = fragile(&mut world).await;
        let again = |wires: &Wires| {
            wires.all(|journal| journal.iter().filter(|e| ROTATION(&e.call)).count() > 1)
        };
        let wires = disturbed(world, "f17-still", ROTATION, async |world, wires, go| {
            let pid = world.cluster.pid_of(Component::Etcd).to_string();
            let signal = |name: &str| {
                let sent = Command::new("kill").args([name, &pid]).status();
                assert!(sent.is_ok_and(|s| s.success()), "{name}");
            };
            signal("-STOP");
            go.notify_one();
            // The first write ends by its own deadline, and another attempt follows.
            eventually(LATER, "another try", async || again(wires)).await;
            signal("-CONT");
        })
        .await;
        assert!(again(&wires));
    });
}
