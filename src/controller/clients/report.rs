//! Reports what happens to a rotation: status, log, events, metrics.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;

use super::{driver::Driver, view::View};
use crate::controller::{locks::lock, reconcile::record};
use crate::{
    Reason,
    api::ApiClient,
    plan::{Notice, Severity},
    rotation::{
        self, Change, Mark, Next, Observed, Record, RotationSettings, Slot, StoredRecord,
        Uploading, Values,
    },
    telemetry::tries::warn_at_first,
};

impl Driver {
    /// Reports that nothing can be done, with the reason. The rest of the status is retained.
    pub(super) fn blocked(&self, why: String) {
        let view = lock(&self.shared.view).clone();
        let view = view.unwrap_or_else(View::initial);
        let view = view.blocked(why).also(self.held_nowhere());
        self.report(self.with_open(view));
    }

    /// Reports the decision. A client secret that is not being stored now is named, because only this process has it.
    pub(super) fn decided(&self, next: &Next) {
        let waits = matches!(next.step, rotation::Step::Wait { .. });
        let held = self.held_nowhere().filter(|_| waits);
        self.report(self.with_open(View::of(next)).also(held));
    }

    /// Adds the open problems to the decision.
    fn with_open(&self, view: View) -> View {
        let open = [&self.lost, &self.unwritten, &self.stuck, &self.unmanaged];
        open.into_iter()
            .fold(view, |view, more| view.also(more.clone()))
    }

    /// Stores what the status must show. Changes are reported when the status is written.
    pub(super) fn report(&self, view: View) {
        {
            let mut known = lock(&self.shared.view);
            if known.as_ref() == Some(&view) {
                return;
            }
            known.replace(view.clone());
        }
        self.context.clients.check([self.key.clone()]);
        if let Some(why) = view.blocked {
            tracing::debug!(
                namespace = self.key.namespace,
                name = self.key.name,
                "the rotation of a client waits: {why}"
            );
        }
    }

    /// Reports a client credential that is no longer used and is still valid at the issuer.
    async fn stays(&self, note: String) {
        tracing::info!(
            namespace = self.key.namespace,
            name = self.key.name,
            reason = Reason::RotationLeftover.as_str(),
            "a credential of a client that was replaced stays at the issuer: {note}"
        );
        self.notify(Severity::Normal, Reason::RotationLeftover, note)
            .await;
    }

    /// Keeps the record that was read. If the Secret has none any more, reports once what only the last one named.
    pub(super) async fn reads(
        &mut self,
        seen: &Observed,
        settings: &RotationSettings,
        now: Timestamp,
    ) {
        match (&seen.noted, &self.last_record) {
            (StoredRecord::Record(record), _) => self.last_record = Some(record.clone()),
            (StoredRecord::Absent, Some(last)) => {
                let Some(lost) = rotation::forgotten(last, seen, &self.memory, settings, now)
                else {
                    return;
                };
                self.last_record = None;
                for left in lost {
                    self.stays(left.message()).await;
                }
            }
            _ => {}
        }
    }

    /// Reports a write of the Secret.
    pub(super) async fn wrote(&self, before: &Record, change: &Change) {
        let record = &change.record;
        let promoted = change.values == Values::Promote;
        let tries = promoted.then(|| self.context.worked("rotation", &self.uid));
        let tries = tries.filter(|failures| *failures > 0);
        let (n, key_id) = record.subject();
        tracing::info!(
            namespace = self.key.namespace,
            name = self.key.name,
            from = before.state.as_str(),
            to = record.state.as_str(),
            n,
            key_id,
            tries,
            "the rotation of a client reached its next state"
        );
        if promoted {
            self.context.metrics.rotated("ok");
            let until = record.current.as_ref().and_then(|known| known.until);
            let until = rotation::until_end(", valid", until);
            let note = format!(
                "credentials use a new client credential{until}; the one before it stays valid for the overlap"
            );
            self.notify(Severity::Normal, Reason::ClientCredentialRotated, note)
                .await;
        }
        for left in &change.leaves {
            self.stays(left.message()).await;
        }
        let times = |record: &Record| record.failure.as_ref().map_or(0, |failure| failure.times);
        if let Some(failure) = record
            .failure
            .as_ref()
            .filter(|_| times(record) > times(before))
        {
            self.failed(failure).await;
        }
    }

    /// Reports a client credential that was removed at the issuer, or that did not exist there any more.
    pub(super) async fn removed(&self, id: &str) {
        tracing::info!(
            namespace = self.key.namespace,
            name = self.key.name,
            key_id = id,
            "a credential of a client was removed at the issuer"
        );
        let note = format!("credential {id} was removed at the issuer");
        self.notify(Severity::Normal, Reason::ClientCredentialRemoved, note)
            .await;
    }

    /// Whether this process or the previous one announced the certificate.
    fn announced(&self, secret: &Slot) -> bool {
        let begun = match (&secret.mark, &self.uploads.begun) {
            (Mark::Certificate { sha1, .. }, Some(begun)) => sha1.eq_ignore_ascii_case(begun),
            _ => false,
        };
        begun || self.memory.has_announced(&secret.digest)
    }

    /// Reports once that the issuer has a certificate that was announced. Returns true if it answers a request of a rotation.
    pub(super) async fn uploaded(&mut self, seen: &Uploading) -> bool {
        let works = seen.works(&self.memory);
        let renewed = self.uploads.renewed(seen, works);
        let Some(secret) = seen.secret.as_ref().filter(|_| works) else {
            return false;
        };
        let known = self.uploads.done.as_ref() == Some(&secret.digest);
        if known || !self.announced(secret) {
            // Somebody else uploaded it.
            if renewed {
                self.uploads.handled.clone_from(&seen.requested);
            }
            return renewed;
        }
        self.uploads.done = Some(secret.digest.clone());
        self.uploads.handled.clone_from(&seen.requested);
        let tries = self.context.worked("rotation", &self.uid);
        tracing::info!(
            namespace = self.key.namespace,
            name = self.key.name,
            tries = (tries > 0).then_some(tries),
            "the new certificate of a client was uploaded, and got a token"
        );
        self.context.metrics.rotated("ok");
        let until = secret.validity.map(|(_, until)| until);
        let until = rotation::until_end("; it is valid", until);
        let note = format!(
            "the new certificate in the Secret was uploaded and got a token{until}; the one before it stays valid at the issuer until it expires"
        );
        self.notify(Severity::Normal, Reason::ClientCredentialRotated, note)
            .await;
        true
    }

    /// Reports a failure of a certificate upload once.
    pub(super) async fn upload_failed(&mut self, next: &Next) {
        let failed = next.notices.iter().find_map(|notice| match notice {
            rotation::Notice::Failed(failure) => Some(failure),
            _ => None,
        });
        let message = failed.map(rotation::Failure::message);
        if self.uploads.failed == message {
            return;
        }
        self.uploads.failed = message;
        if let Some(failure) = failed {
            self.failed(failure).await;
        }
    }

    /// Reports a failed rotation.
    async fn failed(&self, failure: &rotation::Failure) {
        self.context.metrics.rotated("failed");
        let (message, again) = (failure.message(), failure.repeated().message());
        let failure = self.context.failed("rotation", &self.uid, &again);
        warn_at_first!(
            failure,
            namespace = self.key.namespace,
            name = self.key.name,
            reason = Reason::RotationFailed.as_str(),
            "{message}"
        );
        self.notify(Severity::Warning, Reason::RotationFailed, message)
            .await;
    }

    pub(super) async fn notify(&self, severity: Severity, reason: Reason, note: String) {
        let regarding = ObjectReference {
            api_version: Some(ApiClient::api_version(&()).into_owned()),
            kind: Some(ApiClient::kind(&()).into_owned()),
            name: Some(self.key.name.clone()),
            namespace: Some(self.key.namespace.clone()),
            uid: Some(self.uid.clone()),
            ..ObjectReference::default()
        };
        let notice = Notice {
            severity,
            reason: reason.into(),
            note: crate::printable(&note).into_owned(),
        };
        let now = self.context.clock.now();
        record::send(&self.context, &regarding, &notice, now).await;
    }
}
