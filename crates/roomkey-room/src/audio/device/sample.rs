//! Samples as devices have them, and as `f32`.

use cpal::{FromSample, SizedSample};

/// One sample of a device. All are between -1.0 and 1.0 as `f32`.
pub(super) trait DeviceSample: SizedSample {
    fn to_f32(self) -> f32;

    /// The nearest sample. What is louder than can be is clipped, and what is no number is silent.
    fn from_f32(sample: f32) -> Self;
}

impl<T> DeviceSample for T
where
    T: SizedSample + FromSample<f32>,
    f32: FromSample<T>,
{
    fn to_f32(self) -> f32 {
        f32::from_sample_(self)
    }

    fn from_f32(sample: f32) -> Self {
        // Of 24 bits 1.0 would be one more than the most.
        const MOST: f32 = 1.0 - f32::EPSILON;
        Self::from_sample_(if sample.is_nan() { 0.0 } else { sample.clamp(-1.0, MOST) })
    }
}

#[cfg(test)]
mod tests {
    use cpal::{I24, U24};

    use super::*;

    #[test]
    fn silence_is_silent_in_each_format() {
        fn check<T: DeviceSample>() {
            assert_eq!(T::from_f32(0.0).to_f32(), 0.0, "{}", T::FORMAT);
            assert_eq!(T::from_f32(f32::NAN).to_f32(), 0.0, "{}", T::FORMAT);
        }
        check::<i8>();
        check::<i16>();
        check::<I24>();
        check::<i32>();
        check::<i64>();
        check::<u8>();
        check::<u16>();
        check::<U24>();
        check::<u32>();
        check::<u64>();
        check::<f32>();
        check::<f64>();
    }

    #[test]
    fn sound_comes_back_as_precise_as_the_format_is() {
        fn check<T: DeviceSample>(bits: i32) {
            let mut rng = fastrand::Rng::with_seed(5);
            for _ in 0..1_000 {
                let sample = 2.0 * rng.f32() - 1.0;
                let error = (T::from_f32(sample).to_f32() - sample).abs();
                assert!(error <= 2.0_f32.powi(1 - bits), "{}: {sample} by {error}", T::FORMAT);
            }
        }
        check::<i8>(8);
        check::<i16>(16);
        check::<I24>(23);
        check::<i32>(23);
        check::<i64>(23);
        check::<u8>(8);
        check::<u16>(16);
        check::<U24>(23);
        check::<u32>(23);
        check::<u64>(23);
        check::<f32>(24);
        check::<f64>(24);
    }

    #[test]
    fn what_is_too_loud_is_clipped_and_does_not_wrap() {
        fn check<T: DeviceSample>() {
            for loud in [1.0, 1.5, 1e9, f32::INFINITY] {
                assert!(T::from_f32(loud).to_f32() > 0.98, "{}", T::FORMAT);
                assert!(T::from_f32(-loud).to_f32() < -0.98, "{}", T::FORMAT);
            }
        }
        check::<i8>();
        check::<i16>();
        check::<I24>();
        check::<i32>();
        check::<i64>();
        check::<u8>();
        check::<u16>();
        check::<U24>();
        check::<u32>();
        check::<u64>();
        check::<f32>();
        check::<f64>();
    }
}
