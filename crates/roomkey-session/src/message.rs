//! What was said and written.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use roomkey_room::{ParticipantIdentity, TrackSid};

use crate::error::SendError;

/// A message at one moment. A later change is another value of the same [id](Self::id).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Message {
    /// Which one it is.
    pub id: MessageId,
    /// What kind.
    pub kind: MessageKind,
    /// Whose words these are.
    pub from: ParticipantIdentity,
    /// The words, so far.
    pub text: Arc<str>,
    /// How far it is.
    pub status: Status,
    /// When this client first heard of it, by its own clock.
    pub received_at: SystemTime,
    /// When it was sent, by the sender's clock. Messages are not ordered by this.
    pub sent_at: Option<SystemTime>,
    /// When its sender [replaced](crate::Session::edit) the text that it had, by this client's clock.
    pub edited_at: Option<SystemTime>,
    /// Whom this client sent it to alone; nobody of a message that all in the room got, and of those of others.
    pub destinations: Arc<[ParticipantIdentity]>,
    /// The track that was transcribed.
    pub track_sid: Option<TrackSid>,
    /// What the sender said beside the text.
    pub attributes: Arc<BTreeMap<String, String>>,
    /// The files sent with it, in the sender's order.
    pub attachments: Arc<[Attachment]>,
    /// When which words were said, where the agent tells.
    pub timing: Arc<[TimedSpan]>,
    /// How it was said, where the agent tells.
    pub expression: Option<Expression>,
    is_local: bool,
    /// How often its sender has replaced it, where that says so.
    pub(crate) version: i32,
}

impl Message {
    /// A message of which nothing but this is known; final, received at the beginning of time.
    pub fn new(id: MessageId, kind: MessageKind, text: impl Into<Arc<str>>) -> Self {
        Self {
            kind,
            from: id.sender.clone(),
            id,
            text: text.into(),
            status: Status::Final,
            received_at: SystemTime::UNIX_EPOCH,
            sent_at: None,
            edited_at: None,
            destinations: Arc::new([]),
            track_sid: None,
            attributes: Arc::default(),
            attachments: Arc::new([]),
            timing: Arc::new([]),
            expression: None,
            is_local: false,
            version: 0,
        }
    }

    /// Says whether these are the words of this client's user: for a [history](crate::Session::restore_history) or a message
    /// that is [put](crate::Session::put_message).
    #[must_use]
    pub fn with_local(self, is_local: bool) -> Self {
        Self { is_local, ..self }
    }

    /// Whether these are the words of this client's user: written here, or said here and transcribed. It stays so in a later
    /// room, in which the user may have another identity.
    pub fn is_local(&self) -> bool {
        self.is_local || self.is_own()
    }

    /// Whether this client sends or has sent it, or could not.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.status, Status::Pending | Status::Sent | Status::Failed(_))
    }
}

/// Which message: unique in a session, and the same from a message's first word to its last.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId {
    sender: ParticipantIdentity,
    segment: Arc<str>,
}

impl MessageId {
    /// The id of a sender's segment, or stream where it names no segment.
    pub fn new(sender: impl Into<ParticipantIdentity>, segment: impl Into<Arc<str>>) -> Self {
        Self { sender: sender.into(), segment: segment.into() }
    }

    /// Who sent it. Empty for what this client sent before it had an identity.
    pub fn sender(&self) -> &ParticipantIdentity {
        &self.sender
    }

    /// Which of the sender's: the segment of a transcript, the stream of a chat message.
    pub fn segment(&self) -> &str {
        &self.segment
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.sender, self.segment)
    }
}

/// What kind of message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MessageKind {
    /// What a user said.
    UserTranscript,
    /// What an agent said or wrote.
    AgentTranscript,
    /// What somebody wrote.
    Chat,
}

impl MessageKind {
    /// Its name for programs and logs, which stays what it is.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UserTranscript => "user_transcript",
            Self::AgentTranscript => "agent_transcript",
            Self::Chat => "chat",
        }
    }
}

impl fmt::Display for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far a message is.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "an application shows each of them")]
pub enum Status {
    /// More of it may come.
    Streaming,
    /// It is complete.
    Final,
    /// It broke off, why; what came of it is kept.
    Aborted(Arc<str>),
    /// This client's: it waits to be sent.
    Pending,
    /// This client's: it was sent.
    Sent,
    /// This client's: it was not sent.
    Failed(Arc<SendError>),
}

impl Status {
    /// Its name for programs and logs, which stays what it is; without the reason.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Streaming => "streaming",
            Self::Final => "final",
            Self::Aborted(_) => "aborted",
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Failed(_) => "failed",
        }
    }

    /// Whether nothing more will come of the message.
    pub fn is_settled(&self) -> bool {
        !matches!(self, Self::Streaming | Self::Pending)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What became of a message. Each has first `Created`, then any number of `Changed`, then one of the others; a change after
/// that is an edit, or an attachment that arrived.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a list is kept with these four")]
pub enum MessageEvent {
    /// It is new. It may stand before others: order is that in which messages were begun.
    Created(Arc<Message>),
    /// It is another.
    Changed(Arc<Message>),
    /// It is complete, or was sent.
    Finalized(Arc<Message>),
    /// It broke off, or was not sent.
    Aborted(Arc<Message>),
}

impl MessageEvent {
    /// The message, as it is after the event.
    pub fn message(&self) -> &Arc<Message> {
        match self {
            Self::Created(message) | Self::Changed(message) | Self::Finalized(message) | Self::Aborted(message) => {
                message
            }
        }
    }
}

/// A file that came with a message.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attachment {
    /// The id of its stream.
    pub id: Arc<str>,
    /// Its name; empty until it arrives.
    pub name: Arc<str>,
    /// Its MIME type; empty until it arrives.
    pub mime_type: Arc<str>,
    /// The file, once it is here.
    pub status: AttachmentStatus,
}

impl Attachment {
    /// One that has not arrived.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self { id: id.into(), name: "".into(), mime_type: "".into(), status: AttachmentStatus::Pending }
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status: &dyn fmt::Debug = match &self.status {
            AttachmentStatus::Pending => &"pending",
            AttachmentStatus::Received(bytes) => &bytes.len(),
            AttachmentStatus::Aborted(why) => why,
        };
        f.debug_struct("Attachment").field("id", &self.id).field("name", &self.name).field("status", status).finish()
    }
}

/// Whether an attachment is here.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "an application shows each of them")]
pub enum AttachmentStatus {
    /// It is waited for.
    Pending,
    /// Its bytes.
    Received(Arc<[u8]>),
    /// It did not arrive, why.
    Aborted(Arc<str>),
}

impl AttachmentStatus {
    /// Its name for programs and logs, which stays what it is; without the reason.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Received(_) => "received",
            Self::Aborted(_) => "aborted",
        }
    }
}

impl fmt::Debug for AttachmentStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pending => f.write_str("Pending"),
            Self::Received(bytes) => write!(f, "Received({} bytes)", bytes.len()),
            Self::Aborted(why) => write!(f, "Aborted({why:?})"),
        }
    }
}

/// When some words of a transcript are said, counted from the beginning of the speech.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TimedSpan {
    /// The words.
    pub text: Arc<str>,
    /// Their begin.
    pub start: Option<Duration>,
    /// Their end.
    pub end: Option<Duration>,
    /// How sure the transcriber is, from 0 to 1.
    pub confidence: Option<f64>,
}

/// How an agent says something: what the text-to-speech was told, and the agent's own name for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Expression {
    /// The expression in the agent's words.
    pub expression: Option<String>,
    /// The mood: of LiveKit's agents one of `excited`, `happy`, `playful`, `curious`, `surprised`, `hopeful`, `empathetic`, `sad`,
    /// `angry`, `anxious` and `calm`.
    pub mood: Option<String>,
}

impl Expression {
    /// Reads the attribute `lk.expression`.
    pub(crate) fn read(json: &str) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Wire {
            expression: Option<String>,
            mood: Option<String>,
        }
        let Wire { expression, mood } = serde_json::from_str(json).ok()?;
        let said = |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        Some(Self { expression: said(expression), mood: said(mood) }).filter(|found| *found != Self::default())
    }
}
