//! Mixes that are too loud made as loud as can be played.

/// Turns down what would clip, at once, and up again within some tenths of a second. What is not too loud is not touched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limiter {
    /// How loud it was of late, 1.0 at least.
    peak: f32,
}

impl Limiter {
    /// By how much less each sample counts than the one behind it: a third is left after 100 ms of 48 kHz.
    const RELEASE: f32 = 1.0 / 4_800.0;

    pub(super) fn new() -> Self {
        Self { peak: 1.0 }
    }

    /// Changes the samples, all channels of one moment alike. What is no number becomes silence.
    pub(super) fn limit(&mut self, samples: &mut [f32], num_channels: u32) {
        for frame in samples.chunks_mut(num_channels as usize) {
            let mut loudest = 0.0_f32;
            for sample in frame.iter_mut() {
                *sample = if sample.is_finite() { *sample } else { 0.0 };
                loudest = loudest.max(sample.abs());
            }
            let released = self.peak - (self.peak - 1.0) * Self::RELEASE;
            self.peak = loudest.max(released).max(1.0);
            frame.iter_mut().for_each(|sample| *sample /= self.peak);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tone;
    use super::*;

    #[test]
    fn what_fits_is_not_touched() {
        let sound = tone::sine(440.0, 1.0, 48_000, 4_800);
        let mut limited = sound.clone();
        Limiter::new().limit(&mut limited, 1);
        assert_eq!(limited, sound);
    }

    #[test]
    fn a_loud_tone_stays_a_tone() {
        let mut sound = tone::sine(440.0, 4.0, 48_000, 48_000);
        Limiter::new().limit(&mut sound, 1);
        assert!(sound.iter().all(|sample| sample.abs() <= 1.0));
        let heard = &sound[4_800..];
        assert!(tone::power(heard) > 0.45, "{}", tone::power(heard));
        assert!(tone::power_at(heard, 440.0, 48_000) > 0.99 * tone::power(heard));
    }

    #[test]
    fn a_soft_sound_behind_a_loud_one_is_soon_as_it_was() {
        let mut limiter = Limiter::new();
        limiter.limit(&mut [8.0, -8.0], 2);
        let mut soft = vec![0.5; 2 * 48_000];
        limiter.limit(&mut soft, 2);
        assert!(soft[0] < 0.07 && soft[2 * 47_999] > 0.499, "{} {}", soft[0], soft[2 * 47_999]);
        assert!(soft.windows(4).all(|pair| pair[2] - pair[0] < 0.001), "without a jump");
    }

    #[test]
    fn no_input_is_too_wild() {
        let mut limiter = Limiter::new();
        let mut samples = [f32::MAX, f32::NAN, f32::INFINITY, -f32::MAX];
        limiter.limit(&mut samples, 1);
        assert!(samples.iter().all(|sample| sample.abs() <= 1.0), "{samples:?}");
    }
}
