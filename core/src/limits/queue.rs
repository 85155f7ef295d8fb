//! The queue of one issuer. Pure.
//!
//! There are three classes: urgent renewals (no valid token, or a minimum lifetime that is violated within minutes), renewals
//! in good time, and credentials that have failed twice in a row. Each class has a share of all turns, and the other classes
//! get the turns that it does not use, so that none of them starves. Within a class the namespaces take turns: thousands of
//! credentials of one namespace do not delay those of another. Within a namespace the credential whose minimum lifetime is
//! violated first is served first.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{BuildHasher, Hash},
};

use jiff::{SignedDuration, Timestamp};

/// A renewal is urgent if the minimum lifetime is violated within this time.
const PRESSING: SignedDuration = SignedDuration::from_mins(5);
/// The minimum lifetime of a credential without a token counts as violated for this time.
const WITHOUT: SignedDuration = SignedDuration::from_mins(10);
/// A credential with this number of failures in a row is in [`Class::Broken`], which is served first in one of eight turns.
const BROKEN: u32 = 2;
/// The class that is served first, in a cycle of eight turns.
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

/// The position in the queue of a namespace, most urgent first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Urgency {
    class: Class,
    /// When the minimum lifetime is violated, in seconds.
    breaks: i64,
    failures: u32,
}

impl Urgency {
    /// `expires_at`: when the token in the Secret expires, if there is one. `before`: how long before that a new one must be
    /// in the Secret, which is the minimum lifetime and the delay until a workload sees it. `failures`: the failures in a row.
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
    /// For a request that is not for a token of a credential: it counts like a renewal in good time.
    pub fn in_an_hour(now: Timestamp) -> Self {
        let later = now.saturating_add(SignedDuration::from_hours(1));
        Self::new(later.ok(), SignedDuration::ZERO, 0, now)
    }
}

/// Shrinks a map that has become almost empty: an empty slot uses as much memory as a used one.
pub fn give_room_back<K: Eq + Hash, V, S: BuildHasher>(map: &mut HashMap<K, V, S>) {
    if map.capacity() > 256 && map.len() * 8 < map.capacity() {
        map.shrink_to(map.len() * 2);
    }
}

/// A queue. `K` identifies a credential.
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
    /// The order in which the namespaces are served: turn, order of arrival, namespace.
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

    /// True if an entry is urgent.
    pub(super) fn presses(&self) -> bool {
        !self.classes[0].groups.is_empty()
    }

    /// Adds an entry, or makes it more urgent. An entry that exists keeps its time of arrival.
    pub(super) fn push(&mut self, key: &K, group: &str, urgency: Urgency) {
        let old = self.places.get(key).cloned();
        // An entry without a token counts from its first request, so a repeated request does not lose its position.
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
        // Inserts before it removes: a namespace without an entry, even for a moment, would lose its turn.
        self.class(urgency)
            .push(group, (urgency, place, key.clone()));
        if let Some((urgency, place, group)) = old {
            self.class(urgency)
                .leave(&group, &(urgency, place, key.clone()));
        }
    }

    /// Removes an entry.
    pub(super) fn leave(&mut self, key: &K) {
        if let Some((urgency, place, group)) = self.places.remove(key) {
            give_room_back(&mut self.places);
            self.class(urgency)
                .leave(&group, &(urgency, place, key.clone()));
        }
    }

    /// Removes and returns the next entry. `group_may`: whether a namespace may be served. `may`: whether an entry may be served. The queue
    /// selects the namespace first, then the entry.
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
        // The namespace is served in the next round: one that always has an entry must not be served twice in a round.
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
            // A namespace that was skipped because it could get no permit is served in this round.
            there.turn = (self.now + 1, order);
            self.turns.insert((self.now + 1, order, group));
        }
        Some(place.2)
    }
}
