//! The work for a credential whose spec is valid: makes the plan, executes it, reports the result.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{
    ended::Ended,
    execute::execute,
    finalizer,
    mint::PATIENCE,
    object::Watched,
    observe::{copy_faults, needs_key, observe},
    record,
};
use crate::controller::{notify, reconciliation::Reconciliation, target::last_good};
use crate::{
    ConditionType, Reason,
    api::ApiCredentialStatus,
    credential::Credential,
    plan::{self, Hold, Observed, Outcome, Plan},
};

/// A credential without any status gets one after this time at the latest, even if its first token takes longer. Most tokens
/// arrive earlier, and then one write is sufficient.
const FIRST_STATUS: Duration = Duration::from_secs(1);
/// The wait after the copy of a certificate could not be written.
const COPY_AGAIN: Duration = Duration::from_mins(1);
/// The minimum wait between two reconciliations.
const SHORTEST: Duration = Duration::from_millis(10);

impl Watched<'_> {
    pub(super) async fn work(self, credential: &Credential) -> Ended {
        let context = self.context;
        let now = context.clock.now();
        if credential.static_key.is_none() {
            let (grant, issuer) = (credential.grant.key(), &credential.issuer.id);
            context.metrics.expect(grant, issuer);
        }
        let observed = self.observed(credential, now).await;
        let mut reconciliation = Reconciliation::new(context, credential, observed);
        let mut plan = plan::plan(credential, &reconciliation.observed, now);
        let revoking = finalizer::revoke_ended(context, credential, &mut plan);
        tracing::debug!(?plan, "planned");
        if let Plan::Hold {
            why: Hold::AnotherOperator,
            until,
        } = plan
        {
            reconciliation.store_memory();
            return self.leave_to_another(&reconciliation, until).await;
        }
        let pending = self.first_status(&reconciliation, now);
        // Boxed: see `reconcile`.
        let step = Box::pin(async {
            let observed = &reconciliation.observed;
            let facts = (credential, observed);
            let settled = finalizer::settle(context, self.object, facts, &plan).await;
            match revoking.or(settled) {
                Some(outcome) => outcome,
                None => execute(&mut reconciliation, plan).await,
            }
        });
        let outcome = self.carry_out(pending, step).await;
        reconciliation.store_memory();
        self.end(&reconciliation, outcome).await
    }

    /// The observations at the start, including information from the status that this process has not observed itself.
    async fn observed(self, credential: &Credential, now: Timestamp) -> Observed {
        let (context, key) = (self.context, self.key);
        let first = context.with_state(key, &credential.uid, |s| std::mem::take(&mut s.undecided));
        let deleting = self.is_deleting();
        let mut observed = observe(context, credential, key, deleting, now);
        if needs_key(context, &observed) {
            // Without the key, this reconcile decides as if there were no other operator.
            let _ = context.digest_key.get(&context.metrics).await;
            observed = observe(context, credential, key, deleting, now);
        }
        // A process that has reconciled the credential before has more precise information than its status.
        if first {
            let mut memory = observed.memory.clone();
            memory.recall(credential, &observed, self.object.status.as_ref(), now);
            observed.memory = memory;
        }
        observed
    }

    /// Reports the outcome, and schedules the next reconciliation.
    async fn end(self, reconciliation: &Reconciliation<'_>, outcome: Outcome) -> Ended {
        let (context, credential) = (self.context, reconciliation.credential);
        let now = context.clock.now();
        let known = self.known_status();
        let outcome = overdue(reconciliation, outcome, known.as_ref(), now);
        let label = label(&outcome);
        match outcome {
            Outcome::Released => {
                if self.is_deleting() {
                    context.forget(self.key);
                } else {
                    // Its namespace is being deleted: the object follows, and its token must be revoked then, perhaps after its Secret.
                    context.retire(self.key);
                }
                return Ended {
                    outcome: label,
                    requeue: None,
                };
            }
            Outcome::Queued { until } => {
                let wait = Duration::try_from(until.duration_since(now)).unwrap_or_default();
                let wait = if is_reported(known.as_ref()) {
                    wait
                } else {
                    wait.min(FIRST_STATUS)
                };
                return Ended::after(label, wait.max(SHORTEST));
            }
            _ => {}
        }
        let mut observed = observe(context, credential, self.key, self.is_deleting(), now);
        notify::take_up(context, credential, &observed);
        // Before the status, which reports a copy that cannot be written: another process has not tried it yet. Boxed: see `reconcile`.
        let copies = last_good::settle(context, self.object, credential, &observed);
        let again = Box::pin(copies).await;
        observed.copy_faults = copy_faults(context, credential);
        let view = plan::status(credential, &observed, &outcome, known.as_ref(), now);
        let wait = self.report(known.as_ref(), &view).await;
        let wait = if again { wait.min(COPY_AGAIN) } else { wait };
        Ended::after(label, wait)
    }

    /// Leaves a credential that another operator renews to that operator.
    async fn leave_to_another(
        self,
        reconciliation: &Reconciliation<'_>,
        until: Timestamp,
    ) -> Ended {
        let (context, credential) = (self.context, reconciliation.credential);
        let record = reconciliation.observed.record();
        let issued = record.map(|record| record.issued_at);
        let counted = context.with_state(self.key, &credential.uid, |s| {
            std::mem::replace(&mut s.foreign, issued)
        });
        if counted != issued {
            context.metrics.foreign_write();
        }
        let known = self.known_status();
        let now = context.clock.now();
        let view = plan::left_to_another(credential, known.as_ref(), until, now);
        let wait = self.report(known.as_ref(), &view).await;
        Ended::after("waiting", wait)
    }

    /// The status of a credential without any status while its first token is requested.
    fn first_status(
        self,
        reconciliation: &Reconciliation<'_>,
        now: Timestamp,
    ) -> Option<ApiCredentialStatus> {
        let (credential, observed) = (reconciliation.credential, &reconciliation.observed);
        let known = self.known_status();
        if observed.deleting || is_reported(known.as_ref()) {
            return None;
        }
        let queued = Outcome::Queued { until: now };
        Some(plan::status(credential, observed, &queued, known.as_ref(), now).status)
    }

    /// Executes a step, and writes the first status concurrently if the step takes long.
    async fn carry_out(
        self,
        pending: Option<ApiCredentialStatus>,
        step: impl Future<Output = Outcome>,
    ) -> Outcome {
        let Some(pending) = pending else {
            return step.await;
        };
        let (done, ended) = tokio::sync::oneshot::channel();
        let report = async {
            if tokio::time::timeout(FIRST_STATUS, ended).await.is_err() {
                let (context, object, key) = (self.context, self.object, self.key);
                let known = self.known_status();
                // The result does not matter, because the status after the step follows.
                let _ = record::write_status(context, object, key, known.as_ref(), &pending).await;
            }
        };
        let step = async {
            let outcome = step.await;
            let _ = done.send(());
            outcome
        };
        tokio::join!(step, report).0
    }

    fn is_deleting(self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }
}

/// Whether the credential has the condition `Ready`.
fn is_reported(known: Option<&ApiCredentialStatus>) -> bool {
    known.is_some_and(|s| ConditionType::Ready.find(&s.conditions).is_some())
}

/// Reports a place in the queue only if it lasts, and if the status is Ready although the token has expired in the meantime, or
/// if there is no status yet.
fn overdue(
    reconciliation: &Reconciliation<'_>,
    outcome: Outcome,
    known: Option<&ApiCredentialStatus>,
    now: Timestamp,
) -> Outcome {
    let (credential, observed) = (reconciliation.credential, &reconciliation.observed);
    let says_ready = || {
        let ready = known.and_then(|s| ConditionType::Ready.find(&s.conditions));
        ready.is_some_and(|c| c.status == "True")
    };
    let waited = |since: Timestamp| now.duration_since(since);
    let waited = observed.memory.queued_since.map(waited);
    let first = SignedDuration::try_from(FIRST_STATUS).unwrap_or(PATIENCE);
    let lasts = waited.is_some_and(|waited| {
        waited >= PATIENCE && says_ready() || waited >= first && !is_reported(known)
    });
    match outcome {
        Outcome::Queued { until } if lasts && observed.valid(credential, now).is_none() => {
            Outcome::Waiting {
                reason: Reason::WaitingForIssuer,
                message: format!(
                    "{} is busy, and this credential waits for a free request slot; raise limits.requestsPerSecond of the issuer if it lasts",
                    credential.issuer.id
                ),
                until,
            }
        }
        other => other,
    }
}

const fn label(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Steady => "unchanged",
        Outcome::Minted(_) => "renewed",
        Outcome::Waiting { .. } => "waiting",
        Outcome::Queued { .. } => "queued",
        Outcome::Failed => "failed",
        Outcome::Backoff => "backoff",
        Outcome::Refused { .. } => "refused",
        Outcome::Suspended => "suspended",
        Outcome::Released => "released",
    }
}
