//! Requests stopped in flight.

use std::time::Duration;

use dev_issuer::{Point, Secret};

use crate::support::{Bench, DEMO, form};

#[tokio::test]
async fn a_request_held_at_the_door_sees_what_changed_meanwhile() {
    let bench = Bench::new().await;
    let hold = bench.issuer.hold("demo", Point::Received);
    let act = async {
        hold.reached().await;
        let record = bench.issuer.requests().pop().unwrap();
        assert_eq!((record.status, record.uti), (None, None));
        bench
            .issuer
            .set_secrets("demo", vec![Secret::new("new")])
            .unwrap();
        hold.release();
    };
    let (reply, ()) = tokio::join!(bench.v2(DEMO), act);
    assert_eq!(reply.status, 401);
}

#[tokio::test]
async fn a_request_held_before_its_answer_has_its_token() {
    let bench = Bench::new().await;
    let hold = bench.issuer.hold("demo", Point::BeforeAnswer);
    let act = async {
        hold.reached().await;
        let record = bench.issuer.requests().pop().unwrap();
        assert_eq!(record.status, None);
        assert!(record.uti.is_some());
        bench
            .issuer
            .set_secrets("demo", vec![Secret::new("new")])
            .unwrap();
        hold.release();
    };
    let (reply, ()) = tokio::join!(bench.v2(DEMO), act);
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn a_hold_concerns_its_client_and_ends_when_dropped() {
    let bench = Bench::new().await;
    let hold = bench.issuer.hold("demo", Point::Received);
    let short = form(
        DEMO,
        &[
            ("client_id", "demo-short"),
            ("client_secret", "short~secret.1"),
        ],
    );
    assert_eq!(bench.v2(&short).await.status, 200);
    let act = async {
        hold.reached_by(2).await;
        drop(hold);
    };
    let (one, two, ()) = tokio::join!(bench.v2(DEMO), bench.v2(DEMO), act);
    assert_eq!((one.status, two.status), (200, 200));
    assert_eq!(bench.v2(DEMO).await.status, 200);

    let all = bench.issuer.hold("*", Point::BeforeAnswer);
    let (reply, ()) = tokio::join!(bench.v2(&short), async {
        all.reached().await;
        all.release();
    });
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed() {
    let bench = Bench::new().await;
    let hold = bench.issuer.hold("demo", Point::BeforeAnswer);
    tokio::select! {
        _ = bench.v2(DEMO) => panic!("it is held"),
        () = hold.reached() => {}
    }
    // The request is cancelled now; the server hears of it from the connection.
    for _ in 0..100 {
        let record = bench.issuer.requests().pop().unwrap();
        if record.took_ms.is_some() {
            assert_eq!(record.status, None);
            assert!(record.uti.is_some());
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the record stays open");
}

#[tokio::test]
async fn one_request_is_held_and_may_end_without_an_answer_and_without_an_effect() {
    let bench = Bench::new().await;
    bench.issuer.record_requests();
    let is_token = |request: &str| request.starts_with("POST") && request.ends_with("/token");
    for (point, tokens) in [(Point::Received, 1), (Point::BeforeAnswer, 2)] {
        let before = bench.issuer.stats().tokens_issued;
        let hold = bench.issuer.hold_one(is_token, 1, point);
        assert_eq!(bench.v2(DEMO).await.status, 200, "it is the next one");
        let keys = bench.get("/generic/keys").await;
        assert_eq!(keys.status, 200, "that is another kind");
        let url = bench.issuer.token_url_v2();
        let held = bench.http.post(url).form(DEMO).send();
        let (answer, ()) = tokio::join!(held, async {
            hold.reached().await;
            hold.cut();
        });
        assert!(answer.is_err(), "{point:?}: {answer:?}");
        drop(hold);
        let issued = bench.issuer.stats().tokens_issued - before;
        assert_eq!(issued, tokens, "{point:?}");
        assert_eq!(bench.v2(DEMO).await.status, 200, "it was one");
    }
    let recorded = bench.issuer.recorded_requests();
    let tokens = recorded.iter().filter(|request| is_token(request));
    assert_eq!(tokens.count(), 6, "{recorded:?}");
    assert_eq!(recorded.len(), 8, "{recorded:?}");
}
