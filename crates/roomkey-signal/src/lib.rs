//! LiveKit's signalling protocol, sans-IO, both ends.
//!
//! Signalling is what a client and a server say to each other over a websocket while media and data take a peer connection:
//! who is in the room, which tracks there are, offers, answers and candidates. Here are the URL that such a websocket is
//! opened with ([`ServerUrl`], [`ConnectRequest`]), the messages on it ([`decode_request`] and the like), and what each
//! end decides by itself ([`Client`], [`Server`], [`Handshake`]). Sockets, timers and tasks are left to you.
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use roomkey_signal::proto::{ClientInfo, JoinResponse, ParticipantInfo, signal_response::Message};
//! use roomkey_signal::{
//!     Client, ClientEvent, ClientOutput, ConnectParameters, ConnectRequest, Endpoint, Frame, ParticipantToken, Server,
//!     ServerLimits, ServerOutput, ServerUrl, Transport,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # #[allow(clippy::disallowed_methods, reason = "an example has to begin at some instant")]
//! let (now, unix_time) = (Instant::now(), Duration::from_secs(1_800_000_000));
//!
//! // The client writes a URL,
//! let server_url = ServerUrl::parse("https://livekit.example")?;
//! let parameters = ConnectParameters::new(ClientInfo { protocol: 16, ..Default::default() });
//! let url = server_url.connect(Endpoint::V1, &parameters);
//! assert_eq!((url.scheme(), url.path()), ("wss", "/rtc/v1"));
//!
//! // and the server reads it and accepts the websocket.
//! let request = ConnectRequest::parse(url.path(), url.query())?;
//! assert_eq!(request.transport, Transport::Single);
//! let mut server = Server::new(request.parameters.client_info.protocol, &ServerLimits::default(), now, unix_time);
//! let participant = Some(ParticipantInfo { sid: "PA_alice".into(), ..Default::default() });
//! server.send(Message::Join(JoinResponse { participant, ..Default::default() }));
//!
//! let mut client = Client::new(ParticipantToken::new("eyJ…"), now, unix_time);
//! client.handle_opened(now);
//! while let Some(output) = server.poll_output() {
//!     if let ServerOutput::Transmit(Frame::Binary(bytes)) = output {
//!         client.handle_message(&bytes, now)?;
//!     }
//! }
//! assert!(matches!(client.poll_output(), Some(ClientOutput::Event(ClientEvent::Joined(_)))));
//! assert_eq!(client.participant_sid(), "PA_alice");
//! # Ok(()) }
//! ```
//!
//! # How to drive it
//!
//! An end is fed with what happens and with the time: a message, a close, and the moment that `poll_timeout` named. After
//! each input `poll_output` says what to do, one thing at a time and in order, until it says nothing. No end waits, reads a
//! clock or remembers more than its session needs.
//!
//! A client opens a websocket at [`ServerUrl::connect`], with the token in
//! [a header](ParticipantToken::authorization_header). If that is refused, [`Handshake`] says what to try. When the
//! websocket is lost, [`Client::resume`] gives what the next one is opened with, and requests wait until
//! [`Client::set_reconnected`].
//!
//! A server looks for the token first ([`ParticipantToken::of_request`]), then parses the request, and makes up the first
//! message before it accepts the websocket: livekit-server refuses by a plain HTTP answer.
//!
//! # What it leaves to you
//!
//! Whether a token is good; sockets, TLS and the websocket itself, whose message size should be bounded by
//! [`MAX_REQUEST_SIZE`] and [`MAX_RESPONSE_SIZE`] too; how long to wait before another try; what the messages mean for
//! rooms, tracks and peer connections. A decoded message takes more memory than its bytes: a small field of protobuf can
//! be a large struct, at worst some hundred times. A client's message with more than 8,192 fields, in which a track counts
//! for 64, is not decoded.
//!
//! Names, numbers and texts are those of livekit-server 1.13.5, with which the tests compare.

mod breadth;
mod client;
mod codec;
mod connect_parameters;
mod connect_request;
mod handshake;
mod join_request;
mod keep_alive;
mod kind;
mod leave;
mod participant_token;
mod rate_limit;
mod server;
mod server_url;
mod unix_clock;

pub use client::{
    Client, ClientEvent, ClientOutput, DisconnectCause, FIRST_MESSAGE_TIMEOUT, LEAVE_TIMEOUT, MAX_QUEUED_REQUESTS,
    SendError, SendErrorKind,
};
pub use codec::{
    Cause, DecodeError, Frame, MAX_REQUEST_SIZE, MAX_RESPONSE_SIZE, decode_request, decode_request_json,
    decode_response, encode_request, encode_response, encode_response_json,
};
pub use connect_parameters::{ConnectParameters, Resume};
pub use connect_request::{ConnectRequest, ConnectRequestError, MAX_QUERY_SIZE, Transport};
pub use handshake::{Handshake, HandshakeFailure, HandshakeStep, MAX_HANDSHAKE_ATTEMPTS};
pub use kind::{request_kind, response_kind};
pub use leave::{Leave, LeaveAction};
pub use participant_token::ParticipantToken;
pub use server::{CloseCause, CloseCode, Server, ServerEvent, ServerLimits, ServerOutput, WEBSOCKET_PING_INTERVAL};
pub use server_url::{Endpoint, ServerUrl, ServerUrlError};

/// LiveKit's messages, as `livekit-protocol` generates them. Which version is outside of this crate's promise of
/// stability: it follows LiveKit's.
pub use livekit_protocol as proto;
