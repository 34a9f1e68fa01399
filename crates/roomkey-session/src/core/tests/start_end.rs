//! Cases 1 to 10 and 26: starts, ends and tokens.

use roomkey_room::{ConnectErrorKind, DisconnectReason};

use super::*;
use crate::{EndReason, RestartPolicy};

#[test]
fn a_source_that_fails_fails_the_start_and_leaves_the_session_ready_for_another() {
    let mut stage = Stage::new();
    let start = stage.start_with(Ready::Room, MicrophonePlan::PreConnect);
    let fetch = stage.last_fetch();
    stage.handle(Input::TokenFetched { fetch, result: Err(fetch_error()) });

    assert!(matches!(stage.start_result(start), Some(Err(StartError::Token(_)))));
    assert_eq!(stage.state(), SessionState::Disconnected(Some(EndReason::StartFailed)));
    assert!(matches!(stage.error().as_deref(), Some(SessionError::Token(_))));
    assert_eq!(stage.count(|output| matches!(output, Output::Preconnect(PreconnectOutput::Drop))), 1);

    let again = stage.start();
    assert!(stage.error().is_none());
    stage.answer(&token("good"), TokenOrigin::New);
    stage.join();
    assert!(matches!(stage.start_result(again), Some(Ok(()))));
}

#[test]
fn a_token_made_for_this_start_that_is_refused_is_not_tried_again() {
    let mut stage = Stage::new();
    let start = stage.start();
    stage.answer(&token("bad"), TokenOrigin::New);
    let (room, _) = stage.connecting().unwrap();
    stage.handle(Input::RoomNotJoined(room, ConnectErrorKind::NotAllowed.into()));

    assert!(matches!(stage.start_result(start), Some(Err(StartError::NotAllowed(_)))));
    assert_eq!(stage.fetches(), 1);
}

#[test]
fn a_held_token_that_is_refused_is_followed_by_one_new_one() {
    for prepares in [false, true] {
        let mut stage = Stage::new();
        if prepares {
            stage.prepare();
            stage.answer(&token("old"), TokenOrigin::New);
        }
        let start = stage.start();
        if !prepares {
            stage.answer(&token("old"), TokenOrigin::Held);
        }
        let (room, _) = stage.connecting().unwrap();
        stage.handle(Input::RoomNotJoined(room, ConnectErrorKind::NotAllowed.into()));
        assert!(stage.start_result(start).is_none());
        let after = stage.count(
            |output| matches!(output, Output::FetchToken { how: Fetch::AfterRejection(old), .. } if *old == token("old")),
        );
        assert_eq!(after, 1);

        stage.answer(&token("old too"), TokenOrigin::Held);
        let (room, _) = stage.connecting().unwrap();
        stage.handle(Input::RoomNotJoined(room, ConnectErrorKind::NotAllowed.into()));
        assert!(matches!(stage.start_result(start), Some(Err(StartError::NotAllowed(_)))));
        assert_eq!(stage.fetches(), 2);
    }
}

#[test]
fn a_connect_with_retries_shows_connecting_and_then_connected() {
    let stage = Stage::joined();
    assert_eq!(stage.states(), [SessionState::Connecting, SessionState::Connected]);
}

#[test]
fn an_end_during_a_start_cancels_it_at_once_and_is_no_error() {
    for step in 0..3 {
        let mut stage = Stage::new();
        let start = stage.start();
        if step > 0 {
            stage.answer(&token("good"), TokenOrigin::New);
        }
        let end = stage.end();
        assert!(matches!(stage.start_result(start), Some(Err(StartError::Cancelled))), "step {step}");
        assert_eq!(stage.state(), SessionState::Disconnected(Some(EndReason::ClientInitiated)));
        assert!(stage.error().is_none());
        if step == 0 {
            assert_eq!(stage.count(|output| matches!(output, Output::CancelFetch(_))), 1);
            assert!(stage.has_ended(end));
        } else {
            let (room, _) = stage.connecting().unwrap();
            assert_eq!(stage.leaves(), 1);
            // The room was there all the same, or was not.
            let late = if step == 1 {
                Input::RoomJoined(room, Arc::default())
            } else {
                Input::RoomNotJoined(room, ConnectErrorKind::Unavailable.into())
            };
            stage.handle(late);
            stage.handle(Input::RoomLeft(room));
            assert!(stage.has_ended(end));
            assert!(stage.error().is_none());
            assert!(stage.state().is_disconnected());
        }
    }
}

#[test]
fn a_start_that_nobody_waits_for_is_given_up() {
    let mut stage = Stage::new();
    let start = stage.start();
    stage.answer(&token("good"), TokenOrigin::New);
    stage.handle(Input::CancelStart(start));
    assert!(stage.state().is_disconnected());
    assert_eq!(stage.leaves(), 1);

    let mut stage = Stage::joined();
    let (_, done) = (0, 1_001);
    stage.handle(Input::CancelStart(done));
    assert_eq!(stage.state(), SessionState::Connected, "it was done");
}

#[test]
fn of_two_starts_at_once_the_second_is_told_so() {
    let mut stage = Stage::new();
    let first = stage.start();
    let second = stage.start();
    assert!(matches!(stage.start_result(second), Some(Err(StartError::AlreadyStarted))));
    stage.answer(&token("good"), TokenOrigin::New);
    stage.join();
    assert!(matches!(stage.start_result(first), Some(Ok(()))));
    let third = stage.start();
    assert!(matches!(stage.start_result(third), Some(Err(StartError::AlreadyStarted))));
    assert_eq!(stage.count(|output| matches!(output, Output::Connect { .. })), 1);
}

#[test]
fn two_ends_leave_once_and_both_succeed() {
    let mut stage = Stage::joined();
    let room = stage.room.unwrap();
    let (first, second) = (stage.end(), stage.end());
    assert!(!stage.has_ended(first) && !stage.has_ended(second));
    stage.handle(Input::RoomLeft(room));
    assert!(stage.has_ended(first) && stage.has_ended(second));
    assert_eq!(stage.leaves(), 1);
    assert_eq!(stage.state(), SessionState::Disconnected(Some(EndReason::ClientInitiated)));
}

#[test]
fn a_room_that_is_never_left_holds_up_neither_the_end_nor_the_next_start_for_long() {
    let mut stage = Stage::joined();
    let end = stage.end();
    stage.start();
    stage.answer(&token("second"), TokenOrigin::New);
    assert_eq!(stage.count(|output| matches!(output, Output::Connect { .. })), 1, "two rooms at once");
    stage.pass(seconds(3));
    assert!(stage.has_ended(end));
    assert_eq!(stage.count(|output| matches!(output, Output::Connect { .. })), 2);
}

#[test]
fn each_start_has_a_token_of_its_own_and_none_is_fetched_in_between() {
    let mut stage = Stage::joined();
    let room = stage.room.unwrap();
    let used = stage.count(|output| matches!(output, Output::InvalidateToken(used) if *used == token("plain")));
    assert_eq!(used, 1);
    stage.end();
    stage.handle(Input::RoomLeft(room));
    stage.pass(seconds(600));
    assert_eq!(stage.fetches(), 1);
    stage.start();
    assert_eq!(stage.fetches(), 2);
    assert_eq!(stage.count(|output| matches!(output, Output::FetchToken { how: Fetch::Take, .. })), 2);
}

#[test]
fn a_prepared_token_is_used_unless_the_source_is_another_one_by_then() {
    let mut stage = Stage::new();
    let prepare = stage.prepare();
    stage.answer(&token("prepared"), TokenOrigin::New);
    assert_eq!(stage.count(|output| matches!(output, Output::PrepareResult(id, Ok(Some(_))) if *id == prepare)), 1);
    stage.start();
    assert_eq!(stage.fetches(), 1);
    assert_eq!(stage.connecting().unwrap().1, token("prepared"));

    let mut stage = Stage::new();
    stage.prepare();
    stage.answer(&token("prepared"), TokenOrigin::New);
    stage.handle(Input::SourceChanged);
    stage.start();
    assert_eq!(stage.fetches(), 2);
}

#[test]
fn a_start_joins_a_prepare_under_way_and_a_second_prepare_too() {
    let mut stage = Stage::new();
    stage.prepare();
    stage.prepare();
    stage.start();
    stage.answer(&token("shared"), TokenOrigin::New);
    assert_eq!(stage.fetches(), 1);
    assert_eq!(stage.count(|output| matches!(output, Output::PrepareResult(_, Ok(None)))), 2);
    assert_eq!(stage.connecting().unwrap().1, token("shared"));
    // It is worth one start.
    stage.join();
    let room = stage.room.unwrap();
    stage.end();
    stage.handle(Input::RoomLeft(room));
    stage.start();
    assert_eq!(stage.fetches(), 2);
}

#[test]
fn a_prepared_token_that_expires_before_the_start_is_fetched_again() {
    let mut stage = Stage::new();
    stage.prepare();
    let expires = stage.now.wall + seconds(600);
    stage.answer(&expiring("short", expires), TokenOrigin::New);
    stage.pass(seconds(541));
    stage.start();
    assert_eq!(stage.fetches(), 2);
}

#[test]
fn a_token_or_a_room_that_never_comes_ends_the_start() {
    for has_token in [false, true] {
        let mut stage = Stage::new();
        let start = stage.start();
        if has_token {
            stage.answer(&token("good"), TokenOrigin::New);
        }
        stage.pass(seconds(60));
        assert!(matches!(stage.start_result(start), Some(Err(StartError::Timeout))));
        assert!(matches!(stage.error().as_deref(), Some(SessionError::Timeout)));
        assert_eq!(stage.leaves(), usize::from(has_token));
    }
}

#[test]
fn a_room_that_ends_says_why_and_the_agent_is_finished() {
    for reason in [DisconnectReason::AgentError, DisconnectReason::RoomDeleted] {
        let mut stage = Stage::joined();
        stage.agent_says("helper", "listening");
        stage.room_state(ConnectionState::Disconnected(reason));
        assert_eq!(stage.state(), SessionState::Disconnected(Some(EndReason::Room(reason))));
        assert_eq!(stage.agent_state(), AgentState::Disconnected);
        assert!(stage.agent_state().is_finished());
    }
}

#[test]
fn a_lost_room_is_followed_by_another_with_a_new_token_where_the_policy_says_so() {
    let settings = Settings { restart: RestartPolicy::Attempts(3), seed: 7, ..Settings::default() };
    let mut stage = Stage::with(settings).into_joined(&token("first"));
    let lost = stage.room.unwrap();
    stage.room_state(ConnectionState::Disconnected(DisconnectReason::SignalClose));
    stage.handle(Input::RoomLeft(lost));
    assert_eq!(stage.state(), SessionState::Connecting);
    assert_eq!(stage.fetches(), 1);
    stage.pass(seconds(1));
    assert_eq!(stage.fetches(), 2);
    stage.answer(&token("second"), TokenOrigin::New);
    stage.join();
    assert_eq!(stage.state(), SessionState::Connected);

    // Somebody wanted this one to end.
    stage.room_state(ConnectionState::Disconnected(DisconnectReason::ParticipantRemoved));
    let removed = SessionState::Disconnected(Some(EndReason::Room(DisconnectReason::ParticipantRemoved)));
    assert_eq!(stage.state(), removed);
}

#[test]
fn attempts_at_another_room_are_counted_and_an_end_stops_them() {
    let settings = || Settings { restart: RestartPolicy::Attempts(2), seed: 7, ..Settings::default() };
    let mut stage = Stage::with(settings()).into_joined(&token("first"));
    let lost = stage.room.unwrap();
    stage.room_state(ConnectionState::Disconnected(DisconnectReason::SignalClose));
    stage.handle(Input::RoomLeft(lost));
    for attempt in 1..=2 {
        stage.pass(seconds(2));
        stage.answer(&token("another"), TokenOrigin::New);
        let (room, _) = stage.connecting().unwrap();
        stage.handle(Input::RoomNotJoined(room, ConnectErrorKind::Unavailable.into()));
        assert_eq!(stage.fetches(), 1 + attempt);
    }
    let given_up = SessionState::Disconnected(Some(EndReason::Room(DisconnectReason::SignalClose)));
    assert_eq!(stage.state(), given_up);

    let mut stage = Stage::with(settings()).into_joined(&token("first"));
    let lost = stage.room.unwrap();
    stage.room_state(ConnectionState::Disconnected(DisconnectReason::SignalClose));
    stage.handle(Input::RoomLeft(lost));
    stage.end();
    stage.pass(seconds(60));
    assert_eq!(stage.fetches(), 1);
    assert_eq!(stage.state(), SessionState::Disconnected(Some(EndReason::ClientInitiated)));
}

#[test]
fn the_phases_of_a_start_are_measured() {
    let mut stage = Stage::new();
    stage.start();
    stage.pass(seconds(1));
    stage.answer(&token("good"), TokenOrigin::New);
    stage.pass(seconds(2));
    stage.join();
    stage.pass(seconds(3));
    stage.put(agent("helper", None));
    stage.pass(seconds(4));
    let mut voice = publication("TR_voice", TrackSource::Microphone);
    voice.is_subscribed = true;
    let silent = |state| {
        let mut agent = agent("helper", Some(state));
        agent.publications = vec![Arc::new(voice.clone())];
        agent
    };
    stage.put(silent("listening"));
    stage.pass(seconds(5));
    assert_eq!(stage.core.metrics.measured().first_audio, None, "a track is no sound");
    stage.put(silent("speaking"));

    let measured = stage.core.metrics.measured();
    assert_eq!(measured.token, Some(seconds(1)));
    assert_eq!(measured.connect, Some(seconds(2)));
    assert_eq!(measured.agent_join, Some(seconds(3)));
    assert_eq!(measured.agent_ready, Some(seconds(10)));
    assert_eq!(measured.first_audio, Some(seconds(15)));

    // One that says nothing of its state is heard all the same.
    let mut stage = Stage::joined();
    let mut heard = silent("listening");
    heard.is_speaking = true;
    stage.pass(seconds(1));
    stage.put(heard);
    assert_eq!(stage.core.metrics.measured().first_audio, Some(seconds(1)));
}

#[test]
fn an_error_is_shown_until_it_is_dismissed() {
    let mut stage = Stage::joined();
    stage.room(RoomInput::NotPublished { error: PublishError::NotAllowed, is_microphone: true });
    assert!(matches!(stage.error().as_deref(), Some(SessionError::Media(_))));
    assert_eq!(stage.state(), SessionState::Connected);
    stage.handle(Input::DismissError);
    assert!(stage.error().is_none());
}
