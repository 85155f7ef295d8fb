//! Metrics. Labels are enums; no name of an object ever labels a series here.

use std::time::Duration;

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use super::lines;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct AskResult {
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Cause {
    cause: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Stream {
    stream: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Call {
    operation: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ReadyLabel {
    ready: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct StateLabel {
    state: &'static str,
}

/// One credential, for the opt-in expiry gauge.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct CredentialLabel {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// All counters of the process.
pub struct Metrics {
    registry: Registry,
    reconciles: Family<Outcome, Counter>,
    reconcile_seconds: Histogram,
    token_requests: Family<AskResult, Counter>,
    token_request_seconds: Histogram,
    published: Family<Cause, Counter>,
    api_calls: Family<Call, Counter>,
    watch_errors: Family<Stream, Counter>,
    revocations: Family<AskResult, Counter>,
    write_conflicts: Counter,
}

/// What is computed when somebody asks.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Credentials that are ready, not ready, and not yet judged.
    pub ready: [i64; 3],
    /// Seconds by which the most overdue credential waits.
    pub overdue_seconds: i64,
    /// Credentials whose client secret, certificate or static key nears its end, and has passed it.
    pub proofs_ending: [i64; 2],
    /// Credentials whose token lacks what it is expected to have.
    pub permissions_missing: i64,
    /// Objects whose spec cannot be used: credentials, issuers of namespaces, issuers of the cluster.
    pub unreadable: [i64; 3],
    /// When each watch last brought anything, Unix seconds.
    pub watches: Vec<(&'static str, i64)>,
    /// End of each token, Unix seconds, if that is wanted.
    pub expiries: Vec<(CredentialLabel, i64)>,
    /// End of what proves each client, Unix seconds, if that is wanted.
    pub proof_expiries: Vec<(CredentialLabel, i64)>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("apicred");
        // 1 ms to 33 s: a reconcile with nothing to do takes less than the first, the deadline ends the last.
        let buckets = || exponential_buckets(0.001, 2.0, 16);
        let this = Self {
            reconciles: Family::default(),
            reconcile_seconds: Histogram::new(buckets()),
            token_requests: Family::default(),
            token_request_seconds: Histogram::new(buckets()),
            published: Family::default(),
            api_calls: Family::default(),
            watch_errors: Family::default(),
            revocations: Family::default(),
            write_conflicts: Counter::default(),
            registry: Registry::default(),
        };
        registry.register(
            "reconciles",
            "Looks at credentials, by outcome",
            this.reconciles.clone(),
        );
        registry.register(
            "reconcile_seconds",
            "Length of a look",
            this.reconcile_seconds.clone(),
        );
        registry.register(
            "token_requests",
            "Requests to issuers, by result",
            this.token_requests.clone(),
        );
        registry.register(
            "token_request_seconds",
            "Length of a request",
            this.token_request_seconds.clone(),
        );
        registry.register(
            "tokens_published",
            "Tokens written into Secrets, by cause",
            this.published.clone(),
        );
        registry.register(
            "api_calls",
            "Calls of the Kubernetes API beside watches",
            this.api_calls.clone(),
        );
        registry.register(
            "watch_errors",
            "Broken watches, by stream",
            this.watch_errors.clone(),
        );
        registry.register(
            "revocations",
            "Tokens of deleted credentials, by what came of their revocation",
            this.revocations.clone(),
        );
        registry.register(
            "secret_write_conflicts",
            "Writes of target Secrets that the API server refused because the Secret was not as expected",
            this.write_conflicts.clone(),
        );
        registry.register(
            "log_lines_dropped",
            "Log lines that nobody took: standard error was full or could not be written",
            lines::dropped(),
        );
        Self { registry, ..this }
    }
}

impl Metrics {
    /// A look at a credential has ended.
    pub fn reconciled(&self, outcome: &'static str, took: Duration) {
        self.reconciles.get_or_create(&Outcome { outcome }).inc();
        self.reconcile_seconds.observe(took.as_secs_f64());
    }

    /// An issuer has answered or not.
    pub fn asked(&self, result: &'static str, took: Duration) {
        self.token_requests
            .get_or_create(&AskResult { result })
            .inc();
        self.token_request_seconds.observe(took.as_secs_f64());
    }

    /// A token stands in its Secret.
    pub fn published(&self, why: &'static str) {
        self.published.get_or_create(&Cause { cause: why }).inc();
    }

    /// A call of the Kubernetes API has ended.
    pub fn called(&self, operation: &'static str, result: &'static str) {
        self.api_calls
            .get_or_create(&Call { operation, result })
            .inc();
    }

    /// A watch broke.
    pub fn watch_broke(&self, stream: &'static str) {
        self.watch_errors.get_or_create(&Stream { stream }).inc();
    }

    /// A target Secret was not as expected when it was written.
    pub fn write_conflicted(&self) {
        self.write_conflicts.inc();
    }

    /// A revocation has ended.
    pub fn revoked(&self, result: &'static str) {
        self.revocations.get_or_create(&AskResult { result }).inc();
    }

    /// Everything in the OpenMetrics text format.
    pub fn encode(&self, snapshot: &Snapshot) -> String {
        let mut out = String::new();
        let now = gauges(snapshot);
        let written = text::encode_registry(&mut out, &self.registry)
            .and_then(|()| text::encode_registry(&mut out, &now))
            .and_then(|()| text::encode_eof(&mut out));
        if written.is_err() {
            tracing::error!("metrics could not be written");
        }
        out
    }
}

fn gauges(snapshot: &Snapshot) -> Registry {
    let mut registry = Registry::with_prefix("apicred");
    let ready = Family::<ReadyLabel, Gauge>::default();
    for (label, count) in ["true", "false", "unknown"].into_iter().zip(snapshot.ready) {
        ready.get_or_create(&ReadyLabel { ready: label }).set(count);
    }
    registry.register("credentials", "Credentials by their Ready condition", ready);
    let unreadable = Family::<KindLabel, Gauge>::default();
    for (kind, count) in ["ApiCredential", "TokenIssuer", "ClusterTokenIssuer"]
        .into_iter()
        .zip(snapshot.unreadable)
    {
        unreadable.get_or_create(&KindLabel { kind }).set(count);
    }
    registry.register(
        "unreadable_objects",
        "Objects whose spec does not fit this version's CRD or is too large",
        unreadable,
    );
    let overdue = Gauge::<i64>::default();
    overdue.set(snapshot.overdue_seconds);
    registry.register(
        "overdue_seconds",
        "How long the most overdue credential waits to be looked at",
        overdue,
    );
    let watches = Family::<Stream, Gauge>::default();
    for (stream, at) in &snapshot.watches {
        watches.get_or_create(&Stream { stream }).set(*at);
    }
    registry.register(
        "watch_last_event_timestamp_seconds",
        "When a watch last brought anything",
        watches,
    );
    let ending = Family::<StateLabel, Gauge>::default();
    for (state, count) in ["expiring", "expired"]
        .into_iter()
        .zip(snapshot.proofs_ending)
    {
        ending.get_or_create(&StateLabel { state }).set(count);
    }
    registry.register(
        "client_credentials_ending",
        "Credentials whose client secret, certificate or static key is about to end, or has",
        ending,
    );
    let missing = Gauge::<i64>::default();
    missing.set(snapshot.permissions_missing);
    registry.register(
        "permissions_missing",
        "Credentials whose token lacks what spec.expect asks for",
        missing,
    );
    let mut ends = |name, help, list: &[(CredentialLabel, i64)]| {
        if list.is_empty() {
            return;
        }
        let ends = Family::<CredentialLabel, Gauge>::default();
        for (label, at) in list {
            ends.get_or_create(label).set(*at);
        }
        registry.register(name, help, ends);
    };
    ends(
        "token_expiry_timestamp_seconds",
        "End of the token of a credential",
        &snapshot.expiries,
    );
    ends(
        "client_credential_expiry_timestamp_seconds",
        "End of the client secret or certificate of a credential",
        &snapshot.proof_expiries,
    );
    registry
}
