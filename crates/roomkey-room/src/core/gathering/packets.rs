//! Which way a packet goes, and what came through which.

use std::net::SocketAddr;
use std::time::Instant;

use roomkey_rtc::{Candidate, Protocol, Transmit};

use super::asking::MAX_BINDINGS;
use super::binding::Binding;
use super::{Errand, Gathered, Gathering, Relay, Way};

impl Gathering {
    /// A packet of the peer connection's; what remains of it is for a UDP socket.
    pub(crate) fn transmit(&mut self, transmit: Transmit) -> Option<Transmit> {
        let way = match transmit.protocol {
            Protocol::Udp if self.relays.is_empty() => Way::Udp,
            Protocol::Udp => {
                let lent = self.relays.iter().any(|relay| relay.allocation.relayed() == Some(transmit.source));
                if lent { Way::Relay(transmit.source) } else { Way::Udp }
            }
            Protocol::Tcp => {
                let ends = Some((transmit.source, transmit.destination));
                // A pair of a connection and a candidate that is not its end.
                Way::Stream(self.streams.iter().find(|stream| stream.ends == ends)?.id)
            }
        };
        note(&mut self.used[0], way, &transmit.payload);
        match way {
            Way::Udp => return Some(transmit),
            Way::Stream(stream) => {
                let mut bytes = Vec::with_capacity(2 + transmit.payload.len());
                if roomkey_rtc::framing::write(&transmit.payload, &mut bytes) {
                    self.outputs.push_back(Gathered::Errand(Errand::Write { stream, bytes, may_be_lost: true }));
                }
            }
            Way::Relay(address) => {
                let now = self.now;
                if let Some(relay) = self.relays.iter_mut().find(|relay| relay.allocation.relayed() == Some(address))
                    && let Some(bytes) = relay.allocation.send(transmit.destination, transmit.payload, now)
                {
                    let sent = relay.wrap(bytes, true);
                    self.outputs.push_back(sent);
                }
            }
        }
        None
    }

    /// A datagram came to a UDP socket; whether it was for this.
    pub(crate) fn handle_datagram(
        &mut self,
        source: SocketAddr,
        destination: SocketAddr,
        datagram: &[u8],
        now: Instant,
    ) -> bool {
        self.now = now;
        let is_answer = |binding: &Binding| {
            binding.server == source && binding.local == destination && binding.is_answered_by(datagram)
        };
        if let Some(at) = self.bindings.iter().position(is_answer) {
            let binding = self.bindings.swap_remove(at);
            if let Some(address) = Binding::address_in(datagram) {
                self.seen_at(address, binding.local);
            }
            return true;
        }
        let is_server = |relay: &Relay| {
            relay.stream.is_none() && relay.allocation.server() == source && relay.allocation.local() == destination
        };
        if let Some(at) = self.relays.iter().position(is_server)
            && let Ok(packet) = self.relays[at].allocation.handle_datagram(datagram, now)
        {
            if let Some((peer, packet)) = packet {
                self.relayed(at, peer, packet);
            }
            self.poll_relays();
            return true;
        }
        note(&mut self.used[1], Way::Udp, datagram);
        false
    }

    fn seen_at(&mut self, address: SocketAddr, local: SocketAddr) {
        // Two servers see the same, and without a NAT it is the socket's own.
        let is_known = address == local || self.seen.iter().any(|known| known.address() == address);
        if !is_known
            && self.seen.len() < MAX_BINDINGS
            && let Ok(candidate) = Candidate::server_reflexive_udp(address, local)
        {
            self.seen.push(candidate.clone());
            self.outputs.extend([Gathered::Add(candidate.clone()), Gathered::Tell(candidate)]);
        }
    }

    pub(super) fn relayed(&mut self, at: usize, peer: SocketAddr, packet: Vec<u8>) {
        let Some(address) = self.relays.get(at).and_then(|relay| relay.allocation.relayed()) else { return };
        note(&mut self.used[1], Way::Relay(address), &packet);
        self.outputs.push_back(Gathered::Received {
            protocol: Protocol::Udp,
            source: peer,
            destination: address,
            packet,
        });
    }
}

/// Checks go everywhere; DTLS, media and data go where ICE has settled (RFC 7983 tells them apart by the first byte).
pub(super) fn note(used: &mut Option<Way>, way: Way, packet: &[u8]) {
    if packet.first().is_some_and(|first| *first > 3) {
        *used = Some(way);
    }
}
