//! The servers of addresses, as they are asked: their names found, a STUN server where it sees our sockets, a TURN server for
//! an address.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::allocation::Allocation;
use super::binding::Binding;
use super::relay::{Relay, datagram};
use super::servers::Server;
use super::stream::Purpose;
use super::{Errand, Gathered, Gathering, LookupId, Resolved, StreamId, StreamTarget};
use crate::ice_server::{IceUrl, Service};

/// How long a name may take to resolve.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
pub(super) const MAX_BINDINGS: usize = 16;
const MAX_RELAYS: usize = 8;

impl Gathering {
    /// Asks the servers that offer such a service and are not being asked.
    pub(super) fn ask(&mut self, is_wanted: impl Fn(Service) -> bool) {
        for index in 0..self.servers.len() {
            let url = &self.servers[index].url;
            let is_asked = self.relays.iter().any(|relay| relay.url == *url)
                || self.lookups.iter().any(|(_, server, _)| *server == index)
                || self
                    .streams
                    .iter()
                    .any(|stream| matches!(stream.purpose, Purpose::Relay { server } if server == index));
            // Who has nothing but loopback reaches nothing else.
            let is_out_of_reach = self.addresses.iter().all(|own| own.ip().is_loopback()) && !url.is_loopback();
            if !is_wanted(url.service) || is_asked || is_out_of_reach {
                continue;
            }
            match url.service {
                Service::Stun | Service::TurnUdp => {
                    self.last_id += 1;
                    self.lookups.push((self.last_id, index, self.now + LOOKUP_TIMEOUT));
                    self.outputs
                        .push_back(Gathered::Errand(Errand::Resolve { lookup: self.last_id, host: url.host.clone() }));
                }
                Service::TurnTcp | Service::TurnTls => {
                    let target = StreamTarget::TurnServer {
                        host: url.host.clone(),
                        port: url.port,
                        is_tls: url.service == Service::TurnTls,
                    };
                    self.connect(target, Purpose::Relay { server: index });
                }
            }
        }
    }

    /// The addresses of a host; none where the name is not known.
    pub(crate) fn handle_resolved(&mut self, lookup: LookupId, resolved: &[Resolved], now: Instant) {
        self.now = now;
        let Some(at) = self.lookups.iter().position(|(id, ..)| *id == lookup) else { return };
        let (_, server, _) = self.lookups.swap_remove(at);
        let Some(Server { url, username, credential }) = self.servers.get(server).cloned() else { return };
        let mut families = [false; 2];
        for Resolved { address, local } in resolved {
            // One of each family is enough.
            if std::mem::replace(&mut families[usize::from(address.is_ipv6())], true) {
                continue;
            }
            let from: Vec<SocketAddr> =
                self.addresses.iter().copied().filter(|own| can_send(own.ip(), *address)).collect();
            let to = SocketAddr::new(*address, url.port);
            if url.service == Service::Stun {
                let room = MAX_BINDINGS.saturating_sub(self.bindings.len());
                self.bindings.extend(from.into_iter().take(room).map(|own| Binding::new(own, to, now)));
            } else if let Some(own) = from.iter().find(|own| Some(own.ip()) == *local).or_else(|| from.first()) {
                self.allocate(&url, (*own, to), None, (&username, &credential));
                // One address is as good as another here.
                break;
            }
        }
        self.poll_bindings();
        self.poll_relays();
    }

    pub(super) fn allocate(
        &mut self,
        url: &IceUrl,
        between: (SocketAddr, SocketAddr),
        stream: Option<StreamId>,
        credential: (&str, &str),
    ) {
        if self.relays.len() >= MAX_RELAYS {
            return;
        }
        let wants_ipv6 = !self.peers.is_empty() && self.peers.iter().all(IpAddr::is_ipv6);
        let mut allocation = Allocation::new(stream.is_none(), between, credential, wants_ipv6, self.now);
        for peer in &self.peers {
            allocation.allow(*peer, self.now);
        }
        self.relays.push(Relay { url: url.clone(), allocation, stream, candidate: None });
    }

    pub(super) fn poll_bindings(&mut self) {
        let now = self.now;
        self.bindings.retain_mut(|binding| match binding.poll(now) {
            Ok(None) => true,
            Ok(Some(payload)) => {
                self.outputs.push_back(Gathered::Transmit(datagram(binding.local, binding.server, payload)));
                true
            }
            Err(_) => {
                tracing::debug!(server = %binding.server, "a STUN server does not answer");
                false
            }
        });
    }
}

/// Nothing goes from loopback to elsewhere.
fn can_send(from: IpAddr, to: IpAddr) -> bool {
    from.is_ipv4() == to.is_ipv4() && (!from.is_loopback() || to.is_loopback())
}
