//! An address that a TURN server lends (RFC 8656), from the first question to its end.
//!
//! `turn-client-proto` speaks the protocol; here is when it is given up, who may send to the address, and the bytes on a
//! connection of TCP.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use turn_client_proto::api::{Transmit, TurnConfig, TurnEvent, TurnPollRet, TurnRecvRet};
use turn_client_proto::client::TurnClient;
use turn_client_proto::prelude::*;
use turn_client_proto::tcp::TurnClientTcp;
use turn_client_proto::types::{AddressFamily, Instant as TurnInstant, TransportType, TurnCredentials};
use turn_client_proto::udp::TurnClientUdp;

use super::turn_messages::TurnMessages;

/// How long the server has to lend the address.
const ALLOCATE_TIMEOUT: Duration = Duration::from_secs(8);
/// The wait before a question is sent again over UDP; it doubles up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
const RESENDINGS: u32 = 6;
/// Peers that may send to the address, at most.
const MAX_PEERS: usize = 16;
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
/// A poll does no harm, and a server could name any time.
const LONGEST_SLEEP: Duration = Duration::from_secs(300);
/// So many packets to a peer are worth a channel, which makes the others 32 bytes shorter.
const CHANNEL_AFTER: u32 = 16;

/// An address of a TURN server, lent or asked for.
pub(super) struct Allocation {
    client: TurnClient,
    messages: Option<TurnMessages>,
    local: SocketAddr,
    server: SocketAddr,
    epoch: Instant,
    relayed: Option<SocketAddr>,
    /// Who may send to it, with how many packets have been sent there.
    peers: Vec<Peer>,
    deadline: Instant,
    next: Option<Instant>,
    is_usable: bool,
    is_over: bool,
}

struct Peer {
    address: IpAddr,
    is_asked: bool,
    sent: u32,
}

/// What comes of an allocation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Allocated {
    /// Bytes for the server.
    Send(Vec<u8>),
    /// The address is lent, and a peer can be reached from it: a check before that would be lost.
    Lent(SocketAddr),
    /// It is of no more use.
    Over,
}

impl Allocation {
    /// Asks the server, by datagrams or on a connection. `wants_ipv6` is for peers that have no IPv4.
    pub(super) fn new(
        is_udp: bool,
        (local, server): (SocketAddr, SocketAddr),
        (username, credential): (&str, &str),
        wants_ipv6: bool,
        now: Instant,
    ) -> Self {
        let mut config = TurnConfig::new(TurnCredentials::new(username, credential));
        config.set_address_family(if wants_ipv6 { AddressFamily::IPV6 } else { AddressFamily::IPV4 });
        config.set_request_retransmits(FIRST_WAIT, LONGEST_WAIT, RESENDINGS, LONGEST_WAIT);
        let client = if is_udp {
            TurnClient::Udp(TurnClientUdp::allocate(local, server, config))
        } else {
            TurnClient::Tcp(TurnClientTcp::allocate(local, server, config))
        };
        Self {
            client,
            messages: (!is_udp).then(TurnMessages::default),
            local,
            server,
            epoch: now,
            relayed: None,
            peers: Vec::new(),
            deadline: now + ALLOCATE_TIMEOUT,
            next: Some(now),
            is_usable: false,
            is_over: false,
        }
    }

    pub(super) fn server(&self) -> SocketAddr {
        self.server
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// The address, once it is lent.
    pub(super) fn relayed(&self) -> Option<SocketAddr> {
        self.relayed
    }

    fn time(&self, now: Instant) -> TurnInstant {
        let nanoseconds = now.saturating_duration_since(self.epoch).as_nanos();
        TurnInstant::from_nanos(i64::try_from(nanoseconds).unwrap_or(i64::MAX))
    }

    /// A peer that may send to the address. Those beyond sixteen are passed over.
    pub(super) fn allow(&mut self, address: IpAddr, now: Instant) {
        if self.peers.len() < MAX_PEERS && self.peers.iter().all(|peer| peer.address != address) {
            self.peers.push(Peer { address, is_asked: false, sent: 0 });
            self.ask_for_peers(now);
        }
    }

    /// Before the address is lent, nothing can be asked for it.
    fn ask_for_peers(&mut self, now: Instant) {
        let Some(relayed) = self.relayed else { return };
        let time = self.time(now);
        for peer in self.peers.iter_mut().filter(|peer| !peer.is_asked) {
            peer.is_asked = true;
            if peer.address.is_ipv4() == relayed.is_ipv4() {
                // One that is there already is good too.
                let _ = self.client.create_permission(TransportType::Udp, peer.address, time);
            }
        }
        self.next = Some(now);
    }

    /// A packet to a peer, as it goes to the server. `None` while the server does not let packets pass there.
    pub(super) fn send(&mut self, peer: SocketAddr, packet: Vec<u8>, now: Instant) -> Option<Vec<u8>> {
        let time = self.time(now);
        if !self.client.have_permission(TransportType::Udp, peer.ip()) {
            return None;
        }
        if let Some(known) = self.peers.iter_mut().find(|known| known.address == peer.ip()) {
            known.sent = known.sent.saturating_add(1);
            if known.sent == CHANNEL_AFTER {
                // Without one it works, too.
                let _ = self.client.bind_channel(TransportType::Udp, peer, time);
                self.next = Some(now);
            }
        }
        let sent = self.client.send_to(TransportType::Udp, peer, packet, time).ok()??;
        Some(self.pad(sent.build().data))
    }

    fn pad(&self, message: Vec<u8>) -> Vec<u8> {
        if self.messages.is_some() { TurnMessages::pad(message) } else { message }
    }

    /// A datagram came from the server. The peer's packet in it; `Err` where it has nothing to do with the allocation.
    pub(super) fn handle_datagram(
        &mut self,
        datagram: &[u8],
        now: Instant,
    ) -> Result<Option<(SocketAddr, Vec<u8>)>, Unrelated> {
        let time = self.time(now);
        self.next = Some(now);
        let (transport, server, local) = (self.client.transport(), self.server, self.local);
        match self.client.recv(Transmit::new(datagram, transport, server, local), time) {
            TurnRecvRet::PeerData(data) => Ok(Some((data.peer, data.data().to_vec()))),
            TurnRecvRet::Ignored(_) => Err(Unrelated),
            TurnRecvRet::Handled | TurnRecvRet::PeerIcmp { .. } => Ok(None),
        }
    }

    /// Bytes came from the server on the connection; the peers' packets in them.
    pub(super) fn handle_bytes(&mut self, bytes: &[u8], now: Instant) -> Vec<(SocketAddr, Vec<u8>)> {
        let Some(mut messages) = self.messages.take() else { return Vec::new() };
        messages.push(bytes);
        let mut packets = Vec::new();
        loop {
            match messages.next() {
                Ok(Some(message)) => packets.extend(self.handle_datagram(message, now).ok().flatten()),
                Ok(None) => break,
                Err(_) => {
                    tracing::debug!(server = %self.server, "a TURN server says what is not TURN");
                    self.is_over = true;
                    break;
                }
            }
        }
        self.messages = Some(messages);
        packets
    }

    /// The next thing to do, if it is time.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Allocated> {
        if self.is_over {
            return Some(Allocated::Over);
        }
        if self.next.is_none_or(|next| next > now) && (self.relayed.is_some() || self.deadline > now) {
            return None;
        }
        let time = self.time(now);
        let mut wait = None;
        loop {
            if let Some(transmit) = self.client.poll_transmit(time) {
                return Some(Allocated::Send(self.pad(transmit.data.to_vec())));
            }
            if let Some(event) = self.client.poll_event() {
                match event {
                    TurnEvent::AllocationCreated(TransportType::Udp, address) if self.relayed.is_none() => {
                        self.relayed = Some(address);
                        self.ask_for_peers(now);
                    }
                    TurnEvent::PermissionCreated(..) if !self.is_usable => {
                        self.is_usable = true;
                        return self.relayed.map(Allocated::Lent);
                    }
                    TurnEvent::AllocationCreateFailed(_) => return self.end(),
                    TurnEvent::PermissionCreateFailed(_, address) => {
                        tracing::debug!(server = %self.server, peer = %address, "a TURN server does not let a peer pass");
                    }
                    TurnEvent::AllocationCreated(..)
                    | TurnEvent::PermissionCreated(..)
                    | TurnEvent::ChannelCreated(..)
                    | TurnEvent::ChannelCreateFailed(..)
                    | TurnEvent::TcpConnected(_)
                    | TurnEvent::TcpConnectFailed(_) => {}
                }
                continue;
            }
            if let Some(at) = wait {
                self.next = Some(now + at);
                break;
            }
            // What it finds out here it says only when it is asked again.
            match self.client.poll(time) {
                TurnPollRet::WaitUntil(at) => {
                    let nanoseconds = u64::try_from(at.as_nanos().saturating_sub(time.as_nanos())).unwrap_or(0);
                    wait = Some(Duration::from_nanos(nanoseconds).clamp(SHORTEST_WAIT, LONGEST_SLEEP));
                }
                TurnPollRet::Closed => return self.end(),
                // Allocations of TCP are not asked for.
                TurnPollRet::AllocateTcpSocket { .. } | TurnPollRet::TcpClose { .. } => wait = Some(LONGEST_SLEEP),
            }
        }
        if self.relayed.is_none() && self.deadline <= now {
            tracing::debug!(server = %self.server, "a TURN server lends no address in time");
            return self.end();
        }
        // One that expired is forgotten without a word.
        if self.relayed.is_some() && self.client.relayed_addresses().next().is_none() {
            return self.end();
        }
        None
    }

    fn end(&mut self) -> Option<Allocated> {
        self.is_over = true;
        Some(Allocated::Over)
    }

    /// When to poll, at the latest.
    pub(super) fn timeout(&self) -> Option<Instant> {
        let deadline = self.relayed.is_none().then_some(self.deadline);
        [self.next, deadline].into_iter().flatten().min()
    }

    /// Gives the address back; what tells the server so. Its answer is not awaited.
    pub(super) fn free(&mut self, now: Instant) -> Vec<Vec<u8>> {
        if self.is_over || self.relayed.is_none() || self.client.delete(self.time(now)).is_err() {
            return Vec::new();
        }
        self.is_over = true;
        // The library spaces what it asks; there is no later here.
        let time = self.time(now + Duration::from_secs(1));
        std::iter::from_fn(|| self.client.poll_transmit(time)).map(|sent| sent.data.to_vec()).take(MAX_PEERS).collect()
    }
}

/// What the library holds has the credential in its `Debug`.
impl fmt::Debug for Allocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Allocation")
            .field("server", &self.server)
            .field("relayed", &self.relayed)
            .finish_non_exhaustive()
    }
}

/// A datagram that has nothing to do with an allocation.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unrelated;
