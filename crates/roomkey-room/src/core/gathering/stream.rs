//! A connection of TCP or TLS, from the wish to its end.

use std::net::SocketAddr;
use std::time::Instant;

use roomkey_rtc::Candidate;
use roomkey_rtc::framing::Frames;

use super::StreamId;

/// A connection that is open, or being opened.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) purpose: Purpose,
    /// Here and there, once it is open.
    pub(super) ends: Option<(SocketAddr, SocketAddr)>,
    /// When it is given up, until it is open.
    pub(super) deadline: Option<Instant>,
}

/// What goes over it.
#[derive(Debug)]
pub(super) enum Purpose {
    /// Packets to a candidate of the other side's.
    Candidate { target: SocketAddr, frames: Frames, candidate: Option<Box<Candidate>> },
    /// TURN, to the server of this number.
    Relay { server: usize },
}

impl Purpose {
    pub(super) fn candidate(target: SocketAddr) -> Self {
        Self::Candidate { target, frames: Frames::new(), candidate: None }
    }
}

impl Stream {
    pub(super) fn new(id: StreamId, purpose: Purpose, deadline: Instant) -> Self {
        Self { id, purpose, ends: None, deadline: Some(deadline) }
    }

    pub(super) fn opened(&mut self, local: SocketAddr, remote: SocketAddr) {
        (self.ends, self.deadline) = (Some((local, remote)), None);
    }

    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}
