use std::{cell::Cell, io};

use kube::core::Status;
use serde_json::json;

use super::*;

fn answer(code: u16, details: &Value) -> kube::Error {
    let status = json!({
        "status": "Failure", "message": "", "reason": "", "code": code, "details": details,
    });
    let status: Status = serde_json::from_value(status).unwrap();
    kube::Error::Api(Box::new(status))
}

fn pause(error: &kube::Error, forbidden_count: &mut usize) -> Option<u64> {
    again_after(error, error_kind(error), forbidden_count).map(|pause| pause.as_secs())
}

#[test]
fn each_trouble_is_counted_under_its_name() {
    let all = [
        ApiErrorKind::Conflict,
        ApiErrorKind::NotFound,
        ApiErrorKind::Terminating,
        ApiErrorKind::Forbidden,
        ApiErrorKind::Quota,
        ApiErrorKind::Invalid,
        ApiErrorKind::Unavailable,
        ApiErrorKind::Unwanted,
    ];
    let metrics = Metrics::default();
    for error_kind in all {
        // A value that the table does not contain makes a test fail.
        metrics.called("get_secret", error_kind.as_str(), None);
    }
}

#[test]
fn a_request_that_was_not_done_is_repeated_and_no_other() {
    let after = |seconds: u32| json!({ "retryAfterSeconds": seconds });
    let io = |kind| kube::Error::Service(Box::new(io::Error::from(kind)));
    for (error, expected) in [
        (answer(429, &Value::Null), Some(1)),
        (answer(429, &after(1)), Some(1)),
        (answer(429, &after(2)), Some(2)),
        (answer(429, &after(3_600)), Some(2)),
        (answer(409, &Value::Null), None),
        (answer(404, &Value::Null), None),
        (answer(422, &Value::Null), None),
        // These requests may have been processed.
        (answer(500, &Value::Null), None),
        (answer(503, &after(1)), None),
        (answer(504, &after(1)), None),
        (io(io::ErrorKind::ConnectionRefused), Some(1)),
        (io(io::ErrorKind::ConnectionReset), None),
        (io(io::ErrorKind::TimedOut), None),
    ] {
        assert_eq!(pause(&error, &mut 0), expected, "{error:?}");
    }
}

#[test]
fn a_403_counts_after_two_repetitions_unless_its_message_is_specific() {
    let (mut forbidden_count, forbidden) = (0, answer(403, &Value::Null));
    let pauses = [(); 4].map(|()| pause(&forbidden, &mut forbidden_count));
    assert_eq!(pauses, [Some(1), Some(2), None, None]);
    let terminating =
        json!({ "causes": [{ "reason": "NamespaceTerminating", "message": "", "field": "" }] });
    assert_eq!(pause(&answer(403, &terminating), &mut 0), None);
}

#[test]
fn a_pause_is_up_to_a_quarter_longer() {
    let second = Duration::from_secs(1);
    assert_eq!(jitter(second, 0), second);
    assert!(jitter(second, u8::MAX) < second.mul_f64(1.25));
}

#[tokio::test]
async fn an_unwanted_request_is_not_sent() {
    let sent = Cell::new(0);
    let request = || {
        sent.set(sent.get() + 1);
        std::future::ready(Ok(()))
    };
    let metrics = Metrics::default();
    let result = call_while(&metrics, "get_secret", || false, request).await;
    assert_eq!((result, sent.get()), (Err(ApiErrorKind::Unwanted), 0));
    let result = call_while(&metrics, "get_secret", || true, request).await;
    assert_eq!((result, sent.get()), (Ok(()), 1));
}
