//! Why there is no websocket, as it is known so far.

use std::sync::Arc;
use std::time::Duration;

use roomkey_signal::{HandshakeFailure, ParticipantToken};

use crate::connect_error::{ConnectError, ConnectErrorKind};
use crate::server_words;

/// How long the server may take to say why it has refused; the refusal itself is known.
pub(super) const WORDS_TIMEOUT: Duration = Duration::from_secs(3);

/// What came in place of a websocket, or of an answer at the validate URL.
#[derive(Debug, Default)]
pub(crate) struct Refusal {
    /// The HTTP status, if there was one.
    pub(crate) status: Option<u16>,
    /// What is known of the answer's body.
    pub(crate) body: Vec<u8>,
    /// What failed, where there was no answer.
    pub(crate) cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Refusal {
    pub(crate) fn failed(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { cause: Some(cause.into()), ..Self::default() }
    }

    pub(super) fn timed_out() -> Self {
        Self::failed(std::io::Error::new(std::io::ErrorKind::TimedOut, "the server did not answer in time"))
    }
}

/// Of the handshake under way.
#[derive(Debug, Default)]
pub(super) struct Refused {
    status: Option<u16>,
    words: Option<Arc<str>>,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    /// The failure for which only the words are awaited.
    pub(super) failure: Option<HandshakeFailure>,
}

impl Refused {
    /// The websocket was refused.
    pub(super) fn refused(&mut self, refusal: Refusal, token: &ParticipantToken) {
        let words = server_words::read(&refusal.body, token);
        *self = Self { status: refusal.status, words, cause: refusal.cause, failure: None };
    }

    /// The validate URL was answered. That the request is well is no reason of a refusal.
    pub(super) fn validated(&mut self, refusal: &Refusal, token: &ParticipantToken) {
        let is_refused = refusal.status.is_some_and(|status| status >= 400);
        if is_refused && self.words.is_none() {
            self.words = server_words::read(&refusal.body, token);
        }
        if self.status.is_none() {
            self.status = refusal.status.filter(|_| is_refused);
        }
    }

    pub(super) fn has_words(&self) -> bool {
        self.words.is_some()
    }

    pub(super) fn unavailable(&mut self, status: Option<u16>) -> ConnectError {
        self.add_to(ConnectError::from(ConnectErrorKind::Unavailable).with_status(status))
    }

    /// The time of the join is over.
    pub(super) fn unavailable_in_time(&mut self) -> ConnectError {
        if self.cause.is_none() && self.words.is_none() {
            self.cause = Refusal::timed_out().cause;
        }
        self.unavailable(self.status)
    }

    pub(super) fn error(&mut self, failure: HandshakeFailure) -> ConnectError {
        let error = ConnectError::of_handshake(failure);
        let error = if failure == HandshakeFailure::NotAllowed { error.with_status(self.status) } else { error };
        self.add_to(error)
    }

    fn add_to(&mut self, error: ConnectError) -> ConnectError {
        error.with_words(self.words.take()).with_cause(self.cause.take())
    }
}
