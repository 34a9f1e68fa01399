//! What happens, as an object a line. docs/join.md says what the fields mean.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use roomkey::room::{Participants, TokenTimes};
use roomkey::session::{
    AgentSnapshot, AgentState, Attachment, AttachmentStatus, EndReason, MessageEvent, SessionMetrics, SessionState,
    Status,
};
use roomkey::{Participant, Room, TrackPublication};
use serde_json::{Value, json};

use crate::join::speaker::Speaker;
use crate::join::words;

/// An object as a line. What is in a text is left to the reader; none of it is a character that a terminal obeys.
pub(crate) fn line(object: &Value) -> String {
    let mut line = String::new();
    for char in object.to_string().chars() {
        if char.is_control() {
            // JSON escapes those of ASCII but one; these can only be within a text.
            line.push_str(&format!("\\u{:04x}", u32::from(char)));
        } else {
            line.push(char);
        }
    }
    line
}

pub(crate) fn session_state(state: SessionState) -> Value {
    let reason = if let SessionState::Disconnected(reason) = state { reason.map(EndReason::as_str) } else { None };
    json!({ "event": "session_state", "state": state.as_str(), "reason": reason })
}

pub(crate) fn joined(room: &Room, metrics: &SessionMetrics, token: Option<TokenTimes>) -> Value {
    let milliseconds = |time: Option<Duration>| time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    json!({
        "event": "joined",
        "room": room.name(),
        "identity": room.local_participant().identity().as_str(),
        "token_made_at": token.map(|token| unix_seconds(token.made_at)),
        "token_expires_at": token.and_then(|token| token.expires_at).map(unix_seconds),
        "token_ms": milliseconds(metrics.token),
        "connect_ms": milliseconds(metrics.connect),
    })
}

pub(crate) fn agent_state(state: &AgentState, agent: &AgentSnapshot) -> Value {
    let failure = if let AgentState::Failed(failure) = state { Some(failure.to_string()) } else { None };
    json!({
        "event": "agent_state",
        "state": state.as_str(),
        "failure": failure,
        "identity": agent.identity().map(|identity| identity.as_str()),
        "name": agent.participant.as_ref().map(|agent| agent.name.as_str()),
        "mood": agent.expression.as_ref().and_then(|expression| expression.mood.as_deref()),
        "expression": agent.expression.as_ref().and_then(|expression| expression.expression.as_deref()),
    })
}

pub(crate) fn message(event: &MessageEvent, participants: &Participants) -> Value {
    let name = match event {
        MessageEvent::Created(_) => "message_created",
        MessageEvent::Changed(_) => "message_changed",
        MessageEvent::Finalized(_) => "message_finalized",
        MessageEvent::Aborted(_) => "message_aborted",
    };
    let message = event.message();
    let speaker = match Speaker::of(message, participants) {
        Speaker::You => "you",
        Speaker::Agent => "agent",
        Speaker::Other => "other",
    };
    json!({
        "event": name,
        "id": message.id.segment(),
        "kind": message.kind.as_str(),
        "speaker": speaker,
        "from": message.from.as_str(),
        "text": &*message.text,
        "status": message.status.as_str(),
        "error": why(&message.status),
        "received_at": unix_seconds(message.received_at),
        "edited_at": message.edited_at.map(unix_seconds),
        "attachments": message.attachments.len(),
        "files": message.attachments.iter().map(file).collect::<Vec<_>>(),
    })
}

fn file(attachment: &Attachment) -> Value {
    let bytes = if let AttachmentStatus::Received(bytes) = &attachment.status { Some(bytes.len()) } else { None };
    json!({
        "name": &*attachment.name,
        "mime_type": &*attachment.mime_type,
        "status": attachment.status.as_str(),
        "bytes": bytes,
    })
}

fn why(status: &Status) -> Option<String> {
    match status {
        Status::Aborted(why) => Some(why.as_ref().to_owned()),
        Status::Failed(error) => Some(words::of_error(error.as_ref())),
        Status::Streaming | Status::Final | Status::Pending | Status::Sent => None,
    }
}

/// What is different between two looks at who is there: who is new, who has changed, who has left.
pub(crate) fn participants(before: &Participants, after: &Participants) -> Vec<Value> {
    let gone = all(before).filter(|participant| after.get(&participant.identity).is_none());
    let mut lines: Vec<_> = gone.map(|gone| participant("participant_left", gone)).collect();
    for there in all(after) {
        match before.get(&there.identity) {
            None => lines.push(participant("participant_joined", there)),
            Some(former) if former != there => lines.push(participant("participant_changed", there)),
            Some(_) => {}
        }
    }
    lines.dedup();
    lines
}

fn all(participants: &Participants) -> impl Iterator<Item = &Arc<Participant>> {
    participants.local.iter().chain(participants.remote())
}

fn participant(event: &str, participant: &Participant) -> Value {
    json!({
        "event": event,
        "identity": participant.identity.as_str(),
        "name": participant.name,
        "kind": participant.kind.as_str(),
        "state": participant.state.as_str(),
        "local": participant.is_local,
        "speaking": participant.is_speaking,
        "level": participant.audio_level,
        "quality": participant.connection_quality.as_str(),
        "attributes": &*participant.attributes,
        "tracks": participant.publications.iter().map(|track| publication(track)).collect::<Vec<_>>(),
    })
}

fn publication(track: &TrackPublication) -> Value {
    json!({
        "sid": track.sid.as_str(),
        "name": track.name,
        "kind": track.kind.as_str(),
        "source": track.source.as_str(),
        "mime_type": track.mime_type,
        "muted": track.is_muted,
        "subscribed": track.is_subscribed,
    })
}

pub(crate) fn error(message: &str) -> Value {
    json!({ "event": "error", "message": message })
}

fn unix_seconds(time: SystemTime) -> f64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    // To the millisecond, as LiveKit's own times are.
    (since.as_secs_f64() * 1_000.0).floor() / 1_000.0
}

#[cfg(test)]
mod tests {
    use roomkey::session::{AgentFailure, Message, MessageId, MessageKind};
    use roomkey::{DisconnectReason, TrackKind, TrackSource};

    use super::*;

    #[test]
    fn states_have_names_and_reasons() {
        let ended = SessionState::Disconnected(Some(EndReason::Room(DisconnectReason::DuplicateIdentity)));
        assert_eq!(
            session_state(ended),
            json!({ "event": "session_state", "state": "disconnected", "reason": "duplicate_identity" })
        );
        let ended = SessionState::Disconnected(Some(EndReason::ClientInitiated));
        assert_eq!(session_state(ended)["reason"], "client_initiated");
        let agent = AgentSnapshot::new(AgentState::Failed(AgentFailure::JoinTimeout));
        let line = agent_state(&agent.state, &agent);
        assert_eq!((&line["state"], &line["identity"]), (&json!("failed"), &Value::Null));
        assert_eq!(line["failure"], "the agent did not join the room in time");
        assert_eq!(agent_state(&AgentState::Other("dancing".into()), &agent)["state"], "dancing");
    }

    #[test]
    fn a_message_says_whose_it_is_and_how_far_it_is() {
        let mut participants = Participants::default();
        participants.local = Some(Arc::new(Participant::new("PA_1", "alice")));
        let mut said = Message::new(MessageId::new("alice", "1"), MessageKind::Chat, "hello");
        said.status = Status::Pending;
        let line = message(&MessageEvent::Created(Arc::new(said)), &participants);
        assert_eq!(
            (&line["event"], &line["speaker"], &line["status"]),
            (&json!("message_created"), &json!("you"), &json!("pending"))
        );
        let answer = Message::new(MessageId::new("agent", "2"), MessageKind::AgentTranscript, "a\u{1b}[2Jb");
        let line = message(&MessageEvent::Finalized(Arc::new(answer)), &participants);
        assert_eq!((&line["kind"], &line["speaker"]), (&json!("agent_transcript"), &json!("agent")));
    }

    #[test]
    fn a_message_says_when_it_was_edited_and_which_files_came_with_it() {
        let mut said = Message::new(MessageId::new("bob", "1"), MessageKind::Chat, "see this");
        let plain = message(&MessageEvent::Changed(Arc::new(said.clone())), &Participants::default());
        assert_eq!((&plain["edited_at"], &plain["files"]), (&Value::Null, &json!([])));
        said.edited_at = Some(UNIX_EPOCH + Duration::from_millis(1_500));
        let mut here = Attachment::new("1");
        here.name = "map.png".into();
        here.mime_type = "image/png".into();
        here.status = AttachmentStatus::Received(Arc::new([0; 12]));
        said.attachments = Arc::new([here, Attachment::new("2")]);
        let line = message(&MessageEvent::Changed(Arc::new(said)), &Participants::default());
        assert_eq!((&line["edited_at"], &line["attachments"]), (&json!(1.5), &json!(2)));
        let file = json!({ "name": "map.png", "mime_type": "image/png", "status": "received", "bytes": 12 });
        assert_eq!(line["files"][0], file);
        assert_eq!((&line["files"][1]["status"], &line["files"][1]["bytes"]), (&json!("pending"), &Value::Null));
    }

    #[test]
    fn a_line_has_no_character_that_a_terminal_obeys() {
        let text = "a\u{1b}[2J\u{9b}1m\u{7f}\r\nz";
        let line = line(&error(text));
        assert!(!line.contains(char::is_control), "{line:?}");
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["message"], text);
    }

    #[test]
    fn participants_come_change_and_leave() {
        let nobody = Participants::default();
        let mut one = Participants::default();
        let mut bob = Participant::new("PA_2", "bob");
        one.remote.insert("bob".into(), Arc::new(bob.clone()));
        one.order.push("bob".into());
        let mut publishing = one.clone();
        bob.publications.push(Arc::new(TrackPublication::new("TR_1", TrackKind::Audio, TrackSource::ScreenshareAudio)));
        publishing.remote.insert("bob".into(), Arc::new(bob));

        let event = |before, after| participants(before, after).first().map(|line| line["event"].clone());
        assert_eq!(event(&nobody, &one), Some(json!("participant_joined")));
        assert_eq!(event(&one, &one), None);
        assert_eq!(event(&one, &publishing), Some(json!("participant_changed")));
        assert_eq!(event(&publishing, &nobody), Some(json!("participant_left")));
        assert_eq!(participants(&one, &publishing)[0]["tracks"][0]["source"], "screenshare_audio");
    }
}
