//! Decides which changes of conditions are logged. One function decides this for all kinds, conditions and reasons, so a new reason needs no
//! further code.
//!
//! A fault in several conditions is logged as one line. A line is written when a fault begins, changes or ends. Repetitions (the same failure
//! at each retry, a condition that changes often) are counted and reported once an hour.

mod line;
mod news;

pub use line::{Change, Level, Line};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{schedule::later, stored_condition::Stored};
use crate::{
    ConditionStatus, ConditionType, StoredReason,
    api::{ApiCredentialStatus, AttemptResult, LastAttempt},
    oauth::AnswerIds,
};
use news::{faults, news};

/// Repetitions are reported once within this time.
const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// Maximum number of lines within that time that report a beginning or change of one reason. The others are counted.
const CHANGES: u8 = 6;
/// Of these, maximum number of lines with the same reason and another message: an issuer may put a new number into each answer.
const REWORDINGS: u8 = 3;
/// Maximum number of reasons that are counted for one object. There are fewer conditions than that.
const TALLIES: usize = 16;

/// The parts of a status that the log uses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen<'a> {
    /// Its conditions.
    pub conditions: &'a [Condition],
    /// The last attempt to get a token.
    pub attempt: Option<&'a LastAttempt>,
}

impl<'a> From<&'a ApiCredentialStatus> for Seen<'a> {
    fn from(status: &'a ApiCredentialStatus) -> Self {
        Self {
            conditions: &status.conditions,
            attempt: status.last_attempt.as_deref(),
        }
    }
}

/// What happened between two statuses, in addition to their contents.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The time.
    pub now: Timestamp,
    /// An attempt failed that [`Seen::attempt`] does not contain, such as the discovery of an issuer.
    pub tried: bool,
    /// Ids of the answer that refused a client secret. Another secret works, so the last attempt succeeded and has no such ids.
    pub refused: Option<&'a AnswerIds>,
}

/// One reason of one object.
#[derive(Clone, Debug, PartialEq)]
struct Tally {
    reason: StoredReason,
    /// The start of the count.
    since: Timestamp,
    /// Time of the last line about it.
    logged: Timestamp,
    /// Number of lines in the hour that began with `logged`.
    written: u8,
    /// Number of lines that were not written since `since`.
    repeats: u32,
    /// The last log line reports that the fault continues.
    reported: bool,
    /// The fault continues.
    lasts: bool,
}

/// What is remembered about the lines of one object. Empty if the object had no fault for an hour.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Journal(Vec<Tally>);

/// The result of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// The lines to write.
    pub lines: Vec<Line>,
    /// Reasons that began, changed or ended and are only counted.
    pub counted: Vec<StoredReason>,
}

impl Journal {
    /// True if nothing has to be remembered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True while a fault continues.
    pub fn lasts(&self) -> bool {
        self.0.iter().any(|t| t.lasts)
    }

    /// The lines about the step from one status to another. `old` is what the log has reported: the status before this step, also if an earlier
    /// process wrote it.
    pub fn step(&mut self, old: Seen<'_>, new: Seen<'_>, step: Step<'_>) -> Entry {
        let (before, after) = (faults(old.conditions), faults(new.conditions));
        self.begin(&before, step.now);
        let mut entry = Entry::default();
        let news = news(&before, &after);
        for mut line in news {
            let budget = match line.change {
                Change::Changed if line.was.is_none() => REWORDINGS,
                _ => CHANGES,
            };
            line.ids = ids(&line, new, step);
            self.write(line, budget, step.now, &mut entry);
        }
        self.repeats(&after, (old, new), step, &mut entry);
        self.resolved((&before, &after), new, step, &mut entry);
        self.replaced(&after, step.now, &mut entry);
        for tally in &mut self.0 {
            tally.lasts = after.iter().any(|c| c.reason == tally.reason);
            tally.reported &= tally.lasts;
        }
        entry
    }

    /// Takes over the present faults, and forgets those that ended long ago.
    fn begin(&mut self, before: &[Stored<'_>], now: Timestamp) {
        for tally in &mut self.0 {
            // If the clock was set back, nothing is prolonged.
            tally.logged = tally.logged.min(now);
            tally.since = tally.since.min(now);
        }
        // A count is remembered for another hour: if the fault begins again, its line reports the count.
        let passed = |t: &Tally| {
            t.is_due(if t.repeats > 0 {
                later(now, -HOUR)
            } else {
                now
            })
        };
        self.0.retain(|t| t.lasts || !passed(t));
        for fault in before {
            if self.find(&fault.reason).is_none() {
                self.insert(Tally {
                    reported: true,
                    lasts: true,
                    written: 0,
                    ..Tally::new(&fault.reason, fault.since.min(now), now)
                });
            }
        }
    }

    fn find(&mut self, reason: &StoredReason) -> Option<&mut Tally> {
        self.0.iter_mut().find(|t| t.reason == *reason)
    }

    fn insert(&mut self, tally: Tally) {
        if self.0.len() >= TALLIES {
            let oldest = self.0.iter().enumerate();
            let oldest = oldest.min_by_key(|(_, t)| (t.lasts, t.logged));
            if let Some((at, _)) = oldest {
                self.0.swap_remove(at);
            }
        }
        self.0.push(tally);
    }

    /// Writes or counts a line about the beginning or change of a reason.
    fn write(&mut self, mut line: Line, budget: u8, now: Timestamp, entry: &mut Entry) {
        let Some(tally) = self.find(&line.reason) else {
            self.insert(Tally {
                reported: true,
                ..Tally::new(&line.reason, now, now)
            });
            entry.lines.push(line);
            return;
        };
        let due = tally.is_due(now);
        // After a restart, another message of the same reason is not new.
        let known = tally.written == 0 && budget == REWORDINGS;
        if !due && (known || tally.written >= budget) {
            tally.repeats = tally.repeats.saturating_add(1);
            entry.counted.push(line.reason);
            return;
        }
        if due {
            (tally.written, tally.logged) = (0, now);
        }
        tally.written += 1;
        tally.reported = true;
        if tally.repeats > 0 {
            (line.repeats, line.since) = (tally.repeats, Some(tally.since));
        }
        entry.lines.push(line);
    }

    /// Faults that were tried again with the same result.
    fn repeats(
        &mut self,
        after: &[Stored<'_>],
        (old, new): (Seen<'_>, Seen<'_>),
        step: Step<'_>,
        entry: &mut Entry,
    ) {
        let failed = new.attempt.filter(|a| {
            a.result == AttemptResult::Failed && old.attempt.is_none_or(|o| o.time != a.time)
        });
        let mut done: Vec<&StoredReason> = Vec::new();
        for fault in after {
            let reason = &fault.reason;
            let reported = entry.lines.iter().any(|l| l.reason == *reason);
            if reported || entry.counted.contains(reason) || done.contains(&reason) {
                continue;
            }
            done.push(reason);
            let of_fault = |a: &LastAttempt| a.reason.as_deref() == Some(reason.as_str());
            let tried = step.tried || failed.is_some_and(of_fault);
            let Some(tally) = self.find(reason) else {
                continue;
            };
            if tried {
                tally.repeats = tally.repeats.saturating_add(1);
            }
            if tally.is_due(step.now) && (tried || !tally.reported) {
                (tally.written, tally.logged, tally.reported) = (1, step.now, true);
                let (repeats, since) = (tally.repeats, Some(tally.since));
                let mut line = Line::new(fault, Change::Repeated);
                (line.repeats, line.since) = (repeats, since);
                line.ids = ids(&line, new, step);
                entry.lines.push(line);
            }
        }
    }

    /// If another fault replaces a fault, the end of the first is not logged separately: the line of the other fault has its count.
    fn replaced(&mut self, after: &[Stored<'_>], now: Timestamp, entry: &mut Entry) {
        for line in &mut entry.lines {
            let was = line.was.as_ref();
            let gone = was.filter(|was| after.iter().all(|c| c.reason != **was));
            if let Some(tally) = gone.and_then(|was| self.find(was)) {
                line.was_repeats = std::mem::take(&mut tally.repeats);
                tally.since = now;
            }
        }
    }

    /// Conditions that were faults and are not faults any more.
    fn resolved(
        &mut self,
        (before, after): (&[Stored<'_>], &[Stored<'_>]),
        new: Seen<'_>,
        step: Step<'_>,
        entry: &mut Entry,
    ) {
        let mut ends: Vec<Line> = Vec::new();
        for fault in before {
            let now = fault.kind.find(new.conditions);
            let successor = after.iter().find(|c| c.kind == fault.kind);
            if successor.is_some_and(|c| c.reason == fault.reason) {
                continue;
            }
            let replaced = |l: &Line| l.was.as_ref() == Some(&fault.reason);
            let passes = fault.kind == ConditionType::Ready && successor.is_none();
            if !passes && entry.lines.iter().any(replaced) {
                continue;
            }
            // This condition has another reason now, and another condition still has the old one: the fault has not ended.
            let lasts = after.iter().any(|c| c.reason == fault.reason);
            if successor.is_some() && lasts {
                continue;
            }
            if let Some(end) = ends.iter_mut().find(|l| l.reason == fault.reason) {
                end.also.push(fault.kind);
                continue;
            }
            let ids = new.attempt.filter(|a| a.result == AttemptResult::Succeeded);
            ends.push(Line {
                level: Level::Info,
                status: now.map_or(ConditionStatus::False, ConditionStatus::of),
                message: match now {
                    Some(now) if successor.is_none() => now.message.clone(),
                    _ => format!("ended: {}", fault.message),
                },
                generation: new.conditions.first().and_then(|c| c.observed_generation),
                since: Some(fault.since),
                ids: ids.map(AnswerIds::from).unwrap_or_default(),
                ..Line::new(fault, Change::Ended)
            });
        }
        for mut end in ends {
            let lasts = after.iter().any(|c| c.reason == end.reason);
            let Some(tally) = self.find(&end.reason) else {
                continue;
            };
            if lasts {
                // Another condition still has the reason, so the fault has changed and not ended.
                let reason = end.reason.clone();
                if entry.lines.iter().any(|l| l.reason == reason) {
                    continue;
                }
                self.write(end, CHANGES, step.now, entry);
            } else if tally.reported {
                end.repeats = std::mem::take(&mut tally.repeats);
                tally.since = step.now;
                entry.lines.push(end);
            } else {
                entry.counted.push(end.reason);
            }
        }
    }
}

impl Tally {
    fn new(reason: &StoredReason, since: Timestamp, now: Timestamp) -> Self {
        Self {
            reason: reason.clone(),
            since,
            logged: now,
            written: 1,
            repeats: 0,
            reported: false,
            lasts: true,
        }
    }

    fn is_due(&self, now: Timestamp) -> bool {
        now.duration_since(self.logged) >= HOUR
    }
}

fn ids(line: &Line, new: Seen<'_>, step: Step<'_>) -> AnswerIds {
    let same = |a: &&LastAttempt| a.reason.as_deref() == Some(line.reason.as_str());
    if let Some(attempt) = new.attempt.filter(same) {
        return attempt.into();
    }
    let of_client = line.condition == ConditionType::ClientCredentialExpiring;
    step.refused
        .filter(|_| of_client)
        .cloned()
        .unwrap_or_default()
}

/// Number of objects for each reason, the most frequent first: `12 ClientSecretMissing, 3 SourceMissing`.
pub fn summary<'a>(reasons: impl IntoIterator<Item = &'a str>) -> (usize, String) {
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    for reason in reasons {
        *counts.entry(reason).or_default() += 1;
    }
    let total = counts.values().sum();
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let rest: usize = counts.iter().skip(TALLIES).map(|(_, count)| count).sum();
    let named = counts.iter().take(TALLIES);
    let mut text: Vec<String> = named.map(|(r, count)| format!("{count} {r}")).collect();
    if rest > 0 {
        text.push(format!("{rest} of other reasons"));
    }
    (total, text.join(", "))
}
