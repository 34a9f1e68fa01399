//! Why the command fails.

use std::{fmt, io};

use roomkey::session::{EndReason, SessionState, StartError};

use crate::join::words;

/// What failed, and what to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    message: String,
    advice: Option<&'static str>,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), advice: None }
    }

    pub(crate) fn with_advice(self, advice: &'static str) -> Self {
        Self { advice: Some(advice), ..self }
    }

    pub(crate) fn of_start(error: &StartError, is_local: bool) -> Self {
        Self { message: words::of_error(error), advice: words::advice(error, is_local) }
    }

    /// The session has no room any more.
    pub(crate) fn of_end(state: SessionState) -> Self {
        let why = match state {
            SessionState::Disconnected(Some(EndReason::Room(reason))) => format!("the room ended: {reason}"),
            SessionState::Disconnected(_)
            | SessionState::Connecting
            | SessionState::Connected
            | SessionState::Resuming
            | SessionState::Restarting => "the session ended".to_owned(),
        };
        Self::new(why)
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        self.advice.map_or(Ok(()), |advice| write!(f, "\n  try: {advice}"))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(words::of_error(&error))
    }
}
