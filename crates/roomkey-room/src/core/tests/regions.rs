//! A region fails, and another one is joined.

use std::time::Duration;

use livekit_protocol as proto;
use proto::leave_request::Action;
use proto::signal_response::Message as Response;

use super::world::{MODES, Mode, World};
use crate::connect_error::ConnectErrorKind;
use crate::connection_state::ConnectionState::{Connected, Restarting, Resuming};

const FIRST: &str = "project.livekit.cloud";
const NEAR: &str = "near.livekit.cloud";
const FAR: &str = "far.livekit.cloud";
const REGIONS: &str = r#"{"regions":[
    {"url":"wss://far.livekit.cloud","distance":"20"},
    {"url":"wss://near.livekit.cloud","distance":"10"}
]}"#;

/// A server that is reached by each host that is not dead.
fn cloud(mode: Mode, dead_hosts: &[&'static str]) -> World {
    let mut world = World::new(mode, 7);
    world.server_url = "wss://project.livekit.cloud";
    world.regions = Some(REGIONS);
    world.dead_hosts = dead_hosts.to_vec();
    world
}

fn hosts(world: &World) -> Vec<&str> {
    world.clients[0].dials.iter().filter_map(|(_, url, _)| url.host_str()).collect()
}

fn is_settled(world: &World) -> bool {
    world.clients[0].connected.is_some()
}

fn leave(action: Action, urls: &[&str]) -> Response {
    let region = |url: &&str| proto::RegionInfo { url: (*url).to_owned(), ..Default::default() };
    let regions = proto::RegionSettings { regions: urls.iter().map(region).collect() };
    let mut leave = proto::LeaveRequest { regions: Some(regions), ..Default::default() };
    leave.set_action(action);
    Response::Leave(leave)
}

#[test]
fn a_join_goes_from_region_to_region_and_asks_once() {
    for mode in MODES {
        let mut world = cloud(mode, &[FIRST, NEAR]);
        world.join("alice");
        assert!(world.run_until(Duration::from_secs(10), is_settled));
        assert!(matches!(world.clients[0].connected, Some(Ok(_))));
        assert_eq!(hosts(&world), [FIRST, NEAR, FAR]);
        let [(_, url, header)] = &world.clients[0].questions[..] else { panic!("one question") };
        assert_eq!(url.as_str(), "https://project.livekit.cloud/settings/regions");
        assert!(header.starts_with("Bearer "));
    }
}

#[test]
fn where_no_region_can_be_joined_the_error_is_that_of_the_first() {
    for mode in MODES {
        let mut world = cloud(mode, &[NEAR, FAR]);
        world.refuses = Some(503);
        world.join("alice");
        assert!(world.run_until(Duration::from_secs(10), is_settled));
        let error = world.clients[0].connected.take().unwrap().unwrap_err();
        assert!(matches!((error.kind(), error.status()), (ConnectErrorKind::Unavailable, Some(503))), "{error}");
        assert_eq!(hosts(&world), [FIRST, NEAR, FAR]);
    }
}

#[test]
fn a_refused_token_and_an_unknown_room_are_no_reason_to_ask_for_regions() {
    for mode in MODES {
        for status in [401, 403, 404, 400] {
            let mut world = cloud(mode, &[]);
            world.refuses = Some(status);
            world.join("alice");
            assert!(world.run_until(Duration::from_secs(10), is_settled));
            assert!(matches!(world.clients[0].connected, Some(Err(_))) && world.clients[0].questions.is_empty());
        }
    }
}

#[test]
fn without_a_list_the_first_server_is_tried_as_any_other() {
    for mode in MODES {
        let mut world = cloud(mode, &[]);
        world.regions = None;
        world.refuses = Some(503);
        world.join("alice");
        world.run(Duration::from_millis(700));
        world.refuses = None;
        assert!(world.run_until(Duration::from_secs(10), is_settled));
        assert!(matches!(world.clients[0].connected, Some(Ok(_))));
        assert!(hosts(&world).iter().all(|host| *host == FIRST));
    }
}

#[test]
fn a_region_that_says_nothing_has_half_of_the_time() {
    for mode in MODES {
        let mut world = cloud(mode, &[]);
        // A websocket opens, and no word comes.
        world.script = Some(Vec::new());
        world.join("alice");
        let asks = |world: &World| !world.clients[0].questions.is_empty();
        assert!(world.run_until(Duration::from_secs(11), asks));
        world.script = None;
        assert!(world.run_until(Duration::from_secs(10), is_settled));
        assert!(matches!(world.clients[0].connected, Some(Ok(_))));
    }
}

#[test]
fn media_that_does_not_come_up_is_tried_elsewhere_within_the_time_of_the_join() {
    for mode in MODES {
        let mut world = cloud(mode, &[]);
        world.join("alice");
        world.clients[0].path.has_udp = false;
        assert!(!world.run_until(Duration::from_secs(19), is_settled));
        assert!(world.run_until(Duration::from_secs(2), is_settled));
        assert!(
            matches!(&world.clients[0].connected, Some(Err(error)) if error.kind() == ConnectErrorKind::MediaTimeout)
        );
        assert_eq!(hosts(&world), [FIRST, NEAR, FAR]);
    }
}

#[test]
fn a_stay_goes_on_in_its_region_and_in_another_one_when_that_fails() {
    for mode in MODES {
        let mut world = cloud(mode, &[FIRST]);
        world.join("alice");
        assert!(world.run_until(Duration::from_secs(10), is_settled));
        world.run(Duration::from_secs(1));
        world.clients[0].dials.clear();
        world.cut(0);
        world.run_until(Duration::from_secs(10), |world| world.clients[0].is_connected());
        assert_eq!(world.clients[0].states(), [Resuming, Connected]);
        assert_eq!(hosts(&world), [NEAR], "not the first");

        world.clients[0].dials.clear();
        world.dead_hosts = vec![FIRST, NEAR];
        world.cut(0);
        let is_back = |world: &World| world.clients[0].states().ends_with(&[Resuming, Restarting, Connected]);
        assert!(world.run_until(Duration::from_secs(10), is_back), "{:?}", world.clients[0].states());
        assert_eq!(hosts(&world), [NEAR, NEAR, NEAR, FAR]);
    }
}

#[test]
fn an_outage_of_the_clients_own_is_no_reason_to_change_the_region() {
    for mode in MODES {
        let mut world = cloud(mode, &[]);
        world.join("alice");
        assert!(world.run_until(Duration::from_secs(10), is_settled));
        world.run(Duration::from_secs(1));
        world.cut(0);
        world.clients[0].path.is_down = true;
        world.run(Duration::from_secs(10));
        world.clients[0].path.is_down = false;
        assert!(world.run_until(Duration::from_secs(20), |world| world.clients[0].is_connected()));
        assert_eq!(world.clients[0].states(), [Resuming, Connected]);
        assert!(hosts(&world).iter().all(|host| *host == FIRST));
    }
}

#[test]
fn where_all_regions_fail_a_join_anew_begins_with_the_first_again() {
    for mode in MODES {
        let mut world = cloud(mode, &[]);
        world.join("alice");
        assert!(world.run_until(Duration::from_secs(10), is_settled));
        world.clients[0].dials.clear();
        world.dead_hosts = vec![FIRST, NEAR, FAR];
        world.inject(0, leave(Action::Reconnect, &[]));
        world.run(Duration::from_secs(5));
        assert!(hosts(&world).starts_with(&[FIRST, NEAR, FAR, FIRST]), "{:?}", hosts(&world));
        world.dead_hosts = vec![FIRST];
        assert!(world.run_until(Duration::from_secs(20), |world| world.clients[0].is_connected()));
    }
}

#[test]
fn a_leave_that_names_regions_is_followed_there() {
    for mode in MODES {
        let mut world = cloud(mode, &[]);
        world.join("alice");
        assert!(world.run_until(Duration::from_secs(10), is_settled));
        world.clients[0].dials.clear();
        world.inject(0, leave(Action::Reconnect, &["ws://evil.example.com", "wss://far.livekit.cloud"]));
        let is_back = |world: &World| world.clients[0].states().ends_with(&[Restarting, Connected]);
        assert!(world.run_until(Duration::from_secs(10), is_back));
        assert_eq!(hosts(&world), [FAR]);

        world.clients[0].dials.clear();
        world.dead_hosts = vec![FAR];
        world.inject(0, leave(Action::Resume, &["wss://far.livekit.cloud", "wss://near.livekit.cloud"]));
        let is_back = |world: &World| world.clients[0].states().ends_with(&[Resuming, Restarting, Connected]);
        assert!(world.run_until(Duration::from_secs(10), is_back), "{:?}", world.clients[0].states());
        assert_eq!(hosts(&world), [FAR, NEAR]);
        assert!(world.clients[0].questions.is_empty());
    }
}

#[test]
fn a_join_that_is_answered_with_a_leave_goes_where_that_says() {
    for mode in MODES {
        let mut world = cloud(mode, &[]);
        world.script = Some(vec![super::world::encode(leave(Action::Reconnect, &["wss://far.livekit.cloud"]))]);
        world.join("alice");
        assert!(world.run_until(Duration::from_secs(1), |world| world.clients[0].dials.len() == 2));
        world.script = None;
        assert!(world.run_until(Duration::from_secs(10), is_settled));
        assert_eq!(hosts(&world), [FIRST, FAR]);
    }
}
