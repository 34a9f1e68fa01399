//! Which transcripts a list has.

use std::sync::Arc;

use roomkey_room::{ParticipantIdentity, TrackSid};

use crate::message::{Message, MessageKind};

/// Which transcripts a [list](crate::Session::transcripts) has: those that meet all that is said here. Chat is none.
///
/// What `useTranscriptions` of LiveKit's components takes (components-js, `packages/react/src/hooks/useTranscriptions.ts`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TranscriptFilter {
    /// Only the words of these participants; everybody's if `None`.
    pub participants: Option<Vec<ParticipantIdentity>>,
    /// Only what was said in these tracks; if `None`, in whatever track, and where the agent tells of none.
    pub tracks: Option<Vec<TrackSid>>,
}

impl TranscriptFilter {
    /// All transcripts.
    pub fn all() -> Self {
        Self::default()
    }

    /// Only the words of this participant as well; can be called again for more.
    #[must_use]
    pub fn participant(mut self, identity: impl Into<ParticipantIdentity>) -> Self {
        self.participants.get_or_insert_default().push(identity.into());
        self
    }

    /// Only what was said in this track as well; can be called again for more.
    #[must_use]
    pub fn track(mut self, sid: impl Into<TrackSid>) -> Self {
        self.tracks.get_or_insert_default().push(sid.into());
        self
    }

    fn lets_through(&self, message: &Message) -> bool {
        let is_of = self.participants.as_ref().is_none_or(|participants| participants.contains(&message.from));
        let is_in = |tracks: &Vec<TrackSid>| message.track_sid.as_ref().is_some_and(|sid| tracks.contains(sid));
        message.kind != MessageKind::Chat && is_of && self.tracks.as_ref().is_none_or(is_in)
    }

    /// Those of a list of messages.
    pub(crate) fn list(&self, messages: &[Arc<Message>]) -> Arc<[Arc<Message>]> {
        messages.iter().filter(|message| self.lets_through(message)).cloned().collect()
    }
}

/// Whether both lists have the same messages at the same moments of theirs.
pub(crate) fn is_same(one: &[Arc<Message>], other: &[Arc<Message>]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| Arc::ptr_eq(one, other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MessageId;

    #[test]
    fn a_transcript_has_to_meet_all_that_is_asked() {
        let said = |who: &str, track: Option<&str>| {
            let kind = if who == "me" { MessageKind::UserTranscript } else { MessageKind::AgentTranscript };
            let mut message = Message::new(MessageId::new(who, format!("{who} {track:?}")), kind, "words");
            message.track_sid = track.map(TrackSid::from);
            Arc::new(message)
        };
        let chat = Arc::new(Message::new(MessageId::new("me", "chat"), MessageKind::Chat, "written"));
        let messages =
            [said("me", Some("TR_1")), chat, said("helper", Some("TR_2")), said("helper", None), said("bob", None)];
        let shown = |filter: TranscriptFilter| {
            filter.list(&messages).iter().map(|message| message.id.segment().to_owned()).collect::<Vec<_>>()
        };
        let all = TranscriptFilter::all;
        assert_eq!(shown(all()), ["me Some(\"TR_1\")", "helper Some(\"TR_2\")", "helper None", "bob None"]);
        assert_eq!(shown(all().participant("helper")), ["helper Some(\"TR_2\")", "helper None"]);
        assert_eq!(shown(all().participant("bob").participant("me")), ["me Some(\"TR_1\")", "bob None"]);
        assert_eq!(shown(all().track("TR_1").track("TR_2")), ["me Some(\"TR_1\")", "helper Some(\"TR_2\")"]);
        assert_eq!(shown(all().participant("helper").track("TR_2")), ["helper Some(\"TR_2\")"]);
        assert!(shown(TranscriptFilter { participants: Some(Vec::new()), ..all() }).is_empty());
        assert!(shown(TranscriptFilter { tracks: Some(Vec::new()), ..all() }).is_empty());
    }
}
