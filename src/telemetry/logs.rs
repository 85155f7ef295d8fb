//! Logs through tracing, as text or JSON.

use std::io::IsTerminal;

use tracing_subscriber::{
    EnvFilter, Layer, filter::FilterExt, filter::filter_fn, layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::{
    lines::{self, Lines},
    traces::{self, Spans},
};

/// Format of log lines.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum LogFormat {
    /// For humans.
    Text,
    /// One JSON object per line.
    #[default]
    Json,
}

/// Starts logging to standard error, without waiting for a blocked reader ([`lines`]). `filter` is a tracing filter such as `info,apicred=debug`.
/// `spans` sends traces.
///
/// # Errors
/// When the filter cannot be read or logging has started already.
pub fn init(format: LogFormat, filter: &str, spans: Option<Spans>) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|e| format!("--log-filter: {e}"))?;
    // kube opens a span around each of ours, with the same names in it. The verifier of certificates logs every refused one
    // as an error, without the server; the reconcile reports it with the server.
    let filter = [
        "kube_runtime::controller=warn",
        "rustls_platform_verifier=off",
    ]
    .iter()
    .filter_map(|d| d.parse().ok())
    .fold(filter, EnvFilter::add_directive);
    // kube's client logs the body of an answer that it cannot parse, and that may be a Secret. This must never be logged, whatever
    // the filter is. Spans for traces would hide the fields of their parents.
    let filter = filter.and(filter_fn(|event| {
        !event.target().starts_with("kube_client::client") && event.target() != traces::TARGET
    }));
    let (queue, colours) = (lines::start()?, std::io::stderr().is_terminal());
    // The default hook writes to standard error directly, and waits for its reader.
    std::panic::set_hook(Box::new(|panic| lines::last_line(&panic.to_string())));
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(colours)
        .with_writer(Lines {
            queue,
            format,
            colours,
        });
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .boxed(),
    };
    tracing_subscriber::registry()
        .with(spans)
        .with(lines.with_filter(filter))
        .try_init()
        .map_err(|e| format!("cannot start logging: {e}"))
}
