//! Tones for tests, and what is heard of them.

use std::f64::consts::TAU;

/// A tone of so many samples.
pub(crate) fn sine(frequency: f64, amplitude: f64, sample_rate: u32, samples: usize) -> Vec<f32> {
    (0..samples).map(|n| (amplitude * (TAU * frequency * n as f64 / f64::from(sample_rate)).sin()) as f32).collect()
}

/// The mean square.
pub(crate) fn power(samples: &[f32]) -> f64 {
    samples.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>() / samples.len() as f64
}

/// How much of the power is at one frequency (Goertzel).
pub(crate) fn power_at(samples: &[f32], frequency: f64, sample_rate: u32) -> f64 {
    let (mut re, mut im) = (0.0, 0.0);
    for (n, &sample) in samples.iter().enumerate() {
        let angle = TAU * frequency * n as f64 / f64::from(sample_rate);
        re += f64::from(sample) * angle.cos();
        im += f64::from(sample) * angle.sin();
    }
    2.0 * (re * re + im * im) / (samples.len() as f64).powi(2)
}
