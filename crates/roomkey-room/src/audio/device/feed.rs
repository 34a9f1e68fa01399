//! From what is to be heard to what a loudspeaker is given.

use std::time::{Duration, Instant};

use super::super::converter::Converter;
use super::super::frame::AudioFormat;
use super::super::processor::AudioProcessor;
use super::clutch::Clutch;
use super::drift::Drift;
use super::limiter::Limiter;
use super::mixer::Mixer;
use super::{BLOCK, TICK};

/// Mixes by the machine's clock and converts to the device's clock and format, so that the ring before the device is as full
/// as it has to be. It has no clock: tell it the time every 10 ms.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) mixer: Mixer,
    format: AudioFormat,
    num_channels: u32,
    limiter: Limiter,
    clutch: Clutch,
    converter: Converter,
    drift: Drift,
    /// In frames.
    reserve: f64,
    /// When the next 10 ms are to be mixed, and when it was told the time last.
    due: Option<Instant>,
    last: Option<Instant>,
    /// Frames of the device that were left out or put in.
    adjusted: u64,
    block: Vec<f32>,
    clutched: Vec<f32>,
    made: Vec<f32>,
}

impl Feed {
    /// How much the ring holds beyond what the device takes at a time, and how far it may be from that, beyond half of what
    /// the device takes, before it is put right at once; in seconds.
    const RESERVE: f64 = 0.020;

    /// How much more of both where samples of another rate come 20 ms at a time.
    const RESAMPLED: f64 = 0.010;

    /// Who is told the time later than that has missed something.
    const STALL: Duration = Duration::from_millis(100);

    pub(super) fn new(format: AudioFormat) -> Self {
        let num_channels = format.num_channels.min(2);
        let mixed = AudioFormat { sample_rate: AudioFormat::OPUS_RATE, num_channels };
        Self {
            mixer: Mixer::new(num_channels),
            format,
            num_channels,
            limiter: Limiter::new(),
            clutch: Clutch::new(num_channels),
            converter: Converter::new(mixed, format),
            drift: Drift::default(),
            reserve: Self::reserve(format) * f64::from(format.sample_rate),
            due: None,
            last: None,
            adjusted: 0,
            block: Vec::new(),
            clutched: Vec::new(),
            made: Vec::new(),
        }
    }

    /// How much silence a ring begins with, for a device that takes 10 ms at a time.
    pub(super) fn start(format: AudioFormat) -> usize {
        ((Self::reserve(format) + TICK.as_secs_f64()) * f64::from(format.sample_rate)) as usize
    }

    fn reserve(format: AudioFormat) -> f64 {
        Self::RESERVE + if format.sample_rate == AudioFormat::OPUS_RATE { 0.0 } else { Self::RESAMPLED }
    }

    /// Appends what the device is to be given at `now` to `out`. `buffered` frames are in the ring, and the device takes
    /// `period` of them at a time.
    pub(super) fn tick(
        &mut self,
        now: Instant,
        buffered: usize,
        period: usize,
        processor: Option<&dyn AudioProcessor>,
        out: &mut Vec<f32>,
    ) {
        let mut due = self.due.unwrap_or(now);
        if now.saturating_duration_since(due) > Self::STALL {
            due = now;
        }
        self.made.clear();
        while due <= now {
            due += TICK;
            self.make(processor);
        }
        self.due = Some(due);
        self.balance(now, buffered, period, out);
    }

    /// The next 10 ms.
    fn make(&mut self, processor: Option<&dyn AudioProcessor>) {
        self.mixer.mix(&mut self.block);
        debug_assert_eq!(self.block.len(), BLOCK * self.num_channels as usize);
        if let Some(processor) = processor {
            processor.process_render(&mut self.block, self.num_channels);
        }
        self.limiter.limit(&mut self.block, self.num_channels);
        self.clutched.clear();
        self.clutch.push(&self.block, &mut self.clutched);
        self.converter.push(&self.clutched, &mut self.made);
    }

    /// Appends what was made, with more silence or without its beginning where the ring is far from what it should be, and
    /// goes on a little faster or slower.
    fn balance(&mut self, now: Instant, buffered: usize, period: usize, out: &mut Vec<f32>) {
        let rate = f64::from(self.format.sample_rate);
        let channels = self.format.num_channels as usize;
        let target = period as f64 + self.reserve;
        let ahead = (buffered + self.made.len() / channels) as f64 - target;
        let elapsed = self.last.map_or(0.0, |last| now.saturating_duration_since(last).as_secs_f64());
        self.last = Some(now);
        let off = ahead.abs() as usize;
        if off > (period as f64 / 2.0 + self.reserve) as usize || buffered == 0 && ahead < 0.0 {
            self.drift.settle();
            if ahead < 0.0 {
                self.adjusted += off as u64;
                out.resize(out.len() + off * channels, 0.0);
            } else {
                let off = off.min(self.made.len() / channels);
                self.adjusted += off as u64;
                self.made.drain(..off * channels);
            }
        } else {
            self.clutch.set_speed(self.drift.update(ahead / rate, elapsed));
        }
        out.extend_from_slice(&self.made);
    }

    /// How much was left out or put in.
    pub(super) fn adjusted(&self) -> Duration {
        Duration::from_secs_f64(self.adjusted as f64 / f64::from(self.format.sample_rate)) + self.mixer.dropped()
    }

    /// By how many millionths the device is faster than the machine's clock.
    pub(super) fn drift_ppm(&self) -> f64 {
        -self.drift.ppm()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::frame::AudioFrame;
    use super::super::super::tone;
    use super::super::mixer::{InputId, Pace};
    use super::*;
    use crate::clock;

    /// What a device of that format plays whose clock is off, which takes `period` ms at a time, while a tone is sounded;
    /// how much of it was missing after the first second, and the feed.
    fn run(format: AudioFormat, ppm: f64, period_ms: u32, seconds: u64, seed: u64) -> (Vec<f32>, usize, Feed) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut feed = Feed::new(format);
        feed.mixer.add(InputId(0), Pace::OnDemand);
        let channels = format.num_channels as usize;
        let rate = f64::from(format.sample_rate) * (1.0 + ppm / 1e6);
        let period = (format.sample_rate * period_ms / 1_000) as usize;
        let (start, mut ring, mut played, mut missing) = (clock::now(), Vec::new(), Vec::new(), 0);
        let (mut asked, mut sounded) = (0, 0);
        for tick in 0..seconds * 100 {
            // It is told the time up to 3 ms late.
            let at = 0.010 * tick as f64 + 0.003 * rng.f64();
            while asked + period <= (at * rate) as usize {
                asked += period;
                let taken = ring.len().min(period * channels);
                missing += if asked > format.sample_rate as usize { period - taken / channels } else { 0 };
                played.extend(ring.drain(..taken).step_by(channels));
            }
            while feed.mixer.wants(InputId(0)) {
                let turns = (sounded..sounded + 480).map(|n| std::f64::consts::TAU * 440.0 * f64::from(n) / 48_000.0);
                sounded += 480;
                let samples: Vec<_> = turns.map(|turns| 0.5 * turns.sin() as f32).collect();
                feed.mixer.push(InputId(0), &AudioFrame::new(samples, 48_000, 1).unwrap());
            }
            let buffered = ring.len() / channels;
            feed.tick(start + Duration::from_secs_f64(at), buffered, period, None, &mut ring);
        }
        (played, missing, feed)
    }

    #[test]
    fn a_device_of_any_clock_and_format_is_never_without_sound() {
        let devices = [(48_000, 2, 0.0, 10), (44_100, 2, 200.0, 5), (48_000, 1, -200.0, 20), (96_000, 6, 300.0, 10)];
        for (seed, (sample_rate, num_channels, ppm, period)) in devices.into_iter().enumerate() {
            let format = AudioFormat { sample_rate, num_channels };
            let (played, missing, feed) = run(format, ppm, period, 40, seed as u64);
            assert_eq!(missing, 0, "{format:?} {ppm} {period}");
            assert!(feed.adjusted() < Duration::from_millis(60), "{format:?} {ppm}: {:?}", feed.adjusted());
            assert!((feed.drift_ppm() - ppm).abs() < 350.0, "{format:?} {ppm}: {}", feed.drift_ppm());
            let heard = &played[played.len() - sample_rate as usize / 10..];
            let purity = tone::power_at(heard, 440.0 / (1.0 + ppm / 1e6), sample_rate) / tone::power(heard);
            assert!(purity > 0.99, "{format:?} {ppm}: {purity}");
        }
    }

    #[test]
    fn a_ring_that_ran_dry_is_filled_at_once_and_one_that_is_too_full_is_emptied() {
        let format = AudioFormat { sample_rate: 48_000, num_channels: 1 };
        let (mut feed, start) = (Feed::new(format), clock::now());
        let mut given = |ms: u64, buffered| {
            let mut out = Vec::new();
            feed.tick(start + Duration::from_millis(ms), buffered, 480, None, &mut out);
            out.len()
        };
        assert_eq!(given(0, 0), 480 + 960);
        assert_eq!(given(10, 960), 480);
        assert_eq!(given(20, 0), 480 + 960);
        assert_eq!(given(30, 4_800), 0);
        assert_eq!(given(40, 1_900), 480);
        assert_eq!(given(2_000, 960), 480, "what nobody asked for in time is not made up for");
        assert!(feed.adjusted() > Duration::from_millis(45));
    }

    #[derive(Debug, Default)]
    struct Rendered(std::sync::Mutex<Vec<f32>>);

    impl AudioProcessor for Rendered {
        fn process_capture(&self, _: &mut [f32], _: u32) {}

        fn process_render(&self, samples: &mut [f32], num_channels: u32) {
            assert_eq!((samples.len(), num_channels), (960, 2));
            self.0.lock().unwrap().extend_from_slice(samples);
        }
    }

    #[test]
    fn a_processor_is_told_of_the_mix() {
        let mut feed = Feed::new(AudioFormat { sample_rate: 44_100, num_channels: 4 });
        let (rendered, start) = (Rendered::default(), clock::now());
        for id in [InputId(0), InputId(1)] {
            feed.mixer.add(id, Pace::OnDemand);
            feed.mixer.push(id, &AudioFrame::new(vec![0.25; 4_800], 48_000, 1).unwrap());
        }
        for tick in 0..10 {
            feed.tick(start + TICK * tick, 1_323, 441, Some(&rendered), &mut Vec::new());
        }
        let rendered = rendered.0.into_inner().unwrap();
        assert_eq!(rendered.len(), 9_600);
        assert!(rendered[960..].iter().all(|sample| *sample == 0.5));
    }
}
