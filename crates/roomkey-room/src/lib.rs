#![doc = include_str!("../README.md")]

mod audio;
mod chat_message;
mod clock;
mod command;
mod connect_error;
mod connection;
mod connection_state;
mod core;
mod data_stream;
mod dtmf;
mod encryption;
mod error;
mod event;
mod event_bytes;
mod file_sender;
mod http_get;
mod ice_server;
mod local_participant;
mod local_sids;
mod local_track;
mod media;
mod names;
mod options;
mod outbox;
mod participant;
mod preparation;
mod publication;
mod read;
mod region_failover;
mod region_request;
mod remote_track;
mod room;
mod room_info;
mod rpc;
mod rpc_method;
mod server_words;
mod sockets;
mod stream_writer;
mod streams;
mod take_once;
mod task;
mod tcp;
mod token_times;
mod track_permission;
mod transcription;
mod video;
mod video_settings;
mod websocket;

#[cfg(feature = "cpal")]
pub use audio::device;
pub use audio::{
    AudioCodec, AudioDecoder, AudioEncoder, AudioFrame, AudioProcessor, AudioSource, AudioSourceOptions, AudioStream,
    AudioStreamOptions, AudioStreamStats, CodecError, InvalidAudioFrame, OpusCodec, Recording,
};
#[cfg(feature = "sonora")]
pub use audio::{SonoraOptions, SonoraProcessor};
pub use chat_message::ChatMessage;
pub use connect_error::{ConnectError, ConnectErrorKind};
pub use connection_state::{ConnectionState, DisconnectReason};
pub use data_stream::error::StreamError;
pub use data_stream::info::{ByteStreamInfo, TextOperation, TextStreamInfo};
pub use data_stream::limits::StreamLimits;
pub use data_stream::options::{ByteStreamOptions, TextStreamOptions};
pub use data_stream::reader::{ByteStreamReader, TextStreamReader};
pub use dtmf::SipDtmf;
pub use encryption::{
    EncryptionKey, EncryptionOptions, EncryptionState, KeyError, KeyProvider, KeyProviderOptions, KeySize,
};
pub use error::{PublishError, RoomError};
pub use event::{RoomEvent, RoomEvents};
pub use file_sender::{FileError, FileSender};
pub use ice_server::{IceServer, IceTransportPolicy};
pub use local_participant::{DataPacket, LocalParticipant};
pub use local_track::{LocalTrack, LocalTrackPublication, TrackPublishOptions};
pub use names::{ParticipantIdentity, ParticipantSid, RoomSid, TrackSid};
pub use options::{RoomBuilder, RoomOptions};
pub use participant::{
    ConnectionQuality, Participant, ParticipantKind, ParticipantPermission, ParticipantState, Participants,
};
pub use publication::{TrackKind, TrackPublication, TrackSource};
pub use region_failover::RegionFailover;
pub use remote_track::RemoteTrack;
pub use room::{Room, WeakRoom};
pub use room_info::RoomInfo;
pub use rpc::error::RpcError;
pub use rpc::request::{RpcInvocation, RpcRequest};
pub use stream_writer::{ByteStreamWriter, SendStreamError, TextStreamWriter};
pub use take_once::TakeOnce;
pub use token_times::TokenTimes;
pub use track_permission::ParticipantTrackPermission;
pub use transcription::{Transcription, TranscriptionSegment};
#[cfg(feature = "vp8-keyframes")]
pub use video::Vp8KeyframeDecoder;
pub use video::{
    CaptureError, Captured, DecodeError, EncodedVideoFrame, IvfError, IvfReader, IvfWriter, KeyframeRequests,
    MalformedVideo, Plane, SubscribedQualities, TemporalLayer, VideoCodec, VideoDecoder, VideoFrame, VideoLayer,
    VideoQuality, VideoSource, VideoSourceOptions, VideoSourceStats, VideoStream, VideoStreamOptions, VideoStreamStats,
};
pub use video_settings::VideoSettings;
