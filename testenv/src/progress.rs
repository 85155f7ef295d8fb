//! Lines for the user who waits.

use std::io::Write;
use std::time::{Duration, Instant};

/// Shows on stderr how a long step goes on, with the seconds since it began.
pub(crate) struct Progress {
    what: String,
    began: Instant,
    last: Instant,
}

impl Progress {
    /// Between two lines of one step. Short enough to show life, long enough not to fill a CI log.
    const EVERY: Duration = Duration::from_secs(10);

    /// Says that a step begins, with a remark on how long it usually takes.
    pub(crate) fn begin(what: impl Into<String>, usually: &str) -> Self {
        let what = what.into();
        say(&format!("{what} (usually {usually})"));
        let now = Instant::now();
        Self {
            what,
            began: now,
            last: now,
        }
    }

    /// A step that says nothing until it lasts longer than one interval.
    pub(crate) fn quiet(what: impl Into<String>) -> Self {
        let now = Instant::now();
        Self {
            what: what.into(),
            began: now,
            last: now,
        }
    }

    /// To be called often; speaks only when an interval has passed.
    pub(crate) fn tick(&mut self) {
        if self.last.elapsed() >= Self::EVERY {
            self.last = Instant::now();
            say(&format!(
                "{}: {} s so far",
                self.what,
                self.began.elapsed().as_secs()
            ));
        }
    }

    /// Says that the step is done.
    pub(crate) fn done(self) {
        say(&format!(
            "{}: done after {:.1} s",
            self.what,
            self.began.elapsed().as_secs_f32()
        ));
    }
}

/// One line on stderr.
///
/// Not `eprintln!`: the test harness swallows what that prints, and a first build of several
/// silent minutes looks like a hang.
pub(crate) fn say(line: &str) {
    // A closed stderr is no reason to fail.
    let _ = writeln!(std::io::stderr(), "testenv: {line}");
}
