//! The UDP sockets of one peer connection.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll};

use roomkey_rtc::Transmit;
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

/// Addresses of this machine that are offered, at most.
const MAX_ADDRESSES: usize = 8;

/// Sockets of one connection, one an address of the machine.
#[derive(Debug)]
pub(crate) struct Sockets {
    sockets: Vec<(SocketAddr, UdpSocket)>,
    /// Who is read from first, so that a busy one does not keep the others waiting.
    turn: usize,
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
                Ok(bound) => sockets.push(bound),
                Err(error) => last = error,
            }
        }
        if sockets.is_empty() { Err(last) } else { Ok(Self { sockets, turn: 0 }) }
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(|(address, _)| *address).collect()
    }

    pub(crate) fn send(&self, transmit: &Transmit) {
        if let Some((_, socket)) = self.sockets.iter().find(|(address, _)| *address == transmit.source) {
            // A full socket buffer is a lost datagram, and so is an address that can't be reached from here.
            let _ = socket.try_send_to(&transmit.payload, transmit.destination);
        }
    }

    /// The next datagram: its length, its source and the address that it came to.
    pub(crate) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<(usize, SocketAddr, SocketAddr)> {
        let count = self.sockets.len();
        for offset in 0..count {
            let index = (self.turn + offset) % count;
            let (address, socket) = &self.sockets[index];
            loop {
                let mut read = ReadBuf::new(buffer);
                match socket.poll_recv_from(cx, &mut read) {
                    Poll::Ready(Ok(source)) => {
                        self.turn = index + 1;
                        return Poll::Ready((read.filled().len(), source, *address));
                    }
                    // An error is that of an earlier datagram, whose receiver is gone; where it stays, the next has its turn.
                    Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                    Poll::Ready(Err(_)) | Poll::Pending => break,
                }
            }
        }
        Poll::Pending
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
