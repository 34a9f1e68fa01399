//! What this client writes: shown, sent, and edited.

use std::sync::Arc;

use super::outbox::{Recipients, Sent};
use super::{AgentSnapshot, CHAT_TOPIC, Core, Now, OutgoingText, Output, SessionState};
use crate::error::{NotEditable, SendError, SessionError};
use crate::message::{Attachment, AttachmentStatus, Message, MessageId, MessageKind, Status};

impl Core {
    pub(super) fn send(&mut self, text: OutgoingText, now: Now) {
        let send = text.send;
        let taken = if self.connection.state().is_disconnected() {
            Err(SendError::NotStarted)
        } else {
            self.outbox.check(&text).and_then(|()| match text.edits.clone() {
                Some((edited, _)) => self.edit(&edited, text, now),
                None => {
                    let id = self.own_message(&text, now);
                    self.outbox.push(text, id, now.at);
                    Ok(())
                }
            })
        };
        if let Err(error) = taken {
            self.outputs.push_back(Output::SendResult(send, Err(error)));
        }
    }

    /// Shows a message before it is sent.
    fn own_message(&mut self, text: &OutgoingText, now: Now) -> Option<MessageId> {
        if text.topic() != CHAT_TOPIC {
            return None;
        }
        let sender = self.participants.local.as_ref().map(|local| local.identity.clone()).unwrap_or_default();
        let id = MessageId::new(sender, Arc::clone(&text.stream_id));
        if self.messages.contains(&id) {
            return None;
        }
        let mut message = Message::new(id.clone(), MessageKind::Chat, Arc::clone(&text.text));
        message.status = Status::Pending;
        message.received_at = now.wall;
        message.sent_at = Some(now.wall);
        message.attributes = Arc::new(text.options.attributes.clone());
        message.destinations = text.options.destinations.clone().into();
        message.attachments = text.shown_attachments();
        self.messages.add_own(message);
        Some(id)
    }

    /// Writes a message otherwise: before it is sent, or by sending what replaces it.
    fn edit(&mut self, id: &MessageId, mut text: OutgoingText, now: Now) -> Result<(), SendError> {
        let message = self.editable(id).map_err(SendError::NotEditable)?;
        if text.text.is_empty() {
            return Err(SendError::NotEditable(NotEditable::NoText));
        }
        // What an edit does not say stays as it was, above all whom it is for.
        let options = &mut text.options;
        if options.destinations.is_empty() {
            options.destinations = message.destinations.to_vec();
        }
        if options.attributes.is_empty() {
            options.attributes.clone_from(&message.attributes);
        }
        options.topic = None;
        if let Some(waiting) = self.outbox.rewrite(id, text.send) {
            waiting.text = text.text;
            waiting.options.attributes = text.options.attributes;
            waiting.options.destinations = text.options.destinations;
            if !text.options.attachments.is_empty() {
                waiting.options.attachments = text.options.attachments;
            }
            let waiting = waiting.clone();
            self.messages.edit_own(id, |message| {
                message.text = Arc::clone(&waiting.text);
                message.attributes = Arc::new(waiting.options.attributes.clone());
                message.destinations = waiting.options.destinations.clone().into();
                message.attachments = waiting.shown_attachments();
            });
            return Ok(());
        }
        let before = i32::try_from(self.outbox.edits_of(id)).unwrap_or(i32::MAX);
        text.edits = Some((id.clone(), message.version.saturating_add(before).saturating_add(1)));
        self.outbox.push(text, Some(id.clone()), now.at);
        Ok(())
    }

    fn editable(&self, id: &MessageId) -> Result<Arc<Message>, NotEditable> {
        let message = self.messages.get(id).ok_or(NotEditable::Unknown)?;
        // Under another identity than then, it would be another message to whoever reads it.
        let me = self.participants.local.as_ref().map(|local| &local.identity);
        let is_mine = id.sender().is_empty() || me.is_none_or(|me| me == id.sender());
        if message.kind != MessageKind::Chat || !message.is_local() || !is_mine {
            return Err(NotEditable::NotOwn);
        }
        match message.status {
            Status::Pending | Status::Sent | Status::Final => Ok(Arc::clone(message)),
            Status::Streaming | Status::Aborted(_) | Status::Failed(_) => Err(NotEditable::NotSent),
        }
    }

    pub(super) fn flush_outbox(&mut self, state: SessionState, agent: &AgentSnapshot, now: Now) {
        let recipients = Recipients {
            room: self.connection.room(),
            is_connected: state == SessionState::Connected,
            agent: agent.participant.as_deref(),
            is_agent_expected: self.agent.is_expected(),
            is_agent_certain: self.agent.is_certain(self.connection.dispatches()),
            now: now.at,
        };
        let (text, given_up) = self.outbox.poll(&recipients);
        self.settle_sends(given_up, now);
        self.outputs.extend(text.map(Output::SendText));
    }

    pub(super) fn settle_sends(&mut self, sends: impl IntoIterator<Item = Sent>, now: Now) {
        for Sent { send, message, edit, result } in sends {
            match (message, edit, &result) {
                (Some(id), None, Ok(())) => self.messages.settle_own(&id, Status::Sent),
                (Some(id), None, Err(error)) => {
                    self.messages.settle_own(&id, Status::Failed(Arc::new(error.clone())));
                }
                // The others have it so from here on.
                (Some(id), Some(edit), Ok(())) => self.messages.edit_own(&id, |message| edit.replace(message, now)),
                // They have what they had.
                (Some(_), Some(_), Err(_)) | (None, _, _) => {}
            }
            if let Err(error) = &result
                && *error != SendError::Cancelled
            {
                self.outputs.push_back(Output::Failed(SessionError::Send(Arc::new(error.clone()))));
            }
            self.outputs.push_back(Output::SendResult(send, result));
        }
    }
}

impl OutgoingText {
    /// Its files as they are shown.
    fn shown_attachments(&self) -> Arc<[Attachment]> {
        let files = self.attached_stream_ids().into_iter().zip(&self.options.attachments);
        let shown = files.map(|(stream_id, file)| {
            let mut attachment = Attachment::new(stream_id);
            attachment.name = Arc::clone(&file.name);
            attachment.mime_type = Arc::clone(&file.mime_type);
            attachment.status = AttachmentStatus::Received(Arc::clone(&file.bytes));
            attachment
        });
        shown.collect()
    }

    /// Takes the place of what the message was.
    fn replace(&self, message: &mut Message, now: Now) {
        super::messages::edit(message, Arc::clone(&self.text), now.wall);
        message.attributes = Arc::new(self.options.attributes.clone());
        message.destinations = self.options.destinations.clone().into();
        if !self.options.attachments.is_empty() {
            message.attachments = self.shown_attachments();
        }
        if let Some((_, version)) = &self.edits {
            message.version = *version;
        }
    }
}
