//! A peer connection of a participant, with its data channels.

use std::collections::VecDeque;
use std::time::Instant;

use livekit_protocol::data_packet::Kind;
use roomkey_rtc::{ChannelConfig, ChannelId, PeerConnection, SendDataError};

/// Reliable data that waits for its channel, in bytes.
const MAX_QUEUED: usize = 4 * 1024 * 1024;
const RELIABLE: &str = "_reliable";
const LOSSY: &str = "_lossy";

/// Why a packet is not on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undelivered {
    /// As much reliable data waits as may: the client does not read.
    Full,
    /// The client takes no packet of this size.
    TooLarge {
        /// The largest that it takes, in bytes.
        limit: usize,
    },
}

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

    /// A channel is there, ours or the client's. What waited for it goes out.
    ///
    /// # Errors
    ///
    /// Why the first packet that did not go out did not.
    pub(super) fn channel_opened(&mut self, id: ChannelId, label: &str, now: Instant) -> Result<(), Undelivered> {
        match label {
            RELIABLE => self.reliable = Some((id, true)),
            LOSSY => self.lossy = Some((id, true)),
            // `_data_track` and whatever comes: nothing is sent on it.
            _ => return Ok(()),
        }
        let mut sent = Ok(());
        if label == RELIABLE {
            self.queued_bytes = 0;
            for packet in std::mem::take(&mut self.queued) {
                let next = self.send(Kind::Reliable, packet, now);
                sent = sent.and(next);
            }
        }
        sent
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

    /// Sends a data packet. Reliable data waits for its channel; lossy data does not, and is lost where there is no room.
    ///
    /// # Errors
    ///
    /// [`Undelivered`]; the packet is dropped.
    pub(super) fn send(&mut self, kind: Kind, packet: Vec<u8>, now: Instant) -> Result<(), Undelivered> {
        let channel = if kind == Kind::Reliable { self.reliable } else { self.lossy };
        match (channel, kind) {
            (Some((id, true)), _) => match self.connection.send_data(id, true, packet, now) {
                Err(SendDataError::Full) if kind == Kind::Reliable => Err(Undelivered::Full),
                Err(SendDataError::TooLarge { limit }) => Err(Undelivered::TooLarge { limit }),
                // A connection that has closed: its client is about to be missed, and may join anew.
                _ => Ok(()),
            },
            (_, Kind::Reliable) if self.queued_bytes + packet.len() > MAX_QUEUED => Err(Undelivered::Full),
            (_, Kind::Reliable) => {
                self.queued_bytes += packet.len();
                self.queued.push_back(packet);
                Ok(())
            }
            (_, Kind::Lossy) => Ok(()),
        }
    }
}
