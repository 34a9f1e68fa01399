//! What the header of a stream says of it.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use livekit_protocol::data_stream as proto;

use crate::names::ParticipantIdentity;

/// What is known of a text stream from its header.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TextStreamInfo {
    /// The stream's id, chosen by its sender.
    pub id: String,
    /// What it is about; receivers choose their streams by it.
    pub topic: String,
    /// When it was opened, by the sender's clock.
    pub timestamp: SystemTime,
    /// Its MIME type, `text/plain` as a rule.
    pub mime_type: String,
    /// How many bytes it has, if the sender knew.
    pub total_length: Option<u64>,
    /// What the sender says of it, by key. What it says at the end is
    /// [`TextStreamReader::trailer_attributes`](crate::TextStreamReader::trailer_attributes).
    pub attributes: HashMap<String, String>,
    /// Whose words it has. An agent sends what it heard in the name of whom it heard.
    pub sender_identity: ParticipantIdentity,
    /// What it does to an earlier text.
    pub operation: TextOperation,
    /// Which version of a text it is, if there are several.
    pub version: i32,
    /// The stream that it answers.
    pub reply_to_stream_id: Option<String>,
    /// The byte streams that belong to it, such as files of a chat message.
    pub attached_stream_ids: Vec<String>,
    /// Whether an agent made it of what somebody said.
    pub is_generated: bool,
}

/// What is known of a byte stream from its header.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ByteStreamInfo {
    /// The stream's id, chosen by its sender.
    pub id: String,
    /// What it is about; receivers choose their streams by it.
    pub topic: String,
    /// When it was opened, by the sender's clock.
    pub timestamp: SystemTime,
    /// The MIME type of its contents.
    pub mime_type: String,
    /// How many bytes it has, if the sender knew.
    pub total_length: Option<u64>,
    /// What the sender says of it, by key. What it says at the end is
    /// [`ByteStreamReader::trailer_attributes`](crate::ByteStreamReader::trailer_attributes).
    pub attributes: HashMap<String, String>,
    /// Who sends it.
    pub sender_identity: ParticipantIdentity,
    /// What the sender calls it. It is a stranger's text: before it is used as the name of a file, it has to be looked at.
    pub name: String,
}

/// What a text does to an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum TextOperation {
    /// It is a new text.
    #[default]
    Create,
    /// It replaces a text.
    Update,
    /// It takes a text back.
    Delete,
    /// It is a reaction to a text.
    Reaction,
}

/// What is known of a stream from its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StreamInfo {
    Text(TextStreamInfo),
    Bytes(ByteStreamInfo),
}

impl StreamInfo {
    /// What a header says, or `None` if it does not say of which kind the stream is. What `inline_content` has is left out.
    pub(crate) fn from_header(header: proto::Header, sender_identity: ParticipantIdentity) -> Option<Self> {
        let timestamp = time_of(header.timestamp);
        Some(match header.content_header? {
            proto::header::ContentHeader::TextHeader(text) => Self::Text(TextStreamInfo {
                id: header.stream_id,
                topic: header.topic,
                timestamp,
                mime_type: header.mime_type,
                total_length: header.total_length,
                attributes: header.attributes,
                sender_identity,
                operation: TextOperation::from_proto(text.operation_type),
                version: text.version,
                reply_to_stream_id: Some(text.reply_to_stream_id).filter(|id| !id.is_empty()),
                attached_stream_ids: text.attached_stream_ids,
                is_generated: text.generated,
            }),
            proto::header::ContentHeader::ByteHeader(bytes) => Self::Bytes(ByteStreamInfo {
                id: header.stream_id,
                topic: header.topic,
                timestamp,
                mime_type: header.mime_type,
                total_length: header.total_length,
                attributes: header.attributes,
                sender_identity,
                name: bytes.name,
            }),
        })
    }

    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Text(info) => &info.id,
            Self::Bytes(info) => &info.id,
        }
    }

    pub(crate) fn sender(&self) -> &ParticipantIdentity {
        match self {
            Self::Text(info) => &info.sender_identity,
            Self::Bytes(info) => &info.sender_identity,
        }
    }

    pub(crate) fn topic(&self) -> &str {
        match self {
            Self::Text(info) => &info.topic,
            Self::Bytes(info) => &info.topic,
        }
    }

    #[cfg(test)]
    pub(crate) fn attributes(&self) -> &HashMap<String, String> {
        match self {
            Self::Text(info) => &info.attributes,
            Self::Bytes(info) => &info.attributes,
        }
    }

    pub(crate) fn total_length(&self) -> Option<u64> {
        match self {
            Self::Text(info) => info.total_length,
            Self::Bytes(info) => info.total_length,
        }
    }

    pub(crate) fn set_sender(&mut self, identity: ParticipantIdentity) {
        match self {
            Self::Text(info) => info.sender_identity = identity,
            Self::Bytes(info) => info.sender_identity = identity,
        }
    }

    pub(crate) fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }
}

impl TextOperation {
    fn from_proto(number: i32) -> Self {
        match proto::OperationType::try_from(number) {
            Ok(proto::OperationType::Create) | Err(_) => Self::Create,
            Ok(proto::OperationType::Update) => Self::Update,
            Ok(proto::OperationType::Delete) => Self::Delete,
            Ok(proto::OperationType::Reaction) => Self::Reaction,
        }
    }

    pub(crate) fn to_proto(self) -> i32 {
        let operation = match self {
            Self::Create => proto::OperationType::Create,
            Self::Update => proto::OperationType::Update,
            Self::Delete => proto::OperationType::Delete,
            Self::Reaction => proto::OperationType::Reaction,
        };
        operation.into()
    }
}

/// The time of a header's timestamp, which is in milliseconds since 1970; 1970 itself if it is before or out of range.
fn time_of(milliseconds: i64) -> SystemTime {
    let since_epoch = Duration::from_millis(u64::try_from(milliseconds).unwrap_or_default());
    SystemTime::UNIX_EPOCH.checked_add(since_epoch).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The timestamp of a header at this time.
pub(crate) fn timestamp_of(time: SystemTime) -> i64 {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
