//! The settings of a session.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use futures_util::Stream;
use roomkey_room::{EncryptionOptions, Room, RoomBuilder};
use roomkey_source::FixedTokenSource;

use crate::agent_expectation::AgentExpectation;
use crate::message::Message;
use crate::options::{RestartPolicy, SendPolicy, Settings};
use crate::plug_ins::{OutgoingMessage, PlugIns};
use crate::session::Session;

/// Sets up a [`Session`]; from [`Session::builder`].
#[derive(Clone)]
#[must_use]
pub struct SessionBuilder {
    source: FixedTokenSource,
    room: RoomBuilder,
    encryption: Option<EncryptionOptions>,
    settings: Settings,
    plug_ins: PlugIns,
}

impl SessionBuilder {
    pub(crate) fn new(source: FixedTokenSource) -> Self {
        let settings = Settings { seed: fastrand::u64(..), ..Settings::default() };
        Self { source, room: RoomBuilder::default(), encryption: None, settings, plug_ins: PlugIns::default() }
    }

    /// Sets which agent is waited for.
    pub fn agent(mut self, expectation: AgentExpectation) -> Self {
        self.settings.expectation = expectation;
        self
    }

    /// Sets how long an agent may take to come and to begin its work, from when the room is joined: 20 s unless set.
    pub fn agent_timeout(mut self, timeout: Duration) -> Self {
        self.settings.agent_timeout = timeout;
        self
    }

    /// Sets how long an agent that left may be away before it is given up: 3 s unless set.
    pub fn leave_grace(mut self, grace: Duration) -> Self {
        self.settings.leave_grace = grace;
        self
    }

    /// Sets how rooms are joined.
    pub fn room_options(mut self, options: RoomBuilder) -> Self {
        self.room = options;
        self
    }

    /// Sets how many transcripts without an expression the agent begins until the [expression](crate::AgentSnapshot::expression)
    /// before them is over: 2 unless set. With 0 it holds until there is another.
    pub fn expression_turns(mut self, turns: usize) -> Self {
        self.settings.expression_turns = turns;
        self
    }

    /// Encrypts rooms end to end, with these keys; see [`RoomBuilder::encryption`]. The agent and all others need the keys
    /// too. [`Session::set_encryption_enabled`] turns it off and on.
    pub fn encryption(mut self, options: EncryptionOptions) -> Self {
        self.encryption = Some(options);
        self
    }

    /// Sets how many messages are kept, 1,000 unless set; beyond that the first ones go.
    pub fn history_limit(mut self, messages: usize) -> Self {
        self.settings.history_limit = messages;
        self
    }

    /// Sets whether messages wait for the agent.
    pub fn send_policy(mut self, policy: SendPolicy) -> Self {
        self.settings.send_policy = policy;
        self
    }

    /// Sets whether a room that is lost is followed by another one.
    pub fn restart_policy(mut self, policy: RestartPolicy) -> Self {
        self.settings.restart = policy;
        self
    }

    /// Adds another way for messages to come: in each room that is joined it is asked for a stream of messages, which are
    /// among the session's from then on. Can be called for several.
    ///
    /// It may listen to whatever the room has from then on: its [events](Room::events), with data of a topic and
    /// [text streams](roomkey_room::RoomEvent::TextStreamOpened) among them that the session does not read, or a participant's
    /// attributes. A message stands where it was when its id came first; one of an id that this receiver or another one has given
    /// is that message as it is now, so that a status of [`Streaming`](crate::Status::Streaming) may become
    /// [`Final`](crate::Status::Final) and what is settled may be edited. What this client writes, and what is under way in
    /// `lk.chat` and `lk.transcription`, is not changed by it.
    ///
    /// A message has 1 MiB of text and attributes at most, and 16 files of 16 MiB; one that has more is left out, which
    /// [`error`](Session::error) says, as it says that a receiver panicked. Neither ends the session. A session that has much to do
    /// lets a receiver wait. The stream is dropped with its room.
    ///
    /// For messages that do not depend on a room there is [`put_message`](Session::put_message).
    pub fn receiver<F, S>(mut self, receiver: F) -> Self
    where
        F: Fn(Room) -> S + Send + Sync + 'static,
        S: Stream<Item = Message> + Send + 'static,
    {
        self.plug_ins.add_receiver(receiver);
        self
    }

    /// Sends what is given to [`Session::send`] and [`Session::edit`] in another way than by the topic `lk.chat`. What is sent to
    /// another [topic](crate::SendMessage::topic) is still sent there.
    ///
    /// The session does the rest as without it: the message is shown at once, waits for the agent where the
    /// [policy](Self::send_policy) says so, one is sent after the other, and it is `Sent` when the future is done. An error or a
    /// panic is [`SendError::Sender`](crate::SendError::Sender) of this message, and the next one is sent. A future that does not
    /// end holds up those behind it until the room ends, with which it is dropped.
    pub fn sender<F, R, E>(mut self, sender: F) -> Self
    where
        F: Fn(Room, OutgoingMessage) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + Send,
    {
        self.plug_ins.set_sender(sender);
        self
    }

    /// The session: no token is fetched and no room joined until it is started.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, in which the session has its task. The runtime needs time and network.
    pub fn build(self) -> Session {
        let room = match self.encryption {
            Some(encryption) => self.room.encryption(encryption),
            None => self.room,
        };
        Session::new(self.settings, self.source, room, self.plug_ins)
    }
}

impl fmt::Debug for SessionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}
