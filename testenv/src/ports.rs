//! Free ports on loopback.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Error;

/// Below the range from which kernels take ports for outgoing connections and for "any port".
/// So the port of a stopped server is still free when the server starts again.
const FIRST: u32 = 20_000;
const COUNT: u32 = 9_000;

/// The next port that this process tries, so that two concurrent starts do not choose the same one.
static NEXT: AtomicU32 = AtomicU32::new(u32::MAX);

/// A port on which no program listened a moment ago. The caller retries if that has changed.
pub fn free() -> Result<u16, Error> {
    if NEXT.load(Ordering::Relaxed) == u32::MAX {
        // Processes that start at the same time begin with distant ports.
        let mut seed = [0; 4];
        fill_random(&mut seed)?;
        let begin = u32::from_le_bytes(seed) % COUNT;
        let _ = NEXT.compare_exchange(u32::MAX, begin, Ordering::Relaxed, Ordering::Relaxed);
    }
    for _ in 0..COUNT {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let Ok(port) = u16::try_from(FIRST + offset) else {
            continue;
        };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Error::Io {
        doing: format!(
            "looking for a free port between {FIRST} and {}",
            FIRST + COUNT
        ),
        source: std::io::ErrorKind::AddrInUse.into(),
    })
}

/// Number of starts, each with new ports, before a taken port is reported.
const ATTEMPTS: usize = 3;

/// Starts servers that need free ports. It retries if another process took one of the ports before the server used it.
pub(crate) async fn started<T>(start: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    let mut attempt = 1;
    loop {
        match start().await {
            Err(Error::PortTaken { .. }) if attempt < ATTEMPTS => attempt += 1,
            outcome => return outcome,
        }
    }
}

/// Fills a buffer from the system's random number generator.
pub(crate) fn fill_random(buffer: &mut [u8]) -> Result<(), Error> {
    aws_lc_rs::rand::fill(buffer).map_err(|_| Error::Io {
        doing: "reading random numbers".to_owned(),
        source: std::io::ErrorKind::Other.into(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_port_is_given_twice_in_a_row() {
        let ports: BTreeSet<u16> = (0..50).map(|_| free().unwrap()).collect();
        assert_eq!(ports.len(), 50);
    }
}
