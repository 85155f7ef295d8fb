//! Checks of issuers and clients that are made again: at a time, or after a status that could not be written.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{task::AbortHandle, time::Instant};

use super::{
    api::calls::{Failed, Trouble},
    locks::lock,
};

/// After a status that could not be written, in seconds, at first and at most. Doubles in between.
const AFTER_LOST_STATUS: (u64, u64) = (10, 300);
/// After so many statuses in a row that could not be written it is reported again: an hour by the longest wait.
const REPORTED: u32 = 12;

/// How long the next try of a status waits after so many in a row that could not be written.
pub(super) fn after_lost_status(lost: u32) -> Duration {
    let (first, longest) = AFTER_LOST_STATUS;
    Duration::from_secs((first << lost.saturating_sub(1).min(10)).min(longest))
}

/// Is a status that could not be written reported again, after so many in a row? An API server that does not answer is
/// reported once, by its watches.
pub(super) fn is_reported_again(lost: u32, trouble: Trouble) -> bool {
    lost.is_multiple_of(REPORTED) && !matches!(trouble, Trouble::Unavailable | Trouble::Unwanted)
}

/// Is the first status in a row that could not be written worth a line? Each further try would say the same.
pub(super) fn is_lasting(failed: &Failed) -> bool {
    let rejected = matches!(failed.trouble, Trouble::Forbidden | Trouble::Invalid);
    rejected || failed.server_message.is_webhook_down()
}

/// The object that a line is about.
#[derive(Clone, Copy)]
pub(super) struct Object<'a> {
    pub(super) kind: &'a str,
    /// None of an object of the cluster.
    pub(super) namespace: Option<&'a str>,
    pub(super) name: &'a str,
}

/// Statuses that could not be written, and checks that are planned, by the name of an object.
pub(super) struct Rechecks<N> {
    /// Statuses in a row.
    lost: Mutex<HashMap<N, u32>>,
    /// One check at a time for each object, however often it is edited meanwhile.
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
    /// The status of an object could not be written. Says so in the log, and how long the next try waits.
    pub(super) fn lost(&self, name: &N, object: Object<'_>, failed: &Failed) -> Duration {
        let count = {
            let mut lost = lock(&self.lost);
            let count = lost.entry(name.clone()).or_default();
            *count = count.saturating_add(1);
            *count
        };
        let first = count == 1 && is_lasting(failed);
        if first || is_reported_again(count, failed.trouble) {
            tracing::warn!(
                kind = object.kind,
                namespace = object.namespace,
                name = object.name,
                tries = count,
                result = failed.trouble.as_str(),
                server_message = failed.server_message.fault(),
                "the status cannot be written, so only the log has it; apicred tries again"
            );
        }
        after_lost_status(count)
    }

    /// The status of an object is written, or the object is gone.
    pub(super) fn settled(&self, name: &N) {
        lock(&self.lost).remove(name);
    }

    /// Has an object checked after this time, or earlier if an earlier check is planned.
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
                // One that is planned for an earlier time has taken its place.
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

    /// How many objects have a status that could not be written.
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
        let failed = Failed::from(Trouble::Forbidden);
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
        let reported = |trouble| (1..=24).filter(move |n| is_reported_again(*n, trouble));
        assert_eq!(reported(Trouble::Forbidden).collect::<Vec<_>>(), [12, 24]);
        assert_eq!(reported(Trouble::Unavailable).count(), 0);
        assert!(is_lasting(&Trouble::Invalid.into()));
        assert!(
            !is_lasting(&Trouble::Conflict.into()),
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
        // A check of one that works is an hour away; then its status cannot be written.
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
