//! VP8: what a frame says of itself (RFC 6386 section 9.1), and its RTP payloads (RFC 7741).

use super::frame::{FrameFacts, TemporalLayer};
use super::malformed::MalformedVideo;
use super::packet::{Depacketized, MAX_PAYLOAD};
use super::packetizer::even_parts;

pub(super) fn facts(data: &[u8]) -> FrameFacts {
    let is_keyframe = data.first().is_some_and(|byte| byte & 0x01 == 0);
    let dimensions = match data.get(3..10) {
        Some([0x9d, 0x01, 0x2a, w0, w1, h0, h1]) if is_keyframe => {
            let size = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
            Some((size(*w0, *w1), size(*h0, *h1)))
        }
        _ => None,
    };
    FrameFacts { is_keyframe, dimensions }
}

/// What each descriptor of one frame says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers {
    /// 15 bits.
    pub(super) picture_id: u16,
    pub(super) tl0_picture_index: u8,
    pub(super) temporal_layer: Option<TemporalLayer>,
}

pub(super) fn packetize(data: &[u8], numbers: Numbers) -> Result<Vec<Vec<u8>>, MalformedVideo> {
    if data.is_empty() {
        return Err(MalformedVideo::Empty);
    }
    let [high, low] = (numbers.picture_id | 0x8000).to_be_bytes();
    let mut descriptor = vec![0x80, 0x80, high, low];
    if let Some(temporal_layer) = numbers.temporal_layer {
        descriptor[1] |= 0x60;
        descriptor.push(numbers.tl0_picture_index);
        descriptor.push((temporal_layer.id & 0x03) << 6 | u8::from(temporal_layer.is_sync) << 5);
    }
    let payloads = even_parts(data.len(), MAX_PAYLOAD - descriptor.len()).map(|part| {
        let mut payload = descriptor.clone();
        if part.start == 0 {
            payload[0] |= 0x10;
        }
        payload.extend_from_slice(&data[part]);
        payload
    });
    Ok(payloads.collect())
}

/// Whether the packet begins a key frame.
pub(super) fn begins_keyframe(payload: &[u8]) -> bool {
    Descriptor::parse(payload).is_some_and(|(descriptor, data)| descriptor.is_start && facts(data).is_keyframe)
}

pub(super) fn depacketize<'a>(payloads: impl Iterator<Item = &'a [u8]>) -> Result<Depacketized, MalformedVideo> {
    let mut frame = Depacketized {
        data: Vec::new(),
        is_keyframe: false,
        has_picture: true,
        temporal_layer: None,
        layers: Vec::new(),
    };
    for (index, payload) in payloads.enumerate() {
        let (descriptor, data) = Descriptor::parse(payload).ok_or(MalformedVideo::Truncated)?;
        if descriptor.is_start != (index == 0) {
            return Err(MalformedVideo::WrongStart);
        }
        if index == 0 {
            frame.temporal_layer = descriptor.temporal_layer;
        }
        frame.data.extend_from_slice(data);
    }
    if frame.data.is_empty() {
        return Err(MalformedVideo::Empty);
    }
    frame.is_keyframe = facts(&frame.data).is_keyframe;
    Ok(frame)
}

/// The payload descriptor of RFC 7741 section 4.2.
struct Descriptor {
    is_start: bool,
    temporal_layer: Option<TemporalLayer>,
}

impl Descriptor {
    /// With what comes after it.
    fn parse(payload: &[u8]) -> Option<(Self, &[u8])> {
        let (&first, mut rest) = payload.split_first()?;
        let mut descriptor = Self { is_start: first & 0x17 == 0x10, temporal_layer: None };
        if first & 0x80 != 0 {
            let (&extensions, after) = rest.split_first()?;
            rest = after;
            if extensions & 0x80 != 0 {
                let is_long = rest.first()? & 0x80 != 0;
                rest = rest.get(if is_long { 2 } else { 1 }..)?;
            }
            if extensions & 0x40 != 0 {
                rest = rest.get(1..)?;
            }
            if extensions & 0x30 != 0 {
                let (&numbers, after) = rest.split_first()?;
                rest = after;
                if extensions & 0x20 != 0 {
                    descriptor.temporal_layer = Some(TemporalLayer::new(numbers >> 6, numbers & 0x20 != 0));
                }
            }
        }
        Some((descriptor, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(temporal_layer: Option<TemporalLayer>) -> Numbers {
        Numbers { picture_id: 300, tl0_picture_index: 7, temporal_layer }
    }

    #[test]
    fn a_descriptor_has_what_rfc_7741_says() {
        let payloads = packetize(&[0x10; 1_500], numbers(None)).unwrap();
        assert_eq!(payloads.len(), 2);
        assert_eq!(payloads[0][..4], [0x90, 0x80, 0x81, 0x2c], "X and S, I, 15 bits of picture id");
        assert_eq!(payloads[1][..4], [0x80, 0x80, 0x81, 0x2c]);
        let layered = packetize(&[0x11], numbers(Some(TemporalLayer::new(2, true)))).unwrap();
        assert_eq!(layered, [[0x90, 0xe0, 0x81, 0x2c, 7, 0xa0, 0x11]]);
        let frame = depacketize(layered.iter().map(Vec::as_slice)).unwrap();
        assert_eq!(frame.temporal_layer, Some(TemporalLayer::new(2, true)));
        assert!(!frame.is_keyframe);
    }

    #[test]
    fn every_form_of_descriptor_is_read() {
        for descriptor in [
            &[0x10][..],
            &[0x90, 0x00],
            &[0x90, 0x80, 0x7f],
            &[0x90, 0x80, 0xff, 0xff],
            &[0x90, 0x40, 9],
            &[0x90, 0x10, 3],
            &[0x90, 0xf0, 0x80, 1, 2, 0x43],
        ] {
            let payload = [descriptor, &[0x10, 1, 2]].concat();
            assert!(begins_keyframe(&payload), "{descriptor:x?}");
            assert_eq!(depacketize([&payload[..]].into_iter()).unwrap().data, [0x10, 1, 2]);
            for length in 0..descriptor.len() {
                assert!(depacketize([&payload[..length]].into_iter()).is_err(), "{descriptor:x?} cut to {length}");
            }
        }
    }

    #[test]
    fn packets_that_do_not_begin_a_frame_are_no_frame() {
        let parts = |payloads: &[&[u8]]| depacketize(payloads.iter().copied());
        assert_eq!(parts(&[&[0x00, 1, 2]]), Err(MalformedVideo::WrongStart));
        assert_eq!(parts(&[&[0x11, 1, 2]]), Err(MalformedVideo::WrongStart), "the second partition's beginning");
        assert_eq!(parts(&[&[0x10, 1, 2], &[0x10, 1, 2]]), Err(MalformedVideo::WrongStart));
        assert_eq!(parts(&[&[0x10]]), Err(MalformedVideo::Empty));
        assert!(parts(&[&[0x10, 1, 2], &[0x11, 1, 2]]).is_ok());
    }
}
