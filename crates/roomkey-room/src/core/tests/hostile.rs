//! A server that speaks nonsense, and strangers who speak in its place.

use std::net::SocketAddr;
use std::time::Duration;

use livekit_protocol as proto;
use prost::Message as _;
use proto::data_packet::Value;
use proto::leave_request::Action;
use proto::signal_response::Message;

use super::world::{MODES, Mode, World, encode, mutate};
use crate::connect_error::{ConnectError, ConnectErrorKind};
use crate::connection_state::ConnectionState::{Disconnected, Restarting, Resuming};
use crate::connection_state::DisconnectReason;

/// What comes of a join at a server that says this.
fn join_fails(mode: Mode, script: Vec<Vec<u8>>) -> ConnectError {
    let mut world = World::new(mode, 1);
    world.script = Some(script);
    let client = world.join("alice");
    assert!(world.run_until(Duration::from_secs(30), |world| world.clients[0].connected.is_some()));
    let client = &mut world.clients[client];
    assert!(client.core.is_over() && client.core.timeout().is_none());
    assert!(client.sockets.is_empty() && client.websocket.is_none() && client.dialing.is_none());
    client.connected.take().unwrap().unwrap_err()
}

fn join() -> proto::JoinResponse {
    let own = proto::ParticipantInfo { sid: "PA_own".to_owned(), identity: "alice".to_owned(), ..Default::default() };
    proto::JoinResponse { participant: Some(own), ..Default::default() }
}

fn description(kind: &str, sdp: &str) -> proto::SessionDescription {
    proto::SessionDescription { r#type: kind.to_owned(), sdp: sdp.to_owned(), ..Default::default() }
}

#[test]
fn a_server_whose_first_message_is_no_join_is_told_from_one_that_is_away() {
    for mode in MODES {
        let update = encode(Message::Update(proto::ParticipantUpdate::default()));
        let error = join_fails(mode, vec![update]);
        assert!(matches!(error.kind(), ConnectErrorKind::Protocol), "{error}");
        let error = join_fails(mode, vec![encode(Message::Join(proto::JoinResponse::default()))]);
        assert!(matches!(error.kind(), ConnectErrorKind::Protocol), "{error}");
        for silent in [vec![], vec![Vec::new()], vec![b"GET / HTTP/1.1".to_vec()], vec![vec![0xff; 100_000]]] {
            let error = join_fails(mode, silent);
            assert!(matches!((error.kind(), error.status()), (ConnectErrorKind::Unavailable, None)), "{error}");
        }
        // It has said a join, and never answers the offer.
        let error = join_fails(mode, vec![encode(Message::Join(join()))]);
        assert!(matches!(error.kind(), ConnectErrorKind::Protocol), "{error}");
    }
}

#[test]
fn a_server_that_refuses_the_join_is_believed() {
    for mode in MODES {
        for action in [Action::Disconnect, Action::Resume, Action::Reconnect] {
            let reason = proto::DisconnectReason::RoomDeleted.into();
            let leave = proto::LeaveRequest { action: action.into(), reason, ..Default::default() };
            let error = join_fails(mode, vec![encode(Message::Leave(leave))]);
            assert!(
                matches!(error.kind(), ConnectErrorKind::Refused(DisconnectReason::RoomDeleted)),
                "{action:?}: {error}"
            );
        }
    }
}

#[test]
fn descriptions_that_are_none_end_a_join() {
    for mode in MODES {
        for sdp in ["", "v=0", "v=0\r\nm=audio 9 RTP/AVP 0\r\n", "\u{0}"] {
            let join = encode(Message::Join(join()));
            let answer = encode(Message::Answer(description("answer", sdp)));
            let error = join_fails(mode, vec![join.clone(), answer]);
            assert!(matches!(error.kind(), ConnectErrorKind::Protocol), "{sdp:?}: {error}");
            let offer = encode(Message::Offer(description("offer", sdp)));
            let error = join_fails(mode, vec![join, offer]);
            assert!(
                matches!(error.kind(), ConnectErrorKind::Protocol | ConnectErrorKind::MediaTimeout),
                "{sdp:?}: {error}"
            );
        }
    }
}

#[test]
fn a_server_that_answers_nonsense_to_each_join_anew_is_given_up() {
    for mode in MODES {
        let mut world = World::with_clients(mode, 3, ["alice"]);
        let answer = encode(Message::Answer(description("answer", "v=0")));
        world.script = Some(vec![encode(Message::Join(join())), answer]);
        world.kill_server();
        world.start_server();
        assert!(world.run_until(Duration::from_secs(180), |world| world.clients[0].core.is_over()));
        let states = world.clients[0].states();
        assert_eq!(states, [Resuming, Restarting, Disconnected(DisconnectReason::SignalClose)]);
        assert!(world.clients[0].dials.len() < 30, "{}", world.clients[0].dials.len());
    }
}

/// Messages about things that are not there.
fn of_another_room() -> Vec<Message> {
    let (sid, track) = ("PA_stranger".to_owned(), "TR_stranger".to_owned());
    let info = proto::TrackInfo { sid: track.clone(), ..Default::default() };
    let candidate = r#"{"candidate":"candidate:1 1 udp 1 203.0.113.9 9 typ host","sdpMid":"0","sdpMLineIndex":0}"#;
    vec![
        Message::TrackPublished(proto::TrackPublishedResponse { cid: "no such".to_owned(), track: Some(info) }),
        Message::TrackPublished(proto::TrackPublishedResponse::default()),
        Message::TrackUnpublished(proto::TrackUnpublishedResponse { track_sid: track.clone() }),
        Message::TrackSubscribed(proto::TrackSubscribed { track_sid: track.clone() }),
        Message::Mute(proto::MuteTrackRequest { sid: track.clone(), muted: true }),
        Message::SpeakersChanged(proto::SpeakersChanged {
            speakers: vec![proto::SpeakerInfo { sid: sid.clone(), level: f32::NAN, active: true }],
        }),
        Message::ConnectionQuality(proto::ConnectionQualityUpdate {
            updates: vec![proto::ConnectionQualityInfo { participant_sid: sid.clone(), quality: 77, score: f32::NAN }],
        }),
        Message::StreamStateUpdate(proto::StreamStateUpdate {
            stream_states: vec![proto::StreamStateInfo {
                participant_sid: sid.clone(),
                track_sid: track.clone(),
                state: -1,
            }],
        }),
        Message::SubscribedQualityUpdate(proto::SubscribedQualityUpdate {
            track_sid: track.clone(),
            ..Default::default()
        }),
        Message::SubscriptionPermissionUpdate(proto::SubscriptionPermissionUpdate {
            participant_sid: sid,
            track_sid: track.clone(),
            allowed: false,
        }),
        Message::SubscriptionResponse(proto::SubscriptionResponse { track_sid: track, err: 99 }),
        Message::RequestResponse(proto::RequestResponse { request_id: 12_345, reason: 2, ..Default::default() }),
        Message::Update(proto::ParticipantUpdate { participants: vec![proto::ParticipantInfo::default()] }),
        Message::Answer(description("answer", "v=0")),
        Message::Trickle(proto::TrickleRequest { candidate_init: "{".to_owned(), target: 9, ..Default::default() }),
        Message::Trickle(proto::TrickleRequest {
            candidate_init: candidate.replace("203.0.113.9", "somewhere.local"),
            ..Default::default()
        }),
        Message::Join(join()),
        Message::Reconnect(proto::ReconnectResponse::default()),
        Message::PongResp(proto::Pong { last_ping_timestamp: i64::MIN, timestamp: i64::MAX }),
        Message::RoomMoved(proto::RoomMovedResponse::default()),
        Message::RoomUpdate(proto::RoomUpdate { room: None }),
    ]
}

#[test]
fn what_is_of_another_room_changes_nothing() {
    for mode in MODES {
        let mut world = World::with_clients(mode, 4, ["alice", "bob"]);
        world.sing(0);
        world.talk(1, Duration::from_millis(50));
        for message in of_another_room() {
            world.inject(0, message);
        }
        world.inject_bytes(0, vec![0xff; 1 << 20]);
        world.run(Duration::from_secs(1));
        world.be_quiet();
        world.run(Duration::from_secs(1));
        assert_eq!(world.clients[0].states(), []);
        world.assert_complete(1, 0);
        assert!(world.hears_within(1, Duration::from_secs(1)));
        assert_eq!(world.clients[0].core.members().participants.remote.len(), 1);
    }
}

#[test]
fn a_description_that_is_none_in_the_room_is_a_join_anew() {
    let mut world = World::with_clients(Mode::Dual, 4, ["alice", "bob"]);
    world.sing(0);
    world.inject(0, Message::Offer(description("offer", "v=0")));
    world.run(Duration::from_secs(2));
    let states = world.clients[0].states();
    assert!(states.starts_with(&[Restarting]) && world.clients[0].is_connected(), "{states:?}");
    assert!(world.hears_within(1, Duration::from_secs(1)));
}

#[test]
fn a_server_that_wants_ever_more_places_for_tracks_gets_a_bounded_number() {
    let mut world = World::with_clients(Mode::Single, 4, ["alice", "bob"]);
    for _ in 0..20 {
        let required = proto::MediaSectionsRequirement { num_audios: u32::MAX, num_videos: u32::MAX };
        world.inject(0, Message::MediaSectionsRequirement(required));
    }
    world.run(Duration::from_secs(2));
    let places = world.clients[0].core.link.publisher.as_ref().unwrap().receivers();
    assert!(places <= 250, "{places}");
    assert!(!world.clients[0].core.is_over());
}

#[test]
fn a_server_that_names_ever_more_participants_and_tracks_fills_a_bounded_table() {
    use crate::core::members::{MAX_PARTICIPANTS, MAX_TRACKS, Members};
    let (mut members, mut out) = (Members::new(true), Vec::new());
    let info = |number: usize| proto::ParticipantInfo {
        sid: format!("PA_{number}"),
        identity: format!("user {number}"),
        ..Default::default()
    };
    for number in 0..MAX_PARTICIPANTS + 100 {
        members.update(&[info(number)], &mut out);
        out.clear();
    }
    assert_eq!(members.participants.remote.len(), MAX_PARTICIPANTS);
    let mut crowded = info(0);
    crowded.tracks = (0..MAX_TRACKS + 10)
        .map(|number| proto::TrackInfo { sid: format!("TR_{number}"), ..Default::default() })
        .collect();
    members.update(&[crowded], &mut out);
    let tracks = members.participants.get(&"user 0".into()).unwrap().publications.len();
    assert_eq!(tracks, MAX_TRACKS);
}

#[test]
fn messages_that_are_mutilated_on_their_way_never_panic_and_leave_the_room_connected_or_over() {
    for mode in MODES {
        for seed in 0..3 {
            let mut world = World::new(mode, seed);
            world.join("bob");
            world.mutations = 0.2;
            world.join("alice");
            world.run(Duration::from_secs(2));
            let now = world.now;
            for (track, client) in (1..).zip(&mut world.clients) {
                client.publish_audio(track, now);
                client.voice = None;
            }
            for client in 0..2 {
                world.talk(client, Duration::from_millis(200));
            }
            for _ in 0..6 {
                let pause = Duration::from_millis(world.rng.u64(100..3_000));
                world.run(pause);
                let client = usize::from(world.rng.bool());
                world.cut(client);
            }
            world.mutations = 0.0;
            let is_settled =
                |world: &World| world.clients.iter().all(|client| client.core.is_over() || client.is_connected());
            assert!(world.run_until(Duration::from_secs(120), is_settled), "seed {seed}, {mode:?}");
        }
    }
}

#[test]
fn datagrams_of_strangers_and_nonsense_from_the_servers_address_change_nothing() {
    for mode in MODES {
        let mut world = World::with_clients(mode, 6, ["alice", "bob"]);
        world.sing(1);
        world.talk(1, Duration::from_millis(50));
        let sources = [SocketAddr::from(([10, 0, 255, 1], 7_882)), SocketAddr::from(([203, 0, 113, 5], 9))];
        for round in 0..400 {
            let length = world.rng.usize(..400);
            let mut datagram: Vec<u8> = std::iter::repeat_with(|| world.rng.u8(..)).take(length).collect();
            if let Some(first) = datagram.first_mut() {
                // STUN, DTLS, RTP and RTCP, and what is none of them (RFC 7983).
                *first = [0, 1, 20, 22, 23, 63, 128, 144, 191, 255][round % 10];
            }
            let now = world.now;
            let client = &mut world.clients[0];
            let all: Vec<_> = client.sockets.iter().map(|(id, address)| (*id, *address)).collect();
            for (sockets, address) in all {
                client.core.handle_datagram(sockets, sources[round % 2], address, &datagram, now);
            }
            world.run(Duration::from_millis(5));
        }
        world.be_quiet();
        world.run(Duration::from_secs(1));
        assert_eq!(world.clients[0].states(), []);
        world.assert_complete(1, 0);
        assert!(world.hears_within(0, Duration::from_secs(1)));
    }
}

#[test]
fn data_that_is_no_packet_or_a_strange_one_is_passed_over() {
    let mut world = World::with_clients(Mode::Dual, 6, ["alice", "bob"]);
    world.talk(1, Duration::from_millis(50));
    let values = [
        Value::User(proto::UserPacket { payload: vec![1; 20], nonce: vec![7; 500], ..Default::default() }),
        Value::RpcRequest(proto::RpcRequest { id: "x".to_owned(), ..Default::default() }),
        Value::RpcAck(proto::RpcAck { request_id: "x".to_owned() }),
        Value::RpcResponse(proto::RpcResponse { request_id: "x".to_owned(), value: None }),
        Value::Transcription(proto::Transcription::default()),
        Value::StreamHeader(proto::data_stream::Header { stream_id: "s".to_owned(), ..Default::default() }),
        Value::StreamChunk(proto::data_stream::Chunk {
            stream_id: "s".to_owned(),
            chunk_index: 1 << 60,
            ..Default::default()
        }),
        Value::StreamTrailer(proto::data_stream::Trailer { stream_id: "t".to_owned(), ..Default::default() }),
    ];
    for round in 0..2_000 {
        let packet = proto::DataPacket {
            value: Some(values[round % values.len()].clone()),
            participant_identity: ["", "bob", "stranger"][round % 3].to_owned(),
            participant_sid: ["", "PA_stranger"][round % 2].to_owned(),
            sequence: world.rng.u32(..),
            ..Default::default()
        };
        let mut bytes = packet.encode_to_vec();
        if world.rng.bool() {
            mutate(&mut bytes, &mut world.rng);
        }
        let (now, core) = (world.now, &mut world.clients[0].core);
        let channel = core.link.publisher.as_ref().and_then(|transport| transport.reliable).unwrap();
        core.handle_data(false, channel, &bytes, now);
        core.settle(now);
    }
    world.settle();
    world.clients[0].received.clear();
    world.be_quiet();
    world.talk(1, Duration::from_millis(50));
    world.run(Duration::from_secs(1));
    world.be_quiet();
    world.run(Duration::from_secs(1));
    assert_eq!(world.clients[0].states(), []);
    world.assert_complete(1, 0);
}
