//! The one place of this module where a clock is read.

use std::time::Instant;

/// The time, which tests with a paused runtime set.
pub(crate) fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    let now = tokio::time::Instant::now();
    now.into_std()
}
