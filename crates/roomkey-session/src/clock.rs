//! Where the time is read.

use std::time::SystemTime;

use crate::core::Now;

/// The time of tokio's clock, which tests can hold, and of the machine's.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn now() -> Now {
    Now { at: tokio::time::Instant::now().into_std(), wall: SystemTime::now() }
}
