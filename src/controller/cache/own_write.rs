//! An own write of a Secret, from before it is sent until its response is known. The watch is often faster than the response:
//! an event in this time does not trigger anything until it is clear whether it is the write itself or a change by another writer.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::index::SecretName;
use crate::controller::{context::Context, locks::lock};
use crate::credential::{Credential, Key};

/// A write in progress. An abandoned write counts as a failed write.
pub(in crate::controller) struct OwnWrite<'a> {
    context: &'a Context,
    /// The credential being reconciled; it is not requeued for its own write.
    key: Key,
    /// With the number of the call. `None` after the end of the write.
    secret: Option<(SecretName, u64)>,
}

impl Context {
    /// Registers a credential's write to a Secret in its namespace.
    pub(in crate::controller) fn own_write(
        &self,
        credential: &Credential,
        secret: &str,
    ) -> OwnWrite<'_> {
        self.own_write_of(&credential.key(), secret)
    }

    /// The same for a credential whose spec may be unusable.
    pub(in crate::controller) fn own_write_of(&self, key: &Key, secret: &str) -> OwnWrite<'_> {
        let secret = (key.namespace.clone(), secret.to_owned());
        let number = lock(&self.secrets).call_begins(&secret);
        OwnWrite {
            context: self,
            key: key.clone(),
            secret: Some((secret, number)),
        }
    }
}

impl OwnWrite<'_> {
    /// Records the response: decisions use it immediately, the watch must deliver it in time, and other credentials that read
    /// the Secret are requeued.
    pub(in crate::controller) fn done(mut self, meta: &ObjectMeta) {
        self.end(Some(meta));
    }

    fn end(&mut self, made: Option<&ObjectMeta>) {
        let Some((secret, number)) = self.secret.take() else {
            return;
        };
        let version = made.and_then(|meta| meta.resource_version.as_ref());
        let mut secrets = lock(&self.context.secrets);
        let now = self.context.clock.now();
        let ended = secrets.write_ends(&secret, number, made, now);
        // If the watch was faster, nothing is outstanding. The lock prevents the watch from delivering it between the check and the record.
        if let (true, Some(version)) = (ended.owed, version) {
            self.context
                .health
                .wrote("secrets", &secret, version, crate::clock::steady());
        }
        drop(secrets);
        self.context.verify_doubtful();
        let shown = ended.shown;
        if version.is_none() && shown.is_none() {
            return;
        }
        self.context.clients.check_source(&secret);
        let own = shown.is_none() || shown.as_ref() == version;
        for key in lock(&self.context.index).of_secret(&secret) {
            if !(own && key == self.key) {
                self.context.triggers.send(&key);
            }
        }
    }
}

impl Drop for OwnWrite<'_> {
    fn drop(&mut self) {
        self.end(None);
    }
}
