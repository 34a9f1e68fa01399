//! Data packets between participants: user data, streams, RPC, transcriptions. The server looks at who sends and who is
//! meant; what is said passes as it is, once.

use livekit_protocol as proto;
use prost::Message as _;
use proto::data_packet::{Kind, Value};
use proto::data_stream::header::ContentHeader;

use super::Context;
use super::history::Destinations;
use super::participant::{Participant, ParticipantId};
use super::peer::Undelivered;
use super::room::{Announce, Room};
use crate::event::Event;

/// More than a client's data channel carries in a message.
const MAX_PACKET: usize = 256 * 1024;

impl Room {
    pub(super) fn handle_data(&mut self, id: ParticipantId, kind: Kind, bytes: &[u8], cx: &mut Context<'_>) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if !participant.permission.can_publish_data || bytes.len() > MAX_PACKET {
            return;
        }
        let Ok(mut packet) = proto::DataPacket::decode(bytes) else {
            tracing::debug!(identity = %participant.identity, "data that is no packet");
            return;
        };
        if kind == Kind::Reliable && packet.sequence > 0 {
            // What a client sends again after it resumed may have come before.
            if packet.sequence <= participant.last_sequence {
                return;
            }
            participant.last_sequence = packet.sequence;
        }
        set_kind(&mut packet, kind);
        if !name_sender(&mut packet, participant) {
            return;
        }
        if let Some(Value::User(user)) = &packet.value
            && self.nonces.is_known(&user.nonce)
        {
            return;
        }
        self.deliver(id, kind, &packet, cx);
    }

    /// Hands a packet to those whom it is for.
    pub(super) fn deliver(
        &mut self,
        from: ParticipantId,
        kind: Kind,
        packet: &proto::DataPacket,
        cx: &mut Context<'_>,
    ) {
        let to = destinations(packet);
        let bytes = packet.encode_to_vec();
        if kind == Kind::Reliable {
            let sender = self.participants.get(&from).map(|sender| sender.identity.as_str()).unwrap_or_default();
            self.history.record(packet, sender, &to, &bytes, cx.now.instant);
        }
        let mut undelivered = Vec::new();
        let mut for_echo = false;
        for (id, receiver) in &mut self.participants {
            if from == *id || !to.include(&receiver.identity, &receiver.sid) {
                continue;
            }
            if self.echo.as_ref().is_some_and(|echo| echo.participant == *id) {
                for_echo = true;
                continue;
            }
            let sent = receiver.primary().send(kind, bytes.clone(), cx.now.instant);
            undelivered.extend(sent.err().map(|why| (*id, why)));
            self.dirty.insert(*id);
        }
        for (id, why) in undelivered {
            self.handle_undelivered(id, why, cx);
        }
        if for_echo {
            self.echo_data(from, packet, cx);
        }
    }

    /// A client gets what it missed when it was another participant, once. Who only lost the websocket missed nothing.
    pub(super) fn replay(
        &mut self,
        id: ParticipantId,
        received: &[proto::DataChannelReceiveState],
        cx: &mut Context<'_>,
    ) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let Some(missed) = participant.missed.take() else { return };
        let packets: Vec<_> = self.history.newer(&missed, &participant.identity, received).collect();
        let mut sent = Ok(());
        for packet in packets {
            let next = participant.primary().send(Kind::Reliable, packet.to_vec(), cx.now.instant);
            sent = sent.and(next);
        }
        self.dirty.insert(id);
        if let Err(why) = sent {
            self.handle_undelivered(id, why, cx);
        }
    }

    /// Whose reliable data can't be kept waiting is let go, and may join anew; a packet that it can't take is missed.
    pub(super) fn handle_undelivered(&mut self, id: ParticipantId, why: Undelivered, cx: &mut Context<'_>) {
        let Some(participant) = self.participants.get(&id) else { return };
        match why {
            Undelivered::Full => self.remove(id, proto::DisconnectReason::MediaFailure, Announce::Yes, cx),
            Undelivered::TooLarge { limit } => {
                let (room, identity) = (self.info.name.clone(), participant.identity.clone());
                cx.happened(Event::DataDropped { room, identity, limit });
            }
        }
    }
}

/// What a client writes there is not read: the channel says it.
#[expect(deprecated, reason = "clients read it all the same")]
fn set_kind(packet: &mut proto::DataPacket, kind: Kind) {
    packet.kind = kind as i32;
}

/// Writes into a packet who sent it, whatever is there. Whether others get it at all. Both are as in livekit-server: an agent
/// says whose words a text is, who is hidden is not named, and only agents transcribe. Metrics are for who may subscribe to
/// them, which nobody can here.
#[expect(deprecated, reason = "older clients read the sender in the user's packet")]
fn name_sender(packet: &mut proto::DataPacket, sender: &Participant) -> bool {
    let is_agent = sender.speaks_for_others();
    let names_another = !packet.participant_identity.is_empty() && packet.participant_identity != sender.identity;
    let visible = |text: &String| if sender.permission.hidden { String::new() } else { text.clone() };
    let mut is_anothers = false;
    match &mut packet.value {
        Some(Value::User(user)) => {
            user.participant_sid = visible(&sender.sid);
            user.participant_identity = visible(&sender.identity);
        }
        Some(Value::ChatMessage(message)) if is_agent && names_another => {
            message.generated = true;
            is_anothers = true;
        }
        Some(Value::StreamHeader(header)) if is_agent && names_another => {
            if let Some(ContentHeader::TextHeader(text)) = &mut header.content_header {
                text.generated = true;
                is_anothers = true;
            }
        }
        Some(Value::Transcription(_)) if !is_agent => return false,
        Some(Value::Metrics(_)) => return false,
        _ => {}
    }
    if !is_anothers {
        packet.participant_identity = visible(&sender.identity);
    }
    packet.participant_sid.clone_from(&sender.sid);
    true
}

#[expect(deprecated, reason = "older clients write the destinations in the user's packet")]
fn destinations(packet: &proto::DataPacket) -> Destinations {
    let mut to = Destinations { identities: packet.destination_identities.clone(), sids: Vec::new() };
    if let Some(Value::User(user)) = &packet.value {
        to.identities.extend(user.destination_identities.iter().cloned());
        to.sids.extend(user.destination_sids.iter().cloned());
    }
    to
}
