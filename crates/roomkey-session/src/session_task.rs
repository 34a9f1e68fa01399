//! The task of a session: it owns the core, and does what that decides.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use roomkey_room::{Recording, RpcError, RpcRequest};
use roomkey_source::{Credentials, FetchError, FixedTokenSource};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::agent_state::{AgentSnapshot, AgentState};
use crate::clock;
use crate::core::{
    Core, EndId, Fetch, FetchId, Input, OutgoingText, Output, PreconnectOutput, PrepareId, RoomId, SendId, StartId,
    StartPlan, TokenOrigin, tracks,
};
use crate::error::{SendError, SessionError, StartError};
use crate::event_stream::Broadcast;
use crate::message::{Message, MessageEvent};
use crate::options::Settings;
use crate::room_link::{JoinRoom, ShownRoom, ToRoom};
use crate::session_event::SessionEvent;
use crate::session_metrics::SessionMetrics;
use crate::session_state::SessionState;
use crate::start_options::StartMedia;
use crate::text_streams::Topics;
use crate::track_ref::{TrackFilter, TrackRef};
use crate::transcript_filter::{self, TranscriptFilter};
use crate::transfer::Transfers;

/// Messages in their order.
pub(crate) type MessageList = Arc<[Arc<Message>]>;

/// What handles ask of the task.
pub(crate) enum Request {
    Start {
        start: StartId,
        plan: StartPlan,
        media: StartMedia,
        reply: oneshot::Sender<Result<(), StartError>>,
    },
    CancelStart(StartId),
    End {
        reply: oneshot::Sender<()>,
    },
    Prepare {
        reply: oneshot::Sender<Result<Option<Credentials>, FetchError>>,
    },
    SetSource(FixedTokenSource),
    Send {
        text: OutgoingText,
        reply: oneshot::Sender<Result<(), SendError>>,
    },
    PutMessage(Box<Message>),
    RestoreHistory(Vec<Message>),
    ClearHistory,
    DismissError,
    ReconnectNow,
    /// The user wants the microphone muted, or no longer.
    MuteChanged,
    Tracks {
        filter: TrackFilter,
        list: watch::Sender<Arc<[TrackRef]>>,
    },
    Transcripts {
        filter: TranscriptFilter,
        list: watch::Sender<MessageList>,
    },
    Call {
        request: RpcRequest,
        reply: oneshot::Sender<Result<String, RpcError>>,
    },
}

/// What the task shows to handles; it outlives rooms.
pub(crate) struct Shown {
    pub(crate) state: watch::Sender<SessionState>,
    pub(crate) error: watch::Sender<Option<Arc<SessionError>>>,
    pub(crate) agent: watch::Sender<Arc<AgentSnapshot>>,
    pub(crate) messages: watch::Sender<MessageList>,
    pub(crate) participants: watch::Sender<Arc<roomkey_room::Participants>>,
    pub(crate) metrics: watch::Sender<SessionMetrics>,
    /// Whether the user wants the microphone muted.
    pub(crate) muted: watch::Sender<bool>,
    /// Whether the user wants to be encrypted; nothing without keys.
    pub(crate) encrypted: watch::Sender<Option<bool>>,
    pub(crate) room: Arc<ShownRoom>,
    pub(crate) message_events: Broadcast<MessageEvent>,
    pub(crate) events: Broadcast<SessionEvent>,
    pub(crate) agent_states: Broadcast<AgentState>,
    pub(crate) topics: Arc<Topics>,
    pub(crate) transfers: Arc<Transfers>,
}

impl Shown {
    pub(crate) fn new() -> Self {
        let nobody = Arc::new(AgentSnapshot::new(AgentState::Disconnected));
        Self {
            state: watch::Sender::new(SessionState::Disconnected(None)),
            error: watch::Sender::new(None),
            agent: watch::Sender::new(nobody),
            messages: watch::Sender::new(Arc::new([])),
            participants: watch::Sender::new(Arc::default()),
            metrics: watch::Sender::new(SessionMetrics::default()),
            muted: watch::Sender::new(false),
            encrypted: watch::Sender::new(None),
            room: Arc::new(ShownRoom::new()),
            message_events: Broadcast::default(),
            events: Broadcast::default(),
            agent_states: Broadcast::default(),
            topics: Arc::default(),
            transfers: Arc::default(),
        }
    }
}

type Fetched = (FetchId, Result<(Credentials, TokenOrigin), FetchError>);

pub(crate) struct SessionTask<J> {
    core: Core,
    source: FixedTokenSource,
    join: J,
    shown: Arc<Shown>,
    requests: mpsc::UnboundedReceiver<Request>,
    inputs: mpsc::Receiver<Input>,
    inputs_of_rooms: mpsc::Sender<Input>,
    fetches: JoinSet<Fetched>,
    fetching: HashMap<FetchId, AbortHandle>,
    rooms: HashMap<RoomId, mpsc::UnboundedSender<ToRoom>>,
    /// What is published in each room of the session that is started.
    media: StartMedia,
    /// What is said before the agent hears, also while that is being sent.
    recording: Option<Arc<Recording>>,
    waiters: Waiters,
    tracks: Vec<(TrackFilter, watch::Sender<Arc<[TrackRef]>>)>,
    transcripts: Vec<(TranscriptFilter, watch::Sender<MessageList>)>,
    last_id: u64,
}

#[derive(Default)]
struct Waiters {
    starts: HashMap<StartId, oneshot::Sender<Result<(), StartError>>>,
    ends: HashMap<EndId, oneshot::Sender<()>>,
    prepares: HashMap<PrepareId, oneshot::Sender<Result<Option<Credentials>, FetchError>>>,
    sends: HashMap<SendId, oneshot::Sender<Result<(), SendError>>>,
}

impl<J: JoinRoom> SessionTask<J> {
    pub(crate) fn new(
        settings: Settings,
        source: FixedTokenSource,
        join: J,
        shown: Arc<Shown>,
        requests: mpsc::UnboundedReceiver<Request>,
    ) -> Self {
        // A room waits while the session has so much to do.
        let (inputs_of_rooms, inputs) = mpsc::channel(256);
        Self {
            core: Core::new(settings),
            source,
            join,
            shown,
            requests,
            inputs,
            inputs_of_rooms,
            fetches: JoinSet::new(),
            fetching: HashMap::new(),
            rooms: HashMap::new(),
            media: StartMedia::default(),
            recording: None,
            waiters: Waiters::default(),
            tracks: Vec::new(),
            transcripts: Vec::new(),
            last_id: 0,
        }
    }

    /// Runs until the last handle is dropped, and then leaves the room.
    pub(crate) async fn run(mut self) {
        while self.step().await {}
        let (reply, mut is_left) = oneshot::channel();
        self.obey(Request::End { reply });
        while is_left.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
            self.step_without_requests().await;
        }
        self.shown.message_events.end();
        self.shown.events.end();
        self.shown.agent_states.end();
        self.shown.topics.end();
    }

    async fn step(&mut self) -> bool {
        let due = self.core.poll_timeout(clock::now().at);
        tokio::select! {
            request = self.requests.recv() => {
                let Some(request) = request else { return false };
                self.obey(request);
            }
            Some(input) = self.inputs.recv() => self.handle(input),
            Some(fetched) = self.fetches.join_next() => self.fetched(fetched),
            () = sleep_until(due) => self.pass(),
        }
        true
    }

    async fn step_without_requests(&mut self) {
        let due = self.core.poll_timeout(clock::now().at);
        tokio::select! {
            Some(input) = self.inputs.recv() => self.handle(input),
            Some(fetched) = self.fetches.join_next() => self.fetched(fetched),
            () = sleep_until(due) => self.pass(),
        }
    }

    fn obey(&mut self, request: Request) {
        let input = match request {
            Request::Start { start, plan, media, reply } => {
                self.waiters.starts.insert(start, reply);
                if self.shown.state.borrow().is_disconnected() {
                    if media.microphone.as_ref().is_some_and(|microphone| microphone.options.is_muted()) {
                        self.shown.muted.send_if_modified(|muted| !std::mem::replace(muted, true));
                    }
                    self.media = media;
                }
                Input::Start { start, plan }
            }
            Request::CancelStart(start) => {
                self.waiters.starts.remove(&start);
                Input::CancelStart(start)
            }
            Request::End { reply } => {
                let end = self.next_id();
                self.waiters.ends.insert(end, reply);
                Input::End(end)
            }
            Request::Prepare { reply } => {
                let prepare = self.next_id();
                self.waiters.prepares.insert(prepare, reply);
                Input::Prepare(prepare)
            }
            Request::SetSource(source) => {
                if source == self.source {
                    return;
                }
                self.source = source;
                Input::SourceChanged
            }
            Request::Send { text, reply } => {
                self.waiters.sends.insert(text.send, reply);
                Input::Send(text)
            }
            Request::PutMessage(message) => Input::PutMessage(message),
            Request::RestoreHistory(messages) => Input::RestoreHistory(messages),
            Request::ClearHistory => Input::ClearHistory,
            Request::DismissError => Input::DismissError,
            Request::ReconnectNow => Input::ReconnectNow,
            Request::MuteChanged => {
                self.pause_recording();
                return;
            }
            Request::Tracks { filter, list } => {
                list.send_replace(tracks::list(&self.shown.participants.borrow(), &filter));
                self.tracks.retain(|(_, list)| list.receiver_count() > 0);
                self.tracks.push((filter, list));
                return;
            }
            Request::Transcripts { filter, list } => {
                list.send_replace(filter.list(&self.shown.messages.borrow()));
                self.transcripts.retain(|(_, list)| list.receiver_count() > 0);
                self.transcripts.push((filter, list));
                return;
            }
            Request::Call { request, reply } => {
                // Who called hears of it when the reply is dropped.
                if let Some(room) = self.core.room().and_then(|room| self.rooms.get(&room)) {
                    let _ = room.send(ToRoom::Call { request, reply });
                }
                return;
            }
        };
        self.handle(input);
    }

    fn handle(&mut self, input: Input) {
        if let Input::RoomLeft(room) | Input::RoomNotJoined(room, _) = &input {
            self.rooms.remove(room);
        }
        self.core.handle(input, clock::now());
        self.carry_out();
    }

    fn pass(&mut self) {
        self.core.handle_timeout(clock::now());
        self.carry_out();
    }

    fn fetched(&mut self, fetched: Result<Fetched, tokio::task::JoinError>) {
        // One that was cancelled is waited for by nobody; what a provider panics with becomes an error of the source.
        let Ok((fetch, result)) = fetched else { return };
        self.fetching.remove(&fetch);
        self.handle(Input::TokenFetched { fetch, result });
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.core.poll_output() {
            self.do_one(output);
        }
    }

    fn do_one(&mut self, output: Output) {
        match output {
            Output::FetchToken { fetch, how } => {
                let token = fetch_token(self.source.clone(), how);
                self.fetching.insert(fetch, self.fetches.spawn(async move { (fetch, token.await) }));
            }
            Output::CancelFetch(fetch) => {
                self.fetching.remove(&fetch).into_iter().for_each(|fetch| fetch.abort());
            }
            Output::InvalidateToken(credentials) => {
                self.source.invalidate_token(&credentials);
            }
            Output::Connect { room, credentials } => {
                let (commands, commands_of_room) = mpsc::unbounded_channel();
                self.rooms.insert(room, commands);
                self.join.join(room, credentials, commands_of_room, self.inputs_of_rooms.clone());
            }
            Output::Leave(room) => self.tell_room(room, ToRoom::Leave),
            Output::ReconnectNow(room) => self.tell_room(room, ToRoom::ReconnectNow),
            Output::Publish { room, has_preconnect } => {
                let media = self.media.clone();
                self.tell_room(room, ToRoom::Publish { media, has_preconnect });
            }
            Output::Preconnect(output) => self.preconnect(output),
            Output::SendText(text) => self.tell_current_room(ToRoom::SendText(text)),
            Output::StartResult(start, result) => answer(self.waiters.starts.remove(&start), result),
            Output::EndResult(end) => answer(self.waiters.ends.remove(&end), ()),
            Output::PrepareResult(prepare, result) => answer(self.waiters.prepares.remove(&prepare), result),
            Output::SendResult(send, result) => answer(self.waiters.sends.remove(&send), result),
            // The core makes an `Error` and an event of it.
            Output::Failed(_) => {}
            Output::State(state) => {
                if state.is_disconnected() {
                    self.media = StartMedia::default();
                }
                self.shown.state.send_replace(state);
            }
            Output::Error(error) => drop(self.shown.error.send_replace(error)),
            Output::Agent(agent) => drop(self.shown.agent.send_replace(agent)),
            Output::Messages(messages) => {
                self.transcripts.retain(|(filter, list)| {
                    let new = filter.list(&messages);
                    list.send_if_modified(|old| {
                        let is_other = !transcript_filter::is_same(old, &new);
                        *old = new;
                        is_other
                    });
                    list.receiver_count() > 0
                });
                self.shown.messages.send_replace(messages);
            }
            Output::MessageEvent(event) => self.shown.message_events.tell(&event),
            Output::Participants(participants) => {
                self.tracks.retain(|(filter, list)| {
                    let new = tracks::list(&participants, filter);
                    list.send_if_modified(|old| {
                        let is_other = *old != new;
                        *old = new;
                        is_other
                    });
                    list.receiver_count() > 0
                });
                self.shown.participants.send_replace(participants);
            }
            Output::Metrics(metrics) => drop(self.shown.metrics.send_replace(metrics)),
            Output::Event(event) => {
                if let SessionEvent::AgentStateChanged(state) = &event {
                    self.shown.agent_states.tell(state);
                }
                self.shown.events.tell(&event);
            }
        }
    }

    fn preconnect(&mut self, output: PreconnectOutput) {
        match output {
            PreconnectOutput::Start => {
                let microphone = self.media.microphone.as_ref();
                self.recording = microphone.map(|microphone| Arc::new(microphone.source.record(LONGEST_RECORDING)));
                self.pause_recording();
            }
            PreconnectOutput::Send { track, agent } => {
                if let Some(recording) = self.recording.clone() {
                    self.tell_current_room(ToRoom::SendPreconnect { recording, track, agent });
                }
            }
            PreconnectOutput::Finish => {
                self.recording = None;
                self.tell_current_room(ToRoom::FinishPreconnect);
            }
            PreconnectOutput::Drop => {
                self.recording = None;
                self.tell_current_room(ToRoom::DropPreconnect);
            }
        }
    }

    /// What is captured while the user is muted is for nobody.
    fn pause_recording(&self) {
        if let Some(recording) = &self.recording {
            recording.set_paused(*self.shown.muted.borrow());
        }
    }

    fn tell_current_room(&self, command: ToRoom) {
        if let Some(room) = self.core.room() {
            self.tell_room(room, command);
        }
    }

    fn tell_room(&self, room: RoomId, command: ToRoom) {
        if let Some(room) = self.rooms.get(&room) {
            // One that is over says so itself.
            let _ = room.send(command);
        }
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

/// Whoever waited may have stopped waiting.
fn answer<T>(waiter: Option<oneshot::Sender<T>>, result: T) {
    waiter.map(|waiter| waiter.send(result));
}

async fn fetch_token(source: FixedTokenSource, how: Fetch) -> Result<(Credentials, TokenOrigin), FetchError> {
    match how {
        Fetch::Take => {
            let held = source.cached();
            let credentials = source.take().await?;
            let is_held = held.as_ref() == Some(&credentials) || credentials.stored_since().is_some();
            let origin = if is_held { TokenOrigin::Held } else { TokenOrigin::New };
            Ok((credentials, origin))
        }
        Fetch::AfterRejection(refused) => Ok((source.fetch_after_rejection(&refused).await?, TokenOrigin::New)),
    }
}

async fn sleep_until(due: Option<std::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// How much of what is said before the agent is ready is kept for it.
const LONGEST_RECORDING: Duration = Duration::from_secs(10);
