//! What can go wrong in a room.

use std::fmt;

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
