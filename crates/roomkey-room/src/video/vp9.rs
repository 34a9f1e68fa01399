//! VP9: what a frame says of itself (bitstream specification, section 6.2), and its RTP payloads (RFC 9628).

use super::bits::BitReader;
use super::frame::{FrameFacts, TemporalLayer};
use super::malformed::MalformedVideo;
use super::packet::{Depacketized, MAX_PAYLOAD};
use super::packetizer::even_parts;

pub(super) fn facts(data: &[u8]) -> FrameFacts {
    keyframe_dimensions(&mut BitReader::new(data)).unwrap_or_default()
}

/// `uncompressed_header()` as far as the size.
fn keyframe_dimensions(bits: &mut BitReader<'_>) -> Option<FrameFacts> {
    const SYNC_CODE: u32 = 0x49_83_42;
    const SRGB: u32 = 7;
    if bits.number(2)? != 2 {
        return None;
    }
    let profile = u32::from(bits.flag()?) | u32::from(bits.flag()?) << 1;
    if profile == 3 {
        bits.skip(1)?;
    }
    let (shows_existing, is_delta) = (bits.flag()?, bits.flag()?);
    if shows_existing || is_delta {
        return None;
    }
    let found = FrameFacts { is_keyframe: true, dimensions: None };
    let size = |bits: &mut BitReader<'_>| {
        bits.skip(2)?;
        if bits.number(24)? != SYNC_CODE {
            return None;
        }
        if profile >= 2 {
            bits.skip(1)?;
        }
        let has_subsampling = profile == 1 || profile == 3;
        if bits.number(3)? != SRGB {
            bits.skip(if has_subsampling { 4 } else { 1 })?;
        } else if has_subsampling {
            bits.skip(1)?;
        }
        Some((bits.number(16)? + 1, bits.number(16)? + 1))
    };
    Some(FrameFacts { dimensions: size(bits), ..found })
}

/// In non-flexible mode: each frame refers to the one before it, and a key frame says so in a scalability structure.
/// `facts` are the frame's, which `data` does not say if it is sealed.
pub(super) fn packetize(data: &[u8], facts: FrameFacts, picture_id: u16) -> Result<Vec<Vec<u8>>, MalformedVideo> {
    if data.is_empty() {
        return Err(MalformedVideo::Empty);
    }
    let structure = if facts.is_keyframe { scalability_structure(facts.dimensions) } else { Vec::new() };
    let [high, low] = (picture_id | 0x8000).to_be_bytes();
    let room = MAX_PAYLOAD - 3 - structure.len();
    let payloads = even_parts(data.len(), room).map(|part| {
        let is_first = part.start == 0;
        let mut first = 0x80;
        for (bit, is_set) in [
            (0x40, !facts.is_keyframe),
            (0x08, is_first),
            (0x04, part.end == data.len()),
            (0x02, is_first && !structure.is_empty()),
        ] {
            first |= if is_set { bit } else { 0 };
        }
        let mut payload = vec![first, high, low];
        if is_first {
            payload.extend_from_slice(&structure);
        }
        payload.extend_from_slice(&data[part]);
        payload
    });
    Ok(payloads.collect())
}

/// One spatial layer of this size, and groups of one picture that refers to the one before.
fn scalability_structure(dimensions: Option<(u32, u32)>) -> Vec<u8> {
    let size = dimensions.and_then(|(w, h)| Some((u16::try_from(w).ok()?, u16::try_from(h).ok()?)));
    let mut structure = vec![if size.is_some() { 0x18 } else { 0x08 }];
    if let Some((width, height)) = size {
        structure.extend_from_slice(&width.to_be_bytes());
        structure.extend_from_slice(&height.to_be_bytes());
    }
    structure.extend_from_slice(&[1, 0x04, 1]);
    structure
}

/// Whether the packet begins a key frame.
pub(super) fn begins_keyframe(payload: &[u8]) -> bool {
    Descriptor::parse(payload).is_some_and(|(descriptor, data)| descriptor.begins_picture() && facts(data).is_keyframe)
}

/// Whether the packet says that it begins a picture that needs no other one: all that can be read of a sealed one.
pub(super) fn says_keyframe(payload: &[u8]) -> bool {
    Descriptor::parse(payload).is_some_and(|(descriptor, _)| descriptor.begins_picture() && !descriptor.is_predicted)
}

/// A picture may have several spatial layers: their frames come one after the other, as in a superframe without an index.
pub(super) fn depacketize<'a>(payloads: impl Iterator<Item = &'a [u8]>) -> Result<Depacketized, MalformedVideo> {
    let mut frame = Depacketized {
        data: Vec::new(),
        is_keyframe: false,
        has_picture: true,
        temporal_layer: None,
        layers: Vec::new(),
    };
    let mut is_within = false;
    for (index, payload) in payloads.enumerate() {
        let (descriptor, data) = Descriptor::parse(payload).ok_or(MalformedVideo::Truncated)?;
        if descriptor.is_start == is_within {
            return Err(MalformedVideo::WrongStart);
        }
        is_within = !descriptor.is_end;
        if index == 0 {
            // Not all senders say in the descriptor that a frame needs another one; the frame itself does.
            frame.is_keyframe = descriptor.begins_picture() && facts(data).is_keyframe;
            frame.temporal_layer = descriptor.temporal_layer;
        }
        if index > 0 && descriptor.is_start {
            frame.layers.push(frame.data.len());
        }
        frame.data.extend_from_slice(data);
    }
    if is_within {
        return Err(MalformedVideo::BrokenFragment);
    }
    if frame.data.is_empty() { Err(MalformedVideo::Empty) } else { Ok(frame) }
}

/// The payload descriptor of RFC 9628 section 4.2.
struct Descriptor {
    is_start: bool,
    is_end: bool,
    is_predicted: bool,
    spatial_layer: u8,
    temporal_layer: Option<TemporalLayer>,
}

impl Descriptor {
    fn begins_picture(&self) -> bool {
        self.is_start && self.spatial_layer == 0
    }

    /// With what comes after it.
    fn parse(payload: &[u8]) -> Option<(Self, &[u8])> {
        let (&first, mut rest) = payload.split_first()?;
        let has = |bit: u8| first & bit != 0;
        let mut descriptor = Self {
            is_start: has(0x08),
            is_end: has(0x04),
            is_predicted: has(0x40),
            spatial_layer: 0,
            temporal_layer: None,
        };
        let is_flexible = has(0x10);
        if has(0x80) {
            let is_long = rest.first()? & 0x80 != 0;
            rest = rest.get(if is_long { 2 } else { 1 }..)?;
        }
        if has(0x20) {
            let (&layers, after) = rest.split_first()?;
            descriptor.spatial_layer = layers >> 1 & 0x07;
            descriptor.temporal_layer = Some(TemporalLayer::new(layers >> 5, layers & 0x10 != 0));
            rest = if is_flexible { after } else { after.get(1..)? };
        }
        if is_flexible && has(0x40) {
            for _ in 0..3 {
                let (&difference, after) = rest.split_first()?;
                rest = after;
                if difference & 0x01 == 0 {
                    break;
                }
            }
        }
        if has(0x02) {
            rest = skip_scalability_structure(rest)?;
        }
        Some((descriptor, rest))
    }
}

fn skip_scalability_structure(bytes: &[u8]) -> Option<&[u8]> {
    let (&first, mut rest) = bytes.split_first()?;
    if first & 0x10 != 0 {
        rest = rest.get(4 * (usize::from(first >> 5) + 1)..)?;
    }
    if first & 0x08 != 0 {
        let (&pictures, after) = rest.split_first()?;
        rest = after;
        for _ in 0..pictures {
            let (&picture, after) = rest.split_first()?;
            rest = after.get(usize::from(picture >> 2 & 0x03)..)?;
        }
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key frame of 640 x 360 in profile 0, as far as its size, with room after it.
    fn keyframe(length: usize) -> Vec<u8> {
        let mut data = vec![0x82, 0x49, 0x83, 0x42, 0x00, 0x27, 0xf0, 0x16, 0x70];
        data.resize(length, 0x55);
        data
    }

    #[test]
    fn a_descriptor_has_what_rfc_9628_says() {
        let data = keyframe(1_500);
        assert_eq!(facts(&data), FrameFacts { is_keyframe: true, dimensions: Some((640, 360)) });
        let payloads = packetize(&data, facts(&data), 300).unwrap();
        assert_eq!(payloads[0][..11], [0x8a, 0x81, 0x2c, 0x18, 0x02, 0x80, 0x01, 0x68, 1, 0x04, 1]);
        assert_eq!(payloads[1][..3], [0x84, 0x81, 0x2c]);
        let delta = packetize(&[0x86, 1, 2], facts(&[0x86, 1, 2]), 301).unwrap();
        assert_eq!(delta, [[0xcc, 0x81, 0x2d, 0x86, 1, 2]]);
    }

    #[test]
    fn every_form_of_descriptor_is_read() {
        for descriptor in [
            &[0x0c][..],
            &[0x8c, 0x7f],
            &[0x8c, 0xff, 0xff],
            &[0x2c, 0x50, 9],
            &[0x3c, 0x50],
            &[0x7c, 0x50, 0x03, 0x05, 0x02],
            &[0x0e, 0x38, 0, 1, 0, 1, 0, 2, 0, 2, 2, 0x00, 0x08, 1, 2],
        ] {
            let payload = [descriptor, &keyframe(20)].concat();
            assert!(begins_keyframe(&payload), "{descriptor:x?}");
            assert_eq!(depacketize([&payload[..]].into_iter()).unwrap().data, keyframe(20), "{descriptor:x?}");
            for length in 0..descriptor.len() {
                assert!(depacketize([&payload[..length]].into_iter()).is_err(), "{descriptor:x?} cut to {length}");
            }
        }
    }

    #[test]
    fn the_spatial_layers_of_a_picture_are_one_frame() {
        let first = [&[0x28, 0x00, 1][..], &keyframe(9)].concat();
        let payloads = [&first[..], &[0x24, 0x00, 1, 11], &[0x2c, 0x03, 1, 12]];
        let frame = depacketize(payloads.into_iter()).unwrap();
        assert_eq!((&frame.data[9..], frame.is_keyframe), (&[11, 12][..], true));
        assert!(!begins_keyframe(payloads[2]), "a key frame begins with its lowest layer");
        assert_eq!(depacketize(payloads[..1].iter().copied()), Err(MalformedVideo::BrokenFragment));
        assert_eq!(depacketize(payloads[1..].iter().copied()), Err(MalformedVideo::WrongStart));
    }
}
