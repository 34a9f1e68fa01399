//! The server is killed, and comes again with no memory.

use std::time::Duration;

use super::world::{MODES, World};
use crate::connection_state::ConnectionState::{Connected, Restarting, Resuming};

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
            let at = world.now;
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
