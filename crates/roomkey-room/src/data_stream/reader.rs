//! What an application reads a stream of somebody else from.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::Stream;

use super::budget::{Budget, Held};
use super::content::Content;
use super::error::StreamError;
use super::incoming::{IncomingEvent, IncomingStreams, StreamKey, attributes_bytes};
use super::info::{ByteStreamInfo, StreamInfo, TextStreamInfo};
use super::limits::StreamLimits;

macro_rules! reader {
    ($(#[$doc:meta])* $reader:ident of $item:ty, with $info:ty, $read_all:literal) => {
        $(#[$doc])*
        ///
        /// As a [`Stream`] it gives the pieces as they came. An error is its last item; what came before the error has been
        /// given. What comes while nobody reads is kept up to
        /// [`StreamLimits::unread_bytes`](crate::StreamLimits::unread_bytes), and up to
        /// [`StreamLimits::unread_bytes_in_all`](crate::StreamLimits::unread_bytes_in_all) of all streams of the room, of which
        /// one sender has a share, beyond which the stream fails with [`StreamError::TooMuchUnread`]. Who drops the reader gets nothing more, and what still
        /// comes is thrown away.
        pub struct $reader {
            info: $info,
            shared: Arc<Shared<$item>>,
            collected: $item,
            /// What the collected bytes take of the room's budget.
            held: Held,
            failure: Option<StreamError>,
        }

        impl $reader {
            /// What the header says.
            pub fn info(&self) -> &$info {
                &self.info
            }

            /// The next piece as it came; `None` after the last one and after an error. Dropping the future loses none.
            ///
            /// # Errors
            ///
            /// Why the stream failed.
            pub async fn next(&mut self) -> Option<Result<$item, StreamError>> {
                futures_util::StreamExt::next(self).await
            }

            #[doc = $read_all]
            ///
            /// Dropping the future loses nothing: the next call goes on where it was. What was taken through the [`Stream`], or
            /// has been given before, is not in it. What is collected counts for
            /// [`StreamLimits::unread_bytes_in_all`](crate::StreamLimits::unread_bytes_in_all) until it is returned.
            ///
            /// # Errors
            ///
            /// Why the stream failed, or [`StreamError::TooLarge`] if it has more than 64 MiB.
            pub async fn read_all(&mut self) -> Result<$item, StreamError> {
                self.read_all_within(COLLECTED_BYTES).await
            }

            /// Like [`Self::read_all`], with a limit of one's own, in bytes.
            ///
            /// # Errors
            ///
            /// Why the stream failed, or [`StreamError::TooLarge`] if it has more than the limit.
            pub async fn read_all_within(&mut self, limit: usize) -> Result<$item, StreamError> {
                self.read_all_with_progress(limit, |_| {}).await
            }

            /// Like [`Self::read_all_within`], and says how far it is: how many bytes have been collected, after each piece.
            ///
            /// # Errors
            ///
            /// As of [`Self::read_all_within`].
            pub async fn read_all_with_progress(
                &mut self,
                limit: usize,
                mut progress: impl FnMut(usize) + Send,
            ) -> Result<$item, StreamError> {
                while let Some(piece) = poll_fn(|cx| self.poll_held(cx)).await {
                    let Ok((piece, mut held)) = piece else { break };
                    if self.collected.len().saturating_add(piece.len()) > limit {
                        self.shared.give_up();
                        self.failure = Some(StreamError::TooLarge { limit });
                        break;
                    }
                    self.collected.append_piece(&piece);
                    self.held.merge(held.split(piece.len()));
                    progress(self.collected.len());
                }
                let collected = std::mem::take(&mut self.collected);
                self.held.clear();
                self.failure.clone().map_or(Ok(collected), Err)
            }

            /// The next piece, with what it takes of the budget.
            fn poll_held(&mut self, cx: &Context<'_>) -> Poll<Option<Result<($item, Held), StreamError>>> {
                let piece = self.shared.poll_piece(cx);
                if let Poll::Ready(Some(Err(error))) = &piece {
                    self.failure = Some(error.clone());
                }
                piece
            }

            /// What the sender said at the end of the stream, by key: `None` until all has been read, and if there was no
            /// trailer. A stream that came in one packet has none.
            pub fn trailer_attributes(&self) -> Option<HashMap<String, String>> {
                let queue = self.shared.lock();
                queue.trailer_attributes.clone().filter(|_| queue.pieces.is_empty())
            }
        }

        impl Stream for $reader {
            type Item = Result<$item, StreamError>;

            fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
                self.poll_held(cx).map_ok(|(piece, _)| piece)
            }
        }

        impl fmt::Debug for $reader {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($reader)).field("info", &self.info).finish_non_exhaustive()
            }
        }

        impl Drop for $reader {
            fn drop(&mut self) {
                self.shared.give_up();
            }
        }
    };
}

reader!(
    /// A text stream of somebody else.
    TextStreamReader of String, with TextStreamInfo, "The whole text, once it has come."
);
reader!(
    /// A byte stream of somebody else.
    ByteStreamReader of Vec<u8>, with ByteStreamInfo, "All bytes, once they have come."
);

/// A stream that has just begun, of either kind.
#[derive(Debug)]
pub(crate) enum StreamReader {
    Text(TextStreamReader),
    Bytes(ByteStreamReader),
}

/// The other ends of all readers.
#[derive(Debug)]
pub(crate) struct OpenReaders {
    unread_bytes: usize,
    budget: Budget,
    sinks: HashMap<StreamKey, Sink>,
}

#[derive(Debug)]
enum Sink {
    Text(Arc<Shared<String>>),
    Bytes(Arc<Shared<Vec<u8>>>),
}

impl OpenReaders {
    /// Readers for which so many bytes are kept.
    pub(crate) fn new(limits: &StreamLimits) -> Self {
        let budget = Budget::new(limits.unread_bytes_in_all);
        Self { unread_bytes: limits.unread_bytes, budget, sinks: HashMap::new() }
    }

    /// Takes what happened to a stream, and gives the reader of one that begins. `streams` is where the event is from: what
    /// nobody reads any more is ignored there.
    ///
    /// Events of streams without a reader have no effect.
    pub(crate) fn handle_event(&mut self, event: IncomingEvent, streams: &mut IncomingStreams) -> Option<StreamReader> {
        match event {
            IncomingEvent::Opened { key, info } => Some(self.open(key, info)),
            IncomingEvent::Chunk { key, content } => {
                let is_read = match (self.sinks.get(&key), content) {
                    (Some(Sink::Text(shared)), Content::Text(text)) => shared.push(text),
                    (Some(Sink::Bytes(shared)), Content::Bytes(bytes)) => shared.push(bytes),
                    (_, Content::Text(_) | Content::Bytes(_)) => false,
                };
                if !is_read {
                    self.sinks.remove(&key);
                    streams.ignore(key);
                }
                None
            }
            IncomingEvent::Closed { key, trailer_attributes, outcome } => {
                match self.sinks.remove(&key) {
                    Some(Sink::Text(shared)) => shared.end(trailer_attributes, outcome),
                    Some(Sink::Bytes(shared)) => shared.end(trailer_attributes, outcome),
                    None => {}
                }
                None
            }
            IncomingEvent::Refused { .. } => None,
        }
    }

    fn open(&mut self, key: StreamKey, info: StreamInfo) -> StreamReader {
        let (held, unread) = {
            let sender = info.sender();
            (self.budget.nothing(sender), self.budget.nothing(sender))
        };
        match info {
            StreamInfo::Text(info) => {
                let shared = Arc::new(Shared::new(self.unread_bytes, unread));
                self.sinks.insert(key, Sink::Text(Arc::clone(&shared)));
                StreamReader::Text(TextStreamReader { info, shared, collected: String::new(), held, failure: None })
            }
            StreamInfo::Bytes(info) => {
                let shared = Arc::new(Shared::new(self.unread_bytes, unread));
                self.sinks.insert(key, Sink::Bytes(Arc::clone(&shared)));
                StreamReader::Bytes(ByteStreamReader { info, shared, collected: Vec::new(), held, failure: None })
            }
        }
    }
}

/// What lies between the room and a reader.
#[derive(Debug)]
struct Shared<T> {
    queue: Mutex<Queue<T>>,
    limit: usize,
}

#[derive(Debug)]
struct Queue<T> {
    pieces: VecDeque<T>,
    /// What the pieces and the attributes of the trailer take of the room's budget.
    unread: Held,
    end: End,
    trailer_attributes: Option<HashMap<String, String>>,
    waker: Option<Waker>,
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    /// More may come.
    Open,
    /// The reader is to be told, once.
    Failed(StreamError),
    /// Nothing more.
    Over,
    /// The reader wants nothing more.
    Unwanted,
}

impl<T: Piece> Shared<T> {
    fn new(limit: usize, unread: Held) -> Self {
        let queue = Queue { pieces: VecDeque::new(), unread, end: End::Open, trailer_attributes: None, waker: None };
        Self { queue: Mutex::new(queue), limit }
    }

    /// Whether the stream is still of interest.
    fn push(&self, piece: T) -> bool {
        let mut queue = self.lock();
        if queue.end != End::Open {
            return false;
        }
        let kept = queue.keep(piece.bytes() + PIECE_BYTES, self.limit);
        let is_kept = kept.is_ok();
        match kept {
            Ok(()) => queue.pieces.push_back(piece),
            Err(error) => queue.end = End::Failed(error),
        }
        wake(queue);
        is_kept
    }

    fn end(&self, trailer_attributes: Option<HashMap<String, String>>, outcome: Result<(), StreamError>) {
        let mut queue = self.lock();
        if queue.end != End::Open {
            return;
        }
        let bytes = trailer_attributes.as_ref().map_or(0, attributes_bytes);
        match queue.keep(bytes, self.limit) {
            Ok(()) => {
                queue.trailer_attributes = trailer_attributes;
                queue.end = outcome.map_or_else(End::Failed, |()| End::Over);
            }
            Err(error) => queue.end = End::Failed(outcome.err().unwrap_or(error)),
        }
        wake(queue);
    }

    fn poll_piece(&self, cx: &Context<'_>) -> Poll<Option<Result<(T, Held), StreamError>>> {
        let mut queue = self.lock();
        if let Some(piece) = queue.pieces.pop_front() {
            let held = queue.unread.split(piece.bytes() + PIECE_BYTES);
            return Poll::Ready(Some(Ok((piece, held))));
        }
        if let End::Failed(error) = &queue.end {
            let error = error.clone();
            queue.end = End::Over;
            return Poll::Ready(Some(Err(error)));
        }
        if queue.end != End::Open {
            return Poll::Ready(None);
        }
        let old = queue.waker.replace(cx.waker().clone());
        drop(queue);
        drop(old);
        Poll::Pending
    }

    fn give_up(&self) {
        let mut queue = self.lock();
        queue.end = End::Unwanted;
        let unread = std::mem::take(&mut queue.pieces);
        queue.unread.clear();
        drop(queue);
        drop(unread);
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Queue<T> {
    /// Counts so many bytes more, if so many may be kept.
    fn keep(&mut self, bytes: usize, limit: usize) -> Result<(), StreamError> {
        if self.unread.bytes().saturating_add(bytes) > limit {
            return Err(StreamError::TooMuchUnread { limit });
        }
        self.unread.grow(bytes).map_err(|limit| StreamError::TooMuchUnread { limit })
    }
}

/// Wakes the reader once the lock is free, since a waker is the application's.
fn wake<T>(mut queue: MutexGuard<'_, Queue<T>>) {
    let waker = queue.waker.take();
    drop(queue);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// What can be counted and joined.
trait Piece {
    fn bytes(&self) -> usize;
    fn append_piece(&mut self, piece: &Self);
}

impl Piece for String {
    fn bytes(&self) -> usize {
        self.len()
    }

    fn append_piece(&mut self, piece: &Self) {
        self.push_str(piece);
    }
}

impl Piece for Vec<u8> {
    fn bytes(&self) -> usize {
        self.len()
    }

    fn append_piece(&mut self, piece: &Self) {
        self.extend_from_slice(piece);
    }
}

/// What a piece costs beside its bytes, so that many small ones are counted for what they are.
const PIECE_BYTES: usize = 64;

const COLLECTED_BYTES: usize = 64 * 1024 * 1024;

#[cfg(test)]
mod tests;
