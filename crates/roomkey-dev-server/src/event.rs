//! What happens in the server, for whoever runs it.

use std::fmt;

/// Something that happened. `Display` says it in words; no token or secret is ever in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A room was made.
    RoomStarted {
        /// Its name.
        room: String,
    },
    /// A room ended.
    RoomFinished {
        /// Its name.
        room: String,
    },
    /// Somebody joined; media may still be on its way.
    ParticipantJoined {
        /// The room.
        room: String,
        /// Who.
        identity: String,
        /// The client's SDK and version, as it says.
        sdk: String,
    },
    /// The participant's media connection is up.
    ParticipantActive {
        /// The room.
        room: String,
        /// Who.
        identity: String,
    },
    /// A client came back to a participant that was still there.
    ParticipantResumed {
        /// The room.
        room: String,
        /// Who.
        identity: String,
    },
    /// Somebody left.
    ParticipantLeft {
        /// The room.
        room: String,
        /// Who.
        identity: String,
        /// LiveKit's name of the reason, such as `CLIENT_INITIATED`.
        reason: &'static str,
    },
    /// A track was published.
    TrackPublished {
        /// The room.
        room: String,
        /// Whose.
        identity: String,
        /// Its sid.
        track: String,
        /// `audio/red`, `video/VP8`, ...
        mime_type: String,
    },
    /// A track went away.
    TrackUnpublished {
        /// The room.
        room: String,
        /// Whose.
        identity: String,
        /// Its sid.
        track: String,
    },
    /// A data packet did not go out to a client that takes none of its size.
    DataDropped {
        /// The room.
        room: String,
        /// To whom.
        identity: String,
        /// The largest that the client takes, in bytes.
        limit: usize,
    },
    /// A request to join was refused.
    JoinRefused {
        /// The HTTP status.
        status: u16,
        /// The answer's text.
        reason: String,
    },
    /// An agent worker registered.
    WorkerRegistered {
        /// The agent's name; empty for one that takes every room.
        agent: String,
    },
    /// An agent worker went away.
    WorkerGone {
        /// The agent's name.
        agent: String,
    },
    /// A job was given to an agent.
    AgentDispatched {
        /// The room.
        room: String,
        /// The agent's name.
        agent: String,
    },
}

impl Event {
    /// What happened, in a word for machines: `room_started`, `participant_joined`, ...
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::RoomStarted { .. } => "room_started",
            Self::RoomFinished { .. } => "room_finished",
            Self::ParticipantJoined { .. } => "participant_joined",
            Self::ParticipantActive { .. } => "participant_active",
            Self::ParticipantResumed { .. } => "participant_resumed",
            Self::ParticipantLeft { .. } => "participant_left",
            Self::TrackPublished { .. } => "track_published",
            Self::TrackUnpublished { .. } => "track_unpublished",
            Self::DataDropped { .. } => "data_dropped",
            Self::JoinRefused { .. } => "join_refused",
            Self::WorkerRegistered { .. } => "worker_registered",
            Self::WorkerGone { .. } => "worker_gone",
            Self::AgentDispatched { .. } => "agent_dispatched",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RoomStarted { room } => write!(f, "room {room:?} started"),
            Self::RoomFinished { room } => write!(f, "room {room:?} finished"),
            Self::ParticipantJoined { room, identity, sdk } => {
                write!(f, "{identity:?} joined {room:?} with {}", Plain(sdk))
            }
            Self::ParticipantActive { room, identity } => write!(f, "{identity:?} is connected to {room:?}"),
            Self::ParticipantResumed { room, identity } => write!(f, "{identity:?} came back to {room:?}"),
            Self::ParticipantLeft { room, identity, reason } => write!(f, "{identity:?} left {room:?}: {reason}"),
            Self::TrackPublished { room, identity, track, mime_type } => {
                write!(f, "{identity:?} publishes {mime_type} in {room:?} as {track}")
            }
            Self::TrackUnpublished { room, identity, track } => {
                write!(f, "{identity:?} no longer publishes {track} in {room:?}")
            }
            Self::DataDropped { room, identity, limit } => {
                write!(f, "{identity:?} in {room:?} missed a data packet: it takes {limit} bytes at most")
            }
            Self::JoinRefused { status, reason } => write!(f, "refused a client: {status}, {}", Plain(reason)),
            Self::WorkerRegistered { agent } if agent.is_empty() => {
                f.write_str("an agent worker for every room registered")
            }
            Self::WorkerRegistered { agent } => write!(f, "a worker for agent {agent:?} registered"),
            Self::WorkerGone { agent } if agent.is_empty() => f.write_str("an agent worker for every room is gone"),
            Self::WorkerGone { agent } => write!(f, "a worker for agent {agent:?} is gone"),
            Self::AgentDispatched { room, agent } if agent.is_empty() => write!(f, "{room:?} gets an agent"),
            Self::AgentDispatched { room, agent } => write!(f, "{room:?} gets agent {agent:?}"),
        }
    }
}

/// A stranger's text, without what would move a terminal's cursor.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|char| fmt::Write::write_char(f, if char.is_control() { '\u{fffd}' } else { char }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_says_of_itself_is_one_plain_line() {
        let (room, sdk) = ("lab\n".to_owned(), "js \u{1b}[2J\r\n\u{9b}1m".to_owned());
        let joined = Event::ParticipantJoined { room, identity: "eve\u{1b}[0m".to_owned(), sdk };
        let refused = Event::JoinRefused { status: 401, reason: "invalid API key: \u{1b}]0;x\u{7}".to_owned() };
        for shown in [joined.to_string(), refused.to_string()] {
            assert!(!shown.contains(char::is_control), "{shown:?}");
        }
    }
}
