//! Waits between retries of a list or watch. The backoff of kube is reset by each attempt, because it counts the first event of
//! an attempt as a success.

use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use kube::runtime::watcher::Event;
use tokio::time::Instant;

use super::ids;

/// The wait after the first failure, before jitter.
const FIRST: Duration = Duration::from_millis(800);
/// The longest wait, before jitter.
const LONGEST: Duration = Duration::from_millis(25_600);
/// A stream that has worked for this long starts again with the first wait. Therefore a stream backs off as well if a server
/// answers its lists but always sends it back to the list (410).
const STABLE: Duration = Duration::from_secs(10);
/// A stream without any event or failure for this long was open and quiet.
const QUIET: Duration = Duration::from_mins(1);
/// A stream that keeps failing is reported immediately, and then once per this interval.
const REPORT: Duration = Duration::from_mins(5);

/// The meaning of one failure.
pub(in crate::controller) struct Failure<E> {
    /// The error.
    pub(in crate::controller) error: E,
    /// Whether the stream worked before, or this is its first failure.
    pub(in crate::controller) sudden: bool,
    /// The number of failures since the last report, including this one, if a report is due.
    pub(in crate::controller) report: Option<u32>,
}

/// Failures of one stream.
#[derive(Debug, Default)]
struct Retry {
    failures: u32,
    unreported: u32,
    reported_at: Option<Instant>,
    /// The time since when it has worked after the last failure.
    working_since: Option<Instant>,
    /// When the last wait ended.
    tried_at: Option<Instant>,
}

impl Retry {
    /// Records that the stream delivered an event.
    fn on<K>(&mut self, event: &Event<K>, now: Instant) {
        // Every attempt starts with these events, and a list may fail at each of its pages.
        if matches!(event, Event::InitDone | Event::Apply(_) | Event::Delete(_)) {
            self.working_since.get_or_insert(now);
        }
    }

    /// Records that the stream failed. Returns the wait until the next attempt. `random` is from 0 to 1.
    fn failed(&mut self, now: Instant, random: f64) -> Duration {
        let over = |since: Option<Instant>, time| since.is_some_and(|s| now - s >= time);
        if over(self.working_since, STABLE) || over(self.tried_at, QUIET) {
            self.failures = 0;
        }
        let wait = LONGEST.min(FIRST.saturating_mul(1 << self.failures.min(16)));
        let wait = wait.mul_f64(1.0 + random.clamp(0.0, 1.0) / 2.0);
        self.failures = self.failures.saturating_add(1);
        self.unreported = self.unreported.saturating_add(1);
        self.working_since = None;
        self.tried_at = Some(now + wait);
        wait
    }

    /// The number of failures since the last report, if a report is due.
    fn report(&mut self, now: Instant) -> Option<u32> {
        if self.reported_at.is_some_and(|at| now - at < REPORT) {
            return None;
        }
        self.reported_at = Some(now);
        Some(std::mem::take(&mut self.unreported))
    }
}

/// Passes on the events of a stream. After a failure the stream is polled again after a wait that grows with each failure. This
/// poll is the next attempt.
pub(in crate::controller) fn with_backoff<K, E>(
    events: impl Stream<Item = Result<Event<K>, E>> + Send + 'static,
) -> impl Stream<Item = Result<Event<K>, Failure<E>>> + Send + 'static
where
    K: Send + 'static,
    E: Send + 'static,
{
    let begin = (events.boxed(), Retry::default(), Duration::ZERO);
    stream::unfold(begin, |(mut events, mut retry, wait)| async move {
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let (item, wait) = match events.next().await? {
            Ok(event) => {
                retry.on(&event, Instant::now());
                (Ok(event), Duration::ZERO)
            }
            Err(error) => {
                let now = Instant::now();
                let random = f64::from(u16::from_le_bytes(ids::random())) / f64::from(u16::MAX);
                let worked = retry.working_since.is_some();
                let wait = retry.failed(now, random);
                let failure = Failure {
                    error,
                    sudden: worked || retry.failures == 1,
                    report: retry.report(now),
                };
                (Err(failure), wait)
            }
        };
        Some((item, (events, retry, wait)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of attempts in the first minute if each attempt delivers these events, each after its wait, and then fails.
    fn attempts(attempt: &[(Duration, Event<()>)]) -> usize {
        let (mut retry, begin) = (Retry::default(), Instant::now());
        let (mut now, mut count) = (begin, 0);
        while now - begin < Duration::from_mins(1) {
            count += 1;
            for (after, event) in attempt {
                now += *after;
                retry.on(event, now);
            }
            now += retry.failed(now, 0.0);
        }
        count
    }

    #[test]
    fn no_pattern_of_failures_is_tried_more_than_eight_times_a_minute() {
        let quick = Duration::from_millis(5);
        let page = || vec![(quick, Event::Init), (quick, Event::InitApply(()))];
        let list = || [page(), vec![(quick, Event::InitDone)]].concat();
        let change = [list(), vec![(quick, Event::Apply(()))]].concat();
        let slow = [list(), vec![(Duration::from_secs(9), Event::Delete(()))]].concat();
        for (what, attempt) in [
            ("a list that fails at once", vec![(quick, Event::Init)]),
            ("a list that fails at a later page", page()),
            ("a watch that is always too old", list()),
            ("a watch that breaks after its first event", change),
            ("a watch that breaks after some seconds", slow),
            ("a watch that cannot be opened", vec![]),
        ] {
            let count = attempts(&attempt);
            assert!((2..=8).contains(&count), "{what}: {count}");
        }
    }

    #[test]
    fn waits_grow_to_half_a_minute_and_start_again_when_the_stream_has_worked() {
        let mut retry = Retry::default();
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..8 {
            let wait = retry.failed(now, 0.0);
            now += wait;
            retry.on(&Event::<()>::Init, now);
            waits.push(wait.as_millis());
        }
        assert_eq!(
            waits,
            [800, 1600, 3200, 6400, 12_800, 25_600, 25_600, 25_600]
        );
        assert_eq!(retry.failed(now, 1.0).as_millis(), 38_400, "jitter");
        retry.on(&Event::<()>::InitDone, now);
        let early = retry.failed(now + Duration::from_secs(5), 0.0);
        assert_eq!(early, LONGEST, "it has worked for a moment only");
        retry.on(&Event::Apply(()), now);
        assert_eq!(retry.failed(now + STABLE, 0.0), FIRST);
    }

    #[test]
    fn a_stream_that_was_open_and_quiet_starts_again_as_well() {
        let mut retry = Retry::default();
        let mut now = Instant::now();
        for _ in 0..4 {
            now += retry.failed(now, 0.0);
        }
        assert_eq!(retry.failed(now + QUIET, 0.0), FIRST);
    }

    #[test]
    fn a_stream_that_keeps_failing_is_reported_first_and_then_by_its_count() {
        let mut retry = Retry::default();
        let begin = Instant::now();
        let mut reports = Vec::new();
        let mut now = begin;
        while now - begin <= REPORT + LONGEST {
            let wait = retry.failed(now, 0.0);
            reports.extend(retry.report(now));
            now += wait;
        }
        assert_eq!(reports[0], 1);
        assert_eq!(reports.len(), 2, "{reports:?}");
        assert!((10..30).contains(&reports[1]), "{reports:?}");
    }

    #[tokio::test]
    async fn all_that_a_stream_delivers_comes_through_in_order() {
        let script = vec![
            Ok(Event::Init),
            Err("broken"),
            Ok(Event::Init),
            Ok(Event::InitApply(7)),
            Ok(Event::InitDone),
        ];
        let seen: Vec<String> = with_backoff(stream::iter(script))
            .map(|item| match item {
                Ok(event) => format!("{event:?}"),
                Err(f) => format!("{} sudden {} report {:?}", f.error, f.sudden, f.report),
            })
            .collect()
            .await;
        assert_eq!(
            seen,
            [
                "Init",
                "broken sudden true report Some(1)",
                "Init",
                "InitApply(7)",
                "InitDone"
            ]
        );
    }
}
