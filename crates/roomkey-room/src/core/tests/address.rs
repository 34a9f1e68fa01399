//! The client's address changes, and the old one is of no more use.

use std::net::IpAddr;
use std::time::Duration;

use super::world::{MODES, World};
use crate::connection_state::ConnectionState::{Connected, Resuming};

fn moves(seed: u64, has_hint: bool) -> Vec<Duration> {
    let mut times = Vec::new();
    for mode in MODES {
        let mut world = World::with_clients(mode, seed, ["alice", "bob"]);
        world.sing(0);
        world.talk(0, Duration::from_millis(50));
        world.talk(1, Duration::from_millis(50));
        world.run(Duration::from_secs(1));
        world.clients[0].ip = IpAddr::from([10, 0, 7, 7]);
        let at = world.now;
        if has_hint {
            world.clients[0].core.network_changed(at);
        }
        let is_back = |world: &World| world.clients[0].states().ends_with(&[Resuming, Connected]);
        assert!(world.run_until(Duration::from_secs(60), is_back), "{:?}", world.clients[0].states());
        let back = world.now - at;
        assert!(world.hears_within(1, Duration::from_secs(1)));
        world.be_quiet();
        world.run_until(Duration::from_secs(70), |world| world.is_complete(0, 1) && world.is_complete(1, 0));
        world.assert_complete(0, 1);
        world.assert_complete(1, 0);
        assert_eq!(world.clients[0].states(), [Resuming, Connected]);
        times.push(back);
    }
    times
}

#[test]
fn a_change_of_address_that_is_told_is_over_in_a_moment() {
    for seed in 0..3 {
        assert!(moves(seed, true).iter().all(|time| *time < Duration::from_millis(500)));
    }
}

#[test]
fn a_change_of_address_that_nobody_tells_is_noticed_and_mended() {
    for seed in 0..2 {
        assert!(moves(seed, false).iter().all(|time| *time < Duration::from_secs(20)));
    }
}
