//! Who comes, who comes back, and how long a room is there.

use std::time::Duration;

use livekit_protocol as proto;
use proto::signal_request::Message as Request;
use proto::signal_response::Message;
use roomkey_token::VideoGrant;

use super::world::{Client, World, coming_back};

#[test]
fn the_first_message_is_the_join_and_others_hear_of_each_other() {
    let mut world = World::new();
    let alice = world.join("alice");
    world.run(Duration::from_secs(1));
    let bob = world.join("bob");
    world.run(Duration::from_secs(1));
    let Message::Join(join) = &world.clients[bob].messages[0] else { panic!("not a join") };
    assert_eq!(join.other_participants.len(), 1);
    assert_eq!(join.other_participants[0].identity, "alice");
    assert!(!join.subscriber_primary);
    let seen = world.clients[alice].updates_of("bob");
    assert_eq!(seen.last().unwrap().state, proto::participant_info::State::Active as i32);
}

#[test]
fn the_same_identity_takes_the_place_of_the_one_before() {
    let mut world = World::new();
    let first = world.join("alice");
    world.run(Duration::from_secs(1));
    let second = world.join("alice");
    world.run(Duration::from_secs(1));
    let left = world.clients[first].messages.iter().find_map(|message| match message {
        Message::Leave(leave) => Some(leave.reason),
        _ => None,
    });
    assert_eq!(left, Some(proto::DisconnectReason::DuplicateIdentity as i32));
    assert!(world.clients[first].is_closed && !world.clients[second].is_closed);
}

#[test]
fn a_full_room_refuses_but_not_who_is_in_it() {
    let mut world = World::with(|settings| settings.max_participants = 1);
    world.join("alice");
    let refusal = world.try_join("bob", VideoGrant::join("lab")).unwrap_err();
    assert_eq!((refusal.status, refusal.body.as_str()), (500, "connection closed by media"));
    assert!(world.try_join("alice", VideoGrant::join("lab")).is_ok());
}

#[test]
fn a_room_that_is_not_there_is_made_only_where_that_is_allowed() {
    let mut world = World::with(|settings| settings.auto_create = false);
    let refusal = world.try_join("alice", VideoGrant::join("lab")).unwrap_err();
    assert_eq!((refusal.status, refusal.body.as_str()), (404, "requested room does not exist"));
    let mut grant = VideoGrant::join("lab");
    grant.room_create = true;
    assert!(world.try_join("alice", grant).is_ok());
}

#[test]
fn a_room_ends_after_the_last_one_left() {
    let mut world = World::new();
    let alice = world.join("alice");
    world.run(Duration::from_millis(200));
    world.request(alice, Request::Leave(proto::LeaveRequest::default()));
    world.run(Duration::from_secs(10));
    assert_eq!(world.sfu.rooms.len(), 1);
    world.run(Duration::from_secs(20));
    assert_eq!(world.sfu.rooms.len(), 0);
    assert!(world.sfu.names.is_empty() && world.sfu.connections.is_empty());
}

/// A client that comes back, on a single connection.
#[test]
fn who_loses_the_websocket_comes_back_as_the_same_participant() {
    let mut world = World::new();
    let (alice, bob) = (world.join("alice"), world.join("bob"));
    world.run(Duration::from_secs(1));
    let Message::Join(join) = world.clients[alice].messages[0].clone() else { panic!("not a join") };
    world.send_data(alice, "before", &[]);
    world.sfu.connection_lost(world.clients[alice].connection, world.now);
    world.run(Duration::from_secs(1));
    let joining = coming_back(99, "alice", join.participant.unwrap().sid);
    world.clients[alice].connection = 99;
    world.clients[alice].messages.clear();
    world.sfu.join(joining, world.now).unwrap();
    world.run(Duration::from_millis(100));
    let Message::Reconnect(reconnect) = &world.clients[alice].messages[0] else { panic!("not a reconnect") };
    assert_eq!(reconnect.last_message_seq, 1);
    world.send_data(alice, "after", &[]);
    let topics: Vec<_> = world.topics(bob).into_iter().map(|(_, topic)| topic).collect();
    assert_eq!(topics, ["before", "after"]);
}

#[test]
fn who_was_never_here_cannot_come_back() {
    let mut world = World::new();
    let mut client = Client::new(5, world.now.instant);
    client.connection = 5;
    world.clients.push(client);
    let mut joining = coming_back(5, "ghost", "PA_nobody".to_owned());
    joining.is_single = false;
    world.sfu.join(joining, world.now).unwrap();
    world.exchange();
    let Message::Leave(leave) = &world.clients[0].messages[0] else { panic!("not a leave") };
    assert_eq!(leave.action, proto::leave_request::Action::Reconnect as i32);
    assert_eq!(leave.reason, proto::DisconnectReason::StateMismatch as i32);
    assert!(world.clients[0].is_closed && world.sfu.rooms.is_empty());
}
