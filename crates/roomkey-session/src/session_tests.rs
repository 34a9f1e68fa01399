//! Sessions whose rooms are scripts, on tokio's paused clock.

use std::collections::BTreeMap;
use std::future::IntoFuture as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use roomkey_room::{
    ConnectErrorKind, ConnectionState, Participant, ParticipantKind, ParticipantState, Participants, RpcError,
    TrackKind, TrackPublication, TrackSource,
};
use roomkey_source::{Credentials, FetchOptions, FixedTokenSource, TokenSource};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::core::{Input, RoomId, RoomInput, TRANSCRIPTION_TOPIC, TextHeader};
use crate::options::Settings;
use crate::room_link::{JoinRoom, ToRoom, WarmUp};
use crate::rpc::{CallError, Methods};
use crate::session_task::Shown;
use crate::{
    AgentError, AgentFailure, AgentState, EndReason, Message, Ready, ReceiveError, SendError, Session, SessionError,
    SessionEvent, SessionState, StartError, StartOptions, Status, TrackFilter, TranscriptFilter,
};

/// Hands each room that is to be joined to the test.
struct ScriptedRooms {
    rooms: mpsc::UnboundedSender<ScriptedRoom>,
    /// The tokens of connections that were prepared.
    prepared: Arc<Mutex<Vec<String>>>,
}

struct ScriptedRoom {
    id: RoomId,
    credentials: Credentials,
    commands: mpsc::UnboundedReceiver<ToRoom>,
    inputs: mpsc::Sender<Input>,
}

impl JoinRoom for ScriptedRooms {
    fn join(
        &mut self,
        id: RoomId,
        credentials: Credentials,
        commands: mpsc::UnboundedReceiver<ToRoom>,
        inputs: mpsc::Sender<Input>,
    ) {
        self.rooms.send(ScriptedRoom { id, credentials, commands, inputs }).expect("the test goes on");
    }

    fn warm_up(&self) -> WarmUp {
        let prepared = Arc::clone(&self.prepared);
        Arc::new(move |credentials| {
            prepared.lock().unwrap().push(credentials.participant_token().to_owned());
            Box::pin(tokio::time::sleep(Duration::from_secs(5)))
        })
    }
}

impl ScriptedRoom {
    async fn say(&self, input: Input) {
        self.inputs.send(input).await.expect("the session goes on");
    }

    async fn happen(&self, input: RoomInput) {
        self.say(Input::Room(self.id, input)).await;
    }

    async fn joined(&self) {
        self.say(Input::RoomJoined(self.id, Arc::default())).await;
    }

    async fn refuse(&self) {
        self.say(Input::RoomNotJoined(self.id, ConnectErrorKind::NotAllowed.into())).await;
    }

    async fn agent_is(&self, state: &str) {
        let mut agent = Participant::new("PA_helper", "helper");
        agent.kind = ParticipantKind::Agent;
        agent.attributes = Arc::new([("lk.agent.state".to_owned(), state.to_owned())].into());
        self.happen(RoomInput::ParticipantUpdated(Arc::new(agent))).await;
    }

    /// Waits until the session leaves, and has left.
    async fn leave(mut self) {
        while !matches!(self.command().await, ToRoom::Leave) {}
        let _ = self.inputs.send(Input::RoomLeft(self.id)).await;
    }

    async fn command(&mut self) -> ToRoom {
        timeout(PATIENCE, self.commands.recv()).await.expect("the session says something").unwrap_or(ToRoom::Leave)
    }

    async fn text(&mut self) -> crate::core::OutgoingText {
        loop {
            if let ToRoom::SendText(text) = self.command().await {
                return text;
            }
        }
    }
}

/// In virtual time; what is awaited comes at once or never.
const PATIENCE: Duration = Duration::from_secs(600);

struct Stage {
    session: Session,
    rooms: mpsc::UnboundedReceiver<ScriptedRoom>,
    fetches: Arc<AtomicUsize>,
    prepared: Arc<Mutex<Vec<String>>>,
    source: TokenSource,
}

impl Stage {
    fn new() -> Self {
        let fetches = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&fetches);
        // What is no JWT is held only where the application says so.
        let source = TokenSource::builder(roomkey_source::provider_fn(move |_| {
            let number = counted.fetch_add(1, Ordering::Relaxed);
            async move { Ok(Credentials::new("wss://example", format!("token {number}"))) }
        }))
        .reuse_when(|_| true)
        .build();
        let (session, rooms, prepared) = scripted(source.bind(FetchOptions::new()));
        Self { session, rooms, fetches, prepared, source }
    }

    fn fetched(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }

    async fn room(&mut self) -> ScriptedRoom {
        timeout(PATIENCE, self.rooms.recv()).await.expect("a room is joined").expect("the session goes on")
    }

    /// Starts, in a room that lets everybody in.
    async fn start(&mut self) -> ScriptedRoom {
        let session = self.session.clone();
        let start = tokio::spawn(async move { session.start(StartOptions::new()).await });
        let room = self.room().await;
        room.joined().await;
        start.await.unwrap().unwrap();
        room
    }
}

type Scripted = (Session, mpsc::UnboundedReceiver<ScriptedRoom>, Arc<Mutex<Vec<String>>>);

fn scripted(source: FixedTokenSource) -> Scripted {
    let (rooms, scripts) = mpsc::unbounded_channel();
    let (shown, methods) = (Arc::new(Shown::new()), Arc::new(Methods::default()));
    let prepared = Arc::default();
    let rooms = ScriptedRooms { rooms, prepared: Arc::clone(&prepared) };
    (Session::with(Settings::default(), source, rooms, shown, methods), scripts, prepared)
}

#[tokio::test(start_paused = true)]
async fn a_start_succeeds_when_the_room_is_there_and_snapshots_outlive_it() {
    let mut stage = Stage::new();
    let mut state = stage.session.state();
    for number in 0..2 {
        let room = stage.start().await;
        assert_eq!(room.credentials.participant_token(), format!("token {number}"));
        assert!(stage.session.is_connected());
        state.wait_for(|state| *state == SessionState::Connected).await.unwrap();
        let session = stage.session.clone();
        let end = tokio::spawn(async move { session.end().await });
        room.leave().await;
        end.await.unwrap();
        let ended = SessionState::Disconnected(Some(EndReason::ClientInitiated));
        state.wait_for(|state| *state == ended).await.unwrap();
    }
    assert_eq!(stage.fetched(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_end_during_a_start_cancels_it_within_a_tenth_of_a_second() {
    let mut stage = Stage::new();
    let session = stage.session.clone();
    let start = tokio::spawn(async move { session.start(StartOptions::new()).await });
    let room = stage.room().await;
    let begun = now();
    let session = stage.session.clone();
    let end = tokio::spawn(async move { session.end().await });
    assert!(matches!(start.await.unwrap(), Err(StartError::Cancelled)));
    assert!(now() - begun < Duration::from_millis(100));
    room.leave().await;
    end.await.unwrap();
    assert!(stage.session.error().borrow().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_start_whose_future_is_dropped_is_given_up() {
    let mut stage = Stage::new();
    let session = stage.session.clone();
    let start = tokio::spawn(async move { session.start(StartOptions::new()).await });
    let room = stage.room().await;
    start.abort();
    room.leave().await;
    assert!(stage.session.state().borrow().is_disconnected());
    stage.start().await;
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_leaves_the_room_and_ends_the_task() {
    let mut stage = Stage::new();
    let room = stage.start().await;
    let (mut events, mut state) = (stage.session.events(), stage.session.state());
    drop(stage.session);
    room.leave().await;
    while timeout(PATIENCE, events.next()).await.expect("the task ends").is_some() {}
    assert!(state.borrow_and_update().is_disconnected());
    assert!(stage.rooms.recv().await.is_none(), "who joins rooms is gone");
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_that_was_held_is_followed_by_a_new_one_and_a_new_one_by_none() {
    let mut stage = Stage::new();
    stage.source.fetch(&FetchOptions::new()).await.unwrap();
    let session = stage.session.clone();
    let start = tokio::spawn(async move { session.start(StartOptions::new()).await });
    let room = stage.room().await;
    assert_eq!((room.credentials.participant_token(), stage.fetched()), ("token 0", 1));
    room.refuse().await;
    let room = stage.room().await;
    assert_eq!((room.credentials.participant_token(), stage.fetched()), ("token 1", 2));
    room.refuse().await;
    assert!(matches!(start.await.unwrap(), Err(StartError::NotAllowed(_))));

    let session = stage.session.clone();
    let start = tokio::spawn(async move { session.start(StartOptions::new()).await });
    let room = stage.room().await;
    assert_eq!(room.credentials.participant_token(), "token 2");
    room.refuse().await;
    assert!(matches!(start.await.unwrap(), Err(StartError::NotAllowed(_))));
    assert_eq!(stage.fetched(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_prepared_token_is_for_equal_options() {
    let lobby = |who: &str| FetchOptions::new().with_room_name("lobby").with_participant_attribute("who", who);
    for (options, fetches) in [(lobby("me"), 1), (lobby("somebody else"), 2)] {
        let mut stage = Stage::new();
        stage.session.set_token_source(stage.source.bind(lobby("me")));
        stage.session.prepare().await.unwrap();
        stage.session.set_token_source(stage.source.bind(options));
        stage.start().await;
        assert_eq!(stage.fetched(), fetches);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_hears_of_every_state_of_the_agent() {
    let mut stage = Stage::new();
    let mut states = stage.session.agent_states();
    let room = stage.start().await;
    for state in ["listening", "thinking", "speaking"] {
        room.agent_is(state).await;
    }
    let ready = stage.session.agent_ready().await.unwrap();
    assert_eq!(ready.identity().unwrap(), "helper");
    let mut heard = Vec::new();
    while heard.last() != Some(&AgentState::Speaking) {
        heard.push(timeout(PATIENCE, states.next()).await.unwrap().unwrap());
    }
    let told = [AgentState::Connecting, AgentState::Listening, AgentState::Thinking, AgentState::Speaking];
    assert_eq!(heard, told);
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_the_agent_ends_with_the_agent_its_time_or_the_session() {
    let mut stage = Stage::new();
    assert_eq!(stage.session.agent_ready().await.unwrap_err(), AgentError::Ended);
    let room = stage.start().await;
    let begun = now();
    let late = stage.session.agent_ready().await.unwrap_err();
    assert_eq!(late, AgentError::Failed(AgentFailure::JoinTimeout));
    assert_eq!(now() - begun, Duration::from_secs(20));

    let session = stage.session.clone();
    let wait = tokio::spawn(async move { session.agent_ready().await });
    room.happen(RoomInput::State(ConnectionState::Disconnected(roomkey_room::DisconnectReason::RoomDeleted))).await;
    assert_eq!(wait.await.unwrap().unwrap_err(), AgentError::Ended);
}

#[tokio::test(start_paused = true)]
async fn a_start_can_wait_for_the_agent() {
    let mut stage = Stage::new();
    let session = stage.session.clone();
    let start = tokio::spawn(async move { session.start(StartOptions::new().wait_for(Ready::Agent)).await });
    let room = stage.room().await;
    room.joined().await;
    room.agent_is("listening").await;
    start.await.unwrap().unwrap();
    assert!(stage.session.agent().borrow().state.is_connected());
}

#[tokio::test(start_paused = true)]
async fn a_message_waits_for_the_agent_and_is_given_back_as_sent() {
    let mut stage = Stage::new();
    let early = stage.session.send("too early").await;
    assert_eq!(early.unwrap_err(), SendError::NotStarted);
    let mut room = stage.start().await;
    let mut messages = stage.session.messages();
    let sending = tokio::spawn(stage.session.send("hi").attribute("mood", "good").into_future());
    let pending = messages.wait_for(|messages| !messages.is_empty()).await.unwrap()[0].clone();
    assert_eq!((pending.status.clone(), &*pending.text), (Status::Pending, "hi"));
    room.agent_is("listening").await;
    let text = room.text().await;
    assert_eq!((&*text.text, text.topic(), &*text.options.attributes["mood"]), ("hi", "lk.chat", "good"));
    room.happen(RoomInput::Sent(text.send, Ok(()))).await;
    let sent = sending.await.unwrap().unwrap();
    assert_eq!((&sent.id, &sent.status), (&pending.id, &Status::Sent));
    assert_eq!(sent.id.segment(), &*text.stream_id);
}

#[tokio::test(start_paused = true)]
async fn messages_come_as_a_list_and_as_events() {
    let mut stage = Stage::new();
    let mut events = stage.session.message_events();
    let room = stage.start().await;
    room.agent_is("speaking").await;
    let header = TextHeader {
        key: 1,
        sender: "helper".into(),
        topic: TRANSCRIPTION_TOPIC.to_owned(),
        stream_id: "stream".into(),
        attributes: BTreeMap::new(),
        is_update: false,
        version: 0,
        attached_stream_ids: Vec::new(),
        timestamp: None,
    };
    room.happen(RoomInput::TextOpened(header)).await;
    room.happen(RoomInput::Text(1, b"Hello".to_vec())).await;
    room.happen(RoomInput::TextClosed(1, BTreeMap::new(), Ok(()))).await;
    let mut kinds = Vec::new();
    while kinds.len() < 2 {
        kinds.push(timeout(PATIENCE, events.next()).await.unwrap().unwrap().message().status.clone());
    }
    assert_eq!(kinds, [Status::Streaming, Status::Final]);
    let list: Vec<Arc<Message>> = stage.session.messages().borrow().to_vec();
    assert_eq!(&*list[0].text, "Hello");
    stage.session.clear_history();
    stage.session.messages().wait_for(|messages| messages.is_empty()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_agent_is_called_once_it_can_be() {
    let mut stage = Stage::new();
    assert_eq!(stage.session.call_agent("ping", "").await, Err(CallError::NotConnected));
    let mut room = stage.start().await;
    let session = stage.session.clone();
    let call = tokio::spawn(async move { session.call_agent("ping", "1").await });
    tokio::time::sleep(Duration::from_secs(5)).await;
    room.agent_is("listening").await;
    loop {
        if let ToRoom::Call { request, reply } = room.command().await {
            assert_eq!(
                (request.destination_identity.as_str(), &*request.method, &*request.payload),
                ("helper", "ping", "1")
            );
            reply.send(Err(RpcError::new(RpcError::UNSUPPORTED_METHOD, "no such method"))).unwrap();
            break;
        }
    }
    let failed = call.await.unwrap().unwrap_err();
    assert!(matches!(failed, CallError::Rpc(error) if error.code == RpcError::UNSUPPORTED_METHOD));
}

#[tokio::test(start_paused = true)]
async fn a_call_of_the_agent_takes_no_longer_than_it_may_and_the_agent_is_told_what_is_left() {
    let mut stage = Stage::new();
    let mut room = stage.start().await;
    let begun = now();
    let ping = || stage.session.call_agent("ping", "").timeout(Duration::from_secs(5));
    assert_eq!(ping().await, Err(CallError::Timeout), "no agent came");
    assert_eq!(now() - begun, Duration::from_secs(5));

    let call = tokio::spawn(ping().into_future());
    tokio::time::sleep(Duration::from_secs(2)).await;
    room.agent_is("listening").await;
    let (request, _reply) = loop {
        if let ToRoom::Call { request, reply } = room.command().await {
            break (request, reply);
        }
    };
    assert_eq!(request.response_timeout, Duration::from_secs(3));
    assert_eq!(call.await.unwrap(), Err(CallError::Timeout));
    assert_eq!(now() - begun, Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_method_of_the_agent_can_take_and_give_json() {
    let mut stage = Stage::new();
    let mut room = stage.start().await;
    room.agent_is("listening").await;
    for (answer, expected) in [("[1,2]", Ok(vec![1, 2])), ("soon", Err(CallError::InvalidAnswer("soon".to_owned())))] {
        let session = stage.session.clone();
        let call = tokio::spawn(async move { session.call_agent_json::<Vec<u32>>("count", &["a", "b"]).await });
        loop {
            if let ToRoom::Call { request, reply } = room.command().await {
                assert_eq!((&*request.method, &*request.payload), ("count", r#"["a","b"]"#));
                reply.send(Ok(answer.to_owned())).unwrap();
                break;
            }
        }
        assert_eq!(call.await.unwrap(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_of_tracks_follows_the_room_and_is_empty_without_one() {
    let mut stage = Stage::new();
    let mut cameras = stage.session.tracks(TrackFilter::source(TrackSource::Camera));
    assert!(cameras.borrow().is_empty());
    let room = stage.start().await;
    let mut participants = Participants::default();
    let mut friend = Participant::new("PA_friend", "friend");
    friend.state = ParticipantState::Active;
    let mut camera = TrackPublication::new("TR_camera", TrackKind::Video, TrackSource::Camera);
    camera.is_subscribed = true;
    friend.publications = vec![Arc::new(camera)];
    participants.order.push(friend.identity.clone());
    participants.remote.insert(friend.identity.clone(), Arc::new(friend));
    room.happen(RoomInput::Participants(Arc::new(participants))).await;
    cameras.wait_for(|tracks| tracks.len() == 1).await.unwrap();
    let late = stage.session.tracks(TrackFilter::source(TrackSource::Camera));
    assert_eq!(late.borrow().len(), 1);
    let session = stage.session.clone();
    tokio::spawn(async move { session.end().await });
    room.leave().await;
    cameras.wait_for(|tracks| tracks.is_empty()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_source_that_never_answers_ends_the_start_in_its_time() {
    let source =
        TokenSource::builder(roomkey_source::provider_fn(|_| std::future::pending())).load_timeout(None).build();
    let (session, _rooms, _) = scripted(source.bind(FetchOptions::new()));
    let begun = now();
    let result = session.start(StartOptions::new().with_timeout(Duration::from_secs(7))).await;
    assert!(matches!(result, Err(StartError::Timeout)));
    assert_eq!(now() - begun, Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn a_start_may_take_for_ever() {
    let mut stage = Stage::new();
    let session = stage.session.clone();
    let options = StartOptions::new().with_timeout(Duration::MAX);
    let start = tokio::spawn(async move { session.start(options).await });
    stage.room().await.joined().await;
    start.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_preparation_has_a_token_and_then_a_connection_and_can_be_dropped_for_that() {
    let mut stage = Stage::new();
    let begun = now();
    stage.session.prepare().await.unwrap();
    assert_eq!(now() - begun, Duration::from_secs(5));
    stage.session.prepare().await.unwrap();
    assert_eq!(*stage.prepared.lock().unwrap(), ["token 0"], "it is prepared");
    stage.start().await;
    stage.session.prepare().await.unwrap();
    assert_eq!((stage.fetched(), stage.prepared.lock().unwrap().len()), (1, 1), "it is started");

    let mut stage = Stage::new();
    let session = stage.session.clone();
    let preparing = tokio::spawn(async move { session.prepare().await });
    while stage.prepared.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    // The start does not wait for it.
    let begun = now();
    let room = stage.start().await;
    assert_eq!((now() - begun, room.credentials.participant_token()), (Duration::ZERO, "token 0"));
    preparing.abort();
    assert!(preparing.await.unwrap_err().is_cancelled());
    assert_eq!(stage.fetched(), 1);
}

#[tokio::test(start_paused = true)]
async fn waits_for_the_session_end_with_it() {
    let mut stage = Stage::new();
    assert_eq!(stage.session.connected().await, Err(None), "it is not started");
    assert_eq!(stage.session.disconnected().await, None);
    let session = stage.session.clone();
    let starting = tokio::spawn(async move { session.start(StartOptions::new()).await });
    let room = stage.room().await;
    let (one, other) = (stage.session.clone(), stage.session.clone());
    let connected = tokio::spawn(async move { one.connected().await });
    let disconnected = tokio::spawn(async move { other.disconnected().await });
    room.joined().await;
    starting.await.unwrap().unwrap();
    assert_eq!(connected.await.unwrap(), Ok(()));
    room.happen(RoomInput::State(ConnectionState::Resuming)).await;
    stage.session.state().wait_for(|state| state.is_reconnecting()).await.unwrap();
    let session = stage.session.clone();
    let connected = tokio::spawn(async move { session.connected().await });
    room.happen(RoomInput::State(ConnectionState::Disconnected(roomkey_room::DisconnectReason::RoomDeleted))).await;
    let deleted = EndReason::Room(roomkey_room::DisconnectReason::RoomDeleted);
    assert_eq!(connected.await.unwrap(), Err(Some(deleted)));
    assert_eq!(disconnected.await.unwrap(), Some(deleted));
}

#[tokio::test(start_paused = true)]
async fn waits_for_the_agent_end_with_what_is_waited_for_their_time_or_the_session() {
    let mut stage = Stage::new();
    assert_eq!(stage.session.agent_can_listen().await.unwrap_err(), AgentError::Ended);
    assert_eq!(stage.session.agent_camera().await.unwrap_err(), AgentError::Ended);
    assert_eq!(stage.session.agent_finished().await, None);
    let room = stage.start().await;
    let late = AgentError::Failed(AgentFailure::JoinTimeout);
    let begun = now();
    assert_eq!(stage.session.agent_microphone().await.unwrap_err(), late);
    assert_eq!(now() - begun, Duration::from_secs(20));

    room.agent_is("listening").await;
    let agent = stage.session.agent_can_listen().await.unwrap();
    assert_eq!(agent.state, AgentState::Listening);
    let begun = now();
    assert_eq!(stage.session.agent_camera().await.unwrap_err(), AgentError::NoTrack);
    assert_eq!(now() - begun, Duration::from_secs(20));

    let session = stage.session.clone();
    let camera = tokio::spawn(async move { session.agent_camera().await });
    let mut agent = Participant::new("PA_helper", "helper");
    agent.kind = ParticipantKind::Agent;
    agent.attributes = Arc::new([("lk.agent.state".to_owned(), "listening".to_owned())].into());
    let camera_track = TrackPublication::new("TR_camera", TrackKind::Video, TrackSource::Camera);
    let microphone_track = TrackPublication::new("TR_mic", TrackKind::Audio, TrackSource::Microphone);
    agent.publications = [camera_track, microphone_track].map(Arc::new).to_vec();
    room.happen(RoomInput::ParticipantUpdated(Arc::new(agent))).await;
    assert_eq!(camera.await.unwrap().unwrap().publication.unwrap().sid, "TR_camera");
    assert_eq!(stage.session.agent_microphone().await.unwrap().publication.unwrap().sid, "TR_mic");

    let session = stage.session.clone();
    let finished = tokio::spawn(async move { session.agent_finished().await });
    let left = roomkey_room::DisconnectReason::ParticipantRemoved;
    room.happen(RoomInput::ParticipantLeft("helper".into(), left)).await;
    stage.session.agent().wait_for(|agent| agent.participant.is_none()).await.unwrap();
    assert!(!finished.is_finished(), "it may come again");
    // Nothing says so but the time: its grace runs out where it is certain to come, and with the session at the latest.
    room.happen(RoomInput::State(ConnectionState::Disconnected(left))).await;
    let ended = finished.await.unwrap();
    assert!(matches!(ended, None | Some(AgentFailure::Left(_))), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn transcripts_are_listed_by_who_spoke_and_change_when_those_do() {
    let mut stage = Stage::new();
    let mut helpers = stage.session.transcripts(TranscriptFilter::all().participant("helper"));
    let mut nobodys = stage.session.transcripts(TranscriptFilter::all().participant("nobody"));
    let room = stage.start().await;
    nobodys.mark_unchanged();
    for (key, sender) in [(1, "helper"), (2, "bob")] {
        let header = TextHeader {
            key,
            sender: sender.into(),
            topic: TRANSCRIPTION_TOPIC.to_owned(),
            stream_id: sender.into(),
            attributes: BTreeMap::new(),
            is_update: false,
            version: 0,
            attached_stream_ids: Vec::new(),
            timestamp: None,
        };
        room.happen(RoomInput::TextOpened(header)).await;
        room.happen(RoomInput::Text(key, sender.into())).await;
        room.happen(RoomInput::TextClosed(key, BTreeMap::new(), Ok(()))).await;
    }
    stage.session.messages().wait_for(|messages| messages.len() == 2).await.unwrap();
    let said = Arc::clone(&helpers.borrow_and_update());
    assert_eq!(said.iter().map(|message| &*message.text).collect::<Vec<_>>(), ["helper"]);
    assert!(!nobodys.has_changed().unwrap());
    let late = stage.session.transcripts(TranscriptFilter::all());
    assert_eq!(late.borrow().len(), 2);
    stage.session.clear_history();
    helpers.wait_for(|messages| messages.is_empty()).await.unwrap();
}

/// What a room says of a stream whose compressed bytes are none.
#[tokio::test(start_paused = true)]
async fn a_stream_that_the_room_can_not_decompress_is_an_error_of_a_session_that_goes_on() {
    let mut stage = Stage::new();
    let mut events = stage.session.events();
    let room = stage.start().await;
    let header = |key, stream_id: &str| TextHeader {
        key,
        sender: "helper".into(),
        topic: TRANSCRIPTION_TOPIC.to_owned(),
        stream_id: stream_id.into(),
        attributes: BTreeMap::new(),
        is_update: false,
        version: 0,
        attached_stream_ids: Vec::new(),
        timestamp: None,
    };
    let why: Arc<str> = roomkey_room::StreamError::InvalidDeflate.to_string().into();
    room.happen(RoomInput::TextOpened(header(1, "bad"))).await;
    room.happen(RoomInput::TextClosed(1, BTreeMap::new(), Err(Arc::clone(&why)))).await;
    let failed = loop {
        if let SessionEvent::Failed(error) = timeout(PATIENCE, events.next()).await.unwrap().unwrap() {
            break error;
        }
    };
    assert!(matches!(&*failed, SessionError::Receive(ReceiveError::Stream(reason)) if *reason == why));
    assert!(stage.session.is_connected());
    room.happen(RoomInput::TextOpened(header(2, "good"))).await;
    room.happen(RoomInput::Text(2, b"Hello".to_vec())).await;
    room.happen(RoomInput::TextClosed(2, BTreeMap::new(), Ok(()))).await;
    let messages = stage.session.messages().wait_for(|messages| !messages.is_empty()).await.unwrap().to_vec();
    assert_eq!(messages.iter().map(|message| &*message.text).collect::<Vec<_>>(), ["Hello"]);
}

fn now() -> Instant {
    crate::clock::now().at.into()
}
