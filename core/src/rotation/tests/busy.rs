//! A component in front of Microsoft Graph can request a pause in the same way as Microsoft Graph. A date counts by the clock of the server.

use jiff::SignedDuration;

use crate::{
    fixtures::at,
    oauth::RawAnswer,
    rotation::{
        Class, Kind,
        graph::{application, new_key, new_password, removed},
        registration::registration,
    },
};

const CLIENT: &str = "1c1b7a0e-0000-4000-8000-000000000002";

#[test]
fn retry_after_of_a_response_that_is_not_from_graph_is_used() {
    for (retry_after, waits) in [(Some("120"), Some(120)), (Some("soon"), None), (None, None)] {
        for (status, class) in [
            (429, Class::Throttled),
            (503, Class::Transient),
            (502, Class::Transient),
            (200, Class::Transient),
        ] {
            let raw = RawAnswer {
                retry_after: retry_after.map(str::to_owned),
                ..RawAnswer::new(status, b"<html>busy</html>".to_vec())
            };
            let now = at(0);
            let read = application(&raw, CLIENT, Kind::Secret, now).err();
            let added = new_password(&raw, now).err();
            let mut all = vec![read, added, new_key(&raw, now).err()];
            if status != 200 {
                all.push(removed(&raw, Kind::Secret, now).err());
            }
            for fault in all {
                let fault = fault.expect("it is no answer of Microsoft Graph");
                assert_eq!(fault.class, class, "{status}");
                let waits = waits.map(SignedDuration::from_secs);
                assert_eq!(fault.retry_after, waits, "{status} {retry_after:?}");
            }
        }
    }
}

#[test]
fn a_date_counts_from_the_date_of_the_same_answer() {
    const NOON: &str = "Wed, 21 Oct 2026 12:00:00 GMT";
    for (retry_after, date, waits) in [
        ("Wed, 21 Oct 2026 12:02:00 GMT", Some(NOON), Some(120)),
        ("Wed, 21 Oct 2026 11:59:00 GMT", Some(NOON), Some(0)),
        ("Wed, 21 Oct 2026 18:00:00 GMT", Some(NOON), Some(3600)),
        ("120", Some(NOON), Some(120)),
        // Our own clock is in September, and no wait is longer than an hour.
        ("Wed, 21 Oct 2026 12:02:00 GMT", None, Some(3600)),
        ("soon", Some(NOON), None),
    ] {
        for body in ["<html>busy</html>", r#"{"error":"x"}"#] {
            let raw = RawAnswer {
                retry_after: Some(retry_after.to_owned()),
                date: date.map(str::to_owned),
                ..RawAnswer::new(429, body.into())
            };
            let now = at(0);
            let graph = application(&raw, CLIENT, Kind::Secret, now).err().unwrap();
            let own = registration(&raw, "c-1", now).err().unwrap();
            let waits = waits.map(SignedDuration::from_secs);
            assert_eq!(graph.retry_after, waits, "{retry_after} {date:?}");
            assert_eq!(own.retry_after, waits, "{retry_after} {date:?}");
        }
    }
}
