//! Progress lines for the waiting user.

use std::io::Write;
use std::time::{Duration, Instant};

/// Shows the progress of a long step on stderr, with the seconds since it began.
pub(crate) struct Progress {
    what: String,
    began: Instant,
    last: Instant,
}

impl Progress {
    /// Interval between two lines of one step. Short enough to show progress, long enough not to fill a CI log.
    const EVERY: Duration = Duration::from_secs(10);

    /// Reports that a step begins, with a remark on how long it usually takes.
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

    /// A step that reports nothing until it takes longer than one interval.
    pub(crate) fn quiet(what: impl Into<String>) -> Self {
        let now = Instant::now();
        Self {
            what: what.into(),
            began: now,
            last: now,
        }
    }

    /// Must be called often; it writes only after an interval has passed.
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

    /// Reports that the step has finished.
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
/// Not `eprintln!`: the test harness captures its output, and a first build of several
/// minutes without output looks like a hang.
pub(crate) fn say(line: &str) {
    // A closed stderr is not a reason to fail.
    let _ = writeln!(std::io::stderr(), "testenv: {line}");
}
