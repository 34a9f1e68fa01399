//! One RTP packet of video, whichever way it goes.

use std::sync::Arc;
use std::time::Duration;

use roomkey_rtc::{IncomingRtp, OutgoingRtp};

use super::frame::{TemporalLayer, VideoCodec};
use super::layer::VideoQuality;

/// As many bytes of payload as a packet may have, so that the datagram stays within 1,200 bytes: the RTP header with the
/// extensions that LiveKit uses, RTX and the tag of SRTP take up to 80.
pub(super) const MAX_PAYLOAD: usize = 1_200 - 80;

/// More than this is no frame: an uncompressed picture of 1920 x 1080 is 3 MB.
pub(super) const MAX_FRAME: usize = 8 << 20;

/// What of a packet video is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VideoPacket {
    pub(super) codec: VideoCodec,
    pub(super) layer: Option<VideoQuality>,
    /// Counts a layer's packets, without wrapping.
    pub(super) sequence: u64,
    pub(super) timestamp: u32,
    /// By the clock of the sender's reports. What is sent has none.
    pub(super) capture_time: Option<Duration>,
    pub(super) marker: bool,
    pub(super) payload: Arc<[u8]>,
}

impl VideoPacket {
    /// Nothing if it isn't video.
    pub(super) fn received(packet: IncomingRtp) -> Option<Self> {
        Some(Self {
            codec: VideoCodec::from_rtc(packet.format.codec())?,
            layer: None,
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            capture_time: packet.capture_time,
            marker: packet.marker,
            payload: packet.payload,
        })
    }

    pub(super) fn to_rtp(&self) -> OutgoingRtp {
        OutgoingRtp::new(self.codec.to_rtc(), self.sequence, self.timestamp, Arc::clone(&self.payload))
            .with_marker(self.marker)
            .with_rid(self.layer.map(VideoQuality::to_rid))
    }
}

/// What the payloads of one frame make together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Depacketized {
    pub(super) data: Vec<u8>,
    pub(super) is_keyframe: bool,
    /// Whether there is anything to show: parameter sets of H.264 can come alone.
    pub(super) has_picture: bool,
    pub(super) temporal_layer: Option<TemporalLayer>,
    /// Where frames of further spatial layers begin in `data`.
    pub(super) layers: Vec<usize>,
}
