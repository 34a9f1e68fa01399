//! H.264's byte stream, as far as encryption has to do with it.

/// Where the first slice's header ends that everybody may read: behind the NAL unit's own byte and one more. Nothing if there
/// is no slice.
pub(super) fn first_slice(data: &[u8]) -> Option<usize> {
    const SLICE: u8 = 1;
    const IDR: u8 = 5;
    let mut from = 0;
    while let Some(at) = data.get(from..)?.windows(3).position(|window| window == [0, 0, 1]) {
        let unit = from + at + 3;
        if matches!(data.get(unit)? & 0x1f, SLICE | IDR) {
            return Some(unit + 2).filter(|end| *end <= data.len());
        }
        from = unit;
    }
    None
}

/// Puts a byte between what would else be read as a start code (H.264, 7.4.1).
pub(super) fn escape(data: &[u8], out: &mut Vec<u8>) {
    let mut zeros = 0;
    for &byte in data {
        if byte <= ESCAPE && zeros >= 2 {
            out.push(ESCAPE);
            zeros = 0;
        }
        out.push(byte);
        zeros = if byte == 0 { zeros + 1 } else { 0 };
    }
}

/// The other way round.
pub(super) fn unescape(data: &[u8], out: &mut Vec<u8>) {
    let mut zeros = 0;
    for &byte in data {
        if byte == ESCAPE && zeros >= 2 {
            zeros = 0;
            continue;
        }
        out.push(byte);
        zeros = if byte == 0 { zeros + 1 } else { 0 };
    }
}

const ESCAPE: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn both(data: &[u8]) -> Vec<u8> {
        let (mut escaped, mut back) = (Vec::new(), Vec::new());
        escape(data, &mut escaped);
        unescape(&escaped, &mut back);
        assert_eq!(back, data);
        escaped
    }

    #[test]
    fn what_is_escaped_has_no_start_code_and_comes_back() {
        assert_eq!(both(&[0, 0, 1]), [0, 0, 3, 1]);
        assert_eq!(both(&[0, 0, 0, 0, 0]), [0, 0, 3, 0, 0, 3, 0]);
        assert_eq!(both(&[0, 0, 3, 4]), [0, 0, 3, 3, 4]);
        assert_eq!(both(&[0, 0, 4, 0, 0]), [0, 0, 4, 0, 0]);
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..500 {
            let data: Vec<u8> = (0..random.usize(0..200)).map(|_| random.u8(0..5)).collect();
            let escaped = both(&data);
            assert!(escaped.windows(3).all(|window| window[..2] != [0, 0] || window[2] > 2 || window[2] == 3));
        }
    }

    #[test]
    fn the_first_slice_is_found_behind_either_start_code() {
        assert_eq!(first_slice(&[0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x65, 0x88, 9]), Some(11));
        assert_eq!(first_slice(&[0, 0, 1, 0x41, 0x9a, 1]), Some(5));
        assert_eq!(first_slice(&[0, 0, 0, 1, 0x67, 1, 2]), None);
        for cut in [&[][..], &[0, 0], &[0, 0, 1], &[0, 0, 1, 0x65]] {
            assert_eq!(first_slice(cut), None, "{cut:?}");
        }
    }
}
