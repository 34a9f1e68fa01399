//! What waits to be sent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roomkey_room::{Participant, ParticipantIdentity, ParticipantState, RoomError, SendStreamError};

use super::attachments::MAX_FILE;
use super::connection::RoomId;
use super::messages::{CHAT_TOPIC, MAX_CHAT};
use crate::error::SendError;
use crate::message::MessageId;
use crate::options::SendPolicy;
use crate::send_options::SendOptions;

/// Names one send for as long as it lasts.
pub(crate) type SendId = u64;

/// A text to be sent, and its files.
#[derive(Debug, Clone)]
pub(crate) struct OutgoingText {
    pub(crate) send: SendId,
    pub(crate) stream_id: Arc<str>,
    pub(crate) text: Arc<str>,
    pub(crate) options: SendOptions,
}

impl OutgoingText {
    pub(crate) fn topic(&self) -> &str {
        self.options.topic.as_deref().unwrap_or(CHAT_TOPIC)
    }

    /// The ids of the streams that the files go in.
    pub(crate) fn attached_stream_ids(&self) -> Vec<Arc<str>> {
        (0..self.options.attachments.len()).map(|index| format!("{}-{index}", self.stream_id).into()).collect()
    }
}

pub(crate) struct Outbox {
    policy: SendPolicy,
    patience: Duration,
    waiting: VecDeque<Waiting>,
    /// One after the other, so that they arrive in their order. The room that it was given to alone says how it went.
    under_way: Option<(RoomId, Waiting)>,
    room_since: Option<Instant>,
}

struct Waiting {
    text: OutgoingText,
    message: Option<MessageId>,
    since: Instant,
}

/// What became of a send.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) send: SendId,
    /// The message that it is, where it is one.
    pub(crate) message: Option<MessageId>,
    pub(crate) result: Result<(), SendError>,
}

/// What there is to send to.
pub(crate) struct Recipients<'a> {
    /// The room that is joined or being joined.
    pub(crate) room: Option<RoomId>,
    pub(crate) is_connected: bool,
    pub(crate) agent: Option<&'a Participant>,
    pub(crate) is_agent_expected: bool,
    pub(crate) is_agent_certain: bool,
    pub(crate) now: Instant,
}

impl Outbox {
    pub(crate) fn new(policy: SendPolicy, patience: Duration) -> Self {
        Self { policy, patience, waiting: VecDeque::new(), under_way: None, room_since: None }
    }

    /// Whether something can be taken.
    pub(crate) fn check(&self, text: &OutgoingText) -> Result<(), SendError> {
        if self.waiting.len() >= MAX_WAITING {
            return Err(SendError::QueueFull);
        }
        if text.text.len() > MAX_CHAT {
            return Err(SendError::TooLarge { limit: MAX_CHAT });
        }
        if text.options.attachments.iter().any(|file| file.bytes.len() > MAX_FILE) {
            return Err(SendError::TooLarge { limit: MAX_FILE });
        }
        Ok(())
    }

    pub(crate) fn push(&mut self, text: OutgoingText, message: Option<MessageId>, now: Instant) {
        self.waiting.push_back(Waiting { text, message, since: now });
    }

    /// The room has sent the text under way, or has not.
    pub(crate) fn handle_sent(&mut self, send: SendId, result: Result<(), SendStreamError>) -> Option<Sent> {
        let (_, sent) = self.under_way.take_if(|(_, waiting)| waiting.text.send == send)?;
        Some(Sent { send, message: sent.message, result: result.map_err(SendError::Room) })
    }

    /// What is to be sent next, if it can be, and what is given up.
    pub(crate) fn poll(&mut self, recipients: &Recipients<'_>) -> (Option<OutgoingText>, Vec<Sent>) {
        // A room that is gone says nothing any more. How much of the text has arrived there is not known, and who is in the
        // next room is somebody else: it is not sent again.
        let lost = self.under_way.take_if(|(room, _)| recipients.room != Some(*room));
        let mut given_up: Vec<_> =
            lost.into_iter().map(|(_, lost)| lost.fail(SendError::Room(RoomError::Disconnected.into()))).collect();
        let Some(room) = recipients.room.filter(|_| recipients.is_connected) else {
            self.room_since = None;
            return (None, given_up);
        };
        let room_since = *self.room_since.get_or_insert(recipients.now);
        while self.under_way.is_none() {
            let Some(next) = self.waiting.front() else { break };
            let is_late = next.since.max(room_since) + self.patience <= recipients.now;
            let can_go = self.can_go(next, recipients);
            if can_go || is_late && !recipients.is_agent_certain {
                self.under_way = self.waiting.pop_front().map(|waiting| (room, waiting));
                let text = self.under_way.as_ref().map(|(_, waiting)| waiting.text.clone());
                return (text, given_up);
            }
            if !is_late {
                break;
            }
            given_up.extend(self.waiting.pop_front().map(|waiting| waiting.fail(SendError::NoAgent)));
        }
        (None, given_up)
    }

    fn can_go(&self, waiting: &Waiting, recipients: &Recipients<'_>) -> bool {
        let destinations = &waiting.text.options.destinations;
        let is_for = |identity: &ParticipantIdentity| destinations.is_empty() || destinations.contains(identity);
        match recipients.agent {
            _ if self.policy == SendPolicy::Immediate || !recipients.is_agent_expected => true,
            Some(agent) => agent.state == ParticipantState::Active || !is_for(&agent.identity),
            None => false,
        }
    }

    /// There is no room any more: nothing is sent.
    pub(crate) fn cancel(&mut self) -> Vec<Sent> {
        self.room_since = None;
        let under_way = self.under_way.take().map(|(_, waiting)| waiting);
        let all = under_way.into_iter().chain(self.waiting.drain(..));
        all.map(|waiting| waiting.fail(SendError::Cancelled)).collect()
    }

    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let front = self.waiting.front().filter(|_| self.under_way.is_none())?;
        let due = front.since.max(self.room_since?) + self.patience;
        (due > now).then_some(due)
    }
}

impl Waiting {
    fn fail(self, error: SendError) -> Sent {
        Sent { send: self.text.send, message: self.message, result: Err(error) }
    }
}

/// How many texts wait at most.
const MAX_WAITING: usize = 256;
