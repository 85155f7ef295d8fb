//! Who is served next at one issuer. Pure.
//!
//! Those who press (no valid token, or one that ends within minutes) go before those who renew in good time, and within
//! either the namespaces take turns, so that thousands of one namespace keep nobody of another waiting. Within a
//! namespace: no token first, then the soonest to expire, then first come. Who has failed twice in a row presses no more:
//! a new credential never waits behind broken ones.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

use jiff::{SignedDuration, Timestamp};

/// A token that ends this soon presses.
const PRESSING: SignedDuration = SignedDuration::from_mins(5);
/// So many failures in a row, and it presses no more.
const BROKEN: u32 = 2;

/// Place in the line of a namespace, most urgent first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Urgency {
    /// Renews in good time, or is broken.
    patient: bool,
    /// End of the token; none is the least.
    end: i64,
    failures: u32,
}

impl Urgency {
    /// By the end of the token in the Secret, if there is one, and the failures in a row.
    pub fn new(expires_at: Option<Timestamp>, failures: u32, now: Timestamp) -> Self {
        let valid = expires_at.filter(|end| *end > now);
        let soon = valid.is_none_or(|end| end.duration_since(now) < PRESSING);
        Self {
            patient: !soon || failures >= BROKEN,
            end: valid.map_or(i64::MIN, Timestamp::as_second),
            failures,
        }
    }
}

/// A map that a crowd has left gives its room back: a place costs as much empty as taken.
pub(crate) fn give_room_back<K: Eq + Hash, V>(map: &mut HashMap<K, V>) {
    if map.capacity() > 256 && map.len() * 8 < map.capacity() {
        map.shrink_to(map.len() * 2);
    }
}

/// A line. `K` names a credential.
#[derive(Debug)]
pub(super) struct Line<K> {
    places: HashMap<K, (Urgency, u64, String)>,
    /// Those who press, and those who do not.
    classes: [Class<K>; 2],
    next_place: u64,
}

#[derive(Debug)]
struct Class<K> {
    groups: HashMap<String, Group<K>>,
    /// Whose turn it is: turn, order of arrival, group.
    turns: BTreeSet<(u64, u64, String)>,
    /// The turn that was served last.
    now: u64,
}

#[derive(Debug)]
struct Group<K> {
    queue: BTreeSet<(Urgency, u64, K)>,
    turn: (u64, u64),
}

impl<K: Clone + Eq + Hash + Ord> Line<K> {
    pub(super) fn new() -> Self {
        let class = || Class {
            groups: HashMap::new(),
            turns: BTreeSet::new(),
            now: 0,
        };
        Self {
            places: HashMap::new(),
            classes: [class(), class()],
            next_place: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Takes a place, or a more urgent one: who was there before keeps the time of arrival.
    pub(super) fn stand(&mut self, key: &K, group: &str, urgency: Urgency) {
        let old = self.places.get(key).cloned();
        if old
            .as_ref()
            .is_some_and(|(u, _, g)| *u == urgency && g == group)
        {
            return;
        }
        let place = old.as_ref().map_or_else(
            || {
                self.next_place += 1;
                self.next_place
            },
            |(_, place, _)| *place,
        );
        let home = (urgency, place, group.to_owned());
        self.places.insert(key.clone(), home);
        // In before out: a namespace that has nobody in line for a moment would lose its turn.
        self.class(urgency)
            .stand(group, (urgency, place, key.clone()));
        if let Some((urgency, place, group)) = old {
            self.class(urgency)
                .leave(&group, &(urgency, place, key.clone()));
        }
    }

    /// Leaves.
    pub(super) fn leave(&mut self, key: &K) {
        if let Some((urgency, place, group)) = self.places.remove(key) {
            give_room_back(&mut self.places);
            self.class(urgency)
                .leave(&group, &(urgency, place, key.clone()));
        }
    }

    /// The next to be served.
    pub(super) fn pop(&mut self) -> Option<K> {
        self.pop_where(|_| true)
    }

    /// The next of those who may. Of each namespace only the first is asked about.
    pub(super) fn pop_where(&mut self, may: impl Fn(&K) -> bool) -> Option<K> {
        let key = self.classes.iter_mut().find_map(|c| c.pop(&may))?;
        self.places.remove(&key);
        give_room_back(&mut self.places);
        Some(key)
    }

    /// Everybody, and the line is empty.
    pub(super) fn drain(&mut self) -> Vec<K> {
        std::iter::from_fn(|| self.pop()).collect()
    }

    fn class(&mut self, urgency: Urgency) -> &mut Class<K> {
        &mut self.classes[usize::from(urgency.patient)]
    }
}

impl<K: Clone + Ord> Class<K> {
    fn stand(&mut self, group: &str, place: (Urgency, u64, K)) {
        if let Some(there) = self.groups.get_mut(group) {
            there.queue.insert(place);
            return;
        }
        // The next round, and not this one: who always has one waiting must not be served twice in it.
        let turn = (self.now + 1, place.1);
        self.turns.insert((turn.0, turn.1, group.to_owned()));
        let queue = BTreeSet::from([place]);
        self.groups.insert(group.to_owned(), Group { queue, turn });
    }

    fn leave(&mut self, group: &str, place: &(Urgency, u64, K)) {
        let Some(there) = self.groups.get_mut(group) else {
            return;
        };
        there.queue.remove(place);
        if there.queue.is_empty() {
            let (turn, order) = there.turn;
            self.turns.remove(&(turn, order, group.to_owned()));
            self.groups.remove(group);
        }
    }

    fn pop(&mut self, may: impl Fn(&K) -> bool) -> Option<K> {
        let first = |group: &str| self.groups.get(group).and_then(|g| g.queue.first());
        let next = self
            .turns
            .iter()
            .find(|(_, _, group)| first(group).is_some_and(|(_, _, key)| may(key)));
        let (turn, order, group) = next.cloned()?;
        self.turns.remove(&(turn, order, group.clone()));
        self.now = self.now.max(turn);
        let there = self.groups.get_mut(&group)?;
        let (_, _, key) = there.queue.pop_first()?;
        if there.queue.is_empty() {
            self.groups.remove(&group);
        } else {
            // Who was passed over for want of room comes in this round.
            there.turn = (self.now + 1, order);
            self.turns.insert((self.now + 1, order, group));
        }
        Some(key)
    }
}
