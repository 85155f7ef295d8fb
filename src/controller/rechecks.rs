//! Further checks of issuers and clients: after a planned time, or after a status that could not be written.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{task::AbortHandle, time::Instant};

use super::{
    api::calls::{ApiErrorKind, Failed},
    locks::lock,
};

/// The first and the longest wait after a status that could not be written, in seconds. The wait doubles.
const AFTER_LOST_STATUS: (u64, u64) = (10, 300);
/// A status that cannot be written is reported again after this number of consecutive failures: an hour with the longest wait.
const REPORTED: u32 = 12;

/// The wait before the next attempt to write a status, after this number of consecutive failures.
pub(super) fn after_lost_status(lost: u32) -> Duration {
    let (first, longest) = AFTER_LOST_STATUS;
    Duration::from_secs((first << lost.saturating_sub(1).min(10)).min(longest))
}

/// Whether a status that could not be written is reported again, after this number of consecutive failures. The watches report
/// an API server that does not respond, and they report it once.
pub(super) fn is_reported_again(lost: u32, error_kind: ApiErrorKind) -> bool {
    lost.is_multiple_of(REPORTED)
        && !matches!(
            error_kind,
            ApiErrorKind::Unavailable | ApiErrorKind::Unwanted
        )
}

/// Whether the first failed status write is logged. The log line of each further attempt would be the same.
pub(super) fn is_lasting(failed: &Failed) -> bool {
    let rejected = matches!(
        failed.error_kind,
        ApiErrorKind::Forbidden | ApiErrorKind::Invalid
    );
    rejected || failed.server_message.is_webhook_down()
}

/// The object that a log line is about.
#[derive(Clone, Copy)]
pub(super) struct Object<'a> {
    pub(super) kind: &'a str,
    /// `None` for a cluster-scoped object.
    pub(super) namespace: Option<&'a str>,
    pub(super) name: &'a str,
}

/// Statuses that could not be written, and planned checks, by the name of an object.
pub(super) struct Rechecks<N> {
    /// The number of consecutive failures.
    lost: Mutex<HashMap<N, u32>>,
    /// At most one planned check for each object, even if it is edited often.
    planned: Mutex<HashMap<N, (Instant, AbortHandle)>>,
}

impl<N> Default for Rechecks<N> {
    fn default() -> Self {
        Self {
            lost: Mutex::default(),
            planned: Mutex::default(),
        }
    }
}

impl<N: Clone + Eq + Hash + Send + 'static> Rechecks<N> {
    /// Records that the status of an object could not be written, and logs it. Returns the wait before the next attempt.
    pub(super) fn lost(&self, name: &N, object: Object<'_>, failed: &Failed) -> Duration {
        let count = {
            let mut lost = lock(&self.lost);
            let count = lost.entry(name.clone()).or_default();
            *count = count.saturating_add(1);
            *count
        };
        let first = count == 1 && is_lasting(failed);
        if first || is_reported_again(count, failed.error_kind) {
            tracing::warn!(
                kind = object.kind,
                namespace = object.namespace,
                name = object.name,
                tries = count,
                result = failed.error_kind.as_str(),
                server_message = failed.server_message.fault(),
                "the status cannot be written, so only the log has it; apicred tries again"
            );
        }
        after_lost_status(count)
    }

    /// Records that the status of an object was written, or that the object was deleted.
    pub(super) fn settled(&self, name: &N) {
        lock(&self.lost).remove(name);
    }

    /// Plans a check of an object after this time, or earlier if an earlier check is planned.
    pub(super) fn plan(
        self: &Arc<Self>,
        name: N,
        wait: Duration,
        check: impl FnOnce(N) + Send + 'static,
    ) {
        let at = Instant::now() + wait;
        let mut planned = lock(&self.planned);
        if planned.get(&name).is_some_and(|(known, _)| *known <= at) {
            return;
        }
        let (all, object) = (Arc::clone(self), name.clone());
        let task = tokio::spawn(async move {
            tokio::time::sleep_until(at).await;
            {
                let mut planned = lock(&all.planned);
                // A check that is planned for an earlier time has replaced this one.
                if planned.get(&object).is_none_or(|(known, _)| *known != at) {
                    return;
                }
                planned.remove(&object);
            }
            check(object);
        });
        if let Some((_, later)) = planned.insert(name, (at, task.abort_handle())) {
            later.abort();
        }
    }

    /// The number of objects with a status that could not be written.
    pub(super) fn len(&self) -> usize {
        lock(&self.lost).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECT: Object<'_> = Object {
        kind: "ApiClient",
        namespace: Some("secops"),
        name: "shared",
    };

    #[test]
    fn a_status_that_cannot_be_written_waits_longer_each_time_until_it_is() {
        let rechecks = Rechecks::default();
        let failed = Failed::from(ApiErrorKind::Forbidden);
        let lost = || rechecks.lost(&"shared", OBJECT, &failed).as_secs();
        let waits: Vec<u64> = (0..7).map(|_| lost()).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(rechecks.lost(&"other", OBJECT, &failed).as_secs(), 10);
        rechecks.settled(&"shared");
        assert_eq!(rechecks.lost(&"shared", OBJECT, &failed).as_secs(), 10);
        rechecks.settled(&"shared");
        rechecks.settled(&"other");
        assert_eq!(rechecks.len(), 0);
        assert_eq!(after_lost_status(u32::MAX).as_secs(), 300);
    }

    #[test]
    fn a_status_that_stays_unwritten_is_reported_now_and_then() {
        let reported = |error_kind| (1..=24).filter(move |n| is_reported_again(*n, error_kind));
        assert_eq!(
            reported(ApiErrorKind::Forbidden).collect::<Vec<_>>(),
            [12, 24]
        );
        assert_eq!(reported(ApiErrorKind::Unavailable).count(), 0);
        assert!(is_lasting(&ApiErrorKind::Invalid.into()));
        assert!(
            !is_lasting(&ApiErrorKind::Conflict.into()),
            "the watch brings the next version"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn one_check_at_a_time_is_planned_and_the_earliest_counts() {
        let rechecks = Arc::new(Rechecks::default());
        let (sender, mut checked) = tokio::sync::mpsc::unbounded_channel();
        let plan = |seconds: u64| {
            let sender = sender.clone();
            let check = move |name: &'static str| {
                let _ = sender.send(name);
            };
            rechecks.plan("shared", Duration::from_secs(seconds), check);
        };
        let begun = Instant::now();
        // The check of a working object is due in an hour; then its status cannot be written.
        plan(3600);
        plan(10);
        plan(300);
        assert_eq!(checked.recv().await, Some("shared"));
        assert_eq!(begun.elapsed().as_secs(), 10);
        tokio::time::sleep(Duration::from_hours(2)).await;
        assert!(checked.try_recv().is_err(), "one check");
        plan(20);
        assert_eq!(checked.recv().await, Some("shared"));
        assert_eq!(begun.elapsed().as_secs(), 7230);
    }
}
