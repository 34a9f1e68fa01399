//! Sessions in rooms of the dev server, with its demo agent, and with each other.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use roomkey_dev_server::{Config, DevServer};
use roomkey_room::{
    AudioFrame, AudioSource, AudioSourceOptions, ParticipantKind, Room, RoomEvent, RpcError, RpcRequest,
    TextStreamOptions, TrackKind, TrackSource,
};
use roomkey_session::{
    AgentExpectation, AgentSelector, AgentState, AttachmentStatus, CallError, EndReason, Message, MessageKind,
    Microphone, OutgoingFile, Ready, SendPolicy, Session, SessionState, StartError, StartOptions, Status, TrackFilter,
    TrackRef,
};
use roomkey_source::{BoxError, Credentials, FetchOptions, TokenSource};
use roomkey_token::{AccessToken, RoomAgentDispatch, RoomConfiguration, Signer, VideoGrant};
use tokio::sync::watch;
use tokio::time::timeout;

const KEY: &str = "APIsession";
const SECRET: &str = "a secret that is long enough for a test";
/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

async fn server() -> DevServer {
    DevServer::bind(Config::new().with_key(KEY, SECRET).with_echo_agent(true)).await.unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a token is of its time")]
fn sign(token: &AccessToken) -> String {
    token.sign(&Signer::new(KEY, SECRET).unwrap(), SystemTime::now()).unwrap().as_str().to_owned()
}

/// A source of tokens for one room, which dispatch the agent or do not.
fn source(server: &DevServer, identity: &str, room: &str, dispatches: bool) -> TokenSource {
    let (url, identity, room) = (server.url(), identity.to_owned(), room.to_owned());
    TokenSource::custom(move |_| {
        let mut token = AccessToken::new(&identity).with_video(VideoGrant::join(&room));
        if dispatches {
            let mut config = RoomConfiguration::default();
            config.agents.push(RoomAgentDispatch::default());
            token = token.with_room_config(config);
        }
        let credentials = Credentials::new(&url, sign(&token));
        async move { Ok::<_, BoxError>(credentials) }
    })
}

fn session(server: &DevServer, identity: &str) -> Session {
    let source = source(server, identity, "people", false).bind(FetchOptions::new());
    Session::builder(source).agent(AgentExpectation::None).build()
}

async fn until<T>(watch: &mut watch::Receiver<T>, is_it: impl FnMut(&T) -> bool) -> watch::Ref<'_, T> {
    timeout(PATIENCE, watch.wait_for(is_it)).await.expect("what is waited for happens").unwrap()
}

async fn message(session: &Session, is_it: impl Fn(&Message) -> bool) -> Arc<Message> {
    let mut messages = session.messages();
    let messages = until(&mut messages, |messages| messages.iter().any(|message| is_it(message))).await;
    Arc::clone(messages.iter().find(|message| is_it(message)).unwrap())
}

#[tokio::test]
async fn a_session_with_the_demo_agent_from_start_to_end_and_again() {
    let server = server().await;
    let source = source(&server, "me", "demo", true);
    let session = Session::of(source.bind(FetchOptions::new()));
    session.prepare().await.unwrap();
    for round in 1..=2 {
        session.start(StartOptions::new().wait_for(Ready::Agent)).await.unwrap();
        assert_eq!(*session.state().borrow(), SessionState::Connected);
        let sent = session.send(format!("hello {round}")).await.unwrap();
        assert_eq!(sent.status, Status::Sent);
        let reply = message(&session, |message| *message.text == *format!("You said: hello {round}")).await;
        assert_eq!(reply.kind, MessageKind::AgentTranscript);
        message(&session, |message| message.id == reply.id && message.status == Status::Final).await;
        assert!(session.room().is_some());
        session.end().await;
        assert_eq!(*session.state().borrow(), SessionState::Disconnected(Some(EndReason::ClientInitiated)));
        assert_eq!(session.agent().borrow().state, AgentState::Disconnected);
        assert!(session.room().is_none());
    }
    assert_eq!(session.messages().borrow().len(), 4, "history is kept");
    assert_eq!(source.stats().flights, 2);
    let metrics = *session.metrics().borrow();
    assert!(metrics.token.is_some() && metrics.connect.is_some() && metrics.agent_ready.is_some());
    server.shutdown().await;
}

#[tokio::test]
async fn a_token_that_the_server_does_not_accept_is_said_to_be_so() {
    let server = server().await;
    let url = server.url();
    let source = TokenSource::custom(move |_| {
        let credentials = Credentials::new(&url, "no token");
        async move { Ok(credentials) }
    });
    let session = Session::of(source.bind(FetchOptions::new()));
    assert!(matches!(session.start(StartOptions::new()).await, Err(StartError::NotAllowed)));
    assert_eq!(source.stats().flights, 1);
    assert!(session.error().borrow().is_some());
    session.dismiss_error();
    until(&mut session.error(), Option::is_none).await;
    server.shutdown().await;
}

#[tokio::test]
async fn a_session_shows_its_room_and_from_when_until_when_its_token_is_good() {
    let server = server().await;
    let ann = session(&server, "ann");
    let (mut token, mut info) = (ann.token(), ann.room_info());
    assert!(token.borrow().is_none() && info.borrow().name.is_empty());
    ann.start(StartOptions::new()).await.unwrap();
    let first = until(&mut token, Option::is_some).await.unwrap();
    assert!(first.expires_at.is_some_and(|expires_at| expires_at > first.made_at));
    until(&mut info, |info| info.name == "people").await;

    // The server sends a newer one once the room is joined.
    until(&mut token, |token| token.is_some_and(|token| token.is_refreshed)).await;
    ann.end().await;
    assert!(token.borrow().is_none() && info.borrow().name.is_empty());
    server.shutdown().await;
}

#[tokio::test]
async fn two_people_write_to_each_other_with_files() {
    let server = server().await;
    let (ann, bob) = (session(&server, "ann"), session(&server, "bob"));
    ann.start(StartOptions::new()).await.unwrap();
    bob.start(StartOptions::new()).await.unwrap();
    until(&mut ann.participants(), |all| all.remote.contains_key("bob")).await;

    let large: Vec<u8> = (0..300_000_u32).map(|index| index as u8).collect();
    let files =
        [OutgoingFile::new("large.bin", "application/x-large", large), OutgoingFile::new("a.txt", "text/plain", *b"a")];
    let [first, second] = files.clone();
    let sent = ann.send("two files").attribute("mood", "good").attach(first).attach(second).await.unwrap();

    let is_whole = |message: &Message| {
        !message.attachments.is_empty()
            && message.attachments.iter().all(|file| file.status != AttachmentStatus::Pending)
    };
    let received = message(&bob, is_whole).await;
    assert!(sent.is_local() && !received.is_local());
    assert_eq!((&received.id, &received.kind, &received.status), (&sent.id, &MessageKind::Chat, &Status::Final));
    assert_eq!((&*received.text, &*received.attributes["mood"]), ("two files", "good"));
    for (file, attachment) in files.iter().zip(&*received.attachments) {
        assert_eq!((&file.name, &file.mime_type), (&attachment.name, &attachment.mime_type));
        assert_eq!(attachment.status, AttachmentStatus::Received(Arc::clone(&file.bytes)));
    }
    let private = bob.send("for you").to("ann").await.unwrap();
    message(&ann, |message| message.id == private.id).await;
    server.shutdown().await;
}

#[tokio::test]
async fn streams_of_other_topics_and_methods_are_the_applications() {
    let server = server().await;
    let (ann, bob) = (session(&server, "ann"), session(&server, "bob"));
    let mut streams = bob.text_streams("notes");
    let answers = bob.rpc().only("ann").on_json("double", |number: u32, _caller| async move { Ok(number * 2) });
    let panics = bob.rpc().on("panic", |_| async { panic!("as a test does") });
    let _never = bob.rpc().only_agent().on("secret", |_| async { Ok(String::new()) });
    ann.start(StartOptions::new()).await.unwrap();
    bob.start(StartOptions::new()).await.unwrap();
    until(&mut ann.participants(), |all| all.remote.contains_key("bob")).await;

    let me = ann.room().unwrap().local_participant();
    me.send_text("a note", TextStreamOptions::new("notes")).await.unwrap();
    let mut note = timeout(PATIENCE, streams.next()).await.unwrap().unwrap();
    assert_eq!(note.read_all().await.unwrap(), "a note");

    let call = |method: &str, payload: &str| ann.call(RpcRequest::new("bob", method, payload));
    let code = |result: Result<String, CallError>| {
        let Err(CallError::Rpc(error)) = result else { panic!("{result:?}") };
        error.code
    };
    assert_eq!(call("double", "21").await.unwrap(), "42");
    assert_eq!(code(call("double", "no number").await), RpcError::APPLICATION_ERROR);
    assert_eq!(code(call("panic", "").await), RpcError::APPLICATION_ERROR);
    assert_eq!(code(call("secret", "").await), RpcError::UNSUPPORTED_METHOD);
    drop(answers);
    panics.keep();
    let mut calls = 0;
    while code(call("double", "no number").await) != RpcError::UNSUPPORTED_METHOD {
        calls += 1;
        assert!(calls < 1_000, "the method is gone");
    }
    server.shutdown().await;
}

#[tokio::test]
async fn what_is_said_before_the_agent_is_there_reaches_it_as_a_stream() {
    let server = server().await;
    let source = AudioSource::new(AudioSourceOptions::new());
    // The demo agent comes too.
    let agent = AgentExpectation::Expected(AgentSelector::identity("agent"));
    let user =
        Session::builder(self::source(&server, "user", "voice", false).bind(FetchOptions::new())).agent(agent).build();
    let speaking = source.clone();
    let speaker = tokio::spawn(async move {
        loop {
            let frame = AudioFrame::new(vec![0.25; 480], 48_000, 1).unwrap();
            speaking.capture_frame(&frame).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    user.start(StartOptions::new().microphone(Microphone::new(&source))).await.unwrap();
    let mut microphones = user.tracks(TrackFilter::source(TrackSource::Microphone));
    // The demo agent's may be there first; one's own stands before it.
    let is_own = |tracks: &Arc<[TrackRef]>| tracks.first().is_some_and(|track| track.participant.is_local);
    let track = until(&mut microphones, is_own).await[0].publication.clone().unwrap();
    assert_eq!(track.kind, TrackKind::Audio);
    assert!(track.has_preconnect_buffer);

    let agent = AccessToken::new("agent")
        .with_kind(roomkey_token::ParticipantKind::Agent)
        .with_video(VideoGrant::join("voice"));
    let room = Room::connect(&server.url(), &sign(&agent)).await.unwrap();
    let mut events = room.events();
    let mut reader = loop {
        let event = timeout(PATIENCE, events.next()).await.unwrap().unwrap();
        if let RoomEvent::ByteStreamOpened { reader, topic, .. } = event
            && topic == "lk.agent.pre-connect-audio-buffer"
        {
            break reader.take().unwrap();
        }
    };
    assert_eq!(reader.info().attributes["trackId"], track.sid.as_str());
    assert_eq!(reader.info().attributes["sampleRate"], "24000");
    let bytes = timeout(PATIENCE, reader.read_all()).await.unwrap().unwrap();
    assert!(
        bytes.chunks_exact(2).any(|sample| i16::from_le_bytes([sample[0], sample[1]]) > 6_000),
        "it is what was said"
    );
    speaker.abort();
    server.shutdown().await;
}

#[tokio::test]
async fn a_dropped_session_leaves_its_room() {
    let server = server().await;
    let (ann, bob) = (session(&server, "ann"), session(&server, "bob"));
    ann.start(StartOptions::new()).await.unwrap();
    bob.start(StartOptions::new()).await.unwrap();
    until(&mut ann.participants(), |all| all.remote.contains_key("bob")).await;
    drop(bob);
    until(&mut ann.participants(), |all| !all.remote.contains_key("bob")).await;
    server.shutdown().await;
}

#[tokio::test]
async fn a_connection_that_breaks_is_taken_up_again_and_nothing_sent_is_lost() {
    let server = server().await;
    let source = source(&server, "ann", "people", false).bind(FetchOptions::new());
    let ann = Session::builder(source).agent(AgentExpectation::None).send_policy(SendPolicy::Immediate).build();
    let bob = session(&server, "bob");
    ann.start(StartOptions::new()).await.unwrap();
    bob.start(StartOptions::new()).await.unwrap();
    until(&mut ann.participants(), |all| all.remote.contains_key("bob")).await;
    let mut state = ann.state();
    ann.room().unwrap().simulate_signal_loss();
    until(&mut state, |state| state.is_reconnecting()).await;
    let sent = ann.send("still here").await.unwrap();
    until(&mut state, |state| *state == SessionState::Connected).await;
    message(&bob, |message| message.id == sent.id).await;
    server.shutdown().await;
}

/// Kinds that a server tells of participants come from their tokens.
#[tokio::test]
async fn who_is_no_agent_by_its_token_is_none() {
    let server = server().await;
    let ann = Session::of(source(&server, "ann", "plain", false).bind(FetchOptions::new()));
    ann.start(StartOptions::new()).await.unwrap();
    let plain = sign(&AccessToken::new("bob").with_video(VideoGrant::join("plain")));
    let _bob = Room::connect(&server.url(), &plain).await.unwrap();
    until(&mut ann.participants(), |all| all.remote.contains_key("bob")).await;
    assert_eq!(ann.participants().borrow().remote["bob"].kind, ParticipantKind::Standard);
    assert!(ann.agent().borrow().identity().is_none_or(|identity| identity != "bob"));
    server.shutdown().await;
}
