//! Whose a credential of the issuer is: of this client resource, of another one, of a user; in use, or lost.

use super::{
    next::Decision,
    observed::{Key, Same, is_named, maker, number},
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
        let own = |key: &Key| number(key, &self.seen.names).is_some();
        let listed = self.listed(id);
        listed.is_some_and(|key| is_named(key) && !own(key) && !self.is_of_earlier(key))
    }

    /// Did a client resource make it that rotated this Secret before, for the same client? It was deleted and created again, as far as one
    /// can tell. The Secret may also be a copy, and the other one may go on elsewhere: so it is not removed unless somebody names it.
    pub(super) fn is_of_earlier(&self, key: &Key) -> bool {
        let maker = key.name.as_deref().and_then(maker);
        maker.is_some_and(|(uid, _)| {
            let noted = self.record.makers.iter().any(|noted| noted == uid);
            noted && uid != self.seen.names.uid()
        })
    }

    /// What an earlier client resource made, and what is in no Secret as far as one can tell. Replicas lag behind a removal.
    fn is_left_by_earlier(&self, key: &Key) -> bool {
        let gone = self.memory.gone.as_ref() == Some(&key.id);
        self.is_of_earlier(key) && !self.is_in_use(key) && !gone
    }

    pub(super) fn listed(&self, id: &str) -> Option<&Key> {
        let mut keys = self.memory.application.as_ref()?.keys.iter();
        keys.find(|key| key.id == id)
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

    /// Does `adopt` name it, and was it in the Secret before a rotation, or made by an earlier client resource for this Secret? One that was
    /// never in it may be in use elsewhere.
    pub(super) fn was_replaced(&self, key: &Key) -> bool {
        let noted = self.record.replaced.contains(&key.id) && !is_named(key);
        let named = self.settings.adopt.as_ref() == Some(&key.id);
        named && ((noted && !self.is_in_use(key)) || self.is_left_by_earlier(key))
    }

    /// Credentials that were replaced and that apicred did not make, and those of an earlier client resource, that are at the issuer.
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
        let earlier = application.into_iter().flat_map(|a| &a.keys);
        let earlier = earlier.filter(|key| self.is_left_by_earlier(key));
        let earlier = earlier.map(|key| &key.id).filter(|id| !goes(id));
        let ids = ids.filter(|id| self.listed(id).is_none_or(|key| !self.is_of_earlier(key)));
        let ids = ids.filter(|id| !goes(id) || self.is_of_another(id));
        let left = ids.filter(|id| !is_held(id) && is_there(id));
        let left = left.chain(earlier);
        let known = |id: &String| Known {
            id: Some(id.clone()),
            ..Known::default()
        };
        notices.extend(left.filter_map(|id| self.stays(&known(id))));
    }
}
