//! Credentials that stay fresh without anybody asking.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch::Receiver;

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
    pub async fn next(&mut self) -> Result<Credentials, FetchError> {
        let shared = Arc::clone(self.source.shared());
        let policy = shared.refresh_ahead().unwrap_or_else(|| RefreshAhead::new(Duration::ZERO));
        let options = Arc::clone(&self.options);
        let mut must_wait = self.failures > 0;
        loop {
            self.changes.mark_unchanged();
            let partition = shared.partition();
            let key = shared.key(partition.as_ref(), &options);
            let held = shared.held(key);
            if let Some(entry) = held.as_ref().filter(|entry| shared.is_good(entry)) {
                if self.given.as_ref() != Some(&entry.credentials) {
                    return Ok(self.give(entry.credentials.separate(), 0));
                }
                let due_in = shared.renewal_due_in(entry);
                if !must_wait && !due_in.is_zero() {
                    self.wait(due_in).await;
                    continue;
                }
            }
            if must_wait {
                must_wait = false;
                if self.wait(policy.wait_after(self.failures, chance())).await {
                    continue;
                }
            }
            let is_held_good = held.as_ref().is_some_and(|entry| shared.is_unexpired(entry));
            let outcome = Box::pin(shared.fetch_newer(key.to_owned(), Ask::Any, held.clone())).await;
            let failures = self.failures.saturating_add(1);
            match outcome {
                Ok(credentials) if self.given.as_ref() != Some(&credentials) => {
                    let is_good = shared.held(key).is_some_and(|entry| shared.is_good(&entry));
                    return Ok(self.give(credentials, if is_good { 0 } else { failures }));
                }
                Err(error) if !is_held_good => {
                    self.failures = failures;
                    return Err(error);
                }
                _ => {
                    self.failures = failures;
                    must_wait = true;
                }
            }
        }
    }

    fn give(&mut self, credentials: Credentials, failures: u32) -> Credentials {
        self.failures = failures;
        self.given = Some(credentials.clone());
        credentials
    }

    /// Waits for some time, or until the source holds something else, which is said.
    async fn wait(&mut self, time: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(time) => false,
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
