//! A client's end of a session's signalling, over as many websockets as the session takes.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use crate::codec::{DecodeError, decode_response, encode_request};
use crate::connect_parameters::Resume;
use crate::keep_alive::{Due, KeepAlive};
use crate::kind::{request_kind, response_kind};
use crate::leave::{Leave, LeaveAction};
use crate::participant_token::ParticipantToken;
use crate::proto::signal_request::Message as Request;
use crate::proto::signal_response::Message as Response;
use crate::proto::{DisconnectReason, JoinResponse, LeaveRequest, ReconnectReason, ReconnectResponse, SignalRequest};
use crate::unix_clock::UnixClock;

/// How long a server has for its first message once the websocket is open.
pub const FIRST_MESSAGE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client that leaves waits for the server's `leave`.
pub const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// How many requests wait for a resume at most.
pub const MAX_QUEUED_REQUESTS: usize = 1024;

/// The signalling of one session, from the join to the leave, with the resumes between them.
///
/// Feed it with what happens (`handle_*`) and the times that [`poll_timeout`](Self::poll_timeout) names, and after each
/// carry out what [`poll_output`](Self::poll_output) gives until it gives nothing. A join anew, after
/// [`LeaveAction::Reconnect`], is a new `Client`.
#[derive(Debug)]
pub struct Client {
    state: State,
    token: ParticipantToken,
    participant_sid: String,
    keep_alive: KeepAlive,
    queue: VecDeque<Request>,
    outputs: VecDeque<ClientOutput>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No websocket yet, for a join or for a resume.
    Connecting(Purpose),
    /// The websocket is open, and its first message says whether it was of use.
    Opened(Purpose, Instant),
    /// Signalling goes on; the peer connections do not yet.
    Resumed,
    Connected,
    /// The websocket is gone; the session can be resumed.
    Lost,
    Leaving(Instant),
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Join,
    Resume,
}

impl Client {
    /// Of a session that is to be joined with this token.
    ///
    /// `unix_time` is the time since the Unix epoch at `now`; pings say it.
    pub fn new(token: ParticipantToken, now: Instant, unix_time: Duration) -> Self {
        Self {
            state: State::Connecting(Purpose::Join),
            token,
            participant_sid: String::new(),
            keep_alive: KeepAlive::new(UnixClock::new(now, unix_time)),
            queue: VecDeque::new(),
            outputs: VecDeque::new(),
        }
    }

    /// The token to connect with next: the newest that the server gave.
    pub fn token(&self) -> &ParticipantToken {
        &self.token
    }

    /// The sid of the own participant; empty before the join.
    pub fn participant_sid(&self) -> &str {
        &self.participant_sid
    }

    /// Whether the session is over. It takes no input then, and gives what outputs are left.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// The websocket is open.
    pub fn handle_opened(&mut self, now: Instant) {
        if let State::Connecting(purpose) = self.state {
            self.state = State::Opened(purpose, now + FIRST_MESSAGE_TIMEOUT);
        }
    }

    /// A binary message came on the websocket.
    ///
    /// # Errors
    /// If it can't be read. It is dropped then, and all goes on.
    pub fn handle_message(&mut self, bytes: &[u8], now: Instant) -> Result<(), DecodeError> {
        self.keep_alive.heard(now);
        let Some(message) = decode_response(bytes)?.message else { return Ok(()) };
        match self.state {
            State::Opened(purpose, _) => self.handle_first(purpose, message, now),
            State::Resumed | State::Connected => self.handle_response(message, now),
            State::Leaving(_) if matches!(message, Response::Leave(_)) => self.end(DisconnectCause::Left),
            // What is said to somebody who leaves, or came on a websocket that was given up, is of no use.
            State::Connecting(_) | State::Lost | State::Leaving(_) | State::Over => {}
        }
        Ok(())
    }

    /// The websocket is closed, by the server or by a failure. A handshake that is refused is told to
    /// [`Handshake`](crate::Handshake), not here.
    pub fn handle_closed(&mut self) {
        match self.state {
            State::Opened(..) | State::Resumed | State::Connected => self.lose(DisconnectCause::WebsocketClosed),
            State::Leaving(_) => self.end(DisconnectCause::Left),
            State::Connecting(_) | State::Lost | State::Over => {}
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest; `None` if nothing is waited for.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Opened(_, deadline) | State::Leaving(deadline) => Some(deadline),
            State::Resumed | State::Connected => self.keep_alive.timeout(),
            State::Connecting(_) | State::Lost | State::Over => None,
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::Opened(_, deadline) if deadline <= now => self.lose(DisconnectCause::FirstMessageTimeout),
            State::Leaving(deadline) if deadline <= now => self.end(DisconnectCause::Left),
            State::Resumed | State::Connected => match self.keep_alive.handle_timeout(now) {
                Some(Due::Ping(ping)) => self.transmit(Request::PingReq(ping)),
                Some(Due::Expired) => self.lose(DisconnectCause::PingTimeout),
                None => {}
            },
            State::Opened(..) | State::Leaving(_) | State::Connecting(_) | State::Lost | State::Over => {}
        }
    }

    /// What to do next; `None` until there is new input.
    pub fn poll_output(&mut self) -> Option<ClientOutput> {
        self.outputs.pop_front()
    }

    /// Sends a request, or keeps it until the session is joined or resumed.
    ///
    /// While a session is being resumed, what belongs to the resume itself is sent at once: offers, answers, candidates, the
    /// sync state. Such a request is of no use later and is refused while there is no websocket.
    ///
    /// # Errors
    /// If it can neither be sent nor kept. The request is given back.
    pub fn send(&mut self, request: Request) -> Result<(), SendError> {
        let refused = |why, request| Err(SendError { why, request: Box::new(request) });
        match self.state {
            State::Over | State::Leaving(_) => refused(SendErrorKind::Over, request),
            State::Connected => {
                self.transmit(request);
                Ok(())
            }
            State::Resumed if passes_queue(&request) => {
                self.transmit(request);
                Ok(())
            }
            State::Connecting(Purpose::Resume) | State::Opened(Purpose::Resume, _) | State::Lost
                if passes_queue(&request) =>
            {
                refused(SendErrorKind::NotConnected, request)
            }
            State::Connecting(_) | State::Opened(..) | State::Lost | State::Resumed => {
                if self.queue.len() == MAX_QUEUED_REQUESTS {
                    return refused(SendErrorKind::QueueFull, request);
                }
                self.queue.push_back(request);
                Ok(())
            }
        }
    }

    /// Begins a resume: the shell opens a new websocket with this in its
    /// [parameters](crate::ConnectParameters::with_resume) and the [newest token](Self::token).
    ///
    /// An open websocket is given up: [`ClientOutput::Close`] is for that one, and nothing more may come of it. Requests are
    /// kept from here on. Can be called again when a handshake failed. `None` if the session was never joined or is over.
    pub fn resume(&mut self, reason: ReconnectReason) -> Option<Resume> {
        match self.state {
            State::Connecting(Purpose::Resume) | State::Lost => {}
            State::Opened(Purpose::Resume, _) | State::Resumed | State::Connected => {
                self.outputs.push_back(ClientOutput::Close);
            }
            State::Connecting(Purpose::Join) | State::Opened(Purpose::Join, _) | State::Leaving(_) | State::Over => {
                return None;
            }
        }
        self.keep_alive.stop();
        self.state = State::Connecting(Purpose::Resume);
        Some(Resume::new(self.participant_sid.clone(), reason))
    }

    /// The peer connections are up again after a resume: what was kept is sent, in order.
    pub fn set_reconnected(&mut self) {
        if self.state == State::Resumed {
            self.connected();
        }
    }

    /// Leaves the session. [`DisconnectCause::Left`] follows when the server has said so too, or after
    /// [`LEAVE_TIMEOUT`], or at once if there is no websocket.
    pub fn leave(&mut self, now: Instant) {
        match self.state {
            State::Opened(..) | State::Resumed | State::Connected => {
                let reason = DisconnectReason::ClientInitiated.into();
                self.transmit(Request::Leave(LeaveRequest { reason, ..LeaveRequest::default() }));
                self.keep_alive.stop();
                self.queue.clear();
                self.state = State::Leaving(now + LEAVE_TIMEOUT);
            }
            State::Connecting(_) | State::Lost => self.end(DisconnectCause::Left),
            State::Leaving(_) | State::Over => {}
        }
    }

    fn handle_first(&mut self, purpose: Purpose, message: Response, now: Instant) {
        match (purpose, message) {
            (Purpose::Join, Response::Join(join)) => {
                self.participant_sid = join.participant.as_ref().map(|own| own.sid.clone()).unwrap_or_default();
                self.keep_alive.configure(&join);
                self.keep_alive.start(now);
                self.event(ClientEvent::Joined(Box::new(join)));
                self.connected();
            }
            (_, Response::Leave(leave)) => self.handle_leave(leave),
            (Purpose::Join, message) => {
                self.lose(DisconnectCause::UnexpectedFirstMessage { kind: response_kind(&message) });
            }
            (Purpose::Resume, message) => {
                self.state = State::Resumed;
                self.keep_alive.start(now);
                // A server that says something else than `leave` has taken the session up, as old ones do.
                if let Response::Reconnect(reconnect) = message {
                    self.event(ClientEvent::Resumed(Some(Box::new(reconnect))));
                } else {
                    self.event(ClientEvent::Resumed(None));
                    self.handle_response(message, now);
                }
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the application handles all that the client does not")]
    fn handle_response(&mut self, message: Response, now: Instant) {
        match message {
            Response::Pong(_) => {}
            Response::PongResp(pong) => {
                if let Some(round_trip_time) = self.keep_alive.pong(&pong, now) {
                    self.event(ClientEvent::RoundTripTime(round_trip_time));
                }
            }
            Response::RefreshToken(token) => {
                self.token = ParticipantToken::new(token);
                self.event(ClientEvent::TokenRefreshed);
            }
            Response::Leave(leave) => self.handle_leave(leave),
            message => {
                if let Response::RoomMoved(moved) = &message {
                    // The old token and sid are of the old room.
                    if !moved.token.is_empty() {
                        self.token = ParticipantToken::new(&moved.token);
                    }
                    if let Some(own) = &moved.participant {
                        self.participant_sid.clone_from(&own.sid);
                    }
                }
                self.event(ClientEvent::Message(Box::new(message)));
            }
        }
    }

    fn handle_leave(&mut self, leave: LeaveRequest) {
        let leave = Leave::read(leave);
        let can_resume = leave.action == LeaveAction::Resume && !self.participant_sid.is_empty();
        self.shut(if can_resume { State::Lost } else { State::Over });
        self.event(ClientEvent::LeaveRequested(Box::new(leave)));
    }

    fn connected(&mut self) {
        self.state = State::Connected;
        for request in std::mem::take(&mut self.queue) {
            self.transmit(request);
        }
    }

    /// The websocket is of no more use; a session that was joined can go on.
    fn lose(&mut self, cause: DisconnectCause) {
        self.shut(if self.participant_sid.is_empty() { State::Over } else { State::Lost });
        self.event(ClientEvent::Disconnected(cause));
    }

    fn end(&mut self, cause: DisconnectCause) {
        self.shut(State::Over);
        self.event(ClientEvent::Disconnected(cause));
    }

    fn shut(&mut self, state: State) {
        self.keep_alive.stop();
        self.state = state;
        if state == State::Over {
            self.queue.clear();
        }
        self.outputs.push_back(ClientOutput::Close);
    }

    fn transmit(&mut self, message: Request) {
        self.outputs.push_back(ClientOutput::Transmit(encode_request(&SignalRequest { message: Some(message) })));
    }

    fn event(&mut self, event: ClientEvent) {
        self.outputs.push_back(ClientOutput::Event(event));
    }
}

/// Whether a request belongs to a resume itself, and so does not wait for its end.
fn passes_queue(request: &Request) -> bool {
    matches!(
        request,
        Request::SyncState(_)
            | Request::Trickle(_)
            | Request::Offer(_)
            | Request::Answer(_)
            | Request::Simulate(_)
            | Request::Leave(_)
            | Request::Ping(_)
            | Request::PingReq(_)
    )
}

/// What a [`Client`] wants done, in this order.
#[derive(PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a shell must do each of them")]
pub enum ClientOutput {
    /// Send this as a binary websocket message.
    Transmit(Vec<u8>),
    /// Close the websocket, if there is one, with code 1000; what comes of it after this is not told to the client.
    Close,
    /// Tell the application.
    Event(ClientEvent),
}

/// What a [`Client`] tells.
#[derive(PartialEq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// The session is joined. The first event.
    Joined(Box<JoinResponse>),
    /// The server goes on with the session: send a sync state, restart the peer connections, and then call
    /// [`set_reconnected`](Client::set_reconnected). An old server does not say with what.
    Resumed(Option<Box<ReconnectResponse>>),
    /// Any other message.
    Message(Box<Response>),
    /// The [token](Client::token) to connect with is another.
    TokenRefreshed,
    /// How long a ping took.
    RoundTripTime(Duration),
    /// The server parts from the client and says what is next: with [`LeaveAction::Resume`]
    /// [`resume`](Client::resume), with the others the session is over.
    LeaveRequested(Box<Leave>),
    /// The websocket is gone. The session can be [resumed](Client::resume) unless it [is over](Client::is_over).
    Disconnected(DisconnectCause),
}

/// Why the signalling of a session ended or broke off, other than by the server's `leave`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DisconnectCause {
    /// The client left.
    Left,
    /// The websocket closed.
    WebsocketClosed,
    /// Nothing came within [`FIRST_MESSAGE_TIMEOUT`].
    FirstMessageTimeout,
    /// The first message of a join was neither `join` nor `leave`.
    #[non_exhaustive]
    UnexpectedFirstMessage {
        /// Its kind.
        kind: &'static str,
    },
    /// Nothing came within the time that the server's `join` gave.
    PingTimeout,
}

impl fmt::Debug for ClientOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transmit(bytes) => write!(f, "Transmit({} bytes)", bytes.len()),
            Self::Close => f.write_str("Close"),
            Self::Event(event) => f.debug_tuple("Event").field(event).finish(),
        }
    }
}

/// Shows no message: it can hold a token or the password of a TURN server.
impl fmt::Debug for ClientEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined(_) => f.write_str("Joined"),
            Self::Resumed(_) => f.write_str("Resumed"),
            Self::Message(message) => write!(f, "Message({})", response_kind(message)),
            Self::TokenRefreshed => f.write_str("TokenRefreshed"),
            Self::RoundTripTime(time) => f.debug_tuple("RoundTripTime").field(time).finish(),
            Self::LeaveRequested(leave) => write!(f, "LeaveRequested({:?}, {:?})", leave.action, leave.reason),
            Self::Disconnected(cause) => f.debug_tuple("Disconnected").field(cause).finish(),
        }
    }
}

/// A request that was not taken.
#[derive(PartialEq)]
#[non_exhaustive]
pub struct SendError {
    /// Why not.
    pub why: SendErrorKind,
    /// The request, as it was given.
    pub request: Box<Request>,
}

/// Why a request was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendErrorKind {
    /// There is no websocket, and the request is of no use later.
    NotConnected,
    /// [`MAX_QUEUED_REQUESTS`] wait already.
    QueueFull,
    /// The session is over, or ending.
    Over,
}

/// Shows the kind of the request only.
impl fmt::Debug for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendError({:?}, {})", self.why, request_kind(&self.request))
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(request_kind(&self.request))?;
        f.write_str(match self.why {
            SendErrorKind::NotConnected => " can't be sent while there is no connection",
            SendErrorKind::QueueFull => " can't be kept for after the resume, too much is",
            SendErrorKind::Over => " can't be sent, the session is over",
        })
    }
}

impl std::error::Error for SendError {}
