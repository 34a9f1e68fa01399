//! Where a call of the provider may be saved by what is in a store.

use std::sync::Arc;
use std::time::Duration;

use super::{Outcome, Shared};
use crate::cache::{Entry, Key};
use crate::clock::Clock as _;
use crate::credentials::Credentials;
use crate::error::FetchError;
use crate::flight::{Asked, FlightId};
use crate::grant_check::{GrantCheck, Mismatch};
use crate::options::FetchOptions;
use crate::provider_call::GuardedCall;
use crate::stored::{Stored, held_for};

impl Shared {
    /// The store, if there is one for tokens like these.
    pub(super) fn stored(&self) -> Option<&Stored> {
        self.settings.stored.as_ref().filter(|_| !self.is_single_use())
    }

    /// A refused token is not taken from the store again, also where it is held here no longer.
    pub(crate) fn forget_stored(&self, options: &FetchOptions, rejected: &Credentials) {
        if let Some(stored) = self.stored() {
            let partition = self.partition();
            stored.remove_token(self.key(partition.as_ref(), options).to_owned(), rejected.clone());
        }
    }

    pub(crate) async fn flush(&self) -> bool {
        match self.stored() {
            Some(stored) => stored.flush().await,
            None => true,
        }
    }

    /// Begins the call of a flight: one of the provider, behind a look into the store where that may save it.
    pub(super) fn begin_flight(self: &Arc<Self>, key: &Arc<Key>, flight: FlightId) -> Result<GuardedCall, FetchError> {
        if self.stored().is_none() || self.lock().with_lane(key, |lane| lane.is_fresh(flight)) {
            return self.begin(key);
        }
        if self.held(Key::as_ref(key)).is_some_and(|entry| self.is_good(&entry)) {
            return self.begin(key);
        }
        let (shared, key) = (Arc::clone(self), Arc::clone(key));
        Ok(GuardedCall::restoring(async move { shared.restore_or_call(&key, flight).await }))
    }

    /// What the store has for a key if it can be reused, or else what the provider gives. What the store has is held
    /// meanwhile if nothing else is, so that it stands in where the provider fails.
    async fn restore_or_call(&self, key: &Arc<Key>, flight: FlightId) -> Outcome {
        let saved = match self.stored() {
            Some(stored) => stored.load(key).await.and_then(|saved| self.restore(key, saved)),
            None => None,
        };
        let now = self.settings.clock.now();
        if let Some(saved) = saved.as_ref().filter(|saved| self.is_reusable(saved, now)) {
            tracing::debug!("token restored");
            return Ok(saved.credentials.clone());
        }
        if let Some(saved) = saved.filter(|saved| saved.freshness.unexpired.contains(saved.age(now))) {
            let mut state = self.lock();
            let is_wanted =
                state.with_lane(key, |lane| lane.is_kept(flight)) && state.cache.get(Key::as_ref(key)).is_none();
            let given_up =
                if is_wanted { state.cache.insert(Arc::new(saved), self.fronts.settle()) } else { Vec::new() };
            drop(state);
            if !given_up.is_empty() {
                self.fronts.drop_dead();
            }
        }
        self.begin(key)?.await
    }

    /// What came out of the store, as an entry that is held nowhere yet; nothing if it would not be taken from a provider.
    fn restore(&self, key: &Key, saved: Credentials) -> Option<Entry> {
        let now = self.settings.clock.now();
        held_for(saved.stored_since()?, now.wall)?;
        let is_denied = self.settings.grant_check == GrantCheck::Deny
            && saved.claims().is_ok_and(|claims| Mismatch::find(claims, &key.options).is_some());
        (!is_denied).then(|| self.assess(saved, now).entry(key.clone(), Asked(0)))
    }

    /// Whether a later source could reuse a token, so that saving it makes sense.
    pub(super) fn is_worth_saving(&self, entry: &Entry) -> bool {
        self.settings.reuse_when.is_some() || entry.freshness.unexpired.contains(Duration::ZERO)
    }
}
