//! Who is served next at one issuer. Pure.
//!
//! There are three classes: who presses (no valid token, or a minimum lifetime that breaks within minutes), who renews in
//! good time, and who has failed twice in a row. Each class has a share of all turns, and what it does not use goes to the
//! others, so that none of them starves. Within a class the namespaces take turns: thousands of one namespace keep nobody
//! of another waiting. Within a namespace the one whose minimum lifetime breaks first is served first.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{BuildHasher, Hash},
};

use jiff::{SignedDuration, Timestamp};

/// A credential presses if its minimum lifetime breaks this soon.
const PRESSING: SignedDuration = SignedDuration::from_mins(5);
/// A credential without a token counts as one whose minimum lifetime broke so long ago.
const WITHOUT: SignedDuration = SignedDuration::from_mins(10);
/// So many failures in a row, and it presses no more: a new credential never waits behind broken ones.
const BROKEN: u32 = 2;
/// Whose turn it is, in eight turns.
const TURNS: [Class; 8] = [
    Class::Pressing,
    Class::Pressing,
    Class::InTime,
    Class::Pressing,
    Class::Pressing,
    Class::InTime,
    Class::Pressing,
    Class::Broken,
];

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Class {
    Pressing,
    InTime,
    Broken,
}

/// Place in the queue of a namespace, most urgent first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Urgency {
    class: Class,
    /// When the minimum lifetime breaks, in seconds.
    breaks: i64,
    failures: u32,
}

impl Urgency {
    /// By the end of the token in the Secret, if there is one; by the time before it at which a new one must be there, which
    /// is the minimum lifetime and the delay until a workload sees it; and by the failures in a row.
    pub fn new(
        expires_at: Option<Timestamp>,
        before: SignedDuration,
        failures: u32,
        now: Timestamp,
    ) -> Self {
        let left = |end: Timestamp| end.duration_since(now).saturating_sub(before);
        let valid = expires_at.filter(|end| *end > now);
        let left = valid.map_or(-WITHOUT, left);
        Self {
            class: if failures >= BROKEN {
                Class::Broken
            } else if left < PRESSING {
                Class::Pressing
            } else {
                Class::InTime
            },
            breaks: now.as_second().saturating_add(left.as_secs()),
            failures,
        }
    }
}

impl Urgency {
    /// Of a request that is not for a token of a credential: it counts like a renewal in good time.
    pub fn in_an_hour(now: Timestamp) -> Self {
        let later = now.saturating_add(SignedDuration::from_hours(1));
        Self::new(later.ok(), SignedDuration::ZERO, 0, now)
    }
}

/// A map that a crowd has left gives its room back: a place costs as much empty as taken.
pub fn give_room_back<K: Eq + Hash, V, S: BuildHasher>(map: &mut HashMap<K, V, S>) {
    if map.capacity() > 256 && map.len() * 8 < map.capacity() {
        map.shrink_to(map.len() * 2);
    }
}

/// A queue. `K` names a credential.
#[derive(Debug)]
pub(super) struct Queue<K> {
    places: HashMap<K, (Urgency, u64, String)>,
    /// By [`Class`].
    classes: [ClassQueue<K>; 3],
    next_place: u64,
    /// Position in [`TURNS`].
    turn: usize,
}

/// The credentials of one class.
#[derive(Debug)]
struct ClassQueue<K> {
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

impl<K: Clone + Eq + Hash + Ord> Queue<K> {
    pub(super) fn new() -> Self {
        let queue = || ClassQueue {
            groups: HashMap::new(),
            turns: BTreeSet::new(),
            now: 0,
        };
        Self {
            places: HashMap::new(),
            classes: [queue(), queue(), queue()],
            next_place: 0,
            turn: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Does anybody press?
    pub(super) fn presses(&self) -> bool {
        !self.classes[0].groups.is_empty()
    }

    /// Adds an entry, or makes it more urgent. An entry that was there before keeps its time of arrival.
    pub(super) fn push(&mut self, key: &K, group: &str, urgency: Urgency) {
        let old = self.places.get(key).cloned();
        // An entry without a token counts from its first request, so a repeated request does not lose the place.
        let stays = |(u, _, g): &(Urgency, u64, String)| {
            u.class == urgency.class && *u <= urgency && g == group
        };
        if old.as_ref().is_some_and(stays) {
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
        // In before out: a namespace that has nobody in the queue for a moment would lose its turn.
        self.class(urgency)
            .push(group, (urgency, place, key.clone()));
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

    /// The next of those who may: by namespace, and then one by one.
    pub(super) fn pop(
        &mut self,
        group_may: impl Fn(&str) -> bool,
        may: impl Fn(&K) -> bool,
    ) -> Option<K> {
        let first = TURNS[self.turn % TURNS.len()] as usize;
        let mut others = (0..self.classes.len()).filter(|class| *class != first);
        let key = self.classes[first]
            .pop(&group_may, &may)
            .or_else(|| others.find_map(|class| self.classes[class].pop(&group_may, &may)))?;
        self.turn += 1;
        self.places.remove(&key);
        give_room_back(&mut self.places);
        Some(key)
    }

    fn class(&mut self, urgency: Urgency) -> &mut ClassQueue<K> {
        &mut self.classes[urgency.class as usize]
    }
}

impl<K: Clone + Ord> ClassQueue<K> {
    fn push(&mut self, group: &str, place: (Urgency, u64, K)) {
        if let Some(there) = self.groups.get_mut(group) {
            there.queue.insert(place);
            return;
        }
        // It is served in the next round: a group that always has an entry waiting must not be served twice in one.
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

    fn pop(&mut self, group_may: &impl Fn(&str) -> bool, may: &impl Fn(&K) -> bool) -> Option<K> {
        let (turn, place) = self
            .turns
            .iter()
            .filter(|(_, _, group)| group_may(group))
            .find_map(|turn| {
                let queue = &self.groups.get(&turn.2)?.queue;
                let place = queue.iter().find(|(_, _, key)| may(key))?;
                Some((turn.clone(), place.clone()))
            })?;
        self.turns.remove(&turn);
        let (turn, order, group) = turn;
        self.now = self.now.max(turn);
        let there = self.groups.get_mut(&group)?;
        there.queue.remove(&place);
        if there.queue.is_empty() {
            self.groups.remove(&group);
        } else {
            // Who was passed over for want of room comes in this round.
            there.turn = (self.now + 1, order);
            self.turns.insert((self.now + 1, order, group));
        }
        Some(place.2)
    }
}
