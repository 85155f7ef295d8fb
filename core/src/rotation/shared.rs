//! Values that are also stored in another place: another Secret has a copy, or the client resource named another Secret or key before. They may
//! be in use there, so they are not removed at the issuer.

use super::{
    memory::later,
    next::Decision,
    observed::{Key, Same, is_named, number},
    state::{Record, RemovalSource, Stored, ValueRecord},
    step::{Notice, Step},
};

/// A value of another Secret of the cluster, for the same client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InOther {
    /// Name of the Secret. None: it is in another namespace, whose names are not shown here.
    pub secret: Option<String>,
    /// The value.
    pub value: Stored,
}

/// Where a value is also stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Also {
    /// In this Secret of the namespace.
    Secret(String),
    /// In a Secret of another namespace.
    OtherNamespace,
    /// Under other keys of the same Secret. A client secret is compared by its first characters, so it may be another one.
    OtherKeys,
}

impl InOther {
    /// Whether it is this value. Digests are computed with a key of the operator, so a user without the value cannot write a matching one. A key ID
    /// is not secret: in another namespace it proves nothing, because a user there could prevent the removal of a stolen credential.
    fn is(&self, known: &ValueRecord) -> bool {
        let same_value = !known.digest.is_empty() && self.value.digest == known.digest;
        let same_id = known.id.is_some() && self.value.id == known.id;
        same_value || self.secret.is_some() && same_id
    }

    fn place(&self) -> Also {
        self.secret
            .clone()
            .map_or(Also::OtherNamespace, Also::Secret)
    }
}

impl Decision<'_> {
    /// Where credentials use this value, although a rotation replaced it here or gave it up: another Secret has it as its current or next value.
    pub(super) fn used_at_other(&self, known: &ValueRecord) -> Option<Also> {
        let mut others = self.seen.in_others.iter();
        let found = others.find(|other| !other.value.replaced && other.is(known));
        let slots = &self.seen.slots;
        let held = slots.with(&known.digest);
        let is_copied = slots.may_be_copied(|mark| held.is_some_and(|slot| slot.mark == *mark));
        found
            .map(InOther::place)
            .or_else(|| is_copied.then_some(Also::OtherKeys))
    }

    /// Where a credential of the issuer is stored that is not a value of this rotation.
    pub(super) fn is_also_at(&self, key: &Key) -> Option<Also> {
        let n = number(key, &self.seen.names);
        let id = Some(&key.id);
        let is_noted = |value: &Stored| match &value.id {
            Some(noted) => Some(noted) == id,
            None => value.n.is_some() && value.n == n,
        };
        let mut known = self.record.all().chain(&self.record.spared);
        let known = known.find(|known| known.id.as_ref() == id);
        let mut others = self.seen.in_others.iter();
        let found = others.find(|other| {
            other.secret.is_some() && is_noted(&other.value)
                || known.is_some_and(|known| other.is(known))
        });
        let slots = &self.seen.slots;
        let is_copied = slots.may_be_copied(|mark| key.has(mark) != Same::No);
        found
            .map(InOther::place)
            .or_else(|| is_copied.then_some(Also::OtherKeys))
    }

    /// Its number, if apicred created it: by its name, or because it was in this Secret. A public key has no name.
    pub(super) fn made(&self, key: &Key) -> Option<u32> {
        if is_named(key) {
            return number(key, &self.seen.names);
        }
        let mut spared = self.record.spared.iter();
        spared.find(|known| known.id.as_ref() == Some(&key.id))?.n
    }

    /// Whether a credential that is about to be removed was left under other keys or in another Secret meanwhile.
    pub(super) fn was_left(&self, known: &ValueRecord) -> bool {
        let slots = &self.seen.slots;
        let mut held = [&slots.next, &slots.previous].into_iter().flatten();
        let listed = known.id.as_ref().and_then(|id| self.listed(id));
        held.all(|slot| slot.digest != known.digest)
            && listed.is_some_and(|key| self.is_also_at(key).is_some())
    }

    /// Waits with a removal until all Secrets are listed: one that is not listed yet may use the credential. Lists arrive within seconds. If
    /// they do not, this is reported, and the next rotation does not wait.
    pub(super) fn until_listed(&self, from: RemovalSource, notices: &mut Vec<Notice>) -> Step {
        let settles = self.settings.pace.settles;
        if let Some(until) = self.ahead(later(self.memory.started, settles), settles) {
            return Step::wait_until(until);
        }
        notices.push(Notice::OthersUnlisted);
        let other = self.instead(from, notices);
        other.unwrap_or_else(|| self.wait(self.settings.pace.again))
    }

    /// Whether another Secret of the namespace has a value for this client. Only a reading shows whether the issuer still lists it.
    pub(super) fn has_others(&self) -> bool {
        self.seen
            .in_others
            .iter()
            .any(|other| other.secret.is_some())
    }

    /// Reports the credentials of apicred that are stored in other places.
    pub(super) fn left_in_others(&self, notices: &mut Vec<Notice>) {
        let keys = self.memory.last_read.iter().flat_map(|a| &a.keys);
        let is_left = |key: &&Key| !self.is_in_use(key) && !self.is_removed(key);
        let keys = keys.filter(|key| self.made(key).is_some() && is_left(key));
        let valid = keys.filter(|key| key.until.is_none_or(|until| until > self.now));
        notices.extend(valid.filter_map(|key| {
            let place = self.is_also_at(key)?;
            let id = Some(key.id.clone());
            Some(Notice::AlsoStored { id, place })
        }));
    }
}

/// Maximum number of values that are stored because another Secret uses them.
const MOST_SPARED: usize = 4;

impl Record {
    /// Records a value that is taken out of the Secret while another one uses it: the issuer has no digest by which it could be found later.
    pub(super) fn spares(&mut self, known: &ValueRecord) {
        if known.id.is_none()
            || known.n.is_none()
            || self.all().any(|held| held.digest == known.digest)
        {
            return;
        }
        self.spared.retain(|noted| noted.id != known.id);
        self.spared.push(known.clone());
        let surplus = self.spared.len().saturating_sub(MOST_SPARED);
        self.spared.drain(..surplus);
    }
}

/// The message of [`Notice::OthersUnlisted`].
pub(super) const UNLISTED: &str = "a credential that a rotation replaced is not removed yet: apicred could not list the Secrets of every namespace that it watches, and one of them may use it; let the operator list them, its log names the namespaces";

/// The message of [`Notice::AlsoStored`].
pub(super) fn also_stored(id: Option<&str>, place: &Also) -> String {
    let which = id.map_or_else(
        || "the credential before this one".to_owned(),
        |id| format!("credential {id}"),
    );
    let (stored, then) = match place {
        Also::Secret(name) => (
            format!("is also in Secret {name}"),
            format!(", then delete Secret {name} or its annotation apicred.dev/rotation"),
        ),
        Also::OtherNamespace => (
            "is also in a Secret of another namespace".to_owned(),
            String::new(),
        ),
        Also::OtherKeys => (
            "is, or may be, also under other keys of the Secret".to_owned(),
            ", then remove these keys".to_owned(),
        ),
    };
    format!(
        "{which} {stored}, so apicred does not remove it, and it stays valid at the issuer; if it is not in use, remove it there{then}"
    )
}
