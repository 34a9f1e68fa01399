//! From frames to packets.

use std::ops::Range;
use std::sync::Arc;

use super::frame::{EncodedVideoFrame, VideoCodec};
use super::h264::ParameterSets;
use super::layer::VideoQuality;
use super::malformed::MalformedVideo;
use super::packet::{MAX_FRAME, VideoPacket};
use super::{av1, h264, vp8, vp9};
use crate::encryption::{FrameSealer, TrackEncryption};

/// Makes one layer's frames into packets.
#[derive(Debug)]
pub(super) struct Packetizer {
    codec: VideoCodec,
    layer: Option<VideoQuality>,
    sequence: u64,
    picture_id: u16,
    tl0_picture_index: u8,
    parameter_sets: ParameterSets,
    sealer: Option<FrameSealer>,
}

/// Why there are no packets of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotPacketized {
    Malformed(MalformedVideo),
    NotSealed,
}

impl From<MalformedVideo> for NotPacketized {
    fn from(malformed: MalformedVideo) -> Self {
        Self::Malformed(malformed)
    }
}

impl Packetizer {
    /// `picture_id` is the first one, at random: 15 bits are used.
    pub(super) fn new(codec: VideoCodec, layer: Option<VideoQuality>, picture_id: u16) -> Self {
        let parameter_sets = ParameterSets::default();
        Self { codec, layer, sequence: 0, picture_id, tl0_picture_index: 0, parameter_sets, sealer: None }
    }

    /// What is to seal the frames that come next.
    pub(super) fn set_encryption(&mut self, encryption: Option<&TrackEncryption>) {
        let is_the_same = match (&self.sealer, encryption) {
            (Some(sealer), Some(encryption)) => sealer.is_of(encryption),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !is_the_same {
            self.sealer = encryption.map(FrameSealer::new);
        }
    }

    /// The packets of a frame, the last with a marker. An error leaves everything as if the frame had never been.
    pub(super) fn packetize(
        &mut self,
        frame: &EncodedVideoFrame,
        timestamp: u32,
    ) -> Result<Vec<VideoPacket>, NotPacketized> {
        if frame.data.len() > MAX_FRAME {
            return Err(MalformedVideo::TooLarge.into());
        }
        let picture_id = self.picture_id & 0x7fff;
        let base = frame.temporal_layer.filter(|layer| layer.id == 0);
        let tl0_picture_index = self.tl0_picture_index.wrapping_add(u8::from(base.is_some()));
        let numbers = vp8::Numbers { picture_id, tl0_picture_index, temporal_layer: frame.temporal_layer };
        let payloads = match (self.codec, &mut self.sealer) {
            (VideoCodec::Vp8, None) => vp8::packetize(&frame.data, numbers)?,
            (VideoCodec::H264, None) => h264::packetize(&frame.data, &mut self.parameter_sets)?,
            (VideoCodec::Vp9, None) => vp9::packetize(&frame.data, vp9::facts(&frame.data), picture_id)?,
            (VideoCodec::Av1, None) => av1::packetize(&frame.data)?,
            (codec, Some(sealer)) => {
                let mut seal = |data: &[u8]| sealer.seal(codec.to_encryption(), data).ok_or(NotPacketized::NotSealed);
                match codec {
                    VideoCodec::Vp8 => vp8::packetize(&seal(&frame.data)?, numbers)?,
                    VideoCodec::H264 => h264::packetize_sealed(&frame.data, &mut self.parameter_sets, seal)?,
                    // What the frame says of itself can't be read any more when it is sealed.
                    VideoCodec::Vp9 => vp9::packetize(&seal(&frame.data)?, vp9::facts(&frame.data), picture_id)?,
                    VideoCodec::Av1 => return seal(&frame.data).map(|_| Vec::new()),
                }
            }
        };
        self.picture_id = picture_id.wrapping_add(1);
        self.tl0_picture_index = tl0_picture_index;
        let last = payloads.len().saturating_sub(1);
        let packets = payloads.into_iter().enumerate().map(|(index, payload)| {
            let packet = VideoPacket {
                codec: self.codec,
                layer: self.layer,
                sequence: self.sequence,
                timestamp,
                capture_time: None,
                marker: index == last,
                payload: Arc::from(payload),
            };
            self.sequence += 1;
            packet
        });
        Ok(packets.collect())
    }
}

/// Parts of at most `most` bytes that differ by one byte at most, so that no packet is small for nothing.
pub(super) fn even_parts(length: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let count = length.div_ceil(most);
    (0..count).map(move |index| length * index / count..length * (index + 1) / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_even_and_cover_everything() {
        for length in [1, 2, 9, 10, 11, 99, 1_000] {
            let parts: Vec<_> = even_parts(length, 10).collect();
            assert_eq!(parts.len(), length.div_ceil(10));
            assert_eq!((parts[0].start, parts[parts.len() - 1].end), (0, length));
            assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
            let (least, most) = (parts.iter().map(Range::len).min(), parts.iter().map(Range::len).max());
            assert!(most.unwrap() <= 10 && most.unwrap() - least.unwrap() <= 1);
        }
    }
}
