//! The object of one reconciliation: what is decided before its spec is known, and the report of its status.

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
        finalizer::End,
        journal::{Entry, Seen, Step},
        over,
    },
    publish::ownership::SecretFacts,
};

/// The object in the version that the watch had delivered when the reconciliation started.
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
        // Before any lookup: if a list failed, every object in it looks missing.
        if let Some(kind) = self.context.unsynced.first(&self.key.namespace) {
            return self.unlisted(kind).await;
        }
        match self.context.parse(self.object) {
            Ok(credential) => self.work(&credential).await,
            Err(errors) => self.invalid(&errors).await,
        }
    }

    /// An object whose spec is not known gets a status, and retains everything else: its Secret, its place, its memory. Only its end
    /// is observed.
    pub(super) async fn unusable(self, flaw: &Flaw) -> Ended {
        if self.object.metadata.deletion_timestamp.is_some() {
            return self.release();
        }
        self.empty().await;
        let known = self.known_status();
        // A status for this generation that another version wrote is not confirmed.
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

    /// Removes the state of a credential that is being deleted; the task for the finalizer runs separately from the reconciles.
    fn release(self) -> Ended {
        finalizer::hand_over(self.context, self.object);
        self.context.forget(self.key);
        Ended {
            outcome: "released",
            requeue: None,
        }
    }

    /// If the Secrets, issuers or clients of a namespace could not be listed, nothing is decided: existing objects would look
    /// missing. This is reported in the status, and all credentials of the namespace are reconciled after the list.
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
        self.empty().await;
        let facts = self.target_facts();
        let known = self.known_status();
        let view = plan::invalid(self.object, known.as_ref(), facts.as_ref(), errors, now);
        let wait = self.report(known.as_ref(), &view).await;
        Ended::after("invalid", wait)
    }

    /// Removes the token if the credential has expired. It is not revoked: that needs the issuer of a valid spec.
    async fn empty(self) {
        let (context, object, facts) = (self.context, self.object, self.target_facts());
        let unrevoked = over::unrevoked(object, facts.as_ref(), context.clock.now());
        let token_end = record::token_end(context, object, self.key);
        let uid = object.metadata.uid.as_deref().unwrap_or_default();
        // A revocation may have begun before the spec was changed; it is reported on its own.
        let begun = context.leaving.has(uid)
            || context.with_state(self.key, uid, |s| s.revoked_at_end.is_some());
        let emptied = empty_unusable(context, object, self.key, facts.as_ref()).await;
        if emptied && unrevoked && !begun {
            let end = End::NotRevoked("the credential could not be used at its end".to_owned());
            record::report_end(context, object, self.key, (&end, token_end)).await;
        }
    }

    /// The status in the cluster, as far as this process knows.
    pub(super) fn known_status(self) -> Option<ApiCredentialStatus> {
        record::known_status(self.context, self.object, self.key)
    }

    /// The known facts of the Secret that the object names as its target.
    fn target_facts(self) -> Option<SecretFacts> {
        let name = (
            self.key.namespace.clone(),
            self.object.spec.target.secret_name.clone(),
        );
        let secrets = lock(&self.context.secrets);
        secrets.get(&name).map(|s| s.facts.clone())
    }

    /// Writes the status, logs its changes, and sends its events. Returns the wait for the next reconciliation.
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
        // A deleted object has no conditions.
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
        // An event reports a change of the status, so it is sent only if the status is written.
        if let Err(error_kind) = written {
            if exists && is_reported_again(lost, error_kind) {
                tracing::warn!(
                    tries = lost,
                    result = error_kind.as_str(),
                    "the status cannot be written; only the log contains the state of the credential"
                );
            }
            return view.requeue.min(after_lost_status(lost));
        }
        let notices = record::worth(&view.notices, &entry);
        record::notify(context, object, key, &notices, context.clock.now()).await;
        view.requeue
    }

    /// Stores the status for the log, and the number of consecutive status writes that failed.
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
