//! From what a microphone gives to what a source is given.

use std::time::{Duration, Instant};

use super::super::converter::Converter;
use super::super::frame::AudioFormat;
use super::clutch::Clutch;
use super::drift::Drift;

/// Converts to 48 kHz, and to the machine's clock. It has no clock: tell it what has come at which time.
#[derive(Debug)]
pub(super) struct Intake {
    format: AudioFormat,
    converter: Converter,
    clutch: Clutch,
    drift: Drift,
    speed: f64,
    /// When something came last, and how far ahead of the machine's clock it was then, in seconds.
    last: Option<Instant>,
    ahead: f64,
    /// Whether all is let go until the source has less to send.
    skipping: bool,
    skipped: u64,
    converted: Vec<f32>,
}

impl Intake {
    /// More than this that waits to be sent is a delay that everybody hears: it is let go, down to the other.
    const MOST_QUEUED: Duration = Duration::from_millis(120);
    const FEW_QUEUED: Duration = Duration::from_millis(40);

    /// How far ahead or behind a device may be, beyond a period, before it is taken for a gap, in seconds.
    const SLACK: f64 = 0.060;

    pub(super) fn new(format: AudioFormat, num_channels: u32) -> Self {
        let to = AudioFormat { sample_rate: AudioFormat::OPUS_RATE, num_channels };
        Self {
            format,
            converter: Converter::new(format, to),
            clutch: Clutch::new(num_channels),
            drift: Drift::default(),
            speed: 1.0,
            last: None,
            ahead: 0.0,
            skipping: false,
            skipped: 0,
            converted: Vec::new(),
        }
    }

    /// Takes what has come until `now` (also where that is nothing), and appends what it makes to `out`.
    ///
    /// `lost` frames were not taken from the device, which gives `period` of them at a time. `queued` waits in the source.
    pub(super) fn push(
        &mut self,
        now: Instant,
        samples: &[f32],
        lost: u64,
        period: usize,
        queued: Duration,
        out: &mut Vec<f32>,
    ) {
        let frames = samples.len() / self.format.num_channels as usize;
        self.follow(now, frames as u64 + lost, period);
        self.skipping = queued > if self.skipping { Self::FEW_QUEUED } else { Self::MOST_QUEUED };
        if self.skipping {
            self.skipped += frames as u64;
            return;
        }
        self.converted.clear();
        self.converter.push(samples, &mut self.converted);
        self.clutch.push(&self.converted, out);
    }

    fn follow(&mut self, now: Instant, frames: u64, period: usize) {
        let Some(last) = self.last else {
            if frames > 0 {
                self.last = Some(now);
            }
            return;
        };
        let elapsed = now.saturating_duration_since(last).as_secs_f64();
        self.last = Some(now);
        self.ahead += self.seconds(frames) * self.speed - elapsed;
        if self.ahead.abs() > self.seconds(period as u64) + Self::SLACK {
            self.ahead = 0.0;
            self.drift.settle();
        }
        self.speed = self.drift.update(self.ahead, elapsed);
        self.clutch.set_speed(self.speed);
    }

    fn seconds(&self, frames: u64) -> f64 {
        frames as f64 / f64::from(self.format.sample_rate)
    }

    /// How much was let go because the source had too much to send.
    pub(super) fn skipped(&self) -> Duration {
        Duration::from_secs_f64(self.seconds(self.skipped))
    }

    /// By how many millionths the device is faster than the machine's clock.
    pub(super) fn drift_ppm(&self) -> f64 {
        self.drift.ppm()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tone;
    use super::*;
    use crate::clock;

    const MONO: AudioFormat = AudioFormat { sample_rate: 48_000, num_channels: 1 };

    /// What so many seconds of a tone become that a device gives whose clock is off.
    fn run(format: AudioFormat, ppm: f64, seconds: u64) -> (Vec<f32>, Intake) {
        let mut intake = Intake::new(format, 1);
        let rate = f64::from(format.sample_rate) * (1.0 + ppm / 1e6);
        let (start, mut given, mut out) = (clock::now(), 0, Vec::new());
        let period = format.sample_rate as usize / 100;
        for tick in 0..seconds * 100 {
            let until = (rate * tick as f64 / 100.0) as usize / period * period;
            // Its samples are of the machine's time, at which it takes more or fewer of them.
            let samples: Vec<_> = (given..until)
                .map(|n| 0.5 * (std::f64::consts::TAU * 440.0 * n as f64 / rate).sin() as f32)
                .flat_map(|sample| std::iter::repeat_n(sample, format.num_channels as usize))
                .collect();
            given = until;
            let now = start + Duration::from_millis(10 * tick);
            intake.push(now, &samples, 0, period, Duration::from_millis(20), &mut out);
        }
        (out, intake)
    }

    #[test]
    fn a_second_of_a_device_becomes_a_second_of_the_machine() {
        for ppm in [0.0, 150.0, -300.0] {
            let (out, intake) = run(MONO, ppm, 60);
            let off = out.len() as f64 - 60.0 * 48_000.0;
            assert!(off.abs() < 0.040 * 48_000.0, "{ppm}: {off}");
            assert!((intake.drift_ppm() - ppm).abs() < 250.0, "{ppm}: {}", intake.drift_ppm());
            let heard = &out[out.len() - 4_800..];
            let purity = tone::power_at(heard, 440.0, 48_000) / tone::power(heard);
            assert!(purity > 0.99, "{ppm}: {purity}");
        }
    }

    #[test]
    fn any_format_becomes_that_of_the_source() {
        for format in [
            AudioFormat { sample_rate: 44_100, num_channels: 2 },
            AudioFormat { sample_rate: 16_000, num_channels: 1 },
            AudioFormat { sample_rate: 96_000, num_channels: 4 },
        ] {
            let (out, _) = run(format, -80.0, 8);
            assert!((out.len() as f64 / 48_000.0 - 8.0).abs() < 0.08, "{format:?}: {}", out.len());
            let heard = &out[out.len() - 4_800..];
            assert!(tone::power_at(heard, 440.0, 48_000) > 0.99 * tone::power(heard), "{format:?}");
            assert!((0.12..0.13).contains(&tone::power(heard)), "{format:?}: {}", tone::power(heard));
        }
    }

    #[test]
    fn a_source_that_lags_behind_is_spared_until_it_has_caught_up() {
        let (mut intake, start, mut out) = (Intake::new(MONO, 1), clock::now(), Vec::new());
        let mut queued = Duration::from_millis(300);
        for tick in 0..40 {
            let before = out.len();
            intake.push(start + Duration::from_millis(10 * tick), &[0.1; 480], 0, 480, queued, &mut out);
            let taken = out.len() > before;
            assert_eq!(taken, queued <= Duration::from_millis(40), "{queued:?}");
            queued = if taken { queued } else { queued - Duration::from_millis(10) };
        }
        assert_eq!(intake.skipped(), Duration::from_millis(260));
    }

    #[test]
    fn a_gap_is_not_taken_for_drift() {
        let (mut intake, start, mut out) = (Intake::new(MONO, 1), clock::now(), Vec::new());
        for tick in 0..6_000 {
            // Once there is nothing for half a second, and once all of a second comes at once, most of it lost.
            let (samples, lost): (&[f32], _) = match tick {
                2_000..2_050 | 4_000..4_100 => (&[], 0),
                4_100 => (&[0.1; 480], 48_000),
                _ => (&[0.1; 480], 0),
            };
            let now = start + Duration::from_millis(10 * tick);
            intake.push(now, samples, lost, 480, Duration::ZERO, &mut out);
            assert!((intake.speed - 1.0).abs() < 0.003, "{tick}: {}", intake.speed);
        }
        assert!(intake.drift_ppm().abs() < 200.0, "{}", intake.drift_ppm());
    }
}
