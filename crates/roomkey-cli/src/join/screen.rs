//! What the screen shows, and what keys do to it.

use std::sync::Arc;
use std::time::SystemTime;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use roomkey::room::{Participants, RoomInfo, TokenTimes};
use roomkey::session::{AgentSnapshot, AgentState, Message, SessionState};

use crate::join::conversation;
use crate::join::input_line::InputLine;
use crate::join::view;

/// All that is on the screen. It is drawn from this alone.
#[derive(Debug)]
pub(crate) struct Screen {
    pub(crate) session: SessionState,
    pub(crate) room: Arc<RoomInfo>,
    pub(crate) agent: Arc<AgentSnapshot>,
    pub(crate) participants: Arc<Participants>,
    /// Who was there last, which says what those are called whose messages are on the screen.
    pub(crate) named: Arc<Participants>,
    pub(crate) messages: Arc<[Arc<Message>]>,
    pub(crate) token: Option<TokenTimes>,
    pub(crate) error: Option<String>,
    /// Whether the microphone is muted, where there is one.
    pub(crate) muted: Option<bool>,
    pub(crate) now: SystemTime,
    /// Columns and rows.
    pub(crate) size: (u16, u16),
    pub(crate) input: InputLine,
    /// How many lines below what is seen of the conversation there are; none of it unless the user has gone back.
    pub(crate) below: usize,
}

/// Something that is shown is another.
#[derive(Debug)]
pub(crate) enum Update {
    Session(SessionState),
    Room(Arc<RoomInfo>),
    Agent(Arc<AgentSnapshot>),
    Participants(Arc<Participants>),
    Messages(Arc<[Arc<Message>]>),
    Token(Option<TokenTimes>),
    /// What went wrong last; `None` takes it off the screen.
    Error(Option<String>),
    /// There is a microphone, and it is muted, or not.
    Muted(bool),
    Time(SystemTime),
    /// The terminal has so many columns and rows.
    Size(u16, u16),
}

/// What the user wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Send(String),
    ToggleMute,
    Leave,
}

impl Screen {
    pub(crate) fn new(now: SystemTime, size: (u16, u16)) -> Self {
        Self {
            session: SessionState::Disconnected(None),
            room: Arc::default(),
            agent: Arc::new(AgentSnapshot::new(AgentState::Disconnected)),
            participants: Arc::default(),
            named: Arc::default(),
            messages: Arc::new([]),
            token: None,
            error: None,
            muted: None,
            now,
            size,
            input: InputLine::default(),
            below: 0,
        }
    }

    pub(crate) fn update(&mut self, update: Update) {
        match update {
            Update::Session(session) => self.session = session,
            Update::Room(room) => self.room = room,
            Update::Agent(agent) => self.agent = agent,
            Update::Participants(participants) => {
                if participants.local.is_some() {
                    self.named = Arc::clone(&participants);
                }
                self.participants = participants;
            }
            Update::Messages(messages) => {
                let before = self.lines_if_gone_back();
                self.messages = messages;
                // What the user reads stays where it is, whatever is added below.
                let added = self.lines_if_gone_back().saturating_sub(before);
                self.scroll(added, 0);
            }
            Update::Token(token) => self.token = token,
            Update::Error(error) => self.error = error,
            Update::Muted(muted) => self.muted = Some(muted),
            Update::Time(now) => self.now = now,
            Update::Size(columns, rows) => {
                self.size = (columns, rows);
                self.scroll(0, 0);
            }
        }
    }

    /// A key was pressed.
    pub(crate) fn press(&mut self, key: KeyEvent) -> Option<Action> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        let page = usize::from(view::conversation_size(self.size).1).saturating_sub(1).max(1);
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        #[expect(clippy::wildcard_enum_match_arm, reason = "there are more keys than meanings")]
        match key.code {
            KeyCode::Esc => return Some(Action::Leave),
            KeyCode::Char('c' | 'd') if control => return Some(Action::Leave),
            KeyCode::Enter => {
                let text = self.input.take()?;
                self.below = 0;
                return Some(Action::Send(text));
            }
            // `m` is for words.
            KeyCode::Char('t') if control => return self.muted.map(|_| Action::ToggleMute),
            KeyCode::Char('a') if control => self.input.move_to_start(),
            KeyCode::Char('e') if control => self.input.move_to_end(),
            KeyCode::Char('u') if control => self.input.delete_all_before(),
            KeyCode::Char('w') if control => self.input.delete_word_before(),
            KeyCode::Char(char) if !control && !key.modifiers.contains(KeyModifiers::ALT) => self.input.insert(char),
            KeyCode::Backspace => self.input.delete_before(),
            KeyCode::Delete => self.input.delete_after(),
            KeyCode::Left => self.input.move_left(),
            KeyCode::Right => self.input.move_right(),
            KeyCode::Home => self.input.move_to_start(),
            KeyCode::End => self.input.move_to_end(),
            KeyCode::PageUp => self.scroll(page, 0),
            KeyCode::PageDown => self.scroll(0, page),
            KeyCode::Up => self.scroll(1, 0),
            KeyCode::Down => self.scroll(0, 1),
            _ => {}
        }
        None
    }

    /// How many lines of conversation there are at this size.
    fn line_count(&self) -> usize {
        let width = usize::from(view::conversation_size(self.size).0);
        self.messages.iter().map(|message| conversation::lines(message, &self.named, width).len()).sum()
    }

    fn lines_if_gone_back(&self) -> usize {
        if self.below == 0 { 0 } else { self.line_count() }
    }

    /// Goes back so many lines, and forth so many.
    fn scroll(&mut self, back: usize, forth: usize) {
        if self.below == 0 && back == 0 {
            return;
        }
        let most = self.line_count().saturating_sub(usize::from(view::conversation_size(self.size).1));
        self.below = (self.below + back).saturating_sub(forth).min(most);
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use roomkey::session::{MessageId, MessageKind};

    use super::*;

    fn screen() -> Screen {
        Screen::new(UNIX_EPOCH, (80, 24))
    }

    fn press(screen: &mut Screen, code: KeyCode) -> Option<Action> {
        screen.press(KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn hold_control(screen: &mut Screen, char: char) -> Option<Action> {
        screen.press(KeyEvent::new(KeyCode::Char(char), KeyModifiers::CONTROL))
    }

    fn messages(count: usize) -> Update {
        let message = |number| {
            Arc::new(Message::new(
                MessageId::new("bob", format!("{number}")),
                MessageKind::Chat,
                format!("line {number}"),
            ))
        };
        Update::Messages((0..count).map(message).collect())
    }

    #[test]
    fn enter_sends_what_was_typed_and_nothing_that_is_blank() {
        let mut screen = screen();
        assert_eq!(press(&mut screen, KeyCode::Enter), None);
        for char in " hi c ".chars() {
            assert_eq!(press(&mut screen, KeyCode::Char(char)), None);
        }
        assert_eq!(press(&mut screen, KeyCode::Enter), Some(Action::Send("hi c".to_owned())));
        assert_eq!(press(&mut screen, KeyCode::Enter), None);
    }

    #[test]
    fn escape_and_control_c_leave() {
        assert_eq!(press(&mut screen(), KeyCode::Esc), Some(Action::Leave));
        assert_eq!(hold_control(&mut screen(), 'c'), Some(Action::Leave));
        assert_eq!(hold_control(&mut screen(), 'd'), Some(Action::Leave));
        assert_eq!(press(&mut screen(), KeyCode::Char('c')), None);
    }

    #[test]
    fn control_t_mutes_where_there_is_a_microphone() {
        let mut screen = screen();
        assert_eq!(hold_control(&mut screen, 't'), None);
        screen.update(Update::Muted(false));
        assert_eq!(hold_control(&mut screen, 't'), Some(Action::ToggleMute));
        assert_eq!(press(&mut screen, KeyCode::Char('t')), None, "without Control it is a letter");
    }

    #[test]
    fn pages_go_back_to_the_first_line_and_forth_to_the_last() {
        let mut screen = screen();
        press(&mut screen, KeyCode::PageUp);
        assert_eq!(screen.below, 0, "there is nothing to go back to");
        screen.update(messages(100));
        let rows = usize::from(view::conversation_size(screen.size).1);
        press(&mut screen, KeyCode::PageUp);
        assert_eq!(screen.below, rows - 1);
        (0..100).for_each(|_| assert_eq!(press(&mut screen, KeyCode::PageUp), None));
        assert_eq!(screen.below, 200 - rows);
        (0..100).for_each(|_| assert_eq!(press(&mut screen, KeyCode::PageDown), None));
        assert_eq!(screen.below, 0);
    }

    #[test]
    fn who_has_gone_back_reads_on_undisturbed() {
        let mut screen = screen();
        screen.update(messages(100));
        press(&mut screen, KeyCode::Up);
        screen.update(messages(103));
        assert_eq!(screen.below, 7);
        press(&mut screen, KeyCode::Char('x'));
        press(&mut screen, KeyCode::Enter);
        assert_eq!(screen.below, 0, "who says something sees it");
    }
}
