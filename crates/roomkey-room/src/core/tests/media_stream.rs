//! A connection that media goes over, to the server or to a TURN server.

use std::net::SocketAddr;

use roomkey_rtc::framing::Frames;

use super::tcp::{Segment, Tcp};
use crate::core::{SocketId, StreamId};

/// Pieces that wait for the network before packets are dropped, as a shell drops them.
const FULL: usize = 64;

#[derive(Debug)]
pub(super) struct MediaStream {
    pub(super) key: (SocketId, StreamId),
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) tcp: Tcp,
    pub(super) is_open: bool,
    /// What has come at the other end: of a candidate, or of a TURN server.
    pub(super) frames: Frames,
    pub(super) bytes: Vec<u8>,
}

impl MediaStream {
    pub(super) fn new(key: (SocketId, StreamId), local: SocketAddr, remote: SocketAddr, tcp: Tcp) -> Self {
        Self { key, local, remote, tcp, is_open: false, frames: Frames::new(), bytes: Vec::new() }
    }

    /// What a shell sends of it.
    pub(super) fn piece(&self, bytes: Vec<u8>, may_be_lost: bool) -> Option<Segment> {
        let is_full = self.tcp.up.waiting() >= FULL;
        (self.is_open && !(may_be_lost && is_full)).then_some(Segment::Message(bytes))
    }
}
