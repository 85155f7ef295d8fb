//! Scripted faults, one by one.

use std::time::{Duration, Instant};

use dev_issuer::{Effect, Fault, RetryAfter, Surface};
use serde_json::Value;

use crate::support::{Bench, DEMO, Reply, form};

async fn hit(bench: &Bench, effect: Effect) -> Reply {
    bench.issuer.fault(Fault::new(effect).times(1));
    bench.v2(DEMO).await
}

#[tokio::test]
async fn answers_in_place_of_the_issuers_mint_nothing() {
    let bench = Bench::new().await;
    let after = |after| Effect::TooManyRequests { retry_after: after };
    let reply = hit(&bench, after(None)).await;
    assert_eq!((reply.status, reply.header("retry-after")), (429, ""));
    let reply = hit(&bench, after(Some(RetryAfter::Seconds(7)))).await;
    assert_eq!((reply.status, reply.header("retry-after")), (429, "7"));
    let reply = hit(&bench, after(Some(RetryAfter::Text("soon".to_owned())))).await;
    assert_eq!(reply.header("retry-after"), "soon");
    let reply = hit(&bench, after(Some(RetryAfter::DateIn(60)))).await;
    let date = jiff::fmt::rfc2822::parse(reply.header("retry-after")).unwrap();
    let wait = date.timestamp().as_second() - jiff::Timestamp::now().as_second();
    assert!((58..=60).contains(&wait), "{wait}");

    let status = Effect::Status {
        status: 503,
        body: Some("busy".to_owned()),
        retry_after: Some(RetryAfter::Seconds(1)),
    };
    let reply = hit(&bench, status).await;
    assert_eq!(
        (
            reply.status,
            reply.body.as_str(),
            reply.header("retry-after")
        ),
        (503, "busy", "1")
    );
    for status in [301, 302, 307, 308] {
        let reply = hit(
            &bench,
            Effect::Redirect {
                status,
                location: "https://elsewhere.example/".to_owned(),
            },
        )
        .await;
        assert_eq!(
            (reply.status, reply.header("location")),
            (status, "https://elsewhere.example/")
        );
    }
    let reply = hit(&bench, Effect::ErrorWith200).await;
    assert_eq!(
        (reply.status, reply.json()["error"].as_str()),
        (200, Some("invalid_client"))
    );
    let custom = Effect::Custom {
        status: 418,
        headers: vec![("x-a".to_owned(), "1".to_owned())],
        body: "tea".to_owned(),
    };
    let reply = hit(&bench, custom).await;
    assert_eq!(
        (reply.status, reply.header("x-a"), reply.body.as_str()),
        (418, "1", "tea")
    );

    assert_eq!(bench.issuer.stats().tokens_issued, 0);
    assert!(
        bench
            .issuer
            .requests()
            .iter()
            .all(|r| r.fault.is_some() && r.uti.is_none())
    );
    assert_eq!(bench.v2(DEMO).await.status, 200, "all of them are used up");
}

#[tokio::test]
async fn spoilt_answers_are_spoilt_as_scripted() {
    let bench = Bench::new().await;
    let reply = hit(&bench, Effect::Empty).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
    let reply = hit(&bench, Effect::NoContent).await;
    assert_eq!((reply.status, reply.body.as_str()), (204, ""));
    let reply = hit(&bench, Effect::Html).await;
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (200, "text/html")
    );
    let reply = hit(&bench, Effect::Truncated).await;
    assert!(
        reply.body.starts_with(r#"{"token_type""#)
            && serde_json::from_str::<Value>(&reply.body).is_err()
    );
    let reply = hit(&bench, Effect::Huge { bytes: 3 << 20 }).await;
    assert!(reply.body.len() > 3 << 20);
    assert_eq!(reply.header("content-length"), "");
    assert!(bench.issuer.validate(&reply.token()).is_ok());
    let reply = hit(&bench, Effect::DuplicateKeys).await;
    assert_eq!(reply.body.matches("\"access_token\"").count(), 2);
    assert_eq!(reply.body.matches("\"expires_in\"").count(), 2);
    let reply = hit(&bench, Effect::MissingAccessToken).await;
    assert_eq!(
        (&reply.json()["access_token"], &reply.json()["expires_in"]),
        (&Value::Null, &3599.into())
    );
    for json in ["0", "-1", "\"3599\"", "3599.5", "1e400", "315360000"] {
        let reply = hit(
            &bench,
            Effect::ExpiresIn {
                json: Some(json.to_owned()),
            },
        )
        .await;
        assert!(
            reply.body.starts_with(&format!("{{\"expires_in\":{json},")),
            "{}",
            reply.body
        );
        assert_eq!(reply.body.matches("\"expires_in\"").count(), 1);
    }
    let reply = hit(&bench, Effect::ExpiresIn { json: None }).await;
    assert!(!reply.body.contains("\"expires_in\"") && reply.body.contains("access_token"));
    let reply = hit(
        &bench,
        Effect::TokenType {
            value: "DPoP".to_owned(),
        },
    )
    .await;
    assert_eq!(reply.json()["token_type"], "DPoP");
    let reply = hit(&bench, Effect::TokenWithNewline).await;
    assert!(reply.token().ends_with('\n'));
    let reply = hit(&bench, Effect::GzipLie).await;
    assert_eq!(reply.header("content-encoding"), "gzip");
    assert!(reply.body.starts_with('{'));

    let requests = bench.issuer.requests();
    assert!(
        requests
            .iter()
            .all(|r| r.uti.is_some() && r.fault.is_some()),
        "all were minted"
    );
    assert_eq!(requests[0].fault.as_deref(), Some("empty"));
    assert_eq!(
        bench.issuer.stats().faults,
        u64::try_from(requests.len()).unwrap()
    );
}

#[tokio::test]
async fn v1_expires_on_goes_with_expires_in() {
    let bench = Bench::new().await;
    bench
        .issuer
        .fault(Fault::new(Effect::ExpiresIn { json: None }));
    let request = form(DEMO, &[("scope", ""), ("resource", "api://demo")]);
    let reply = bench.post("/{tenant}/oauth2/token", &request).await;
    assert!(!reply.body.contains("expires_on"));
}

#[tokio::test]
async fn a_dropped_answer_was_minted_all_the_same() {
    let bench = Bench::new().await;
    for http in [
        bench.http.clone(),
        crate::support::trusting(bench.issuer.ca_pem())
            .http1_only()
            .build()
            .unwrap(),
    ] {
        bench.issuer.fault(Fault::new(Effect::Drop).times(1));
        let sent = http
            .post(bench.issuer.token_url_v2())
            .form(DEMO)
            .send()
            .await;
        assert!(sent.is_err(), "{sent:?}");
        let record = bench.issuer.requests().pop().unwrap();
        assert!(record.uti.is_some());
        assert_eq!(
            (record.status, record.fault.as_deref()),
            (None, Some("drop"))
        );
    }
    assert_eq!(bench.issuer.requests().len(), 2, "no client sent it again");
    assert_eq!(bench.issuer.stats().unanswered, 2);
    assert_eq!(bench.v2(DEMO).await.status, 200);
}

#[tokio::test]
async fn a_hanging_request_goes_on_when_faults_are_cleared() {
    let bench = Bench::new().await;
    bench.issuer.fault(Fault::new(Effect::Hang));
    let mut request = Box::pin(bench.v2(DEMO));
    let begun = Instant::now();
    let record = loop {
        let wait = tokio::time::timeout(Duration::from_millis(50), &mut request);
        assert!(wait.await.is_err(), "it hangs");
        let record = bench.issuer.requests().pop();
        if let Some(record) = record.filter(|record| record.fault.is_some()) {
            break record;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "no record");
    };
    assert_eq!(
        (record.status, record.uti, record.fault.as_deref()),
        (None, None, Some("hang"))
    );
    bench.issuer.clear_faults();
    assert_eq!(request.await.status, 200);
    assert_eq!(bench.v2(DEMO).await.status, 200);
}

#[tokio::test]
async fn latency_is_waited_and_a_slow_body_trickles() {
    let bench = Bench::new().await;
    bench.issuer.fault(Fault::latency(300).times(1));
    let begun = Instant::now();
    assert_eq!(bench.v2(DEMO).await.status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!(bench.issuer.requests()[0].fault.as_deref(), Some("latency"));

    bench
        .issuer
        .fault(Fault::new(Effect::Slow { ms_per_byte: 200 }).times(1));
    let request = bench.http.post(bench.issuer.token_url_v2()).form(DEMO);
    let mut response = request.send().await.unwrap();
    let first = response.chunk().await.unwrap().unwrap();
    assert!(first.starts_with(b"{") && first.len() < 20, "{first:?}");
    let rest = tokio::time::timeout(Duration::from_millis(500), response.text());
    assert!(rest.await.is_err());
}

#[tokio::test]
async fn faults_queue_up_and_choose_their_client() {
    let bench = Bench::new().await;
    let status = |status| Effect::Status {
        status,
        body: None,
        retry_after: None,
    };
    bench
        .issuer
        .fault(Fault::new(status(502)).client("demo-short"));
    bench.issuer.fault(Fault::new(status(500)).times(2));
    bench.issuer.fault(Fault::new(status(503)));
    let short = form(
        DEMO,
        &[
            ("client_id", "demo-short"),
            ("client_secret", "short~secret.1"),
        ],
    );
    let mut seen = Vec::new();
    for request in [DEMO, &short, DEMO, DEMO, &short, DEMO] {
        seen.push(bench.v2(request).await.status);
    }
    assert_eq!(seen, [500, 502, 500, 503, 502, 503]);
    bench.issuer.clear_faults();
    assert_eq!(bench.v2(DEMO).await.status, 200);
    assert_eq!(bench.v2(&short).await.status, 200);
}

#[tokio::test]
async fn metadata_and_the_api_have_faults_of_their_own() {
    let bench = Bench::new().await;
    let token = bench.demo_token().await;
    let down = || Effect::Status {
        status: 503,
        body: None,
        retry_after: None,
    };
    bench
        .issuer
        .fault(Fault::new(down()).on(Surface::Metadata).times(1));
    bench
        .issuer
        .fault(Fault::new(down()).on(Surface::Api).times(1));
    let document = "/generic/.well-known/openid-configuration";
    assert_eq!(bench.v2(DEMO).await.status, 200);
    assert_eq!(bench.get(document).await.status, 503);
    assert_eq!(bench.call("/api/demo/whoami", &token).await.status, 503);
    assert_eq!(bench.get(document).await.status, 200);
    assert_eq!(bench.call("/api/demo/whoami", &token).await.status, 200);
    bench
        .issuer
        .fault(Fault::new(Effect::Truncated).on(Surface::Metadata).times(1));
    let half = bench.get(document).await;
    assert!(serde_json::from_str::<Value>(&half.body).is_err());
    bench
        .issuer
        .fault(Fault::new(Effect::Drop).on(Surface::Api).times(1));
    let sent = bench
        .http
        .get(bench.url("/api/demo/whoami"))
        .bearer_auth(&token)
        .send()
        .await;
    assert!(sent.is_err());
}

#[test]
fn every_effect_can_be_written_as_json() {
    for effect in [
        r#""none""#,
        r#"{"tooManyRequests": {}}"#,
        r#"{"tooManyRequests": {"retryAfter": {"seconds": 7}}}"#,
        r#"{"tooManyRequests": {"retryAfter": {"dateIn": -5}}}"#,
        r#"{"tooManyRequests": {"retryAfter": {"text": "soon"}}}"#,
        r#"{"status": {"status": 503, "body": "busy"}}"#,
        r#"{"redirect": {"status": 308, "location": "/elsewhere"}}"#,
        r#"{"custom": {"status": 200, "headers": [["x-a", "1"]], "body": "{}"}}"#,
        r#""errorWith200""#,
        r#""drop""#,
        r#""hang""#,
        r#""empty""#,
        r#""noContent""#,
        r#""html""#,
        r#""truncated""#,
        r#"{"huge": {}}"#,
        r#""duplicateKeys""#,
        r#""missingAccessToken""#,
        r#"{"expiresIn": {"json": "1e400"}}"#,
        r#"{"expiresIn": {}}"#,
        r#"{"tokenType": {"value": "DPoP"}}"#,
        r#""tokenWithNewline""#,
        r#""gzipLie""#,
        r#"{"slow": {"msPerByte": 10}}"#,
    ] {
        let json =
            format!(r#"{{"client": "demo", "on": "token", "times": 1, "effect": {effect}}}"#);
        let fault: Fault = serde_json::from_str(&json).expect(effect);
        let again = serde_json::to_string(&fault).unwrap();
        assert_eq!(serde_json::from_str::<Fault>(&again).unwrap(), fault);
    }
    assert!(serde_json::from_str::<Fault>(r#"{"effect": "drop", "time": 1}"#).is_err());
}
