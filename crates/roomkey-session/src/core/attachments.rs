//! Files that come with messages.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use roomkey_room::ParticipantIdentity;

use crate::message::{Attachment, AttachmentStatus, MessageId};

/// A file that has come, or what became of it.
#[derive(Debug, Clone)]
pub(crate) struct IncomingFile {
    pub(crate) sender: ParticipantIdentity,
    pub(crate) stream_id: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) mime_type: Arc<str>,
    pub(crate) outcome: Result<Arc<[u8]>, Arc<str>>,
}

/// Brings messages and their files together, whichever comes first.
#[derive(Default)]
pub(crate) struct Attachments {
    waiting: HashMap<FileKey, Waiting>,
    /// Files whose message has not come.
    early: VecDeque<IncomingFile>,
    early_bytes: usize,
}

type FileKey = (ParticipantIdentity, Arc<str>);

struct Waiting {
    message: MessageId,
    /// When it is given up; none once it has begun to come.
    until: Option<Instant>,
}

impl Attachments {
    /// A message names these files. Gives what is known of them.
    pub(crate) fn expect(&mut self, message: &MessageId, streams: &[Arc<str>], now: Instant) -> Arc<[Attachment]> {
        let one = |(index, stream): (usize, &Arc<str>)| {
            let early = self
                .early
                .iter()
                .position(|file| file.sender == *message.sender() && file.stream_id == *stream)
                .and_then(|index| self.early.remove(index));
            if let Some(file) = early {
                self.early_bytes -= size(&file);
                return received(&file);
            }
            let mut attachment = Attachment::new(Arc::clone(stream));
            if index < MAX_PER_MESSAGE && self.waiting.len() < MAX_WAITING {
                let waiting = Waiting { message: message.clone(), until: Some(now + PATIENCE) };
                self.waiting.insert((message.sender().clone(), Arc::clone(stream)), waiting);
            } else {
                attachment.status = AttachmentStatus::Aborted("too many attachments".into());
            }
            attachment
        };
        streams.iter().take(MAX_NAMED).enumerate().map(one).collect()
    }

    /// A file has begun to come: however long it takes, its stream has an end.
    pub(crate) fn handle_opened(&mut self, sender: &ParticipantIdentity, stream_id: &Arc<str>) {
        if let Some(waiting) = self.waiting.get_mut(&(sender.clone(), Arc::clone(stream_id))) {
            waiting.until = None;
        }
    }

    /// A file is here. Gives the message that it is for, if that has come.
    pub(crate) fn handle_file(&mut self, file: IncomingFile) -> Option<(MessageId, Attachment)> {
        let key = (file.sender.clone(), Arc::clone(&file.stream_id));
        if let Some(waiting) = self.waiting.remove(&key) {
            return Some((waiting.message, received(&file)));
        }
        self.early_bytes += size(&file);
        self.early.push_back(file);
        while self.early.len() > MAX_EARLY || self.early_bytes > MAX_EARLY_BYTES {
            let Some(gone) = self.early.pop_front() else { break };
            self.early_bytes -= size(&gone);
        }
        None
    }

    /// Those that have not come in time.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<(MessageId, Attachment)> {
        self.give_up("it did not come", |waiting| waiting.until.is_some_and(|until| until <= now))
    }

    /// Nothing more comes.
    pub(crate) fn end(&mut self) -> Vec<(MessageId, Attachment)> {
        self.early.clear();
        self.early_bytes = 0;
        self.give_up("the room ended", |_| true)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.values().filter_map(|waiting| waiting.until).min()
    }

    fn give_up(&mut self, why: &str, is_over: impl Fn(&Waiting) -> bool) -> Vec<(MessageId, Attachment)> {
        let mut over: Vec<_> = self.waiting.extract_if(|_, waiting| is_over(waiting)).collect();
        over.sort_by(|((_, one), _), ((_, other), _)| one.cmp(other));
        let aborted = |((_, stream), waiting): (FileKey, Waiting)| {
            let mut attachment = Attachment::new(stream);
            attachment.status = AttachmentStatus::Aborted(why.into());
            (waiting.message, attachment)
        };
        over.into_iter().map(aborted).collect()
    }
}

/// Whether these are more than what is kept of a message.
pub(crate) fn is_too_much(attachments: &[Attachment]) -> bool {
    let is_too_large = |attachment: &Attachment| match &attachment.status {
        AttachmentStatus::Received(bytes) => bytes.len() > MAX_FILE,
        AttachmentStatus::Pending | AttachmentStatus::Aborted(_) => false,
    };
    attachments.len() > MAX_PER_MESSAGE || attachments.iter().any(is_too_large)
}

fn received(file: &IncomingFile) -> Attachment {
    let status = match &file.outcome {
        Ok(bytes) => AttachmentStatus::Received(Arc::clone(bytes)),
        Err(why) => AttachmentStatus::Aborted(Arc::clone(why)),
    };
    Attachment {
        id: Arc::clone(&file.stream_id),
        name: Arc::clone(&file.name),
        mime_type: Arc::clone(&file.mime_type),
        status,
    }
}

fn size(file: &IncomingFile) -> usize {
    file.outcome.as_ref().map_or(0, |bytes| bytes.len())
}

/// The largest file that is kept, in bytes.
pub(crate) const MAX_FILE: usize = 16 * 1024 * 1024;

/// How long a file that a message names is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

const MAX_PER_MESSAGE: usize = 16;

/// The most of one message's that are listed at all.
const MAX_NAMED: usize = 64;

const MAX_WAITING: usize = 256;

const MAX_EARLY: usize = 16;

const MAX_EARLY_BYTES: usize = 32 * 1024 * 1024;
