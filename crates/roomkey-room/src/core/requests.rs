//! Requests that the server answers by their number.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use livekit_protocol as proto;

use super::Reply;
use crate::error::RoomError;
use crate::participant::Participant;

/// How long the server has for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What is to change of this client; the rest stays.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnChange {
    pub(crate) metadata: Option<String>,
    pub(crate) name: Option<String>,
    /// An empty value takes the key away.
    pub(crate) attributes: HashMap<String, String>,
}

#[derive(Default)]
pub(crate) struct Requests {
    last: u32,
    pending: Vec<Pending>,
}

struct Pending {
    number: u32,
    change: OwnChange,
    deadline: Instant,
    reply: Reply<Result<(), RoomError>>,
}

impl Requests {
    /// Keeps a request until it is answered, and gives it a number.
    pub(crate) fn add(&mut self, change: OwnChange, reply: Reply<Result<(), RoomError>>, now: Instant) -> u32 {
        self.last = self.last.wrapping_add(1).max(1);
        self.pending.push(Pending { number: self.last, change, deadline: now + TIMEOUT, reply });
        self.last
    }

    /// Whether nothing is awaited.
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The server's answer. One that says yes comes before the change, which is waited for.
    pub(crate) fn answered(&mut self, response: &proto::RequestResponse) {
        let Some(error) = refusal(response) else { return };
        if let Some(index) = self.pending.iter().position(|pending| pending.number == response.request_id) {
            (self.pending.swap_remove(index).reply)(Err(error));
        }
    }

    /// What others see of this client has changed: requests for just that are done.
    pub(crate) fn own_changed(&mut self, own: &Participant) {
        for pending in std::mem::take(&mut self.pending) {
            if pending.change.is_done(own) {
                (pending.reply)(Ok(()));
            } else {
                self.pending.push(pending);
            }
        }
    }

    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.pending.iter().map(|pending| pending.deadline).min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for pending in std::mem::take(&mut self.pending) {
            if pending.deadline <= now {
                (pending.reply)(Err(RoomError::Timeout));
            } else {
                self.pending.push(pending);
            }
        }
    }

    pub(crate) fn fail_all(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            (pending.reply)(Err(RoomError::Disconnected));
        }
    }
}

/// What an answer says, if not yes.
pub(crate) fn refusal(response: &proto::RequestResponse) -> Option<RoomError> {
    use proto::request_response::Reason;
    /// Of what a server says about it.
    const LONGEST: usize = 200;
    match response.reason() {
        Reason::Ok | Reason::Queued => None,
        Reason::NotAllowed => Some(RoomError::NotAllowed),
        Reason::NotFound => Some(RoomError::NotFound),
        reason @ (Reason::LimitExceeded
        | Reason::UnsupportedType
        | Reason::UnclassifiedError
        | Reason::InvalidHandle
        | Reason::InvalidName
        | Reason::DuplicateHandle
        | Reason::DuplicateName
        | Reason::InvalidRequest) => {
            let message = if response.message.is_empty() { reason.as_str_name() } else { &response.message };
            Some(RoomError::Refused(message.chars().take(LONGEST).collect()))
        }
    }
}

impl OwnChange {
    /// Whether it takes a text away.
    pub(crate) fn clears_text(&self) -> bool {
        [&self.metadata, &self.name].into_iter().flatten().any(String::is_empty)
    }

    pub(crate) fn is_done(&self, own: &Participant) -> bool {
        self.metadata.as_ref().is_none_or(|metadata| *metadata == own.metadata)
            && self.name.as_ref().is_none_or(|name| *name == own.name)
            && self.attributes.iter().all(|(key, value)| own.attribute(key).unwrap_or_default() == value)
    }
}
