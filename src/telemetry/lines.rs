//! Writes log lines to standard error. A blocked pipe or a full disk blocks nothing: lines wait in a bounded queue, a separate thread writes them,
//! and
//! lines that do not fit are dropped and counted.

use std::{
    io::{self, Write},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

use super::logs::LogFormat;
use crate::printable;

/// Maximum number of queued lines.
const LINES: usize = 4096;
/// Maximum size of the queued lines together, in bytes.
const BYTES: usize = 1024 * 1024;
/// Longest line; the rest is cut off.
const LONGEST: usize = 32 * 1024;
/// Time limit for writing the last lines at the end of the process.
const FAREWELL: Duration = Duration::from_secs(1);

/// The queue of this process.
static QUEUE: OnceLock<Queue> = OnceLock::new();

/// What the thread receives.
enum Message {
    Line(Vec<u8>),
    /// Report when all earlier lines are written.
    Flush(SyncSender<()>),
}

/// A bounded queue of lines.
#[derive(Clone)]
pub(super) struct Queue {
    sender: SyncSender<Message>,
    bytes: Arc<AtomicUsize>,
    dropped: Arc<AtomicU64>,
}

impl Queue {
    /// A queue whose lines a separate thread writes to `out`.
    pub(super) fn to(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (sender, lines) = sync_channel(LINES);
        let queue = Self {
            sender,
            bytes: Arc::default(),
            dropped: Arc::default(),
        };
        let (bytes, dropped) = (Arc::clone(&queue.bytes), Arc::clone(&queue.dropped));
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(out, &lines, &bytes, &dropped))?;
        Ok(queue)
    }

    /// Queues a line; never waits.
    pub(super) fn push(&self, mut line: Vec<u8>) {
        if line.len() > LONGEST {
            line.truncate(LONGEST);
            line.push(b'\n');
        }
        let size = line.len();
        let fits = self
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
                Some(waiting + size).filter(|sum| *sum <= BYTES)
            })
            .is_ok();
        if fits && self.sender.try_send(Message::Line(line)).is_ok() {
            return;
        }
        if fits {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
        }
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until the queued lines are written, or until the reader has read nothing for `patience`.
    pub(super) fn flush(&self, patience: Duration) {
        let (done, written) = sync_channel(1);
        // A full queue has no room for this message. Its reader gets time to make room.
        for _ in 0..20 {
            if self.sender.try_send(Message::Flush(done.clone())).is_ok() {
                let _ = written.recv_timeout(patience);
                return;
            }
            std::thread::sleep(patience / 20);
        }
    }
}

fn write_all(
    mut out: impl Write,
    lines: &Receiver<Message>,
    bytes: &AtomicUsize,
    dropped: &AtomicU64,
) {
    // A failed write (a full disk, a pipe whose reader is gone) loses its line and no other.
    for message in lines {
        match message {
            Message::Line(line) => {
                if out.write_all(&line).and_then(|()| out.flush()).is_err() {
                    dropped.fetch_add(1, Ordering::Relaxed);
                }
                bytes.fetch_sub(line.len(), Ordering::Relaxed);
            }
            Message::Flush(done) => {
                let _ = done.try_send(());
            }
        }
    }
}

/// Starts the queue to standard error, once.
pub(super) fn start() -> Result<Queue, String> {
    let queue = Queue::to(io::stderr()).map_err(|e| format!("no thread for the log: {e}"))?;
    QUEUE
        .set(queue.clone())
        .map_err(|_| "the log is open already".to_owned())?;
    Ok(queue)
}

/// Writes the line with the reason why the process ends, without the log's format and filter. Never waits for a reader.
pub fn last_line(line: &str) {
    let line = format!("{}\n", printable(line));
    match QUEUE.get() {
        Some(queue) => queue.push(line.into_bytes()),
        // Before logging starts, nothing has been written, so a pipe has room.
        None => {
            let _ = io::stderr().write_all(line.as_bytes());
        }
    }
}

/// Waits for the last lines, for one second at most.
pub fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.flush(FAREWELL);
    }
}

/// How many lines were dropped, for the metrics.
pub(super) fn dropped() -> u64 {
    QUEUE.get().map_or(0, |q| q.dropped.load(Ordering::Relaxed))
}

/// The writer for tracing.
#[derive(Clone)]
pub(super) struct Lines {
    pub(super) queue: Queue,
    pub(super) format: LogFormat,
    /// Colours of a terminal are control characters.
    pub(super) colours: bool,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

/// tracing writes an event in one piece.
impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        self.queue
            .push(escape(&text, self.format, self.colours).into_bytes());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A line with printable characters only; JSON leaves all non-ASCII characters unchanged.
fn escape(line: &str, format: LogFormat, colours: bool) -> String {
    let (body, end) = line.strip_suffix('\n').map_or((line, ""), |b| (b, "\n"));
    let mut out = match format {
        LogFormat::Json => {
            let mut out = String::with_capacity(body.len() + 1);
            for c in body.chars() {
                let mut one = [0; 4];
                if printable(c.encode_utf8(&mut one)).len() == c.len_utf8() {
                    out.push(c);
                } else {
                    // RFC 8259 section 7: a surrogate pair beyond the basic plane.
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
            }
            out
        }
        // tracing escapes the escape character in everything that it colours.
        LogFormat::Text if colours => {
            let parts: Vec<_> = body.split('\u{1b}').map(printable).collect();
            parts.join("\u{1b}")
        }
        LogFormat::Text => printable(body).into_owned(),
    };
    out.push_str(end);
    out
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::unix::net::UnixStream};

    use super::*;

    #[test]
    fn a_pipe_without_reader_blocks_nothing_and_later_lines_are_written() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let queue = Queue::to(near).unwrap();
        let line = |n: usize| format!("{n:08} {}\n", "x".repeat(1000)).into_bytes();
        let mut sent = 0;
        // Far more than the pipe and the queue can store. A push that waited would block for ever.
        while queue.dropped.load(Ordering::Relaxed) < 1000 {
            queue.push(line(sent));
            sent += 1;
            assert!(queue.bytes.load(Ordering::Relaxed) <= BYTES);
        }
        queue.flush(Duration::from_millis(20));
        // A reader reads again.
        let reader = std::thread::spawn(move || {
            let mut all = String::new();
            far.read_to_string(&mut all).unwrap();
            all
        });
        queue.flush(Duration::from_mins(1));
        queue.push(b"the last line\n".to_vec());
        queue.flush(Duration::from_mins(1));
        let dropped = queue.dropped.load(Ordering::Relaxed);
        drop(queue);
        let all = reader.join().unwrap();
        assert!(all.starts_with("00000000 ") && all.ends_with("\nthe last line\n"));
        let lines = u64::try_from(all.lines().count()).unwrap();
        assert_eq!(lines + dropped, u64::try_from(sent).unwrap() + 1);
    }

    #[test]
    fn a_full_disk_and_a_closed_pipe_lose_lines_and_nothing_else() {
        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let queue = Queue::to(full).unwrap();
        queue.push(b"a line\n".to_vec());
        queue.flush(Duration::from_mins(1));
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 1);
        let (near, far) = UnixStream::pair().unwrap();
        drop(far);
        let queue = Queue::to(near).unwrap();
        for _ in 0..3 {
            queue.push(b"a line\n".to_vec());
        }
        queue.flush(Duration::from_mins(1));
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 3);
        assert_eq!(queue.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_long_line_is_cut() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let queue = Queue::to(near).unwrap();
        queue.push(vec![b'x'; 10 * LONGEST]);
        drop(queue);
        let mut all = Vec::new();
        far.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), LONGEST + 1);
    }

    #[test]
    fn a_line_has_no_control_or_format_characters() {
        let hostile = "a\u{202e}b\u{85}c\u{e0041}d\u{7f}é\n";
        let json = serde_json::json!({ "message": hostile }).to_string() + "\n";
        let line = escape(&json, LogFormat::Json, false);
        assert_eq!(
            line,
            "{\"message\":\"a\\u202eb\\u0085c\\udb40\\udc41d\\u007fé\\n\"}\n"
        );
        let back: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(back["message"], hostile);
        assert_eq!(
            escape(hostile, LogFormat::Text, false),
            "a\\u{202e}b\\u{85}c\\u{e0041}d\\u{7f}é\n"
        );
        assert_eq!(
            escape("\u{1b}[32ma\u{202e}\u{1b}[0m\n", LogFormat::Text, true),
            "\u{1b}[32ma\\u{202e}\u{1b}[0m\n"
        );
    }
}
