//! A request to an issuer that was started: its time, its secrets and its span.

use std::{future::Future, time::Instant};

use jiff::Timestamp;
use tracing::{Instrument, Span, field};

use crate::{
    controller::context::Context,
    credential::Credential,
    http::Broken,
    oauth::{RawAnswer, SentSecrets, TokenRequest},
    telemetry::traces,
    whole_second,
};

/// The known data of a request before it is sent.
pub(super) struct Begun {
    pub(super) clock: Instant,
    pub(super) sent: Timestamp,
    pub(super) echo: SentSecrets,
    pub(super) span: Span,
}

impl Begun {
    pub(super) fn now(context: &Context, credential: &Credential, request: &TokenRequest) -> Self {
        let span = traces::span!(
            "token request",
            otel.kind = "client",
            otel.status_code = field::Empty,
            "error.type" = field::Empty,
            http.request.method = request.method.as_str(),
            http.response.status_code = field::Empty,
            server.address = request.url.host_str(),
            server.port = request.url.port_or_known_default(),
            apicred.grant = credential.grant.key().as_str(),
            apicred.result = field::Empty,
        );
        Self {
            span,
            clock: Instant::now(),
            sent: whole_second(context.clock.now()),
            echo: SentSecrets::of(request),
        }
    }

    /// Sends the request in its span and records the status of the response in the span.
    pub(super) async fn answer_of(
        &self,
        exchange: impl Future<Output = Result<RawAnswer, Broken>>,
    ) -> Result<RawAnswer, Broken> {
        let exchanged = exchange.instrument(self.span.clone()).await;
        let status = match &exchanged {
            Ok(raw) => Some(raw.status),
            Err(broken) => broken.arrived.as_ref().map(|part| part.status),
        };
        self.span.record(traces::STATUS, status);
        exchanged
    }
}
