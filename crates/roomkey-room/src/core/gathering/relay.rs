//! An address that a TURN server lends, from the request to its end.

use std::net::SocketAddr;

use roomkey_rtc::{Candidate, Transmit};

use super::allocation::{Allocated, Allocation};
use super::{Errand, Gathered, Gathering, StreamId, Way};
use crate::ice_server::IceUrl;

#[derive(Debug)]
pub(super) struct Relay {
    pub(super) url: IceUrl,
    pub(super) allocation: Allocation,
    pub(super) stream: Option<StreamId>,
    pub(super) candidate: Option<Candidate>,
}

impl Gathering {
    pub(super) fn poll_relays(&mut self) {
        let now = self.now;
        let mut ended = Vec::new();
        for relay in &mut self.relays {
            while let Some(allocated) = relay.allocation.poll(now) {
                match allocated {
                    Allocated::Send(bytes) => self.outputs.push_back(relay.wrap(bytes, false)),
                    Allocated::Lent(address) => match Candidate::relayed_udp(address, relay.allocation.local()) {
                        Ok(candidate) => {
                            relay.candidate = Some(candidate.clone());
                            self.outputs.push_back(Gathered::Add(candidate.clone()));
                            // Where the other side leads, pion waits two seconds before it takes one that it was told, and
                            // one second before it takes the same address from a check.
                            if !self.is_led {
                                self.outputs.push_back(Gathered::Tell(candidate));
                            }
                        }
                        Err(_) => {
                            ended.push((relay.allocation.server(), relay.allocation.local()));
                            break;
                        }
                    },
                    Allocated::Over => {
                        ended.push((relay.allocation.server(), relay.allocation.local()));
                        break;
                    }
                }
            }
        }
        for ends in ended {
            let of = |relay: &Relay| (relay.allocation.server(), relay.allocation.local()) == ends;
            if let Some(at) = self.relays.iter().position(of) {
                let relay = self.relays.swap_remove(at);
                if let Some(address) = relay.allocation.relayed() {
                    self.lose(Way::Relay(address));
                }
                self.free(relay);
            }
        }
    }

    pub(super) fn free(&mut self, mut relay: Relay) {
        for bytes in relay.allocation.free(self.now) {
            let sent = relay.wrap(bytes, false);
            self.outputs.push_back(sent);
        }
        self.outputs.extend(relay.candidate.take().map(Gathered::Remove));
        if let Some(stream) = relay.stream {
            self.streams.retain(|found| found.id != stream);
            self.outputs.push_back(Gathered::Errand(Errand::Disconnect { stream }));
        }
    }
}

impl Relay {
    /// Bytes for the server, as they go there.
    pub(super) fn wrap(&self, bytes: Vec<u8>, may_be_lost: bool) -> Gathered {
        match self.stream {
            Some(stream) => Gathered::Errand(Errand::Write { stream, bytes, may_be_lost }),
            None => Gathered::Transmit(datagram(self.allocation.local(), self.allocation.server(), bytes)),
        }
    }
}

pub(super) fn datagram(source: SocketAddr, destination: SocketAddr, payload: Vec<u8>) -> Transmit {
    Transmit::udp(source, destination, payload)
}
