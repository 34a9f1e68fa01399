//! What can go wrong.

use std::fmt;
use std::sync::Arc;

use roomkey_signal::{HandshakeFailure, ServerUrlError};

use crate::connection_state::DisconnectReason;

/// Why a room was not joined.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ConnectError {
    /// The server URL can't be used.
    InvalidUrl(ServerUrlError),
    /// The server does not accept the token (401, 403). Another try with it is of no use.
    NotAllowed,
    /// There is no such room, or no LiveKit server at the URL (404).
    NotFound,
    /// The server refuses the request with this status.
    BadRequest(u16),
    /// The server could not be reached or is out of order, after several tries; the last HTTP status, if there was one.
    Unavailable(Option<u16>),
    /// The server answered the join with a leave.
    Refused(DisconnectReason),
    /// The server said something that no LiveKit server says at this point.
    Protocol(String),
    /// Signalling is up, but media and data did not come up in time: a firewall, most likely.
    MediaTimeout,
    /// There is no network address to receive media on.
    NoAddress(Arc<std::io::Error>),
    /// The room was closed while it was being joined.
    Cancelled,
}

impl ConnectError {
    /// Whether another try with the same token may succeed.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::MediaTimeout | Self::NoAddress(_))
    }

    /// Whether another region of the server may do better.
    pub(crate) fn is_of_region(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::MediaTimeout | Self::Protocol(_) | Self::Refused(_))
    }

    pub(crate) fn of_handshake(failure: HandshakeFailure) -> Self {
        match failure {
            HandshakeFailure::NotAllowed => Self::NotAllowed,
            HandshakeFailure::NotFound => Self::NotFound,
            HandshakeFailure::BadRequest { status, .. } => Self::BadRequest(status),
            HandshakeFailure::Unavailable { status, .. } => Self::Unavailable(status),
            _ => Self::Unavailable(None),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidUrl(_) => f.write_str("the server URL can't be used"),
            Self::NotAllowed => f.write_str("the server does not accept the token"),
            Self::NotFound => f.write_str("the server does not know the room, or is no LiveKit server"),
            Self::BadRequest(status) => write!(f, "the server refuses the request with status {status}"),
            Self::Unavailable(Some(status)) => write!(f, "the server could not connect us, status {status}"),
            Self::Unavailable(None) => f.write_str("the server can't be reached"),
            Self::Refused(reason) => write!(f, "the server refused the join: {reason}"),
            Self::Protocol(what) => write!(f, "the server does not speak LiveKit's protocol: {what}"),
            Self::MediaTimeout => f.write_str("media and data did not come up in time"),
            Self::NoAddress(_) => f.write_str("there is no network address to receive media on"),
            Self::Cancelled => f.write_str("the room was closed while it was being joined"),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::InvalidUrl(error) => Some(error),
            Self::NoAddress(error) => Some(error.as_ref()),
            Self::NotAllowed
            | Self::NotFound
            | Self::BadRequest(_)
            | Self::Unavailable(_)
            | Self::Refused(_)
            | Self::Protocol(_)
            | Self::MediaTimeout
            | Self::Cancelled => None,
        }
    }
}

/// Why a track was not published.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// The token does not allow it.
    NotAllowed,
    /// The server did not answer in time, or does not take this codec.
    Timeout,
    /// The server refused, in these words.
    Refused(String),
    /// The track is published in a room already.
    AlreadyPublished,
    /// The room is encrypted end to end, and the track's codec is AV1, which none of LiveKit's clients encrypts.
    NotEncryptable,
    /// The room is over.
    Disconnected,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed => f.write_str("the token does not allow to publish this"),
            Self::Timeout => f.write_str("the server did not take the track in time"),
            Self::Refused(why) => write!(f, "the server refused the track: {why}"),
            Self::AlreadyPublished => f.write_str("the track is published already"),
            Self::NotEncryptable => f.write_str("the track's codec can't be encrypted end to end"),
            Self::Disconnected => f.write_str("the room is over"),
        }
    }
}

impl std::error::Error for PublishError {}

/// Why something was not sent or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoomError {
    /// The room is over.
    Disconnected,
    /// The token does not allow it.
    NotAllowed,
    /// It is larger than the most that can be sent at once, in bytes; use a stream.
    TooLarge {
        /// The most.
        limit: usize,
    },
    /// There is no such track or participant.
    NotFound,
    /// The server did not answer in time.
    Timeout,
    /// The server refused, in these words.
    Refused(String),
    /// It is to be encrypted end to end, and there is no key for it.
    MissingKey,
    /// It can't be sent as it is.
    Invalid(&'static str),
}

impl fmt::Display for RoomError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected => f.write_str("the room is over"),
            Self::NotAllowed => f.write_str("the token does not allow it"),
            Self::TooLarge { limit } => write!(f, "it is larger than {limit} bytes"),
            Self::NotFound => f.write_str("there is no such track or participant"),
            Self::Timeout => f.write_str("the server did not answer in time"),
            Self::Refused(why) => write!(f, "the server refused: {why}"),
            Self::MissingKey => f.write_str("there is no key to encrypt it with"),
            Self::Invalid(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for RoomError {}
