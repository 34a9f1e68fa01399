//! Streams of others: packets and times in, events out.

mod finished;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use livekit_protocol::data_packet::Value;
use livekit_protocol::data_stream as proto;

use super::content::{Content, ContentDecoder};
use super::error::StreamError;
use super::inflate::Inflater;
use super::info::StreamInfo;
use super::limits::StreamLimits;
use crate::clock::later;
use crate::names::{ParticipantIdentity, ParticipantSid};
use finished::Finished;

/// All streams that others have open to us.
///
/// What comes from one sender does not touch the streams of another: a stream is found by the sid that the server put on the
/// packet, and its id. (Identities don't do: agents give a header the identity of whom they transcribe, and LiveKit's Python
/// SDK sends the chunks of that stream under the agent's own.) A server that says no sids has all streams in one space of ids.
#[derive(Debug)]
pub(crate) struct IncomingStreams {
    limits: StreamLimits,
    open: HashMap<StreamKey, OpenStream>,
    keys: HashMap<ParticipantSid, HashMap<String, StreamKey>>,
    next_key: u64,
    finished: Finished,
    /// No stream is idle for too long before this.
    next_idle_check: Option<Instant>,
    events: VecDeque<IncomingEvent>,
}

/// One stream; no other ever has the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct StreamKey(u64);

/// Who sent a packet, as the server has marked it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Origin {
    /// `DataPacket.participant_identity`: in whose name it is sent.
    pub(crate) identity: ParticipantIdentity,
    /// `DataPacket.participant_sid`: who sent it. Older servers leave it empty.
    pub(crate) sid: ParticipantSid,
    /// Whether what was sent was encrypted end to end.
    pub(crate) is_encrypted: bool,
}

/// What happened to a stream. Each that is opened is closed once, and nothing follows that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IncomingEvent {
    /// A stream begins.
    Opened { key: StreamKey, info: StreamInfo },
    /// More of its contents; never empty.
    Chunk { key: StreamKey, content: Content },
    /// It has ended; with attributes if that was with a trailer.
    Closed { key: StreamKey, trailer_attributes: Option<HashMap<String, String>>, outcome: Result<(), StreamError> },
    /// It could not be opened.
    Refused { sender_identity: ParticipantIdentity, topic: String, error: StreamError },
}

#[derive(Debug)]
struct OpenStream {
    id: String,
    origin: Origin,
    /// Under which its sender was known before a join anew.
    former_sids: Vec<ParticipantSid>,
    fingerprint: u64,
    decoder: ContentDecoder,
    next_index: u64,
    last_heard: Instant,
    doubt: Option<Doubt>,
}

/// Whether a stream goes on is not known; it ends with this error if nothing says so by then.
#[derive(Debug)]
struct Doubt {
    until: Instant,
    error: StreamError,
}

/// How long a sender that came again may take until it can send.
const RETURN_TIMEOUT: Duration = Duration::from_secs(20);

/// How long it has then for going on with a stream. One that goes on first sends again what did not arrive; one that is another
/// process has forgotten it.
const CONTINUATION_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the next chunk of a stream may take after this client joined anew: its end may have come in between.
const INTERRUPTED_TIMEOUT: Duration = Duration::from_secs(60);

impl IncomingStreams {
    /// No streams yet.
    pub(crate) fn new(limits: StreamLimits) -> Self {
        Self {
            limits,
            open: HashMap::new(),
            keys: HashMap::new(),
            next_key: 0,
            finished: Finished::default(),
            next_idle_check: None,
            events: VecDeque::new(),
        }
    }

    /// Takes a packet that is a stream's, and gives back what is not.
    pub(crate) fn handle_packet(&mut self, now: Instant, origin: &Origin, value: Value) -> Option<Value> {
        #[expect(clippy::wildcard_enum_match_arm, reason = "packets of other parts, and of protocols to come")]
        match value {
            Value::StreamHeader(header) => self.handle_header(now, origin, header),
            Value::StreamChunk(chunk) => self.handle_chunk(now, origin, chunk),
            Value::StreamTrailer(trailer) => self.handle_trailer(origin, trailer),
            other => return Some(other),
        }
        None
    }

    /// Ends the streams that this participant sent or that were sent in its name.
    pub(crate) fn participant_left(&mut self, identity: &ParticipantIdentity, sid: &ParticipantSid) {
        let has_left = |origin: &Origin| match (origin.sid.is_empty(), sid.is_empty()) {
            (false, false) => origin.sid == *sid,
            (true, _) | (_, true) => origin.identity == *identity,
        };
        self.close_where(|stream| has_left(&stream.origin), &StreamError::SenderLeft);
    }

    /// The sender goes on in another stay in the room, with another sid: so do its streams. What it had sent in the last stay
    /// may still come, and comes again in part. A sender that [can send](Self::sender_is_active) and sends nothing of a stream soon
    /// has lost it.
    pub(crate) fn sender_came_again(&mut self, former: &ParticipantSid, sid: &ParticipantSid, now: Instant) {
        if former.is_empty() || sid.is_empty() || former == sid {
            return;
        }
        for (key, stream) in &mut self.open {
            if stream.origin.sid != *former {
                continue;
            }
            stream.doubt_until(now + RETURN_TIMEOUT, StreamError::SenderLeft);
            stream.go_on_as(sid, *key, &mut self.keys);
        }
        self.schedule_check();
    }

    /// A sender's stay has come so far that it can send.
    pub(crate) fn sender_is_active(&mut self, sid: &ParticipantSid, now: Instant) {
        let of_sender = self.open.values_mut().filter(|stream| stream.origin.sid == *sid);
        for doubt in of_sender.filter_map(|stream| stream.doubt.as_mut()) {
            if doubt.error == StreamError::SenderLeft {
                doubt.until = doubt.until.min(now + CONTINUATION_TIMEOUT);
            }
        }
        self.schedule_check();
    }

    /// This client has joined anew: what was sent in between is lost, of streams too.
    pub(crate) fn joined_anew(&mut self, now: Instant) {
        for stream in self.open.values_mut() {
            stream.doubt_until(now + INTERRUPTED_TIMEOUT, StreamError::Interrupted);
        }
        self.schedule_check();
    }

    /// Ends all streams, since nothing more will come over this connection.
    pub(crate) fn disconnected(&mut self) {
        self.close_where(|_| true, &StreamError::Disconnected);
    }

    /// Forgets a stream that nobody reads. What still comes of it is dropped, and there are no more events.
    pub(crate) fn ignore(&mut self, key: StreamKey) {
        self.remove(key);
        self.events.retain(|event| match event {
            IncomingEvent::Opened { key: of, .. }
            | IncomingEvent::Chunk { key: of, .. }
            | IncomingEvent::Closed { key: of, .. } => *of != key,
            IncomingEvent::Refused { .. } => true,
        });
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.next_idle_check
    }

    /// Ends the streams of which nothing came for too long.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.next_idle_check.is_none_or(|check| now < check) {
            return;
        }
        let idle_timeout = self.limits.idle_timeout;
        self.close_where(
            |stream| now.saturating_duration_since(stream.last_heard) >= idle_timeout,
            &StreamError::TimedOut,
        );
        let is_overdue = |stream: &OpenStream| stream.doubt.as_ref().is_some_and(|doubt| doubt.until <= now);
        for error in [StreamError::SenderLeft, StreamError::Interrupted] {
            let is_it = |stream: &OpenStream| stream.doubt.as_ref().is_some_and(|doubt| doubt.error == error);
            self.close_where(|stream| is_overdue(stream) && is_it(stream), &error);
        }
        self.schedule_check();
    }

    fn schedule_check(&mut self) {
        let idle_timeout = self.limits.idle_timeout;
        let check = |stream: &OpenStream| {
            let idle = later(stream.last_heard, idle_timeout);
            stream.doubt.as_ref().map_or(idle, |doubt| doubt.until.min(idle))
        };
        self.next_idle_check = self.open.values().map(check).min();
    }

    /// The next event, in the order in which things happened.
    pub(crate) fn poll_event(&mut self) -> Option<IncomingEvent> {
        self.events.pop_front()
    }

    /// How many streams are open.
    #[cfg(test)]
    pub(crate) fn open_streams(&self) -> usize {
        self.open.len()
    }

    fn handle_header(&mut self, now: Instant, origin: &Origin, mut header: proto::Header) {
        if self.key(origin, &header.stream_id).is_some() {
            tracing::debug!(stream_id = ?header.stream_id, "dropped another header of an open stream");
            return;
        }
        let fingerprint = self.finished.fingerprint(origin, &header);
        if let Some((key, stream)) = self.open.iter_mut().find(|(_, stream)| stream.is_of(fingerprint, origin)) {
            // Its sender is in another stay already, of which the server's word is still to come.
            stream.go_on_as(&origin.sid, *key, &mut self.keys);
            stream.last_heard = now;
            return self.schedule_check();
        }
        if self.finished.has_come_before(fingerprint, &origin.sid) {
            tracing::debug!(stream_id = ?header.stream_id, "dropped the header of a stream that has come before");
            return;
        }
        let inflater = match self.accept(origin, &header) {
            Ok(inflater) => inflater,
            Err(error) => return self.refuse(origin, header.topic, error),
        };
        let inline_content = header.inline_content.take();
        let topic = header.topic.clone();
        let Some(info) = StreamInfo::from_header(header, origin.identity.clone()) else {
            return self.refuse(origin, topic, StreamError::InvalidHeader);
        };
        let key = StreamKey(self.next_key);
        self.next_key += 1;
        let mut decoder = ContentDecoder::new(info.is_text(), info.total_length(), inflater);
        let id = info.id().to_owned();
        self.events.push_back(IncomingEvent::Opened { key, info });
        if let Some(content) = inline_content {
            let (content, result) = decoder.decode(content);
            self.events.extend(content.map(|content| IncomingEvent::Chunk { key, content }));
            let outcome = result.and_then(|()| decoder.finish());
            self.finished.add(fingerprint, origin.sid.clone());
            return self.events.push_back(IncomingEvent::Closed { key, trailer_attributes: None, outcome });
        }
        self.keys.entry(origin.sid.clone()).or_default().insert(id.clone(), key);
        let stream = OpenStream {
            id,
            origin: origin.clone(),
            former_sids: Vec::new(),
            fingerprint,
            decoder,
            next_index: 0,
            last_heard: now,
            doubt: None,
        };
        self.open.insert(key, stream);
        let idle_at = later(now, self.limits.idle_timeout);
        self.next_idle_check = Some(self.next_idle_check.map_or(idle_at, |check| check.min(idle_at)));
    }

    /// Whether a stream with this header is to be opened, and what decompresses it.
    fn accept(&self, origin: &Origin, header: &proto::Header) -> Result<Option<Inflater>, StreamError> {
        if header.stream_id.is_empty() {
            return Err(StreamError::InvalidHeader);
        }
        #[expect(deprecated, reason = "older senders say it here")]
        if header.encryption_type != 0 && !origin.is_encrypted {
            return Err(StreamError::Encrypted);
        }
        let (bytes, limit) = (metadata_bytes(header), self.limits.metadata_bytes);
        if bytes > limit {
            return Err(StreamError::MetadataTooLarge { bytes, limit });
        }
        let of_sender = self.keys.get(&origin.sid).map_or(0, HashMap::len);
        if header.inline_content.is_none()
            && (self.open.len() >= self.limits.open_streams || of_sender >= self.limits.open_streams_per_sender)
        {
            return Err(StreamError::TooManyStreams);
        }
        match proto::CompressionType::try_from(header.compression) {
            Ok(proto::CompressionType::None) => Ok(None),
            Ok(proto::CompressionType::DeflateRaw) => Ok(Some(Inflater::new(&self.limits))),
            Err(_) => Err(StreamError::UnknownCompression),
        }
    }

    fn refuse(&mut self, origin: &Origin, topic: String, error: StreamError) {
        let sender_identity = origin.identity.clone();
        self.events.push_back(IncomingEvent::Refused { sender_identity, topic, error });
    }

    fn handle_chunk(&mut self, now: Instant, origin: &Origin, chunk: proto::Chunk) {
        // A chunk of no stream belongs to one that was refused, has failed, is ignored, or began before this client joined.
        let Some(key) = self.key(origin, &chunk.stream_id) else { return };
        let Some(stream) = self.open.get_mut(&key) else { return };
        if stream.origin.is_encrypted != origin.is_encrypted {
            return self.close(key, None, Err(StreamError::EncryptionMismatch));
        }
        stream.last_heard = now;
        stream.sender_goes_on(origin);
        if chunk.chunk_index < stream.next_index {
            // Sent again after a resumption, or a new version of what has been given to the reader.
            return;
        }
        if chunk.chunk_index > stream.next_index {
            let error = StreamError::MissedChunk { expected: stream.next_index, received: chunk.chunk_index };
            return self.close(key, None, Err(error));
        }
        stream.next_index += 1;
        if stream.origin.sid == origin.sid {
            stream.doubt = None;
        }
        let (content, result) = stream.decoder.decode(chunk.content);
        self.events.extend(content.map(|content| IncomingEvent::Chunk { key, content }));
        if result.is_err() {
            self.close(key, None, result);
        }
    }

    fn handle_trailer(&mut self, origin: &Origin, trailer: proto::Trailer) {
        let Some(key) = self.key(origin, &trailer.stream_id) else { return };
        let Some(stream) = self.open.get(&key) else { return };
        if stream.origin.is_encrypted != origin.is_encrypted {
            return self.close(key, None, Err(StreamError::EncryptionMismatch));
        }
        let bytes = trailer.reason.len() + attributes_bytes(&trailer.attributes);
        let limit = self.limits.metadata_bytes;
        if bytes > limit {
            return self.close(key, None, Err(StreamError::MetadataTooLarge { bytes, limit }));
        }
        let outcome = if trailer.reason.is_empty() {
            stream.finish()
        } else {
            Err(StreamError::Aborted { reason: trailer.reason })
        };
        self.close(key, Some(trailer.attributes), outcome);
    }

    fn key(&self, origin: &Origin, id: &str) -> Option<StreamKey> {
        self.keys.get(&origin.sid)?.get(id).copied()
    }

    fn close(
        &mut self,
        key: StreamKey,
        trailer_attributes: Option<HashMap<String, String>>,
        outcome: Result<(), StreamError>,
    ) {
        if self.remove(key) {
            self.events.push_back(IncomingEvent::Closed { key, trailer_attributes, outcome });
        }
    }

    fn close_where(&mut self, is_over: impl Fn(&OpenStream) -> bool, error: &StreamError) {
        let mut over: Vec<_> = self.open.iter().filter(|(_, stream)| is_over(stream)).map(|(key, _)| *key).collect();
        over.sort_unstable();
        for key in over {
            self.close(key, None, Err(error.clone()));
        }
    }

    /// Whether there was such a stream.
    fn remove(&mut self, key: StreamKey) -> bool {
        let Some(stream) = self.open.remove(&key) else { return false };
        for sid in stream.former_sids.iter().chain([&stream.origin.sid]) {
            forget(&mut self.keys, sid, &stream.id);
        }
        self.finished.add(stream.fingerprint, stream.origin.sid);
        if self.open.is_empty() {
            self.next_idle_check = None;
        }
        true
    }
}

impl OpenStream {
    fn doubt_until(&mut self, until: Instant, error: StreamError) {
        // What is in doubt already stays so for its first reason.
        self.doubt.get_or_insert(Doubt { until, error });
    }

    /// Whether a header that comes in another stay is that of this stream.
    fn is_of(&self, fingerprint: u64, origin: &Origin) -> bool {
        self.fingerprint == fingerprint && !self.origin.sid.is_empty() && !origin.sid.is_empty()
    }

    /// What comes of it comes with another sid from now on; what is late, with the former ones.
    fn go_on_as(
        &mut self,
        sid: &ParticipantSid,
        key: StreamKey,
        keys: &mut HashMap<ParticipantSid, HashMap<String, StreamKey>>,
    ) {
        const MOST_STAYS: usize = 8;
        self.former_sids.push(std::mem::replace(&mut self.origin.sid, sid.clone()));
        if self.former_sids.len() > MOST_STAYS {
            let oldest = self.former_sids.remove(0);
            forget(keys, &oldest, &self.id);
        }
        keys.entry(sid.clone()).or_default().insert(self.id.clone(), key);
    }

    /// Something comes of it from the sender's newest stay.
    fn sender_goes_on(&mut self, origin: &Origin) {
        if self.origin.sid == origin.sid {
            self.doubt.take_if(|doubt| doubt.error == StreamError::SenderLeft);
        }
    }

    /// Whether all of it has come, when it ends.
    fn finish(&self) -> Result<(), StreamError> {
        self.decoder.finish()?;
        match &self.doubt {
            // Where nothing says how much there is, the last chunks may be missing.
            Some(Doubt { error: StreamError::Interrupted, .. }) if !self.decoder.knows_end() => {
                Err(StreamError::Interrupted)
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn forget(keys: &mut HashMap<ParticipantSid, HashMap<String, StreamKey>>, sid: &ParticipantSid, id: &str) {
    if let Some(of_sender) = keys.get_mut(sid) {
        of_sender.remove(id);
        if of_sender.is_empty() {
            keys.remove(sid);
        }
    }
}

/// How many bytes of a header are kept while its stream is open or handed to a reader, contents aside.
fn metadata_bytes(header: &proto::Header) -> usize {
    let of_kind = match &header.content_header {
        Some(proto::header::ContentHeader::TextHeader(text)) => {
            text.reply_to_stream_id.len()
                + text.attached_stream_ids.iter().map(|id| id.len() + ENTRY_BYTES).sum::<usize>()
        }
        Some(proto::header::ContentHeader::ByteHeader(bytes)) => bytes.name.len(),
        None => 0,
    };
    header.stream_id.len()
        + header.topic.len()
        + header.mime_type.len()
        + attributes_bytes(&header.attributes)
        + of_kind
}

pub(crate) fn attributes_bytes(attributes: &HashMap<String, String>) -> usize {
    attributes.iter().map(|(key, value)| key.len() + value.len() + ENTRY_BYTES).sum()
}

/// What an entry of a list or a map costs beside its text: a million empty ones are not small.
const ENTRY_BYTES: usize = 16;

#[cfg(test)]
mod tests;
