//! Metrics of the operator. Label values come from fixed lists. Only the series for each credential, which are off if
//! not enabled, have names of objects as labels.

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
struct ResultLabel {
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

/// The metrics of the process.
pub struct Metrics {
    registry: Registry,
    reconciles: Family<Outcome, Counter>,
    reconcile_seconds: Histogram,
    token_requests: Family<ResultLabel, Counter>,
    token_request_seconds: Histogram,
    published: Family<Cause, Counter>,
    api_calls: Family<Call, Counter>,
    watch_errors: Family<Stream, Counter>,
    revocations: Family<ResultLabel, Counter>,
    client_rotations: Family<ResultLabel, Counter>,
    pod_notifications: Family<ResultLabel, Counter>,
    write_conflicts: Counter,
}

/// Values that are computed for each scrape.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Credentials that are ready, not ready, and not yet reconciled.
    pub ready: [i64; 3],
    /// Seconds by which the most overdue reconciliation is late.
    pub overdue_seconds: i64,
    /// Credentials whose client secret, certificate or static key expires soon, and has expired.
    pub client_credentials_expiring: [i64; 2],
    /// Credentials whose token lacks an expected permission.
    pub permissions_missing: i64,
    /// Objects whose spec cannot be used: credentials, issuers of namespaces, issuers of the cluster, clients.
    pub unreadable: [i64; 4],
    /// Time of the last event of each watch, Unix seconds.
    pub watches: Vec<(&'static str, i64)>,
    /// Expiry of each token, Unix seconds. Empty unless series for each credential are enabled.
    pub expiries: Vec<(CredentialLabel, i64)>,
    /// Expiry of each client secret or certificate, Unix seconds. Empty unless series for each credential are enabled.
    pub client_credential_expiries: Vec<(CredentialLabel, i64)>,
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
            client_rotations: Family::default(),
            pod_notifications: Family::default(),
            write_conflicts: Counter::default(),
            registry: Registry::default(),
        };
        registry.register(
            "reconciles",
            "Number of reconciliations, by outcome",
            this.reconciles.clone(),
        );
        registry.register(
            "reconcile_seconds",
            "Duration of a reconciliation in seconds",
            this.reconcile_seconds.clone(),
        );
        registry.register(
            "token_requests",
            "Number of token requests to issuers, by result",
            this.token_requests.clone(),
        );
        registry.register(
            "token_request_seconds",
            "Duration of a token request in seconds",
            this.token_request_seconds.clone(),
        );
        registry.register(
            "tokens_published",
            "Number of tokens written into Secrets, by cause",
            this.published.clone(),
        );
        registry.register(
            "api_calls",
            "Number of Kubernetes API requests, without watches",
            this.api_calls.clone(),
        );
        registry.register(
            "watch_errors",
            "Number of watches that ended with an error, by stream",
            this.watch_errors.clone(),
        );
        registry.register(
            "revocations",
            "Number of token revocations for deleted credentials, by result",
            this.revocations.clone(),
        );
        registry.register(
            "client_rotations",
            "Number of rotations of client secrets and certificates, by result",
            this.client_rotations.clone(),
        );
        registry.register(
            "pod_notifications",
            "Number of pods that were notified of a new token, by result; a list of pods that failed counts as one",
            this.pod_notifications.clone(),
        );
        registry.register(
            "secret_write_conflicts",
            "Number of writes of target Secrets that the API server rejected because of a conflict",
            this.write_conflicts.clone(),
        );
        registry.register(
            "log_lines_dropped",
            "Number of log lines that were dropped because standard error was blocked or full",
            lines::dropped(),
        );
        Self { registry, ..this }
    }
}

impl Metrics {
    /// Counts a reconciliation.
    pub fn reconciled(&self, outcome: &'static str, took: Duration) {
        self.reconciles.get_or_create(&Outcome { outcome }).inc();
        self.reconcile_seconds.observe(took.as_secs_f64());
    }

    /// Counts a token request, whether it was answered or not.
    pub fn asked(&self, result: &'static str, took: Duration) {
        self.token_requests
            .get_or_create(&ResultLabel { result })
            .inc();
        self.token_request_seconds.observe(took.as_secs_f64());
    }

    /// Counts a token that was written into its Secret.
    pub fn published(&self, why: &'static str) {
        self.published.get_or_create(&Cause { cause: why }).inc();
    }

    /// Counts a Kubernetes API request.
    pub fn called(&self, operation: &'static str, result: &'static str) {
        self.api_calls
            .get_or_create(&Call { operation, result })
            .inc();
    }

    /// Counts a watch that ended with an error.
    pub fn watch_broke(&self, stream: &'static str) {
        self.watch_errors.get_or_create(&Stream { stream }).inc();
    }

    /// Counts a conflict at the write of a target Secret.
    pub fn write_conflicted(&self) {
        self.write_conflicts.inc();
    }

    /// Counts a token revocation.
    pub fn revoked(&self, result: &'static str) {
        self.revocations
            .get_or_create(&ResultLabel { result })
            .inc();
    }

    /// A rotation of a client secret or certificate ended: `success` when credentials use the new one, else `failure`.
    pub fn rotated(&self, result: &'static str) {
        self.client_rotations
            .get_or_create(&ResultLabel { result })
            .inc();
    }

    /// Counts a pod that was notified, or was to be.
    pub fn notified(&self, result: &'static str) {
        self.pod_notifications
            .get_or_create(&ResultLabel { result })
            .inc();
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
    registry.register(
        "credentials",
        "Number of credentials, by the status of their Ready condition",
        ready,
    );
    let unreadable = Family::<KindLabel, Gauge>::default();
    for (kind, count) in [
        "ApiCredential",
        "TokenIssuer",
        "ClusterTokenIssuer",
        "ApiClient",
    ]
    .into_iter()
    .zip(snapshot.unreadable)
    {
        unreadable.get_or_create(&KindLabel { kind }).set(count);
    }
    registry.register(
        "unreadable_objects",
        "Number of objects whose spec does not match the CRD of this version or is too large",
        unreadable,
    );
    let overdue = Gauge::<i64>::default();
    overdue.set(snapshot.overdue_seconds);
    registry.register(
        "overdue_seconds",
        "Seconds by which the most overdue reconciliation is late",
        overdue,
    );
    let watches = Family::<Stream, Gauge>::default();
    for (stream, at) in &snapshot.watches {
        watches.get_or_create(&Stream { stream }).set(*at);
    }
    registry.register(
        "watch_last_event_timestamp_seconds",
        "Unix time of the last event of a watch",
        watches,
    );
    let ending = Family::<StateLabel, Gauge>::default();
    for (state, count) in ["expiring", "expired"]
        .into_iter()
        .zip(snapshot.client_credentials_expiring)
    {
        ending.get_or_create(&StateLabel { state }).set(count);
    }
    registry.register(
        "client_credentials_ending",
        "Number of credentials whose client secret, certificate or static key expires soon or has expired",
        ending,
    );
    let missing = Gauge::<i64>::default();
    missing.set(snapshot.permissions_missing);
    registry.register(
        "permissions_missing",
        "Number of credentials whose token lacks a permission of spec.expect",
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
        "Unix time at which the token of a credential expires",
        &snapshot.expiries,
    );
    ends(
        "client_credential_expiry_timestamp_seconds",
        "Unix time at which the client secret or certificate of a credential expires",
        &snapshot.client_credential_expiries,
    );
    registry
}
