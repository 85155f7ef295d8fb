//! Which pods are notified of a write of their Secret, and what is reported if this fails (`spec.target.notifyPods`).
//!
//! The kubelet updates a mounted file every 60 to 90 s, and at once if the pod itself changes. So each pod gets an annotation with the time of
//! the write. This module never calls the API server.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    Observed,
    schedule::{self, later_than},
    status::duration_text,
};
use crate::{
    Reason,
    api::names,
    credential::Credential,
    publish::{Record, rejection::ServerMessage},
};

/// Maximum number of pods of one credential that are notified of one write. A selector that matches more is reported.
pub const MOST_PODS: usize = 2000;
/// Maximum number of pods on one page of a list.
pub const PAGE: u32 = 500;
/// Pauses between passes over the pods after one write. The first pass is immediate. A pass that notified all pods is the last.
pub const PAUSES: [SignedDuration; 2] =
    [SignedDuration::from_secs(1), SignedDuration::from_secs(4)];
/// A failure is reported after this many writes in a row of which pods were not notified. A missing permission is reported at once.
const REPORTED: u32 = 3;
/// While a failure is reported, the last write is tried again after this time: first and longest pause, in seconds. It doubles in between.
/// apicred is not informed when a permission is granted or a policy has changed.
const AGAIN: (i64, i64) = (30, 600);

/// A pod by its metadata.
#[derive(Clone, Copy, Debug)]
pub struct Pod<'a> {
    /// It is being deleted.
    pub ending: bool,
    /// The value of its annotation.
    pub noted: Option<&'a str>,
}

/// Whether this pod must be notified of the write at `written`. Not if it is being deleted, or its annotation has this time or a later one. A
/// time in the future was written before the clock was set back, or by another writer.
pub fn is_due(pod: Pod<'_>, written: Timestamp) -> bool {
    let noted: Option<Timestamp> = pod.noted.and_then(|text| text.parse().ok());
    let knows = noted.is_some_and(|noted| noted >= written && noted <= later_than(written));
    !pod.ending && !knows
}

/// The merge patch of a pod. The UID prevents a patch of another pod of this name.
pub fn patch(uid: &str, written: Timestamp) -> Value {
    json!({ "metadata": {
        "uid": uid,
        "annotations": { names::TOKEN_UPDATED_AT: written.to_string() },
    } })
}

/// What this process knows of the notifications of one credential.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notified {
    /// The newest write that was passed to the notifier.
    pub written: Option<Timestamp>,
    /// Number of writes and attempts in a row after which not all pods were notified, and the last cause.
    pub failed: Option<(u32, NotifyError)>,
    /// When the last write is tried again because of a reported failure, and how often in a row.
    again: Option<(Timestamp, u32)>,
    /// An attempt is in progress.
    trying: bool,
}

impl Notified {
    /// Records that this write is being passed to the notifier.
    pub const fn handed(&mut self, written: Timestamp) {
        self.written = Some(written);
        self.trying = true;
    }

    /// Records the result for one write. Returns true if the credential must be reconciled: what is reported changes, or the write is tried
    /// again later.
    pub fn ended(&mut self, result: Result<(), NotifyError>, now: Timestamp) -> bool {
        let before = self.reported().cloned();
        self.failed = result.err().map(|error| {
            let count = self.failed.take().map_or(0, |(count, _)| count);
            (count.saturating_add(1), error)
        });
        let (first, longest) = AGAIN;
        let tries = self.again.map_or(0, |(_, tries)| tries);
        let wait = SignedDuration::from_secs((first << tries.min(10)).min(longest));
        let again = (
            now.saturating_add(wait).unwrap_or(Timestamp::MAX),
            tries.saturating_add(1),
        );
        self.again = self.reported().is_some().then_some(again);
        self.trying = false;
        self.again.is_some() || before.as_ref() != self.reported()
    }

    /// When the last write is tried again.
    fn again(&self) -> Option<Timestamp> {
        self.again.filter(|_| !self.trying).map(|(at, _)| at)
    }

    /// What is reported, if anything.
    pub fn reported(&self) -> Option<&NotifyError> {
        let (count, error) = self.failed.as_ref()?;
        (*count >= REPORTED || error.lasts()).then_some(error)
    }
}

/// Why not all pods were notified.
#[derive(Clone, Debug, PartialEq)]
pub enum NotifyError {
    /// The role of the operator does not allow this verb on pods here.
    Forbidden(&'static str),
    /// The selector matches more pods than are notified.
    TooMany,
    /// The API server refuses the list or the patch of a pod. Contains its message.
    Refused(String),
    /// The API server did not answer in time, or answered that it is busy.
    Unavailable,
}

impl NotifyError {
    /// Why a call of this verb failed, according to the answer.
    pub fn of(verb: &'static str, server_message: &ServerMessage) -> Self {
        if server_message.is_rights() {
            return Self::Forbidden(verb);
        }
        server_message
            .fault()
            .map_or(Self::Unavailable, Self::Refused)
    }

    /// Whether it lasts until a user changes something.
    pub const fn lasts(&self) -> bool {
        matches!(self, Self::Forbidden(_) | Self::TooMany)
    }
}

/// The names in the command that grants the operator permissions on the pods of a namespace.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rights {
    /// The `ClusterRole` of the chart; empty if it was not installed.
    pub role: String,
    /// `NAMESPACE:NAME` of the operator's `ServiceAccount`.
    pub account: String,
}

impl Observed {
    /// What readers of this credential's token can rely on at present. While pods cannot be notified, only the kubelet updates their files.
    pub fn promise(&self, credential: &Credential) -> schedule::Promise {
        let failing = self.memory.notified.as_ref().and_then(Notified::reported);
        let failing = failing.is_some_and(|error| *error != NotifyError::TooMany);
        schedule::Promise {
            minimum: credential.min_lifetime,
            notified: credential.target.notify_pods.is_some() && !failing,
        }
    }

    /// The write of which the pods must still be notified. A process that has just started does not know whether the previous one did it. The
    /// files already have an older write; it is tried again because only a success ends what is reported.
    pub fn to_notify(&self, credential: &Credential, now: Timestamp) -> Option<Timestamp> {
        credential.target.notify_pods.as_ref()?;
        let written = self.valid(credential, now)?.issued_at;
        let notified = self.memory.notified.as_ref();
        let known = notified.and_then(|n| n.written);
        if notified
            .and_then(Notified::again)
            .is_some_and(|at| at <= now)
        {
            return known;
        }
        let recent = now.duration_since(written) < schedule::MOUNT_DELAY;
        (recent && written <= later_than(now) && known.is_none_or(|known| known < written))
            .then_some(written)
    }

    /// When pods are notified again, because otherwise the report would not end.
    pub(super) fn notifies_again(
        &self,
        credential: &Credential,
        now: Timestamp,
    ) -> Option<Timestamp> {
        credential.target.notify_pods.as_ref()?;
        self.valid(credential, now)?;
        // If it is due, it is already in progress.
        let again = self.memory.notified.as_ref()?.again();
        again.filter(|at| *at > now)
    }

    /// What is reported about failed notifications.
    pub(super) fn not_notified(&self, credential: &Credential) -> Option<(Reason, String)> {
        credential.target.notify_pods.as_ref()?;
        let error = self.memory.notified.as_ref()?.reported()?;
        let namespace = &credential.namespace;
        let so = "so their files are updated up to 90 s later";
        Some((
            Reason::PodsNotNotified,
            match error {
                NotifyError::Forbidden(verb) => {
                    let allow = allow(&self.notify_rights, namespace);
                    format!(
                        "apicred may not {verb} pods in namespace {namespace} (spec.target.notifyPods), {so}; {allow}"
                    )
                }
                NotifyError::TooMany => format!(
                    "spec.target.notifyPods selects more than {MOST_PODS} pods in namespace {namespace}, and the others are updated up to 90 s later; select only the pods that mount Secret {}",
                    credential.target.name
                ),
                NotifyError::Refused(server_message) => format!(
                    "pods in namespace {namespace} cannot be notified ({server_message}), {so}; correct spec.target.notifyPods, or ask an administrator to allow the annotation {}",
                    names::TOKEN_UPDATED_AT
                ),
                NotifyError::Unavailable => format!(
                    "the API server did not answer while pods in namespace {namespace} were notified, {so}; apicred tries again within 10 minutes"
                ),
            },
        ))
    }
}

/// The next step of the namespace's owner. If the chart's role is not installed, it is not named.
fn allow(rights: &Rights, namespace: &str) -> String {
    let Rights { role, account } = rights;
    if role.is_empty() {
        return format!(
            "ask an administrator for the ClusterRole and the policy of the chart (rbac.create and notifyPods.create), or for the right to list and patch pods in this namespace for ServiceAccount {account}"
        );
    }
    format!(
        "allow it: kubectl create rolebinding {role} --namespace {namespace} --clusterrole={role} --serviceaccount={account}"
    )
}

/// The message for a lifetime that is too short for readers, and the possible fixes.
pub(super) fn too_short(
    credential: &Credential,
    promise: schedule::Promise,
    record: &Record,
) -> Option<(Reason, String)> {
    let lifetime = record.expires_at.duration_since(record.issued_at);
    if promise.is_served(lifetime) {
        return None;
    }
    let what = if record.is_limited() {
        let keys = credential.target.keys.iter();
        let fields: Vec<&str> = keys.filter_map(|key| key.field.as_deref()).collect();
        format!(
            "lifetime of a field of the answer ({} in spec.target.keys)",
            fields.join(", ")
        )
    } else {
        "token lifetime".to_owned()
    };
    let notifying = schedule::Promise {
        notified: true,
        ..promise
    };
    let mut message = if promise.minimum.is_none() && !promise.notified {
        format!(
            "the {what} {} is too short for mounted files: the kubelet needs up to 90 s to update them, so workloads read expired tokens",
            duration_text(lifetime)
        )
    } else {
        format!(
            "the {what} {} is too short for minLifetime {} and {} of Secret propagation",
            duration_text(lifetime),
            duration_text(promise.min_lifetime(lifetime)),
            duration_text(promise.delay())
        )
    };
    message.push_str("; configure a longer lifetime at the issuer");
    if promise.minimum.is_some() {
        message.push_str(", or lower spec.minLifetime");
    }
    if !promise.notified && notifying.allows_minimum(lifetime) {
        message.push_str(", or set spec.target.notifyPods, which brings a new token into the files within seconds");
    }
    Some((Reason::LifetimeTooShort, message))
}
