//! The requests of the operator to the API server, from the audit log of the server.

use std::{collections::BTreeMap, time::Duration};

use testenv::{AuditEvent, AuditMark, eventually};

use super::{Place, SOON, World, world::USER};

/// Requests of the operator.
#[derive(Debug)]
pub(crate) struct Tally(pub(crate) Vec<AuditEvent>);

impl World {
    /// This moment in the audit log.
    pub(crate) fn mark(&self) -> AuditMark {
        self.cluster.audit_mark().expect("an audit log")
    }

    /// Requests of the operator since a moment, in all namespaces.
    pub(crate) fn all_since(&self, mark: AuditMark) -> Tally {
        let mut events = self.cluster.audit_since(mark).expect("an audit log");
        events.retain(|e| e.user == USER);
        Tally(events)
    }

    /// Requests of the operator since a moment that concern this place: its namespace, or no namespace at all.
    pub(crate) fn since(&self, mark: AuditMark, place: &Place) -> Tally {
        let mut tally = self.all_since(mark);
        // Once a minute it reads how far the store has progressed: this belongs to no place.
        let head =
            |e: &AuditEvent| (e.verb.as_str(), name(e).as_str()) == ("list", "apicredentials");
        tally.0.retain(|e| {
            !(e.namespace.is_empty() && head(e))
                && (e.namespace == place.namespace
                    || (e.namespace.is_empty()
                        && (e.name.is_empty() || e.name == place.issuer_name)))
        });
        tally
    }

    /// Waits until the operator has no more work, observes it for a while, and checks that it neither
    /// writes here nor requests a token (O7).
    pub(crate) async fn stays_quiet(&self, place: &Place, window: Duration) {
        eventually(SOON, "the operator to come to rest", async || {
            let mark = self.mark();
            tokio::time::sleep(Duration::from_millis(300)).await;
            let writes = self.since(mark, place).writes();
            if writes.is_empty() {
                Ok(())
            } else {
                Err(format!("{writes:?}"))
            }
        })
        .await;
        let (mark, posts) = (self.mark(), place.posts());
        tokio::time::sleep(window).await;
        let writes = self.since(mark, place).writes();
        assert!(writes.is_empty(), "O7: not quiet: {writes:?}");
        assert_eq!(
            place.posts(),
            posts,
            "O7: a token was requested although nothing was due"
        );
    }
}

impl Tally {
    /// How many of this verb and resource (`secrets`, `apicredentials/status`).
    pub(crate) fn count(&self, verb: &str, resource: &str) -> usize {
        self.0
            .iter()
            .filter(|e| e.verb == verb && name(e) == resource)
            .count()
    }

    /// Lists, of anything.
    pub(crate) fn lists(&self) -> usize {
        self.0.iter().filter(|e| e.verb == "list").count()
    }

    /// Every request that changes an object, as text.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.in_words(|verb| !matches!(verb, "get" | "list" | "watch"))
    }

    /// Every request that reads one object, as text.
    pub(crate) fn reads(&self) -> Vec<String> {
        self.in_words(|verb| verb == "get")
    }

    fn in_words(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let events = self.0.iter().filter(|e| wanted(&e.verb));
        let expected = events.map(|e| {
            let (verb, what, at) = (&e.verb, name(e), e.request_received);
            format!(
                "{verb} {what} {}/{} -> {} ({at})",
                e.namespace, e.name, e.code
            )
        });
        expected.collect()
    }

    /// Everything except watches, counted: for messages.
    pub(crate) fn sums(&self) -> BTreeMap<String, usize> {
        let mut sums = BTreeMap::new();
        for event in self.0.iter().filter(|e| e.verb != "watch") {
            *sums
                .entry(format!("{} {}", event.verb, name(event)))
                .or_default() += 1;
        }
        sums
    }
}

/// Resource and subresource.
fn name(event: &AuditEvent) -> String {
    if event.subresource.is_empty() {
        event.resource.clone()
    } else {
        format!("{}/{}", event.resource, event.subresource)
    }
}
