//! How loud a frame is, as RTP says it to servers that look for speakers (RFC 6464).

/// What is at least this loud counts as a voice, in dBov. Rooms are quieter, speech at a microphone is louder.
const VOICE: i8 = -50;

/// The level from -127 (silence) to 0 dBov, and whether it counts as a voice.
pub(crate) fn measure(samples: &[f32]) -> (i8, bool) {
    let power = samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len().max(1) as f32;
    // RFC 6464: 0 dBov is the loudest that can be represented. The cast saturates, the logarithm of 0 included.
    let level = ((10.0 * power.log10()).round() as i8).clamp(-127, 0);
    (level, level >= VOICE)
}

#[cfg(test)]
mod tests {
    use super::super::tone;
    use super::*;

    #[test]
    fn a_level_is_in_decibels_below_the_loudest() {
        assert_eq!(measure(&[1.0, -1.0, 1.0, -1.0]), (0, true));
        assert_eq!(measure(&[2.0, -2.0]), (0, true));
        assert_eq!(measure(&tone::sine(1_000.0, 0.1, 48_000, 960)), (-23, true));
        assert_eq!(measure(&tone::sine(1_000.0, 0.001, 48_000, 960)), (-63, false));
        assert_eq!(measure(&[0.0; 960]), (-127, false));
        assert_eq!(measure(&[]), (-127, false));
    }
}
