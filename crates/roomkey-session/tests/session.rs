//! Sessions in rooms of the dev server, with its demo agent, and with each other.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use roomkey_dev_server::{Config, DevServer};
use roomkey_room::{
    AudioFrame, AudioSource, AudioSourceOptions, AudioStreamOptions, DataPacket, EncryptionKey, EncryptionOptions,
    EncryptionState, KeyProvider, ParticipantKind, Participants, Room, RoomEvent, RpcError, RpcRequest,
    TextStreamOptions, TrackKind, TrackSource,
};
use roomkey_session::{
    AgentExpectation, AgentSelector, AgentState, AttachmentStatus, CallError, EndReason, Message, MessageId,
    MessageKind, Microphone, NotEditable, OutgoingFile, OutgoingMessage, Ready, ReceiveError, RestartPolicy, SendError,
    SendPolicy, Session, SessionError, SessionEvent, SessionState, StartError, StartOptions, Status, TrackFilter,
    TrackRef,
};
use roomkey_source::{BoxError, Credentials, FetchOptions, TokenSource};
use roomkey_token::{AccessToken, RoomAgentDispatch, RoomConfiguration, Signer, VideoGrant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
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
    assert!(matches!(session.start(StartOptions::new()).await, Err(StartError::NotAllowed(_))));
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
async fn a_muted_microphone_is_so_from_its_publication_on_and_keeps_nothing_for_the_agent() {
    let server = server().await;
    let source = AudioSource::new(AudioSourceOptions::new());
    let agent = AgentExpectation::Expected(AgentSelector::identity("agent"));
    let user =
        Session::builder(self::source(&server, "user", "voice", false).bind(FetchOptions::new())).agent(agent).build();
    let microphone = user.microphone();
    microphone.mute();
    let speaking = source.clone();
    let speaker = tokio::spawn(async move {
        loop {
            let frame = AudioFrame::new(vec![0.25; 480], 48_000, 1).unwrap();
            speaking.capture_frame(&frame).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let own = |muted: bool| {
        move |participants: &Arc<Participants>| {
            let publication = participants.local.as_ref().and_then(|me| me.publication_of(TrackSource::Microphone));
            publication.is_some_and(|publication| publication.is_muted == muted)
        }
    };
    user.start(StartOptions::new().microphone(Microphone::new(&source))).await.unwrap();
    until(&mut user.participants(), own(true)).await;

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
    assert_eq!(timeout(PATIENCE, reader.read_all()).await.unwrap().unwrap().len(), 0);

    microphone.unmute();
    until(&mut user.participants(), own(false)).await;
    microphone.mute();
    until(&mut user.participants(), own(true)).await;
    assert!(microphone.is_muted() && *user.microphone().muted().borrow());
    user.end().await;
    user.start(StartOptions::new().microphone(Microphone::new(&source).pre_connect(false))).await.unwrap();
    until(&mut user.participants(), own(true)).await;
    speaker.abort();
    server.shutdown().await;
}

#[tokio::test]
async fn the_agents_voice_is_followed_into_the_next_room() {
    let server = server().await;
    let source = AudioSource::new(AudioSourceOptions::new());
    let user = Session::of(self::source(&server, "user", "voice", true).bind(FetchOptions::new()));
    let speaking = source.clone();
    let speaker = tokio::spawn(async move {
        loop {
            let frame = AudioFrame::new(vec![0.25; 480], 48_000, 1).unwrap();
            speaking.capture_frame(&frame).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let mut voice = user.agent_audio();
    for _ in 0..2 {
        user.start(StartOptions::new().microphone(Microphone::new(&source).pre_connect(false))).await.unwrap();
        let track = timeout(PATIENCE, voice.next()).await.unwrap().unwrap();
        let mut stream = track.audio_stream(&AudioStreamOptions::new());
        assert!(timeout(PATIENCE, stream.next()).await.unwrap().is_some(), "it is heard");
        user.end().await;
        timeout(PATIENCE, async { while stream.next().await.is_some() {} }).await.unwrap();
    }
    speaker.abort();
    drop(user);
    assert!(timeout(PATIENCE, voice.next()).await.unwrap().is_none());
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

/// On several threads, as the session's task and its room's go on beside each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_ended_can_be_started_again_at_once_with_the_same_microphone() {
    let server = server().await;
    let source = AudioSource::new(AudioSourceOptions::new());
    let ann = session(&server, "ann");
    for round in 0..6 {
        ann.start(StartOptions::new().microphone(&source)).await.unwrap();
        if round % 2 == 0 {
            let mut microphones = ann.tracks(TrackFilter::source(TrackSource::Microphone));
            until(&mut microphones, |tracks| tracks.iter().any(|track| track.publication.is_some())).await;
        }
        ann.end().await;
        let error = ann.error().borrow().clone();
        assert!(error.is_none(), "round {round}: {error:?}");
    }
    server.shutdown().await;
}

/// Passes on to a server what comes, and keeps the `authorization` of each request.
async fn listen_in(server: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let kept = Arc::clone(&kept);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = client.read_u8().await else { return };
                    head.push(byte);
                }
                let text = String::from_utf8_lossy(&head).into_owned();
                let header = text.lines().find(|line| line.to_ascii_lowercase().starts_with("authorization:"));
                kept.lock().unwrap().extend(header.map(str::to_owned));
                let mut server = TcpStream::connect(server).await.unwrap();
                server.write_all(&head).await.unwrap();
                // An end that breaks off is the other's business.
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (address, seen)
}

#[tokio::test]
async fn a_connection_is_taken_up_again_with_the_token_that_the_server_has_sent() {
    let server = server().await;
    let (address, seen) = listen_in(server.address()).await;
    let token = sign(&AccessToken::new("ann").with_video(VideoGrant::join("people")));
    let literal = TokenSource::literal(Credentials::new(format!("ws://{address}"), token));
    let ann = Session::builder(literal).agent(AgentExpectation::None).build();
    ann.start(StartOptions::new()).await.unwrap();
    until(&mut ann.token(), |token| token.is_some_and(|token| token.is_refreshed)).await;
    let sid = ann.participants().borrow().local.as_ref().unwrap().sid.clone();
    let mut state = ann.state();
    ann.room().unwrap().simulate_signal_loss();
    until(&mut state, |state| state.is_reconnecting()).await;
    until(&mut state, |state| *state == SessionState::Connected).await;
    assert_eq!(ann.participants().borrow().local.as_ref().unwrap().sid, sid, "the same stay");
    let seen = seen.lock().unwrap().clone();
    let [first, .., last] = &seen[..] else { panic!("two requests") };
    assert_ne!(first, last);
    server.shutdown().await;
}

/// An agent of this name, that listens.
async fn agent(server: &DevServer, identity: &str, name: &str, room: &str) -> Room {
    let token = AccessToken::new(identity)
        .with_kind(roomkey_token::ParticipantKind::Agent)
        .with_attribute("lk.agent.name", name)
        .with_attribute("lk.agent.state", "listening")
        .with_video(VideoGrant::join(room));
    Room::connect(&server.url(), &sign(&token)).await.unwrap()
}

#[tokio::test]
async fn of_two_agents_the_one_of_the_name_is_the_sessions_whichever_came_first() {
    let server = DevServer::bind(Config::new().with_key(KEY, SECRET)).await.unwrap();
    for (room, order) in [("one", ["tutor", "greeter"]), ("two", ["greeter", "tutor"])] {
        let [first, second] = order;
        let _first = agent(&server, &format!("agent-{first}"), first, room).await;
        let expected = AgentExpectation::Expected(AgentSelector::name("tutor"));
        let user = Session::builder(source(&server, "user", room, false).bind(FetchOptions::new())).agent(expected);
        let user = user.build();
        user.start(StartOptions::new()).await.unwrap();
        let _second = agent(&server, &format!("agent-{second}"), second, room).await;
        let snapshot = timeout(PATIENCE, user.agent_ready()).await.unwrap().unwrap();
        assert_eq!((snapshot.name(), &snapshot.state), (Some("tutor"), &AgentState::Listening));
        until(&mut user.participants(), |all| all.remote.len() == 2).await;
        assert_eq!(user.agent().borrow().name(), Some("tutor"));
        user.end().await;
    }
    server.shutdown().await;
}

#[tokio::test]
async fn a_transcript_is_the_same_in_one_packet_compressed_and_in_chunks() {
    let server = DevServer::bind(Config::new().with_key(KEY, SECRET)).await.unwrap();
    let agent = agent(&server, "agent", "a", "talk").await;
    let user = Session::of(source(&server, "user", "talk", false).bind(FetchOptions::new()));
    user.start(StartOptions::new()).await.unwrap();
    // Until it knows what the user's client reads, it sends as to an old one.
    let knows = |all: &Arc<Participants>| {
        all.get(&"user".into()).is_some_and(|user| user.client_protocol >= 2 && user.reads_deflate)
    };
    until(&mut agent.participants(), knows).await;
    let me = agent.local_participant();
    let long = "It says the same again. ".repeat(2_000);
    for (segment, text) in [("short", "hello"), ("long", long.as_str())] {
        let options = |way: &str| {
            let options = TextStreamOptions::new("lk.transcription");
            options
                .with_attribute("lk.segment_id", format!("{segment} {way}"))
                .with_attribute("lk.transcription_final", "true")
        };
        me.send_text(text, options("whole")).await.unwrap();
        let mut writer = me.stream_text(options("chunks")).await.unwrap();
        let (head, tail) = text.split_at(text.len() / 2);
        writer.write(head).await.unwrap();
        writer.write(tail).await.unwrap();
        writer.close().await.unwrap();
        for way in ["whole", "chunks"] {
            let id = format!("{segment} {way}");
            let of = |message: &Message| message.id.segment() == id && message.status == Status::Final;
            let said = message(&user, of).await;
            assert_eq!((&*said.text, said.kind, said.is_local()), (text, MessageKind::AgentTranscript, false), "{id}");
        }
    }
    server.shutdown().await;
}

#[tokio::test]
async fn all_that_is_said_before_a_waiting_agent_hears_reaches_it_once_the_track_is_there() {
    let server = DevServer::bind(Config::new().with_key(KEY, SECRET)).await.unwrap();
    let agent = agent(&server, "agent", "a", "voice").await;
    let mut events = agent.events();
    let source = AudioSource::new(AudioSourceOptions::new());
    let expected = AgentExpectation::Expected(AgentSelector::identity("agent"));
    let user = self::source(&server, "user", "voice", false).bind(FetchOptions::new());
    let user = Session::builder(user).agent(expected).build();
    let mut state = user.state();
    let starting = user.clone();
    let microphone = source.clone();
    let start = tokio::spawn(async move { starting.start(StartOptions::new().microphone(&microphone)).await });
    until(&mut state, |state| *state == SessionState::Connecting).await;
    for _ in 0..50 {
        source.capture_frame(&AudioFrame::new(vec![0.25; 480], 48_000, 1).unwrap()).await.unwrap();
    }
    start.await.unwrap().unwrap();
    let mut reader = loop {
        if let RoomEvent::ByteStreamOpened { reader, .. } = timeout(PATIENCE, events.next()).await.unwrap().unwrap() {
            break reader.take().unwrap();
        }
    };
    let sid = user.participants().borrow().local.as_ref().unwrap().publications[0].sid.clone();
    assert_eq!(reader.info().attributes["trackId"], sid.as_str());
    let bytes = timeout(PATIENCE, reader.read_all()).await.unwrap().unwrap();
    // Half a second of 24,000 samples, but for what resampling holds back.
    let samples = bytes.len() / 2;
    assert!((11_500..=12_000).contains(&samples), "{samples}");
    server.shutdown().await;
}

#[tokio::test]
async fn a_call_of_one_who_leaves_fails_soon_and_a_large_one_goes_through() {
    let server = server().await;
    let (ann, bob) = (session(&server, "ann"), session(&server, "bob"));
    let _length = bob.rpc().on_json("length", |text: String, _caller| async move { Ok(text.len()) });
    let begun = Arc::new(tokio::sync::Notify::new());
    let has_begun = Arc::clone(&begun);
    let _never = bob.rpc().on("never", move |_| {
        has_begun.notify_one();
        std::future::pending()
    });
    ann.start(StartOptions::new()).await.unwrap();
    bob.start(StartOptions::new()).await.unwrap();
    let is_there = |all: &Arc<Participants>| {
        all.get(&"bob".into()).is_some_and(|bob| bob.state == roomkey_room::ParticipantState::Active)
    };
    until(&mut ann.participants(), is_there).await;
    let large = format!("{:?}", "x".repeat(20_000));
    assert_eq!(ann.call(RpcRequest::new("bob", "length", large)).await.unwrap(), "20000");

    let calling = ann.clone();
    let call = tokio::spawn(async move { calling.call(RpcRequest::new("bob", "never", "")).await });
    timeout(PATIENCE, begun.notified()).await.unwrap();
    bob.end().await;
    let Err(CallError::Rpc(error)) = timeout(Duration::from_secs(5), call).await.unwrap().unwrap() else {
        panic!("nobody answered")
    };
    assert_eq!(error.code, RpcError::RECIPIENT_DISCONNECTED);
    server.shutdown().await;
}

/// Both have joined, and know of each other.
async fn two(server: &DevServer) -> (Session, Session) {
    let (ann, bob) = (session(server, "ann"), session(server, "bob"));
    ann.start(StartOptions::new()).await.unwrap();
    bob.start(StartOptions::new()).await.unwrap();
    for (one, other) in [(&ann, "bob"), (&bob, "ann")] {
        let is_active = |all: &Arc<Participants>| {
            all.get(&other.into()).is_some_and(|other| other.state == roomkey_room::ParticipantState::Active)
        };
        until(&mut one.participants(), is_active).await;
    }
    (ann, bob)
}

#[tokio::test]
async fn a_message_is_edited_for_those_who_got_it() {
    let server = server().await;
    let (ann, bob) = two(&server).await;
    let carl = session(&server, "carl");
    carl.start(StartOptions::new()).await.unwrap();
    until(&mut ann.participants(), |all| all.remote.contains_key("carl")).await;
    let secret = ann.send("helo bob").to("bob").await.unwrap();
    let to_all = ann.send("helo all").await.unwrap();
    for session in [&bob, &carl] {
        message(session, |message| message.id == to_all.id).await;
    }
    let chat = |session: &Session| {
        let messages = Arc::clone(&session.messages().borrow());
        // The demo agent says what it hears.
        let chat = messages.iter().filter(|message| message.kind == MessageKind::Chat);
        chat.map(|message| message.text.len()).collect::<Vec<_>>()
    };
    assert_eq!(chat(&bob).len(), 2);

    let edited = ann.edit(&secret.id, "hello bob").await.unwrap();
    assert_eq!((&*edited.text, &edited.status, &edited.id), ("hello bob", &Status::Sent, &secret.id));
    assert!(edited.edited_at.is_some() && edited.sent_at == secret.sent_at);
    // Longer than a packet, and not compressible for all that is known of it.
    let long = format!("hello all {}", "x".repeat(40_000));
    ann.send(long.as_str()).edit(&to_all.id).await.unwrap();
    for session in [&bob, &carl] {
        let seen = message(session, |message| message.id == to_all.id && *message.text == *long).await;
        assert!(seen.edited_at.is_some() && seen.status == Status::Final);
    }
    assert_eq!(chat(&bob), ["hello bob".len(), long.len()], "each in its place");
    assert_eq!(chat(&carl), [long.len()], "an edit is for whom the message was");
    let refused = bob.edit(&to_all.id, "no").await.unwrap_err();
    assert_eq!(refused, SendError::NotEditable(NotEditable::NotOwn));
    server.shutdown().await;
}

#[tokio::test]
async fn a_file_is_seen_on_its_way_by_both_ends() {
    let server = server().await;
    let (ann, bob) = two(&server).await;
    let mut random = fastrand::Rng::with_seed(5);
    let bytes: Vec<u8> = (0..1_500_000).map(|_| random.u8(..)).collect();
    let watch = |session: &Session| {
        let mut transfers = session.transfers();
        tokio::spawn(async move {
            let mut seen = Vec::new();
            while seen.is_empty() || !transfers.borrow().is_empty() {
                transfers.changed().await.unwrap();
                seen.extend(transfers.borrow_and_update().first().cloned());
            }
            seen
        })
    };
    let (sending, receiving) = (watch(&ann), watch(&bob));
    let sent = ann.send("see").attach(OutgoingFile::new("map.bin", "x/map", bytes)).await.unwrap();
    let attachment = Arc::clone(&sent.attachments[0].id);
    for (seen, is_outgoing) in [(sending.await.unwrap(), true), (receiving.await.unwrap(), false)] {
        assert!(seen.is_sorted_by_key(|transfer| transfer.bytes), "{seen:?}");
        let last = seen.last().unwrap();
        assert_eq!((&last.attachment, last.is_outgoing, last.total), (&attachment, is_outgoing, Some(1_500_000)));
        assert_eq!((&*last.name, &*last.mime_type, last.sender.as_str()), ("map.bin", "x/map", "ann"));
        assert!(last.bytes <= 1_500_000);
    }
    let is_here = |message: &Message| {
        matches!(message.attachments.first().map(|file| &file.status), Some(AttachmentStatus::Received(_)))
    };
    message(&bob, |message| message.id == sent.id && is_here(message)).await;
    server.shutdown().await;
}

/// Messages out of packets of data of a topic: the id and the text, and whether more comes.
#[expect(clippy::needless_pass_by_value, reason = "it is given to receivers so")]
fn telegrams(room: Room) -> impl futures_util::Stream<Item = Message> + Send {
    futures_util::stream::unfold(room.events(), |mut events| async {
        loop {
            let RoomEvent::DataReceived { payload, topic, sender, .. } = events.next().await? else { continue };
            if topic.as_deref() != Some("telegram") {
                continue;
            }
            let text = String::from_utf8_lossy(&payload).into_owned();
            assert!(text != "panic", "a receiver may be broken");
            let (id, text) = text.split_once(' ').unwrap_or_default();
            let mut message = Message::new(MessageId::new(sender, id), MessageKind::Chat, text);
            message.status = if text.ends_with("STOP") { Status::Final } else { Status::Streaming };
            return Some((message, events));
        }
    })
}

#[tokio::test]
async fn receivers_and_a_sender_of_the_applications_carry_messages() {
    let server = server().await;
    let bob = source(&server, "bob", "people", false).bind(FetchOptions::new());
    let bob = Session::builder(bob)
        .agent(AgentExpectation::None)
        .receiver(telegrams)
        .receiver(|_| -> futures_util::stream::Empty<Message> { panic!("this one never works") })
        .build();
    let ann = source(&server, "ann", "people", false).bind(FetchOptions::new());
    let ann = Session::builder(ann).agent(AgentExpectation::None).sender(|room, message: OutgoingMessage| async move {
        match &*message.text {
            "panic" => panic!("a sender may be broken"),
            "fail" => return Err("the wire is cut"),
            _ => {}
        }
        let telegram = format!("{} {} STOP", message.id, message.text);
        let me = room.local_participant();
        me.publish_data(DataPacket::new(telegram).topic("telegram")).await.map_err(|_| "not connected")
    });
    let ann = ann.build();
    let mut received = bob.events();
    ann.start(StartOptions::new()).await.unwrap();
    bob.start(StartOptions::new()).await.unwrap();
    until(&mut bob.error(), |error| matches!(error.as_deref(), Some(SessionError::Receive(ReceiveError::Receiver))))
        .await;
    until(&mut ann.participants(), |all| all.remote.contains_key("bob")).await;

    for text in ["panic", "fail"] {
        assert!(matches!(ann.send(text).await.unwrap_err(), SendError::Sender(_)), "{text}");
    }
    let sent = ann.send("arrived").await.unwrap();
    assert_eq!(sent.status, Status::Sent);
    let seen = message(&bob, |message| message.id == sent.id).await;
    assert_eq!((&*seen.text, &seen.status), ("arrived STOP", &Status::Final));
    ann.edit(&sent.id, "left again").await.unwrap();
    let seen = message(&bob, |message| &*message.text == "left again STOP").await;
    assert!(seen.id == sent.id && seen.edited_at.is_some());
    // A topic of its own goes there.
    let mut streams = bob.text_streams("other");
    ann.send("by stream").topic("other").await.unwrap();
    let mut stream = timeout(PATIENCE, streams.next()).await.unwrap().unwrap();
    assert_eq!(stream.read_all().await.unwrap(), "by stream");

    bob.dismiss_error();
    let me = ann.room().unwrap().local_participant();
    me.publish_data(DataPacket::new("panic").topic("telegram")).await.unwrap();
    until(&mut bob.error(), Option::is_some).await;
    let bobs = bob.send("still here").await.unwrap();
    message(&ann, |message| message.id == bobs.id).await;
    let mut news = 0;
    while let Ok(Some(event)) = timeout(Duration::from_millis(1), received.next()).await {
        let is_chat = |message: &Message| message.kind == MessageKind::Chat;
        news += usize::from(matches!(event, SessionEvent::MessageReceived(message) if is_chat(&message)));
    }
    assert_eq!(news, 1, "an edit is no message");
    server.shutdown().await;
}

/// Passes on to a server what comes, and leaves out of requests that the client reads streams in the place of large packets.
async fn outdate(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = client.read_u8().await else { return };
                    head.push(byte);
                }
                let head = String::from_utf8_lossy(&head).replace("client_protocol=2", "client_protocol=0");
                let mut server = TcpStream::connect(server).await.unwrap();
                server.write_all(head.as_bytes()).await.unwrap();
                // An end that breaks off is the other's business.
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_call_of_an_old_client_that_is_too_large_for_it_is_refused_and_one_of_a_new_client_is_not() {
    let server = server().await;
    let (ann, bob) = two(&server).await;
    let url = format!("ws://{}", outdate(server.address()).await);
    let token = sign(&AccessToken::new("old").with_video(VideoGrant::join("people")));
    // The parameters of two connections are readable in the URL.
    let old = Session::builder(TokenSource::literal(Credentials::new(url, token)))
        .agent(AgentExpectation::None)
        .room_options(Room::builder().single_peer_connection(false))
        .build();
    old.start(StartOptions::new()).await.unwrap();
    let length = |text: String, _caller| async move { Ok(text.len()) };
    let _lengths = [&bob, &old].map(|session| session.rpc().on_json("length", length));
    let is_active = |all: &Arc<Participants>| {
        all.get(&"old".into()).is_some_and(|old| old.state == roomkey_room::ParticipantState::Active)
    };
    let all = Arc::clone(&*until(&mut ann.participants(), is_active).await);
    assert_eq!(all.remote["old"].client_protocol, 0);
    let call = |who: &str, length: usize| ann.call(RpcRequest::new(who, "length", format!("{:?}", "x".repeat(length))));
    let refused = call("old", 20_000).await;
    assert!(matches!(refused, Err(CallError::Rpc(error)) if error.code == RpcError::REQUEST_PAYLOAD_TOO_LARGE));
    assert_eq!(call("old", 10_000).await.unwrap(), "10000");
    assert_eq!(call("bob", 20_000).await.unwrap(), "20000");
    server.shutdown().await;
}

#[tokio::test]
async fn a_muted_microphone_stays_muted_in_the_room_that_follows_a_lost_one() {
    let (lost, next) = (server().await, server().await);
    let urls = Arc::new(Mutex::new(vec![next.url(), lost.url()]));
    let source = TokenSource::custom(move |_| {
        let mut urls = urls.lock().unwrap();
        let url = if urls.len() > 1 { urls.pop().unwrap() } else { urls[0].clone() };
        let credentials = Credentials::new(url, sign(&AccessToken::new("ann").with_video(VideoGrant::join("people"))));
        async move { Ok::<_, BoxError>(credentials) }
    });
    let room_options = Room::builder().max_reconnect_attempts(1);
    let ann = Session::builder(source.bind(FetchOptions::new()))
        .agent(AgentExpectation::None)
        .room_options(room_options)
        .restart_policy(RestartPolicy::Attempts(5))
        .build();
    let microphone = AudioSource::new(AudioSourceOptions::new());
    ann.start(StartOptions::new().microphone(Microphone::new(&microphone).pre_connect(false))).await.unwrap();
    let is = |is_muted: bool| {
        move |all: &Arc<Participants>| {
            let publication = all.local.as_ref().and_then(|me| me.publication_of(TrackSource::Microphone));
            publication.is_some_and(|publication| publication.is_muted == is_muted)
        }
    };
    until(&mut ann.participants(), is(false)).await;
    ann.microphone().mute();
    until(&mut ann.participants(), is(true)).await;
    let mut state = ann.state();
    lost.shutdown().await;
    until(&mut state, |state| *state == SessionState::Connecting).await;
    until(&mut state, |state| *state == SessionState::Connected).await;
    until(&mut ann.participants(), is(true)).await;
    assert!(ann.microphone().is_muted());
    ann.microphone().unmute();
    until(&mut ann.participants(), is(false)).await;
    next.shutdown().await;
}

#[tokio::test]
async fn an_encrypted_session_is_read_by_who_has_the_key_and_shows_others_why_they_read_nothing() {
    let server = server().await;
    let keys = |secret: u8| KeyProvider::with_shared_key(&EncryptionKey::raw([secret; 32]));
    let encrypted = |identity: &str, secret| {
        let bound = source(&server, identity, "secret", false).bind(FetchOptions::new());
        let builder = Session::builder(bound).agent(AgentExpectation::None);
        builder.encryption(EncryptionOptions::new(keys(secret))).build()
    };
    let (alice, bob, eve) = (encrypted("alice", 1), encrypted("bob", 1), encrypted("eve", 2));
    for session in [&alice, &bob, &eve] {
        session.start(StartOptions::new()).await.unwrap();
    }
    let all_are_there = |all: &Arc<Participants>| {
        let is_active = |who: &roomkey_room::Participant| who.state == roomkey_room::ParticipantState::Active;
        ["bob", "eve"].into_iter().all(|who| all.remote.get(who).is_some_and(|who| is_active(who)))
    };
    drop(until(&mut alice.participants(), all_are_there).await);
    alice.send("for those who know").await.unwrap();
    message(&bob, |message| &*message.text == "for those who know").await;
    let mut error = eve.error();
    let error = until(&mut error, Option::is_some).await.clone();
    let Some(SessionError::Encryption(error)) = error.as_deref() else { panic!("{error:?}") };
    assert_eq!((error.participant.as_str(), error.state), ("alice", EncryptionState::DecryptionFailed));
    assert!(eve.messages().borrow().is_empty() && error.to_string() == "data of alice: decryption_failed");

    // In the clear, until that is taken back; the wish outlives the room.
    assert!(alice.is_encryption_enabled());
    alice.set_encryption_enabled(false).unwrap();
    let room = alice.room().unwrap();
    timeout(PATIENCE, async {
        while room.is_encryption_enabled() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    alice.send("for all").await.unwrap();
    message(&eve, |message| &*message.text == "for all").await;
    alice.end().await;
    alice.start(StartOptions::new()).await.unwrap();
    assert!(!alice.room().unwrap().is_encryption_enabled());

    let plain = session(&server, "trent");
    assert_eq!(plain.set_encryption_enabled(true), Err(roomkey_session::NoEncryption));
    assert!(!plain.is_encryption_enabled());
}
