//! The object of one reconciliation: what is decided of it before its spec is known, and the report of its status.

use std::{sync::Arc, time::Duration};

use super::{
    ended::Ended,
    finalizer,
    log_lines::{self, Subject},
    record,
};
use crate::controller::{
    cache::readable::Flaw,
    context::Context,
    locks::lock,
    rechecks::{after_lost_status, is_reported_again},
    target::empty::empty_unusable,
};
use crate::{
    api::{ApiCredential, ApiCredentialStatus},
    credential::{FieldError, Key},
    plan::{
        self,
        journal::{Entry, Seen, Step},
    },
    publish::ownership::SecretFacts,
};

/// The object as the watch has shown it when the reconciliation began.
#[derive(Clone, Copy)]
pub(super) struct Watched<'a> {
    pub(super) context: &'a Arc<Context>,
    pub(super) object: &'a ApiCredential,
    pub(super) key: &'a Key,
}

impl Watched<'_> {
    pub(super) async fn reconcile(self) -> Ended {
        if self.object.metadata.deletion_timestamp.is_some() {
            return self.release();
        }
        // Before anything is looked up: in a list that failed, everything is missing.
        if let Some(kind) = self.context.unsynced.first(&self.key.namespace) {
            return self.unlisted(kind).await;
        }
        match self.context.parse(self.object) {
            Ok(credential) => self.work(&credential).await,
            Err(errors) => self.invalid(&errors).await,
        }
    }

    /// An object whose spec is not known gets a status, and keeps what it has: its Secret, its place, its memory.
    pub(super) async fn unusable(self, flaw: &Flaw) -> Ended {
        if self.object.metadata.deletion_timestamp.is_some() {
            return self.release();
        }
        let known = self.known_status();
        // What another version has said of this very generation is not known to be so.
        let unconfirmed = known.clone().map(|status| ApiCredentialStatus {
            observed_generation: None,
            ..status
        });
        let facts = self.target_facts();
        let (errors, now) = ([flaw.error()], self.context.clock.now());
        let (previous, facts) = (unconfirmed.as_ref(), facts.as_ref());
        let view = plan::invalid(self.object, previous, facts, &errors, now);
        let wait = self.report(known.as_ref(), &view).await;
        Ended::after("unreadable", wait)
    }

    /// A credential that is being deleted is forgotten; what its finalizer is for happens beside the reconciles.
    fn release(self) -> Ended {
        finalizer::hand_over(self.context, self.object);
        self.context.forget(self.key);
        Ended {
            outcome: "released",
            requeue: None,
        }
    }

    /// Where the Secrets, issuers or clients of a namespace could not be listed nothing is decided: what is there would
    /// look like what is not. Status says so; the list has all of them reconciled.
    async fn unlisted(self, kind: &'static str) -> Ended {
        let known = self.known_status();
        let facts = self.target_facts();
        let now = self.context.clock.now();
        let view = plan::unlisted(self.object, known.as_ref(), facts.as_ref(), kind, now);
        let wait = self.report(known.as_ref(), &view).await;
        Ended::after("waiting", wait)
    }

    async fn invalid(self, errors: &[FieldError]) -> Ended {
        let now = self.context.clock.now();
        let facts = self.target_facts();
        empty_unusable(self.context, self.object, self.key, facts.as_ref()).await;
        let facts = self.target_facts();
        let known = self.known_status();
        let view = plan::invalid(self.object, known.as_ref(), facts.as_ref(), errors, now);
        let wait = self.report(known.as_ref(), &view).await;
        Ended::after("invalid", wait)
    }

    /// The status that the cluster has, as far as this process knows.
    pub(super) fn known_status(self) -> Option<ApiCredentialStatus> {
        record::known_status(self.context, self.object, self.key)
    }

    /// What is known of the Secret that the object names as its target.
    fn target_facts(self) -> Option<SecretFacts> {
        let name = (
            self.key.namespace.clone(),
            self.object.spec.target.secret_name.clone(),
        );
        let secrets = lock(&self.context.secrets);
        secrets.get(&name).map(|s| s.facts.clone())
    }

    /// Writes the status, logs what it changes, and sends its events. Returns the wait for the next reconciliation.
    pub(super) async fn report(
        self,
        known: Option<&ApiCredentialStatus>,
        view: &plan::View,
    ) -> Duration {
        let (context, object, key) = (self.context, self.object, self.key);
        let written = record::write_status(context, object, key, known, &view.status).await;
        let uid = object.metadata.uid.as_deref().unwrap_or_default();
        let exists = record::shown(context, key, uid).is_some();
        let (lost, entry) = self.note(known, &view.status, written.is_ok());
        // An object that is gone has no conditions.
        if exists {
            let subject = Subject {
                kind: "ApiCredential",
                namespace: Some(&key.namespace),
                name: &key.name,
                uid,
            };
            for line in &entry.lines {
                log_lines::write(subject, line);
            }
        }
        // An event reports a change of the status, so it goes with the status or not at all.
        if let Err(trouble) = written {
            if exists && is_reported_again(lost, trouble) {
                tracing::warn!(
                    tries = lost,
                    result = trouble.as_str(),
                    "the status cannot be written; only the log contains the state of the credential"
                );
            }
            return view.requeue.min(after_lost_status(lost));
        }
        let notices = record::worth(&view.notices, &entry);
        record::notify(context, object, key, &notices, context.clock.now()).await;
        view.requeue
    }

    /// Remembers the status for the log, and how often in a row it could not be written.
    fn note(
        self,
        known: Option<&ApiCredentialStatus>,
        status: &ApiCredentialStatus,
        written: bool,
    ) -> (u32, Entry) {
        let now = self.context.clock.now();
        let uid = self.object.metadata.uid.as_deref().unwrap_or_default();
        self.context.with_state(self.key, uid, |state| {
            state.lost_statuses = if written { 0 } else { state.lost_statuses + 1 };
            state.defects = None;
            let reported = state.reported.take();
            let before = reported.as_deref().or(known).map(Seen::from);
            let refused = state.refused.take();
            let step = Step {
                now,
                tried: false,
                refused: refused.as_deref(),
            };
            let (before, after) = (before.unwrap_or_default(), Seen::from(status));
            let entry = state.journal.step(before, after, step);
            if !written {
                state.reported = Some(Box::new(status.clone()));
            }
            (state.lost_statuses, entry)
        })
    }
}
