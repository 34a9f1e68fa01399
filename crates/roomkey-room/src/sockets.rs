//! The UDP sockets of one peer connection.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll};

use roomkey_rtc::Transmit;
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

/// Addresses of this machine that are offered, at most.
const MAX_ADDRESSES: usize = 8;

/// Bytes that wait for the system to take them, for each socket: a large key frame, which is sent in one go. What is beyond is
/// lost, as on any network.
const MAX_WAITING: usize = 512 * 1024;

/// Errors of receiving that are passed over in one go.
const MAX_ERRORS: usize = 64;

/// Sockets of one connection, one an address of the machine.
#[derive(Debug)]
pub(crate) struct Sockets {
    sockets: Vec<Socket>,
    /// Who is read from first, so that a busy one does not keep the others waiting.
    turn: usize,
}

#[derive(Debug)]
struct Socket {
    address: SocketAddr,
    udp: UdpSocket,
    /// What the system did not take at once.
    waiting: VecDeque<Transmit>,
    waiting_bytes: usize,
}

impl Sockets {
    /// Binds a socket, on a port of the system's choice, to each address that can be had.
    pub(crate) fn bind(addresses: &[IpAddr]) -> io::Result<Self> {
        let mut sockets = Vec::new();
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses.iter().take(MAX_ADDRESSES) {
            match std::net::UdpSocket::bind((*address, 0)).and_then(|socket| {
                socket.set_nonblocking(true)?;
                Ok((socket.local_addr()?, UdpSocket::from_std(socket)?))
            }) {
                Ok((address, udp)) => {
                    sockets.push(Socket { address, udp, waiting: VecDeque::new(), waiting_bytes: 0 });
                }
                Err(error) => last = error,
            }
        }
        if sockets.is_empty() { Err(last) } else { Ok(Self { sockets, turn: 0 }) }
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(|socket| socket.address).collect()
    }

    /// Sends a datagram, or keeps it until the system takes it, which [`poll_receive`](Self::poll_receive) sees to.
    pub(crate) fn send(&mut self, transmit: Transmit) {
        if let Some(socket) = self.sockets.iter_mut().find(|socket| socket.address == transmit.source) {
            socket.send(transmit);
        }
    }

    /// The next datagram: its length, its source and the address that it came to. What waits is sent meanwhile.
    pub(crate) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<(usize, SocketAddr, SocketAddr)> {
        let count = self.sockets.len();
        for offset in 0..count {
            let index = (self.turn + offset) % count;
            let socket = &mut self.sockets[index];
            socket.poll_send(cx);
            for errors in 0.. {
                let mut read = ReadBuf::new(buffer);
                match socket.udp.poll_recv_from(cx, &mut read) {
                    Poll::Ready(Ok(source)) => {
                        self.turn = index + 1;
                        return Poll::Ready((read.filled().len(), source, socket.address));
                    }
                    // That of an earlier datagram, whose receiver is gone. Where it does not cease, the next has its turn.
                    Poll::Ready(Err(_)) if errors < MAX_ERRORS => {}
                    Poll::Ready(Err(_)) | Poll::Pending => break,
                }
            }
        }
        Poll::Pending
    }
}

impl Socket {
    fn send(&mut self, transmit: Transmit) {
        if self.waiting.is_empty() {
            match self.udp.try_send_to(&transmit.payload, transmit.destination) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // An address that can't be reached from here is a lost datagram.
                Ok(_) | Err(_) => return,
            }
        }
        if self.waiting_bytes + transmit.payload.len() <= MAX_WAITING {
            self.waiting_bytes += transmit.payload.len();
            self.waiting.push_back(transmit);
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) {
        while let Some(Transmit { payload, destination, .. }) = self.waiting.front() {
            let Poll::Ready(_sent) = self.udp.poll_send_to(cx, payload, *destination) else { break };
            self.waiting_bytes -= payload.len();
            self.waiting.pop_front();
        }
    }
}

/// The addresses to offer for a server at this host: of this machine's interfaces those that others can reach, or
/// loopback alone for a server on loopback.
pub(crate) fn local_addresses(server_host: &str) -> io::Result<Vec<IpAddr>> {
    if is_loopback(server_host) {
        return Ok(vec![Ipv4Addr::LOCALHOST.into()]);
    }
    let mut addresses: Vec<IpAddr> = (if_addrs::get_if_addrs()?.into_iter())
        .map(|interface| interface.ip())
        .filter(|address| match address {
            IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local() && !address.is_unspecified(),
            IpAddr::V6(address) => !address.is_loopback() && !address.is_unspecified() && !is_link_local(address),
        })
        .collect();
    // IPv4 first: it is what most servers are reached by.
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses.dedup();
    Ok(addresses)
}

fn is_link_local(address: &Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_loopback_is_met_on_loopback_alone_and_any_other_one_not() {
        for host in ["localhost", "127.0.0.1", "[::1]"] {
            assert_eq!(local_addresses(host).unwrap(), [IpAddr::from(Ipv4Addr::LOCALHOST)]);
        }
        assert!(local_addresses("example.livekit.cloud").unwrap().iter().all(|address| !address.is_loopback()));
    }

    #[tokio::test]
    async fn addresses_that_can_not_be_had_are_passed_over() {
        // Of a network for documentation: no machine has it.
        let foreign = IpAddr::from([192, 0, 2, 77]);
        let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
        assert_eq!(Sockets::bind(&[foreign, loopback]).unwrap().addresses().len(), 1);
        assert!(Sockets::bind(&[foreign]).is_err());
        assert!(Sockets::bind(&[]).is_err());
    }
}
