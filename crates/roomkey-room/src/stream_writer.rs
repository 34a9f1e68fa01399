//! Streams that this client sends.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use livekit_protocol as proto;

use crate::clock;
use crate::command::Command;
use crate::data_stream::error::StreamError;
use crate::data_stream::info::{ByteStreamInfo, StreamInfo, TextStreamInfo};
use crate::data_stream::options::{ByteStreamOptions, TextStreamOptions};
use crate::data_stream::outgoing::{OutgoingByteStream, OutgoingTextStream, Readable, WholeStream};
use crate::error::RoomError;
use crate::local_participant::LocalParticipant;
use crate::room::Shared;

/// Why a stream was not sent to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendStreamError {
    /// The stream can't be made as it is.
    Stream(StreamError),
    /// The room does not take it.
    Room(RoomError),
}

impl fmt::Display for SendStreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(error) => error.fmt(f),
            Self::Room(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SendStreamError {}

impl From<StreamError> for SendStreamError {
    fn from(error: StreamError) -> Self {
        Self::Stream(error)
    }
}

impl From<RoomError> for SendStreamError {
    fn from(error: RoomError) -> Self {
        Self::Room(error)
    }
}

impl LocalParticipant {
    /// Sends a text as a stream: of any length, in one packet where it is short and all recipients can read that.
    ///
    /// Returns when all of it is on its way. Dropping the future before ends the stream early, which its readers are told.
    ///
    /// # Errors
    ///
    /// [`SendStreamError`].
    pub async fn send_text(&self, text: &str, options: TextStreamOptions) -> Result<TextStreamInfo, SendStreamError> {
        let readable = self.readable(&options.destination_identities);
        let stream = WholeStream::text(text, &options, readable, clock::system_time(), &mut fastrand::Rng::new())?;
        match self.send_whole(stream, &options.destination_identities).await? {
            StreamInfo::Text(info) => Ok(info),
            StreamInfo::Bytes(_) => Err(StreamError::InvalidHeader.into()),
        }
    }

    /// Sends bytes as a stream. For the rest see [`send_text`](Self::send_text).
    ///
    /// # Errors
    ///
    /// [`SendStreamError`].
    pub async fn send_bytes(
        &self,
        bytes: &[u8],
        options: ByteStreamOptions,
    ) -> Result<ByteStreamInfo, SendStreamError> {
        let readable = self.readable(&options.destination_identities);
        let stream = WholeStream::bytes(bytes, &options, readable, clock::system_time(), &mut fastrand::Rng::new())?;
        match self.send_whole(stream, &options.destination_identities).await? {
            StreamInfo::Bytes(info) => Ok(info),
            StreamInfo::Text(_) => Err(StreamError::InvalidHeader.into()),
        }
    }

    /// Begins a text that is written piece by piece.
    ///
    /// # Errors
    ///
    /// [`SendStreamError`].
    pub async fn stream_text(&self, options: TextStreamOptions) -> Result<TextStreamWriter, SendStreamError> {
        let (stream, header) = OutgoingTextStream::open(&options, clock::system_time(), &mut fastrand::Rng::new())?;
        let end = Unfinished { shared: Arc::clone(&self.shared), stream: Some(Written::Text(stream)) };
        self.shared.send(header).await?;
        Ok(TextStreamWriter(end))
    }

    /// Begins bytes that are written piece by piece.
    ///
    /// # Errors
    ///
    /// [`SendStreamError`].
    pub async fn stream_bytes(&self, options: ByteStreamOptions) -> Result<ByteStreamWriter, SendStreamError> {
        let (stream, header) = OutgoingByteStream::open(&options, clock::system_time(), &mut fastrand::Rng::new())?;
        let end = Unfinished { shared: Arc::clone(&self.shared), stream: Some(Written::Bytes(stream)) };
        self.shared.send(header).await?;
        Ok(ByteStreamWriter(end))
    }

    fn readable(&self, destinations: &[crate::names::ParticipantIdentity]) -> Readable {
        Readable::by(&self.shared.participants.borrow(), destinations)
    }

    async fn send_whole(
        &self,
        stream: WholeStream,
        destinations: &[crate::names::ParticipantIdentity],
    ) -> Result<StreamInfo, SendStreamError> {
        let mut info = stream.info().clone();
        let id = info.id().to_owned();
        let mut early_end = EarlyEnd { shared: &self.shared, id, destinations, is_open: false };
        let count_of_one = stream.is_one_packet();
        for packet in stream {
            self.shared.send(packet).await?;
            early_end.is_open = !count_of_one;
        }
        early_end.is_open = false;
        info.set_sender(self.identity());
        Ok(info)
    }
}

/// Tells readers that no more comes, if a stream is dropped on its way.
struct EarlyEnd<'a> {
    shared: &'a Shared,
    id: String,
    destinations: &'a [crate::names::ParticipantIdentity],
    is_open: bool,
}

const CANCELLED: &str = "cancelled";

impl Drop for EarlyEnd<'_> {
    fn drop(&mut self) {
        if self.is_open {
            let trailer = proto::data_stream::Trailer {
                stream_id: std::mem::take(&mut self.id),
                reason: CANCELLED.to_owned(),
                ..Default::default()
            };
            let packet = proto::DataPacket {
                destination_identities: self.destinations.iter().cloned().map(String::from).collect(),
                value: Some(proto::data_packet::Value::StreamTrailer(trailer)),
                ..Default::default()
            };
            // A room that is over has told its streams' readers.
            let _ = self.shared.command(Command::Reliable(Box::new(packet)));
        }
    }
}

/// A stream of ours that is being written; dropped before its end, it ends early.
struct Unfinished {
    shared: Arc<Shared>,
    stream: Option<Written>,
}

enum Written {
    Text(OutgoingTextStream),
    Bytes(OutgoingByteStream),
}

impl Written {
    fn close(
        &mut self,
        reason: Option<&str>,
        attributes: HashMap<String, String>,
    ) -> Result<proto::DataPacket, StreamError> {
        match self {
            Self::Text(stream) => stream.close(reason, attributes),
            Self::Bytes(stream) => stream.close(reason, attributes),
        }
    }

    fn info(&self) -> &StreamInfo {
        match self {
            Self::Text(stream) => stream.info(),
            Self::Bytes(stream) => stream.info(),
        }
    }
}

impl Unfinished {
    async fn send(&self, packets: Vec<proto::DataPacket>) -> Result<(), SendStreamError> {
        for packet in packets {
            self.shared.send(packet).await?;
        }
        Ok(())
    }

    async fn close(mut self, attributes: HashMap<String, String>) -> Result<(), SendStreamError> {
        let Some(stream) = &mut self.stream else { return Err(StreamError::Closed.into()) };
        let trailer = stream.close(None, attributes)?;
        self.stream = None;
        Ok(self.shared.send(trailer).await?)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(mut stream) = self.stream.take()
            && let Ok(trailer) = stream.close(Some(CANCELLED), HashMap::new())
        {
            // A room that is over has told its streams' readers.
            let _ = self.shared.command(Command::Reliable(Box::new(trailer)));
        }
    }
}

/// A text stream of ours. [`close`](Self::close) ends it; dropped before, it ends early, and its readers are told.
pub struct TextStreamWriter(Unfinished);

/// A byte stream of ours. [`close`](Self::close) ends it; dropped before, it ends early, and its readers are told.
pub struct ByteStreamWriter(Unfinished);

impl TextStreamWriter {
    /// The id of the stream.
    pub fn id(&self) -> &str {
        self.0.stream.as_ref().map_or("", |stream| stream.info().id())
    }

    /// Sends more text; waits while too much is on its way. Of a future that is dropped, a part may have been sent.
    ///
    /// # Errors
    ///
    /// [`SendStreamError`]; a text that is longer than announced is not sent.
    pub async fn write(&mut self, text: &str) -> Result<(), SendStreamError> {
        let packets = match &mut self.0.stream {
            Some(Written::Text(stream)) => stream.write(text)?,
            Some(Written::Bytes(_)) | None => return Err(StreamError::Closed.into()),
        };
        self.0.send(packets).await
    }

    /// Ends the stream.
    ///
    /// # Errors
    ///
    /// [`SendStreamError`].
    pub async fn close(self) -> Result<(), SendStreamError> {
        self.0.close(HashMap::new()).await
    }

    /// Ends the stream, and says something at its end.
    ///
    /// # Errors
    ///
    /// [`SendStreamError`].
    pub async fn close_with(self, attributes: HashMap<String, String>) -> Result<(), SendStreamError> {
        self.0.close(attributes).await
    }
}

impl ByteStreamWriter {
    /// The id of the stream.
    pub fn id(&self) -> &str {
        self.0.stream.as_ref().map_or("", |stream| stream.info().id())
    }

    /// Sends more bytes; waits while too much is on its way. Of a future that is dropped, a part may have been sent.
    ///
    /// # Errors
    ///
    /// [`SendStreamError`]; what is longer than announced is not sent.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), SendStreamError> {
        let packets = match &mut self.0.stream {
            Some(Written::Bytes(stream)) => stream.write(bytes)?,
            Some(Written::Text(_)) | None => return Err(StreamError::Closed.into()),
        };
        self.0.send(packets).await
    }

    /// Ends the stream.
    ///
    /// # Errors
    ///
    /// [`SendStreamError`].
    pub async fn close(self) -> Result<(), SendStreamError> {
        self.0.close(HashMap::new()).await
    }
}

impl fmt::Debug for TextStreamWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextStreamWriter").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ByteStreamWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteStreamWriter").field("id", &self.id()).finish_non_exhaustive()
    }
}
