//! The one place that reads the clocks, and that adds to them what an application says.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[expect(
    clippy::disallowed_methods,
    reason = "the shell's one place that reads it; tokio's, so that tests can turn it"
)]
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[expect(clippy::disallowed_methods, reason = "the shell's one place that reads it")]
pub(crate) fn system_time() -> SystemTime {
    SystemTime::now()
}

pub(crate) fn unix_time() -> Duration {
    system_time().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// So much later, for a duration that an application has chosen: whoever says [`Duration::MAX`] waits for ever, which here is a
/// hundred years.
pub(crate) fn later(now: Instant, wait: Duration) -> Instant {
    const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    now + wait.min(FOR_EVER)
}
