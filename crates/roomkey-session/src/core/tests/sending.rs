//! Cases 40 and 41: what this client sends.

use roomkey_room::{DisconnectReason, ParticipantState, RoomError};

use super::*;
use crate::{AgentExpectation, AttachmentStatus, OutgoingFile, RestartPolicy, SendOptions, SendPolicy};

#[test]
fn a_message_is_shown_at_once_and_becomes_sent() {
    let mut stage = Stage::joined();
    stage.agent_says("helper", "listening");
    let mut options = SendOptions::default();
    options.attributes.insert("mood".to_owned(), "good".to_owned());
    options.destinations = vec!["helper".into()];
    let send = stage.send("hi", options.clone());

    let message = Arc::clone(&stage.list()[0]);
    assert_eq!(message.status, Status::Pending);
    assert_eq!((message.kind, &*message.from.to_string()), (MessageKind::Chat, "me"));
    let sent = stage.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].topic(), &*sent[0].text, &sent[0].options), ("lk.chat", "hi", &options));
    assert_eq!(message.id.segment(), &*sent[0].stream_id);

    stage.acknowledge();
    assert!(matches!(stage.send_result(send), Some(Ok(()))));
    assert_eq!(stage.list()[0].status, Status::Sent);
    assert_eq!(stage.message_events(), ["created hi", "finalized hi"]);
    assert_eq!(stage.received(), 0);
}

#[test]
fn a_message_that_the_room_does_not_take_says_so() {
    let mut stage = Stage::joined();
    stage.agent_says("helper", "listening");
    let send = stage.send("hi", SendOptions::default());
    let failed = SendError::Room(RoomError::Disconnected.into());
    stage.room(RoomInput::Sent(send, Err(failed.clone())));
    assert_eq!(stage.send_result(send), Some(Err(failed.clone())));
    assert_eq!(stage.list()[0].status, Status::Failed(Arc::new(failed)));
    assert!(matches!(stage.error().as_deref(), Some(SessionError::Send(_))));
}

#[test]
fn messages_wait_for_the_agent_and_go_in_their_order_once() {
    let mut stage = Stage::new();
    stage.start();
    let first = stage.send("one", SendOptions::default());
    stage.answer(&token("plain"), TokenOrigin::New);
    stage.join();
    stage.send("two", SendOptions::default());
    let mut joining = agent("helper", None);
    joining.state = ParticipantState::Joined;
    stage.put(joining);
    stage.send("three", SendOptions::default());
    assert!(stage.sent().is_empty());
    assert_eq!(stage.texts(), ["one", "two", "three"]);

    stage.agent_says("helper", "listening");
    stage.acknowledge();
    let sent: Vec<_> = stage.sent().iter().map(|text| text.text.to_string()).collect();
    assert_eq!(sent, ["one", "two", "three"]);
    assert!(matches!(stage.send_result(first), Some(Ok(()))));
    stage.room_state(ConnectionState::Restarting);
    stage.room_state(ConnectionState::Connected);
    stage.pass(seconds(60));
    assert_eq!(stage.sent().len(), 3);
}

#[test]
fn what_a_lost_room_was_sending_fails_and_what_waited_goes_to_the_next_room() {
    let restart = RestartPolicy::Attempts(2);
    let mut stage = Stage::with(Settings { restart, ..Settings::default() }).into_joined(&token("plain"));
    stage.agent_says("helper", "listening");
    let attachments = vec![OutgoingFile::new("a.bin", "x/y", vec![0; 5_000_000])];
    let large = stage.send("large", SendOptions { attachments, ..SendOptions::default() });
    let behind = stage.send("behind", SendOptions::default());

    stage.room_state(ConnectionState::Disconnected(DisconnectReason::SignalClose));
    assert_eq!(stage.state(), SessionState::Connecting);
    let lost = SendError::Room(RoomError::Disconnected.into());
    assert_eq!(stage.send_result(large), Some(Err(lost.clone())));
    assert_eq!(stage.list()[0].status, Status::Failed(Arc::new(lost)));
    assert_eq!(stage.send_result(behind), None);

    let (left, _) = stage.connecting().unwrap();
    stage.handle(Input::RoomLeft(left));
    stage.pass(seconds(2));
    stage.answer(&token("another"), TokenOrigin::New);
    stage.join();
    stage.agent_says("helper", "listening");
    stage.acknowledge();
    assert_eq!(stage.send_result(behind), Some(Ok(())));
    let sent: Vec<_> = stage.sent().iter().map(|text| text.text.to_string()).collect();
    assert_eq!(sent, ["large", "behind"]);
}

#[test]
fn an_end_before_the_agent_is_ready_cancels_what_waits() {
    let mut stage = Stage::joined();
    let send = stage.send("hi", SendOptions::default());
    stage.end();
    assert_eq!(stage.send_result(send), Some(Err(SendError::Cancelled)));
    assert_eq!(stage.list()[0].status, Status::Failed(Arc::new(SendError::Cancelled)));
    assert!(stage.error().is_none(), "it was the application's wish");
}

#[test]
fn without_a_session_nothing_is_taken() {
    let mut stage = Stage::new();
    let send = stage.send("hi", SendOptions::default());
    assert_eq!(stage.send_result(send), Some(Err(SendError::NotStarted)));
    assert!(stage.list().is_empty());
}

#[test]
fn what_waits_for_an_agent_that_does_not_come_ends() {
    // One that was certain to come.
    let mut stage = Stage::joined_with_dispatch();
    stage.pass(seconds(5));
    let send = stage.send("hi", SendOptions::default());
    stage.pass(seconds(20));
    assert_eq!(stage.send_result(send), Some(Err(SendError::NoAgent)));
    assert!(stage.sent().is_empty());

    // One that may have come: the others in the room get it.
    let mut stage = Stage::joined();
    let send = stage.send("hi", SendOptions::default());
    stage.pass(seconds(20));
    stage.acknowledge();
    assert_eq!(stage.send_result(send), Some(Ok(())));
}

#[test]
fn nothing_waits_where_no_agent_is_concerned() {
    let none = Settings { expectation: AgentExpectation::None, ..Settings::default() };
    let immediate = Settings { send_policy: SendPolicy::Immediate, ..Settings::default() };
    for settings in [none, immediate] {
        let mut stage = Stage::with(settings).into_joined(&dispatching("dispatch"));
        stage.send("hi", SendOptions::default());
        assert_eq!(stage.sent().len(), 1);
    }
}

#[test]
fn too_many_and_too_large_messages_are_refused() {
    let mut stage = Stage::joined();
    for _ in 0..256 {
        stage.send("hi", SendOptions::default());
    }
    let one_more = stage.send("hi", SendOptions::default());
    assert_eq!(stage.send_result(one_more), Some(Err(SendError::QueueFull)));
    let mut stage = Stage::joined();
    let large = stage.send(&"x".repeat(1024 * 1024 + 1), SendOptions::default());
    assert!(matches!(stage.send_result(large), Some(Err(SendError::TooLarge { .. }))));
}

#[test]
fn only_chat_is_among_the_messages_and_files_are_shown_with_theirs() {
    let mut stage = Stage::joined();
    stage.agent_says("helper", "listening");
    let other_topic = SendOptions { topic: Some("commands".to_owned()), ..SendOptions::default() };
    stage.send("not chat", other_topic);
    stage.acknowledge();
    assert_eq!(stage.sent()[0].topic(), "commands");
    assert!(stage.list().is_empty());

    let attachments = vec![OutgoingFile::new("a.txt", "text/plain", *b"abc"), OutgoingFile::new("b", "x/y", [])];
    stage.send("files", SendOptions { attachments, ..SendOptions::default() });
    let list = stage.list();
    let shown: Vec<_> = list[0].attachments.iter().map(|attachment| Arc::clone(&attachment.id)).collect();
    assert_eq!(shown, stage.sent()[1].attached_stream_ids());
    assert_eq!(list[0].attachments[0].status, AttachmentStatus::Received((*b"abc").into()));
}

#[test]
fn who_has_just_started_sends_in_its_own_name() {
    let mut stage = Stage::new();
    stage.start();
    stage.answer(&token("plain"), TokenOrigin::New);
    let (room, _) = stage.connecting().unwrap();
    let mut alone = Participants::default();
    alone.local = Some(Arc::new(Participant::new("PA_me", "me")));
    stage.handle(Input::RoomJoined(room, Arc::new(alone)));
    stage.send("hi", SendOptions::default());
    assert_eq!(stage.list()[0].id.sender(), "me");
}
