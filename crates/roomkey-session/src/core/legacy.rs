//! Transcripts and chat in the packets that were before text streams.
//!
//! Agents send each transcript twice, as a stream and as a packet whose segment has another id. The packets are for clients
//! that read no streams, and count here only where nothing comes as a stream: from old agents.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use roomkey_room::{ParticipantIdentity, TrackSid};
use serde::Deserialize;

use super::history::Place;
use crate::message::MessageId;

/// What a transcription packet says of one segment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LegacySegment {
    pub(crate) speaker: ParticipantIdentity,
    pub(crate) track_sid: Option<TrackSid>,
    pub(crate) id: String,
    pub(crate) text: String,
    pub(crate) is_final: bool,
}

/// Decides which packets count.
#[derive(Default)]
pub(crate) struct LegacyTranscripts {
    /// Whose words come as streams.
    streamed: HashSet<ParticipantIdentity>,
    /// Whose words have come as packets alone.
    packets_only: HashSet<ParticipantIdentity>,
    held: Vec<Held>,
    /// Messages that packets began and streams go on with, by what the streams call them.
    adopted: HashMap<MessageId, MessageId>,
    /// The last message that packets made of each speaker.
    latest: HashMap<ParticipantIdentity, MessageId>,
}

struct Held {
    until: Instant,
    place: Place,
    segment: LegacySegment,
}

impl LegacyTranscripts {
    /// A stream of these words has been opened: its packets don't count from here on. Gives the id that the message has,
    /// which is another than the stream's if packets have begun it.
    pub(crate) fn handle_stream(&mut self, id: MessageId, is_under_way: impl FnOnce(&MessageId) -> bool) -> MessageId {
        let speaker = id.sender().clone();
        self.held.retain(|held| held.segment.speaker != speaker);
        if self.streamed.len() < MAX_SPEAKERS {
            self.streamed.insert(speaker.clone());
        }
        if let Some(adopted) = self.adopted.get(&id) {
            return adopted.clone();
        }
        match self.latest.remove(&speaker).filter(is_under_way) {
            Some(begun) if self.adopted.len() < MAX_SPEAKERS => {
                self.adopted.insert(id, begun.clone());
                begun
            }
            Some(_) | None => id,
        }
    }

    /// A packet has come. Gives the segment back if it counts now; one that is held comes out of
    /// [`release`](Self::release) if no stream comes.
    pub(crate) fn handle_packet(
        &mut self,
        segment: LegacySegment,
        now: Instant,
        reserve: impl FnOnce() -> Place,
    ) -> Option<LegacySegment> {
        if self.streamed.contains(&segment.speaker) {
            return None;
        }
        if self.packets_only.contains(&segment.speaker) {
            return Some(segment);
        }
        let same = |held: &&mut Held| held.segment.speaker == segment.speaker && held.segment.id == segment.id;
        if let Some(held) = self.held.iter_mut().find(same) {
            held.segment = segment;
        } else if self.held.len() < MAX_HELD {
            self.held.push(Held { until: now + HOLD, place: reserve(), segment });
        }
        None
    }

    /// The segments for which no stream has come, with their places.
    pub(crate) fn release(&mut self, now: Instant) -> Vec<(Place, LegacySegment)> {
        let mut speakers = self.held.iter().filter(|held| held.until <= now).map(|held| held.segment.speaker.clone());
        let Some(speaker) = speakers.next() else { return Vec::new() };
        if self.packets_only.len() < MAX_SPEAKERS {
            self.packets_only.insert(speaker.clone());
        }
        let released = self.held.extract_if(.., |held| held.segment.speaker == speaker);
        released.map(|held| (held.place, held.segment)).collect()
    }

    /// A packet has made this message.
    pub(crate) fn note(&mut self, id: &MessageId) {
        if self.latest.len() < MAX_SPEAKERS || self.latest.contains_key(id.sender()) {
            self.latest.insert(id.sender().clone(), id.clone());
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.held.iter().map(|held| held.until).min()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What a legacy chat packet says.
#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct LegacyChat {
    #[serde(default)]
    pub(crate) id: String,
    pub(crate) message: String,
    /// By the sender's clock, in milliseconds.
    #[serde(default)]
    pub(crate) timestamp: Option<u64>,
    /// Whether the message comes as a stream too.
    #[serde(default, rename = "ignoreLegacy")]
    ignore_legacy: bool,
}

impl LegacyChat {
    /// Reads a packet that counts.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let chat: Self = serde_json::from_slice(payload).ok()?;
        Some(chat).filter(|chat| !chat.ignore_legacy && !chat.message.is_empty())
    }
}

/// How long a packet waits for its stream. Both leave an agent together, on the same channel.
const HOLD: Duration = Duration::from_secs(1);

const MAX_HELD: usize = 64;

const MAX_SPEAKERS: usize = 1_024;
