//! Repetitions: counted, reported once an hour, and not again after a restart.

use super::*;

#[test]
fn the_same_failure_at_each_retry_is_counted_and_reported_once_an_hour() {
    let mut process = Process::finds(&WELL);
    let bad = ["Ready=False/A", "RenewalFailing=True/A"];
    let mut lines = Vec::new();
    for minute in 0..150 {
        let failed = Some(attempt(60 * minute, "A"));
        lines.extend(process.step(60 * minute, &bad, failed).lines);
        // Another reconcile without an attempt.
        assert_eq!(process.lines(60 * minute + 1, &bad), [""; 0]);
    }
    let reported: Vec<_> = lines.iter().map(|l| (l.change, l.repeats)).collect();
    let repeated = Change::Repeated;
    assert_eq!(
        reported,
        [(Change::Began, 0), (repeated, 60), (repeated, 120)]
    );
    assert_eq!((lines[2].since, lines[2].level), (Some(at(0)), Level::Warn));
    let id = lines[2].ids.correlation_id.as_deref();
    assert_eq!(id, Some("correlation-7200"), "of the last attempt");
    let end = process.step(9000, &WELL, None);
    assert_eq!((end.lines.len(), end.lines[0].repeats), (1, 149));
    // A day later it is a new fault.
    let began = process.step(90_000, &bad, Some(attempt(90_000, "A")));
    assert_eq!((began.lines.len(), began.lines[0].repeats), (1, 0));
}

#[test]
fn a_change_of_the_reason_has_the_count_of_the_one_before() {
    let mut process = Process::finds(&WELL);
    for minute in 0..5 {
        let failed = Some(attempt(60 * minute, "A"));
        process.step(60 * minute, &["Ready=False/A"], failed);
    }
    let changed = process.step(400, &["Ready=False/B"], Some(attempt(400, "B")));
    assert_eq!(short(&changed), ["changed Ready B"]);
    let line = &changed.lines[0];
    assert_eq!(
        (
            line.was.as_ref().map(StoredReason::as_str),
            line.was_repeats
        ),
        (Some("A"), 4)
    );
    assert_eq!(line.repeats, 0, "of B");
    // It is reported once.
    let back = process.step(500, &["Ready=False/A"], Some(attempt(500, "A")));
    assert_eq!(short(&back), ["changed Ready A"]);
    assert_eq!((back.lines[0].repeats, back.lines[0].was_repeats), (0, 0));
}

#[test]
fn what_status_already_reports_is_not_reported_again_after_a_restart() {
    let bad = [
        "Ready=False/A: because of 1",
        "Stalled=True/A: because of 1",
    ];
    let mut process = Process::finds(&bad);
    assert_eq!(process.lines(0, &bad), [""; 0]);
    // A new version of apicred has better messages.
    let better = [
        "Ready=False/A: in better words",
        "Stalled=True/A: in better words",
    ];
    assert_eq!(process.lines(1, &better), [""; 0]);
    assert_eq!(
        short(&process.step(2, &better, Some(attempt(2, "A")))),
        [""; 0]
    );
    assert_eq!(process.lines(3, &["Ready=False/B"]), ["changed Ready B"]);
    assert_eq!(Process::finds(&bad).lines(4, &WELL), ["ended Ready A"]);
    // The count of its failures continues.
    let mut process = Process::finds(&bad);
    process.lines(0, &bad);
    let entry = process.step(HOUR, &bad, Some(attempt(HOUR, "A")));
    assert_eq!(short(&entry), ["repeated Ready A"]);
    assert_eq!(entry.lines[0].since, Some(at(-60)));
}

#[test]
fn other_times_counts_and_ids_are_no_other_message() {
    #[rustfmt::skip]
    let cases = [
        ("the renewal at 2026-11-29T03:08:45Z will fail", "the renewal at 2027-01-01T00:00:00Z will fail", false),
        ("HTTP 503; tried 2 times", "HTTP 502; tried 17 times", false),
        ("less than 14 min left (since 03:08)", "less than 2 min left (since 04:09)", false),
        ("Trace ID: 6f3c0a4e-1d2b-4c5f-9a7e-0b1c2d3e4f50.", "Trace ID: 00000000-1d2b-4c5f-9a7e-0b1c2d3e4f50.", false),
        ("Secret client-1 does not exist", "Secret client-2 does not exist", true),
        ("AADSTS7000215: no", "AADSTS7000222: no", true),
        ("spec.scopes[0]: is empty", "spec.scopes[1]: is empty", true),
    ];
    for (before, after, news) in cases {
        let mut process = Process::finds(&WELL);
        let text = |expected: &str| format!("Ready=False/A: {expected}");
        process.lines(0, &[&text(before)]);
        let lines = process.lines(1, &[&text(after)]);
        assert_eq!(
            lines.len(),
            usize::from(news),
            "{before} / {after}: {lines:?}"
        );
    }
}

#[test]
fn an_edit_that_corrects_nothing_and_changes_the_reason_is_a_change() {
    let (was, mut is) = (
        conditions(&["Ready=False/ClientUnknown: client 6f3c0a4e-1d2b-4c5f-9a7e-0b1c2d3e4f50"]),
        conditions(&["Ready=False/ClientUnknown: client 00000000-1d2b-4c5f-9a7e-0b1c2d3e4f50"]),
    );
    is[0].observed_generation = Some(2);
    let seen = |conditions| Seen {
        conditions,
        attempt: None,
    };
    let entry = Journal::default().step(seen(&was), seen(&is), at_time(at(0)));
    assert_eq!(short(&entry), ["changed Ready ClientUnknown"]);
}

#[test]
fn a_condition_that_flaps_is_counted_too() {
    let mut process = Process::finds(&WELL);
    let bad = [
        "Ready=True/TokenPublished",
        "RenewalFailing=True/LifetimeTooShort",
    ];
    let (mut lines, mut counted) = (Vec::new(), 0);
    for turn in 0..700 {
        for (seconds, texts) in [(10 * turn, &bad[..]), (10 * turn + 5, &WELL[..])] {
            let entry = process.step(seconds, texts, None);
            counted += entry.counted.len();
            lines.extend(entry.lines);
        }
    }
    assert!((14..=40).contains(&lines.len()), "{}", lines.len());
    assert_eq!(lines.len() + counted, 2 * 700);
    assert!(
        lines.iter().any(|l| l.repeats > 300),
        "reported with its count"
    );
    // A fault that lasts is reported within the hour although it was counted at first.
    assert_eq!(process.lines(7000, &bad), [""; 0]);
    let lines = process.lines(2 * HOUR, &bad);
    assert_eq!(lines, ["repeated RenewalFailing LifetimeTooShort"]);
    assert_eq!(process.lines(11_000, &WELL).len(), 1);
    // A fault that ended is forgotten.
    process.lines(16_000, &WELL);
    assert!(process.journal.is_empty());
}

#[test]
fn an_answer_with_a_new_text_each_time_does_not_fill_the_log() {
    let mut process = Process::finds(&WELL);
    let mut lines = 0;
    for minute in 0..180 {
        let text = format!("Ready=False/A: the issuer says x{minute}y");
        let failed = Some(attempt(60 * minute, "A"));
        lines += process.step(60 * minute, &[&text], failed).lines.len();
    }
    assert!((3..=12).contains(&lines), "{lines}");
}

#[test]
fn the_count_names_the_most_frequent_reasons_first() {
    assert_eq!(summary([]), (0, String::new()));
    let reasons = ["A", "B", "B", "C", "B", "C"];
    assert_eq!(summary(reasons), (6, "3 B, 2 C, 1 A".to_owned()));
    let many: Vec<String> = (0..100).map(|n| format!("R{n}")).collect();
    let (total, text) = summary(many.iter().map(String::as_str));
    assert!(
        total == 100 && text.ends_with("84 of other reasons"),
        "{text}"
    );
}
