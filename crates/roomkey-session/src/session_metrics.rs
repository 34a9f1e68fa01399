//! How long the phases of a start took.

use std::time::Duration;

/// How long the phases of the last start took; `None` of those that have not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SessionMetrics {
    /// From the start to the token. Next to nothing where it was [prepared](crate::Session::prepare).
    pub token: Option<Duration>,
    /// From the token to the room.
    pub connect: Option<Duration>,
    /// From the room to the agent's being in it.
    pub agent_join: Option<Duration>,
    /// From the start to the agent's being at work.
    pub agent_ready: Option<Duration>,
    /// From the start to the first audio of the agent's being received.
    pub first_audio: Option<Duration>,
}
