//! Decides which changes of conditions are lines of the log. One function decides this for all kinds, conditions and reasons, so a new reason
//! has its lines without further code.
//!
//! A fault that shows in several conditions is one line. A line is written when a fault begins, changes or ends. Repetitions (the same failure at
//! each retry, a condition that changes often) are counted and reported once an hour.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{schedule::later, stored_condition::Stored};
use crate::{
    ConditionStatus, ConditionType, Reason, StoredReason,
    api::{ApiCredentialStatus, AttemptResult, LastAttempt},
};

/// Repetitions are reported once in this time.
const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// Lines of one reason in that time that say that it begins or changes. The rest is counted.
const CHANGES: u8 = 6;
/// Of these, lines that say the same reason in other words: an issuer may put a new number into each answer.
const REWORDINGS: u8 = 3;
/// Reasons that are counted for one object at a time. There are fewer conditions than that.
const TALLIES: usize = 16;

/// The order of conditions: of several that show one fault, the first is named.
const RANK: [ConditionType; 3] = [
    ConditionType::Ready,
    ConditionType::RenewalFailing,
    ConditionType::Stalled,
];

/// Level of a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// Waits and ends.
    Info,
    /// Faults.
    Warn,
}

/// What a line says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// A condition has become what it should not be.
    Began,
    /// It has another reason, or the same one with another content.
    Changed,
    /// It has ended.
    Ended,
    /// It lasts, and was tried or came back since.
    Repeated,
}

impl Change {
    /// The text in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Began => "began",
            Self::Changed => "changed",
            Self::Ended => "ended",
            Self::Repeated => "repeated",
        }
    }
}

/// What a request is found by in the logs of its issuer.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ids {
    /// HTTP status of the answer.
    pub http_status: Option<i32>,
    /// OAuth `error`.
    pub error: Option<String>,
    /// The server's own code of the error.
    pub code: Option<String>,
    /// Entra's id of the request.
    pub correlation_id: Option<String>,
    /// Entra's id of the answer.
    pub trace_id: Option<String>,
}

impl From<&LastAttempt> for Ids {
    fn from(last: &LastAttempt) -> Self {
        Self {
            http_status: last.http_status,
            error: last.error.clone(),
            code: last.code.clone(),
            correlation_id: last.correlation_id.clone(),
            trace_id: last.trace_id.clone(),
        }
    }
}

impl From<&crate::oauth::TokenError> for Ids {
    fn from(token_error: &crate::oauth::TokenError) -> Self {
        Self {
            http_status: token_error.http_status.map(i32::from),
            error: token_error.error.clone(),
            code: token_error.code(),
            correlation_id: token_error.correlation_id.clone(),
            trace_id: token_error.trace_id.clone(),
        }
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its level.
    pub level: Level,
    /// What it says.
    pub change: Change,
    /// Type of the condition.
    pub condition: ConditionType,
    /// Status of the condition now.
    pub status: ConditionStatus,
    /// Other conditions with the same news.
    pub also: Vec<ConditionType>,
    /// The reason; for an end, the one that ended.
    pub reason: StoredReason,
    /// The reason before; none if the same one has other words for the same spec.
    pub was: Option<StoredReason>,
    /// How often the reason before came back without a line.
    pub was_repeats: u32,
    /// The condition's message.
    pub message: String,
    /// Generation that the condition is about.
    pub generation: Option<i64>,
    /// Since when it lasts, or has been counted.
    pub since: Option<Timestamp>,
    /// How often it came back since then.
    pub repeats: u32,
    /// Ids of the attempt that brought it.
    pub ids: Ids,
}

/// A status, as far as the log is concerned.
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

/// What happened between two statuses, beside what they say.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The time.
    pub now: Timestamp,
    /// An attempt failed that [`Seen::attempt`] does not contain, such as the discovery of an issuer.
    pub tried: bool,
    /// Ids of a client secret's refusal: another one works, so the last attempt has none.
    pub refused: Option<&'a Ids>,
}

/// One reason of one object.
#[derive(Clone, Debug, PartialEq)]
struct Tally {
    reason: StoredReason,
    /// Since when it is counted.
    since: Timestamp,
    /// The last line about it.
    logged: Timestamp,
    /// Lines in the hour that began with `logged`.
    said: u8,
    /// Lines that were not written since `since`.
    repeats: u32,
    /// The last line of the log says that it lasts.
    reported: bool,
    /// It lasts.
    stands: bool,
}

/// What is remembered of the lines about one object. Empty for one that was well for an hour.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Journal(Vec<Tally>);

/// What came of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// The lines to write.
    pub lines: Vec<Line>,
    /// Reasons that began, changed or ended and are only counted.
    pub counted: Vec<StoredReason>,
}

impl Journal {
    /// Nothing worth keeping?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True while a fault lasts.
    pub fn stands(&self) -> bool {
        self.0.iter().any(|t| t.stands)
    }

    /// The lines about the step from one status to another. `old` is what the log knows: status as it was before this step,
    /// also if an earlier process wrote it.
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
        self.ends((&before, &after), new, step, &mut entry);
        self.replaced(&after, step.now, &mut entry);
        for tally in &mut self.0 {
            tally.stands = after.iter().any(|c| c.reason == tally.reason);
            tally.reported &= tally.stands;
        }
        entry
    }

    /// Takes over the present faults, and forgets those that ended long ago.
    fn begin(&mut self, before: &[Stored<'_>], now: Timestamp) {
        for tally in &mut self.0 {
            // A clock that was set back prolongs nothing.
            tally.logged = tally.logged.min(now);
            tally.since = tally.since.min(now);
        }
        // The count waits for the next begin, which reports it.
        let passed = |t: &Tally| {
            t.is_due(if t.repeats > 0 {
                later(now, -HOUR)
            } else {
                now
            })
        };
        self.0.retain(|t| t.stands || !passed(t));
        for fault in before {
            if self.find(&fault.reason).is_none() {
                self.insert(Tally {
                    reported: true,
                    stands: true,
                    said: 0,
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
            let oldest = oldest.min_by_key(|(_, t)| (t.stands, t.logged));
            if let Some((at, _)) = oldest {
                self.0.swap_remove(at);
            }
        }
        self.0.push(tally);
    }

    /// Writes a line that says that a reason begins or changes, or counts it.
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
        // What an earlier process saw in other words is no news.
        let known = tally.said == 0 && budget == REWORDINGS;
        if !due && (known || tally.said >= budget) {
            tally.repeats = tally.repeats.saturating_add(1);
            entry.counted.push(line.reason);
            return;
        }
        if due {
            (tally.said, tally.logged) = (0, now);
        }
        tally.said += 1;
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
                (tally.said, tally.logged, tally.reported) = (1, step.now, true);
                let (repeats, since) = (tally.repeats, Some(tally.since));
                let mut line = line(fault, Change::Repeated);
                (line.repeats, line.since) = (repeats, since);
                line.ids = ids(&line, new, step);
                entry.lines.push(line);
            }
        }
    }

    /// A fault that another one replaces has no line of its own at its end: the line of the other one has its count.
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

    /// Conditions that were faults and are none.
    fn ends(
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
            // Another reason in the same condition: an end only if no line about that one says so.
            let stands = after.iter().any(|c| c.reason == fault.reason);
            if successor.is_some() && stands {
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
                ids: ids.map(Ids::from).unwrap_or_default(),
                ..line(fault, Change::Ended)
            });
        }
        for mut end in ends {
            let stands = after.iter().any(|c| c.reason == end.reason);
            let Some(tally) = self.find(&end.reason) else {
                continue;
            };
            if stands {
                // Another condition has the reason still: a change of it.
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
            said: 1,
            repeats: 0,
            reported: false,
            stands: true,
        }
    }

    fn is_due(&self, now: Timestamp) -> bool {
        now.duration_since(self.logged) >= HOUR
    }
}

/// The conditions that say that something is not as it should be, the most important first.
fn faults(conditions: &[Condition]) -> Vec<Stored<'_>> {
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
fn news(before: &[Stored<'_>], after: &[Stored<'_>]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for fault in after {
        let was = before.iter().find(|b| b.kind == fault.kind);
        let (change, was) = match was {
            // What is missing has not come within two minutes: the same fault, by another name.
            None if fault.kind == ConditionType::Stalled
                && before.iter().any(|b| b.reason == fault.reason) =>
            {
                continue;
            }
            None => (Change::Began, None),
            Some(was) if was.reason != fault.reason => (Change::Changed, Some(was.reason.clone())),
            Some(was) if was.message == fault.message => continue,
            // An edit that fixes nothing.
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
            ..line(fault, change)
        });
    }
    lines
}

fn line(fault: &Stored<'_>, change: Change) -> Line {
    Line {
        level: if fault.reason.is(Reason::is_wait) {
            Level::Info
        } else {
            Level::Warn
        },
        change,
        condition: fault.kind,
        status: fault.status,
        also: Vec::new(),
        reason: fault.reason.clone(),
        was: None,
        was_repeats: 0,
        message: fault.message.to_owned(),
        generation: fault.generation,
        since: None,
        repeats: 0,
        ids: Ids::default(),
    }
}

fn ids(line: &Line, new: Seen<'_>, step: Step<'_>) -> Ids {
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

/// A message without times, counts and ids, which may be others at each attempt.
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

/// How many objects have which reason, the most frequent first: `12 ClientSecretMissing, 3 SourceMissing`.
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
