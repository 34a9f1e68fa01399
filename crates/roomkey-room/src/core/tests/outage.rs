//! Nothing passes for a while.

use std::time::Duration;

use super::world::{MODES, Mode, World};
use crate::connection_state::ConnectionState;
use crate::connection_state::ConnectionState::{Connected, Restarting, Resuming};

struct After {
    world: World,
    /// From the outage's end until the room says that it is connected.
    back: Duration,
    states: Vec<ConnectionState>,
}

impl After {
    /// What Bob said has come too, maybe with the next try.
    fn assert_complete_down(mut self) {
        self.world.run_until(Duration::from_secs(20), |world| world.is_complete(1, 0));
        self.world.assert_complete(1, 0);
    }
}

/// An outage of Alice's, while she and Bob talk and she sings.
fn outage(mode: Mode, seed: u64, length: Duration) -> After {
    let mut world = World::with_clients(mode, seed, ["alice", "bob"]);
    world.sing(0);
    world.talk(0, Duration::from_millis(100));
    world.talk(1, Duration::from_millis(100));
    world.run(Duration::from_millis(1_000 + seed * 37 % 500));
    world.clients[0].path.is_down = true;
    world.run(length);
    world.clients[0].path.is_down = false;
    let end = world.now;
    world.run(Duration::from_millis(200));
    assert!(
        world.run_until(Duration::from_secs(60), |world| world.clients[0].is_connected()),
        "{:?}",
        world.clients[0].states
    );
    let back = world.clients[0].states.last().map_or(Duration::ZERO, |(at, _)| at.saturating_duration_since(end));
    let states = world.clients[0].states();
    world.be_quiet();
    // What SCTP waits has doubled with each try, and nothing makes it try at once when the path is back.
    world.run_until(Duration::from_secs(20), |world| world.is_complete(0, 1));
    world.run(Duration::from_millis(500));
    let hears = world.hears_within(1, Duration::from_secs(1));
    assert!(hears, "audio is back");
    world.assert_complete(0, 1);
    After { world, back, states }
}

#[test]
fn an_outage_of_three_seconds_ends_without_a_word_or_in_a_resume() {
    for mode in MODES {
        for seed in 0..2 {
            let after = outage(mode, seed, Duration::from_secs(3));
            assert!(after.states.is_empty() || after.states == [Resuming, Connected], "{:?}", after.states);
            after.assert_complete_down();
        }
    }
}

#[test]
fn an_outage_of_ten_seconds_ends_in_a_resume() {
    for mode in MODES {
        for seed in 10..12 {
            let after = outage(mode, seed, Duration::from_secs(10));
            assert_eq!(after.states, [Resuming, Connected]);
            assert!(after.back < Duration::from_secs(3), "{:?}", after.back);
            after.assert_complete_down();
        }
    }
}

#[test]
fn an_outage_of_forty_seconds_ends_in_a_join_anew() {
    for mode in MODES {
        for seed in 20..22 {
            let After { world, states, .. } = outage(mode, seed, Duration::from_secs(40));
            assert_eq!(states, [Resuming, Restarting, Connected]);
            // What was sent to Alice while the server had let her go is lost to her; nothing comes twice or late.
            world.assert_ordered(1, 0);
            assert!(world.clients[0].was_told("republished"));
        }
    }
}

#[test]
fn a_network_that_comes_and_goes_loses_nothing() {
    for mode in MODES {
        let mut world = World::with_clients(mode, 30, ["alice", "bob"]);
        world.talk(0, Duration::from_millis(100));
        for _ in 0..6 {
            let (up, down) = (world.rng.u64(100..3_000), world.rng.u64(100..6_000));
            world.run(Duration::from_millis(up));
            world.clients[0].path.is_down = true;
            world.run(Duration::from_millis(down));
            world.clients[0].path.is_down = false;
        }
        world.run(Duration::from_secs(5));
        assert!(world.run_until(Duration::from_secs(60), |world| world.clients[0].is_connected()));
        world.be_quiet();
        world.run_until(Duration::from_secs(70), |world| world.is_complete(0, 1));
        world.assert_complete(0, 1);
    }
}
