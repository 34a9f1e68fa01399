//! The settings of a token source.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::back_off::BackOff;
use crate::clock::{Clock, SystemClock};
use crate::freshness::FreshnessPolicy;
use crate::grant_check::GrantCheck;
use crate::held::Held;
use crate::loading::{Settings, Shared};
use crate::provider::DynProvider;
use crate::refresh::RefreshAhead;
use crate::rejection::RejectionSpread;
use crate::source::TokenSource;
use crate::store::CredentialStore;
use crate::stored::Stored;

/// How long a provider may take, unless set otherwise.
pub(crate) const DEFAULT_LOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a token is given out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reuse {
    /// To everybody who fetches, until it is about to expire.
    #[default]
    UntilExpiry,
    /// Once, and then to nobody else: for tokens that dispatch an agent, which does not come to a second join. Each
    /// [`fetch`](TokenSource::fetch) is a [`take`](TokenSource::take), so that N at once are N tokens; a
    /// [`prefetch`](TokenSource::prefetch) holds one for the next.
    Once,
}

/// Sets up a [`TokenSource`]; from [`TokenSource::builder`].
#[must_use]
pub struct TokenSourceBuilder {
    provider: Arc<dyn DynProvider>,
    settings: Settings,
}

impl TokenSourceBuilder {
    pub(crate) fn new(provider: Arc<dyn DynProvider>) -> Self {
        let settings = Settings {
            capacity: 64,
            freshness: FreshnessPolicy::default(),
            load_timeout: Some(DEFAULT_LOAD_TIMEOUT),
            clock: Arc::new(SystemClock),
            partition: None,
            reuse_when: None,
            reuse: Reuse::default(),
            back_off: None,
            grant_check: GrantCheck::default(),
            stored: None,
            rejection_spread: None,
        };
        Self { provider, settings }
    }

    /// Sets for how many options tokens are held, 64 unless set. Beyond that, those of the least recently used options go
    /// (use is ordered exactly on one thread, and to the last insertion between threads). 1 is what LiveKit's other SDKs
    /// do; 0 holds nothing, while callers at one time still share a call.
    pub fn capacity(mut self, entries: usize) -> Self {
        self.settings.capacity = entries;
        self
    }

    /// Says whose tokens these are, for a provider that depends on who is logged in.
    ///
    /// The function names who that is right now; an empty name is one too. It is called several times in each fetch and
    /// once for everything else that takes options, so keep it quick; an `Arc<str>` costs nothing to hand out. A token of
    /// one partition is never given to another, equal options or not, and callers of different partitions never share a
    /// call. A fetch during which the partition changes fails with
    /// [`PartitionChanged`](crate::FetchErrorKind::PartitionChanged): the token under way may be one's or the other's, so
    /// nobody gets it.
    ///
    /// Two things are left to the application. Its provider should read who is logged in before its first `await`: if
    /// Alice's login turns into Bob's and back while a call is under way, names alone don't tell, and a provider that looks
    /// in between makes a token for Bob. A name that is never used again, such as that of a session, is proof against that
    /// too. And what is held for who has logged out stays until it is invalidated while they are logged in, or by
    /// [`invalidate_all`](TokenSource::invalidate_all).
    ///
    /// ```
    /// use std::sync::{Arc, RwLock};
    /// use roomkey_source::{Credentials, TokenSource, provider_fn};
    ///
    /// let user: Arc<RwLock<Arc<str>>> = Arc::new(RwLock::new("alice".into()));
    /// let current_user = {
    ///     let user = Arc::clone(&user);
    ///     move || Arc::clone(&user.read().unwrap())
    /// };
    /// let source = TokenSource::builder(provider_fn(|_options| async {
    ///     Ok(Credentials::new("wss://example", "a token for who is logged in"))
    /// }))
    /// .partition(current_user)
    /// .build();
    /// ```
    pub fn partition<F, P>(mut self, who: F) -> Self
    where
        F: Fn() -> P + Send + Sync + 'static,
        P: Into<Arc<str>>,
    {
        self.settings.partition = Some(Box::new(move || who().into()));
        self
    }

    /// Sets how long before its expiry a token is no longer reused, 60 seconds unless set. (An `exp` counts in seconds,
    /// as for livekit-server: one in milliseconds is far ahead.) The lead of a token that lives
    /// less than four times this long is a quarter of its life, unless [`strict_lead`](Self::strict_lead) is set.
    #[doc(alias = "tolerance")]
    pub fn lead(mut self, lead: Duration) -> Self {
        self.settings.freshness.lead = lead;
        self
    }

    /// Applies the [lead](Self::lead) to short-lived tokens in full, as LiveKit's other SDKs do: then a token that lives no
    /// longer than the lead is never reused.
    pub fn strict_lead(mut self) -> Self {
        self.settings.freshness.adaptive = false;
        self
    }

    /// Renews tokens before anybody has to wait for one: a fetch that finds a token in the last part of its life, this long,
    /// gets it at once, and one renewal begins behind it. Several fetches begin one renewal; one that fails is tried again at
    /// a later fetch, after a wait that grows; one that gives a token which is no better leaves the old one held.
    ///
    /// Renewals run in the tokio runtime of the fetch that begins them; outside of one there are none, and tokens are
    /// fetched when they are needed. They end with the last handle of the source. For a token that nobody fetches, see
    /// [`TokenSource::watch`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use roomkey_source::{Credentials, TokenSource, provider_fn};
    ///
    /// let source = TokenSource::builder(provider_fn(|_| async { Ok(Credentials::new("wss://example", "a token")) }))
    ///     .refresh_ahead(Duration::from_secs(5 * 60))
    ///     .build();
    /// ```
    pub fn refresh_ahead(mut self, ahead: impl Into<RefreshAhead>) -> Self {
        self.settings.freshness.refresh_ahead = Some(ahead.into());
        self
    }

    /// Spreads over a window those who [`fetch_after_rejection`](TokenSource::fetch_after_rejection), for an application
    /// with so many clients that a rotation of the API key, which refuses the tokens of all of them at once, would bring
    /// them all to its backend in one second. Each waits for a part of the window, by chance, unless there is another token
    /// for it already; those who wait in one source make one call. Nobody waits unless this is set, nor outside of a tokio
    /// runtime.
    ///
    /// The price is that a client whose token alone was refused waits too, out of its room. Seconds are seldom too much.
    pub fn rejection_spread(mut self, window: impl Into<RejectionSpread>) -> Self {
        self.settings.rejection_spread = Some(window.into());
        self
    }

    /// Sets how far a token's `nbf` may lie ahead for it to be reused: 60 seconds unless set, as livekit-server allows.
    pub fn nbf_leeway(mut self, leeway: Duration) -> Self {
        self.settings.freshness.nbf_leeway = leeway;
        self
    }

    /// Counts a token's life from when it was received, if nobody says what time it was for the server then: for a machine
    /// whose clock is off, and a provider that mints for each request. Without this, such a machine takes tokens for expired,
    /// and fetches again and again, or for fresh when they have expired.
    ///
    /// It is wrong where tokens come from a cache of the backend's or from a file: one that has expired there looks like a new
    /// one. Where the server's time is known ([`Credentials::with_server_time`](crate::Credentials::with_server_time), an
    /// endpoint's `Date`) that counts, and this changes nothing. A token that does not say when it was made is judged by
    /// the clock.
    pub fn relative_lifetime(mut self) -> Self {
        self.settings.freshness.relative = true;
        self
    }

    /// Decides about reuse in place of the rules about expiry. The function is asked for each token that is held for the
    /// options of a fetch; [`Held::is_fresh`] is what the rules say. What it refuses is not given out when the provider
    /// fails, either; [`Held::is_unexpired`] is for a rule that would rather keep a token than have none.
    ///
    /// ```
    /// use std::time::Duration;
    /// use roomkey_source::{Credentials, TokenSource, provider_fn};
    ///
    /// // The server's tokens are not JWTs, and live for ten minutes.
    /// let source = TokenSource::builder(provider_fn(|_| async { Ok(Credentials::new("wss://example", "opaque")) }))
    ///     .reuse_when(|held| held.age() < Duration::from_secs(9 * 60))
    ///     .build();
    /// ```
    pub fn reuse_when(mut self, decide: impl Fn(&Held<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.settings.reuse_when = Some(Box::new(decide));
        self
    }

    /// Leaves a backend alone after a call that failed: until the wait is over, a fetch for the same options gets the error
    /// of that call at once, or the token that is held where a fetch would fall back on it, and no call is made. So a herd on
    /// a backend that is down costs one call for each wait. Without this a failure is not remembered, and each fetch that
    /// comes after it calls again.
    ///
    /// What is remembered may be gone the next time: what is [retryable](crate::FetchError::is_retryable), and errors of
    /// which nobody knows. A refusal ([`is_auth`](crate::FetchError::is_auth)) and what is wrong with the request or the
    /// answer are not: whoever has logged in, or mended it, is not to wait. A `Retry-After` is waited for.
    ///
    /// A success ends the wait, as do [`invalidate`](TokenSource::invalidate) of these options and
    /// [`invalidate_all`](TokenSource::invalidate_all), for when the network is back.
    /// [`fetch_fresh`](TokenSource::fetch_fresh) calls all the same.
    /// [`fetch_after_rejection`](TokenSource::fetch_after_rejection) does not: that a token was refused says nothing about
    /// the backend. As many failures are remembered as tokens are held, and 16 at least. Renewals and
    /// [watches](TokenSource::watch) always wait; with this, they wait as it says.
    ///
    /// ```
    /// use roomkey_source::{BackOff, Credentials, TokenSource, provider_fn};
    ///
    /// let source = TokenSource::builder(provider_fn(|_| async { Ok(Credentials::new("wss://example", "a token")) }))
    ///     .back_off(BackOff::default())
    ///     .build();
    /// ```
    pub fn back_off(mut self, back_off: BackOff) -> Self {
        self.settings.back_off = Some(back_off);
        self
    }

    /// Sets how often a token is given out.
    pub fn reuse(mut self, reuse: Reuse) -> Self {
        self.settings.reuse = reuse;
        self
    }

    /// Gives each token out once: [`Reuse::Once`].
    pub fn single_use(self) -> Self {
        self.reuse(Reuse::Once)
    }

    /// Sets what to do with a token that is for another room or participant than was asked for: a warning, unless set.
    pub fn grant_check(mut self, check: GrantCheck) -> Self {
        self.settings.grant_check = check;
        self
    }

    /// Sets how long a call of the provider may take, 30 seconds unless set; `None` waits without end. A call that takes
    /// longer is dropped, and all who wait for it get [`Timeout`](crate::FetchErrorKind::Timeout), or the token that is held
    /// if it has not expired by then.
    ///
    /// The timers are tokio's, each in the runtime of who waits, whose time driver must be enabled. Outside of a tokio
    /// runtime there is no timeout.
    pub fn load_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.settings.load_timeout = timeout.into();
        self
    }

    /// Keeps tokens in a store too, so that the next source finds them there: after a restart, say. `namespace` names what
    /// they come from and is up to the application (the URL of its backend will do): sources of one store see each other's
    /// tokens if they have the same namespace, the same [partition](Self::partition) and equal options. So two backends, or
    /// two API keys, need two namespaces.
    ///
    /// - What a call gives is saved behind the caller's back; [`TokenSource::flush`] waits for it, for a program that ends
    ///   at once. Tokens that say nothing of their end are saved only if a [rule](Self::reuse_when) decides about reuse,
    ///   and those of a [single-use](Reuse::Once) source never.
    /// - The store is asked where the source holds nothing that can be reused, before the provider is, once for all who wait.
    ///   What it gives is judged by the `exp` of the token and this machine's clock, and by the same rules as what is held.
    ///   [`fetch_fresh`](TokenSource::fetch_fresh) and renewals ahead of need don't ask it.
    /// - `invalidate`, `invalidate_all`, `invalidate_token`, `fetch_after_rejection` and `take` remove from it too.
    /// - A store that fails or panics never fails a fetch; one that takes longer than two seconds is left alone until it is
    ///   done. What is held is given without it. It is called on a thread of the source's own, and waited for on another: one
    ///   of tokio's for blocking, where there is a runtime.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use roomkey_source::{Credentials, MemoryStore, TokenSource, provider_fn};
    ///
    /// let store = Arc::new(MemoryStore::new());
    /// let source = TokenSource::builder(provider_fn(|_| async { Ok(Credentials::new("wss://example", "a token")) }))
    ///     .store(Arc::clone(&store), "https://example.com/token")
    ///     .build();
    /// ```
    pub fn store(mut self, store: impl CredentialStore, namespace: impl Into<Arc<str>>) -> Self {
        self.settings.stored = Some(Stored::new(Arc::new(store), namespace.into()));
        self
    }

    /// Sets the clock, [`SystemClock`] unless set.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.settings.clock = Arc::new(clock);
        self
    }

    /// Makes the source. It starts nothing and needs no runtime.
    #[must_use]
    pub fn build(self) -> TokenSource {
        TokenSource::new(Shared::new(self.provider, self.settings))
    }
}

impl fmt::Debug for TokenSourceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSourceBuilder")
            .field("capacity", &self.settings.capacity)
            .field("freshness", &self.settings.freshness)
            .field("rejection_spread", &self.settings.rejection_spread)
            .field("reuse", &self.settings.reuse)
            .field("back_off", &self.settings.back_off)
            .field("grant_check", &self.settings.grant_check)
            .field("load_timeout", &self.settings.load_timeout)
            .field("clock", &self.settings.clock)
            .field("partition", &self.settings.partition.is_some())
            .field("reuse_when", &self.settings.reuse_when.is_some())
            .field("store", &self.settings.stored.is_some())
            .finish_non_exhaustive()
    }
}
