//! Faults of the stream of a watch: it ends, it breaks, it reports that its version is too old, it repeats events, or some of
//! its events arrive late.

use std::{io, pin::Pin, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

/// The fault. A number is the count of whole events before it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum StreamFault {
    /// The server ends it.
    Cut(usize),
    /// The connection breaks in the middle of an event.
    Reset(usize),
    /// `ERROR` with 410: the version is not available any more.
    Gone(usize),
    /// The same, after each event with this text in it.
    GoneAfter(&'static str),
    /// A line that is not an event.
    Garbage(usize),
    /// Every event arrives twice.
    Twice,
    /// Events with this text in them arrive this much later, all others in time.
    Late(&'static str, Duration),
}

type Lines = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

impl StreamFault {
    /// The body of a watch, with the fault.
    pub(crate) fn body(self, body: Body) -> Body {
        let lines = lines(body);
        let gone = crate::calls::failure(410, "Expired");
        let gone = format!("{{\"type\":\"ERROR\",\"object\":{gone}}}\n");
        let spoilt: Lines = match self {
            Self::Cut(after) => Box::pin(lines.take(after)),
            Self::Reset(after) => {
                let half = Bytes::from_static(b"{\"type\":\"MODIFIED\",\"object\":{\"metada");
                let broken = io::Error::new(io::ErrorKind::ConnectionReset, "reset by a test");
                Box::pin(
                    lines
                        .take(after)
                        .chain(stream::iter([Ok(half), Err(broken)])),
                )
            }
            Self::Gone(after) => Box::pin(lines.take(after).chain(stream::iter([Ok(gone.into())]))),
            Self::GoneAfter(text) => Box::pin(lines.flat_map(move |line| {
                let hit = line.as_ref().is_ok_and(|l| contains(l, text));
                let gone = hit.then(|| Ok(gone.clone().into()));
                stream::iter([Some(line), gone].into_iter().flatten())
            })),
            Self::Garbage(after) => {
                let page = Bytes::from_static(b"<!doctype html><title>Sign in</title>\n");
                Box::pin(lines.take(after).chain(stream::iter([Ok(page)])))
            }
            Self::Twice => {
                let twice = |line: io::Result<Bytes>| {
                    let line = line.unwrap_or_default();
                    stream::iter([Ok(line.clone()), Ok(line)])
                };
                Box::pin(lines.flat_map(twice))
            }
            Self::Late(text, by) => late(lines, text, by),
        };
        Body::from_stream(spoilt)
    }
}

/// Delays each line with this text in it by `by`; they keep their order.
fn late(mut lines: Lines, text: &'static str, by: Duration) -> Lines {
    let (sender, receiver) = mpsc::unbounded_channel();
    let (hold, mut held) = mpsc::unbounded_channel::<(tokio::time::Instant, io::Result<Bytes>)>();
    let released = sender.clone();
    tokio::spawn(async move {
        while let Some((due, line)) = held.recv().await {
            tokio::time::sleep_until(due).await;
            let _ = released.send(line);
        }
    });
    tokio::spawn(async move {
        while let Some(line) = lines.next().await {
            if line.as_ref().is_ok_and(|l| contains(l, text)) {
                let _ = hold.send((tokio::time::Instant::now() + by, line));
            } else {
                let _ = sender.send(line);
            }
        }
    });
    Box::pin(UnboundedReceiverStream::new(receiver))
}

fn contains(line: &Bytes, text: &str) -> bool {
    line.windows(text.len()).any(|w| w == text.as_bytes())
}

/// The lines of a body, each with its end.
fn lines(body: Body) -> Lines {
    let parts = Box::pin(body.into_data_stream());
    Box::pin(stream::unfold(
        (parts, Vec::new()),
        async |(mut parts, mut buffer)| loop {
            if let Some(end) = buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                return Some((Ok(Bytes::from(line)), (parts, buffer)));
            }
            match parts.next().await? {
                Ok(part) => buffer.extend_from_slice(&part),
                Err(error) => return Some((Err(io::Error::other(error)), (parts, buffer))),
            }
        },
    ))
}
