//! Credentials that stay fresh without anybody asking.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use crate::chance::chance;
use crate::credentials::Credentials;
use crate::error::FetchError;
use crate::flight::Ask;
use crate::options::FetchOptions;
use crate::refresh::RefreshAhead;
use crate::source::TokenSource;

/// The credentials for some options, again and again as they change; from [`TokenSource::watch`].
///
/// It renews them before they expire: at the time of the source's
/// [`refresh_ahead`](crate::TokenSourceBuilder::refresh_ahead), or else when they can be reused no longer. Any number of
/// watches of equal options make one call for each renewal. It also gives what others make the source hold, by a
/// [`fetch_fresh`](TokenSource::fetch_fresh) say. Nothing happens between calls of [`next`](Self::next); dropping the watch
/// ends it.
#[derive(Clone)]
pub struct Watch {
    source: TokenSource,
    options: Arc<FetchOptions>,
    changes: Receiver<()>,
    given: Option<Credentials>,
    failures: u32,
}

impl Watch {
    pub(crate) fn new(source: TokenSource, options: FetchOptions) -> Self {
        let changes = source.shared().changes();
        Self { source, options: Arc::new(options), changes, given: None, failures: 0 }
    }

    /// Waits for credentials that are not the ones given before, and gives them; at first, those that a
    /// [`fetch`](TokenSource::fetch) gives.
    ///
    /// While a renewal fails and the credentials given have not expired, it tries again, with waits in between, and says
    /// nothing. After an error, and after credentials that can't be reused, the next call waits before it asks again: 5
    /// seconds, doubled each time up to a minute, or as `refresh_ahead` has it.
    ///
    /// It needs a tokio runtime with time. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// A renewal failed, and the credentials given before have expired. The watch goes on.
    #[expect(clippy::disallowed_methods, reason = "tokio's clock, for tokio's timers")]
    pub async fn next(&mut self) -> Result<Credentials, FetchError> {
        let shared = Arc::clone(self.source.shared());
        let waits = shared.refresh_ahead().unwrap_or_else(RefreshAhead::none);
        let options = Arc::clone(&self.options);
        // After an error, and after what can't be reused.
        let mut not_before = (self.failures > 0).then(|| Instant::now() + waits.wait_after(self.failures, chance()));
        loop {
            self.changes.mark_unchanged();
            let partition = shared.partition();
            let key = shared.key(partition.as_ref(), &options);
            let held = shared.held(key);
            let good = held.as_ref().filter(|entry| shared.is_good(entry));
            if let Some(entry) = good
                && self.given.as_ref() != Some(&entry.credentials)
            {
                return Ok(self.give(entry.credentials.separate(), 0));
            }

            // When it is to be renewed, but not before the wait is over that a failure of whoever tried has begun.
            let due_in = good.map_or(Duration::ZERO, |entry| shared.renewal_due_in(entry));
            let wait = held.as_ref().map_or(Duration::ZERO, |entry| entry.renewal.wait_at(shared.age(entry)));
            let is_held_unexpired = held.as_ref().is_some_and(|entry| shared.is_unexpired(entry));
            if let Some(entry) = &held
                && !is_held_unexpired
                && !wait.is_zero()
                && self.failures == 0
                && let Some(error) = entry.renewal.last_error()
            {
                // Somebody else has asked, and what they were told is for this watch too.
                self.failures = 1;
                return Err(error);
            }
            let until = (Instant::now() + due_in.max(wait)).max(not_before.unwrap_or_else(Instant::now));
            if until > Instant::now() {
                if !self.wait_until(until).await {
                    not_before = None;
                }
                continue;
            }

            let outcome = Box::pin(shared.fetch_newer(key.to_owned(), Ask::Any, held.clone())).await;
            let failures = self.failures.saturating_add(1);
            match outcome {
                Ok(credentials) if self.given.as_ref() != Some(&credentials) => {
                    let is_good = shared.held(key).is_some_and(|entry| shared.is_good(&entry));
                    return Ok(self.give(credentials, if is_good { 0 } else { failures }));
                }
                Err(error) if !is_held_unexpired => {
                    self.failures = failures;
                    return Err(error);
                }
                Ok(_) | Err(_) => {
                    not_before = held.is_none().then(|| Instant::now() + waits.wait_after(failures, chance()));
                }
            }
        }
    }

    fn give(&mut self, credentials: Credentials, failures: u32) -> Credentials {
        self.failures = failures;
        self.given = Some(credentials.clone());
        credentials
    }

    /// Waits until a time, or until the source holds something else, which is said.
    async fn wait_until(&mut self, time: Instant) -> bool {
        tokio::select! {
            () = tokio::time::sleep_until(time) => false,
            // The source is there as long as this is, and so is the other end.
            _ = self.changes.changed() => true,
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("options", &self.options).field("given", &self.given).finish_non_exhaustive()
    }
}
