//! The time of day, from one reading of it.

use std::time::{Duration, Instant};

/// Tells the Unix time of an instant, from the one pair that it was made with, so that all else takes one time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnixClock {
    instant: Instant,
    unix_time: Duration,
}

impl UnixClock {
    pub(crate) fn new(instant: Instant, unix_time: Duration) -> Self {
        Self { instant, unix_time }
    }

    pub(crate) fn millis(&self, now: Instant) -> i64 {
        let elapsed = now.saturating_duration_since(self.instant);
        i64::try_from(self.unix_time.saturating_add(elapsed).as_millis()).unwrap_or(i64::MAX)
    }
}
