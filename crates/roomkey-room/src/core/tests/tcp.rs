//! A TCP connection, of a websocket or of media: all arrives, in order, however late.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use url::Url;

use crate::core::DialId;

/// What TCP waits before it sends again, at least (RFC 6298 as Linux has it).
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(200);
/// The same for the first packet of a connection.
const SYN_TIMEOUT: Duration = Duration::from_secs(1);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub(super) struct Tcp {
    pub(super) client: usize,
    pub(super) dial: DialId,
    pub(super) is_validate: bool,
    /// The client's, when it was opened.
    pub(super) address: IpAddr,
    /// The server's number of it.
    pub(super) at_server: Option<u64>,
    pub(super) up: Direction,
    pub(super) down: Direction,
}

#[derive(Debug, Clone)]
pub(super) enum Segment {
    Request {
        url: Box<Url>,
        authorization: String,
    },
    /// The HTTP status of the answer.
    Status(u16),
    /// Nobody listens.
    Refused,
    Message(Vec<u8>),
    Close,
}

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Direction {
    /// Not sent, or lost, by number.
    waiting: VecDeque<(u64, Segment)>,
    next_number: u64,
    next_expected: u64,
    last_arrival: Instant,
    /// When what was lost is sent again, and what is waited the next time.
    retry: Option<(Instant, Duration)>,
}

impl Tcp {
    pub(super) fn new(client: usize, dial: DialId, is_validate: bool, address: IpAddr, now: Instant) -> Self {
        let direction =
            || Direction { waiting: VecDeque::new(), next_number: 0, next_expected: 0, last_arrival: now, retry: None };
        Self { client, dial, is_validate, address, at_server: None, up: direction(), down: direction() }
    }

    pub(super) fn direction(&mut self, is_up: bool) -> &mut Direction {
        if is_up { &mut self.up } else { &mut self.down }
    }
}

impl Direction {
    /// Queues a segment; it has to be sent if nothing else is being waited for.
    pub(super) fn push(&mut self, segment: Segment) -> bool {
        self.waiting.push_back((self.next_number, segment));
        self.next_number += 1;
        self.retry.is_none()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry.map(|(at, _)| at)
    }

    /// Whether anything has got through, or is on its way.
    pub(super) fn has_begun(&self) -> bool {
        self.next_expected > 0 || self.retry.is_none()
    }

    /// Sends all that waits; what arrives, and when.
    pub(super) fn send(&mut self, passes: bool, delay: Duration, now: Instant) -> Vec<(Instant, u64, Segment)> {
        if !passes {
            let first = if self.next_expected == 0 { SYN_TIMEOUT } else { SHORTEST_TIMEOUT + delay * 2 };
            self.stall(first, now);
            return Vec::new();
        }
        self.retry = None;
        self.last_arrival = self.last_arrival.max(now + delay);
        let at = self.last_arrival;
        self.waiting.drain(..).map(|(number, segment)| (at, number, segment)).collect()
    }

    fn stall(&mut self, first: Duration, now: Instant) {
        let wait = self.retry.map_or(first, |(_, next)| next);
        self.retry = Some((now + wait, (wait * 2).min(LONGEST_TIMEOUT)));
    }

    /// A segment arrives, or would; what of it is to be taken now.
    pub(super) fn arrive(
        &mut self,
        number: u64,
        segment: Segment,
        passes: bool,
        delay: Duration,
        now: Instant,
    ) -> Option<Segment> {
        if passes && number == self.next_expected {
            self.next_expected += 1;
            return Some(segment);
        }
        let place = self.waiting.partition_point(|(other, _)| *other < number);
        self.waiting.insert(place, (number, segment));
        if self.retry.is_none() {
            self.stall(SHORTEST_TIMEOUT + delay * 2, now);
        }
        None
    }
}
