mod repeats;

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use proptest::prelude::*;

use crate::plan::states::{failing, minted, refused, waiting};
use crate::{
    ConditionStatus, StoredReason,
    api::{AttemptResult, LastAttempt},
    fixtures::{at, credential, observed},
    oauth::{AnswerIds, Class},
    plan::{
        Outcome, RenewalCause,
        journal::{Change, Entry, Journal, Level, Line, Seen, Step, summary},
        status,
    },
    publish::ownership::Target,
};

const HOUR: i64 = 3600;

/// Conditions of generation 1 from long ago, as `Type=Status/Reason: message`.
fn conditions(texts: &[&str]) -> Vec<Condition> {
    let one = |text: &&str| {
        let (kind, rest) = text.split_once('=').unwrap();
        let (status, rest) = rest.split_once('/').unwrap();
        let (reason, message) = rest.split_once(": ").unwrap_or((rest, "in words"));
        Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            observed_generation: Some(1),
            last_transition_time: Time(at(-60)),
        }
    };
    texts.iter().map(one).collect()
}

fn attempt(seconds: i64, reason: &str) -> LastAttempt {
    LastAttempt {
        time: Time(at(seconds)),
        result: AttemptResult::Failed,
        reason: Some(reason.to_owned()),
        http_status: Some(401),
        error: Some("invalid_client".to_owned()),
        code: Some("AADSTS7000215".to_owned()),
        correlation_id: Some(format!("correlation-{seconds}")),
        trace_id: Some("trace".to_owned()),
        claims: None,
        inputs: None,
        unclear: None,
    }
}

fn at_time(now: Timestamp) -> Step<'static> {
    Step {
        now,
        tried: false,
        refused: None,
    }
}

/// A process, and the conditions that it last observed.
#[derive(Default)]
struct Process {
    journal: Journal,
    seen: Vec<Condition>,
    attempt: Option<LastAttempt>,
}

impl Process {
    /// A process that finds these conditions in status.
    fn finds(texts: &[&str]) -> Self {
        Self {
            seen: conditions(texts),
            ..Self::default()
        }
    }

    fn step(&mut self, seconds: i64, texts: &[&str], attempt: Option<LastAttempt>) -> Entry {
        let new = conditions(texts);
        let old = Seen {
            conditions: &self.seen,
            attempt: self.attempt.as_ref(),
        };
        let attempt = attempt.or(self.attempt.clone());
        let now = Seen {
            conditions: &new,
            attempt: attempt.as_ref(),
        };
        let entry = self.journal.step(old, now, at_time(at(seconds)));
        (self.seen, self.attempt) = (new, attempt);
        entry
    }

    /// The lines as `change condition reason`.
    fn lines(&mut self, seconds: i64, texts: &[&str]) -> Vec<String> {
        short(&self.step(seconds, texts, None))
    }
}

fn short(entry: &Entry) -> Vec<String> {
    let one = |l: &Line| {
        let condition = l.condition.as_str();
        format!("{} {condition} {}", l.change.as_str(), l.reason)
    };
    entry.lines.iter().map(one).collect()
}

const WELL: [&str; 1] = ["Ready=True/TokenPublished"];

#[test]
fn each_condition_that_begins_changes_or_ends_is_one_line() {
    for kind in [
        "RenewalFailing",
        "Stalled",
        "LifetimeAtRisk",
        "PermissionsMissing",
        "PermissionsExceeded",
        "ClientCredentialExpiring",
    ] {
        let mut process = Process::finds(&WELL);
        let with = |reason: &str| format!("{kind}=True/{reason}");
        let mut lines = |seconds, more: Option<&str>| {
            let fault = more.map(with);
            let ready = "Ready=True/TokenPublished";
            let all: Vec<&str> = [ready].into_iter().chain(fault.as_deref()).collect();
            process.step(seconds, &all, None)
        };
        let began = lines(0, Some("SecretExpiring"));
        assert_eq!(short(&began), [format!("began {kind} SecretExpiring")]);
        assert_eq!(began.lines[0].level, Level::Warn);
        assert_eq!(short(&lines(1, Some("SecretExpiring"))), [""; 0]);
        let changed = lines(2, Some("SecretExpired"));
        assert_eq!(short(&changed), [format!("changed {kind} SecretExpired")]);
        assert_eq!(changed.lines[0].was, Some("SecretExpiring".into()));
        let ended = lines(3, None);
        assert_eq!(short(&ended), [format!("ended {kind} SecretExpired")]);
        let end = &ended.lines[0];
        assert_eq!(
            (end.level, end.status),
            (Level::Info, ConditionStatus::False)
        );
        assert_eq!(end.since, Some(at(-60)));
        assert_eq!(short(&lines(4, None)), [""; 0]);
    }
    let mut process = Process::finds(&WELL);
    let lines = process.lines(0, &["Ready=False/InvalidSpec"]);
    assert_eq!(lines, ["began Ready InvalidSpec"]);
    let end = process.step(1, &WELL, None);
    assert_eq!(short(&end), ["ended Ready InvalidSpec"]);
    assert_eq!(end.lines[0].status, ConditionStatus::True);
}

/// A status of another version: its condition is removed by the next status, and nobody waits for its end.
#[test]
fn a_condition_of_another_version_is_no_line() {
    let mut process = Process::finds(&[WELL[0], "OneOfTomorrow=True/SecretExpiring"]);
    assert_eq!(process.lines(0, &WELL), [""; 0]);
    assert!(process.journal.is_empty());
}

#[test]
fn progress_and_the_first_reconcile_are_no_news() {
    let mut process = Process::default();
    for texts in [
        &["Ready=Unknown/Pending", "Reconciling=True/Pending"][..],
        &[
            "Ready=Unknown/WaitingForIssuer",
            "Reconciling=True/WaitingForIssuer",
        ],
        &WELL,
        &["Ready=True/TokenPublished", "Reconciling=True/Renewing"],
    ] {
        assert_eq!(process.lines(0, texts), [""; 0], "{texts:?}");
    }
}

#[test]
fn a_fault_that_shows_in_several_conditions_is_one_line() {
    let credential = credential();
    let good = observed(&credential);
    let mut none = observed(&credential);
    none.target = Target::Absent;
    let mut failed = failing(&credential, observed(&credential), Class::Denied);
    let late = failed.clone();
    failed.target = Target::Absent;
    #[rustfmt::skip]
    let cases = [
        (&none, refused(), "began Ready SecretNotOwned", "ended Ready SecretNotOwned", "Stalled"),
        (&failed, Outcome::Failed, "began Ready RequestRefused", "ended Ready RequestRefused", "Stalled"),
        (&late, Outcome::Failed, "began RenewalFailing RequestRefused", "ended RenewalFailing RequestRefused", ""),
        (&good, waiting(), "began RenewalFailing IssuerPaused", "ended RenewalFailing IssuerPaused", ""),
    ];
    for (world, outcome, began, ended, also) in cases {
        let well = status(&credential, &good, &minted(RenewalCause::Due), None, at(0)).status;
        let bad = status(&credential, world, &outcome, Some(&well), at(1)).status;
        let mut journal = Journal::default();
        let entry = journal.step((&well).into(), (&bad).into(), at_time(at(1)));
        assert_eq!(short(&entry), [began]);
        let others: Vec<&str> = entry.lines[0].also.iter().map(|c| c.as_str()).collect();
        assert_eq!(others.join(","), also);
        assert_eq!(entry.lines[0].generation, Some(3));
        let wait = matches!(outcome, Outcome::Waiting { .. });
        let level = if wait { Level::Info } else { Level::Warn };
        assert_eq!(entry.lines[0].level, level);
        let again = journal.step((&bad).into(), (&bad).into(), at_time(at(2)));
        assert_eq!(again, Entry::default());
        let entry = journal.step((&bad).into(), (&well).into(), at_time(at(3)));
        assert_eq!(short(&entry), [ended]);
    }
}

#[test]
fn a_change_of_the_reason_ends_nothing_and_a_token_that_expires_is_news() {
    let mut process = Process::finds(&WELL);
    let late = ["Ready=True/TokenPublished", "RenewalFailing=True/A"];
    assert_eq!(process.lines(0, &late), ["began RenewalFailing A"]);
    let out = ["Ready=False/A", "RenewalFailing=True/A"];
    assert_eq!(process.lines(1, &out), ["began Ready A"]);
    let stalled = ["Ready=False/B", "RenewalFailing=True/B", "Stalled=True/B"];
    assert_eq!(process.lines(2, &stalled), ["changed Ready B"]);
    assert_eq!(process.lines(3, &out), ["changed Ready A"]);
    assert_eq!(process.lines(4, &WELL), ["ended Ready A"]);
    // An object is missing and was not created.
    let missing = ["Ready=False/B", "Reconciling=True/B"];
    assert_eq!(process.lines(5, &missing), ["began Ready B"]);
    let stalled = ["Ready=False/B", "Stalled=True/B"];
    assert_eq!(process.lines(125, &stalled), [""; 0], "the same fault");
    assert_eq!(process.lines(126, &WELL), ["ended Ready B"]);
}

#[test]
fn the_line_of_a_failure_has_its_ids_and_no_other_has() {
    let mut process = Process::finds(&WELL);
    let bad = [
        "Ready=False/A",
        "RenewalFailing=True/A",
        "LifetimeAtRisk=True/B",
    ];
    let entry = process.step(0, &bad, Some(attempt(0, "A")));
    assert_eq!(short(&entry), ["began Ready A", "began LifetimeAtRisk B"]);
    assert_eq!(entry.lines[0].ids, AnswerIds::from(&attempt(0, "A")));
    assert_eq!(entry.lines[1].ids, AnswerIds::default());
    // One of several client secrets: the attempt succeeded.
    let ids = AnswerIds::from(&attempt(7, "C"));
    let new = conditions(&["Ready=True/T", "ClientCredentialExpiring=True/Refused"]);
    let step = Step {
        refused: Some(&ids),
        ..at_time(at(1))
    };
    let new = Seen {
        conditions: &new,
        attempt: None,
    };
    let entry = Journal::default().step(Seen::default(), new, step);
    assert_eq!(entry.lines[0].ids, ids);
}

/// One step of a history: how long after the last one, which conditions have which reason, whether an attempt failed.
fn histories() -> impl Strategy<Value = Vec<(i64, [Option<u8>; 4], bool)>> {
    let reason = || proptest::option::weighted(0.6, 0_u8..3);
    let step = (
        1_i64..900,
        [reason(), reason(), reason(), reason()],
        any::<bool>(),
    );
    proptest::collection::vec(step, 1..120)
}

const KINDS: [&str; 4] = ["Ready", "RenewalFailing", "Stalled", "LifetimeAtRisk"];

proptest! {
    #[test]
    fn no_history_fills_the_log_or_is_lost_in_it(history in histories()) {
        let mut process = Process::default();
        let (mut now, mut lines, mut changes) = (0, 0, 0);
        // The state that a reader of the log alone assumes, and everything that was ever reported.
        let (mut believed, mut ever) = (BTreeSet::<String>::new(), BTreeSet::<String>::new());
        for (wait, reasons, failed) in history {
            now += wait;
            let texts: Vec<String> = KINDS
                .iter()
                .zip(reasons)
                .filter_map(|(kind, reason)| {
                    let status = if *kind == "Ready" { "False" } else { "True" };
                    Some(format!("{kind}={status}/R{}", reason?))
                })
                .collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let seen = process.seen.clone();
            let reason = reasons.iter().flatten().next().map(|r| format!("R{r}"));
            let failed = reason.filter(|_| failed).map(|r| attempt(now, &r));
            let entry = process.step(now, &texts, failed);
            let new = process.seen.clone();
            let of = |all: &[Condition], kind: &str| {
                all.iter().find(|c| c.type_ == kind).map(|c| c.reason.clone())
            };
            changes += KINDS.iter().filter(|k| of(&seen, k) != of(&new, k)).count();
            lines += entry.lines.len();
            let standing: BTreeSet<String> = new.iter().map(|c| c.reason.clone()).collect();
            for line in &entry.lines {
                let reason = line.reason.to_string();
                if line.change == Change::Ended && !standing.contains(&reason) {
                    believed.remove(&reason);
                } else {
                    ever.insert(reason.clone());
                    believed.insert(reason);
                }
            }
            // A fault that another one replaces has ended.
            for was in entry.lines.iter().filter_map(|l| l.was.as_ref()) {
                if !standing.contains(was.as_str()) {
                    believed.remove(was.as_str());
                }
            }
            prop_assert!(standing.is_subset(&ever), "a first failure is lost: {standing:?}");
            prop_assert!(believed.is_subset(&standing), "an end is lost: {believed:?} {standing:?}");
            let mut once = BTreeSet::new();
            for line in &entry.lines {
                prop_assert!(once.insert((line.reason.to_string(), line.change.as_str())), "reported twice: {line:?}");
            }
        }
        let hours = usize::try_from(now / HOUR).unwrap() + 1;
        prop_assert!(lines <= changes + 3 * hours, "{lines} lines, {changes} changes, {hours} h");
    }
}
