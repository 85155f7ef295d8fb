//! All output of the plugin to a terminal. Every line passes [`printable`], because names, URLs and messages come from a spec, an issuer or the
//! API server.

use std::io::{self, BufRead, IsTerminal, Write};

use apicred::printable;

/// Writes a line of the result.
pub(crate) fn out(line: &str) {
    write(io::stdout().lock(), line);
}

/// Writes a line about the progress.
pub(crate) fn err(line: &str) {
    write(io::stderr().lock(), line);
}

/// Errors are ignored: a closed terminal cannot be read.
fn write(mut to: impl Write, line: &str) {
    let _ = writeln!(to, "{}", printable(line));
}

/// True if there is a terminal for a question.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks a question at the terminal. Only `y` and `yes` agree.
pub(crate) async fn ask(question: &str) -> bool {
    let shown = printable(question).into_owned();
    let answer = tokio::task::spawn_blocking(move || {
        let mut terminal = io::stderr().lock();
        let _ = write!(terminal, "{shown} [y/N] ").and_then(|()| terminal.flush());
        agrees(io::stdin().lock())
    });
    answer.await.unwrap_or(false)
}

/// Reads one line.
pub(crate) fn agrees(from: impl BufRead) -> bool {
    // Longer than any valid answer.
    let mut line = String::new();
    let read = from.take(64).read_line(&mut line);
    read.is_ok() && ["y", "yes"].contains(&line.trim().to_ascii_lowercase().as_str())
}
