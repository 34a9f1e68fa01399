//! The size that a sequence parameter set of H.264 says (section 7.3.2.1.1).

use crate::video::bits::BitReader;

/// Width and height after cropping. `unit` is the whole NAL unit with its header.
pub(super) fn dimensions(unit: &[u8]) -> Option<(u32, u32)> {
    let payload = without_emulation_prevention(unit.get(1..)?);
    let mut bits = BitReader::new(&payload);
    let profile = bits.number(8)?;
    bits.skip(16)?;
    bits.exp_golomb()?;
    let mut chroma_format = 1;
    if HIGH_PROFILES.contains(&profile) {
        chroma_format = bits.exp_golomb()?;
        if chroma_format == 3 {
            bits.skip(1)?;
        }
        bits.exp_golomb()?;
        bits.exp_golomb()?;
        bits.skip(1)?;
        if bits.flag()? {
            skip_scaling_lists(&mut bits, if chroma_format == 3 { 12 } else { 8 })?;
        }
    }
    bits.exp_golomb()?;
    skip_picture_order(&mut bits)?;
    bits.exp_golomb()?;
    bits.skip(1)?;
    let macroblocks_wide = u64::from(bits.exp_golomb()?) + 1;
    let map_units_high = u64::from(bits.exp_golomb()?) + 1;
    let frames_only = bits.flag()?;
    if !frames_only {
        bits.skip(1)?;
    }
    bits.skip(1)?;
    let fields = if frames_only { 1 } else { 2 };
    let (mut width, mut height) = (macroblocks_wide * 16, map_units_high * 16 * fields);
    if bits.flag()? {
        let unit_x = if matches!(chroma_format, 1 | 2) { 2 } else { 1 };
        let unit_y = fields * if chroma_format == 1 { 2 } else { 1 };
        let mut crop = |unit: u64| Some((u64::from(bits.exp_golomb()?) + u64::from(bits.exp_golomb()?)) * unit);
        width = width.checked_sub(crop(unit_x)?)?;
        height = height.checked_sub(crop(unit_y)?)?;
    }
    Some((u32::try_from(width).ok()?, u32::try_from(height).ok()?))
}

/// Those whose parameter sets say how colours are sampled.
const HIGH_PROFILES: [u32; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

fn skip_picture_order(bits: &mut BitReader<'_>) -> Option<()> {
    match bits.exp_golomb()? {
        0 => {
            bits.exp_golomb()?;
        }
        1 => {
            bits.skip(1)?;
            bits.exp_golomb()?;
            bits.exp_golomb()?;
            let offsets = bits.exp_golomb()?;
            if offsets > 255 {
                return None;
            }
            (0..offsets).try_for_each(|_| bits.exp_golomb().map(drop))?;
        }
        _ => {}
    }
    Some(())
}

fn skip_scaling_lists(bits: &mut BitReader<'_>, lists: usize) -> Option<()> {
    for list in 0..lists {
        if !bits.flag()? {
            continue;
        }
        let (mut last, mut next) = (8_i64, 8_i64);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = (last + bits.signed_exp_golomb()?).rem_euclid(256);
            }
            last = if next == 0 { last } else { next };
        }
    }
    Some(())
}

/// Without the byte 3 that keeps start codes out of a unit (section 7.4.1).
fn without_emulation_prevention(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut zeros = 0;
    for &byte in bytes {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        plain.push(byte);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_set_that_is_cut_short_or_garbage_says_nothing() {
        // What x264 makes of 1920 x 1080 in the high profile.
        let unit = [
            0x67, 0x64, 0x00, 0x28, 0xac, 0xb2, 0x00, 0xf0, 0x04, 0x4f, 0xcb, 0x80, 0x88, 0x00, 0x00, 0x03, 0x00, 0x08,
            0x00, 0x00, 0x03, 0x00, 0xf0, 0x78, 0xc1, 0x92, 0x40,
        ];
        assert_eq!(dimensions(&unit), Some((1920, 1080)));
        assert_eq!((0..11).filter_map(|length| dimensions(&unit[..length])).next(), None);
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..20_000 {
            let mut unit = unit;
            for _ in 0..random.usize(1..6) {
                unit[random.usize(1..unit.len())] = random.u8(..);
            }
            let _ = dimensions(&unit);
        }
    }
}
