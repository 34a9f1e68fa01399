//! What those do whose tokens were refused.

use tokio::time::{Instant, sleep_until};

use super::Shared;
use crate::chance::chance;
use crate::options::FetchOptions;

impl Shared {
    /// Waits for this caller's part of the time over which those are spread whose tokens are refused at once, or until there
    /// is another token.
    #[expect(clippy::disallowed_methods, reason = "tokio's clock, for tokio's timers")]
    pub(crate) async fn wait_after_rejection(&self, options: &FetchOptions) {
        let Some(spread) = self.settings.rejection_spread else { return };
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let until = Instant::now() + spread.wait(chance());
        let mut changes = self.changes();
        loop {
            changes.mark_unchanged();
            let partition = self.partition();
            let held = self.held(self.key(partition.as_ref(), options));
            if held.is_some_and(|entry| self.is_good(&entry)) {
                return;
            }
            tokio::select! {
                () = sleep_until(until) => return,
                // The other end is in this.
                _ = changes.changed() => {}
            }
        }
    }
}
