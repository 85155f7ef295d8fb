//! The faults of a status, and which of them are new compared with another status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::line::{Change, Line};
use crate::{ConditionType, plan::stored_condition::Stored};

/// The order of conditions: if several report one fault, the first is named.
const RANK: [ConditionType; 3] = [
    ConditionType::Ready,
    ConditionType::RenewalFailing,
    ConditionType::Stalled,
];

/// The conditions that report a fault, the most important first.
pub(super) fn faults(conditions: &[Condition]) -> Vec<Stored<'_>> {
    let mut faults: Vec<Stored<'_>> = conditions
        .iter()
        .filter_map(Stored::read)
        .filter(Stored::is_fault)
        .collect();
    faults.sort_by_key(|fault| {
        let known = RANK.iter().position(|r| *r == fault.kind);
        known.unwrap_or(RANK.len())
    });
    faults
}

/// What began or changed: one line for each reason.
pub(super) fn news(before: &[Stored<'_>], after: &[Stored<'_>]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for fault in after {
        let was = before.iter().find(|b| b.kind == fault.kind);
        let (change, was) = match was {
            // A missing object was not created within two minutes: the same fault in another condition.
            None if fault.kind == ConditionType::Stalled
                && before.iter().any(|b| b.reason == fault.reason) =>
            {
                continue;
            }
            None => (Change::Began, None),
            Some(was) if was.reason != fault.reason => (Change::Changed, Some(was.reason.clone())),
            Some(was) if was.message == fault.message => continue,
            // An edit that did not fix the fault.
            Some(was) if was.generation != fault.generation => {
                (Change::Changed, Some(was.reason.clone()))
            }
            Some(was) if meaning(was.message) != meaning(fault.message) => (Change::Changed, None),
            Some(_) => continue,
        };
        if let Some(line) = lines.iter_mut().find(|l| l.reason == fault.reason) {
            if line.change == Change::Changed && line.was.is_none() {
                line.change = change;
            }
            line.was = line.was.take().or(was);
            line.also.push(fault.kind);
            continue;
        }
        lines.push(Line {
            was,
            ..Line::new(fault, change)
        });
    }
    lines
}

/// A message without times, counts and ids, which may differ at each attempt.
fn meaning(message: &str) -> Vec<&str> {
    message
        .split_whitespace()
        .map(|word| {
            let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
            let number = |c: char| c.is_ascii_digit() || ".:+-TZ".contains(c);
            let has_digit = bare.contains(|c: char| c.is_ascii_digit());
            let id = bare.len() >= 32 && bare.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
            if has_digit && (id || bare.chars().all(number)) {
                "#"
            } else {
                word
            }
        })
        .collect()
}
