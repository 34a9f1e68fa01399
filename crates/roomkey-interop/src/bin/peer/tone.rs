//! The microphone: a tone without end.

use std::f64::consts::TAU;

use roomkey::BoxError;
use roomkey_room::{AudioFrame, AudioSource, AudioSourceOptions};

const RATE: u32 = 48_000;
const HZ: f64 = 440.0;
const AMPLITUDE: f64 = 0.25;
/// A tenth of a second, in which the tone has whole periods, so that it can be repeated.
const SAMPLES: u32 = RATE / 10;

/// A source that sounds from now on, for as long as there is a runtime.
pub(crate) fn start() -> Result<AudioSource, BoxError> {
    let sample = |index: u32| (AMPLITUDE * (TAU * HZ * f64::from(index) / f64::from(RATE)).sin()) as f32;
    let frame = AudioFrame::new((0..SAMPLES).map(sample).collect::<Vec<_>>(), RATE, 1)?;
    let source = AudioSource::new(AudioSourceOptions::new());
    let microphone = source.clone();
    tokio::spawn(async move { while microphone.capture_frame(&frame).await.is_ok() {} });
    Ok(source)
}
