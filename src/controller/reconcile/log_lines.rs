//! Writes the lines that [`crate::plan::journal`] decides, and the count of what is not ready.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::controller::{
    cache::index::IssuerName,
    context::{Context, lock},
};
use crate::{
    api::{IssuerKind, IssuerStatus},
    plan::journal::{Entry, Journal, Level, Line, Seen, Step, summary},
};

/// How often what is not ready is counted.
const COUNT: Duration = Duration::from_hours(1);
/// How long the first reconciles may take before the first count.
const SETTLE: Duration = Duration::from_secs(10);

/// The object that a line is about.
#[derive(Clone, Copy, Debug)]
pub(in crate::controller) struct Subject<'a> {
    pub(in crate::controller) kind: &'a str,
    /// None of an object of the cluster.
    pub(in crate::controller) namespace: Option<&'a str>,
    pub(in crate::controller) name: &'a str,
    pub(in crate::controller) uid: &'a str,
}

impl Subject<'_> {
    /// The name of an issuer.
    fn issuer(&self) -> IssuerName {
        let namespace = self.namespace.unwrap_or_default().to_owned();
        let kind = match self.namespace {
            Some(_) => IssuerKind::TokenIssuer,
            None => IssuerKind::ClusterTokenIssuer,
        };
        (kind, namespace, self.name.to_owned())
    }
}

/// Writes a line. Its fields are the same for all kinds, conditions and reasons.
pub(in crate::controller) fn write(subject: Subject<'_>, line: &Line) {
    let also = (!line.also.is_empty()).then(|| line.also.join(","));
    let repeats = (line.repeats > 0).then_some(line.repeats);
    macro_rules! at {
        ($level:ident) => {
            tracing::$level!(
                kind = subject.kind,
                namespace = subject.namespace,
                name = subject.name,
                uid = subject.uid,
                generation = line.generation,
                change = line.change.as_str(),
                condition = line.condition,
                status = line.status,
                reason = line.reason,
                was = line.was,
                also,
                since = line.since.map(tracing::field::display),
                repeats,
                http_status = line.ids.http_status,
                error = line.ids.error,
                aadsts = line.ids.aadsts,
                correlation_id = line.ids.correlation_id,
                trace_id = line.ids.trace_id,
                "{}",
                line.message
            )
        };
    }
    match line.level {
        Level::Info => at!(info),
        Level::Warn => at!(warn),
    }
}

/// What the log says of issuers that are not as they should be, or were not an hour ago.
#[derive(Default)]
pub(in crate::controller) struct IssuerJournals(Mutex<HashMap<IssuerName, IssuerJournal>>);

#[derive(Default)]
struct IssuerJournal {
    uid: String,
    journal: Journal,
    /// What the log knows, if status does not say so yet.
    told: Option<Vec<Condition>>,
}

impl IssuerJournals {
    /// The lines about a step of an issuer. `written`: does its status say so now?
    pub(in crate::controller) fn step(
        &self,
        subject: Subject<'_>,
        (old, new): (Option<&IssuerStatus>, &IssuerStatus),
        written: bool,
        step: Step<'_>,
    ) -> Entry {
        let (uid, issuer) = (subject.uid, subject.issuer());
        let mut all = lock(&self.0);
        let mut known = all
            .remove(&issuer)
            .filter(|known| known.uid == uid)
            .unwrap_or_default();
        let before = match &known.told {
            Some(told) => told.as_slice(),
            None => old.map_or(&[][..], |old| old.conditions.as_slice()),
        };
        let before = Seen {
            conditions: before,
            attempt: None,
        };
        let entry = known.journal.step(before, new.into(), step);
        // Also if it is written: the watch may show it later than the next look comes.
        known.told = (!written || known.journal.stands()).then(|| new.conditions.clone());
        if known.told.is_some() || !known.journal.is_empty() {
            uid.clone_into(&mut known.uid);
            all.insert(issuer, known);
        }
        entry
    }

    /// An issuer is gone.
    pub(in crate::controller) fn forget(&self, issuer: &IssuerName) {
        lock(&self.0).remove(issuer);
    }

    pub(in crate::controller) fn len(&self) -> usize {
        lock(&self.0).len()
    }
}

/// Counts what is not ready: soon after the start, since what status says already is not written again, and each hour.
pub(in crate::controller) async fn count(context: Arc<Context>) {
    while !context.health.unlisted().is_empty() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tokio::time::sleep(SETTLE).await;
    loop {
        count_once(&context);
        tokio::time::sleep(COUNT).await;
    }
}

fn count_once(context: &Context) {
    let ready = |conditions: &[Condition]| {
        let ready = conditions.iter().find(|c| c.type_ == "Ready");
        ready
            .filter(|c| c.status != "True")
            .map(|c| c.reason.clone())
    };
    let credentials = context.credentials.state();
    let not_ready = credentials
        .iter()
        .filter(|kept| kept.shown.ready == Some(false));
    let not_ready: Vec<String> = not_ready
        .filter_map(|kept| ready(&kept.status()?.conditions))
        .collect();
    tell_count("credentials", credentials.len(), &not_ready);
    let of_status = |status: &Option<IssuerStatus>| ready(&status.as_ref()?.conditions);
    let (namespaced, cluster) = (
        context.token_issuers.state(),
        context.cluster_issuers.state(),
    );
    let not_ready: Vec<String> = namespaced
        .iter()
        .filter_map(|i| of_status(&i.status))
        .chain(cluster.iter().filter_map(|i| of_status(&i.status)))
        .collect();
    tell_count("issuers", namespaced.len() + cluster.len(), &not_ready);
}

fn tell_count(what: &'static str, all: usize, not_ready: &[String]) {
    let (count, reasons) = summary(not_ready.iter().map(String::as_str));
    if count == 0 {
        tracing::info!(all, not_ready = 0, "all {what} are ready");
    } else {
        tracing::warn!(
            all,
            not_ready = count,
            reasons,
            "{count} of {all} {what} are not ready: {reasons}"
        );
    }
}
