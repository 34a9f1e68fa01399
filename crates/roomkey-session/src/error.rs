//! What can go wrong.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use roomkey_room::{ConnectError, EncryptionState, ParticipantIdentity, PublishError, SendStreamError, TrackSid};
use roomkey_source::FetchError;

use crate::agent_state::AgentFailure;

/// Why a session did not start.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum StartError {
    /// It has been started already, and has not ended.
    AlreadyStarted,
    /// It was ended, or the start given up, before it was done.
    Cancelled,
    /// There is no token.
    Token(FetchError),
    /// The server does not accept the token, nor a new one where the first was an older one; the
    /// [reason](ConnectError::reason) has its words.
    NotAllowed(ConnectError),
    /// The room was not joined.
    Connect(ConnectError),
    /// Token and room were not there within the [time for it](crate::StartOptions::with_timeout).
    Timeout,
    /// The room ended before the agent was ready.
    Ended,
    /// The start was to [wait for the agent](crate::Ready::Agent), which was given up. The room stays: an agent that comes
    /// later is welcome.
    Agent(AgentFailure),
}

impl StartError {
    /// Whether another start may succeed without anything being changed: after a failure that is known to pass, a start that
    /// took too long, a room that was lost, an agent that did not come (whose room has to be
    /// [ended](crate::Session::end) first). Not after what the application did itself, nor where a
    /// token is refused.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Token(error) => error.is_retryable(),
            Self::Connect(error) => error.is_retryable(),
            Self::Timeout | Self::Ended | Self::Agent(_) => true,
            Self::AlreadyStarted | Self::Cancelled | Self::NotAllowed(_) => false,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyStarted => f.write_str("the session has been started already"),
            Self::Cancelled => f.write_str("the session was ended while it was starting"),
            Self::Token(_) => f.write_str("there is no token"),
            Self::NotAllowed(_) => f.write_str("the server does not accept the token"),
            Self::Connect(_) => f.write_str("the room was not joined"),
            Self::Timeout => f.write_str("the session did not start in time"),
            Self::Ended => f.write_str("the room ended while the agent was waited for"),
            Self::Agent(_) => f.write_str("the agent did not become ready"),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Token(error) => Some(error),
            Self::Connect(error) => Some(error),
            // It says the same sentence.
            Self::NotAllowed(error) => error.source(),
            Self::Agent(failure) => Some(failure),
            Self::AlreadyStarted | Self::Cancelled | Self::Timeout | Self::Ended => None,
        }
    }
}

/// Why there is no agent to work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AgentError {
    /// It is given up.
    Failed(AgentFailure),
    /// The session is not started, or it ended.
    Ended,
    /// It is there, and has no track of the kind that was waited for.
    NoTrack,
}

impl AgentError {
    /// What to say of a track that did not come in time, from what is said of an agent that is not at work.
    pub(crate) fn without_track(self) -> Self {
        if self == Self::Failed(AgentFailure::InitTimeout) { Self::NoTrack } else { self }
    }
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) => failure.fmt(f),
            Self::Ended => f.write_str("the session has no room"),
            Self::NoTrack => f.write_str("the agent has no such track"),
        }
    }
}

impl Error for AgentError {}

/// What went wrong last in a session, for showing to its user until it is
/// [dismissed](crate::Session::dismiss_error) or the session is started again.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SessionError {
    /// There is no token.
    Token(FetchError),
    /// The room was not joined.
    Connect(ConnectError),
    /// The session did not start in time.
    Timeout,
    /// A track was not published. The session goes on without it.
    Media(PublishError),
    /// A message was not sent.
    Send(Arc<SendError>),
    /// A message was not received whole.
    Receive(ReceiveError),
    /// What somebody sends can't be decrypted, or what this client sends not encrypted. The session goes on without it.
    Encryption(EncryptionError),
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "there is no token",
            Self::Connect(_) => "the room was not joined",
            Self::Timeout => "the session did not start in time",
            Self::Media(_) => "a track was not published",
            Self::Send(_) => "a message was not sent",
            Self::Receive(_) => "a message was not received whole",
            Self::Encryption(_) => "something can't be encrypted or decrypted",
        })
    }
}

impl Error for SessionError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Token(error) => Some(error),
            Self::Connect(error) => Some(error),
            Self::Media(error) => Some(error),
            Self::Send(error) => Some(error),
            Self::Receive(error) => Some(error),
            Self::Encryption(error) => Some(error),
            Self::Timeout => None,
        }
    }
}

/// What can't be encrypted or decrypted, and why. It is told once, until it stands otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EncryptionError {
    /// Who sent it; this client too.
    pub participant: ParticipantIdentity,
    /// Which track it is; none for messages, streams and calls.
    pub track: Option<TrackSid>,
    /// Why.
    pub state: EncryptionState,
}

impl fmt::Display for EncryptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.track.is_some() { "a track" } else { "data" };
        write!(f, "{what} of {}: {}", self.participant.as_str(), self.state)
    }
}

impl Error for EncryptionError {}

/// The session was built without [`encryption`](crate::SessionBuilder::encryption).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing to say beside it")]
pub struct NoEncryption;

impl fmt::Display for NoEncryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the session was built without keys for encryption")
    }
}

impl Error for NoEncryption {}

/// Why a message was not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The session is not started.
    NotStarted,
    /// The session ended first.
    Cancelled,
    /// Too many messages wait already.
    QueueFull,
    /// The text or a file is too large, in bytes.
    TooLarge {
        /// The most.
        limit: usize,
    },
    /// No agent came that it could be sent to.
    NoAgent,
    /// It was to [replace](crate::Session::edit) a message that it can't.
    NotEditable(NotEditable),
    /// The application's [sender](crate::SessionBuilder::sender) did not send it, why.
    Sender(Arc<str>),
    /// The room did not send it. Where the room was lost meanwhile, which it says as
    /// [`Disconnected`](roomkey_room::RoomError::Disconnected), some of it may have arrived; it is not sent to the next room.
    Room(SendStreamError),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted => f.write_str("the session is not started"),
            Self::Cancelled => f.write_str("the session ended before the message was sent"),
            Self::QueueFull => f.write_str("too many messages wait to be sent"),
            Self::TooLarge { limit } => write!(f, "the message is larger than {limit} bytes"),
            Self::NoAgent => f.write_str("no agent came that the message could be sent to"),
            Self::NotEditable(why) => why.fmt(f),
            Self::Sender(why) => write!(f, "the application's sender did not send the message: {why}"),
            Self::Room(_) => f.write_str("the room did not send the message"),
        }
    }
}

impl Error for SendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Room(error) => Some(error),
            Self::NotStarted
            | Self::Cancelled
            | Self::QueueFull
            | Self::TooLarge { .. }
            | Self::NoAgent
            | Self::NotEditable(_)
            | Self::Sender(_) => None,
        }
    }
}

/// Why a message can't be edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotEditable {
    /// There is no message of this id; it may be kept no more.
    Unknown,
    /// It is somebody else's, or what was said rather than written, or was sent under another identity.
    NotOwn,
    /// It was not sent, so that nobody has what would be replaced.
    NotSent,
    /// There is no text to put in its place: readers pass an empty one over.
    NoText,
}

impl fmt::Display for NotEditable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "there is no message of this id",
            Self::NotOwn => "the message is not one that this participant wrote",
            Self::NotSent => "the message was not sent",
            Self::NoText => "there is no text to put in the place of the message",
        })
    }
}

impl Error for NotEditable {}

/// Why a message was not received whole.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceiveError {
    /// Its text is not UTF-8.
    InvalidText,
    /// It is longer than what is kept of a message.
    TooLong,
    /// Too many messages were under way at once; the oldest was given up.
    TooMany,
    /// A [receiver](crate::SessionBuilder::receiver) of the application's panicked, and gives no more in this room.
    Receiver,
    /// Its stream broke off, why.
    Stream(Arc<str>),
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidText => f.write_str("the text is not UTF-8"),
            Self::TooLong => f.write_str("the text is too long"),
            Self::TooMany => f.write_str("too many messages were under way at once"),
            Self::Receiver => f.write_str("a receiver of the application's panicked"),
            Self::Stream(why) => write!(f, "the stream broke off: {why}"),
        }
    }
}

impl Error for ReceiveError {}

#[cfg(test)]
mod tests {
    use roomkey_room::ConnectErrorKind;

    use super::*;

    #[test]
    fn a_start_is_tried_again_where_that_may_help() {
        for error in [
            StartError::Connect(ConnectErrorKind::MediaTimeout.into()),
            StartError::Timeout,
            StartError::Ended,
            StartError::Agent(AgentFailure::JoinTimeout),
        ] {
            assert!(error.is_retryable(), "{error}");
        }
        for error in [
            StartError::Connect(ConnectErrorKind::NotFound.into()),
            StartError::AlreadyStarted,
            StartError::Cancelled,
            StartError::NotAllowed(ConnectErrorKind::NotAllowed.into()),
        ] {
            assert!(!error.is_retryable(), "{error}");
        }
    }
}
