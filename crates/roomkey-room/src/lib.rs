#![doc = include_str!("../README.md")]

mod connection_state;
mod names;
mod participant;
mod publication;
#[allow(dead_code, unused_imports, reason = "the room's ends of streams and sources are used by its task")]
mod video;

pub use connection_state::{ConnectionState, DisconnectReason};
pub use names::{ParticipantIdentity, ParticipantSid, RoomSid, TrackSid};
pub use participant::{
    ConnectionQuality, Participant, ParticipantKind, ParticipantPermission, ParticipantState, Participants,
};
pub use publication::{TrackKind, TrackPublication, TrackSource};
#[cfg(feature = "vp8-keyframes")]
pub use video::Vp8KeyframeDecoder;
pub use video::{
    CaptureError, Captured, DecodeError, EncodedVideoFrame, IvfError, IvfReader, IvfWriter, KeyframeRequests,
    MalformedVideo, Plane, SubscribedQualities, TemporalLayer, VideoCodec, VideoDecoder, VideoFrame, VideoLayer,
    VideoQuality, VideoSource, VideoSourceOptions, VideoSourceStats, VideoStream, VideoStreamOptions, VideoStreamStats,
};
