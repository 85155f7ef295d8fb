//! Stops and starts of the operator.

use std::{sync::Arc, time::Duration};

use dev_issuer::Point;
use jiff::Timestamp;
use serde_json::json;
use testenv::eventually;

use crate::support::{LATER, Place, SOON, World, run};

const MANY: u8 = 20;

#[test]
fn a_restart_with_nothing_due_requests_reads_and_writes_nothing() {
    run(async {
        let mut world = World::own().await;
        world.start_operator().await;
        let place = world.place("restart").await;
        for number in 0..MANY {
            place
                .create(
                    &format!("c-{number}"),
                    json!({ "target": { "secretName": format!("t-{number}") } }),
                )
                .await;
        }
        let before = everything(&place).await;
        // A process that begins in the second of a token reads the digest key, to find out whether another operator wrote it.
        let second = Timestamp::now().as_second();
        eventually(SOON, "the next second", async || {
            Timestamp::now().as_second() > second
        })
        .await;
        // Twice: after a normal end, and after a kill.
        let (status, _) = world.take_operator().terminate().await;
        assert!(status.success(), "SIGTERM ends it well: {status:?}");
        assert_eq!(cut_short(&world), 0, "an idle operator had work to end");
        starts_quietly(&mut world, &place).await;
        world.kill_operator().await;
        starts_quietly(&mut world, &place).await;
        assert_eq!(everything(&place).await, before, "nothing has moved");
    });
}

/// Starts the operator and checks that it only lists and watches.
async fn starts_quietly(world: &mut World, place: &Place) {
    let (mark, posts) = (world.mark(), place.issuer.requests().len());
    world.start_operator().await;
    let operator = world.operator();
    eventually(SOON, "a reconciliation of every credential", async || {
        operator.reconciles().await >= u64::from(MANY)
    })
    .await;
    let tally = world.all_since(mark);
    assert_eq!(tally.writes(), Vec::<String>::new());
    assert_eq!(tally.reads(), Vec::<String>::new());
    assert_eq!(tally.lists(), 6, "one list a kind: {:?}", tally.sums());
    assert_eq!(
        tally.0.iter().filter(|e| e.verb != "watch").count(),
        6,
        "{:?}",
        tally.sums()
    );
    assert_eq!(
        place.issuer.requests().len(),
        posts,
        "a restart requested a token"
    );
    assert_eq!(operator.reconciles().await, u64::from(MANY), "one each");
    let ready = operator.metric("apicred_credentials{ready=\"true\"}").await;
    assert_eq!(ready, Some(u64::from(MANY)));
}

/// How often an operator ended although work was in progress.
fn cut_short(world: &World) -> usize {
    world.operator_logs().matches("and is cancelled").count()
}

/// Versions of all credentials and Secrets.
async fn everything(place: &Place) -> Vec<String> {
    let mut all = Vec::new();
    for number in 0..MANY {
        let view = place.ready(&format!("c-{number}")).await;
        let credential = place
            .credentials()
            .get(&format!("c-{number}"))
            .await
            .expect("it is there");
        all.push(format!(
            "{} {:?}",
            view.version, credential.metadata.resource_version
        ));
    }
    all
}

#[test]
fn sigterm_while_a_request_hangs_ends_in_time_and_well() {
    run(async {
        let mut world = World::own().await;
        world.start_operator().await;
        let place = world.place("sigterm").await;
        place.create("c", json!({})).await;
        let view = place.ready("c").await;
        let hold = place.issuer.hold(&place.client, Point::Received);
        place.request_renewal("c").await;
        hold.reached().await;

        let (status, _) = world.take_operator().terminate().await;
        assert!(status.success(), "{status:?}");
        // The exchange ends by its own deadline, which is shorter than the operator's wait.
        assert_eq!(cut_short(&world), 0);
        assert_eq!(
            place.view("token").await.unwrap().token,
            view.token,
            "the last good token stays"
        );

        // The next one does the work that the first one could not finish.
        hold.release();
        world.start_operator().await;
        place.another_token("token", &view).await;
        assert!(place.posts() <= 3, "{}", place.posts());
    });
}

#[test]
fn an_api_server_that_goes_and_comes_back_costs_no_token() {
    run(async {
        let mut world = World::own().await;
        world.start_operator().await;
        let place = Arc::new(world.place("watch-break").await);
        place.create("c", json!({})).await;
        let view = place.ready("c").await;
        world.cluster.stop_apiserver();
        // The watches break, and fail again.
        eventually(LATER, "watches that break twice", async || {
            let broken = world.operator().sum("apicred_watch_errors_total").await;
            if broken >= 10 {
                Ok(())
            } else {
                Err(format!("{broken} failures of five watches"))
            }
        })
        .await;
        world
            .cluster
            .start_apiserver()
            .await
            .expect("it comes back");
        world.operator_runs();
        assert_eq!(place.view("token").await.unwrap().token, view.token);
        assert_eq!(place.posts(), 1, "a broken watch is no reason for a token");

        // The watches work again: a change has an effect.
        place
            .secrets()
            .delete("token", &kube::api::DeleteParams::default())
            .await
            .unwrap();
        place.another_token("token", &view).await;
        place.ready("c").await;
        assert_eq!(place.posts(), 2);
        world.operator_runs();
        world.stays_quiet(&place, Duration::from_secs(3)).await;
    });
}

#[test]
fn a_proxy_in_the_environment_is_not_used() {
    run(async {
        let proxy = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", proxy.local_addr().expect("an address"));
        proxy.set_nonblocking(true).expect("a socket");
        let mut world = World::own().await;
        world.environment = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY"]
            .map(|name| (name, url.clone()))
            .to_vec();
        world.start_operator().await;
        let place = world.place("proxy").await;
        place.create("c", json!({})).await;
        let view = place.ready("c").await;
        assert_eq!(place.call("demo", "whoami", &view.token).await, 200);
        let connection = proxy.accept().map(|(_, from)| from);
        let nobody = connection
            .as_ref()
            .is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock);
        assert!(nobody, "{connection:?}");
    });
}

/// How many of a place's credentials report the time of the next attempt.
async fn waiting(place: &Place, names: &[String]) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for name in names {
        let next = place
            .until(name, "a failure and its next attempt", |c| {
                let status = c.status.as_ref()?;
                let next = status.next_attempt.as_ref()?.0;
                // Later than the end of this test.
                (next > jiff::Timestamp::now() + jiff::SignedDuration::from_secs(40))
                    .then(|| (next.to_string(), c.metadata.resource_version.clone()))
            })
            .await;
        all.push((next.0, next.1.unwrap_or_default()));
    }
    all
}

#[test]
fn a_restart_does_not_end_the_waits_of_failing_credentials() {
    run(async {
        let mut world = World::own().await;
        world.start_operator().await;
        let place = world.place("failing").await;
        let mut names = Vec::new();
        // A scope that the issuer does not support, and a token that cannot be written.
        for number in 0..5 {
            let name = format!("scope-{number}");
            let spec =
                json!({ "scopes": ["api://nothing/.default"], "target": { "secretName": name } });
            place.create(&name, spec).await;
            names.push(name);
        }
        place.create("kept", json!({})).await;
        let unchanged = place.ready("kept").await;
        place
            .edit_secret("token", json!({ "immutable": true }))
            .await;
        place.request_renewal("kept").await;
        names.push("kept".to_owned());
        let before = waiting(&place, &names).await;
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        let posts = place.issuer.requests().len();
        for kill in [false, true] {
            if kill {
                world.kill_operator().await;
            } else {
                let (status, _) = world.take_operator().terminate().await;
                assert!(status.success(), "{status:?}");
            }
            let mark = world.mark();
            world.start_operator().await;
            // It has reconciled all objects that existed when it started.
            place.operator_has_seen_it().await;
            world.stays_quiet(&place, Duration::from_secs(2)).await;
            assert_eq!(
                place.issuer.requests().len(),
                posts,
                "a restart ended a wait"
            );
            assert_eq!(waiting(&place, &names).await, before);
            let tally = world.since(mark, &place);
            assert_eq!(tally.count("get", "secrets"), 0, "{:?}", tally.sums());
        }
        assert_eq!(place.view("token").await.unwrap().token, unchanged.token);
        // A change ends the wait.
        place
            .edit(
                "scope-0",
                json!({ "spec": { "scopes": ["api://demo/.default"] } }),
            )
            .await;
        place.ready("scope-0").await;
    });
}
