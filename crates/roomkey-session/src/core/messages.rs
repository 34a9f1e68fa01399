//! Messages out of the streams and packets that come.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use roomkey_room::{ParticipantIdentity, ParticipantKind, Participants, TrackSid};

use super::Now;
use super::attachments::{self, Attachments, IncomingFile};
use super::history::{History, Place};
use super::legacy::{LegacyChat, LegacySegment, LegacyTranscripts};
use super::transcript_text::TranscriptText;
use crate::error::ReceiveError;
use crate::message::{Attachment, Expression, Message, MessageEvent, MessageId, MessageKind, Status};

/// Names one text stream for as long as it is open.
pub(crate) type StreamKey = u64;

/// What a text stream says first.
#[derive(Debug, Clone)]
pub(crate) struct TextHeader {
    pub(crate) key: StreamKey,
    pub(crate) sender: ParticipantIdentity,
    pub(crate) topic: String,
    pub(crate) stream_id: Arc<str>,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) attached_stream_ids: Vec<Arc<str>>,
    /// Whether it says that it replaces a text, and which version it is; 0 where it does not say.
    pub(crate) is_update: bool,
    pub(crate) version: i32,
    /// By the sender's clock.
    pub(crate) timestamp: Option<SystemTime>,
}

pub(crate) struct Messages {
    history: History,
    streams: HashMap<StreamKey, OpenStream>,
    /// The newest stream of each message that has an open one: an older one's late chunks don't count.
    newest: HashMap<MessageId, StreamKey>,
    /// The order in which the open streams were opened.
    opened: u64,
    legacy: LegacyTranscripts,
    attachments: Attachments,
    /// Where the messages of this room begin.
    room_since: Place,
    received: Vec<Arc<Message>>,
    errors: Vec<ReceiveError>,
}

struct OpenStream {
    order: u64,
    id: MessageId,
    kind: MessageKind,
    place: Place,
    is_local: bool,
    text: TranscriptText,
    attributes: BTreeMap<String, String>,
    attached: Vec<Arc<str>>,
    is_update: bool,
    version: i32,
    received_at: SystemTime,
    sent_at: Option<SystemTime>,
}

impl Messages {
    pub(crate) fn new(limit: usize) -> Self {
        let mut history = History::new(limit);
        Self {
            room_since: history.reserve(),
            history,
            streams: HashMap::new(),
            newest: HashMap::new(),
            opened: 0,
            legacy: LegacyTranscripts::default(),
            attachments: Attachments::default(),
            received: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// A stream has been opened. Those of topics that carry no messages are left alone.
    pub(crate) fn handle_opened(&mut self, header: TextHeader, participants: &Participants, now: Now) {
        let is_transcript = header.topic == TRANSCRIPTION_TOPIC;
        if !is_transcript && header.topic != CHAT_TOPIC || self.streams.contains_key(&header.key) {
            return;
        }
        self.make_room_for_stream();
        let segment = header.attributes.get(SEGMENT_ID).filter(|segment| is_transcript && !segment.is_empty());
        let segment = segment.map_or_else(|| Arc::clone(&header.stream_id), |segment| segment.as_str().into());
        let mut id = MessageId::new(header.sender.clone(), segment);
        if is_transcript {
            let history = &self.history;
            id = self.legacy.handle_stream(id, |id| history.get(id).is_some_and(|begun| !begun.status.is_settled()));
        }
        if !is_transcript && self.is_no_edit(&id, header.version) {
            return;
        }
        let replaced = self.newest.insert(id.clone(), header.key).and_then(|key| self.streams.get(&key));
        let place = replaced.map_or_else(|| self.history.reserve(), |stream| stream.place);
        let text = if is_transcript { TranscriptText::new(MAX_TRANSCRIPT) } else { TranscriptText::plain(MAX_CHAT) };
        let kind = if is_transcript { kind_of(&header.sender, participants) } else { MessageKind::Chat };
        self.opened += 1;
        self.streams.insert(
            header.key,
            OpenStream {
                order: self.opened,
                id,
                kind,
                place,
                is_local: is_local(&header.sender, participants),
                text,
                attributes: header.attributes,
                attached: header.attached_stream_ids,
                is_update: header.is_update,
                version: header.version,
                received_at: now.wall,
                sent_at: header.timestamp,
            },
        );
    }

    /// Whether a chat stream of this id is none that replaces the message which has it. Ids are of a sender's, so that nobody
    /// replaces what somebody else wrote. What this client wrote changes by its own doing alone: an agent may send in its
    /// user's name.
    fn is_no_edit(&self, id: &MessageId, version: i32) -> bool {
        self.history.get(id).is_some_and(|message| message.is_own() || version != 0 && version < message.version)
    }

    /// A chunk of a stream has come.
    pub(crate) fn handle_text(&mut self, key: StreamKey, chunk: &[u8], now: Now) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        match stream.text.push(chunk) {
            // Chat is shown whole.
            Ok(()) if stream.kind == MessageKind::Chat => {}
            Ok(()) => self.show(key, Status::Streaming, now),
            Err(error) => self.fail(key, error, now),
        }
    }

    /// A stream has been closed: well, with what its trailer says, or not.
    pub(crate) fn handle_closed(
        &mut self,
        key: StreamKey,
        attributes: BTreeMap<String, String>,
        outcome: Result<(), Arc<str>>,
        now: Now,
    ) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        stream.attributes.extend(attributes);
        if let Err(error) = outcome.map_err(ReceiveError::Stream).and_then(|()| stream.text.finish()) {
            return self.fail(key, error, now);
        }
        let is_last = match stream.attributes.get(FINAL).map(String::as_str) {
            Some("true") | None => true,
            // What a user says comes again and again, each time as a stream, until one says that it is the last.
            Some(_) => stream.kind != MessageKind::UserTranscript,
        };
        let status = if is_last { Status::Final } else { Status::Streaming };
        self.show(key, status.clone(), now);
        let Some(stream) = self.close(key) else { return };
        if stream.kind == MessageKind::Chat && !stream.text.text().is_empty() && !self.history.contains(&stream.id) {
            // Its edit is under way already, and may break off.
            self.create(&stream, stream.text.text().into(), Status::Final);
        }
        if stream.is_newest {
            self.history.change(&stream.id, |message| message.status = status);
        }
        if stream.kind == MessageKind::Chat && !stream.attached.is_empty() {
            self.attach(&stream, now);
        }
    }

    fn attach(&mut self, stream: &OpenStream, now: Now) {
        if !self.history.contains(&stream.id) {
            // Files without a word.
            self.create(stream, "".into(), Status::Final);
        }
        let attachments = self.attachments.expect(&stream.id, &stream.attached, now.at);
        self.history.change(&stream.id, |message| message.attachments = attachments);
    }

    /// A file of a message has begun to come.
    pub(crate) fn handle_file_opened(&mut self, sender: &ParticipantIdentity, stream_id: &Arc<str>) {
        self.attachments.handle_opened(sender, stream_id);
    }

    /// A file is here, or will not be.
    pub(crate) fn handle_file(&mut self, file: IncomingFile) {
        if let Some((id, attachment)) = self.attachments.handle_file(file) {
            self.put_attachment(&id, attachment);
        }
    }

    fn put_attachment(&mut self, id: &MessageId, attachment: Attachment) {
        self.history.change(id, |message| {
            let mut attachments = message.attachments.to_vec();
            if let Some(slot) = attachments.iter_mut().find(|slot| slot.id == attachment.id) {
                *slot = attachment;
            }
            message.attachments = attachments.into();
        });
    }

    /// A packet with a part of a transcript has come.
    pub(crate) fn handle_legacy_segment(&mut self, segment: LegacySegment, participants: &Participants, now: Now) {
        if segment.text.len() > MAX_TRANSCRIPT || segment.id.is_empty() {
            return;
        }
        let history = &mut self.history;
        if let Some(segment) = self.legacy.handle_packet(segment, now.at, || history.reserve()) {
            let place = self.history.reserve();
            self.show_segment(place, segment, participants, now.wall);
        }
    }

    fn show_segment(&mut self, place: Place, segment: LegacySegment, participants: &Participants, wall: SystemTime) {
        let id = MessageId::new(segment.speaker.clone(), segment.id);
        self.legacy.note(&id);
        let status = if segment.is_final { Status::Final } else { Status::Streaming };
        if self.history.contains(&id) {
            self.history.change(&id, |message| {
                message.text = segment.text.into();
                message.status = status;
            });
        } else if !segment.text.is_empty() {
            let mut message = Message::new(id, kind_of(&segment.speaker, participants), segment.text)
                .with_local(is_local(&segment.speaker, participants));
            message.status = status;
            message.received_at = wall;
            message.track_sid = segment.track_sid;
            self.add_received(place, message);
        }
    }

    /// A legacy chat packet has come.
    pub(crate) fn handle_legacy_chat(&mut self, sender: &ParticipantIdentity, payload: &[u8], now: Now) {
        if payload.len() > MAX_CHAT {
            return;
        }
        let Some(chat) = LegacyChat::read(payload) else { return };
        let place = self.history.reserve();
        let unnamed = || format!("legacy-{place:?}");
        let id = MessageId::new(sender.clone(), if chat.id.is_empty() { unnamed() } else { chat.id });
        if self.newest.contains_key(&id) {
            return;
        }
        if self.history.contains(&id) {
            // The same text has come as a stream; another one is an edit.
            if !self.is_no_edit(&id, 0) {
                self.history.change(&id, |message| edit(message, chat.message.into(), now.wall));
            }
            return;
        }
        let mut message = Message::new(id, MessageKind::Chat, chat.message);
        message.received_at = now.wall;
        message.sent_at =
            chat.timestamp.and_then(|timestamp| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(timestamp)));
        self.add_received(place, message);
    }

    /// A message that somebody else made.
    pub(crate) fn put(&mut self, message: Message) {
        if self.history.contains(&message.id) {
            let id = message.id.clone();
            self.history.change(&id, |slot| *slot = message);
        } else {
            let place = self.history.reserve();
            self.add_received(place, message);
        }
    }

    /// A receiver of the application's has made a message, or another moment of it. What this client writes, and what comes in
    /// the streams of the room, is not its.
    pub(crate) fn handle_received(&mut self, mut message: Message, now: Now) {
        let former = self.history.get(&message.id);
        if former.is_some_and(|former| former.is_own()) || message.is_own() || self.newest.contains_key(&message.id) {
            return;
        }
        message.received_at = former.map_or(now.wall, |former| former.received_at);
        if let Some(former) = former.filter(|former| former.status.is_settled() && message.edited_at.is_none()) {
            message.edited_at = if former.text == message.text { former.edited_at } else { Some(now.wall) };
        }
        let attributes = message.attributes.iter().map(|(key, value)| key.len() + value.len());
        let is_too_long = message.text.len() + attributes.sum::<usize>() > MAX_CHAT;
        if is_too_long || attachments::is_too_much(&message.attachments) {
            self.errors.push(ReceiveError::TooLong);
        } else {
            self.put(message);
        }
    }

    pub(crate) fn handle_not_received(&mut self, error: ReceiveError) {
        self.errors.push(error);
    }

    /// A message of this client's own, before it is sent.
    pub(crate) fn add_own(&mut self, message: Message) {
        let place = self.history.reserve();
        self.history.insert(place, message);
    }

    /// A message of this client's own has been sent, or not.
    pub(crate) fn settle_own(&mut self, id: &MessageId, status: Status) {
        self.history.change(id, |message| message.status = status);
    }

    /// What this client has written is written otherwise: what waits to be sent, or what others have, now that they have it so.
    pub(crate) fn edit_own(&mut self, id: &MessageId, edit: impl FnOnce(&mut Message)) {
        self.history.change(id, edit);
    }

    pub(crate) fn get(&self, id: &MessageId) -> Option<&Arc<Message>> {
        self.history.get(id)
    }

    pub(crate) fn contains(&self, id: &MessageId) -> bool {
        self.history.contains(id)
    }

    pub(crate) fn restore(&mut self, messages: Vec<Message>) {
        let restored = messages.into_iter().map(|mut message| {
            // Nothing more will come of what was under way when it was kept.
            if !message.status.is_settled() {
                message.status = Status::Aborted("it was under way when it was kept".into());
            }
            message
        });
        self.history.restore(restored.collect());
    }

    pub(crate) fn clear(&mut self) {
        self.history.clear();
    }

    /// Another room begins.
    pub(crate) fn handle_room(&mut self) {
        self.room_since = self.history.reserve();
    }

    /// How these speakers said what they said last in this room: the newest of their transcripts that tells, unless its speaker
    /// has begun so many after it.
    pub(crate) fn expression(&self, speakers: &[&ParticipantIdentity], turns: usize) -> Option<Expression> {
        let mut later = vec![0; speakers.len()];
        for message in
            self.history.since(self.room_since).filter(|message| message.kind == MessageKind::AgentTranscript)
        {
            let Some(speaker) = speakers.iter().position(|speaker| **speaker == message.from) else { continue };
            let is_over = turns > 0 && later[speaker] >= turns;
            if let Some(expression) = &message.expression {
                return Some(expression.clone()).filter(|_| !is_over);
            }
            later[speaker] += 1;
            if turns > 0 && later.iter().all(|later| *later >= turns) {
                break;
            }
        }
        None
    }

    /// The room is over, or joined anew: nothing more comes of what is under way.
    pub(crate) fn handle_room_end(&mut self) {
        self.streams.clear();
        self.newest.clear();
        self.legacy.clear();
        for (id, attachment) in self.attachments.end() {
            self.put_attachment(&id, attachment);
        }
        for id in self.history.unsettled() {
            self.history.change(&id, |message| {
                if message.status == Status::Streaming {
                    message.status = Status::Aborted("the connection ended".into());
                }
            });
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.legacy.poll_timeout().into_iter().chain(self.attachments.poll_timeout()).min()
    }

    pub(crate) fn handle_timeout(&mut self, participants: &Participants, now: Now) {
        loop {
            let released = self.legacy.release(now.at);
            if released.is_empty() {
                break;
            }
            for (place, segment) in released {
                self.show_segment(place, segment, participants, now.wall);
            }
        }
        for (id, attachment) in self.attachments.expire(now.at) {
            self.put_attachment(&id, attachment);
        }
    }

    pub(crate) fn poll_event(&mut self) -> Option<MessageEvent> {
        self.history.poll_event()
    }

    pub(crate) fn poll_list(&mut self) -> Option<Arc<[Arc<Message>]>> {
        self.history.poll_list()
    }

    /// The messages of others that have begun since the last call.
    pub(crate) fn take_received(&mut self) -> Vec<Arc<Message>> {
        std::mem::take(&mut self.received)
    }

    pub(crate) fn take_errors(&mut self) -> Vec<ReceiveError> {
        std::mem::take(&mut self.errors)
    }

    /// Shows what has come of a stream, if it is the newest of its message.
    fn show(&mut self, key: StreamKey, status: Status, now: Now) {
        let Some(stream) = self.streams.get(&key) else { return };
        if self.newest.get(&stream.id) != Some(&key) || stream.text.text().is_empty() {
            return;
        }
        let text: Arc<str> = stream.text.text().into();
        if self.history.contains(&stream.id) {
            let id = stream.id.clone();
            let update = stream.to_message(text);
            self.history.change(&id, |message| {
                if message.status.is_settled() {
                    edit(message, update.text, now.wall);
                } else {
                    message.text = update.text;
                }
                message.status = status;
                message.version = update.version;
                message.attributes = update.attributes;
                message.timing = update.timing;
                message.expression = update.expression;
                message.track_sid = update.track_sid;
            });
        } else {
            let stream = self.streams.remove(&key);
            if let Some(stream) = stream {
                self.create(&stream, text, status);
                self.streams.insert(key, stream);
            }
        }
    }

    fn create(&mut self, stream: &OpenStream, text: Arc<str>, status: Status) {
        let mut message = stream.to_message(text);
        message.status = status;
        // What it replaces has not come, or is not kept any more.
        message.edited_at = stream.is_update.then_some(stream.received_at);
        self.add_received(stream.place, message);
    }

    fn add_received(&mut self, place: Place, message: Message) {
        let id = message.id.clone();
        self.history.insert(place, message);
        if let Some(message) = self.history.get(&id) {
            self.received.push(Arc::clone(message));
        }
    }

    /// A stream broke off. What came of it stays, but only the newest of a message decides about it.
    fn fail(&mut self, key: StreamKey, error: ReceiveError, now: Now) {
        let is_edit = self.streams.get(&key).is_some_and(|stream| {
            let replaced = self.history.get(&stream.id);
            stream.kind == MessageKind::Chat && replaced.is_some_and(|message| message.status.is_settled())
        });
        // Half of an edit does not stand in for a whole message.
        if !is_edit {
            self.show(key, Status::Streaming, now);
        }
        let Some(stream) = self.close(key) else { return };
        if stream.is_newest {
            self.history.change(&stream.id, |message| message.status = Status::Aborted(error.to_string().into()));
        }
        self.errors.push(error);
    }

    fn close(&mut self, key: StreamKey) -> Option<Closed> {
        let stream = self.streams.remove(&key)?;
        let is_newest = self.newest.get(&stream.id) == Some(&key);
        if is_newest {
            self.newest.remove(&stream.id);
        }
        Some(Closed { stream, is_newest })
    }

    fn make_room_for_stream(&mut self) {
        if self.streams.len() < MAX_STREAMS {
            return;
        }
        let oldest = self.streams.iter().min_by_key(|(_, stream)| stream.order).map(|(key, _)| *key);
        if let Some(closed) = oldest.and_then(|key| self.close(key)) {
            let why = ReceiveError::TooMany.to_string();
            self.history.change(&closed.id, |message| message.status = Status::Aborted(why.into()));
            self.errors.push(ReceiveError::TooMany);
        }
    }
}

impl OpenStream {
    fn to_message(&self, text: Arc<str>) -> Message {
        let mut message = Message::new(self.id.clone(), self.kind, text);
        message.received_at = self.received_at;
        message.sent_at = self.sent_at;
        message.track_sid = self.attributes.get(TRACK_ID).map(TrackSid::from);
        message.expression = self.attributes.get(EXPRESSION).and_then(|json| Expression::read(json));
        message.attributes = Arc::new(self.attributes.clone());
        message.timing = self.text.spans().into();
        message.version = self.version;
        message.with_local(self.is_local)
    }
}

/// Gives a message another text than the one that was its last.
pub(super) fn edit(message: &mut Message, text: Arc<str>, wall: SystemTime) {
    if message.text != text {
        message.text = text;
        message.edited_at = Some(wall);
    }
}

/// A stream that is open no more.
struct Closed {
    stream: OpenStream,
    is_newest: bool,
}

impl std::ops::Deref for Closed {
    type Target = OpenStream;

    fn deref(&self) -> &OpenStream {
        &self.stream
    }
}

/// Agents publish what their users say under the users' names.
fn kind_of(speaker: &ParticipantIdentity, participants: &Participants) -> MessageKind {
    match participants.get(speaker) {
        Some(participant) if participant.kind != ParticipantKind::Agent => MessageKind::UserTranscript,
        Some(_) | None => MessageKind::AgentTranscript,
    }
}

fn is_local(speaker: &ParticipantIdentity, participants: &Participants) -> bool {
    participants.local.as_ref().is_some_and(|local| local.identity == *speaker)
}

/// The topic of chat, to and from agents too.
pub(crate) const CHAT_TOPIC: &str = "lk.chat";

/// The topic of what agents say and hear.
pub(crate) const TRANSCRIPTION_TOPIC: &str = "lk.transcription";

/// The topic of chat packets from before there were text streams.
pub(crate) const LEGACY_CHAT_TOPIC: &str = "lk-chat-topic";

const SEGMENT_ID: &str = "lk.segment_id";
const FINAL: &str = "lk.transcription_final";
const TRACK_ID: &str = "lk.transcribed_track_id";
const EXPRESSION: &str = "lk.expression";

/// The most of a transcript that is kept, in bytes. A segment is a sentence or two; each chunk makes a new value of all
/// of it.
const MAX_TRANSCRIPT: usize = 64 * 1024;

/// The most of a chat message, in bytes.
pub(crate) const MAX_CHAT: usize = 1024 * 1024;

/// How many messages are under way at once, at most.
const MAX_STREAMS: usize = 128;
