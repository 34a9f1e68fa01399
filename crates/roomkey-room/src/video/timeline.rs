//! From timestamps that wrap to the time since the first frame.

use std::time::{Duration, Instant};

use super::frame::{VideoCodec, to_ticks};

/// Where a stream has got to.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    last: Option<Last>,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    timestamp: u32,
    /// Since the first frame, in units of the clock.
    ticks: i64,
    at: Instant,
}

impl Timeline {
    /// Who is further away from the clock than this counts from another beginning.
    const LEAP: i64 = 30 * VideoCodec::CLOCK_RATE as i64;

    /// How long after the first frame this one was taken, by its timestamp; by the clock where the timestamps begin anew, as
    /// those of another publication do. Never before the first.
    pub(super) fn elapsed(&mut self, now: Instant, timestamp: u32) -> Duration {
        let mut ticks = 0;
        if let Some(last) = self.last {
            let passed = i64::from(to_ticks(now.saturating_duration_since(last.at)));
            let step = i64::from(timestamp.wrapping_sub(last.timestamp) as i32);
            let step = if (step - passed).abs() > Self::LEAP { passed } else { step };
            ticks = last.ticks.saturating_add(step).max(0);
        }
        self.last = Some(Last { timestamp, ticks, at: now });
        let ticks = ticks.unsigned_abs();
        let rate = u64::from(VideoCodec::CLOCK_RATE);
        Duration::new(ticks / rate, (ticks % rate * 1_000_000_000 / rate) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_wrap_and_time_goes_on() {
        let now = crate::video::test_clock();
        let mut timeline = Timeline::default();
        let first = u32::MAX - 90_000;
        for second in 0..100_000_u32 {
            let timestamp = first.wrapping_add(second.wrapping_mul(90_000));
            assert_eq!(timeline.elapsed(now, timestamp), Duration::from_secs(second.into()));
        }
    }

    #[test]
    fn a_long_pause_is_counted_by_the_timestamps() {
        let now = crate::video::test_clock();
        let mut timeline = Timeline::default();
        timeline.elapsed(now, 7);
        let hour = Duration::from_secs(3_600);
        assert_eq!(timeline.elapsed(now + hour, 7 + 3_601 * 90_000), Duration::from_secs(3_601));
    }

    #[test]
    fn another_beginning_goes_on_by_the_clock() {
        let now = crate::video::test_clock();
        let mut timeline = Timeline::default();
        timeline.elapsed(now, 7);
        assert_eq!(timeline.elapsed(now, 7 + 45_000), Duration::from_millis(500));
        let later = now + Duration::from_secs(2);
        assert_eq!(timeline.elapsed(later, 4_000_000_000), Duration::from_millis(2_500));
        assert_eq!(timeline.elapsed(later, 4_000_000_000 - 360_000), Duration::ZERO, "not before the first");
    }

    #[test]
    fn every_tick_comes_back_from_its_duration() {
        let now = crate::video::test_clock();
        let mut timeline = Timeline::default();
        timeline.elapsed(now, 0);
        for tick in 1..200_000 {
            assert_eq!(to_ticks(timeline.elapsed(now, tick)), tick);
        }
    }
}
