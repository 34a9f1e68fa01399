//! What waits to be sent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roomkey_room::{Participant, ParticipantIdentity, ParticipantState, RoomError};

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
    /// The message that it replaces, and which version of that it is.
    pub(crate) edits: Option<(MessageId, i32)>,
}

impl OutgoingText {
    pub(crate) fn topic(&self) -> &str {
        self.options.topic.as_deref().unwrap_or(CHAT_TOPIC)
    }

    fn is_edit_of(&self, message: &MessageId) -> bool {
        self.edits.as_ref().is_some_and(|(edited, _)| edited == message)
    }

    /// The ids of the streams that the files go in.
    pub(crate) fn attached_stream_ids(&self) -> Vec<Arc<str>> {
        // No stream of an edit's has the id of one that was.
        let of = self.edits.as_ref().map(|(_, version)| format!("-v{version}")).unwrap_or_default();
        (0..self.options.attachments.len()).map(|index| format!("{}{of}-{index}", self.stream_id).into()).collect()
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
    /// The edits that went into it before it was sent.
    edited_by: Vec<SendId>,
}

/// What became of a send.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) send: SendId,
    /// The message that it is, or replaces, where it is one.
    pub(crate) message: Option<MessageId>,
    /// What has replaced the message, where it does that.
    pub(crate) edit: Option<OutgoingText>,
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
        let edits: usize = self.waiting.iter().map(|waiting| waiting.edited_by.len()).sum();
        if self.waiting.len() + edits >= MAX_WAITING {
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
        self.waiting.push_back(Waiting { text, message, since: now, edited_by: Vec::new() });
    }

    /// What waits to be sent as this message, for being written otherwise; the edit then ends with it. `None` where the message
    /// does not wait.
    pub(crate) fn rewrite(&mut self, id: &MessageId, edit: SendId) -> Option<&mut OutgoingText> {
        let is_it = |waiting: &&mut Waiting| waiting.message.as_ref() == Some(id) && waiting.text.edits.is_none();
        let waiting = self.waiting.iter_mut().find(is_it)?;
        waiting.edited_by.push(edit);
        Some(&mut waiting.text)
    }

    /// How many edits of this message wait or are under way.
    pub(crate) fn edits_of(&self, id: &MessageId) -> usize {
        let under_way = self.under_way.iter().map(|(_, waiting)| waiting);
        under_way.chain(&self.waiting).filter(|waiting| waiting.text.is_edit_of(id)).count()
    }

    /// The room has sent the text under way, or has not.
    pub(crate) fn handle_sent(&mut self, send: SendId, result: &Result<(), SendError>) -> Vec<Sent> {
        let sent = self.under_way.take_if(|(_, waiting)| waiting.text.send == send);
        sent.map(|(_, sent)| self.end(sent, result)).unwrap_or_default()
    }

    /// What is to be sent next, if it can be, and what is given up.
    pub(crate) fn poll(&mut self, recipients: &Recipients<'_>) -> (Option<OutgoingText>, Vec<Sent>) {
        // A room that is gone says nothing any more. How much of the text has arrived there is not known, and who is in the
        // next room is somebody else: it is not sent again.
        let lost = self.under_way.take_if(|(room, _)| recipients.room != Some(*room));
        let lost = lost.map(|(_, lost)| self.end(lost, &Err(SendError::Room(RoomError::Disconnected.into()))));
        let mut given_up = lost.unwrap_or_default();
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
            let late = self.waiting.pop_front().map(|waiting| self.end(waiting, &Err(SendError::NoAgent)));
            given_up.extend(late.into_iter().flatten());
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
        all.flat_map(|waiting| waiting.end(&Err(SendError::Cancelled))).collect()
    }

    /// Nobody has a message that was not sent, so that its edits are not sent either.
    fn end(&mut self, waiting: Waiting, result: &Result<(), SendError>) -> Vec<Sent> {
        let original = waiting.message.clone().filter(|_| result.is_err() && waiting.text.edits.is_none());
        let mut ended = waiting.end(result);
        if let Some(original) = original {
            let (edits, others): (VecDeque<_>, _) =
                self.waiting.drain(..).partition(|waiting| waiting.text.is_edit_of(&original));
            self.waiting = others;
            ended.extend(edits.into_iter().flat_map(|edit| edit.end(result)));
        }
        ended
    }

    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let front = self.waiting.front().filter(|_| self.under_way.is_none())?;
        let due = front.since.max(self.room_since?) + self.patience;
        (due > now).then_some(due)
    }
}

impl Waiting {
    fn end(self, result: &Result<(), SendError>) -> Vec<Sent> {
        let Self { text, message, edited_by, .. } = self;
        let send = text.send;
        let edit = text.edits.is_some().then_some(text);
        let mut ended = vec![Sent { send, message, edit, result: result.clone() }];
        ended.extend(edited_by.into_iter().map(|send| Sent {
            send,
            message: None,
            edit: None,
            result: result.clone(),
        }));
        ended
    }
}

/// How many texts wait at most.
const MAX_WAITING: usize = 256;
