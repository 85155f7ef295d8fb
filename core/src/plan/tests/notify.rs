use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;

use super::{
    super::{
        Observed, Outcome,
        notify::{MOST_PODS, Notified, NotifyError, Pod, Rights, is_due, patch},
        status,
    },
    status::condition,
};
use crate::{
    credential::Credential,
    fixtures::{at, credential_with, holding, record, secs},
};

fn notifying() -> Credential {
    credential_with(
        &json!({ "target": { "notifyPods": { "selector": { "matchLabels": { "app": "a" } } } } }),
    )
}

/// An observation of a token that was requested `age` seconds ago.
fn world(
    credential: &Credential,
    (age, lifetime): (i64, i64),
    notified: Option<Notified>,
) -> Observed {
    let mut world = holding(
        credential,
        record(credential, (-age, lifetime / 2, lifetime - age)),
    );
    world.notify_rights = Arc::new(Rights {
        role: "apicred-notify-pods".to_owned(),
        account: "apicred-system:apicred".to_owned(),
    });
    world.memory.notified = notified;
    world
}

fn failed(times: u32, error: &NotifyError) -> Notified {
    let mut notified = Notified::default();
    for _ in 0..times {
        notified.ended(Err(error.clone()), at(0));
    }
    notified
}

#[test]
fn a_pod_is_notified_unless_it_knows_or_ends() {
    let written = at(0);
    let text = |seconds: i64| at(seconds).to_string();
    for (noted, ending, due) in [
        (None, false, true),
        (None, true, false),
        (Some(text(-1)), false, true),
        (Some(text(-1)), true, false),
        (Some(text(0)), false, false),
        (Some(text(5)), false, false),
        // From a clock that was ahead, or from a user who wants no notification: otherwise it would wait forever.
        (Some(text(3600)), false, true),
        (Some("9999-12-31T23:59:59Z".to_owned()), false, true),
        (Some(String::new()), false, true),
        (Some("yesterday".to_owned()), false, true),
    ] {
        let pod = Pod {
            ending,
            noted: noted.as_deref(),
        };
        assert_eq!(is_due(pod, written), due, "{pod:?}");
    }
    // The time is read as it was written.
    let written: Timestamp = "2026-01-31T09:00:00.123456789Z".parse().unwrap();
    let patch = patch("uid-1", written);
    let noted = patch["metadata"]["annotations"]["apicred.dev/token-updated-at"].as_str();
    assert!(!is_due(
        Pod {
            ending: false,
            noted
        },
        written
    ));
    assert_eq!(patch["metadata"]["uid"], "uid-1");
    assert_eq!(patch.as_object().unwrap().len(), 1, "nothing but metadata");
    assert_eq!(patch["metadata"].as_object().unwrap().len(), 2);
}

#[test]
fn a_new_process_notifies_of_a_recent_write_that_it_does_not_know_of() {
    let credential = notifying();
    let known = |seconds: i64| {
        let mut notified = Notified::default();
        notified.handed(at(seconds));
        Some(notified)
    };
    for (age, known, expected) in [
        (5, None, true),
        (119, None, true),
        // The kubelet has updated the files by now.
        (120, None, false),
        (3000, None, false),
        // From a clock that was ahead.
        (-3600, None, false),
        (5, known(-5), false),
        (5, known(-4), false),
        (5, known(-600), true),
    ] {
        let world = world(&credential, (age, 3600), known.clone());
        let found = world.to_notify(&credential, at(0));
        assert_eq!(found, expected.then(|| at(-age)), "{age} {known:?}");
    }
    let plain = credential_with(&json!({}));
    let world = world(&plain, (5, 3600), None);
    assert_eq!(world.to_notify(&plain, at(0)), None, "off if not set");
}

#[test]
fn failed_pod_notifications_are_reported_with_the_next_step() {
    let credential = notifying();
    let refused = NotifyError::Refused("the admission policy no-pods denies it".to_owned());
    for (error, times, expected) in [
        (
            NotifyError::Forbidden("list"),
            1,
            Some(
                "apicred may not list pods in namespace team-a (spec.target.notifyPods), so their files are updated up to 90 s later; allow it: kubectl create rolebinding apicred-notify-pods --namespace team-a --clusterrole=apicred-notify-pods --serviceaccount=apicred-system:apicred",
            ),
        ),
        (
            NotifyError::Forbidden("patch"),
            1,
            Some("may not patch pods"),
        ),
        (NotifyError::TooMany, 1, Some("more than 2000 pods")),
        (refused.clone(), 2, None),
        (refused, 3, Some("the admission policy no-pods denies it")),
        (NotifyError::Unavailable, 2, None),
        (NotifyError::Unavailable, 3, Some("did not answer")),
    ] {
        let world = world(&credential, (5, 3600), Some(failed(times, &error)));
        let view = status(&credential, &world, &Outcome::Steady, None, at(0));
        let risk = condition(&view.status, "LifetimeAtRisk");
        match expected {
            None => assert!(risk.is_none(), "{error:?}: {risk:?}"),
            Some(expected) => {
                let risk = risk.unwrap();
                let expected = expected.replace("team-a", &credential.namespace);
                assert_eq!(risk.reason, "PodsNotNotified");
                assert!(risk.message.contains(&expected), "{}", risk.message);
                let event = view
                    .notices
                    .iter()
                    .any(|n| n.reason.as_str() == "PodsNotNotified");
                assert!(event, "{:?}", view.notices);
            }
        }
    }
    assert_eq!(MOST_PODS, 2000);
}

#[test]
fn a_report_changes_with_its_cause_alone_and_ends_with_a_success() {
    let mut notified = Notified::default();
    let away = || Err(NotifyError::Unavailable);
    let turns = [away(), away(), away(), away(), Ok(()), Ok(()), away()];
    let reported = turns.map(|result| {
        let reconciled = notified.ended(result, at(0));
        (reconciled, notified.reported().is_some())
    });
    let (quiet, failing, ended) = ((false, false), (true, true), (true, false));
    // The fourth failure is reconciled for the next attempt.
    assert_eq!(
        reported,
        [quiet, quiet, failing, failing, ended, quiet, quiet]
    );
    for verb in ["list", "list", "patch"] {
        assert!(notified.ended(Err(NotifyError::Forbidden(verb)), at(0)));
        assert_eq!(notified.reported(), Some(&NotifyError::Forbidden(verb)));
    }
}

/// No watch reports that a permission was granted.
#[test]
fn what_is_reported_is_tried_again_until_it_ends() {
    let credential = notifying();
    let refused = NotifyError::Refused("the admission policy no-pods denies it".to_owned());
    for error in [
        NotifyError::Forbidden("patch"),
        NotifyError::TooMany,
        refused,
        NotifyError::Unavailable,
    ] {
        let mut notified = Notified::default();
        let mut now = 0;
        let mut pauses = Vec::new();
        // A token that was written 5 s ago and is not renewed meanwhile.
        let seen = |notified: &Notified| world(&credential, (5, 36_000), Some(notified.clone()));
        notified.handed(at(-5));
        while notified.reported().is_none() {
            let none = seen(&notified).to_notify(&credential, at(now));
            assert_eq!(none, None, "{error:?} is not reported yet");
            notified.ended(Err(error.clone()), at(now));
        }
        for _ in 0..7 {
            let view = status(
                &credential,
                &seen(&notified),
                &Outcome::Steady,
                None,
                at(now),
            );
            let pause = i64::try_from(view.requeue.as_secs()).unwrap();
            let early = seen(&notified).to_notify(&credential, at(now + pause - 1));
            assert_eq!(early, None, "{error:?} before {pause} s");
            now += pause;
            let due = seen(&notified).to_notify(&credential, at(now));
            assert_eq!(due, Some(at(-5)), "{error:?} after {pause} s");
            pauses.push(pause);
            notified.handed(at(-5));
            let under_way = seen(&notified);
            assert_eq!(under_way.to_notify(&credential, at(now)), None, "once");
            notified.ended(Err(error.clone()), at(now));
        }
        assert_eq!(pauses, [30, 60, 120, 240, 480, 600, 600], "{error:?}");
        notified.handed(at(-5));
        assert!(notified.ended(Ok(()), at(now)));
        let view = status(
            &credential,
            &seen(&notified),
            &Outcome::Steady,
            None,
            at(now),
        );
        assert!(condition(&view.status, "LifetimeAtRisk").is_none());
        assert_eq!(seen(&notified).to_notify(&credential, at(now + 3000)), None);
        // The next failure begins with the shortest pause.
        while notified.reported().is_none() {
            notified.ended(Err(error.clone()), at(now));
        }
        let view = status(
            &credential,
            &seen(&notified),
            &Outcome::Steady,
            None,
            at(now),
        );
        assert!(view.requeue.as_secs() <= 30, "{:?}", view.requeue);
    }
    let plain = credential_with(&json!({}));
    let failing = world(&plain, (5, 3600), Some(failed(1, &NotifyError::TooMany)));
    assert_eq!(
        failing.to_notify(&plain, at(31)),
        None,
        "it is not wanted any more"
    );
}

#[test]
fn while_pods_cannot_be_notified_the_kubelet_is_what_counts() {
    let credential = notifying();
    let works = world(&credential, (5, 60), None);
    assert!(works.promise(&credential).notified);
    let risk = |world: &Observed| {
        let view = status(&credential, world, &Outcome::Steady, None, at(0));
        condition(&view.status, "LifetimeAtRisk").map(|c| c.reason.clone())
    };
    assert_eq!(risk(&works), None, "a minute is long enough");
    let barred = world(
        &credential,
        (5, 60),
        Some(failed(1, &NotifyError::Forbidden("list"))),
    );
    assert!(!barred.promise(&credential).notified);
    assert_eq!(risk(&barred).as_deref(), Some("PodsNotNotified"));
    // Most pods are notified.
    let many = world(&credential, (5, 60), Some(failed(1, &NotifyError::TooMany)));
    assert!(many.promise(&credential).notified);
    let mut plain = credential_with(&json!({}));
    assert!(!works.promise(&plain).notified);
    plain.min_lifetime = Some(secs(20));
    assert_eq!(works.promise(&plain).minimum, Some(secs(20)));
}

/// The chart creates no role with `rbac.create=false` or `notifyPods.create=false`, and passes an empty name.
#[test]
fn without_the_role_of_the_chart_the_missing_right_is_named_and_no_role() {
    let credential = notifying();
    for verb in ["list", "patch"] {
        let mut world = world(
            &credential,
            (5, 60),
            Some(failed(1, &NotifyError::Forbidden(verb))),
        );
        world.notify_rights = Arc::new(Rights {
            role: String::new(),
            account: "apicred-system:apicred".to_owned(),
        });
        let view = status(&credential, &world, &Outcome::Steady, None, at(0));
        let risk = condition(&view.status, "LifetimeAtRisk").unwrap();
        for expected in [
            "rbac.create",
            "notifyPods.create",
            "right to list and patch pods",
            "ServiceAccount apicred-system:apicred",
        ] {
            assert!(
                risk.message.contains(expected),
                "{expected}: {}",
                risk.message
            );
        }
        for expected in ["rolebinding", "notify-pods"] {
            assert!(
                !risk.message.contains(expected),
                "{expected}: {}",
                risk.message
            );
        }
    }
}
