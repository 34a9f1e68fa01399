#![doc = include_str!("../README.md")]

mod connection_state;
#[allow(dead_code, reason = "the room that calls it follows")]
mod data_stream;
mod names;
mod participant;
mod publication;
#[allow(dead_code, reason = "the room that calls it follows")]
mod rpc;

pub use connection_state::{ConnectionState, DisconnectReason};
pub use data_stream::error::StreamError;
pub use data_stream::info::{ByteStreamInfo, TextOperation, TextStreamInfo};
pub use data_stream::limits::StreamLimits;
pub use data_stream::options::{ByteStreamOptions, TextStreamOptions};
pub use data_stream::reader::{ByteStreamReader, TextStreamReader};
pub use names::{ParticipantIdentity, ParticipantSid, RoomSid, TrackSid};
pub use participant::{
    ConnectionQuality, Participant, ParticipantKind, ParticipantPermission, ParticipantState, Participants,
};
pub use publication::{TrackKind, TrackPublication, TrackSource};
pub use rpc::error::RpcError;
pub use rpc::request::{RpcInvocation, RpcRequest};
