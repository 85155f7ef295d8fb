//! Whose a credential of the issuer is: of this client resource, of another one, of a person; in use, or lost.

use super::{
    next::Decision,
    observed::{Key, Same, is_named, number},
    settings::Kind,
    state::Known,
    step::Notice,
};

impl Decision<'_> {
    /// Did apicred make it, or did somebody name it?
    pub(super) fn is_ours(&self, known: &Known) -> bool {
        let named =
            |id: &String| self.settings.adopt.as_ref() == Some(id) && !self.is_of_another(id);
        known.n.is_some() || known.id.as_ref().is_some_and(named)
    }

    /// Does its name say that another client resource made it? That one may still use it, so nobody may name it.
    pub(super) fn is_of_another(&self, id: &str) -> bool {
        let application = self.memory.application.as_ref();
        let mut keys = application.into_iter().flat_map(|a| &a.keys);
        keys.any(|key| key.id == id && is_named(key) && number(key, &self.seen.names).is_none())
    }

    /// Is this credential of the issuer one of ours that is in none of the values of the Secret, as far as one can tell?
    pub(super) fn is_orphan(&self, key: &Key) -> bool {
        number(key, &self.seen.names).is_some() && !self.is_in_use(key)
    }

    /// Is it the value of a slot, or may it be?
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
                // A certificate that was announced twice is there twice.
                (Some(slot), Some(id)) => *id == key.id || key.is(slot) == Same::Yes,
                (Some(slot), None) => key.is(slot) != Same::No,
            }
        })
    }

    /// Was it in the Secret before a rotation, and named in `adopt` only afterwards? One that was never in it may be in use elsewhere.
    pub(super) fn was_replaced(&self, key: &Key) -> bool {
        let noted = self.record.replaced.contains(&key.id);
        let named = self.settings.adopt.as_ref() == Some(&key.id) && !is_named(key);
        noted && named && !self.is_in_use(key)
    }

    /// Credentials that were replaced, that apicred did not make, and that are at the issuer.
    pub(super) fn replaced(&self, notices: &mut Vec<Notice>) {
        let application = self.memory.application.as_ref();
        let is_there = |id: &String| match application {
            Some(application) => application.keys.iter().any(|k| k.id == *id),
            // A certificate may never be read of.
            None => self.settings.kind != Kind::Certificate,
        };
        let is_held = |id: &String| self.facts.all().any(|k| k.id.as_ref() == Some(id));
        let ids = self.record.replaced.iter();
        let goes = |id: &String| self.settings.adopt.as_ref() == Some(id);
        let ids = ids.filter(|id| !goes(id) || self.is_of_another(id));
        let left = ids.filter(|id| !is_held(id) && is_there(id));
        notices.extend(left.map(|id| self.foreign(Some(id.clone()))));
    }

    /// What is to be said of a credential that stays.
    pub(super) fn foreign(&self, id: Option<String>) -> Notice {
        match id {
            Some(id) if self.is_of_another(&id) => Notice::OfAnother { id },
            id => Notice::Foreign { id },
        }
    }
}
