//! What the server says of the room itself.

use std::time::Duration;

use livekit_protocol as proto;

use crate::names::RoomSid;

/// What is known of the room at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RoomInfo {
    /// The sid of this life of the room; empty until the server says it.
    pub sid: RoomSid,
    /// Its name.
    pub name: String,
    /// What the application says of it.
    pub metadata: String,
    /// Whether somebody records it.
    pub is_recording: bool,
    /// How many participants there are, as the server counts.
    pub num_participants: u32,
    /// How many of them publish.
    pub num_publishers: u32,
    /// How long the last ping of the signalling took.
    pub round_trip_time: Option<Duration>,
}

impl RoomInfo {
    pub(crate) fn read(&mut self, room: &proto::Room) {
        self.sid = (&room.sid).into();
        self.name.clone_from(&room.name);
        self.metadata.clone_from(&room.metadata);
        self.is_recording = room.active_recording;
        (self.num_participants, self.num_publishers) = (room.num_participants, room.num_publishers);
    }
}
