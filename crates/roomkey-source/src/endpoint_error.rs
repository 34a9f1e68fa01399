//! What can be wrong with an endpoint: its settings, and its answers.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use crate::error::FetchErrorKind;
use crate::provider::{BoxError, FailureClass};
use crate::redact::redact;

/// What is wrong with the settings of an [`Endpoint`](crate::Endpoint).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EndpointError {
    /// The URL is not an `http` or `https` URL with a host, or has a user in it.
    Url,
    /// The method is not one that HTTP can have.
    Method,
    /// The name of a header has characters that no name can have.
    HeaderName,
    /// The value for this header has characters that no value can have.
    HeaderValue(HeaderName),
    /// The id of the development token server is empty.
    DevelopmentServerId,
    /// The HTTP client could not be made.
    Client(Arc<dyn Error + Send + Sync>),
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url => f.write_str("the token endpoint needs an http or https URL with a host and without a user"),
            Self::Method => f.write_str("the method of the token endpoint is not one of HTTP"),
            Self::HeaderName => f.write_str("the name of a header for the token endpoint is not one of HTTP"),
            Self::HeaderValue(name) => {
                write!(f, "the value of the header {name} has characters that HTTP does not allow")
            }
            Self::DevelopmentServerId => f.write_str("the id of the development token server is empty"),
            Self::Client(_) => f.write_str("failed to make the HTTP client for the token endpoint"),
        }
    }
}

impl Error for EndpointError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Client(cause) => Some(&**cause),
            Self::Url | Self::Method | Self::HeaderName | Self::HeaderValue(_) | Self::DevelopmentServerId => None,
        }
    }
}

/// Why an endpoint gave no credentials; a source turns it into a [`FetchError`](crate::FetchError) of that kind.
pub(crate) struct EndpointFailure {
    kind: FetchErrorKind,
    retry_after: Option<Duration>,
    body: Option<Box<str>>,
    cause: Option<BoxError>,
}

impl EndpointFailure {
    pub(crate) fn transport(cause: BoxError) -> Self {
        Self { kind: FetchErrorKind::Transport, retry_after: None, body: None, cause: Some(cause) }
    }

    pub(crate) fn invalid(field: &'static str) -> Self {
        Self { kind: FetchErrorKind::InvalidResponse { field }, retry_after: None, body: None, cause: None }
    }

    /// Keeps the beginning of the body, without what looks like a token.
    pub(crate) fn rejected(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        const LONGEST: usize = 1_024;
        let text = redact(&String::from_utf8_lossy(&body[..body.len().min(4 * LONGEST)]));
        let body = text.chars().take(LONGEST).collect::<String>().into();
        Self { kind: FetchErrorKind::Rejected { status }, retry_after, body: Some(body), cause: None }
    }

    pub(crate) fn kind(&self) -> FetchErrorKind {
        self.kind
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    pub(crate) fn body(&self) -> Option<&str> {
        self.body.as_deref()
    }

    pub(crate) fn is_transient(&self) -> bool {
        self.class() == FailureClass::Transient
    }

    pub(crate) fn class(&self) -> FailureClass {
        match self.kind {
            FetchErrorKind::Transport | FetchErrorKind::Rejected { status: 408 | 429 | 500..=599 } => {
                FailureClass::Transient
            }
            FetchErrorKind::Rejected { status: 401 | 403 } => FailureClass::Auth,
            FetchErrorKind::Rejected { .. }
            | FetchErrorKind::InvalidResponse { .. }
            | FetchErrorKind::Provider
            | FetchErrorKind::GrantMismatch
            | FetchErrorKind::Timeout
            | FetchErrorKind::PartitionChanged => FailureClass::Permanent,
        }
    }
}

/// Without the body.
impl fmt::Debug for EndpointFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointFailure").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl fmt::Display for EndpointFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            FetchErrorKind::Rejected { status } => write!(f, "the token endpoint answered with status {status}"),
            FetchErrorKind::InvalidResponse { field } => {
                write!(f, "the token endpoint's answer has no usable {field}")
            }
            FetchErrorKind::Transport
            | FetchErrorKind::Provider
            | FetchErrorKind::GrantMismatch
            | FetchErrorKind::Timeout
            | FetchErrorKind::PartitionChanged => f.write_str("failed to reach the token endpoint"),
        }
    }
}

impl Error for EndpointFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}
