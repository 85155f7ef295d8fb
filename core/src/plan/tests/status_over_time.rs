use crate::Reason;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::status::condition;
use crate::{
    api::AttemptResult,
    fixtures::{at, credential, holding, json_answer, observed, record},
    oauth::{AnswerContext, Class, RawAnswer, TokenError, answer},
    plan::{
        Observed, Outcome, RenewalCause, Severity, View, fail,
        states::{failing, minted, refused, token_error, waiting},
        status,
    },
    publish::ownership::Target,
};

#[test]
fn a_restart_with_nothing_due_finds_its_own_status_again() {
    let credential = credential();
    let world = observed(&credential);
    let before = status(
        &credential,
        &world,
        &minted(RenewalCause::Absent),
        None,
        at(-300),
    );
    // The process remembers nothing; it has only the Secret and the old status.
    let after = status(
        &credential,
        &world,
        &Outcome::Steady,
        Some(&before.status),
        at(600),
    );
    assert_eq!(after.status, before.status);
    assert!(after.notices.is_empty());
}

fn reasons(view: &View) -> Vec<(Severity, &str)> {
    view.notices
        .iter()
        .map(|n| (n.severity, n.reason.as_str()))
        .collect()
}

#[test]
fn events_report_changes_and_never_a_healthy_rotation() {
    let credential = credential();
    let good = observed(&credential);
    let bad = failing(&credential, observed(&credential), Class::Transient);
    let say = |world: &Observed, outcome: &Outcome, before: Option<&View>| {
        status(
            &credential,
            world,
            outcome,
            before.map(|v| &v.status),
            at(0),
        )
    };
    let first = say(&good, &minted(RenewalCause::Absent), None);
    assert!(first.notices.is_empty(), "status says it");
    let mut none = failing(&credential, observed(&credential), Class::Denied);
    none.target = Target::Absent;
    let broken = say(&none, &Outcome::Failed, None);
    let late = say(&good, &minted(RenewalCause::Absent), Some(&broken));
    assert_eq!(reasons(&late), [(Severity::Normal, "TokenPublished")]);
    let rotation = say(&good, &minted(RenewalCause::Due), Some(&first));
    assert!(rotation.notices.is_empty());
    let failed = say(&bad, &Outcome::Failed, Some(&rotation));
    assert_eq!(reasons(&failed), [(Severity::Warning, "RequestRefused")]);
    let again = say(&bad, &Outcome::Backoff, Some(&failed));
    assert!(
        again.notices.is_empty(),
        "the same problem is reported once"
    );
    let mut other = bad.clone();
    other.memory = fail(
        &credential,
        &good,
        TokenError::local(Class::Transient, Reason::InvalidRequest, "x"),
        at(0),
    );
    let changed = say(&other, &Outcome::Backoff, Some(&again));
    assert_eq!(
        reasons(&changed),
        [(Severity::Warning, "InvalidRequest")],
        "another problem is news"
    );
    let recovered = say(&good, &minted(RenewalCause::Due), Some(&again));
    assert_eq!(reasons(&recovered), [(Severity::Normal, "Renewed")]);
    let repaired = say(&good, &minted(RenewalCause::Edited), Some(&recovered));
    assert_eq!(reasons(&repaired), [(Severity::Warning, "TargetRepaired")]);
    let paused = say(&good, &waiting(), Some(&recovered));
    assert!(
        paused.notices.is_empty(),
        "a pause of the issuer is reported by the credential that met it"
    );
    let resumed = say(&good, &minted(RenewalCause::Due), Some(&paused));
    assert!(
        resumed.notices.is_empty(),
        "the end of a pause is no recovery"
    );
    let late = holding(&credential, record(&credential, (-3000, -1200, 600)));
    let late = failing(&credential, late, Class::Transient);
    let at_risk = say(&late, &Outcome::Failed, Some(&failed));
    assert_eq!(reasons(&at_risk), [(Severity::Warning, "RenewalFailing")]);
}

#[test]
fn a_token_that_is_younger_than_the_noted_failure_ends_it() {
    let credential = credential();
    let bad = failing(&credential, observed(&credential), Class::Transient);
    let before = status(&credential, &bad, &Outcome::Failed, None, at(0)).status;
    // The process that got the token ended before it could report it.
    let world = holding(&credential, record(&credential, (60, 1860, 3660)));
    let after = status(&credential, &world, &Outcome::Steady, Some(&before), at(90)).status;
    let last = after.last_attempt.clone().unwrap();
    assert_eq!(
        (last.result, last.time.0),
        (AttemptResult::Succeeded, at(60))
    );
    assert_eq!(after.consecutive_failures, None);
    let older = holding(&credential, record(&credential, (-60, 1860, 3660)));
    let after = status(&credential, &older, &Outcome::Steady, Some(&before), at(90)).status;
    assert_eq!(after.last_attempt.unwrap().result, AttemptResult::Failed);
}

#[test]
fn nothing_of_a_hostile_answer_or_of_the_digests_reaches_the_status() {
    let canary = "C4NARY/secret+of=the.issuer";
    let body = json!({
        "error": canary, "error_description": format!("AADSTS7000215: {canary}"), "error_uri": canary,
        "correlation_id": canary, "trace_id": canary, "claims": canary, "access_token": canary,
    });
    let raw = RawAnswer {
        content_type: Some(canary.to_owned()),
        retry_after: Some(canary.to_owned()),
        ..json_answer(401, &body)
    };
    let context = AnswerContext {
        sent: at(0),
        now: at(0),
        assumed_lifetime: None,
    };
    let token_error = answer(&raw, context).err().unwrap();
    let credential = credential();
    let mut world = observed(&credential);
    world.memory = fail(&credential, &world, token_error, at(0));
    let view = status(&credential, &world, &Outcome::Failed, None, at(0));
    let reported = format!(
        "{} {:?}",
        serde_json::to_string(&view.status).unwrap(),
        view.notices
    );
    assert!(!reported.contains("C4NARY"), "{reported}");
    assert!(
        !reported.contains("keyed-"),
        "digests are for the Secret's annotations only: {reported}"
    );
    assert_eq!(
        view.status.last_attempt.unwrap().code.as_deref(),
        Some("AADSTS7000215")
    );
}

prop_compose! {
    fn any_reconcile()(
        times in (-4000_i64..0, -3000_i64..4000, -100_i64..5000), absent: bool, kind in 0..8,
        class in prop::sample::select(vec![Class::Invalid, Class::Denied, Class::Throttled, Class::Transient]),
        propagating: bool,
    ) -> (Observed, Outcome) {
        let credential = credential();
        let mut world = holding(&credential, record(&credential, times));
        if absent {
            world.target = Target::Absent;
        }
        if propagating {
            world.sources[0].changed_at = Some(at(-1));
        }
        let outcome = match kind {
            0 | 1 => Outcome::Steady,
            2 => minted(RenewalCause::Due),
            3 => waiting(),
            4 => refused(),
            5 => Outcome::Suspended,
            _ => {
                world.memory = fail(&credential, &world, TokenError { about_client: true, ..token_error(class) }, at(0));
                Outcome::Failed
            }
        };
        (world, outcome)
    }
}

proptest! {
    #[test]
    fn reporting_the_same_twice_changes_nothing_and_sends_no_event((world, outcome) in any_reconcile(), later in 0_i64..30) {
        let credential = credential();
        let first = status(&credential, &world, &outcome, None, at(0));
        let same = status(&credential, &world, &outcome, Some(&first.status), at(0));
        prop_assert_eq!(&same.status, &first.status);
        prop_assert!(same.notices.is_empty(), "{:?}", same.notices);
        // Time alone changes a transition time only if a status changes.
        let next = status(&credential, &world, &outcome, Some(&first.status), at(later)).status;
        for new in &next.conditions {
            if let Some(old) = condition(&first.status, &new.type_) {
                prop_assert_eq!(old.status == new.status, old.last_transition_time == new.last_transition_time || later == 0);
            }
        }
    }

    #[test]
    fn every_view_is_clean_and_comes_back_in_time((world, outcome) in any_reconcile()) {
        let credential = credential();
        let view = status(&credential, &world, &outcome, None, at(0));
        let kinds: Vec<&str> = view.status.conditions.iter().map(|c| c.type_.as_str()).collect();
        let ready = &view.status.conditions[0];
        prop_assert_eq!(kinds[0], "Ready");
        // Without a token one of two, with a token neither.
        let progress = kinds.iter().filter(|k| ["Reconciling", "Stalled"].contains(k)).count();
        prop_assert_eq!(progress, usize::from(ready.status != "True"));
        let known = ["Reconciling", "Stalled", "RenewalFailing", "LifetimeAtRisk"];
        prop_assert!(kinds[1..].iter().all(|k| known.contains(k)), "{:?}", kinds);
        for c in &view.status.conditions {
            // What kstatus and `kubectl wait` read: abnormal conditions are absent rather than False.
            prop_assert!(c.status == "True" || c.type_ == "Ready");
            prop_assert!(!c.message.is_empty() && !c.reason.is_empty());
            prop_assert!(c.reason.chars().all(char::is_alphanumeric), "{}", c.reason);
        }
        prop_assert!((Duration::from_millis(100)..=Duration::from_hours(1)).contains(&view.requeue));
        if let Some(record) = world.valid(&credential, at(0)) {
            let left = record.expires_at.duration_since(at(0)).unsigned_abs();
            prop_assert!(view.requeue <= left.max(Duration::from_millis(100)), "slept past the end");
        }
    }
}
