//! The tokens that are held: a bounded table keyed by partition and options.
//!
//! It decides nothing about freshness; it holds what it is given until that is replaced, removed or, as the least recently
//! used, pushed out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hashbrown::HashTable;

use crate::clock::Now;
use crate::credentials::Credentials;
use crate::flight::Asked;
use crate::freshness::Freshness;
use crate::options::FetchOptions;
use crate::refresh::Renewal;

/// Under what a token is held: for whom, and for which options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) hash: u64,
    pub(crate) partition: Option<Arc<str>>,
    pub(crate) options: FetchOptions,
}

/// The parts of a [`Key`], borrowed, so that a look-up copies nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyRef<'a> {
    pub(crate) hash: u64,
    pub(crate) partition: Option<&'a Arc<str>>,
    pub(crate) options: &'a FetchOptions,
}

impl KeyRef<'_> {
    pub(crate) fn is(&self, key: &Key) -> bool {
        self.hash == key.hash && self.partition == key.partition.as_ref() && *self.options == key.options
    }

    pub(crate) fn to_owned(self) -> Key {
        Key { hash: self.hash, partition: self.partition.cloned(), options: self.options.clone() }
    }
}

impl Key {
    pub(crate) fn as_ref(&self) -> KeyRef<'_> {
        KeyRef { hash: self.hash, partition: self.partition.as_ref(), options: &self.options }
    }
}

/// A token that is held.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) credentials: Credentials,
    pub(crate) received: Now,
    /// How long it had been held when it was received: not at all, unless it comes out of a store.
    pub(crate) held_before: Duration,
    pub(crate) freshness: Freshness,
    /// When the call was begun that gave it; an older call never replaces it.
    pub(crate) asked: Asked,
    pub(crate) renewal: Renewal,
    /// Replaced, invalidated or pushed out: it must not be given out any more.
    dead: AtomicBool,
    last_used: AtomicU64,
}

impl Entry {
    pub(crate) fn new(key: Key, credentials: Credentials, received: Now, freshness: Freshness, asked: Asked) -> Self {
        let (dead, last_used) = (AtomicBool::new(false), AtomicU64::new(0));
        let (renewal, held_before) = (Renewal::default(), Duration::ZERO);
        Self { key, credentials, received, held_before, freshness, asked, renewal, dead, last_used }
    }

    /// The same, held for a while before.
    pub(crate) fn held_before(mut self, held_before: Duration) -> Self {
        self.held_before = held_before;
        self
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// Marks it as not to be given out any more.
    fn give_up(self: Arc<Self>) -> Arc<Self> {
        self.dead.store(true, Ordering::Release);
        self
    }

    /// How long it has been held.
    pub(crate) fn age(&self, now: Now) -> Duration {
        now.since(self.received).saturating_add(self.held_before)
    }

    /// Notes a use at a tick; earlier ones than the noted one change nothing.
    pub(crate) fn note_use(&self, tick: u64) {
        self.last_used.fetch_max(tick, Ordering::Relaxed);
    }
}

/// The entries, at most `capacity` of them.
#[derive(Debug)]
pub(crate) struct Cache {
    entries: HashTable<Arc<Entry>>,
    capacity: usize,
}

impl Cache {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: HashTable::new(), capacity }
    }

    pub(crate) fn get(&self, key: KeyRef<'_>) -> Option<&Arc<Entry>> {
        self.entries.find(key.hash, |entry| key.is(&entry.key))
    }

    /// Holds an entry in the place of the one of its key, unless that was asked for later; then gives up the least
    /// recently used ones that there is no room for. `tick` is the time of this use, later than every noted one.
    ///
    /// Returns what is given up; dropping it wipes tokens, which need not be done under a lock.
    pub(crate) fn insert(&mut self, entry: Arc<Entry>, tick: u64) -> Vec<Arc<Entry>> {
        entry.note_use(tick);
        let hash = entry.key.hash;
        if let Some(held) = self.entries.find_mut(hash, |held| entry.key.as_ref().is(&held.key)) {
            if held.asked >= entry.asked {
                held.note_use(tick);
                return Vec::new();
            }
            return vec![std::mem::replace(held, entry).give_up()];
        }
        self.entries.insert_unique(hash, entry, |entry| entry.key.hash);
        let mut given_up = Vec::new();
        while self.entries.len() > self.capacity {
            let oldest = self.entries.iter().min_by_key(|entry| entry.last_used.load(Ordering::Relaxed)).cloned();
            given_up.extend(oldest.and_then(|oldest| self.remove(oldest.key.as_ref())));
        }
        given_up
    }

    pub(crate) fn remove(&mut self, key: KeyRef<'_>) -> Option<Arc<Entry>> {
        let found = self.entries.find_entry(key.hash, |entry| key.is(&entry.key)).ok()?;
        Some(found.remove().0.give_up())
    }

    /// Removes what a condition holds for.
    pub(crate) fn remove_where(&mut self, condition: impl Fn(&Entry) -> bool) -> Vec<Arc<Entry>> {
        self.entries.extract_if(|entry| condition(entry)).map(Entry::give_up).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::{Clock, ManualClock};
    use crate::freshness::FreshnessPolicy;

    /// One thing done to a cache, over keys 0 to 5.
    #[derive(Clone, Debug)]
    enum Step {
        Insert { key: u8, asked: u64 },
        Use { key: u8 },
        Remove { key: u8 },
        RemoveOdd,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..6u8, 0..20u64).prop_map(|(key, asked)| Step::Insert { key, asked }),
            4 => (0..6u8).prop_map(|key| Step::Use { key }),
            1 => (0..6u8).prop_map(|key| Step::Remove { key }),
            1 => Just(Step::RemoveOdd),
        ]
    }

    /// A list, the most recently used last.
    #[derive(Default)]
    struct Model(Vec<(u8, u64)>);

    impl Model {
        fn apply(&mut self, step: &Step, capacity: usize) {
            match *step {
                Step::Insert { key, asked } => {
                    let held = self.take(key);
                    self.0.push((key, held.map_or(asked, |held| held.max(asked))));
                    if self.0.len() > capacity {
                        self.0.remove(0);
                    }
                }
                Step::Use { key } => {
                    if let Some(held) = self.take(key) {
                        self.0.push((key, held));
                    }
                }
                Step::Remove { key } => drop(self.take(key)),
                Step::RemoveOdd => self.0.retain(|(key, _)| key % 2 == 0),
            }
        }

        fn take(&mut self, key: u8) -> Option<u64> {
            let at = self.0.iter().position(|(held, _)| *held == key)?;
            Some(self.0.remove(at).1)
        }
    }

    fn key(number: u8) -> Key {
        // Two hash values for six keys, so that they collide, and partitions that tell some of them apart.
        Key {
            hash: u64::from(number % 2),
            partition: (number % 2 == 1).then(|| Arc::from(format!("user {}", number / 4))),
            options: FetchOptions::new().with_room_name(format!("room {}", number / 2)),
        }
    }

    proptest! {
        #[test]
        fn the_cache_behaves_as_a_list_ordered_by_use(
            capacity in 0..5usize,
            steps in proptest::collection::vec(step(), 0..60),
        ) {
            let now = ManualClock::new(std::time::UNIX_EPOCH).now();
            let freshness = FreshnessPolicy::default().judge(None, now.wall, 0.0);
            let keys: Vec<Key> = (0..6).map(key).collect();
            let (mut cache, mut model, mut was_held) = (Cache::new(capacity), Model::default(), Vec::<Arc<Entry>>::new());

            for (tick, step) in steps.iter().enumerate() {
                let tick = tick as u64 + 1;
                match *step {
                    Step::Insert { key, asked } => {
                        let credentials = Credentials::new("wss://x", format!("token {asked}"));
                        let key = keys[key as usize].clone();
                        let entry = Arc::new(Entry::new(key.clone(), credentials, now, freshness, Asked(asked)));
                        let given_up = cache.insert(Arc::clone(&entry), tick);
                        prop_assert!(given_up.iter().all(|entry| entry.is_dead()));
                        if cache.get(key.as_ref()).is_some_and(|held| Arc::ptr_eq(held, &entry)) || entry.is_dead() {
                            was_held.push(entry);
                        }
                    }
                    Step::Use { key } => {
                        if let Some(entry) = cache.get(keys[key as usize].as_ref()) {
                            entry.note_use(tick);
                        }
                    }
                    Step::Remove { key } => {
                        let was_there = model.0.iter().any(|(held, _)| *held == key);
                        prop_assert_eq!(cache.remove(keys[key as usize].as_ref()).is_some(), was_there);
                    }
                    Step::RemoveOdd => drop(cache.remove_where(|entry| entry.key.partition.is_some())),
                }
                model.apply(step, capacity);

                prop_assert_eq!(cache.len(), model.0.len());
                for (number, key) in keys.iter().enumerate() {
                    let held = cache.get(key.as_ref()).map(|entry| entry.asked.0);
                    let expected = model.0.iter().find(|(key, _)| *key as usize == number).map(|(_, asked)| *asked);
                    prop_assert_eq!(held, expected, "key {}", number);
                }
                // What was held and is not any more is marked, and nothing else is.
                for entry in &was_held {
                    let is_held = cache.get(entry.key.as_ref()).is_some_and(|held| Arc::ptr_eq(held, entry));
                    prop_assert_eq!(entry.is_dead(), !is_held);
                }
            }
        }
    }
}
