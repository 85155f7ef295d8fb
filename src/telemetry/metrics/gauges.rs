//! Values that are computed for each scrape.

use std::collections::BTreeMap;

use super::{
    process::Process,
    table::{Id, Kind},
    text::{Page, Value},
};

/// The state of a process at the time of a scrape.
#[derive(Default)]
pub struct Snapshot {
    /// Whether it leads.
    pub leads: bool,
    /// Its work; `None` in a standby.
    pub work: Option<Work>,
    /// The known objects; `None` in a standby, and before the first lists.
    pub objects: Option<Objects>,
    /// The known credentials; `None` if that is not enabled.
    pub credentials: Option<Box<dyn EachCredential>>,
}

/// The work of the leader.
#[derive(Clone, Debug, Default)]
pub struct Work {
    /// Seconds by which the most overdue reconciliation is late.
    pub overdue_seconds: i64,
    /// Token requests in progress.
    pub in_flight: u64,
    /// Credentials that wait for a token request.
    pub waiting: u64,
    /// Issuers that are paused because of a rate limit.
    pub issuers_paused: u64,
    /// Time of the last event of each watch, Unix seconds.
    pub watches: BTreeMap<&'static str, i64>,
}

/// Numbers about objects.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// Credentials that are ready, not ready, and neither.
    pub ready: [u64; 3],
    /// Credentials that are not ready, by reason.
    pub not_ready: BTreeMap<&'static str, u64>,
    /// Credentials whose renewal fails, by reason.
    pub failing: BTreeMap<&'static str, u64>,
    /// Tokens with less lifetime left than the minimum.
    pub below_minimum: u64,
    /// Tokens that have expired.
    pub expired: u64,
    /// When the next token expires, Unix seconds.
    pub soonest_expiry: Option<i64>,
    /// Credentials whose client secret, certificate or static key expires soon, and has expired.
    pub ending: [u64; 2],
    /// Credentials whose token lacks an expected permission.
    pub permissions_missing: u64,
    /// Objects whose spec cannot be used: credentials, issuers of namespaces, issuers of the cluster, clients.
    pub unreadable: [u64; 4],
    /// Issuers of namespaces and of the cluster; of each, those that are ready, not ready, and neither.
    pub issuers: [[u64; 3]; 2],
    /// Clients whose rotation is blocked, and whose last one failed.
    pub rotations_stopped: [u64; 2],
}

/// The values of one credential.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneCredential<'a> {
    /// Namespace.
    pub namespace: &'a str,
    /// Name.
    pub name: &'a str,
    /// Whether it is ready.
    pub ready: bool,
    /// When its token expires, Unix seconds.
    pub expires_at: Option<i64>,
    /// When its token is renewed, Unix seconds.
    pub renew_at: Option<i64>,
    /// The lifetime that readers can count on, in seconds.
    pub min_lifetime: Option<i64>,
    /// When its client credential expires, Unix seconds.
    pub client_expires_at: Option<i64>,
    /// Whether that is reported.
    pub client_expiring: bool,
}

/// Properties of a credential that do not change.
#[derive(Clone, Copy, Debug, Default)]
pub struct Info<'a> {
    /// Kind of the issuer object, or `Entra` for one that is known without an object; empty for a static key.
    pub issuer_kind: &'a str,
    /// Name of the issuer object.
    pub issuer: &'a str,
    /// The API preset.
    pub api: &'a str,
    /// Name of the target Secret.
    pub secret: &'a str,
}

/// Visits all credentials, as often as required, so that no copy is necessary.
pub trait EachCredential {
    /// Calls `see` for each credential.
    fn each(&self, see: &mut dyn FnMut(&OneCredential<'_>));
    /// Calls `see` for each credential and its properties.
    fn each_info(&self, see: &mut dyn FnMut(&OneCredential<'_>, &Info<'_>));
    /// Calls `see` with namespace and name of each client and the time when its next rotation begins, in Unix seconds.
    fn each_rotation(&self, see: &mut dyn FnMut([&str; 2], i64));
}

/// Writes the metrics of each process.
pub(super) fn process(page: &mut Page, leads: bool) {
    let build = [env!("CARGO_PKG_VERSION"), super::REVISION];
    one(page, Id::BuildInfo, &build, Some(Value::Count(1)));
    let leads = Some(Value::Count(leads.into()));
    one(page, Id::Leader, &[], leads);
    let now = Process::now();
    for (id, value) in [
        (Id::ProcessCpu, now.cpu_seconds.map(Value::Real)),
        (Id::ProcessMemory, now.resident_bytes.map(Value::Count)),
        (Id::ProcessOpenFds, now.open_fds.map(Value::Count)),
        (Id::ProcessMaxFds, now.max_fds.map(Value::Count)),
        (Id::ProcessStart, now.started.map(Value::Real)),
        (Id::ProcessThreads, now.threads.map(Value::Count)),
    ] {
        one(page, id, &[], value);
    }
}

/// Writes the metrics of the leader's work.
pub(super) fn work(page: &mut Page, work: &Work) {
    let whole = |n| Some(Value::Whole(n));
    let count = |n| Some(Value::Count(n));
    one(page, Id::Overdue, &[], whole(work.overdue_seconds));
    one(page, Id::InFlight, &[], count(work.in_flight));
    one(page, Id::Waiting, &[], count(work.waiting));
    one(page, Id::Paused, &[], count(work.issuers_paused));
    page.begin(Id::WatchLastEvent.metric());
    for (stream, at) in &work.watches {
        page.series(Id::WatchLastEvent.metric(), &[stream], Value::Whole(*at));
    }
}

/// Writes the metrics of objects.
pub(super) fn objects(page: &mut Page, objects: &Objects) {
    list(page, Id::Credentials, &objects.ready);
    by_reason(page, Id::NotReady, &objects.not_ready);
    by_reason(page, Id::Failing, &objects.failing);
    list(page, Id::BelowMinimum, &[objects.below_minimum]);
    list(page, Id::Expired, &[objects.expired]);
    let soonest = objects.soonest_expiry.map(Value::Whole);
    one(page, Id::SoonestExpiry, &[], soonest);
    list(page, Id::Ending, &objects.ending);
    list(page, Id::PermissionsMissing, &[objects.permissions_missing]);
    list(page, Id::Unreadable, &objects.unreadable);
    list(page, Id::Issuers, objects.issuers.as_flattened());
    list(page, Id::RotationsStopped, &objects.rotations_stopped);
}

/// Writes the metrics of each credential.
pub(super) fn credentials(page: &mut Page, all: &dyn EachCredential) {
    type Read = fn(&OneCredential<'_>) -> Option<i64>;
    let values: [(Id, Read); 6] = [
        (Id::CredentialReady, |one| Some(one.ready.into())),
        (Id::TokenExpiry, |one| one.expires_at),
        (Id::TokenRenewal, |one| one.renew_at),
        (Id::TokenMinLifetime, |one| one.min_lifetime),
        (Id::ClientCredentialExpiry, |one| one.client_expires_at),
        (Id::ClientCredentialExpiring, |one| {
            one.client_expires_at.map(|_| one.client_expiring.into())
        }),
    ];
    for (id, value) in values {
        let metric = id.metric();
        page.begin(metric);
        all.each(&mut |one| {
            if let Some(value) = value(one) {
                page.series(metric, &[one.namespace, one.name], Value::Whole(value));
            }
        });
    }
    let metric = Id::CredentialInfo.metric();
    page.begin(metric);
    all.each_info(&mut |one, info| {
        let labels = [
            one.namespace,
            one.name,
            info.issuer_kind,
            info.issuer,
            info.api,
            info.secret,
        ];
        page.series(metric, &labels, Value::Count(1));
    });
    let metric = Id::NextRotation.metric();
    page.begin(metric);
    all.each_rotation(&mut |client, at| page.series(metric, &client, Value::Whole(at)));
}

/// A metric with one series, or with none if the value is not known.
fn one(page: &mut Page, id: Id, labels: &[&str], value: Option<Value>) {
    debug_assert!(!matches!(id.metric().kind, Kind::Histogram(_)));
    page.begin(id.metric());
    if let Some(value) = value {
        page.series(id.metric(), labels, value);
    }
}

/// A metric whose labels are all enums, in the order of their values.
fn list(page: &mut Page, id: Id, values: &[u64]) {
    let metric = id.metric();
    debug_assert_eq!(metric.combinations(), Some(values.len()), "{}", metric.name);
    page.begin(metric);
    for (at, value) in values.iter().enumerate() {
        page.series(metric, &metric.values(at), Value::Count(*value));
    }
}

fn by_reason(page: &mut Page, id: Id, counts: &BTreeMap<&'static str, u64>) {
    page.begin(id.metric());
    for (reason, count) in counts {
        page.series(id.metric(), &[reason], Value::Count(*count));
    }
}
