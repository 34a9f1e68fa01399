//! The ways to the server that a peer connection has beside its UDP sockets: TCP to the server, addresses that a STUN
//! server sees, and those that TURN servers lend.
//!
//! They are tried beside UDP and never before it, and cost nothing where it works: servers of addresses are asked once no
//! path was found for a moment, and what no path uses is closed when one has been in use for a while. A restart of ICE
//! begins anew.

mod allocation;
mod asking;
mod binding;
mod packets;
mod relay;
mod servers;
mod stream;
mod turn_messages;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use roomkey_rtc::{Candidate, Protocol, TcpType, Transmit};

use self::binding::Binding;
use self::packets::note;
use self::relay::Relay;
use self::servers::{Server, read};
use self::stream::{Purpose, Stream};
use crate::ice_server::{Allowed, IceServer, Service};

/// A connection of TCP or TLS; the number is of one peer connection's.
pub(crate) type StreamId = u64;
/// A question for the addresses of a host.
pub(crate) type LookupId = u64;

/// How long a path may be missing before STUN and TURN servers are asked.
const GRACE: Duration = Duration::from_millis(300);
/// How long a path has been there before what it does not use is closed.
const SETTLED: Duration = Duration::from_secs(10);
/// How long a connection may take to open, with TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);
/// TCP candidates that are connected to in one round of ICE, and connections that there are in all.
const MAX_TARGETS: usize = 4;
const MAX_STREAMS: usize = 16;
/// How often one is connected to while there is no path, and the wait before it is again.
const MAX_TRIES: u32 = 4;
const RETRY_WAIT: Duration = Duration::from_millis(500);
/// Addresses of the other side that relays are told of.
const MAX_PEERS: usize = 16;

/// What is to be done for a peer connection.
#[derive(Debug)]
pub(crate) enum Gathered {
    Errand(Errand),
    /// Send a datagram from a UDP socket.
    Transmit(Transmit),
    /// A new way for ICE.
    Add(Candidate),
    /// The other side has to hear of a way.
    Tell(Candidate),
    /// A way that is closed.
    Remove(Candidate),
    /// The path is gone; ICE would take seconds to see it.
    Lost,
    /// A packet for the peer connection.
    Received {
        protocol: Protocol,
        source: SocketAddr,
        destination: SocketAddr,
        packet: Vec<u8>,
    },
}

/// What the shell does for it.
#[derive(Debug)]
pub(crate) enum Errand {
    /// Find the addresses of a host.
    Resolve { lookup: LookupId, host: String },
    /// Open a connection.
    Connect { stream: StreamId, target: StreamTarget },
    /// Send bytes on a connection, all of them or none. Those that may be lost are dropped where too many wait.
    Write { stream: StreamId, bytes: Vec<u8>, may_be_lost: bool },
    /// Close a connection once what waits has been sent, or stop opening it.
    Disconnect { stream: StreamId },
}

/// Where a connection goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StreamTarget {
    /// A candidate of the LiveKit server's.
    Candidate(SocketAddr),
    /// A TURN server.
    TurnServer { host: String, port: u16, is_tls: bool },
}

/// An address of a host, with that of this machine's from which the system would send there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) address: IpAddr,
    pub(crate) local: Option<IpAddr>,
}

/// What a packet went or came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Udp,
    Stream(StreamId),
    Relay(SocketAddr),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Gathering {
    allowed: Allowed,
    /// The other side leads the checks of ICE, and it helps it to know what a STUN server sees.
    is_led: bool,
    addresses: Vec<SocketAddr>,
    servers: Vec<Server>,
    lookups: Vec<(LookupId, usize, Instant)>,
    bindings: Vec<Binding>,
    seen: Vec<Candidate>,
    streams: Vec<Stream>,
    relays: Vec<Relay>,
    /// Candidates of this round that are, or have been, connected to.
    targets: Vec<Target>,
    peers: Vec<IpAddr>,
    stun_at: Option<Instant>,
    turn_at: Option<Instant>,
    release_at: Option<Instant>,
    has_path: bool,
    /// What media and data last went and came through.
    used: [Option<Way>; 2],
    last_id: u64,
    now: Instant,
    outputs: VecDeque<Gathered>,
}

/// A TCP candidate of the other side's.
#[derive(Debug)]
struct Target {
    address: SocketAddr,
    tries: u32,
    /// When it is connected to again.
    retry_at: Option<Instant>,
}

impl Gathering {
    pub(crate) fn new(allowed: Allowed, is_led: bool, now: Instant) -> Self {
        Self {
            allowed,
            is_led,
            addresses: Vec::new(),
            servers: Vec::new(),
            lookups: Vec::new(),
            bindings: Vec::new(),
            seen: Vec::new(),
            streams: Vec::new(),
            relays: Vec::new(),
            targets: Vec::new(),
            peers: Vec::new(),
            stun_at: None,
            turn_at: None,
            release_at: None,
            has_path: false,
            used: [None; 2],
            last_id: 0,
            now,
            outputs: VecDeque::new(),
        }
    }

    /// The time that it was told last.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// It is this late.
    pub(crate) fn advance(&mut self, now: Instant) {
        self.now = now;
    }

    /// The next thing to do.
    pub(crate) fn poll(&mut self) -> Option<Gathered> {
        self.outputs.pop_front()
    }

    /// Relays alone are wanted.
    pub(crate) fn set_relay_only(&mut self) {
        self.allowed.direct = false;
        for candidate in self.seen.drain(..) {
            self.outputs.push_back(Gathered::Remove(candidate));
        }
        self.bindings.clear();
        self.close_streams(|stream| matches!(stream.purpose, Purpose::Candidate { .. }));
    }

    /// These are the servers to ask.
    pub(crate) fn set_servers(&mut self, servers: &[IceServer]) {
        let servers = read(servers);
        if self.servers == servers {
            return;
        }
        // What is under way goes by the number of a server.
        self.lookups.clear();
        let lent: Vec<_> = self.relays.iter().filter_map(|relay| relay.stream).collect();
        self.close_streams(|stream| matches!(stream.purpose, Purpose::Relay { .. }) && !lent.contains(&stream.id));
        self.servers = servers;
    }

    /// ICE begins a new round: the other side's candidates are new ones. What is open stays until something better is.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.now = now;
        self.targets.clear();
        self.peers.clear();
        self.used = [None; 2];
        (self.has_path, self.release_at) = (false, None);
        self.stun_at = (self.seen.is_empty()).then_some(if self.is_led { now } else { now + GRACE });
        self.turn_at = Some(if self.allowed.direct { now + GRACE } else { now });
    }

    /// The UDP sockets are bound here, and no more where they were: what went through those is gone.
    pub(crate) fn set_addresses(&mut self, addresses: &[SocketAddr], now: Instant) {
        self.now = now;
        if self.addresses == addresses {
            return;
        }
        let had_some = !self.addresses.is_empty();
        self.addresses = addresses.to_vec();
        if had_some {
            // The machine's network may be another one.
            self.close();
            self.restart(now);
        }
    }

    /// Closes everything, and gives back what was lent.
    pub(crate) fn close(&mut self) {
        for relay in std::mem::take(&mut self.relays) {
            self.free(relay);
        }
        self.close_streams(|_| true);
        self.lookups.clear();
        self.bindings.clear();
        for candidate in self.seen.drain(..) {
            self.outputs.push_back(Gathered::Remove(candidate));
        }
        self.targets.clear();
        (self.stun_at, self.turn_at, self.release_at) = (None, None, None);
    }

    /// Whether everything is closed, and nothing is to be done.
    pub(crate) fn is_closed(&self) -> bool {
        self.outputs.is_empty() && self.timeout().is_none() && self.streams.is_empty() && self.relays.is_empty()
    }

    /// The other side may be reached here.
    pub(crate) fn add_remote_candidate(&mut self, candidate: &Candidate, now: Instant) {
        self.now = now;
        let address = candidate.address();
        match candidate.protocol() {
            Protocol::Udp => {
                if self.peers.len() < MAX_PEERS && !self.peers.contains(&address.ip()) {
                    self.peers.push(address.ip());
                    for relay in &mut self.relays {
                        relay.allocation.allow(address.ip(), now);
                    }
                    self.poll_relays();
                }
            }
            Protocol::Tcp => {
                let is_wanted = candidate.tcp_type() == Some(TcpType::Passive)
                    && self.allowed.direct
                    && self.can_connect_to(address.ip())
                    && self.targets.iter().all(|target| target.address != address);
                if is_wanted && self.targets.len() < MAX_TARGETS {
                    self.targets.push(Target { address, tries: 1, retry_at: None });
                    self.connect(StreamTarget::Candidate(address), Purpose::candidate(address));
                }
            }
        }
    }

    /// A server does not make a client connect to its own machine, unless they share it.
    fn can_connect_to(&self, address: IpAddr) -> bool {
        let is_unicast = !address.is_unspecified() && !address.is_multicast();
        is_unicast && (!address.is_loopback() || self.addresses.iter().any(|own| own.ip().is_loopback()))
    }

    fn connect(&mut self, target: StreamTarget, purpose: Purpose) {
        if self.streams.len() >= MAX_STREAMS {
            return;
        }
        self.last_id += 1;
        self.streams.push(Stream::new(self.last_id, purpose, self.now + CONNECT_TIMEOUT));
        self.outputs.push_back(Gathered::Errand(Errand::Connect { stream: self.last_id, target }));
    }

    /// Whether there is a path, as ICE sees it.
    pub(crate) fn set_path(&mut self, has_path: bool) {
        if self.has_path != has_path {
            self.has_path = has_path;
            self.release_at = has_path.then_some(self.now + SETTLED);
        }
    }

    // Connections.

    /// A connection is open.
    pub(crate) fn handle_opened(&mut self, stream: StreamId, local: SocketAddr, remote: SocketAddr, now: Instant) {
        self.now = now;
        let Some(found) = self.streams.iter_mut().find(|found| found.id == stream) else { return };
        found.opened(local, remote);
        match &mut found.purpose {
            Purpose::Candidate { candidate, .. } => {
                if let Ok(host) = Candidate::host_tcp(local, TcpType::Active) {
                    *candidate = Some(Box::new(host.clone()));
                    self.outputs.push_back(Gathered::Add(host));
                    // The other side can do without: it learns the address from the first check. But where it leads, pion
                    // waits a second before it takes a candidate that nobody told, and it does not listen to active ones.
                    if self.is_led
                        && let Ok(told) = Candidate::host_tcp(local, TcpType::SimultaneousOpen)
                    {
                        self.outputs.push_back(Gathered::Tell(told));
                    }
                }
            }
            Purpose::Relay { server } => {
                let server = *server;
                if let Some(Server { url, username, credential }) = self.servers.get(server).cloned() {
                    self.allocate(&url, (local, remote), Some(stream), (&username, &credential));
                    self.poll_relays();
                }
            }
        }
    }

    /// Bytes came on a connection.
    pub(crate) fn handle_bytes(&mut self, stream: StreamId, bytes: &[u8], now: Instant) {
        self.now = now;
        if let Some(at) = self.relays.iter().position(|relay| relay.stream == Some(stream)) {
            let relay = &mut self.relays[at];
            let packets = relay.allocation.handle_bytes(bytes, now);
            for (peer, packet) in packets {
                self.relayed(at, peer, packet);
            }
            self.poll_relays();
            return;
        }
        let Some(found) = self.streams.iter_mut().find(|found| found.id == stream) else { return };
        let (Purpose::Candidate { frames, .. }, Some((local, remote))) = (&mut found.purpose, found.ends) else {
            return;
        };
        frames.push(bytes);
        while let Some(packet) = frames.next_packet() {
            note(&mut self.used[1], Way::Stream(stream), &packet);
            self.outputs.push_back(Gathered::Received {
                protocol: Protocol::Tcp,
                source: remote,
                destination: local,
                packet,
            });
        }
    }

    /// A connection is closed, or could not be opened.
    pub(crate) fn handle_closed(&mut self, stream: StreamId, now: Instant) {
        self.now = now;
        let relay = self.relays.iter().find(|relay| relay.stream == Some(stream));
        let relayed = relay.and_then(|relay| relay.allocation.relayed());
        self.lose(relayed.map_or(Way::Stream(stream), Way::Relay));
        self.streams.retain(|found| {
            if found.id != stream {
                return true;
            }
            if let Purpose::Candidate { target, candidate, .. } = &found.purpose {
                self.outputs.extend(candidate.iter().map(|candidate| Gathered::Remove(candidate.as_ref().clone())));
                // Without a path it is tried again; of one that was lost a restart brings other candidates.
                let known = self.targets.iter_mut().find(|known| known.address == *target && known.tries < MAX_TRIES);
                if let Some(known) = known.filter(|_| !self.has_path) {
                    known.retry_at = Some(now + RETRY_WAIT);
                }
            }
            false
        });
        self.relays.retain(|relay| {
            if relay.stream != Some(stream) {
                return true;
            }
            self.outputs.extend(relay.candidate.clone().map(Gathered::Remove));
            false
        });
    }

    fn lose(&mut self, way: Way) {
        if self.has_path && self.used[0] == Some(way) {
            self.used[0] = None;
            self.outputs.push_back(Gathered::Lost);
        }
    }

    // Time.

    /// When to call [`handle_timeout`](Self::handle_timeout), at the latest.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        let bindings = self.bindings.iter().map(|binding| binding.next);
        let relays = self.relays.iter().filter_map(|relay| relay.allocation.timeout());
        let streams = self.streams.iter().filter_map(|stream| stream.deadline);
        let lookups = self.lookups.iter().map(|(.., deadline)| *deadline);
        let retries = self.targets.iter().filter_map(|target| target.retry_at);
        let own = [self.stun_at, self.turn_at, self.release_at];
        bindings.chain(relays).chain(streams).chain(lookups).chain(retries).chain(own.into_iter().flatten()).min()
    }

    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        let is_due = |at: &mut Option<Instant>| at.take_if(|at| *at <= now).is_some();
        if is_due(&mut self.stun_at) && self.allowed.direct_udp() && (self.is_led || !self.has_path) {
            self.ask(|service| service == Service::Stun);
        }
        if is_due(&mut self.turn_at) && (!self.allowed.direct || !self.has_path) {
            let has_udp = self.allowed.udp;
            self.ask(|service| service != Service::Stun && (has_udp || service != Service::TurnUdp));
        }
        self.lookups.retain(|(.., deadline)| *deadline > now);
        let late: Vec<_> = self.streams.iter().filter(|stream| stream.is_late(now)).map(|stream| stream.id).collect();
        for stream in late {
            self.outputs.push_back(Gathered::Errand(Errand::Disconnect { stream }));
            self.handle_closed(stream, now);
        }
        let mut again = Vec::new();
        for target in self.targets.iter_mut().filter(|target| target.retry_at.is_some_and(|at| at <= now)) {
            (target.retry_at, target.tries) = (None, target.tries + 1);
            again.push(target.address);
        }
        let is_wanted = !self.has_path && self.allowed.direct;
        for address in again.into_iter().filter(|_| is_wanted) {
            self.connect(StreamTarget::Candidate(address), Purpose::candidate(address));
        }
        if is_due(&mut self.release_at) {
            self.release();
        }
        self.poll_bindings();
        self.poll_relays();
    }

    fn close_streams(&mut self, is_over: impl Fn(&Stream) -> bool) {
        self.streams.retain(|stream| {
            if !is_over(stream) {
                return true;
            }
            self.outputs.push_back(Gathered::Errand(Errand::Disconnect { stream: stream.id }));
            if let Purpose::Candidate { candidate: Some(candidate), .. } = &stream.purpose {
                self.outputs.push_back(Gathered::Remove(candidate.as_ref().clone()));
            }
            false
        });
    }

    /// A path has been there for a while: closes what it does not go through.
    fn release(&mut self) {
        // Which one it is shows when something goes over it.
        if self.used[0].is_none() {
            self.release_at = Some(self.now + SETTLED);
            return;
        }
        let used = self.used;
        let is_used = |way| used.contains(&Some(way));
        let relays = std::mem::take(&mut self.relays);
        let (kept, unused): (Vec<_>, Vec<_>) = relays
            .into_iter()
            .partition(|relay| relay.allocation.relayed().is_some_and(|address| is_used(Way::Relay(address))));
        self.relays = kept;
        unused.into_iter().for_each(|relay| self.free(relay));
        let kept: Vec<_> = self.relays.iter().filter_map(|relay| relay.stream).collect();
        self.close_streams(|stream| !is_used(Way::Stream(stream.id)) && !kept.contains(&stream.id));
        self.bindings.clear();
        self.lookups.clear();
    }
}
