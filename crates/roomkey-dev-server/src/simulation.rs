//! The server without its sockets and its clock, so that clients can be tested against it in virtual time.
//!
//! Hidden, and not covered by semantic versioning.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use livekit_protocol as proto;
use roomkey_signal::{CloseCause, Frame, Server, ServerEvent, ServerLimits, ServerOutput};
use roomkey_token::{AccessToken, MintError, SignerError, VideoGrant};

use crate::admission;
use crate::clock::Now;
use crate::config::{Config, DEV_KEY, DEV_SECRET};
use crate::server::settings;
use crate::sfu::{ConnectionId, Effect, Sfu};
use crate::sockets::IDLE_TIMEOUT;
use crate::tokens::Keys;

/// What the server wants done.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "a simulation does each of them")]
pub enum Output {
    /// Send a binary message on a websocket.
    Message {
        /// The websocket.
        connection: u64,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Close a websocket, after what was sent.
    Close {
        /// The websocket.
        connection: u64,
    },
    /// Send a datagram from the media address.
    Datagram {
        /// Where to.
        destination: SocketAddr,
        /// The datagram.
        payload: Vec<u8>,
    },
}

/// A server that is driven by hand: after each call, take its [outputs](Self::poll) until there are none.
#[derive(Debug)]
pub struct SimulatedServer {
    sfu: Sfu,
    keys: Arc<Keys>,
    epoch: (Instant, SystemTime),
    last_connection: ConnectionId,
    websockets: BTreeMap<ConnectionId, Server>,
    outputs: VecDeque<Output>,
}

impl SimulatedServer {
    /// A server whose media is reached at `media_address`. `wall` is the time of day at `now`.
    ///
    /// # Errors
    ///
    /// A key that nothing can be signed with.
    pub fn new(
        config: &Config,
        media_address: SocketAddr,
        now: Instant,
        wall: SystemTime,
    ) -> Result<Self, SignerError> {
        let mut api_keys = config.keys.clone();
        if api_keys.is_empty() {
            api_keys.push((DEV_KEY.to_owned(), DEV_SECRET.to_owned()));
        }
        let keys = Arc::new(Keys::new(&api_keys, true)?);
        Ok(Self {
            sfu: Sfu::new(settings(config, media_address, false), Arc::clone(&keys), config.seed.unwrap_or_default()),
            keys,
            epoch: (now, wall),
            last_connection: 0,
            websockets: BTreeMap::new(),
            outputs: VecDeque::new(),
        })
    }

    /// A token for `identity` to join `room`, good for `ttl`.
    ///
    /// # Errors
    ///
    /// The identity or the room is empty.
    pub fn mint(&self, identity: &str, room: &str, ttl: Duration, now: Instant) -> Result<String, MintError> {
        let mut grant = VideoGrant::join(room);
        grant.can_update_own_metadata = Some(true);
        let token = AccessToken::new(identity).with_video(grant).with_ttl(ttl);
        self.keys.sign(&token, self.at(now).wall)
    }

    /// The status that the validate URL answers.
    pub fn validate(&self, path: &str, query: Option<&str>, authorization: Option<&str>, now: Instant) -> u16 {
        let examined = admission::examine(&self.keys, path, query, authorization, self.at(now).wall);
        match examined.and_then(|(_, claims)| self.sfu.check_room(&claims)) {
            Ok(()) => 200,
            Err(refusal) => refusal.status,
        }
    }

    /// A websocket is asked for. The first messages on it are among the outputs.
    ///
    /// # Errors
    ///
    /// The status that is answered in its place.
    pub fn connect(
        &mut self,
        path: &str,
        query: Option<&str>,
        authorization: Option<&str>,
        now: Instant,
    ) -> Result<u64, u16> {
        let now = self.at(now);
        let (request, claims) =
            admission::examine(&self.keys, path, query, authorization, now.wall).map_err(|refusal| refusal.status)?;
        self.last_connection += 1;
        let connection = self.last_connection;
        let mut limits = ServerLimits::default();
        limits.idle_timeout = Some(IDLE_TIMEOUT);
        let unix_time = now.wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        let websocket = Server::new(request.parameters.client_info.protocol, &limits, now.instant, unix_time);
        self.websockets.insert(connection, websocket);
        let joined = self.sfu.join(admission::joining(connection, request, claims), now);
        if joined.is_err() {
            self.websockets.remove(&connection);
        }
        self.settle(now);
        joined.map(|()| connection).map_err(|refusal| refusal.status)
    }

    /// A binary message came on a websocket.
    pub fn handle_message(&mut self, connection: u64, bytes: &[u8], now: Instant) {
        if let Some(websocket) = self.websockets.get_mut(&connection) {
            websocket.handle_binary(bytes, now);
        }
        self.settle(self.at(now));
    }

    /// A websocket is gone.
    pub fn handle_closed(&mut self, connection: u64, now: Instant) {
        if let Some(websocket) = self.websockets.get_mut(&connection) {
            websocket.handle_closed();
        }
        self.settle(self.at(now));
    }

    /// A datagram came at the media address.
    pub fn handle_datagram(&mut self, source: SocketAddr, datagram: &[u8], now: Instant) {
        self.sfu.handle_datagram(source, datagram, self.at(now));
        self.settle(self.at(now));
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), at the latest.
    pub fn timeout(&self) -> Option<Instant> {
        self.websockets.values().filter_map(Server::poll_timeout).chain(self.sfu.timeout()).min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.sfu.handle_timeout(self.at(now));
        for websocket in self.websockets.values_mut() {
            websocket.handle_timeout(now);
        }
        self.settle(self.at(now));
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn at(&self, instant: Instant) -> Now {
        let (epoch, wall) = self.epoch;
        Now { instant, wall: wall + instant.saturating_duration_since(epoch) }
    }

    fn settle(&mut self, now: Now) {
        loop {
            while let Some(effect) = self.sfu.poll_effect() {
                match effect {
                    Effect::Send { connection, message } => {
                        if let Some(websocket) = self.websockets.get_mut(&connection) {
                            websocket.send(message);
                        }
                    }
                    Effect::Close { connection } => {
                        if let Some(websocket) = self.websockets.get_mut(&connection) {
                            websocket.supersede();
                        }
                    }
                    Effect::Transmit { destination, payload, .. } => {
                        self.outputs.push_back(Output::Datagram { destination, payload });
                    }
                    // There are no workers, and nobody watches.
                    Effect::Worker { .. } | Effect::Happened(_) => {}
                }
            }
            let websockets = self.websockets.iter_mut();
            let next =
                websockets.filter_map(|(connection, websocket)| Some((*connection, websocket.poll_output()?))).next();
            let Some((connection, output)) = next else { return };
            self.carry_out(connection, output, now);
        }
    }

    fn carry_out(&mut self, connection: ConnectionId, output: ServerOutput, now: Now) {
        match output {
            ServerOutput::Transmit(Frame::Binary(bytes)) => {
                self.outputs.push_back(Output::Message { connection, bytes });
            }
            // Who speaks protobuf is answered in it, and each websocket's library answers pings.
            ServerOutput::Transmit(Frame::Text(_)) | ServerOutput::WebsocketPing => {}
            ServerOutput::Close(_) => self.outputs.push_back(Output::Close { connection }),
            ServerOutput::Event(ServerEvent::Request(request)) => self.sfu.handle_request(connection, *request, now),
            ServerOutput::Event(ServerEvent::Closed(cause)) => {
                if let CloseCause::Left(reason) = cause {
                    let mut leave = proto::LeaveRequest::default();
                    leave.set_reason(reason);
                    self.sfu.handle_request(connection, proto::signal_request::Message::Leave(leave), now);
                }
                self.websockets.remove(&connection);
                self.sfu.connection_lost(connection, now);
            }
            // A later version of the protocol's crate.
            ServerOutput::Event(_) => {}
        }
    }
}
