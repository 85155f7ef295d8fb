//! The end of a process: a leader that cannot work, and threads that do not end. The clock is paused.

use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use http::{Method, Uri};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::{SYNC, lead, on_one_thread};
use crate::{
    leader::tests::{How, Server, Shared, lease},
    scripted::{Reply, client, operator, refuse},
    telemetry::health::{Health, STREAMS},
};

/// How a call is answered.
type Meets = fn() -> Reply;

/// An API server without objects. Until `well` is set, it answers a list of `broken` like this.
fn empty(
    broken: &'static str,
    meets: Meets,
    well: Option<Duration>,
) -> impl Fn(&Method, &Uri, &serde_json::Value) -> Reply + Clone + Send + 'static {
    let began = Instant::now();
    move |method, uri, _| {
        let query = uri.query().unwrap_or_default();
        let kind = uri.path().rsplit('/').next().unwrap_or_default();
        let of = match kind {
            "apicredentials" => "credentials",
            other => other,
        };
        if query.contains("watch=") {
            return Reply::Silence;
        }
        if !STREAMS.contains(&of) || *method != Method::GET {
            return refuse(404);
        }
        if of == broken && well.is_none_or(|well| began.elapsed() < well) {
            return meets();
        }
        let list = json!({ "metadata": { "resourceVersion": "7" }, "items": [] });
        Reply::Answer(200, list)
    }
}

/// Leads with this API server. Returns the server of the Lease, the result, and the time that it took.
async fn leads(
    api: impl Fn(&Method, &Uri, &serde_json::Value) -> Reply + Clone + Send + 'static,
    most: Duration,
) -> (Shared, Option<Result<(), String>>, Duration) {
    let leases = Server::new(|_, _| How::Ok);
    let health = Arc::<Health>::default();
    let began = Instant::now();
    let lease = lease(&leases, "me");
    let operator = operator(client(api), &health).with_authority(lease.authority());
    let (stop, stopped) = watch::channel(false);
    let stops = || {
        let mut stopped = stopped.clone();
        async move {
            let _ = stopped.wait_for(|s| *s).await;
        }
    };
    let mut works = Box::pin(lead(lease, operator, &health, stops, || ()));
    let ended = timeout(most, &mut works).await.ok();
    if ended.is_none() {
        // It leads and continues. After the stop signal, it releases the Lease.
        stop.send_replace(true);
        assert_eq!(works.await, Ok(()));
    }
    (leases, ended, began.elapsed())
}

fn holder(leases: &Shared) -> String {
    let leases = leases.lock().unwrap();
    let spec = &leases.lease.as_ref().expect("a Lease")["spec"];
    spec["holderIdentity"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_list_one_kind_for_two_minutes_gives_its_lease_back() {
    let meets: [(&str, Meets); 3] = [
        ("silence", || Reply::Silence),
        ("no right", || refuse(403)),
        ("a fault", || refuse(500)),
    ];
    // What is listed last waits for the others, so it is missing as well.
    for kind in STREAMS {
        for (name, meets) in meets {
            let api = empty(kind, meets, None);
            let (leases, ended, took) = leads(api, SYNC * 5).await;
            let reported = ended.expect("it ends").expect_err("and not well");
            assert!(reported.contains(kind), "{kind} {name}: {reported}");
            assert!(
                reported.contains("is released"),
                "{kind} {name}: {reported}"
            );
            assert!(
                took < SYNC + Duration::from_secs(5),
                "{kind} {name}: {took:?}"
            );
            assert!(took >= SYNC, "{kind} {name}: {took:?}");
            assert_eq!(holder(&leases), "", "{kind} {name}");
            // The next candidate does not have to wait until the lease expires.
            let next = lease(&leases, "next");
            let next = timeout(Duration::from_secs(3), next.acquire(&Health::default())).await;
            assert!(next.is_ok(), "{kind} {name}: another one leads");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_lists_are_late_goes_on() {
    let minutes = Duration::from_mins(20);
    for kind in STREAMS {
        // A list that failed is repeated after 30 s at most.
        let late = SYNC.saturating_sub(Duration::from_secs(40));
        let api = empty(kind, || refuse(500), Some(late));
        let (leases, ended, _) = leads(api, minutes).await;
        assert_eq!(ended, None, "{kind}");
        assert_eq!(holder(&leases), "", "{kind}: released at the end");
    }
}

/// A file of a mount that hangs, and a name for which no DNS server answers, block a thread in the same way.
#[test]
fn the_end_of_the_process_waits_for_no_thread_that_is_blocked() {
    let (release, blocked) = mpsc::channel::<()>();
    let (report, ended) = mpsc::channel();
    let blocked = Mutex::new(blocked);
    std::thread::spawn(move || {
        let work = async {
            tokio::task::spawn_blocking(move || {
                let _ = blocked.lock().unwrap().recv();
            });
            tokio::task::yield_now().await;
            Err("the lease was lost".to_owned())
        };
        report.send(on_one_thread(work)).unwrap();
    });
    // Without its deadline, this would wait for `release`.
    let reported = ended.recv_timeout(Duration::from_mins(2));
    drop(release);
    assert_eq!(reported, Ok(Err("the lease was lost".to_owned())));
}
