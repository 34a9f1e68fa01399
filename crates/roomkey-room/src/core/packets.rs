//! Packets of data, out and in.

use std::collections::VecDeque;
use std::time::Instant;

use livekit_protocol as proto;
use prost::Message as _;
use proto::data_packet::Value;
use roomkey_rtc::{ChannelId, SendDataError};

use super::reliable::{Incoming, Outgoing};
use super::{Core, Happened};
use crate::data_stream::incoming::{IncomingStreams, Origin};
use crate::data_stream::limits::StreamLimits;
use crate::data_stream::reader::OpenReaders;
use crate::encryption::EncryptionState;
use crate::error::RoomError;
use crate::names::ParticipantIdentity;
use crate::participant::ParticipantState;

/// The largest packet: what LiveKit's SDKs cap SCTP's messages at.
pub(crate) const MAX_PACKET: usize = 64_000;
/// Bytes on their way from which on an application has to wait.
const BUSY: usize = 1024 * 1024;

/// The packets of a room.
#[derive(Debug)]
pub(crate) struct Packets {
    outgoing: Outgoing,
    incoming: Incoming,
    pub(super) streams: IncomingStreams,
    pub(super) readers: OpenReaders,
    /// Numbered and encoded, not yet handed to the channel.
    queue: VecDeque<Vec<u8>>,
    queued: usize,
    is_busy: bool,
}

impl Packets {
    pub(super) fn new(limits: StreamLimits) -> Self {
        Self {
            outgoing: Outgoing::default(),
            incoming: Incoming::default(),
            readers: OpenReaders::new(&limits),
            streams: IncomingStreams::new(limits),
            queue: VecDeque::new(),
            queued: 0,
            is_busy: false,
        }
    }

    /// Another stay: what has not arrived goes out anew.
    pub(super) fn restart(&mut self, now: Instant) {
        self.streams.joined_anew(now);
        self.queue.clear();
        self.queued = 0;
        for packet in self.outgoing.restart() {
            self.push(packet.encode_to_vec());
        }
    }

    fn push(&mut self, bytes: Vec<u8>) {
        self.queued += bytes.len();
        self.queue.push_back(bytes);
    }

    pub(super) fn receive_states(&self) -> Vec<proto::DataChannelReceiveState> {
        self.incoming.states()
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        self.streams.poll_timeout()
    }

    /// Nothing more comes: readers are told.
    pub(super) fn end(&mut self) {
        self.queue.clear();
        self.queued = 0;
        self.streams.disconnected();
        while let Some(event) = self.streams.poll_event() {
            self.readers.handle_event(event, &mut self.streams);
        }
    }
}

impl Core {
    /// Whether reliable data may be sent, or so much is on its way that one has to wait.
    pub(crate) fn can_send_data(&self) -> bool {
        !self.packets.is_busy
    }

    /// Sends a packet of data. A reliable one arrives, once, unless the room ends before; another one may not.
    ///
    /// The addressees are the packet's.
    pub(crate) fn send_packet(
        &mut self,
        packet: proto::DataPacket,
        is_reliable: bool,
        now: Instant,
    ) -> Result<(), RoomError> {
        self.enqueue(packet, is_reliable, now)?;
        self.settle(now);
        Ok(())
    }

    /// Whether calls and answers may be sent. Half of what may be on its way is the application's: who calls without end does not
    /// keep it from sending.
    pub(super) fn has_room_for_calls(&self) -> bool {
        self.packets.outgoing.kept_bytes() < BUSY / 2
    }

    pub(super) fn enqueue(
        &mut self,
        mut packet: proto::DataPacket,
        is_reliable: bool,
        now: Instant,
    ) -> Result<(), RoomError> {
        if self.is_over() {
            return Err(RoomError::Disconnected);
        }
        let local = self.members.participants.local.as_ref();
        if local.is_some_and(|local| !local.permission.can_publish_data) {
            return Err(RoomError::NotAllowed);
        }
        let kind = if is_reliable { proto::data_packet::Kind::Reliable } else { proto::data_packet::Kind::Lossy };
        packet.set_kind(kind);
        if is_reliable
            && let Some(Value::User(user)) = &mut packet.value
            && user.nonce.is_empty()
        {
            // Should it be sent again in another stay, its receiver can tell.
            user.nonce = self.rng.u128(..).to_be_bytes().to_vec();
        }
        let room_for_nonce = if is_reliable { 0 } else { 16 };
        if packet.encoded_len() + room_for_nonce > MAX_PACKET {
            return Err(RoomError::TooLarge { limit: MAX_PACKET });
        }
        self.seal_packet(&mut packet)?;
        if is_reliable {
            let packet = self.packets.outgoing.number(packet);
            self.packets.push(packet.encode_to_vec());
            self.packets.is_busy = self.packets.outgoing.kept_bytes() >= BUSY;
        } else if let Some(transport) = &mut self.link.publisher
            && let Some(channel) = transport.lossy.filter(|_| transport.is_lossy_open)
        {
            // What finds the channel full is lost, as on any network.
            let _ = transport.rtc.send_data(channel, true, packet.encode_to_vec(), now);
        }
        Ok(())
    }

    /// Encrypts what is encrypted of packets, where that is on. It is once and for all: in another stay the same goes out.
    fn seal_packet(&mut self, packet: &mut proto::DataPacket) -> Result<(), RoomError> {
        let Some(encryption) = self.encryption.as_mut().filter(|encryption| encryption.is_sealing()) else {
            return Ok(());
        };
        let Some(value) = packet.value.take() else { return Ok(()) };
        let sealed = encryption.seal(value).map_err(|state| {
            if state == EncryptionState::MissingKey {
                RoomError::MissingKey
            } else {
                RoomError::Invalid("it could not be encrypted")
            }
        })?;
        packet.value = Some(sealed);
        if packet.encoded_len() > MAX_PACKET {
            return Err(RoomError::TooLarge { limit: MAX_PACKET });
        }
        Ok(())
    }

    /// Decrypts a packet that is encrypted, where there may be keys; nothing if it can't be.
    fn open_packet(&mut self, value: Value, sender: &str, now: Instant) -> Option<(Value, bool)> {
        let Some(encryption) = &mut self.encryption else { return Some((value, false)) };
        let Value::EncryptedPacket(packet) = value else { return Some((value, false)) };
        let sender = ParticipantIdentity::from(sender);
        let (value, changes) = encryption.open(now, &sender, packet);
        let changed = |state| Happened::DataEncryptionChanged(sender.clone(), state);
        self.told.extend(changes.into_iter().map(changed));
        Some((value?, true))
    }

    /// Hands to the channel what it takes, and forgets what has arrived.
    pub(super) fn flush_packets(&mut self, now: Instant) {
        let Some(transport) = &mut self.link.publisher else { return };
        let Some(channel) = transport.reliable.filter(|_| transport.is_reliable_open) else { return };
        while let Some(bytes) = self.packets.queue.front() {
            match transport.rtc.send_data(channel, true, bytes.clone(), now) {
                Ok(()) => {}
                Err(SendDataError::TooLarge { .. }) => {
                    tracing::warn!(bytes = bytes.len(), "the server takes no data of this size, it is dropped");
                }
                Err(_) => break,
            }
            self.packets.queued -= self.packets.queue.pop_front().map_or(0, |bytes| bytes.len());
        }
        let on_their_way = transport.rtc.buffered_amount(channel) + self.packets.queued;
        self.packets.outgoing.unacknowledged(on_their_way);
        self.packets.is_busy = self.packets.outgoing.kept_bytes() >= BUSY;
    }

    pub(super) fn handle_packets_timeout(&mut self, now: Instant) {
        self.packets.streams.handle_timeout(now);
        self.calls.rpc.handle_timeout(now);
    }

    /// Streams and calls of those who have left end. The streams of one who left for another stay go on.
    pub(super) fn senders_left(&mut self, now: Instant) {
        for happened in &self.told {
            if let Happened::ParticipantDisconnected(participant, _) = happened {
                let again = self.members.participants.remote.get(&participant.identity);
                match again {
                    Some(again) => {
                        self.packets.streams.sender_came_again(&participant.sid, &again.sid, now);
                        if again.state == ParticipantState::Active {
                            self.packets.streams.sender_is_active(&again.sid, now);
                        }
                    }
                    None => self.packets.streams.participant_left(&participant.identity, &participant.sid),
                }
                self.calls.rpc.participant_left(now, &participant.identity, again.is_some());
                if let Some(encryption) = &mut self.encryption {
                    encryption.left(&participant.identity);
                }
            } else if let Happened::ParticipantActive(participant) = happened {
                self.packets.streams.sender_is_active(&participant.sid, now);
            }
        }
    }

    /// Hands what has come of streams to their readers or to RPC, and does what RPC wants.
    pub(super) fn drain_streams(&mut self, now: Instant) {
        while let Some(event) = self.packets.streams.poll_event() {
            let Some(event) = self.calls.rpc.handle_stream(now, event) else { continue };
            if let Some(reader) = self.packets.readers.handle_event(event, &mut self.packets.streams) {
                self.told.push(Happened::StreamOpened(reader));
            }
        }
        self.drain_calls(now);
    }

    pub(super) fn handle_data(&mut self, is_subscriber: bool, channel: ChannelId, bytes: &[u8], now: Instant) {
        let Some(transport) = self.link.transport_mut(is_subscriber) else { return };
        let is_reliable =
            Some(channel) == transport.reliable || transport.rtc.channel_label(channel) == Some("_reliable");
        let packet = match proto::DataPacket::decode(bytes) {
            Ok(packet) => packet,
            Err(error) => return tracing::debug!(%error, "a packet of data is passed over"),
        };
        if is_reliable && !self.packets.incoming.is_new(&packet.participant_sid, packet.sequence, now) {
            return;
        }
        let Some(value) = packet.value else { return };
        let Some((value, is_encrypted)) = self.open_packet(value, &packet.participant_identity, now) else {
            return self.drain_streams(now);
        };
        // Old servers name the sender of user data inside.
        let (mut identity, mut sid) = (packet.participant_identity, packet.participant_sid);
        if let Value::User(user) = &value {
            if !self.packets.incoming.is_new_nonce(&user.nonce) {
                return;
            }
            #[expect(deprecated, reason = "old servers say it nowhere else")]
            if identity.is_empty() && sid.is_empty() {
                (identity, sid) = (user.participant_identity.clone(), user.participant_sid.clone());
            }
        }
        let origin = Origin { identity: identity.as_str().into(), sid: sid.as_str().into(), is_encrypted };
        let value = self.calls.rpc.handle_packet(now, &origin.identity, value);
        let Some(value) = value.and_then(|value| self.packets.streams.handle_packet(now, &origin, value)) else {
            // At once, since what a packet unpacks to is bounded by what its reader may keep.
            return self.drain_streams(now);
        };
        let participant = self.members.sender(&identity, &sid);
        let sender =
            participant.as_ref().map_or_else(|| identity.as_str().into(), |participant| participant.identity.clone());
        self.told.push(Happened::Packet { is_reliable, sender, participant, value, is_encrypted });
    }
}
