//! How long to wait before another try to come back.

use std::time::Duration;

use fastrand::Rng;

const FIRST: Duration = Duration::from_millis(300);
/// An outage of some seconds ends without a word, so that the first tries must not be far apart.
const SHORT: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(7);
/// From this try on the waits become long.
const PATIENT_FROM: u32 = 12;

/// The wait before this try, counted from 0: none before the first, then a random part of a time that doubles.
pub(crate) fn wait(attempt: u32, rng: &mut Rng) -> Duration {
    if attempt == 0 {
        return Duration::ZERO;
    }
    let longest = if attempt < PATIENT_FROM { SHORT } else { LONG };
    let bound = FIRST.saturating_mul(1 << (attempt - 1).min(8)).min(longest);
    bound.mul_f64(0.5 + rng.f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_a_short_outage_is_tried_through_at_least_once_a_second() {
        for seed in 0..100 {
            let mut rng = Rng::with_seed(seed);
            assert_eq!(wait(0, &mut rng), Duration::ZERO);
            assert!((1..PATIENT_FROM).all(|attempt| wait(attempt, &mut rng) <= SHORT));
            assert!((PATIENT_FROM..20).all(|attempt| wait(attempt, &mut rng) >= LONG / 2));
            assert!(wait(u32::MAX, &mut rng) <= LONG);
        }
    }
}
