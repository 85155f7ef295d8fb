//! All metrics in one table. The counters, `docs/metrics.md` and the tests use it.

use super::values::{
    BUILD, CAUSES, CREDENTIAL, CREDENTIAL_INFO, DONE, ENDING, ISSUER_KINDS, Label, OBJECT_KINDS,
    OPERATIONS, OUTCOMES, READY, REASON, RESULTS, REVOCATIONS, STOPPED, STREAMS, TOKEN_REQUESTS,
    TROUBLES,
};

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only increases while the process runs.
    Counter,
    /// The current value.
    Gauge,
    /// Counts of values up to each of these bounds.
    Histogram(&'static [f64]),
}

impl Kind {
    /// The name in both text formats.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// Which process exports a metric, and when.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// Each process, also one on standby.
    Process,
    /// The process that leads.
    Leader,
    /// The process that leads, for each credential, if enabled.
    Credential,
}

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// Its name, as Prometheus stores it.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its unit, which ends its name (before `_total`).
    pub unit: Option<&'static str>,
    /// Its labels, in the order in which they are written.
    pub labels: &'static [Label],
    /// Which process exports it.
    pub scope: Scope,
    /// The first version that has it under this name.
    pub since: &'static str,
    /// Its description, in one line.
    pub help: &'static str,
}

const SECONDS: Option<&str> = Some("seconds");
const BYTES: Option<&str> = Some("bytes");

/// Bounds for an answer of an issuer; no request takes longer than the last bound.
const OF_TOKEN_REQUESTS: Kind =
    Kind::Histogram(&[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0]);
/// Bounds for a reconciliation: one without work takes less than the first bound, and the last bound is the deadline.
const OF_RECONCILES: Kind = Kind::Histogram(&[
    0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 75.0,
]);
/// Bounds for a request to the Kubernetes API; the last bound is the deadline.
const OF_KUBERNETES: Kind = Kind::Histogram(&[
    0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
]);
/// Bounds for the remaining lifetime of a replaced token: the first bound counts the expired ones.
const OF_MARGINS: Kind = Kind::Histogram(&[
    0.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1200.0, 1800.0, 2700.0, 3600.0, 7200.0, 14_400.0,
    43_200.0,
]);
/// Bounds for the time from the renewal time to the write.
const OF_LATENESS: Kind =
    Kind::Histogram(&[1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0]);

macro_rules! table {
    ($($id:ident: $name:literal, $kind:expr, $unit:expr, $labels:expr, $scope:ident, $since:literal, $help:literal;)*) => {
        /// Names a row of [`TABLE`].
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[expect(missing_docs, reason = "the table has their help")]
        pub enum Id {
            $($id,)*
        }

        /// All metrics, in the order in which they are written.
        pub static TABLE: &[Metric] = &[$(Metric {
            name: $name,
            kind: $kind,
            unit: $unit,
            labels: $labels,
            scope: Scope::$scope,
            since: $since,
            help: $help,
        },)*];
    };
}

table! {
    BuildInfo: "apicred_build_info", Kind::Gauge, None, BUILD, Process, "0.1.0",
        "Always 1; the labels are the version of the program and its source revision, which is unknown unless APICRED_REVISION was set at its build";
    Leader: "apicred_leader", Kind::Gauge, None, &[], Process, "0.1.0",
        "1 if this process is the leader, 0 if it is on standby";
    LogLinesDropped: "apicred_log_lines_dropped_total", Kind::Counter, None, &[], Process, "0.1.0",
        "Log lines that were dropped because standard error was blocked or full";
    ProcessCpu: "process_cpu_seconds_total", Kind::Counter, SECONDS, &[], Process, "0.1.0",
        "User and system CPU time of the process";
    ProcessMemory: "process_resident_memory_bytes", Kind::Gauge, BYTES, &[], Process, "0.1.0",
        "Resident memory of the process";
    ProcessOpenFds: "process_open_fds", Kind::Gauge, None, &[], Process, "0.1.0",
        "Open file descriptors of the process";
    ProcessMaxFds: "process_max_fds", Kind::Gauge, None, &[], Process, "0.1.0",
        "Limit of open file descriptors";
    ProcessStart: "process_start_time_seconds", Kind::Gauge, SECONDS, &[], Process, "0.1.0",
        "Unix time at which the process started";
    ProcessThreads: "process_threads", Kind::Gauge, None, &[], Process, "0.1.0",
        "Threads of the process";
    Credentials: "apicred_credentials", Kind::Gauge, None, &[READY], Leader, "0.1.0",
        "ApiCredentials, by the status of their condition Ready";
    NotReady: "apicred_credentials_not_ready", Kind::Gauge, None, &[REASON], Leader, "0.1.0",
        "ApiCredentials whose condition Ready is False, by its reason; a reason without any has no series";
    Failing: "apicred_credentials_failing", Kind::Gauge, None, &[REASON], Leader, "0.1.0",
        "ApiCredentials whose renewal fails, whether or not their token is still valid, by the reason of RenewalFailing, else of Ready; waits such as Suspended are not counted; a reason without any has no series";
    BelowMinimum: "apicred_tokens_below_floor", Kind::Gauge, None, &[], Leader, "0.1.0",
        "Tokens with less lifetime left than minLifetime, expired ones included; those of suspended ApiCredentials are not counted";
    Expired: "apicred_tokens_expired", Kind::Gauge, None, &[], Leader, "0.1.0",
        "Expired tokens in Secrets; those of suspended ApiCredentials are not counted";
    SoonestExpiry: "apicred_soonest_token_expiry_timestamp_seconds", Kind::Gauge, SECONDS, &[], Leader, "0.1.0",
        "Unix time at which the next token expires, also if it lies in the past; no series without a token; suspended ApiCredentials are not counted";
    Ending: "apicred_client_credentials_ending", Kind::Gauge, None, &[ENDING], Leader, "0.1.0",
        "ApiCredentials whose client secret, certificate or static key expires soon, does not work, or has expired (condition ClientCredentialExpiring)";
    PermissionsMissing: "apicred_permissions_missing", Kind::Gauge, None, &[], Leader, "0.1.0",
        "ApiCredentials whose token lacks a permission of spec.expect (condition PermissionsMissing)";
    Unreadable: "apicred_unreadable_objects", Kind::Gauge, None, &[OBJECT_KINDS], Leader, "0.1.0",
        "Objects whose spec does not match the CRD of this version or is too large";
    Issuers: "apicred_issuers", Kind::Gauge, None, &[ISSUER_KINDS, READY], Leader, "0.1.0",
        "Issuer objects, by whether the last check by this operator was successful; before its first check, by the status of their condition Ready";
    RotationsStopped: "apicred_client_rotations_stopped", Kind::Gauge, None, &[STOPPED], Leader, "0.1.0",
        "ApiClients whose rotation waits for a user or for the issuer (condition RotationBlocked), or whose last one failed (RotationFailed)";
    TokenRequests: "apicred_token_requests_total", Kind::Counter, None, TOKEN_REQUESTS, Leader, "0.1.0",
        "Token requests to issuers, repeated ones and those for a client assertion included; a grant and an issuer have series from the first reconciliation of an ApiCredential with both";
    TokenRequestDuration: "apicred_token_request_duration_seconds", OF_TOKEN_REQUESTS, SECONDS, &[RESULTS], Leader, "0.1.0",
        "Time from sending a token request to the end of the answer, or to the failure";
    InFlight: "apicred_requests_in_flight", Kind::Gauge, None, &[], Leader, "0.1.0",
        "Token requests that are in progress";
    Waiting: "apicred_requests_waiting", Kind::Gauge, None, &[], Leader, "0.1.0",
        "ApiCredentials that wait in the queue for a token request";
    Paused: "apicred_issuers_paused", Kind::Gauge, None, &[], Leader, "0.1.0",
        "Issuers to which some client sends no request for now, because the issuer is rate limiting";
    Published: "apicred_tokens_published_total", Kind::Counter, None, &[CAUSES], Leader, "0.1.0",
        "Tokens written into Secrets, by cause";
    Margin: "apicred_publish_margin_seconds", OF_MARGINS, SECONDS, &[], Leader, "0.1.0",
        "Lifetime that the old token had left when a new one was written; 0 if it had expired";
    Lateness: "apicred_renewal_lateness_seconds", OF_LATENESS, SECONDS, &[], Leader, "0.1.0",
        "Time from the renewal time to the write of the new token, for renewals that were due";
    Overdue: "apicred_overdue_seconds", Kind::Gauge, SECONDS, &[], Leader, "0.1.0",
        "Seconds by which the most overdue reconciliation is late";
    Reconciles: "apicred_reconciles_total", Kind::Counter, None, &[OUTCOMES], Leader, "0.1.0",
        "Reconciliations of ApiCredentials, by outcome";
    ReconcileDuration: "apicred_reconcile_duration_seconds", OF_RECONCILES, SECONDS, &[OUTCOMES], Leader, "0.1.0",
        "Duration of a reconciliation of an ApiCredential";
    KubernetesRequests: "apicred_kubernetes_requests_total", Kind::Counter, None, &[OPERATIONS, TROUBLES], Leader, "0.1.0",
        "Requests to the Kubernetes API, without watches";
    KubernetesDuration: "apicred_kubernetes_request_duration_seconds", OF_KUBERNETES, SECONDS, &[OPERATIONS, DONE], Leader, "0.1.0",
        "Duration of a request to the Kubernetes API until its answer is accepted, repetitions included; result: ok, or failed for every other result of apicred_kubernetes_requests_total";
    WriteConflicts: "apicred_secret_write_conflicts_total", Kind::Counter, None, &[], Leader, "0.1.0",
        "Writes of target Secrets that the API server rejected because of a conflict";
    ForeignWrites: "apicred_foreign_writes_total", Kind::Counter, None, &[], Leader, "0.1.0",
        "Tokens that another operator wrote for an ApiCredential of this one (AnotherOperator)";
    WatchErrors: "apicred_watch_errors_total", Kind::Counter, None, &[STREAMS], Leader, "0.1.0",
        "Lists and watches of the Kubernetes API that ended with an error";
    WatchLastEvent: "apicred_watch_last_event_timestamp_seconds", Kind::Gauge, SECONDS, &[STREAMS], Leader, "0.1.0",
        "Unix time of the last event of a watch; no series before the first one";
    Revocations: "apicred_revocations_total", Kind::Counter, None, &[REVOCATIONS], Leader, "0.1.0",
        "Token revocations for deleted ApiCredentials";
    Rotations: "apicred_client_rotations_total", Kind::Counter, None, &[DONE], Leader, "0.1.0",
        "Rotations of client secrets and certificates: ok if ApiCredentials use the new one";
    PodNotifications: "apicred_pod_notifications_total", Kind::Counter, None, &[DONE], Leader, "0.1.0",
        "Pods that were notified of a new token; a list of pods that failed or contains more than 2,000 pods counts as one";
    CredentialReady: "apicred_credential_ready", Kind::Gauge, None, CREDENTIAL, Credential, "0.1.0",
        "1 if the condition Ready of the ApiCredential is True, else 0";
    TokenExpiry: "apicred_token_expiry_timestamp_seconds", Kind::Gauge, SECONDS, CREDENTIAL, Credential, "0.1.0",
        "Unix time at which the token expires; no series without a token, or while the ApiCredential is suspended";
    TokenRenewal: "apicred_token_renewal_timestamp_seconds", Kind::Gauge, SECONDS, CREDENTIAL, Credential, "0.1.0",
        "Unix time at which the token is renewed; no series without a token, or while the ApiCredential is suspended";
    TokenMinLifetime: "apicred_token_min_lifetime_seconds", Kind::Gauge, SECONDS, CREDENTIAL, Credential, "0.1.0",
        "Lifetime that readers of the token can count on: minLifetime, else its default for this token; no series without a token, or while the ApiCredential is suspended";
    ClientCredentialExpiry: "apicred_client_credential_expiry_timestamp_seconds", Kind::Gauge, SECONDS, CREDENTIAL, Credential, "0.1.0",
        "Unix time at which the client secret or certificate expires; no series if that is not known";
    ClientCredentialExpiring: "apicred_client_credential_expiring", Kind::Gauge, None, CREDENTIAL, Credential, "0.1.0",
        "1 if the condition ClientCredentialExpiring reports the end of the client secret or certificate (of one that apicred rotates: only if its rotation is late), else 0; no series if the end is not known";
    CredentialInfo: "apicred_credential_info", Kind::Gauge, None, CREDENTIAL_INFO, Credential, "0.1.0",
        "Always 1; the labels are the issuer, the API and the target Secret of the ApiCredential";
    NextRotation: "apicred_client_next_rotation_timestamp_seconds", Kind::Gauge, SECONDS, CREDENTIAL, Credential, "0.1.0",
        "Unix time at which the next rotation of the ApiClient begins (status.nextRotationAt); no series without rotation, or while one is in progress";
}

impl Id {
    /// Its row.
    pub fn metric(self) -> &'static Metric {
        &TABLE[self as usize]
    }
}

impl Metric {
    /// How many series its labels make; `None` if they are not all enums.
    pub fn combinations(&self) -> Option<usize> {
        let sizes = self.labels.iter().map(Label::size);
        sizes.product()
    }

    /// The position of these label values.
    pub fn position(&self, values: &[&str]) -> Option<usize> {
        let mut at = 0;
        for (label, value) in self.labels.iter().zip(values) {
            at = at * label.size()? + label.position(value)?;
        }
        (values.len() == self.labels.len()).then_some(at)
    }

    /// The values of a position.
    pub fn values(&self, mut at: usize) -> Vec<&'static str> {
        let mut values: Vec<&'static str> = Vec::with_capacity(self.labels.len());
        for label in self.labels.iter().rev() {
            let list = label.list();
            values.push(list[at % list.len().max(1)]);
            at /= list.len().max(1);
        }
        values.reverse();
        values
    }
}
