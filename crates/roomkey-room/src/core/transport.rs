//! One peer connection of the room, with its sockets' addresses and its offers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use roomkey_rtc::{
    Candidate, ChannelConfig, ChannelId, Config, Event, IceState, MediaKind, NegotiationError, Output, PeerConnection,
    Transmit,
};

use super::gathering::{Errand, Gathered, Gathering};
use crate::ice_server::{Allowed, IceServer};

/// The sockets of one connection, as the shell knows them.
pub(crate) type SocketId = u64;

/// How long the server has for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Places for tracks that the first offer of a single connection has: as many as LiveKit's SDKs offer.
const FIRST_RECEIVERS: usize = 3;

/// Places for tracks beyond these are not made, whatever the server wants.
const MAX_RECEIVERS: usize = 250;

/// Waiting candidates of a server that has not described itself yet.
const MAX_EARLY_CANDIDATES: usize = 32;

/// Bytes that wait in a data channel before it takes no more.
const DATA_QUEUE: usize = 4 * 1024 * 1024;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Everything: there is no other.
    Single,
    /// What this client sends; it makes the offers.
    Publisher,
    /// What the server sends; the server makes the offers.
    Subscriber,
}

#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) role: Role,
    pub(crate) sockets: SocketId,
    pub(crate) rtc: PeerConnection,
    addresses: Vec<SocketAddr>,
    allowed: Allowed,
    pub(crate) gathering: Gathering,
    /// Candidates that the server has not been told.
    untold: Vec<Candidate>,
    remote_ufrag: String,
    receivers: usize,
    pub(crate) reliable: Option<ChannelId>,
    pub(crate) lossy: Option<ChannelId>,
    pub(crate) is_reliable_open: bool,
    pub(crate) is_lossy_open: bool,
    pub(crate) ice: IceState,
    last_offer: u32,
    wants_offer: bool,
    answer_deadline: Option<Instant>,
    /// Candidates that came before a description that they belong to.
    early: Vec<Candidate>,
    is_described: bool,
    pub(crate) timeout: Instant,
    pub(crate) is_closed: bool,
    /// What the server said last, for a sync state.
    pub(crate) last_remote: Option<proto::SessionDescription>,
    pub(crate) last_local: Option<proto::SessionDescription>,
}

impl Transport {
    pub(crate) fn new(role: Role, sockets: SocketId, allowed: Allowed, now: Instant) -> Self {
        let config = Config::new().with_data_queue_limit(DATA_QUEUE).with_eager_ice(role != Role::Subscriber);
        let mut rtc = PeerConnection::new(&config, now);
        let (mut reliable, mut lossy) = (None, None);
        if role != Role::Subscriber {
            reliable = Some(rtc.open_channel(ChannelConfig::new("_reliable")));
            let config = ChannelConfig::new("_lossy").with_ordered(false).with_max_retransmits(Some(0));
            lossy = Some(rtc.open_channel(config));
        }
        let mut transport = Self {
            role,
            sockets,
            rtc,
            addresses: Vec::new(),
            allowed,
            // The server makes the offers to it, and so leads its checks.
            gathering: Gathering::new(allowed, role == Role::Subscriber, now),
            untold: Vec::new(),
            remote_ufrag: String::new(),
            receivers: 0,
            reliable,
            lossy,
            is_reliable_open: false,
            is_lossy_open: false,
            ice: IceState::New,
            last_offer: 0,
            wants_offer: false,
            answer_deadline: None,
            early: Vec::new(),
            is_described: false,
            timeout: now,
            is_closed: false,
            last_remote: None,
            last_local: None,
        };
        if role == Role::Single {
            transport.add_receivers(MediaKind::Audio, FIRST_RECEIVERS);
            transport.add_receivers(MediaKind::Video, FIRST_RECEIVERS);
        }
        transport
    }

    /// Makes places for tracks of others, which the next offer has.
    pub(crate) fn add_receivers(&mut self, kind: MediaKind, wanted: usize) {
        let count = wanted.min(MAX_RECEIVERS - self.receivers);
        self.receivers += count;
        (0..count).for_each(|_| self.rtc.add_receiver(kind));
    }

    #[cfg(test)]
    pub(crate) fn receivers(&self) -> usize {
        self.receivers
    }

    pub(crate) fn is_subscriber(&self) -> bool {
        self.role == Role::Subscriber
    }

    /// The sockets are bound here.
    pub(crate) fn set_addresses(&mut self, addresses: Vec<SocketAddr>, now: Instant) {
        for gone in self.addresses.iter().filter(|before| !addresses.contains(before)) {
            if let Ok(candidate) = Candidate::host_udp(*gone) {
                self.rtc.remove_local_candidate(&candidate);
            }
        }
        for address in addresses.iter().filter(|new| self.allowed.direct_udp() && !self.addresses.contains(new)) {
            if let Ok(candidate) = Candidate::host_udp(*address) {
                self.rtc.add_local_candidate(candidate);
            }
        }
        self.gathering.set_addresses(&addresses, now);
        self.addresses = addresses;
    }

    /// From here on relays alone are used.
    pub(crate) fn set_relay_only(&mut self) {
        if !std::mem::replace(&mut self.allowed.direct, false) {
            return;
        }
        for address in &self.addresses {
            if let Ok(candidate) = Candidate::host_udp(*address) {
                self.rtc.remove_local_candidate(&candidate);
            }
        }
        self.gathering.set_relay_only();
    }

    /// The server names these; where it names none, those from before are good.
    pub(crate) fn set_ice_servers(&mut self, servers: &[IceServer]) {
        if !servers.is_empty() {
            self.gathering.set_servers(servers);
        }
    }

    /// Looks for a new path.
    pub(crate) fn restart_ice(&mut self, now: Instant) {
        self.rtc.restart_ice();
        self.gathering.restart(now);
    }

    pub(crate) fn has_addresses(&self) -> bool {
        !self.addresses.is_empty()
    }

    pub(crate) fn is_up(&self) -> bool {
        self.rtc.is_connected() && self.has_path()
    }

    pub(crate) fn has_path(&self) -> bool {
        matches!(self.ice, IceState::Connected | IceState::Completed)
    }

    pub(crate) fn awaits_answer(&self) -> bool {
        self.rtc.has_pending_offer()
    }

    /// An offer of all that has changed, or a note that one is due once the last is answered.
    pub(crate) fn offer(&mut self, now: Instant) -> Result<Option<proto::SessionDescription>, NegotiationError> {
        if self.rtc.has_pending_offer() {
            self.wants_offer = true;
            return Ok(None);
        }
        let Some(sdp) = self.rtc.create_offer(now)? else { return Ok(None) };
        self.expect_answer(now);
        Ok(Some(self.describe("offer", sdp)))
    }

    /// The offer that was not answered, for a websocket that is a new one.
    pub(crate) fn offer_again(&mut self, now: Instant) -> Option<proto::SessionDescription> {
        let sdp = self.rtc.pending_offer()?.to_owned();
        self.expect_answer(now);
        Some(self.describe("offer", sdp))
    }

    fn describe(&mut self, kind: &str, sdp: String) -> proto::SessionDescription {
        self.last_offer += 1;
        let description =
            proto::SessionDescription { r#type: kind.to_owned(), sdp, id: self.last_offer, ..Default::default() };
        self.last_local = Some(description.clone());
        description
    }

    /// Takes an answer; says whether it was the one that was waited for.
    pub(crate) fn accept_answer(
        &mut self,
        answer: proto::SessionDescription,
        now: Instant,
    ) -> Result<bool, NegotiationError> {
        // The answer to an offer that went down with a websocket is of no use.
        if !self.rtc.has_pending_offer() || (answer.id != 0 && answer.id != self.last_offer) {
            return Ok(false);
        }
        self.rtc.accept_answer(&answer.sdp, now)?;
        self.answer_deadline = None;
        self.remote_ufrag = ufrag(&answer.sdp).to_owned();
        self.last_remote = Some(answer);
        self.described(now);
        Ok(true)
    }

    /// Whether an offer was put off until this answer.
    pub(crate) fn take_wanted_offer(&mut self) -> bool {
        std::mem::take(&mut self.wants_offer)
    }

    pub(crate) fn want_offer(&mut self) {
        self.wants_offer = true;
    }

    pub(crate) fn accept_offer(
        &mut self,
        offer: proto::SessionDescription,
        now: Instant,
    ) -> Result<proto::SessionDescription, NegotiationError> {
        let sdp = self.rtc.accept_offer(&offer.sdp, now)?;
        let ufrag = ufrag(&offer.sdp);
        if self.remote_ufrag != ufrag {
            let is_restart = !self.remote_ufrag.is_empty();
            self.remote_ufrag = ufrag.to_owned();
            if is_restart {
                self.gathering.restart(now);
            }
        }
        let answer = proto::SessionDescription { r#type: "answer".to_owned(), sdp, id: offer.id, ..Default::default() };
        self.last_remote = Some(offer);
        self.last_local = Some(answer.clone());
        self.described(now);
        Ok(answer)
    }

    fn described(&mut self, now: Instant) {
        self.is_described = true;
        for candidate in std::mem::take(&mut self.early) {
            self.add_remote_candidate(candidate, now);
        }
    }

    pub(crate) fn add_remote_candidate(&mut self, candidate: Candidate, now: Instant) {
        if self.is_described {
            self.gathering.add_remote_candidate(&candidate, now);
            self.rtc.add_remote_candidate(candidate);
        } else if self.early.len() < MAX_EARLY_CANDIDATES {
            self.early.push(candidate);
        }
    }

    /// A datagram came to a socket.
    pub(crate) fn handle_datagram(
        &mut self,
        source: SocketAddr,
        destination: SocketAddr,
        datagram: &[u8],
        now: Instant,
    ) {
        if !self.gathering.handle_datagram(source, destination, datagram, now) {
            self.rtc.handle_datagram(now, source, destination, datagram);
        }
    }

    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.timeout <= now {
            self.rtc.handle_timeout(now);
        }
        if self.gathering.timeout().is_some_and(|at| at <= now) {
            self.gathering.handle_timeout(now);
        }
    }

    /// The offer has reached the server: it has so long from now on.
    pub(crate) fn expect_answer(&mut self, now: Instant) {
        self.answer_deadline = self.rtc.has_pending_offer().then_some(now + ANSWER_TIMEOUT);
    }

    /// Without a websocket there is no answer, which says nothing about the server.
    pub(crate) fn excuse_answer(&mut self) {
        self.answer_deadline = None;
    }

    /// Whether the server has not answered an offer for too long.
    pub(crate) fn is_answer_overdue(&self, now: Instant) -> bool {
        self.answer_deadline.is_some_and(|deadline| deadline <= now)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "events that change nothing here")]
    pub(crate) fn poll(&mut self, now: Instant) -> Result<Event, Polled> {
        self.gathering.advance(now);
        loop {
            if let Some(polled) = self.poll_gathering() {
                return Err(polled);
            }
            match self.rtc.poll() {
                Output::Transmit(transmit) => {
                    if let Some(transmit) = self.gathering.transmit(transmit) {
                        return Err(Polled::Transmit(transmit));
                    }
                }
                Output::Event(event) => {
                    match &event {
                        Event::IceStateChanged(state) => {
                            self.ice = *state;
                            self.gathering.set_path(self.has_path());
                        }
                        Event::Closed => self.is_closed = true,
                        Event::ChannelOpened { id, .. } if Some(*id) == self.reliable => self.is_reliable_open = true,
                        Event::ChannelOpened { id, .. } if Some(*id) == self.lossy => self.is_lossy_open = true,
                        _ => {}
                    }
                    return Ok(event);
                }
                Output::Timeout(at) => {
                    self.timeout = at;
                    return Err(Polled::Idle);
                }
            }
        }
    }

    fn poll_gathering(&mut self) -> Option<Polled> {
        while let Some(gathered) = self.gathering.poll() {
            match gathered {
                Gathered::Add(candidate) => self.rtc.add_local_candidate(candidate),
                Gathered::Tell(candidate) => self.untold.push(candidate),
                Gathered::Remove(candidate) => {
                    self.rtc.remove_local_candidate(&candidate);
                    self.untold.retain(|untold| untold.address() != candidate.address());
                }
                Gathered::Received { protocol, source, destination, packet } => {
                    self.rtc.handle_packet(self.gathering.now(), protocol, source, destination, &packet);
                }
                Gathered::Lost => return Some(Polled::Lost),
                Gathered::Transmit(transmit) => return Some(Polled::Transmit(transmit)),
                Gathered::Errand(errand) => return Some(Polled::Errand(errand)),
            }
        }
        // They belong to a description that the server has.
        let described = self.last_local.as_ref()?;
        let candidate = self.untold.pop()?;
        Some(Polled::Candidate(candidate.to_trickle_json(self.rtc.local_ufrag(), &described.sdp)))
    }

    pub(crate) fn poll_timeout(&self) -> Instant {
        let others = [self.answer_deadline, self.gathering.timeout()];
        others.into_iter().flatten().fold(self.timeout, Instant::min)
    }
}

/// What a connection says besides events.
#[derive(Debug)]
pub(crate) enum Polled {
    Transmit(Transmit),
    /// A candidate that the server has to be told, in JSON.
    Candidate(String),
    Errand(Errand),
    /// The path is gone.
    Lost,
    Idle,
}

/// By which name a description is checked: a new one is a new round of ICE (RFC 8839 section 5.4).
fn ufrag(sdp: &str) -> &str {
    sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).unwrap_or_default()
}
