//! Whose packets are whose, over UDP and TCP.

use std::net::SocketAddr;
use std::time::Duration;

use livekit_protocol as proto;
use proto::signal_response::Message;
use roomkey_token::VideoGrant;

use super::world::{Client, NOWHERE, World};

#[test]
fn datagrams_of_strangers_change_nothing() {
    let mut world = World::new();
    let (alice, bob) = (world.join("alice"), world.join("bob"));
    world.run(Duration::from_secs(1));
    let mut rng = fastrand::Rng::with_seed(3);
    for index in 0..2_000_u16 {
        let length = rng.usize(0..200);
        let bytes: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(length).collect();
        world.sfu.handle_datagram(SocketAddr::from(([127, 0, 0, 1], index)), &bytes, world.now);
        world.sfu.handle_datagram(world.clients[alice].address, &bytes, world.now);
    }
    world.run(Duration::from_secs(1));
    world.send_data(alice, "still here", &[]);
    assert_eq!(world.topics(bob), [("alice".to_owned(), "still here".to_owned())]);
    assert!(world.sfu.sources.len() <= 2);
}

#[test]
fn who_gets_the_address_of_one_who_vanished_joins_all_the_same() {
    let mut world = World::new();
    let (vanished, speaker) = (world.join("vanished"), world.join("speaker"));
    world.run(Duration::from_secs(1));
    let sender = world.publish_audio(speaker);
    world.speak(speaker, sender, 5);
    // The system gives the port of a process that ended to the next one.
    let address = world.vanish(vanished);
    let newcomer = Client::at(address, 3, world.now.instant);
    let newcomer = world.join_as(newcomer, "newcomer", VideoGrant::join("lab"), |_| {}).unwrap();
    // The one before is still sent what everybody is sent.
    world.send_data(speaker, "early", &[]);
    world.speak(speaker, sender, 40);
    world.send_data(speaker, "late", &[]);
    assert!(world.clients[newcomer].rtc.is_connected());
    world.send_data(newcomer, "hello", &[]);
    assert_eq!(world.topics(speaker), [("newcomer".to_owned(), "hello".to_owned())]);
    let said: Vec<_> = world.topics(newcomer).into_iter().map(|(_, topic)| topic).collect();
    assert_eq!(said, ["early", "late"]);
    assert!(world.clients[newcomer].packets.len() > 20, "{}", world.clients[newcomer].packets.len());
}

#[test]
fn who_has_no_udp_joins_over_tcp_and_hears_and_is_heard() {
    let mut world = World::with(|settings| settings.has_tcp = true);
    let alice = world.join("alice");
    let bob = Client::over_tcp(2, world.now.instant);
    let bob = world.join_as(bob, "bob", VideoGrant::join("lab"), |_| {}).unwrap();
    world.run(Duration::from_secs(1));
    for (from, to, name) in [(alice, bob, "alice"), (bob, alice, "bob")] {
        let sender = world.publish_audio(from);
        world.speak(from, sender, 20);
        assert!(world.clients[to].packets.len() >= 15, "{}", world.clients[to].packets.len());
        world.send_data(from, "hello", &[]);
        assert_eq!(world.topics(to), [(name.to_owned(), "hello".to_owned())]);
    }
    let trickled = world.clients[bob].messages.iter().filter_map(|message| match message {
        Message::Trickle(trickle) => Some((trickle.candidate_init.contains("tcptype passive"), trickle.r#final)),
        _ => None,
    });
    assert_eq!(trickled.take(2).collect::<Vec<_>>(), [(false, false), (true, true)]);
}

#[test]
fn a_frame_that_is_of_nobody_is_not_taken_and_one_of_somebody_is_until_its_connection_ends() {
    let mut world = World::with(|settings| settings.has_tcp = true);
    let alice = Client::over_tcp(1, world.now.instant);
    let alice = world.join_as(alice, "alice", VideoGrant::join("lab"), |_| {}).unwrap();
    world.run(Duration::from_secs(1));
    let (address, stranger) = (world.clients[alice].address, NOWHERE);
    let mut rng = fastrand::Rng::with_seed(3);
    for _ in 0..500 {
        let bytes: Vec<u8> = (0..rng.usize(0..200)).map(|_| rng.u8(..)).collect();
        assert!(!world.sfu.handle_frame(stranger, &bytes, world.now));
        assert!(world.sfu.handle_frame(address, &bytes, world.now));
    }
    world.sfu.tcp_ended(address);
    assert!(!world.sfu.handle_frame(address, &[0x80; 20], world.now), "the next connection from there is another one");
    world.run(Duration::from_secs(10));
    assert!(world.sfu.sources.len() <= 1);
}

#[test]
fn who_left_leaves_no_address_behind() {
    let mut world = World::new();
    world.join("alice");
    for number in 0..5 {
        let other = world.join(&format!("other-{number}"));
        world.run(Duration::from_millis(500));
        assert_eq!(world.sfu.sources.len(), 2);
        world.request(other, proto::signal_request::Message::Leave(proto::LeaveRequest::default()));
        world.run(Duration::from_millis(100));
        assert_eq!(world.sfu.sources.len(), 1);
    }
}
