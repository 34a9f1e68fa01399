//! Messages that are written otherwise: one's own, and those of others.

use roomkey_room::{DisconnectReason, ParticipantState, RoomError};

use super::*;
use crate::error::NotEditable;
use crate::{AttachmentStatus, OutgoingFile, SendOptions};

impl Stage {
    pub(super) fn edit(&mut self, id: &MessageId, text: &str) -> SendId {
        self.edit_with(id, text, SendOptions::default())
    }

    fn edit_with(&mut self, id: &MessageId, text: &str, options: SendOptions) -> SendId {
        let send = self.id();
        let edits = Some((id.clone(), 0));
        let stream_id = id.segment().into();
        self.handle(Input::Send(OutgoingText { send, stream_id, text: text.into(), options, edits }));
        send
    }

    fn not_editable(&mut self, id: &MessageId) -> Option<NotEditable> {
        let edit = self.edit(id, "otherwise");
        match self.send_result(edit)? {
            Err(SendError::NotEditable(why)) => Some(why),
            _ => None,
        }
    }

    /// A chat stream of this id, whole.
    fn chat(&mut self, key: StreamKey, sender: &str, id: &str, text: &str, version: i32) {
        self.open_chat(key, sender, id, version);
        self.chunk(key, text);
        self.close(key, &[]);
    }

    fn open_chat(&mut self, key: StreamKey, sender: &str, id: &str, version: i32) {
        let header = TextHeader {
            key,
            sender: sender.into(),
            topic: CHAT_TOPIC.to_owned(),
            stream_id: id.into(),
            attributes: BTreeMap::new(),
            is_update: version > 0,
            version,
            attached_stream_ids: Vec::new(),
            timestamp: None,
        };
        self.room(RoomInput::TextOpened(header));
    }
}

/// A room with an agent that can be sent data.
fn listening() -> Stage {
    let mut stage = Stage::joined();
    stage.agent_says("helper", "listening");
    stage
}

#[test]
fn a_message_that_was_sent_is_replaced_once_its_edit_is_sent() {
    let mut stage = listening();
    let mut options = SendOptions { destinations: vec!["helper".into()], ..SendOptions::default() };
    options.attributes.insert("mood".to_owned(), "good".to_owned());
    stage.send("helo", options.clone());
    stage.send("and more", SendOptions::default());
    stage.acknowledge();
    let before = Arc::clone(&stage.list()[0]);
    stage.pass(seconds(5));

    let edit = stage.edit(&before.id, "hello");
    let sent = stage.sent().pop().unwrap();
    assert_eq!((&*sent.stream_id, sent.topic(), &*sent.text), (before.id.segment(), "lk.chat", "hello"));
    assert_eq!(sent.edits, Some((before.id.clone(), 1)));
    assert_eq!(sent.options, options, "it is for whom the message was, and says what that said");
    assert_eq!(stage.texts(), ["helo", "and more"], "the others have the old text until then");

    stage.acknowledge();
    assert_eq!(stage.send_result(edit), Some(Ok(())));
    let after = Arc::clone(&stage.list()[0]);
    assert_eq!((&*after.text, &after.status, &after.id), ("hello", &Status::Sent, &before.id));
    assert_eq!((after.received_at, after.sent_at), (before.received_at, before.sent_at));
    assert_eq!(after.edited_at, Some(stage.now.wall));
    assert_eq!(stage.message_events().last().unwrap(), "changed hello");
    assert_eq!(stage.received(), 0);

    stage.edit(&before.id, "Hello");
    assert_eq!(stage.sent().pop().unwrap().edits, Some((before.id.clone(), 2)));
}

#[test]
fn an_edit_of_a_message_that_waits_changes_it_where_it_waits() {
    let mut stage = Stage::joined();
    let mut options = SendOptions::default();
    options.attributes.insert("mood".to_owned(), "good".to_owned());
    let first = stage.send("helo", options);
    stage.send("and more", SendOptions::default());
    let id = stage.list()[0].id.clone();
    let edit = stage.edit(&id, "hello");
    assert_eq!(stage.texts(), ["hello", "and more"]);
    assert_eq!((&stage.list()[0].status, stage.list()[0].edited_at), (&Status::Pending, None), "nobody has seen it");
    assert_eq!(stage.send_result(edit), None);

    stage.agent_says("helper", "listening");
    stage.acknowledge();
    let sent = stage.sent();
    assert_eq!(sent.iter().map(|text| &*text.text).collect::<Vec<_>>(), ["hello", "and more"]);
    assert_eq!((&sent[0].edits, &*sent[0].options.attributes["mood"]), (&None, "good"));
    assert_eq!((stage.send_result(first), stage.send_result(edit)), (Some(Ok(())), Some(Ok(()))));
}

#[test]
fn an_edit_of_a_message_on_its_way_follows_it_and_is_not_sent_if_it_fails() {
    for is_sent in [true, false] {
        let mut stage = listening();
        let first = stage.send("helo", SendOptions::default());
        let id = stage.list()[0].id.clone();
        let edits = [stage.edit(&id, "hello"), stage.edit(&id, "hello!")];
        let lost = SendError::Room(RoomError::Disconnected.into());
        let result = if is_sent { Ok(()) } else { Err(lost) };
        stage.room(RoomInput::Sent(first, result.clone()));
        stage.acknowledge();
        for edit in edits {
            assert_eq!(stage.send_result(edit), Some(result.clone()));
        }
        let versions: Vec<_> =
            stage.sent().iter().map(|text| text.edits.as_ref().map(|(_, version)| *version)).collect();
        if is_sent {
            assert_eq!(versions, [None, Some(1), Some(2)]);
            assert_eq!(stage.texts(), ["hello!"]);
        } else {
            assert_eq!(versions, [None]);
            assert_eq!(stage.texts(), ["helo"]);
        }
    }
}

#[test]
fn an_edit_that_is_not_sent_leaves_the_message_and_says_so() {
    let mut stage = listening();
    stage.send("helo", SendOptions::default());
    stage.acknowledge();
    let id = stage.list()[0].id.clone();
    let edit = stage.edit(&id, "hello");
    stage.room_state(ConnectionState::Disconnected(DisconnectReason::RoomDeleted));
    assert!(matches!(stage.send_result(edit), Some(Err(_))));
    let message = Arc::clone(&stage.list()[0]);
    assert_eq!((&*message.text, &message.status, message.edited_at), ("helo", &Status::Sent, None));
}

#[test]
fn what_is_no_message_of_ours_is_not_edited() {
    let mut stage = listening();
    stage.chat(1, "helper", "theirs", "hi", 0);
    stage.transcript(2, "me", "SG_1", "what I said", true);
    let ids: Vec<_> = stage.list().iter().map(|message| message.id.clone()).collect();
    assert_eq!(stage.not_editable(&ids[0]), Some(NotEditable::NotOwn));
    assert_eq!(stage.not_editable(&ids[1]), Some(NotEditable::NotOwn), "it was said and not written");
    assert_eq!(stage.not_editable(&MessageId::new("me", "none")), Some(NotEditable::Unknown));

    let failing = stage.send("fails", SendOptions::default());
    stage.room(RoomInput::Sent(failing, Err(SendError::Room(RoomError::Disconnected.into()))));
    let failed = stage.list()[2].id.clone();
    assert_eq!(stage.not_editable(&failed), Some(NotEditable::NotSent));
    assert_eq!(stage.not_editable(&MessageId::new("somebody", failed.segment())), Some(NotEditable::Unknown));
    assert_eq!(stage.texts(), ["hi", "what I said", "fails"]);
    assert_eq!(stage.sent().len(), 1);

    stage.send("sent", SendOptions::default());
    stage.acknowledge();
    let sent = stage.list()[3].id.clone();
    let blank = stage.edit(&sent, "");
    assert_eq!(stage.send_result(blank), Some(Err(SendError::NotEditable(NotEditable::NoText))));
    assert_eq!(stage.texts()[3], "sent");
}

#[test]
fn another_identity_does_not_edit_what_the_former_one_wrote() {
    let mut stage = listening();
    stage.send("hi", SendOptions::default());
    stage.acknowledge();
    let id = stage.list()[0].id.clone();
    let mut other = Participant::new("PA_other", "other");
    other.is_local = true;
    stage.participants.local = Some(Arc::new(other));
    stage.show();
    assert_eq!(stage.not_editable(&id), Some(NotEditable::NotOwn));
}

#[test]
fn edits_count_among_what_waits() {
    let mut stage = Stage::joined();
    stage.send("hi", SendOptions::default());
    let id = stage.list()[0].id.clone();
    (0..255).for_each(|number| assert_eq!(stage.edit(&id, &format!("{number}")), stage.last_id));
    let one_more = stage.edit(&id, "one more");
    assert_eq!(stage.send_result(one_more), Some(Err(SendError::QueueFull)));
    let large = stage.send(&"x".repeat(1024 * 1024 + 1), SendOptions::default());
    assert!(matches!(stage.send_result(large), Some(Err(_))));
    assert_eq!(stage.texts(), ["254"]);
}

#[test]
fn files_stay_unless_an_edit_has_others() {
    let mut stage = listening();
    let with = |name: &str| {
        let attachments = vec![OutgoingFile::new(name, "text/plain", *b"abc")];
        SendOptions { attachments, ..SendOptions::default() }
    };
    stage.send("see", with("a.txt"));
    stage.acknowledge();
    let before = Arc::clone(&stage.list()[0]);
    stage.edit(&before.id, "see this");
    stage.acknowledge();
    assert_eq!(stage.list()[0].attachments, before.attachments);
    stage.edit_with(&before.id, "see that", with("b.txt"));
    stage.acknowledge();
    let after = stage.list()[0].attachments[0].clone();
    assert_eq!(&*after.name, "b.txt");
    assert_ne!(after.id, before.attachments[0].id, "no stream has the id of another");
    assert_eq!(after.id, stage.sent().pop().unwrap().attached_stream_ids()[0]);
}

#[test]
fn an_edit_of_somebody_else_replaces_their_text_and_nothing_of_anybody_elses() {
    let mut stage = listening();
    stage.put(Participant::new("PA_bob", "bob"));
    stage.chat(1, "bob", "one", "helo", 0);
    stage.chat(2, "helper", "one", "mine", 0);
    let before = Arc::clone(&stage.list()[0]);
    stage.pass(seconds(9));
    stage.open_chat(3, "bob", "one", 1);
    stage.chunk(3, "hel");
    assert_eq!(stage.texts(), ["helo", "mine"], "chat is shown whole");
    stage.chunk(3, "lo");
    stage.close(3, &[]);
    assert_eq!(stage.texts(), ["hello", "mine"]);
    let after = Arc::clone(&stage.list()[0]);
    assert_eq!((after.received_at, &after.status), (before.received_at, &Status::Final));
    assert_eq!(after.edited_at, Some(stage.now.wall));
    assert_eq!(stage.list()[1].edited_at, None);
    assert_eq!(stage.received(), 2);

    // What says no version is the newest, as LiveKit's components send it; an older version is not.
    stage.chat(4, "bob", "one", "hello!", 0);
    stage.chat(5, "bob", "one", "hello!!", 3);
    stage.chat(6, "bob", "one", "hell", 2);
    assert_eq!(stage.texts(), ["hello!!", "mine"]);
}

#[test]
fn half_of_an_edit_does_not_stand_in_for_a_message() {
    let mut stage = listening();
    stage.chat(1, "helper", "one", "hello", 0);
    stage.open_chat(2, "helper", "one", 1);
    stage.chunk(2, "good b");
    stage.room(RoomInput::TextClosed(2, BTreeMap::new(), Err("it left".into())));
    let message = Arc::clone(&stage.list()[0]);
    assert_eq!((&*message.text, &message.status, message.edited_at), ("hello", &Status::Final, None));
    assert!(matches!(stage.error().as_deref(), Some(SessionError::Receive(_))));
}

#[test]
fn an_edit_that_begins_before_the_message_is_whole_replaces_it_and_half_of_it_does_not() {
    for is_whole in [true, false] {
        let mut stage = listening();
        stage.open_chat(1, "helper", "one", 0);
        stage.open_chat(2, "helper", "one", 1);
        stage.chunk(1, "helo");
        stage.chunk(2, "hello");
        stage.close(1, &[]);
        assert_eq!((stage.texts(), &stage.list()[0].status), (vec!["helo".to_owned()], &Status::Final));
        let outcome = if is_whole { Ok(()) } else { Err("it left".into()) };
        stage.room(RoomInput::TextClosed(2, BTreeMap::new(), outcome));
        assert_eq!(stage.texts(), [if is_whole { "hello" } else { "helo" }]);
        assert_eq!(stage.list()[0].edited_at.is_some(), is_whole);
    }
}

#[test]
fn nobody_changes_what_this_client_wrote() {
    let mut stage = Stage::joined();
    stage.send("waits", SendOptions::default());
    let id = stage.list()[0].id.clone();
    // An agent may send in its user's name.
    stage.chat(1, "me", id.segment(), "no", 0);
    let mut joining = agent("helper", None);
    joining.state = ParticipantState::Active;
    stage.put(joining);
    stage.acknowledge();
    stage.chat(2, "me", id.segment(), "no", 1);
    stage.room(RoomInput::LegacyChat("me".into(), format!(r#"{{"id":"{}","message":"no"}}"#, id.segment()).into()));
    assert_eq!(stage.texts(), ["waits"]);
    assert_eq!(stage.list()[0].status, Status::Sent);
}

#[test]
fn an_edit_of_a_message_that_is_not_here_is_shown_as_one() {
    let mut stage = listening();
    stage.chat(1, "helper", "from before", "hello", 1);
    assert_eq!(stage.texts(), ["hello"]);
    assert_eq!(stage.list()[0].edited_at, Some(stage.now.wall));
    assert_eq!(stage.received(), 1);
}

#[test]
fn a_legacy_packet_with_another_text_is_an_edit_and_with_the_same_one_nothing() {
    let mut stage = listening();
    stage.chat(1, "helper", "one", "helo", 0);
    let legacy =
        |text: &str| RoomInput::LegacyChat("helper".into(), format!(r#"{{"id":"one","message":"{text}"}}"#).into());
    stage.room(legacy("helo"));
    assert_eq!(stage.list()[0].edited_at, None);
    stage.room(legacy("hello"));
    assert_eq!(stage.texts(), ["hello"]);
    assert!(stage.list()[0].edited_at.is_some());
    assert_eq!(stage.received(), 1);
}

#[test]
fn files_of_a_message_that_is_edited_by_its_sender_stay_unless_others_come() {
    let mut stage = listening();
    let header = |key, version, attached: &[&str]| TextHeader {
        key,
        sender: "helper".into(),
        topic: CHAT_TOPIC.to_owned(),
        stream_id: "one".into(),
        attributes: BTreeMap::new(),
        is_update: version > 0,
        version,
        attached_stream_ids: attached.iter().map(|id| Arc::from(*id)).collect(),
        timestamp: None,
    };
    let file = |id: &str| IncomingFile {
        sender: "helper".into(),
        stream_id: id.into(),
        name: id.into(),
        mime_type: "x/y".into(),
        outcome: Ok(Arc::new([1])),
    };
    for (key, version, attached) in [(1, 0, &["a"][..]), (2, 1, &[]), (3, 2, &["b"])] {
        stage.room(RoomInput::TextOpened(header(key, version, attached)));
        stage.chunk(key, &format!("version {version}"));
        stage.close(key, &[]);
        attached.iter().for_each(|id| stage.room(RoomInput::File(file(id))));
        let shown: Vec<_> = stage.list()[0].attachments.iter().map(|file| file.name.to_string()).collect();
        assert_eq!(shown, if version < 2 { ["a"] } else { ["b"] });
        assert!(matches!(stage.list()[0].attachments[0].status, AttachmentStatus::Received(_)));
    }
}
