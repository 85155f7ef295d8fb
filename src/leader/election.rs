//! Decides who leads. Pure: it uses the content of the Lease and how long it has not changed, by the observer's own clock. So the clocks of two
//! machines need not agree.

use std::time::Duration;

/// How long a leader that does not renew counts as alive.
pub const LEASE: Duration = Duration::from_secs(15);
/// A leader whose last successful renewal was sent this long ago gives up, well before another one may take over.
pub const GIVE_UP: Duration = Duration::from_secs(10);
/// Pause between two renewals, and between two reads of a standby.
pub const PAUSE: Duration = Duration::from_secs(2);
/// Pause of a standby between two reads: a released Lease is noticed within it.
pub const POLL: Duration = Duration::from_secs(1);

/// The content of the Lease.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Record {
    /// The holder's name; empty after a release.
    pub holder: String,
    /// The time of the renewal by the holder's clock: a different text after each renewal.
    pub renewed: String,
    /// resourceVersion. It also changes when a label is edited, which is not a renewal.
    pub version: String,
    /// How often its holder changed.
    pub transitions: i32,
}

/// A record, and since when it has not changed, by a monotonic clock.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Seen {
    record: Option<Record>,
    since: Duration,
    /// Names of processes that have provably ended.
    ended: Vec<String>,
}

/// What a standby does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// There is no Lease: create it.
    Create,
    /// Take it: it is free, this process held it before, or its holder has ended or has not renewed for too long.
    Take {
        /// The version that may be replaced.
        version: String,
        /// Its new count of transitions.
        transitions: i32,
    },
    /// Another process leads.
    Wait,
}

impl Seen {
    /// Nothing was read yet. The processes with these names have ended.
    pub fn after(ended: Vec<String>) -> Self {
        Self {
            ended,
            ..Self::default()
        }
    }

    /// Records its content at `now` (a monotonic time).
    pub fn observe(&mut self, record: Option<Record>, now: Duration) {
        let says = |record: &Option<Record>| {
            record.clone().map(|r| Record {
                version: String::new(),
                ..r
            })
        };
        if says(&self.record) != says(&record) {
            self.since = now;
        }
        self.record = record;
    }

    /// The next step of `me`.
    pub fn step(&self, me: &str, now: Duration) -> Step {
        let Some(record) = &self.record else {
            return Step::Create;
        };
        // The duration in the Lease is for other readers. Every operator has the same one, and anyone with the right to edit the Lease could
        // let two lead, or none.
        let silent = now.saturating_sub(self.since) >= LEASE;
        let free = record.holder.is_empty() || self.ended.contains(&record.holder);
        if free || record.holder == me || silent {
            let changes = i32::from(record.holder != me);
            return Step::Take {
                version: record.version.clone(),
                transitions: record.transitions.saturating_add(changes),
            };
        }
        Step::Wait
    }
}

const _: () = assert!(GIVE_UP.as_secs() + 2 < LEASE.as_secs());

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn record(holder: &str, version: &str) -> Record {
        Record {
            holder: holder.to_owned(),
            renewed: format!("at {version}"),
            version: version.to_owned(),
            transitions: 3,
        }
    }

    fn take(version: &str, transitions: i32) -> Step {
        Step::Take {
            version: version.to_owned(),
            transitions,
        }
    }

    #[test]
    fn a_standby_takes_what_is_free_its_own_or_silent() {
        let mut seen = Seen::default();
        assert_eq!(seen.step("me", secs(0)), Step::Create);
        seen.observe(Some(record("other", "1")), secs(100));
        assert_eq!(seen.step("me", secs(114)), Step::Wait);
        assert_eq!(seen.step("me", secs(115)), take("1", 4));
        // A renewal restarts the period, whatever the other clock shows.
        seen.observe(Some(record("other", "2")), secs(114));
        assert_eq!(seen.step("me", secs(128)), Step::Wait);
        seen.observe(Some(record("", "3")), secs(120));
        assert_eq!(seen.step("me", secs(120)), take("3", 4));
        seen.observe(Some(record("me", "4")), secs(121));
        assert_eq!(seen.step("me", secs(121)), take("4", 3));
    }

    #[test]
    fn the_lease_of_a_process_that_has_ended_is_taken_at_once() {
        let mut seen = Seen::after(vec!["before".to_owned(), "other".to_owned()]);
        assert_eq!(seen.step("me", secs(0)), Step::Create);
        seen.observe(Some(record("other", "1")), secs(1));
        assert_eq!(seen.step("me", secs(1)), take("1", 4));
        // A process that is not known to have ended took it.
        seen.observe(Some(record("another", "2")), secs(2));
        assert_eq!(seen.step("me", secs(16)), Step::Wait);
        assert_eq!(seen.step("me", secs(17)), take("2", 4));
    }

    #[test]
    fn an_edit_of_the_object_is_no_renewal_by_its_holder() {
        let mut seen = Seen::default();
        for second in 0..14 {
            let mut labelled = record("other", "1");
            labelled.version = format!("v{second}");
            seen.observe(Some(labelled), secs(100 + second));
            assert_eq!(seen.step("me", secs(100 + second)), Step::Wait);
        }
        assert_eq!(seen.step("me", secs(115)), take("v13", 4));
    }
}
