//! How long the client waits for an answer.

use std::{future::Future, pin::pin, time::Duration};

use tokio::time::{Instant, timeout_at};

/// Data that arrived while the process was stopped (SIGSTOP, a suspended machine, no CPU) is read within this time after the process continues.
const CATCH_UP: Duration = Duration::from_secs(1);

/// A deadline that does not expire while the process is stopped.
///
/// The clock continues during the stop, so all timers are due as soon as the process continues, before a byte was read. An answer
/// in the socket buffer would be dropped, and with it a refresh token that exists nowhere else.
pub(super) struct Patience {
    until: Instant,
    /// It was extended. This happens once for all parts together.
    extended: bool,
}

impl Patience {
    /// Starts now.
    pub(super) fn new(time: Duration) -> Self {
        Self {
            until: Instant::now() + time,
            extended: false,
        }
    }

    /// Waits for the next part. `None`: it did not arrive in time.
    pub(super) async fn wait<F: Future>(&mut self, part: F) -> Option<F::Output> {
        let mut part = pin!(part);
        if let Ok(done) = timeout_at(self.until, &mut part).await {
            return Some(done);
        }
        if self.extended {
            return None;
        }
        self.extended = true;
        self.until = Instant::now() + CATCH_UP;
        timeout_at(self.until, part).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, net::TcpListener, thread};

    use tokio::{io::AsyncReadExt, net::TcpStream, sync::oneshot};

    use super::*;

    /// Like an HTTP client: one task reads the connection, another one waits for the answer.
    async fn stopped_for(stop: Duration, deadline: Duration) -> Option<u8> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let issuer = thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            connection.write_all(b"t").unwrap();
        });
        let mut connection = TcpStream::connect(address).await.unwrap();
        let (answer, answered) = oneshot::channel();
        let reader = tokio::spawn(async move {
            // Nothing is read before the process stops.
            tokio::task::yield_now().await;
            let byte = connection.read_u8().await.unwrap();
            let _ = answer.send(byte);
        });
        let mut patience = Patience::new(deadline);
        issuer.join().unwrap();
        // All tasks share this thread, so it measures the process.
        thread::sleep(stop);
        let got = patience.wait(answered).await;
        reader.abort();
        got.and_then(Result::ok)
    }

    #[tokio::test]
    async fn an_answer_that_came_while_the_process_was_stopped_is_read() {
        let (short, long) = (Duration::from_millis(20), Duration::from_millis(200));
        assert_eq!(stopped_for(long, short).await, Some(b't'));
        assert_eq!(stopped_for(Duration::ZERO, long).await, Some(b't'));
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_come_is_not_waited_for_without_end() {
        let began = Instant::now();
        let mut patience = Patience::new(Duration::from_secs(15));
        for _ in 0..3 {
            // Each part takes one second.
            let part = tokio::time::sleep(Duration::from_secs(1));
            assert_eq!(patience.wait(part).await, Some(()));
        }
        assert_eq!(patience.wait(std::future::pending::<()>()).await, None);
        let whole = Duration::from_secs(15) + CATCH_UP;
        assert_eq!(began.elapsed(), whole);
        let part = tokio::time::sleep(Duration::from_millis(100));
        assert_eq!(
            patience.wait(part).await,
            None,
            "the extension is for all parts together"
        );
        assert_eq!(began.elapsed(), whole);
    }
}
