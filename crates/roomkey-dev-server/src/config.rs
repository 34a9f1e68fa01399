//! What a dev server is told before it starts.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// The API key of a server on loopback that was given none.
pub(crate) const DEV_KEY: &str = "devkey";
/// Its secret.
pub(crate) const DEV_SECRET: &str = "secret";

/// How a [`DevServer`](crate::DevServer) is set up. The default listens on a free port of loopback with LiveKit's
/// well-known `devkey` and `secret`.
///
/// `Debug` shows the API keys and no secret.
#[derive(Clone)]
pub struct Config {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pub(crate) media_port: u16,
    pub(crate) keys: Vec<(String, String)>,
    pub(crate) empty_timeout: Duration,
    pub(crate) departure_timeout: Duration,
    pub(crate) max_participants: u32,
    pub(crate) max_connections: usize,
    pub(crate) handshake_timeout: Duration,
    pub(crate) auto_create: bool,
    pub(crate) echo_agent: bool,
    pub(crate) development_token_server: Option<bool>,
    pub(crate) seed: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            media_port: 0,
            keys: Vec::new(),
            empty_timeout: Duration::from_secs(300),
            departure_timeout: Duration::from_secs(20),
            max_participants: 0,
            max_connections: 800,
            handshake_timeout: Duration::from_secs(10),
            auto_create: true,
            echo_agent: false,
            development_token_server: None,
            seed: None,
        }
    }
}

impl Config {
    /// The default: loopback, a free port, `devkey` and `secret`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The address to listen on, for signalling and media. Anything but loopback needs [`with_key`](Self::with_key).
    #[must_use]
    pub fn with_address(mut self, address: IpAddr) -> Self {
        self.address = address;
        self
    }

    /// The TCP port of HTTP and websockets. 0, the default, takes a free one.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// The port of all media, of UDP and of TCP. 0, the default, takes one that is free for both.
    #[must_use]
    pub fn with_media_port(mut self, port: u16) -> Self {
        self.media_port = port;
        self
    }

    /// Takes tokens that this API key signed. The first key that is given is the server's own; with one given, `devkey`
    /// is not taken. Beyond loopback a secret has 32 bytes at least.
    #[must_use]
    pub fn with_key(mut self, api_key: impl Into<String>, api_secret: impl Into<String>) -> Self {
        self.keys.push((api_key.into(), api_secret.into()));
        self
    }

    /// How long a room that nobody joined is kept, where its token says nothing. 5 minutes.
    #[must_use]
    pub fn with_empty_timeout(mut self, timeout: Duration) -> Self {
        self.empty_timeout = timeout;
        self
    }

    /// How long a room is kept after the last one left, where its token says nothing. 20 seconds.
    #[must_use]
    pub fn with_departure_timeout(mut self, timeout: Duration) -> Self {
        self.departure_timeout = timeout;
        self
    }

    /// The most participants of a room, where its token says nothing. 0, the default, is no limit.
    #[must_use]
    pub fn with_max_participants(mut self, participants: u32) -> Self {
        self.max_participants = participants;
        self
    }

    /// The most TCP connections at a time: clients, workers, and requests that are under way. 800, since many systems give
    /// a process 1,024 descriptors. A quarter as many besides may carry media, for who can't use UDP. Of those without a websocket the oldest makes room for who comes; where all have one,
    /// who comes is cut off.
    #[must_use]
    pub fn with_max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// How long a TCP connection may take to send its request or to become a websocket, and a worker's websocket to
    /// register. 10 seconds.
    #[must_use]
    pub fn with_handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Whether a join makes the room. With `false` a token without `roomCreate` gets 404 for a room that isn't there.
    #[must_use]
    pub fn with_auto_create(mut self, auto_create: bool) -> Self {
        self.auto_create = auto_create;
        self
    }

    /// Whether a demo agent takes every dispatch that no worker takes: it echoes audio and answers chat.
    #[must_use]
    pub fn with_echo_agent(mut self, echo_agent: bool) -> Self {
        self.echo_agent = echo_agent;
        self
    }

    /// Whether it is a development token server, which gives a token for any room to whoever asks: on loopback it is, and
    /// elsewhere it is not, unless this is set.
    #[must_use]
    pub fn with_development_token_server(mut self, gives_tokens: bool) -> Self {
        self.development_token_server = Some(gives_tokens);
        self
    }

    /// Draws sids from this seed, so that two runs are alike.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.keys.iter().map(|(key, _)| key).collect();
        f.debug_struct("Config")
            .field("address", &self.address)
            .field("port", &self.port)
            .field("media_port", &self.media_port)
            .field("keys", &keys)
            .field("empty_timeout", &self.empty_timeout)
            .field("departure_timeout", &self.departure_timeout)
            .field("max_participants", &self.max_participants)
            .field("max_connections", &self.max_connections)
            .field("handshake_timeout", &self.handshake_timeout)
            .field("auto_create", &self.auto_create)
            .field("echo_agent", &self.echo_agent)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_shown_without_its_secrets() {
        let shown = format!("{:?}", Config::new().with_key("api-key", "hush-hush"));
        assert!(shown.contains("api-key") && !shown.contains("hush-hush"), "{shown}");
    }
}
