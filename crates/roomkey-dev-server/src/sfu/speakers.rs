//! Who speaks, from the audio levels in the RTP header (RFC 6464): looked at every 400 ms, as livekit-server does.

use std::time::Duration;

/// How often levels become speakers.
pub(super) const INTERVAL: Duration = Duration::from_millis(400);
/// Levels are in -dBov: 0 is loudest, 127 silence. Louder than this counts as speech.
const LOUD: u8 = 35;
/// The share of an interval's packets, in percent, that must be loud.
const MIN_PERCENT: u32 = 40;
/// Levels are told in steps of an eighth, so that they don't change all the time.
const STEPS: f32 = 8.0;

/// The levels of one track within an interval.
#[derive(Debug, Default)]
pub(super) struct LevelMeter {
    packets: u32,
    loud_packets: u32,
    loudness: f32,
}

impl LevelMeter {
    /// A packet's level, in -dBov.
    pub(super) fn observe(&mut self, level: u8) {
        self.packets += 1;
        if level <= LOUD {
            self.loud_packets += 1;
            self.loudness += 10_f32.powf(-f32::from(level) / 20.0);
        }
    }

    /// How loud the interval was, from 0 to 1, where there was speech; begins the next one.
    pub(super) fn take(&mut self) -> Option<f32> {
        let meter = std::mem::take(self);
        if meter.loud_packets == 0 || meter.loud_packets * 100 < meter.packets * MIN_PERCENT {
            return None;
        }
        let mean = meter.loudness / meter.loud_packets as f32;
        Some(((mean * STEPS).ceil() / STEPS).clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loud_packets_are_speech_and_few_are_not() {
        let mut meter = LevelMeter::default();
        assert_eq!(meter.take(), None);
        for level in [20, 20, 127, 127] {
            meter.observe(level);
        }
        assert_eq!(meter.take(), Some(0.125));
        for level in [20, 127, 127, 127] {
            meter.observe(level);
        }
        assert_eq!(meter.take(), None);
        meter.observe(0);
        assert_eq!(meter.take(), Some(1.0));
        assert_eq!(meter.take(), None);
    }
}
