//! Who may subscribe to which track.

#![expect(clippy::wildcard_enum_match_arm, reason = "what these tests don't look at")]

use std::time::Duration;

use livekit_protocol as proto;
use proto::signal_request::Message as Request;
use proto::signal_response::Message;

use super::world::{MODES, World};
use crate::names::TrackSid;
use crate::track_permission::ParticipantTrackPermission;

/// Two tracks of alice's, in a room with bob and carol, who have both.
fn with_tracks(mode: super::world::Mode) -> World {
    let mut world = World::with_clients(mode, 1, ["alice", "bob", "carol"]);
    for track in [1, 2] {
        let now = world.now;
        world.clients[0].publish_audio(track, now);
        assert!(world.run_until(Duration::from_secs(5), |world| sids(world).len() == usize::try_from(track).unwrap()));
    }
    let has_both = |world: &World| [1, 2].iter().all(|other| subscribed(world, *other).len() == 2);
    assert!(world.run_until(Duration::from_secs(5), has_both));
    world
}

/// Of alice's tracks.
fn sids(world: &World) -> Vec<TrackSid> {
    let published = world.clients[0].published.lock().unwrap();
    published.iter().map(|result| result.clone().unwrap()).collect()
}

/// What a client has of alice's tracks, by their names.
fn of_alice(world: &World, client: usize) -> Vec<(TrackSid, bool, bool)> {
    let participants = world.clients[client].core.participants();
    let alice = participants.get(&"alice".into()).unwrap();
    alice.publications.iter().map(|track| (track.sid.clone(), track.is_subscribed, track.is_allowed)).collect()
}

fn subscribed(world: &World, client: usize) -> Vec<TrackSid> {
    let all = of_alice(world, client).into_iter();
    all.filter(|(_, is_subscribed, _)| *is_subscribed).map(|(sid, ..)| sid).collect()
}

fn permissions(world: &World) -> Vec<proto::SubscriptionPermission> {
    let asked = world.clients[0].asked.iter().filter_map(|asked| match asked {
        Request::SubscriptionPermission(permission) => Some(permission.clone()),
        _ => None,
    });
    asked.collect()
}

#[test]
fn a_track_that_is_for_one_participant_is_taken_from_the_others_who_are_told() {
    for mode in MODES {
        let mut world = with_tracks(mode);
        let [first, second] = &sids(&world)[..] else { panic!("two tracks") };
        let allowed =
            vec![ParticipantTrackPermission::tracks("bob", [first.clone()]), ParticipantTrackPermission::all("carol")];
        let now = world.now;
        world.clients[0].core.set_subscription_permission(false, allowed, now);
        let has_one = |world: &World| subscribed(world, 1).len() == 1;
        assert!(world.run_until(Duration::from_secs(5), has_one), "{mode:?}");
        world.run(Duration::from_secs(1));
        assert_eq!(of_alice(&world, 1), [(first.clone(), true, true), (second.clone(), false, false)]);
        assert!(world.clients[1].was_told("may not have a track of alice"));
        assert_eq!(subscribed(&world, 2).len(), 2);
        assert!(!world.clients[2].was_told("may not have"));

        let now = world.now;
        world.clients[0].core.set_subscription_permission(true, Vec::new(), now);
        assert!(world.run_until(Duration::from_secs(5), |world| subscribed(world, 1).len() == 2), "{mode:?}");
        assert!(world.clients[1].was_told("may have a track of alice"));
    }
}

#[test]
fn what_was_said_of_a_track_holds_for_it_after_a_resume_and_under_its_next_sid() {
    for mode in MODES {
        let mut world = with_tracks(mode);
        let first = sids(&world)[0].clone();
        let now = world.now;
        let allowed = vec![ParticipantTrackPermission::tracks("bob", [first.clone()])];
        world.clients[0].core.set_subscription_permission(false, allowed, now);
        world.run(Duration::from_secs(1));
        assert_eq!((subscribed(&world, 1), subscribed(&world, 2)), (vec![first.clone()], vec![]));

        world.clients[0].asked.clear();
        world.cut(0);
        world.run(Duration::from_secs(3));
        assert!(world.clients[0].is_connected());
        assert_eq!(permissions(&world).last().unwrap().track_permissions[0].track_sids, [first.to_string()]);

        world.clients[0].asked.clear();
        let leave =
            proto::LeaveRequest { action: proto::leave_request::Action::Reconnect.into(), ..Default::default() };
        world.inject(0, Message::Leave(leave));
        let has_again = |world: &World| {
            let again = subscribed(world, 1);
            again.len() == 1 && again[0] != first
        };
        assert!(world.run_until(Duration::from_secs(10), has_again), "{mode:?} {:?}", permissions(&world));
        world.run(Duration::from_secs(2));
        let again = subscribed(&world, 1);
        assert_eq!(of_alice(&world, 1).len(), 2, "both are published again");
        assert_eq!((again.len(), subscribed(&world, 2)), (1, vec![]));
        let said = permissions(&world);
        assert_eq!(said[0].track_permissions[0].track_sids, Vec::<String>::new(), "before any track, for nobody");
        assert_eq!(said.last().unwrap().track_permissions[0].track_sids, [again[0].to_string()]);
    }
}

#[test]
fn what_somebody_does_not_want_is_not_given_to_it_with_a_permission() {
    for mode in MODES {
        let mut world = with_tracks(mode);
        let first = sids(&world)[0].clone();
        let now = world.now;
        world.clients[1].core.set_subscribed(&first, false, now).unwrap();
        world.run(Duration::from_secs(1));
        for is_for_all in [false, true] {
            let now = world.now;
            world.clients[0].core.set_subscription_permission(is_for_all, Vec::new(), now);
            world.run(Duration::from_secs(2));
        }
        assert_eq!(subscribed(&world, 1), [sids(&world)[1].clone()], "{mode:?}");
        assert_eq!(subscribed(&world, 2).len(), 2);
    }
}

#[test]
fn a_track_that_is_wanted_again_comes_again() {
    for mode in MODES {
        let mut world = with_tracks(mode);
        let first = sids(&world)[0].clone();
        for pause in [Duration::ZERO, Duration::from_secs(1)] {
            for wanted in [false, true] {
                let now = world.now;
                world.clients[1].core.set_subscribed(&first, wanted, now).unwrap();
                world.run(pause);
            }
            world.run(Duration::from_secs(2));
            assert_eq!(subscribed(&world, 1).len(), 2, "{mode:?} {pause:?}");
            assert!(world.clients[1].told.iter().any(|(_, told)| told == "unsubscribed from alice"));
            assert!(world.hears_within(1, Duration::from_secs(1)), "{mode:?} {pause:?}");
        }
    }
}
