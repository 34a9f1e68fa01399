//! The cases of a session in virtual time: a room is a script of inputs.
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one kind of output")]

mod agent;
mod chance;
mod editing;
mod expression;
mod messages;
mod preconnect;
mod sending;
mod start_end;
mod tracks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use roomkey_room::{
    ConnectionState, Participant, ParticipantKind, Participants, TrackKind, TrackPublication, TrackSource,
};
use roomkey_source::{BoxError, Credentials, FetchError, TokenSource};

use super::*;
use crate::message::{MessageId, MessageKind, Status};

/// A core, the shell around it, and a room that does what the test says.
struct Stage {
    core: Core,
    now: Now,
    participants: Participants,
    room: Option<RoomId>,
    last_id: u64,
    log: Vec<Output>,
    /// The send that was last given to a room, and the room: no other one tells how it went.
    given: Option<(RoomId, SendId)>,
}

impl Stage {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        Self {
            core: Core::new(settings),
            now: Now { at: an_instant(), wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) },
            participants: Participants::default(),
            room: None,
            last_id: 1_000,
            log: Vec::new(),
            given: None,
        }
    }

    fn expecting(expectation: crate::AgentExpectation) -> Self {
        Self::with(Settings { expectation, ..Settings::default() })
    }

    fn handle(&mut self, input: Input) {
        self.core.handle(input, self.now);
        self.collect();
    }

    fn room(&mut self, input: RoomInput) {
        let room = self.room.expect("a room was joined");
        self.handle(Input::Room(room, input));
    }

    fn collect(&mut self) {
        while let Some(output) = self.core.poll_output() {
            if let Output::SendText(text) = &output {
                self.given = self.core.room().map(|room| (room, text.send));
            }
            self.log.push(output);
        }
    }

    /// Lets time pass, stopping wherever the core wants it.
    fn pass(&mut self, time: Duration) {
        let end = self.now.at + time;
        while let Some(due) = self.core.poll_timeout(self.now.at).filter(|due| *due <= end) {
            self.move_to(due.max(self.now.at + Duration::from_nanos(1)));
        }
        self.move_to(end);
    }

    fn move_to(&mut self, at: Instant) {
        self.now.wall += at.saturating_duration_since(self.now.at);
        self.now.at = at.max(self.now.at);
        self.core.handle_timeout(self.now);
        self.collect();
    }

    fn id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn start(&mut self) -> StartId {
        self.start_with(Ready::Room, MicrophonePlan::Off)
    }

    fn start_with(&mut self, ready: Ready, microphone: MicrophonePlan) -> StartId {
        let start = self.id();
        let plan = StartPlan { ready, timeout: Duration::from_secs(60), microphone };
        self.handle(Input::Start { start, plan });
        start
    }

    fn end(&mut self) -> EndId {
        let end = self.id();
        self.handle(Input::End(end));
        end
    }

    fn prepare(&mut self) -> PrepareId {
        let prepare = self.id();
        self.handle(Input::Prepare(prepare));
        prepare
    }

    /// Answers the last fetch.
    fn answer(&mut self, credentials: &Credentials, origin: TokenOrigin) {
        let fetch = self.last_fetch();
        self.handle(Input::TokenFetched { fetch, result: Ok((credentials.clone(), origin)) });
    }

    fn last_fetch(&self) -> FetchId {
        let mut fetches = self.log.iter().filter_map(|output| match output {
            Output::FetchToken { fetch, .. } => Some(*fetch),
            _ => None,
        });
        fetches.next_back().expect("a token was asked for")
    }

    fn fetches(&self) -> usize {
        self.count(|output| matches!(output, Output::FetchToken { .. }))
    }

    fn leaves(&self) -> usize {
        self.count(|output| matches!(output, Output::Leave(_)))
    }

    fn count(&self, is_counted: impl Fn(&Output) -> bool) -> usize {
        self.log.iter().filter(|output| is_counted(output)).count()
    }

    /// The room and the token of the last connect.
    fn connecting(&self) -> Option<(RoomId, Credentials)> {
        let mut connects = self.log.iter().filter_map(|output| match output {
            Output::Connect { room, credentials } => Some((*room, credentials.clone())),
            _ => None,
        });
        connects.next_back()
    }

    /// Joins the room that is asked for, alone.
    fn join(&mut self) {
        let (room, _) = self.connecting().expect("a room is asked for");
        self.room = Some(room);
        self.participants = Participants::default();
        let mut local = Participant::new("PA_me", "me");
        local.is_local = true;
        self.participants.local = Some(Arc::new(local));
        let alone = Arc::new(self.participants.clone());
        self.handle(Input::RoomJoined(room, alone));
        self.show();
    }

    /// Started and joined with a token that says nothing of agents.
    fn joined() -> Self {
        Self::new().into_joined(&token("plain"))
    }

    /// Started and joined with a token that dispatches an agent.
    fn joined_with_dispatch() -> Self {
        Self::new().into_joined(&dispatching("dispatch"))
    }

    fn into_joined(mut self, credentials: &Credentials) -> Self {
        self.start();
        self.answer(credentials, TokenOrigin::New);
        self.join();
        self
    }

    /// Tells the core who is in the room.
    fn show(&mut self) {
        let participants = Arc::new(self.participants.clone());
        self.room(RoomInput::Participants(participants));
    }

    fn put(&mut self, participant: Participant) {
        replace(&mut self.participants, Arc::new(participant));
        self.show();
    }

    fn remove(&mut self, identity: &str) {
        self.participants.remote.remove(&ParticipantIdentity::from(identity));
        self.participants.order.retain(|other| other != identity);
        self.show();
    }

    fn agent_says(&mut self, identity: &str, state: &str) {
        self.put(agent(identity, Some(state)));
    }

    fn room_state(&mut self, state: ConnectionState) {
        self.room(RoomInput::State(state));
    }

    fn start_result(&self, start: StartId) -> Option<Result<(), StartError>> {
        self.log.iter().find_map(|output| match output {
            Output::StartResult(id, result) if *id == start => Some(result.clone()),
            _ => None,
        })
    }

    fn send_result(&self, send: SendId) -> Option<Result<(), SendError>> {
        self.log.iter().find_map(|output| match output {
            Output::SendResult(id, result) if *id == send => Some(result.clone()),
            _ => None,
        })
    }

    fn has_ended(&self, end: EndId) -> bool {
        self.count(|output| matches!(output, Output::EndResult(id) if *id == end)) == 1
    }

    fn states(&self) -> Vec<SessionState> {
        let states = self.log.iter().filter_map(|output| match output {
            Output::State(state) => Some(*state),
            _ => None,
        });
        states.collect()
    }

    fn state(&self) -> SessionState {
        self.states().last().copied().unwrap_or(SessionState::Disconnected(None))
    }

    fn error(&self) -> Option<Arc<SessionError>> {
        let mut errors = self.log.iter().filter_map(|output| match output {
            Output::Error(error) => Some(error.clone()),
            _ => None,
        });
        errors.next_back().flatten()
    }

    fn agent_states(&self) -> Vec<AgentState> {
        let states = self.log.iter().filter_map(|output| match output {
            Output::Event(SessionEvent::AgentStateChanged(state)) => Some(state.clone()),
            _ => None,
        });
        states.collect()
    }

    fn agent(&self) -> Arc<AgentSnapshot> {
        Arc::clone(&self.core.told.agent)
    }

    fn agent_state(&self) -> AgentState {
        self.agent().state.clone()
    }

    fn list(&self) -> Arc<[Arc<Message>]> {
        let mut lists = self.log.iter().filter_map(|output| match output {
            Output::Messages(list) => Some(Arc::clone(list)),
            _ => None,
        });
        lists.next_back().unwrap_or_else(|| Arc::new([]))
    }

    fn texts(&self) -> Vec<String> {
        self.list().iter().map(|message| message.text.as_ref().to_owned()).collect()
    }

    /// What happened to messages: the first letter of the event and the text.
    fn message_events(&self) -> Vec<String> {
        let events = self.log.iter().filter_map(|output| match output {
            Output::MessageEvent(event) => Some(event),
            _ => None,
        });
        let told = events.map(|event| {
            let kind = match event {
                MessageEvent::Created(_) => "created",
                MessageEvent::Changed(_) => "changed",
                MessageEvent::Finalized(_) => "finalized",
                MessageEvent::Aborted(_) => "aborted",
            };
            format!("{kind} {}", event.message().text)
        });
        told.collect()
    }

    fn received(&self) -> usize {
        self.count(|output| matches!(output, Output::Event(SessionEvent::MessageReceived(_))))
    }

    fn open(&mut self, key: StreamKey, sender: &str, topic: &str, attributes: &[(&str, &str)]) {
        let header = TextHeader {
            key,
            sender: sender.into(),
            topic: topic.to_owned(),
            stream_id: format!("stream-{key}").into(),
            attributes: attributes_of(attributes),
            is_update: false,
            version: 0,
            attached_stream_ids: Vec::new(),
            timestamp: None,
        };
        self.room(RoomInput::TextOpened(header));
    }

    fn chunk(&mut self, key: StreamKey, text: &str) {
        self.room(RoomInput::Text(key, text.as_bytes().to_vec()));
    }

    fn close(&mut self, key: StreamKey, trailer: &[(&str, &str)]) {
        self.room(RoomInput::TextClosed(key, attributes_of(trailer), Ok(())));
    }

    /// One stream of a transcript, from its header to its end.
    fn transcript(&mut self, key: StreamKey, sender: &str, segment: &str, text: &str, is_final: bool) {
        let is_final = if is_final { "true" } else { "false" };
        self.open(
            key,
            sender,
            TRANSCRIPTION_TOPIC,
            &[("lk.segment_id", segment), ("lk.transcription_final", is_final)],
        );
        self.chunk(key, text);
        self.close(key, &[]);
    }

    fn send(&mut self, text: &str, options: crate::SendOptions) -> SendId {
        let send = self.id();
        let stream_id = format!("own-{send}").into();
        self.handle(Input::Send(OutgoingText { send, stream_id, text: text.into(), options, edits: None }));
        send
    }

    /// The texts that were given to the room.
    fn sent(&self) -> Vec<OutgoingText> {
        let sent = self.log.iter().filter_map(|output| match output {
            Output::SendText(text) => Some(text.clone()),
            _ => None,
        });
        sent.collect()
    }

    /// What the room was given to send last.
    fn given(&self) -> Option<SendId> {
        self.given.filter(|(room, _)| self.core.room() == Some(*room)).map(|(_, send)| send)
    }

    /// The room has sent everything.
    fn acknowledge(&mut self) {
        while let Some(text) = self.sent().last().filter(|text| self.send_result(text.send).is_none()) {
            let send = text.send;
            self.room(RoomInput::Sent(send, Ok(())));
        }
    }
}

/// Virtual time begins at any instant.
fn an_instant() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "an instant has no other origin; only what is added to it counts")]
    Instant::now()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn attributes_of(attributes: &[(&str, &str)]) -> BTreeMap<String, String> {
    attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn agent(identity: &str, state: Option<&str>) -> Participant {
    let mut attributes = vec![];
    attributes.extend(state.map(|state| ("lk.agent.state", state)));
    agent_with(identity, &attributes)
}

fn agent_with(identity: &str, attributes: &[(&str, &str)]) -> Participant {
    let mut agent = Participant::new(format!("PA_{identity}"), identity);
    agent.kind = ParticipantKind::Agent;
    agent.attributes = Arc::new(attributes_of(attributes).into_iter().collect());
    agent
}

fn publication(sid: &str, source: TrackSource) -> TrackPublication {
    let kind = if source == TrackSource::Camera { TrackKind::Video } else { TrackKind::Audio };
    TrackPublication::new(sid, kind, source)
}

/// Credentials whose token is no JWT.
fn token(name: &str) -> Credentials {
    Credentials::new("wss://example", name)
}

fn dispatching(name: &str) -> Credentials {
    jwt(&format!(r#"{{"jti":"{name}","roomConfig":{{"agents":[{{"agentName":"helper"}}]}}}}"#))
}

fn expiring(name: &str, at: SystemTime) -> Credentials {
    let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    jwt(&format!(r#"{{"jti":"{name}","exp":{at}}}"#))
}

fn jwt(claims: &str) -> Credentials {
    let encode = |json: &str| BASE64_URL_SAFE_NO_PAD.encode(json);
    token(&format!("{}.{}.c2ln", encode(r#"{"alg":"HS256","typ":"JWT"}"#), encode(claims)))
}

/// What a source gives whose function fails so.
fn fetch_error() -> FetchError {
    let source = TokenSource::custom(|_| async { Err::<Credentials, BoxError>("the backend is down".into()) });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(source.fetch(&roomkey_source::FetchOptions::new())).unwrap_err()
}
