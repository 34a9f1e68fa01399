#![doc = include_str!("../README.md")]

mod connection_state;
mod names;
mod participant;
mod publication;

pub use connection_state::{ConnectionState, DisconnectReason};
pub use names::{ParticipantIdentity, ParticipantSid, RoomSid, TrackSid};
pub use participant::{
    ConnectionQuality, Participant, ParticipantKind, ParticipantPermission, ParticipantState, Participants,
};
pub use publication::{TrackKind, TrackPublication, TrackSource};
