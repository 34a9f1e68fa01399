//! Networks that lose, delay, reorder and repeat.

use std::time::Duration;

use super::path::Path;
use super::world::{MODES, World};
use crate::connection_state::ConnectionState;

fn talks_both_ways(seed: u64, patience: Duration, change: impl Fn(&mut Path)) {
    for mode in MODES {
        let mut world = World::with_clients(mode, seed, ["alice", "bob"]);
        world.sing(0);
        for client in &mut world.clients {
            change(&mut client.path);
        }
        world.talk(0, Duration::from_millis(50));
        world.talk(1, Duration::from_millis(50));
        world.run(Duration::from_secs(3));
        world.be_quiet();
        let stopped = world.now;
        world.run_until(patience, |world| world.is_complete(0, 1) && world.is_complete(1, 0));
        world.assert_complete(0, 1);
        world.assert_complete(1, 0);
        assert!(world.clients[1].heard.len() > 15, "audio goes on: {}", world.clients[1].heard.len());
    }
}

#[test]
fn a_network_that_loses_a_twentieth_loses_no_reliable_data() {
    (0..2).for_each(|seed| talks_both_ways(seed, Duration::from_secs(15), |path| path.loss = 0.05));
}

#[test]
fn a_network_that_loses_a_fifth_loses_no_reliable_data() {
    (10..12).for_each(|seed| talks_both_ways(seed, Duration::from_secs(60), |path| path.loss = 0.2));
}

#[test]
fn a_network_that_loses_two_of_five_loses_no_reliable_data() {
    (20..22).for_each(|seed| talks_both_ways(seed, Duration::from_secs(600), |path| path.loss = 0.4));
}

#[test]
fn a_network_that_takes_its_time_changes_nothing() {
    (30..32).for_each(|seed| {
        talks_both_ways(seed, Duration::from_secs(5), |path| path.delay = Duration::from_millis(300));
    });
}

#[test]
fn datagrams_that_overtake_each_other_and_come_twice_are_put_in_order() {
    (40..42).for_each(|seed| {
        talks_both_ways(seed, Duration::from_secs(10), |path| {
            (path.jitter, path.duplicates) = (Duration::from_millis(60), 0.3);
        });
    });
}

#[test]
fn a_narrow_network_takes_longer() {
    talks_both_ways(50, Duration::from_secs(30), |path| path.rate = Some(16_000));
}

#[test]
fn a_room_is_joined_over_a_network_that_loses_a_fifth() {
    for mode in MODES {
        for seed in 60..64 {
            let mut world = World::new(mode, seed);
            let client = world.join("alice");
            world.clients[client].path.loss = 0.2;
            let is_done = world.run_until(Duration::from_secs(21), |world| world.clients[0].connected.is_some());
            assert!(world.clients[client].is_connected(), "seed {seed}, {mode:?}");
            assert_eq!(world.clients[client].states(), [] as [ConnectionState; 0]);
        }
    }
}
