//! Other ways for messages to come and to go.

use std::error::Error;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use roomkey_room::Room;
use tokio::sync::mpsc;

use crate::core::{Input, OutgoingText, RoomId, RoomInput};
use crate::error::{ReceiveError, SendError};
use crate::message::Message;
use crate::send_options::SendOptions;
use crate::session::Boxed;

/// A message that a [sender](crate::SessionBuilder::sender) of the application's carries.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutgoingMessage {
    /// What its [id](crate::MessageId) has as its segment.
    pub id: Arc<str>,
    /// The text.
    pub text: Arc<str>,
    /// What was said with it; of [`topic`](SendOptions::topic) there is none.
    pub options: SendOptions,
    /// The number of the [edit](crate::Session::edit) that it is of the message with this id; 0 of a new message.
    pub version: i32,
}

/// What the application has plugged in.
#[derive(Clone, Default)]
pub(crate) struct PlugIns {
    receivers: Vec<Receiver>,
    sender: Option<Sender>,
}

type Receiver = Arc<dyn Fn(Room) -> BoxStream<'static, Message> + Send + Sync>;
type Sender = Arc<dyn Fn(Room, OutgoingMessage) -> Boxed<Result<(), SendError>> + Send + Sync>;

impl PlugIns {
    pub(crate) fn add_receiver<F, S>(&mut self, receiver: F)
    where
        F: Fn(Room) -> S + Send + Sync + 'static,
        S: Stream<Item = Message> + Send + 'static,
    {
        self.receivers.push(Arc::new(move |room| receiver(room).boxed()));
    }

    pub(crate) fn set_sender<F, R, E>(&mut self, sender: F)
    where
        F: Fn(Room, OutgoingMessage) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + Send,
    {
        self.sender = Some(Arc::new(move |room, message| {
            let sending = sender(room, message);
            Box::pin(async move { sending.await.map_err(|error| SendError::Sender(error.into().to_string().into())) })
        }));
    }

    /// Runs all receivers for a room until each has ended; one that panics says so. They are asked for their streams at once, so
    /// that they hear of everything.
    pub(crate) fn receive(
        &self,
        room: &Room,
        id: RoomId,
        inputs: &mpsc::Sender<Input>,
    ) -> Vec<impl Future<Output = ()> + Send + 'static> {
        let run = |receiver: &Receiver| {
            let stream = catch_unwind(AssertUnwindSafe(|| receiver(room.clone())));
            let inputs = inputs.clone();
            async move {
                let has_panicked = match stream {
                    Ok(stream) => AssertUnwindSafe(put_all(stream, id, &inputs)).catch_unwind().await.is_err(),
                    Err(_) => true,
                };
                if has_panicked {
                    let failed = RoomInput::NotReceived(ReceiveError::Receiver);
                    // A session that is gone wants to hear nothing.
                    let _ = inputs.send(Input::Room(id, failed)).await;
                }
            }
        };
        self.receivers.iter().map(run).collect()
    }

    /// Sends a chat message in the application's way, if it has one.
    pub(crate) fn send(&self, room: &Room, text: &OutgoingText) -> Option<Boxed<Result<(), SendError>>> {
        let (sender, room) = (Arc::clone(self.sender.as_ref()?), room.clone());
        let message = OutgoingMessage {
            id: Arc::clone(&text.stream_id),
            text: Arc::clone(&text.text),
            options: text.options.clone(),
            version: text.edits.as_ref().map_or(0, |(_, version)| *version),
        };
        let sending = AssertUnwindSafe(async move { sender(room, message).await }).catch_unwind();
        Some(Box::pin(async { sending.await.unwrap_or_else(|_| Err(SendError::Sender("it panicked".into()))) }))
    }
}

/// Waits for the session where that has much to do.
async fn put_all(mut messages: BoxStream<'static, Message>, id: RoomId, inputs: &mpsc::Sender<Input>) {
    while let Some(message) = messages.next().await {
        if inputs.send(Input::Room(id, RoomInput::Received(Box::new(message)))).await.is_err() {
            return;
        }
    }
}
