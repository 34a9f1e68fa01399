//! One WebRTC peer connection as LiveKit uses it, sans-IO.
//!
//! A [`PeerConnection`] has no socket, no clock and no task. It is told what happens, and says what is to be done:
//!
//! 1. Something happens: a datagram comes ([`handle_datagram`](PeerConnection::handle_datagram)), a time comes
//!    ([`handle_timeout`](PeerConnection::handle_timeout)), or the application does something (all other methods that take
//!    `&mut self`).
//! 2. [`poll`](PeerConnection::poll) until it returns [`Output::Timeout`]: send each [`Output::Transmit`], look at each
//!    [`Output::Event`], and remember the last time.
//! 3. Wait for the next thing, until that time at most.
//!
//! Whatever happens between two polls is kept, in order. But nothing is sent and no time is known before the poll.
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use roomkey_rtc::{Candidate, ChannelConfig, Config, Event, Output, PeerConnection};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # #[expect(clippy::disallowed_methods, reason = "an application has a clock")]
//! let mut now = Instant::now();
//! let address = |port| ([127, 0, 0, 1], port).into();
//! let mut server = PeerConnection::new(&Config::new().with_ice_lite(true), now);
//! let mut client = PeerConnection::new(&Config::new(), now);
//! server.add_local_candidate(Candidate::host_udp(address(1))?);
//! client.add_local_candidate(Candidate::host_udp(address(2))?);
//!
//! // The signalling carries these texts.
//! client.open_channel(ChannelConfig::new("_reliable"));
//! let offer = client.create_offer(now)?.expect("there is a channel to offer");
//! let answer = server.accept_offer(&offer, now)?;
//! client.accept_answer(&answer, now)?;
//!
//! // Both sides in one loop, with a network between them that loses nothing.
//! let mut opened = 0;
//! while opened < 2 {
//!     let mut wait = now + Duration::from_secs(1);
//!     for side in [0, 1] {
//!         let (this, that) = if side == 0 { (&mut client, &mut server) } else { (&mut server, &mut client) };
//!         loop {
//!             match this.poll() {
//!                 Output::Transmit(sent) => that.handle_datagram(now, sent.source, sent.destination, &sent.payload),
//!                 Output::Event(Event::ChannelOpened { label, .. }) => {
//!                     assert_eq!(label, "_reliable");
//!                     opened += 1;
//!                 }
//!                 Output::Event(_) => {}
//!                 Output::Timeout(at) => break wait = wait.min(at),
//!             }
//!         }
//!     }
//!     now = wait;
//!     client.handle_timeout(now);
//!     server.handle_timeout(now);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Negotiation
//!
//! LiveKit has one side that makes all offers of a connection: the client for the publisher and for a single connection,
//! the server for the subscriber. [`create_offer`](PeerConnection::create_offer) gathers what was added since the last one;
//! [`accept_offer`](PeerConnection::accept_offer) answers. Who offers adds tracks with
//! [`add_sender`](PeerConnection::add_sender) and places for tracks with [`add_receiver`](PeerConnection::add_receiver); who
//! answers puts tracks into [free](MediaSection::free) places with [`attach_sender`](PeerConnection::attach_sender).
//!
//! # Media
//!
//! Media is RTP packets, in both directions: a server forwards them, and a client has a jitter buffer of its own. Lost video
//! packets are asked for again and sent again (NACK, RTX), audio has [`red`]. A packet's [`Format`] says what it carries.
//!
//! # What it leaves to you
//!
//! Sockets, TCP connections and the [frames](framing) on them, and finding their addresses, those on relays (TURN) too;
//! encoding and decoding; noticing a dead network early: ICE takes some seconds to say [`Disconnected`](IceState::Disconnected).

mod candidate;
mod channel;
mod config;
mod crypto;
mod event;
pub mod framing;
mod media;
mod negotiation;
mod peer_connection;
mod receiver;
pub mod red;
mod sdp;
mod sender;
mod stun;

pub use candidate::{Candidate, InvalidCandidate, Protocol, TcpType};
pub use channel::{ChannelConfig, ChannelId, SendDataError};
pub use config::Config;
pub use event::{ConnectionError, Event, IceState, Output, Transmit};
pub use media::{Codec, Direction, Format, InvalidName, MediaKind, MediaSection, Mid, Msid, Rid};
pub use negotiation::{AttachError, NegotiationError};
pub use peer_connection::PeerConnection;
pub use receiver::IncomingRtp;
pub use sender::{OutgoingRtp, SendError, SenderId};
