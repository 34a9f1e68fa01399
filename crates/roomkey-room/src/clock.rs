//! The one place that reads the clocks.

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
