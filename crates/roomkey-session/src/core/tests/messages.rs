//! Cases 27 to 45: what others say and write.

use super::*;
use crate::{Attachment, AttachmentStatus};

const SEGMENT: &str = "lk.segment_id";
const FINAL: &str = "lk.transcription_final";

/// A room with an agent.
fn talking() -> Stage {
    let mut stage = Stage::joined();
    stage.agent_says("helper", "speaking");
    stage
}

#[test]
fn an_agents_stream_is_one_message_that_grows_and_becomes_final() {
    let mut stage = talking();
    stage.open(1, "helper", TRANSCRIPTION_TOPIC, &[(SEGMENT, "SG_1"), (FINAL, "false")]);
    stage.chunk(1, "Hel");
    stage.chunk(1, "lo");
    stage.close(1, &[(FINAL, "true")]);
    assert_eq!(stage.message_events(), ["created Hel", "changed Hello", "finalized Hello"]);
    let list = stage.list();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].kind, MessageKind::AgentTranscript);
    assert_eq!(list[0].id, MessageId::new("helper", "SG_1"));
    assert_eq!(list[0].status, Status::Final);
    assert_eq!(list[0].attributes[FINAL], "true");
}

#[test]
fn interim_streams_of_what_a_user_says_are_one_message_in_one_place() {
    let mut stage = talking();
    stage.transcript(1, "me", "SG_1", "he", false);
    stage.transcript(2, "helper", "SG_2", "Yes?", true);
    assert_eq!(stage.list()[0].status, Status::Streaming, "the end of an interim stream is not that of the message");
    stage.transcript(3, "me", "SG_1", "hello", false);
    assert_eq!(stage.list()[0].status, Status::Streaming);
    stage.transcript(4, "me", "SG_1", "hello", true);

    assert_eq!(stage.texts(), ["hello", "Yes?"]);
    let list = stage.list();
    assert_eq!(list[0].kind, MessageKind::UserTranscript);
    assert_eq!(list[0].id, MessageId::new("me", "SG_1"));
    assert_eq!(list[0].status, Status::Final);
    assert_eq!(stage.received(), 2);
}

#[test]
fn an_older_interim_stream_has_no_say_once_there_is_a_newer_one() {
    let mut stage = talking();
    stage.open(1, "me", TRANSCRIPTION_TOPIC, &[(SEGMENT, "SG_1"), (FINAL, "false")]);
    stage.chunk(1, "he");
    stage.transcript(2, "me", "SG_1", "hello", true);
    stage.chunk(1, "llish");
    stage.room(RoomInput::TextClosed(1, BTreeMap::new(), Err("too late".into())));
    assert_eq!(stage.texts(), ["hello"]);
    assert_eq!(stage.list()[0].status, Status::Final);
}

#[test]
fn an_agents_stream_that_ends_without_saying_so_is_final() {
    let mut stage = talking();
    for (key, header) in [(1, &[(FINAL, "false")][..]), (2, &[])] {
        stage.open(key, "helper", TRANSCRIPTION_TOPIC, header);
        stage.chunk(key, "Hello");
        stage.close(key, &[]);
    }
    assert!(stage.list().iter().all(|message| message.status == Status::Final));
    assert_eq!(stage.list().len(), 2, "without a segment each stream is a message");
}

#[test]
fn messages_stand_in_the_order_in_which_their_streams_were_opened() {
    let mut stage = talking();
    for (key, sender, hours) in [(1, "me", 0), (2, "helper", 1)] {
        let header = TextHeader {
            key,
            sender: sender.into(),
            topic: TRANSCRIPTION_TOPIC.to_owned(),
            stream_id: format!("s{key}").into(),
            attributes: BTreeMap::new(),
            is_update: false,
            version: 0,
            attached_stream_ids: Vec::new(),
            timestamp: Some(stage.now.wall - seconds(3_600 * hours)),
        };
        stage.room(RoomInput::TextOpened(header));
    }
    stage.chunk(2, "agent");
    assert_eq!(stage.texts(), ["agent"]);
    stage.chunk(1, "user");
    assert_eq!(stage.texts(), ["user", "agent"]);
    assert_eq!(stage.list()[1].sent_at, Some(stage.now.wall - seconds(3_600)));
}

#[test]
fn one_segment_id_of_two_senders_is_two_messages() {
    let mut stage = talking();
    stage.transcript(1, "me", "SG_1", "one", true);
    stage.transcript(2, "helper", "SG_1", "two", true);
    assert_eq!(stage.texts(), ["one", "two"]);
}

#[test]
fn a_stream_that_is_final_from_its_header_on_is_kept_whole_and_final_at_its_end() {
    let mut stage = talking();
    stage.open(1, "me", TRANSCRIPTION_TOPIC, &[(SEGMENT, "SG_1"), (FINAL, "true")]);
    for chunk in ["one ", "two ", "three"] {
        stage.chunk(1, chunk);
        assert_eq!(stage.list()[0].status, Status::Streaming);
    }
    stage.close(1, &[]);
    assert_eq!(stage.texts(), ["one two three"]);
    assert_eq!(stage.list()[0].status, Status::Final);
}

#[test]
fn a_character_that_is_cut_by_a_chunk_is_not_lost() {
    let mut stage = talking();
    stage.open(1, "helper", TRANSCRIPTION_TOPIC, &[]);
    for byte in "a\u{1F600}b".as_bytes() {
        stage.room(RoomInput::Text(1, vec![*byte]));
    }
    stage.close(1, &[]);
    assert_eq!(stage.texts(), ["a\u{1F600}b"]);
}

#[test]
fn a_stream_that_breaks_off_leaves_what_came_and_the_next_is_as_it_should_be() {
    let mut stage = talking();
    stage.open(1, "helper", TRANSCRIPTION_TOPIC, &[(SEGMENT, "SG_1")]);
    stage.chunk(1, "Once upon");
    stage.room(RoomInput::TextClosed(1, BTreeMap::new(), Err("the sender left".into())));
    assert!(matches!(&stage.list()[0].status, Status::Aborted(why) if why.contains("the sender left")));
    assert!(matches!(stage.error().as_deref(), Some(SessionError::Receive(_))));
    stage.transcript(2, "helper", "SG_2", "a time", true);
    assert_eq!(stage.texts(), ["Once upon", "a time"]);
    assert_eq!(stage.list()[1].status, Status::Final);
}

#[test]
fn what_is_not_text_ends_its_message_and_not_the_session() {
    let mut stage = talking();
    stage.open(1, "helper", TRANSCRIPTION_TOPIC, &[]);
    stage.chunk(1, "fine");
    stage.room(RoomInput::Text(1, vec![0xff, 0xfe]));
    stage.chunk(1, "more");
    assert_eq!(stage.texts(), ["fine"]);
    assert!(matches!(stage.list()[0].status, Status::Aborted(_)));
    assert_eq!(stage.state(), SessionState::Connected);
}

#[test]
fn a_message_without_end_is_cut_off() {
    let mut stage = talking();
    stage.open(1, "helper", TRANSCRIPTION_TOPIC, &[]);
    for _ in 0..100 {
        stage.chunk(1, &"x".repeat(1_024));
    }
    assert_eq!(stage.list()[0].text.len(), 64 * 1_024);
    assert!(matches!(stage.list()[0].status, Status::Aborted(_)));
}

#[test]
fn streams_without_a_segment_are_never_mixed() {
    let mut stage = talking();
    stage.open(1, "helper", TRANSCRIPTION_TOPIC, &[]);
    stage.open(2, "helper", TRANSCRIPTION_TOPIC, &[(SEGMENT, "")]);
    for (key, text) in [(1, "a"), (2, "b"), (1, "a"), (2, "b")] {
        stage.chunk(key, text);
    }
    assert_eq!(stage.texts(), ["aa", "bb"]);
}

fn packet(speaker: &str, id: &str, text: &str, is_final: bool) -> RoomInput {
    RoomInput::LegacySegment(LegacySegment {
        speaker: speaker.into(),
        track_sid: None,
        id: id.to_owned(),
        text: text.to_owned(),
        is_final,
    })
}

#[test]
fn a_transcript_that_comes_as_packet_and_as_stream_is_one_message() {
    for packet_first in [false, true] {
        let mut stage = talking();
        if packet_first {
            stage.room(packet("me", "SG_other", "hel", false));
        }
        stage.transcript(1, "me", "SG_1", "hello", false);
        stage.room(packet("me", "SG_other", "hello", true));
        stage.transcript(2, "me", "SG_1", "hello", true);
        stage.pass(seconds(10));
        assert_eq!(stage.texts(), ["hello"], "packet first: {packet_first}");
        assert_eq!(stage.list()[0].status, Status::Final);
    }
}

#[test]
fn a_transcript_that_comes_as_packets_alone_appears() {
    let mut stage = talking();
    stage.room(packet("me", "SG_1", "hel", false));
    stage.room(packet("me", "SG_1", "hello", false));
    assert!(stage.list().is_empty(), "its stream may be on its way");
    stage.pass(seconds(1));
    assert_eq!(stage.texts(), ["hello"]);
    stage.room(packet("me", "SG_1", "hello there", true));
    stage.room(packet("me", "SG_2", "again", false));
    assert_eq!(stage.texts(), ["hello there", "again"]);
    assert_eq!(stage.list()[0].status, Status::Final);
    assert_eq!(stage.list()[1].status, Status::Streaming);
}

#[test]
fn a_stream_that_comes_after_its_packets_were_believed_goes_on_with_their_message() {
    let mut stage = talking();
    stage.room(packet("me", "SG_packet", "hel", false));
    stage.pass(seconds(2));
    stage.transcript(1, "me", "SG_stream", "hello", false);
    stage.transcript(2, "me", "SG_stream", "hello", true);
    stage.room(packet("me", "SG_packet", "hello", true));
    assert_eq!(stage.texts(), ["hello"]);
    assert_eq!(stage.list()[0].status, Status::Final);
    assert_eq!(stage.list()[0].id, MessageId::new("me", "SG_packet"));
}

#[test]
fn packets_keep_the_place_at_which_they_came() {
    let mut stage = talking();
    stage.room(packet("me", "SG_1", "first", true));
    stage.transcript(1, "helper", "SG_2", "second", true);
    stage.pass(seconds(1));
    assert_eq!(stage.texts(), ["first", "second"]);
}

#[test]
fn a_stream_whose_end_is_all_in_its_header_is_final() {
    // What comes in one packet has no trailer.
    let mut stage = talking();
    stage.transcript(1, "me", "SG_1", "hello", true);
    stage.transcript(2, "helper", "SG_2", "hi", false);
    assert!(stage.list().iter().all(|message| message.status == Status::Final));
}

#[test]
fn lines_of_json_are_joined_and_their_times_kept() {
    let mut stage = talking();
    stage.open(1, "helper", TRANSCRIPTION_TOPIC, &[]);
    stage.chunk(1, "{\"text\":\"Hello \",\"start_time\":0.5,\"end_");
    stage.chunk(1, "time\":1.0}\n{\"text\":\"wor");
    stage.chunk(1, "ld\",\"start_time\":1.0,\"end_time\":1.25}\n");
    stage.close(1, &[(FINAL, "true")]);
    let list = stage.list();
    assert_eq!(&*list[0].text, "Hello world");
    assert_eq!(list[0].timing.len(), 2);
    assert_eq!(list[0].timing[0].start, Some(Duration::from_millis(500)));
    assert_eq!(list[0].timing[1].end, Some(Duration::from_millis(1_250)));
}

#[test]
fn an_expression_is_read_where_it_is_one() {
    let mut stage = talking();
    let said = r#"{"expression":"with a smile","mood":"happy"}"#;
    stage.open(1, "helper", TRANSCRIPTION_TOPIC, &[("lk.expression", said)]);
    stage.chunk(1, "Hello");
    stage.open(2, "helper", TRANSCRIPTION_TOPIC, &[("lk.expression", "nonsense")]);
    stage.chunk(2, "Hello");
    assert_eq!(stage.list()[0].expression.as_ref().unwrap().mood.as_deref(), Some("happy"));
    assert_eq!(stage.list()[1].expression, None);
}

fn chat_with_files(stage: &mut Stage, files: &[&str]) {
    let header = TextHeader {
        key: 1,
        sender: "friend".into(),
        topic: CHAT_TOPIC.to_owned(),
        stream_id: "chat".into(),
        attributes: BTreeMap::new(),
        is_update: false,
        version: 0,
        attached_stream_ids: files.iter().map(|id| Arc::from(*id)).collect(),
        timestamp: None,
    };
    stage.room(RoomInput::TextOpened(header));
    stage.chunk(1, "two pictures");
    assert!(stage.list().is_empty(), "chat is shown whole");
    stage.close(1, &[]);
}

fn file(id: &str, size: usize) -> RoomInput {
    RoomInput::File(IncomingFile {
        sender: "friend".into(),
        stream_id: id.into(),
        name: format!("{id}.png").into(),
        mime_type: "image/png".into(),
        outcome: Ok(vec![0; size].into()),
    })
}

fn described(attachment: &Attachment) -> String {
    match &attachment.status {
        AttachmentStatus::Pending => format!("{} pending", attachment.id),
        AttachmentStatus::Received(bytes) => format!("{} {} {}", attachment.name, attachment.mime_type, bytes.len()),
        AttachmentStatus::Aborted(_) => format!("{} aborted", attachment.id),
    }
}

#[test]
fn files_stand_in_the_senders_order_whichever_comes_first() {
    let mut stage = Stage::joined();
    stage.room(file("early", 3));
    chat_with_files(&mut stage, &["large", "small", "early"]);
    stage.room(RoomInput::FileOpened("friend".into(), "large".into()));
    stage.room(file("small", 1));
    stage.pass(seconds(120));
    stage.room(file("large", 9));
    let attachments: Vec<_> = stage.list()[0].attachments.iter().map(described).collect();
    assert_eq!(attachments, ["large.png image/png 9", "small.png image/png 1", "early.png image/png 3"]);
    assert_eq!(stage.list()[0].status, Status::Final);
}

#[test]
fn a_file_that_does_not_come_does_not_hold_up_its_message() {
    let mut stage = Stage::joined();
    chat_with_files(&mut stage, &["missing", "here"]);
    stage.room(file("here", 1));
    stage.room(file("of another message", 1));
    stage.pass(seconds(30));
    let attachments: Vec<_> = stage.list()[0].attachments.iter().map(described).collect();
    assert_eq!(attachments, ["missing aborted", "here.png image/png 1"]);
    assert_eq!(stage.list()[0].status, Status::Final);
}

#[test]
fn chat_of_the_same_id_is_an_edit() {
    let mut stage = Stage::joined();
    for (key, text) in [(1, "helo"), (2, "hello")] {
        let header = TextHeader {
            key,
            sender: "friend".into(),
            topic: CHAT_TOPIC.to_owned(),
            stream_id: "same".into(),
            attributes: BTreeMap::new(),
            is_update: false,
            version: 0,
            attached_stream_ids: Vec::new(),
            timestamp: None,
        };
        stage.room(RoomInput::TextOpened(header));
        stage.chunk(key, text);
        stage.close(key, &[]);
    }
    assert_eq!(stage.texts(), ["hello"]);
    assert_eq!(stage.list()[0].edited_at, Some(stage.now.wall));
    assert_eq!(stage.received(), 1);
}

#[test]
fn legacy_chat_is_shown_once_and_not_where_it_comes_as_a_stream_too() {
    let mut stage = Stage::joined();
    let legacy = |json: &str| RoomInput::LegacyChat("friend".into(), json.as_bytes().to_vec());
    stage.room(legacy(r#"{"id":"1","timestamp":1,"message":"both","ignoreLegacy":true}"#));
    for nonsense in ["", "{", "[]", "{\"message\":1}", "{\"id\":\"x\"}", "{\"id\":\"x\",\"message\":\"\"}"] {
        stage.room(legacy(nonsense));
    }
    stage.room(RoomInput::LegacyChat("friend".into(), vec![0xff, 0xfe]));
    assert!(stage.list().is_empty());
    for _ in 0..2 {
        stage.room(legacy(r#"{"id":"2","timestamp":1700000000000,"message":"once","ignoreLegacy":false}"#));
    }
    assert_eq!(stage.texts(), ["once"]);
    assert_eq!(stage.list()[0].kind, MessageKind::Chat);
    assert_eq!(stage.list()[0].sent_at, Some(SystemTime::UNIX_EPOCH + seconds(1_700_000_000)));
}

#[test]
fn history_is_bounded() {
    let mut stage = Stage::with(Settings { history_limit: 500, ..Settings::default() }).into_joined(&token("plain"));
    stage.agent_says("helper", "speaking");
    for index in 0..10_000_u64 {
        stage.transcript(index, "helper", &format!("SG_{index}"), &format!("text {index}"), true);
        if index % 100 != 99 {
            stage.log.clear();
        }
    }
    assert_eq!(stage.list().len(), 500);
    assert_eq!(&*stage.list()[499].text, "text 9999");
    assert_eq!(&*stage.list()[0].text, "text 9500");
}

#[test]
fn restored_messages_stand_before_the_live_ones_and_none_is_there_twice() {
    let mut stage = Stage::with(Settings { history_limit: 4, ..Settings::default() }).into_joined(&token("plain"));
    stage.transcript(1, "helper", "SG_live", "live", true);
    let kept = |segment: &str| Message::new(MessageId::new("helper", segment), MessageKind::AgentTranscript, segment);
    let mut broken_off = kept("SG_3");
    broken_off.status = Status::Streaming;
    let restored = vec![kept("SG_1"), kept("SG_2"), kept("SG_2"), kept("SG_live"), broken_off, kept("SG_4")];
    stage.handle(Input::RestoreHistory(restored));
    assert_eq!(stage.texts(), ["SG_2", "SG_3", "SG_4", "live"]);
    assert!(matches!(stage.list()[1].status, Status::Aborted(_)));
    assert_eq!(stage.received(), 1, "what is restored is not received");
    stage.transcript(2, "helper", "SG_next", "next", true);
    assert_eq!(stage.texts(), ["SG_3", "SG_4", "live", "next"]);
    stage.handle(Input::ClearHistory);
    assert!(stage.list().is_empty());
}

#[test]
fn history_is_kept_when_the_session_ends_and_what_was_under_way_breaks_off() {
    let mut stage = talking();
    stage.transcript(1, "helper", "SG_1", "done", true);
    stage.open(2, "helper", TRANSCRIPTION_TOPIC, &[(SEGMENT, "SG_2")]);
    stage.chunk(2, "half");
    stage.end();
    assert_eq!(stage.texts(), ["done", "half"]);
    assert_eq!(stage.list()[0].status, Status::Final);
    assert!(matches!(stage.list()[1].status, Status::Aborted(_)));
}

#[test]
fn a_full_reconnect_breaks_off_what_was_under_way() {
    let mut stage = talking();
    stage.open(1, "helper", TRANSCRIPTION_TOPIC, &[(SEGMENT, "SG_1")]);
    stage.chunk(1, "half");
    stage.room_state(ConnectionState::Restarting);
    stage.chunk(1, "more");
    assert_eq!(stage.texts(), ["half"]);
    assert!(matches!(stage.list()[0].status, Status::Aborted(_)));
}

#[test]
fn a_stream_without_text_is_no_message_and_other_topics_are_left_alone() {
    let mut stage = talking();
    stage.open(1, "helper", TRANSCRIPTION_TOPIC, &[]);
    stage.close(1, &[(FINAL, "true")]);
    stage.open(2, "helper", "my-topic", &[]);
    stage.chunk(2, "mine");
    stage.close(2, &[]);
    assert!(stage.list().is_empty());
}

#[test]
fn a_message_of_another_receiver_is_put_among_the_others() {
    let mut stage = talking();
    let mut noted = Message::new(MessageId::new("friend", "note"), MessageKind::Chat, "not");
    noted.status = Status::Streaming;
    stage.handle(Input::PutMessage(Box::new(noted.clone())));
    stage.transcript(1, "helper", "SG_1", "hello", true);
    noted.text = "noted".into();
    noted.status = Status::Final;
    stage.handle(Input::PutMessage(Box::new(noted)));
    assert_eq!(stage.texts(), ["noted", "hello"]);
    let events = ["created not", "created hello", "finalized hello", "finalized noted"];
    assert_eq!(stage.message_events(), events);
    assert_eq!(stage.received(), 2);
}

#[test]
fn large_files_push_out_old_messages_and_never_the_newest() {
    let mut stage = Stage::joined();
    for index in 0..12 {
        stage.room(file(&format!("file {index}"), 16 * 1024 * 1024));
        let header = TextHeader {
            key: index,
            sender: "friend".into(),
            topic: CHAT_TOPIC.to_owned(),
            stream_id: format!("chat {index}").into(),
            attributes: BTreeMap::new(),
            is_update: false,
            version: 0,
            attached_stream_ids: vec![format!("file {index}").into()],
            timestamp: None,
        };
        stage.room(RoomInput::TextOpened(header));
        stage.chunk(index, "a picture");
        stage.close(index, &[]);
        stage.log.retain(|output| matches!(output, Output::Messages(_)));
    }
    let kept: usize = stage.list().iter().map(|message| message.attachments.len()).sum();
    assert_eq!(kept, 7);
    assert_eq!(stage.list().last().unwrap().id.segment(), "chat 11");
}

#[test]
fn what_a_receiver_of_the_applications_gives_stands_in_its_order_and_within_bounds() {
    let mut stage = talking();
    let telegram = |id: &str, text: &str, status: Status| {
        let mut message = Message::new(MessageId::new("helper", id), MessageKind::Chat, text);
        message.status = status;
        RoomInput::Received(Box::new(message))
    };
    stage.room(telegram("one", "he", Status::Streaming));
    stage.transcript(1, "helper", "SG_1", "said", true);
    stage.pass(seconds(1));
    stage.room(telegram("one", "hello", Status::Final));
    assert_eq!(stage.texts(), ["hello", "said"]);
    let first = Arc::clone(&stage.list()[0]);
    assert_eq!((&first.status, first.received_at), (&Status::Final, stage.now.wall - seconds(1)));
    assert_eq!((first.edited_at, stage.received()), (None, 2));
    stage.room(telegram("one", "hello!", Status::Final));
    assert_eq!(stage.list()[0].edited_at, Some(stage.now.wall));

    // What is under way in the room's streams, and what this client writes, is not a receiver's.
    stage.open(2, "helper", TRANSCRIPTION_TOPIC, &[(SEGMENT, "SG_2")]);
    stage.chunk(2, "under way");
    stage.room(telegram("SG_2", "no", Status::Final));
    stage.send("mine", crate::SendOptions::default());
    let mine = stage.list()[3].id.clone();
    let forged = Message::new(mine, MessageKind::Chat, "no");
    stage.room(RoomInput::Received(Box::new(forged)));
    let mut pending = Message::new(MessageId::new("helper", "pending"), MessageKind::Chat, "no");
    pending.status = Status::Pending;
    stage.room(RoomInput::Received(Box::new(pending)));
    assert_eq!(stage.texts(), ["hello!", "said", "under way", "mine"]);

    assert!(stage.error().is_none());
    stage.room(telegram("long", &"x".repeat(1024 * 1024 + 1), Status::Final));
    let too_long = |error: Option<Arc<SessionError>>| {
        matches!(error.as_deref(), Some(SessionError::Receive(ReceiveError::TooLong)))
    };
    assert!(too_long(stage.error()));
    stage.handle(Input::DismissError);
    let mut laden = Message::new(MessageId::new("helper", "laden"), MessageKind::Chat, "see");
    laden.attachments = (0..17).map(|number| Attachment::new(format!("{number}"))).collect();
    stage.room(RoomInput::Received(Box::new(laden)));
    assert!(too_long(stage.error()));
    assert_eq!(stage.list().len(), 4);

    stage.room(telegram("two", "ha", Status::Streaming));
    stage.room_state(ConnectionState::Restarting);
    assert!(matches!(stage.list()[4].status, Status::Aborted(_)), "its room is over");
}
