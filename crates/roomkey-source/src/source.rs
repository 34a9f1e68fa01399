//! The token source that applications hold.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

use crate::builder::TokenSourceBuilder;
use crate::cache::Entry;
use crate::credentials::Credentials;
use crate::endpoint::Endpoint;
use crate::endpoint_error::EndpointError;
use crate::error::FetchError;
use crate::fixed::FixedTokenSource;
use crate::flight::Ask;
use crate::loading::Shared;
use crate::options::FetchOptions;
use crate::provider::{BoxError, TokenProvider, provider_fn};
use crate::refresh::{UnderWay, renew};
use crate::stats::Stats;
use crate::watch::Watch;

/// Gives credentials for a room: those that it holds, while their token can be reused, and new ones from its provider
/// otherwise.
///
/// It is a handle: a clone shares the cache, is cheap, and goes to any task or thread. Dropping the last one drops what it
/// holds.
///
/// What it promises:
///
/// - A token is reused only for equal [options](FetchOptions), for the same
///   [partition](crate::TokenSourceBuilder::partition), and until a minute before it expires (a quarter of its life, if
///   that is shorter). A token that does not say when it expires is never reused. What the provider gives is delivered
///   either way: these rules decide about reuse alone.
/// - While a call for some options is under way, others who [`fetch`](Self::fetch) with equal options wait for it and get
///   its result, or its error. Different options never wait for each other.
/// - A failed call changes nothing that is held.
///
/// ```
/// use roomkey_source::{Credentials, FetchOptions, TokenSource};
///
/// # async fn my_token_backend(_: Option<&str>) -> Result<String, std::io::Error> { Ok("a token".to_owned()) }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), roomkey_source::FetchError> {
/// let source = TokenSource::custom(|options| async move {
///     let token = my_token_backend(options.room_name()).await?;
///     Ok(Credentials::new("wss://example.livekit.cloud", token))
/// });
///
/// let credentials = source.fetch(&FetchOptions::new().with_room_name("lobby")).await?;
/// assert_eq!(credentials.server_url(), "wss://example.livekit.cloud");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[doc(alias = "TokenSourceConfigurable")]
#[doc(alias = "TokenSourceCustom")]
#[doc(alias = "CachingTokenSource")]
pub struct TokenSource(Arc<Handle>);

/// What the users' handles share and nothing else holds: with the last of them, renewals behind them end.
struct Handle {
    shared: Arc<Shared>,
    renewals: Mutex<JoinSet<()>>,
}

impl TokenSource {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(Arc::new(Handle { shared: Arc::new(shared), renewals: Mutex::new(JoinSet::new()) }))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// Whether another handle is of this source.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Renews a token in the background, if there is a runtime to do so.
    fn renew(&self, entry: Arc<Entry>) {
        let under_way = UnderWay(entry);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let mut renewals = self.0.renewals.lock().unwrap_or_else(PoisonError::into_inner);
        while renewals.try_join_next().is_some() {}
        renewals.spawn_on(renew(Arc::clone(self.shared()), under_way), &runtime);
    }

    /// A source that calls a function of the application's: it gets the options and gives credentials. Errors of any type
    /// pass through `?`.
    ///
    /// The function is for everything that the source is asked for, so it should depend on nothing but its options and
    /// what never changes. If it also depends on who is logged in, tell the source by a
    /// [partition](crate::TokenSourceBuilder::partition).
    pub fn custom<F, Fut>(function: F) -> Self
    where
        F: Fn(FetchOptions) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Credentials, BoxError>> + Send + 'static,
    {
        Self::builder(provider_fn(function)).build()
    }

    /// [`custom`](Self::custom) with state: each call of the function gets a clone of it, so that the closure itself needs
    /// no clones.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use roomkey_source::{Credentials, TokenSource};
    ///
    /// struct Backend;
    /// # impl Backend { async fn token(&self, _: Option<&str>) -> Result<String, std::io::Error> { Ok(String::new()) } }
    ///
    /// let source = TokenSource::custom_with(Arc::new(Backend), |backend, options| async move {
    ///     let token = backend.token(options.room_name()).await?;
    ///     Ok(Credentials::new("wss://example", token))
    /// });
    /// ```
    pub fn custom_with<S, F, Fut>(state: S, function: F) -> Self
    where
        S: Clone + Send + Sync + 'static,
        F: Fn(S, FetchOptions) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Credentials, BoxError>> + Send + 'static,
    {
        Self::custom(move |options| function(state.clone(), options))
    }

    /// A source that asks a token endpoint; [`Endpoint`] has the settings.
    ///
    /// # Errors
    ///
    /// The URL is not an `http` or `https` URL with a host, or the HTTP client can't be made.
    pub fn endpoint(url: impl AsRef<str>) -> Result<Self, EndpointError> {
        Endpoint::new(url).build()
    }

    /// A source that asks LiveKit Cloud's development token server;
    /// [`Endpoint::development_token_server_at`] asks one elsewhere.
    ///
    /// # Errors
    ///
    /// The id has characters that no header can have, or the HTTP client can't be made.
    #[doc(alias = "sandbox")]
    #[doc(alias = "sandboxTokenServer")]
    pub fn development_token_server(id: impl AsRef<str>) -> Result<Self, EndpointError> {
        Endpoint::development_token_server(id).build()
    }

    /// A source that mints tokens itself; [`Minter`](crate::Minter) has the settings.
    #[cfg(feature = "minter")]
    pub fn minter(server_url: impl Into<String>, signer: crate::Signer) -> Self {
        crate::Minter::new(server_url, signer).build()
    }

    /// A source that mints tokens with the URL, key and secret of `LIVEKIT_URL`, `LIVEKIT_API_KEY` and
    /// `LIVEKIT_API_SECRET`.
    ///
    /// # Errors
    ///
    /// One of them is missing or empty, or the secret is too short to be safe.
    #[cfg(feature = "minter")]
    pub fn minter_from_env() -> Result<Self, crate::MinterError> {
        Ok(crate::Minter::from_env()?.build())
    }

    /// A source with settings, over a provider: a type of one's own, or a [`provider_fn`].
    pub fn builder<P: TokenProvider>(provider: P) -> TokenSourceBuilder {
        TokenSourceBuilder::new(Arc::new(provider))
    }

    /// A source that always gives these credentials, whether or not their token has expired.
    #[must_use]
    pub fn literal(credentials: Credentials) -> FixedTokenSource {
        FixedTokenSource::literal(credentials)
    }

    /// A source that calls a function each time and holds nothing.
    pub fn literal_with<F, Fut>(function: F) -> FixedTokenSource
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Credentials, BoxError>> + Send + 'static,
    {
        FixedTokenSource::literal_with(function)
    }

    /// This source with the options chosen, for those who don't know about options.
    #[must_use]
    pub fn bind(&self, options: FetchOptions) -> FixedTokenSource {
        FixedTokenSource::bound(self.clone(), options)
    }

    /// Gives credentials for these options: the ones held, if their token can be reused, or else new ones.
    ///
    /// If the provider fails and a token is held that has only entered the last part of its life, that token is given,
    /// unless the provider says that the caller was [refused](crate::ProviderError::auth).
    ///
    /// Dropping the future takes its caller out. A call of the provider goes on while one of those who wait for it is
    /// polled, whoever began it, and is dropped with the last of them.
    ///
    /// # Errors
    ///
    /// The provider failed, or did not answer in time, and nothing that is held will do. Whoever waited for the same call
    /// gets the same error; it is not remembered, unless [`back_off`](TokenSourceBuilder::back_off) says so.
    pub async fn fetch(&self, options: &FetchOptions) -> Result<Credentials, FetchError> {
        if self.shared().is_single_use() {
            return Box::pin(self.take(options)).await;
        }
        let partition = self.shared().partition();
        match self.shared().look_up(partition.as_ref(), options) {
            Ok((held, None)) => Ok(held),
            Ok((held, Some(due))) => {
                self.renew(due);
                Ok(held)
            }
            // Apart, and boxed, so that a fetch from the cache is a small future.
            Err(stale) => {
                let key = self.shared().key(partition.as_ref(), options).to_owned();
                Box::pin(self.shared().load(key, Ask::Any, stale)).await
            }
        }
    }

    /// Gives new credentials for these options, and holds them in place of the old ones: for a token that was refused
    /// although it has not expired.
    ///
    /// It is strict: the provider is called after this was, and no result of an earlier call is given. Many callers at once
    /// make two calls: the first one for who came first, and a second one, after it, for all who came during it.
    ///
    /// Dropping the future does what it does for [`fetch`](Self::fetch).
    ///
    /// # Errors
    ///
    /// The provider failed or did not answer in time. What is held stays.
    #[doc(alias = "force")]
    pub async fn fetch_fresh(&self, options: &FetchOptions) -> Result<Credentials, FetchError> {
        let partition = self.shared().partition();
        let key = self.shared().key(partition.as_ref(), options).to_owned();
        if self.shared().is_single_use() {
            return Box::pin(self.shared().call_alone(key, Ask::Fresh)).await;
        }
        Box::pin(self.shared().load(key, Ask::Fresh, None)).await
    }

    /// Gives credentials that nobody gets after this: the ones held, which are held no longer, or new ones from a call for
    /// this caller alone. N at once are N tokens. Only a [single-use](crate::Reuse::Once) source has given them to nobody
    /// before.
    ///
    /// Dropping the future drops its call; a token that was taken is then nobody's.
    ///
    /// # Errors
    ///
    /// The provider failed or did not answer in time.
    pub async fn take(&self, options: &FetchOptions) -> Result<Credentials, FetchError> {
        let partition = self.shared().partition();
        let key = self.shared().key(partition.as_ref(), options);
        if let Some(held) = self.shared().take_held(key) {
            tracing::debug!("token taken");
            return Ok(held);
        }
        let key = key.to_owned();
        Box::pin(self.shared().call_alone(key, Ask::Any)).await
    }

    /// Makes sure that credentials for these options are held, so that the next fetch or [`take`](Self::take) finds them: at
    /// the time when a user is likely to join, before they do. It is a [`fetch`](Self::fetch) that gives nothing out.
    ///
    /// # Errors
    ///
    /// As for [`fetch`](Self::fetch).
    pub async fn prefetch(&self, options: &FetchOptions) -> Result<(), FetchError> {
        let partition = self.shared().partition();
        match self.shared().look_up(partition.as_ref(), options) {
            Ok((_, due)) => due.into_iter().for_each(|due| self.renew(due)),
            Err(stale) => {
                let key = self.shared().key(partition.as_ref(), options).to_owned();
                Box::pin(self.shared().fetch_newer(key, Ask::Any, stale)).await?;
            }
        }
        Ok(())
    }

    /// This source for code that is not async: see [`blocking`](crate::blocking).
    ///
    /// # Errors
    ///
    /// The thread that it needs can't be started.
    #[cfg(feature = "blocking")]
    pub fn blocking(&self) -> std::io::Result<crate::blocking::TokenSource> {
        crate::blocking::TokenSource::new(self.clone())
    }

    /// The credentials for these options, kept fresh: a [`Watch`] gives them, and others whenever they change.
    ///
    /// ```
    /// # use roomkey_source::{Credentials, FetchError, FetchOptions, TokenSource};
    /// # async fn run(source: TokenSource) {
    /// let mut watch = source.watch(FetchOptions::new().with_room_name("lobby"));
    /// loop {
    ///     match watch.next().await {
    ///         Ok(credentials) => println!("join with what expires at {:?}", credentials.expires_at()),
    ///         Err(error) => println!("{error}; trying on"),
    ///     }
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn watch(&self, options: FetchOptions) -> Watch {
        Watch::new(self.clone(), options)
    }

    /// Gives other credentials than those that a server has refused although their token has not expired: because it was
    /// revoked, say. Drops them if they are still what is held, and fetches; tasks that were refused together make one call.
    ///
    /// Ask once. If what it gives is refused too, it is not the token that is wrong.
    ///
    /// With a [`rejection_spread`](crate::TokenSourceBuilder::rejection_spread) it waits before it fetches; the token is
    /// dropped at once.
    ///
    /// # Errors
    ///
    /// As for [`fetch`](Self::fetch).
    pub async fn fetch_after_rejection(
        &self,
        options: &FetchOptions,
        rejected: &Credentials,
    ) -> Result<Credentials, FetchError> {
        self.shared().note_rejection(options, rejected);
        self.invalidate_token(rejected);
        self.shared().forget_stored(options, rejected);
        self.shared().wait_after_rejection(options).await;
        self.fetch(options).await
    }

    /// Waits until what has been fetched and invalidated before this is in the [store](crate::TokenSourceBuilder::store),
    /// two seconds at most, and says whether the store has done with it: for a program that is about to end. Without a store
    /// there is nothing to wait for. What the store failed to do is in the log and not waited for.
    pub async fn flush(&self) -> bool {
        self.shared().flush().await
    }

    /// The credentials that are held for these options, expired or not. Nothing is fetched, and no store is asked.
    #[must_use]
    #[doc(alias = "cached_response")]
    pub fn cached(&self, options: &FetchOptions) -> Option<Credentials> {
        let partition = self.shared().partition();
        self.shared().cached(self.shared().key(partition.as_ref(), options))
    }

    /// What this source and its clones have done so far, in numbers. Counting costs a fetch next to nothing.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared().stats()
    }

    /// Forgets what is held for these options, for who is logged in now. A call under way still serves those who wait for
    /// it, but what it gives is not held, and who comes later does not get it.
    pub fn invalidate(&self, options: &FetchOptions) {
        let partition = self.shared().partition();
        self.shared().invalidate(self.shared().key(partition.as_ref(), options));
    }

    /// [Forgets](Self::invalidate) everything, of every [partition](crate::TokenSourceBuilder::partition).
    pub fn invalidate_all(&self) {
        self.shared().invalidate_all();
    }

    /// Forgets these credentials where they are still what is held, and says whether they were: for a token that was
    /// refused, while another task may already have fetched a better one, which stays. Where they were, it is an
    /// [`invalidate`](Self::invalidate) of their options: a call under way may give the same token again.
    pub fn invalidate_token(&self, credentials: &Credentials) -> bool {
        self.shared().invalidate_token(credentials)
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource").finish_non_exhaustive()
    }
}
