//! The wait of a failing credential survives a restart.

use crate::Reason;
use proptest::prelude::*;
use serde_json::json;

use crate::{
    api::ApiCredentialStatus,
    credential::{Credential, FieldError},
    fixtures::{at, credential, credential_with, holding, object, observed, record, secs},
    oauth::{Class, Stage, TokenError},
    plan::{
        Hold, Memory, Observed, Outcome, Plan, fail, invalid, plan, schedule, status, stop_unclear,
        unlisted,
    },
    publish::ownership::Target,
};

/// Without a token after some failed attempts, with its status.
fn failing(credential: &Credential, held: bool, attempts: u32) -> (Observed, ApiCredentialStatus) {
    let mut world = observed(credential);
    world.target = Target::Absent;
    world.held = held;
    let token_error = || TokenError {
        about_client: true,
        http_status: Some(401),
        ..TokenError::local(
            Class::Denied,
            Reason::ClientSecretRefused,
            "correct the secret",
        )
    };
    for _ in 0..attempts {
        world.memory = fail(credential, &world, token_error(), at(0));
    }
    world
        .memory
        .refuse(crate::fixtures::refused(credential, "7"));
    let reported = status(credential, &world, &Outcome::Failed, None, at(0)).status;
    (world, reported)
}

/// The same observation by another process.
fn restarted(world: &Observed) -> Observed {
    Observed {
        memory: Memory::default(),
        held: false,
        ..world.clone()
    }
}

fn recall(
    credential: &Credential,
    world: &Observed,
    reported: &ApiCredentialStatus,
    now: i64,
) -> Observed {
    let mut world = world.clone();
    let mut memory = world.memory.clone();
    memory.recall(credential, &world, Some(reported), at(now));
    world.memory = memory;
    world
}

#[test]
fn a_new_process_waits_as_long_as_the_old_one_would_and_writes_nothing() {
    let credential = credential();
    // A token that was held and could not be written is lost. It is not requested again before its time either.
    for held in [false, true] {
        let (world, reported) = failing(&credential, held, 3);
        let next = reported.next_attempt.clone().unwrap().0;
        let again = recall(&credential, &restarted(&world), &reported, 10);
        let waits = plan(&credential, &again, at(10));
        assert_eq!(
            waits,
            Plan::Hold {
                until: next,
                why: Hold::Backoff
            },
            "{held}"
        );
        let view = status(
            &credential,
            &again,
            &Outcome::Backoff,
            Some(&reported),
            at(10),
        );
        assert_eq!(view.status, reported, "{held}");
        assert!(view.notices.is_empty(), "{held}");
        assert!(matches!(plan(&credential, &again, next), Plan::Mint(_)));
    }
}

#[test]
fn failures_are_counted_on() {
    let credential = credential();
    let (world, reported) = failing(&credential, false, 3);
    let again = recall(&credential, &restarted(&world), &reported, 4000);
    let token_error = TokenError::local(Class::Denied, Reason::ClientSecretRefused, "x");
    let memory = fail(&credential, &again, token_error, at(4000));
    assert_eq!(memory.failure.unwrap().failures, 4);
}

#[test]
fn whatever_has_changed_meanwhile_ends_the_wait() {
    type Change = fn(&mut Credential, &mut Observed);
    let changes: [(&str, Change); 6] = [
        ("spec", |c, _| c.request.scopes.push("more".to_owned())),
        ("issuer", |c, _| c.issuer.version.push('x')),
        ("source", |_, o| {
            o.sources[0].present = Some(("source-uid".to_owned(), "8".to_owned()));
        }),
        ("request", |c, _| c.renew_requested = Some("a".to_owned())),
        ("target", |_, o| o.target = Target::Foreign("x".to_owned())),
        ("source gone", |_, o| o.sources[0].present = None),
    ];
    for (what, change) in changes {
        let mut credential = credential();
        let (world, reported) = failing(&credential, false, 3);
        let mut world = restarted(&world);
        change(&mut credential, &mut world);
        let again = recall(&credential, &world, &reported, 10);
        assert!(again.memory.failure.is_none(), "{what}");
    }
}

#[test]
fn a_status_of_success_or_without_a_next_attempt_is_nothing_to_wait_for() {
    let credential = credential();
    let (world, reported) = failing(&credential, false, 1);
    let world = restarted(&world);
    let without = |change: fn(&mut ApiCredentialStatus)| {
        let mut reported = reported.clone();
        change(&mut reported);
        recall(&credential, &world, &reported, 10)
            .memory
            .failure
            .is_some()
    };
    assert!(without(|_| {}));
    assert!(!without(|s| s.next_attempt = None));
    assert!(!without(|s| s.consecutive_failures = None));
    assert!(!without(|s| s.last_attempt = None));
    assert!(!without(|s| s.last_attempt.as_mut().unwrap().inputs = None));
    // Recorded by a clock that was ahead.
    assert!(!without(|s| {
        s.last_attempt.as_mut().unwrap().time.0 = at(9999);
    }));
}

#[test]
fn a_token_that_was_published_all_the_same_ends_it() {
    let credential = credential();
    let mut world = holding(&credential, record(&credential, (-1900, -10, 1700)));
    let token_error = TokenError::local(Class::Transient, Reason::KubernetesUnavailable, "x");
    world.memory = fail(&credential, &world, token_error, at(0));
    let reported = status(&credential, &world, &Outcome::Failed, None, at(0)).status;
    let fresh = holding(&credential, record(&credential, (1, 1800, 3601)));
    let again = recall(&credential, &fresh, &reported, 2);
    assert!(matches!(
        plan(&credential, &again, at(2)),
        Plan::Keep { .. }
    ));
}

fn by_password(username: &str) -> Credential {
    credential_with(&json!({ "grant": { "password": {
        "username": username, "passwordRef": { "name": "user", "key": "password" } } } }))
}

/// A credential whose password was refused, and its status.
fn refused_password() -> (Credential, Observed, ApiCredentialStatus) {
    let credential = by_password("robot");
    let mut world = observed(&credential);
    world.target = Target::Absent;
    world.grant_sources = credential
        .grant_sources()
        .into_iter()
        .map(|reference| crate::plan::Source {
            reference,
            ..world.sources[0].clone()
        })
        .collect();
    let token_error = TokenError {
        until_change: true,
        ..TokenError::local(Class::Denied, Reason::PasswordRefused, "x")
    };
    world.memory = fail(&credential, &world, token_error, at(0));
    for mark in world
        .grant_sources
        .clone()
        .iter()
        .filter_map(crate::plan::Source::mark)
    {
        world.memory.refuse(crate::publish::RefusedSource {
            mark,
            ..crate::fixtures::refused(&credential, "7")
        });
    }
    let reported = status(&credential, &world, &Outcome::Failed, None, at(0)).status;
    (credential, world, reported)
}

fn holds(credential: &Credential, world: &Observed, now: i64) -> bool {
    match plan(credential, world, at(now)) {
        Plan::Hold { .. } => true,
        Plan::Mint(_) => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_refused_password_is_recalled_without_an_end() {
    let (credential, world, reported) = refused_password();
    let again = recall(&credential, &restarted(&world), &reported, 10);
    assert!(holds(&credential, &again, 999_999));
    let mut corrected = restarted(&world);
    corrected.grant_sources[0].present = Some(("u".to_owned(), "new".to_owned()));
    let again = recall(&credential, &corrected, &reported, 10);
    assert!(!holds(&credential, &again, 10));
}

/// An edit of an `ApiClient` does not change the generation of a credential, and an edit of a credential need not change its request.
#[test]
fn a_refused_password_waits_for_another_client_issuer_user_or_password_and_for_no_other_change() {
    type Change = fn(&mut Credential, &mut Observed);
    let ends: [(&str, Change); 6] = [
        ("client", |c, _| c.client_id.push('x')),
        ("client secret", |_, o| {
            o.sources[0].present = Some(("source-uid".to_owned(), "8".to_owned()));
        }),
        ("issuer", |c, _| c.issuer.version.push('x')),
        ("user", |c, _| *c = by_password("another")),
        ("password", |_, o| {
            o.grant_sources[0].present = Some(("source-uid".to_owned(), "8".to_owned()));
        }),
        ("request", |c, _| c.renew_requested = Some("a".to_owned())),
    ];
    let stays: [(&str, Change); 3] = [
        ("nothing", |_, _| {}),
        ("generation", |c, _| c.generation += 1),
        ("target", |_, o| {
            let version = "1".to_owned();
            o.target = Target::Adoptable { version };
        }),
    ];
    let ends = ends.into_iter().map(|case| (case, false));
    for ((what, change), held) in ends.chain(stays.into_iter().map(|case| (case, true))) {
        let (mut credential, mut world, reported) = refused_password();
        change(&mut credential, &mut world);
        // In the process that saw the token error, and in the next one.
        let failing = world.failure(&credential).is_some();
        assert_eq!(failing, held, "{what}");
        let again = recall(&credential, &restarted(&world), &reported, 10);
        assert_eq!(holds(&credential, &again, 10), held, "{what}");
    }
}

/// Status is also written while the spec, the client or the issuer cannot be used, or a list is missing.
#[test]
fn a_wait_outlasts_a_time_in_which_the_credential_could_not_be_used() {
    let errors = [FieldError::new("spec.clientRef", "is gone").because(Reason::ClientNotFound)];
    let between = |reported: &ApiCredentialStatus, listed: bool| {
        let object = object(&json!({}));
        let view = if listed {
            invalid(&object, Some(reported), None, &errors, at(5))
        } else {
            unlisted(&object, Some(reported), None, "apiclients", at(5))
        };
        view.status
    };
    for listed in [false, true] {
        let (credential, world, reported) = refused_password();
        let reported = between(&reported, listed);
        let again = recall(&credential, &restarted(&world), &reported, 10);
        assert!(holds(&credential, &again, 999_999), "{listed}");

        let credential = crate::fixtures::credential();
        let (world, reported) = failing(&credential, false, 3);
        let until = reported.next_attempt.clone().unwrap().0;
        let reported = between(&reported, listed);
        let again = recall(&credential, &restarted(&world), &reported, 10);
        let waits = plan(&credential, &again, at(10));
        let why = Hold::Backoff;
        assert_eq!(waits, Plan::Hold { until, why }, "{listed}");
    }
}

/// Only requests that may have reached the issuer count towards the limit, also those of another process.
#[test]
fn a_restart_neither_forgets_nor_invents_requests_with_a_password_without_an_answer() {
    let credential = by_password("robot");
    for (stages, stops) in [
        ([Stage::Connect; 3], false),
        ([Stage::Timeout, Stage::Connect, Stage::Connect], false),
        ([Stage::Timeout, Stage::Connect, Stage::Timeout], true),
    ] {
        let error = |stage: Stage| TokenError {
            not_sent: stage == Stage::Connect,
            ..TokenError::local(Class::Transient, Reason::IssuerUnreachable, "x").at(stage)
        };
        let mut world = observed(&credential);
        world.target = Target::Absent;
        for stage in stages {
            world.memory = fail(&credential, &world, error(stage), at(0));
        }
        let reported = status(&credential, &world, &Outcome::Failed, None, at(0)).status;
        let again = recall(&credential, &restarted(&world), &reported, 10);
        let mut last = error(Stage::Timeout);
        stop_unclear(&credential, &again, &mut last, at(10));
        assert_eq!(last.until_change, stops, "{stages:?}");
    }
}

proptest! {
    /// A user who may write the status can delay an attempt, but not longer than a real failure would.
    #[test]
    fn a_forged_status_delays_by_a_bounded_time(next in any::<i32>(), failures in any::<i32>(), time in -9999_i64..9999, now in -5000_i64..5000) {
        let credential = credential();
        let (world, mut reported) = failing(&credential, false, 1);
        reported.next_attempt.as_mut().unwrap().0 = at(i64::from(next));
        reported.consecutive_failures = Some(failures);
        reported.last_attempt.as_mut().unwrap().time.0 = at(time);
        let again = recall(&credential, &restarted(&world), &reported, now);
        match plan(&credential, &again, at(now)) {
            Plan::Hold { until, .. } => prop_assert!(until <= schedule::later(at(now), secs(72 * 60))),
            Plan::Mint(_) => {}
            other => prop_assert!(false, "{:?}", other),
        }
    }
}

/// A refused password that is sent again counts towards a lockout, and the reuse of a spent refresh token counts as theft.
#[test]
fn no_clock_that_is_set_ends_a_wait_for_a_change() {
    let credential = credential();
    let mut world = observed(&credential);
    world.target = Target::Absent;
    let token_error = |until_change| TokenError {
        until_change,
        ..TokenError::local(
            Class::Denied,
            Reason::PasswordRefused,
            "correct the password",
        )
    };
    for set in [
        -400 * 86_400,
        -86_400,
        -3600,
        -61,
        -1,
        1,
        3600,
        86_400,
        400 * 86_400,
    ] {
        world.memory = Memory::default();
        world.memory = fail(&credential, &world, token_error(true), at(0));
        let step = plan(&credential, &world, at(set));
        let waits = matches!(
            step,
            Plan::Hold {
                why: Hold::Backoff,
                ..
            }
        );
        assert!(waits, "{set}: {step:?}");
        // A failure that time may resolve is tried again if the clock was set back, because the real waiting time is not known.
        world.memory = fail(&credential, &world, token_error(false), at(0));
        if !(-61..=7200).contains(&set) {
            let step = plan(&credential, &world, at(set));
            assert!(matches!(step, Plan::Mint(_)), "{set}: {step:?}");
        }
    }
}
