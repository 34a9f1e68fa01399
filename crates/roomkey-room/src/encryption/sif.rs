//! Frames that the server puts into a track itself, so that a decoder ends with silence or a black picture: they are not
//! encrypted, and end with bytes that the server has named in the join.

/// What such a frame has, if it is one of those that livekit-server sends (`pkg/sfu/downtrack.go`); an empty one else.
/// Nothing if the frame is no such frame.
pub(super) fn injected<'a>(frame: &'a [u8], trailer: &[u8]) -> Option<&'a [u8]> {
    if trailer.is_empty() {
        return None;
    }
    let payload = frame.strip_suffix(trailer)?;
    Some(if is_known(payload) { payload } else { &[] })
}

fn is_known(payload: &[u8]) -> bool {
    is_silence(payload) || payload == VP8_KEY_FRAME || is_h264_key_frame(payload)
}

/// 20 ms of silence in Opus, filled up with zeros to 80 bytes.
fn is_silence(payload: &[u8]) -> bool {
    payload.len() == 80 && payload.starts_with(&[0xf8, 0xff, 0xfe]) && payload[3..].iter().all(|byte| *byte == 0)
}

fn is_h264_key_frame(payload: &[u8]) -> bool {
    let units = [&H264_SPS[..], &H264_PPS, &H264_IDR];
    let mut rest = payload;
    let mut count = 0;
    while let Some(after) = rest.strip_prefix(&[0, 0, 0, 1]).or_else(|| rest.strip_prefix(&[0, 0, 1])) {
        let Some(unit) = units.iter().find_map(|unit| after.strip_prefix(*unit)) else { return false };
        rest = unit;
        count += 1;
    }
    rest.is_empty() && count > 0
}

/// Black, 8 x 8.
const VP8_KEY_FRAME: [u8; 31] = [
    0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x08, 0x00, 0x08, 0x00, 0x00, 0x47, 0x08, 0x85, 0x85, 0x88, 0x85, 0x84, 0x88,
    0x02, 0x02, 0x00, 0x0c, 0x0d, 0x60, 0x00, 0xfe, 0xff, 0xab, 0x50, 0x80,
];
/// Black, 2 x 2.
const H264_SPS: [u8; 24] = [
    0x67, 0x42, 0xc0, 0x1f, 0x0f, 0xd9, 0x1f, 0x88, 0x88, 0x84, 0x00, 0x00, 0x03, 0x00, 0x04, 0x00, 0x00, 0x03, 0x00,
    0xc8, 0x3c, 0x60, 0xc9, 0x20,
];
const H264_PPS: [u8; 6] = [0x68, 0x87, 0xcb, 0x83, 0xcb, 0x20];
const H264_IDR: [u8; 10] = [0x65, 0x88, 0x84, 0x0a, 0xf2, 0x62, 0x80, 0x00, 0xa7, 0xbe];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_servers_own_frames_pass_as_such() {
        let trailer = b"a-room's own trailer";
        let silence = [&[0xf8, 0xff, 0xfe][..], &[0; 77]].concat();
        let h264 = [&[0, 0, 0, 1][..], &H264_SPS, &[0, 0, 0, 1], &H264_PPS, &[0, 0, 0, 1], &H264_IDR].concat();
        for known in [&silence[..], &VP8_KEY_FRAME, &h264] {
            assert_eq!(injected(&[known, &trailer[..]].concat(), trailer), Some(known));
            assert_eq!(injected(known, trailer), None, "without the trailer it is like any other");
            assert_eq!(injected(&[known, &trailer[..]].concat(), &[]), None, "the server has named none");
            let other = [&known[..known.len() - 1], &[0x55], &trailer[..]].concat();
            assert_eq!(
                injected(&other, trailer),
                Some(&[][..]),
                "the trailer is no secret: nothing else is let through"
            );
        }
        assert_eq!(injected(trailer, trailer), Some(&[][..]));
        assert_eq!(injected(&trailer[1..], trailer), None);
    }
}
