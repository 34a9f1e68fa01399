//! What becomes of a track that is to be published, and how soon.

use std::time::Duration;

use livekit_protocol as proto;
use proto::request_response::{Reason, Request};
use proto::signal_response::Message;

use super::world::{MODES, World};
use crate::error::PublishError;

const ONE_WAY: Duration = Duration::from_millis(100);
/// Waits of whoever is woken by the clock.
const SLACK: Duration = Duration::from_millis(20);

#[test]
fn a_track_is_published_in_one_round_trip() {
    for mode in MODES {
        let mut world = World::with_clients(mode, 1, ["alice"]);
        world.clients[0].path.delay = ONE_WAY;
        let asked = world.now;
        world.clients[0].publish_audio(1, asked);
        let is_published = |world: &World| !world.clients[0].published.lock().unwrap().is_empty();
        assert!(world.run_until(Duration::from_secs(5), is_published));
        assert!(world.now - asked <= ONE_WAY * 2 + SLACK, "{mode:?}: {:?}", world.now - asked);
    }
}

#[test]
fn a_track_that_the_server_does_not_take_keeps_no_place_from_the_next() {
    for mode in MODES {
        let mut world = World::with_clients(mode, 1, ["alice"]);
        let now = world.now;
        world.refuses_tracks = true;
        world.clients[0].publish_audio(1, now);
        let is_answered = |world: &World| !world.clients[0].published.lock().unwrap().is_empty();
        assert!(world.run_until(Duration::from_secs(12), is_answered));
        assert!(world.clients[0].published.lock().unwrap()[0].is_err());
        world.run(Duration::from_secs(1));
        // The next one is taken.
        world.refuses_tracks = false;
        world.clients[0].published.lock().unwrap().clear();
        let now = world.now;
        world.clients[0].publish_audio(2, now);
        assert!(world.run_until(Duration::from_secs(5), is_answered));
        assert!(world.clients[0].published.lock().unwrap()[0].is_ok());
    }
}

#[test]
fn a_track_that_the_server_refuses_is_told_at_once_and_in_its_words() {
    let refusals = [
        (Reason::NotAllowed, "", PublishError::NotAllowed),
        (Reason::LimitExceeded, "too many tracks", PublishError::Refused("too many tracks".to_owned())),
        (Reason::UnsupportedType, "", PublishError::Refused("UNSUPPORTED_TYPE".to_owned())),
    ];
    for (reason, message, expected) in refusals {
        let mut world = World::with_clients(MODES[0], 1, ["alice"]);
        world.refuses_tracks = true;
        let now = world.now;
        world.clients[0].publish_audio(1, now);
        let add = proto::AddTrackRequest { cid: "TR_local_1".to_owned(), ..Default::default() };
        for reason in [Reason::Queued, reason] {
            world.inject(
                0,
                Message::RequestResponse(proto::RequestResponse {
                    reason: reason.into(),
                    message: message.to_owned(),
                    request: Some(Request::AddTrack(add.clone())),
                    ..Default::default()
                }),
            );
        }
        world.run(Duration::from_millis(100));
        assert_eq!(*world.clients[0].published.lock().unwrap(), [Err(expected)]);
    }
}
