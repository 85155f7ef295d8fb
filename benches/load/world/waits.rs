//! Waits for the operator: for its writes, for its requests, and until it is at rest.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{POLL, STANDSTILL, World};
use crate::Result;

impl World {
    /// Waits until this many Secrets have been written since a place in the traffic, and as many statuses if the
    /// operator is apicred; returns the end of the last write.
    pub(crate) async fn published(&mut self, since: usize, count: usize) -> Result<Timestamp> {
        let own = self.contender.is_own();
        let (mut progress, mut before) = (Instant::now(), 0);
        loop {
            self.check_running()?;
            let now = self.traffic.read(&self.plane)?;
            let tally = self.traffic.since(since);
            if tally.published() >= count
                && (!own || tally.reported() >= count)
                && let Some(end) = tally.last_write()
            {
                return Ok(end);
            }
            if now > before {
                (progress, before) = (Instant::now(), now);
            }
            if progress.elapsed() > STANDSTILL {
                let (done, sums) = (tally.published(), tally.sums());
                return Err(format!("standstill at {done} of {count}: {sums:?}").into());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until the token server has received this many requests, for at most this long.
    pub(crate) async fn until_posts(&mut self, posts: usize, within: Duration) -> Result<()> {
        let began = Instant::now();
        loop {
            self.check_running()?;
            let now = self.issuer.stats().await?.posts;
            if now >= posts {
                return Ok(());
            }
            if began.elapsed() > within {
                return Err(format!("{now} of {posts} token requests after {within:?}").into());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until the operator has sent no write and no token request for two seconds.
    pub(crate) async fn at_rest(&mut self) -> Result<()> {
        if self.rests_within(STANDSTILL).await? {
            return Ok(());
        }
        Err("the operator does not come to rest".into())
    }

    /// The same, for at most this long. Returns whether it is at rest.
    pub(crate) async fn rests_within(&mut self, within: Duration) -> Result<bool> {
        let mut quiet = 0;
        let mut last = (0, 0);
        let began = Instant::now();
        while quiet < 8 {
            self.check_running()?;
            let now = (
                self.traffic.read(&self.plane)?,
                self.issuer.stats().await?.posts,
            );
            quiet = if now == last { quiet + 1 } else { 0 };
            last = now;
            if began.elapsed() > within {
                return Ok(false);
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(true)
    }
}
