//! The websocket breaks, is refused or says good-bye; media goes on.

use std::time::Duration;

use livekit_protocol as proto;
use proto::leave_request::Action;
use proto::signal_response::Message;

use super::world::{MODES, World, encode};
use crate::connection_state::ConnectionState::{Connected, Disconnected, Restarting, Resuming};
use crate::connection_state::DisconnectReason;

fn leave(action: Action, reason: proto::DisconnectReason) -> Message {
    Message::Leave(proto::LeaveRequest { action: action.into(), reason: reason.into(), ..Default::default() })
}

fn sid_of(world: &mut World, client: usize) -> String {
    world.clients[client].core.members().participants.local.as_ref().unwrap().sid.to_string()
}

#[test]
fn a_websocket_that_is_cut_twenty_times_loses_no_data_and_no_participant() {
    for mode in MODES {
        for seed in 0..2 {
            let mut world = World::with_clients(mode, seed, ["alice", "bob"]);
            let sid = sid_of(&mut world, 0);
            world.sing(0);
            world.talk(0, Duration::from_millis(50));
            world.talk(1, Duration::from_millis(50));
            for _ in 0..20 {
                let pause = Duration::from_millis(world.rng.u64(10..700));
                world.run(pause);
                let client = usize::from(world.rng.bool());
                world.cut(client);
            }
            world.be_quiet();
            let is_over = |world: &World| {
                world.is_complete(0, 1) && world.is_complete(1, 0) && world.clients.iter().all(|one| one.is_connected())
            };
            let at = world.now;
            assert!(world.run_until(Duration::from_secs(15), is_over), "{:?}", world.clients[0].states());
            world.assert_complete(0, 1);
            world.assert_complete(1, 0);
            let states = world.clients[0].states();
            assert!(states.iter().all(|state| matches!(state, Resuming | Connected)), "{states:?}");
            assert_eq!(sid_of(&mut world, 0), sid);
            assert!(!world.clients[1].was_told("disconnected"));
            assert!(world.hears_within(1, Duration::from_secs(1)));
        }
    }
}

#[test]
fn a_leave_with_resume_is_a_resume() {
    for mode in MODES {
        let mut world = World::with_clients(mode, 5, ["alice", "bob"]);
        world.sing(0);
        let sid = sid_of(&mut world, 0);
        world.inject(0, leave(Action::Resume, proto::DisconnectReason::ServerShutdown));
        world.run(Duration::from_secs(2));
        assert_eq!(world.clients[0].states(), [Resuming, Connected]);
        assert_eq!(sid_of(&mut world, 0), sid);
        assert!(world.hears_within(1, Duration::from_secs(1)));
    }
}

#[test]
fn a_leave_with_reconnect_is_a_join_anew_and_what_was_not_acknowledged_comes_once() {
    for mode in MODES {
        for seed in 0..3 {
            let mut world = World::with_clients(mode, seed, ["alice", "bob"]);
            world.sing(0);
            world.talk(0, Duration::from_millis(20));
            let sid = sid_of(&mut world, 0);
            world.run(Duration::from_millis(500 + seed * 7));
            world.inject(0, leave(Action::Reconnect, proto::DisconnectReason::Migration));
            world.run(Duration::from_secs(2));
            world.be_quiet();
            world.run(Duration::from_secs(1));
            assert_eq!(world.clients[0].states(), [Restarting, Connected]);
            assert_ne!(sid_of(&mut world, 0), sid);
            world.assert_complete(0, 1);
            assert!(world.clients[0].was_told("republished"));
            assert!(world.clients[0].core.members().participants.remote.len() == 1);
            assert!(world.hears_within(1, Duration::from_secs(1)));
        }
    }
}

#[test]
fn a_leave_with_disconnect_is_the_end() {
    for mode in MODES {
        let mut world = World::with_clients(mode, 5, ["alice"]);
        world.inject(0, leave(Action::Disconnect, proto::DisconnectReason::ParticipantRemoved));
        world.run(Duration::from_secs(1));
        assert_eq!(world.clients[0].states(), [Disconnected(DisconnectReason::ParticipantRemoved)]);
        assert!(world.clients[0].core.is_over() && world.clients[0].core.timeout().is_none());
        assert!(world.clients[0].sockets.is_empty());
    }
}

#[test]
fn the_server_answers_leave_with_reconnect_for_ever_and_the_room_gives_up() {
    for mode in MODES {
        for action in [Action::Reconnect, Action::Resume] {
            let mut world = World::with_clients(mode, 5, ["alice"]);
            world.script = Some(vec![encode(leave(action, proto::DisconnectReason::UnknownReason))]);
            world.cut(0);
            assert!(
                world.run_until(Duration::from_secs(120), |world| world.clients[0].core.is_over()),
                "{action:?}: {:?}",
                world.clients[0].states()
            );
            assert!(world.clients[0].dials.len() < 30, "{}", world.clients[0].dials.len());
            assert_eq!(world.clients[0].states().last(), Some(&Disconnected(DisconnectReason::SignalClose)));
        }
    }
}

#[test]
fn the_newest_token_is_dialled_with() {
    for mode in MODES {
        let mut world = World::with_clients(mode, 5, ["alice", "bob"]);
        world.run(Duration::from_secs(1));
        let token = world.token("alice");
        let header = format!("Bearer {token}");
        world.inject(0, Message::RefreshToken(token));
        world.run(Duration::from_millis(50));
        world.cut(0);
        world.run(Duration::from_secs(1));
        assert_eq!(world.clients[0].states(), [Resuming, Connected]);
        let last = world.clients[0].dials.last().unwrap();
        assert!(last.2 == header, "the resume is dialled with the newest token");
        // The server gave another one at the resume.
        let token = world.token("alice");
        let header = format!("Bearer {token}");
        world.inject(0, Message::RefreshToken(token));
        world.inject(0, leave(Action::Reconnect, proto::DisconnectReason::UnknownReason));
        world.run(Duration::from_secs(2));
        assert_eq!(world.clients[0].states(), [Resuming, Connected, Restarting, Connected]);
        assert!(world.clients[0].dials.last().unwrap().2 == header, "the join anew too");
    }
}

#[test]
fn a_token_that_is_refused_while_coming_back_ends_the_room() {
    for mode in MODES {
        for status in [401, 403] {
            let mut world = World::with_clients(mode, 5, ["alice"]);
            world.refuses = Some(status);
            world.cut(0);
            world.run(Duration::from_secs(5));
            assert_eq!(world.clients[0].states(), [Resuming, Disconnected(DisconnectReason::JoinFailure)]);
            assert_eq!(world.clients[0].dials.len(), 2);
        }
    }
}

#[test]
fn a_server_that_stays_away_is_given_up_after_so_many_attempts() {
    for mode in MODES {
        let mut world = World::new(mode, 5);
        world.max_reconnect_attempts = 5;
        world.join("alice");
        assert!(world.run_until(Duration::from_secs(5), |world| world.clients[0].is_connected()));
        world.kill_server();
        world.run(Duration::from_secs(20));
        assert_eq!(world.clients[0].states(), [Resuming, Disconnected(DisconnectReason::SignalClose)]);
        assert_eq!(world.clients[0].dials.len(), 1 + 5);
    }
}
