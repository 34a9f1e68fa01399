//! Whether the room is there.

use std::fmt;

use livekit_protocol as proto;

/// Whether a room is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "an application shows each of them")]
pub enum ConnectionState {
    /// All is well.
    Connected,
    /// The connection broke, and the same stay in the room is being taken up again: participants and tracks stay.
    #[doc(alias = "Reconnecting")]
    Resuming,
    /// The room is being joined anew: whoever was in it all the time stays the same participant, with the same tracks, and only
    /// who is gone afterwards has left. Own tracks are published again.
    #[doc(alias = "Reconnecting")]
    Restarting,
    /// The room is over.
    Disconnected(DisconnectReason),
}

impl ConnectionState {
    /// Its name for programs and logs, which stays what it is; without the reason.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Resuming => "resuming",
            Self::Restarting => "restarting",
            Self::Disconnected(_) => "disconnected",
        }
    }

    /// Whether the room is over.
    pub fn is_disconnected(self) -> bool {
        matches!(self, Self::Disconnected(_))
    }
}

impl fmt::Display for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a stay in a room ended, in the server's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// Nobody said.
    Unknown,
    /// The client left.
    ClientInitiated,
    /// The same identity came again.
    DuplicateIdentity,
    /// The server stops.
    ServerShutdown,
    /// Somebody removed the participant.
    ParticipantRemoved,
    /// Somebody deleted the room.
    RoomDeleted,
    /// The server does not know the session that was to be resumed.
    StateMismatch,
    /// Media and data did not come up in time.
    JoinFailure,
    /// The room moved to another server.
    Migration,
    /// The signalling connection ended, and did not come back.
    SignalClose,
    /// The room ended since everybody else left.
    RoomClosed,
    /// Who was called did not answer.
    UserUnavailable,
    /// Who was called declined.
    UserRejected,
    /// The telephone line failed.
    SipTrunkFailure,
    /// The connection was silent for too long.
    ConnectionTimeout,
    /// Media stopped.
    MediaFailure,
    /// The agent failed.
    AgentError,
}

impl DisconnectReason {
    /// Its name for programs and logs, which stays what it is. `Display` is a sentence for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::ClientInitiated => "client_initiated",
            Self::DuplicateIdentity => "duplicate_identity",
            Self::ServerShutdown => "server_shutdown",
            Self::ParticipantRemoved => "participant_removed",
            Self::RoomDeleted => "room_deleted",
            Self::StateMismatch => "state_mismatch",
            Self::JoinFailure => "join_failure",
            Self::Migration => "migration",
            Self::SignalClose => "signal_close",
            Self::RoomClosed => "room_closed",
            Self::UserUnavailable => "user_unavailable",
            Self::UserRejected => "user_rejected",
            Self::SipTrunkFailure => "sip_trunk_failure",
            Self::ConnectionTimeout => "connection_timeout",
            Self::MediaFailure => "media_failure",
            Self::AgentError => "agent_error",
        }
    }

    pub(crate) fn read(reason: i32) -> Self {
        use proto::DisconnectReason as Wire;
        match Wire::try_from(reason) {
            Ok(Wire::ClientInitiated) => Self::ClientInitiated,
            Ok(Wire::DuplicateIdentity) => Self::DuplicateIdentity,
            Ok(Wire::ServerShutdown) => Self::ServerShutdown,
            Ok(Wire::ParticipantRemoved) => Self::ParticipantRemoved,
            Ok(Wire::RoomDeleted) => Self::RoomDeleted,
            Ok(Wire::StateMismatch) => Self::StateMismatch,
            Ok(Wire::JoinFailure) => Self::JoinFailure,
            Ok(Wire::Migration) => Self::Migration,
            Ok(Wire::SignalClose) => Self::SignalClose,
            Ok(Wire::RoomClosed) => Self::RoomClosed,
            Ok(Wire::UserUnavailable) => Self::UserUnavailable,
            Ok(Wire::UserRejected) => Self::UserRejected,
            Ok(Wire::SipTrunkFailure) => Self::SipTrunkFailure,
            Ok(Wire::ConnectionTimeout) => Self::ConnectionTimeout,
            Ok(Wire::MediaFailure) => Self::MediaFailure,
            Ok(Wire::AgentError) => Self::AgentError,
            Ok(Wire::UnknownReason) | Err(_) => Self::Unknown,
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "no reason was given",
            Self::ClientInitiated => "the client left",
            Self::DuplicateIdentity => "the same identity joined again",
            Self::ServerShutdown => "the server stops",
            Self::ParticipantRemoved => "the participant was removed",
            Self::RoomDeleted => "the room was deleted",
            Self::StateMismatch => "the server does not know the session",
            Self::JoinFailure => "media and data did not come up in time",
            Self::Migration => "the room moved",
            Self::SignalClose => "the signalling connection ended",
            Self::RoomClosed => "the room was closed",
            Self::UserUnavailable => "the user did not answer",
            Self::UserRejected => "the user declined",
            Self::SipTrunkFailure => "the telephone line failed",
            Self::ConnectionTimeout => "the connection was silent for too long",
            Self::MediaFailure => "media stopped",
            Self::AgentError => "the agent failed",
        })
    }
}
