//! Who owns a credential of the issuer: this client resource, another one, or a user; and whether it is in use or lost.

use super::{
    next::Decision,
    observed::{Key, Same, is_named, maker, number},
    settings::Kind,
    state::ValueRecord,
    step::Notice,
};

impl Decision<'_> {
    /// Whether apicred created it and no other Secret uses it, or `adopt` names it. A Secret is copied with its annotation, so the other Secret
    /// may be that of another client resource.
    pub(super) fn is_ours(&self, known: &ValueRecord) -> bool {
        let named =
            |id: &String| self.settings.adopt.as_ref() == Some(id) && !self.is_of_another(id);
        let made = known.n.is_some() && self.used_at_other(known).is_none();
        made || known.id.as_ref().is_some_and(named)
    }

    /// Whether its name shows that another client resource created it. That one may still use it, so `adopt` cannot name it.
    pub(super) fn is_of_another(&self, id: &str) -> bool {
        let own = |key: &Key| number(key, &self.seen.names).is_some();
        let listed = self.listed(id);
        listed.is_some_and(|key| is_named(key) && !own(key) && !self.is_of_earlier(key))
    }

    /// Whether it was created by a client resource that rotated this Secret before, for the same client. Probably that resource was deleted and
    /// created again. But the Secret may also be a copy, and the other resource may still be in use elsewhere, so the credential is not removed
    /// unless `adopt` names it.
    pub(super) fn is_of_earlier(&self, key: &Key) -> bool {
        let maker = key.name.as_deref().and_then(maker);
        maker.is_some_and(|(uid, _)| {
            let noted = self.record.makers.iter().any(|noted| noted == uid);
            noted && uid != self.seen.names.uid()
        })
    }

    /// Whether an earlier client resource created it and it is probably in no Secret. Replicas lag behind a removal.
    fn is_left_by_earlier(&self, key: &Key) -> bool {
        self.is_of_earlier(key) && !self.is_in_use(key) && !self.is_removed(key)
    }

    /// Whether it was removed a short time ago, and is still listed.
    pub(super) fn is_removed(&self, key: &Key) -> bool {
        self.memory.is_gone(&key.id, self.now)
    }

    pub(super) fn listed(&self, id: &str) -> Option<&Key> {
        let mut keys = self.memory.last_read.as_ref()?.keys.iter();
        keys.find(|key| key.id == id)
    }

    /// Whether this credential of the issuer is one of ours, is probably in no Secret, and was not removed.
    pub(super) fn is_orphan(&self, key: &Key) -> bool {
        let is_ours = self.made(key).is_some() && !self.is_removed(key);
        is_ours && !self.is_in_use(key) && self.is_also_at(key).is_none()
    }

    /// Whether it is, or may be, the value of a slot.
    pub(super) fn is_in_use(&self, key: &Key) -> bool {
        let slots = [
            (&self.seen.slots.current, &self.facts.current),
            (&self.seen.slots.next, &self.facts.next),
            (&self.seen.slots.previous, &self.facts.previous),
        ];
        slots.into_iter().any(|(slot, known)| {
            let id = known.as_ref().and_then(|k| k.id.as_ref());
            match (slot, id) {
                (None, _) => false,
                // A certificate that was announced twice is listed twice.
                (Some(slot), Some(id)) => *id == key.id || key.is(slot) == Same::Yes,
                (Some(slot), None) => key.is(slot) != Same::No,
            }
        })
    }

    /// Whether it is certainly a value of the Secret, under any id.
    pub(super) fn is_listed_twice(&self, key: &Key) -> bool {
        self.seen.slots.all().any(|slot| key.is(slot) == Same::Yes)
    }

    /// Whether `adopt` names it, and it was in the Secret before a rotation, or an earlier client resource created it for this Secret. A
    /// credential that was never in the Secret, or is also stored in another place, may be in use there.
    pub(super) fn was_replaced(&self, key: &Key) -> bool {
        let noted = self.record.replaced.contains(&key.id) && !is_named(key);
        let named = self.settings.adopt.as_ref() == Some(&key.id);
        let left = noted && !self.is_in_use(key) || self.is_left_by_earlier(key);
        named && left && !self.is_removed(key) && self.is_also_at(key).is_none()
    }

    /// Reports credentials that were replaced and are still at the issuer: those that apicred did not create, and those of an earlier client
    /// resource.
    pub(super) fn replaced(&self, notices: &mut Vec<Notice>) {
        let application = self.memory.last_read.as_ref();
        let is_there = |id: &String| match application {
            Some(application) => application.keys.iter().any(|k| k.id == *id),
            // The application of a certificate may never be read.
            None => self.settings.kind != Kind::Certificate,
        };
        let is_held = |id: &String| self.facts.all().any(|k| k.id.as_ref() == Some(id));
        let ids = self.record.replaced.iter();
        let is_also_at = |id: &String| self.listed(id).and_then(|key| self.is_also_at(key));
        let goes =
            |id: &String| self.settings.adopt.as_ref() == Some(id) && is_also_at(id).is_none();
        let earlier = application.into_iter().flat_map(|a| &a.keys);
        let earlier = earlier.filter(|key| self.is_left_by_earlier(key));
        let earlier = earlier.map(|key| &key.id).filter(|id| !goes(id));
        let ids = ids.filter(|id| self.listed(id).is_none_or(|key| !self.is_of_earlier(key)));
        let ids = ids.filter(|id| !goes(id) || self.is_of_another(id));
        let left = ids.filter(|id| !is_held(id) && is_there(id));
        let left = left.chain(earlier);
        let known = |id: &String| ValueRecord {
            id: Some(id.clone()),
            ..ValueRecord::default()
        };
        notices.extend(left.filter_map(|id| self.stays(&known(id))));
    }
}
