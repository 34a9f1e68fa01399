//! How long a backend that failed is left alone: a pure table of what failed, with time and chance as arguments.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashTable;

use crate::cache::{Key, KeyRef};
use crate::clock::Now;
use crate::error::FetchError;
use crate::retry::put_off;

/// The longest `Retry-After` that is honoured.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// How long a source does not ask again after a call that failed; see
/// [`TokenSourceBuilder::back_off`](crate::TokenSourceBuilder::back_off).
///
/// The first wait doubles with each failure up to the longest, and half of each is left to chance, so that clients which
/// failed together don't come back together. A `Retry-After` that reaches further is waited for, an hour at most, and up to a
/// quarter longer. A success ends it; so does a pause: after a failure that comes when the wait before has been over for as
/// long as the longest, the waits begin anew.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BackOff {
    first: Duration,
    longest: Duration,
    jitter: bool,
}

impl Default for BackOff {
    /// 1 second, doubled up to 30.
    fn default() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(30))
    }
}

impl BackOff {
    /// Waits from `first` up to `longest`, each a tenth of a second at least and a day at most.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        const SHORTEST: Duration = Duration::from_millis(100);
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let first = first.clamp(SHORTEST, DAY);
        Self { first, longest: longest.clamp(first, DAY), jitter: true }
    }

    /// Leaves nothing to chance: for tests.
    #[must_use]
    pub fn without_jitter(mut self) -> Self {
        self.jitter = false;
        self
    }

    /// How long to wait after this many failures in a row, from 1 on. `chance` is in `0.0..1.0`.
    pub(crate) fn wait_after(&self, failures: u32, chance: f64) -> Duration {
        let doubled = self.first.saturating_mul(1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
        let longest = doubled.min(self.longest);
        if self.jitter { longest.mul_f64(0.5 + chance / 2.0) } else { longest }
    }

    /// The same, or longer where that was asked for.
    fn wait_for(&self, failures: u32, retry_after: Option<Duration>, chance: f64) -> Duration {
        self.wait_after(failures, chance).max(self.asked(retry_after, chance))
    }

    fn asked(&self, retry_after: Option<Duration>, chance: f64) -> Duration {
        let asked = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
        if self.jitter { put_off(asked, chance) } else { asked }
    }
}

/// What failed last, by key: at most `capacity` of them.
#[derive(Debug)]
pub(crate) struct Failures {
    failures: HashTable<Failed>,
    capacity: usize,
}

#[derive(Debug)]
struct Failed {
    key: Arc<Key>,
    error: FetchError,
    /// When the first call of this wait failed, by the source's clock.
    at: Now,
    wait: Duration,
    in_a_row: u32,
    number: u64,
}

/// A failure that is not to be followed by a call yet.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) error: FetchError,
    pub(crate) left: Duration,
    /// Later failures have larger ones; 0 is none.
    pub(crate) number: u64,
}

impl Failures {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { failures: HashTable::new(), capacity }
    }

    /// The failure whose wait is not over.
    pub(crate) fn standing(&self, key: KeyRef<'_>, now: Now) -> Option<Standing> {
        let failed = self.failures.find(key.hash, |failed| key.is(&failed.key))?;
        let left = failed.wait.saturating_sub(now.since(failed.at));
        (!left.is_zero()).then(|| Standing { error: failed.error.clone(), left, number: failed.number })
    }

    /// Notes that a call failed, `number` being larger than for every one before. One that fails while a wait goes on was
    /// begun before it or for somebody who insisted, and does not make it longer, unless its `Retry-After` does.
    ///
    /// Gives how long to wait from now on, and what was given up, to be dropped outside of locks.
    pub(crate) fn note(
        &mut self,
        key: &Arc<Key>,
        error: FetchError,
        now: Now,
        number: u64,
        policy: &BackOff,
        chance: f64,
    ) -> (Duration, Option<FetchError>) {
        let (hash, borrowed) = (key.hash, Key::as_ref(key));
        let retry_after = error.retry_after();
        if let Some(failed) = self.failures.find_mut(hash, |failed| borrowed.is(&failed.key)) {
            let since = now.since(failed.at);
            let left = failed.wait.saturating_sub(since);
            if !left.is_zero() {
                let asked = policy.asked(retry_after, chance);
                if asked > left {
                    failed.wait = since + asked;
                    return (asked, Some(error));
                }
                return (left, Some(error));
            }
            let is_long_ago = since > failed.wait + policy.longest;
            failed.in_a_row = if is_long_ago { 1 } else { failed.in_a_row.saturating_add(1) };
            failed.wait = policy.wait_for(failed.in_a_row, retry_after, chance);
            (failed.at, failed.number) = (now, number);
            return (failed.wait, Some(std::mem::replace(&mut failed.error, error)));
        }
        let wait = policy.wait_for(1, retry_after, chance);
        let failed = Failed { key: Arc::clone(key), error, at: now, wait, in_a_row: 1, number };
        self.failures.insert_unique(hash, failed, |failed| failed.key.hash);
        let oldest = || self.failures.iter().min_by_key(|failed| failed.number).map(|failed| Arc::clone(&failed.key));
        let given_up = if self.failures.len() > self.capacity { oldest() } else { None };
        (wait, given_up.and_then(|key| self.forget(Key::as_ref(&key))))
    }

    /// Forgets the failure of a key, and gives its error, to be dropped outside of locks.
    pub(crate) fn forget(&mut self, key: KeyRef<'_>) -> Option<FetchError> {
        let found = self.failures.find_entry(key.hash, |failed| key.is(&failed.key)).ok()?;
        Some(found.remove().0.error)
    }

    /// Forgets all of them, and gives the table, to be dropped outside of locks.
    pub(crate) fn forget_all(&mut self) -> Self {
        std::mem::replace(self, Self::new(self.capacity))
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::options::FetchOptions;
    use crate::provider::ProviderError;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u32) -> Now {
        Now::new(UNIX_EPOCH + seconds * SECOND, seconds * SECOND)
    }

    fn key(hash: u64) -> Arc<Key> {
        Arc::new(Key { hash, partition: None, options: FetchOptions::new().with_room_name(hash.to_string()) })
    }

    fn down() -> FetchError {
        FetchError::provider("down".into())
    }

    fn busy(seconds: u32) -> FetchError {
        FetchError::provider(ProviderError::transient("busy").with_retry_after(seconds * SECOND).into())
    }

    fn policy() -> BackOff {
        BackOff::new(SECOND, 8 * SECOND).without_jitter()
    }

    #[test]
    fn waits_double_up_to_the_longest_and_half_of_each_is_chance() {
        let policy = BackOff::new(2 * SECOND, 10 * SECOND);
        for (failures, longest) in [(1, 2), (2, 4), (3, 8), (4, 10), (1_000, 10)] {
            assert_eq!(policy.wait_after(failures, 1.0), longest * SECOND);
            assert_eq!(policy.wait_after(failures, 0.0), longest * SECOND / 2);
            assert_eq!(policy.without_jitter().wait_after(failures, 0.3), longest * SECOND);
        }
    }

    #[test]
    fn no_wait_is_so_short_that_a_backend_is_asked_without_a_pause() {
        assert_eq!(BackOff::new(Duration::ZERO, Duration::ZERO).wait_after(1, 0.0), Duration::from_millis(50));
    }

    #[test]
    fn a_wait_stands_until_it_is_over_and_grows_with_failures_that_follow_it() {
        let (mut failures, key) = (Failures::new(4), key(1));
        let mut now = 0;
        for (number, wait) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 8)] {
            assert_eq!(failures.note(&key, down(), at(now), number, &policy(), 0.0).0, wait * SECOND);
            let standing = failures.standing(Key::as_ref(&key), at(now + wait - 1)).unwrap();
            assert_eq!((standing.left, standing.number), (SECOND, number));
            now += wait;
            assert!(failures.standing(Key::as_ref(&key), at(now)).is_none());
        }
        now += 8 + 8 + 1;
        assert_eq!(failures.note(&key, down(), at(now), 6, &policy(), 0.0).0, SECOND, "after a pause anew");
    }

    #[test]
    fn what_fails_during_a_wait_leaves_it_and_a_retry_after_prolongs_it() {
        let (mut failures, key) = (Failures::new(4), key(1));
        failures.note(&key, down(), at(0), 1, &policy(), 0.0);
        failures.note(&key, down(), at(1), 2, &policy(), 0.0);
        assert_eq!(failures.note(&key, down(), at(2), 3, &policy(), 0.0).0, SECOND);
        let standing = failures.standing(Key::as_ref(&key), at(2)).unwrap();
        assert_eq!((standing.left, standing.number), (SECOND, 2));
        assert_eq!(failures.note(&key, busy(9), at(2), 4, &policy(), 0.0).0, 9 * SECOND);
        assert_eq!(failures.standing(Key::as_ref(&key), at(10)).unwrap().left, SECOND);
    }

    #[test]
    fn a_retry_after_is_waited_for_and_bounded_and_put_off_by_chance() {
        let wait =
            |error, chance| Failures::new(1).note(&key(1), error, at(0), 1, &BackOff::new(SECOND, SECOND), chance).0;
        assert_eq!((wait(busy(20), 0.0), wait(busy(20), 1.0)), (20 * SECOND, 25 * SECOND));
        assert_eq!(wait(busy(0), 1.0), SECOND);
        assert_eq!(wait(busy(1_000_000), 0.0), LONGEST_RETRY_AFTER);
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let mut failures = Failures::new(2);
        for number in 1..=3 {
            failures.note(&key(number), down(), at(0), number, &policy(), 0.0);
        }
        let stands = |failures: &Failures, number| failures.standing(Key::as_ref(&key(number)), at(0)).is_some();
        assert!(!stands(&failures, 1) && stands(&failures, 2) && stands(&failures, 3));
        assert!(failures.forget(Key::as_ref(&key(2))).is_some() && !stands(&failures, 2));
        failures.forget_all();
        assert!(!stands(&failures, 3));
    }
}
