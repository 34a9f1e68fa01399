//! Whose words a message has.

use roomkey::room::Participants;
use roomkey::session::{Message, MessageKind};
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
        if message.is_local() {
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
