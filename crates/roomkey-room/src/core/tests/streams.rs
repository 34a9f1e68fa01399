//! Streams go on when their sender joins anew, and none comes twice.

use std::time::Duration;

use livekit_protocol as proto;
use proto::data_packet::Value;
use proto::data_stream::header::ContentHeader;
use proto::leave_request::Action;
use proto::signal_response::Message;

use super::world::{MODES, World};
use crate::connection_state::ConnectionState::{Connected, Restarting};
use crate::data_stream::error::StreamError;
use crate::data_stream::packet::deflate;

fn send(world: &mut World, client: usize, value: Value) {
    let packet = proto::DataPacket { value: Some(value), ..Default::default() };
    let now = world.now;
    world.clients[client].core.send_packet(packet, true, now).unwrap();
    world.settle();
}

fn header(id: &str, inline: Option<&[u8]>) -> Value {
    Value::StreamHeader(proto::data_stream::Header {
        stream_id: id.to_owned(),
        topic: "numbers".to_owned(),
        content_header: Some(ContentHeader::ByteHeader(proto::data_stream::ByteHeader::default())),
        inline_content: inline.map(<[u8]>::to_vec),
        ..Default::default()
    })
}

fn chunk(id: &str, index: u64) -> Value {
    let content = index.to_be_bytes().to_vec();
    let stream_id = id.to_owned();
    Value::StreamChunk(proto::data_stream::Chunk { stream_id, chunk_index: index, content, ..Default::default() })
}

fn trailer(id: &str) -> Value {
    Value::StreamTrailer(proto::data_stream::Trailer { stream_id: id.to_owned(), ..Default::default() })
}

#[test]
fn streams_go_on_over_a_join_anew_of_their_sender() {
    for mode in MODES {
        for seed in 0..2 {
            let mut world = World::with_clients(mode, seed, ["alice", "bob"]);
            send(&mut world, 0, header("long", None));
            for index in 0..120 {
                // Short ones, on their way when the stay ends.
                let id = format!("short {index}");
                send(&mut world, 0, header(&id, None));
                send(&mut world, 0, chunk(&id, 0));
                send(&mut world, 0, trailer(&id));
                send(&mut world, 0, header(&format!("inline {index}"), Some(b"all of it")));
                send(&mut world, 0, chunk("long", index));
                if index % 50 == 49 {
                    let leave = proto::LeaveRequest { action: Action::Reconnect.into(), ..Default::default() };
                    world.inject(0, Message::Leave(leave));
                }
                world.run(Duration::from_millis(15));
            }
            send(&mut world, 0, trailer("long"));
            world.run(Duration::from_secs(3));
            assert_eq!(world.clients[0].states(), [Restarting, Connected, Restarting, Connected]);
            let mut streams = world.clients[1].read_streams();
            let (long, rest): (Vec<_>, Vec<_>) = streams.drain(..).partition(|(id, _)| id == "long");
            let expected: Vec<u8> = (0..120u64).flat_map(u64::to_be_bytes).collect();
            assert!(
                long.len() == 1 && long[0].1.as_ref().is_ok_and(|bytes| *bytes == expected),
                "seed {seed} {mode:?}"
            );
            assert!(rest.iter().all(|(_, outcome)| outcome.is_ok()), "seed {seed} {mode:?}: {rest:?}");
            let mut ids: Vec<_> = rest.into_iter().map(|(id, _)| id).collect();
            assert_eq!(ids.len(), 240, "seed {seed} {mode:?}");
            ids.sort();
            ids.dedup();
            assert_eq!(ids.len(), 240, "each comes once");
        }
    }
}

#[test]
fn the_streams_of_a_sender_that_crashed_end_soon_after_it_came_again() {
    for mode in MODES {
        let mut world = World::with_clients(mode, 3, ["alice", "bob"]);
        send(&mut world, 0, header("unfinished", None));
        send(&mut world, 0, chunk("unfinished", 0));
        world.run(Duration::from_secs(1));
        world.clients[0].path.is_down = true;
        world.run(Duration::from_millis(500));
        // Another process under the same identity, which knows nothing of the stream.
        let again = world.join("alice");
        assert!(world.run_until(Duration::from_secs(10), |world| world.clients[again].is_connected()));
        world.run(Duration::from_secs(10));
        let streams = world.clients[1].read_streams();
        let expected = [("unfinished".to_owned(), Err(StreamError::SenderLeft))];
        assert_eq!(streams, expected, "{mode:?}");
    }
}

#[test]
fn a_stream_that_goes_on_while_its_receiver_joins_anew_is_whole_or_says_that_it_is_not() {
    for mode in MODES {
        let mut world = World::with_clients(mode, 4, ["alice", "bob"]);
        send(&mut world, 0, header("ends", None));
        send(&mut world, 0, header("goes on", None));
        send(&mut world, 0, chunk("ends", 0));
        send(&mut world, 0, chunk("goes on", 0));
        world.run(Duration::from_secs(1));
        let leave = proto::LeaveRequest { action: Action::Reconnect.into(), ..Default::default() };
        world.inject(1, Message::Leave(leave));
        assert!(world.run_until(Duration::from_secs(1), |world| world.clients[1].states() == [Restarting]));
        send(&mut world, 0, chunk("ends", 1));
        send(&mut world, 0, trailer("ends"));
        assert!(world.run_until(Duration::from_secs(10), |world| world.clients[1].is_connected()));
        world.run(Duration::from_secs(1));
        send(&mut world, 0, chunk("goes on", 1));
        send(&mut world, 0, trailer("goes on"));
        world.run(Duration::from_secs(70));
        let whole: Vec<u8> = [0u64, 1].into_iter().flat_map(u64::to_be_bytes).collect();
        let streams = world.clients[1].read_streams();
        assert_eq!(streams.len(), 2);
        for (id, outcome) in streams {
            // The server may have kept what was sent in between.
            let is_known_to_fail = matches!(outcome, Err(StreamError::Interrupted | StreamError::MissedChunk { .. }));
            assert!(outcome == Ok(whole.clone()) || (id == "ends" && is_known_to_fail), "{mode:?} {id} {outcome:?}");
        }
    }
}

#[test]
fn what_a_sender_makes_a_room_keep_is_bounded_and_the_room_goes_on() {
    const MEBIBYTE: usize = 1 << 20;
    let mut world = World::with_clients(MODES[0], 1, ["alice", "bob"]);
    let zeros = deflate(&vec![0; MEBIBYTE]);
    let open = |world: &mut World, id: &str| {
        let Value::StreamHeader(mut header) = header(id, Some(&zeros)) else { return };
        header.compression = proto::data_stream::CompressionType::DeflateRaw.into();
        send(world, 0, Value::StreamHeader(header));
    };
    for number in 0..150 {
        // A packet of a kilobyte, and a stream that is whole and that nobody reads.
        open(&mut world, &number.to_string());
    }
    world.run(Duration::from_secs(3));
    let streams = world.clients[1].read_streams();
    let (kept, refused): (Vec<_>, Vec<_>) = streams.iter().partition(|(_, outcome)| outcome.is_ok());
    assert_eq!((kept.len(), refused.len()), (85, 65), "two thirds of 128, as one sender has");
    let too_much = StreamError::TooMuchUnread { limit: 128 * MEBIBYTE - 128 * MEBIBYTE / 3 };
    assert!(refused.iter().all(|(_, outcome)| *outcome == Err(too_much.clone())));

    open(&mut world, "after");
    world.run(Duration::from_secs(1));
    assert!(
        matches!(&world.clients[1].read_streams()[..], [(id, Ok(bytes))] if id == "after" && bytes.len() == MEBIBYTE)
    );
}
