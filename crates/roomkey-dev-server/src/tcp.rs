//! Media on TCP connections, for who can't send or receive UDP (RFC 6544; frames of RFC 4571).
//!
//! Each connection has a task; packets come to the core's task over one queue, and go back over one a connection.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use roomkey_rtc::framing::{self, Frames};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Packets of all connections that wait for the core; beyond them connections are not read.
const INCOMING: usize = 256;
/// Packets that wait for a connection. What it does not take in time is lost, as on any network.
const OUTGOING: usize = 256;
/// Bytes that are written at a time.
const BATCH: usize = 32 * 1024;
/// A connection that takes nothing for this long is gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// One on which no whole packet comes for this long, too. Clients check every few seconds the paths that they keep, used or not.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// What happens on the connections.
#[derive(Debug)]
pub(crate) enum Arrival {
    Opened { source: SocketAddr, outgoing: mpsc::Sender<Vec<u8>> },
    Packet { source: SocketAddr, packet: Vec<u8> },
    Ended { source: SocketAddr },
}

/// The connections, as the core's task has them.
#[derive(Debug)]
pub(crate) struct TcpMedia {
    arrivals: mpsc::Receiver<Arrival>,
    /// Dropping a sender ends its connection.
    connections: HashMap<SocketAddr, mpsc::Sender<Vec<u8>>>,
    _accepting: JoinSet<()>,
}

impl TcpMedia {
    /// Takes connections, so many at most; a first packet has to come on each in time.
    pub(crate) fn new(listener: TcpListener, most: usize, patience: Duration) -> Self {
        let (sender, arrivals) = mpsc::channel(INCOMING);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, most, patience, sender));
        Self { arrivals, connections: HashMap::new(), _accepting: accepting }
    }

    /// The next packet. Dropping the future loses nothing.
    pub(crate) async fn receive(&mut self) -> Received {
        loop {
            match self.arrivals.recv().await {
                Some(Arrival::Opened { source, outgoing }) => drop(self.connections.insert(source, outgoing)),
                Some(Arrival::Packet { source, packet }) => return Received::Packet { source, packet },
                Some(Arrival::Ended { source }) => {
                    self.connections.remove(&source);
                    return Received::Ended { source };
                }
                // The listener's task does not end by itself.
                None => std::future::pending().await,
            }
        }
    }

    pub(crate) fn send(&self, destination: SocketAddr, packet: Vec<u8>) {
        if let Some(connection) = self.connections.get(&destination) {
            // A full queue is a lost packet.
            let _ = connection.try_send(packet);
        }
    }

    /// Ends a connection.
    pub(crate) fn end(&mut self, source: SocketAddr) {
        self.connections.remove(&source);
    }
}

/// What comes of it all.
#[derive(Debug)]
pub(crate) enum Received {
    Packet { source: SocketAddr, packet: Vec<u8> },
    Ended { source: SocketAddr },
}

async fn accept(listener: TcpListener, most: usize, patience: Duration, arrivals: mpsc::Sender<Arrival>) {
    /// Until descriptors are free.
    const PAUSE: Duration = Duration::from_millis(100);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, source)) if connections.len() < most => {
                    connections.spawn(carry(stream, source, patience, arrivals.clone()));
                }
                Ok(_) => tracing::warn!(most, "a connection for media beyond those that there may be"),
                Err(error) => {
                    tracing::debug!(%error, "can't take a connection for media");
                    sleep(PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Carries the packets of one connection until either side ends it.
async fn carry(stream: TcpStream, source: SocketAddr, patience: Duration, arrivals: mpsc::Sender<Arrival>) {
    // Packets are small and each is wanted now.
    let _ = stream.set_nodelay(true);
    let (reader, writer) = stream.into_split();
    let (outgoing, packets) = mpsc::channel(OUTGOING);
    if arrivals.send(Arrival::Opened { source, outgoing }).await.is_err() {
        return;
    }
    tokio::select! {
        () = read(reader, source, patience, &arrivals) => {}
        () = write(writer, packets) => {}
    }
    // The core is gone with the server.
    let _ = arrivals.send(Arrival::Ended { source }).await;
}

/// Reads packets, each of which has to be whole in time: a byte now and then keeps no connection.
async fn read(
    mut reader: impl AsyncRead + Unpin,
    source: SocketAddr,
    patience: Duration,
    arrivals: &mpsc::Sender<Arrival>,
) {
    let (mut buffer, mut frames) = (vec![0; 4 * 1024], Frames::new());
    let mut patience = patience;
    while let Ok(Some(packet)) = timeout(patience, next_packet(&mut reader, &mut frames, &mut buffer)).await {
        patience = IDLE_TIMEOUT;
        if arrivals.send(Arrival::Packet { source, packet }).await.is_err() {
            return;
        }
    }
}

/// The next whole packet; none at the end.
async fn next_packet(reader: &mut (impl AsyncRead + Unpin), frames: &mut Frames, buffer: &mut [u8]) -> Option<Vec<u8>> {
    loop {
        if let Some(packet) = frames.next_packet() {
            return Some(packet);
        }
        let length = reader.read(buffer).await.ok().filter(|length| *length > 0)?;
        frames.push(&buffer[..length]);
    }
}

async fn write(mut writer: OwnedWriteHalf, mut packets: mpsc::Receiver<Vec<u8>>) {
    let mut batch = Vec::new();
    while let Some(packet) = packets.recv().await {
        batch.clear();
        let mut next = Some(packet);
        while let Some(packet) = next {
            // What has no frame is no packet of ours.
            let _ = framing::write(&packet, &mut batch);
            next = if batch.len() < BATCH { packets.try_recv().ok() } else { None };
        }
        if !matches!(timeout(WRITE_PATIENCE, writer.write_all(&batch)).await, Ok(Ok(()))) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For how many seconds a connection is read on which these bytes come over and over, one a second, 300 at most.
    async fn seconds_of(bytes: &[u8]) -> u32 {
        let (reader, mut writer) = tokio::io::duplex(64);
        let (arrivals, _arrived) = mpsc::channel(INCOMING);
        let source = SocketAddr::from(([127, 0, 0, 1], 9));
        let mut seconds = 0;
        let dripping = async {
            let mut ticks = tokio::time::interval(Duration::from_secs(1));
            for byte in bytes.iter().cycle().take(300) {
                ticks.tick().await;
                seconds += 1;
                writer.write_all(&[*byte]).await.unwrap();
            }
        };
        tokio::select! {
            () = read(reader, source, Duration::from_secs(10), &arrivals) => {}
            () = dripping => {}
        }
        seconds
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_kept_by_whole_packets_and_not_by_bytes() {
        // A frame of 60,138 bytes is never whole, one of a single byte is every three seconds.
        assert!((10..=11).contains(&seconds_of(&[0xea]).await));
        assert_eq!(seconds_of(&[0, 1, 7]).await, 300);
        assert!((62..=64).contains(&seconds_of(&[&[0, 1, 7][..], &[0xea; 297]].concat()).await));
    }
}
