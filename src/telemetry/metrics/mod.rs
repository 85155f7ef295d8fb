//! Metrics of the operator. `table.rs` defines them all: the counters here, `docs/metrics.md` ([`mod@reference`]) and the tests
//! use it.

mod gauges;
mod issuers;
mod process;
pub mod reference;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod values;

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub use gauges::{EachCredential, Info, Objects, OneCredential, Snapshot, Work};
use issuers::IssuerCounts;
pub use issuers::label as issuer_label;
pub use table::{Id, Kind, Metric, Scope, TABLE};
pub use text::Format;
use text::{Page, Value};
pub use values::{Label, MOST_ISSUERS, OPERATIONS, Values};

use super::lines;
use crate::{api::GrantKey, credential::IssuerId};

/// The source revision of the program, if its build sets it.
const REVISION: &str = match option_env!("APICRED_REVISION") {
    Some(revision) if !revision.is_empty() => revision,
    _ => "unknown",
};

/// The stored values of one metric.
enum Store {
    /// Counters, by the position of their labels.
    Counters(Box<[AtomicU64]>),
    /// Histograms, by the position of their labels.
    Histograms(Mutex<Box<[Distribution]>>),
    /// Computed at each scrape, or stored elsewhere.
    Elsewhere,
}

/// Observed values.
#[derive(Clone, Debug, Default)]
struct Distribution {
    /// By bound; the last one is for values beyond all bounds.
    counts: Box<[u64]>,
    sum: f64,
}

/// The metrics of the process.
pub struct Metrics {
    stores: Vec<Store>,
    issuers: Mutex<IssuerCounts>,
}

impl Default for Metrics {
    fn default() -> Self {
        let store = |metric: &Metric| match (metric.kind, metric.combinations()) {
            _ if metric.scope != Scope::Leader => Store::Elsewhere,
            (Kind::Counter, Some(n)) => {
                Store::Counters((0..n).map(|_| AtomicU64::new(0)).collect())
            }
            (Kind::Histogram(bounds), Some(n)) => {
                let empty = Distribution {
                    counts: vec![0; bounds.len() + 1].into(),
                    sum: 0.0,
                };
                Store::Histograms(Mutex::new(vec![empty; n].into()))
            }
            _ => Store::Elsewhere,
        };
        Self {
            stores: TABLE.iter().map(store).collect(),
            issuers: Mutex::default(),
        }
    }
}

impl Metrics {
    /// Counts a reconciliation.
    pub fn reconciled(&self, outcome: &'static str, took: Duration) {
        self.count(Id::Reconciles, &[outcome]);
        self.observe(Id::ReconcileDuration, &[outcome], took.as_secs_f64());
    }

    /// A credential with this grant and issuer exists: its series begin at 0, so that the first request is an increase.
    pub fn expect(&self, grant: GrantKey, issuer: &IssuerId) {
        lock(&self.issuers).row(grant, issuer);
    }

    /// Counts a token request, with or without an answer.
    pub fn record_token_request(
        &self,
        grant: GrantKey,
        issuer: &IssuerId,
        result: &'static str,
        took: Duration,
    ) {
        lock(&self.issuers).count(grant, issuer, result);
        self.observe(Id::TokenRequestDuration, &[result], took.as_secs_f64());
    }

    /// Counts a token that was written into its Secret.
    pub fn published(&self, why: &'static str) {
        self.count(Id::Published, &[why]);
    }

    /// A token was replaced that was valid for so many more seconds; 0 if it had expired.
    pub fn replaced(&self, left: f64) {
        self.observe(Id::Margin, &[], left.max(0.0));
    }

    /// A token was renewed so many seconds after its renewal time.
    pub fn renewed(&self, late: f64) {
        self.observe(Id::Lateness, &[], late.max(0.0));
    }

    /// Counts a Kubernetes API request. `took`: `None` if it was not sent.
    pub fn called(&self, operation: &'static str, result: &'static str, took: Option<Duration>) {
        self.count(Id::KubernetesRequests, &[operation, result]);
        if let Some(took) = took {
            // Only two results, because each one adds as many series as there are operations times buckets.
            let done = if result == "ok" { "ok" } else { "failed" };
            self.observe(
                Id::KubernetesDuration,
                &[operation, done],
                took.as_secs_f64(),
            );
        }
    }

    /// Counts a watch that ended with an error.
    pub fn watch_broke(&self, stream: &'static str) {
        self.count(Id::WatchErrors, &[stream]);
    }

    /// Counts a conflict at the write of a target Secret.
    pub fn write_conflicted(&self) {
        self.count(Id::WriteConflicts, &[]);
    }

    /// Counts a token that another operator wrote.
    pub fn foreign_write(&self) {
        self.count(Id::ForeignWrites, &[]);
    }

    /// Counts a token revocation.
    pub fn revoked(&self, result: &'static str) {
        self.count(Id::Revocations, &[result]);
    }

    /// A rotation of a client secret or certificate ended: `ok` when credentials use the new one, else `failed`.
    pub fn rotated(&self, result: &'static str) {
        self.count(Id::Rotations, &[result]);
    }

    /// Counts a pod that was notified, or whose notification failed.
    pub fn notified(&self, result: &'static str) {
        self.count(Id::PodNotifications, &[result]);
    }

    /// A page for a scrape. A standby exports only the metrics of every process: a zero for the others would be wrong.
    pub fn encode(&self, snapshot: &Snapshot, format: Format) -> String {
        let mut page = Page::new(format);
        gauges::process(&mut page, snapshot.leads);
        page.begin(Id::LogLinesDropped.metric());
        let dropped = Value::Count(lines::dropped());
        page.series(Id::LogLinesDropped.metric(), &[], dropped);
        if let Some(work) = &snapshot.work {
            gauges::work(&mut page, work);
            self.counted(&mut page);
        }
        if let Some(objects) = &snapshot.objects {
            gauges::objects(&mut page, objects);
        }
        if let Some(all) = &snapshot.credentials {
            gauges::credentials(&mut page, all.as_ref());
        }
        page.end()
    }

    fn counted(&self, page: &mut Page) {
        for (metric, store) in TABLE.iter().zip(&self.stores) {
            match store {
                Store::Counters(all) => {
                    page.begin(metric);
                    for (at, value) in all.iter().enumerate() {
                        let value = Value::Count(value.load(Ordering::Relaxed));
                        page.series(metric, &metric.values(at), value);
                    }
                }
                Store::Histograms(all) => {
                    page.begin(metric);
                    for (at, one) in lock(all).iter().enumerate() {
                        page.histogram(metric, &metric.values(at), &one.counts, one.sum);
                    }
                }
                Store::Elsewhere => {}
            }
        }
        lock(&self.issuers).write(page);
    }

    fn count(&self, id: Id, values: &[&'static str]) {
        let at = position(id, values);
        if let (Some(at), Store::Counters(all)) = (at, &self.stores[id as usize]) {
            all[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    fn observe(&self, id: Id, values: &[&'static str], value: f64) {
        let at = position(id, values);
        let (Some(at), Store::Histograms(all)) = (at, &self.stores[id as usize]) else {
            return;
        };
        let Kind::Histogram(bounds) = id.metric().kind else {
            return;
        };
        let mut all = lock(all);
        all[at].counts[bounds.partition_point(|bound| *bound < value)] += 1;
        all[at].sum += value;
    }
}

/// The position of label values. Values that are not in the table are a defect, which tests find.
fn position(id: Id, values: &[&'static str]) -> Option<usize> {
    let at = id.metric().position(values);
    debug_assert!(at.is_some(), "{} has no {values:?}", id.metric().name);
    at
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
