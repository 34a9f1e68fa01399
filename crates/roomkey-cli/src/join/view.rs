//! The screen, drawn.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph};
use roomkey::room::ConnectionQuality;
use roomkey::session::{AgentState, EndReason, SessionState};
use roomkey::{Participant, ParticipantKind, TrackKind, TrackPublication, TrackSource};

use crate::join::conversation::{self, dim};
use crate::join::screen::Screen;
use crate::join::speaker::name_of;
use crate::join::{plain, words};

/// Below this many columns the participants are left out.
const NARROW: u16 = 72;
/// The columns of agent and participants.
const SIDE: u16 = 36;

/// Draws all of it.
pub(crate) fn draw(screen: &Screen, frame: &mut Frame<'_>) {
    let areas = Areas::of(frame.area());
    frame.render_widget(header(screen), areas.header);
    frame.render_widget(Paragraph::new(agent(screen)).block(Block::bordered().title(" agent ")), areas.agent);
    if let Some(area) = areas.participants {
        draw_participants(screen, frame, area);
    }
    draw_conversation(screen, frame, areas.conversation);
    let error = screen
        .error
        .as_ref()
        .map(|error| Line::styled(format!(" {}", plain::line(error)), Style::new().fg(Color::Red)));
    frame.render_widget(error.unwrap_or_default(), areas.error);
    let (text, column) = screen.input.window(usize::from(areas.input.width.saturating_sub(4)));
    let prompt = Span::styled(" > ", Style::new().fg(Color::Cyan).add_modifier(Modifier::BOLD));
    frame.render_widget(Line::from(vec![prompt, Span::raw(plain::line(text))]), areas.input);
    let column = u16::try_from(column + 3).unwrap_or(u16::MAX).min(areas.input.width.saturating_sub(1));
    if !areas.input.is_empty() {
        frame.set_cursor_position((areas.input.x + column, areas.input.y));
    }
    let mutes = match screen.muted {
        None => "",
        Some(false) => " · Ctrl-T mutes",
        Some(true) => " · Ctrl-T unmutes",
    };
    let keys = format!(" Enter sends · PgUp PgDn scroll{mutes} · Esc leaves");
    frame.render_widget(Line::styled(keys, dim()), areas.keys);
}

/// The columns and rows of conversation that a terminal of this size shows.
pub(crate) fn conversation_size((columns, rows): (u16, u16)) -> (u16, u16) {
    let inner = Block::bordered().inner(Areas::of(Rect::new(0, 0, columns, rows)).conversation);
    (inner.width, inner.height)
}

/// Where what stands.
struct Areas {
    header: Rect,
    agent: Rect,
    participants: Option<Rect>,
    conversation: Rect,
    error: Rect,
    input: Rect,
    keys: Rect,
}

impl Areas {
    fn of(area: Rect) -> Self {
        let line = Constraint::Length(1);
        let [header, middle, error, input, keys] =
            Layout::vertical([line, Constraint::Fill(1), line, line, line]).areas(area);
        let agent_height = Constraint::Length(6);
        if area.width < NARROW {
            let [agent, conversation] = Layout::vertical([agent_height, Constraint::Fill(1)]).areas(middle);
            return Self { header, agent, participants: None, conversation, error, input, keys };
        }
        let [side, conversation] = Layout::horizontal([Constraint::Length(SIDE), Constraint::Fill(1)]).areas(middle);
        let [agent, participants] = Layout::vertical([agent_height, Constraint::Fill(1)]).areas(side);
        Self { header, agent, participants: Some(participants), conversation, error, input, keys }
    }
}

fn header(screen: &Screen) -> Line<'static> {
    let dot = Span::styled(" · ", dim());
    let (state, color) = connection(screen.session);
    let mut spans = vec![Span::raw(" ")];
    if screen.room.name.is_empty() {
        spans.push(Span::styled("no room", dim()));
    } else {
        spans.push(Span::styled(plain::line(&screen.room.name), Style::new().add_modifier(Modifier::BOLD)));
    }
    if let Some(local) = &screen.participants.local {
        spans.extend([dot.clone(), Span::raw(plain::line(local.identity.as_str()))]);
    }
    spans.extend([dot.clone(), Span::styled(state, Style::new().fg(color))]);
    if let Some(time) = screen.room.round_trip_time.filter(|_| screen.session.is_connected()) {
        spans.extend([dot.clone(), Span::raw(format!("rtt {} ms", time.as_millis()))]);
    }
    match screen.muted {
        None => {}
        Some(false) => spans.extend([dot.clone(), Span::raw("microphone on")]),
        Some(true) => spans.extend([dot.clone(), Span::styled("muted", Style::new().fg(Color::Yellow))]),
    }
    if let Some(token) = screen.token {
        spans.extend([dot, Span::raw(format!("token {} old", words::of_duration(token.age(screen.now))))]);
        match token.remaining(screen.now) {
            None => {}
            Some(left) if left.is_zero() => spans.push(Span::styled(", expired", Style::new().fg(Color::Yellow))),
            Some(left) => spans.push(Span::raw(format!(", {} left", words::of_duration(left)))),
        }
    }
    Line::from(spans)
}

fn connection(state: SessionState) -> (String, Color) {
    match state {
        SessionState::Connecting => ("connecting".to_owned(), Color::Yellow),
        SessionState::Connected => ("connected".to_owned(), Color::Green),
        SessionState::Resuming => ("reconnecting".to_owned(), Color::Yellow),
        SessionState::Restarting => ("joining anew".to_owned(), Color::Yellow),
        SessionState::Disconnected(None | Some(EndReason::ClientInitiated)) => ("not connected".to_owned(), Color::Red),
        SessionState::Disconnected(Some(EndReason::Room(reason))) => (format!("disconnected: {reason}"), Color::Red),
        SessionState::Disconnected(Some(_)) => ("disconnected".to_owned(), Color::Red),
    }
}

fn agent(screen: &Screen) -> Vec<Line<'static>> {
    let agent = &screen.agent;
    let (state, color) = agent_state(&agent.state);
    let mut first = vec![Span::styled("● ", Style::new().fg(color)), Span::styled(state, Style::new().fg(color))];
    let expression = agent.expression.as_ref();
    if let Some(how) = expression.and_then(|expression| expression.mood.as_ref().or(expression.expression.as_ref())) {
        first.push(Span::styled(format!("  {}", plain::line(how)), dim()));
    }
    let mut lines = vec![Line::from(first)];
    if let AgentState::Failed(failure) = &agent.state {
        lines.push(Line::raw(failure.to_string()));
    }
    if let Some(participant) = &agent.participant {
        lines.push(Line::raw(name_of(&participant.identity, &screen.participants)));
        lines.push(Line::styled(plain::line(participant.identity.as_str()), dim()));
        // Who speaks changes more often than what the agent does.
        let now = screen.participants.get(&participant.identity).unwrap_or(participant);
        if agent.audio.is_some() {
            lines.push(Line::from(vec![Span::raw("audio "), level(now)]));
        } else {
            lines.push(Line::styled("no audio", dim()));
        }
    }
    lines
}

fn agent_state(state: &AgentState) -> (String, Color) {
    let (text, color) = match state {
        AgentState::Disconnected => ("no agent", Color::DarkGray),
        AgentState::Connecting => ("waiting for the agent", Color::Yellow),
        AgentState::Buffering => ("keeping what you say for the agent", Color::Yellow),
        AgentState::Initializing => ("initializing", Color::Yellow),
        AgentState::Idle => ("idle", Color::Blue),
        AgentState::Listening => ("listening", Color::Green),
        AgentState::Thinking => ("thinking", Color::Magenta),
        AgentState::Speaking => ("speaking", Color::Cyan),
        AgentState::Reconnecting => ("reconnecting", Color::Yellow),
        AgentState::Failed(_) => ("failed", Color::Red),
        AgentState::Other(state) => return (plain::line(state), Color::Blue),
    };
    (text.to_owned(), color)
}

fn draw_participants(screen: &Screen, frame: &mut Frame<'_>, area: Rect) {
    let all = screen.participants.local.iter().chain(screen.participants.remote());
    let mut lines: Vec<_> = all.flat_map(|participant| participant_lines(participant, screen)).collect();
    let count = screen.participants.remote.len() + usize::from(screen.participants.local.is_some());
    let block = Block::bordered().title(format!(" participants ({count}) "));
    let rows = usize::from(block.inner(area).height);
    if lines.len() > rows && rows > 0 {
        let more = lines.len() - rows + 1;
        lines.truncate(rows - 1);
        lines.push(Line::styled(format!("and {more} lines more"), dim()));
    }
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn participant_lines(participant: &Participant, screen: &Screen) -> Vec<Line<'static>> {
    let kind = match participant.kind {
        _ if participant.is_local => " (you)",
        ParticipantKind::Standard => "",
        ParticipantKind::Agent => " (agent)",
        ParticipantKind::Sip => " (telephone)",
        ParticipantKind::Ingress => " (ingress)",
        ParticipantKind::Egress => " (egress)",
        ParticipantKind::Connector => " (connector)",
        ParticipantKind::Other | _ => " (other)",
    };
    let quality = match participant.connection_quality {
        ConnectionQuality::Lost => ", connection lost",
        ConnectionQuality::Poor => ", poor connection",
        ConnectionQuality::Unknown | ConnectionQuality::Good | ConnectionQuality::Excellent | _ => "",
    };
    let name = name_of(&participant.identity, &screen.participants);
    let mut lines = vec![Line::from(vec![
        Span::styled(name, Style::new().add_modifier(Modifier::BOLD)),
        Span::styled(format!("{kind}{quality}"), dim()),
    ])];
    lines.extend(participant.publications.iter().map(|track| track_line(track, participant)));
    lines
}

fn track_line(track: &TrackPublication, participant: &Participant) -> Line<'static> {
    let source = match track.source {
        TrackSource::Camera => "camera",
        TrackSource::Microphone => "microphone",
        TrackSource::Screenshare => "screen",
        TrackSource::ScreenshareAudio => "screen's sound",
        _ if track.kind == TrackKind::Video => "other video",
        TrackSource::Unknown | _ => "other audio",
    };
    let mut spans = vec![Span::raw(format!("  {source} "))];
    // The server says how loud a participant is, not which of its tracks.
    if track.kind == TrackKind::Audio && !track.is_muted {
        spans.push(level(participant));
        spans.push(Span::raw(" "));
    }
    let state = match (track.is_muted, track.is_subscribed, participant.is_local) {
        (true, _, _) => "muted",
        (false, true, true) => "received",
        (false, false, true) => "nobody receives it",
        (false, true, false) => "subscribed",
        (false, false, false) => "not subscribed",
    };
    spans.push(Span::styled(state, dim()));
    Line::from(spans)
}

/// How loud somebody is. By the root of the level: speech is at a tenth of the most.
fn level(participant: &Participant) -> Span<'static> {
    const CELLS: f32 = 8.0;
    let level = if participant.is_speaking { participant.audio_level.clamp(0.0, 1.0) } else { 0.0 };
    // Who speaks so softly that there is no level speaks nevertheless.
    let full = (level.sqrt() * CELLS).ceil().max(if participant.is_speaking { 1.0 } else { 0.0 });
    let bar: String = (0_u8..8).map(|cell| if f32::from(cell) < full { '▮' } else { '▯' }).collect();
    Span::styled(bar, Style::new().fg(if participant.is_speaking { Color::Green } else { Color::DarkGray }))
}

fn draw_conversation(screen: &Screen, frame: &mut Frame<'_>, area: Rect) {
    let mut block = Block::bordered().title(" conversation ");
    if screen.below > 0 {
        block = block.title_bottom(Line::raw(format!(" {} lines below ", screen.below)).right_aligned());
    }
    let inner = block.inner(area);
    let (width, rows) = (usize::from(inner.width), usize::from(inner.height));
    // From the last message up, as many as are seen.
    let mut lines = Vec::new();
    for message in screen.messages.iter().rev() {
        if lines.len() >= rows + screen.below {
            break;
        }
        lines.extend(conversation::lines(message, &screen.named, width).into_iter().rev());
    }
    let below = screen.below.min(lines.len().saturating_sub(rows));
    let mut seen: Vec<_> = lines.into_iter().skip(below).take(rows).collect();
    seen.reverse();
    frame.render_widget(Paragraph::new(seen).block(block), area);
}

#[cfg(test)]
mod tests;
