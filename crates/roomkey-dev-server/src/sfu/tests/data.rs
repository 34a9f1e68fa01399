//! Data, missed data, and who does not read it.

use std::time::Duration;

use livekit_protocol as proto;
use proto::data_packet::Kind;
use proto::signal_request::Message as Request;
use proto::signal_response::Message;
use roomkey_token::VideoGrant;

use super::world::{Client, World, coming_back};

#[test]
fn reliable_data_reaches_those_whom_it_is_for_once_with_its_sender_named() {
    let mut world = World::new();
    let (alice, bob, carol) = (world.join("alice"), world.join("bob"), world.join("carol"));
    world.run(Duration::from_secs(1));
    world.send_data(alice, "to everybody", &[]);
    world.send_data(alice, "to bob", &["bob"]);
    // What was sent before comes again, as after a resume.
    world.clients[alice].sequence = 0;
    world.send_data(alice, "again", &[]);
    let from_alice = |topic: &str| ("alice".to_owned(), topic.to_owned());
    assert_eq!(world.topics(bob), [from_alice("to everybody"), from_alice("to bob")]);
    assert_eq!(world.topics(carol), [from_alice("to everybody")]);
    assert_eq!(world.topics(alice), []);
    #[expect(deprecated, reason = "clients read it all the same")]
    let kinds: Vec<_> = world.clients[bob].data.iter().map(|packet| packet.kind).collect();
    assert_eq!(kinds, [Kind::Reliable as i32; 2], "by the channel");
}

fn sync_state(publisher_sid: &str, last_seq: u32) -> Request {
    let state = proto::DataChannelReceiveState { publisher_sid: publisher_sid.to_owned(), last_seq };
    Request::SyncState(proto::SyncState { datachannel_receive_states: vec![state], ..Default::default() })
}

#[test]
fn who_joins_anew_gets_the_data_that_it_missed_once() {
    let mut world = World::new();
    let (alice, bob) = (world.join("alice"), world.join("bob"));
    world.run(Duration::from_secs(1));
    let Message::Join(join) = world.clients[alice].messages[0].clone() else { panic!("not a join") };
    let alice_sid = join.participant.unwrap().sid;
    world.send_data(alice, "had", &[]);
    world.send_data(alice, "for nobody else", &["carol"]);
    world.sfu.connection_lost(world.clients[bob].connection, world.now);
    world.vanish(bob);
    world.send_data(alice, "missed", &[]);
    world.run(Duration::from_secs(10));
    let bob = world.join("bob");
    // Before the connection is up, so that it waits.
    world.request(bob, sync_state(&alice_sid, 1));
    world.send_data(alice, "live", &[]);
    world.run(Duration::from_secs(1));
    world.request(bob, sync_state(&alice_sid, 1));
    world.run(Duration::from_secs(1));
    let topics: Vec<_> = world.topics(bob).into_iter().map(|(_, topic)| topic).collect();
    assert_eq!(topics, ["missed", "live"]);
    let stranger = world.join("stranger");
    world.request(stranger, sync_state(&alice_sid, 0));
    world.run(Duration::from_secs(1));
    assert!(world.topics(stranger).is_empty(), "what was said before is not for it");
}

#[test]
fn who_comes_back_on_a_living_connection_gets_nothing_twice() {
    let mut world = World::new();
    let (alice, bob) = (world.join("alice"), world.join("bob"));
    world.run(Duration::from_secs(1));
    let sid_of = |world: &World, client: usize| {
        let Message::Join(join) = world.clients[client].messages[0].clone() else { panic!("not a join") };
        join.participant.unwrap().sid
    };
    let (alice_sid, bob_sid) = (sid_of(&world, alice), sid_of(&world, bob));
    world.send_data(alice, "before", &[]);
    world.sfu.connection_lost(world.clients[bob].connection, world.now);
    world.send_data(alice, "meanwhile", &[]);
    world.clients[bob].connection = 99;
    world.sfu.join(coming_back(99, "bob", bob_sid), world.now).unwrap();
    world.request(bob, sync_state(&alice_sid, 1));
    world.run(Duration::from_secs(1));
    let topics: Vec<_> = world.topics(bob).into_iter().map(|(_, topic)| topic).collect();
    assert_eq!(topics, ["before", "meanwhile"]);
}

#[test]
fn who_does_not_read_its_data_is_let_go_and_may_join_anew() {
    let mut world = World::new();
    let (alice, bob) = (world.join("alice"), world.join("bob"));
    world.run(Duration::from_secs(1));
    world.vanish(bob);
    let topic = "x".repeat(120_000);
    for _ in 0..20 {
        world.send_data(alice, &topic, &[]);
        if world.clients[bob].is_closed {
            break;
        }
    }
    let Some(Message::Leave(leave)) = world.clients[bob].messages.last() else { panic!("not told") };
    assert_eq!(leave.reason(), proto::DisconnectReason::MediaFailure);
    assert_eq!(leave.action(), proto::leave_request::Action::Reconnect);
    let bob = world.join("bob");
    world.run(Duration::from_secs(1));
    world.send_data(alice, "hello", &["bob"]);
    assert_eq!(world.topics(bob), [("alice".to_owned(), "hello".to_owned())]);
}

#[test]
fn who_may_not_subscribe_gets_data_all_the_same() {
    let mut world = World::new();
    let alice = world.join("alice");
    let mut grant = VideoGrant::join("lab");
    grant.can_subscribe = Some(false);
    let deaf = world.try_join("deaf", grant).unwrap();
    world.run(Duration::from_secs(1));
    world.send_data(alice, "to everybody", &[]);
    assert_eq!(world.topics(deaf), [("alice".to_owned(), "to everybody".to_owned())]);
}

#[test]
fn who_has_two_connections_and_may_not_subscribe_gets_data_on_the_one_that_it_offers() {
    let mut world = World::new();
    let alice = world.join("alice");
    let mut grant = VideoGrant::join("lab");
    grant.can_subscribe = Some(false);
    let deaf = Client::new(2, world.now.instant);
    let deaf = world.join_as(deaf, "deaf", grant, |joining| joining.is_single = false).unwrap();
    world.run(Duration::from_secs(1));
    let Message::Join(join) = world.clients[deaf].messages[0].clone() else { panic!("not a join") };
    assert!(!join.subscriber_primary);
    assert!(!world.clients[deaf].messages.iter().any(|message| matches!(message, Message::Offer(_))));
    assert_eq!(world.clients[alice].updates_of("deaf").len(), 1, "it is active");
    world.send_data(alice, "to everybody", &[]);
    assert_eq!(world.topics(deaf), [("alice".to_owned(), "to everybody".to_owned())]);
}
