//! One client of the simulation: its core, and what its shell and its application have seen.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::data_packet::Value;
use url::Url;

use super::path::Path;
use crate::connect_error::ConnectError;
use crate::connection_state::ConnectionState;
use crate::core::{Core, Happened, LocalTrackId, SocketId, TrackRequest};
use crate::data_stream::error::StreamError;
use crate::data_stream::reader::{ByteStreamReader, StreamReader};
use crate::encryption::{FrameCodec, FrameOpener, FrameSealer, RoomEncryption, TrackEncryption};
use crate::error::PublishError;
use crate::names::TrackSid;
use crate::publication::{TrackKind, TrackSource};

pub(super) struct Client {
    pub(super) identity: String,
    pub(super) core: Core,
    pub(super) path: Path,
    pub(super) ip: IpAddr,
    next_port: u16,
    pub(super) sockets: HashMap<SocketId, SocketAddr>,
    /// The connection that is being opened, and the open one.
    pub(super) dialing: Option<u64>,
    pub(super) websocket: Option<u64>,
    /// Each dial of a websocket: when, where, with which header.
    pub(super) dials: Vec<(Instant, Url, String)>,
    /// Each question for regions.
    /// What it has said to the server, but trickle.
    pub(super) asked: Vec<proto::signal_request::Message>,
    pub(super) questions: Vec<(Instant, Url, String)>,
    pub(super) connected: Option<Result<Instant, ConnectError>>,
    pub(super) states: Vec<(Instant, ConnectionState)>,
    /// Numbers of reliable packets, with their senders.
    pub(super) received: Vec<(Instant, String, u32)>,
    /// Packets of audio.
    pub(super) heard: Vec<Instant>,
    /// Other events, as words.
    pub(super) told: Vec<(Instant, String)>,
    readers: Vec<ByteStreamReader>,
    /// Each connection for media: when, where.
    pub(super) media_connects: Vec<(Instant, SocketAddr)>,
    /// Datagrams to the server.
    pub(super) sent_by_udp: u32,
    pub(super) traffic: Option<Traffic>,
    pub(super) voice: Option<Voice>,
    pub(super) encryption: Option<Arc<RoomEncryption>>,
    sealer: Option<FrameSealer>,
    openers: HashMap<TrackSid, FrameOpener>,
    /// Whether each of the others' tracks is encrypted, as it came.
    pub(super) subscribed: Vec<bool>,
    /// Packets of data that were not opened.
    pub(super) sealed: u32,
    pub(super) published: Arc<Mutex<Vec<Result<TrackSid, PublishError>>>>,
}

/// Numbered packets, sent at a pace.
#[derive(Debug, Clone)]
pub(super) struct Traffic {
    pub(super) every: Duration,
    pub(super) next: Instant,
    pub(super) sent: u32,
    /// Bytes beyond the number.
    pub(super) padding: usize,
}

/// What is in a packet of audio.
const WORD: [u8; 4] = [0xfc, 1, 2, 3];

/// The audio in a packet, 2,880 samples: the longest that Opus has.
const PACKET: Duration = Duration::from_millis(60);

/// A track of audio.
#[derive(Debug, Clone)]
pub(super) struct Voice {
    pub(super) track: LocalTrackId,
    pub(super) next: Instant,
    pub(super) sequence: u64,
}

impl Client {
    pub(super) fn new(identity: &str, core: Core, number: u8) -> Self {
        Self {
            identity: identity.to_owned(),
            core,
            path: Path::default(),
            ip: IpAddr::V4(Ipv4Addr::new(10, 0, 0, number)),
            next_port: 40_000,
            sockets: HashMap::new(),
            dialing: None,
            websocket: None,
            dials: Vec::new(),
            questions: Vec::new(),
            asked: Vec::new(),
            connected: None,
            states: Vec::new(),
            received: Vec::new(),
            heard: Vec::new(),
            told: Vec::new(),
            readers: Vec::new(),
            media_connects: Vec::new(),
            sent_by_udp: 0,
            traffic: None,
            voice: None,
            encryption: None,
            sealer: None,
            openers: HashMap::new(),
            subscribed: Vec::new(),
            sealed: 0,
            published: Arc::default(),
        }
    }

    /// One that has not been used.
    pub(super) fn next_address(&mut self) -> SocketAddr {
        self.next_port += 1;
        SocketAddr::new(self.ip, self.next_port)
    }

    pub(super) fn bind(&mut self, sockets: SocketId) -> SocketAddr {
        let address = self.next_address();
        self.sockets.insert(sockets, address);
        address
    }

    pub(super) fn is_connected(&self) -> bool {
        matches!(self.connected, Some(Ok(_)))
            && self.states.last().is_none_or(|(_, state)| *state == ConnectionState::Connected)
    }

    pub(super) fn states(&self) -> Vec<ConnectionState> {
        self.states.iter().map(|(_, state)| *state).collect()
    }

    pub(super) fn numbers_from(&self, sender: &str) -> Vec<u32> {
        self.received.iter().filter(|(_, from, _)| from == sender).map(|(.., number)| *number).collect()
    }

    pub(super) fn was_told(&self, what: &str) -> bool {
        self.told.iter().any(|(_, told)| told.starts_with(what))
    }

    pub(super) fn sent(&self) -> u32 {
        self.traffic.as_ref().map_or(0, |traffic| traffic.sent)
    }

    /// What has come of each stream of bytes: its id, and its contents or why they are not whole.
    pub(super) fn read_streams(&mut self) -> Vec<(String, Result<Vec<u8>, StreamError>)> {
        let mut cx = Context::from_waker(Waker::noop());
        let read = |mut reader: ByteStreamReader| {
            let id = reader.info().id.clone();
            let outcome = match pin!(reader.read_all()).poll(&mut cx) {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => Err(StreamError::TimedOut),
            };
            (id, outcome)
        };
        self.readers.drain(..).map(read).collect()
    }

    pub(super) fn publish_audio(&mut self, track: LocalTrackId, now: Instant) {
        let request = TrackRequest {
            kind: TrackKind::Audio,
            source: TrackSource::Microphone,
            name: "microphone".to_owned(),
            stream: String::new(),
            mime_type: "audio/opus".to_owned(),
            is_muted: false,
            is_stereo: false,
            has_red: false,
            has_dtx: false,
            has_preconnect_buffer: false,
            is_encrypted: self.encryption.as_ref().is_some_and(|encryption| encryption.is_enabled()),
            dimensions: (0, 0),
            layers: Vec::new(),
        };
        let published = Arc::clone(&self.published);
        let reply = Box::new(move |result| published.lock().unwrap().push(result));
        self.core.publish(track, request, reply, now);
        self.voice = Some(Voice { track, next: now, sequence: 0 });
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what these tests don't look at")]
    pub(super) fn happened(&mut self, happened: Happened, now: Instant) {
        let told = match happened {
            Happened::Connected => return self.connected = Some(Ok(now)),
            Happened::ConnectFailed(error) => return self.connected = Some(Err(error)),
            Happened::StateChanged(state) => return self.states.push((now, state)),
            Happened::Rtp(track, packet) => {
                let payload = match self.openers.get_mut(&track) {
                    Some(opener) => opener.open(now, FrameCodec::Audio, &packet.payload),
                    None => Some(packet.payload.to_vec()),
                };
                if payload.is_some_and(|payload| payload == WORD) {
                    self.heard.push(now);
                }
                return;
            }
            Happened::Packet { value: Value::EncryptedPacket(_), .. } => return self.sealed += 1,
            Happened::DataEncryptionChanged(who, state) => format!("data of {who} {state}"),
            Happened::Packet { is_reliable: true, sender, value: Value::User(user), .. } => {
                if let Some(number) = user.payload.first_chunk() {
                    self.received.push((now, sender.to_string(), u32::from_be_bytes(*number)));
                }
                return;
            }
            Happened::StreamOpened(StreamReader::Bytes(reader)) => return self.readers.push(reader),
            Happened::RoomMoved(room) => format!("moved to {}", room.name),
            Happened::TokenRefreshed(_) => "token refreshed".to_owned(),
            Happened::ParticipantConnected(who) => format!("connected {}", who.identity),
            Happened::ParticipantDisconnected(who, _) => format!("disconnected {}", who.identity),
            Happened::TrackSubscribed(who, track) => {
                self.subscribed.push(track.is_encrypted);
                if let Some(encryption) = self.encryption.as_ref().filter(|_| track.is_encrypted) {
                    let opener = FrameOpener::new(encryption, who.identity.clone(), track.sid.clone());
                    self.openers.insert(track.sid.clone(), opener);
                }
                format!("subscribed to {}", who.identity)
            }
            Happened::TrackUnsubscribed(who, _) => format!("unsubscribed from {}", who.identity),
            Happened::TrackSubscriptionAllowed(who, track) => {
                let may = if track.is_allowed { "may" } else { "may not" };
                format!("{may} have a track of {}", who.identity)
            }
            Happened::LocalTrackPublished(..) => "published".to_owned(),
            Happened::LocalTrackRepublished(..) => "republished".to_owned(),
            Happened::LocalTrackUnpublished(..) => "unpublished".to_owned(),
            _ => return,
        };
        self.told.push((now, told));
    }

    /// Sends what is due of its traffic and its voice.
    pub(super) fn speak(&mut self, now: Instant) {
        use roomkey_rtc::{Codec, OutgoingRtp};
        if let Some(traffic) = self.traffic.as_mut().filter(|traffic| traffic.next <= now) {
            traffic.next = now + traffic.every;
            if self.core.can_send_data() {
                let mut payload = traffic.sent.to_be_bytes().to_vec();
                payload.resize(4 + traffic.padding, 7);
                let value = Value::User(proto::UserPacket { payload, ..Default::default() });
                let packet = proto::DataPacket { value: Some(value), ..Default::default() };
                if self.core.send_packet(packet, true, now).is_ok() {
                    traffic.sent += 1;
                }
            }
        }
        if let Some(voice) = self.voice.as_mut().filter(|voice| voice.next <= now) {
            voice.next += PACKET;
            voice.sequence += 1;
            let timestamp = u32::try_from(voice.sequence * 2_880).unwrap();
            let payload = match self.encryption.as_ref().filter(|encryption| encryption.is_enabled()) {
                None => Some(WORD.to_vec()),
                Some(room) => {
                    let track = TrackEncryption { room: Arc::clone(room), id: voice.track };
                    self.sealer.get_or_insert_with(|| FrameSealer::new(&track)).seal(FrameCodec::Audio, &WORD)
                }
            };
            let Some(payload) = payload else { return };
            let packet = OutgoingRtp::new(Codec::Opus, voice.sequence, timestamp, payload)
                .with_audio_level(Some(-10), Some(true));
            // What can't be sent is lost, as a shell has it.
            let _ = self.core.send_rtp(voice.track, packet, now);
            self.core.settle(now);
        }
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        let traffic = self.traffic.as_ref().map(|traffic| traffic.next);
        let voice = self.voice.as_ref().map(|voice| voice.next);
        [self.core.timeout(), traffic, voice].into_iter().flatten().min()
    }
}
