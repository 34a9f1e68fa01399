//! Why a room was not joined.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use roomkey_signal::{HandshakeFailure, ServerUrlError};

use crate::connection_state::DisconnectReason;

type Cause = Box<dyn Error + Send + Sync>;

/// Why a room was not joined: a [kind](Self::kind) for programs, and for people what the server said of it.
///
/// `Display` is a sentence of the kind alone. What is behind it is the [`source`](Error::source): the server's words where
/// there are any, the error of DNS, TCP or TLS, of the URL, of a socket. Show the chain, as `anyhow`'s `{:#}` does. Neither
/// has the token in it.
#[derive(Clone)]
pub struct ConnectError(Arc<Failure>);

struct Failure {
    kind: ConnectErrorKind,
    status: Option<u16>,
    words: Option<ServerWords>,
    cause: Option<Cause>,
}

/// What kept a room from being joined, as far as it changes what the caller can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectErrorKind {
    /// The server URL can't be used.
    InvalidUrl,
    /// The server does not accept the token (401, 403), or it is no text that can be sent. Another try with it is of no use.
    NotAllowed,
    /// There is no such room, or no LiveKit server at the URL (404).
    NotFound,
    /// The server refuses the request, with another status from 400 on.
    BadRequest,
    /// The server could not be reached or is out of order, after several tries.
    Unavailable,
    /// The server answered the join with a leave.
    Refused(DisconnectReason),
    /// The server said something that no LiveKit server says at this point.
    Protocol,
    /// Signalling is up, but media and data did not come up in time: a firewall, most likely.
    MediaTimeout,
    /// There is no network address to receive media on.
    NoAddress,
    /// The room was closed while it was being joined.
    Cancelled,
}

impl ConnectError {
    /// What went wrong.
    pub fn kind(&self) -> ConnectErrorKind {
        self.0.kind
    }

    /// The HTTP status that the server refused with, if that is what it did.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// The server's own words, such as `invalid authorization token: token has invalid claims: token is expired`: the body
    /// that it refused the websocket with, or what it answers at `/rtc/v1/validate` (`/rtc/validate`) for the same token, as
    /// the official clients ask it. One line of at most a kibibyte, without control characters, with `…` in the place of
    /// the token. Of a page of HTML it is the title. For people: livekit-server may change them.
    pub fn reason(&self) -> Option<&str> {
        self.0.words.as_ref().map(|words| &*words.0)
    }

    /// Whether another try with the same token may succeed.
    pub fn is_retryable(&self) -> bool {
        use ConnectErrorKind::{MediaTimeout, NoAddress, Unavailable};
        matches!(self.kind(), Unavailable | MediaTimeout | NoAddress)
    }

    /// Whether another region of the server may do better.
    pub(crate) fn is_of_region(&self) -> bool {
        use ConnectErrorKind::{MediaTimeout, Protocol, Refused, Unavailable};
        matches!(self.kind(), Unavailable | MediaTimeout | Protocol | Refused(_))
    }

    pub(crate) fn of_handshake(failure: HandshakeFailure) -> Self {
        let (kind, status) = match failure {
            HandshakeFailure::NotAllowed => (ConnectErrorKind::NotAllowed, None),
            HandshakeFailure::NotFound => (ConnectErrorKind::NotFound, Some(404)),
            HandshakeFailure::BadRequest { status, .. } => (ConnectErrorKind::BadRequest, Some(status)),
            HandshakeFailure::Unavailable { status, .. } => (ConnectErrorKind::Unavailable, status),
            _ => (ConnectErrorKind::Unavailable, None),
        };
        Self::from(kind).with_status(status)
    }

    pub(crate) fn protocol(what: impl Into<String>) -> Self {
        Self::from(ConnectErrorKind::Protocol).with_cause(Some(what.into().into()))
    }

    pub(crate) fn no_address(error: std::io::Error) -> Self {
        Self::from(ConnectErrorKind::NoAddress).with_cause(Some(error.into()))
    }

    pub(crate) fn with_status(self, status: Option<u16>) -> Self {
        self.edited(|failure| failure.status = status.or(failure.status))
    }

    pub(crate) fn with_words(self, words: Option<Arc<str>>) -> Self {
        self.edited(|failure| failure.words = words.map(ServerWords))
    }

    pub(crate) fn with_cause(self, cause: Option<Cause>) -> Self {
        self.edited(|failure| failure.cause = cause)
    }

    fn edited(mut self, edit: impl FnOnce(&mut Failure)) -> Self {
        if let Some(failure) = Arc::get_mut(&mut self.0) {
            edit(failure);
        }
        self
    }
}

/// Of this kind and nothing else, for tests of what an application does with it.
impl From<ConnectErrorKind> for ConnectError {
    fn from(kind: ConnectErrorKind) -> Self {
        Self(Arc::new(Failure { kind, status: None, words: None, cause: None }))
    }
}

impl From<ServerUrlError> for ConnectError {
    fn from(error: ServerUrlError) -> Self {
        Self::from(ConnectErrorKind::InvalidUrl).with_cause(Some(error.into()))
    }
}

impl fmt::Debug for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { kind, status, words, cause } = &*self.0;
        let mut shown = f.debug_struct("ConnectError");
        shown.field("kind", kind);
        if let Some(status) = status {
            shown.field("status", status);
        }
        if let Some(ServerWords(words)) = words {
            shown.field("reason", words);
        }
        if let Some(cause) = cause {
            shown.field("cause", cause);
        }
        shown.finish()
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind(), self.status()) {
            (ConnectErrorKind::InvalidUrl, _) => f.write_str("the server URL can't be used"),
            (ConnectErrorKind::NotAllowed, _) => f.write_str("the server does not accept the token"),
            (ConnectErrorKind::NotFound, _) => {
                f.write_str("the server does not know the room, or is no LiveKit server")
            }
            (ConnectErrorKind::BadRequest, Some(status)) => {
                write!(f, "the server refuses the request with status {status}")
            }
            (ConnectErrorKind::BadRequest, None) => f.write_str("the server refuses the request"),
            (ConnectErrorKind::Unavailable, Some(status)) => {
                write!(f, "the server could not connect us, status {status}")
            }
            (ConnectErrorKind::Unavailable, None) => f.write_str("the server can't be reached"),
            (ConnectErrorKind::Refused(reason), _) => write!(f, "the server refused the join: {reason}"),
            (ConnectErrorKind::Protocol, _) => f.write_str("the server does not speak LiveKit's protocol"),
            (ConnectErrorKind::MediaTimeout, _) => f.write_str("media and data did not come up in time"),
            (ConnectErrorKind::NoAddress, _) => f.write_str("there is no network address to receive media on"),
            (ConnectErrorKind::Cancelled, _) => f.write_str("the room was closed while it was being joined"),
        }
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let words = self.0.words.as_ref().map(|words| words as &(dyn Error + 'static));
        words.or_else(|| self.0.cause.as_deref().map(|cause| cause as &(dyn Error + 'static)))
    }
}

/// What the server said, as a link of the chain of errors.
#[derive(Debug, Clone)]
struct ServerWords(Arc<str>);

impl fmt::Display for ServerWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for ServerWords {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_server_are_its_source_and_not_its_text() {
        let error = ConnectError::of_handshake(HandshakeFailure::NotAllowed)
            .with_status(Some(401))
            .with_words(Some("token is expired".into()));
        assert_eq!((error.kind(), error.status()), (ConnectErrorKind::NotAllowed, Some(401)));
        assert_eq!(error.reason(), Some("token is expired"));
        assert_eq!(error.to_string(), "the server does not accept the token");
        assert_eq!(error.source().unwrap().to_string(), "token is expired");
        assert!(!error.is_retryable() && format!("{error:?}").contains("token is expired"));
    }

    #[test]
    fn what_failed_below_is_its_source() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = ConnectError::from(ConnectErrorKind::Unavailable).with_cause(Some(refused.into()));
        let source = error.source().unwrap().downcast_ref::<std::io::Error>().unwrap();
        assert_eq!(source.kind(), std::io::ErrorKind::ConnectionRefused);
        assert!(error.is_retryable() && error.reason().is_none() && error.status().is_none());
        assert!(ConnectError::from(ConnectErrorKind::Cancelled).source().is_none());
    }
}
