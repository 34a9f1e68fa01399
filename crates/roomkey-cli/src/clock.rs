//! Where the time is read.

use std::time::SystemTime;

/// The machine's time, which tokens are dated by.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

/// The time since an unknown moment, which never goes back.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}
