//! What status, log and events report about a rotation.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use jiff::Timestamp;
use tokio::{sync::Notify, task::AbortHandle};

use crate::controller::locks::lock;
use crate::{
    api::ClientKey,
    credential::Key,
    plan::conditions::time,
    rotation::{Changed, Mark, Next, Notice, Shown},
};

/// The content of a report.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::controller) struct View {
    pub(super) keys: Vec<ClientKey>,
    pub(super) state: Option<&'static str>,
    pub(super) rotates_at: Option<Timestamp>,
    pub(super) handled: Option<String>,
    /// The request that failed.
    pub(super) failed_request: Option<String>,
    /// Set if a rotation is due and has not started.
    pub(super) due: Option<String>,
    /// Set if a user must act, or the issuer must respond.
    pub(super) blocked: Option<String>,
    pub(super) failed: Option<String>,
    /// What a rotation replaced and does not remove. Nothing waits for it.
    pub(super) left: Option<String>,
    /// This process has not observed the rotation yet: the observations of the previous process are retained in the status.
    pub(super) initial: bool,
}

impl View {
    /// The view before the first reconcile of this process.
    pub(super) fn initial() -> Self {
        Self {
            initial: true,
            ..Self::default()
        }
    }

    /// The same keys and state as before, and that nothing can be done.
    pub(super) fn blocked(mut self, why: String) -> Self {
        self.blocked = Some(why);
        self
    }

    /// Adds a further message if there is one.
    pub(super) fn also(mut self, more: Option<String>) -> Self {
        self.blocked = match (self.blocked, more) {
            (Some(why), Some(more)) if !why.contains(&more) => Some(format!("{why}; {more}")),
            (why, more) => why.or(more),
        };
        self
    }

    pub(super) fn of(next: &Next) -> Self {
        let mut view = Self {
            keys: next.keys.iter().map(shown).collect(),
            state: Some(next.record.state.as_str()),
            rotates_at: next.rotates_at.filter(|at| *at > Timestamp::MIN),
            handled: next.record.handled.clone(),
            failed_request: next
                .record
                .failure
                .as_ref()
                .and_then(|f| f.requested.clone()),
            ..Self::default()
        };
        let (mut blocked, mut left) = (Vec::new(), Vec::new());
        for notice in &next.notices {
            match notice {
                Notice::Due | Notice::Requested { .. } | Notice::Crowded { .. } => {
                    view.due = Some(notice.message());
                }
                Notice::NoToken { .. } if !notice.needs_user() => {
                    view.due = Some(notice.message());
                }
                Notice::Failed(failure) => view.failed = Some(failure.message()),
                Notice::Foreign { .. }
                | Notice::OfAnother { .. }
                | Notice::OfEarlier { .. }
                | Notice::AlsoStored { .. }
                | Notice::Elsewhere {
                    changed: Changed::Maker,
                    ..
                } => {
                    left.push(notice.message());
                }
                other => blocked.push(other.message()),
            }
        }
        let joined = |all: Vec<String>| (!all.is_empty()).then(|| all.join("; "));
        (view.blocked, view.left) = (joined(blocked), joined(left));
        view
    }
}

fn shown(key: &Shown) -> ClientKey {
    let (hint, thumbprint) = match &key.mark {
        Mark::Hint(hint) => (Some(hint.clone()), None),
        Mark::Certificate { sha1, .. } => (None, Some(sha1.to_uppercase())),
        Mark::Key(thumbprint) => (None, Some(thumbprint.clone())),
    };
    ClientKey {
        state: key.slot.to_owned(),
        key_id: key.id.clone(),
        hint,
        thumbprint,
        not_after: key.until.map(time),
    }
}

/// The state that the driver of one rotation shares with other tasks.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) changed: Notify,
    /// `None` before the first reconcile.
    pub(super) view: Mutex<Option<View>>,
}

struct Running {
    uid: String,
    shared: Arc<Shared>,
    task: AbortHandle,
}

/// The rotations that this process drives.
#[derive(Default)]
pub(in crate::controller) struct Rotations(Mutex<HashMap<Key, Running>>);

impl Rotations {
    /// The rotation of this object. `begin` starts it if it is not running. Its observations may have changed.
    pub(super) fn attend(
        &self,
        key: &Key,
        uid: &str,
        begin: impl FnOnce(Arc<Shared>) -> AbortHandle,
    ) -> Option<View> {
        let mut all = lock(&self.0);
        if let Some(running) = all
            .get(key)
            .filter(|r| r.uid == uid && !r.task.is_finished())
        {
            running.shared.changed.notify_one();
            return lock(&running.shared.view).clone();
        }
        let shared = Arc::<Shared>::default();
        let running = Running {
            uid: uid.to_owned(),
            task: begin(Arc::clone(&shared)),
            shared,
        };
        // The previous driver finishes a step that is in progress: no other process stores the response.
        if let Some(old) = all.insert(key.clone(), running) {
            old.shared.changed.notify_one();
        }
        None
    }

    /// Whether this is the driver of this object. A rotation that was stopped and started again has another driver.
    pub(super) fn has(&self, key: &Key, shared: &Arc<Shared>) -> bool {
        let all = lock(&self.0);
        all.get(key)
            .is_some_and(|running| Arc::ptr_eq(&running.shared, shared))
    }

    /// The object was deleted or is no longer rotated. A driver with a step in progress ends after the step.
    pub(super) fn stop(&self, key: &Key) {
        if let Some(running) = lock(&self.0).remove(key) {
            running.shared.changed.notify_one();
        }
    }

    /// The number of rotations.
    pub(in crate::controller) fn len(&self) -> usize {
        lock(&self.0).len()
    }
}
