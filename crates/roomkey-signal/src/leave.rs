//! What a server asks of a client that it parts from.

use crate::proto::leave_request::Action;
use crate::proto::{DisconnectReason, LeaveRequest, RegionSettings};

/// From this protocol version on a client reads `action`, before it `can_reconnect`.
const FIRST_PROTOCOL_WITH_ACTION: i32 = 13;

/// A server's `leave`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Leave {
    /// What the client is to do.
    pub action: LeaveAction,
    /// Why.
    pub reason: DisconnectReason,
    /// Where else the client can connect to, if the server says so.
    pub regions: Option<RegionSettings>,
}

/// What a client does upon a `leave`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "an action that is unknown is a disconnect")]
pub enum LeaveAction {
    /// The session is over, and the client does not come back by itself.
    Disconnect,
    /// The client opens a websocket anew and goes on with the session.
    Resume,
    /// The client joins anew, as another participant sid.
    Reconnect,
}

impl Leave {
    pub(crate) fn read(leave: LeaveRequest) -> Self {
        let action = match leave.action() {
            Action::Resume => LeaveAction::Resume,
            Action::Reconnect => LeaveAction::Reconnect,
            Action::Disconnect if leave.can_reconnect => LeaveAction::Reconnect,
            Action::Disconnect => LeaveAction::Disconnect,
        };
        Self { action, reason: leave.reason(), regions: leave.regions }
    }
}

impl LeaveAction {
    /// The message for a client of this protocol version. An old one has no word for a resume: it resumes when its
    /// websocket closes without any.
    pub(crate) fn request(self, reason: DisconnectReason, client_protocol: i32) -> Option<LeaveRequest> {
        let mut leave = LeaveRequest { reason: reason.into(), ..LeaveRequest::default() };
        match self {
            _ if client_protocol >= FIRST_PROTOCOL_WITH_ACTION => leave.set_action(match self {
                Self::Disconnect => Action::Disconnect,
                Self::Resume => Action::Resume,
                Self::Reconnect => Action::Reconnect,
            }),
            Self::Disconnect => {}
            Self::Resume => return None,
            Self::Reconnect => leave.can_reconnect = true,
        }
        Some(leave)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_that_is_written_is_read_by_a_new_and_by_an_old_client() {
        let reason = DisconnectReason::StateMismatch;
        for protocol in [0, 12, 13, 17] {
            for action in [LeaveAction::Disconnect, LeaveAction::Resume, LeaveAction::Reconnect] {
                match action.request(reason, protocol) {
                    Some(leave) => {
                        assert_eq!(leave.can_reconnect, protocol < 13 && action == LeaveAction::Reconnect);
                        assert_eq!(Leave::read(leave), Leave { action, reason, regions: None });
                    }
                    None => assert!(protocol < 13 && action == LeaveAction::Resume),
                }
            }
        }
    }
}
