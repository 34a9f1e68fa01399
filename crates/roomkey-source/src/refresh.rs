//! Renewing a token before anybody waits for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::back_off::BackOff;
use crate::cache::{Entry, Key};
use crate::chance::{chance, unit};
use crate::error::FetchError;
use crate::flight::Ask;
use crate::loading::Shared;

/// When tokens are renewed ahead of need; see
/// [`TokenSourceBuilder::refresh_ahead`](crate::TokenSourceBuilder::refresh_ahead).
///
/// A token's life, as a fetch sees it, with a `RefreshAhead` of five minutes:
///
/// ```text
/// received        5 min before exp        1 min before exp     exp
/// │ reused        │ reused, and renewed   │ fetched            │ fetched
/// │               │ behind the fetch      │ (old one if that   │
/// │               │                       │  fails)            │
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RefreshAhead {
    lead: Duration,
    jitter: f64,
    waits: BackOff,
}

impl RefreshAhead {
    /// Renews tokens when they are this close to their expiry, and not before half of their life has passed.
    #[must_use]
    pub fn new(lead: Duration) -> Self {
        Self { lead, jitter: 0.2, waits: BackOff::new(Duration::from_secs(5), Duration::from_secs(60)) }
    }

    /// Sets by what part of the lead the renewal of a token is put off by chance, so that clients whose tokens are of one
    /// age don't come all at once: 0.2 unless set, at most 1.
    #[must_use]
    pub fn with_jitter(mut self, part: f64) -> Self {
        self.jitter = if part.is_nan() { 0.0 } else { part.clamp(0.0, 1.0) };
        self
    }

    /// Sets the waits after a renewal that failed: the first, which doubles with each failure, and the longest; 5 and 60
    /// seconds unless set, a tenth of a second at least and a day at most. Half of each is left to chance, as far as there is a jitter. A source's
    /// [`back_off`](crate::TokenSourceBuilder::back_off) goes before.
    #[must_use]
    pub fn with_waits(mut self, first: Duration, longest: Duration) -> Self {
        self.waits = BackOff::new(first, longest);
        self
    }

    /// The age at which a token is renewed that had this much life `left` when it was received, and was to be reused for
    /// as long as `reusable`: what a source goes by, for who wants to know what many do together. `chance`, in `0.0..1.0`,
    /// is the token's own.
    ///
    /// All of the time over which the jitter spreads renewals lies before the end of reuse, and a while after it too (half a
    /// minute, or a tenth of the time of reuse if that is shorter); it is a fifth of that at most. Where a lead is too short, renewals begin
    /// earlier rather than that many come at one moment.
    #[must_use]
    pub fn renewal_age(&self, left: Duration, reusable: Duration, chance: f64) -> Duration {
        const ROOM: Duration = Duration::from_secs(30);
        let lead = self.lead.min(left / 2);
        let spread = lead.mul_f64(self.jitter).min(reusable / 5);
        let latest = reusable.saturating_sub(spread).saturating_sub(ROOM.min(reusable / 10));
        left.saturating_sub(lead).min(latest).saturating_add(spread.mul_f64(unit(chance)))
    }

    /// The waits after a renewal that failed.
    pub(crate) fn back_off(&self) -> BackOff {
        if self.jitter > 0.0 { self.waits } else { self.waits.without_jitter() }
    }

    /// How long a renewal is not tried again after this many failures in a row, from 1 on. `chance` is in `0.0..1.0`.
    #[must_use]
    pub fn wait_after(&self, failures: u32, chance: f64) -> Duration {
        self.back_off().wait_after(failures, unit(chance))
    }

    /// The waits of a source that does not renew ahead of need.
    pub(crate) fn none() -> Self {
        Self::new(Duration::ZERO)
    }
}

impl From<Duration> for RefreshAhead {
    fn from(lead: Duration) -> Self {
        Self::new(lead)
    }
}

/// How it stands with the renewal of a token that is held.
#[derive(Debug, Default)]
pub(crate) struct Renewal {
    is_under_way: AtomicBool,
    /// How many calls in a row gave nothing better.
    no_better: AtomicU32,
    /// The age of the token before which it is not tried again, in milliseconds.
    not_before: AtomicU64,
}

impl Renewal {
    /// Whether a renewal may begin at this age; it has begun then.
    pub(crate) fn begin(&self, age: Duration) -> bool {
        let is_due = age.as_millis() >= u128::from(self.not_before.load(Ordering::Relaxed));
        is_due && !self.is_under_way.swap(true, Ordering::Relaxed)
    }

    /// Ends a renewal that did not come about.
    pub(crate) fn end(&self) {
        self.is_under_way.store(false, Ordering::Relaxed);
    }

    /// How long it is not tried again at this age.
    pub(crate) fn wait_at(&self, age: Duration) -> Duration {
        Duration::from_millis(self.not_before.load(Ordering::Relaxed)).saturating_sub(age)
    }

    /// Puts it off at this age, after a call that failed.
    pub(crate) fn put_off(&self, age: Duration, wait: Duration) {
        let again = age.saturating_add(wait).as_millis();
        self.not_before.store(u64::try_from(again).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Puts it off at this age, after a call that gave nothing better.
    pub(crate) fn note_no_better(&self, age: Duration, policy: &BackOff) {
        let times = self.no_better.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        self.put_off(age, policy.wait_after(times, chance()));
    }
}

/// Renews a token behind the fetch that found it due. It holds nothing of the users' handles: when the last of those is
/// dropped, this is aborted.
pub(crate) async fn renew(shared: Arc<Shared>, under_way: UnderWay) {
    let entry = &under_way.0;
    let outcome = shared.fetch_newer(Key::clone(&entry.key), Ask::Any, Some(Arc::clone(entry))).await;
    if outcome.is_err() || !entry.is_dead() {
        log(outcome.err().as_ref());
    }
}

fn log(error: Option<&FetchError>) {
    match error {
        Some(error) => {
            tracing::warn!(kind = ?error.kind(), "token not renewed ahead; the one held is good for a while")
        }
        None => tracing::warn!("token not renewed ahead: the one that came is no better"),
    }
}

/// A renewal that has begun; it ends with this, also where its task is dropped before it ran.
pub(crate) struct UnderWay(pub(crate) Arc<Entry>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.renewal.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_renewal_begins_within_the_jitter_of_the_lead_and_never_in_the_first_half_of_a_life() {
        let policy = RefreshAhead::new(300 * SECOND);
        for (left, chance, age) in [(600, 0.0, 300), (900, 0.0, 600), (900, 1.0, 660), (100, 0.0, 50), (100, 1.0, 60)] {
            assert_eq!(
                policy.renewal_age(left * SECOND, left * SECOND * 9 / 10, chance),
                age * SECOND,
                "{left} {chance}"
            );
        }
        assert_eq!(RefreshAhead::new(Duration::MAX).renewal_age(Duration::ZERO, Duration::ZERO, 1.0), Duration::ZERO);
        assert!(RefreshAhead::new(Duration::MAX).renewal_age(Duration::MAX, Duration::MAX, 0.0) >= Duration::MAX / 2);
    }

    #[test]
    fn a_renewal_runs_once_at_a_time_and_not_before_its_wait_is_over() {
        let (renewal, policy) = (Renewal::default(), RefreshAhead::new(SECOND).with_jitter(0.0).back_off());
        assert!(renewal.begin(SECOND) && !renewal.begin(SECOND));
        renewal.note_no_better(10 * SECOND, &policy);
        renewal.end();
        assert!(!renewal.begin(14 * SECOND) && renewal.begin(15 * SECOND));
    }
}
