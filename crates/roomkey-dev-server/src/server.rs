//! The server that one starts and stops.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdUdpSocket};
use std::sync::Arc;

use roomkey_token::{AccessToken, MintError, SignerError, VideoGrant};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::clock::Now;
use crate::config::{Config, DEV_KEY, DEV_SECRET};
use crate::event::Event;
use crate::http::{self, Http};
use crate::listener::Listener;
use crate::media::{Command, Media};
use crate::sfu::{Settings, Sfu};
use crate::tcp::TcpMedia;
use crate::tokens::Keys;

/// Commands that wait for the core; who sends more waits.
const COMMANDS: usize = 1_024;
/// Reliable data that waits for a client, in bytes.
const DATA_QUEUE_LIMIT: usize = 16 * 1024 * 1024;
/// Events that wait for whoever reads them.
const EVENTS: usize = 1_024;

/// A running server. Dropping it stops it at once; [`shutdown`](Self::shutdown) lets clients know first.
#[derive(Debug)]
pub struct DevServer {
    address: SocketAddr,
    media_address: SocketAddr,
    keys: Arc<Keys>,
    commands: mpsc::Sender<Command>,
    events: Option<mpsc::Receiver<Event>>,
    tasks: JoinSet<()>,
}

impl DevServer {
    /// Starts a server. When this returns, it listens.
    ///
    /// It has to be called within a tokio runtime, whose tasks the server's own are. Dropping the future starts nothing.
    ///
    /// # Errors
    ///
    /// A port can't be taken, or the address is not loopback and the configuration has no key of its own.
    pub async fn bind(config: Config) -> Result<Self, BindError> {
        let mut api_keys = config.keys.clone();
        if api_keys.is_empty() {
            if !config.address.is_loopback() {
                return Err(BindError::KeyRequired(config.address));
            }
            api_keys.push((DEV_KEY.to_owned(), DEV_SECRET.to_owned()));
        }
        let keys = Arc::new(Keys::new(&api_keys, config.address.is_loopback()).map_err(BindError::Key)?);
        let listener = TcpListener::bind((config.address, config.port)).await.map_err(BindError::Signalling)?;
        let (socket, tcp) = bind_media(config.address, config.media_port).await.map_err(BindError::Media)?;
        let reachable = reachable(config.address);
        let address = SocketAddr::new(reachable, listener.local_addr().map_err(BindError::Signalling)?.port());
        let media_address = SocketAddr::new(reachable, socket.local_addr().map_err(BindError::Media)?.port());

        let settings = settings(&config, media_address, true);
        let seed = config.seed.unwrap_or_else(|| fastrand::u64(..));
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let (events, event_receiver) = mpsc::channel(EVENTS);
        let media = Media {
            sfu: Sfu::new(settings, Arc::clone(&keys), seed),
            socket,
            tcp: TcpMedia::new(tcp, config.max_connections / 4, config.handshake_timeout),
            commands: receiver,
            events,
            clients: HashMap::new(),
            workers: HashMap::new(),
        };
        let gives_tokens = config.development_token_server.unwrap_or_else(|| config.address.is_loopback());
        let url = gives_tokens.then(|| format!("ws://{address}"));
        let http = Http::new(Arc::clone(&keys), commands.clone(), url, config.handshake_timeout);
        let listener = Listener::new(listener, config.max_connections, config.handshake_timeout);
        let mut tasks = JoinSet::new();
        tasks.spawn(media.run());
        tasks.spawn(http::serve(listener, http));
        Ok(Self { address, media_address, keys, commands, events: Some(event_receiver), tasks })
    }

    /// The URL to give to a LiveKit client, `ws://…`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Where HTTP and websockets are served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where media is received, over UDP and over TCP.
    #[must_use]
    pub fn media_address(&self) -> SocketAddr {
        self.media_address
    }

    /// A token for `identity` to join `room`, good for six hours, signed with the server's first key.
    ///
    /// # Errors
    ///
    /// The identity or the room is empty.
    pub fn mint(&self, identity: &str, room: &str) -> Result<String, MintError> {
        let token = AccessToken::new(identity).with_name(identity).with_video(VideoGrant::join(room));
        self.keys.sign(&token, Now::read().wall)
    }

    /// What happens from now on. It can be taken once; a reader that falls behind misses events.
    pub fn events(&mut self) -> Option<mpsc::Receiver<Event>> {
        self.events.take()
    }

    /// Tells every client that the server stops, then stops. Dropping the future stops at once.
    pub async fn shutdown(mut self) {
        let (done, is_done) = oneshot::channel();
        if self.commands.send(Command::ShutDown { done }).await.is_ok() {
            // An error is a core that is gone already.
            let _ = is_done.await;
        }
        // The websockets' tasks end by themselves once they have said goodbye; the listener does not.
        tokio::task::yield_now().await;
        self.tasks.shutdown().await;
    }
}

/// Sockets for media, UDP and TCP on a port of one number. For 0 it is one of those that are free for both.
async fn bind_media(address: IpAddr, port: u16) -> std::io::Result<(UdpSocket, TcpListener)> {
    /// A port that is free for TCP is rarely taken for UDP.
    const ATTEMPTS: usize = 16;
    let mut attempts = if port == 0 { ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        let tcp = TcpListener::bind((address, port)).await?;
        match UdpSocket::bind((address, tcp.local_addr()?.port())).await {
            Ok(udp) => return Ok((udp, tcp)),
            Err(error) if attempts == 0 => return Err(error),
            Err(_) => {}
        }
    }
}

/// What the core is told of a configuration.
pub(crate) fn settings(config: &Config, media_address: SocketAddr, has_tcp: bool) -> Settings {
    Settings {
        media_address,
        has_tcp,
        empty_timeout: config.empty_timeout,
        departure_timeout: config.departure_timeout,
        max_participants: config.max_participants,
        auto_create: config.auto_create,
        echo_agent: config.echo_agent,
        data_queue_limit: DATA_QUEUE_LIMIT,
    }
}

/// An address that others can reach: for "any", the one that this machine speaks from.
fn reachable(address: IpAddr) -> IpAddr {
    if !address.is_unspecified() {
        return address;
    }
    // Connecting a UDP socket sends nothing; it chooses a route. The destination is reserved for documentation.
    let (loopback, elsewhere): (IpAddr, IpAddr) = match address {
        IpAddr::V4(_) => (Ipv4Addr::LOCALHOST.into(), Ipv4Addr::new(192, 0, 2, 1).into()),
        IpAddr::V6(_) => (Ipv6Addr::LOCALHOST.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()),
    };
    let probe = StdUdpSocket::bind((address, 0)).and_then(|socket| {
        socket.connect((elsewhere, 9))?;
        socket.local_addr()
    });
    probe.map_or(loopback, |address| address.ip())
}

/// Why a server does not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum BindError {
    /// Beyond loopback everybody knows `devkey` and `secret`: give a key of your own.
    KeyRequired(IpAddr),
    /// An API key or secret that nothing can be signed with.
    Key(SignerError),
    /// The TCP port can't be listened on.
    Signalling(std::io::Error),
    /// The port of media can't be taken, for UDP or for TCP.
    Media(std::io::Error),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyRequired(address) => {
                write!(f, "{address} is not loopback: an API key and secret of your own are needed")
            }
            Self::Key(_) => f.write_str("the API key or secret can't be used"),
            Self::Signalling(_) => f.write_str("can't listen for HTTP and websockets"),
            Self::Media(_) => f.write_str("can't open the sockets for media"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::KeyRequired(_) => None,
            Self::Key(error) => Some(error),
            Self::Signalling(error) | Self::Media(error) => Some(error),
        }
    }
}
