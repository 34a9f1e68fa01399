//! What was said and written, as lines of a width.

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use roomkey::room::Participants;
use roomkey::session::{AttachmentStatus, Message, MessageKind, Status};

use crate::join::speaker::{Speaker, name_of};
use crate::join::wrap::wrap;
use crate::join::{plain, words};

/// The lines of one message: who, the text, and how far it is where that needs saying.
pub(crate) fn lines(message: &Message, participants: &Participants, width: usize) -> Vec<Line<'static>> {
    let speaker = Speaker::of(message, participants);
    let name = match speaker {
        Speaker::You => "you".to_owned(),
        Speaker::Agent | Speaker::Other => name_of(&message.from, participants),
    };
    let how = if message.kind == MessageKind::UserTranscript { " (spoken)" } else { "" };
    let mut head = vec![Span::styled(format!("{name}{how}"), style_of(speaker).add_modifier(Modifier::BOLD))];
    if let Some((note, style)) = note(&message.status) {
        head.push(Span::styled(format!("  {note}"), style));
    }
    if message.edited_at.is_some() {
        head.push(Span::styled("  (edited)", dim()));
    }
    let mut lines = vec![Line::from(head)];
    let mut text = plain::text(end_of(&message.text));
    if message.status == Status::Streaming {
        text.push('…');
    }
    lines.extend(
        wrap(&text, width.saturating_sub(INDENT.len())).into_iter().map(|line| Line::from(format!("{INDENT}{line}"))),
    );
    for attachment in &*message.attachments {
        let how_far = match &attachment.status {
            AttachmentStatus::Pending => "on its way".to_owned(),
            AttachmentStatus::Received(bytes) => format!("{} bytes", bytes.len()),
            AttachmentStatus::Aborted(why) => format!("broke off: {}", plain::line(why)),
        };
        lines.push(Line::styled(format!("{INDENT}[{}, {how_far}]", plain::line(&attachment.name)), dim()));
    }
    lines
}

const INDENT: &str = "  ";

/// What is shown of a text: its end, where it is longer than anybody reads on a terminal.
fn end_of(text: &str) -> &str {
    const MOST: usize = 32 * 1024;
    &text[text.ceil_char_boundary(text.len().saturating_sub(MOST))..]
}

fn note(status: &Status) -> Option<(String, Style)> {
    let red = Style::new().fg(Color::Red);
    match status {
        Status::Streaming | Status::Final => None,
        Status::Pending => Some(("… waits for the agent".to_owned(), dim())),
        Status::Sent => Some(("✓ sent".to_owned(), dim())),
        Status::Failed(error) => Some((format!("✗ not sent: {}", words::of_error(error.as_ref())), red)),
        Status::Aborted(why) => Some((format!("✗ broke off: {}", plain::line(why)), red)),
    }
}

pub(crate) fn style_of(speaker: Speaker) -> Style {
    Style::new().fg(match speaker {
        Speaker::You => Color::Cyan,
        Speaker::Agent => Color::Green,
        Speaker::Other => Color::Yellow,
    })
}

pub(crate) fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}
