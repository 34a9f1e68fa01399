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
        let held = self.held(Key::as_ref(key));
        if held.as_ref().is_some_and(|entry| self.is_good(entry)) {
            return self.begin(key);
        }
        let (shared, key, may_stand_in) = (Arc::clone(self), Arc::clone(key), held.is_none());
        Ok(GuardedCall::restoring(async move { shared.restore_or_call(&key, may_stand_in).await }))
    }

    /// What the store has for a key if it can be reused, or else what the provider gives. Where the provider fails, what
    /// the store has `may_stand_in` if it has not expired.
    async fn restore_or_call(&self, key: &Key, may_stand_in: bool) -> Outcome {
        let saved = match self.stored() {
            Some(stored) => stored.load(key).await.and_then(|saved| self.restore(key, saved)),
            None => None,
        };
        let now = self.settings.clock.now();
        if let Some(saved) = saved.as_ref().filter(|saved| self.is_reusable(saved, now)) {
            tracing::debug!("token restored");
            return Ok(saved.credentials.clone());
        }
        match self.begin(key)?.await {
            Err(error) if may_stand_in && !error.is_auth() && self.settings.reuse_when.is_none() => {
                let now = self.settings.clock.now();
                let unexpired = saved.filter(|saved| saved.freshness.unexpired.contains(saved.age(now)));
                let stand_in = unexpired.map(|saved| {
                    tracing::warn!("token provider failed; the token stored has not expired and is used");
                    saved.credentials
                });
                stand_in.ok_or(error)
            }
            outcome => outcome,
        }
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
