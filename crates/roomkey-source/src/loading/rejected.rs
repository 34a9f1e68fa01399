//! What those do whose tokens were refused.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{FEWEST_FAILURES, Shared};
use crate::cache::KeyRef;
use crate::chance::chance;
use crate::credentials::Credentials;
use crate::options::FetchOptions;

impl Shared {
    /// Chooses the part of the time over which those are spread whose tokens are refused at once, one for all who use a key.
    /// It has to be chosen before the token is forgotten, since watches are told of that.
    #[expect(clippy::disallowed_methods, reason = "tokio's clock, for tokio's timers")]
    pub(crate) fn note_rejection(&self, options: &FetchOptions, rejected: &Credentials) {
        let Some(spread) = self.settings.rejection_spread else { return };
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let partition = self.partition();
        let key = self.key(partition.as_ref(), options);
        let now = Instant::now();
        let mut state = self.lock();
        let held = state.cache.get(key);
        if held.is_some_and(|held| held.credentials.participant_token() != rejected.participant_token()) {
            return;
        }
        let most = self.settings.capacity.max(FEWEST_FAILURES);
        let rejections = &mut state.rejections;
        rejections.retain(|(_, until)| *until > now);
        if rejections.len() < most && !rejections.iter().any(|(rejected, _)| key.is(rejected)) {
            rejections.push((Arc::new(key.to_owned()), now + spread.wait(chance())));
        }
    }

    /// How long those wait who need a token in place of one that was refused.
    #[expect(clippy::disallowed_methods, reason = "tokio's clock, for tokio's timers")]
    pub(crate) fn rejection_wait(&self, key: KeyRef<'_>) -> Duration {
        let state = self.lock();
        let found = state.rejections.iter().find(|(rejected, _)| key.is(rejected));
        found.map_or(Duration::ZERO, |(_, until)| until.saturating_duration_since(Instant::now()))
    }

    /// Waits for that time, or until there is another token.
    #[expect(clippy::disallowed_methods, reason = "tokio's clock, for tokio's timers")]
    pub(crate) async fn wait_after_rejection(&self, options: &FetchOptions) {
        if self.settings.rejection_spread.is_none() || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let mut changes = self.changes();
        loop {
            changes.mark_unchanged();
            let partition = self.partition();
            let key = self.key(partition.as_ref(), options);
            let wait = self.rejection_wait(key);
            if wait.is_zero() || self.held(key).is_some_and(|entry| self.is_good(&entry)) {
                return;
            }
            tokio::select! {
                () = sleep_until(Instant::now() + wait) => return,
                // The other end is in this.
                _ = changes.changed() => {}
            }
        }
    }
}
