//! How a connection is set up.

use std::time::Duration;

use str0m::RtcConfig;
use str0m::bwe::Bitrate;

use crate::channel::SCTP_BUFFER;
use crate::crypto;

/// The settings of a connection. The defaults are for a client, and for a server on a public or a loopback address with
/// [`with_ice_lite`](Self::with_ice_lite).
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) ice_lite: bool,
    pub(crate) eager_ice: bool,
    pub(crate) red: bool,
    pub(crate) initial_bitrate: Option<u64>,
    pub(crate) data_queue_limit: usize,
    pub(crate) max_channels: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ice_lite: false,
            eager_ice: true,
            red: true,
            initial_bitrate: None,
            data_queue_limit: 16 * 1024 * 1024,
            max_channels: 64,
        }
    }
}

impl Config {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers connectivity checks and makes none (RFC 8445 section 2.5); off by default. For a server that all clients
    /// can reach directly, and for one that shares a socket between connections.
    pub fn with_ice_lite(self, ice_lite: bool) -> Self {
        Self { ice_lite, ..self }
    }

    /// Makes connectivity checks at once instead of one every 50 ms, as long as this side leads the checks and the
    /// connection is not up; on by default. It takes about 50 ms off a connect.
    pub fn with_eager_ice(self, eager_ice: bool) -> Self {
        Self { eager_ice, ..self }
    }

    /// Offers and accepts redundant audio (RFC 2198); on by default.
    pub fn with_red(self, red: bool) -> Self {
        Self { red, ..self }
    }

    /// Estimates how much can be sent, and paces what is sent, beginning at so many bits per second; off by default.
    pub fn with_bandwidth_estimation(self, initial_bits_per_second: Option<u64>) -> Self {
        Self { initial_bitrate: initial_bits_per_second, ..self }
    }

    /// How many bytes may wait in a reliable channel before [`Full`](crate::SendDataError::Full); 16 MiB by default. A
    /// message is always taken where none waits.
    pub fn with_data_queue_limit(self, bytes: usize) -> Self {
        Self { data_queue_limit: bytes, ..self }
    }

    /// How many data channels there can be before one that the other side opens is closed; 64 by default.
    pub fn with_max_channels(self, max_channels: usize) -> Self {
        Self { max_channels, ..self }
    }

    pub(crate) fn to_str0m(&self) -> RtcConfig {
        let mut config = RtcConfig::new()
            .set_crypto_provider(crypto::provider())
            .set_ice_lite(self.ice_lite)
            .set_rtp_mode(true)
            .clear_codecs()
            .enable_opus(true, self.red)
            .enable_pcmu(true, false)
            .enable_pcma(true, false)
            .enable_vp8(true)
            .enable_vp9(true)
            .enable_h264(true)
            .enable_av1(true)
            .set_stats_interval(None)
            .enable_bwe(self.initial_bitrate.map(Bitrate::from))
            .set_sctp_max_buffered_amount(SCTP_BUFFER);
        // With str0m's own, 250 ms and 3 s, a lost check costs as much as a connect. The longest wait is the time between two
        // checks of a path that is up as well, so what an idle connection costs; with seven tries it takes as long as before,
        // seven seconds or so, to give a path up.
        config.set_initial_stun_rto(Duration::from_millis(100));
        config.set_max_stun_rto(Duration::from_millis(1_600));
        config.set_max_stun_retransmits(7);
        config
    }
}
