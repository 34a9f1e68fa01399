//! Screens, as text.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use roomkey::room::{Participants, RoomInfo, TokenTimes};
use roomkey::session::{
    AgentFailure, AgentSnapshot, Attachment, AttachmentStatus, Expression, Message, MessageId, MessageKind, SendError,
    Status, TrackRef,
};
use roomkey::{DisconnectReason, TrackKind};

use super::*;
use crate::join::screen::Update;

/// The screen's lines, and where the cursor is.
fn drawn(screen: &Screen) -> (String, (u16, u16)) {
    let (columns, rows) = screen.size;
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| draw(screen, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |row: u16| -> String { (0..columns).map(|column| buffer[(column, row)].symbol()).collect() };
    let lines: Vec<_> = (0..rows).map(|row| line(row).trim_end().to_owned()).collect();
    (lines.join("\n"), terminal.get_cursor_position().unwrap().into())
}

fn text(screen: &Screen) -> String {
    drawn(screen).0
}

fn screen(columns: u16, rows: u16) -> Screen {
    Screen::new(UNIX_EPOCH + Duration::from_secs(1_000), (columns, rows))
}

fn participant(identity: &str, name: &str, kind: ParticipantKind) -> Participant {
    let mut participant = Participant::new(format!("PA_{identity}"), identity);
    name.clone_into(&mut participant.name);
    participant.kind = kind;
    participant
}

fn track(source: TrackSource, kind: TrackKind) -> TrackPublication {
    let mut track = TrackPublication::new(format!("TR_{source:?}"), kind, source);
    track.is_subscribed = true;
    track
}

fn message(from: &str, kind: MessageKind, text: &str, status: Status) -> Arc<Message> {
    let mut message = Message::new(MessageId::new(from, text), kind, text).with_local(from == "alice");
    message.status = status;
    Arc::new(message)
}

fn people() -> Participants {
    let mut alice = participant("alice", "", ParticipantKind::Standard);
    alice.is_local = true;
    let mut echo = participant("agent-AJ_x", "Echo", ParticipantKind::Agent);
    echo.publications.push(Arc::new(track(TrackSource::Microphone, TrackKind::Audio)));
    (echo.is_speaking, echo.audio_level) = (true, 0.25);
    echo.attributes = Arc::new(HashMap::from([("lk.agent.state".to_owned(), "speaking".to_owned())]));
    let mut bob = participant("bob", "Bob", ParticipantKind::Standard);
    bob.connection_quality = ConnectionQuality::Poor;
    let mut camera = track(TrackSource::Camera, TrackKind::Video);
    camera.is_muted = true;
    let mut sound = track(TrackSource::ScreenshareAudio, TrackKind::Audio);
    sound.is_subscribed = false;
    bob.publications = vec![Arc::new(camera), Arc::new(sound)];
    let mut participants = Participants::default();
    participants.local = Some(Arc::new(alice));
    for remote in [echo, bob] {
        participants.order.push(remote.identity.clone());
        participants.remote.insert(remote.identity.clone(), Arc::new(remote));
    }
    participants
}

fn at_work(columns: u16, rows: u16) -> Screen {
    let mut screen = screen(columns, rows);
    let participants = Arc::new(people());
    let echo = Arc::clone(&participants.remote["agent-AJ_x"]);
    let mut agent = AgentSnapshot::new(AgentState::Speaking);
    agent.audio = Some(TrackRef::new(Arc::clone(&echo), Arc::clone(&echo.publications[0])));
    agent.participant = Some(echo);
    let mut room = RoomInfo::default();
    "lab".clone_into(&mut room.name);
    room.round_trip_time = Some(Duration::from_millis(12));
    // {"nbf":940,"exp":22540}
    const TOKEN: &str = "e30.eyJuYmYiOjk0MCwiZXhwIjoyMjU0MH0.";
    let second = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let token = TokenTimes::of(TOKEN, second(1_000));
    for update in [
        Update::Session(SessionState::Connected),
        Update::Room(Arc::new(room)),
        Update::Agent(Arc::new(agent)),
        Update::Participants(participants),
        Update::Token(Some(token)),
    ] {
        screen.update(update);
    }
    screen
}

#[test]
fn before_the_room_is_there_it_says_what_it_waits_for() {
    let mut screen = screen(80, 14);
    screen.update(Update::Session(SessionState::Connecting));
    screen.update(Update::Agent(Arc::new(AgentSnapshot::new(AgentState::Connecting))));
    assert_eq!(
        text(&screen),
        "\
\u{20}no room · connecting
┌ agent ───────────────────────────┐┌ conversation ────────────────────────────┐
│● waiting for the agent           ││                                          │
│                                  ││                                          │
│                                  ││                                          │
│                                  ││                                          │
└──────────────────────────────────┘│                                          │
┌ participants (0) ────────────────┐│                                          │
│                                  ││                                          │
│                                  ││                                          │
└──────────────────────────────────┘└──────────────────────────────────────────┘

 >
 Enter sends · PgUp PgDn scroll · Esc leaves"
    );
}

#[test]
fn in_the_room_it_shows_who_is_there_and_what_is_said() {
    let mut screen = at_work(80, 20);
    screen.update(Update::Messages(Arc::from([
        message("alice", MessageKind::Chat, "hello", Status::Sent),
        message(
            "agent-AJ_x",
            MessageKind::AgentTranscript,
            "You said: hello, and you said it quite clearly.",
            Status::Final,
        ),
        message("alice", MessageKind::UserTranscript, "what do you hear", Status::Final),
        message("bob", MessageKind::Chat, "hi all", Status::Final),
        message("agent-AJ_x", MessageKind::AgentTranscript, "I hear", Status::Streaming),
    ])));
    "next".chars().for_each(|char| drop(screen.press(KeyEvent::new(KeyCode::Char(char), KeyModifiers::NONE))));
    let (text, cursor) = drawn(&screen);
    assert_eq!(
        text,
        "\
\u{20}lab · alice · connected · rtt 12 ms · token 1 min 0 s old, 5 h 59 min left
┌ agent ───────────────────────────┐┌ conversation ────────────────────────────┐
│● speaking                        ││you  ✓ sent                               │
│Echo                              ││  hello                                   │
│agent-AJ_x                        ││Echo                                      │
│audio ▮▮▮▮▯▯▯▯                    ││  You said: hello, and you said it quite  │
└──────────────────────────────────┘│  clearly.                                │
┌ participants (3) ────────────────┐│you (spoken)                              │
│alice (you)                       ││  what do you hear                        │
│Echo (agent)                      ││Bob                                       │
│  microphone ▮▮▮▮▯▯▯▯ subscribed  ││  hi all                                  │
│Bob, poor connection              ││Echo                                      │
│  camera muted                    ││  I hear…                                 │
│  screen's sound ▯▯▯▯▯▯▯▯ not subs││                                          │
│                                  ││                                          │
│                                  ││                                          │
└──────────────────────────────────┘└──────────────────────────────────────────┘

 > next
 Enter sends · PgUp PgDn scroll · Esc leaves"
    );
    assert_eq!(cursor, (7, 18));
}

#[test]
fn what_was_not_sent_and_what_failed_is_said() {
    let mut screen = at_work(100, 14);
    screen.update(Update::Agent(Arc::new(AgentSnapshot::new(AgentState::Failed(AgentFailure::Left(None))))));
    let ended = SessionState::Disconnected(Some(EndReason::Room(DisconnectReason::DuplicateIdentity)));
    screen.update(Update::Session(ended));
    screen.update(Update::Participants(Arc::default()));
    screen.update(Update::Error(Some("a message was not sent: too many\nmessages wait".to_owned())));
    screen.update(Update::Messages(Arc::from([
        message("alice", MessageKind::Chat, "one", Status::Failed(Arc::new(SendError::QueueFull))),
        message("alice", MessageKind::Chat, "two", Status::Pending),
        message("agent-AJ_x", MessageKind::AgentTranscript, "thr", Status::Aborted("gone\u{1b}[2J".into())),
    ])));
    let text = text(&screen);
    for expected in [
        " lab · disconnected: the same identity joined again · token 1 min 0 s old",
        "│● failed",
        "│the agent left the room",
        "you  ✗ not sent: too many messages wait to be sent",
        "you  … waits for the agent",
        "Echo  ✗ broke off: gone\u{fffd}[2J",
        " a message was not sent: too many\u{fffd}messages wait",
    ] {
        assert!(text.contains(expected), "{expected:?} in\n{text}");
    }
}

#[test]
fn it_shows_the_mood_what_was_edited_which_files_came_and_whether_the_user_is_heard() {
    let mut screen = at_work(100, 14);
    assert!(!text(&screen).contains("microphone on") && !text(&screen).contains("Ctrl-T"));
    let mut agent = AgentSnapshot::clone(&screen.agent);
    let mut expression = Expression::default();
    expression.expression = Some("with a\u{1b} smile".to_owned());
    agent.expression = Some(expression.clone());
    screen.update(Update::Agent(Arc::new(agent.clone())));
    assert!(text(&screen).contains("● speaking  with a\u{fffd} smile"), "{}", text(&screen));
    expression.mood = Some("happy".to_owned());
    agent.expression = Some(expression);
    screen.update(Update::Agent(Arc::new(agent)));
    screen.update(Update::Muted(false));
    let mut edited = Message::clone(&message("bob", MessageKind::Chat, "see this", Status::Final));
    edited.edited_at = Some(UNIX_EPOCH);
    let mut file = Attachment::new("1");
    file.name = "map\r.png".into();
    file.status = AttachmentStatus::Received(Arc::new([0; 1_234]));
    edited.attachments = Arc::new([file]);
    screen.update(Update::Messages(Arc::from([Arc::new(edited)])));
    let shown = text(&screen);
    for expected in [
        "● speaking  happy",
        "connected · rtt 12 ms · microphone on · token",
        "PgDn scroll · Ctrl-T mutes · Esc",
        "Bob  (edited)",
        "[map\u{fffd}.png, 1234 bytes]",
    ] {
        assert!(shown.contains(expected), "{expected:?} in\n{shown}");
    }
    screen.update(Update::Muted(true));
    let shown = text(&screen);
    assert!(shown.contains(" · muted · token") && shown.contains("Ctrl-T unmutes"), "{shown}");
}

#[test]
fn a_narrow_terminal_has_the_agent_and_the_conversation() {
    let mut screen = at_work(40, 14);
    screen.update(Update::Messages(Arc::from([message("bob", MessageKind::Chat, "hi all", Status::Final)])));
    assert_eq!(
        text(&screen),
        "\
\u{20}lab · alice · connected · rtt 12 ms · t
┌ agent ───────────────────────────────┐
│● speaking                            │
│Echo                                  │
│agent-AJ_x                            │
│audio ▮▮▮▮▯▯▯▯                        │
└──────────────────────────────────────┘
┌ conversation ────────────────────────┐
│Bob                                   │
│  hi all                              │
└──────────────────────────────────────┘

 >
 Enter sends · PgUp PgDn scroll · Esc le"
    );
}

#[test]
fn who_goes_back_sees_what_was_said_before() {
    let mut screen = at_work(80, 12);
    let said = (0..20).map(|number| message("bob", MessageKind::Chat, &format!("line {number}"), Status::Final));
    screen.update(Update::Messages(said.collect()));
    assert!(text(&screen).contains("line 19"));
    assert_eq!(screen.press(KeyEvent::new(KeyCode::PageUp, KeyModifiers::NONE)), None);
    let text = text(&screen);
    assert!(!text.contains("line 19") && text.contains("line 16") && text.contains(" 5 lines below "), "{text}");
}

#[test]
fn nothing_that_peers_say_breaks_the_screen() {
    let hostile = "\u{1b}[2J\u{1b}]0;x\u{7}\r\n\u{9b}1m\u{202e}\u{200b}zäöü\u{301}日本🎉\u{fe0f}\t\u{8}";
    let mut participants = people();
    let mut eve = participant(hostile, hostile, ParticipantKind::Other);
    let mut publication = track(TrackSource::Unknown, TrackKind::Audio);
    hostile.clone_into(&mut publication.name);
    eve.publications.push(Arc::new(publication));
    (eve.is_speaking, eve.audio_level) = (true, f32::NAN);
    participants.order.push(hostile.into());
    participants.remote.insert(hostile.into(), Arc::new(eve));
    for size in [(80, 24), (72, 10), (30, 12), (5, 5), (1, 1), (0, 0), (300, 100)] {
        let mut screen = at_work(size.0, size.1);
        let mut room = RoomInfo::default();
        hostile.clone_into(&mut room.name);
        screen.update(Update::Room(Arc::new(room)));
        screen.update(Update::Participants(Arc::new(participants.clone())));
        screen.update(Update::Agent(Arc::new(AgentSnapshot::new(AgentState::Other(hostile.into())))));
        screen.update(Update::Error(Some(hostile.to_owned())));
        screen.update(Update::Messages(Arc::from([
            message(hostile, MessageKind::Chat, hostile, Status::Aborted(hostile.into())),
            message(hostile, MessageKind::AgentTranscript, &hostile.repeat(200), Status::Streaming),
        ])));
        let text = text(&screen);
        assert!(!text.contains(|char: char| char.is_control() && char != '\n'), "{text:?}");
    }
}
