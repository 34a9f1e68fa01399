//! Two connections, driven over a seeded link in virtual time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use roomkey_rtc::{Candidate, ChannelConfig, ChannelId, Config, Event, Output, PeerConnection, Protocol, TcpType};

/// What the network does to datagrams, the same both ways.
#[derive(Clone, Copy)]
pub(crate) struct Link {
    /// Of a hundred.
    pub(crate) loss: u8,
    pub(crate) delay: Duration,
    /// Up to so much is added to the delay, so that datagrams overtake each other.
    pub(crate) jitter: Duration,
    pub(crate) bytes_per_second: Option<u64>,
}

impl Link {
    pub(crate) fn fast() -> Self {
        Self { loss: 0, delay: Duration::from_millis(1), jitter: Duration::ZERO, bytes_per_second: None }
    }

    pub(crate) fn lossy(loss: u8) -> Self {
        Self { loss, delay: Duration::from_millis(20), jitter: Duration::from_millis(10), bytes_per_second: None }
    }
}

pub(crate) const CLIENT: usize = 0;
pub(crate) const SERVER: usize = 1;

pub(crate) struct Side {
    pub(crate) connection: PeerConnection,
    /// What happened, and when after the start.
    pub(crate) events: Vec<(Duration, Event)>,
    pub(crate) datagrams: Vec<Vec<u8>>,
    pub(crate) address: SocketAddr,
    deadline: Instant,
    line_is_free: Instant,
}

pub(crate) struct Pair {
    pub(crate) sides: [Side; 2],
    pub(crate) link: Link,
    pub(crate) now: Instant,
    pub(crate) random: fastrand::Rng,
    start: Instant,
    /// By arrival, and by order of sending for those of one instant.
    under_way: BTreeMap<(Instant, u64), Datagram>,
    sent: u64,
}

struct Datagram {
    to: usize,
    protocol: Protocol,
    source: SocketAddr,
    destination: SocketAddr,
    payload: Vec<u8>,
}

#[expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
pub(crate) fn epoch() -> Instant {
    Instant::now()
}

impl Pair {
    pub(crate) fn new(seed: u64, link: Link) -> Self {
        Self::with_configs(seed, link, &Config::new(), &Config::new().with_ice_lite(true))
    }

    pub(crate) fn with_configs(seed: u64, link: Link, client: &Config, server: &Config) -> Self {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let candidates = [5000, 6000].map(|port| Candidate::host_udp(address(port)).unwrap());
        Self::with_candidates(seed, link, [client, server], candidates)
    }

    /// A client with a connection to a server that listens, and no UDP at all.
    pub(crate) fn over_tcp(seed: u64) -> Self {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let client = Candidate::host_tcp(address(5000), TcpType::Active).unwrap();
        let server = Candidate::host_tcp(address(6000), TcpType::Passive).unwrap();
        let configs = [&Config::new(), &Config::new().with_ice_lite(true)];
        Self::with_candidates(seed, Link::fast(), configs, [client, server])
    }

    fn with_candidates(seed: u64, link: Link, configs: [&Config; 2], candidates: [Candidate; 2]) -> Self {
        let now = epoch();
        let [client, server] = candidates;
        let side = |config: &Config, candidate: Candidate| {
            let address = candidate.address();
            let mut connection = PeerConnection::new(config, now);
            connection.add_local_candidate(candidate);
            Side { connection, events: Vec::new(), datagrams: Vec::new(), address, deadline: now, line_is_free: now }
        };
        Self {
            sides: [side(configs[0], client), side(configs[1], server)],
            link,
            now,
            random: fastrand::Rng::with_seed(seed),
            start: now,
            under_way: BTreeMap::new(),
            sent: 0,
        }
    }

    pub(crate) fn connection(&mut self, side: usize) -> &mut PeerConnection {
        &mut self.sides[side].connection
    }

    /// An offer of one side and the answer of the other, over a signalling that takes no time.
    pub(crate) fn negotiate(&mut self, offerer: usize) -> (String, String) {
        let now = self.now;
        let offer = self.connection(offerer).create_offer(now).unwrap().expect("there is something to offer");
        let answer = self.connection(1 - offerer).accept_offer(&offer, now).unwrap();
        self.connection(offerer).accept_answer(&answer, now).unwrap();
        (offer, answer)
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(time, |pair| pair.now >= end);
    }

    /// Runs until `done`, for so long at most. Whether it is done.
    pub(crate) fn run_until(&mut self, most: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + most;
        loop {
            self.drain();
            if done(self) {
                return true;
            }
            if self.now >= end {
                return false;
            }
            let arrival = self.under_way.keys().next().map(|(at, _)| *at);
            let deadline = self.sides.iter().map(|side| side.deadline).min().unwrap();
            self.now = arrival.unwrap_or(end).min(deadline).min(end).max(self.now);
            let now = self.now;
            while let Some(entry) = self.under_way.first_entry().filter(|entry| entry.key().0 <= now) {
                let datagram = entry.remove();
                let connection = self.connection(datagram.to);
                let Datagram { protocol, source, destination, payload, .. } = datagram;
                connection.handle_packet(now, protocol, source, destination, &payload);
                self.drain();
            }
            for side in [CLIENT, SERVER] {
                if self.sides[side].deadline <= now {
                    self.connection(side).handle_timeout(now);
                }
            }
        }
    }

    fn drain(&mut self) {
        for from in [CLIENT, SERVER] {
            loop {
                match self.sides[from].connection.poll() {
                    Output::Transmit(transmit) => self.transmit(from, transmit),
                    Output::Event(event) => {
                        let since = self.now - self.start;
                        self.sides[from].events.push((since, event));
                    }
                    Output::Timeout(at) => {
                        self.sides[from].deadline = at;
                        break;
                    }
                }
            }
        }
    }

    fn transmit(&mut self, from: usize, transmit: roomkey_rtc::Transmit) {
        assert_eq!(transmit.source, self.sides[from].address);
        self.sides[from].datagrams.push(transmit.payload.clone());
        if self.random.u8(0..100) < self.link.loss {
            return;
        }
        let side = &mut self.sides[from];
        if let Some(rate) = self.link.bytes_per_second {
            let takes = Duration::from_nanos(transmit.payload.len() as u64 * 1_000_000_000 / rate);
            side.line_is_free = side.line_is_free.max(self.now) + takes;
        } else {
            side.line_is_free = self.now;
        }
        let jitter = self.link.jitter.mul_f64(self.random.f64());
        let arrival = side.line_is_free + self.link.delay + jitter;
        self.sent += 1;
        let datagram = Datagram {
            to: 1 - from,
            protocol: transmit.protocol,
            source: transmit.source,
            destination: transmit.destination,
            payload: transmit.payload,
        };
        self.under_way.insert((arrival, self.sent), datagram);
    }

    /// When the first event that `wanted` finds happened.
    pub(crate) fn when(&self, side: usize, wanted: impl Fn(&Event) -> bool) -> Option<Duration> {
        self.sides[side].events.iter().find(|(_, event)| wanted(event)).map(|(at, _)| *at)
    }

    pub(crate) fn both_connected(&mut self) -> bool {
        self.sides.iter().all(|side| side.connection.is_connected())
    }

    /// The channel of a label, once it is open.
    pub(crate) fn open_channel(&self, side: usize, wanted: &str) -> Option<ChannelId> {
        self.sides[side].events.iter().find_map(|(_, event)| match event {
            Event::ChannelOpened { id, label } if label == wanted => Some(*id),
            _ => None,
        })
    }

    /// The messages that a side got in a channel.
    pub(crate) fn messages(&self, side: usize, channel: ChannelId) -> Vec<&[u8]> {
        let of_channel = |event| match event {
            &Event::Data { id, ref bytes, .. } if id == channel => Some(&bytes[..]),
            _ => None,
        };
        self.sides[side].events.iter().filter_map(|(_, event)| of_channel(event)).collect()
    }

    /// A pair whose client offered `_reliable` and `_lossy`, both open on both sides.
    pub(crate) fn with_channels(seed: u64, link: Link) -> Self {
        let mut pair = Self::new(seed, link);
        let lossy = ChannelConfig::new("_lossy").with_ordered(false).with_max_retransmits(Some(0));
        pair.connection(CLIENT).open_channel(ChannelConfig::new("_reliable"));
        pair.connection(CLIENT).open_channel(lossy);
        pair.negotiate(CLIENT);
        assert!(pair.run_until(Duration::from_secs(60), |pair| {
            [CLIENT, SERVER]
                .iter()
                .all(|side| ["_reliable", "_lossy"].iter().all(|label| pair.open_channel(*side, label).is_some()))
        }));
        pair
    }
}
