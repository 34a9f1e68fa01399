//! Chance, where it only has to keep machines apart.

use std::hash::{BuildHasher, RandomState};

/// A number in `0.0..1.0` that is another one each time.
pub(crate) fn chance() -> f64 {
    (RandomState::new().hash_one(()) >> 11) as f64 / (1u64 << 53) as f64
}

/// A number as a chance, where others give it: in `0.0..=1.0`.
pub(crate) fn unit(chance: f64) -> f64 {
    if chance.is_nan() { 0.0 } else { chance.clamp(0.0, 1.0) }
}
