//! A join that the server refuses, and one that is given up.

use std::time::Duration;

use super::world::{MODES, World};
use crate::connect_error::ConnectErrorKind;

#[test]
fn a_status_in_place_of_a_websocket_says_why() {
    for mode in MODES {
        let refused = |status: u16| {
            let mut world = World::new(mode, 1);
            world.refuses = Some(status);
            world.join("alice");
            assert!(world.run_until(Duration::from_secs(30), |world| world.clients[0].connected.is_some()));
            assert!(world.clients[0].core.is_over());
            let dials = world.clients[0].dials.len();
            (world.clients[0].connected.take().unwrap().unwrap_err(), dials)
        };
        let (error, dials) = refused(401);
        assert!(matches!(error.kind(), ConnectErrorKind::NotAllowed) && dials == 1, "{error} {dials}");
        let (error, _) = refused(404);
        assert!(matches!(error.kind(), ConnectErrorKind::NotFound), "{error}");
        let (error, dials) = refused(503);
        assert!(
            matches!((error.kind(), error.status()), (ConnectErrorKind::Unavailable, Some(503)))
                && (2..10).contains(&dials),
            "{error} {dials}"
        );
    }
}

#[test]
fn a_server_that_is_away_is_not_waited_for_longer_than_the_join_may_take() {
    for mode in MODES {
        for is_down in [false, true] {
            let mut world = World::new(mode, 1);
            let token = world.token("alice");
            world.join_with("alice", &token);
            world.clients[0].path.is_down = is_down;
            world.kill_server();
            assert!(world.run_until(Duration::from_secs(21), |world| world.clients[0].connected.is_some()));
            let error = world.clients[0].connected.take().unwrap().unwrap_err();
            assert!(matches!((error.kind(), error.status()), (ConnectErrorKind::Unavailable, None)), "{error}");
        }
    }
}

#[test]
fn media_that_does_not_pass_is_told_from_a_server_that_is_away() {
    for mode in MODES {
        let mut world = World::new(mode, 1);
        world.join("alice");
        world.clients[0].path.has_udp = false;
        assert!(world.run_until(Duration::from_secs(21), |world| world.clients[0].connected.is_some()));
        let error = world.clients[0].connected.take().unwrap().unwrap_err();
        assert!(matches!(error.kind(), ConnectErrorKind::MediaTimeout), "{error}");
    }
}

#[test]
fn who_leaves_while_joining_and_who_leaves_later_is_gone_for_the_others() {
    for mode in MODES {
        let mut world = World::with_clients(mode, 2, ["alice", "bob"]);
        let now = world.now;
        world.clients[0].core.leave(now);
        world.run(Duration::from_millis(500));
        assert!(world.clients[0].core.is_over() && world.clients[1].was_told("disconnected alice"));
        let carol = world.join("carol");
        world.run(Duration::from_millis(25));
        let now = world.now;
        world.clients[carol].core.leave(now);
        world.run(Duration::from_secs(1));
        assert!(
            matches!(&world.clients[carol].connected, Some(Err(error)) if error.kind() == ConnectErrorKind::Cancelled)
        );
        assert_eq!(world.clients[1].core.members().participants.remote.len(), 0);
    }
}
