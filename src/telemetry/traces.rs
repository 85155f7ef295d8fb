//! Traces, sent to a collector with OTLP over HTTP. Only in builds with the feature `otel`, and only if an endpoint is set.
//!
//! ```text
//! reconcile ─┬─ read sources ── kubernetes request
//!            ├─ token request
//!            ├─ write secret
//!            └─ write status
//! ```
//!
//! Only spans are sent, and no events: log lines are not sent as attributes. No attribute contains a secret, a key of a Secret or a query. Attributes
//! of
//! requests have the names of the OpenTelemetry semantic conventions for HTTP clients. `url.full` of these is not set, because a path can contain
//! names that readers of traces must not see.

use http::{Request, Response, Uri};
use tracing::Span;
use tracing_subscriber::{Layer, Registry};
use url::Url;

/// Target of spans that exist only for traces. The log filters them out.
pub const TARGET: &str = "apicred::traces";

/// The `tracing` layer that sends spans.
pub type Spans = Box<dyn Layer<Registry> + Send + Sync>;

/// Creates a span for traces; without a collector it has no effect.
macro_rules! span {
    ($name:literal $(, $($field:tt)*)?) => {
        tracing::info_span!(target: "apicred::traces", $name $(, $($field)*)?)
    };
}
pub(crate) use span;

/// The status of the answer to the request of this span.
pub(crate) const STATUS: &str = "http.response.status_code";

/// Records the result of the request of a span. `failed`: the span is an error, according to the conventions for HTTP clients.
pub(crate) fn conclude(span: &Span, result: &'static str, failed: bool) {
    span.record("apicred.result", result);
    if failed {
        span.record("otel.status_code", "error");
        span.record("error.type", result);
    }
}

/// Records each request to this server in the current span. A span without these fields is not changed.
pub(crate) fn sent_to<B>(server: &Uri) -> impl FnMut(Request<B>) -> Request<B> + Clone + use<B> {
    let host = server.host().unwrap_or_default().to_owned();
    let port = server.port_u16().unwrap_or(match server.scheme_str() {
        Some("http") => 80,
        _ => 443,
    });
    move |request| {
        let span = Span::current();
        span.record("http.request.method", request.method().as_str());
        span.record("server.address", host.as_str());
        span.record("server.port", port);
        request
    }
}

/// Records the status of an answer in the span of its request.
pub(crate) fn answered<B>(answer: Response<B>) -> Response<B> {
    Span::current().record(STATUS, answer.status().as_u16());
    answer
}

/// The variable for the collector's URL, defined by the specification of OpenTelemetry.
pub const VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// The collector's URL: the flag, otherwise the variable. An empty variable counts as not set, by the same specification.
///
/// # Errors
/// When the variable does not contain a usable URL.
pub fn chosen(flag: Option<Url>, variable: Option<String>) -> Result<Option<Url>, String> {
    let variable = variable.filter(|text| !text.trim().is_empty());
    match (flag, variable) {
        (Some(url), _) => Ok(Some(url)),
        (None, None) => Ok(None),
        (None, Some(text)) => endpoint(text.trim())
            .map(Some)
            .map_err(|problem| format!("{VARIABLE}: {problem}")),
    }
}

/// The collector's URL, such as `http://collector.monitoring:4318`.
///
/// # Errors
/// When it is not an `http` or `https` URL with a host, or has a user, a password, a query or a fragment.
pub fn endpoint(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| format!("not a URL: {e}"))?;
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() || !plain {
        return Err(
            "the URL has the form http://collector.example:4318; put a token into OTEL_EXPORTER_OTLP_HEADERS"
                .to_owned(),
        );
    }
    Ok(url)
}

#[cfg(feature = "otel")]
pub use with_otel::{Traces, start};

#[cfg(not(feature = "otel"))]
pub use without_otel::{Traces, start};

#[cfg(not(feature = "otel"))]
mod without_otel {
    use super::{Spans, Url};

    /// Traces of a build that cannot send any.
    #[derive(Debug, Default)]
    pub struct Traces;

    impl Traces {
        /// Does nothing.
        pub fn end(self) {}
    }

    /// # Errors
    /// Always: this build has no support for traces.
    pub fn start(_: &Url, _: &str, _: &str) -> Result<(Spans, Traces), String> {
        Err("this build of apicred does not support traces; use one with the feature otel, or remove the URL of the collector (--otlp-endpoint, OTEL_EXPORTER_OTLP_ENDPOINT)".to_owned())
    }
}

#[cfg(feature = "otel")]
mod with_otel {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        time::Duration,
    };

    use async_trait::async_trait;
    use bytes::Bytes;
    use http::{Request, Response};
    use opentelemetry::{KeyValue, trace::TracerProvider};
    use opentelemetry_http::{HttpClient, HttpError};
    use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
    use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
    use tokio::runtime::Runtime;
    use tracing_subscriber::{Layer, filter::filter_fn};

    use super::{Spans, TARGET, Url};
    use crate::environment;

    /// If a collector does not answer within this time, its spans count as not delivered.
    const ANSWER: Duration = Duration::from_secs(10);
    /// Time limit at the end of the process for sending the last spans.
    const END: Duration = Duration::from_secs(2);

    /// Spans that are not sent yet.
    #[derive(Debug)]
    pub struct Traces(SdkTracerProvider);

    impl Traces {
        /// Sends the remaining spans, for two seconds at most.
        pub fn end(self) {
            if let Err(e) = self.0.shutdown_with_timeout(END) {
                tracing::debug!("the last traces were not sent: {e}");
            }
        }
    }

    /// Starts to send spans to `endpoint`, with the names of this instance and of the operator's namespace.
    ///
    /// # Errors
    /// When the exporter cannot be created.
    pub fn start(
        endpoint: &Url,
        instance: &str,
        namespace: &str,
    ) -> Result<(Spans, Traces), String> {
        let failed = |e: &dyn std::fmt::Display| {
            format!(
                "the exporter cannot be made: {e}; check --otlp-endpoint and the OTEL_ variables"
            )
        };
        // Some URLs already contain the path: it is not appended twice.
        let base = endpoint.as_str().trim_end_matches('/');
        let base = base.strip_suffix("/v1/traces").unwrap_or(base);
        let path = format!("{base}/v1/traces");
        let sender = Sender::new(endpoint).map_err(|e| failed(&e))?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(sender)
            .with_endpoint(path)
            .with_timeout(ANSWER)
            .build()
            .map_err(|e| failed(&e))?;
        let resource = Resource::builder()
            .with_service_name("apicred")
            .with_attributes([
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", instance.to_owned()),
                KeyValue::new("k8s.namespace.name", namespace.to_owned()),
            ])
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .build();
        let spans = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("apicred"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            // The span of a reconciliation, and the spans in it. No events.
            .with_filter(filter_fn(|of| {
                of.is_span() && (of.target() == TARGET || of.name() == "reconcile")
            }));
        Ok((spans.boxed(), Traces(provider)))
    }

    /// The HTTP client for the collector. It runs on a separate thread: the SDK waits for answers on a thread without a runtime, even while the
    /// operator's runtime shuts down.
    #[derive(Debug)]
    struct Sender {
        client: reqwest::Client,
        // Never dropped: dropping a runtime waits for its tasks, and one may wait for the collector.
        runtime: &'static Runtime,
        host: String,
        fails: AtomicBool,
    }

    impl Sender {
        fn new(endpoint: &Url) -> Result<Self, HttpError> {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("traces")
                .enable_all()
                .build()?;
            let mut client = reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .timeout(ANSWER);
            if let Some(cas) = environment::cas_if_hidden() {
                let cas = cas.iter().map(|der| reqwest::Certificate::from_der(der));
                client = client.tls_certs_only(cas.collect::<Result<Vec<_>, _>>()?);
            }
            let client = client.build()?;
            Ok(Self {
                client,
                runtime: Box::leak(Box::new(runtime)),
                host: endpoint.host_str().unwrap_or_default().to_owned(),
                fails: AtomicBool::new(false),
            })
        }

        /// Reports the first failure after a success, and the end of failures.
        fn report(&self, problem: Option<&str>) {
            let before = self.fails.swap(problem.is_some(), Ordering::Relaxed);
            match problem {
                Some(problem) if !before => tracing::warn!(
                    host = self.host,
                    "traces cannot be sent and are dropped: {problem}; check --otlp-endpoint and the collector"
                ),
                None if before => tracing::info!(host = self.host, "traces are sent again"),
                _ => {}
            }
        }
    }

    #[async_trait]
    impl HttpClient for Sender {
        async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
            let client = self.client.clone();
            let sent = self.runtime.spawn(async move {
                let answer = client.execute(request.try_into()?).await?;
                // The body is not used.
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = answer.status();
                Ok::<_, HttpError>(response)
            });
            let answer = sent
                .await
                .unwrap_or_else(|_| Err("the request was abandoned".into()));
            match &answer {
                Ok(answer) if answer.status().is_success() => self.report(None),
                Ok(answer) => self.report(Some(&format!("status {}", answer.status().as_u16()))),
                // The error contains the collector's address, and no secret.
                Err(e) => self.report(Some(&e.to_string())),
            }
            answer
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_url_without_secrets() {
        for good in ["http://collector:4318", "https://otlp.example/base/"] {
            assert!(endpoint(good).is_ok(), "{good}");
        }
        for bad in [
            "collector:4318",
            "grpc://collector:4317",
            "http://user:word@collector:4318",
            "http://collector:4318?key=word",
            "http://collector:4318#part",
            "",
        ] {
            let refused = endpoint(bad).expect_err(bad);
            assert!(!refused.contains("word"), "{refused}");
        }
    }

    #[test]
    fn a_flag_goes_before_the_variable_and_an_empty_one_is_none() {
        let url = |text: &str| Url::parse(text).ok();
        for (flag, variable, expected) in [
            (None, None, Ok(None)),
            (None, Some(""), Ok(None)),
            (None, Some(" "), Ok(None)),
            (None, Some("http://a:4318"), Ok(url("http://a:4318"))),
            (
                url("http://b:4318"),
                Some("a:4317"),
                Ok(url("http://b:4318")),
            ),
            (None, Some("a:4317"), Err(())),
            (None, Some("grpc://a:4317"), Err(())),
        ] {
            let seen = chosen(flag, variable.map(str::to_owned));
            let seen = seen.map_err(|problem| assert!(problem.starts_with(VARIABLE), "{problem}"));
            assert_eq!(seen, expected, "{variable:?}");
        }
    }
}
