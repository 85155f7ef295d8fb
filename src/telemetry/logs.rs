//! Logs through tracing, as text or JSON.

use std::io::IsTerminal;

use tracing_subscriber::{
    EnvFilter, Layer, filter::FilterExt, filter::LevelFilter, filter::filter_fn,
    layer::SubscriberExt, util::SubscriberInitExt,
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

/// A filter. `EnvFilter` takes a word that is no level for a target, and then nothing is logged.
fn parse_filter(filter: &str) -> Result<EnvFilter, String> {
    let is_word = |directive: &&str| {
        !directive.is_empty()
            && !directive.contains(['=', '['])
            && directive.parse::<LevelFilter>().is_err()
    };
    if let Some(word) = filter.split(',').map(str::trim).find(is_word) {
        return Err(format!(
            "{word} is not a level; levels are off, error, warn, info, debug and trace, also for one target (apicred=debug)"
        ));
    }
    EnvFilter::try_new(filter).map_err(|e| e.to_string())
}

/// Starts logging to standard error, without waiting for a blocked reader ([`lines`]). `filter` is a tracing filter such as `info,apicred=debug`.
/// `spans` sends traces.
///
/// # Errors
/// When the filter cannot be read or logging has started already.
pub fn init(format: LogFormat, filter: &str, spans: Option<Spans>) -> Result<(), String> {
    let filter = parse_filter(filter).map_err(|why| format!("--log-filter: {why}"))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        for fine in [
            "info",
            "INFO",
            "3",
            "off",
            "",
            "info,apicred=debug",
            "info,[span{a=b}]=warn",
        ] {
            assert!(parse_filter(fine).is_ok(), "{fine}");
        }
        for word in ["verbose", "info,verbose", " warning"] {
            let why = parse_filter(word).expect_err(word);
            assert!(why.contains("is not a level; levels are off"), "{why}");
        }
    }
}
