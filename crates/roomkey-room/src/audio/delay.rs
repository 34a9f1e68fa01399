//! How long packets are kept before they are played.

use std::collections::VecDeque;
use std::time::Duration;

/// Watches how much later than the fastest packets come, and says how long to wait for them.
///
/// Times are in microseconds. The transit of a packet is when it came less when it was sent, by two clocks that have nothing
/// in common: only differences mean something.
#[derive(Debug)]
pub(crate) struct DelayEstimator {
    bounds: DelayBounds,
    target: i64,
    transits: VecDeque<i64>,
    previous: Option<i64>,
    /// What had piled up in an outage is coming.
    draining: bool,
    lateness: Vec<i64>,
}

/// Between what the delay stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DelayBounds {
    pub(crate) least: Duration,
    pub(crate) most: Duration,
}

impl DelayEstimator {
    /// As much as one packet: what redundancy brings is in the next one.
    const MARGIN: i64 = 20_000;

    /// As it begins, before anything is known.
    const INITIAL: i64 = 40_000;

    /// How many packets are looked back on; 5 seconds of them.
    const WINDOW: usize = 250;

    /// By how much the target falls with each packet: 20 ms a second.
    const FALL: i64 = 400;

    /// A packet that comes so much later than the one before it comes after an outage, which is no jitter.
    const OUTAGE: i64 = 200_000;

    /// What comes at once was sent at least so far apart, mostly.
    const APART: i64 = 10_000;

    pub(crate) fn new(bounds: DelayBounds) -> Self {
        let mut estimator = Self {
            bounds,
            target: 0,
            transits: VecDeque::with_capacity(Self::WINDOW),
            previous: None,
            draining: false,
            lateness: Vec::new(),
        };
        estimator.set_target(Self::INITIAL);
        estimator
    }

    /// A packet has come.
    pub(crate) fn handle(&mut self, transit: i64) {
        if let Some(previous) = self.previous.replace(transit) {
            let draining = self.draining && transit < previous - Self::APART;
            self.draining = draining || transit > previous + Self::OUTAGE;
            if self.draining {
                return;
            }
        }
        if self.fastest().is_some_and(|fastest| transit < fastest - Self::APART) {
            // The way has become shorter.
            self.transits.clear();
        }
        if self.transits.len() == Self::WINDOW {
            self.transits.pop_front();
        }
        self.transits.push_back(transit);
        let wanted = self.late_ones() + Self::MARGIN;
        self.set_target(wanted.max(self.target - Self::FALL));
    }

    /// A packet came so late that nothing was left to play: wait as long as it takes, from now on.
    pub(crate) fn raise(&mut self, delay: i64) {
        self.set_target(delay.max(self.target));
    }

    /// What is known of the network is of before something that changed it.
    pub(crate) fn forget(&mut self) {
        self.transits.clear();
        self.previous = None;
        self.draining = false;
    }

    pub(crate) fn target(&self) -> i64 {
        self.target
    }

    pub(crate) fn least(&self) -> i64 {
        micros(self.bounds.least)
    }

    pub(crate) fn most(&self) -> i64 {
        micros(self.bounds.most)
    }

    /// The transit of the fastest packet in the window.
    pub(crate) fn fastest(&self) -> Option<i64> {
        self.transits.iter().min().copied()
    }

    /// That of the last packet.
    pub(crate) fn previous(&self) -> Option<i64> {
        self.previous
    }

    fn set_target(&mut self, target: i64) {
        self.target = target.min(micros(self.bounds.most)).max(micros(self.bounds.least));
    }

    /// How late the latest 5 % are at least.
    fn late_ones(&mut self) -> i64 {
        let fastest = self.fastest().unwrap_or(0);
        self.lateness.clear();
        self.lateness.extend(self.transits.iter().map(|transit| transit - fastest));
        let Some(last) = self.lateness.len().checked_sub(1) else { return 0 };
        *self.lateness.select_nth_unstable(last * 19 / 20).1
    }
}

pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimator() -> DelayEstimator {
        DelayEstimator::new(DelayBounds { least: Duration::from_millis(20), most: Duration::from_millis(200) })
    }

    #[test]
    fn jitter_raises_the_delay_at_once_and_calm_lowers_it_slowly() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut estimator = estimator();
        assert_eq!(estimator.target(), 40_000);
        (0..250).for_each(|_| estimator.handle(500_000 + rng.i64(0..80_000)));
        assert!((85_000..105_000).contains(&estimator.target()), "{}", estimator.target());
        let high = estimator.target();
        (0..50).for_each(|_| estimator.handle(500_000 + rng.i64(0..1_000)));
        assert!(estimator.target() >= high - 20_000, "{} after {high}", estimator.target());
        (0..600).for_each(|_| estimator.handle(500_000));
        assert_eq!(estimator.target(), 20_000);
    }

    #[test]
    fn the_delay_stays_within_its_bounds() {
        let mut estimator = estimator();
        (0..250).for_each(|n| estimator.handle(n * 10_000));
        assert_eq!(estimator.target(), 200_000);
        estimator.raise(i64::MAX);
        assert_eq!(estimator.target(), 200_000);
    }

    #[test]
    fn what_had_piled_up_is_no_jitter() {
        for forgets in [false, true] {
            let mut estimator = estimator();
            (0..100).for_each(|_| estimator.handle(0));
            if forgets {
                estimator.forget();
            }
            (0..500).rev().for_each(|n| estimator.handle(n * 20_000));
            (0..10).for_each(|_| estimator.handle(0));
            assert!(estimator.target() <= 40_000, "{}", estimator.target());
            assert_eq!(estimator.fastest(), Some(0));
        }
    }
}
