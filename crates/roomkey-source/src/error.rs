//! Why there is no token.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::endpoint_error::EndpointFailure;
use crate::grant_check::Mismatch;
use crate::provider::{BoxError, FailureClass, ProviderError};
use crate::redact::Redacted;

/// Why a fetch gave no credentials.
///
/// All who waited for the same call get the same error: a clone is one reference count. What the provider said is in
/// [`source`](Error::source), as it said it. `Debug` shows its text with everything cut out that looks like a JWT; events of
/// `tracing` do not show it at all.
#[derive(Clone)]
pub struct FetchError(Arc<Failure>);

struct Failure {
    kind: FetchErrorKind,
    class: Option<FailureClass>,
    retry_after: Option<Duration>,
    cause: Option<BoxError>,
}

/// What went wrong, as far as it changes what the caller can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchErrorKind {
    /// The provider gave an error or panicked.
    Provider,
    /// The token endpoint was not reached.
    Transport,
    /// The token endpoint answered with a status that is not one of success; see
    /// [`rejection`](FetchError::rejection).
    Rejected {
        /// The status.
        status: u16,
    },
    /// The token endpoint's answer can't be used.
    InvalidResponse {
        /// What is wrong with it: `body`, where it is no JSON object or too long, or the name of the field that is missing,
        /// empty or no text.
        field: &'static str,
    },
    /// The token is for another room or participant than the options name, and the source's
    /// [`GrantCheck`](crate::GrantCheck) denies that.
    GrantMismatch,
    /// The provider gave no answer within the source's load timeout.
    Timeout,
    /// Somebody else logged in while the token was fetched, by the source's
    /// [`partition`](crate::TokenSourceBuilder::partition). What was fetched is nobody's, and is thrown away. Asking again
    /// asks for who is logged in.
    PartitionChanged,
}

impl FetchError {
    /// An error of the provider's.
    pub(crate) fn provider(cause: BoxError) -> Self {
        let Said { kind, class, retry_after } = classify(&*cause);
        Self(Arc::new(Failure { kind, class, retry_after, cause: Some(cause) }))
    }

    /// The provider panicked. What it said is not kept: the panic hook has it.
    pub(crate) fn panicked() -> Self {
        Self::provider("the token provider panicked".into())
    }

    pub(crate) fn timeout(after: Duration) -> Self {
        let cause = format!("no answer within {after:?}");
        Self(Arc::new(Failure {
            kind: FetchErrorKind::Timeout,
            class: Some(FailureClass::Transient),
            retry_after: None,
            cause: Some(cause.into()),
        }))
    }

    pub(crate) fn grant_mismatch(found: Mismatch) -> Self {
        let (kind, class) = (FetchErrorKind::GrantMismatch, Some(FailureClass::Permanent));
        Self(Arc::new(Failure { kind, class, retry_after: None, cause: Some(found.into()) }))
    }

    pub(crate) fn partition_changed() -> Self {
        let class = Some(FailureClass::Transient);
        Self(Arc::new(Failure { kind: FetchErrorKind::PartitionChanged, class, retry_after: None, cause: None }))
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> FetchErrorKind {
        self.0.kind
    }

    /// Whether asking again, later and unchanged, may help. Of an error that is not a [`ProviderError`] nobody knows, and
    /// the answer is no.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.class == Some(FailureClass::Transient)
    }

    /// Whether the caller was refused, so that logging in is what helps.
    #[must_use]
    pub fn is_auth(&self) -> bool {
        self.0.class == Some(FailureClass::Auth)
    }

    /// Whether it may stand for the calls of a while after it: not where somebody is to see what they have put right.
    pub(crate) fn may_be_remembered(&self) -> bool {
        let is_told = matches!(self.0.class, Some(FailureClass::Auth | FailureClass::Permanent));
        !is_told && self.kind() != FetchErrorKind::PartitionChanged
    }

    /// The beginning of what a token endpoint said to its [rejection](FetchErrorKind::Rejected), without what looks like a
    /// token: for whoever mends the request, not for a log.
    #[must_use]
    pub fn rejection(&self) -> Option<&str> {
        self.0.cause.as_deref()?.downcast_ref::<EndpointFailure>()?.body()
    }

    /// How long to wait before asking again, where the provider said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

/// What an error says of itself.
struct Said {
    kind: FetchErrorKind,
    class: Option<FailureClass>,
    retry_after: Option<Duration>,
}

/// What the first error in a chain of causes says that says anything: a [`ProviderError`], our endpoint's failure, or the
/// error of another source that the provider asked.
fn classify(cause: &(dyn Error + 'static)) -> Said {
    let mut next = Some(cause);
    while let Some(error) = next {
        if let Some(said) = error.downcast_ref::<ProviderError>() {
            let (class, retry_after) = (Some(said.class()), said.retry_after());
            return Said { kind: FetchErrorKind::Provider, class, retry_after };
        }
        if let Some(said) = error.downcast_ref::<EndpointFailure>() {
            return Said { kind: said.kind(), class: Some(said.class()), retry_after: said.retry_after() };
        }
        if let Some(FetchError(said)) = error.downcast_ref() {
            return Said { kind: FetchErrorKind::Provider, class: said.class, retry_after: said.retry_after };
        }
        next = error.source();
    }
    Said { kind: FetchErrorKind::Provider, class: None, retry_after: None }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.kind {
            FetchErrorKind::Provider => "failed to fetch a token: the provider gave an error",
            FetchErrorKind::GrantMismatch => "failed to fetch a token: the one that came is not for what was asked",
            FetchErrorKind::Transport => "failed to fetch a token: the token endpoint was not reached",
            FetchErrorKind::Rejected { status } => {
                return write!(f, "failed to fetch a token: the token endpoint answered with status {status}");
            }
            FetchErrorKind::InvalidResponse { field } => {
                return write!(f, "failed to fetch a token: the token endpoint's answer has no usable {field}");
            }
            FetchErrorKind::Timeout => "failed to fetch a token: the provider did not answer in time",
            FetchErrorKind::PartitionChanged => {
                "failed to fetch a token: somebody else logged in meanwhile; fetch again for them"
            }
        })
    }
}

impl fmt::Debug for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("FetchError");
        debug.field("kind", &self.0.kind);
        if let Some(cause) = &self.0.cause {
            debug.field("source", &Redacted(&**cause));
        }
        debug.finish_non_exhaustive()
    }
}

impl Error for FetchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}
