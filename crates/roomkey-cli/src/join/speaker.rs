//! Whose words a message has.

use roomkey::room::Participants;
use roomkey::session::{Message, MessageKind, Status};
use roomkey::{ParticipantIdentity, ParticipantKind};

use crate::join::plain;

/// Who speaks, as far as it makes a difference to the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaker {
    You,
    Agent,
    Other,
}

impl Speaker {
    pub(crate) fn of(message: &Message, participants: &Participants) -> Self {
        let is_sent = matches!(message.status, Status::Pending | Status::Sent | Status::Failed(_));
        let is_local = participants.local.as_ref().is_some_and(|local| local.identity == message.from);
        if is_sent || is_local {
            Self::You
        } else if message.kind == MessageKind::AgentTranscript || is_agent(&message.from, participants) {
            Self::Agent
        } else {
            Self::Other
        }
    }
}

fn is_agent(identity: &ParticipantIdentity, participants: &Participants) -> bool {
    participants.get(identity).is_some_and(|participant| participant.kind == ParticipantKind::Agent)
}

/// What a participant is called: its name, or else its identity; on one line.
pub(crate) fn name_of(identity: &ParticipantIdentity, participants: &Participants) -> String {
    let name = participants.get(identity).map(|participant| participant.name.as_str()).filter(|name| !name.is_empty());
    plain::line(name.unwrap_or(identity.as_str()))
}
