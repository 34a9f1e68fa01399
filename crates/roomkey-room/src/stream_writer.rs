//! Streams that this client sends.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use livekit_protocol as proto;

use crate::clock;
use crate::data_stream::error::StreamError;
use crate::data_stream::info::{ByteStreamInfo, StreamInfo, TextStreamInfo};
use crate::data_stream::options::{ByteStreamOptions, TextStreamOptions};
use crate::data_stream::outgoing::{OutgoingByteStream, OutgoingTextStream, Readable, WholeStream};
use crate::error::RoomError;
use crate::file_sender::FileError;
use crate::local_participant::{LocalParticipant, Sent};
use crate::room::Shared;

/// Why a stream was not sent to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendStreamError {
    /// The stream can't be made as it is.
    Stream(StreamError),
    /// The room does not take it.
    Room(RoomError),
    /// The file can't be read.
    File(FileError),
    /// The file became shorter or longer while it was sent.
    FileChanged,
}

impl fmt::Display for SendStreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(error) => error.fmt(f),
            Self::Room(error) => error.fmt(f),
            Self::File(error) => error.fmt(f),
            Self::FileChanged => f.write_str("the file became shorter or longer while it was sent"),
        }
    }
}

impl std::error::Error for SendStreamError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(error) => error.source(),
            Self::Stream(_) | Self::Room(_) | Self::FileChanged => None,
        }
    }
}

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
    /// Returns when all of it is on its way. Dropping the future before ends the stream early, which its readers are told; of
    /// one that has not begun they hear nothing.
    ///
    /// # Errors
    ///
    /// [`SendStreamError`].
    pub async fn send_text(&self, text: &str, options: TextStreamOptions) -> Result<TextStreamInfo, SendStreamError> {
        let readable = self.readable(&options.destination_identities);
        let stream = WholeStream::text(text, &options, readable, clock::system_time(), &mut fastrand::Rng::new())?;
        match self.send_whole(stream, &options.destination_identities, |_| {}).await? {
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
        self.send_bytes_with_progress(bytes, options, |_| {}).await
    }

    /// [`send_bytes`](Self::send_bytes) that says how far it is: how many of the bytes are on their way, after each packet of
    /// up to 15,000 bytes, and all of them at the end. Of bytes that are compressed it is about so many.
    ///
    /// # Errors
    ///
    /// [`SendStreamError`].
    pub async fn send_bytes_with_progress(
        &self,
        bytes: &[u8],
        options: ByteStreamOptions,
        progress: impl FnMut(u64) + Send,
    ) -> Result<ByteStreamInfo, SendStreamError> {
        let readable = self.readable(&options.destination_identities);
        let stream = WholeStream::bytes(bytes, &options, readable, clock::system_time(), &mut fastrand::Rng::new())?;
        match self.send_whole(stream, &options.destination_identities, progress).await? {
            StreamInfo::Bytes(info) => Ok(info),
            StreamInfo::Text(_) => Err(StreamError::InvalidHeader.into()),
        }
    }

    /// Begins a text that is written piece by piece.
    ///
    /// Returns when the beginning is on its way. Dropping the future before begins no stream, or ends it early at once.
    ///
    /// # Errors
    ///
    /// [`SendStreamError`].
    pub async fn stream_text(&self, options: TextStreamOptions) -> Result<TextStreamWriter, SendStreamError> {
        let (stream, header) = OutgoingTextStream::open(&options, clock::system_time(), &mut fastrand::Rng::new())?;
        let mut unfinished = Unfinished::new(Arc::clone(&self.shared), Written::Text(stream));
        unfinished.send(vec![header]).await?;
        Ok(TextStreamWriter(unfinished))
    }

    /// Begins bytes that are written piece by piece.
    ///
    /// Returns when the beginning is on its way. Dropping the future before begins no stream, or ends it early at once.
    ///
    /// # Errors
    ///
    /// [`SendStreamError`].
    pub async fn stream_bytes(&self, options: ByteStreamOptions) -> Result<ByteStreamWriter, SendStreamError> {
        let (stream, header) = OutgoingByteStream::open(&options, clock::system_time(), &mut fastrand::Rng::new())?;
        let mut unfinished = Unfinished::new(Arc::clone(&self.shared), Written::Bytes(stream));
        unfinished.send(vec![header]).await?;
        Ok(ByteStreamWriter(unfinished))
    }

    fn readable(&self, destinations: &[crate::names::ParticipantIdentity]) -> Readable {
        Readable::by(&self.shared.participants.borrow(), destinations)
    }

    async fn send_whole(
        &self,
        mut stream: WholeStream,
        destinations: &[crate::names::ParticipantIdentity],
        mut progress: impl FnMut(u64) + Send,
    ) -> Result<StreamInfo, SendStreamError> {
        let mut info = stream.info().clone();
        let id = info.id().to_owned();
        let mut early_end = EarlyEnd { shared: &self.shared, id, destinations, is_open: false };
        // From before its header is sent, since that may be the moment in which this is dropped: an end without a beginning is
        // passed over.
        early_end.is_open = !stream.is_one_packet();
        while let Some(packet) = stream.next() {
            self.shared.send(packet).await?;
            progress(stream.taken());
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
            let _ = self.shared.enqueue(packet, None);
        }
    }
}

/// A stream of ours that is being written; dropped before its end, it ends early.
struct Unfinished {
    shared: Arc<Shared>,
    stream: Option<Written>,
    /// The packet that is in the room's queue: it stays there when a wait for it is given up.
    under_way: Option<Sent>,
    /// Those after it. They are numbered, so that none may be left out.
    unsent: VecDeque<proto::DataPacket>,
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
    fn new(shared: Arc<Shared>, stream: Written) -> Self {
        Self { shared, stream: Some(stream), under_way: None, unsent: VecDeque::new() }
    }

    /// Sends these, after what an earlier call has left.
    async fn send(&mut self, packets: Vec<proto::DataPacket>) -> Result<(), SendStreamError> {
        self.unsent.extend(packets);
        loop {
            if let Some(sent) = &mut self.under_way {
                let result = sent.await;
                self.under_way = None;
                result.map_err(|_| RoomError::Disconnected)??;
            }
            if self.unsent.is_empty() {
                return Ok(());
            }
            let place = self.shared.place().await?;
            if let Some(packet) = self.unsent.pop_front() {
                self.under_way = Some(self.shared.enqueue(packet, Some(place))?);
            }
        }
    }

    async fn close(mut self, attributes: HashMap<String, String>) -> Result<(), SendStreamError> {
        self.send(Vec::new()).await?;
        let Some(stream) = &mut self.stream else { return Err(StreamError::Closed.into()) };
        let trailer = stream.close(None, attributes)?;
        // In the queue it is sent whether this goes on or not, so that there is one end.
        let sent = self.shared.enqueue(trailer, None)?;
        self.stream = None;
        Ok(sent.await.map_err(|_| RoomError::Disconnected)??)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(mut stream) = self.stream.take()
            && let Ok(trailer) = stream.close(Some(CANCELLED), HashMap::new())
        {
            // A room that is over has told its streams' readers.
            let _ = self.shared.enqueue(trailer, None);
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

    /// Sends more text; waits while too much is on its way.
    ///
    /// What is written is of the stream once this is polled: of a future that is dropped, the rest is sent before what is
    /// written next, or before the [end](Self::close).
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
    /// Returns when the end is on its way. Dropping the future before does not keep the stream open: it ends early, or, if all
    /// that was written is on its way, as it should.
    ///
    /// # Errors
    ///
    /// [`SendStreamError`].
    pub async fn close(self) -> Result<(), SendStreamError> {
        self.0.close(HashMap::new()).await
    }

    /// Ends the stream, and says something at its end. For the rest see [`close`](Self::close).
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

    /// Sends more bytes; waits while too much is on its way.
    ///
    /// What is written is of the stream once this is polled: of a future that is dropped, the rest is sent before what is
    /// written next, or before the [end](Self::close).
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
    /// Returns when the end is on its way. Dropping the future before does not keep the stream open: it ends early, or, if all
    /// that was written is on its way, as it should.
    ///
    /// # Errors
    ///
    /// [`SendStreamError`].
    pub async fn close(self) -> Result<(), SendStreamError> {
        self.0.close(HashMap::new()).await
    }
}

impl ByteStreamWriter {
    /// As [`close`](Self::close), and says what was sent.
    pub(crate) async fn finish(self) -> Result<ByteStreamInfo, SendStreamError> {
        let Some(Written::Bytes(stream)) = &self.0.stream else { return Err(StreamError::Closed.into()) };
        let mut info = stream.info().clone();
        info.set_sender(LocalParticipant { shared: Arc::clone(&self.0.shared) }.identity());
        self.close().await?;
        match info {
            StreamInfo::Bytes(info) => Ok(info),
            StreamInfo::Text(_) => Err(StreamError::InvalidHeader.into()),
        }
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
