//! Text streams of topics that the session itself does not read.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::Stream;
use roomkey_room::TextStreamReader;
use tokio::sync::mpsc;

/// The text streams of one topic, in each room of the session, in the order in which they are opened.
///
/// 64 wait at most; those that come beyond that are not read by anybody. It ends with the session, or when the same topic is
/// asked for again.
pub struct TextStreams(mpsc::Receiver<TextStreamReader>);

impl TextStreams {
    /// The next one; `None` once there will be no more. Dropping the future loses none.
    pub async fn next(&mut self) -> Option<TextStreamReader> {
        self.0.recv().await
    }
}

impl Stream for TextStreams {
    type Item = TextStreamReader;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<TextStreamReader>> {
        self.0.poll_recv(cx)
    }
}

impl fmt::Debug for TextStreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextStreams").finish_non_exhaustive()
    }
}

/// Who reads which topic.
#[derive(Default)]
pub(crate) struct Topics(Mutex<HashMap<String, mpsc::Sender<TextStreamReader>>>);

impl Topics {
    pub(crate) fn listen(&self, topic: String) -> TextStreams {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        let mut topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        topics.retain(|_, sender| !sender.is_closed());
        topics.insert(topic, sender);
        TextStreams(receiver)
    }

    pub(crate) fn is_wanted(&self, topic: &str) -> bool {
        let topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        topics.get(topic).is_some_and(|sender| !sender.is_closed())
    }

    pub(crate) fn give(&self, topic: &str, reader: TextStreamReader) {
        let topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if topics.get(topic).is_some_and(|sender| sender.try_send(reader).is_err()) {
            tracing::warn!(topic, "a text stream is dropped since nobody reads them");
        }
    }

    pub(crate) fn end(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

const MAX_WAITING: usize = 64;
