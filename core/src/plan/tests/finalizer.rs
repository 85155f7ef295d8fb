use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use crate::{
    Reason,
    api::DeletionPolicy::{self, Delete, Retain, Revoke},
    oauth::{Class, TokenError},
    plan::finalizer::{Attempt, End, Facts, Step, step, time_left},
};

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_785_000_000 + second).unwrap()
}

fn impossible() -> Attempt {
    Attempt::Impossible("no endpoint".to_owned())
}

fn failed(next: u64) -> Attempt {
    Attempt::Failed {
        why: "it is down".to_owned(),
        next: s(next),
    }
}

/// Policy, finalizer, deleting, token, last attempt, seconds since the deletion, next step.
type Row = (
    Option<DeletionPolicy>,
    bool,
    bool,
    bool,
    Option<Attempt>,
    u64,
    Step,
);

#[rustfmt::skip]
fn rows() -> Vec<Row> {
    let not = |why: &str| Step::Remove(End::NotRevoked(why.to_owned()));
    let late = |why: &str| Step::Remove(End::TimedOut(why.to_owned()));
    let (revoked, unwanted) = (Step::Remove(End::Revoked), Step::Remove(End::NotWanted));
    vec![
        (Some(Delete), false, false, true, None, 0, Step::Leave),
        (Some(Retain), false, false, true, None, 0, Step::Leave),
        (Some(Revoke), false, false, false, None, 0, Step::Add),
        (Some(Revoke), false, false, true, None, 0, Step::Add),
        (Some(Revoke), true, false, true, None, 0, Step::Leave),
        (None, false, false, true, None, 0, Step::Leave),
        (None, true, false, true, None, 0, Step::Leave),
        (Some(Delete), true, false, true, None, 0, unwanted.clone()),
        (Some(Retain), true, false, true, None, 0, unwanted.clone()),
        // It is not added to an object that is being deleted: the API server refuses that.
        (Some(Revoke), false, true, true, None, 0, Step::Leave),
        (Some(Revoke), true, true, true, None, 0, Step::Revoke),
        (Some(Revoke), true, true, true, None, 59, Step::Revoke),
        (Some(Revoke), true, true, false, None, 0, Step::Remove(End::NoToken)),
        (Some(Delete), true, true, true, None, 0, unwanted.clone()),
        (Some(Delete), true, true, true, Some(failed(3)), 2, unwanted),
        (None, true, true, true, None, 0, not("apicred cannot read the spec of the credential")),
        (Some(Revoke), true, true, true, Some(Attempt::Revoked), 0, revoked.clone()),
        (Some(Revoke), true, true, true, Some(Attempt::Revoked), 600, revoked.clone()),
        (Some(Delete), true, true, true, Some(Attempt::Revoked), 0, revoked),
        (Some(Revoke), true, true, true, Some(impossible()), 0, not("no endpoint")),
        (Some(Revoke), true, true, true, Some(failed(3)), 2, Step::Wait(s(3))),
        (Some(Revoke), true, true, true, Some(failed(3)), 3, Step::Revoke),
        (Some(Revoke), true, true, true, Some(failed(600)), 2, Step::Wait(s(60))),
        (Some(Revoke), true, true, true, Some(failed(3)), 60, late("it is down")),
        (Some(Revoke), true, true, true, None, 60, late("too many revocations were waiting")),
    ]
}

#[test]
fn the_finalizer_is_there_while_it_is_wanted_and_until_the_token_is_revoked() {
    for (policy, present, deleting, has_token, last, passed, expected) in rows() {
        let last = last.as_ref();
        let facts = Facts {
            policy,
            present,
            deleting,
            has_token,
            last,
        };
        let next = step(facts, s(passed), s(60));
        assert_eq!(next, expected, "{facts:?} {passed}");
    }
}

#[test]
fn clocks_that_differ_neither_skip_the_revocation_nor_prolong_the_wait() {
    for (deleted_at, now, left) in [
        (0, 0, 60),
        (0, 20, 40),
        (0, 44, 16),
        // Late, or the operator's clock is ahead.
        (0, 46, 15),
        (0, 3_600, 15),
        // The operator's clock is behind.
        (3_600, 0, 60),
    ] {
        assert_eq!(time_left(at(deleted_at), at(now)), s(left), "{now}");
    }
    let extremes = [Timestamp::MIN, Timestamp::MAX, at(0)];
    for (deleted_at, now) in extremes.iter().flat_map(|a| extremes.map(|b| (*a, b))) {
        assert!((s(15)..=s(60)).contains(&time_left(deleted_at, now)));
    }
}

#[test]
fn what_may_pass_is_tried_again_and_what_does_not_is_not() {
    let token_error = |class, retry_after| TokenError {
        retry_after,
        ..TokenError::local(class, Reason::RevocationFailed, "it is down")
    };
    for class in [Class::Invalid, Class::Denied, Class::NeedsUser] {
        let ended = Attempt::failed(&token_error(class, None), s(0), 1);
        assert!(matches!(ended, Attempt::Impossible(_)), "{class:?}");
    }
    for class in [Class::Transient, Class::Throttled] {
        for (tries, retry_after, next) in [
            (1, None, 11),
            (2, None, 12),
            (3, None, 14),
            (4, None, 18),
            (5, None, 18),
            (u32::MAX, None, 18),
            (1, Some(s(30)), 40),
        ] {
            let ended = Attempt::failed(&token_error(class, retry_after), s(10), tries);
            let Attempt::Failed { next: at, .. } = ended else {
                panic!("{class:?}")
            };
            assert_eq!(at, s(next), "{tries}");
        }
    }
}

#[test]
fn a_token_that_was_not_revoked_is_reported_with_its_end() {
    let ends = [
        (End::NotWanted, None, None),
        (End::NoToken, None, None),
        (End::Revoked, Some("ok"), None),
        (
            End::NotRevoked("the issuer is gone".to_owned()),
            Some("failed"),
            Some("not revoked, it"),
        ),
        (
            End::TimedOut("the issuer is gone".to_owned()),
            Some("timeout"),
            Some("not revoked in time, it"),
        ),
    ];
    for (end, label, reported) in ends {
        assert_eq!(end.label(), label);
        let warning = end.warning(Some(at(0)));
        assert_eq!(warning.is_some(), reported.is_some());
        if let (Some(text), Some(reported)) = (warning, reported) {
            assert!(text.contains(reported) && text.contains("the issuer is gone"));
            assert!(text.contains(&at(0).to_string()));
        }
    }
}

fn attempts() -> impl Strategy<Value = Option<Attempt>> {
    prop_oneof![
        Just(None),
        Just(Some(Attempt::Revoked)),
        Just(Some(impossible())),
        (0..600_u64).prop_map(|next| Some(failed(next))),
    ]
}

proptest! {
    /// A deletion never waits beyond its deadline, and nothing is revoked that is not being deleted.
    #[test]
    fn no_deletion_waits_beyond_its_deadline(
        policy in prop::sample::select(vec![None, Some(Delete), Some(Retain), Some(Revoke)]),
        (present, deleting, has_token) in any::<(bool, bool, bool)>(),
        last in attempts(),
        passed in 0..120_u64,
        deadline in 15..=60_u64,
    ) {
        let facts = Facts { policy, present, deleting, has_token, last: last.as_ref() };
        let next = step(facts, s(passed), s(deadline));
        match &next {
            Step::Revoke => {
                prop_assert!(deleting && present && has_token && policy == Some(Revoke));
                prop_assert!(passed < deadline);
            }
            Step::Wait(until) => prop_assert!(*until > s(passed) && *until <= s(deadline)),
            Step::Add => prop_assert!(!deleting && !present),
            Step::Remove(_) => prop_assert!(present),
            Step::Leave => prop_assert!(!(present && deleting)),
        }
    }
}
