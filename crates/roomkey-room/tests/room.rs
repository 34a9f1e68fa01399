//! A room of the dev server, with clients of this crate in it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one kind of event")]

use std::collections::HashMap;
use std::error::Error as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use futures_util::{FutureExt as _, StreamExt as _};
use roomkey_dev_server::{Config, DevServer};
use roomkey_room::{
    AudioFrame, AudioSource, AudioSourceOptions, AudioStream, AudioStreamOptions, ByteStreamOptions, ByteStreamReader,
    ConnectErrorKind, ConnectionState, DataPacket, DisconnectReason, EncodedVideoFrame, LocalTrack, Participant,
    PublishError, Room, RoomBuilder, RoomError, RoomEvent, RoomEvents, RpcError, RpcRequest, SendStreamError, SipDtmf,
    StreamError, StreamLimits, TextStreamOptions, TrackKind, TrackPublishOptions, TrackSource, Transcription,
    TranscriptionSegment, VideoCodec, VideoSource, VideoSourceOptions, VideoStreamOptions,
};
use roomkey_token::{AccessToken, Signer, VideoGrant};
use tokio::time::timeout;

const KEY: &str = "APIroom";
const SECRET: &str = "a secret that is long enough for a test";
/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

#[expect(clippy::disallowed_methods, reason = "a token is of its time")]
fn token(identity: &str, change: impl FnOnce(VideoGrant) -> VideoGrant) -> String {
    let grant = change(VideoGrant::join("room"));
    let signer = Signer::new(KEY, SECRET).unwrap();
    let token = AccessToken::new(identity).with_video(grant).sign(&signer, SystemTime::now()).unwrap();
    token.as_str().to_owned()
}

async fn server() -> DevServer {
    DevServer::bind(Config::new().with_key(KEY, SECRET)).await.unwrap()
}

async fn join_with(server: &DevServer, identity: &str, builder: &RoomBuilder) -> (Room, RoomEvents) {
    let room = builder.connect(&server.url(), &token(identity, |grant| grant)).await.unwrap();
    let events = room.events();
    (room, events)
}

async fn event<T>(events: &mut RoomEvents, mut of: impl FnMut(RoomEvent) -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = of(events.next().await.expect("the room is not over")) {
                return found;
            }
        }
    };
    timeout(PATIENCE, found).await.expect("what is waited for happens")
}

async fn data(events: &mut RoomEvents) -> Vec<u8> {
    event(events, |event| match event {
        RoomEvent::DataReceived { payload, .. } => Some(payload.to_vec()),
        _ => None,
    })
    .await
}

async fn active(room: &Room, identity: &str) -> std::sync::Arc<Participant> {
    let mut participants = room.participants();
    let is_there = |participants: &std::sync::Arc<roomkey_room::Participants>| {
        participants.get(&identity.into()).is_some_and(|participant| {
            participant.is_local || participant.state == roomkey_room::ParticipantState::Active
        })
    };
    let found = timeout(PATIENCE, participants.wait_for(is_there)).await.unwrap().unwrap();
    found.get(&identity.into()).unwrap().clone()
}

#[tokio::test]
async fn two_clients_see_each_other_and_exchange_data_with_one_connection_and_with_two() {
    for single in [true, false] {
        let server = server().await;
        let builder = Room::builder().single_peer_connection(single);
        let (alice, mut at_alice) = join_with(&server, "alice", &builder).await;
        let (bob, mut at_bob) = join_with(&server, "bob", &builder).await;
        assert_eq!(alice.name(), "room");
        active(&alice, "bob").await;
        active(&bob, "alice").await;
        let packet = DataPacket::new("to all").topic("greetings");
        alice.local_participant().publish_data(packet).await.unwrap();
        event(&mut at_bob, |event| match event {
            RoomEvent::DataReceived { payload, topic, sender, is_reliable, .. } => {
                assert_eq!((&*payload, topic.as_deref()), (&b"to all"[..], Some("greetings")));
                assert!(sender == "alice" && is_reliable);
                Some(())
            }
            _ => None,
        })
        .await;
        bob.local_participant().publish_data(DataPacket::new("to alice").to("alice")).await.unwrap();
        assert_eq!(data(&mut at_alice).await, b"to alice");
        bob.close().await;
        let reason = event(&mut at_alice, |event| match event {
            RoomEvent::ParticipantDisconnected { participant, reason, .. } if participant.identity == "bob" => {
                Some(reason)
            }
            _ => None,
        })
        .await;
        assert_eq!(reason, DisconnectReason::ClientInitiated);
        assert_eq!(bob.local_participant().publish_data(DataPacket::new("late")).await, Err(RoomError::Disconnected));
    }
}

#[tokio::test]
async fn after_the_signalling_broke_off_the_stay_is_resumed_and_reliable_data_is_complete() {
    for single in [true, false] {
        let server = server().await;
        let builder = Room::builder().single_peer_connection(single);
        let (alice, mut at_alice) = join_with(&server, "alice", &builder).await;
        let (bob, mut at_bob) = join_with(&server, "bob", &builder).await;
        active(&alice, "bob").await;
        let sid = bob.local_participant().info().sid.clone();
        for number in 0..200_u32 {
            if number % 50 == 25 {
                bob.simulate_signal_loss();
            }
            bob.local_participant().publish_data(DataPacket::new(number.to_be_bytes())).await.unwrap();
        }
        for number in 0..200_u32 {
            assert_eq!(data(&mut at_alice).await, number.to_be_bytes());
        }
        let mut states = Vec::new();
        while !states.ends_with(&[ConnectionState::Connected]) {
            states.push(
                event(&mut at_bob, |event| match event {
                    RoomEvent::ConnectionStateChanged(state) => Some(state),
                    _ => None,
                })
                .await,
            );
        }
        assert_eq!(states, [ConnectionState::Resuming, ConnectionState::Connected]);
        assert_eq!(bob.local_participant().info().sid, sid);
    }
}

#[tokio::test]
async fn metadata_name_and_attributes_of_ones_own_reach_the_others() {
    let server = server().await;
    let token = token("alice", |mut grant| {
        grant.can_update_own_metadata = Some(true);
        grant
    });
    let alice = Room::connect(&server.url(), &token).await.unwrap();
    let (bob, mut at_bob) = join_with(&server, "bob", &Room::builder()).await;
    active(&bob, "alice").await;
    let me = alice.local_participant();
    me.set_metadata("data").await.unwrap();
    me.set_name("Alice").await.unwrap();
    me.set_attributes(HashMap::from([("key".to_owned(), "value".to_owned())])).await.unwrap();
    let changed = event(&mut at_bob, |event| match event {
        RoomEvent::ParticipantAttributesChanged { changed, participant, .. } => {
            assert_eq!((participant.metadata.as_str(), participant.name.as_str()), ("data", "Alice"));
            Some(changed)
        }
        _ => None,
    })
    .await;
    assert_eq!(changed["key"], "value");
    let not_allowed = bob.local_participant().set_metadata("mine").await;
    assert_eq!(not_allowed, Err(RoomError::NotAllowed));
}

#[tokio::test]
async fn a_join_that_can_not_be_says_why() {
    let server = server().await;
    let refused = Room::connect(&server.url(), "no token").await.unwrap_err();
    assert!(matches!(refused.kind(), ConnectErrorKind::NotAllowed), "{refused}");
    let nowhere = Room::connect("http://", "no token").await.unwrap_err();
    assert!(matches!(nowhere.kind(), ConnectErrorKind::InvalidUrl), "{nowhere}");
    let url = server.url();
    drop(server);
    let gone = Room::connect(&url, &token("alice", |grant| grant)).await.unwrap_err();
    assert!(
        matches!((gone.kind(), gone.status()), (ConnectErrorKind::Unavailable, None)) && gone.is_retryable(),
        "{gone}"
    );
}

#[tokio::test]
async fn the_same_identity_again_ends_the_first_stay() {
    let server = server().await;
    let (_first, mut events) = join_with(&server, "alice", &Room::builder()).await;
    let (_second, _) = join_with(&server, "alice", &Room::builder()).await;
    let state = event(&mut events, |event| match event {
        RoomEvent::ConnectionStateChanged(state) => Some(state),
        _ => None,
    })
    .await;
    assert_eq!(state, ConnectionState::Disconnected(DisconnectReason::DuplicateIdentity));
    while events.next().await.is_some() {}
}

#[tokio::test]
async fn dropping_the_last_handle_leaves_the_room() {
    let server = server().await;
    let (_alice, mut at_alice) = join_with(&server, "alice", &Room::builder()).await;
    let (bob, _) = join_with(&server, "bob", &Room::builder()).await;
    let bob_again = bob.clone();
    drop(bob);
    bob_again.local_participant().publish_data(DataPacket::new("still here")).await.unwrap();
    assert_eq!(data(&mut at_alice).await, b"still here");
    drop(bob_again);
    event(&mut at_alice, |event| matches!(event, RoomEvent::ParticipantDisconnected { .. }).then_some(())).await;
}

#[tokio::test]
async fn texts_and_bytes_of_any_length_and_calls_go_both_ways() {
    let server = server().await;
    let (alice, mut at_alice) = join_with(&server, "alice", &Room::builder()).await;
    let (bob, mut at_bob) = join_with(&server, "bob", &Room::builder().single_peer_connection(false)).await;
    active(&alice, "bob").await;
    active(&bob, "alice").await;
    for length in [0, 10, 100_000] {
        let text: String = "a grüße € 𝄞 ".chars().cycle().take(length).collect();
        let info = alice.local_participant().send_text(&text, TextStreamOptions::new("chat")).await.unwrap();
        let mut reader = event(&mut at_bob, |event| match event {
            RoomEvent::TextStreamOpened { reader, topic, sender, .. } if topic == "chat" && sender == "alice" => {
                reader.take()
            }
            _ => None,
        })
        .await;
        assert_eq!(reader.info().id, info.id);
        assert_eq!(timeout(PATIENCE, reader.read_all()).await.unwrap().unwrap(), text);
        let bytes: Vec<u8> = (0..length).map(|index| (index * 31 % 251) as u8).collect();
        bob.local_participant().send_bytes(&bytes, ByteStreamOptions::new("file").with_name("x")).await.unwrap();
        let mut reader = event(&mut at_alice, |event| match event {
            RoomEvent::ByteStreamOpened { reader, .. } => reader.take(),
            _ => None,
        })
        .await;
        assert_eq!(timeout(PATIENCE, reader.read_all()).await.unwrap().unwrap(), bytes);
    }

    alice.local_participant().register_rpc_method("double", |call| async move {
        assert!(call.payload != "panic", "as asked");
        Ok(format!("{}{} {}", call.payload, call.payload, call.caller_identity))
    });
    let call = |method: &str, payload: String| RpcRequest::new("alice", method, payload);
    let me = bob.local_participant();
    assert_eq!(me.perform_rpc(call("double", "x".into())).await.unwrap(), "xx bob");
    let long = "y".repeat(40_000);
    assert_eq!(me.perform_rpc(call("double", long.clone())).await.unwrap(), format!("{long}{long} bob"));
    for (method, payload, code) in
        [("double", "panic", RpcError::APPLICATION_ERROR), ("treble", "x", RpcError::UNSUPPORTED_METHOD)]
    {
        assert_eq!(me.perform_rpc(call(method, payload.into())).await.unwrap_err().code, code);
    }
    let nobody = me.perform_rpc(RpcRequest::new("carol", "double", "x")).await.unwrap_err();
    assert_eq!(nobody.code, RpcError::RECIPIENT_NOT_FOUND);
}

#[tokio::test]
async fn keys_transcriptions_and_files_reach_whom_they_are_for() {
    let server = server().await;
    // A server passes on the transcriptions of agents alone.
    let agent = token("alice", |mut grant| {
        grant.agent = true;
        grant
    });
    let alice = Room::builder().connect(&server.url(), &agent).await.unwrap();
    let (bob, mut at_bob) = join_with(&server, "bob", &Room::builder()).await;
    let (_carol, mut at_carol) = join_with(&server, "carol", &Room::builder()).await;
    active(&alice, "bob").await;
    active(&alice, "carol").await;
    let me = alice.local_participant();
    me.publish_dtmf(SipDtmf::key('#').unwrap().to("bob")).await.unwrap();
    let segment =
        TranscriptionSegment::new("SG_1", "good morning").with_times(1_000, 2_500).with_language("en").with_final(true);
    me.publish_transcription(Transcription::new("bob", "TR_bob").segment(segment.clone())).await.unwrap();
    event(&mut at_bob, |event| match event {
        RoomEvent::SipDtmfReceived { code, digit, sender, .. } => {
            assert_eq!((code, digit.as_str(), sender.as_str()), (11, "#", "alice"));
            Some(())
        }
        _ => None,
    })
    .await;
    event(&mut at_carol, |event| match event {
        RoomEvent::SipDtmfReceived { .. } => panic!("it is for bob alone"),
        RoomEvent::TranscriptionReceived { speaker, sender, track_sid, segments, .. } => {
            assert_eq!((speaker.as_str(), sender.as_str(), track_sid.as_str()), ("bob", "alice", "TR_bob"));
            assert_eq!(segments, std::slice::from_ref(&segment));
            Some(())
        }
        _ => None,
    })
    .await;
    bob.close().await;
}

#[tokio::test]
async fn a_file_arrives_with_its_name_and_its_length_and_says_how_far_it_is() {
    let server = server().await;
    let (alice, _) = join_with(&server, "alice", &Room::builder()).await;
    let (_bob, mut at_bob) = join_with(&server, "bob", &Room::builder()).await;
    active(&alice, "bob").await;
    let directory = Directory::new();
    let path = directory.0.join("hölder.bin");
    let contents: Vec<u8> = (0..150_001_u32).map(|number| (number % 251) as u8).collect();
    std::fs::write(&path, &contents).unwrap();
    let me = alice.local_participant();
    let options = ByteStreamOptions::new("files").with_mime_type("image/png");

    let file = me.stream_file(&path, options.clone()).await.unwrap();
    let (progress, length) = (file.progress(), file.total_length());
    let sent = file.send().await.unwrap();
    assert_eq!((*progress.borrow(), length), (150_001, 150_001));
    assert_eq!((sent.name.as_str(), sent.sender_identity.as_str()), ("hölder.bin", "alice"));
    let mut reader = bytes_opened(&mut at_bob).await;
    let info = reader.info().clone();
    assert_eq!((info.id, info.name.as_str(), info.mime_type.as_str()), (sent.id, "hölder.bin", "image/png"));
    assert_eq!(info.total_length, Some(150_001));
    assert!(timeout(PATIENCE, reader.read_all()).await.unwrap().unwrap() == contents);

    std::fs::write(&path, b"").unwrap();
    me.send_file(&path, options.clone().with_name("nothing")).await.unwrap();
    let mut reader = bytes_opened(&mut at_bob).await;
    assert_eq!((reader.info().name.as_str(), reader.info().total_length), ("nothing", Some(0)));
    assert_eq!(timeout(PATIENCE, reader.read_all()).await.unwrap().unwrap(), b"");

    for change in [-1_i64, 1] {
        std::fs::write(&path, &contents).unwrap();
        let file = me.stream_file(&path, options.clone()).await.unwrap();
        let changed = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        changed.set_len(150_001_u64.checked_add_signed(change).unwrap()).unwrap();
        assert_eq!(file.send().await, Err(SendStreamError::FileChanged), "{change}");
        let mut reader = bytes_opened(&mut at_bob).await;
        let error = timeout(PATIENCE, reader.read_all()).await.unwrap().unwrap_err();
        assert!(matches!(error, StreamError::Aborted { .. }), "{error}");
    }

    for missing in [directory.0.clone(), directory.0.join("nowhere")] {
        let error = me.send_file(&missing, options.clone()).await.unwrap_err();
        assert!(matches!(error, SendStreamError::File(_)) && error.source().is_some(), "{error}");
    }
}

/// One of the test's own, which goes with it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("roomkey-room-{:x}", fastrand::u64(..)));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What can't be removed is the system's to remove.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn bytes_opened(events: &mut RoomEvents) -> ByteStreamReader {
    event(events, |event| match event {
        RoomEvent::ByteStreamOpened { reader, .. } => reader.take(),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_text_that_is_written_piece_by_piece_ends_with_its_attributes_or_is_cancelled() {
    let server = server().await;
    let (alice, _) = join_with(&server, "alice", &Room::builder()).await;
    let (bob, mut at_bob) = join_with(&server, "bob", &Room::builder()).await;
    active(&alice, "bob").await;
    active(&bob, "alice").await;
    for is_closed in [true, false] {
        let mut writer = alice.local_participant().stream_text(TextStreamOptions::new("said")).await.unwrap();
        writer.write("one ").await.unwrap();
        let mut reader = event(&mut at_bob, |event| match event {
            RoomEvent::TextStreamOpened { reader, .. } => reader.take(),
            _ => None,
        })
        .await;
        assert_eq!(reader.next().await.unwrap().unwrap(), "one ");
        writer.write("two").await.unwrap();
        assert_eq!(reader.next().await.unwrap().unwrap(), "two");
        if is_closed {
            writer.close_with(HashMap::from([("final".to_owned(), "true".to_owned())])).await.unwrap();
            assert!(reader.next().await.is_none());
            assert_eq!(reader.trailer_attributes().unwrap()["final"], "true");
        } else {
            drop(writer);
            assert!(matches!(reader.next().await, Some(Err(StreamError::Aborted { .. }))));
        }
    }
}

/// 20 ms of a tone at 48 kHz.
fn tone(number: u32) -> AudioFrame {
    let sample =
        |index: u32| 0.5 * (f64::from(number * 960 + index) * 440.0 * std::f64::consts::TAU / 48_000.0).sin() as f32;
    AudioFrame::new((0..960).map(sample).collect::<Vec<_>>(), 48_000, 1).unwrap()
}

#[tokio::test]
async fn what_one_says_the_others_hear_until_it_is_muted_and_again_after_a_resume() {
    for single in [true, false] {
        let server = server().await;
        let builder = Room::builder().single_peer_connection(single);
        let (alice, mut at_alice) = join_with(&server, "alice", &builder).await;
        let (bob, mut at_bob) = join_with(&server, "bob", &builder).await;
        let source = AudioSource::new(AudioSourceOptions::new());
        let track = LocalTrack::audio("microphone", &source);
        let speaking = tokio::spawn({
            let source = source.clone();
            async move {
                for number in 0.. {
                    source.capture_frame(&tone(number)).await.unwrap();
                }
            }
        });
        let publication =
            alice.local_participant().publish_track(track.clone(), TrackPublishOptions::new()).await.unwrap();
        let again = alice.local_participant().publish_track(track, TrackPublishOptions::new()).await;
        assert_eq!(again.unwrap_err(), PublishError::AlreadyPublished);
        let (heard, info) = event(&mut at_bob, |event| match event {
            RoomEvent::TrackSubscribed { track, publication, .. } => Some((track, publication)),
            _ => None,
        })
        .await;
        assert_eq!(
            (info.source, info.kind, info.name.as_str()),
            (TrackSource::Microphone, TrackKind::Audio, "microphone")
        );
        assert_eq!(*heard.sid(), publication.sid());
        timeout(PATIENCE, publication.subscribed()).await.unwrap().unwrap();

        let mut stream = heard.audio_stream(&AudioStreamOptions::new());
        loud(&mut stream).await;
        let me = alice.local_participant();
        assert!(me.track_publication(heard.sid()).is_some_and(|found| found.sid() == *heard.sid()));
        assert!(me.track_publication(&"TR_other".into()).is_none());
        me.track_publication(heard.sid()).unwrap().mute();
        event(&mut at_bob, |event| matches!(event, RoomEvent::TrackMuted { .. }).then_some(())).await;
        publication.unmute();
        event(&mut at_bob, |event| matches!(event, RoomEvent::TrackUnmuted { .. }).then_some(())).await;
        loud(&mut stream).await;
        alice.simulate_signal_loss();
        bob.simulate_signal_loss();
        event(&mut at_alice, |event| {
            matches!(event, RoomEvent::ConnectionStateChanged(ConnectionState::Connected)).then_some(())
        })
        .await;
        loud(&mut stream).await;
        me.unpublish_track(&publication.sid());
        event(&mut at_bob, |event| matches!(event, RoomEvent::TrackUnpublished { .. }).then_some(())).await;
        timeout(PATIENCE, async { while stream.next().await.is_some() {} }).await.unwrap();
        speaking.abort();
    }
}

async fn loud(stream: &mut AudioStream) {
    let found = async {
        let mut count = 0;
        while count < 10 {
            let frame = stream.next().await.expect("the track goes on");
            let peak = frame.samples().iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
            count = if peak > 0.3 { count + 1 } else { 0 };
        }
    };
    timeout(PATIENCE, found).await.expect("the tone is heard");
}

#[tokio::test]
async fn encoded_video_arrives_as_it_was_sent_from_a_key_frame_on() {
    let server = server().await;
    let (alice, _) = join_with(&server, "alice", &Room::builder()).await;
    let (_bob, mut at_bob) = join_with(&server, "bob", &Room::builder()).await;
    let source = VideoSource::new(VideoSourceOptions::new(VideoCodec::Vp8, 64, 48));
    let track = LocalTrack::video("camera", &source);
    let mut requests = source.keyframe_requests();
    let sending = tokio::spawn(async move {
        let mut wants_keyframe = true;
        for number in 0_u64.. {
            let data = if std::mem::take(&mut wants_keyframe) { keyframe() } else { vec![0x31; 3_000] };
            let frame = EncodedVideoFrame::new(VideoCodec::Vp8, Duration::from_millis(33 * number), data);
            // Until somebody wants it, it is not taken.
            let _ = source.capture_frame(&frame);
            if let Ok(request) = timeout(Duration::from_millis(33), requests.next()).await {
                wants_keyframe |= request.is_some();
            }
        }
    });
    let publication = alice.local_participant().publish_track(track, TrackPublishOptions::new()).await.unwrap();
    let seen = event(&mut at_bob, |event| match event {
        RoomEvent::TrackSubscribed { track, .. } => Some(track),
        _ => None,
    })
    .await;
    let mut stream = seen.video_stream(VideoStreamOptions::new());
    let first = timeout(PATIENCE, stream.next()).await.unwrap().unwrap();
    assert!(first.is_keyframe);
    assert_eq!(&*first.data, keyframe());
    for _ in 0..10 {
        let next = timeout(PATIENCE, stream.next()).await.unwrap().unwrap();
        assert!(next.is_keyframe || *next.data == [0x31; 3_000]);
    }
    publication.unpublish();
    timeout(PATIENCE, async { while stream.next().await.is_some() {} }).await.unwrap();
    sending.abort();
}

fn keyframe() -> Vec<u8> {
    // A key frame's tag, start code and 64 x 48 (RFC 6386 section 9.1); the rest is never decoded here.
    let mut data = vec![0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 64, 0, 48, 0];
    data.resize(5_000, 7);
    data
}

/// On several threads, since the room's task and whoever closed the room go on beside each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_closed_room_published_can_be_published_in_the_next_one_at_once() {
    let server = server().await;
    let source = AudioSource::new(AudioSourceOptions::new());
    let (next, _) = join_with(&server, "next", &Room::builder()).await;
    for round in 0..10 {
        let (room, _) = join_with(&server, "first", &Room::builder()).await;
        let publish = |room: &Room| {
            let me = room.local_participant();
            let track = LocalTrack::audio("microphone", &source);
            async move { me.publish_track(track, TrackPublishOptions::new()).await }
        };
        let publication = if round % 2 == 0 { Some(publish(&room).await.unwrap()) } else { None };
        // Half of the time the room is closed while it publishes.
        let unfinished = publication.is_none().then(|| tokio::spawn(publish(&room)));
        tokio::task::yield_now().await;
        room.close().await;
        if let Some(unfinished) = unfinished {
            // It may have been published just before.
            drop(unfinished.await);
        }
        let mut participants = next.participants();
        let again = publish(&next).await.unwrap_or_else(|error| panic!("round {round}: {error}"));
        again.unpublish();
        let is_gone = |all: &std::sync::Arc<roomkey_room::Participants>| {
            all.local.as_ref().is_some_and(|local| local.publications.is_empty())
        };
        timeout(PATIENCE, participants.wait_for(is_gone)).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_source_can_be_published_again_at_once_after_its_end() {
    for single in [true, false] {
        let server = server().await;
        let builder = Room::builder().single_peer_connection(single);
        let (alice, _at_alice) = join_with(&server, "alice", &builder).await;
        let (bob, mut at_bob) = join_with(&server, "bob", &builder).await;
        active(&bob, "alice").await;
        let source = AudioSource::new(AudioSourceOptions::new());
        for _ in 0..3 {
            let track = LocalTrack::audio("microphone", &source);
            let local = alice.local_participant();
            let publishing = local.publish_track(track, TrackPublishOptions::new());
            let publication = timeout(PATIENCE, publishing).await.unwrap().unwrap();
            let sid = publication.sid();
            event(&mut at_bob, |event| match event {
                RoomEvent::TrackSubscribed { track, .. } if *track.sid() == sid => Some(()),
                _ => None,
            })
            .await;
            publication.unpublish();
        }
    }
}

/// Polls it once, and gives it up: on the thread of the room, which has no turn in between.
fn give_up(future: impl Future) {
    assert!(future.now_or_never().is_none(), "it waits");
}

#[tokio::test]
async fn a_message_that_is_given_up_while_it_waits_is_not_sent() {
    let server = server().await;
    let (alice, _) = join_with(&server, "alice", &Room::builder()).await;
    let (bob, mut at_bob) = join_with(&server, "bob", &Room::builder()).await;
    active(&alice, "bob").await;
    active(&bob, "alice").await;
    let me = alice.local_participant();
    for is_reliable in [true, false] {
        give_up(me.publish_data(DataPacket::new("given up").reliable(is_reliable)));
    }
    give_up(me.send_text("given up", TextStreamOptions::new("said")));
    me.publish_data(DataPacket::new("sent")).await.unwrap();
    let first = event(&mut at_bob, |event| match event {
        RoomEvent::DataReceived { payload, .. } => Some(payload.to_vec()),
        RoomEvent::TextStreamOpened { .. } => Some(b"a stream".to_vec()),
        _ => None,
    });
    assert_eq!(first.await, b"sent");
}

#[tokio::test]
async fn streams_end_once_and_whole_whatever_is_given_up() {
    let server = server().await;
    let (alice, _) = join_with(&server, "alice", &Room::builder()).await;
    let (bob, mut at_bob) = join_with(&server, "bob", &Room::builder()).await;
    active(&alice, "bob").await;
    active(&bob, "alice").await;
    let me = alice.local_participant();
    let long = "0123456789".repeat(5_000);
    let options = || TextStreamOptions::new("said");

    give_up(me.stream_text(options()));

    // Writes of which the first packet waits: the rest goes before what follows.
    let mut writer = me.stream_text(options()).await.unwrap();
    give_up(writer.write(&long));
    writer.write("the end").await.unwrap();
    writer.close().await.unwrap();

    let mut writer = me.stream_text(options()).await.unwrap();
    writer.write("whole").await.unwrap();
    give_up(writer.close());

    let mut writer = me.stream_text(options()).await.unwrap();
    give_up(writer.write(&long));
    give_up(writer.close());

    // Dropped at once, its end does not overtake its beginning.
    drop(me.stream_text(options()).await.unwrap());

    let mut outcomes = Vec::new();
    while outcomes.len() < 4 {
        let mut reader = event(&mut at_bob, |event| match event {
            RoomEvent::TextStreamOpened { reader, .. } => reader.take(),
            _ => None,
        })
        .await;
        outcomes.push(timeout(PATIENCE, reader.read_all()).await.expect("each stream ends"));
    }
    assert_eq!(outcomes[0], Ok(long + "the end"));
    assert_eq!(outcomes[1], Ok("whole".to_owned()));
    for cut in &outcomes[2..] {
        assert!(matches!(cut, Err(StreamError::Aborted { .. })), "{cut:?}");
    }
}

#[tokio::test]
async fn what_may_not_be_sent_is_an_error_reliable_or_not() {
    let server = server().await;
    let (alice, _) = join_with(&server, "alice", &Room::builder()).await;
    let mute = token("mute", |grant| grant.with_can_publish_data(false));
    let mute = Room::builder().connect(&server.url(), &mute).await.unwrap();
    for is_reliable in [true, false] {
        let message = |bytes: usize| DataPacket::new(vec![0; bytes]).reliable(is_reliable);
        assert_eq!(mute.local_participant().publish_data(message(10)).await, Err(RoomError::NotAllowed));
        let too_large = alice.local_participant().publish_data(message(64_000)).await;
        assert!(matches!(too_large, Err(RoomError::TooLarge { limit: 64_000 })), "{too_large:?}");
        assert_eq!(alice.local_participant().publish_data(message(10)).await, Ok(()));
    }
}

#[tokio::test]
async fn what_was_written_goes_out_before_the_room_is_left() {
    let server = server().await;
    let (alice, _) = join_with(&server, "alice", &Room::builder()).await;
    let (bob, mut at_bob) = join_with(&server, "bob", &Room::builder()).await;
    active(&alice, "bob").await;
    active(&bob, "alice").await;
    let writer = alice.local_participant().stream_text(TextStreamOptions::new("said")).await.unwrap();
    drop((writer, alice));
    let mut reader = event(&mut at_bob, |event| match event {
        RoomEvent::TextStreamOpened { reader, .. } => reader.take(),
        _ => None,
    })
    .await;
    let outcome = timeout(PATIENCE, reader.read_all()).await.unwrap();
    assert!(matches!(outcome, Err(StreamError::Aborted { .. })), "told before the sender left: {outcome:?}");
}

#[tokio::test]
async fn an_application_may_say_that_it_waits_for_ever() {
    let server = server().await;
    let mut limits = StreamLimits::default();
    limits.idle_timeout = Duration::MAX;
    let builder = Room::builder().connect_timeout(Duration::MAX).stream_limits(limits);
    let (alice, _) = join_with(&server, "alice", &builder).await;
    let (bob, mut at_bob) = join_with(&server, "bob", &builder).await;
    active(&alice, "bob").await;
    active(&bob, "alice").await;
    let mut writer = alice.local_participant().stream_text(TextStreamOptions::new("said")).await.unwrap();
    writer.write("hello").await.unwrap();
    let mut reader = event(&mut at_bob, |event| match event {
        RoomEvent::TextStreamOpened { reader, .. } => reader.take(),
        _ => None,
    })
    .await;
    assert_eq!(timeout(PATIENCE, reader.next()).await.unwrap(), Some(Ok("hello".to_owned())));
}
