//! What a client has missed, and what it has said, when it comes back.

#![expect(clippy::wildcard_enum_match_arm, reason = "what these tests don't look at")]

use std::time::Duration;

use livekit_protocol as proto;
use proto::signal_request::Message as Request;
use proto::signal_response::Message;

use super::world::{MODES, World};
use crate::core::TrackSettings;
use crate::core::requests::OwnChange;
use crate::track_permission::ParticipantTrackPermission;

#[test]
fn who_left_while_a_websocket_was_away_is_gone_after_the_resume() {
    for mode in MODES {
        let mut world = World::with_clients(mode, 1, ["alice", "bob", "carol"]);
        world.cut(0);
        let now = world.now;
        world.clients[1].core.leave(now);
        assert!(!world.clients[0].was_told("disconnected"));
        world.run(Duration::from_secs(5));
        assert!(world.clients[0].is_connected());
        assert!(world.clients[0].was_told("disconnected bob") && !world.clients[0].was_told("disconnected carol"));
        let remote = &world.clients[0].core.members().participants.remote;
        assert_eq!(remote.keys().map(|identity| identity.as_str()).collect::<Vec<_>>(), ["carol"]);
    }
}

#[test]
fn who_ceased_to_speak_while_a_websocket_was_away_does_not_speak_for_ever() {
    for restarts in [false, true] {
        let mut world = World::with_clients(MODES[0], 1, ["alice", "bob"]);
        let sid = world.clients[0].core.members().participants.remote.values().next().unwrap().sid.to_string();
        let speakers = vec![proto::SpeakerInfo { sid, level: 0.5, active: true }];
        world.inject(0, Message::SpeakersChanged(proto::SpeakersChanged { speakers }));
        let speaks =
            |world: &mut World| world.clients[0].core.members().participants.remote.values().any(|bob| bob.is_speaking);
        world.run(Duration::from_secs(1));
        assert!(speaks(&mut world));
        if restarts {
            let leave =
                proto::LeaveRequest { action: proto::leave_request::Action::Reconnect.into(), ..Default::default() };
            world.inject(0, Message::Leave(leave));
        } else {
            world.cut(0);
        }
        world.run(Duration::from_secs(5));
        assert!(world.clients[0].is_connected() && !speaks(&mut world), "restarts {restarts}");
    }
}

#[test]
fn a_track_that_is_published_in_an_outage_waits_for_its_end() {
    for mode in MODES {
        let mut world = World::with_clients(mode, 1, ["alice", "bob"]);
        world.clients[0].path.is_down = true;
        world.run(Duration::from_secs(6));
        let now = world.now;
        world.clients[0].publish_audio(1, now);
        world.run(Duration::from_secs(14));
        assert!(world.clients[0].published.lock().unwrap().is_empty());
        world.clients[0].path.is_down = false;
        let is_published = |world: &World| !world.clients[0].published.lock().unwrap().is_empty();
        assert!(world.run_until(Duration::from_secs(20), is_published));
        let published = world.clients[0].published.lock().unwrap()[0].clone();
        assert!(published.is_ok(), "{mode:?} {published:?} {:?}", world.clients[0].states());
        assert!(
            world.hears_within(1, Duration::from_secs(12)),
            "{mode:?} {:?} {:?}",
            world.clients[1].told,
            world.clients[0].asked
        );
    }
}

#[test]
fn who_may_subscribe_and_what_is_wanted_of_tracks_is_said_again_after_a_join_anew() {
    let mut world = World::with_clients(MODES[0], 1, ["alice", "bob"]);
    world.sing(0);
    world.sing(1);
    let now = world.now;
    let permission = ParticipantTrackPermission::all("bob");
    world.clients[0].core.set_subscription_permission(false, vec![permission], now);
    let track =
        world.clients[0].core.members().participants.remote.values().next().unwrap().publications[0].sid.clone();
    let settings = TrackSettings { is_disabled: true, quality: None, dimensions: None, frames_per_second: None };
    world.clients[0].core.set_track_settings(&track, settings, now);
    world.run(Duration::from_secs(1));

    world.cut(0);
    world.run(Duration::from_secs(3));
    let disabled = world.clients[0].asked.iter().find_map(|asked| match asked {
        Request::SyncState(sync) => Some(sync.track_sids_disabled.clone()),
        _ => None,
    });
    assert_eq!(disabled, Some(vec![String::from(track.clone())]));

    world.clients[0].asked.clear();
    let leave = proto::LeaveRequest { action: proto::leave_request::Action::Reconnect.into(), ..Default::default() };
    world.inject(0, Message::Leave(leave));
    world.run(Duration::from_secs(5));
    assert!(world.clients[0].is_connected());
    let asked = &world.clients[0].asked;
    let place = |wanted: fn(&Request) -> bool| asked.iter().position(wanted);
    let permitted = place(|asked| matches!(asked, Request::SubscriptionPermission(_)));
    let added = place(|asked| matches!(asked, Request::AddTrack(_)));
    assert!(permitted.is_some() && permitted < added, "{permitted:?} {added:?}");
    let is_disabled = |asked: &Request| match asked {
        Request::TrackSetting(settings) => settings.disabled && settings.track_sids == [String::from(track.clone())],
        _ => false,
    };
    assert!(asked.iter().any(is_disabled));
}

#[test]
fn who_is_moved_to_another_room_is_told_first_and_comes_back_there() {
    for mode in MODES {
        let mut world = World::with_clients(mode, 1, ["alice", "bob"]);
        world.sing(0);
        let published = world.clients[0].published.lock().unwrap()[0].clone().unwrap();
        let token = world.token("alice");
        let info = |sid: &str, identity: &str| proto::ParticipantInfo {
            sid: sid.to_owned(),
            identity: identity.to_owned(),
            state: proto::participant_info::State::Active.into(),
            permission: Some(proto::ParticipantPermission {
                can_publish: true,
                can_publish_data: true,
                ..Default::default()
            }),
            ..Default::default()
        };
        let moved = proto::RoomMovedResponse {
            room: Some(proto::Room { sid: "RM_other".to_owned(), name: "other".to_owned(), ..Default::default() }),
            token: token.clone(),
            participant: Some(info("PA_alice_there", "alice")),
            other_participants: vec![info("PA_carol", "carol")],
        };
        world.clients[0].told.clear();
        world.inject(0, Message::RoomMoved(moved));
        world.run(Duration::from_secs(1));
        let told: Vec<_> = world.clients[0].told.iter().map(|(_, told)| told.as_str()).collect();
        assert_eq!(told, ["moved to other", "token refreshed", "disconnected bob", "connected carol"]);
        assert_eq!(world.clients[0].states(), []);
        let participants = world.clients[0].core.participants();
        let local = participants.local.as_ref().unwrap();
        assert!(local.sid == "PA_alice_there" && local.publication(&published).is_some(), "it keeps its tracks");

        world.cut(0);
        let dials = world.clients[0].dials.len();
        assert!(world.run_until(Duration::from_secs(5), |world| world.clients[0].dials.len() > dials));
        let (_, _, header) = world.clients[0].dials.last().unwrap();
        assert_eq!(*header, format!("Bearer {token}"));
    }
}

#[test]
fn a_change_that_changes_nothing_is_done_and_one_that_the_server_ignores_is_refused() {
    use std::sync::{Arc, Mutex};

    let mut world = World::with_clients(MODES[0], 1, ["alice"]);
    let mut change = |name: &str| {
        let answered = Arc::new(Mutex::new(None));
        let reply = Arc::clone(&answered);
        let now = world.now;
        let change = OwnChange { name: Some(name.to_owned()), ..OwnChange::default() };
        world.clients[0].core.change_own(change, Box::new(move |result| *reply.lock().unwrap() = Some(result)), now);
        world.run(Duration::from_secs(1));
        let result = answered.lock().unwrap().take();
        result.expect("an answer in time")
    };
    assert_eq!(change("Alice"), Ok(()));
    assert_eq!(change("Alice"), Ok(()));
    assert!(change("").is_err());
}
