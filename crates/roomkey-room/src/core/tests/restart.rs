//! The server is killed, and comes again with no memory.

use std::time::Duration;

use livekit_protocol as proto;
use proto::leave_request::Action;
use proto::signal_response::Message;

use super::world::{MODES, World};
use crate::connection_state::ConnectionState::{Connected, Disconnected, Restarting, Resuming};
use crate::connection_state::DisconnectReason;

#[test]
fn a_server_that_comes_again_is_joined_anew_with_tracks_and_participants() {
    for mode in MODES {
        for seed in 0..3 {
            let mut world = World::with_clients(mode, seed, ["alice", "bob"]);
            world.sing(0);
            world.talk(0, Duration::from_millis(50));
            world.run(Duration::from_millis(500));
            world.kill_server();
            world.run(Duration::from_millis(1_500));
            world.start_server();
            let is_back = |world: &World| {
                (world.clients.iter()).all(|client| client.states() == [Resuming, Restarting, Connected])
                    && world.clients[0].was_told("republished")
            };
            assert!(world.run_until(Duration::from_secs(20), is_back), "{:?}", world.clients[0].states());
            world.run(Duration::from_secs(1));
            for client in &mut world.clients {
                assert_eq!(client.core.members().participants.remote.len(), 1);
            }
            assert!(world.hears_within(1, Duration::from_secs(1)));
            world.be_quiet();
            world.run(Duration::from_secs(2));
            // What the old server had taken and not passed on is gone with it.
            world.assert_ordered(0, 1);
            let last = world.clients[1].numbers_from("alice").last().copied();
            assert_eq!(last, Some(world.clients[0].sent() - 1));
        }
    }
}

/// A client that is told to join anew each time that it is back, until it has given up; when it was back.
fn sent_away(world: &mut World, limit: Duration) -> Vec<Duration> {
    let (start, mut back) = (world.now, Vec::new());
    let end = world.now + limit;
    while !world.clients[0].core.is_over() && world.now < end {
        let leave = proto::LeaveRequest { action: Action::Reconnect.into(), ..Default::default() };
        world.inject(0, Message::Leave(leave));
        world.run(Duration::from_millis(20));
        world.run_until(Duration::from_secs(30), |world| {
            world.clients[0].is_connected() || world.clients[0].core.is_over()
        });
        back.push(world.now - start);
    }
    back
}

#[test]
fn a_server_that_sends_away_after_each_join_is_left_alone_longer_and_longer_and_then_for_good() {
    for mode in MODES {
        let mut world = World::with_clients(mode, 4, ["alice", "bob"]);
        let back = sent_away(&mut world, Duration::from_secs(600));
        let over = Disconnected(DisconnectReason::SignalClose);
        assert_eq!(world.clients[0].states().last(), Some(&over));
        assert_eq!(back.len(), 21, "twenty times back, and then the end");
        assert!(back[1] - back[0] < Duration::from_secs(2), "{back:?}");
        assert!(back[19] - back[18] > Duration::from_secs(3), "{back:?}");
    }
}

#[test]
fn a_stay_that_holds_makes_up_for_those_that_did_not() {
    for mode in MODES {
        let mut world = World::with_clients(mode, 5, ["alice", "bob"]);
        for _ in 0..3 {
            sent_away(&mut world, Duration::from_secs(20));
            assert!(world.clients[0].is_connected() && !world.clients[0].core.is_over());
            world.run(Duration::from_secs(11));
        }
    }
}

#[test]
fn a_track_that_is_published_while_the_room_is_joined_anew_is_published_once() {
    for mode in MODES {
        let mut world = World::with_clients(mode, 9, ["alice", "bob"]);
        world.kill_server();
        world.run(Duration::from_millis(100));
        world.start_server();
        let is_joining = |world: &World| world.clients[0].states().ends_with(&[Restarting]);
        assert!(world.run_until(Duration::from_secs(20), is_joining));
        world.run(Duration::from_millis(5));
        world.sing(0);
        world.run(Duration::from_secs(2));
        assert!(world.clients[0].is_connected());
        assert!(world.clients[0].published.lock().unwrap().iter().all(Result::is_ok));
        let alice = world.clients[1].core.members().participants.get(&"alice".into()).cloned().unwrap();
        assert_eq!(alice.publications.len(), 1, "{mode:?}");
        assert!(world.hears_within(1, Duration::from_secs(1)));
    }
}
