//! Cases 49 to 51, as far as they are decisions: what the user says before the agent hears.

use roomkey_room::ParticipantState;

use super::*;

fn recording() -> Stage {
    let mut stage = Stage::new();
    stage.start_with(Ready::Room, MicrophonePlan::PreConnect);
    stage
}

fn done(stage: &Stage) -> Vec<PreconnectOutput> {
    let outputs = stage.log.iter().filter_map(|output| match output {
        Output::Preconnect(output) => Some(output.clone()),
        _ => None,
    });
    outputs.collect()
}

fn sent_to_helper() -> PreconnectOutput {
    PreconnectOutput::Send { track: "TR_mic".into(), agent: "helper".into() }
}

#[test]
fn what_is_said_is_recorded_from_the_start_on_and_sent_once_the_track_has_its_sid() {
    let mut stage = recording();
    assert_eq!(done(&stage), [PreconnectOutput::Start]);
    assert_eq!(stage.agent_state(), AgentState::Buffering);
    stage.answer(&dispatching("dispatch"), TokenOrigin::New);
    stage.join();
    assert_eq!(stage.count(|output| matches!(output, Output::Publish { has_preconnect: true, .. })), 1);
    let mut joining = agent("helper", None);
    joining.state = ParticipantState::Joined;
    stage.put(joining);
    stage.put(agent("helper", None));
    assert_eq!(done(&stage).len(), 1, "the sid is not known");
    assert_eq!(stage.agent_state(), AgentState::Buffering);
    stage.room(RoomInput::MicrophonePublished("TR_mic".into()));
    assert_eq!(done(&stage)[1..], [sent_to_helper()]);
    stage.room(RoomInput::MicrophoneReceived("TR_other".into()));
    stage.room(RoomInput::MicrophoneReceived("TR_mic".into()));
    assert_eq!(done(&stage)[2..], [PreconnectOutput::Finish]);
    assert_eq!(stage.agent_state(), AgentState::Initializing);
}

#[test]
fn a_recording_whose_track_was_received_first_is_sent_as_it_is() {
    let mut stage = recording();
    stage.answer(&token("plain"), TokenOrigin::New);
    stage.join();
    stage.room(RoomInput::MicrophonePublished("TR_mic".into()));
    stage.room(RoomInput::MicrophoneReceived("TR_mic".into()));
    assert_eq!(done(&stage).len(), 1);
    stage.put(agent("helper", None));
    assert_eq!(done(&stage)[1..], [sent_to_helper(), PreconnectOutput::Finish]);
}

#[test]
fn the_stream_of_a_recording_ends_before_the_agent_gives_it_up() {
    let mut stage = recording();
    stage.answer(&token("plain"), TokenOrigin::New);
    stage.join();
    stage.room(RoomInput::MicrophonePublished("TR_mic".into()));
    stage.put(agent("helper", None));
    stage.pass(Duration::from_millis(2_500));
    assert_eq!(done(&stage)[1..], [sent_to_helper(), PreconnectOutput::Finish]);
}

#[test]
fn a_recording_that_no_agent_comes_for_is_thrown_away() {
    let mut stage = recording();
    stage.answer(&token("plain"), TokenOrigin::New);
    stage.join();
    stage.room(RoomInput::MicrophonePublished("TR_mic".into()));
    stage.pass(seconds(20));
    assert_eq!(done(&stage)[1..], [PreconnectOutput::Drop]);
    stage.put(agent("helper", None));
    assert_eq!(done(&stage).len(), 2);
    assert_eq!(stage.agent_state(), AgentState::Initializing);
}

#[test]
fn without_pre_connect_audio_the_feature_is_not_published() {
    for microphone in [MicrophonePlan::Off, MicrophonePlan::On] {
        let mut stage = Stage::new();
        stage.start_with(Ready::Room, microphone);
        stage.answer(&token("plain"), TokenOrigin::New);
        stage.join();
        assert_eq!(stage.count(|output| matches!(output, Output::Publish { has_preconnect: false, .. })), 1);
        assert!(done(&stage).is_empty());
    }
}

#[test]
fn a_track_that_is_published_again_sends_nothing() {
    let mut stage = recording();
    stage.answer(&token("plain"), TokenOrigin::New);
    stage.join();
    stage.room_state(ConnectionState::Restarting);
    stage.room_state(ConnectionState::Connected);
    stage.room(RoomInput::MicrophonePublished("TR_again".into()));
    stage.put(agent("helper", None));
    assert_eq!(done(&stage)[1..], [PreconnectOutput::Drop]);
}

#[test]
fn an_end_throws_the_recording_away() {
    let mut stage = recording();
    stage.end();
    assert_eq!(done(&stage)[1..], [PreconnectOutput::Drop]);
}
