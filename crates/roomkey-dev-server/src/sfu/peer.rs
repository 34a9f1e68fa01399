//! A peer connection of a participant, with its data channels.

use std::collections::VecDeque;
use std::time::Instant;

use livekit_protocol::data_packet::Kind;
use roomkey_rtc::{ChannelConfig, ChannelId, PeerConnection};

/// Reliable data that waits for its channel, in bytes; what does not fit is dropped with its oldest.
const MAX_QUEUED: usize = 4 * 1024 * 1024;
const RELIABLE: &str = "_reliable";
const LOSSY: &str = "_lossy";

/// One connection and what the server remembers of it.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) connection: PeerConnection,
    /// When it wants to be driven next.
    pub(super) timeout: Option<Instant>,
    /// When the client was last heard on it.
    pub(super) heard: Option<Instant>,
    pub(super) is_connected: bool,
    /// The id of the offer that waits for its answer.
    pub(super) awaits_answer: Option<u32>,
    pub(super) last_offer: u32,
    reliable: Option<(ChannelId, bool)>,
    lossy: Option<(ChannelId, bool)>,
    queued: VecDeque<Vec<u8>>,
    queued_bytes: usize,
}

impl Peer {
    pub(super) fn new(connection: PeerConnection) -> Self {
        Self {
            connection,
            timeout: None,
            heard: None,
            is_connected: false,
            awaits_answer: None,
            last_offer: 0,
            reliable: None,
            lossy: None,
            queued: VecDeque::new(),
            queued_bytes: 0,
        }
    }

    /// Makes the two channels that a subscriber's connection has.
    pub(super) fn open_channels(&mut self) {
        let reliable = ChannelConfig::new(RELIABLE);
        let lossy = ChannelConfig::new(LOSSY).with_ordered(false).with_max_retransmits(Some(0));
        self.reliable = Some((self.connection.open_channel(reliable), false));
        self.lossy = Some((self.connection.open_channel(lossy), false));
    }

    /// A channel is there, ours or the client's.
    pub(super) fn channel_opened(&mut self, id: ChannelId, label: &str, now: Instant) {
        match label {
            RELIABLE => self.reliable = Some((id, true)),
            LOSSY => self.lossy = Some((id, true)),
            // `_data_track` and whatever comes: nothing is sent on it.
            _ => return,
        }
        if label == RELIABLE {
            self.queued_bytes = 0;
            for packet in std::mem::take(&mut self.queued) {
                self.send(Kind::Reliable, packet, now);
            }
        }
    }

    pub(super) fn channel_closed(&mut self, id: ChannelId) {
        for channel in [&mut self.reliable, &mut self.lossy] {
            if channel.is_some_and(|(open, _)| open == id) {
                *channel = None;
            }
        }
    }

    /// The kind of data that comes on a channel.
    pub(super) fn kind_of(&self, id: ChannelId) -> Option<Kind> {
        let is = |channel: Option<(ChannelId, bool)>| channel.is_some_and(|(open, _)| open == id);
        if is(self.reliable) {
            Some(Kind::Reliable)
        } else if is(self.lossy) {
            Some(Kind::Lossy)
        } else {
            None
        }
    }

    /// Sends a data packet. Reliable data waits for its channel; lossy data does not.
    pub(super) fn send(&mut self, kind: Kind, packet: Vec<u8>, now: Instant) {
        let channel = if kind == Kind::Reliable { self.reliable } else { self.lossy };
        match (channel, kind) {
            // A full queue is a client that does not read: its data ends there, and nobody else waits for it.
            (Some((id, true)), _) => drop(self.connection.send_data(id, true, packet, now)),
            (_, Kind::Reliable) => {
                self.queued_bytes += packet.len();
                self.queued.push_back(packet);
                while self.queued_bytes > MAX_QUEUED {
                    self.queued_bytes -= self.queued.pop_front().map_or(0, |oldest| oldest.len());
                }
            }
            (_, Kind::Lossy) => {}
        }
    }
}
