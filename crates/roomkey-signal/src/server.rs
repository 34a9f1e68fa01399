//! A server's end of one websocket.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use crate::codec::{DecodeError, Frame, decode_request, decode_request_json, encode_response, encode_response_json};
use crate::kind::request_kind;
use crate::leave::LeaveAction;
use crate::proto::signal_request::Message as Request;
use crate::proto::signal_response::Message as Response;
use crate::proto::{DisconnectReason, Pong, SignalRequest, SignalResponse};
use crate::rate_limit::RateLimit;
use crate::unix_clock::UnixClock;

/// How often livekit-server 1.13.5 sends a websocket ping, so that the loss of a client is noticed at all.
pub const WEBSOCKET_PING_INTERVAL: Duration = Duration::from_secs(10);

/// One websocket that was accepted, from the first message that is sent on it to its close.
///
/// It answers pings, bounds what a client may send, and does the parting. All else goes to the application as
/// [`ServerEvent::Request`] and comes from it by [`send`](Self::send).
///
/// Feed it with what happens (`handle_*`) and the times that [`poll_timeout`](Self::poll_timeout) names, and after each
/// carry out what [`poll_output`](Self::poll_output) gives until it gives nothing.
#[derive(Debug)]
pub struct Server {
    clock: UnixClock,
    client_protocol: i32,
    /// The client's last message was text, and so are the answers.
    json: bool,
    messages: RateLimit,
    bytes: RateLimit,
    idle_timeout: Option<Duration>,
    /// None once it is closed.
    timers: Option<Timers>,
    outputs: VecDeque<ServerOutput>,
}

#[derive(Debug)]
struct Timers {
    websocket_ping: Instant,
    idle: Option<Instant>,
}

/// What a client may send on one websocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerLimits {
    /// Messages a second, in the long run.
    pub messages_per_second: u32,
    /// Messages at once, after a pause.
    pub message_burst: u32,
    /// Bytes a second, in the long run.
    pub bytes_per_second: u32,
    /// Bytes at once, after a pause. At least [`MAX_REQUEST_SIZE`](crate::MAX_REQUEST_SIZE), or such a message never passes.
    pub byte_burst: u32,
    /// How long a client may be silent. livekit-server has no such bound, and some clients never ping: none by default.
    pub idle_timeout: Option<Duration>,
}

impl Default for ServerLimits {
    /// A client that subscribes to a thousand tracks one by one stays within these. livekit-server has no such limits.
    fn default() -> Self {
        Self {
            messages_per_second: 200,
            message_burst: 2_000,
            bytes_per_second: 1 << 20,
            byte_burst: 4 << 20,
            idle_timeout: None,
        }
    }
}

impl Server {
    /// Of a websocket that was accepted at `now`, from a client of this
    /// [protocol version](crate::proto::ClientInfo::protocol).
    ///
    /// `unix_time` is the time since the Unix epoch at `now`; answers to pings say it.
    pub fn new(client_protocol: i32, limits: &ServerLimits, now: Instant, unix_time: Duration) -> Self {
        let rate = |per_second: u32, burst: u32| RateLimit::new(per_second.into(), burst.into(), now);
        Self {
            clock: UnixClock::new(now, unix_time),
            client_protocol,
            json: false,
            messages: rate(limits.messages_per_second, limits.message_burst),
            bytes: rate(limits.bytes_per_second, limits.byte_burst),
            idle_timeout: limits.idle_timeout,
            timers: Some(Timers {
                websocket_ping: now + WEBSOCKET_PING_INTERVAL,
                idle: limits.idle_timeout.map(|timeout| now + timeout),
            }),
            outputs: VecDeque::new(),
        }
    }

    /// Whether the websocket is closed, or is about to be by [`ServerOutput::Close`].
    pub fn is_closed(&self) -> bool {
        self.timers.is_none()
    }

    /// A binary message came.
    pub fn handle_binary(&mut self, bytes: &[u8], now: Instant) {
        self.json = false;
        self.handle(bytes.len(), || decode_request(bytes), now);
    }

    /// A text message came: from now on the client is answered in text, until it sends a binary one.
    pub fn handle_text(&mut self, text: &str, now: Instant) {
        self.json = true;
        self.handle(text.len(), || decode_request_json(text), now);
    }

    /// A websocket ping or pong came: the client is there.
    pub fn handle_websocket_ping(&mut self, now: Instant) {
        if let (Some(timers), Some(timeout)) = (&mut self.timers, self.idle_timeout) {
            timers.idle = Some(now + timeout);
        }
    }

    /// The client closed the websocket, or the connection failed.
    pub fn handle_closed(&mut self) {
        if self.timers.take().is_some() {
            self.event(ServerEvent::Closed(CloseCause::WebsocketClosed));
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest; `None` once it is closed.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let timers = self.timers.as_ref()?;
        Some(timers.idle.map_or(timers.websocket_ping, |idle| idle.min(timers.websocket_ping)))
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some(timers) = &mut self.timers else { return };
        if timers.idle.is_some_and(|idle| idle <= now) {
            self.close(CloseCode::Normal, CloseCause::Idle);
        } else if timers.websocket_ping <= now {
            timers.websocket_ping = now + WEBSOCKET_PING_INTERVAL;
            self.outputs.push_back(ServerOutput::WebsocketPing);
        }
    }

    /// What to do next; `None` until there is new input.
    pub fn poll_output(&mut self) -> Option<ServerOutput> {
        self.outputs.pop_front()
    }

    /// Sends a message. The first must be `join`, `reconnect` or, by [`disconnect`](Self::disconnect), `leave`: clients take
    /// nothing else. Once it is closed nothing is sent.
    pub fn send(&mut self, message: Response) {
        if self.is_closed() {
            return;
        }
        let response = SignalResponse { message: Some(message) };
        let frame = if self.json {
            Frame::Text(encode_response_json(&response))
        } else {
            Frame::Binary(encode_response(&response))
        };
        self.outputs.push_back(ServerOutput::Transmit(frame));
    }

    /// Parts from the client: a `leave` that says what it is to do, in the words of its protocol version, and a close.
    pub fn disconnect(&mut self, action: LeaveAction, reason: DisconnectReason) {
        if let Some(leave) = action.request(reason, self.client_protocol) {
            self.send(Response::Leave(leave));
        }
        self.close(CloseCode::Normal, CloseCause::Disconnected);
    }

    /// Closes the websocket without a `leave`, as livekit-server does with the older one when a client resumes on another.
    pub fn supersede(&mut self) {
        self.close(CloseCode::Normal, CloseCause::Superseded);
    }

    fn handle(&mut self, size: usize, decode: impl FnOnce() -> Result<SignalRequest, DecodeError>, now: Instant) {
        if self.is_closed() {
            return;
        }
        self.handle_websocket_ping(now);
        if !self.messages.take(1, now) {
            return self.close(CloseCode::PolicyViolation, CloseCause::TooManyMessages);
        }
        if !self.bytes.take(size as u64, now) {
            return self.close(CloseCode::PolicyViolation, CloseCause::TooManyBytes);
        }
        match decode() {
            Ok(SignalRequest { message: Some(message) }) => self.handle_request(message, now),
            // A kind of message that a newer client has.
            Ok(SignalRequest { message: None }) => {}
            Err(error @ (DecodeError::TooLarge { .. } | DecodeError::TooManyFields { .. })) => {
                self.close(CloseCode::MessageTooBig, CloseCause::Undecodable(error));
            }
            // livekit-server closes so, and says no more.
            Err(error) => self.close(CloseCode::Normal, CloseCause::Undecodable(error)),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the application handles all that the server does not")]
    fn handle_request(&mut self, message: Request, now: Instant) {
        match message {
            Request::Ping(_) => self.send(Response::Pong(self.clock.millis(now))),
            Request::PingReq(ping) => self.send(Response::PongResp(Pong {
                last_ping_timestamp: ping.timestamp,
                timestamp: self.clock.millis(now),
            })),
            Request::Leave(leave) => {
                let reason = leave.reason();
                if let Some(echo) = LeaveAction::Disconnect.request(reason, self.client_protocol) {
                    self.send(Response::Leave(echo));
                }
                self.close(CloseCode::Normal, CloseCause::Left(reason));
            }
            message => self.event(ServerEvent::Request(Box::new(message))),
        }
    }

    fn close(&mut self, code: CloseCode, cause: CloseCause) {
        if self.timers.take().is_some() {
            self.outputs.push_back(ServerOutput::Close(code));
            self.event(ServerEvent::Closed(cause));
        }
    }

    fn event(&mut self, event: ServerEvent) {
        self.outputs.push_back(ServerOutput::Event(event));
    }
}

/// What a [`Server`] wants done, in this order.
#[derive(Debug, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a shell must do each of them")]
pub enum ServerOutput {
    /// Send this message.
    Transmit(Frame),
    /// Send a websocket ping with an empty payload.
    WebsocketPing,
    /// Close the websocket with this code and no reason. An event follows.
    Close(CloseCode),
    /// Tell the application.
    Event(ServerEvent),
}

/// The code of a websocket's close (RFC 6455, section 7.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseCode {
    /// 1000.
    Normal,
    /// 1008: the client went over its [limits](ServerLimits).
    PolicyViolation,
    /// 1009: a message was over [`MAX_REQUEST_SIZE`](crate::MAX_REQUEST_SIZE), or had too many fields.
    MessageTooBig,
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        match code {
            CloseCode::Normal => 1000,
            CloseCode::PolicyViolation => 1008,
            CloseCode::MessageTooBig => 1009,
        }
    }
}

/// What a [`Server`] tells.
#[derive(PartialEq)]
#[non_exhaustive]
pub enum ServerEvent {
    /// The client asks for something. Never a ping or a `leave`.
    Request(Box<Request>),
    /// The websocket is closed, or closing. The last event.
    Closed(CloseCause),
}

/// Shows the kind of a request only.
impl fmt::Debug for ServerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(message) => write!(f, "Request({})", request_kind(message)),
            Self::Closed(cause) => f.debug_tuple("Closed").field(cause).finish(),
        }
    }
}

/// Why a websocket is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseCause {
    /// The client left the session, for this reason.
    Left(DisconnectReason),
    /// The client closed the websocket without leaving, or the connection failed: it may resume.
    WebsocketClosed,
    /// The server parted from the client, by [`Server::disconnect`].
    Disconnected,
    /// The client has another websocket, by [`Server::supersede`].
    Superseded,
    /// The client sent what can't be read.
    Undecodable(DecodeError),
    /// The client sent more messages than [`ServerLimits`] lets it.
    TooManyMessages,
    /// The client sent more bytes than [`ServerLimits`] lets it.
    TooManyBytes,
    /// The client was silent for longer than [`ServerLimits::idle_timeout`].
    Idle,
}
