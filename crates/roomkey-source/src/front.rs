//! What each thread looks at first: a few entries of the cache, with a handle of its own to each.
//!
//! One cache under one lock would have every thread that reuses a token write to the same two counters, that of the lock
//! and that of the credentials, so that two threads together would be slower than one. Here a thread has a lock and
//! handles that other threads hardly touch. An entry that is given up is marked dead, and no front gives out a dead one.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cache::Entry;
use crate::credentials::Credentials;
use crate::options::FetchOptions;

/// The entries that one front holds at most.
const SLOTS: usize = 16;

/// The most fronts; threads beyond them share.
const MOST_FRONTS: usize = 16;

/// Fronts for the threads: as many as the machine runs at once, each for the threads with its number.
#[derive(Debug)]
pub(crate) struct Fronts {
    fronts: Box<[Padded<Mutex<Front>>]>,
    /// No use is noted with an earlier tick than this. It changes when an entry is inserted.
    epoch: AtomicU64,
}

#[derive(Debug, Default)]
struct Front {
    slots: Vec<Slot>,
    tick: u64,
    /// How many tokens were given from here: a counter for each front, under the lock that is taken anyway.
    hits: u64,
}

#[derive(Debug)]
struct Slot {
    entry: Arc<Entry>,
    /// Counted apart from other threads' handles.
    credentials: Credentials,
    used: u64,
}

/// A pair of cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded<T>(T);

impl Fronts {
    pub(crate) fn new() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let fronts = threads.next_power_of_two().min(MOST_FRONTS);
        Self { fronts: (0..fronts).map(|_| Padded::default()).collect(), epoch: AtomicU64::new(0) }
    }

    /// Looks for a live entry and gives what `take` makes of it, which is a hit if it is `Ok`. `take` runs under the front's
    /// lock.
    pub(crate) fn find<T, E>(
        &self,
        partition: Option<&Arc<str>>,
        options: &FetchOptions,
        take: impl FnOnce(&Arc<Entry>, &Credentials) -> Result<T, E>,
    ) -> Option<Result<T, E>> {
        let mut front = self.mine();
        let front = &mut *front;
        // Comparing a few keys is quicker than hashing one.
        let slot = front.slots.iter_mut().find(|slot| {
            let key = &slot.entry.key;
            partition == key.partition.as_ref() && *options == key.options && !slot.entry.is_dead()
        })?;
        front.tick = self.epoch.load(Ordering::Relaxed).max(front.tick + 1);
        slot.used = front.tick;
        let taken = take(&slot.entry, &slot.credentials);
        front.hits += u64::from(taken.is_ok());
        Some(taken)
    }

    /// Counts a token that was given otherwise.
    pub(crate) fn count_hit(&self) {
        self.mine().hits += 1;
    }

    pub(crate) fn hits(&self) -> u64 {
        self.fronts.iter().map(|front| lock(&front.0).hits).sum()
    }

    /// Puts an entry of the cache into this thread's front, in the place of a dead one or of the least recently used. It is
    /// a hit.
    pub(crate) fn adopt(&self, entry: &Arc<Entry>) -> Credentials {
        let credentials = entry.credentials.separate();
        let mut front = self.mine();
        front.hits += 1;
        front.tick = self.epoch.load(Ordering::Relaxed).max(front.tick + 1);
        let used = front.tick;
        front.slots.retain(|slot| !slot.entry.is_dead() && slot.entry.key != entry.key);
        if front.slots.len() == SLOTS
            && let Some(oldest) = (0..SLOTS).min_by_key(|index| front.slots[*index].used)
        {
            let slot = front.slots.swap_remove(oldest);
            slot.entry.note_use(slot.used);
        }
        // It may have been given up since it was found; then the fronts may have been swept already.
        if !entry.is_dead() {
            front.slots.push(Slot { entry: Arc::clone(entry), credentials: credentials.clone(), used });
        }
        credentials
    }

    /// Tells the entries when they were last used, and gives a tick later than all of those.
    pub(crate) fn settle(&self) -> u64 {
        let mut latest = self.epoch.load(Ordering::Relaxed);
        for front in &self.fronts {
            let front = lock(&front.0);
            latest = latest.max(front.tick);
            for slot in &front.slots {
                slot.entry.note_use(slot.used);
            }
        }
        self.epoch.store(latest + 2, Ordering::Relaxed);
        latest + 1
    }

    /// Lets go of dead entries, so that their tokens are wiped.
    pub(crate) fn drop_dead(&self) {
        for front in &self.fronts {
            lock(&front.0).slots.retain(|slot| !slot.entry.is_dead());
        }
    }

    fn mine(&self) -> MutexGuard<'_, Front> {
        lock(&self.fronts[thread_number() & (self.fronts.len() - 1)].0)
    }
}

/// Nothing panics under these locks that could leave a front half changed.
fn lock(front: &Mutex<Front>) -> MutexGuard<'_, Front> {
    front.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Numbers the threads of the process in the order in which they first ask. Threads that begin together, as those of a
/// runtime do, have different fronts as far as they go.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) };
    }

    NUMBER.with(|number| {
        if number.get() == usize::MAX {
            number.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        number.get()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{Cache, Key};
    use crate::clock::{Clock, ManualClock};
    use crate::flight::Asked;
    use crate::freshness::FreshnessPolicy;

    fn entry(room: &str) -> Arc<Entry> {
        let now = ManualClock::new(std::time::UNIX_EPOCH).now();
        let key = Key { hash: 0, partition: None, options: FetchOptions::new().with_room_name(room) };
        let freshness = FreshnessPolicy::default().judge(None, now.wall, 0.0);
        Arc::new(Entry::new(key, Credentials::new("wss://x", room), now, freshness, Asked(1)))
    }

    fn finds(fronts: &Fronts, entry: &Entry) -> bool {
        fronts.find(None, &entry.key.options, |_, _| Ok::<_, ()>(())).is_some()
    }

    #[test]
    fn no_thread_finds_an_entry_that_was_given_up_and_sweeping_lets_go_of_it() {
        let fronts = Fronts::new();
        let (entry, mut cache) = (entry("a"), Cache::new(1));
        cache.insert(Arc::clone(&entry), fronts.settle());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    fronts.adopt(&entry);
                    assert!(finds(&fronts, &entry));
                });
            }
        });
        assert!(Arc::strong_count(&entry) > 2, "a front holds it");
        drop(cache.remove(entry.key.as_ref()));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert!(!finds(&fronts, &entry)));
            }
        });
        fronts.drop_dead();
        assert_eq!(Arc::strong_count(&entry), 1);
        fronts.adopt(&entry);
        assert_eq!(Arc::strong_count(&entry), 1, "and it does not come back");
    }

    #[test]
    fn a_front_holds_a_few_entries_and_those_that_were_used_last() {
        let fronts = Fronts::new();
        let entries: Vec<_> = (0..SLOTS + 1).map(|number| entry(&number.to_string())).collect();
        entries[..SLOTS].iter().for_each(|entry| drop(fronts.adopt(entry)));
        assert!(finds(&fronts, &entries[0]));
        fronts.adopt(&entries[SLOTS]);
        assert!(finds(&fronts, &entries[0]) && !finds(&fronts, &entries[1]));
    }

    #[test]
    fn uses_on_any_thread_count_when_something_has_to_go() {
        let fronts = Fronts::new();
        let (used, unused, mut cache) = (entry("used"), entry("unused"), Cache::new(2));
        cache.insert(Arc::clone(&used), fronts.settle());
        cache.insert(Arc::clone(&unused), fronts.settle());
        std::thread::scope(|scope| drop(scope.spawn(|| fronts.adopt(&used))));
        let given_up = cache.insert(entry("new"), fronts.settle());
        assert!(given_up.len() == 1 && Arc::ptr_eq(&given_up[0], &unused));
    }
}
