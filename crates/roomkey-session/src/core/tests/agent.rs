//! Cases 12 to 25: which participant is the agent, and what it does.

use roomkey_room::{DisconnectReason, ParticipantState};

use super::*;
use crate::{AgentExpectation, AgentSelector};

const ON_BEHALF: &str = "lk.publish_on_behalf";

#[test]
fn an_agent_that_has_not_said_what_it_does_is_initializing() {
    let mut stage = Stage::joined();
    stage.put(agent("helper", None));
    assert_eq!(stage.agent_state(), AgentState::Initializing);
    assert!(stage.agent_state().is_pending());
    assert!(!stage.agent_state().is_connected());
}

#[test]
fn every_state_is_told_in_its_order() {
    let mut stage = Stage::joined();
    for state in ["listening", "thinking", "speaking", "listening"] {
        stage.room(RoomInput::ParticipantUpdated(Arc::new(agent("helper", Some(state)))));
    }
    let states = stage.agent_states();
    let told = [AgentState::Listening, AgentState::Thinking, AgentState::Speaking, AgentState::Listening];
    assert_eq!(states[states.len() - 4..], told);
    assert_eq!(stage.agent_state(), AgentState::Listening);
}

#[test]
fn a_state_that_has_no_name_here_is_passed_on() {
    let mut stage = Stage::joined();
    stage.agent_says("helper", "dreaming");
    assert_eq!(stage.agent_state(), AgentState::Other("dreaming".into()));
    assert!(!stage.agent_state().is_connected());
}

#[test]
fn a_worker_is_never_the_agent_and_its_tracks_stand_in_for_the_agents() {
    let mut stage = Stage::joined();
    let mut avatar = agent_with("avatar", &[(ON_BEHALF, "helper")]);
    avatar.publications = vec![
        Arc::new(publication("TR_face", TrackSource::Camera)),
        Arc::new(publication("TR_voice", TrackSource::Microphone)),
    ];
    stage.put(avatar);
    assert!(stage.agent().participant.is_none());
    stage.put(agent("helper", Some("listening")));
    let snapshot = stage.agent();
    let sid = |track: &Option<crate::TrackRef>| track.as_ref().unwrap().publication.as_ref().unwrap().sid.clone();
    assert_eq!(snapshot.identity().unwrap(), "helper");
    assert_eq!(snapshot.worker.as_ref().unwrap().identity, "avatar");
    assert_eq!((sid(&snapshot.audio), sid(&snapshot.video)), ("TR_voice".into(), "TR_face".into()));

    let mut with_voice = agent("helper", Some("listening"));
    with_voice.publications = vec![Arc::new(publication("TR_own", TrackSource::Microphone))];
    stage.put(with_voice);
    assert_eq!(sid(&stage.agent().audio), "TR_own");
    assert_eq!(sid(&stage.agent().video), "TR_face");
}

#[test]
fn one_that_publishes_on_behalf_of_nobody_is_an_agent() {
    let mut stage = Stage::joined();
    stage.put(agent_with("helper", &[(ON_BEHALF, "")]));
    assert_eq!(stage.agent_state(), AgentState::Initializing);
}

#[test]
fn a_participant_that_only_says_so_is_no_agents_worker() {
    let mut stage = Stage::joined();
    stage.agent_says("helper", "listening");
    let mut stranger = agent_with("stranger", &[(ON_BEHALF, "helper")]);
    stranger.kind = ParticipantKind::Standard;
    stage.put(stranger);
    assert!(stage.agent().worker.is_none());
}

#[test]
fn an_agent_that_the_token_dispatches_and_that_never_comes_fails_after_20_seconds() {
    let mut stage = Stage::new();
    let start = stage.start_with(Ready::Agent, MicrophonePlan::Off);
    stage.answer(&dispatching("dispatch"), TokenOrigin::New);
    stage.join();
    stage.pass(Duration::from_millis(19_999));
    assert_eq!(stage.agent_state(), AgentState::Connecting);
    assert!(stage.start_result(start).is_none());
    stage.pass(Duration::from_millis(1));
    assert_eq!(stage.agent_state(), AgentState::Failed(AgentFailure::JoinTimeout));
    assert!(matches!(stage.start_result(start), Some(Err(StartError::Agent(AgentFailure::JoinTimeout)))));
    assert_eq!(stage.state(), SessionState::Connected);
}

#[test]
fn an_agent_that_never_says_what_it_does_fails_20_seconds_after_the_room_was_joined() {
    let mut stage = Stage::joined_with_dispatch();
    stage.pass(seconds(10));
    stage.put(agent("helper", None));
    stage.pass(Duration::from_millis(9_999));
    assert_eq!(stage.agent_state(), AgentState::Initializing);
    stage.pass(Duration::from_millis(1));
    assert_eq!(stage.agent_state(), AgentState::Failed(AgentFailure::InitTimeout));
    stage.agent_says("helper", "listening");
    assert_eq!(stage.agent_state(), AgentState::Listening);
}

#[test]
fn an_agent_that_comes_too_late_is_welcome() {
    let mut stage = Stage::joined_with_dispatch();
    stage.pass(seconds(25));
    assert_eq!(stage.agent_state(), AgentState::Failed(AgentFailure::JoinTimeout));
    stage.put(agent("helper", None));
    assert_eq!(stage.agent_state(), AgentState::Initializing);
    stage.pass(seconds(15));
    assert_eq!(stage.agent_state(), AgentState::Initializing, "it has as much time as the first one");
    stage.agent_says("helper", "listening");
    assert_eq!(stage.agent_state(), AgentState::Listening);
    stage.pass(seconds(100));
    assert_eq!(stage.agent_state(), AgentState::Listening);
}

#[test]
fn where_no_agent_is_expected_nothing_fails() {
    let mut stage = Stage::expecting(AgentExpectation::None).into_joined(&dispatching("dispatch"));
    stage.put(Participant::new("PA_1", "human"));
    stage.pass(seconds(100));
    stage.agent_says("visitor", "listening");
    assert_eq!(stage.agent_state(), AgentState::Listening);
    stage.remove("visitor");
    stage.pass(seconds(100));
    assert!(!stage.agent_states().iter().any(|state| matches!(state, AgentState::Failed(_))));
}

#[test]
fn where_an_agent_may_come_of_the_servers_own_accord_that_none_comes_is_no_failure() {
    let mut stage = Stage::joined();
    stage.pass(seconds(100));
    assert_eq!(stage.agent_state(), AgentState::Connecting);
    stage.put(agent("helper", None));
    stage.agent_says("helper", "listening");
    assert_eq!(stage.agent_state(), AgentState::Listening);
    assert!(!stage.agent_states().iter().any(|state| matches!(state, AgentState::Failed(_))));
}

#[test]
fn a_start_that_waits_for_an_agent_ends_even_where_none_is_certain_to_come() {
    let mut stage = Stage::new();
    let start = stage.start_with(Ready::Agent, MicrophonePlan::Off);
    stage.answer(&token("plain"), TokenOrigin::New);
    stage.join();
    stage.pass(seconds(20));
    assert!(matches!(stage.start_result(start), Some(Err(StartError::Agent(AgentFailure::JoinTimeout)))));
    assert_eq!(stage.agent_state(), AgentState::Connecting);

    let mut stage = Stage::new();
    let start = stage.start_with(Ready::Agent, MicrophonePlan::Off);
    stage.answer(&token("plain"), TokenOrigin::New);
    stage.join();
    stage.agent_says("helper", "listening");
    assert!(matches!(stage.start_result(start), Some(Ok(()))));
}

#[test]
fn a_start_that_waits_for_an_agent_ends_with_the_room() {
    let mut stage = Stage::new();
    let start = stage.start_with(Ready::Agent, MicrophonePlan::Off);
    stage.answer(&dispatching("dispatch"), TokenOrigin::New);
    stage.join();
    stage.room_state(ConnectionState::Disconnected(DisconnectReason::RoomDeleted));
    assert!(matches!(stage.start_result(start), Some(Err(StartError::Ended))));
}

#[test]
fn an_agent_that_leaves_fails_after_the_grace_and_another_one_takes_its_place() {
    let mut stage = Stage::joined();
    stage.agent_says("helper", "listening");
    stage.room(RoomInput::ParticipantLeft("helper".into(), DisconnectReason::AgentError));
    stage.remove("helper");
    assert_eq!(stage.agent_state(), AgentState::Reconnecting);
    stage.pass(Duration::from_millis(2_999));
    assert_eq!(stage.agent_state(), AgentState::Reconnecting);
    stage.pass(Duration::from_millis(1));
    let left = AgentState::Failed(AgentFailure::Left(Some(DisconnectReason::AgentError)));
    assert_eq!(stage.agent_state(), left);
    stage.put(Participant::new("PA_1", "human"));
    assert_eq!(stage.agent_state(), left, "another's coming changes nothing");
    stage.agent_says("second", "thinking");
    assert_eq!(stage.agent_state(), AgentState::Thinking);
}

#[test]
fn an_agent_that_is_waited_for_for_ever_is() {
    let settings = Settings { agent_timeout: Duration::MAX, leave_grace: Duration::MAX, ..Settings::default() };
    let mut stage = Stage::with(settings);
    stage.start_with(Ready::Agent, MicrophonePlan::PreConnect);
    stage.answer(&token("plain"), TokenOrigin::New);
    stage.join();
    stage.agent_says("helper", "listening");
    stage.remove("helper");
    stage.pass(Duration::from_secs(365 * 24 * 60 * 60));
    assert_eq!(stage.agent_state(), AgentState::Reconnecting);
    stage.room_state(ConnectionState::Resuming);
    stage.room_state(ConnectionState::Connected);
    stage.agent_says("helper", "thinking");
    assert_eq!(stage.agent_state(), AgentState::Thinking);
}

#[test]
fn an_agent_that_comes_again_within_the_grace_has_not_failed() {
    let mut stage = Stage::joined();
    stage.agent_says("helper", "listening");
    stage.remove("helper");
    stage.pass(seconds(2));
    let mut again = agent("helper", Some("listening"));
    again.sid = "PA_another".into();
    stage.put(again.clone());
    stage.pass(seconds(10));
    // And once more, so that the room never said that it was gone.
    again.sid = "PA_third".into();
    stage.put(again);
    stage.pass(seconds(10));
    assert!(!stage.agent_states().iter().any(|state| matches!(state, AgentState::Failed(_))));
    assert_eq!(stage.agent_state(), AgentState::Listening);
}

#[test]
fn a_full_reconnect_is_no_failure_whichever_is_heard_of_first() {
    for leaves_first in [false, true] {
        let mut stage = Stage::joined();
        stage.agent_says("helper", "listening");
        if leaves_first {
            stage.remove("helper");
            stage.room_state(ConnectionState::Restarting);
        } else {
            stage.room_state(ConnectionState::Restarting);
            stage.remove("helper");
        }
        assert_eq!(stage.state(), SessionState::Restarting);
        assert_eq!(stage.agent_state(), AgentState::Reconnecting);
        stage.pass(seconds(30));
        stage.room_state(ConnectionState::Connected);
        stage.pass(seconds(5));
        assert_eq!(stage.agent_state(), AgentState::Reconnecting);
        stage.agent_says("helper", "listening");
        assert_eq!(stage.agent_state(), AgentState::Listening);
        assert!(!stage.agent_states().iter().any(|state| matches!(state, AgentState::Failed(_))));
    }
}

#[test]
fn an_agent_that_is_missing_after_a_full_reconnect_has_the_agents_time() {
    let mut stage = Stage::joined();
    stage.agent_says("helper", "listening");
    stage.room_state(ConnectionState::Restarting);
    stage.remove("helper");
    stage.room_state(ConnectionState::Connected);
    stage.pass(Duration::from_millis(19_999));
    assert_eq!(stage.agent_state(), AgentState::Reconnecting);
    stage.pass(Duration::from_millis(1));
    assert_eq!(stage.agent_state(), AgentState::Failed(AgentFailure::Left(None)));
}

#[test]
fn a_resumed_connection_keeps_what_the_agent_does_and_its_time_does_not_run_out() {
    let mut stage = Stage::joined();
    stage.agent_says("helper", "thinking");
    stage.room_state(ConnectionState::Resuming);
    assert_eq!(stage.agent_state(), AgentState::Thinking);

    let mut stage = Stage::joined_with_dispatch();
    stage.room_state(ConnectionState::Resuming);
    stage.pass(seconds(30));
    assert_eq!(stage.agent_state(), AgentState::Connecting);
    stage.room_state(ConnectionState::Connected);
    assert_eq!(stage.agent_state(), AgentState::Connecting);
    stage.pass(seconds(3));
    assert_eq!(stage.agent_state(), AgentState::Failed(AgentFailure::JoinTimeout));
}

#[test]
fn of_two_agents_the_one_that_was_asked_for_is_chosen_whoever_comes_first() {
    for order in [["other", "helper"], ["helper", "other"]] {
        let selectors = [AgentSelector::name("named-helper"), AgentSelector::identity("helper")];
        for selector in selectors {
            let expectation = AgentExpectation::Expected(selector);
            let mut stage = Stage::expecting(expectation).into_joined(&token("plain"));
            for identity in order {
                stage.put(agent_with(identity, &[("lk.agent.name", &format!("named-{identity}"))]));
            }
            assert_eq!(stage.agent().identity().unwrap(), "helper");
            assert_eq!(stage.agent().others.len(), 1);
        }
    }
}

#[test]
fn without_a_selector_the_first_that_is_active_is_chosen_and_stays() {
    let mut stage = Stage::joined();
    let mut joining = agent("first", None);
    joining.state = ParticipantState::Joined;
    stage.put(joining.clone());
    assert_eq!(stage.agent().identity().unwrap(), "first");
    stage.agent_says("second", "listening");
    assert_eq!(stage.agent().identity().unwrap(), "second");
    joining.state = ParticipantState::Active;
    stage.put(joining);
    assert_eq!(stage.agent().identity().unwrap(), "second");
    stage.remove("second");
    assert_eq!(stage.agent().identity().unwrap(), "first");
}
