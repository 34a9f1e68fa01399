//! Which agent is waited for.

use roomkey_room::{Participant, ParticipantIdentity};

/// Whether a session waits for an agent, and for which.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AgentExpectation {
    /// Any agent is taken. That none comes is a failure only if the token dispatches one. (Where a token dispatches none, the
    /// server may send one of its own accord; nobody can tell in advance.)
    #[default]
    Auto,
    /// This agent is waited for, and nothing else is the agent.
    Expected(AgentSelector),
    /// None is waited for. One that comes is shown; that it leaves is no failure.
    None,
}

/// Which of several agents is the session's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AgentSelector {
    /// The first that is ready to be sent data, in the order in which they came; it stays the one while it is there.
    #[default]
    Any,
    /// The one of this name, as it was dispatched (`lk.agent.name`).
    Name(String),
    /// The one of this identity.
    Identity(ParticipantIdentity),
}

impl AgentSelector {
    /// The one of this name.
    pub fn name(name: impl Into<String>) -> Self {
        Self::Name(name.into())
    }

    /// The one of this identity.
    pub fn identity(identity: impl Into<ParticipantIdentity>) -> Self {
        Self::Identity(identity.into())
    }

    pub(crate) fn matches(&self, participant: &Participant) -> bool {
        match self {
            Self::Any => true,
            Self::Name(name) => participant.attribute("lk.agent.name") == Some(name),
            Self::Identity(identity) => participant.identity == *identity,
        }
    }
}
