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

/// How long a watch sleeps at most before it looks again.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// The credentials for some options, again and again as they change; from [`TokenSource::watch`].
///
/// It renews them before they expire: at the time of the source's
/// [`refresh_ahead`](crate::TokenSourceBuilder::refresh_ahead), or else when they can be reused no longer. Any number of
/// watches of equal options make one call for each renewal. It also gives what others make the source hold, by a
/// [`fetch_fresh`](TokenSource::fetch_fresh) say. Nothing happens between calls of [`next`](Self::next); dropping the watch
/// ends it. After a change of login it looks again within half a minute, or at once after an invalidation.
///
/// It is for sources that hold what it watches: one whose capacity is less than the number of options that are watched
/// fetches again and again, and a [single-use](crate::Reuse::Once) source gives the tokens of a watch to others too.
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
                // Not all of it at once: a login changes without a word, and a machine that was suspended slept longer.
                self.wait_until(until.min(Instant::now() + LONGEST_SLEEP)).await;
                continue;
            }

            let outcome = Box::pin(shared.fetch_newer(key.to_owned(), Ask::Any, held.clone())).await;
            let failures = self.failures.saturating_add(1);
            match outcome {
                Ok(credentials) if self.given.as_ref() != Some(&credentials) => {
                    let is_good = shared.held(key).is_some_and(|entry| shared.is_good(&entry));
                    return Ok(self.give(credentials, if is_good { 0 } else { failures }));
                }
                Err(error) if !is_held_unexpired || error.is_auth() => {
                    self.failures = failures;
                    return Err(error);
                }
                // The same again.
                Ok(_) => {
                    self.failures = failures;
                    not_before = Some(Instant::now() + waits.wait_after(failures, chance()));
                }
                Err(_) => not_before = None,
            }
        }
    }

    fn give(&mut self, credentials: Credentials, failures: u32) -> Credentials {
        self.failures = failures;
        self.given = Some(credentials.clone());
        credentials
    }

    /// Waits until a time, or until the source holds something else.
    async fn wait_until(&mut self, time: Instant) {
        tokio::select! {
            () = tokio::time::sleep_until(time) => {}
            // The source is there as long as this is, and so is the other end.
            _ = self.changes.changed() => {}
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("options", &self.options).field("given", &self.given).finish_non_exhaustive()
    }
}
