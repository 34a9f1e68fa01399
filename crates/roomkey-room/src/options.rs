//! How a room is joined.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use livekit_protocol as proto;
use roomkey_signal::ServerUrl;
use rustls::ClientConfig;

use crate::connect_error::ConnectError;
use crate::connection;
use crate::core::Settings;
use crate::data_stream::limits::StreamLimits;
use crate::encryption::{EncryptionOptions, RoomEncryption};
use crate::ice_server::{IceServer, IceTransportPolicy};
use crate::region_failover::{RegionCache, RegionFailover};
use crate::room::Room;

/// The protocol that is spoken: what livekit-server 1.13.5 and its clients of that time speak.
const PROTOCOL: i32 = 17;
/// Streams in one packet, and RPC over streams.
const CLIENT_PROTOCOL: i32 = 2;

/// How a room is joined. Made by [`Room::builder`].
#[derive(Clone)]
#[must_use]
pub struct RoomBuilder {
    auto_subscribe: bool,
    adaptive_stream: bool,
    single_peer_connection: bool,
    connect_timeout: Duration,
    max_reconnect_attempts: u32,
    attributes: HashMap<String, String>,
    stream_limits: StreamLimits,
    ice_transport_policy: IceTransportPolicy,
    ice_servers: Option<Vec<IceServer>>,
    region_failover: RegionFailover,
    encryption: Option<EncryptionOptions>,
    pub(crate) region_cache: Arc<RegionCache>,
    pub(crate) local_addresses: Option<Vec<IpAddr>>,
    tls: Option<Arc<ClientConfig>>,
    /// What there is if the application has no TLS of its own. It keeps the sessions that servers may take up again.
    system_tls: Arc<OnceLock<Arc<ClientConfig>>>,
}

/// Options of the official SDK by another name.
pub type RoomOptions = RoomBuilder;

impl Default for RoomBuilder {
    fn default() -> Self {
        Self {
            auto_subscribe: true,
            adaptive_stream: false,
            single_peer_connection: true,
            connect_timeout: Duration::from_secs(20),
            max_reconnect_attempts: 20,
            attributes: HashMap::new(),
            stream_limits: StreamLimits::default(),
            ice_transport_policy: IceTransportPolicy::default(),
            ice_servers: None,
            region_failover: RegionFailover::Cloud,
            encryption: None,
            region_cache: Arc::default(),
            local_addresses: None,
            tls: None,
            system_tls: Arc::default(),
        }
    }
}

impl fmt::Debug for RoomBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomBuilder")
            .field("auto_subscribe", &self.auto_subscribe)
            .field("single_peer_connection", &self.single_peer_connection)
            .finish_non_exhaustive()
    }
}

impl RoomBuilder {
    /// Whether to receive each track that somebody publishes; on by default. Else those that
    /// [`Room::set_subscribed`] names.
    pub fn auto_subscribe(self, auto_subscribe: bool) -> Self {
        Self { auto_subscribe, ..self }
    }

    /// Whether the server is told that this client says which size of a video it wants; off by default.
    pub fn adaptive_stream(self, adaptive_stream: bool) -> Self {
        Self { adaptive_stream, ..self }
    }

    /// Whether to use one peer connection where the server can; on by default. A server that can't gets two.
    pub fn single_peer_connection(self, single_peer_connection: bool) -> Self {
        Self { single_peer_connection, ..self }
    }

    /// How long a join may take, from the first packet until media can flow; 20 s by default.
    ///
    /// A server that may have [other regions](Self::region_failover) is given half of the time that is left before another
    /// region is tried; all of it, if there is none.
    pub fn connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// How often it is tried to come back to the room before it is over; 20 by default, which is about a minute. The first
    /// twelve tries are at most a second apart, the others up to seven.
    ///
    /// A connection that is back and does not hold for ten seconds is waited for longer the next time, by the same measure; after
    /// so many in a row the room is over with [`DisconnectReason::SignalClose`](crate::DisconnectReason::SignalClose).
    pub fn max_reconnect_attempts(self, max_reconnect_attempts: u32) -> Self {
        Self { max_reconnect_attempts, ..self }
    }

    /// Adds an attribute of this participant, which stands in for that of the token. The token has to allow it
    /// (`canUpdateOwnMetadata`).
    pub fn attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.insert(key.into(), value.into());
        self
    }

    /// What is accepted of the streams of others.
    pub fn stream_limits(self, stream_limits: StreamLimits) -> Self {
        Self { stream_limits, ..self }
    }

    /// Whether to go to another region of the server when one fails; [`RegionFailover::Cloud`] by default.
    ///
    /// If no region can be joined, the error is that of the first one. A resume stays with the region that the room is in, and
    /// becomes a join anew in another one when the region fails and this client's network does not. What a server said of its
    /// regions is kept in this builder and its clones, for as long as the server says: five seconds, if it does not.
    pub fn region_failover(self, region_failover: RegionFailover) -> Self {
        Self { region_failover, ..self }
    }

    /// Encrypts tracks and data end to end, with keys that the server does not have; nothing is unless this is set.
    ///
    /// All who are to read it need the keys too. What others send encrypted is decrypted, what they send in the clear is taken as
    /// it is; each [publication](crate::TrackPublication::is_encrypted) and message says which. A track goes without redundant
    /// audio then, and AV1 can't be published. Events tell where it fails
    /// ([`E2eeStateChanged`](crate::RoomEvent::E2eeStateChanged)). The server still sees who is in the room and when they
    /// speak, the sizes of pictures and messages, metadata and attributes.
    pub fn encryption(self, encryption: EncryptionOptions) -> Self {
        Self { encryption: Some(encryption), ..self }
    }

    /// What was set with [`encryption`](Self::encryption).
    pub fn encryption_options(&self) -> Option<&EncryptionOptions> {
        self.encryption.as_ref()
    }

    /// The addresses of this machine to receive media on. By default those of all interfaces, or loopback alone if the
    /// server's URL is of loopback.
    pub fn local_addresses(self, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Self { local_addresses: Some(addresses.into_iter().collect()), ..self }
    }

    /// Which paths media may take; any by default, beginning with UDP. A server can ask for relays alone, too.
    pub fn ice_transport_policy(self, ice_transport_policy: IceTransportPolicy) -> Self {
        Self { ice_transport_policy, ..self }
    }

    /// STUN and TURN servers, in the place of those that the server names. They are asked where no path is found at once.
    pub fn ice_servers(self, ice_servers: impl IntoIterator<Item = IceServer>) -> Self {
        Self { ice_servers: Some(ice_servers.into_iter().collect()), ..self }
    }

    /// TLS for `wss` and for TURN; by default rustls on ring with the certificates that the system trusts.
    pub fn tls_config(self, tls: Arc<ClientConfig>) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Joins the room that the token names. Media can flow when this returns.
    ///
    /// Dropping the future gives the join up; the server is told if it has been joined by then.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]; a token that is not accepted is tried once, a server that is out of order four times.
    pub async fn connect(&self, server_url: &str, participant_token: &str) -> Result<Room, ConnectError> {
        Room::join(self, server_url, participant_token).await
    }

    pub(crate) fn failover(&self) -> &RegionFailover {
        &self.region_failover
    }

    /// TLS for a server, which its connections share; `None` if each is to have its own, where there is none to that server, or
    /// the system's certificates can't be read.
    pub(crate) fn tls_for(&self, server_url: &ServerUrl) -> Option<Arc<ClientConfig>> {
        if self.tls.is_some() || !server_url.is_secure() {
            return self.tls.clone();
        }
        if let Some(tls) = self.system_tls.get() {
            return Some(Arc::clone(tls));
        }
        let tls = Arc::new(connection::system_trust().ok()?);
        Some(Arc::clone(self.system_tls.get_or_init(|| tls)))
    }

    pub(crate) fn settings(&self) -> Settings {
        let mut client_info = proto::ClientInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL,
            client_protocol: CLIENT_PROTOCOL,
            os: std::env::consts::OS.to_owned(),
            other_sdks: "roomkey".to_owned(),
            ..Default::default()
        };
        client_info.set_sdk(proto::client_info::Sdk::Rust);
        client_info.push_capabilities(proto::client_info::Capability::CapCompressionDeflateRaw);
        Settings {
            client_info,
            auto_subscribe: self.auto_subscribe,
            adaptive_stream: self.adaptive_stream,
            single_connection: self.single_peer_connection,
            attributes: self.attributes.clone(),
            connect_timeout: self.connect_timeout,
            max_reconnect_attempts: self.max_reconnect_attempts,
            stream_limits: self.stream_limits.clone(),
            ice_transport_policy: self.ice_transport_policy,
            ice_servers: self.ice_servers.clone(),
            region_failover: self.region_failover.clone(),
            encryption: self.encryption.clone().map(|options| Arc::new(RoomEncryption::new(options))),
        }
    }
}
