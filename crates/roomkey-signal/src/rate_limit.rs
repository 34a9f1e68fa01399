//! A bound on how much comes in a time.

use std::time::{Duration, Instant};

/// So many units a second, and so many at once (the generic cell rate algorithm of ITU-T I.371).
#[derive(Debug)]
pub(crate) struct RateLimit {
    per_second: u64,
    burst: Duration,
    /// When all that was taken is paid off.
    paid_at: Instant,
}

impl RateLimit {
    pub(crate) fn new(per_second: u64, burst: u64, now: Instant) -> Self {
        let per_second = per_second.max(1);
        Self { per_second, burst: cost(burst, per_second), paid_at: now }
    }

    /// Takes so many units, or none if that is too much.
    pub(crate) fn take(&mut self, units: u64, now: Instant) -> bool {
        let paid_at = self.paid_at.max(now) + cost(units, self.per_second);
        let within = paid_at.saturating_duration_since(now) <= self.burst;
        if within {
            self.paid_at = paid_at;
        }
        within
    }
}

fn cost(units: u64, per_second: u64) -> Duration {
    Duration::from_nanos(u64::try_from(u128::from(units) * 1_000_000_000 / u128::from(per_second)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "there is no other way to an Instant; time does not pass")]
    fn a_burst_passes_and_after_it_the_rate() {
        let start = Instant::now();
        let mut limit = RateLimit::new(10, 100, start);
        assert!(limit.take(99, start) && limit.take(1, start) && !limit.take(1, start));
        let mut taken = 0;
        for tenth in 1..=100 {
            taken += u32::from(limit.take(1, start + Duration::from_millis(tenth * 50)));
        }
        assert_eq!(taken, 50);
        assert!(limit.take(100, start + Duration::from_secs(60)));
        assert!(!limit.take(1, start + Duration::from_secs(60)));
    }
}
