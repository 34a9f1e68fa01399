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
    /// From the start to the agent's first words: the first moment at which its track is received, and either it says that it
    /// is speaking (its attribute `lk.agent.state`) or the server says that whoever publishes the track is. A track that is
    /// received and silent is not yet audio. Both are told beside the sound, and may be some hundred milliseconds off it; the
    /// frames of [`agent_audio`](crate::Session::agent_audio) are exact.
    pub first_audio: Option<Duration>,
}
