//! Rooms of the dev server that are encrypted end to end: sound, pictures, data, calls, and what those have who lack the key.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one kind of event")]

use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use roomkey_dev_server::{Config, DevServer};
use roomkey_room::{
    AudioFrame, AudioSource, AudioSourceOptions, AudioStream, AudioStreamOptions, DataPacket, EncodedVideoFrame,
    EncryptionKey, EncryptionOptions, EncryptionState, KeyProvider, LocalTrack, PublishError, RemoteTrack, Room,
    RoomBuilder, RoomError, RoomEvent, RoomEvents, RpcError, RpcRequest, TextStreamOptions, TrackPublishOptions,
    VideoCodec, VideoSource, VideoSourceOptions, VideoStreamOptions,
};
use roomkey_token::{AccessToken, Signer, VideoGrant};
use tokio::time::timeout;

const KEY: &str = "APIroom";
const SECRET: &str = "a secret that is long enough for a test";
/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

async fn server() -> DevServer {
    DevServer::bind(Config::new().with_key(KEY, SECRET)).await.unwrap()
}

fn keys(secret: u8) -> KeyProvider {
    KeyProvider::with_shared_key(&EncryptionKey::raw([secret; 32]))
}

fn with(keys: &KeyProvider) -> RoomBuilder {
    Room::builder().encryption(EncryptionOptions::new(keys.clone()))
}

#[expect(clippy::disallowed_methods, reason = "a token is of its time")]
async fn join(server: &DevServer, identity: &str, builder: &RoomBuilder) -> (Room, RoomEvents) {
    let signer = Signer::new(KEY, SECRET).unwrap();
    let grant = VideoGrant::join("room");
    let token = AccessToken::new(identity).with_video(grant).sign(&signer, SystemTime::now()).unwrap();
    let room = builder.connect(&server.url(), token.as_str()).await.unwrap();
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

async fn subscribed(events: &mut RoomEvents) -> RemoteTrack {
    event(events, |event| match event {
        RoomEvent::TrackSubscribed { track, publication, .. } => {
            assert!(publication.is_encrypted);
            Some(track)
        }
        _ => None,
    })
    .await
}

/// The state of somebody's track, or of their data.
async fn state(events: &mut RoomEvents, of_track: bool) -> EncryptionState {
    event(events, |event| match event {
        RoomEvent::E2eeStateChanged { publication, state, .. } if publication.is_some() == of_track => Some(state),
        _ => None,
    })
    .await
}

async fn active(room: &Room, identity: &str) {
    let mut participants = room.participants();
    let is_there = |participants: &std::sync::Arc<roomkey_room::Participants>| {
        participants
            .get(&identity.into())
            .is_some_and(|participant| participant.state == roomkey_room::ParticipantState::Active)
    };
    timeout(PATIENCE, participants.wait_for(is_there)).await.unwrap().unwrap();
}

fn speak(source: &AudioSource) -> tokio::task::JoinHandle<()> {
    let source = source.clone();
    tokio::spawn(async move {
        for number in 0_u32.. {
            let samples: Vec<f32> = (0..960)
                .map(|at| 0.5 * ((number * 960 + at) as f32 * 440.0 * std::f32::consts::TAU / 48_000.0).sin())
                .collect();
            source.capture_frame(&AudioFrame::new(samples, 48_000, 1).unwrap()).await.unwrap();
        }
    })
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
async fn who_has_the_key_hears_it_over_toggles_and_new_keys() {
    for single in [true, false] {
        let server = server().await;
        let (of_alice, of_bob) = (keys(1), keys(1));
        let (alice, mut at_alice) = join(&server, "alice", &with(&of_alice).single_peer_connection(single)).await;
        let (_bob, mut at_bob) = join(&server, "bob", &with(&of_bob).single_peer_connection(single)).await;
        let source = AudioSource::new(AudioSourceOptions::new());
        let speaking = speak(&source);
        let track = LocalTrack::audio("microphone", &source);
        let publication = alice.local_participant().publish_track(track, TrackPublishOptions::new()).await.unwrap();
        let info = publication.info().unwrap();
        assert!(info.is_encrypted && !info.has_red, "redundancy ends where encryption begins");
        assert!(alice.local_participant().info().is_encrypted());
        let mut stream = subscribed(&mut at_bob).await.audio_stream(&AudioStreamOptions::new());
        loud(&mut stream).await;
        assert_eq!(state(&mut at_alice, true).await, EncryptionState::Ok);
        assert_eq!(state(&mut at_bob, true).await, EncryptionState::Ok);

        // Another key, that bob gets late.
        of_alice.set_shared_key(1, &EncryptionKey::raw([7; 32])).unwrap();
        of_alice.set_key_index(1).unwrap();
        assert_eq!(state(&mut at_bob, true).await, EncryptionState::MissingKey);
        of_bob.set_shared_key(1, &EncryptionKey::raw([7; 32])).unwrap();
        assert_eq!(state(&mut at_bob, true).await, EncryptionState::Ok);
        loud(&mut stream).await;
        assert!(stream.stats().undecrypted > 0);

        // One that follows from it, which bob finds.
        of_alice.ratchet_shared_key(1).unwrap();
        assert_eq!(state(&mut at_bob, true).await, EncryptionState::KeyRatcheted);
        loud(&mut stream).await;

        let before = publication.sid();
        alice.set_encryption_enabled(false).await.unwrap();
        assert!(!alice.is_encryption_enabled());
        let track = event(&mut at_bob, |event| match event {
            RoomEvent::TrackSubscribed { track, publication, .. } => {
                assert!(!publication.is_encrypted);
                Some(track)
            }
            _ => None,
        })
        .await;
        loud(&mut track.audio_stream(&AudioStreamOptions::new())).await;
        assert_ne!(publication.sid(), before);
        alice.set_encryption_enabled(true).await.unwrap();
        loud(&mut subscribed(&mut at_bob).await.audio_stream(&AudioStreamOptions::new())).await;
        publication.mute();
        publication.unmute();
        speaking.abort();
    }
}

#[tokio::test]
async fn who_has_another_key_hears_silence_and_is_told_why() {
    let server = server().await;
    let (alice, mut at_alice) = join(&server, "alice", &with(&keys(1))).await;
    let (eve, mut at_eve) = join(&server, "eve", &with(&keys(2))).await;
    let (_trent, mut at_trent) = join(&server, "trent", &Room::builder()).await;
    active(&alice, "eve").await;
    let source = AudioSource::new(AudioSourceOptions::new());
    let speaking = speak(&source);
    let track = LocalTrack::audio("microphone", &source);
    let _publication = alice.local_participant().publish_track(track, TrackPublishOptions::new()).await.unwrap();
    let mut stream = subscribed(&mut at_eve).await.audio_stream(&AudioStreamOptions::new());
    assert_eq!(state(&mut at_eve, true).await, EncryptionState::DecryptionFailed);
    assert!(stream.next().now_or_never().is_none(), "nothing is decoded");
    let mut nothing = subscribed(&mut at_trent).await.audio_stream(&AudioStreamOptions::new());
    assert!(timeout(PATIENCE, nothing.next()).await.unwrap().is_none(), "there is nothing to decode it with");
    assert_eq!(state(&mut at_trent, true).await, EncryptionState::MissingKey);

    alice.local_participant().publish_data(DataPacket::new("secret")).await.unwrap();
    assert_eq!(state(&mut at_eve, false).await, EncryptionState::DecryptionFailed);
    let call = RpcRequest::new("eve", "ping", "").with_response_timeout(Duration::from_millis(500));
    alice.local_participant().perform_rpc(call).await.unwrap_err();
    // What eve sends is as little for alice.
    eve.local_participant().publish_data(DataPacket::new("secret")).await.unwrap();
    assert_eq!(state(&mut at_alice, false).await, EncryptionState::DecryptionFailed);

    let bob = Room::builder();
    assert!(bob.encryption_options().is_none());
    let (bob, _) = join(&server, "bob", &bob).await;
    assert!(!bob.is_encryption_enabled() && bob.key_provider().is_none());
    assert!(matches!(bob.set_encryption_enabled(true).await, Err(RoomError::Invalid(_))));
    speaking.abort();
}

#[tokio::test]
async fn data_streams_and_calls_are_encrypted_in_both_modes() {
    for single in [true, false] {
        let server = server().await;
        let (alice, _) = join(&server, "alice", &with(&keys(1)).single_peer_connection(single)).await;
        let (bob, mut at_bob) = join(&server, "bob", &with(&keys(1)).single_peer_connection(single)).await;
        active(&alice, "bob").await;
        active(&bob, "alice").await;
        let me = alice.local_participant();
        for is_encrypted in [true, false] {
            alice.set_encryption_enabled(is_encrypted).await.unwrap();
            me.publish_data(DataPacket::new("hello").topic("greetings")).await.unwrap();
            event(&mut at_bob, |event| match event {
                RoomEvent::DataReceived { payload, is_encrypted: was, topic, .. } => {
                    assert_eq!((&*payload, was, topic.as_deref()), (&b"hello"[..], is_encrypted, Some("greetings")));
                    Some(())
                }
                _ => None,
            })
            .await;
            for text in ["short".to_owned(), "long ".repeat(20_000)] {
                me.send_text(&text, TextStreamOptions::new("said")).await.unwrap();
                let mut reader = event(&mut at_bob, |event| match event {
                    RoomEvent::TextStreamOpened { reader, .. } => reader.take(),
                    _ => None,
                })
                .await;
                assert_eq!(timeout(PATIENCE, reader.read_all()).await.unwrap().as_deref(), Ok(&*text));
            }
            bob.local_participant().register_rpc_method("echo", |call| async move {
                if call.payload == "refuse" { Err(RpcError::new(1234, "refused")) } else { Ok(call.payload) }
            });
            for payload in ["short".to_owned(), "long ".repeat(8_000)] {
                let answer = timeout(PATIENCE, me.perform_rpc(RpcRequest::new("bob", "echo", payload.clone()))).await;
                assert_eq!(answer.unwrap().unwrap(), payload);
            }
            let refused = me.perform_rpc(RpcRequest::new("bob", "echo", "refuse")).await.unwrap_err();
            assert_eq!(refused.code, 1234);
        }
    }
}

/// A key frame and one that needs it, of a codec.
fn pictures(codec: VideoCodec) -> [Vec<u8>; 2] {
    let long = |head: &[u8]| [head, &(0..3_000_u32).map(|at| (at * 7) as u8 | 1).collect::<Vec<_>>()].concat();
    match codec {
        VideoCodec::Vp8 => [long(&[0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 64, 0, 48, 0]), long(&[0x31, 1, 2])],
        VideoCodec::Vp9 => [long(&[0x82, 0x49, 0x83, 0x42, 0x00, 0x03, 0xf0, 0x02, 0xf0]), long(&[0x86, 1, 2])],
        VideoCodec::H264 => [
            [
                &[0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0xd9, 0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80][..],
                &long(&[0, 0, 0, 1, 0x65, 0x88]),
            ]
            .concat(),
            long(&[0, 0, 0, 1, 0x41, 0x9a]),
        ],
        _ => unreachable!("no others are encrypted"),
    }
}

#[tokio::test]
async fn pictures_of_all_codecs_arrive_as_they_were_and_nothing_of_them_without_the_key() {
    for codec in [VideoCodec::Vp8, VideoCodec::Vp9, VideoCodec::H264] {
        let server = server().await;
        let (alice, _) = join(&server, "alice", &with(&keys(1))).await;
        let (_bob, mut at_bob) = join(&server, "bob", &with(&keys(1))).await;
        let (_eve, mut at_eve) = join(&server, "eve", &with(&keys(2))).await;
        let source = VideoSource::new(VideoSourceOptions::new(codec, 64, 48));
        let track = LocalTrack::video("camera", &source);
        let mut requests = source.keyframe_requests();
        let all = pictures(codec);
        let sent = all.clone();
        let sending = tokio::spawn(async move {
            let mut wants_keyframe = true;
            for number in 0_u64.. {
                let data = &sent[usize::from(!std::mem::take(&mut wants_keyframe))];
                let elapsed = Duration::from_millis(33 * number);
                let frame = EncodedVideoFrame::new(codec, elapsed, &data[..]);
                // Until somebody wants it, it is not taken.
                let _ = source.capture_frame(&frame);
                let request = timeout(Duration::from_millis(33), futures_util::StreamExt::next(&mut requests)).await;
                wants_keyframe |= matches!(request, Ok(Some(_)));
            }
        });
        let publication = alice.local_participant().publish_track(track, TrackPublishOptions::new()).await.unwrap();
        assert!(publication.info().unwrap().is_encrypted);
        let mut stream = subscribed(&mut at_bob).await.video_stream(VideoStreamOptions::new());
        let mut at_eve_stream = subscribed(&mut at_eve).await.video_stream(VideoStreamOptions::new());
        let next = async |stream: &mut roomkey_room::VideoStream| {
            let frame = futures_util::StreamExt::next(stream);
            timeout(PATIENCE, frame).await.unwrap_or_else(|_| panic!("{codec:?}")).unwrap()
        };
        let first = next(&mut stream).await;
        assert!(first.is_keyframe && *first.data == all[0], "{codec:?}");
        assert_eq!(first.dimensions.is_some(), codec != VideoCodec::H264);
        for _ in 0..10 {
            let frame = next(&mut stream).await;
            assert_eq!(*frame.data, all[usize::from(!frame.is_keyframe)], "{codec:?}");
        }
        assert_eq!(state(&mut at_bob, true).await, EncryptionState::Ok);
        assert_eq!(state(&mut at_eve, true).await, EncryptionState::DecryptionFailed);
        assert!(futures_util::StreamExt::next(&mut at_eve_stream).now_or_never().is_none(), "{codec:?}");
        assert!(at_eve_stream.stats().undecrypted_frames > 0);
        sending.abort();
    }
    let server = server().await;
    let (alice, _) = join(&server, "alice", &with(&keys(1))).await;
    let source = VideoSource::new(VideoSourceOptions::new(VideoCodec::Av1, 64, 48));
    let track = LocalTrack::video("camera", &source);
    let refused = alice.local_participant().publish_track(track.clone(), TrackPublishOptions::new()).await;
    assert_eq!(refused.unwrap_err(), PublishError::NotEncryptable);
    alice.set_encryption_enabled(false).await.unwrap();
    timeout(PATIENCE, async {
        // The source is free once the room has heard of the refusal.
        while alice.local_participant().publish_track(track.clone(), TrackPublishOptions::new()).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}
