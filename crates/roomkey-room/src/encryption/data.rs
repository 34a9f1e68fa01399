//! Packets of data: what is sealed of them, and how.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use livekit_protocol as proto;
use prost::Message as _;
use proto::data_packet::Value;
use proto::encrypted_packet_payload::Value as Payload;

use super::context::RoomEncryption;
use super::key::IV;
use super::opener::ReceivingRing;
use super::sealer::SendingKey;
use super::state::EncryptionState;
use crate::names::ParticipantIdentity;

/// Seals this client's packets and opens others'.
#[derive(Debug)]
pub(crate) struct DataEncryption {
    room: Arc<RoomEncryption>,
    sending: SendingKey,
    senders: HashMap<ParticipantIdentity, Sender>,
}

#[derive(Debug)]
struct Sender {
    ring: ReceivingRing,
    state: EncryptionState,
}

/// Senders whose keys are at hand; those of more are looked up again.
const MOST_SENDERS: usize = 4_096;

impl DataEncryption {
    pub(crate) fn new(room: Arc<RoomEncryption>) -> Self {
        Self { room, sending: SendingKey::default(), senders: HashMap::new() }
    }

    /// Whether what this client sends is to be sealed.
    pub(crate) fn is_sealing(&self) -> bool {
        self.room.options.encrypts_data && self.room.is_enabled()
    }

    /// Whether there is a key to seal with.
    pub(crate) fn can_seal(&self) -> bool {
        let keys = self.room.keys();
        keys.key(&self.room.identity(), keys.key_index()).is_some()
    }

    /// Seals what a packet has, if it is something that is sealed.
    pub(crate) fn seal(&mut self, value: Value) -> Result<Value, EncryptionState> {
        let payload = match to_payload(value) {
            Ok(payload) => proto::EncryptedPacketPayload { value: Some(payload) },
            Err(other) => return Ok(*other),
        };
        let (key, key_index, iv) = self.sending.next(&self.room)?;
        let mut sealed = payload.encode_to_vec();
        key.seal(&iv, 0, &mut sealed).ok_or(EncryptionState::EncryptionFailed)?;
        let mut packet = proto::EncryptedPacket {
            encrypted_value: sealed,
            iv: iv.to_vec(),
            key_index: key_index.into(),
            ..Default::default()
        };
        packet.set_encryption_type(proto::encryption::Type::Gcm);
        Ok(Value::EncryptedPacket(packet))
    }

    /// Opens a packet. With it comes the sender's state, if it is another one.
    pub(crate) fn open(
        &mut self,
        now: Instant,
        sender: &ParticipantIdentity,
        packet: proto::EncryptedPacket,
    ) -> (Option<Value>, Vec<EncryptionState>) {
        if self.senders.len() >= MOST_SENDERS && !self.senders.contains_key(sender) {
            self.senders.clear();
        }
        let of = self
            .senders
            .entry(sender.clone())
            .or_insert_with(|| Sender { ring: ReceivingRing::new(sender.clone()), state: EncryptionState::New });
        let (value, states) = match open(&self.room, &mut of.ring, now, packet) {
            Ok((value, true)) => (Some(value), vec![EncryptionState::KeyRatcheted, EncryptionState::Ok]),
            Ok((value, false)) => (Some(value), vec![EncryptionState::Ok]),
            Err(state) => (None, vec![state]),
        };
        let mut changes = Vec::new();
        for state in states {
            if std::mem::replace(&mut of.state, state) != state {
                changes.push(state);
            }
        }
        (value, changes)
    }

    /// Somebody is gone.
    pub(crate) fn left(&mut self, sender: &ParticipantIdentity) {
        self.senders.remove(sender);
    }
}

fn open(
    room: &RoomEncryption,
    ring: &mut ReceivingRing,
    now: Instant,
    packet: proto::EncryptedPacket,
) -> Result<(Value, bool), EncryptionState> {
    let key_index = u8::try_from(packet.key_index).map_err(|_| EncryptionState::MissingKey)?;
    let iv: [u8; IV] = packet.iv.try_into().map_err(|_| EncryptionState::DecryptionFailed)?;
    let mut body = packet.encrypted_value;
    let ratcheted = ring.open(room, now, key_index, &iv, 0, &mut body)?;
    let payload = proto::EncryptedPacketPayload::decode(&body[..]).map_err(|_| EncryptionState::DecryptionFailed)?;
    let value = payload.value.map(of_payload).ok_or(EncryptionState::DecryptionFailed)?;
    Ok((value, ratcheted))
}

/// What LiveKit's clients seal: all but tones of telephones, metrics, and what only the server and old agents send.
#[expect(clippy::wildcard_enum_match_arm, reason = "what is not named has no place in what is sealed")]
fn to_payload(value: Value) -> Result<Payload, Box<Value>> {
    Ok(match value {
        Value::User(user) => Payload::User(user),
        Value::ChatMessage(message) => Payload::ChatMessage(message),
        Value::RpcRequest(request) => Payload::RpcRequest(request),
        Value::RpcAck(ack) => Payload::RpcAck(ack),
        Value::RpcResponse(response) => Payload::RpcResponse(response),
        Value::StreamHeader(header) => Payload::StreamHeader(header),
        Value::StreamChunk(chunk) => Payload::StreamChunk(chunk),
        Value::StreamTrailer(trailer) => Payload::StreamTrailer(trailer),
        other => return Err(Box::new(other)),
    })
}

fn of_payload(value: Payload) -> Value {
    match value {
        Payload::User(user) => Value::User(user),
        Payload::ChatMessage(message) => Value::ChatMessage(message),
        Payload::RpcRequest(request) => Value::RpcRequest(request),
        Payload::RpcAck(ack) => Value::RpcAck(ack),
        Payload::RpcResponse(response) => Value::RpcResponse(response),
        Payload::StreamHeader(header) => Value::StreamHeader(header),
        Payload::StreamChunk(chunk) => Value::StreamChunk(chunk),
        Payload::StreamTrailer(trailer) => Value::StreamTrailer(trailer),
    }
}
