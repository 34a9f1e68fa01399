//! Networks that let no UDP to the server through: TCP, and TURN over UDP and TCP.

use std::net::SocketAddr;
use std::time::Duration;

use livekit_protocol as proto;

use super::turn_server::{CREDENTIAL, TurnServer, USERNAME};
use super::world::{MODES, Mode, World};
use crate::connect_error::ConnectErrorKind;
use crate::connection_state::ConnectionState::{Connected, Restarting, Resuming};
use crate::ice_server::{IceServer, IceTransportPolicy};

const PATIENCE: Duration = Duration::from_secs(20);
const TURN: &str = "10.0.254.1";

fn tcp_address() -> SocketAddr {
    SocketAddr::from(([10, 0, 255, 1], 7_881))
}

/// With a server that listens on TCP, and a TURN server that may be asked at these URLs.
fn world(mode: Mode, seed: u64, urls: &[&str]) -> World {
    let mut world = World::new(mode, seed);
    world.tcp_address = Some(tcp_address());
    world.turn = Some(TurnServer::new(format!("{TURN}:3478").parse().unwrap()));
    if !urls.is_empty() {
        world.ice_servers = vec![proto::IceServer {
            urls: urls.iter().map(|url| (*url).to_owned()).collect(),
            username: USERNAME.to_owned(),
            credential: CREDENTIAL.to_owned(),
        }];
    }
    world
}

/// What a network lets through besides the signalling.
#[derive(Debug, Clone, Copy)]
struct Lets {
    udp: bool,
    turn_udp: bool,
    media_tcp: bool,
}

const TCP_ALONE: Lets = Lets { udp: false, turn_udp: false, media_tcp: true };
const TURN_ALONE: Lets = Lets { udp: false, turn_udp: true, media_tcp: false };
const NOTHING: Lets = Lets { udp: false, turn_udp: false, media_tcp: false };

/// Joins through such a network, and says how long it took.
fn join(world: &mut World, identity: &str, lets: Lets) -> Duration {
    let client = begin(world, identity, lets);
    let since = world.now;
    let is_up = |world: &World| world.clients[client].is_connected();
    assert!(world.run_until(PATIENCE, is_up), "{:?}", world.clients[client].connected);
    world.now - since
}

fn begin(world: &mut World, identity: &str, lets: Lets) -> usize {
    let client = world.join(identity);
    let path = &mut world.clients[client].path;
    (path.has_udp, path.has_turn_udp, path.has_media_tcp) = (lets.udp, lets.turn_udp, lets.media_tcp);
    client
}

/// Two who have joined, with data and sound between them.
fn talking(world: &mut World, lets: Lets) -> [Duration; 2] {
    let times = [join(world, "alice", lets), join(world, "bob", lets)];
    let knows = |world: &World| world.clients[0].was_told("connected bob") || world.clients[0].was_told("active bob");
    world.run_until(PATIENCE, knows);
    world.sing(0);
    world.talk(0, Duration::from_millis(20));
    world.talk(1, Duration::from_millis(20));
    world.run(Duration::from_secs(1));
    times
}

fn assert_all_has_come(world: &mut World) {
    world.be_quiet();
    world.run_until(Duration::from_secs(60), |world| world.is_complete(0, 1) && world.is_complete(1, 0));
    world.assert_complete(0, 1);
    world.assert_complete(1, 0);
}

#[test]
fn where_no_udp_passes_a_room_is_joined_over_tcp() {
    for mode in MODES {
        let mut world = world(mode, 1, &[]);
        let times = talking(&mut world, TCP_ALONE);
        assert!(times.iter().all(|time| *time < Duration::from_millis(600)), "{mode:?} {times:?}");
        assert!(world.hears_within(1, Duration::from_secs(1)));
        assert_all_has_come(&mut world);
        assert!(world.clients.iter().all(|client| client.states().is_empty()));
    }
}

#[test]
fn a_stay_over_tcp_is_resumed_over_new_connections_and_data_is_complete() {
    for mode in MODES {
        let mut world = world(mode, 2, &[]);
        talking(&mut world, TCP_ALONE);
        let before = world.clients[0].media_connects.len();
        for _ in 0..3 {
            world.cut(0);
            let is_back = |world: &World| world.clients[0].states().ends_with(&[Resuming, Connected]);
            assert!(world.run_until(PATIENCE, is_back), "{mode:?}");
            world.run(Duration::from_secs(2));
        }
        assert!(world.clients[0].media_connects.len() > before, "the server's candidates are new ones");
        assert!(world.hears_within(1, Duration::from_secs(1)));
        assert_all_has_come(&mut world);
        assert!(!world.clients[0].states().contains(&Restarting));
    }
}

#[test]
fn when_all_connections_of_media_break_the_stay_goes_on_over_others() {
    for mode in MODES {
        let mut world = world(mode, 3, &[]);
        talking(&mut world, TCP_ALONE);
        world.cut_media_streams();
        let is_back = |world: &World| world.clients.iter().all(|client| client.states().ends_with(&[Connected]));
        assert!(world.run_until(Duration::from_secs(1), is_back), "{mode:?} {:?}", world.clients[0].states());
        assert!(world.hears_within(1, Duration::from_secs(2)));
        assert_all_has_come(&mut world);
    }
}

#[test]
fn connections_that_break_during_a_resume_are_tried_again() {
    for mode in MODES {
        let mut world = world(mode, 15, &[]);
        talking(&mut world, TCP_ALONE);
        world.cut(0);
        // The server has answered, and the new connection is there but not the path.
        let connects = world.clients[0].media_connects.len();
        world.run_until(PATIENCE, |world| world.clients[0].media_connects.len() > connects);
        world.run(Duration::from_millis(15));
        world.cut_media_streams();
        let is_back = |world: &World| world.clients.iter().all(|client| client.states().ends_with(&[Connected]));
        assert!(world.run_until(Duration::from_secs(2), is_back), "{mode:?} {:?}", world.clients[0].states());
        assert_all_has_come(&mut world);
    }
}

#[test]
fn a_server_that_starts_anew_is_joined_anew_over_tcp() {
    let mut world = world(Mode::Single, 4, &[]);
    talking(&mut world, TCP_ALONE);
    world.be_quiet();
    world.kill_server();
    world.run(Duration::from_secs(1));
    world.start_server();
    let is_back = |world: &World| world.clients.iter().all(|client| client.states().ends_with(&[Connected]));
    assert!(world.run_until(Duration::from_secs(30), is_back), "{:?}", world.clients[0].states());
    assert!(world.hears_within(1, Duration::from_secs(5)));
}

#[test]
fn an_outage_over_tcp_is_survived() {
    for mode in MODES {
        let mut world = world(mode, 5, &[]);
        talking(&mut world, TCP_ALONE);
        world.clients[0].path.is_down = true;
        world.run(Duration::from_secs(8));
        world.clients[0].path.is_down = false;
        let is_back = |world: &World| world.clients[0].is_connected();
        world.run(Duration::from_secs(1));
        assert!(world.run_until(Duration::from_secs(30), is_back), "{mode:?} {:?}", world.clients[0].states());
        assert_all_has_come(&mut world);
    }
}

#[test]
fn where_only_turn_passes_a_room_is_joined_over_it_by_udp_and_by_tcp() {
    for mode in MODES {
        for (url, lets) in [
            (format!("turn:{TURN}"), TURN_ALONE),
            (format!("turn:{TURN}?transport=tcp"), NOTHING),
            (format!("turns:{TURN}:3478"), NOTHING),
        ] {
            let mut world = world(mode, 6, &[&url]);
            let times = talking(&mut world, lets);
            assert!(times.iter().all(|time| *time < Duration::from_secs(1)), "{mode:?} {url} {times:?}");
            assert!(world.hears_within(1, Duration::from_secs(1)), "{mode:?} {url}");
            for _ in 0..2 {
                world.cut(0);
                let is_back = |world: &World| world.clients[0].states().ends_with(&[Resuming, Connected]);
                assert!(world.run_until(PATIENCE, is_back), "{mode:?} {url}");
                world.run(Duration::from_secs(2));
            }
            assert_all_has_come(&mut world);
            let has_channel = |world: &World| {
                let turn = world.turn.as_ref().unwrap();
                turn.allocations.values().any(|lent| !lent.channels.is_empty())
            };
            assert!(has_channel(&world), "what goes on and on goes through a channel");
            // All that was lent is given back.
            for client in 0..2 {
                let now = world.now;
                world.clients[client].core.leave(now);
            }
            world.run(Duration::from_secs(2));
            let turn = world.turn.as_ref().unwrap();
            assert!(turn.allocations.is_empty(), "{mode:?} {url} {turn:?}");
        }
    }
}

#[test]
fn an_address_is_kept_for_hours_while_the_server_changes_its_nonce() {
    let mut world = world(Mode::Single, 7, &["turn:10.0.254.1"]);
    join(&mut world, "alice", TURN_ALONE);
    join(&mut world, "bob", TURN_ALONE);
    for nonce in 2..8 {
        world.turn.as_mut().unwrap().nonce = nonce;
        world.run(Duration::from_secs(1_000));
    }
    assert_eq!(world.turn.as_ref().unwrap().lent, 2);
    world.talk(0, Duration::from_millis(20));
    world.talk(1, Duration::from_millis(20));
    world.run(Duration::from_secs(1));
    assert_all_has_come(&mut world);
    assert!(world.clients.iter().all(|client| client.states().is_empty()), "{:?}", world.clients[0].states());
}

#[test]
fn where_udp_passes_no_server_of_addresses_is_asked_and_connections_are_closed_in_time() {
    for mode in MODES {
        let mut with = world(mode, 8, &["stun:10.0.254.1", "turn:10.0.254.1", "turn:10.0.254.1?transport=tcp"]);
        let mut without = World::new(mode, 8);
        let everything = Lets { udp: true, turn_udp: true, media_tcp: true };
        let times = [join(&mut with, "alice", everything), join(&mut without, "alice", everything)];
        assert_eq!(times[0], times[1], "{mode:?}");
        with.run(Duration::from_secs(60));
        assert_eq!(with.turn.as_ref().unwrap().lent, 0, "{mode:?}");
        assert!(with.media_streams.is_empty(), "{mode:?} {:?}", with.media_streams);
        assert!(with.clients[0].is_connected() && with.clients[0].states().is_empty());
    }
}

#[test]
fn servers_that_are_dead_delay_nothing_and_are_left_alone_after_their_attempts() {
    for mode in MODES {
        let mut times = Vec::new();
        for urls in [&[][..], &["stun:10.0.254.1", "turn:10.0.254.1", "turn:10.0.254.1?transport=tcp"]] {
            let mut world = world(mode, 9, urls);
            world.turn.as_mut().unwrap().is_dead = true;
            let client = begin(&mut world, "alice", Lets { udp: true, turn_udp: true, media_tcp: true });
            // So far away that there is no path in time.
            world.clients[client].path.delay = Duration::from_millis(300);
            let since = world.now;
            assert!(world.run_until(PATIENCE, |world| world.clients[client].is_connected()), "{mode:?}");
            times.push(world.now - since);
            let is_asked = |world: &World| world.turn.as_ref().unwrap().unheard > 0;
            assert!(urls.is_empty() || is_asked(&world), "{mode:?}");
            world.run(Duration::from_secs(60));
            let unheard = world.turn.as_ref().unwrap().unheard;
            assert!(unheard < 60, "{mode:?} {unheard}");
            assert!(world.media_streams_to(Some(format!("{TURN}:3478").parse().unwrap())).is_empty());
            assert!(world.clients[client].states().is_empty());
        }
        assert_eq!(times[0], times[1], "{mode:?}");
    }
}

#[test]
fn a_credential_that_the_server_does_not_accept_is_given_up() {
    let mut world = world(Mode::Single, 10, &["turn:10.0.254.1", "turn:10.0.254.1?transport=tcp"]);
    world.ice_servers[0].credential = "another word".to_owned();
    let client = begin(&mut world, "alice", TURN_ALONE);
    world.run(Duration::from_secs(30));
    assert!(
        matches!(&world.clients[client].connected, Some(Err(error)) if error.kind() == ConnectErrorKind::MediaTimeout)
    );
    let turn = world.turn.as_ref().unwrap();
    assert!(turn.lent == 0 && turn.requests < 16, "{turn:?}");
}

#[test]
fn relays_alone_are_used_and_told_of_where_the_application_or_the_server_wants_that() {
    for mode in MODES {
        for by_server in [false, true] {
            let mut world = world(mode, 11, &["stun:10.0.254.1", "turn:10.0.254.1"]);
            if by_server {
                world.forces_relay = true;
            } else {
                world.policy = IceTransportPolicy::Relay;
            }
            let everything = Lets { udp: true, turn_udp: true, media_tcp: true };
            let time = join(&mut world, "alice", everything);
            join(&mut world, "bob", everything);
            assert!(time < Duration::from_millis(600), "{mode:?} {time:?}");
            world.talk(0, Duration::from_millis(20));
            world.talk(1, Duration::from_millis(20));
            world.run(Duration::from_secs(1));
            world.cut(0);
            world.run(Duration::from_secs(2));
            assert_all_has_come(&mut world);
            assert_eq!(world.clients.iter().map(|client| client.sent_by_udp).sum::<u32>(), 0, "{mode:?}");
            assert!(world.clients.iter().all(|client| client.media_connects.is_empty()));
            assert!(world.trickled.iter().all(|(_, told)| told.contains(TURN)), "{:?}", world.trickled);
        }
    }
}

#[test]
fn an_application_that_wants_no_udp_has_none() {
    let mut world = world(Mode::Single, 12, &["stun:10.0.254.1", "turn:10.0.254.1", "turn:10.0.254.1?transport=tcp"]);
    world.policy = IceTransportPolicy::Tcp;
    let everything = Lets { udp: true, turn_udp: true, media_tcp: true };
    join(&mut world, "alice", everything);
    world.run(Duration::from_secs(2));
    assert_eq!((world.clients[0].sent_by_udp, world.clients[0].media_connects.len()), (0, 1));
    // Where TCP to the server does not pass either, TURN is asked on TCP.
    join(&mut world, "bob", NOTHING);
    assert_eq!(world.clients[1].sent_by_udp, 0);
}

#[test]
fn the_application_s_own_servers_stand_in_for_those_of_the_server() {
    let mut world = world(Mode::Single, 13, &["turn:10.0.254.9"]);
    world.own_ice_servers = Some(vec![IceServer::new([format!("turn:{TURN}")]).with_credential(USERNAME, CREDENTIAL)]);
    join(&mut world, "alice", TURN_ALONE);
    assert_eq!(world.turn.as_ref().unwrap().lent, 1);
}

#[test]
fn servers_that_a_resume_names_are_asked_from_then_on() {
    let mut world = world(Mode::Single, 14, &[]);
    let everything = Lets { udp: true, turn_udp: true, media_tcp: false };
    join(&mut world, "alice", everything);
    world.ice_servers = vec![proto::IceServer {
        urls: vec![format!("turn:{TURN}")],
        username: USERNAME.to_owned(),
        credential: CREDENTIAL.to_owned(),
    }];
    world.clients[0].path.has_udp = false;
    let is_back = |world: &World| world.clients[0].states().ends_with(&[Connected]);
    assert!(world.run_until(Duration::from_secs(40), is_back), "{:?}", world.clients[0].states());
    assert_eq!(world.turn.as_ref().unwrap().lent, 1);
    assert_eq!(world.clients[0].states(), [Resuming, Connected]);
}
