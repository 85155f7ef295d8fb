use crate::Reason;
use crate::{
    credential::Credential,
    fixtures::{at, credential, holding, mark, observed, record, refused, secs, token},
    oauth::{Class, TokenError},
    plan::{
        Memory, NewToken, Observed, OwnWrites, RenewalCause, fail, fingerprint, record as note,
        stamp,
    },
    publish::ownership::Target,
};

fn token_error(class: Class) -> TokenError {
    TokenError {
        about_client: class == Class::Denied,
        ..TokenError::local(class, Reason::RequestRefused, "do something")
    }
}

fn failure(credential: &Credential, world: &Observed, class: Class) -> crate::plan::Failure {
    fail(credential, world, token_error(class), at(0))
        .failure
        .unwrap()
}

#[test]
fn failures_of_the_same_inputs_are_counted() {
    let credential = credential();
    let mut world = observed(&credential);
    for count in 1..=3 {
        world.memory = fail(&credential, &world, token_error(Class::Transient), at(0));
        assert_eq!(world.memory.failure.as_ref().unwrap().failures, count);
    }
}

/// The mark of a refresh is set and removed at each attempt, which changes the version of the state Secret.
#[test]
fn own_writes_of_a_source_do_not_restart_the_count() {
    let credential = credential();
    let mut world = observed(&credential);
    let mut state = world.sources[0].clone();
    state.reference.name = "state".to_owned();
    world.grant_sources = vec![state];
    let mut versions: Vec<String> = Vec::new();
    for count in 1..=5 {
        let earlier = fail(&credential, &world, token_error(Class::Denied), at(0));
        let failure = earlier.failure.as_ref().unwrap();
        assert_eq!((failure.failures, failure.changed), (count, None));
        let own = OwnWrites {
            version: format!("{}", 100 + count),
            stands_for: "7".to_owned(),
            changed_at: None,
        };
        // The watch has just shown it.
        world.grant_sources[0].present = Some(("source-uid".to_owned(), own.version.clone()));
        world.grant_sources[0].changed_at = Some(at(0));
        world.memory = earlier;
        world.memory.own_writes = Some(own);
        versions.push(stamp(&credential, &world));
    }
    versions.dedup();
    assert_eq!(versions.len(), 1);
    // A later write by another writer counts at once.
    world.grant_sources[0].present = Some(("source-uid".to_owned(), "999".to_owned()));
    assert!(
        world
            .memory
            .failure_of(&stamp(&credential, &world))
            .is_none()
    );
    let next = fail(&credential, &world, token_error(Class::Denied), at(0));
    assert_eq!(next.failure.unwrap().changed, Some(at(0)));
}

#[test]
fn a_try_that_makes_sense_at_one_time_waits_for_it() {
    let credential = credential();
    let world = observed(&credential);
    let later = TokenError {
        retry_at: Some(at(3300)),
        ..token_error(Class::NeedsUser)
    };
    let failure = fail(&credential, &world, later, at(0)).failure.unwrap();
    assert_eq!(failure.next_attempt, at(3300));
}

#[test]
fn a_change_of_any_input_restarts_the_count() {
    type Change = fn(&mut Credential, &mut Observed);
    let changes: [(&str, Change); 7] = [
        ("spec", |c, _| c.request.scopes.push("more".to_owned())),
        ("issuer", |c, _| c.issuer.version.push('x')),
        ("style", |c, _| c.issuer.style = None),
        ("source", |_, o| {
            o.sources[0].present = Some(("source-uid".to_owned(), "8".to_owned()));
        }),
        // A refused write is not relevant any more after the Secret was removed.
        ("target", |_, o| o.target = Target::Absent),
        ("source gone", |_, o| o.sources[0].present = None),
        ("renewal request", |c, _| {
            c.renew_requested = Some("a".to_owned());
        }),
    ];
    for (what, change) in changes {
        let mut credential = credential();
        let mut world = observed(&credential);
        world.memory = fail(&credential, &world, token_error(Class::Denied), at(0));
        let before = stamp(&credential, &world);
        change(&mut credential, &mut world);
        assert!(world.memory.failure_of(&before).is_some(), "{what}");
        assert!(
            world
                .memory
                .failure_of(&stamp(&credential, &world))
                .is_none(),
            "{what}"
        );
        assert_eq!(
            failure(&credential, &world, Class::Denied).failures,
            1,
            "{what}"
        );
    }
}

#[test]
fn a_secret_that_is_refused_just_after_its_change_is_tried_again_soon() {
    let credential = credential();
    for (changed, class, soon) in [
        (Some(-10), Class::Denied, true),
        (Some(-299), Class::Denied, true),
        (Some(-300), Class::Denied, false),
        (None, Class::Denied, false),
        (Some(-10), Class::Invalid, false),
    ] {
        let mut world = observed(&credential);
        world.target = Target::Absent;
        world.sources[0].changed_at = changed.map(at);
        let failure = failure(&credential, &world, class);
        assert_eq!(
            failure.changed,
            changed.filter(|_| soon).map(at),
            "{changed:?} {class:?}"
        );
        assert_eq!(failure.next_attempt < at(30), soon, "{changed:?} {class:?}");
    }
}

#[test]
fn a_failed_renewal_is_retried_while_the_minimum_lifetime_can_still_be_saved() {
    let credential = credential();
    // 20 min are left; the minimum is 15 min and the mount delay 2 min: three minutes remain.
    let world = holding(&credential, record(&credential, (-2400, -600, 1200)));
    assert_eq!(
        failure(&credential, &world, Class::Invalid).next_attempt,
        at(180)
    );
    let mut without = world;
    without.target = Target::Absent;
    assert!(failure(&credential, &without, Class::Invalid).next_attempt >= at(300));
}

#[test]
fn a_failure_keeps_what_is_remembered_of_refused_secrets() {
    let credential = credential();
    let request = fingerprint::request(&credential);
    let mut world = observed(&credential);
    world.memory.refuse(refused(&credential, "7"));
    let memory = fail(&credential, &world, token_error(Class::Denied), at(0));
    assert!(memory.refused_source(&mark("7"), &request).is_some());
    assert!(
        memory.refused_source(&mark("8"), &request).is_none(),
        "another version is another secret"
    );
    assert!(
        memory.refused_source(&mark("7"), "other").is_none(),
        "another request is another answer"
    );
}

#[test]
fn the_secret_teaches_a_new_process_which_sources_were_refused() {
    let credential = credential();
    let mut noted = record(&credential, (0, 1, 2));
    noted.sources.refused = vec![refused(&credential, "3")];
    let mut memory = Memory::default();
    memory.learn(&noted);
    memory.learn(&noted);
    assert_eq!(memory.refused, noted.sources.refused);
    // Others may write to the Secret, and the reason is shown.
    for reason in ["", "not a reason", "<b>", &"x".repeat(65)] {
        noted.sources.refused[0].reason = reason.into();
        let mut memory = Memory::default();
        memory.learn(&noted);
        assert!(memory.refused.is_empty(), "{reason}");
    }
}

#[test]
fn a_new_record_notes_the_request_the_times_and_the_requested_renewal() {
    let mut credential = credential();
    credential.renew_requested = Some("please".to_owned());
    let sources = record(&credential, (0, 1, 2)).sources;
    let mut answer = token("t");
    answer.refresh_in = Some(secs(900));
    let noted = note(
        &credential,
        NewToken {
            token: &answer,
            token_digest: "digest".to_owned(),
            fingerprint: "print".to_owned(),
            sources: sources.clone(),
            certificate_validity: None,
        },
        (crate::plan::schedule::Promise::default(), 0),
    );
    assert_eq!((noted.issued_at, noted.expires_at), (at(0), at(3600)));
    assert!(noted.renew_at > at(700) && noted.renew_at <= at(900));
    assert_eq!(noted.renew_reason, "RefreshIn");
    assert_eq!(noted.lifetime, "ExpiresIn");
    assert_eq!(
        (noted.fingerprint.as_str(), noted.token_digest.as_str()),
        ("print", "digest")
    );
    assert_eq!(
        (noted.sources, noted.renew_handled.as_deref()),
        (sources, Some("please"))
    );
}

#[test]
fn repairs_are_free_five_times_then_wait_longer_and_longer() {
    let mut memory = Memory::default();
    let mut now = 0;
    let mut waits = Vec::new();
    for _ in 0..12 {
        memory.published(RenewalCause::Edited, at(now));
        let calm = memory.calm_until(RenewalCause::Absent).unwrap_or(at(now));
        let wait = calm.duration_since(at(now)).as_secs();
        waits.push(wait);
        now += wait + 1;
    }
    assert_eq!(waits, [0, 0, 0, 0, 0, 10, 20, 40, 80, 160, 300, 300]);
    assert_eq!(
        memory.calm_until(RenewalCause::Due),
        None,
        "a rotation is no repair"
    );
    // A rotation in between changes nothing, ten quiet minutes do.
    memory.published(RenewalCause::Due, at(now));
    assert!(memory.calm_until(RenewalCause::Edited).is_some());
    memory.published(RenewalCause::Edited, at(now + 700));
    assert_eq!(memory.calm_until(RenewalCause::Edited), None);
}

#[test]
fn quick_tries_of_a_propagating_secret_do_not_lengthen_the_waits_after_them() {
    let credential = credential();
    let mut world = observed(&credential);
    world.target = Target::Absent;
    world.sources[0].changed_at = Some(at(-10));
    for _ in 0..9 {
        world.memory = fail(&credential, &world, token_error(Class::Denied), at(0));
    }
    assert_eq!(world.memory.failure.as_ref().unwrap().failures, 9);
    world.memory = fail(&credential, &world, token_error(Class::Denied), at(400));
    let after = world.memory.failure.unwrap();
    assert_eq!((after.failures, after.changed), (1, None));
    assert!(after.next_attempt < at(400 + 73));
}
