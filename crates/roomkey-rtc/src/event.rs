//! What a connection gives when it is polled.

use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use crate::candidate::Protocol;
use crate::channel::ChannelId;
use crate::media::{MediaKind, Mid, Msid, Rid};
use crate::receiver::IncomingRtp;
use crate::sender::SenderId;

/// One thing that [`PeerConnection::poll`](crate::PeerConnection::poll) wants done.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a driver has to handle each, and a new one would break its contract anyway"
)]
pub enum Output {
    /// Send this packet.
    Transmit(Transmit),
    /// Something happened.
    Event(Event),
    /// There is nothing more to do until this time: call [`handle_timeout`](crate::PeerConnection::handle_timeout) then.
    Timeout(Instant),
}

/// A packet on its way out: a datagram, or a [frame](crate::framing) of a TCP connection.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transmit {
    /// What carries it.
    pub protocol: Protocol,
    /// The local address to send it from: that of a socket, or the one that a relay lends.
    pub source: SocketAddr,
    /// Where it goes.
    pub destination: SocketAddr,
    /// What it says.
    pub payload: Vec<u8>,
}

impl Transmit {
    /// A datagram.
    pub fn udp(source: SocketAddr, destination: SocketAddr, payload: Vec<u8>) -> Self {
        Self { protocol: Protocol::Udp, source, destination, payload }
    }
}

impl fmt::Debug for Transmit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, source, destination, payload } = self;
        write!(f, "Transmit({protocol} {source} -> {destination}, {} bytes)", payload.len())
    }
}

/// What happened in a connection.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// ICE has found a path, lost it, or is looking for one.
    IceStateChanged(IceState),
    /// ICE and DTLS are up: media and data can flow. Once in a connection's life.
    Connected,
    /// The connection is over, because one of the sides closed it or it [failed](crate::PeerConnection::failure).
    Closed,
    /// A data channel can be used: one of ours, or one that the other side opened.
    ChannelOpened {
        /// The channel.
        id: ChannelId,
        /// Its label.
        label: String,
    },
    /// A data channel is gone, with what waited in its queue.
    ChannelClosed {
        /// The channel.
        id: ChannelId,
    },
    /// A message has come.
    Data {
        /// The channel.
        id: ChannelId,
        /// Whether it was sent as binary, rather than as text.
        binary: bool,
        /// The message.
        bytes: Vec<u8>,
    },
    /// What waits in a channel has come down to the mark that
    /// [`set_low_water`](crate::PeerConnection::set_low_water) set.
    BufferedAmountLow {
        /// The channel.
        id: ChannelId,
    },
    /// The other side has begun to send a track.
    MediaAdded {
        /// The section.
        mid: Mid,
        /// Audio or video.
        kind: MediaKind,
        /// Which track.
        msid: Msid,
        /// Its simulcast layers; none where there is no simulcast.
        rids: Vec<Rid>,
    },
    /// The other side has ended the track of a section. The section may get another one.
    MediaRemoved {
        /// The section.
        mid: Mid,
    },
    /// A packet has come.
    RtpReceived {
        /// The section.
        mid: Mid,
        /// The simulcast layer.
        rid: Option<Rid>,
        /// The packet.
        packet: IncomingRtp,
    },
    /// The other side can't go on without a key frame (PLI or FIR).
    KeyframeRequested {
        /// Our sender.
        sender: SenderId,
        /// The section that it is in.
        mid: Mid,
        /// The simulcast layer.
        rid: Option<Rid>,
    },
    /// How much can be sent, with [`with_bandwidth_estimation`](crate::Config::with_bandwidth_estimation).
    BandwidthEstimated {
        /// Bits per second.
        bits_per_second: u64,
    },
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IceStateChanged(state) => f.debug_tuple("IceStateChanged").field(state).finish(),
            Self::Connected => f.write_str("Connected"),
            Self::Closed => f.write_str("Closed"),
            Self::ChannelOpened { id, label } => {
                f.debug_struct("ChannelOpened").field("id", id).field("label", label).finish()
            }
            Self::ChannelClosed { id } => f.debug_struct("ChannelClosed").field("id", id).finish(),
            // What people say to each other is not for a log.
            Self::Data { id, binary, bytes } => {
                f.debug_struct("Data").field("id", id).field("binary", binary).field("bytes", &bytes.len()).finish()
            }
            Self::BufferedAmountLow { id } => f.debug_struct("BufferedAmountLow").field("id", id).finish(),
            Self::MediaAdded { mid, kind, msid, rids } => f
                .debug_struct("MediaAdded")
                .field("mid", mid)
                .field("kind", kind)
                .field("msid", msid)
                .field("rids", rids)
                .finish(),
            Self::MediaRemoved { mid } => f.debug_struct("MediaRemoved").field("mid", mid).finish(),
            Self::RtpReceived { mid, rid, packet } => {
                f.debug_struct("RtpReceived").field("mid", mid).field("rid", rid).field("packet", packet).finish()
            }
            Self::KeyframeRequested { sender, mid, rid } => {
                f.debug_struct("KeyframeRequested").field("sender", sender).field("mid", mid).field("rid", rid).finish()
            }
            Self::BandwidthEstimated { bits_per_second } => {
                f.debug_struct("BandwidthEstimated").field("bits_per_second", bits_per_second).finish()
            }
        }
    }
}

/// How ICE is doing (RFC 8445).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum IceState {
    /// Nothing has been tried.
    New,
    /// Pairs of addresses are being tried.
    Checking,
    /// A path was found; better ones are being looked for.
    Connected,
    /// A path was found.
    Completed,
    /// The path does not answer. It may come back by itself; an
    /// [ICE restart](crate::PeerConnection::restart_ice) looks for another one.
    Disconnected,
}

/// Why a connection failed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ConnectionError {
    what: String,
}

impl ConnectionError {
    pub(crate) fn new(what: impl fmt::Display) -> Self {
        Self { what: what.to_string() }
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the connection failed: {}", self.what)
    }
}

impl std::error::Error for ConnectionError {}
