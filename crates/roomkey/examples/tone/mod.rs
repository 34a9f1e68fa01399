//! A tone, and how high one is.

#![allow(dead_code, reason = "each example uses its part")]

use roomkey::AudioFrame;

/// A tone, 20 ms at a time.
pub(crate) struct Tone {
    frequency: f64,
    next: u64,
}

const RATE: u32 = 48_000;
const FRAME: u64 = 960;

impl Tone {
    pub(crate) fn new(frequency: f64) -> Self {
        Self { frequency, next: 0 }
    }

    pub(crate) fn next_frame(&mut self) -> AudioFrame {
        let samples: Vec<f32> = (self.next..self.next + FRAME)
            .map(|index| {
                let turns = index as f64 * self.frequency / f64::from(RATE);
                (0.4 * (turns * std::f64::consts::TAU).sin()) as f32
            })
            .collect();
        self.next += FRAME;
        AudioFrame::new(samples, RATE, 1).expect("960 samples of one channel are a frame")
    }
}

/// How often the samples of one channel go through zero upwards in a second, by the time that most of them are apart: the
/// first milliseconds of a codec are no tone yet.
pub(crate) fn frequency(samples: &[f32], rate: u32) -> f64 {
    let upwards = samples.windows(2).enumerate().filter(|(_, pair)| pair[0] <= 0.0 && pair[1] > 0.0);
    // Between which samples, and where.
    let crossings: Vec<_> =
        upwards.map(|(index, pair)| index as f64 + f64::from(pair[0] / (pair[0] - pair[1]))).collect();
    let mut periods: Vec<_> = crossings.windows(2).map(|pair| pair[1] - pair[0]).collect();
    periods.sort_by(f64::total_cmp);
    periods.get(periods.len() / 2).map_or(0.0, |period| f64::from(rate) / period)
}
