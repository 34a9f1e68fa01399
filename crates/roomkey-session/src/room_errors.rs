//! Why a room was not joined and something was not sent or published.

use std::fmt;

use roomkey_room::DisconnectReason;

/// Why a room was not joined.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ConnectError {
    /// The server does not accept the token (401, 403). Another try with it is of no use.
    NotAllowed,
    /// The server could not be reached or is out of order, after several tries; the last HTTP status, if there was one.
    Unavailable(Option<u16>),
    /// The server answered the join with a leave.
    Refused(DisconnectReason),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed => f.write_str("the server does not accept the token"),
            Self::Unavailable(_) => f.write_str("the server can't be reached"),
            Self::Refused(reason) => write!(f, "the server refused the join: {reason}"),
        }
    }
}

impl std::error::Error for ConnectError {}

/// Why a track was not published.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// The token does not allow it.
    NotAllowed,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the token does not allow to publish this")
    }
}

impl std::error::Error for PublishError {}

/// Why something was not sent or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoomError {
    /// The room is over.
    Disconnected,
    /// It can't be sent as it is.
    Invalid(&'static str),
}

impl fmt::Display for RoomError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected => f.write_str("the room is over"),
            Self::Invalid(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for RoomError {}
