//! Lines for the user who watches, each with the seconds since the start.

use std::future::Future;
use std::io::Write;
use std::time::{Duration, Instant};

/// Pause between two progress lines of a long step.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// Writes to the terminal.
pub(crate) struct Console {
    began: Instant,
}

impl Console {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
        }
    }

    /// A heading, with an empty line above it.
    pub(crate) fn scene(&self, title: &str) {
        self.write(&format!("\n== {title}"));
    }

    /// A step that is finished or in progress.
    pub(crate) fn step(&self, text: &str) {
        self.write(&format!(
            "[{:6.1} s] {text}",
            self.began.elapsed().as_secs_f32()
        ));
    }

    /// A command as the user could type it, and what it printed.
    pub(crate) fn shell(&self, command: &str, output: &str) {
        self.step(&format!("$ {command}"));
        self.block(output);
    }

    /// Lines of another program.
    pub(crate) fn block(&self, text: &str) {
        for line in text.trim_end().lines() {
            self.write(&format!("           {line}"));
        }
    }

    /// The reason why the demo failed.
    pub(crate) fn failed(&self, why: &str) {
        self.step(&format!("FAILED: {why}"));
    }

    /// Shows that a step is still running.
    pub(crate) async fn during<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let mut work = std::pin::pin!(work);
        loop {
            match tokio::time::timeout(PROGRESS_EVERY, &mut work).await {
                Ok(done) => return done,
                Err(_) => self.step(&format!(
                    "  … {what}, {} s so far",
                    began.elapsed().as_secs()
                )),
            }
        }
    }

    /// Not `println!`, which panics when the reader of a pipe has ended.
    #[expect(clippy::unused_self, reason = "all lines come through one object")]
    fn write(&self, line: &str) {
        let mut out = std::io::stdout();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}
