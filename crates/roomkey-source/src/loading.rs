//! Around the cache and the flights: the lock that guards them, the clock, and the futures that wait.

use std::future::poll_fn;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use hashbrown::{DefaultHashBuilder, HashTable};
use roomkey_token::NumericDate;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::back_off::{BackOff, Failures, Standing};
use crate::builder::Reuse;
use crate::cache::{Cache, Entry, Key, KeyRef};
use crate::chance::chance;
use crate::clock::{Clock, Now};
use crate::credentials::Credentials;
use crate::error::{FetchError, FetchErrorKind};
use crate::flight::{Ask, Asked, CallerId, Lane};
use crate::freshness::{Freshness, FreshnessPolicy};
use crate::front::Fronts;
use crate::grant_check::{GrantCheck, Mismatch};
use crate::held::Held;
use crate::options::FetchOptions;
use crate::provider::DynProvider;
use crate::provider_call::GuardedCall;
use crate::refresh::RefreshAhead;
use crate::rejection::RejectionSpread;
use crate::stats::{Counters, Stats};
use crate::stored::{Stored, held_for};

mod rejected;
mod restoring;
mod seat;

use seat::Seat;

/// How many failures are remembered where fewer tokens are held.
const FEWEST_FAILURES: usize = 16;

/// Names who is logged in.
pub(crate) type Partition = Box<dyn Fn() -> Arc<str> + Send + Sync>;

/// A rule about reuse.
pub(crate) type ReuseRule = Box<dyn Fn(&Held<'_>) -> bool + Send + Sync>;

/// What a builder sets.
pub(crate) struct Settings {
    pub(crate) capacity: usize,
    pub(crate) freshness: FreshnessPolicy,
    pub(crate) load_timeout: Option<Duration>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) partition: Option<Partition>,
    pub(crate) reuse_when: Option<ReuseRule>,
    pub(crate) reuse: Reuse,
    pub(crate) back_off: Option<BackOff>,
    pub(crate) grant_check: GrantCheck,
    pub(crate) stored: Option<Stored>,
    pub(crate) rejection_spread: Option<RejectionSpread>,
}

/// What all handles of a source share.
pub(crate) struct Shared {
    provider: Arc<dyn DynProvider>,
    settings: Settings,
    hasher: DefaultHashBuilder,
    fronts: Fronts,
    state: Mutex<State>,
    /// Tells watches that something else is held.
    changed: watch::Sender<()>,
    counters: Counters,
}

type Outcome = Result<Credentials, FetchError>;
type SourceLane = Lane<GuardedCall, Waker, Outcome>;

/// Credentials to give out, and the entry if it is to be renewed; or an entry that is held and can't be used.
pub(crate) type LookUp = Result<(Credentials, Option<Arc<Entry>>), Option<Arc<Entry>>>;

/// Guarded by one lock that is held for a look-up at a time, never while anything of the application's runs.
struct State {
    cache: Cache,
    lanes: HashTable<(Arc<Key>, SourceLane)>,
    failures: Failures,
    /// Until when those wait whose token for a key was refused.
    rejections: Vec<(Arc<Key>, Instant)>,
    /// Numbers callers and calls, in their order.
    counter: u64,
}

impl State {
    fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn invalidate_lane(&mut self, key: KeyRef<'_>) -> Vec<Waker> {
        let lane = self.lanes.find_mut(key.hash, |(held, _)| key.is(held));
        lane.map_or_else(Vec::new, |(_, lane)| lane.invalidate())
    }

    /// Does something to the lane of a key, which is made for it and thrown away if nobody is in it.
    fn with_lane<T>(&mut self, key: &Arc<Key>, act: impl FnOnce(&mut SourceLane) -> T) -> T {
        let borrowed = key.as_ref();
        let mut entry = self
            .lanes
            .entry(key.hash, |(held, _)| borrowed.as_ref().is(held), |(held, _)| held.hash)
            .or_insert_with(|| (Arc::clone(key), SourceLane::default()));
        let done = act(&mut entry.get_mut().1);
        if entry.get().1.is_empty() {
            entry.remove();
        }
        done
    }
}

impl Shared {
    pub(crate) fn new(provider: Arc<dyn DynProvider>, settings: Settings) -> Self {
        let cache = Cache::new(settings.capacity);
        let failures = Failures::new(settings.capacity.max(FEWEST_FAILURES));
        let state = State { cache, lanes: HashTable::new(), failures, rejections: Vec::new(), counter: 0 };
        Self {
            provider,
            settings,
            hasher: DefaultHashBuilder::default(),
            fronts: Fronts::new(),
            state: Mutex::new(state),
            changed: watch::Sender::new(()),
            counters: Counters::default(),
        }
    }

    /// Who is logged in.
    pub(crate) fn partition(&self) -> Option<Arc<str>> {
        self.settings.partition.as_ref().map(|who| who())
    }

    pub(crate) fn key<'a>(&self, partition: Option<&'a Arc<str>>, options: &'a FetchOptions) -> KeyRef<'a> {
        let mut hasher = self.hasher.build_hasher();
        partition.hash(&mut hasher);
        options.hash(&mut hasher);
        KeyRef { hash: hasher.finish(), partition, options }
    }

    /// The credentials that are held and can be reused, with the entry if it is to be renewed; or else the entry that cannot
    /// be reused.
    pub(crate) fn look_up(&self, partition: Option<&Arc<str>>, options: &FetchOptions) -> LookUp {
        let now = self.settings.clock.now();
        let has_rule = self.settings.reuse_when.is_some();
        // The common case, and the fast one: no count is touched that another thread touches. A rule of the application's
        // has to wait until the front is let go.
        let found = self.fronts.find(partition, options, |entry, credentials| {
            let age = entry.age(now);
            if has_rule || !entry.freshness.reusable.contains(age) {
                return Err((Arc::clone(entry), credentials.clone()));
            }
            let is_due = age >= entry.freshness.renewal && entry.renewal.begin(age);
            Ok((credentials.clone(), is_due.then(|| Arc::clone(entry))))
        });
        let (entry, credentials) = match found {
            Some(Ok(reusable)) => {
                tracing::trace!("token reused");
                return Ok(reusable);
            }
            Some(Err((entry, credentials))) => (entry, Some(credentials)),
            None => {
                let entry = self.lock().cache.get(self.key(partition, options)).cloned();
                (entry.ok_or(None)?, None)
            }
        };
        if !self.is_reusable(&entry, now) {
            return Err(Some(entry));
        }
        tracing::trace!("token reused");
        let credentials = match credentials {
            Some(credentials) => {
                self.fronts.count_hit();
                credentials
            }
            None => self.fronts.adopt(&entry),
        };
        let age = entry.age(now);
        let is_due = age >= entry.freshness.renewal && entry.renewal.begin(age);
        Ok((credentials, is_due.then_some(entry)))
    }

    pub(crate) fn stats(&self) -> Stats {
        let Counters { misses, shared, flights, failures, refreshes, spared } = &self.counters;
        Stats {
            hits: self.fronts.hits(),
            misses: misses.read(),
            shared: shared.read(),
            flights: flights.read(),
            failures: failures.read(),
            refreshes: refreshes.read(),
            spared: spared.read(),
            entries: self.lock().cache.len() as u64,
        }
    }

    /// How long renewals and watches wait after a failure, and fetches where that is set.
    pub(crate) fn back_off(&self) -> BackOff {
        let ahead = || self.settings.freshness.refresh_ahead.unwrap_or_else(RefreshAhead::none);
        self.settings.back_off.unwrap_or_else(|| ahead().back_off())
    }

    /// The failure for a key after which it is too early to call again, whatever was its kind.
    pub(crate) fn standing_failure(&self, key: KeyRef<'_>) -> Option<Standing> {
        let now = self.settings.clock.now();
        self.lock().failures.standing(key, now)
    }

    /// The failure that a fetch gets in place of a call.
    fn remembered(&self, state: &State, key: KeyRef<'_>, now: Now) -> Option<FetchError> {
        self.settings.back_off?;
        let error = state.failures.standing(key, now)?.error;
        error.may_be_remembered().then(|| {
            self.counters.spared.count();
            error
        })
    }

    fn count_failure(&self, outcome: &Outcome) {
        if outcome.as_ref().is_err_and(|error| error.kind() != FetchErrorKind::PartitionChanged) {
            self.counters.failures.count();
        }
    }

    /// Notes how a call ended, beside what is done with its token. Gives how long to leave the backend alone if it failed,
    /// and what is to be dropped outside of the lock.
    fn note_end(
        &self,
        state: &mut State,
        key: &Arc<Key>,
        outcome: &Outcome,
        now: Now,
    ) -> (Option<Duration>, Option<FetchError>) {
        match outcome {
            Ok(_) => (None, state.failures.forget(Key::as_ref(key))),
            // That says nothing of the backend.
            Err(error) if error.kind() == FetchErrorKind::PartitionChanged => (None, None),
            Err(error) => {
                let number = state.count();
                let (wait, given_up) = state.failures.note(key, error.clone(), now, number, &self.back_off(), chance());
                (Some(wait), given_up)
            }
        }
    }

    /// Is told when something else is held.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(crate) fn held(&self, key: KeyRef<'_>) -> Option<Arc<Entry>> {
        self.lock().cache.get(key).cloned()
    }

    pub(crate) fn age(&self, entry: &Entry) -> Duration {
        entry.age(self.settings.clock.now())
    }

    /// Whether an entry can be reused.
    pub(crate) fn is_good(&self, entry: &Entry) -> bool {
        self.is_reusable(entry, self.settings.clock.now())
    }

    pub(crate) fn is_unexpired(&self, entry: &Entry) -> bool {
        entry.freshness.unexpired.contains(self.age(entry))
    }

    /// In what time an entry is to be renewed: ahead of need, or when it can be reused no longer.
    pub(crate) fn renewal_due_in(&self, entry: &Entry) -> Duration {
        let age = self.age(entry);
        let due_in = entry.freshness.reusable.left_at(age).min(entry.freshness.renewal.saturating_sub(age));
        // A rule of the application's may allow what the expiry does not, and does not say for how long.
        if self.settings.reuse_when.is_some() && due_in.is_zero() { Duration::from_secs(30) } else { due_in }
    }

    /// Runs a rule of the application's, so no lock may be held.
    fn is_reusable(&self, entry: &Entry, now: Now) -> bool {
        let held = Held::new(entry, now);
        self.settings.reuse_when.as_ref().map_or_else(|| held.is_fresh(), |rule| rule(&held))
    }

    pub(crate) fn cached(&self, key: KeyRef<'_>) -> Option<Credentials> {
        self.lock().cache.get(key).map(|entry| entry.credentials.clone())
    }

    pub(crate) fn invalidate(&self, key: KeyRef<'_>) {
        let mut state = self.lock();
        let removed = state.cache.remove(key);
        let woken = state.invalidate_lane(key);
        let forgotten = state.failures.forget(key);
        // Under the lock, so that the store hears of everything in the order in which it happened.
        self.stored().into_iter().for_each(|stored| stored.remove(key.to_owned()));
        drop(state);
        self.fronts.drop_dead();
        drop((removed, forgotten));
        woken.into_iter().for_each(Waker::wake);
        self.changed.send_replace(());
        tracing::debug!("token invalidated");
    }

    pub(crate) fn invalidate_all(&self) {
        let mut state = self.lock();
        let removed = state.cache.remove_where(|_| true);
        let woken: Vec<Waker> = state.lanes.iter_mut().flat_map(|(_, lane)| lane.invalidate()).collect();
        let forgotten = state.failures.forget_all();
        self.stored().into_iter().for_each(Stored::clear);
        drop(state);
        self.fronts.drop_dead();
        drop((removed, forgotten));
        woken.into_iter().for_each(Waker::wake);
        self.changed.send_replace(());
        tracing::debug!("all tokens invalidated");
    }

    pub(crate) fn invalidate_token(&self, credentials: &Credentials) -> bool {
        let token = credentials.participant_token();
        if let Some(stored) = self.stored() {
            stored.refuse(credentials);
        }
        let mut state = self.lock();
        let removed = state.cache.remove_where(|entry| entry.credentials.participant_token() == token);
        // A call under way was begun before the token was known to be refused, and may give it again.
        let woken: Vec<Waker> = removed.iter().flat_map(|entry| state.invalidate_lane(entry.key.as_ref())).collect();
        if let Some(stored) = self.stored() {
            removed.iter().for_each(|entry| stored.remove(entry.key.clone()));
        }
        drop(state);
        self.fronts.drop_dead();
        woken.into_iter().for_each(Waker::wake);
        self.changed.send_replace(());
        tracing::debug!(held = !removed.is_empty(), "token rejected");
        !removed.is_empty()
    }

    /// Waits for a call of the provider, a new one or one under way, and gives what comes of it.
    ///
    /// `stale` is the entry that the caller has found unfit already.
    pub(crate) async fn load(self: &Arc<Self>, key: Key, ask: Ask, stale: Option<Arc<Entry>>) -> Outcome {
        let asked_of = key.clone();
        match self.fetch_newer(key, ask, stale).await {
            Err(error) if ask == Ask::Any && !error.is_auth() && error.kind() != FetchErrorKind::PartitionChanged => {
                self.stand_in(asked_of.as_ref()).ok_or(error)
            }
            outcome => outcome,
        }
    }

    /// [`load`](Self::load) without a token that is held in place of an error.
    pub(crate) async fn fetch_newer(self: &Arc<Self>, key: Key, ask: Ask, stale: Option<Arc<Entry>>) -> Outcome {
        let key = Arc::new(key);
        let mut seat = match self.take_seat(&key, ask, stale) {
            Ok(seat) => seat,
            Err(outcome) => return outcome,
        };
        let outcome = poll_fn(|context| seat.poll(context)).await;
        if self.partition() != key.partition {
            return Err(FetchError::partition_changed());
        }
        outcome
    }

    /// Boards a flight, or gives what makes that needless: credentials that somebody else has fetched since `stale` was found
    /// unfit, or the failure after which it is too early to call again.
    fn take_seat(self: &Arc<Self>, key: &Arc<Key>, ask: Ask, mut stale: Option<Arc<Entry>>) -> Result<Seat, Outcome> {
        loop {
            let now = self.settings.clock.now();
            let mut state = self.lock();
            let held = state.cache.get(key.as_ref().as_ref());
            let is_news = held.is_some_and(|held| !stale.as_ref().is_some_and(|stale| Arc::ptr_eq(held, stale)));
            if ask == Ask::Fresh || !is_news {
                if ask == Ask::Any
                    && let Some(error) = self.remembered(&state, Key::as_ref(key), now)
                {
                    drop(state);
                    tracing::debug!(kind = ?error.kind(), "token provider left alone");
                    return Err(Err(error));
                }
                let caller = CallerId(state.count());
                let (flight, is_shared) = state.with_lane(key, |lane| {
                    let flight = lane.join(caller, ask);
                    (flight, lane.is_shared(flight))
                });
                self.counters.misses.count();
                if is_shared {
                    self.counters.shared.count();
                }
                let (shared, key) = (Arc::clone(self), Arc::clone(key));
                return Ok(Seat { shared, key, flight, caller, timer: None, is_driving: false, is_aboard: true });
            }
            stale = held.cloned();
            drop(state);
            if let Some(entry) = stale.as_ref().filter(|entry| self.is_reusable(entry, now)) {
                return Err(Ok(self.fronts.adopt(entry)));
            }
        }
    }

    /// What is held for a key although it should be replaced, if it still joins. A rule of the application's about reuse
    /// is the only one.
    pub(crate) fn stand_in(&self, key: KeyRef<'_>) -> Option<Credentials> {
        if self.settings.reuse_when.is_some() {
            return None;
        }
        let entry = self.lock().cache.get(key).cloned()?;
        let now = self.settings.clock.now();
        entry.freshness.unexpired.contains(entry.age(now)).then(|| {
            tracing::warn!("token provider failed; the token held has not expired and is used");
            entry.credentials.clone()
        })
    }

    /// Begins a call of the provider, unless another has logged in since it was asked for.
    fn begin(&self, key: &Key) -> Result<GuardedCall, FetchError> {
        if self.partition() != key.partition {
            return Err(FetchError::partition_changed());
        }
        self.counters.flights.count();
        tracing::debug!("token provider called");
        Ok(GuardedCall::new(Arc::clone(&self.provider).call(key.options.clone())))
    }

    /// Whether tokens are given out once.
    pub(crate) fn is_single_use(&self) -> bool {
        self.settings.reuse == Reuse::Once
    }

    /// Takes what is held for a key, if it can be used, so that nobody else gets it.
    pub(crate) fn take_held(&self, key: KeyRef<'_>) -> Option<Credentials> {
        loop {
            let entry = self.lock().cache.get(key).cloned()?;
            let now = self.settings.clock.now();
            if !self.is_reusable(&entry, now) {
                return None;
            }
            let mut state = self.lock();
            if state.cache.get(key).is_some_and(|held| Arc::ptr_eq(held, &entry)) {
                let taken = state.cache.remove(key);
                self.stored().into_iter().for_each(|stored| stored.remove(key.to_owned()));
                drop(state);
                self.fronts.count_hit();
                self.fronts.drop_dead();
                return taken.map(|taken| taken.credentials.clone());
            }
        }
    }

    /// Calls the provider for one caller alone; what it gives is not held.
    ///
    /// `ask` says whether a call is made during a back-off.
    pub(crate) async fn call_alone(&self, key: Key, ask: Ask) -> Outcome {
        let key = Arc::new(key);
        if ask == Ask::Any
            && let Some(error) = {
                let now = self.settings.clock.now();
                self.remembered(&self.lock(), Key::as_ref(&key), now)
            }
        {
            tracing::debug!(kind = ?error.kind(), "token provider left alone");
            return Err(error);
        }
        self.counters.misses.count();
        let outcome = self.call_once(&key).await;
        let now = self.settings.clock.now();
        self.count_failure(&outcome);
        let noted = self.note_end(&mut self.lock(), &key, &outcome, now);
        drop(noted);
        outcome
    }

    async fn call_once(&self, key: &Key) -> Outcome {
        let call = self.begin(key)?;
        let outcome = match self.settings.load_timeout {
            Some(timeout) => call.within(timeout).await,
            None => call.await,
        };
        if self.partition() != key.partition {
            return Err(FetchError::partition_changed());
        }
        self.check_grant(key, outcome)
    }

    /// Compares what a token is for with what was asked.
    fn check_grant(&self, key: &Key, outcome: Outcome) -> Outcome {
        let credentials = outcome?;
        if self.settings.grant_check == GrantCheck::Ignore {
            return Ok(credentials);
        }
        let found = credentials.claims().ok().and_then(|claims| Mismatch::find(claims, &key.options));
        match found {
            Some(found) if self.settings.grant_check == GrantCheck::Deny => Err(FetchError::grant_mismatch(found)),
            Some(found) => {
                tracing::warn!(%found, "token provider gave a token for something else");
                Ok(credentials)
            }
            None => Ok(credentials),
        }
    }

    /// Judges what a call gave, before anything is locked: this runs code of the application's.
    fn judge(&self, key: &Key, outcome: &Outcome, now: Now) -> Option<Receipt> {
        match outcome {
            Ok(credentials) => {
                let receipt = self.assess(credentials.separate(), now);
                if receipt.held_before.is_none() {
                    let expires = credentials.claims().ok().and_then(|claims| claims.exp);
                    tracing::debug!(expires = expires.map(NumericDate::as_secs), "token received");
                }
                // After a change of partition it is somebody else's, or nobody knows whose.
                (self.partition() == key.partition).then_some(receipt)
            }
            Err(error) => {
                // What the application's error says may be a secret of its own.
                tracing::debug!(kind = ?error.kind(), retryable = error.is_retryable(), "token provider failed");
                None
            }
        }
    }

    fn assess(&self, credentials: Credentials, now: Now) -> Receipt {
        let claims = credentials.claims().ok();
        let since = credentials.stored_since();
        let policy = &self.settings.freshness;
        let received = since.unwrap_or_else(|| policy.received_at(claims, credentials.server_time(), now.wall));
        let freshness = policy.judge(claims, received, chance());
        let held_before = since.map(|since| held_for(since, now.wall).unwrap_or_default());
        Receipt { credentials, now, freshness, held_before }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing of the application's runs under this lock; what is behind it is whole after any panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A token just received, judged.
struct Receipt {
    credentials: Credentials,
    now: Now,
    freshness: Freshness,
    /// How long it was held before, if it comes out of a store.
    held_before: Option<Duration>,
}

impl Receipt {
    fn entry(self, key: Key, asked: Asked) -> Entry {
        let entry = Entry::new(key, self.credentials, self.now, self.freshness, asked);
        entry.held_before(self.held_before.unwrap_or_default())
    }
}
