//! Our streams: contents in, packets out.

use std::collections::HashMap;
use std::time::SystemTime;

use livekit_protocol::data_packet::Value;
use livekit_protocol::{DataPacket, data_stream as proto};

use super::error::StreamError;
use super::info::{StreamInfo, timestamp_of};
use super::options::{ByteStreamOptions, TextStreamOptions};
use super::packet::{self, PACKET_BYTES};
use crate::names::ParticipantIdentity;
use crate::participant::{Participant, Participants};

/// What all recipients of a stream can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Readable {
    /// A header, chunks and a trailer.
    Chunked,
    /// A stream in one packet, too.
    Inline,
    /// And compressed.
    Compressed,
}

impl Readable {
    /// What everybody of these can read: of the destinations, or of all if there are none. Who is not known can read least;
    /// an empty room can read everything.
    pub(crate) fn by(participants: &Participants, destinations: &[ParticipantIdentity]) -> Self {
        let worst = if destinations.is_empty() {
            participants.remote.values().map(|participant| Self::by_one(participant)).min()
        } else {
            let by =
                |identity| participants.get(identity).map_or(Self::Chunked, |participant| Self::by_one(participant));
            destinations.iter().map(by).min()
        };
        worst.unwrap_or(Self::Compressed)
    }

    /// What this participant can read: streams in one packet from client protocol 2 on, and compressed ones if it says so.
    pub(crate) fn by_one(participant: &Participant) -> Self {
        match (participant.client_protocol >= 2, participant.reads_deflate) {
            (false, _) => Self::Chunked,
            (true, false) => Self::Inline,
            (true, true) => Self::Compressed,
        }
    }
}

/// The packets of contents that are sent as a whole, made as they are asked for. They are to be sent in this order.
#[derive(Debug)]
pub(crate) struct WholeStream {
    head: Head,
    header: Option<DataPacket>,
    content: Vec<u8>,
    /// How many bytes there are of it, before it was compressed and after.
    length: (u64, u64),
    /// Text is cut between characters; bytes and compressed text anywhere.
    is_plain_text: bool,
    sent: usize,
    next_index: u64,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Content,
    Trailer,
    Done,
}

impl WholeStream {
    /// The packets of a text: one if all can read that and it is small, else as many as it takes.
    ///
    /// # Errors
    ///
    /// [`StreamError::MetadataTooLarge`] if the options don't fit into one packet of 15,000 bytes.
    pub(crate) fn text(
        text: &str,
        options: &TextStreamOptions,
        readable: Readable,
        at: SystemTime,
        rng: &mut fastrand::Rng,
    ) -> Result<Self, StreamError> {
        let header = text_header(options, Some(text.len() as u64), at, rng);
        // Receivers that wait for what is attached know a text by its trailer.
        let may_inline = options.attached_stream_ids.is_empty();
        let to = options.destination_identities.clone();
        Self::new(header, to, text.as_bytes(), readable, options.is_compressible, may_inline)
    }

    /// The packets of some bytes: one if all can read that and they are few, else as many as it takes.
    ///
    /// # Errors
    ///
    /// [`StreamError::MetadataTooLarge`] if the options don't fit into one packet of 15,000 bytes.
    pub(crate) fn bytes(
        bytes: &[u8],
        options: &ByteStreamOptions,
        readable: Readable,
        at: SystemTime,
        rng: &mut fastrand::Rng,
    ) -> Result<Self, StreamError> {
        let header = byte_header(options, Some(bytes.len() as u64), at, rng);
        let to = options.destination_identities.clone();
        Self::new(header, to, bytes, readable, options.is_compressible, true)
    }

    /// What the header says. The sender is not in it: the server puts that on the packets.
    pub(crate) fn info(&self) -> &StreamInfo {
        &self.head.info
    }

    /// Whether all is in the header.
    pub(crate) fn is_one_packet(&self) -> bool {
        self.stage == Stage::Done
    }

    /// How many bytes of the content are in the packets until now; about so many, where it is compressed.
    pub(crate) fn taken(&self) -> u64 {
        let (plain, packed) = self.length;
        match self.stage {
            _ if self.header.is_some() => 0,
            Stage::Content => plain * self.sent as u64 / packed.max(1),
            Stage::Trailer | Stage::Done => plain,
        }
    }

    fn new(
        mut header: proto::Header,
        to: Vec<ParticipantIdentity>,
        content: &[u8],
        readable: Readable,
        is_compressible: bool,
        may_inline: bool,
    ) -> Result<Self, StreamError> {
        let compressed = (readable >= Readable::Compressed && is_compressible)
            .then(|| packet::deflate(content))
            .filter(|compressed| compressed.len() < content.len());
        let is_text = matches!(header.content_header, Some(proto::header::ContentHeader::TextHeader(_)));
        let is_plain_text = is_text && compressed.is_none();
        if compressed.is_some() {
            header.compression = proto::CompressionType::DeflateRaw.into();
        }
        let plain_length = content.len() as u64;
        let content = compressed.unwrap_or_else(|| content.to_vec());
        let length = (plain_length, content.len() as u64);
        let head = Head::new(&header, to);
        if may_inline && readable >= Readable::Inline && content.len() <= PACKET_BYTES {
            let inline = proto::Header { inline_content: Some(content.clone()), ..header.clone() };
            if let Ok(packet) = packet::within_size(head.packet(inline)) {
                return Ok(Self {
                    head,
                    header: Some(packet),
                    content: Vec::new(),
                    length,
                    is_plain_text,
                    sent: 0,
                    next_index: 0,
                    stage: Stage::Done,
                });
            }
        }
        let packet = packet::within_size(head.packet(header))?;
        let header = Some(packet);
        Ok(Self { head, header, content, length, is_plain_text, sent: 0, next_index: 0, stage: Stage::Content })
    }

    fn next_chunk(&mut self) -> Option<DataPacket> {
        let rest = self.content.get(self.sent..)?;
        if rest.is_empty() {
            return None;
        }
        let mut length = rest.len().min(PACKET_BYTES);
        if self.is_plain_text {
            // The content is a text, so that three steps back are the most.
            while length < rest.len() && (rest[length] & 0xc0) == 0x80 {
                length -= 1;
            }
        }
        let packet = packet::chunk(&self.head.to, self.head.info.id(), self.next_index, &rest[..length]);
        self.sent += length;
        self.next_index += 1;
        Some(packet)
    }
}

impl Iterator for WholeStream {
    type Item = DataPacket;

    fn next(&mut self) -> Option<DataPacket> {
        if let Some(header) = self.header.take() {
            return Some(header);
        }
        if self.stage == Stage::Content {
            if let Some(chunk) = self.next_chunk() {
                return Some(chunk);
            }
            self.content = Vec::new();
            self.stage = Stage::Trailer;
        }
        if self.stage == Stage::Trailer {
            self.stage = Stage::Done;
            return Some(packet::trailer(&self.head.to, self.head.info.id(), "", HashMap::new()));
        }
        None
    }
}

/// A text stream of ours that is written piece by piece; never compressed, nor in one packet.
#[derive(Debug)]
pub(crate) struct OutgoingTextStream(OpenStream);

impl OutgoingTextStream {
    /// The stream, and the packet that opens it.
    ///
    /// # Errors
    ///
    /// [`StreamError::MetadataTooLarge`] if the options don't fit into one packet of 15,000 bytes.
    pub(crate) fn open(
        options: &TextStreamOptions,
        at: SystemTime,
        rng: &mut fastrand::Rng,
    ) -> Result<(Self, DataPacket), StreamError> {
        let header = text_header(options, options.total_length, at, rng);
        let (stream, packet) = OpenStream::open(header, options.destination_identities.clone())?;
        Ok((Self(stream), packet))
    }

    /// What the header says.
    pub(crate) fn info(&self) -> &StreamInfo {
        &self.0.head.info
    }

    /// The packets of more text, cut between characters.
    ///
    /// # Errors
    ///
    /// [`StreamError::Closed`] after the end, [`StreamError::LengthExceeded`] if it is more than was announced; nothing is
    /// sent then.
    pub(crate) fn write(&mut self, text: &str) -> Result<Vec<DataPacket>, StreamError> {
        self.0.reserve(text.len())?;
        let mut packets = Vec::with_capacity(text.len() / PACKET_BYTES + 1);
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(packet::text_cut(rest, PACKET_BYTES));
            packets.push(self.0.chunk(piece.as_bytes()));
            rest = after;
        }
        Ok(packets)
    }

    /// The packet that ends the stream, early if there is a reason. A second end is [`StreamError::Closed`].
    ///
    /// # Errors
    ///
    /// [`StreamError::MetadataTooLarge`] if reason and attributes don't fit into one packet; the stream stays open then.
    pub(crate) fn close(
        &mut self,
        reason: Option<&str>,
        attributes: HashMap<String, String>,
    ) -> Result<DataPacket, StreamError> {
        self.0.close(reason, attributes)
    }
}

/// A byte stream of ours that is written piece by piece; never compressed, nor in one packet.
#[derive(Debug)]
pub(crate) struct OutgoingByteStream(OpenStream);

impl OutgoingByteStream {
    /// The stream, and the packet that opens it.
    ///
    /// # Errors
    ///
    /// [`StreamError::MetadataTooLarge`] if the options don't fit into one packet of 15,000 bytes.
    pub(crate) fn open(
        options: &ByteStreamOptions,
        at: SystemTime,
        rng: &mut fastrand::Rng,
    ) -> Result<(Self, DataPacket), StreamError> {
        let header = byte_header(options, options.total_length, at, rng);
        let (stream, packet) = OpenStream::open(header, options.destination_identities.clone())?;
        Ok((Self(stream), packet))
    }

    /// What the header says.
    pub(crate) fn info(&self) -> &StreamInfo {
        &self.0.head.info
    }

    /// The packets of more bytes.
    ///
    /// # Errors
    ///
    /// [`StreamError::Closed`] after the end, [`StreamError::LengthExceeded`] if it is more than was announced; nothing is
    /// sent then.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<Vec<DataPacket>, StreamError> {
        self.0.reserve(bytes.len())?;
        Ok(bytes.chunks(PACKET_BYTES).map(|piece| self.0.chunk(piece)).collect())
    }

    /// The packet that ends the stream, early if there is a reason. A second end is [`StreamError::Closed`].
    ///
    /// # Errors
    ///
    /// [`StreamError::MetadataTooLarge`] if reason and attributes don't fit into one packet; the stream stays open then.
    pub(crate) fn close(
        &mut self,
        reason: Option<&str>,
        attributes: HashMap<String, String>,
    ) -> Result<DataPacket, StreamError> {
        self.0.close(reason, attributes)
    }
}

/// What both kinds have in common.
#[derive(Debug)]
struct OpenStream {
    head: Head,
    next_index: u64,
    written: u64,
    is_closed: bool,
}

impl OpenStream {
    fn open(header: proto::Header, to: Vec<ParticipantIdentity>) -> Result<(Self, DataPacket), StreamError> {
        let head = Head::new(&header, to);
        let packet = packet::within_size(head.packet(header))?;
        Ok((Self { head, next_index: 0, written: 0, is_closed: false }, packet))
    }

    fn reserve(&mut self, bytes: usize) -> Result<(), StreamError> {
        if self.is_closed {
            return Err(StreamError::Closed);
        }
        let written = self.written.saturating_add(bytes as u64);
        match self.head.info.total_length() {
            Some(total_length) if written > total_length => Err(StreamError::LengthExceeded { total_length }),
            Some(_) | None => {
                self.written = written;
                Ok(())
            }
        }
    }

    fn chunk(&mut self, content: &[u8]) -> DataPacket {
        let packet = packet::chunk(&self.head.to, self.head.info.id(), self.next_index, content);
        self.next_index += 1;
        packet
    }

    fn close(&mut self, reason: Option<&str>, attributes: HashMap<String, String>) -> Result<DataPacket, StreamError> {
        if self.is_closed {
            return Err(StreamError::Closed);
        }
        let reason = reason.unwrap_or_default();
        let packet = packet::within_size(packet::trailer(&self.head.to, self.head.info.id(), reason, attributes))?;
        self.is_closed = true;
        Ok(packet)
    }
}

/// What a stream is called, and to whom it goes: said on each of its packets.
#[derive(Debug)]
struct Head {
    info: StreamInfo,
    to: Vec<ParticipantIdentity>,
}

impl Head {
    fn new(header: &proto::Header, to: Vec<ParticipantIdentity>) -> Self {
        let info = StreamInfo::from_header(header.clone(), ParticipantIdentity::default());
        Self { info: info.expect("our headers say their kind"), to }
    }

    fn packet(&self, header: proto::Header) -> DataPacket {
        packet::packet_to(&self.to, Value::StreamHeader(header))
    }
}

fn text_header(
    options: &TextStreamOptions,
    total_length: Option<u64>,
    at: SystemTime,
    rng: &mut fastrand::Rng,
) -> proto::Header {
    let text = proto::TextHeader {
        operation_type: options.operation.to_proto(),
        version: options.version,
        reply_to_stream_id: options.reply_to_stream_id.clone().unwrap_or_default(),
        attached_stream_ids: options.attached_stream_ids.clone(),
        generated: options.is_generated,
    };
    proto::Header {
        stream_id: options.id.clone().unwrap_or_else(|| packet::uuid(rng)),
        timestamp: timestamp_of(at),
        topic: options.topic.clone(),
        mime_type: "text/plain".to_owned(),
        total_length,
        attributes: options.attributes.clone(),
        content_header: Some(proto::header::ContentHeader::TextHeader(text)),
        ..proto::Header::default()
    }
}

fn byte_header(
    options: &ByteStreamOptions,
    total_length: Option<u64>,
    at: SystemTime,
    rng: &mut fastrand::Rng,
) -> proto::Header {
    proto::Header {
        stream_id: options.id.clone().unwrap_or_else(|| packet::uuid(rng)),
        timestamp: timestamp_of(at),
        topic: options.topic.clone(),
        mime_type: options.mime_type.clone(),
        total_length,
        attributes: options.attributes.clone(),
        content_header: Some(proto::header::ContentHeader::ByteHeader(proto::ByteHeader {
            name: options.name.clone(),
        })),
        ..proto::Header::default()
    }
}

#[cfg(test)]
mod tests;
