//! A token source that takes no options.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use crate::builder::DEFAULT_LOAD_TIMEOUT;
use crate::credentials::Credentials;
use crate::error::FetchError;
use crate::options::FetchOptions;
use crate::provider::{BoxError, ProviderCall};
use crate::provider_call::GuardedCall;
use crate::source::TokenSource;

/// A token source for one purpose: whoever has it fetches, and knows no options.
///
/// It is either [literal credentials](TokenSource::literal), a [function without options](TokenSource::literal_with), or
/// a [source with its options chosen](TokenSource::bind); an application that picks one of them at run time has the same
/// type for each. A clone is cheap and shares what there is to share.
///
/// ```
/// use roomkey_source::{Credentials, FixedTokenSource, TokenSource};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), roomkey_source::FetchError> {
/// let source: FixedTokenSource = TokenSource::literal(Credentials::new("wss://example", "a token"));
/// assert_eq!(source.fetch().await?.participant_token(), "a token");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[doc(alias = "TokenSourceFixed")]
#[doc(alias = "TokenSourceLiteral")]
pub struct FixedTokenSource(Kind);

#[derive(Clone)]
enum Kind {
    Literal(Credentials),
    LiteralWith(Arc<dyn Fn() -> ProviderCall + Send + Sync>),
    Bound(TokenSource, Arc<FetchOptions>),
}

impl FixedTokenSource {
    pub(crate) fn literal(credentials: Credentials) -> Self {
        Self(Kind::Literal(credentials))
    }

    pub(crate) fn literal_with<F, Fut>(function: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Credentials, BoxError>> + Send + 'static,
    {
        Self(Kind::LiteralWith(Arc::new(move || Box::pin(function()))))
    }

    pub(crate) fn bound(source: TokenSource, options: FetchOptions) -> Self {
        Self(Kind::Bound(source, Arc::new(options)))
    }

    /// Gives credentials. Of a bound source this is [`TokenSource::fetch`] in every respect.
    ///
    /// The future borrows nothing, and dropping it takes its caller out.
    ///
    /// # Errors
    ///
    /// The function or the provider failed, panicked, or did not answer in time; a function without options has 30 seconds.
    /// Literal credentials never fail.
    pub fn fetch(&self) -> impl Future<Output = Result<Credentials, FetchError>> + Send + use<> {
        self.clone().into_fetch(false)
    }

    /// Gives new credentials. Of a bound source this is [`TokenSource::fetch_fresh`]; the others have nothing else to give
    /// than in [`fetch`](Self::fetch).
    ///
    /// # Errors
    ///
    /// As for [`fetch`](Self::fetch).
    pub fn fetch_fresh(&self) -> impl Future<Output = Result<Credentials, FetchError>> + Send + use<> {
        self.clone().into_fetch(true)
    }

    /// Gives credentials that nobody gets after this: [`TokenSource::take`] of a bound source. The others hold nothing, so
    /// that it is a [`fetch`](Self::fetch) there.
    ///
    /// # Errors
    ///
    /// As for [`fetch`](Self::fetch).
    pub fn take(&self) -> impl Future<Output = Result<Credentials, FetchError>> + Send + use<> {
        let fixed = self.clone();
        async move {
            match &fixed.0 {
                Kind::Bound(source, options) => source.take(options).await,
                Kind::Literal(_) | Kind::LiteralWith(_) => fixed.into_fetch(false).await,
            }
        }
    }

    /// What is held: [`TokenSource::cached`] of a bound source, and literal credentials.
    #[must_use]
    pub fn cached(&self) -> Option<Credentials> {
        match &self.0 {
            Kind::Bound(source, options) => source.cached(options),
            Kind::Literal(credentials) => Some(credentials.clone()),
            Kind::LiteralWith(_) => None,
        }
    }

    /// [`TokenSource::fetch_after_rejection`] of a bound source; the others have nothing else to give than in
    /// [`fetch`](Self::fetch).
    ///
    /// # Errors
    ///
    /// As for [`fetch`](Self::fetch).
    pub fn fetch_after_rejection(
        &self,
        rejected: &Credentials,
    ) -> impl Future<Output = Result<Credentials, FetchError>> + Send + use<> {
        let (fixed, rejected) = (self.clone(), rejected.clone());
        async move {
            match &fixed.0 {
                Kind::Bound(source, options) => source.fetch_after_rejection(options, &rejected).await,
                Kind::Literal(_) | Kind::LiteralWith(_) => fixed.into_fetch(false).await,
            }
        }
    }

    /// [`TokenSource::invalidate_token`] of a bound source; the others hold nothing that could be forgotten.
    pub fn invalidate_token(&self, credentials: &Credentials) -> bool {
        match &self.0 {
            Kind::Bound(source, _) => source.invalidate_token(credentials),
            Kind::Literal(_) | Kind::LiteralWith(_) => false,
        }
    }

    async fn into_fetch(self, fresh: bool) -> Result<Credentials, FetchError> {
        match self.0 {
            Kind::Literal(credentials) => Ok(credentials),
            Kind::LiteralWith(function) => {
                // The function is called inside, where its panic is caught.
                let call = Box::pin(async move { function().await });
                GuardedCall::new(call).within(DEFAULT_LOAD_TIMEOUT).await
            }
            Kind::Bound(source, options) if fresh => source.fetch_fresh(&options).await,
            Kind::Bound(source, options) => source.fetch(&options).await,
        }
    }
}

/// The same credentials, the same function, or the same source with equal options.
impl PartialEq for FixedTokenSource {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::Literal(one), Kind::Literal(other)) => one == other,
            (Kind::LiteralWith(one), Kind::LiteralWith(other)) => Arc::ptr_eq(one, other),
            (Kind::Bound(one, options), Kind::Bound(other, other_options)) => {
                one.is_same(other) && options == other_options
            }
            (Kind::Literal(_) | Kind::LiteralWith(_) | Kind::Bound(..), _) => false,
        }
    }
}

impl Eq for FixedTokenSource {}

impl fmt::Debug for FixedTokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Literal(credentials) => f.debug_tuple("Literal").field(credentials).finish(),
            Kind::LiteralWith(_) => f.debug_struct("LiteralWith").finish_non_exhaustive(),
            Kind::Bound(_, options) => f.debug_struct("Bound").field("options", options).finish_non_exhaustive(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> TokenSource {
        TokenSource::custom(|_| async { Ok(Credentials::new("wss://example", "a token")) })
    }

    #[test]
    fn sources_are_equal_that_give_the_same() {
        let (one, other) = (source(), source());
        let lobby = || FetchOptions::new().with_participant_attribute("a", "1").with_participant_attribute("b", "2");
        let turned = FetchOptions::new().with_participant_attribute("b", "2").with_participant_attribute("a", "1");
        assert_eq!(one.bind(lobby()), one.bind(turned));
        assert_ne!(one.bind(lobby()), one.bind(FetchOptions::new()));
        assert_ne!(one.bind(lobby()), other.bind(lobby()));
        let literal = |token: &str| TokenSource::literal(Credentials::new("wss://example", token));
        assert_eq!(literal("a"), literal("a"));
        assert_ne!(literal("a"), literal("b"));
        let function = TokenSource::literal_with(|| async { Err("none".into()) });
        assert_eq!(function, function.clone());
        assert_ne!(function, literal("a"));
    }

    #[tokio::test]
    async fn what_is_taken_is_held_no_longer() {
        let fixed = source().bind(FetchOptions::new());
        assert_eq!(fixed.cached(), None);
        fixed.take().await.unwrap();
        assert_eq!(fixed.cached(), None);
        let literal = TokenSource::literal(Credentials::new("wss://example", "a token"));
        assert_eq!(Some(literal.take().await.unwrap()), literal.cached());
    }
}
