//! Who makes the tokens: the application's own function or type.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::credentials::Credentials;
use crate::options::FetchOptions;
use crate::redact::Redacted;

/// Any error, as token functions give it. `?` turns every error into one.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Makes tokens for a [`TokenSource`](crate::TokenSource): asks the application's backend, or mints.
///
/// A provider with state and a name is a type that implements this; a function is
/// [`TokenSource::custom`](crate::TokenSource::custom). It needs no cache and no timeout of its own, since the source has
/// them: it is not called while a token can be reused, and those who fetch for equal options share one call. Two calls for
/// equal options run at once only where the older one will not do: for a
/// [`fetch_fresh`](crate::TokenSource::fetch_fresh), after an invalidation, and for another partition.
///
/// The future of a call may be dropped half-way, and may be polled by one task after the other: any task that waits for the
/// token goes on with it. A provider that fetches from its own source for the options that it was called with waits for
/// itself, until its timeout.
///
/// ```
/// use roomkey_source::{BoxError, Credentials, FetchOptions, TokenProvider, TokenSource};
///
/// struct Backend {
///     server_url: String,
/// }
///
/// impl TokenProvider for Backend {
///     async fn fetch(&self, options: &FetchOptions) -> Result<Credentials, BoxError> {
///         let room = options.room_name().ok_or("a room name is needed")?;
///         Ok(Credentials::new(&self.server_url, format!("a token for {room}")))
///     }
/// }
///
/// let source = TokenSource::builder(Backend { server_url: "wss://example".to_owned() }).build();
/// ```
#[doc(alias = "TokenSourceConfigurable")]
pub trait TokenProvider: Send + Sync + 'static {
    /// Makes a token for these options.
    ///
    /// # Errors
    ///
    /// Any error at all. A provider that knows whether asking again can help says so with a [`ProviderError`].
    fn fetch(&self, options: &FetchOptions) -> impl Future<Output = Result<Credentials, BoxError>> + Send;
}

impl<P: TokenProvider> TokenProvider for Arc<P> {
    fn fetch(&self, options: &FetchOptions) -> impl Future<Output = Result<Credentials, BoxError>> + Send {
        (**self).fetch(options)
    }
}

/// A token function as a [`TokenProvider`], for [`TokenSource::builder`](crate::TokenSource::builder).
///
/// ```
/// use roomkey_source::{Credentials, TokenSource, provider_fn};
///
/// let source = TokenSource::builder(provider_fn(|options| async move {
///     let room = options.room_name().ok_or("a room name is needed")?;
///     Ok(Credentials::new("wss://example", format!("a token for {room}")))
/// }))
/// .capacity(1)
/// .build();
/// ```
pub fn provider_fn<F, Fut>(function: F) -> ProviderFn<F>
where
    F: Fn(FetchOptions) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Credentials, BoxError>> + Send + 'static,
{
    ProviderFn(function)
}

/// The provider that [`provider_fn`] gives.
#[derive(Clone, Copy)]
pub struct ProviderFn<F>(F);

impl<F> fmt::Debug for ProviderFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProviderFn")
    }
}

impl<F, Fut> TokenProvider for ProviderFn<F>
where
    F: Fn(FetchOptions) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Credentials, BoxError>> + Send + 'static,
{
    fn fetch(&self, options: &FetchOptions) -> impl Future<Output = Result<Credentials, BoxError>> + Send {
        (self.0)(options.clone())
    }
}

/// A call of a provider under way.
pub(crate) type ProviderCall = Pin<Box<dyn Future<Output = Result<Credentials, BoxError>> + Send>>;

/// [`TokenProvider`] as a source holds it, whatever its type.
pub(crate) trait DynProvider: Send + Sync {
    fn call(self: Arc<Self>, options: FetchOptions) -> ProviderCall;
}

impl<P: TokenProvider> DynProvider for P {
    fn call(self: Arc<Self>, options: FetchOptions) -> ProviderCall {
        // The provider is first called when the future is polled: its panic is then a panic of the call.
        Box::pin(async move { self.fetch(&options).await })
    }
}

/// An error of a token function that says what kind of failure it is.
///
/// The source finds it in the chain of causes, and answers
/// [`FetchError::is_retryable`](crate::FetchError::is_retryable) and [`is_auth`](crate::FetchError::is_auth) from it. An
/// error of `anyhow` hides the type of what it was made from, so make the `ProviderError` last, from the `anyhow::Error`.
///
/// ```
/// use std::time::Duration;
/// use roomkey_source::{Credentials, ProviderError, TokenSource};
///
/// let source = TokenSource::custom(|_options| async move {
///     // The backend answered 503 with a Retry-After header.
///     Err(ProviderError::transient("the backend is restarting").with_retry_after(Duration::from_secs(2)).into())
/// });
/// ```
pub struct ProviderError {
    class: FailureClass,
    retry_after: Option<Duration>,
    cause: BoxError,
}

/// What a provider says of its failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureClass {
    Transient,
    Auth,
    Permanent,
}

impl ProviderError {
    /// A failure that may be gone when asked again: the network, a backend that restarts.
    #[must_use]
    pub fn transient(cause: impl Into<BoxError>) -> Self {
        Self { class: FailureClass::Transient, retry_after: None, cause: cause.into() }
    }

    /// The caller may not have a token: not logged in, no longer allowed. The fetch fails, where it would otherwise be given
    /// a token that is held and has not expired. What is held stays: to have it forgotten is up to the application.
    #[must_use]
    pub fn auth(cause: impl Into<BoxError>) -> Self {
        Self { class: FailureClass::Auth, retry_after: None, cause: cause.into() }
    }

    /// A failure that stays until something is changed: a bad request, a missing configuration.
    #[must_use]
    pub fn permanent(cause: impl Into<BoxError>) -> Self {
        Self { class: FailureClass::Permanent, retry_after: None, cause: cause.into() }
    }

    /// How long to wait before asking again, where that is known.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    pub(crate) fn class(&self) -> FailureClass {
        self.class
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

/// Shows the text of the cause with everything cut out that looks like a JWT.
impl fmt::Debug for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderError")
            .field("class", &self.class)
            .field("retry_after", &self.retry_after)
            .field("cause", &Redacted(&*self.cause))
            .finish()
    }
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.class {
            FailureClass::Transient => "the token provider failed for now",
            FailureClass::Auth => "the token provider refused",
            FailureClass::Permanent => "the token provider failed",
        })
    }
}

impl Error for ProviderError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.cause)
    }
}
