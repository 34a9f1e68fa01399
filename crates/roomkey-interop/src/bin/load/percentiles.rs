//! Times in their order.

use std::time::Duration;

pub(crate) struct Percentiles(Vec<Duration>);

impl Percentiles {
    pub(crate) fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// In milliseconds; 0 of nothing.
    pub(crate) fn at(&self, percent: usize) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last * percent).div_ceil(100)).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }
}
