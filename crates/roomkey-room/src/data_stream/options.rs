//! What an application says of a stream that it sends.

use std::collections::HashMap;

use super::info::TextOperation;
use crate::names::ParticipantIdentity;

macro_rules! common_setters {
    () => {
        /// Says this with the header, in place of what was there.
        #[must_use]
        pub fn with_attributes(mut self, attributes: HashMap<String, String>) -> Self {
            self.attributes = attributes;
            self
        }

        /// Says this, too, with the header.
        #[must_use]
        pub fn with_attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
            self.attributes.insert(key.into(), value.into());
            self
        }

        /// Sends it to this participant; may be called for several. Without any it goes to all.
        #[must_use]
        pub fn with_destination(mut self, identity: impl Into<ParticipantIdentity>) -> Self {
            self.destination_identities.push(identity.into());
            self
        }

        /// Sends it under this id. Unless set, it has a random one.
        #[must_use]
        pub fn with_id(mut self, id: impl Into<String>) -> Self {
            self.id = Some(id.into());
            self
        }

        /// Announces the length in bytes of a stream that is written piece by piece. Receivers take one that has more, or less,
        /// for broken. What is sent as a whole has its own length.
        #[must_use]
        pub fn with_total_length(mut self, total_length: u64) -> Self {
            self.total_length = Some(total_length);
            self
        }

        /// Sends what is sent as a whole without compression, even if all recipients could read it.
        #[must_use]
        pub fn without_compression(mut self) -> Self {
            self.is_compressible = false;
            self
        }
    };
}

/// What to send with a text.
#[doc(alias = "StreamTextOptions")]
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TextStreamOptions {
    /// What it is about; receivers choose their streams by it.
    pub topic: String,
    /// Said with the header.
    pub attributes: HashMap<String, String>,
    /// To whom it goes; to all if empty.
    pub destination_identities: Vec<ParticipantIdentity>,
    /// Its id, if it is not to be random.
    pub id: Option<String>,
    /// What it does to an earlier text.
    pub operation: TextOperation,
    /// Which version of a text it is, if there are several.
    pub version: i32,
    /// The stream that it answers.
    pub reply_to_stream_id: Option<String>,
    /// The byte streams that belong to it. They are sent on their own, under these ids.
    pub attached_stream_ids: Vec<String>,
    /// Whether it is made of what somebody said.
    pub is_generated: bool,
    /// The announced length, if it is written piece by piece.
    pub total_length: Option<u64>,
    /// Whether it is compressed if all recipients can read that.
    pub is_compressible: bool,
}

impl TextStreamOptions {
    /// A new text for everybody.
    pub fn new(topic: impl Into<String>) -> Self {
        Self {
            topic: topic.into(),
            attributes: HashMap::new(),
            destination_identities: Vec::new(),
            id: None,
            operation: TextOperation::Create,
            version: 0,
            reply_to_stream_id: None,
            attached_stream_ids: Vec::new(),
            is_generated: false,
            total_length: None,
            is_compressible: true,
        }
    }

    common_setters!();

    /// Says what it does to an earlier text, and which version of that it is.
    #[must_use]
    pub fn with_operation(mut self, operation: TextOperation, version: i32) -> Self {
        self.operation = operation;
        self.version = version;
        self
    }

    /// Answers this stream.
    #[must_use]
    pub fn with_reply_to(mut self, stream_id: impl Into<String>) -> Self {
        self.reply_to_stream_id = Some(stream_id.into());
        self
    }

    /// Says that this byte stream belongs to it; may be called for several.
    #[must_use]
    pub fn with_attachment(mut self, stream_id: impl Into<String>) -> Self {
        self.attached_stream_ids.push(stream_id.into());
        self
    }
}

/// What to send with bytes.
#[doc(alias = "StreamByteOptions")]
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ByteStreamOptions {
    /// What it is about; receivers choose their streams by it.
    pub topic: String,
    /// Said with the header.
    pub attributes: HashMap<String, String>,
    /// To whom it goes; to all if empty.
    pub destination_identities: Vec<ParticipantIdentity>,
    /// Its id, if it is not to be random.
    pub id: Option<String>,
    /// The MIME type of the bytes.
    pub mime_type: String,
    /// What they are called, such as the name of a file.
    pub name: String,
    /// The announced length, if it is written piece by piece.
    pub total_length: Option<u64>,
    /// Whether it is compressed if all recipients can read that.
    pub is_compressible: bool,
}

impl ByteStreamOptions {
    /// What they are called unless something is said.
    pub(crate) const UNNAMED: &str = "unknown";

    /// Bytes for everybody, of the type `application/octet-stream` and with the name `unknown`.
    pub fn new(topic: impl Into<String>) -> Self {
        Self {
            topic: topic.into(),
            attributes: HashMap::new(),
            destination_identities: Vec::new(),
            id: None,
            mime_type: "application/octet-stream".to_owned(),
            name: Self::UNNAMED.to_owned(),
            total_length: None,
            is_compressible: true,
        }
    }

    common_setters!();

    /// Says what kind of bytes they are.
    #[must_use]
    pub fn with_mime_type(mut self, mime_type: impl Into<String>) -> Self {
        self.mime_type = mime_type.into();
        self
    }

    /// Says what they are called.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }
}
