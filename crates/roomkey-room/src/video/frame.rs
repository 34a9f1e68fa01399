//! One encoded picture.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use roomkey_rtc::Codec;

use super::layer::VideoQuality;
use super::{av1, h264, vp8, vp9};
use crate::encryption::FrameCodec;

/// How a track's pictures are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VideoCodec {
    /// VP8 (RFC 6386).
    Vp8,
    /// H.264.
    H264,
    /// VP9.
    Vp9,
    /// AV1.
    Av1,
}

impl VideoCodec {
    /// Pictures are timed in units of 1/90,000 s, whatever the codec.
    pub const CLOCK_RATE: u32 = 90_000;

    /// The MIME type, as in SDP and in [`TrackPublication::mime_type`](crate::TrackPublication::mime_type).
    pub fn mime_type(self) -> &'static str {
        match self {
            Self::Vp8 => "video/VP8",
            Self::H264 => "video/H264",
            Self::Vp9 => "video/VP9",
            Self::Av1 => "video/AV1",
        }
    }

    /// The codec of this MIME type, whatever its case.
    pub fn from_mime_type(mime_type: &str) -> Option<Self> {
        let all = [Self::Vp8, Self::H264, Self::Vp9, Self::Av1];
        all.into_iter().find(|codec| codec.mime_type().eq_ignore_ascii_case(mime_type))
    }

    pub(crate) fn to_rtc(self) -> Codec {
        match self {
            Self::Vp8 => Codec::Vp8,
            Self::H264 => Codec::H264,
            Self::Vp9 => Codec::Vp9,
            Self::Av1 => Codec::Av1,
        }
    }

    pub(super) fn to_encryption(self) -> FrameCodec {
        match self {
            Self::Vp8 => FrameCodec::Vp8,
            Self::H264 => FrameCodec::H264,
            Self::Vp9 => FrameCodec::Vp9,
            Self::Av1 => FrameCodec::Av1,
        }
    }

    /// Nothing for audio.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are audio")]
    pub(crate) fn from_rtc(codec: Codec) -> Option<Self> {
        match codec {
            Codec::Vp8 => Some(Self::Vp8),
            Codec::H264 => Some(Self::H264),
            Codec::Vp9 => Some(Self::Vp9),
            Codec::Av1 => Some(Self::Av1),
            _ => None,
        }
    }
}

/// One encoded picture, as an encoder makes it and a decoder takes it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EncodedVideoFrame {
    /// The codec.
    pub codec: VideoCodec,
    /// What the encoder made of the picture: the bare frame of VP8 and VP9; for H.264 NAL units, each after a start code
    /// (Annex B); for AV1 OBUs, each with its size, temporal delimiters being optional.
    pub data: Arc<[u8]>,
    /// How long after the first frame of its stream the picture was taken.
    pub elapsed: Duration,
    /// The same as the packets say it: in units of 1/90,000 s from any beginning, and wrapping. What is sent gets another
    /// beginning.
    pub timestamp: u32,
    /// When the picture was taken, as the time since the Unix epoch by the clock of the sender reports that come with the track:
    /// for playing sound and pictures of one participant in step, whose clock is one
    /// ([`AudioFrame::capture_time`](crate::AudioFrame::capture_time)). `None` until the first report has come, some seconds
    /// after the first packet at most, and of what is sent, where it counts for nothing.
    pub capture_time: Option<Duration>,
    /// Whether a decoder can begin with it.
    pub is_keyframe: bool,
    /// Width and height in pixels, where the frame says it. Key frames do.
    pub dimensions: Option<(u32, u32)>,
    /// Which of the sizes of a simulcast track it is. A frame that was received does not say.
    pub layer: Option<VideoQuality>,
    /// Its place among the temporal layers of VP8 or VP9, where there are any. Of what is sent, only VP8's are told.
    pub temporal_layer: Option<TemporalLayer>,
}

impl EncodedVideoFrame {
    /// A picture taken so long after the first one. Whether it is a key frame, and its dimensions, are read from `data`;
    /// nothing else in there is looked at before it is sent.
    pub fn new(codec: VideoCodec, elapsed: Duration, data: impl Into<Arc<[u8]>>) -> Self {
        let data = data.into();
        let facts = FrameFacts::of(codec, &data);
        Self {
            codec,
            elapsed,
            timestamp: to_ticks(elapsed),
            capture_time: None,
            is_keyframe: facts.is_keyframe,
            dimensions: facts.dimensions,
            layer: None,
            temporal_layer: None,
            data,
        }
    }

    /// A frame of this layer of a simulcast track.
    pub fn with_layer(self, layer: impl Into<Option<VideoQuality>>) -> Self {
        Self { layer: layer.into(), ..self }
    }

    /// A frame of this temporal layer.
    pub fn with_temporal_layer(self, temporal_layer: impl Into<Option<TemporalLayer>>) -> Self {
        Self { temporal_layer: temporal_layer.into(), ..self }
    }
}

impl fmt::Debug for EncodedVideoFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncodedVideoFrame")
            .field("codec", &self.codec)
            .field("bytes", &self.data.len())
            .field("elapsed", &self.elapsed)
            .field("is_keyframe", &self.is_keyframe)
            .field("dimensions", &self.dimensions)
            .field("layer", &self.layer)
            .finish_non_exhaustive()
    }
}

/// A frame's place among temporal layers. Frames of higher layers can be left out to halve the frame rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TemporalLayer {
    /// 0 is the lowest, which all others need. RTP has room for 0 to 3 in VP8 and 0 to 7 in VP9.
    pub id: u8,
    /// Whether it needs no frame of its own layer, so that a decoder can go up to this layer here.
    pub is_sync: bool,
}

impl TemporalLayer {
    /// A layer by its number.
    pub fn new(id: u8, is_sync: bool) -> Self {
        Self { id, is_sync }
    }
}

/// What the bytes of a frame say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct FrameFacts {
    pub(super) is_keyframe: bool,
    pub(super) dimensions: Option<(u32, u32)>,
}

impl FrameFacts {
    pub(super) fn of(codec: VideoCodec, data: &[u8]) -> Self {
        match codec {
            VideoCodec::Vp8 => vp8::facts(data),
            VideoCodec::H264 => h264::facts(data),
            VideoCodec::Vp9 => vp9::facts(data),
            VideoCodec::Av1 => av1::facts(data),
        }
    }
}

/// The nearest in units of the video clock, wrapping.
pub(super) fn to_ticks(elapsed: Duration) -> u32 {
    let ticks = (elapsed.as_nanos() * u128::from(VideoCodec::CLOCK_RATE) + 500_000_000) / 1_000_000_000;
    ticks as u32
}
