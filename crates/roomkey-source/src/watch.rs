//! Credentials that stay fresh without anybody asking.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use crate::cache::KeyRef;
use crate::chance::chance;
use crate::credentials::Credentials;
use crate::error::FetchError;
use crate::flight::Ask;
use crate::options::FetchOptions;
use crate::source::TokenSource;

/// How long a watch sleeps at most before it looks again.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// The credentials for some options, again and again as they change; from [`TokenSource::watch`].
///
/// It renews them before they expire: at the time of the source's
/// [`refresh_ahead`](crate::TokenSourceBuilder::refresh_ahead), or else when they can be reused no longer. Any number of
/// watches of equal options make one call for each renewal, and for each wait while the backend is down. It also gives what others make the source hold, by a
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
    /// The number of the last failure that was told.
    told: u64,
    /// How many calls in a row gave nothing that could be reused, and when to go on after them: kept here, so that dropping
    /// a future does not make the wait begin anew.
    in_vain: u32,
    not_before: Option<Instant>,
}

impl Watch {
    pub(crate) fn new(source: TokenSource, options: FetchOptions) -> Self {
        let changes = source.shared().changes();
        Self { source, options: Arc::new(options), changes, given: None, told: 0, in_vain: 0, not_before: None }
    }

    /// Waits for credentials that are not the ones given before, and gives them; at first, those that a
    /// [`fetch`](TokenSource::fetch) gives, the ones that stand in for a failure included.
    ///
    /// While a renewal fails and the credentials given have not expired, it tries again, with waits in between, and says
    /// nothing. After an error, and after credentials that can't be reused, it waits before it asks again: 5 seconds, doubled
    /// each time up to a minute, or as `refresh_ahead` or [`back_off`](crate::TokenSourceBuilder::back_off) have it, or as
    /// long as a `Retry-After` says. Others who failed for the same options have begun that wait for all: a watch that comes
    /// during it gets their error at once, and calls when it is over.
    ///
    /// It needs a tokio runtime with time. Dropping the future loses nothing, and does not make a wait begin anew.
    ///
    /// # Errors
    ///
    /// A call failed, and the credentials given before have expired. The watch goes on.
    #[expect(clippy::disallowed_methods, reason = "tokio's clock, for tokio's timers")]
    pub async fn next(&mut self) -> Result<Credentials, FetchError> {
        let shared = Arc::clone(self.source.shared());
        let options = Arc::clone(&self.options);
        loop {
            self.changes.mark_unchanged();
            let partition = shared.partition();
            let key = shared.key(partition.as_ref(), &options);
            let held = shared.held(key);
            let good = held.as_ref().filter(|entry| shared.is_good(entry));
            if let Some(entry) = good
                && self.given.as_ref() != Some(&entry.credentials)
            {
                return Ok(self.give(entry.credentials.separate(), true));
            }

            let is_held_unexpired = held.as_ref().is_some_and(|entry| shared.is_unexpired(entry));
            let failed = shared.standing_failure(key);
            if let Some(failed) = &failed
                && failed.number > self.told
                && good.is_none()
                && let Some(outcome) = self.tell(&failed.error, failed.number, key, is_held_unexpired)
            {
                return outcome;
            }
            // When it is to be renewed, but not before the wait is over that a failure of whoever tried has begun.
            let due_in = good.map_or(Duration::ZERO, |entry| shared.renewal_due_in(entry));
            let put_off = held.as_ref().map_or(Duration::ZERO, |entry| entry.renewal.wait_at(shared.age(entry)));
            let wait = due_in.max(put_off).max(failed.map_or(Duration::ZERO, |failed| failed.left));
            let wait = if good.is_none() { wait.max(shared.rejection_wait(key)) } else { wait };
            let until = (Instant::now() + wait.min(LONGEST_SLEEP)).max(self.not_before.unwrap_or_else(Instant::now));
            if until > Instant::now() {
                // Not all of it at once: a login changes without a word, and a machine that was suspended slept longer.
                self.wait_until(until.min(Instant::now() + LONGEST_SLEEP)).await;
                continue;
            }

            let outcome = Box::pin(shared.fetch_newer(key.to_owned(), Ask::Any, held.clone())).await;
            let held = shared.held(key).filter(|entry| shared.is_good(entry));
            match (outcome, held) {
                // What is held is good, and better than what came, or else the same: that is for the next look to say.
                (Ok(credentials), Some(held)) if held.credentials != credentials => self.put_off(),
                (Ok(credentials), held) if self.given.as_ref() != Some(&credentials) => {
                    return Ok(self.give(credentials, held.is_some()));
                }
                // The same again.
                (Ok(_), _) => self.put_off(),
                (Err(error), held) => {
                    let number = shared.standing_failure(key).map(|failed| failed.number);
                    if number.is_none() {
                        self.put_off();
                    }
                    // While what is held is good there is nothing to say; if it ends during the wait, the next look says it.
                    if held.is_none()
                        && let Some(outcome) = self.tell(&error, number.unwrap_or(self.told), key, is_held_unexpired)
                    {
                        return outcome;
                    }
                }
            }
        }
    }

    /// What to say of a failure: nothing, while the credentials given are as good as before.
    fn tell(
        &mut self,
        error: &FetchError,
        number: u64,
        key: KeyRef<'_>,
        is_held_unexpired: bool,
    ) -> Option<Result<Credentials, FetchError>> {
        if !error.is_auth() && is_held_unexpired {
            let stand_in = self.source.shared().stand_in(key);
            match stand_in {
                Some(held) if self.given.as_ref() != Some(&held) => {
                    self.given = Some(held.clone());
                    return Some(Ok(held));
                }
                None if self.given.is_none() => {}
                Some(_) | None => return None,
            }
        }
        self.told = number;
        Some(Err(error.clone()))
    }

    fn give(&mut self, credentials: Credentials, is_good: bool) -> Credentials {
        if is_good {
            (self.in_vain, self.not_before) = (0, None);
        } else {
            self.put_off();
        }
        self.given = Some(credentials.clone());
        credentials
    }

    /// Waits before the next call, longer each time.
    #[expect(clippy::disallowed_methods, reason = "tokio's clock, for tokio's timers")]
    fn put_off(&mut self) {
        self.in_vain = self.in_vain.saturating_add(1);
        let wait = self.source.shared().back_off().wait_after(self.in_vain, chance());
        self.not_before = Some(Instant::now() + wait);
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
