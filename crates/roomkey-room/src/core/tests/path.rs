//! What lies between a client and the server: how long it takes, what it loses.

use std::time::{Duration, Instant};

use fastrand::Rng;

/// The way from one client to the server and back; both directions are alike.
#[derive(Debug, Clone)]
pub(super) struct Path {
    /// One way.
    pub(super) delay: Duration,
    /// A datagram takes up to this much longer, so that datagrams overtake each other.
    pub(super) jitter: Duration,
    /// The share of packets that are lost.
    pub(super) loss: f64,
    /// The share of datagrams that come twice.
    pub(super) duplicates: f64,
    /// Bytes a second of datagrams, each way.
    pub(super) rate: Option<u32>,
    /// Datagrams pass to the server.
    pub(super) has_udp: bool,
    /// Datagrams pass to a TURN server.
    pub(super) has_turn_udp: bool,
    /// TCP passes to the server's port for media.
    pub(super) has_media_tcp: bool,
    /// Nothing passes.
    pub(super) is_down: bool,
    /// When the datagrams that wait for their turn have been sent, up and down.
    free: [Option<Instant>; 2],
}

impl Default for Path {
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(10),
            jitter: Duration::ZERO,
            loss: 0.0,
            duplicates: 0.0,
            rate: None,
            has_udp: true,
            has_turn_udp: true,
            has_media_tcp: true,
            is_down: false,
            free: [None; 2],
        }
    }
}

impl Path {
    /// When a datagram of the server's, or for it, arrives: not at all, once or more often.
    pub(super) fn arrivals(&mut self, is_up: bool, bytes: usize, now: Instant, rng: &mut Rng) -> Vec<Instant> {
        if self.has_udp { self.datagram(is_up, bytes, now, rng) } else { Vec::new() }
    }

    /// The same of a TURN server's.
    pub(super) fn turn_arrivals(&mut self, is_up: bool, bytes: usize, now: Instant, rng: &mut Rng) -> Vec<Instant> {
        if self.has_turn_udp { self.datagram(is_up, bytes, now, rng) } else { Vec::new() }
    }

    fn datagram(&mut self, is_up: bool, bytes: usize, now: Instant, rng: &mut Rng) -> Vec<Instant> {
        /// What a router keeps.
        const LONGEST_QUEUE: Duration = Duration::from_millis(200);
        if self.is_down || rng.f64() < self.loss {
            return Vec::new();
        }
        let mut sent = now;
        if let Some(rate) = self.rate {
            let free = &mut self.free[usize::from(is_up)];
            sent = free.map_or(now, |free| free.max(now));
            if sent - now > LONGEST_QUEUE {
                return Vec::new();
            }
            sent += Duration::from_secs_f64(bytes as f64 / f64::from(rate));
            *free = Some(sent);
        }
        let copies = if rng.f64() < self.duplicates { 2 } else { 1 };
        (0..copies).map(|_| sent + self.delay + self.jitter.mul_f64(rng.f64())).collect()
    }
}
