//! Writes the log lines that [`crate::plan::journal`] decides.

use std::{collections::HashMap, sync::Mutex};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::controller::locks::lock;
use crate::{
    StoredReason,
    plan::journal::{Entry, Journal, Level, Line, Seen, Step},
};

/// The object that a line is about.
#[derive(Clone, Copy, Debug)]
pub(in crate::controller) struct Subject<'a> {
    pub(in crate::controller) kind: &'a str,
    /// `None` for a cluster-scoped object.
    pub(in crate::controller) namespace: Option<&'a str>,
    pub(in crate::controller) name: &'a str,
    pub(in crate::controller) uid: &'a str,
}

impl Subject<'_> {
    fn object(&self) -> ObjectName {
        let namespace = self.namespace.unwrap_or_default();
        [self.kind, namespace, self.name].map(str::to_owned).into()
    }
}

/// Writes a line. It has the same fields for all kinds, conditions and reasons.
pub(in crate::controller) fn write(subject: Subject<'_>, line: &Line) {
    let also: Vec<&str> = line.also.iter().map(|kind| kind.as_str()).collect();
    let also = (!also.is_empty()).then(|| also.join(","));
    let count = |n: u32| (n > 0).then_some(n);
    let (repeats, was_repeats) = (count(line.repeats), count(line.was_repeats));
    macro_rules! at {
        ($level:ident) => {
            tracing::$level!(
                kind = subject.kind,
                namespace = subject.namespace,
                name = subject.name,
                uid = subject.uid,
                generation = line.generation,
                change = line.change.as_str(),
                condition = line.condition.as_str(),
                status = line.status.as_str(),
                reason = line.reason.as_str(),
                was = line.was.as_ref().map(StoredReason::as_str),
                was_repeats,
                also,
                since = line.since.map(tracing::field::display),
                repeats,
                http_status = line.ids.http_status,
                error = line.ids.error,
                code = line.ids.code,
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

/// Kind, namespace (empty for cluster scope) and name.
type ObjectName = (String, String, String);

/// The logged states of issuers and clients that have a fault, or had one within the last hour.
#[derive(Default)]
pub(in crate::controller) struct Journals(Mutex<HashMap<ObjectName, ObjectJournal>>);

#[derive(Default)]
struct ObjectJournal {
    uid: String,
    journal: Journal,
    /// The logged conditions, if the status does not contain them yet.
    reported: Option<Vec<Condition>>,
}

impl Journals {
    /// The lines about a step of an object. `written`: whether its status now contains the conditions.
    pub(in crate::controller) fn step(
        &self,
        subject: Subject<'_>,
        (old, new): (&[Condition], &[Condition]),
        written: bool,
        step: Step<'_>,
    ) -> Entry {
        let (uid, object) = (subject.uid, subject.object());
        let mut all = lock(&self.0);
        let mut known = all
            .remove(&object)
            .filter(|known| known.uid == uid)
            .unwrap_or_default();
        let seen = |conditions| Seen {
            conditions,
            attempt: None,
        };
        let before = seen(known.reported.as_deref().unwrap_or(old));
        let entry = known.journal.step(before, seen(new), step);
        // Also if it is written: the watch may deliver it after the start of the next reconcile.
        known.reported = (!written || known.journal.lasts()).then(|| new.to_vec());
        if known.reported.is_some() || !known.journal.is_empty() {
            uid.clone_into(&mut known.uid);
            all.insert(object, known);
        }
        entry
    }

    /// Removes a deleted object. `namespace` is empty for a cluster-scoped object.
    pub(in crate::controller) fn forget(&self, kind: &str, namespace: &str, name: &str) {
        let object = [kind, namespace, name].map(str::to_owned).into();
        lock(&self.0).remove(&object);
    }

    pub(in crate::controller) fn len(&self) -> usize {
        lock(&self.0).len()
    }
}
