//! Rooms that are encrypted end to end.

use std::time::Duration;

use livekit_protocol as proto;
use proto::data_packet::Value;
use proto::leave_request::Action;
use proto::signal_response::Message;

use super::world::{MODES, World};
use crate::connection_state::ConnectionState::{Connected, Restarting, Resuming};
use crate::data_stream::error::StreamError;
use crate::encryption::{EncryptionKey, EncryptionOptions, KeyProvider};
use crate::error::RoomError;

fn keys(secret: u8) -> KeyProvider {
    KeyProvider::with_shared_key(&EncryptionKey::raw([secret; 32]))
}

fn with(keys: &KeyProvider) -> Option<EncryptionOptions> {
    Some(EncryptionOptions::new(keys.clone()))
}

fn header(id: &str) -> Value {
    use proto::data_stream::header::ContentHeader;
    Value::StreamHeader(proto::data_stream::Header {
        stream_id: id.to_owned(),
        content_header: Some(ContentHeader::ByteHeader(proto::data_stream::ByteHeader::default())),
        ..Default::default()
    })
}

fn chunk(id: &str, content: &[u8]) -> Value {
    let stream_id = id.to_owned();
    Value::StreamChunk(proto::data_stream::Chunk { stream_id, content: content.to_vec(), ..Default::default() })
}

fn trailer(id: &str) -> Value {
    Value::StreamTrailer(proto::data_stream::Trailer { stream_id: id.to_owned(), ..Default::default() })
}

fn send(world: &mut World, client: usize, value: Value) -> Result<(), RoomError> {
    let packet = proto::DataPacket { value: Some(value), ..Default::default() };
    let now = world.now;
    let sent = world.clients[client].core.send_packet(packet, true, now);
    world.settle();
    sent
}

#[test]
fn who_has_the_key_hears_and_reads_everything_over_resumes_and_joins_anew() {
    for mode in MODES {
        let mut world = World::with_encrypted_clients(mode, 1, with(&keys(1)), ["alice", "bob"]);
        world.sing(0);
        assert_eq!(world.clients[1].subscribed, [true], "{mode:?}");
        world.talk(0, Duration::from_millis(20));
        send(&mut world, 0, header("long")).unwrap();
        send(&mut world, 0, chunk("long", b"all of it")).unwrap();
        world.run(Duration::from_secs(1));
        world.cut(0);
        world.run(Duration::from_secs(2));
        world.cut(1);
        world.run(Duration::from_secs(2));
        assert!(world.hears_within(1, Duration::from_secs(1)), "{mode:?}");
        for client in [0, 1] {
            let leave = proto::LeaveRequest { action: Action::Reconnect.into(), ..Default::default() };
            world.inject(client, Message::Leave(leave));
            world.run(Duration::from_secs(5));
            assert!(world.hears_within(1, Duration::from_secs(2)), "{mode:?}");
        }
        send(&mut world, 0, trailer("long")).unwrap();
        world.be_quiet();
        world.run(Duration::from_secs(3));
        let of = |client: usize| world.clients[client].states();
        assert_eq!((of(0), of(1)), (vec![Resuming, Connected, Restarting, Connected], of(0)), "{mode:?}");
        // What was on its way while bob joined anew may be lost, as of any packets.
        world.assert_ordered(0, 1);
        assert!(world.clients[1].received.len() > 400, "{mode:?}");
        let failed = |client: &super::client::Client| client.was_told("data of") && client.sealed == 0;
        assert!(failed(&world.clients[1]) && !failed(&world.clients[0]));
        let told: Vec<_> = world.clients[1].told.iter().filter(|(_, told)| told.contains("data")).collect();
        assert_eq!(told.len(), 2, "one for each of alice's stays, {mode:?} {told:?}");
    }
}

#[test]
fn who_has_another_key_or_none_hears_and_reads_nothing() {
    for mode in MODES {
        let mut world = World::with_encrypted_clients(mode, 2, with(&keys(1)), ["alice", "bob"]);
        world.encryption = with(&keys(2));
        let wrong = world.join("eve");
        world.encryption = with(&KeyProvider::new());
        let none = world.join("mallory");
        world.encryption = None;
        let plain = world.join("trent");
        world.run(Duration::from_secs(3));
        let now = world.now;
        world.clients[0].publish_audio(1, now);
        world.talk(0, Duration::from_millis(50));
        send(&mut world, 0, header("a stream")).unwrap();
        send(&mut world, 0, chunk("a stream", b"all of it")).unwrap();
        send(&mut world, 0, trailer("a stream")).unwrap();
        world.run(Duration::from_secs(3));
        assert!(world.clients[1].heard.len() > 20 && world.clients[1].received.len() > 20, "{mode:?}");
        assert_eq!(world.clients[1].read_streams(), [("a stream".to_owned(), Ok(b"all of it".to_vec()))]);
        for client in [wrong, none, plain] {
            let it = &mut world.clients[client];
            assert_eq!((it.heard.len(), it.received.len()), (0, 0), "{mode:?} {}", it.identity);
            assert_eq!(it.read_streams(), []);
            assert_eq!(it.subscribed, [true], "it is told what it can't hear");
        }
        assert!(world.clients[wrong].was_told("data of alice decryption_failed"));
        assert!(world.clients[none].was_told("data of alice missing_key"));
        assert!(world.clients[plain].sealed > 20);
        assert_eq!(
            send(&mut world, none, header("secret")),
            Err(RoomError::MissingKey),
            "nothing goes out in the clear"
        );
    }
}

#[test]
fn a_toggle_publishes_anew_and_what_others_send_is_read_either_way() {
    for mode in MODES {
        let mut world = World::with_encrypted_clients(mode, 3, with(&keys(1)), ["alice", "bob"]);
        world.sing(0);
        for (enabled, seen) in [(false, vec![true, false]), (true, vec![true, false, true])] {
            let now = world.now;
            let alice = &mut world.clients[0];
            alice.encryption.as_ref().unwrap().set_enabled(enabled);
            alice.core.set_encrypted(enabled, now);
            world.settle();
            world.run(Duration::from_secs(2));
            assert_eq!(world.clients[1].subscribed, seen, "{mode:?}");
            assert!(world.hears_within(1, Duration::from_secs(1)), "{mode:?} {enabled}");
            send(&mut world, 0, header("a stream")).unwrap();
            send(&mut world, 0, chunk("a stream", b"all of it")).unwrap();
            send(&mut world, 0, trailer("a stream")).unwrap();
            world.run(Duration::from_secs(1));
            let mut read = world.clients[1].read_streams();
            assert_eq!(read.pop().map(|(_, outcome)| outcome), Some(Ok(b"all of it".to_vec())), "{mode:?} {enabled}");
        }
        assert_eq!(world.clients[0].told.iter().filter(|(_, told)| told == "republished").count(), 2, "{mode:?}");
        assert_eq!(world.clients[1].told.iter().filter(|(_, told)| told == "unsubscribed from alice").count(), 2);
    }
}

#[test]
fn a_stream_that_is_encrypted_in_part_is_no_stream() {
    let mut world = World::with_encrypted_clients(MODES[0], 4, with(&keys(1)), ["alice", "bob"]);
    send(&mut world, 0, header("half")).unwrap();
    world.clients[0].encryption.as_ref().unwrap().set_enabled(false);
    send(&mut world, 0, chunk("half", b"in the clear")).unwrap();
    send(&mut world, 0, trailer("half")).unwrap();
    world.run(Duration::from_secs(1));
    assert_eq!(world.clients[1].read_streams(), [("half".to_owned(), Err(StreamError::EncryptionMismatch))]);
}

#[test]
fn the_largest_packet_is_refused_before_encryption_makes_it_too_large() {
    let mut world = World::with_encrypted_clients(MODES[0], 5, with(&keys(1)), ["alice", "bob"]);
    let user = |length: usize| Value::User(proto::UserPacket { payload: vec![1; length], ..Default::default() });
    assert_eq!(send(&mut world, 0, user(63_960)), Err(RoomError::TooLarge { limit: 64_000 }));
    send(&mut world, 0, user(63_800)).unwrap();
    world.run(Duration::from_secs(1));
    assert_eq!(world.clients[1].received.len(), 1);
}
