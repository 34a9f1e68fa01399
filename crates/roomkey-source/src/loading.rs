//! Around the cache and the flights: the lock that guards them, the clock, and the futures that wait.

use std::future::poll_fn;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hashbrown::{DefaultHashBuilder, HashTable};
use roomkey_token::NumericDate;

use crate::cache::{Cache, Entry, Key, KeyRef};
use crate::clock::{Clock, Now};
use crate::credentials::Credentials;
use crate::error::FetchError;
use crate::flight::{Ask, Asked, CallerId, Departure, FlightId, Lane, Turn};
use crate::freshness::{Freshness, FreshnessPolicy};
use crate::front::Fronts;
use crate::held::Held;
use crate::options::FetchOptions;
use crate::provider::DynProvider;
use crate::provider_call::{GuardedCall, guarded};
use crate::redact::Redacted;

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
}

/// What all handles of a source share.
pub(crate) struct Shared {
    provider: Arc<dyn DynProvider>,
    settings: Settings,
    hasher: DefaultHashBuilder,
    fronts: Fronts,
    state: Mutex<State>,
}

type Outcome = Result<Credentials, FetchError>;
type SourceLane = Lane<GuardedCall, Waker, Outcome>;

/// Guarded by one lock that is held for a look-up at a time, never while anything of the application's runs.
struct State {
    cache: Cache,
    lanes: HashTable<(Arc<Key>, SourceLane)>,
    /// Numbers callers and calls, in their order.
    counter: u64,
}

impl State {
    fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
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
        let state = State { cache: Cache::new(settings.capacity), lanes: HashTable::new(), counter: 0 };
        Self {
            provider,
            settings,
            hasher: DefaultHashBuilder::default(),
            fronts: Fronts::new(),
            state: Mutex::new(state),
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

    /// The credentials that are held and can be reused, or else the entry that cannot.
    pub(crate) fn look_up(
        &self,
        partition: Option<&Arc<str>>,
        options: &FetchOptions,
    ) -> Result<Credentials, Option<Arc<Entry>>> {
        let now = self.settings.clock.now();
        if self.settings.reuse_when.is_none() {
            // The common case, and the fast one: no count is touched that another thread touches.
            let found = self.fronts.find(partition, options, |entry, credentials| {
                if entry.freshness.reusable.contains(entry.age(now)) {
                    Ok(credentials.clone())
                } else {
                    Err(Arc::clone(entry))
                }
            });
            match found {
                Some(Ok(credentials)) => {
                    tracing::trace!("token reused");
                    return Ok(credentials);
                }
                Some(Err(stale)) => return Err(Some(stale)),
                None => {}
            }
        }
        let entry = self.lock().cache.get(self.key(partition, options)).cloned();
        match entry {
            Some(entry) if self.is_reusable(&entry, now) => {
                tracing::trace!("token reused");
                Ok(self.fronts.adopt(&entry))
            }
            entry => Err(entry),
        }
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
        state.cache.remove(key);
        let lane = state.lanes.find_mut(key.hash, |(held, _)| key.is(held));
        let woken = lane.and_then(|(_, lane)| lane.invalidate());
        drop(state);
        self.fronts.drop_dead();
        woken.into_iter().for_each(Waker::wake);
        tracing::debug!("token invalidated");
    }

    pub(crate) fn invalidate_all(&self) {
        let mut state = self.lock();
        state.cache.remove_where(|_| true);
        let woken: Vec<Waker> = state.lanes.iter_mut().filter_map(|(_, lane)| lane.invalidate()).collect();
        drop(state);
        self.fronts.drop_dead();
        woken.into_iter().for_each(Waker::wake);
        tracing::debug!("all tokens invalidated");
    }

    pub(crate) fn invalidate_token(&self, credentials: &Credentials) -> bool {
        let token = credentials.participant_token();
        let removed = self.lock().cache.remove_where(|entry| entry.credentials.participant_token() == token);
        self.fronts.drop_dead();
        tracing::debug!(removed, "token rejected");
        removed > 0
    }

    /// Waits for a call of the provider, a new one or one under way, and gives what comes of it.
    ///
    /// `stale` is the entry that was judged unfit before: if another one is held by now, it is looked at first.
    pub(crate) async fn load(self: &Arc<Self>, key: Key, ask: Ask, stale: Option<Arc<Entry>>) -> Outcome {
        let key = Arc::new(key);
        let mut seat = match self.take_seat(&key, ask, stale) {
            Ok(seat) => seat,
            Err(held) => return Ok(held),
        };
        let outcome = poll_fn(|context| seat.poll(context)).await;
        if self.partition() != key.partition {
            return Err(FetchError::partition_changed());
        }
        match outcome {
            Err(error) if ask == Ask::Any && !error.is_auth() => self.unexpired(&key, &error).ok_or(error),
            outcome => outcome,
        }
    }

    /// Boards a flight, or gives credentials that somebody else has fetched since `stale` was found unfit.
    fn take_seat(
        self: &Arc<Self>,
        key: &Arc<Key>,
        ask: Ask,
        mut stale: Option<Arc<Entry>>,
    ) -> Result<Seat, Credentials> {
        loop {
            let mut state = self.lock();
            let held = state.cache.get(key.as_ref().as_ref());
            let is_news = held.is_some_and(|held| !stale.as_ref().is_some_and(|stale| Arc::ptr_eq(held, stale)));
            if ask == Ask::Fresh || !is_news {
                let caller = CallerId(state.count());
                let flight = state.with_lane(key, |lane| lane.join(caller, ask));
                let (shared, key) = (Arc::clone(self), Arc::clone(key));
                return Ok(Seat { shared, key, flight, caller, call: None, aboard: true });
            }
            stale = held.cloned();
            drop(state);
            let now = self.settings.clock.now();
            if let Some(entry) = stale.as_ref().filter(|entry| self.is_reusable(entry, now)) {
                return Err(self.fronts.adopt(entry));
            }
        }
    }

    /// What is held for a key although it should be replaced, if it still joins. A rule of the application's about reuse
    /// is the only one.
    fn unexpired(&self, key: &Key, error: &FetchError) -> Option<Credentials> {
        if self.settings.reuse_when.is_some() {
            return None;
        }
        let entry = self.lock().cache.get(key.as_ref()).cloned()?;
        let now = self.settings.clock.now();
        entry.freshness.unexpired.contains(entry.age(now)).then(|| {
            tracing::warn!(error = %Redacted(error), "token provider failed; the token held has not expired and is used");
            entry.credentials.clone()
        })
    }

    /// Begins a call of the provider.
    fn begin(&self, key: &Key) -> GuardedCall {
        tracing::debug!("token provider called");
        let call = Arc::clone(&self.provider).call(key.options.clone());
        Box::pin(guarded(call, self.settings.load_timeout))
    }

    /// Judges what a call gave, before anything is locked: this runs code of the application's.
    fn judge(&self, key: &Key, outcome: &Outcome) -> Option<Receipt> {
        let now = self.settings.clock.now();
        match outcome {
            Ok(credentials) => {
                let claims = credentials.claims().ok();
                let freshness = self.settings.freshness.judge(claims, now.wall);
                tracing::debug!(
                    expires = claims.and_then(|claims| claims.exp).map(NumericDate::as_secs),
                    "token received"
                );
                // After a change of partition it is somebody else's, or nobody knows whose.
                (self.partition() == key.partition).then(|| Receipt {
                    credentials: credentials.separate(),
                    now,
                    freshness,
                })
            }
            Err(error) => {
                tracing::debug!(error = %Redacted(error), "token provider failed");
                None
            }
        }
    }

    /// Ends a call: what it gave is held, if it may be, and those who waited are woken.
    fn land(&self, key: &Arc<Key>, flight: FlightId, outcome: Outcome, receipt: Option<Receipt>) {
        let mut state = self.lock();
        let landing = state.with_lane(key, |lane| lane.land(flight, outcome));
        if let (Some(receipt), Some(asked)) = (receipt, landing.keep) {
            let Receipt { credentials, now, freshness } = receipt;
            let entry = Entry::new(Key::clone(key), credentials, now, freshness, asked);
            let tick = self.fronts.settle();
            state.cache.insert(Arc::new(entry), tick);
        }
        drop(state);
        self.fronts.drop_dead();
        landing.wake.into_iter().for_each(Waker::wake);
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
}

/// One caller's place on a flight. Dropping it leaves the flight.
struct Seat {
    shared: Arc<Shared>,
    key: Arc<Key>,
    flight: FlightId,
    caller: CallerId,
    /// The call, while this caller drives it.
    call: Option<GuardedCall>,
    aboard: bool,
}

impl Seat {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Outcome> {
        loop {
            if let Some(call) = &mut self.call {
                let Poll::Ready(outcome) = call.as_mut().poll(context) else { return Poll::Pending };
                self.call = None;
                let receipt = self.shared.judge(&self.key, &outcome);
                self.aboard = false;
                self.shared.land(&self.key, self.flight, outcome.clone(), receipt);
                return Poll::Ready(outcome);
            }
            let (flight, caller) = (self.flight, self.caller);
            let mut state = self.shared.lock();
            let now = Asked(state.count());
            let turn = state.with_lane(&self.key, |lane| lane.turn(flight, caller, || context.waker().clone(), now));
            drop(state);
            match turn {
                Turn::Landed(outcome) => {
                    self.aboard = false;
                    return Poll::Ready(outcome);
                }
                Turn::Pilot(call) => self.call = Some(call.unwrap_or_else(|| self.shared.begin(&self.key))),
                Turn::Wait => return Poll::Pending,
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !self.aboard {
            return;
        }
        let (flight, caller, call) = (self.flight, self.caller, self.call.take());
        let Departure { wake, abandoned } =
            self.shared.lock().with_lane(&self.key, |lane| lane.leave(flight, caller, call));
        // Outside of the lock: dropping a call runs code of the application's.
        drop(abandoned);
        wake.into_iter().for_each(Waker::wake);
    }
}
