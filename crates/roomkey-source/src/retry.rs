//! Whether and when to ask an endpoint again: pure, with the time to wait and chance as arguments.

use std::time::Duration;

use crate::chance::unit;

/// How often an [`Endpoint`](crate::Endpoint) is asked for one token, and how long in between.
///
/// Only what may be gone the next time is tried again: no response, and the statuses 408, 429 and 5xx. The wait doubles with
/// each attempt and is drawn from its upper half, so that clients which failed together don't come back together; a
/// `Retry-After` is waited for, and up to a quarter longer, if it is no longer than [`max_wait`](Self::with_max_wait), and
/// otherwise ends the attempts.
/// The source's load timeout bounds all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    attempts: u32,
    first_wait: Duration,
    max_wait: Duration,
}

impl Default for RetryPolicy {
    /// Three attempts, with waits of up to 200 and 400 milliseconds, and `Retry-After` up to 5 seconds.
    fn default() -> Self {
        Self { attempts: 3, first_wait: Duration::from_millis(200), max_wait: Duration::from_secs(5) }
    }
}

impl RetryPolicy {
    /// One attempt.
    #[must_use]
    pub fn never() -> Self {
        Self { attempts: 1, ..Self::default() }
    }

    /// Sets how many attempts there are at most, the first one included; 0 is 1.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Sets the wait after the first attempt; it doubles with each one.
    #[must_use]
    pub fn with_first_wait(mut self, wait: Duration) -> Self {
        self.first_wait = wait;
        self
    }

    /// Sets the longest wait.
    #[must_use]
    pub fn with_max_wait(mut self, wait: Duration) -> Self {
        self.max_wait = wait;
        self
    }

    /// How long to wait after a failed attempt, counted from 1, or `None` for no other one: what an endpoint goes by, for who
    /// wants to know what many do together. `chance` is in `0.0..1.0`.
    #[must_use]
    pub fn wait_after(&self, attempt: u32, retry_after: Option<Duration>, chance: f64) -> Option<Duration> {
        if attempt >= self.attempts {
            return None;
        }
        if let Some(asked) = retry_after {
            return (asked <= self.max_wait).then(|| put_off(asked, chance).max(self.backoff(attempt, chance)));
        }
        Some(self.backoff(attempt, chance))
    }

    fn backoff(&self, attempt: u32, chance: f64) -> Duration {
        let doubled = self.first_wait.saturating_mul(1u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX));
        doubled.min(self.max_wait).mul_f64(0.5 + unit(chance) / 2.0)
    }
}

/// A wait that was asked for, put off by up to a quarter: whoever asks tells all the same time. `chance` is in `0.0..1.0`.
pub(crate) fn put_off(asked: Duration, chance: f64) -> Duration {
    asked.saturating_add((asked / 4).mul_f64(chance.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn waits_double_within_their_upper_half_up_to_the_longest() {
        let policy = RetryPolicy::default().with_attempts(100).with_max_wait(1_000 * MILLISECOND);
        for (attempt, longest) in [(1, 200), (2, 400), (3, 800), (4, 1_000), (40, 1_000), (99, 1_000)] {
            assert_eq!(policy.wait_after(attempt, None, 1.0), Some(longest * MILLISECOND));
            assert_eq!(policy.wait_after(attempt, None, 0.0), Some(longest * MILLISECOND / 2));
        }
    }

    #[test]
    fn a_retry_after_is_waited_for_or_ends_it() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.wait_after(1, Some(Duration::from_secs(4)), 0.0), Some(Duration::from_secs(4)));
        assert_eq!(
            policy.wait_after(1, Some(Duration::from_secs(4)), 1.0),
            Some(Duration::from_secs(5)),
            "not all at once"
        );
        assert!(policy.wait_after(1, Some(Duration::from_secs(5)), 1.0).is_some());
        assert_eq!(policy.wait_after(1, Some(Duration::from_secs(6)), 0.5), None);
    }

    #[test]
    fn the_attempts_are_counted() {
        assert!(RetryPolicy::default().wait_after(2, None, 0.5).is_some());
        assert!(RetryPolicy::default().wait_after(3, None, 0.5).is_none());
        assert!(RetryPolicy::never().wait_after(1, None, 0.5).is_none());
        assert_eq!(RetryPolicy::default().with_attempts(0), RetryPolicy::never());
    }
}
