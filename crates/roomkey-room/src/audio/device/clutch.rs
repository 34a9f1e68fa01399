//! Sound made a little longer or shorter.

use std::fmt;

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Adjustable, FixedAsync, Resampler, Slip};

use super::BLOCK;

/// Passes 48 kHz on a little faster or slower: single samples are dropped or doubled under a cross-fade.
///
/// It takes steps of 10 ms; what makes none yet waits.
pub(super) struct Clutch {
    slip: Slip<f32>,
    channels: usize,
    waiting: Vec<f32>,
    made: Vec<f32>,
}

impl Clutch {
    pub(super) fn new(num_channels: u32) -> Self {
        let channels = num_channels as usize;
        let slip = Slip::new(BLOCK, channels, FixedAsync::Input).expect("a step is longer than a cross-fade");
        let made = vec![0.0; slip.output_frames_max() * channels];
        Self { slip, channels, waiting: Vec::new(), made }
    }

    /// The speed from here on: how much comes out of what goes in.
    pub(super) fn set_speed(&mut self, speed: f64) {
        // Beyond what it can do it does what it can.
        let _ = self.slip.set_resample_ratio(speed, false);
    }

    /// Takes samples, and appends what they make to `out`.
    pub(super) fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        self.waiting.extend_from_slice(samples);
        let step = BLOCK * self.channels;
        let whole = self.waiting.len() - self.waiting.len() % step;
        for input in self.waiting[..whole].chunks_exact(step) {
            let input = InterleavedSlice::new(input, self.channels, BLOCK).expect("whole samples");
            let room = self.made.len() / self.channels;
            let mut output = InterleavedSlice::new_mut(&mut self.made, self.channels, room).expect("whole samples");
            let (_, frames) = self.slip.process_into_buffer(&input, &mut output, None).expect("a step and room for it");
            out.extend_from_slice(&self.made[..frames * self.channels]);
        }
        self.waiting.drain(..whole);
    }
}

impl fmt::Debug for Clutch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clutch").field("speed", &self.slip.resample_ratio()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tone;
    use super::*;

    #[test]
    fn a_tone_stays_a_tone_and_has_the_length_that_it_should() {
        let sent = tone::sine(440.0, 0.5, 48_000, 480_000);
        for speed in [1.0, 1.0001, 0.9999, 1.001, 0.998] {
            let mut clutch = Clutch::new(1);
            clutch.set_speed(speed);
            let mut heard = Vec::new();
            sent.chunks(333).for_each(|piece| clutch.push(piece, &mut heard));
            let expected = (sent.len() - 480) as f64 * speed;
            assert!((heard.len() as f64 - expected).abs() < 482.0, "{speed}: {}", heard.len());
            let heard = &heard[..96_000];
            let purity = tone::power_at(heard, 440.0 / speed, 48_000) / tone::power(heard);
            assert!(purity > 0.999, "{speed}: {purity}");
            let steepest = heard.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
            assert!(steepest < 0.031, "no click, {speed}: {steepest}");
        }
    }

    #[test]
    fn channels_stay_apart() {
        let mut clutch = Clutch::new(2);
        clutch.set_speed(1.002);
        let mut heard = Vec::new();
        clutch.push(&[0.25, -0.5].repeat(4_800), &mut heard);
        assert!(heard.len() >= 9_600 && heard.chunks(2).all(|frame| frame == [0.25, -0.5]));
    }
}
