mod lifetimes;

use crate::Reason;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::json;

use crate::{
    api::{ApiCredentialStatus, AttemptResult},
    credential::FieldError,
    fixtures::{
        at, credential, credential_with, holding, object, observed, ours, published, record, secs,
    },
    oauth::{Class, TokenError},
    plan::{
        Observed, Outcome, RenewalCause, fail, invalid,
        states::{failing, minted, missing, states, token_error, waiting},
        status, unlisted,
    },
    publish::ownership::{SecretFacts, Target},
};

pub(super) fn condition<'a>(status: &'a ApiCredentialStatus, kind: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|c| c.type_ == kind)
}

/// Conditions as `Ready=True/TokenPublished RenewalFailing=True/IssuerTimeout`.
pub(super) fn short(status: &ApiCredentialStatus) -> String {
    let expected: Vec<String> = status
        .conditions
        .iter()
        .map(|c| format!("{}={}/{}", c.type_, c.status, c.reason))
        .collect();
    expected.join(" ")
}

#[test]
fn conditions_report_the_state() {
    let credential = credential();
    for state in states(&credential) {
        let (name, expected) = (state.name, state.conditions);
        let view = status(&credential, &state.observed, &state.outcome, None, at(0));
        assert_eq!(short(&view.status), expected, "{name}");
        assert_eq!(view.status.observed_generation, Some(3), "{name}");
        assert!(
            view.status
                .conditions
                .iter()
                .all(|c| c.observed_generation == Some(3)),
            "{name}"
        );
    }
}

#[test]
fn a_secret_that_is_propagating_is_no_reason_to_be_stalled() {
    let credential = credential();
    let mut world = observed(&credential);
    world.sources[0].changed_at = Some(at(-10));
    let about_client = TokenError {
        about_client: true,
        ..token_error(Class::Denied)
    };
    world.memory = fail(&credential, &world, about_client, at(0));
    let view = status(&credential, &world, &Outcome::Failed, None, at(0));
    assert!(condition(&view.status, "Stalled").is_none());
    assert!(
        condition(&view.status, "RenewalFailing")
            .unwrap()
            .message
            .contains("may not know the new client secret yet")
    );
}

/// An issuer usually knows a new secret within seconds. A pipeline must not wait as long as apicred retries it often.
#[test]
fn a_new_secret_that_is_refused_for_two_minutes_is_stalled_and_still_tried_often() {
    let credential = credential();
    let mut world = Observed {
        target: Target::Absent,
        ..observed(&credential)
    };
    let refuse = |world: &mut Observed, now: i64| {
        let token_error = TokenError {
            about_client: true,
            ..token_error(Class::Denied)
        };
        world.memory = fail(&credential, world, token_error, at(now));
        let next = world.memory.failure.as_ref().unwrap().next_attempt;
        assert!(next <= at(now + 36), "at {now}: {next}");
        Outcome::Failed
    };
    world.sources[0].changed_at = Some(at(-10));
    let mut old = None;
    for (now, tried, expected) in [
        (0, true, "Reconciling"),
        (30, true, "Reconciling"),
        (100, true, "Reconciling"),
        (109, false, "Reconciling"),
        (110, false, "Stalled"),
        (280, true, "Stalled"),
    ] {
        let outcome = if tried {
            refuse(&mut world, now)
        } else {
            Outcome::Backoff
        };
        let view = status(&credential, &world, &outcome, old.as_ref(), at(now));
        assert_eq!(view.status.conditions[1].type_, expected, "at {now}");
        // The next attempt is due after 20 s, the change of the condition before it.
        let turns = now != 100 || view.requeue <= Duration::from_secs(10);
        assert!(turns, "{:?}", view.requeue);
        old = Some(view.status);
    }
    // Another value is new again, whatever was reported about the previous one.
    world.sources[0].present = Some(("source-uid".to_owned(), "9".to_owned()));
    world.sources[0].changed_at = Some(at(290));
    let outcome = refuse(&mut world, 291);
    let view = status(&credential, &world, &outcome, old.as_ref(), at(291));
    assert_eq!(view.status.conditions[1].type_, "Reconciling");
}

#[test]
fn ready_changes_when_the_token_expires_and_a_reconcile_is_planned_for_it() {
    let credential = credential();
    let world = failing(
        &credential,
        holding(&credential, record(&credential, (-3590, -1800, 10))),
        Class::NeedsUser,
    );
    for (now, ready) in [(0, "True"), (9, "True"), (10, "False"), (11, "False")] {
        let view = status(&credential, &world, &Outcome::Backoff, None, at(now));
        assert_eq!(
            condition(&view.status, "Ready").unwrap().status,
            ready,
            "at {now}"
        );
        if now < 10 {
            let left = Duration::from_secs(u64::try_from(10 - now).unwrap());
            assert!(view.requeue <= left, "at {now}: {:?}", view.requeue);
        }
    }
}

#[test]
fn a_token_of_an_older_spec_is_not_ready() {
    let mut credential = credential();
    let world = observed(&credential);
    credential.request.scopes = vec!["another".to_owned()];
    let view = status(&credential, &world, &waiting(), None, at(0));
    assert_eq!(condition(&view.status, "Ready").unwrap().status, "False");
    assert_eq!(
        view.status.expires_at.unwrap().0,
        at(3300),
        "but its expiry is still reported"
    );
}

#[test]
fn a_transition_time_moves_exactly_when_the_status_flips() {
    let credential = credential();
    let good = observed(&credential);
    let bad = failing(&credential, observed(&credential), Class::Transient);
    let worse = Observed {
        target: Target::Absent,
        ..bad.clone()
    };
    let first = status(&credential, &good, &Outcome::Steady, None, at(0)).status;
    let second = status(&credential, &bad, &Outcome::Failed, Some(&first), at(60)).status;
    let third = status(
        &credential,
        &worse,
        &Outcome::Backoff,
        Some(&second),
        at(120),
    )
    .status;
    let fourth = status(&credential, &good, &Outcome::Steady, Some(&third), at(180)).status;
    let since =
        |s: &ApiCredentialStatus, kind: &str| condition(s, kind).unwrap().last_transition_time.0;
    let ready: Vec<_> = [&first, &second, &third, &fourth]
        .map(|s| since(s, "Ready"))
        .into();
    assert_eq!(ready, [at(0), at(0), at(120), at(180)]);
    let reconciling = condition(&third, "Reconciling").unwrap();
    assert_eq!(reconciling.last_transition_time.0, at(120));
    assert_eq!(since(&second, "RenewalFailing"), at(60));
}

#[test]
fn status_shows_the_facts_of_the_secret_and_of_the_last_attempt() {
    let credential = credential();
    let world = observed(&credential);
    let fresh = status(&credential, &world, &minted(RenewalCause::Due), None, at(0)).status;
    assert_eq!(fresh.client_in_use().as_deref(), Some("client/secret"));
    assert_eq!(fresh.issued_at.unwrap().0, at(-300));
    assert_eq!(fresh.renew_at.unwrap().0, at(1500));
    let attempt = fresh.last_attempt.unwrap();
    assert_eq!(
        (attempt.result, attempt.correlation_id.as_deref()),
        (AttemptResult::Succeeded, Some("id-1"))
    );
    let world = failing(&credential, world, Class::Transient);
    let after = status(&credential, &world, &Outcome::Failed, None, at(0)).status;
    let attempt = after.last_attempt.unwrap();
    assert_eq!(
        (attempt.result, attempt.reason.as_deref()),
        (AttemptResult::Failed, Some("RequestRefused"))
    );
    assert_eq!(after.consecutive_failures, Some(1));
    assert!(after.next_attempt.unwrap().0 >= at(1));
}

#[test]
fn a_long_message_is_cut_at_a_character() {
    let credential = credential();
    let outcome = Outcome::Refused {
        reason: Reason::TargetInvalid,
        message: "ü".repeat(3000),
    };
    let view = status(&credential, &observed(&credential), &outcome, None, at(0));
    assert_eq!(
        condition(&view.status, "RenewalFailing")
            .unwrap()
            .message
            .chars()
            .count(),
        1024
    );
}

pub(super) fn facts(target: &Target) -> SecretFacts {
    let Target::Ours { published, .. } = target else {
        panic!("not ours")
    };
    SecretFacts {
        uid: "secret-uid".to_owned(),
        version: "42".to_owned(),
        deleting: false,
        adopt_by: None,
        published: Some(published.clone()),
        controller: None,
        created_at: None,
        secret_expires_at: None,
        expiry_unreadable: false,
        rotated_until: None,
        unread: None,
        wants_copy: false,
        last_good: None,
    }
}

#[test]
fn an_issuer_that_went_away_leaves_a_good_token_ready_and_a_spec_edit_does_not() {
    let credential = credential();
    let facts = facts(&observed(&credential).target);
    let before = status(
        &credential,
        &observed(&credential),
        &Outcome::Steady,
        None,
        at(0),
    )
    .status;
    let errors = [FieldError::new("spec.issuerRef", "is gone").because(Reason::IssuerNotFound)];
    let mut edited = object(&json!({}));
    let view = invalid(&edited, Some(&before), Some(&facts), &errors, at(1));
    assert_eq!(
        short(&view.status),
        "Ready=True/TokenPublished RenewalFailing=True/IssuerNotFound"
    );
    assert_eq!(view.status.expires_at, before.expires_at);
    assert!(
        invalid(&edited, Some(&view.status), Some(&facts), &errors, at(2)).status == view.status
    );
    let ended = invalid(&edited, Some(&view.status), Some(&facts), &errors, at(3300));
    assert_eq!(
        short(&ended.status),
        "Ready=False/IssuerNotFound Stalled=True/IssuerNotFound RenewalFailing=True/IssuerNotFound"
    );
    // An edit of the client does not change the generation of the credential: pods can use the present token.
    for reason in [Reason::ClientNotFound, Reason::InvalidSpec] {
        let errors = [FieldError::new("spec.clientRef", "is wrong").because(reason)];
        let view = invalid(&edited, Some(&before), Some(&facts), &errors, at(1));
        let expected = format!("Ready=True/TokenPublished RenewalFailing=True/{reason}");
        assert_eq!(short(&view.status), expected);
        let reported: Vec<_> = view.notices.iter().map(|n| n.reason.as_str()).collect();
        assert_eq!(reported, [reason.as_str()], "at once");
    }
    edited.metadata.generation = Some(4);
    let view = invalid(&edited, Some(&view.status), Some(&facts), &errors, at(3));
    assert_eq!(
        condition(&view.status, "Ready").unwrap().message,
        "spec.issuerRef: is gone"
    );
    assert_eq!(condition(&view.status, "Ready").unwrap().status, "False");
}

#[test]
fn what_may_still_come_stalls_after_two_minutes_without_another_event() {
    let credential = credential();
    let empty = Observed {
        target: Target::Absent,
        ..observed(&credential)
    };
    let not_found = [FieldError::new("spec.issuerRef", "is gone").because(Reason::IssuerNotFound)];
    let absent = object(&json!({}));
    let by_plan = |old: Option<&ApiCredentialStatus>, now| {
        status(
            &credential,
            &empty,
            &missing(Reason::SourceMissing),
            old,
            at(now),
        )
    };
    let by_parse =
        |old: Option<&ApiCredentialStatus>, now| invalid(&absent, old, None, &not_found, at(now));
    for parsed in [true, false] {
        let view = |old: Option<&ApiCredentialStatus>, now| {
            if parsed {
                by_plan(old, now)
            } else {
                by_parse(old, now)
            }
        };
        let first = view(None, 0);
        let progress = |s: &ApiCredentialStatus| s.conditions[1].type_.clone();
        assert_eq!(progress(&first.status), "Reconciling");
        assert_eq!(first.requeue, Duration::from_mins(2));
        assert_eq!(first.notices.len(), 1);
        let early = view(Some(&first.status), 119);
        assert_eq!(early.status, first.status);
        assert_eq!(early.requeue, Duration::from_secs(1));
        let late = view(Some(&early.status), 120);
        assert_eq!(progress(&late.status), "Stalled");
        assert!(late.notices.is_empty(), "the same fault");
        assert_eq!(view(Some(&late.status), 500).status, late.status);
    }
    // If the spec itself has a fault, nothing is waited for.
    let [not_found] = not_found;
    let errors = [not_found, FieldError::new("spec.scopes", "is wrong")];
    let view = invalid(&absent, None, None, &errors, at(0));
    assert_eq!(view.status.conditions[1].type_, "Stalled");
}

#[test]
fn an_invalid_spec_reports_nothing_about_another_credentials_secret() {
    let mut foreign = published(
        &credential(),
        Some(record(&credential(), (-300, 1500, 3300))),
    );
    foreign.credential_uid = "somebody-else".to_owned();
    let facts = facts(&ours(foreign));
    let errors = [FieldError::new("spec", "is wrong")];
    let view = invalid(&object(&json!({})), None, Some(&facts), &errors, at(0));
    assert_eq!(view.status.expires_at, None);
    assert_eq!(condition(&view.status, "Ready").unwrap().status, "False");
}

#[test]
fn a_list_that_is_missing_is_reported_and_takes_nothing_from_what_is_known() {
    let credential = credential();
    let facts = facts(&observed(&credential).target);
    let steady = |world| status(&credential, world, &Outcome::Steady, None, at(0)).status;
    let before = steady(&observed(&credential));
    let object = object(&json!({}));
    let view = unlisted(&object, Some(&before), Some(&facts), "apiclients", at(1));
    assert_eq!(
        short(&view.status),
        "Ready=True/TokenPublished RenewalFailing=True/NamespaceNotReadable"
    );
    let why = &condition(&view.status, "RenewalFailing").unwrap().message;
    assert!(why.starts_with("apicred may not list apiclients"), "{why}");
    // Without the list of Secrets it is not known whether the token exists.
    let view = unlisted(&object, Some(&before), None, "secrets", at(1));
    assert_eq!(
        short(&view.status),
        "Ready=False/NamespaceNotReadable Reconciling=True/NamespaceNotReadable"
    );
    let facts = |s: &ApiCredentialStatus| {
        let times = (
            s.issued_at.clone(),
            s.expires_at.clone(),
            s.renew_at.clone(),
        );
        (times, s.client.clone(), s.token_id.clone())
    };
    assert_eq!(facts(&view.status), facts(&before));
}
