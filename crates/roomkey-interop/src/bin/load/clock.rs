//! The clocks of this machine.

use std::time::{Duration, Instant, SystemTime};

#[expect(clippy::disallowed_methods, reason = "it times real servers")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "servers read the real time")]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

/// The time since the Unix epoch.
pub(crate) fn unix_time() -> Duration {
    wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
