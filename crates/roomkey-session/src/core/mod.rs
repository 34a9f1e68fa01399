//! What a session decides, without a clock, a socket or a task.
//!
//! What happens comes in by [`handle`](Core::handle), the time by [`handle_timeout`](Core::handle_timeout); what is to be done
//! and told comes out of [`poll_output`](Core::poll_output). Each part has its state to itself; this one passes on what
//! concerns several.

mod agent;
mod attachments;
mod connection;
mod history;
mod legacy;
mod messages;
mod metrics;
mod outbox;
mod preconnect;
mod sending;
#[cfg(test)]
mod tests;
pub(crate) mod tracks;
mod transcript_text;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use roomkey_room::{
    ConnectError, ConnectionState, DisconnectReason, Participant, ParticipantIdentity, ParticipantState, Participants,
    PublishError, TrackSid,
};
use roomkey_source::{Credentials, FetchError};

pub(crate) use self::attachments::{IncomingFile, MAX_FILE};
pub(crate) use self::connection::{EndId, Fetch, FetchId, PrepareId, RoomId, StartId, TokenOrigin};
pub(crate) use self::legacy::LegacySegment;
pub(crate) use self::messages::{CHAT_TOPIC, LEGACY_CHAT_TOPIC, StreamKey, TRANSCRIPTION_TOPIC, TextHeader};
pub(crate) use self::outbox::{OutgoingText, SendId};
pub(crate) use self::preconnect::PreconnectOutput;

use self::agent::{Agent, Surroundings};
use self::connection::Connection;
use self::messages::Messages;
use self::metrics::Metrics;
use self::outbox::Outbox;
use self::preconnect::Preconnect;
use crate::agent_state::{AgentFailure, AgentSnapshot, AgentState};
use crate::clock::later;
use crate::error::{EncryptionError, ReceiveError, SendError, SessionError, StartError};
use crate::message::{Message, MessageEvent};
use crate::options::{Ready, Settings};
use crate::session_event::SessionEvent;
use crate::session_metrics::SessionMetrics;
use crate::session_state::SessionState;

/// What time it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) at: Instant,
    pub(crate) wall: SystemTime,
}

/// What a start wants.
#[derive(Debug, Clone)]
pub(crate) struct StartPlan {
    pub(crate) ready: Ready,
    /// How long token and room may take.
    pub(crate) timeout: Duration,
    pub(crate) microphone: MicrophonePlan,
}

/// Whether the user speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MicrophonePlan {
    /// The microphone is not touched.
    Off,
    /// It is published when the room is there.
    On,
    /// So, and what is said before is kept for the agent.
    PreConnect,
}

/// What happens.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    Start {
        start: StartId,
        plan: StartPlan,
    },
    CancelStart(StartId),
    End(EndId),
    Prepare(PrepareId),
    SourceChanged,
    Send(OutgoingText),
    PutMessage(Box<Message>),
    RestoreHistory(Vec<Message>),
    ClearHistory,
    DismissError,
    ReconnectNow,
    TokenFetched {
        fetch: FetchId,
        result: Result<(Credentials, TokenOrigin), FetchError>,
    },
    /// The room is joined, by this participant and perhaps others.
    RoomJoined(RoomId, Arc<Participants>),
    RoomNotJoined(RoomId, ConnectError),
    RoomLeft(RoomId),
    /// What happens in a room that has been joined.
    Room(RoomId, RoomInput),
}

/// What happens in a room.
#[derive(Debug, Clone)]
pub(crate) enum RoomInput {
    State(ConnectionState),
    /// All participants; one in between may have been missed.
    Participants(Arc<Participants>),
    /// One of them is another.
    ParticipantUpdated(Arc<Participant>),
    ParticipantLeft(ParticipantIdentity, DisconnectReason),
    TextOpened(TextHeader),
    Text(StreamKey, Vec<u8>),
    TextClosed(StreamKey, BTreeMap<String, String>, Result<(), Arc<str>>),
    FileOpened(ParticipantIdentity, Arc<str>),
    File(IncomingFile),
    LegacySegment(LegacySegment),
    LegacyChat(ParticipantIdentity, Vec<u8>),
    /// A receiver of the application's has made this.
    Received(Box<Message>),
    NotReceived(ReceiveError),
    Sent(SendId, Result<(), SendError>),
    MicrophonePublished(TrackSid),
    /// Somebody receives it.
    MicrophoneReceived(TrackSid),
    /// Something can't be encrypted or decrypted.
    EncryptionFailed(EncryptionError),
    /// A track was not published.
    NotPublished {
        error: PublishError,
        is_microphone: bool,
    },
}

/// What is to be done or told.
#[derive(Debug, Clone)]
pub(crate) enum Output {
    FetchToken {
        fetch: FetchId,
        how: Fetch,
    },
    CancelFetch(FetchId),
    /// Forget it where it is held, and fetch nothing.
    InvalidateToken(Credentials),
    Connect {
        room: RoomId,
        credentials: Credentials,
    },
    /// Leave the room, joined or not, and say so when it is left.
    Leave(RoomId),
    ReconnectNow(RoomId),
    /// Publish what the start is to publish, the microphone with the feature or without.
    Publish {
        room: RoomId,
        has_preconnect: bool,
    },
    Preconnect(PreconnectOutput),
    SendText(OutgoingText),
    StartResult(StartId, Result<(), StartError>),
    EndResult(EndId),
    /// There is a token; with it, where it is new and for a start that has not begun.
    PrepareResult(PrepareId, Result<Option<Credentials>, FetchError>),
    SendResult(SendId, Result<(), SendError>),
    /// Something went wrong, to be told as [`Error`](Self::Error) and as an event.
    Failed(SessionError),
    State(SessionState),
    Error(Option<Arc<SessionError>>),
    Agent(Arc<AgentSnapshot>),
    Messages(Arc<[Arc<Message>]>),
    MessageEvent(MessageEvent),
    Participants(Arc<Participants>),
    Metrics(SessionMetrics),
    Event(SessionEvent),
}

impl Output {
    fn is_result(&self) -> bool {
        matches!(self, Self::StartResult(..) | Self::EndResult(_) | Self::PrepareResult(..) | Self::SendResult(..))
    }
}

pub(crate) struct Core {
    settings: Settings,
    connection: Connection,
    agent: Agent,
    messages: Messages,
    outbox: Outbox,
    preconnect: Preconnect,
    metrics: Metrics,
    participants: Arc<Participants>,
    /// What was told last.
    told: Told,
    /// When a start that waits for the agent gives up, whatever is expected.
    ready_until: Option<Instant>,
    outputs: VecDeque<Output>,
}

struct Told {
    state: SessionState,
    has_error: bool,
    agent: Arc<AgentSnapshot>,
    metrics: SessionMetrics,
}

impl Core {
    pub(crate) fn new(settings: Settings) -> Self {
        let nobody = AgentSnapshot::new(AgentState::Disconnected);
        Self {
            connection: Connection::new(settings.restart, settings.seed),
            agent: Agent::new(settings.expectation.clone(), settings.agent_timeout, settings.leave_grace),
            messages: Messages::new(settings.history_limit),
            outbox: Outbox::new(settings.send_policy, settings.agent_timeout),
            preconnect: Preconnect::default(),
            metrics: Metrics::default(),
            participants: Arc::default(),
            told: Told {
                state: SessionState::Disconnected(None),
                has_error: false,
                agent: Arc::new(nobody),
                metrics: SessionMetrics::default(),
            },
            ready_until: None,
            outputs: VecDeque::new(),
            settings,
        }
    }

    /// The room that is joined or being joined.
    pub(crate) fn room(&self) -> Option<RoomId> {
        self.connection.room()
    }

    /// Something has happened.
    pub(crate) fn handle(&mut self, input: Input, now: Now) {
        match input {
            Input::Start { start, plan } => self.start(start, plan, now),
            Input::CancelStart(start) => self.connection.cancel(start, now, &mut self.outputs),
            Input::End(end) => self.connection.end(end, now, &mut self.outputs),
            Input::Prepare(prepare) => self.connection.prepare(prepare, now, &mut self.outputs),
            Input::SourceChanged => self.connection.handle_source_changed(),
            Input::Send(text) => self.send(text, now),
            Input::PutMessage(message) => self.messages.put(*message),
            Input::RestoreHistory(messages) => self.messages.restore(messages),
            Input::ClearHistory => self.messages.clear(),
            Input::DismissError => self.tell_error(None),
            Input::ReconnectNow => self.connection.reconnect_now(now, &mut self.outputs),
            Input::TokenFetched { fetch, result } => {
                self.connection.handle_token(fetch, result, now, &mut self.outputs);
            }
            Input::RoomJoined(room, participants) => self.handle_joined(room, participants, now),
            Input::RoomNotJoined(room, error) => {
                self.connection.handle_not_joined(room, error, now, &mut self.outputs);
            }
            Input::RoomLeft(room) => self.connection.handle_left(room, &mut self.outputs),
            Input::Room(room, happened) => {
                // What a room says that is being left is of no interest.
                if self.connection.room() == Some(room) {
                    self.handle_room(room, happened, now);
                }
            }
        }
        self.settle(now);
    }

    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Now) {
        self.messages.handle_timeout(&self.participants, now);
        self.settle(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest. `now` is that of the last call.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        [
            self.connection.poll_timeout(),
            self.agent.poll_timeout(now),
            self.messages.poll_timeout(),
            self.outbox.poll_timeout(now),
            self.preconnect.poll_timeout(),
            self.ready_until,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What to do next; `None` until there is new input.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        // Results come last: whoever waits for one finds the snapshots that belong to it.
        let next = self.outputs.iter().position(|output| !output.is_result()).unwrap_or(0);
        self.outputs.remove(next)
    }

    fn start(&mut self, start: StartId, plan: StartPlan, now: Now) {
        let microphone = plan.microphone;
        if !self.connection.start(start, plan, now, &mut self.outputs) {
            return;
        }
        self.tell_error(None);
        self.metrics.begin(now.at);
        if microphone == MicrophonePlan::PreConnect {
            self.outputs.push_back(Output::Preconnect(self.preconnect.start()));
        }
    }

    fn handle_joined(&mut self, room: RoomId, participants: Arc<Participants>, now: Now) {
        if self.connection.room() == Some(room) {
            self.set_participants(participants);
        }
        if !self.connection.handle_joined(room, now, &mut self.outputs) {
            return;
        }
        self.metrics.room(now.at);
        self.messages.handle_room();
        self.preconnect.handle_room(now.at, self.settings.agent_timeout);
        if self.connection.awaits_agent() {
            self.ready_until = Some(later(now.at, self.settings.agent_timeout));
        }
        let has_preconnect = self.preconnect.is_recording();
        self.outputs.push_back(Output::Publish { room, has_preconnect });
    }

    fn handle_room(&mut self, room: RoomId, happened: RoomInput, now: Now) {
        match happened {
            RoomInput::State(state) => self.handle_room_state(room, state, now),
            RoomInput::Participants(participants) => self.set_participants(participants),
            RoomInput::ParticipantUpdated(participant) => {
                let mut participants = Participants::clone(&self.participants);
                replace(&mut participants, participant);
                self.set_participants(Arc::new(participants));
            }
            RoomInput::ParticipantLeft(identity, reason) => {
                self.agent.handle_left(&identity, reason);
                let mut participants = Participants::clone(&self.participants);
                participants.remote.remove(&identity);
                participants.order.retain(|other| *other != identity);
                self.set_participants(Arc::new(participants));
            }
            RoomInput::TextOpened(header) => self.messages.handle_opened(header, &self.participants, now),
            RoomInput::Text(key, chunk) => self.messages.handle_text(key, &chunk, now),
            RoomInput::TextClosed(key, attributes, outcome) => {
                self.messages.handle_closed(key, attributes, outcome, now);
            }
            RoomInput::FileOpened(sender, stream_id) => self.messages.handle_file_opened(&sender, &stream_id),
            RoomInput::File(file) => self.messages.handle_file(file),
            RoomInput::LegacySegment(segment) => {
                self.messages.handle_legacy_segment(segment, &self.participants, now);
            }
            RoomInput::LegacyChat(sender, payload) => self.messages.handle_legacy_chat(&sender, &payload, now),
            RoomInput::Received(message) => self.messages.handle_received(*message, now),
            RoomInput::NotReceived(error) => self.messages.handle_not_received(error),
            RoomInput::Sent(send, result) => {
                let sent = self.outbox.handle_sent(send, &result);
                self.settle_sends(sent, now);
            }
            RoomInput::MicrophonePublished(sid) => self.preconnect.handle_published(&sid),
            RoomInput::MicrophoneReceived(sid) => {
                let output = self.preconnect.handle_received(&sid);
                self.outputs.extend(output.map(Output::Preconnect));
            }
            RoomInput::EncryptionFailed(error) => {
                self.outputs.push_back(Output::Failed(SessionError::Encryption(error)));
            }
            RoomInput::NotPublished { error, is_microphone } => {
                let output = if is_microphone { self.preconnect.abandon() } else { None };
                self.outputs.extend(output.map(Output::Preconnect));
                self.outputs.push_back(Output::Failed(SessionError::Media(error)));
            }
        }
    }

    fn handle_room_state(&mut self, room: RoomId, state: ConnectionState, now: Now) {
        self.connection.handle_room_state(room, state, now, &mut self.outputs);
        if state == ConnectionState::Restarting {
            self.messages.handle_room_end();
            // The recording belongs to the first publication.
            let output = self.preconnect.abandon();
            self.outputs.extend(output.map(Output::Preconnect));
        }
    }

    fn set_participants(&mut self, participants: Arc<Participants>) {
        if *self.participants != *participants {
            self.participants = Arc::clone(&participants);
            self.outputs.push_back(Output::Participants(participants));
        }
    }

    /// Brings all parts in line with what has happened, and tells what is another than before.
    fn settle(&mut self, now: Now) {
        self.connection.advance(now, &mut self.metrics, &mut self.outputs);
        let state = self.connection.state();
        if !state.is_connected() {
            self.clear_room(state, now);
        }

        let agent = self.update_agent(now);
        while let Some(output) = self.preconnect.update(agent.participant.as_deref(), now.at) {
            self.outputs.push_back(Output::Preconnect(output));
        }
        self.settle_start(&agent, now.at);
        self.flush_outbox(state, &agent, now);

        self.metrics.agent(&agent, now.at);
        let is_heard = |track: &crate::track_ref::TrackRef| {
            let speaks = agent.state == AgentState::Speaking || track.participant.is_speaking;
            speaks && track.publication.as_ref().is_some_and(|publication| publication.is_subscribed)
        };
        if agent.audio.as_ref().is_some_and(is_heard) {
            self.metrics.audio(now.at);
        }
        self.tell(state, agent);
    }

    /// Ends what belongs to a room.
    fn clear_room(&mut self, state: SessionState, now: Now) {
        self.ready_until = None;
        if *self.participants != Participants::default() {
            self.set_participants(Arc::default());
        }
        if self.told.state.is_connected() {
            self.messages.handle_room_end();
        }
        if state.is_disconnected() {
            let output = self.preconnect.abandon();
            self.outputs.extend(output.map(Output::Preconnect));
            let cancelled = self.outbox.cancel();
            self.settle_sends(cancelled, now);
        }
    }

    fn update_agent(&mut self, now: Now) -> AgentSnapshot {
        let surroundings = Surroundings {
            session: self.connection.state(),
            participants: &self.participants,
            dispatches: self.connection.dispatches(),
            is_buffering: self.preconnect.is_recording(),
            now: now.at,
        };
        let mut agent = self.agent.update(&surroundings);
        let speakers = [&agent.participant, &agent.worker].map(Option::as_ref).into_iter().flatten();
        let speakers: Vec<_> = speakers.map(|speaker| &speaker.identity).collect();
        agent.expression = self.messages.expression(&speakers, self.settings.expression_turns);
        agent
    }

    fn settle_start(&mut self, agent: &AgentSnapshot, now: Instant) {
        if !self.connection.awaits_agent() {
            self.ready_until = None;
            return;
        }
        let result = match &agent.state {
            state if state.is_connected() || !self.agent.is_expected() => Ok(()),
            AgentState::Failed(failure) => Err(StartError::Agent(*failure)),
            AgentState::Disconnected
            | AgentState::Connecting
            | AgentState::Buffering
            | AgentState::Initializing
            | AgentState::Idle
            | AgentState::Listening
            | AgentState::Thinking
            | AgentState::Speaking
            | AgentState::Reconnecting
            | AgentState::Other(_) => {
                if self.ready_until.is_none_or(|until| until > now) {
                    return;
                }
                let failure =
                    if agent.participant.is_some() { AgentFailure::InitTimeout } else { AgentFailure::JoinTimeout };
                Err(StartError::Agent(failure))
            }
        };
        self.ready_until = None;
        self.connection.settle_start(result, &mut self.outputs);
    }

    fn tell(&mut self, state: SessionState, agent: AgentSnapshot) {
        if self.told.state != state {
            self.told.state = state;
            self.outputs.push_back(Output::State(state));
            self.outputs.push_back(Output::Event(SessionEvent::StateChanged(state)));
        }
        if *self.told.agent != agent {
            let agent = Arc::new(agent);
            let before = std::mem::replace(&mut self.told.agent, Arc::clone(&agent));
            if before.state != agent.state {
                self.outputs.push_back(Output::Event(SessionEvent::AgentStateChanged(agent.state.clone())));
            }
            self.outputs.push_back(Output::Agent(agent));
        }
        if self.told.metrics != self.metrics.measured() {
            self.told.metrics = self.metrics.measured();
            self.outputs.push_back(Output::Metrics(self.told.metrics));
        }
        for error in self.messages.take_errors() {
            self.outputs.push_back(Output::Failed(SessionError::Receive(error)));
        }
        while let Some(event) = self.messages.poll_event() {
            self.outputs.push_back(Output::MessageEvent(event));
        }
        if let Some(list) = self.messages.poll_list() {
            self.outputs.push_back(Output::Messages(list));
        }
        for message in self.messages.take_received() {
            self.outputs.push_back(Output::Event(SessionEvent::MessageReceived(message)));
        }
        self.tell_failures();
    }

    /// Errors of the parts become the session's, in their order among the other outputs.
    fn tell_failures(&mut self) {
        for output in std::mem::take(&mut self.outputs) {
            if let Output::Failed(error) = output {
                let error = Arc::new(error);
                self.tell_error(Some(Arc::clone(&error)));
                self.outputs.push_back(Output::Event(SessionEvent::Failed(error)));
            } else {
                self.outputs.push_back(output);
            }
        }
    }

    fn tell_error(&mut self, error: Option<Arc<SessionError>>) {
        if error.is_some() || self.told.has_error {
            self.told.has_error = error.is_some();
            self.outputs.push_back(Output::Error(error));
        }
    }
}

/// Puts a participant in the place of its earlier self.
fn replace(participants: &mut Participants, participant: Arc<Participant>) {
    if participant.is_local {
        participants.local = Some(participant);
    } else if participant.state == ParticipantState::Disconnected {
        participants.remote.remove(&participant.identity);
        participants.order.retain(|identity| *identity != participant.identity);
    } else {
        let identity = participant.identity.clone();
        if participants.remote.insert(identity.clone(), participant).is_none() {
            participants.order.push(identity);
        }
    }
}
