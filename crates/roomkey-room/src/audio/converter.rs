//! Sound of one rate and number of channels made into that of another.

use std::fmt;
use std::time::Duration;

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler};

use super::frame::AudioFormat;

/// Converts a stream. Samples come out as soon as there are enough for a step of about 20 ms, delayed by half a step.
pub(crate) struct Converter {
    from: AudioFormat,
    to: AudioFormat,
    resampling: Option<Resampling>,
    /// The input with as many channels as are resampled.
    mixed: Vec<f32>,
}

impl Converter {
    pub(crate) fn new(from: AudioFormat, to: AudioFormat) -> Self {
        let resampling = (from.sample_rate != to.sample_rate).then(|| Resampling::new(from, to));
        Self { from, to, resampling, mixed: Vec::new() }
    }

    pub(crate) fn from(&self) -> AudioFormat {
        self.from
    }

    /// How much of what was taken has not come out: what waits for a whole step, and the resampler's half step.
    pub(crate) fn pending(&self) -> Duration {
        let Some(resampling) = &self.resampling else { return Duration::ZERO };
        let samples =
            self.mixed.len() / resampling.channels as usize + resampling.step_in() / resampling.channels as usize / 2;
        Duration::from_secs_f64(samples as f64 / f64::from(self.from.sample_rate))
    }

    /// Takes samples, and appends what they make to `out`.
    pub(crate) fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        let Some(resampling) = &mut self.resampling else {
            return mix(samples, self.from.num_channels, self.to.num_channels, out);
        };
        mix(samples, self.from.num_channels, resampling.channels, &mut self.mixed);
        resampling.run(&mut self.mixed, self.to.num_channels, out);
    }

    /// Appends what is still on its way, as if silence came behind it.
    pub(crate) fn flush(&mut self, out: &mut Vec<f32>) {
        let Some(resampling) = &mut self.resampling else { return };
        if !self.mixed.is_empty() {
            self.mixed.resize(resampling.step_in(), 0.0);
            resampling.run(&mut self.mixed, self.to.num_channels, out);
        }
        // The resampler is half a step behind.
        self.mixed.resize(resampling.step_in(), 0.0);
        resampling.run(&mut self.mixed, self.to.num_channels, out);
        resampling.resampler.reset();
    }
}

impl fmt::Debug for Converter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Converter").field("from", &self.from).field("to", &self.to).finish_non_exhaustive()
    }
}

struct Resampling {
    resampler: Box<Fft<f32>>,
    channels: u32,
    /// What a step made, before the channels are mixed.
    made: Vec<f32>,
}

impl Resampling {
    fn new(from: AudioFormat, to: AudioFormat) -> Self {
        let channels = from.num_channels.min(to.num_channels);
        let [from, to] = [from, to].map(|format| format.sample_rate as usize);
        let resampler = Fft::new_custom(
            from,
            to,
            from / 50,
            1,
            channels as usize,
            rubato::WindowFunction::BlackmanHarris2,
            FixedSync::Both,
        );
        let resampler = resampler.expect("the format's rates and channels are within the resampler's");
        let made = vec![0.0; resampler.output_frames_max() * channels as usize];
        Self { resampler: Box::new(resampler), channels, made }
    }

    /// Samples of a step, all channels.
    fn step_in(&self) -> usize {
        self.resampler.input_frames_next() * self.channels as usize
    }

    /// Takes whole steps off the front of `mixed`.
    fn run(&mut self, mixed: &mut Vec<f32>, channels: u32, out: &mut Vec<f32>) {
        let step = self.step_in();
        let whole = mixed.len() - mixed.len() % step;
        for input in mixed[..whole].chunks_exact(step) {
            let width = self.channels as usize;
            let input = InterleavedSlice::new(input, width, input.len() / width).expect("whole samples");
            let room = self.made.len() / width;
            let mut output = InterleavedSlice::new_mut(&mut self.made, width, room).expect("whole samples");
            let (_, frames) =
                self.resampler.process_into_buffer(&input, &mut output, None).expect("a step and room for it");
            mix(&self.made[..frames * width], self.channels, channels, out);
        }
        mixed.drain(..whole);
    }
}

/// Appends the samples with another number of channels: all are averaged into one, one is copied to all, and of more than
/// there is room for the first are kept. What is not a number becomes silence.
fn mix(samples: &[f32], from: u32, to: u32, out: &mut Vec<f32>) {
    let finite = |sample: &f32| if sample.is_finite() { *sample } else { 0.0 };
    let [from, to] = [from, to].map(|channels| channels as usize);
    if from == to {
        return out.extend(samples.iter().map(finite));
    }
    for sample in samples.chunks_exact(from) {
        if to == 1 {
            out.push(sample.iter().map(finite).sum::<f32>() / from as f32);
        } else {
            out.extend((0..to).map(|channel| finite(&sample[channel.min(from - 1)])));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tone;
    use super::*;

    fn format(sample_rate: u32, num_channels: u32) -> AudioFormat {
        AudioFormat::new(sample_rate, num_channels).unwrap()
    }

    fn convert(from: AudioFormat, to: AudioFormat, samples: &[f32], piece: usize) -> Vec<f32> {
        let mut converter = Converter::new(from, to);
        let mut out = Vec::new();
        for piece in samples.chunks(piece) {
            converter.push(piece, &mut out);
        }
        converter.flush(&mut out);
        out
    }

    #[test]
    fn every_rate_keeps_a_tone_on_the_way_to_opus_and_back() {
        for rate in [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 96_000] {
            for (from, to) in [(rate, 48_000), (48_000, rate)] {
                let sent = tone::sine(1_000.0, 0.5, from, from as usize);
                let received = convert(format(from, 1), format(to, 1), &sent, from as usize / 100);
                assert!(received.len() >= to as usize, "{from} to {to}: {}", received.len());
                assert!(received.len() < to as usize * 11 / 10, "{from} to {to}: {}", received.len());
                let heard = &received[to as usize / 10..to as usize * 9 / 10];
                let ratio = tone::power(heard) / tone::power(&sent);
                assert!((0.98..1.02).contains(&ratio), "{from} to {to}: {ratio}");
                let purity = tone::power_at(heard, 1_000.0, to) / tone::power(heard);
                assert!(purity > 0.999, "{from} to {to}: {purity}");
            }
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_carry_does_not_come_back_as_another_tone() {
        let sent = tone::sine(6_000.0, 0.5, 48_000, 48_000);
        let received = convert(format(48_000, 1), format(8_000, 1), &sent, 480);
        assert!(tone::power(&received[800..7_200]) < 1e-4 * tone::power(&sent));
    }

    #[test]
    fn pieces_of_any_length_make_the_same_sound() {
        let sent = tone::sine(700.0, 0.5, 16_000, 16_000);
        let whole = convert(format(16_000, 1), format(48_000, 2), &sent, 16_000);
        for piece in [1, 7, 160, 333] {
            assert_eq!(convert(format(16_000, 1), format(48_000, 2), &sent, piece), whole, "{piece}");
        }
    }

    #[test]
    fn channels_are_averaged_copied_or_left_out() {
        let mut out = Vec::new();
        mix(&[0.5, 0.1, 1.0, f32::NAN], 2, 1, &mut out);
        assert_eq!(out, [0.3, 0.5]);
        out.clear();
        mix(&[0.5, 0.1], 1, 2, &mut out);
        assert_eq!(out, [0.5, 0.5, 0.1, 0.1]);
        out.clear();
        mix(&[0.1, 0.2, 0.3], 3, 2, &mut out);
        assert_eq!(out, [0.1, 0.2]);
    }
}
