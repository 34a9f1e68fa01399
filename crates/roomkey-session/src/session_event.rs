//! What happens in a session, beside its states.

use std::sync::Arc;

use crate::agent_state::AgentState;
use crate::error::SessionError;
use crate::message::Message;
use crate::session_state::SessionState;

/// Something that happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SessionEvent {
    /// The session is in another state.
    StateChanged(SessionState),
    /// The agent does something else.
    AgentStateChanged(AgentState),
    /// A message of somebody else's, or a transcript, has begun: once for each.
    MessageReceived(Arc<Message>),
    /// Something went wrong; the session may go on.
    Failed(Arc<SessionError>),
}
