//! The requests of an operator to the API server, from the server's audit log.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use testenv::{AuditEvent, AuditMark, ControlPlane};

use crate::Result;

/// The audit log, read while it grows.
pub(crate) struct Traffic {
    mark: AuditMark,
    user: String,
    /// Requests of the operator, and the creates of the harness.
    events: Vec<AuditEvent>,
}

impl Traffic {
    pub(crate) fn of(plane: &ControlPlane, user: &str) -> Result<Self> {
        Ok(Self {
            mark: plane.audit_mark()?,
            user: user.to_owned(),
            events: Vec::new(),
        })
    }

    /// Reads new records, and returns the place from which [`Self::since`] counts later ones.
    pub(crate) fn read(&mut self, plane: &ControlPlane) -> Result<usize> {
        let (new, mark) = plane.audit_after(self.mark)?;
        self.mark = mark;
        let user = &self.user;
        let ours = |e: &AuditEvent| &e.user == user || (e.user == "admin" && e.verb == "create");
        self.events.extend(new.into_iter().filter(ours));
        Ok(self.events.len())
    }

    /// The operator's requests since a place.
    pub(crate) fn since(&self, place: usize) -> Tally<'_> {
        let events = self.events.get(place..).unwrap_or_default();
        Tally(events.iter().filter(|e| e.user == self.user).collect())
    }

    /// When the harness created each object of a kind, by namespace and name.
    pub(crate) fn created(&self, resource: &str) -> HashMap<(String, String), Timestamp> {
        let mine = |e: &&AuditEvent| {
            e.user == "admin" && e.resource == resource && e.subresource.is_empty()
        };
        self.events
            .iter()
            .filter(mine)
            .map(|e| ((e.namespace.clone(), e.name.clone()), e.answered))
            .collect()
    }
}

/// Requests of the operator.
pub(crate) struct Tally<'a>(Vec<&'a AuditEvent>);

impl Tally<'_> {
    /// Gets and lists of Secrets in the namespaces of the load.
    pub(crate) fn secret_reads(&self) -> usize {
        self.count(|e| reads(e) && e.resource == "secrets" && e.namespace.starts_with("load-"))
    }

    /// All gets and lists.
    pub(crate) fn reads(&self) -> usize {
        self.count(reads)
    }

    /// All writes, except those of leases.
    pub(crate) fn writes(&self) -> usize {
        self.count(writes)
    }

    /// Refused requests, except conflicts that are part of normal work.
    pub(crate) fn refused(&self) -> usize {
        self.count(|e| e.code >= 400)
    }

    /// Number of Secrets `token-…` that were written, each counted once.
    pub(crate) fn published(&self) -> usize {
        let names: HashSet<_> = self
            .publications()
            .map(|e| (&e.namespace, &e.name))
            .collect();
        names.len()
    }

    /// Number of writes of Secrets `token-…`.
    pub(crate) fn publishing(&self) -> usize {
        self.publications().count()
    }

    /// Successful writes of status, by object.
    pub(crate) fn reported(&self) -> usize {
        let names: HashSet<_> = self
            .0
            .iter()
            .filter(|e| e.subresource == "status" && e.code < 300 && writes(e))
            .map(|e| (&e.namespace, &e.name))
            .collect();
        names.len()
    }

    /// When each Secret `token-…` was first written, by namespace and name.
    pub(crate) fn first_publications(&self) -> HashMap<(String, String), Timestamp> {
        let mut first = HashMap::new();
        for event in self.publications() {
            first
                .entry((event.namespace.clone(), event.name.clone()))
                .or_insert(event.answered);
        }
        first
    }

    /// When the first successful request of a verb and resource was answered, by namespace and name.
    pub(crate) fn first_answers(
        &self,
        verb: &str,
        resource: &str,
    ) -> HashMap<(String, String), Timestamp> {
        let mut first = HashMap::new();
        for event in &self.0 {
            if event.verb == verb && name(event) == resource && event.code < 300 {
                first
                    .entry((event.namespace.clone(), event.name.clone()))
                    .or_insert(event.answered);
            }
        }
        first
    }

    /// The end of the last write.
    pub(crate) fn last_write(&self) -> Option<Timestamp> {
        self.0
            .iter()
            .filter(|e| writes(e))
            .map(|e| e.answered)
            .max()
    }

    /// Milliseconds that requests of a verb and resource took, sorted.
    pub(crate) fn times(&self, verb: &str, resource: &str) -> Vec<f64> {
        let mut times: Vec<f64> = self
            .0
            .iter()
            .filter(|e| e.verb == verb && name(e) == resource)
            .map(|e| e.answered.duration_since(e.request_received).as_secs_f64() * 1e3)
            .collect();
        times.sort_by(f64::total_cmp);
        times
    }

    /// How many objects had their status written once, twice, and so on.
    pub(crate) fn status_writes(&self) -> BTreeMap<usize, usize> {
        let mut by_name: HashMap<_, usize> = HashMap::new();
        for event in self.0.iter().filter(|e| e.subresource == "status") {
            *by_name.entry((&event.namespace, &event.name)).or_default() += 1;
        }
        let mut sums = BTreeMap::new();
        for times in by_name.into_values() {
            *sums.entry(times).or_default() += 1;
        }
        sums
    }

    /// All requests except watches, counted by verb, resource and answer.
    pub(crate) fn sums(&self) -> BTreeMap<String, usize> {
        let mut sums = BTreeMap::new();
        for event in self.0.iter().filter(|e| e.verb != "watch") {
            let mut what = format!("{} {}", event.verb, name(event));
            if event.code >= 300 {
                what.push_str(&format!(" -> {}", event.code));
            }
            *sums.entry(what).or_default() += 1;
        }
        sums
    }

    fn publications(&self) -> impl Iterator<Item = &&AuditEvent> {
        self.0.iter().filter(|e| {
            // The name of a created object is in the answer, which the record contains.
            e.resource == "secrets" && writes(e) && e.code < 300 && e.name.starts_with("token-")
        })
    }

    fn count(&self, what: impl Fn(&AuditEvent) -> bool) -> usize {
        self.0.iter().filter(|e| what(e)).count()
    }
}

fn reads(event: &AuditEvent) -> bool {
    matches!(event.verb.as_str(), "get" | "list")
        && !event.resource.is_empty()
        && event.resource != "leases"
}

fn writes(event: &AuditEvent) -> bool {
    !matches!(event.verb.as_str(), "get" | "list" | "watch") && event.resource != "leases"
}

/// Resource and subresource.
fn name(event: &AuditEvent) -> String {
    if event.subresource.is_empty() {
        event.resource.clone()
    } else {
        format!("{}/{}", event.resource, event.subresource)
    }
}
