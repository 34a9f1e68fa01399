//! A processor with what WebRTC does to a microphone.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sonora::config::{EchoCanceller, GainController2, HighPassFilter, NoiseSuppression, Pipeline};
use sonora::{AudioProcessing, Config, StreamConfig};

use super::frame::AudioFormat;
use super::processor::AudioProcessor;

/// Echo cancellation, noise suppression and gain control as libwebrtc has them, ported to Rust (crate `sonora`).
///
/// For echoes to be cancelled, what the loudspeaker plays has to be known: give the same processor to the stream that is
/// played, or call [`process_render`](AudioProcessor::process_render) with the mix of several. It does not change what is
/// played.
pub struct SonoraProcessor {
    state: Mutex<State>,
}

struct State {
    processing: AudioProcessing,
    /// Each channel by itself, before and after.
    input: Vec<Vec<f32>>,
    output: Vec<Vec<f32>>,
}

impl SonoraProcessor {
    /// A processor that does what the options say.
    pub fn new(options: SonoraOptions) -> Self {
        let config = Config {
            pipeline: Pipeline { multi_channel_render: true, multi_channel_capture: true, ..Pipeline::default() },
            high_pass_filter: Some(HighPassFilter::default()),
            echo_canceller: options.echo_cancellation.then(EchoCanceller::default),
            noise_suppression: options.noise_suppression.then(NoiseSuppression::default),
            gain_controller2: options.gain_control.then(GainController2::default),
            ..Config::default()
        };
        let mut processing = AudioProcessing::builder().config(config).build();
        let delay = i32::try_from(options.delay.as_millis()).unwrap_or(i32::MAX);
        // More than it knows how to handle is the most that it does.
        let _ = processing.set_stream_delay_ms(delay);
        Self { state: Mutex::new(State { processing, input: Vec::new(), output: Vec::new() }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AudioProcessor for SonoraProcessor {
    fn process_capture(&self, samples: &mut [f32], num_channels: u32) {
        let mut state = self.state();
        let State { processing, input, output } = &mut *state;
        split(samples, num_channels, input, output);
        let format = stream_config(num_channels);
        let channels: Vec<_> = input.iter().map(Vec::as_slice).collect();
        let mut processed: Vec<_> = output.iter_mut().map(Vec::as_mut_slice).collect();
        // It takes any rate and number of channels; should it not, the sound stays as it was.
        if processing.process_capture_f32_with_config(&channels, &format, &format, &mut processed).is_ok() {
            for (n, channel) in output.iter().enumerate() {
                samples.iter_mut().skip(n).step_by(output.len()).zip(channel).for_each(|(to, from)| *to = *from);
            }
        }
    }

    fn process_render(&self, samples: &mut [f32], num_channels: u32) {
        let mut state = self.state();
        let State { processing, input, output } = &mut *state;
        split(samples, num_channels, input, output);
        let format = stream_config(num_channels);
        let channels: Vec<_> = input.iter().map(Vec::as_slice).collect();
        let mut unheard: Vec<_> = output.iter_mut().map(Vec::as_mut_slice).collect();
        let _ = processing.process_render_f32_with_config(&channels, &format, &format, &mut unheard);
    }
}

impl fmt::Debug for SonoraProcessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SonoraProcessor").finish_non_exhaustive()
    }
}

fn stream_config(num_channels: u32) -> StreamConfig {
    StreamConfig::new(AudioFormat::OPUS_RATE, u16::try_from(num_channels).unwrap_or(u16::MAX))
}

/// Puts each channel by itself, and makes room for what becomes of it.
fn split(samples: &[f32], num_channels: u32, input: &mut Vec<Vec<f32>>, output: &mut Vec<Vec<f32>>) {
    let channels = num_channels as usize;
    input.resize_with(channels, Vec::new);
    output.resize_with(channels, Vec::new);
    for (n, (input, output)) in input.iter_mut().zip(output).enumerate() {
        input.clear();
        input.extend(samples.iter().skip(n).step_by(channels));
        output.resize(input.len(), 0.0);
    }
}

/// What a [`SonoraProcessor`] does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SonoraOptions {
    echo_cancellation: bool,
    noise_suppression: bool,
    gain_control: bool,
    delay: Duration,
}

impl SonoraOptions {
    /// All three, as LiveKit's SDKs have it for a microphone.
    pub fn new() -> Self {
        Self { echo_cancellation: true, noise_suppression: true, gain_control: true, delay: Duration::ZERO }
    }

    /// Whether what the loudspeaker plays is taken out of what the microphone hears.
    pub fn with_echo_cancellation(self, echo_cancellation: bool) -> Self {
        Self { echo_cancellation, ..self }
    }

    /// Whether steady noise is taken out.
    pub fn with_noise_suppression(self, noise_suppression: bool) -> Self {
        Self { noise_suppression, ..self }
    }

    /// Whether a soft voice is made louder.
    pub fn with_gain_control(self, gain_control: bool) -> Self {
        Self { gain_control, ..self }
    }

    /// About how long it takes from a call of `process_render` to the same sound's call of `process_capture`, through the
    /// buffers of loudspeaker and microphone; 500 ms at most. It is a first guess, which the echo canceller corrects.
    pub fn with_delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }
}

impl Default for SonoraOptions {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tone;
    use super::*;

    const PART: usize = 480;

    fn noise(samples: usize, amplitude: f32, seed: u64) -> Vec<f32> {
        let mut rng = fastrand::Rng::with_seed(seed);
        (0..samples).map(|_| amplitude * (2.0 * rng.f32() - 1.0)).collect()
    }

    #[test]
    fn what_the_loudspeaker_plays_is_taken_out_of_what_the_microphone_hears() {
        let options = SonoraOptions::new().with_noise_suppression(false).with_gain_control(false);
        let power = |options| {
            let processor = SonoraProcessor::new(options);
            let mut played = noise(480_000, 0.3, 9);
            let mut heard: Vec<_> = std::iter::repeat_n(0.0, 960).chain(played.iter().map(|s| s * 0.5)).collect();
            for (played, heard) in played.chunks_exact_mut(PART).zip(heard.chunks_exact_mut(PART)) {
                processor.process_render(played, 1);
                processor.process_capture(heard, 1);
            }
            tone::power(&heard[240_000..480_000])
        };
        let (with, without) = (power(options), power(options.with_echo_cancellation(false)));
        assert!(with < 0.05 * without, "{with} of {without}");
    }

    #[test]
    fn noise_is_suppressed() {
        let processor = SonoraProcessor::new(SonoraOptions::new().with_gain_control(false));
        let mut heard = noise(240_000, 0.02, 3);
        let before = tone::power(&heard);
        heard.chunks_exact_mut(PART).for_each(|heard| processor.process_capture(heard, 1));
        assert!(tone::power(&heard[120_000..]) < 0.3 * before);
    }

    #[test]
    fn channels_may_change_and_stay_apart() {
        let processor =
            SonoraProcessor::new(SonoraOptions::new().with_noise_suppression(false).with_gain_control(false));
        let left = tone::sine(440.0, 0.3, 48_000, 48_000);
        let mut heard: Vec<_> = left.iter().flat_map(|sample| [*sample, 0.0]).collect();
        processor.process_capture(&mut [0.0; PART], 1);
        heard.chunks_exact_mut(2 * PART).for_each(|heard| processor.process_capture(heard, 2));
        let channel = |n| heard[48_000..].iter().skip(n).step_by(2).copied().collect::<Vec<_>>();
        assert!(tone::power(&channel(0)) > 100.0 * tone::power(&channel(1)));
        assert!(tone::power(&channel(0)) > 0.5 * tone::power(&left));
    }
}
