//! Keeping apart those whose tokens are refused at one moment.

use std::time::Duration;

use crate::chance::unit;

/// Over what time clients spread that are refused at once, as all are when an API key is rotated; see
/// [`TokenSourceBuilder::rejection_spread`](crate::TokenSourceBuilder::rejection_spread).
///
/// A backend that answers `c` calls a second serves `n` clients within a window of `n / c` seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RejectionSpread {
    window: Duration,
}

impl RejectionSpread {
    /// Spreads them over a window, a day at most.
    #[must_use]
    pub fn new(window: Duration) -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self { window: window.min(DAY) }
    }

    /// How long a client waits before it asks for another token. `chance`, in `0.0..1.0`, is its own.
    #[must_use]
    pub fn wait(&self, chance: f64) -> Duration {
        self.window.mul_f64(unit(chance))
    }
}

impl From<Duration> for RejectionSpread {
    fn from(window: Duration) -> Self {
        Self::new(window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_a_part_of_the_window() {
        let spread = RejectionSpread::new(Duration::from_secs(60));
        for (chance, seconds) in [(0.0, 0), (0.5, 30), (1.0, 60), (7.0, 60), (-1.0, 0), (f64::NAN, 0)] {
            assert_eq!(spread.wait(chance), Duration::from_secs(seconds), "{chance}");
        }
        assert!(RejectionSpread::new(Duration::MAX).wait(1.0) < Duration::MAX);
    }
}
