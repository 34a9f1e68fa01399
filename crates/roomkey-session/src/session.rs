//! The session that applications hold.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use roomkey_room::{
    EncryptionOptions, ParticipantIdentity, ParticipantState, Participants, RemoteTrack, Room, RoomBuilder, RoomInfo,
    RpcRequest, TokenTimes,
};
use roomkey_source::{FetchError, FixedTokenSource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot, watch};

use crate::agent_audio::AgentAudio;
use crate::agent_state::{AgentFailure, AgentSnapshot, AgentState};
use crate::builder::SessionBuilder;
use crate::call_agent::CallAgent;
use crate::core::StartId;
use crate::error::{AgentError, NoEncryption, SessionError, StartError};
use crate::event_stream::EventStream;
use crate::message::{Message, MessageEvent, MessageId, Status};
use crate::microphone_switch::MicrophoneSwitch;
use crate::options::Settings;
use crate::plug_ins::PlugIns;
use crate::room_link::{JoinRoom, Rooms, WarmUp};
use crate::rpc::{CallError, Methods, Rpc};
use crate::send_message::SendMessage;
use crate::session_event::SessionEvent;
use crate::session_metrics::SessionMetrics;
use crate::session_state::{EndReason, SessionState};
use crate::session_task::{Request, SessionTask, Shown};
use crate::start_options::StartOptions;
use crate::text_streams::TextStreams;
use crate::track_ref::{TrackFilter, TrackRef};
use crate::transcript_filter::TranscriptFilter;
use crate::transfer::Transfer;

/// A token source and the rooms that its tokens open: started and ended any number of times, with one list of messages and
/// one agent to look at.
///
/// It is a cheap handle: all clones are the same session. When the last one is dropped, the room is left. One task does the
/// work. What a session shows is in [`watch`] channels that outlive its rooms: they have the last value, can be waited on, and
/// a slow reader holds up nobody. What must not be missed comes as an [`EventStream`].
///
/// Each start has a token of its own: a token that dispatches an agent is worth one room, and nobody comes to a second one.
/// It is fetched at the start, or before by [`prepare`](Self::prepare), never at an end. A server's refusal of a token that
/// was held (by the source's cache, a store, or since `prepare`) is followed by one more fetch.
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
}

struct Shared {
    requests: mpsc::UnboundedSender<Request>,
    shown: Arc<Shown>,
    methods: Arc<Methods>,
    warm_up: WarmUp,
    agent_timeout: Duration,
    last_id: AtomicU64,
}

impl Session {
    /// A session over this source, with the defaults of [`builder`](Self::builder).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn of(source: FixedTokenSource) -> Self {
        Self::builder(source).build()
    }

    /// A session over this source, in detail.
    pub fn builder(source: FixedTokenSource) -> SessionBuilder {
        SessionBuilder::new(source)
    }

    pub(crate) fn new(settings: Settings, source: FixedTokenSource, room: RoomBuilder, plug_ins: PlugIns) -> Self {
        let shown = Arc::new(Shown::new());
        let is_encrypted = room.encryption_options().map(EncryptionOptions::is_enabled);
        shown.encrypted.send_replace(is_encrypted);
        let methods = Arc::new(Methods::default());
        let rooms = Rooms {
            builder: room,
            shown: Arc::clone(&shown.room),
            methods: Arc::clone(&methods),
            topics: Arc::clone(&shown.topics),
            transfers: Arc::clone(&shown.transfers),
            plug_ins: Arc::new(plug_ins),
            muted: shown.muted.subscribe(),
            encrypted: shown.encrypted.subscribe(),
        };
        Self::with(settings, source, rooms, shown, methods)
    }

    pub(crate) fn with(
        settings: Settings,
        source: FixedTokenSource,
        rooms: impl JoinRoom,
        shown: Arc<Shown>,
        methods: Arc<Methods>,
    ) -> Self {
        let (requests, requests_of_task) = mpsc::unbounded_channel();
        let agent_timeout = settings.agent_timeout;
        let warm_up = rooms.warm_up();
        let task = SessionTask::new(settings, source, rooms, Arc::clone(&shown), requests_of_task);
        // It ends when the last handle is dropped, which is what holds the requests.
        tokio::spawn(task.run());
        let last_id = AtomicU64::new(0);
        Self { shared: Arc::new(Shared { requests, shown, methods, warm_up, agent_timeout, last_id }) }
    }

    /// Fetches a token, joins its room and publishes what the options say.
    ///
    /// It ends: with the room, or with the agent's readiness where the options say so, and at most after the options' timeout
    /// and the agent's. What goes wrong is in [`error`](Self::error) too. A microphone or another track that can't be
    /// published does not end the session; [`error`](Self::error) says so. A session that runs is not started again: end it
    /// first. One that is just being left is waited for.
    ///
    /// Dropping the future before it is done gives the start up, as [`end`](Self::end) does.
    ///
    /// # Errors
    ///
    /// [`StartError`]. After [`StartError::Agent`] the room is there; after the others it is not.
    pub async fn start(&self, options: StartOptions) -> Result<(), StartError> {
        let start = self.next_id();
        let (reply, answer) = oneshot::channel();
        let plan = options.plan();
        self.request(Request::Start { start, plan, media: options.into_media(), reply });
        let unfinished = Unfinished { session: self, start, is_done: false };
        let result = answer.await.unwrap_or(Err(StartError::Cancelled));
        unfinished.finish();
        result
    }

    /// Ends the session: a start under way is cancelled at once, the room is left, and what waits to be sent fails. Messages
    /// stay. Returns when the room is left, in 3 s at most; a session that is not started has ended already.
    ///
    /// Dropping the future does not stay in the room.
    pub async fn end(&self) {
        let (reply, answer) = oneshot::channel();
        self.request(Request::End { reply });
        // A task that is gone has left the room.
        let _ = answer.await;
    }

    /// Fetches the token for the next start, and [prepares](RoomBuilder::prepare_connection) the connection to its server, so
    /// that the start takes less time: when the user is likely to start, before they do. A token that has expired by then is
    /// fetched anew. Does nothing where a token is prepared, or the session started.
    ///
    /// The token is prepared when it is there; what follows for the connection takes 5 s at most, and does not fail. A start need
    /// not wait for this. Dropping the future does not stop the fetch, and prepares no connection.
    ///
    /// # Errors
    ///
    /// As the source's.
    pub async fn prepare(&self) -> Result<(), FetchError> {
        let (reply, answer) = oneshot::channel();
        self.request(Request::Prepare { reply });
        // A task that is gone prepares nothing and needs nothing.
        if let Some(credentials) = answer.await.unwrap_or(Ok(None))? {
            (self.shared.warm_up)(credentials).await;
        }
        Ok(())
    }

    /// Takes tokens from this source from the next fetch on. What was prepared is forgotten, unless the source is the same
    /// one with equal options.
    pub fn set_token_source(&self, source: FixedTokenSource) {
        self.request(Request::SetSource(source));
    }

    /// How far the session is.
    pub fn state(&self) -> watch::Receiver<SessionState> {
        self.shared.shown.state.subscribe()
    }

    /// Whether the session has a room, be it one that is reconnecting.
    pub fn is_connected(&self) -> bool {
        self.shared.shown.state.borrow().is_connected()
    }

    /// Waits until the session has a room that it is connected to, and not one that it reconnects to. It ends when the session
    /// does: at once if it is not started.
    ///
    /// Dropping the future changes nothing.
    ///
    /// # Errors
    ///
    /// Why the session has no room; `None` if it was never started.
    pub async fn connected(&self) -> Result<(), Option<EndReason>> {
        let mut state = self.state();
        let is_over = |state: &SessionState| *state == SessionState::Connected || state.is_disconnected();
        match state.wait_for(is_over).await.map(|state| *state) {
            Ok(SessionState::Disconnected(reason)) => Err(reason),
            Ok(_) => Ok(()),
            // Its task is gone.
            Err(_) => Err(Some(EndReason::ClientInitiated)),
        }
    }

    /// Waits until the session has no room, and joins none: at once if it is not started. Gives why; `None` if it was never
    /// started.
    ///
    /// It takes as long as the session. Dropping the future changes nothing.
    pub async fn disconnected(&self) -> Option<EndReason> {
        let mut state = self.state();
        match state.wait_for(|state| state.is_disconnected()).await.map(|state| *state) {
            Ok(SessionState::Disconnected(reason)) => reason,
            Ok(_) | Err(_) => Some(EndReason::ClientInitiated),
        }
    }

    /// What went wrong last; `None` once it is [dismissed](Self::dismiss_error), and from the next start on.
    pub fn error(&self) -> watch::Receiver<Option<Arc<SessionError>>> {
        self.shared.shown.error.subscribe()
    }

    /// Forgets what went wrong.
    pub fn dismiss_error(&self) {
        self.request(Request::DismissError);
    }

    /// The agent, now and later.
    pub fn agent(&self) -> watch::Receiver<Arc<AgentSnapshot>> {
        self.shared.shown.agent.subscribe()
    }

    /// The track that the agent is heard in, now and later, whichever agent and room that is:
    /// `while let Some(track) = audio.next().await { … track.audio_stream(…) }`.
    pub fn agent_audio(&self) -> AgentAudio {
        AgentAudio::new(self.agent(), self.shared.shown.room.room.subscribe())
    }

    /// Each state of the agent from now on, in order.
    pub fn agent_states(&self) -> EventStream<AgentState> {
        self.shared.shown.agent_states.listen()
    }

    /// Waits until the agent is at work, for the agent timeout at most.
    ///
    /// Dropping the future changes nothing.
    ///
    /// # Errors
    ///
    /// [`AgentError::Failed`] if the agent is given up, [`AgentError::Ended`] if the session is not started or ends.
    pub async fn agent_ready(&self) -> Result<Arc<AgentSnapshot>, AgentError> {
        self.agent_that(|agent| agent.state.is_connected().then(|| Arc::clone(agent))).await
    }

    /// Waits until what the user says reaches the agent, now or [later](AgentState::Buffering), for the agent timeout at most.
    ///
    /// Dropping the future changes nothing.
    ///
    /// # Errors
    ///
    /// As of [`agent_ready`](Self::agent_ready).
    pub async fn agent_can_listen(&self) -> Result<Arc<AgentSnapshot>, AgentError> {
        self.agent_that(|agent| agent.state.can_listen().then(|| Arc::clone(agent))).await
    }

    /// Waits until the agent is [finished](AgentState::is_finished): given up, in which case it is said why, or there is no
    /// session any more, or there was none. One that is given up may come after all.
    ///
    /// It takes as long as the agent stays, and ends with the session. Dropping the future changes nothing.
    pub async fn agent_finished(&self) -> Option<AgentFailure> {
        let mut agent = self.agent();
        let finished = Arc::clone(&*agent.wait_for(|agent| agent.state.is_finished()).await.ok()?);
        if let AgentState::Failed(failure) = &finished.state { Some(*failure) } else { None }
    }

    /// Waits until the agent, or who [publishes for it](AgentSnapshot::worker), has a camera track, for the agent timeout at
    /// most; it need not be subscribed.
    ///
    /// Dropping the future changes nothing.
    ///
    /// # Errors
    ///
    /// As of [`agent_ready`](Self::agent_ready), and [`AgentError::NoTrack`] if there is an agent and no such track.
    pub async fn agent_camera(&self) -> Result<TrackRef, AgentError> {
        self.agent_that(|agent| agent.video.clone()).await.map_err(AgentError::without_track)
    }

    /// [`agent_camera`](Self::agent_camera) for the track that the agent is heard in. To hear it in whatever room, see
    /// [`agent_audio`](Self::agent_audio).
    ///
    /// # Errors
    ///
    /// As of [`agent_camera`](Self::agent_camera).
    pub async fn agent_microphone(&self) -> Result<TrackRef, AgentError> {
        self.agent_that(|agent| agent.audio.clone()).await.map_err(AgentError::without_track)
    }

    /// The messages in the order in which they were begun, with all that is kept of earlier rooms.
    pub fn messages(&self) -> watch::Receiver<Arc<[Arc<Message>]>> {
        self.shared.shown.messages.subscribe()
    }

    /// The transcripts that a filter lets through, now and later, in the order of [`messages`](Self::messages):
    /// `session.transcripts(TranscriptFilter::all().participant("alice"))`.
    pub fn transcripts(&self, filter: TranscriptFilter) -> watch::Receiver<Arc<[Arc<Message>]>> {
        let list = watch::Sender::new(filter.list(&self.shared.shown.messages.borrow()));
        let receiver = list.subscribe();
        self.request(Request::Transcripts { filter, list });
        receiver
    }

    /// What becomes of messages from now on.
    pub fn message_events(&self) -> EventStream<MessageEvent> {
        self.shared.shown.message_events.listen()
    }

    /// Writes to the agent and the room: `session.send("hi").await`. See [`SendMessage`] for what can be said beside it.
    pub fn send(&self, text: impl Into<Arc<str>>) -> SendMessage {
        SendMessage::new(self.clone(), text.into())
    }

    /// Writes a message of this client's otherwise: `session.edit(&message.id, "hi there").await`.
    ///
    /// One that waits to be sent is changed where it waits. One that was sent is replaced for those who got it, by a chat
    /// stream of the same id whose header says `UPDATE` and the number of the edit, which is how LiveKit's components read an
    /// edit (components-js, `packages/core/src/components/chat.ts`: the same id of the same sender). It goes to whom the message
    /// went, with its attributes, unless [`to`](SendMessage::to) and [`attribute`](SendMessage::attribute) say otherwise, and in
    /// its order among what is sent. The message changes in [`messages`](Self::messages) when the edit is sent, not before:
    /// until then others have the old text. Files stay, unless others are attached; LiveKit's components drop those of a message
    /// that is edited without any.
    ///
    /// Awaiting gives the message as it is then; dropping that future does not take the edit back.
    ///
    /// # Errors
    ///
    /// As of [`send`](Self::send), and [`SendError::NotEditable`](crate::SendError::NotEditable) if there is no such message, it is
    /// not one that this client wrote, it was not sent, or the text is empty. An edit of a message that then fails to be sent fails with it.
    pub fn edit(&self, id: &MessageId, text: impl Into<Arc<str>>) -> SendMessage {
        self.send(text).edit(id)
    }

    /// The files of messages that are being sent or received, and how far they are: for a bar beside the
    /// [attachment](crate::Attachment) of that id. A file is there from the beginning of its stream to its end; what became of it
    /// is in its message. It is told about a hundred times of each, and a slow reader sees the last.
    pub fn transfers(&self) -> watch::Receiver<Arc<[Transfer]>> {
        self.shared.shown.transfers.watch()
    }

    /// Whether a message of this client's waits to be sent, or is on its way.
    pub fn is_sending(&self) -> bool {
        self.shared.shown.messages.borrow().iter().any(|message| message.status == Status::Pending)
    }

    /// Adds a message that came in some other way, or changes the one of its id: for a receiver of one's own, of a topic of
    /// [`text_streams`](Self::text_streams), say. A new one stands after those that are there. The status of a message that is
    /// settled stays.
    pub fn put_message(&self, message: Message) {
        self.request(Request::PutMessage(Box::new(message)));
    }

    /// Puts messages of an earlier time before those that are there. Those whose id is there are left out.
    pub fn restore_history(&self, messages: Vec<Message>) {
        self.request(Request::RestoreHistory(messages));
    }

    /// Forgets all messages.
    pub fn clear_history(&self) {
        self.request(Request::ClearHistory);
    }

    /// The tracks that a filter lets through, now and later: this client's first, then those of the others in the order in
    /// which they came. The list changes with whatever its participants do.
    pub fn tracks(&self, filter: TrackFilter) -> watch::Receiver<Arc<[TrackRef]>> {
        let list = watch::Sender::new(crate::core::tracks::list(&self.shared.shown.participants.borrow(), &filter));
        let receiver = list.subscribe();
        self.request(Request::Tracks { filter, list });
        receiver
    }

    /// What comes in of a track of somebody else's, to hear or see it; `None` of one that is not received now.
    pub fn remote_track(&self, track: &TrackRef) -> Option<RemoteTrack> {
        self.room()?.track(&track.publication.as_ref()?.sid)
    }

    /// Everybody in the room, now and later; nobody while there is no room.
    pub fn participants(&self) -> watch::Receiver<Arc<Participants>> {
        self.shared.shown.participants.subscribe()
    }

    /// To mute the microphone and unmute it, in whatever room the session has.
    pub fn microphone(&self) -> MicrophoneSwitch {
        MicrophoneSwitch::new(self.clone())
    }

    /// Encrypts what this client sends from now on, or does not, in the room that there is and in those to come. See
    /// [`Room::set_encryption_enabled`](roomkey_room::Room::set_encryption_enabled).
    ///
    /// # Errors
    ///
    /// [`NoEncryption`] if the session was built without [`encryption`](SessionBuilder::encryption).
    pub fn set_encryption_enabled(&self, enabled: bool) -> Result<(), NoEncryption> {
        let mut is_configured = false;
        self.shared.shown.encrypted.send_if_modified(|now| {
            is_configured = now.is_some();
            is_configured && now.replace(enabled) != Some(enabled)
        });
        if is_configured { Ok(()) } else { Err(NoEncryption) }
    }

    /// Whether what this client sends is encrypted.
    pub fn is_encryption_enabled(&self) -> bool {
        self.shared.shown.encrypted.borrow().unwrap_or(false)
    }

    /// What happens from now on.
    pub fn events(&self) -> EventStream<SessionEvent> {
        self.shared.shown.events.listen()
    }

    /// How long the phases of the last start took.
    pub fn metrics(&self) -> watch::Receiver<SessionMetrics> {
        self.shared.shown.metrics.subscribe()
    }

    /// Text streams of a topic other than `lk.chat` and `lk.transcription`, whose streams are messages.
    pub fn text_streams(&self, topic: impl Into<String>) -> TextStreams {
        self.shared.shown.topics.listen(topic.into())
    }

    /// To register methods that others can call, in each room of the session.
    pub fn rpc(&self) -> Rpc {
        Rpc::new(&self.shared.methods, self.agent())
    }

    /// Calls a method of the agent's, once the agent can be sent data:
    /// `session.call_agent("ping", "").timeout(Duration::from_secs(5)).await`. See [`CallAgent`] for times, errors and what
    /// dropping it does.
    pub fn call_agent(&self, method: impl Into<String>, payload: impl Into<String>) -> CallAgent {
        CallAgent::new(self.clone(), method.into(), payload.into())
    }

    /// [`call_agent`](Self::call_agent) for a method that takes and gives JSON:
    /// `let mode: Mode = session.call_agent_json("setMode", &mode).await?`.
    pub fn call_agent_json<T: DeserializeOwned>(
        &self,
        method: impl Into<String>,
        payload: &(impl Serialize + ?Sized),
    ) -> CallAgent<T> {
        CallAgent::json(self.clone(), method.into(), payload)
    }

    /// The agent that can be sent data, once there is one.
    pub(crate) async fn active_agent(&self) -> Result<ParticipantIdentity, CallError> {
        let active = |agent: &Arc<AgentSnapshot>| {
            let agent = agent.participant.as_ref().filter(|agent| agent.state == ParticipantState::Active)?;
            Some(agent.identity.clone())
        };
        self.agent_that(active).await.map_err(|error| match error {
            AgentError::Failed(failure) => CallError::NoAgent(failure),
            AgentError::Ended | AgentError::NoTrack => CallError::NotConnected,
        })
    }

    /// Calls a method of anybody's.
    ///
    /// Dropping the future does not call it back.
    ///
    /// # Errors
    ///
    /// [`CallError::NotConnected`], [`CallError::Rpc`].
    pub async fn call(&self, request: RpcRequest) -> Result<String, CallError> {
        let (reply, answer) = oneshot::channel();
        self.request(Request::Call { request, reply });
        answer.await.map_err(|_| CallError::NotConnected)?.map_err(CallError::Rpc)
    }

    /// The network is back, or another one: reconnects at once rather than when the loss is noticed.
    pub fn reconnect_now(&self) {
        self.request(Request::ReconnectNow);
    }

    /// What the server says of the room, now and later; nothing while there is no room.
    pub fn room_info(&self) -> watch::Receiver<Arc<RoomInfo>> {
        self.shared.shown.room.info.subscribe()
    }

    /// From when until when the token is good that the room is joined, or come back to, with: now, and whenever the server
    /// sends a newer one. `None` while no room is joined or being joined. The token itself is not shown.
    pub fn token(&self) -> watch::Receiver<Option<TokenTimes>> {
        self.shared.shown.room.token.subscribe()
    }

    /// The room, for what a session does not do; `None` while there is none. A handle that is kept keeps the room's memory,
    /// not the stay in it: the session leaves it.
    pub fn room(&self) -> Option<Room> {
        self.shared.shown.room.room.borrow().clone()
    }

    pub(crate) fn shown(&self) -> &Shown {
        &self.shared.shown
    }

    pub(crate) fn request(&self, request: Request) {
        // The task lives as long as a handle, unless the runtime ends; whoever waits hears of that.
        let _ = self.shared.requests.send(request);
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.shared.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    async fn agent_that<T>(&self, find: impl Fn(&Arc<AgentSnapshot>) -> Option<T>) -> Result<T, AgentError> {
        let mut agent = self.agent();
        let mut state = self.state();
        let found = async {
            loop {
                let snapshot = Arc::clone(&agent.borrow_and_update());
                if let Some(found) = find(&snapshot) {
                    return Ok(found);
                }
                if let AgentState::Failed(failure) = &snapshot.state {
                    return Err(AgentError::Failed(*failure));
                }
                if state.borrow_and_update().is_disconnected() {
                    return Err(AgentError::Ended);
                }
                tokio::select! {
                    changed = agent.changed() => changed,
                    changed = state.changed() => changed,
                }
                .map_err(|_| AgentError::Ended)?;
            }
        };
        let waited = tokio::time::timeout(self.shared.agent_timeout, found).await;
        waited.unwrap_or_else(|_| {
            let has_come = self.shared.shown.agent.borrow().participant.is_some();
            let failure = if has_come { AgentFailure::InitTimeout } else { AgentFailure::JoinTimeout };
            Err(AgentError::Failed(failure))
        })
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("state", &*self.shared.shown.state.borrow()).finish_non_exhaustive()
    }
}

/// A start that is given up if this is dropped before its end.
struct Unfinished<'a> {
    session: &'a Session,
    start: StartId,
    is_done: bool,
}

impl Unfinished<'_> {
    fn finish(mut self) {
        self.is_done = true;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.session.request(Request::CancelStart(self.start));
        }
    }
}

/// A future that is boxed, as `IntoFuture` needs to name it.
pub(crate) type Boxed<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;
