//! A message before it is sent.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;

use roomkey_room::ParticipantIdentity;
use tokio::sync::oneshot;

use crate::core::OutgoingText;
use crate::error::SendError;
use crate::message::{Message, MessageId, MessageKind, Status};
use crate::send_options::{OutgoingFile, SendOptions};
use crate::session::{Boxed, Session};
use crate::session_task::Request;

/// A message that is sent when this is awaited; from [`Session::send`].
///
/// It is among the session's [messages](Session::messages) at once, as `Pending`, and is sent when the agent can be sent
/// data (see [`SendPolicy`](crate::SendPolicy)), after those that were sent before it. Awaiting gives it as it is then,
/// `Sent`; dropping that future does not take it back.
#[must_use = "it is sent when it is awaited"]
pub struct SendMessage {
    session: Session,
    text: Arc<str>,
    options: SendOptions,
    edits: Option<MessageId>,
}

impl SendMessage {
    pub(crate) fn new(session: Session, text: Arc<str>) -> Self {
        Self { session, text, options: SendOptions::default(), edits: None }
    }

    /// Sends it to a topic other than `lk.chat`. It is not among the session's messages then.
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.options.topic = Some(topic.into());
        self
    }

    /// Says this beside the text.
    pub fn attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.attributes.insert(key.into(), value.into());
        self
    }

    /// Sends this file with it; can be called again for more. At most 16 MiB each.
    pub fn attach(mut self, file: OutgoingFile) -> Self {
        self.options.attachments.push(file);
        self
    }

    /// For this participant alone; can be called again for more. Unless it is, all in the room get it.
    pub fn to(mut self, identity: impl Into<ParticipantIdentity>) -> Self {
        self.options.destinations.push(identity.into());
        self
    }

    /// Sends it in the place of a message of this client's, which keeps its id, its place and its time; see
    /// [`Session::edit`].
    pub fn edit(mut self, id: &MessageId) -> Self {
        self.edits = Some(id.clone());
        self
    }

    /// Sets all of it at once.
    pub fn options(mut self, options: SendOptions) -> Self {
        self.options = options;
        self
    }
}

impl IntoFuture for SendMessage {
    type Output = Result<Arc<Message>, SendError>;
    type IntoFuture = Boxed<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { session, text, options, edits } = self;
        let stream_id: Arc<str> = edits.as_ref().map_or_else(stream_id, |id| id.segment().to_owned()).into();
        let outgoing = OutgoingText {
            send: session.next_id(),
            stream_id: Arc::clone(&stream_id),
            text: Arc::clone(&text),
            options,
            edits: edits.map(|id| (id, 0)),
        };
        let (reply, answer) = oneshot::channel();
        session.request(Request::Send { text: outgoing, reply });
        Box::pin(async move {
            answer.await.unwrap_or(Err(SendError::Cancelled))?;
            let list = Arc::clone(&session.messages().borrow());
            let is_it = |message: &&Arc<Message>| {
                message.kind == MessageKind::Chat && message.is_local() && message.id.segment() == &*stream_id
            };
            let own = list.iter().rev().find(is_it);
            Ok(own.map_or_else(|| unlisted(&session, stream_id, text), Arc::clone))
        })
    }
}

impl fmt::Debug for SendMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendMessage").field("text", &self.text).field("options", &self.options).finish_non_exhaustive()
    }
}

/// A message that is not in the list: of another topic, or gone from it for want of room.
fn unlisted(session: &Session, stream_id: Arc<str>, text: Arc<str>) -> Arc<Message> {
    let me = session.participants().borrow().local.as_ref().map(|local| local.identity.clone());
    let mut message = Message::new(MessageId::new(me.unwrap_or_default(), stream_id), MessageKind::Chat, text);
    message.status = Status::Sent;
    Arc::new(message)
}

/// An id that no other stream has.
fn stream_id() -> String {
    format!("{:032x}", fastrand::u128(..))
}
