//! Clients and a server with a network between them, in virtual time: no sockets, no tasks, and all chance from a seed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use fastrand::Rng;
use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_request::Message as Request;
use roomkey_dev_server::Config;
use roomkey_dev_server::simulation::{Output, SimulatedServer};
use roomkey_rtc::{Candidate, TcpType};
use roomkey_signal::{ParticipantToken, ServerUrl};
use url::Url;

use super::client::{Client, Traffic};
use super::media_stream::MediaStream;
use super::tcp::{Segment, Tcp};
use super::turn_server::{Caller, TurnServer, Turned};
use crate::core::{Core, DialId, Effect, Errand, Refusal, Resolved, Settings, SocketId, StreamTarget};
use crate::encryption::EncryptionOptions;
use crate::ice_server::{IceServer, IceTransportPolicy};
use crate::options::RoomBuilder;

const URL: &str = "ws://10.0.255.1:7880";
const UNIX_TIME: Duration = Duration::from_secs(1_800_000_000);

/// How many connections a client has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Single,
    Dual,
}

pub(super) const MODES: [Mode; 2] = [Mode::Single, Mode::Dual];

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) start: Instant,
    pub(super) rng: Rng,
    pub(super) mode: Mode,
    pub(super) max_reconnect_attempts: u32,
    pub(super) clients: Vec<Client>,
    /// A status that every websocket is refused with.
    pub(super) refuses: Option<u16>,
    /// Announced tracks don't reach the server.
    pub(super) refuses_tracks: bool,
    /// Hosts at which nothing listens, of which there is but the one server's machine.
    pub(super) dead_hosts: Vec<&'static str>,
    /// What is told of regions, if it is.
    pub(super) regions: Option<&'static str>,
    pub(super) server_url: &'static str,
    /// What is said on each new websocket, in place of what the server says.
    pub(super) script: Option<Vec<Vec<u8>>>,
    /// Where the server takes media on TCP, which it tells as livekit-server does: by trickle.
    pub(super) tcp_address: Option<SocketAddr>,
    pub(super) turn: Option<TurnServer>,
    /// What the server says of servers that find addresses.
    pub(super) ice_servers: Vec<proto::IceServer>,
    pub(super) forces_relay: bool,
    pub(super) policy: IceTransportPolicy,
    /// Of those who join next.
    pub(super) encryption: Option<EncryptionOptions>,
    /// In the place of those that the server names.
    pub(super) own_ice_servers: Option<Vec<IceServer>>,
    pub(super) media_streams: BTreeMap<u64, MediaStream>,
    /// What clients told the server by trickle.
    pub(super) trickled: Vec<(usize, String)>,
    /// The share of the server's messages that arrive mutilated.
    pub(super) mutations: f64,
    server: Option<SimulatedServer>,
    servers: u64,
    media_address: SocketAddr,
    connections: BTreeMap<u64, Tcp>,
    last_connection: u64,
    flights: BTreeMap<(Instant, u64), Flight>,
    last_flight: u64,
}

enum Flight {
    ToServer(SocketAddr, Vec<u8>),
    ToClient(usize, SocketAddr, Vec<u8>),
    ToTurn(SocketAddr, Vec<u8>),
    FromTurn(usize, SocketAddr, Vec<u8>),
    MediaSegment { connection: u64, is_up: bool, number: u64, segment: Segment },
    Segment { connection: u64, is_up: bool, number: u64, segment: Segment },
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "a simulation needs some instant to count from")]
    pub(super) fn new(mode: Mode, seed: u64) -> Self {
        let start = Instant::now();
        let mut world = Self {
            now: start,
            start,
            rng: Rng::with_seed(seed),
            mode,
            max_reconnect_attempts: 20,
            clients: Vec::new(),
            refuses: None,
            refuses_tracks: false,
            dead_hosts: Vec::new(),
            regions: None,
            server_url: URL,
            script: None,
            tcp_address: None,
            turn: None,
            ice_servers: Vec::new(),
            forces_relay: false,
            policy: IceTransportPolicy::All,
            encryption: None,
            own_ice_servers: None,
            media_streams: BTreeMap::new(),
            trickled: Vec::new(),
            mutations: 0.0,
            server: None,
            servers: 0,
            media_address: SocketAddr::from(([10, 0, 255, 1], 7_882)),
            connections: BTreeMap::new(),
            last_connection: 0,
            flights: BTreeMap::new(),
            last_flight: 0,
        };
        world.start_server();
        world
    }

    /// With clients of these names, who have joined and know each other.
    pub(super) fn with_clients<const N: usize>(mode: Mode, seed: u64, identities: [&str; N]) -> Self {
        Self::with_encrypted_clients(mode, seed, None, identities)
    }

    /// With clients who have joined with these keys.
    pub(super) fn with_encrypted_clients<const N: usize>(
        mode: Mode,
        seed: u64,
        encryption: Option<EncryptionOptions>,
        identities: [&str; N],
    ) -> Self {
        let mut world = Self::new(mode, seed);
        world.encryption = encryption;
        for identity in identities {
            world.join(identity);
        }
        let is_up = |world: &Self| {
            let others = |client: &Client| client.told.iter().filter(|(_, told)| told.starts_with("connected")).count();
            world.clients.iter().all(|client| client.is_connected() && others(client) == N - 1)
        };
        assert!(world.run_until(Duration::from_secs(20), is_up), "not joined, seed {seed}, {mode:?}");
        world
    }

    pub(super) fn start_server(&mut self) {
        self.servers += 1;
        let wall = SystemTime::UNIX_EPOCH + UNIX_TIME + (self.now - self.start);
        let config = Config::new().with_seed(self.rng.u64(..));
        self.server = Some(SimulatedServer::new(&config, self.media_address, self.now, wall).unwrap());
    }

    /// The server is gone with all that it knows; its machine resets what is sent to it.
    pub(super) fn kill_server(&mut self) {
        self.server = None;
        for connection in self.media_streams_to(self.tcp_address) {
            self.send_media_segment(connection, false, Segment::Close);
        }
        let all: Vec<_> = self.connections.keys().copied().collect();
        for connection in all {
            if let Some(tcp) = self.connections.get_mut(&connection) {
                tcp.at_server = None;
            }
            self.send_segment(connection, false, Segment::Close);
        }
    }

    pub(super) fn token(&self, identity: &str) -> String {
        let server = self.server.as_ref().expect("a server");
        server.mint(identity, "lab", Duration::from_secs(3600), self.now).unwrap()
    }

    pub(super) fn settings(&self) -> Settings {
        let mut builder = RoomBuilder::default();
        if let Some(own) = &self.own_ice_servers {
            builder = builder.ice_servers(own.clone());
        }
        if let Some(encryption) = &self.encryption {
            builder = builder.encryption(encryption.clone());
        }
        builder
            .ice_transport_policy(self.policy)
            .single_peer_connection(self.mode == Mode::Single)
            .max_reconnect_attempts(self.max_reconnect_attempts)
            .settings()
    }

    /// Begins to join.
    pub(super) fn join(&mut self, identity: &str) -> usize {
        let token = self.token(identity);
        self.join_with(identity, &token)
    }

    pub(super) fn join_with(&mut self, identity: &str, token: &str) -> usize {
        let token = ParticipantToken::new(token);
        let url = ServerUrl::parse(self.server_url).unwrap();
        let unix_time = UNIX_TIME + (self.now - self.start);
        let settings = self.settings();
        let encryption = settings.encryption.clone();
        let core = Core::new(settings, url, token, self.rng.u64(..), self.now, unix_time);
        let number = u8::try_from(self.clients.len() + 1).unwrap();
        let mut client = Client::new(identity, core, number);
        client.encryption = encryption;
        self.clients.push(client);
        self.settle();
        self.clients.len() - 1
    }

    pub(super) fn talk(&mut self, client: usize, every: Duration) {
        self.clients[client].traffic = Some(Traffic { every, next: self.now, sent: 0, padding: 0 });
    }

    pub(super) fn be_quiet(&mut self) {
        for traffic in self.clients.iter_mut().filter_map(|client| client.traffic.as_mut()) {
            traffic.next = self.now + Duration::from_secs(1_000_000);
        }
    }

    /// Publishes a track of audio of this client, until the others hear it.
    pub(super) fn sing(&mut self, client: usize) {
        let now = self.now;
        self.clients[client].publish_audio(1, now);
        let is_heard = |world: &Self| {
            (world.clients.iter().enumerate()).all(|(at, other)| at == client || !other.heard.is_empty())
        };
        assert!(self.run_until(Duration::from_secs(10), is_heard), "no audio");
    }

    /// Whether `listener` hears audio within the time.
    pub(super) fn hears_within(&mut self, listener: usize, limit: Duration) -> bool {
        let now = self.now;
        self.run_until(limit, |world| world.clients[listener].heard.last().is_some_and(|at| *at > now))
    }

    /// A message comes to a client as if the server had sent it.
    pub(super) fn inject(&mut self, client: usize, message: proto::signal_response::Message) {
        self.inject_bytes(client, encode(message));
    }

    pub(super) fn inject_bytes(&mut self, client: usize, bytes: Vec<u8>) {
        if let Some(connection) = self.clients[client].websocket {
            self.send_segment(connection, false, Segment::Message(bytes));
        }
    }

    /// The websocket breaks, on both sides at once.
    pub(super) fn cut(&mut self, client: usize) {
        let Some(connection) = self.clients[client].websocket.take() else { return };
        let tcp = self.connections.remove(&connection);
        if let (Some(server), Some(at_server)) = (&mut self.server, tcp.and_then(|tcp| tcp.at_server)) {
            server.handle_closed(at_server, self.now);
        }
        self.clients[client].core.handle_closed(self.now);
        self.settle();
    }

    /// Whether as much has come as was sent.
    pub(super) fn is_complete(&self, sender: usize, receiver: usize) -> bool {
        let sender = &self.clients[sender];
        let received = self.clients[receiver].received.iter().filter(|(_, from, _)| *from == sender.identity).count();
        received >= sender.sent() as usize
    }

    /// What was sent has come, all of it, once and in order.
    pub(super) fn assert_complete(&self, sender: usize, receiver: usize) {
        let sender = &self.clients[sender];
        let numbers = self.clients[receiver].numbers_from(&sender.identity);
        let sent = sender.sent();
        assert!(sent > 0 && numbers.iter().copied().eq(0..sent), "{numbers:?} of {sent}, {:?}", self.mode);
    }

    /// What has come has come once and in order.
    pub(super) fn assert_ordered(&self, sender: usize, receiver: usize) {
        let numbers = self.clients[receiver].numbers_from(&self.clients[sender].identity);
        assert!(!numbers.is_empty() && numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    }

    // Time.

    pub(super) fn run(&mut self, duration: Duration) {
        self.run_until(duration, |_| false);
    }

    /// Runs until something holds; `false` if it does not within the time.
    pub(super) fn run_until(&mut self, limit: Duration, mut holds: impl FnMut(&Self) -> bool) -> bool {
        const MOST_AT_ONCE: u32 = 20_000;
        let end = self.now + limit;
        let mut at_once = 0;
        loop {
            self.settle();
            if holds(self) {
                return true;
            }
            let next = self.next();
            if next.is_none_or(|next| next > end) {
                self.now = end;
                return false;
            }
            let next = next.unwrap_or(end).max(self.now);
            at_once = if next == self.now { at_once + 1 } else { 0 };
            assert!(at_once < MOST_AT_ONCE, "time stands still at {:?}", self.now - self.start);
            self.now = next;
            self.take_turns();
        }
    }

    fn next(&self) -> Option<Instant> {
        let flights = self.flights.keys().next().map(|(at, _)| *at);
        let server = self.server.as_ref().and_then(SimulatedServer::timeout);
        let media = self.media_streams.values().map(|stream| &stream.tcp);
        let all = self.connections.values().chain(media);
        let retries = all.flat_map(|tcp| [&tcp.up, &tcp.down]).filter_map(|way| way.retry_at()).min();
        let clients = self.clients.iter().filter_map(Client::timeout).min();
        [flights, server, retries, clients].into_iter().flatten().min()
    }

    fn take_turns(&mut self) {
        let now = self.now;
        while let Some(entry) = self.flights.first_entry().filter(|entry| entry.key().0 <= now) {
            let flight = entry.remove();
            self.land(flight);
            self.settle();
        }
        let due: Vec<_> = (self.connections.iter())
            .flat_map(|(id, tcp)| [(*id, true, tcp.up.retry_at()), (*id, false, tcp.down.retry_at())])
            .filter(|(.., at)| at.is_some_and(|at| at <= now))
            .collect();
        for (connection, is_up, _) in due {
            self.transmit(connection, is_up);
        }
        let due: Vec<_> = (self.media_streams.iter())
            .flat_map(|(id, stream)| [(*id, true, stream.tcp.up.retry_at()), (*id, false, stream.tcp.down.retry_at())])
            .filter(|(.., at)| at.is_some_and(|at| at <= now))
            .collect();
        for (connection, is_up, _) in due {
            self.transmit_media(connection, is_up);
        }
        if let Some(server) = self.server.as_mut().filter(|server| server.timeout().is_some_and(|at| at <= now)) {
            server.handle_timeout(now);
        }
        for client in &mut self.clients {
            client.speak(now);
            if client.core.timeout().is_some_and(|at| at <= now) {
                client.core.handle_timeout(now);
            }
        }
    }

    fn fly(&mut self, at: Instant, flight: Flight) {
        self.last_flight += 1;
        self.flights.insert((at, self.last_flight), flight);
    }

    fn land(&mut self, flight: Flight) {
        let now = self.now;
        match flight {
            Flight::ToServer(source, payload) => {
                if let Some(server) = &mut self.server {
                    server.handle_datagram(source, &payload, now);
                }
            }
            Flight::ToClient(client, destination, payload) => {
                let (client, source) = (&mut self.clients[client], self.media_address);
                let found = client.sockets.iter().find(|(_, address)| **address == destination).map(|(id, _)| *id);
                if let Some(sockets) = found.filter(|_| !client.path.is_down && destination.ip() == client.ip) {
                    client.core.handle_datagram(sockets, source, destination, &payload, now);
                }
            }
            Flight::ToTurn(source, payload) => self.turn_receives(&payload, Caller::Udp(source)),
            Flight::FromTurn(client, destination, payload) => {
                let Some(source) = self.turn.as_ref().map(|turn| turn.address) else { return };
                let client = &mut self.clients[client];
                let found = client.sockets.iter().find(|(_, address)| **address == destination).map(|(id, _)| *id);
                if let Some(sockets) = found.filter(|_| !client.path.is_down && destination.ip() == client.ip) {
                    client.core.handle_datagram(sockets, source, destination, &payload, now);
                }
            }
            Flight::MediaSegment { connection, is_up, number, segment } => {
                let Some(stream) = self.media_streams.get_mut(&connection) else { return };
                let client = &self.clients[stream.tcp.client];
                let passes = !client.path.is_down && client.ip == stream.tcp.address;
                let delay = client.path.delay;
                if let Some(segment) = stream.tcp.direction(is_up).arrive(number, segment, passes, delay, now) {
                    if is_up {
                        self.media_peer_receives(connection, segment);
                    } else {
                        self.media_client_receives(connection, segment);
                    }
                }
            }
            Flight::Segment { connection, is_up, number, segment } => {
                let Some(tcp) = self.connections.get_mut(&connection) else { return };
                let client = &self.clients[tcp.client];
                let (passes, delay) = (!client.path.is_down && client.ip == tcp.address, client.path.delay);
                if let Some(segment) = tcp.direction(is_up).arrive(number, segment, passes, delay, now) {
                    if is_up {
                        self.server_receives(connection, segment);
                    } else {
                        self.client_receives(connection, segment);
                    }
                }
            }
        }
    }

    // Websockets.

    fn send_segment(&mut self, connection: u64, is_up: bool, segment: Segment) {
        let Some(tcp) = self.connections.get_mut(&connection) else { return };
        if tcp.direction(is_up).push(segment) {
            self.transmit(connection, is_up);
        }
    }

    fn transmit(&mut self, connection: u64, is_up: bool) {
        let Some(tcp) = self.connections.get_mut(&connection) else { return };
        let client = &self.clients[tcp.client];
        let is_lost = self.rng.f64() < client.path.loss;
        let passes = !client.path.is_down && client.ip == tcp.address && !is_lost;
        for (at, number, segment) in tcp.direction(is_up).send(passes, client.path.delay, self.now) {
            self.fly(at, Flight::Segment { connection, is_up, number, segment });
        }
    }

    fn dial(&mut self, client: usize, dial: DialId, is_validate: bool, url: Url, authorization: String) {
        self.hang_up(client);
        self.last_connection += 1;
        let connection = self.last_connection;
        let tcp = Tcp::new(client, dial, is_validate, self.clients[client].ip, self.now);
        self.connections.insert(connection, tcp);
        self.clients[client].dialing = Some(connection);
        if !is_validate {
            self.clients[client].dials.push((self.now, url.clone(), authorization.clone()));
        }
        self.send_segment(connection, true, Segment::Request { url: Box::new(url), authorization });
    }

    /// The client drops what it has of websockets.
    fn hang_up(&mut self, client: usize) {
        let client = &mut self.clients[client];
        for connection in [client.dialing.take(), client.websocket.take()].into_iter().flatten() {
            if self.connections.get(&connection).is_some_and(|tcp| !tcp.up.has_begun()) {
                // Its SYN has not got through, and is not sent again.
                self.connections.remove(&connection);
                continue;
            }
            self.send_segment(connection, true, Segment::Close);
        }
    }

    fn server_receives(&mut self, connection: u64, segment: Segment) {
        let now = self.now;
        let Some(tcp) = self.connections.get_mut(&connection) else { return };
        let Some(server) = &mut self.server else {
            // A machine without a server.
            let is_request = matches!(segment, Segment::Request { .. });
            let answer = if is_request { Segment::Refused } else { Segment::Close };
            return self.send_segment(connection, false, answer);
        };
        match (segment, tcp.at_server) {
            (Segment::Request { url, authorization }, _) => {
                let (path, query, header) = (url.path(), url.query(), Some(authorization.as_str()));
                if self.dead_hosts.iter().any(|host| url.host_str() == Some(host)) {
                    return self.send_segment(connection, false, Segment::Refused);
                }
                let status = if let Some(status) = self.refuses {
                    status
                } else if let Some(script) = self.script.clone().filter(|_| !tcp.is_validate) {
                    self.send_segment(connection, false, Segment::Status(101));
                    for bytes in script {
                        self.send_segment(connection, false, Segment::Message(bytes));
                    }
                    return;
                } else if tcp.is_validate {
                    server.validate(path.trim_end_matches("/validate"), query, header, now)
                } else {
                    match server.connect(path, query, header, now) {
                        Ok(id) => {
                            tcp.at_server = Some(id);
                            101
                        }
                        Err(status) => status,
                    }
                };
                self.send_segment(connection, false, Segment::Status(status));
            }
            (Segment::Message(bytes), Some(_)) if self.refuses_tracks && announces_track(&bytes) => {}
            (Segment::Message(bytes), Some(at_server)) => server.handle_message(at_server, &bytes, now),
            (Segment::Close, at_server) => {
                if let Some(at_server) = at_server {
                    server.handle_closed(at_server, now);
                }
                self.connections.remove(&connection);
            }
            _ => {}
        }
    }

    fn client_receives(&mut self, connection: u64, segment: Segment) {
        let now = self.now;
        let Some(tcp) = self.connections.get(&connection) else { return };
        let (dial, is_validate) = (tcp.dial, tcp.is_validate);
        let client = &mut self.clients[tcp.client];
        let is_dialing = client.dialing == Some(connection);
        if is_dialing {
            client.dialing = None;
            let status = match segment {
                Segment::Status(status) => Some(status),
                Segment::Request { .. } | Segment::Refused | Segment::Message(_) | Segment::Close => None,
            };
            if is_validate {
                client.core.handle_validated(dial, &refusal(status), now);
            } else if status == Some(101) {
                client.websocket = Some(connection);
                client.core.handle_opened(dial, now);
            } else {
                client.core.handle_refused(dial, refusal(status), now);
            }
        } else if client.websocket == Some(connection) {
            match segment {
                Segment::Message(mut bytes) => {
                    if self.rng.f64() < self.mutations {
                        mutate(&mut bytes, &mut self.rng);
                    }
                    client.core.handle_message(&bytes, now);
                }
                Segment::Close => {
                    client.websocket = None;
                    client.core.handle_closed(now);
                    self.connections.remove(&connection);
                }
                Segment::Request { .. } | Segment::Status(_) | Segment::Refused => {}
            }
        }
    }

    // Media on TCP, and TURN.

    pub(super) fn media_streams_to(&self, remote: Option<SocketAddr>) -> Vec<u64> {
        let all = self.media_streams.iter();
        all.filter(|(_, stream)| remote.is_none_or(|remote| stream.remote == remote)).map(|(id, _)| *id).collect()
    }

    /// All connections of media break, on both sides at once.
    pub(super) fn cut_media_streams(&mut self) {
        for (_, stream) in std::mem::take(&mut self.media_streams) {
            let (sockets, id) = stream.key;
            self.clients[stream.tcp.client].core.handle_stream_closed(sockets, id, self.now);
        }
        self.settle();
    }

    fn send_media_segment(&mut self, connection: u64, is_up: bool, segment: Segment) {
        let Some(stream) = self.media_streams.get_mut(&connection) else { return };
        if stream.tcp.direction(is_up).push(segment) {
            self.transmit_media(connection, is_up);
        }
    }

    fn transmit_media(&mut self, connection: u64, is_up: bool) {
        let Some(stream) = self.media_streams.get_mut(&connection) else { return };
        let client = &self.clients[stream.tcp.client];
        let is_lost = self.rng.f64() < client.path.loss;
        let is_blocked = Some(stream.remote) == self.tcp_address && !client.path.has_media_tcp;
        let passes = !client.path.is_down && client.ip == stream.tcp.address && !is_lost && !is_blocked;
        for (at, number, segment) in stream.tcp.direction(is_up).send(passes, client.path.delay, self.now) {
            self.fly(at, Flight::MediaSegment { connection, is_up, number, segment });
        }
    }

    fn media_peer_receives(&mut self, connection: u64, segment: Segment) {
        let now = self.now;
        let turn_address = self.turn.as_ref().map(|turn| turn.address);
        let Some(stream) = self.media_streams.get_mut(&connection) else { return };
        let is_turn = Some(stream.remote) == turn_address;
        let listens = is_turn || (Some(stream.remote) == self.tcp_address && self.server.is_some());
        let caller = Caller::Tcp(connection, stream.local);
        match segment {
            // The first one opens it.
            Segment::Message(bytes) if bytes.is_empty() => {
                if let Some(turn) = self.turn.as_mut().filter(|turn| is_turn && turn.is_dead) {
                    turn.unheard += 1;
                    return;
                }
                let answer = if listens { Segment::Status(101) } else { Segment::Refused };
                self.send_media_segment(connection, false, answer);
            }
            Segment::Message(bytes) if is_turn => {
                stream.bytes.extend(bytes);
                while let Some(stream) = self.media_streams.get_mut(&connection)
                    && let Some(length) =
                        TurnServer::length(&stream.bytes).filter(|length| *length <= stream.bytes.len())
                {
                    let message: Vec<u8> = stream.bytes.drain(..length).collect();
                    self.turn_receives(&message, caller);
                }
            }
            Segment::Message(bytes) => {
                stream.frames.push(&bytes);
                while let Some(stream) = self.media_streams.get_mut(&connection)
                    && let Some(packet) = stream.frames.next_packet()
                {
                    if let Some(server) = &mut self.server {
                        server.handle_datagram(stream.local, &packet, now);
                    }
                }
            }
            Segment::Close => {
                if let Some(turn) = &mut self.turn {
                    turn.allocations.remove(&caller);
                }
                self.media_streams.remove(&connection);
            }
            Segment::Request { .. } | Segment::Status(_) | Segment::Refused => {}
        }
    }

    fn media_client_receives(&mut self, connection: u64, segment: Segment) {
        let now = self.now;
        let Some(stream) = self.media_streams.get_mut(&connection) else { return };
        let ((sockets, id), ends) = (stream.key, (stream.local, stream.remote));
        let core = &mut self.clients[stream.tcp.client].core;
        match segment {
            Segment::Status(_) => {
                stream.is_open = true;
                core.handle_stream_opened(sockets, id, ends, now);
            }
            Segment::Message(bytes) => core.handle_stream_bytes(sockets, id, &bytes, now),
            Segment::Refused | Segment::Close => {
                self.media_streams.remove(&connection);
                core.handle_stream_closed(sockets, id, now);
            }
            Segment::Request { .. } => {}
        }
    }

    fn turn_receives(&mut self, bytes: &[u8], from: Caller) {
        let now = self.now;
        let Some(turn) = &mut self.turn else { return };
        match turn.handle(bytes, from) {
            Some(Turned::Reply(bytes)) => self.send_from_turn(from, bytes),
            Some(Turned::ToPeer { relayed, peer, packet }) if peer == self.media_address => {
                if let Some(server) = &mut self.server {
                    server.handle_datagram(relayed, &packet, now);
                }
            }
            Some(Turned::ToPeer { .. }) | None => {}
        }
    }

    fn send_from_turn(&mut self, to: Caller, bytes: Vec<u8>) {
        match to {
            Caller::Tcp(connection, _) => self.send_media_segment(connection, false, Segment::Message(bytes)),
            Caller::Udp(address) => {
                let now = self.now;
                let Some(at) = self.clients.iter().position(|client| client.ip == address.ip()) else { return };
                for arrival in self.clients[at].path.turn_arrivals(false, bytes.len(), now, &mut self.rng) {
                    self.fly(arrival, Flight::FromTurn(at, address, bytes.clone()));
                }
            }
        }
    }

    fn run_errand(&mut self, client: usize, sockets: SocketId, errand: Errand) {
        let now = self.now;
        let of = |world: &Self, id| {
            let found = |stream: &MediaStream| stream.tcp.client == client && stream.key == (sockets, id);
            world.media_streams.iter().find(|(_, stream)| found(stream)).map(|(connection, _)| *connection)
        };
        match errand {
            Errand::Resolve { lookup, host } => {
                let found: Vec<_> = host.parse().map(|address| Resolved { address, local: None }).into_iter().collect();
                self.clients[client].core.handle_resolved(sockets, lookup, &found, now);
            }
            Errand::Connect { stream, target } => {
                let remote = match target {
                    StreamTarget::Candidate(address) => address,
                    StreamTarget::TurnServer { host, port, .. } => SocketAddr::new(host.parse().unwrap(), port),
                };
                let local = self.clients[client].next_address();
                self.last_connection += 1;
                let tcp = Tcp::new(client, 0, false, local.ip(), now);
                let opened = MediaStream::new((sockets, stream), local, remote, tcp);
                self.media_streams.insert(self.last_connection, opened);
                self.clients[client].media_connects.push((now, remote));
                self.send_media_segment(self.last_connection, true, Segment::Message(Vec::new()));
            }
            Errand::Write { stream, bytes, may_be_lost } => {
                let Some(connection) = of(self, stream) else { return };
                if let Some(piece) = self.media_streams[&connection].piece(bytes, may_be_lost) {
                    self.send_media_segment(connection, true, piece);
                }
            }
            Errand::Disconnect { stream } => {
                let Some(connection) = of(self, stream) else { return };
                self.hang_up_media(connection);
            }
        }
    }

    fn hang_up_media(&mut self, connection: u64) {
        // Nothing more comes of it at the client.
        if let Some(stream) = self.media_streams.get_mut(&connection) {
            stream.key = (0, 0);
        }
        self.send_media_segment(connection, true, Segment::Close);
    }

    /// What livekit-server adds to what the dev server says.
    #[expect(clippy::wildcard_enum_match_arm, reason = "it adds nothing to the others")]
    fn dress(&self, bytes: Vec<u8>) -> Vec<Vec<u8>> {
        use proto::signal_response::Message as Response;
        let Ok(proto::SignalResponse { message: Some(mut message) }) = proto::SignalResponse::decode(&bytes[..]) else {
            return vec![bytes];
        };
        let configuration = || {
            let mut configuration = proto::ClientConfiguration::default();
            configuration.set_force_relay(proto::ClientConfigSetting::Enabled);
            configuration
        };
        let mut target = None;
        match &mut message {
            Response::Join(join) => {
                join.ice_servers.clone_from(&self.ice_servers);
                join.client_configuration = self.forces_relay.then(configuration);
            }
            Response::Reconnect(reconnect) => {
                reconnect.ice_servers.clone_from(&self.ice_servers);
                reconnect.client_configuration = self.forces_relay.then(configuration);
            }
            Response::Answer(_) => target = Some(proto::SignalTarget::Publisher),
            Response::Offer(_) => target = Some(proto::SignalTarget::Subscriber),
            _ => return vec![bytes],
        }
        let mut all = vec![encode(message)];
        if let (Some(target), Some(address)) = (target, self.tcp_address) {
            let candidate = Candidate::host_tcp(address, TcpType::Passive).unwrap().to_string();
            let candidate_init = format!(r#"{{"candidate":"{candidate}","sdpMid":"0","sdpMLineIndex":0}}"#);
            let trickle = proto::TrickleRequest { candidate_init, target: target.into(), ..Default::default() };
            all.push(encode(Response::Trickle(trickle)));
        }
        all
    }

    // Effects.

    pub(super) fn settle(&mut self) {
        loop {
            let mut is_quiet = true;
            while let Some(output) = self.server.as_mut().and_then(SimulatedServer::poll) {
                is_quiet = false;
                self.carry_out_of_server(output);
            }
            for client in 0..self.clients.len() {
                while let Some(effect) = self.clients[client].core.poll_effect() {
                    is_quiet = false;
                    self.carry_out(client, effect);
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    fn carry_out_of_server(&mut self, output: Output) {
        let of = |world: &Self, at_server: u64| {
            world.connections.iter().find(|(_, tcp)| tcp.at_server == Some(at_server)).map(|(id, _)| *id)
        };
        match output {
            Output::Message { connection, bytes } => {
                if let Some(connection) = of(self, connection) {
                    for bytes in self.dress(bytes) {
                        self.send_segment(connection, false, Segment::Message(bytes));
                    }
                }
            }
            Output::Close { connection } => {
                if let Some(connection) = of(self, connection) {
                    self.send_segment(connection, false, Segment::Close);
                }
            }
            Output::Datagram { destination, payload } => {
                let now = self.now;
                let on_stream = |stream: &MediaStream| {
                    stream.local == destination && Some(stream.remote) == self.tcp_address && stream.is_open
                };
                if let Some(id) = self.media_streams.iter().find(|(_, stream)| on_stream(stream)).map(|(id, _)| *id) {
                    let mut frame = Vec::new();
                    assert!(roomkey_rtc::framing::write(&payload, &mut frame));
                    return self.send_media_segment(id, false, Segment::Message(frame));
                }
                if let Some(turn) = &self.turn
                    && let Some((to, bytes)) = turn.relay(destination, self.media_address, &payload)
                {
                    return self.send_from_turn(to, bytes);
                }
                let Some(at) = self.clients.iter().position(|client| client.ip == destination.ip()) else { return };
                for arrival in self.clients[at].path.arrivals(false, payload.len(), now, &mut self.rng) {
                    self.fly(arrival, Flight::ToClient(at, destination, payload.clone()));
                }
            }
        }
    }

    fn carry_out(&mut self, client: usize, effect: Effect) {
        let now = self.now;
        match effect {
            Effect::Bind { sockets } => {
                let address = self.clients[client].bind(sockets);
                self.clients[client].core.handle_bound(sockets, vec![address], now);
            }
            Effect::Errand { sockets, errand } => self.run_errand(client, sockets, errand),
            Effect::Unbind { sockets } => {
                let all: Vec<_> = (self.media_streams.iter())
                    .filter(|(_, stream)| stream.tcp.client == client && stream.key.0 == sockets)
                    .map(|(id, _)| *id)
                    .collect();
                all.into_iter().for_each(|connection| self.hang_up_media(connection));
                self.clients[client].sockets.remove(&sockets);
            }
            Effect::Transmit { sockets, transmit } => {
                let bound = self.clients[client].sockets.get(&sockets) == Some(&transmit.source);
                if !bound || transmit.source.ip() != self.clients[client].ip {
                    return;
                }
                let bytes = transmit.payload.len();
                if self.turn.as_ref().is_some_and(|turn| turn.address == transmit.destination) {
                    for arrival in self.clients[client].path.turn_arrivals(true, bytes, now, &mut self.rng) {
                        self.fly(arrival, Flight::ToTurn(transmit.source, transmit.payload.clone()));
                    }
                    return;
                }
                assert_eq!(transmit.destination, self.media_address, "nothing goes elsewhere");
                self.clients[client].sent_by_udp += 1;
                for arrival in self.clients[client].path.arrivals(true, bytes, now, &mut self.rng) {
                    self.fly(arrival, Flight::ToServer(transmit.source, transmit.payload.clone()));
                }
            }
            Effect::Dial { dial, url, authorization } => self.dial(client, dial, false, url, authorization.1),
            Effect::Validate { dial, url, authorization } => self.dial(client, dial, true, url, authorization.1),
            Effect::FetchRegions { fetch, url, authorization } => {
                let asked = &mut self.clients[client];
                asked.questions.push((now, url, authorization.1));
                // Without a network there is no answer.
                if !asked.path.is_down {
                    let answer = self.regions.map(|body| (body.as_bytes().to_vec(), Some(Duration::from_secs(60))));
                    asked.core.handle_regions(fetch, answer, now);
                }
            }
            Effect::KeepRegions(_) => {}
            Effect::Send(bytes) => {
                match proto::SignalRequest::decode(&bytes[..]).unwrap().message {
                    Some(Request::Trickle(trickle)) => self.trickled.push((client, trickle.candidate_init)),
                    Some(request) => self.clients[client].asked.push(request),
                    None => {}
                }
                if let Some(connection) = self.clients[client].websocket {
                    self.send_segment(connection, true, Segment::Message(bytes));
                }
            }
            Effect::CloseWebsocket => self.hang_up(client),
            Effect::Happened(happened) => self.clients[client].happened(happened, now),
        }
    }
}

pub(super) fn encode(message: proto::signal_response::Message) -> Vec<u8> {
    proto::SignalResponse { message: Some(message) }.encode_to_vec()
}

fn refusal(status: Option<u16>) -> Refusal {
    Refusal { status, ..Refusal::default() }
}

/// Does something to a message that no server does.
pub(super) fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng) {
    match rng.u8(..4) {
        0 => bytes.truncate(rng.usize(..=bytes.len())),
        1 => {
            let more = rng.usize(..40);
            bytes.extend(std::iter::repeat_with(|| rng.u8(..)).take(more));
        }
        _ => {
            for _ in 0..rng.usize(1..6) {
                if let Some(at) = (!bytes.is_empty()).then(|| rng.usize(..bytes.len())) {
                    bytes[at] = rng.u8(..);
                }
            }
        }
    }
}

fn announces_track(request: &[u8]) -> bool {
    let request = proto::SignalRequest::decode(request).unwrap();
    matches!(request.message, Some(proto::signal_request::Message::AddTrack(_)))
}
