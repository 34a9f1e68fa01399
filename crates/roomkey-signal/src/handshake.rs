//! What a client does after a refused websocket handshake.

use std::fmt;

use crate::Endpoint;

/// How often an endpoint that is out of order is tried in all.
pub const MAX_HANDSHAKE_ATTEMPTS: u32 = 4;

/// The steps from a refused websocket handshake to an open websocket, or to a reason why there is none.
///
/// The shell sends the requests, and waits before it tries again. Start with [`endpoint`](Self::endpoint), and tell each
/// refusal to [`refused`](Self::refused).
#[derive(Debug, Clone)]
pub struct Handshake {
    endpoint: Endpoint,
    may_fall_back: bool,
    attempts: u32,
    last_status: Option<u16>,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HandshakeStep {
    /// Connect to [`Endpoint::V0`]: the server does not know the other.
    FallBack,
    /// Ask the [`validate`](crate::ServerUrl::validate) URL what is wrong, and tell its answer to
    /// [`validated`](Handshake::validated).
    Validate,
    /// Wait and connect again.
    Retry,
    /// Give up.
    Fail(HandshakeFailure),
}

/// Why there is no websocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HandshakeFailure {
    /// The token is not accepted (401, 403). Another try with it is of no use.
    NotAllowed,
    /// The endpoint or the room does not exist (404).
    NotFound,
    /// The request is refused for what it is (any other status from 400 to 499).
    #[non_exhaustive]
    BadRequest {
        /// The HTTP status.
        status: u16,
    },
    /// The server was not reached or is out of order, each time.
    #[non_exhaustive]
    Unavailable {
        /// What the last handshake was answered with, if it was.
        status: Option<u16>,
    },
}

impl Handshake {
    /// Of a join, which begins at [`Endpoint::V1`] if the client can have one peer connection, and can fall back.
    pub fn join(endpoint: Endpoint) -> Self {
        Self { endpoint, may_fall_back: endpoint == Endpoint::V1, attempts: 0, last_status: None }
    }

    /// Of a resume, which stays with the endpoint of the join: its peer connections are there already.
    pub fn resume(endpoint: Endpoint) -> Self {
        Self { endpoint, may_fall_back: false, attempts: 0, last_status: None }
    }

    /// Where to connect to.
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// What the last refused handshake was answered with, if it was.
    pub fn last_status(&self) -> Option<u16> {
        self.last_status
    }

    /// The websocket handshake was answered with this status, not with 101; `None` if there was no answer.
    pub fn refused(&mut self, status: Option<u16>) -> HandshakeStep {
        self.attempts += 1;
        self.last_status = status;
        self.judge(status, HandshakeStep::Validate)
    }

    /// The validate URL was answered with this status; `None` if there was no answer.
    ///
    /// A 200 means that the request is well and yet the server could not do it: livekit-server 1.13.5 says so of a room
    /// that is full.
    pub fn validated(&mut self, status: Option<u16>) -> HandshakeStep {
        let retry = if self.attempts < MAX_HANDSHAKE_ATTEMPTS {
            HandshakeStep::Retry
        } else {
            HandshakeStep::Fail(HandshakeFailure::Unavailable { status: self.last_status })
        };
        self.judge(status, retry)
    }

    fn judge(&mut self, status: Option<u16>, otherwise: HandshakeStep) -> HandshakeStep {
        match status {
            Some(401 | 403) => HandshakeStep::Fail(HandshakeFailure::NotAllowed),
            Some(404) if self.may_fall_back => {
                *self = Self::resume(Endpoint::V0);
                HandshakeStep::FallBack
            }
            Some(404) => HandshakeStep::Fail(HandshakeFailure::NotFound),
            // Timeout and too many requests pass.
            Some(408 | 429) => otherwise,
            Some(status @ 400..=499) => HandshakeStep::Fail(HandshakeFailure::BadRequest { status }),
            _ => otherwise,
        }
    }
}

impl fmt::Display for HandshakeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed => f.write_str("the server does not accept the token"),
            Self::NotFound => f.write_str("the server does not know the room, or is no LiveKit server"),
            Self::BadRequest { status } => write!(f, "the server refuses the request with status {status}"),
            Self::Unavailable { status: Some(status) } => write!(f, "the server could not connect us, status {status}"),
            Self::Unavailable { status: None } => f.write_str("the server can't be reached"),
        }
    }
}

impl std::error::Error for HandshakeFailure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unknown_endpoint_leads_to_the_other_version_and_only_once() {
        let mut handshake = Handshake::join(Endpoint::V1);
        assert_eq!(handshake.refused(Some(404)), HandshakeStep::FallBack);
        assert_eq!(handshake.endpoint(), Endpoint::V0);
        assert_eq!(handshake.refused(Some(404)), HandshakeStep::Fail(HandshakeFailure::NotFound));
        let mut resume = Handshake::resume(Endpoint::V1);
        assert_eq!(resume.refused(Some(404)), HandshakeStep::Fail(HandshakeFailure::NotFound));
        // A browser sees no status of a handshake, and learns it from the validate URL.
        let mut browser = Handshake::join(Endpoint::V1);
        assert_eq!(browser.refused(None), HandshakeStep::Validate);
        assert_eq!(browser.validated(Some(404)), HandshakeStep::FallBack);
    }

    #[test]
    fn a_token_that_is_not_accepted_and_a_bad_request_are_tried_once() {
        for (status, failure) in [
            (401, HandshakeFailure::NotAllowed),
            (403, HandshakeFailure::NotAllowed),
            (400, HandshakeFailure::BadRequest { status: 400 }),
        ] {
            for endpoint in [Endpoint::V0, Endpoint::V1] {
                assert_eq!(Handshake::join(endpoint).refused(Some(status)), HandshakeStep::Fail(failure));
                let mut handshake = Handshake::join(endpoint);
                assert_eq!(handshake.refused(None), HandshakeStep::Validate);
                assert_eq!(handshake.validated(Some(status)), HandshakeStep::Fail(failure));
            }
        }
    }

    #[test]
    fn a_server_that_is_out_of_order_is_asked_why_and_tried_four_times() {
        for answer in [Some(200), Some(500), None] {
            let mut handshake = Handshake::join(Endpoint::V1);
            for _ in 1..MAX_HANDSHAKE_ATTEMPTS {
                assert_eq!(handshake.refused(Some(500)), HandshakeStep::Validate);
                assert_eq!(handshake.validated(answer), HandshakeStep::Retry);
            }
            assert_eq!(handshake.refused(Some(500)), HandshakeStep::Validate);
            let failure = HandshakeFailure::Unavailable { status: Some(500) };
            assert_eq!(handshake.validated(answer), HandshakeStep::Fail(failure));
        }
    }
}
