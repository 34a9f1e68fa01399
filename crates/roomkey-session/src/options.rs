//! What a session is told.

use std::time::Duration;

use crate::agent_expectation::AgentExpectation;

/// What a session's settings are; the builder sets them.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) expectation: AgentExpectation,
    pub(crate) agent_timeout: Duration,
    pub(crate) leave_grace: Duration,
    pub(crate) expression_turns: usize,
    pub(crate) history_limit: usize,
    pub(crate) send_policy: SendPolicy,
    pub(crate) restart: RestartPolicy,
    pub(crate) seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            expectation: AgentExpectation::Auto,
            agent_timeout: Duration::from_secs(20),
            leave_grace: Duration::from_secs(3),
            expression_turns: 2,
            history_limit: 1_000,
            send_policy: SendPolicy::default(),
            restart: RestartPolicy::default(),
            seed: 0,
        }
    }
}

/// When a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SendPolicy {
    /// When the agent can be sent data: one that has joined and is not ready drops what it gets. If no agent comes within
    /// the agent timeout, the message fails, or is sent to the room where no agent was certain to come.
    #[default]
    QueueUntilAgentReady,
    /// When the room is there.
    Immediate,
}

/// Whether a session whose room ended joins another, with a new token.
///
/// It does where the room was lost: the connection, the server, media. It does not where somebody ended it: this client,
/// another one of the same identity, whoever removed the participant or closed the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RestartPolicy {
    /// It stays without one.
    #[default]
    Never,
    /// It tries this often, waiting longer before each: 0.5 to 1 s before the first, up to 30 s.
    Attempts(u32),
}

/// What a start waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Ready {
    /// The room.
    #[default]
    Room,
    /// The agent's being at work. At most for the agent timeout, whatever the expectation; where none is
    /// [expected](AgentExpectation::None), it is the room.
    Agent,
}
