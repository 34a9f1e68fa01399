//! The agent as an application sees it.

use std::fmt;
use std::sync::Arc;

use roomkey_room::{DisconnectReason, Participant, ParticipantIdentity};

use crate::message::Expression;
use crate::track_ref::TrackRef;

/// What the agent does. It is read from the room's state and the attribute `lk.agent.state` of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "an application shows each of them; what is new is `Other`")]
pub enum AgentState {
    /// There is no session, or no agent is [expected](crate::AgentExpectation::None) and none is there.
    Disconnected,
    /// The room is joined, or the agent waited for.
    Connecting,
    /// As [`Connecting`](Self::Connecting) or [`Initializing`](Self::Initializing), and what the user says is kept for
    /// the agent: they can speak.
    Buffering,
    /// The agent is there and has not said what it does.
    Initializing,
    /// The agent says that it does nothing.
    Idle,
    /// The agent listens.
    Listening,
    /// The agent works on an answer.
    Thinking,
    /// The agent speaks.
    Speaking,
    /// The agent was there. Either it has just left, and may come again, or the room is joined anew.
    Reconnecting,
    /// The agent is given up. It leaves this state when an agent comes after all.
    Failed(AgentFailure),
    /// What the agent says it does has no name here.
    Other(Arc<str>),
}

impl AgentState {
    /// Its name for programs and logs, which stays what it is; that of [`Other`](Self::Other) is the agent's own word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Connecting => "connecting",
            Self::Buffering => "buffering",
            Self::Initializing => "initializing",
            Self::Idle => "idle",
            Self::Listening => "listening",
            Self::Thinking => "thinking",
            Self::Speaking => "speaking",
            Self::Reconnecting => "reconnecting",
            Self::Failed(_) => "failed",
            Self::Other(state) => state,
        }
    }

    /// Whether the agent is at work: listening, thinking or speaking.
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Listening | Self::Thinking | Self::Speaking)
    }

    /// Whether what the user says reaches the agent, now or later.
    pub fn can_listen(&self) -> bool {
        self.is_connected() || matches!(self, Self::Buffering)
    }

    /// Whether the agent is waited for.
    pub fn is_pending(&self) -> bool {
        matches!(self, Self::Connecting | Self::Buffering | Self::Initializing | Self::Idle | Self::Reconnecting)
    }

    /// Whether nothing more is waited for.
    pub fn is_finished(&self) -> bool {
        matches!(self, Self::Disconnected | Self::Failed(_))
    }

    pub(crate) fn read(text: &str) -> Self {
        match text {
            "initializing" => Self::Initializing,
            "idle" => Self::Idle,
            "listening" => Self::Listening,
            "thinking" => Self::Thinking,
            "speaking" => Self::Speaking,
            other => Self::Other(other.into()),
        }
    }
}

impl fmt::Display for AgentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why the agent is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AgentFailure {
    /// None came in time.
    JoinTimeout,
    /// One came, and did not say in time that it is at work.
    InitTimeout,
    /// It left and did not come again; why, where that is known.
    Left(Option<DisconnectReason>),
}

impl AgentFailure {
    /// Its name for programs and logs, which stays what it is. `Display` is a sentence for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JoinTimeout => "join_timeout",
            Self::InitTimeout => "init_timeout",
            Self::Left(_) => "left",
        }
    }
}

impl fmt::Display for AgentFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::JoinTimeout => f.write_str("the agent did not join the room in time"),
            Self::InitTimeout => f.write_str("the agent joined the room and did not become ready in time"),
            Self::Left(None) => f.write_str("the agent left the room"),
            Self::Left(Some(reason)) => write!(f, "the agent left the room: {reason}"),
        }
    }
}

impl std::error::Error for AgentFailure {}

/// The agent at one moment. A later change is another value.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AgentSnapshot {
    /// What it does.
    pub state: AgentState,
    /// The agent in the room.
    pub participant: Option<Arc<Participant>>,
    /// Who publishes on the agent's behalf, such as an avatar.
    pub worker: Option<Arc<Participant>>,
    /// What the agent lets hear: its own microphone track, or else its worker's.
    pub audio: Option<TrackRef>,
    /// What the agent shows: its own camera track, or else its worker's.
    pub video: Option<TrackRef>,
    /// How the agent said what it said last, where it tells: that of its newest transcript, or its worker's, that has one. It is
    /// gone once the speaker has begun [two more](crate::SessionBuilder::expression_turns) without one, as in LiveKit's
    /// components (components-js, `packages/react/src/hooks/useAgentExpression.ts`), and with the agent and the room.
    pub expression: Option<Expression>,
    /// The other agents of the room, in the order in which they came.
    pub others: Arc<[Arc<Participant>]>,
}

impl AgentSnapshot {
    /// No agent, in this state.
    pub fn new(state: AgentState) -> Self {
        Self {
            state,
            participant: None,
            worker: None,
            audio: None,
            video: None,
            expression: None,
            others: Arc::new([]),
        }
    }

    /// Who the agent is.
    pub fn identity(&self) -> Option<&ParticipantIdentity> {
        self.participant.as_ref().map(|agent| &agent.identity)
    }

    /// The name under which the agent was dispatched, where it says so.
    pub fn name(&self) -> Option<&str> {
        self.participant.as_ref()?.attribute("lk.agent.name")
    }

    /// What the agent's application says of it.
    pub fn metadata(&self) -> Option<&str> {
        self.participant.as_ref().map(|agent| agent.metadata.as_str())
    }

    /// An attribute of the agent.
    pub fn attribute(&self, key: &str) -> Option<&str> {
        self.participant.as_ref()?.attribute(key)
    }
}
