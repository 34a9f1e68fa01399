//! The server's core: rooms, those in them, and what flows between them. It does no I/O: joins, requests, datagrams and
//! the time go in, [`Effect`]s come out.
//!
//! After each call, take effects until there are none, then call [`Sfu::handle_timeout`] no later than
//! [`Sfu::timeout`] says.

mod agents;
mod codec;
mod data;
mod echo;
mod forwarder;
mod history;
mod joining;
mod keyframe;
mod media;
mod negotiation;
mod nonces;
mod participant;
mod peer;
mod publication;
mod publish;
mod requests;
mod room;
mod sources;
mod speakers;
mod subscribe;
mod subscription;
mod ticks;
mod vp8;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use livekit_protocol as proto;
use proto::signal_response::Message;
use roomkey_rtc::{Candidate, PeerConnection, Protocol, TcpType};

use crate::clock::Now;
use crate::event::Event;
use crate::tokens::Keys;

use agents::Agents;
pub(crate) use agents::WorkerId;
pub(crate) use joining::{Joining, Refusal};
use participant::ParticipantId;
use room::Room;
use sources::{Seat, Sources};

/// A websocket of a client, numbered by the shell.
pub(crate) type ConnectionId = u64;
type RoomId = u64;

/// What the shell has to do.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Send a message on a client's websocket.
    Send { connection: ConnectionId, message: Message },
    /// Close a client's websocket, with code 1000, after what was sent.
    Close { connection: ConnectionId },
    /// Send a message on a worker's websocket.
    Worker { worker: WorkerId, message: proto::server_message::Message },
    /// Send a packet from the media address: a datagram, or a frame on the connection from that address.
    Transmit { protocol: Protocol, destination: SocketAddr, payload: Vec<u8> },
    /// Tell whoever runs the server.
    Happened(Event),
}

/// What does not change while the server runs.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where media is reached.
    pub(crate) media_address: SocketAddr,
    /// Whether it is reached over TCP there, besides UDP.
    pub(crate) has_tcp: bool,
    pub(crate) empty_timeout: Duration,
    pub(crate) departure_timeout: Duration,
    pub(crate) max_participants: u32,
    pub(crate) auto_create: bool,
    pub(crate) echo_agent: bool,
    /// Reliable data that waits for a client whose channel is open, in bytes.
    pub(crate) data_queue_limit: usize,
}

impl Settings {
    /// The server's addresses, the best first.
    fn candidates(&self) -> impl Iterator<Item = Candidate> {
        let udp = Candidate::host_udp(self.media_address);
        let tcp = self.has_tcp.then(|| Candidate::host_tcp(self.media_address, TcpType::Passive));
        [Some(udp), tcp].into_iter().flatten().map(|candidate| candidate.expect("a bound address is a candidate"))
    }
}

/// What every part of the core can reach while it handles something.
pub(crate) struct Context<'a> {
    pub(crate) now: Now,
    pub(crate) rng: &'a mut Rng,
    pub(crate) effects: &'a mut VecDeque<Effect>,
    pub(crate) settings: &'a Settings,
    pub(crate) keys: &'a Keys,
}

impl Context<'_> {
    fn happened(&mut self, event: Event) {
        self.effects.push_back(Effect::Happened(event));
    }
}

/// The core.
#[derive(Debug)]
pub(crate) struct Sfu {
    settings: Settings,
    keys: Arc<Keys>,
    rng: Rng,
    rooms: BTreeMap<RoomId, Room>,
    names: HashMap<String, RoomId>,
    last_room: RoomId,
    connections: HashMap<ConnectionId, (RoomId, ParticipantId)>,
    sources: Sources,
    effects: VecDeque<Effect>,
    agents: Agents,
}

impl Sfu {
    pub(crate) fn new(settings: Settings, keys: Arc<Keys>, seed: u64) -> Self {
        Self {
            settings,
            keys,
            rng: Rng::with_seed(seed),
            rooms: BTreeMap::new(),
            names: HashMap::new(),
            last_room: 0,
            connections: HashMap::new(),
            sources: Sources::default(),
            effects: VecDeque::new(),
            agents: Agents::default(),
        }
    }

    /// The room of this number, with what its methods need.
    fn in_room<T>(&mut self, id: RoomId, now: Now, act: impl FnOnce(&mut Room, &mut Context<'_>) -> T) -> Option<T> {
        let Self { settings, keys, rng, effects, rooms, .. } = self;
        let room = rooms.get_mut(&id)?;
        let mut cx = Context { now, rng, effects, settings, keys };
        let result = act(room, &mut cx);
        room.settle(&mut cx);
        Some(result)
    }

    /// A message of a client.
    pub(crate) fn handle_request(
        &mut self,
        connection: ConnectionId,
        request: proto::signal_request::Message,
        now: Now,
    ) {
        let Some(&(room, participant)) = self.connections.get(&connection) else { return };
        self.in_room(room, now, |room, cx| room.handle_request(participant, request, cx));
        self.after(room, now);
    }

    /// A client's websocket is gone. Its participant stays for a while, so that the client can resume.
    pub(crate) fn connection_lost(&mut self, connection: ConnectionId, now: Now) {
        let Some((room, participant)) = self.connections.remove(&connection) else { return };
        self.in_room(room, now, |room, cx| room.connection_lost(participant, connection, cx));
        self.after(room, now);
    }

    /// A datagram on the media socket. Whoever it isn't for is not disturbed by it.
    ///
    /// Whose an address is, connectivity checks say: a client can get that of one that vanished and is still here.
    pub(crate) fn handle_datagram(&mut self, source: SocketAddr, datagram: &[u8], now: Now) {
        self.handle_packet(Protocol::Udp, source, datagram, now);
    }

    /// A frame on a connection to the media address. Whether it is of anybody who is here: if not, end the connection.
    pub(crate) fn handle_frame(&mut self, source: SocketAddr, frame: &[u8], now: Now) -> bool {
        self.handle_packet(Protocol::Tcp, source, frame, now)
    }

    /// A connection to the media address has ended.
    pub(crate) fn tcp_ended(&mut self, source: SocketAddr) {
        self.sources.forget((Protocol::Tcp, source));
    }

    fn handle_packet(&mut self, protocol: Protocol, source: SocketAddr, packet: &[u8], now: Now) -> bool {
        let known = self.sources.seat((protocol, source)).filter(|found| self.is_here(*found));
        // A check says whose it is, the rest is of whom the last check from there was: a stranger's costs no search.
        let seat = if PeerConnection::is_connectivity_check(packet) {
            let found = known.filter(|found| self.accepts(*found, protocol, source, packet));
            let found = found.or_else(|| self.find(protocol, source, packet));
            if let Some(found) = found {
                self.sources.checked((protocol, source), found);
            }
            found
        } else {
            known
        };
        let Some((room, participant, target)) = seat else { return false };
        self.in_room(room, now, |room, cx| room.handle_packet(participant, target, protocol, source, packet, cx));
        self.after(room, now);
        true
    }

    fn is_here(&self, (room, participant, _): Seat) -> bool {
        self.rooms.get(&room).is_some_and(|room| room.participants.contains_key(&participant))
    }

    fn accepts(
        &self,
        (room, participant, target): Seat,
        protocol: Protocol,
        source: SocketAddr,
        packet: &[u8],
    ) -> bool {
        let to = self.settings.media_address;
        self.rooms.get(&room).is_some_and(|room| room.accepts(participant, target, protocol, source, to, packet))
    }

    fn find(&self, protocol: Protocol, source: SocketAddr, check: &[u8]) -> Option<Seat> {
        self.rooms.iter().find_map(|(id, room)| {
            let (participant, target) = room.find(protocol, source, self.settings.media_address, check)?;
            Some((*id, participant, target))
        })
    }

    /// The time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Now) {
        let due: Vec<_> =
            self.rooms.iter().filter(|(_, room)| room.timeout() <= now.instant).map(|(id, _)| *id).collect();
        for room in due {
            self.in_room(room, now, |room, cx| room.handle_timeout(cx));
            self.after(room, now);
        }
        self.handle_agents_timeout(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), at the latest.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.rooms.values().map(Room::timeout).chain(self.agents.timeout()).min()
    }

    /// The next thing to do.
    pub(crate) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Everybody is told that the server stops.
    pub(crate) fn shut_down(&mut self, now: Now) {
        let rooms: Vec<_> = self.rooms.keys().copied().collect();
        for room in rooms {
            self.in_room(room, now, |room, cx| room.close(proto::DisconnectReason::ServerShutdown, cx));
            self.after(room, now);
        }
    }

    /// What a room could not do alone: connections that ended, agents to dispatch, its own end.
    fn after(&mut self, id: RoomId, now: Now) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        for connection in room.take_ended_connections() {
            self.connections.remove(&connection);
        }
        for participant in room.take_departed() {
            self.sources.forget_participant(id, participant);
        }
        self.dispatch_agents(id, now);
        let Some(room) = self.rooms.get_mut(&id) else { return };
        if room.is_finished() {
            let name = room.name().to_owned();
            self.rooms.remove(&id);
            self.names.remove(&name);
            self.end_jobs_of(id);
            self.effects.push_back(Effect::Happened(Event::RoomFinished { room: name }));
        }
    }
}

#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one kind of message")]
mod tests;
