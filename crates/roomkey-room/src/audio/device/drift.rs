//! By how much a device's clock is faster or slower than the machine's.

/// A control loop that keeps how far one side is ahead of the other at nothing, by making it slower or faster.
///
/// What is measured goes up and down by what a device takes at a time, some 10 ms, which is more than what is looked for; so
/// the loop is slow: it has the drift of a device after some minutes, and changes speed by less than can be heard.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drift {
    /// How far ahead, in seconds, over a while.
    smoothed: f64,
    /// How much slower it has to be for good.
    rate: f64,
}

impl Drift {
    /// The most that the speed is changed: half a hundredth. No device is that far off.
    const MOST: f64 = 0.005;
    /// Seconds over which the measure is smoothed.
    const SMOOTHING: f64 = 2.0;
    /// How much slower for a second ahead, and how much more for each second that it stays so. Such that it settles without
    /// swinging: the first squared is four times the second.
    const PROPORTIONAL: f64 = 0.04;
    const INTEGRAL: f64 = 0.000_4;

    /// This is how far ahead it is, `elapsed` seconds after the last time. Gives the speed to go on with, around 1.0.
    pub(super) fn update(&mut self, ahead: f64, elapsed: f64) -> f64 {
        self.smoothed += (ahead - self.smoothed) * (elapsed / Self::SMOOTHING).min(1.0);
        self.rate = (self.rate + Self::INTEGRAL * self.smoothed * elapsed).clamp(-Self::MOST, Self::MOST);
        1.0 - (self.rate + Self::PROPORTIONAL * self.smoothed).clamp(-Self::MOST, Self::MOST)
    }

    /// How far ahead it was has been put right at once. What was found of the speed stays.
    pub(super) fn settle(&mut self) {
        self.smoothed = 0.0;
    }

    /// What has been found, in millionths: positive where it would be ahead more and more.
    pub(super) fn ppm(&self) -> f64 {
        self.rate * 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A buffer that fills at the rate of one clock and is emptied by a device with another, a period at a time; how far it
    /// was off at most, in seconds, during the last five of twenty minutes and over all, and the loop.
    fn run(ppm: f64, period: f64, seed: u64) -> (f64, f64, Drift) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut drift, mut speed) = (Drift::default(), 1.0);
        let (mut filled, mut taken, mut last) = (0.0, 0.0, 0.0);
        let (mut late, mut all) = (0.0_f64, 0.0_f64);
        let mut now = 0.0;
        while now < 1_200.0 {
            // A task that runs every 10 ms, up to 3 ms late.
            let tick = last + 0.010;
            let at = tick + 0.003 * rng.f64();
            filled += (at - now) * speed;
            now = at;
            last = tick;
            while taken + period <= now * (1.0 + ppm / 1e6) {
                taken += period;
            }
            let exact = filled - now * (1.0 + ppm / 1e6);
            all = all.max(exact.abs());
            if now > 900.0 {
                late = late.max(exact.abs());
            }
            speed = drift.update(filled - taken - period / 2.0, 0.010);
        }
        (late, all, drift)
    }

    #[test]
    fn a_device_of_any_drift_is_followed() {
        for (seed, ppm) in [0.0, 20.0, -50.0, 200.0, -300.0, 1_000.0, -1_000.0].into_iter().enumerate() {
            let (late, all, drift) = run(ppm, 0.010, seed as u64);
            assert!(late < 0.006, "{ppm}: {late}");
            assert!(all < 0.025, "{ppm}: {all}");
            assert!((drift.ppm() + ppm).abs() < 120.0, "{ppm}: {}", drift.ppm());
        }
    }

    #[test]
    fn long_periods_do_not_make_it_swing() {
        for (seed, period) in [0.0027, 0.021_333, 0.0427, 0.1].into_iter().enumerate() {
            let (late, all, _) = run(80.0, period, 40 + seed as u64);
            assert!(late < 0.006 + period / 2.0, "{period}: {late}");
            assert!(all < 0.012 + period / 2.0, "{period}: {all}");
        }
    }

    #[test]
    fn the_speed_never_changes_by_more_than_half_a_hundredth() {
        let mut drift = Drift::default();
        for ahead in [1e9, -1e9] {
            for _ in 0..1_000 {
                let speed = drift.update(ahead, 1.0);
                assert!((0.995..=1.005).contains(&speed), "{speed}");
            }
        }
        drift.settle();
        assert!((drift.ppm() + 5_000.0).abs() < 1e-6, "{}", drift.ppm());
    }
}
