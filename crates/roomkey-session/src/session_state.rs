//! Whether the session is there.

use std::fmt;

use roomkey_room::DisconnectReason;

/// How far a session is in joining, holding or leaving a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[doc(alias = "ConnectionState")]
#[expect(clippy::exhaustive_enums, reason = "an application shows each of them")]
pub enum SessionState {
    /// There is no room. Why the last one ended; `None` before the first.
    Disconnected(Option<EndReason>),
    /// A token is fetched or the room is joined, at first or [anew](crate::RestartPolicy).
    Connecting,
    /// The room is there.
    Connected,
    /// The connection broke and is taken up again: participants and tracks stay.
    Resuming,
    /// The room is joined anew with the same token: whoever was in it all the time stays the same participant, with the
    /// same tracks; own tracks are published again.
    Restarting,
}

impl SessionState {
    /// Its name for programs and logs, which stays what it is; without the reason.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected(_) => "disconnected",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Resuming => "resuming",
            Self::Restarting => "restarting",
        }
    }

    /// Whether there is a room, be it one that is reconnecting.
    pub fn is_connected(self) -> bool {
        matches!(self, Self::Connected | Self::Resuming | Self::Restarting)
    }

    /// Whether the room is there and its connection is being mended.
    pub fn is_reconnecting(self) -> bool {
        matches!(self, Self::Resuming | Self::Restarting)
    }

    /// Whether there is no room, and none is being joined.
    pub fn is_disconnected(self) -> bool {
        matches!(self, Self::Disconnected(_))
    }
}

impl fmt::Display for SessionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a session has no room any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// The application ended it, or gave its start up.
    ClientInitiated,
    /// The start failed; what it returned says how.
    StartFailed,
    /// The room ended, and the session did not join another.
    Room(DisconnectReason),
}

impl EndReason {
    /// Its name for programs and logs, which stays what it is; where the room ended, that of the room's reason. `Display` is a
    /// sentence for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientInitiated => "client_initiated",
            Self::StartFailed => "start_failed",
            Self::Room(reason) => reason.as_str(),
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientInitiated => f.write_str("the session was ended"),
            Self::StartFailed => f.write_str("the session was not started"),
            Self::Room(reason) => reason.fmt(f),
        }
    }
}
