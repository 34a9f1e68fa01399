//! Connections of TCP and TLS that media goes over, and names that they and UDP need.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustls::ClientConfig;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;

use crate::connection::{self, Connection};
use crate::core::{LookupId, Resolved, SocketId, StreamId, StreamTarget};
use crate::outbox::Outbox;
use crate::tcp;

const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
const BUFFER: usize = 16 * 1024;

/// Which connection, of which peer connection.
pub(crate) type StreamKey = (SocketId, StreamId);

/// All of a room's.
#[derive(Default)]
pub(crate) struct Streams {
    streams: HashMap<StreamKey, Stream>,
    lookups: Vec<(SocketId, LookupId, BoxFuture<'static, Vec<Resolved>>)>,
    buffer: Vec<u8>,
}

enum Stream {
    Opening(BoxFuture<'static, io::Result<Open>>),
    Open(Box<Open>),
}

struct Open {
    connection: Box<dyn Connection>,
    ends: (SocketAddr, SocketAddr),
    outbox: Outbox,
    needs_flush: bool,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum StreamInput {
    /// Between these addresses, the first one ours.
    Opened(StreamKey, (SocketAddr, SocketAddr)),
    /// So many bytes are in the buffer.
    Received(StreamKey, usize),
    Closed(StreamKey),
    Resolved(SocketId, LookupId, Vec<Resolved>),
}

impl Streams {
    /// Opens a connection.
    pub(crate) fn connect(&mut self, key: StreamKey, target: StreamTarget, tls: Option<Arc<ClientConfig>>) {
        self.streams.insert(key, Stream::Opening(Box::pin(open(target, tls))));
    }

    /// Sends bytes as soon as the network takes them; `false` if the connection is of no more use.
    pub(crate) fn write(&mut self, key: StreamKey, bytes: &[u8], may_be_lost: bool) -> bool {
        match self.streams.get_mut(&key) {
            // The next poll sends it.
            Some(Stream::Open(open)) => open.outbox.push(bytes, may_be_lost).is_ok(),
            Some(Stream::Opening(_)) | None => true,
        }
    }

    /// Closes a connection; what waits is sent as far as the system takes it at once.
    pub(crate) fn disconnect(&mut self, key: StreamKey) {
        if let Some(Stream::Open(mut open)) = self.streams.remove(&key) {
            let mut cx = Context::from_waker(Waker::noop());
            if open.poll_send(&mut cx).is_ok() {
                let _ = Pin::new(&mut open.connection).poll_shutdown(&mut cx);
            }
        }
    }

    /// Finds the addresses of a host, for five seconds at most.
    pub(crate) fn resolve(&mut self, sockets: SocketId, lookup: LookupId, host: String) {
        self.lookups.push((sockets, lookup, Box::pin(resolve(host))));
    }

    /// Closes all of one peer connection.
    pub(crate) fn remove(&mut self, sockets: SocketId) {
        self.lookups.retain(|(of, ..)| *of != sockets);
        let all: Vec<_> = self.streams.keys().copied().filter(|(of, _)| *of == sockets).collect();
        all.into_iter().for_each(|key| self.disconnect(key));
    }

    /// Bytes that the last [`Received`](StreamInput::Received) counted.
    pub(crate) fn received(&self, length: usize) -> &[u8] {
        &self.buffer[..length]
    }

    /// What happens next, while what waits is sent.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<StreamInput> {
        for at in 0..self.lookups.len() {
            if let Poll::Ready(found) = self.lookups[at].2.as_mut().poll(cx) {
                let (sockets, lookup, _) = self.lookups.swap_remove(at);
                return Poll::Ready(StreamInput::Resolved(sockets, lookup, found));
            }
        }
        let mut closed = None;
        for (key, stream) in &mut self.streams {
            match stream {
                Stream::Opening(opening) => match opening.as_mut().poll(cx) {
                    Poll::Ready(Ok(open)) => {
                        let ends = open.ends;
                        self.buffer.resize(BUFFER, 0);
                        *stream = Stream::Open(Box::new(open));
                        return Poll::Ready(StreamInput::Opened(*key, ends));
                    }
                    Poll::Ready(Err(error)) => {
                        tracing::debug!(%error, "a connection for media is not opened");
                        closed = Some(*key);
                        break;
                    }
                    Poll::Pending => {}
                },
                Stream::Open(open) => match open.poll(cx, &mut self.buffer) {
                    Poll::Ready(Ok(length)) if length > 0 => {
                        return Poll::Ready(StreamInput::Received(*key, length));
                    }
                    Poll::Ready(_) => {
                        closed = Some(*key);
                        break;
                    }
                    Poll::Pending => {}
                },
            }
        }
        match closed {
            Some(key) => {
                self.streams.remove(&key);
                Poll::Ready(StreamInput::Closed(key))
            }
            None => Poll::Pending,
        }
    }
}

impl Open {
    fn poll(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Err(error) = self.poll_send(cx) {
            return Poll::Ready(Err(error));
        }
        let mut read = ReadBuf::new(buffer);
        Pin::new(&mut self.connection).poll_read(cx, &mut read).map_ok(|()| read.filled().len())
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut connection = Pin::new(&mut self.connection);
        while !self.outbox.waiting().is_empty() {
            match connection.as_mut().poll_write(cx, self.outbox.waiting()) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(sent)) => {
                    self.outbox.advance(sent);
                    self.needs_flush = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(()),
            }
        }
        if self.needs_flush {
            match connection.poll_flush(cx) {
                Poll::Ready(Ok(())) => self.needs_flush = false,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {}
            }
        }
        Ok(())
    }
}

async fn open(target: StreamTarget, tls: Option<Arc<ClientConfig>>) -> io::Result<Open> {
    let (stream, tls) = match target {
        StreamTarget::Candidate(address) => (TcpStream::connect(address).await?, None),
        StreamTarget::TurnServer { host, port, is_tls } => {
            (tcp::connect(&host, port).await?, is_tls.then_some((host, tls)))
        }
    };
    stream.set_nodelay(true)?;
    let ends = (stream.local_addr()?, stream.peer_addr()?);
    let connection = match tls {
        Some((host, tls)) => connection::secure(stream, &host, tls).await?,
        None => Box::new(stream),
    };
    Ok(Open { connection, ends, outbox: Outbox::default(), needs_flush: false })
}

async fn resolve(host: String) -> Vec<Resolved> {
    const MOST: usize = 16;
    let found = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((host.as_str(), 0))).await;
    let Ok(Ok(addresses)) = found else { return Vec::new() };
    addresses.take(MOST).map(|found| Resolved { address: found.ip(), local: source_for(found.ip()) }).collect()
}

/// The address of this machine's that the system would send from. Nothing is sent.
fn source_for(address: IpAddr) -> Option<IpAddr> {
    const ANY_PORT: u16 = 9;
    let unspecified: SocketAddr = if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(unspecified).ok()?;
    socket.connect((address, ANY_PORT)).ok()?;
    socket.local_addr().ok().map(|local| local.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_host_is_found_with_the_address_to_send_from_and_an_unknown_one_is_not() {
        let found = resolve("127.0.0.1".to_owned()).await;
        let loopback: IpAddr = [127, 0, 0, 1].into();
        assert_eq!(found, [Resolved { address: loopback, local: Some(loopback) }]);
        assert_eq!(resolve("no-such-host.invalid".to_owned()).await, []);
    }
}
