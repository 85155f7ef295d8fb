//! A map that retains the most recently used entries.

use std::{collections::HashMap, hash::Hash};

/// At most `N` entries. A new entry replaces the one that was unused for the longest time.
pub(crate) struct Recent<K, V, const N: usize> {
    entries: HashMap<K, (u64, V)>,
    turn: u64,
}

impl<K, V, const N: usize> Default for Recent<K, V, N> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            turn: 0,
        }
    }
}

impl<K: Clone + Eq + Hash, V, const N: usize> Recent<K, V, N> {
    /// The entry of a key. It becomes the most recently used one.
    pub(crate) fn get(&mut self, key: &K) -> Option<&V> {
        self.turn += 1;
        let (last, value) = self.entries.get_mut(key)?;
        *last = self.turn;
        Some(value)
    }

    /// Inserts an entry as the most recently used one.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.turn += 1;
        if self.entries.len() >= N && !self.entries.contains_key(&key) {
            let oldest = self.entries.iter().min_by_key(|(_, (last, _))| *last);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.entries.remove(&oldest);
            }
        }
        self.entries.insert(key, (self.turn, value));
    }
}

#[cfg(test)]
mod tests {
    use super::Recent;

    #[test]
    fn what_is_used_stays_whatever_else_comes() {
        let mut map: Recent<u32, u32, 4> = Recent::default();
        map.insert(0, 0);
        for n in 1..100 {
            assert_eq!(map.get(&0), Some(&0), "after {n}");
            map.insert(n, n);
        }
        let entries: Vec<u32> = (0..100).filter(|n| map.get(n).is_some()).collect();
        assert_eq!(entries, [0, 97, 98, 99]);
    }

    #[test]
    fn an_entry_that_is_put_in_again_takes_nobodys_place() {
        let mut map: Recent<u32, u32, 2> = Recent::default();
        map.insert(0, 0);
        map.insert(1, 1);
        map.insert(1, 2);
        assert_eq!(map.get(&0), Some(&0));
        assert_eq!(map.get(&1), Some(&2));
    }
}
