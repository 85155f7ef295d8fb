//! Counts the refreshes in flight: each one from before its mark is written until its answer is stored. A process that exits in
//! between loses a refresh token, so a shutdown waits until the count is zero. Also counted are requests to a client's
//! registration, because their response may contain the only registration access token, and requests for a client secret.

use std::collections::HashSet;

use tokio::sync::watch;

/// The refreshes in flight. Clones count the same refreshes.
#[derive(Clone)]
pub(in crate::controller) struct Refreshes {
    count: watch::Sender<usize>,
    awaited: watch::Sender<bool>,
    /// Keyed digests of the refresh tokens that are being sent.
    sending: watch::Sender<HashSet<String>>,
}

impl Default for Refreshes {
    fn default() -> Self {
        Self {
            count: watch::Sender::new(0),
            awaited: watch::Sender::new(false),
            sending: watch::Sender::default(),
        }
    }
}

impl Refreshes {
    /// Counts one refresh until the guard is dropped. The guard belongs to the task that stores the answer.
    pub(in crate::controller) fn begin(&self) -> InFlight {
        self.count.send_modify(|count| *count += 1);
        InFlight(self.count.clone())
    }

    /// Waits until no other refresh sends the refresh token with this digest, and reserves it until the guard is dropped. A user
    /// may store one refresh token for two credentials: the second one must know what the first request did to it. Also returns
    /// whether it had to wait.
    pub(in crate::controller) async fn reserve(&self, digest: &str) -> (Reserved, bool) {
        let mut waited = false;
        while !self
            .sending
            .send_if_modified(|sending| sending.insert(digest.to_owned()))
        {
            waited = true;
            let mut sending = self.sending.subscribe();
            // The sender exists as long as `self`, so this wait cannot fail.
            let _ = sending.wait_for(|sending| !sending.contains(digest)).await;
        }
        let reserved = Reserved {
            sending: self.sending.clone(),
            digest: digest.to_owned(),
        };
        (reserved, waited)
    }

    /// The number of refreshes in flight.
    pub(in crate::controller) fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Waits until no refresh is in flight. Set a deadline: an API server that does not respond delays the last write.
    pub(in crate::controller) async fn stored(&self) {
        self.awaited.send_replace(true);
        // The sender exists as long as `self`, so this wait cannot fail.
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Whether the process is shutting down and waits for the refreshes.
    pub(in crate::controller) fn are_awaited(&self) -> bool {
        *self.awaited.borrow()
    }

    /// Returns when the process starts to wait for them.
    pub(in crate::controller) async fn awaited(&self) {
        let _ = self.awaited.subscribe().wait_for(|awaited| *awaited).await;
    }
}

/// One refresh in flight.
pub(in crate::controller) struct InFlight(watch::Sender<usize>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// A refresh token that no other refresh sends now.
pub(in crate::controller) struct Reserved {
    sending: watch::Sender<HashSet<String>>,
    digest: String,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.sending
            .send_if_modified(|sending| sending.remove(&self.digest));
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::Refreshes;

    #[tokio::test]
    async fn the_wait_ends_when_the_last_refresh_is_stored() {
        let refreshes = Refreshes::default();
        assert!(!refreshes.are_awaited() && refreshes.awaited().now_or_never().is_none());
        refreshes.stored().await;
        refreshes.awaited().await;
        let (first, second) = (refreshes.begin(), refreshes.clone().begin());
        assert_eq!(refreshes.count(), 2);
        let mut waits = Box::pin(refreshes.stored());
        drop(first);
        assert!(waits.as_mut().now_or_never().is_none());
        drop(second);
        waits.await;
        assert_eq!(refreshes.count(), 0);
    }

    #[tokio::test]
    async fn a_refresh_token_is_reserved_by_one_refresh_at_a_time() {
        let refreshes = Refreshes::default();
        let (first, waited) = refreshes.reserve("one").await;
        assert!(!waited);
        let (other, waited) = refreshes.reserve("another").await;
        assert!(!waited);
        let mut second = Box::pin(refreshes.reserve("one"));
        let mut third = Box::pin(refreshes.reserve("one"));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        drop(other);
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        let (second, waited) = second.await;
        assert!(waited && third.as_mut().now_or_never().is_none());
        drop(second);
        let (third, waited) = third.await;
        assert!(waited);
        drop(third);
        let (_, waited) = refreshes.reserve("one").await;
        assert!(!waited);
    }
}
