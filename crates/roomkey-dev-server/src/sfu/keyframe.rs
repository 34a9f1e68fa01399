//! Whether a packet begins a key frame: a decoder that is handed another layer can start there and nowhere else.

use super::codec::Codec;
use super::vp8::Descriptor;

/// Whether `payload` begins a key frame of `codec`. A codec that isn't looked into is taken at its word: every packet
/// counts.
pub(super) fn begins_keyframe(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::Vp8 => Descriptor::parse(payload).is_some_and(|descriptor| descriptor.begins_keyframe(payload)),
        Codec::H264 => begins_h264(payload),
        Codec::Vp9 => begins_vp9(payload),
        Codec::Av1 => begins_av1(payload),
        Codec::Opus | Codec::Red | Codec::Pcmu | Codec::Pcma | Codec::Other => true,
    }
}

/// RFC 6184: a picture that can be decoded alone (5) or the parameters before it (7), alone, in an aggregate (24) or as
/// the first fragment (28).
fn begins_h264(payload: &[u8]) -> bool {
    const IDR: u8 = 5;
    const PARAMETERS: u8 = 7;
    let is_key = |kind: u8| matches!(kind & 0x1f, IDR | PARAMETERS);
    match payload.first().map(|first| first & 0x1f) {
        Some(24) => {
            let mut rest = &payload[1..];
            while let [high, low, kind, ..] = rest {
                if is_key(*kind) {
                    return true;
                }
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                let Some(next) = rest.get(2 + length..) else { break };
                rest = next;
            }
            false
        }
        Some(28) => payload.get(1).is_some_and(|header| header & 0x80 != 0 && is_key(*header)),
        Some(kind) => is_key(kind),
        None => false,
    }
}

/// RFC 9628, section 4.2: begins a frame (B) that isn't predicted from another (not P), in the lowest spatial layer.
fn begins_vp9(payload: &[u8]) -> bool {
    let Some(first) = payload.first() else { return false };
    let (has_picture_id, is_predicted, has_layers, is_begin) =
        (first & 0x80 != 0, first & 0x40 != 0, first & 0x20 != 0, first & 0x08 != 0);
    if is_predicted || !is_begin {
        return false;
    }
    if !has_layers {
        return true;
    }
    let at = match (has_picture_id, payload.get(1)) {
        (false, _) => 1,
        (true, Some(id)) if id & 0x80 == 0 => 2,
        (true, _) => 3,
    };
    payload.get(at).is_some_and(|layers| (layers >> 1) & 0x07 == 0)
}

/// The RTP payload format of AV1, section 4.4: N says that a coded video sequence begins.
fn begins_av1(payload: &[u8]) -> bool {
    payload.first().is_some_and(|header| header & 0x08 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_frames_are_told_from_others() {
        let cases: [(Codec, &[u8], bool); 14] = [
            (Codec::Vp8, &[0x10, 0x00], true),
            (Codec::Vp8, &[0x10, 0x01], false),
            (Codec::Vp8, &[0x00, 0x00], false),
            (Codec::H264, &[0x65, 0], true),
            (Codec::H264, &[0x41, 0], false),
            (Codec::H264, &[24, 0, 1, 0x67, 0, 1, 0x68], true),
            (Codec::H264, &[24, 0, 1, 0x41, 0, 9, 0x41], false),
            (Codec::H264, &[28, 0x85, 0], true),
            (Codec::H264, &[28, 0x05, 0], false),
            (Codec::Vp9, &[0x88, 0x01], true),
            (Codec::Vp9, &[0xc8, 0x01], false),
            (Codec::Vp9, &[0xa8, 0x80, 0x01, 0x02], false),
            (Codec::Av1, &[0x08], true),
            (Codec::Av1, &[0x00], false),
        ];
        for (codec, payload, expected) in cases {
            assert_eq!(begins_keyframe(codec, payload), expected, "{codec:?} {payload:?}");
        }
    }

    #[test]
    fn no_bytes_begin_a_key_frame_of_a_video() {
        for codec in [Codec::Vp8, Codec::H264, Codec::Vp9, Codec::Av1] {
            assert!(!begins_keyframe(codec, &[]), "{codec:?}");
        }
    }
}
