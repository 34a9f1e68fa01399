//! Whether the holder of a verified token may join its room, as livekit-server decides it.

use std::fmt;

use crate::claims::Claims;
use crate::grants::VideoGrant;

/// The limits that a server sets for those who join, in bytes; the defaults are livekit-server's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JoinLimits {
    /// Longest participant identity.
    pub identity: usize,
    /// Longest room name.
    pub room_name: usize,
    /// Longest participant metadata.
    pub metadata: usize,
    /// Most bytes of attributes, keys and values together.
    pub attributes: usize,
}

impl Default for JoinLimits {
    fn default() -> Self {
        Self { identity: 256, room_name: 256, metadata: 512 * 1024, attributes: 64 * 1024 }
    }
}

impl Claims {
    /// Whether livekit-server would let the holder join, as far as the token alone decides it. The server's own state
    /// can still refuse: a full room, a room that it may not create, a room preset that it does not have.
    ///
    /// Returns the grant to join, whose `room` is the room: the server reads no other.
    ///
    /// # Errors
    ///
    /// The join is refused; [`JoinError`] says why, in livekit-server's order of checks.
    pub fn check_join(&self, limits: &JoinLimits) -> Result<&VideoGrant, JoinError> {
        let video = self.video.as_ref().ok_or(JoinError::NoVideoGrant)?;
        if !video.room_join {
            return Err(JoinError::NoRoomJoin);
        }
        if self.identity().is_empty() {
            return Err(JoinError::EmptyIdentity);
        }
        if self.identity().len() > limits.identity {
            return Err(JoinError::IdentityTooLong { limit: limits.identity });
        }
        if video.room.is_empty() {
            return Err(JoinError::EmptyRoom);
        }
        if video.room.len() > limits.room_name {
            return Err(JoinError::RoomTooLong { limit: limits.room_name });
        }
        if self.metadata.len() > limits.metadata {
            return Err(JoinError::MetadataTooLarge { limit: limits.metadata });
        }
        let attributes: usize = self.attributes.iter().map(|(key, value)| key.len() + value.len()).sum();
        if attributes > limits.attributes {
            return Err(JoinError::AttributesTooLarge { limit: limits.attributes });
        }
        Ok(video)
    }
}

/// Why the holder of a valid token may not join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinError {
    /// There is no `video` claim.
    NoVideoGrant,
    /// The `video` claim has no `roomJoin`.
    NoRoomJoin,
    /// `sub` and `jti` are empty.
    EmptyIdentity,
    /// The identity is too long.
    IdentityTooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The `video` claim names no room.
    EmptyRoom,
    /// The room's name is too long.
    RoomTooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The metadata is too large. `/rtc/validate` does not see it, only the join does.
    MetadataTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The attributes are too large. `/rtc/validate` does not see it, only the join does.
    AttributesTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
}

impl JoinError {
    /// The status of livekit-server's answer to the join.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::NoVideoGrant | Self::NoRoomJoin => 401,
            Self::EmptyIdentity | Self::IdentityTooLong { .. } | Self::EmptyRoom | Self::RoomTooLong { .. } => 400,
            Self::MetadataTooLarge { .. } | Self::AttributesTooLarge { .. } => 500,
        }
    }

    /// The body of livekit-server's answer to the join.
    #[must_use]
    pub fn response_body(&self) -> String {
        match self {
            Self::NoVideoGrant => "no permissions to access the room".to_owned(),
            Self::NoRoomJoin => "permissions denied".to_owned(),
            Self::EmptyIdentity => "identity cannot be empty".to_owned(),
            Self::IdentityTooLong { limit } => {
                format!("participant identity length exceeds limits: max length {limit}")
            }
            Self::EmptyRoom => "no room name".to_owned(),
            Self::RoomTooLong { limit } => {
                format!("room name length exceeds limits: max length {limit}")
            }
            Self::MetadataTooLarge { .. } | Self::AttributesTooLarge { .. } => "connection closed by media".to_owned(),
        }
    }

    /// Whether `/rtc/validate` refuses too, rather than only the join.
    #[must_use]
    pub const fn is_seen_by_validate(&self) -> bool {
        !matches!(self, Self::MetadataTooLarge { .. } | Self::AttributesTooLarge { .. })
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVideoGrant => f.write_str("the token grants nothing in rooms (video)"),
            Self::NoRoomJoin => f.write_str("the token does not grant joining a room (video.roomJoin)"),
            Self::EmptyIdentity => f.write_str("the token names no participant identity (sub)"),
            Self::IdentityTooLong { limit } => {
                write!(f, "the participant identity is longer than {limit} bytes")
            }
            Self::EmptyRoom => f.write_str("the token names no room (video.room)"),
            Self::RoomTooLong { limit } => write!(f, "the room name is longer than {limit} bytes"),
            Self::MetadataTooLarge { limit } => {
                write!(f, "the participant metadata is larger than {limit} bytes")
            }
            Self::AttributesTooLarge { limit } => {
                write!(f, "the participant attributes are larger than {limit} bytes")
            }
        }
    }
}

impl std::error::Error for JoinError {}
