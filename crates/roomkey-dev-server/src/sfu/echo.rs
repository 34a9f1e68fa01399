//! The demo agent: a participant of the server itself, without a connection, that sends back the audio of whoever spoke
//! to it first and answers chat.
//!
//! It behaves as an agent of LiveKit's does towards a client: `lk.agent.state` goes from `initializing` to `listening`,
//! `thinking` and `speaking`; an answer is a text stream on `lk.transcription`, marked as final.

use std::collections::HashMap;

use livekit_protocol as proto;
use proto::data_packet::{Kind, Value};
use proto::data_stream::header::ContentHeader;
use proto::participant_info::State;
use roomkey_rtc::IncomingRtp;
use roomkey_token::{AccessToken, ParticipantKind, VideoGrant};

use super::Context;
use super::codec::Codec;
use super::forwarder::{Arrived, Forwarded, Forwarder};
use super::joining::Joining;
use super::participant::ParticipantId;
use super::publication::{Publication, PublicationId};
use super::room::Room;

const STATE: &str = "lk.agent.state";
const CHAT: &str = "lk.chat";
const TRANSCRIPTION: &str = "lk.transcription";
/// Chat messages that are on their way to the agent at one time, and the longest that it reads.
const MAX_STREAMS: usize = 16;
const MAX_TEXT: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Echo {
    pub(super) participant: ParticipantId,
    publication: Option<PublicationId>,
    /// Whose audio is echoed.
    source: Option<PublicationId>,
    numbers: Forwarder,
    messages: Messages,
    sequence: u32,
}

impl Room {
    /// The agent joins.
    pub(super) fn start_echo(&mut self, agent_name: &str, cx: &mut Context<'_>) {
        if self.echo.is_some() {
            return;
        }
        let mut grant = VideoGrant::join(self.name());
        grant.agent = true;
        let identity = crate::ids::draw("agent-AJ_", cx.rng);
        let mut token =
            AccessToken::new(identity).with_kind(ParticipantKind::Agent).with_name("Echo").with_video(grant);
        if !agent_name.is_empty() {
            // Agents of today say both.
            token = token.with_attribute("lk.agent.name", agent_name).with_attribute("lk.agent_name", agent_name);
        }
        let token = token.with_attribute(STATE, "initializing");
        let joining = Joining {
            connection: None,
            claims: token.claims().clone(),
            is_single: true,
            protocol: 0,
            client_protocol: 0,
            capabilities: Vec::new(),
            sdk: "the demo agent".to_owned(),
            auto_subscribe: false,
            add_tracks: Vec::new(),
            publisher_offer: None,
            resumes: None,
        };
        let Ok(id) = self.join(joining, cx) else { return };
        self.echo = Some(Echo {
            participant: id,
            publication: None,
            source: None,
            numbers: Forwarder::new(false, 0),
            messages: Messages::default(),
            sequence: 0,
        });
        self.set_state(id, State::Active, cx);
        self.set_agent_state("listening", cx);
    }

    fn set_agent_state(&mut self, state: &str, cx: &mut Context<'_>) {
        let Some(id) = self.echo.as_ref().map(|echo| echo.participant) else { return };
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let former = participant.attributes.insert(STATE.to_owned(), state.to_owned());
        if former.as_deref() != Some(state) {
            self.announce(id, cx);
        }
    }

    /// A packet of somebody's audio comes back as the agent's.
    pub(super) fn echo_audio(
        &mut self,
        from: ParticipantId,
        publication: PublicationId,
        packet: &IncomingRtp,
        cx: &mut Context<'_>,
    ) {
        let Some(echo) = &self.echo else { return };
        let agent = echo.participant;
        let is_source_gone = echo.source.is_none_or(|source| {
            !self
                .participants
                .values()
                .any(|participant| participant.publications.iter().any(|found| found.id == source))
        });
        let codec = Codec::from(packet.format.codec());
        let is_audio = matches!(codec, Codec::Opus | Codec::Red);
        if from == agent || !is_audio {
            return;
        }
        if is_source_gone && let Some(echo) = &mut self.echo {
            echo.source = Some(publication);
            echo.numbers = Forwarder::new(false, 0);
        }
        let own = self.echo_publication(codec, cx);
        let Some(echo) = &mut self.echo else { return };
        if echo.source != Some(publication) {
            return;
        }
        let arrived = Arrived {
            layer: 0,
            codec,
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            payload: &packet.payload,
        };
        let Some(Forwarded { numbers, .. }) = echo.numbers.forward(arrived, &[true], cx.now.instant) else { return };
        let arrived = Arrived { sequence: numbers.sequence, timestamp: numbers.timestamp, ..arrived };
        let subscribers =
            self.publication_mut(agent, own).map(|(_, found)| found.subscribers.clone()).unwrap_or_default();
        for subscriber in subscribers {
            self.send_to(subscriber, own, arrived, packet, &[true], cx);
        }
    }

    /// The agent's own track, published with the first packet that it has to send.
    fn echo_publication(&mut self, codec: Codec, cx: &mut Context<'_>) -> PublicationId {
        if let Some(own) = self.echo.as_ref().and_then(|echo| echo.publication) {
            return own;
        }
        self.last_publication += 1;
        let number = self.last_publication;
        let request = proto::AddTrackRequest {
            cid: "echo".to_owned(),
            name: "echo".to_owned(),
            r#type: proto::TrackType::Audio as i32,
            source: proto::TrackSource::Microphone as i32,
            ..Default::default()
        };
        let mut publication = Publication::new(number, &request, cx.rng);
        publication.set_codec(codec);
        let Some(echo) = &mut self.echo else { return number };
        echo.publication = Some(number);
        let agent = echo.participant;
        if let Some(participant) = self.participants.get_mut(&agent) {
            participant.publications.push(publication);
        }
        self.make_public(agent, number, cx);
        number
    }

    /// Data for the agent: chat, in the streams that LiveKit's clients send.
    pub(super) fn echo_data(&mut self, from: ParticipantId, packet: &proto::DataPacket, cx: &mut Context<'_>) {
        let Some(echo) = &mut self.echo else { return };
        match &packet.value {
            Some(Value::StreamHeader(header)) if header.topic == CHAT => echo.messages.begin(from, &header.stream_id),
            Some(Value::StreamChunk(chunk)) => echo.messages.append(from, &chunk.stream_id, &chunk.content),
            Some(Value::StreamTrailer(trailer)) => {
                let Some(text) = echo.messages.end(from, &trailer.stream_id) else { return };
                let text = String::from_utf8_lossy(&text).into_owned();
                self.set_agent_state("thinking", cx);
                self.set_agent_state("speaking", cx);
                self.say(&format!("You said: {text}"), cx);
                self.set_agent_state("listening", cx);
            }
            _ => {}
        }
    }

    /// What somebody who left had begun to say has no end.
    pub(super) fn echo_departed(&mut self, id: ParticipantId) {
        if let Some(echo) = &mut self.echo {
            echo.messages.0.retain(|message| message.from != id);
        }
    }

    /// One text stream to everybody, as an agent's transcription is.
    fn say(&mut self, text: &str, cx: &mut Context<'_>) {
        let stream_id = crate::ids::draw("st_", cx.rng);
        let attributes =
            [("lk.transcription_final", "true".to_owned()), ("lk.segment_id", crate::ids::draw("SG_", cx.rng))];
        let attributes: HashMap<_, _> = attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let header = proto::data_stream::Header {
            stream_id: stream_id.clone(),
            timestamp: cx.now.unix_ms(),
            topic: TRANSCRIPTION.to_owned(),
            mime_type: "text/plain".to_owned(),
            total_length: Some(text.len() as u64),
            attributes,
            content_header: Some(ContentHeader::TextHeader(proto::data_stream::TextHeader::default())),
            ..Default::default()
        };
        let mut values = vec![Value::StreamHeader(header)];
        for (index, content) in chunks(text).into_iter().enumerate() {
            values.push(Value::StreamChunk(proto::data_stream::Chunk {
                stream_id: stream_id.clone(),
                chunk_index: index as u64,
                content: content.to_vec(),
                ..Default::default()
            }));
        }
        values.push(Value::StreamTrailer(proto::data_stream::Trailer { stream_id, ..Default::default() }));
        for value in values {
            let Some(echo) = &mut self.echo else { return };
            echo.sequence += 1;
            let (id, sequence) = (echo.participant, echo.sequence);
            let Some(participant) = self.participants.get(&id) else { return };
            let packet = proto::DataPacket {
                participant_identity: participant.identity.clone(),
                participant_sid: participant.sid.clone(),
                sequence,
                value: Some(value),
                ..Default::default()
            };
            self.deliver(id, Kind::Reliable, &packet, cx);
        }
    }
}

/// Chat messages that have begun, the oldest first.
#[derive(Debug, Default)]
struct Messages(Vec<Incoming>);

#[derive(Debug)]
struct Incoming {
    from: ParticipantId,
    stream_id: String,
    text: Vec<u8>,
}

impl Messages {
    /// A message begins. Where there are too many, the oldest of who has the most makes room.
    fn begin(&mut self, from: ParticipantId, stream_id: &str) {
        self.end(from, stream_id);
        if self.0.len() >= MAX_STREAMS {
            let count = |id: ParticipantId| self.0.iter().filter(|message| message.from == id).count();
            let most = self.0.iter().map(|message| count(message.from)).max().unwrap_or_default();
            if let Some(at) = self.0.iter().position(|message| count(message.from) == most) {
                self.0.remove(at);
            }
        }
        self.0.push(Incoming { from, stream_id: stream_id.to_owned(), text: Vec::new() });
    }

    fn append(&mut self, from: ParticipantId, stream_id: &str, content: &[u8]) {
        if let Some(at) = self.position(from, stream_id)
            && self.0[at].text.len() + content.len() <= MAX_TEXT
        {
            self.0[at].text.extend_from_slice(content);
        }
    }

    fn end(&mut self, from: ParticipantId, stream_id: &str) -> Option<Vec<u8>> {
        let at = self.position(from, stream_id)?;
        Some(self.0.remove(at).text)
    }

    fn position(&self, from: ParticipantId, stream_id: &str) -> Option<usize> {
        self.0.iter().position(|message| message.from == from && message.stream_id == stream_id)
    }
}

/// Pieces that fit a packet, none of which cuts a character in two: a client may show each as it comes.
fn chunks(text: &str) -> Vec<&[u8]> {
    const LONGEST: usize = 15_000;
    let mut chunks = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.floor_char_boundary(LONGEST);
        let (chunk, after) = rest.split_at(end);
        chunks.push(chunk.as_bytes());
        rest = after;
    }
    chunks
}
