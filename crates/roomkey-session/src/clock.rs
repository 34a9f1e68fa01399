//! Where the time is read, and what an application says is added to it.

use std::time::{Duration, Instant, SystemTime};

use crate::core::Now;

/// The time of tokio's clock, which tests can hold, and of the machine's.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn now() -> Now {
    Now { at: tokio::time::Instant::now().into_std(), wall: SystemTime::now() }
}

/// So much later, for a duration that an application has chosen: whoever says [`Duration::MAX`] waits for ever, which here is a
/// hundred years.
pub(crate) fn later(now: Instant, wait: Duration) -> Instant {
    const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    now + wait.min(FOR_EVER)
}
