//! Transcriptions in packets of their own, as older agents send them and LiveKit's older clients show them.

use livekit_protocol as proto;
use proto::data_packet::Value;

use crate::error::RoomError;
use crate::local_participant::LocalParticipant;
use crate::names::{ParticipantIdentity, TrackSid};

/// What somebody said, in a packet as older clients know it. LiveKit's agents of today send text streams with the topic
/// `lk.transcription` instead, or beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Transcription {
    speaker: ParticipantIdentity,
    track_sid: TrackSid,
    segments: Vec<TranscriptionSegment>,
    destination_identities: Vec<ParticipantIdentity>,
}

/// A part of a transcription.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TranscriptionSegment {
    /// Stays the same while the text grows.
    pub id: String,
    /// All of the text so far.
    pub text: String,
    /// When it began, in the sender's unit: the protocol names none. Agents leave it at 0.
    pub start_time: u64,
    /// When it ended, as [`start_time`](Self::start_time).
    pub end_time: u64,
    /// Whether it will not change.
    pub is_final: bool,
    /// The language, such as `en`; empty if it is not known.
    pub language: String,
}

impl TranscriptionSegment {
    /// A text that may still grow, without times and language.
    pub fn new(id: impl Into<String>, text: impl Into<String>) -> Self {
        let (id, text) = (id.into(), text.into());
        Self { id, text, start_time: 0, end_time: 0, is_final: false, language: String::new() }
    }

    /// Says whether it will not change.
    #[must_use]
    pub fn with_final(self, is_final: bool) -> Self {
        Self { is_final, ..self }
    }

    /// Says when it began and ended.
    #[must_use]
    pub fn with_times(self, start_time: u64, end_time: u64) -> Self {
        Self { start_time, end_time, ..self }
    }

    /// Says its language.
    #[must_use]
    pub fn with_language(self, language: impl Into<String>) -> Self {
        Self { language: language.into(), ..self }
    }

    pub(crate) fn read(segment: proto::TranscriptionSegment) -> Self {
        Self {
            id: segment.id,
            text: segment.text,
            start_time: segment.start_time,
            end_time: segment.end_time,
            is_final: segment.r#final,
            language: segment.language,
        }
    }

    fn write(self) -> proto::TranscriptionSegment {
        proto::TranscriptionSegment {
            id: self.id,
            text: self.text,
            start_time: self.start_time,
            end_time: self.end_time,
            r#final: self.is_final,
            language: self.language,
        }
    }
}

impl Transcription {
    /// Of what this participant said in this track, for everybody.
    pub fn new(speaker: impl Into<ParticipantIdentity>, track_sid: impl Into<TrackSid>) -> Self {
        let (speaker, track_sid) = (speaker.into(), track_sid.into());
        Self { speaker, track_sid, segments: Vec::new(), destination_identities: Vec::new() }
    }

    /// A part of it; can be called again for more.
    pub fn segment(mut self, segment: TranscriptionSegment) -> Self {
        self.segments.push(segment);
        self
    }

    /// For somebody alone; can be called again for more.
    pub fn to(mut self, identity: impl Into<ParticipantIdentity>) -> Self {
        self.destination_identities.push(identity.into());
        self
    }
}

impl LocalParticipant {
    /// Sends what somebody said. It is sent reliably; waiting and dropping are as with
    /// [`publish_data`](Self::publish_data). livekit-server passes it on where this participant is an agent, by its kind or
    /// by its grant, and drops it otherwise.
    ///
    /// # Errors
    ///
    /// [`RoomError::Disconnected`], [`RoomError::NotAllowed`], [`RoomError::TooLarge`].
    pub async fn publish_transcription(&self, transcription: Transcription) -> Result<(), RoomError> {
        let Transcription { speaker, track_sid, segments, destination_identities } = transcription;
        let said = proto::Transcription {
            transcribed_participant_identity: speaker.into(),
            track_id: track_sid.into(),
            segments: segments.into_iter().map(TranscriptionSegment::write).collect(),
        };
        let packet = proto::DataPacket {
            destination_identities: destination_identities.into_iter().map(String::from).collect(),
            value: Some(Value::Transcription(said)),
            ..Default::default()
        };
        self.shared.send(packet).await
    }
}
