//! What is sent, and how.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use roomkey_room::ParticipantIdentity;

/// How a message is sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SendOptions {
    /// The topic; `lk.chat` if there is none. Only what goes there is among the session's messages.
    pub topic: Option<String>,
    /// What is said beside the text.
    pub attributes: BTreeMap<String, String>,
    /// Who it is for; all in the room, if empty.
    pub destinations: Vec<ParticipantIdentity>,
    /// The files that go with it, in this order.
    pub attachments: Vec<OutgoingFile>,
}

/// A file that is sent with a message.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutgoingFile {
    /// Its name.
    pub name: Arc<str>,
    /// Its MIME type.
    pub mime_type: Arc<str>,
    /// Its bytes.
    pub bytes: Arc<[u8]>,
}

impl OutgoingFile {
    /// A file of this name, MIME type and content.
    pub fn new(name: impl Into<Arc<str>>, mime_type: impl Into<Arc<str>>, bytes: impl Into<Arc<[u8]>>) -> Self {
        Self { name: name.into(), mime_type: mime_type.into(), bytes: bytes.into() }
    }
}

impl fmt::Debug for OutgoingFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutgoingFile")
            .field("name", &self.name)
            .field("mime_type", &self.mime_type)
            .field("len", &self.bytes.len())
            .finish()
    }
}
