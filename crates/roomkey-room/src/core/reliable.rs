//! Reliable data packets: each once and in order, over resumes and full reconnects.
//!
//! A sender numbers its packets from 1, for one stay in the room. A receiver drops what is not newer than the last one of
//! that stay (livekit-server, `pkg/rtc/participant.go`). A resume keeps the SCTP association, which loses nothing by itself. A
//! full reconnect does not: what was not acknowledged is kept for it, and sent again under new numbers.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use livekit_protocol as proto;

/// Numbers of stays that are remembered, and for how long after their last packet.
const MAX_SENDERS: usize = 4_096;
const REMEMBERED: Duration = Duration::from_secs(60);
/// Nonces that are remembered.
const MAX_NONCES: usize = 4_096;

/// What is sent.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    last_sequence: u32,
    /// Encoded packets that are not known to have arrived, oldest first.
    kept: VecDeque<Kept>,
    kept_bytes: usize,
}

#[derive(Debug)]
struct Kept {
    packet: proto::DataPacket,
    bytes: usize,
}

impl Outgoing {
    /// Numbers a packet, and keeps it.
    pub(crate) fn number(&mut self, mut packet: proto::DataPacket) -> proto::DataPacket {
        self.last_sequence = self.last_sequence.wrapping_add(1).max(1);
        packet.sequence = self.last_sequence;
        let bytes = prost::Message::encoded_len(&packet);
        self.kept_bytes += bytes;
        self.kept.push_back(Kept { packet: packet.clone(), bytes });
        packet
    }

    /// So many bytes are not acknowledged by the other side's SCTP: what was sent before them has arrived.
    pub(crate) fn unacknowledged(&mut self, bytes: usize) {
        while let Some(oldest) = self.kept.front() {
            if self.kept_bytes - oldest.bytes < bytes {
                break;
            }
            self.kept_bytes -= oldest.bytes;
            self.kept.pop_front();
        }
    }

    /// A new stay begins: what has not arrived is numbered anew and sent again.
    pub(crate) fn restart(&mut self) -> Vec<proto::DataPacket> {
        let kept = std::mem::take(self).kept;
        kept.into_iter().map(|kept| self.number(kept.packet)).collect()
    }

    pub(crate) fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }
}

/// What is received.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    senders: HashMap<String, (u32, Instant)>,
    nonces: HashSet<Vec<u8>>,
    order: VecDeque<Vec<u8>>,
}

impl Incoming {
    /// Whether a packet of this stay and number is a new one. A packet without a number is.
    pub(crate) fn is_new(&mut self, participant_sid: &str, sequence: u32, now: Instant) -> bool {
        if sequence == 0 || participant_sid.is_empty() {
            return true;
        }
        if let Some((last, heard)) = self.senders.get_mut(participant_sid) {
            if sequence <= *last {
                return false;
            }
            (*last, *heard) = (sequence, now);
            return true;
        }
        if self.senders.len() >= MAX_SENDERS {
            self.senders.retain(|_, (_, heard)| now.saturating_duration_since(*heard) < REMEMBERED);
        }
        if self.senders.len() < MAX_SENDERS {
            self.senders.insert(participant_sid.to_owned(), (sequence, now));
        }
        true
    }

    /// Whether a message with this nonce is a new one: a sender that reconnected in full may send one again as another stay.
    pub(crate) fn is_new_nonce(&mut self, nonce: &[u8]) -> bool {
        const LONGEST: usize = 64;
        if nonce.is_empty() || nonce.len() > LONGEST {
            return true;
        }
        if !self.nonces.insert(nonce.to_vec()) {
            return false;
        }
        self.order.push_back(nonce.to_vec());
        if self.order.len() > MAX_NONCES
            && let Some(oldest) = self.order.pop_front()
        {
            self.nonces.remove(&oldest);
        }
        true
    }

    /// What a server is told so that it can send again what did not come.
    pub(crate) fn states(&self) -> Vec<proto::DataChannelReceiveState> {
        let state = |(sid, (last, _)): (&String, &(u32, Instant))| proto::DataChannelReceiveState {
            publisher_sid: sid.clone(),
            last_seq: *last,
        };
        self.senders.iter().map(state).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(text: &str) -> proto::DataPacket {
        let user = proto::UserPacket { payload: text.as_bytes().to_vec(), ..Default::default() };
        proto::DataPacket { value: Some(proto::data_packet::Value::User(user)), ..Default::default() }
    }

    #[test]
    fn only_what_is_not_acknowledged_is_kept_for_another_stay() {
        let mut outgoing = Outgoing::default();
        let sizes: Vec<_> =
            ["a", "b", "c"].map(|text| prost::Message::encoded_len(&outgoing.number(packet(text)))).into();
        outgoing.unacknowledged(sizes[1] + sizes[2]);
        let again: Vec<_> = outgoing.restart().iter().map(|packet| packet.sequence).collect();
        assert_eq!(again, [1, 2]);
        outgoing.unacknowledged(0);
        assert_eq!(outgoing.restart(), []);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
    fn a_packet_that_comes_twice_is_taken_once_and_other_stays_have_numbers_of_their_own() {
        let (mut incoming, now) = (Incoming::default(), Instant::now());
        assert!(incoming.is_new("PA_a", 1, now) && incoming.is_new("PA_a", 2, now) && incoming.is_new("PA_b", 1, now));
        assert!(!incoming.is_new("PA_a", 2, now) && !incoming.is_new("PA_a", 1, now));
        assert!(incoming.is_new("PA_a", 0, now) && incoming.is_new("", 1, now));
        assert!(incoming.is_new_nonce(b"x") && !incoming.is_new_nonce(b"x") && incoming.is_new_nonce(b""));
        for sender in 0..2 * MAX_SENDERS {
            incoming.is_new(&format!("PA_{sender}"), 1, now);
            incoming.is_new_nonce(format!("{sender}").as_bytes());
        }
        assert!(incoming.states().len() <= MAX_SENDERS && incoming.order.len() <= MAX_NONCES);
    }
}
