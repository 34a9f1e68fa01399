//! Where the time comes from.

use std::fmt::Debug;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

/// The time by both of a machine's clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Now {
    /// The time of day, which can be set to anything, and which tokens speak of.
    pub wall: SystemTime,
    /// The time since a moment of the clock's own, which only advances, but may stand still while the machine is suspended.
    pub monotonic: Duration,
}

impl Now {
    /// A reading of both clocks.
    #[must_use]
    pub const fn new(wall: SystemTime, monotonic: Duration) -> Self {
        Self { wall, monotonic }
    }

    /// How much time has passed since an earlier reading: the larger of what the two clocks say.
    ///
    /// So a suspended machine, whose monotonic clock stood still, and a wall clock that was set back both count.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let wall = self.wall.duration_since(earlier.wall).unwrap_or(Duration::ZERO);
        wall.max(self.monotonic.saturating_sub(earlier.monotonic))
    }
}

/// Tells the time. [`SystemClock`] does outside of tests.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Reads both clocks.
    fn now(&self) -> Now;
}

/// The clocks of the machine, to a few milliseconds: on Linux those that the kernel updates at each tick, whose reading
/// costs a fourth of a precise one.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has nothing in it, and never will")]
pub struct SystemClock;

impl Clock for SystemClock {
    #[cfg(target_os = "linux")]
    fn now(&self) -> Now {
        use rustix::time::{ClockId, clock_gettime};

        let read = |clock| {
            let time = clock_gettime(clock);
            // Neither is negative on a machine whose clock is not set before 1970.
            Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
        };
        Now::new(SystemTime::UNIX_EPOCH + read(ClockId::RealtimeCoarse), read(ClockId::MonotonicCoarse))
    }

    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clocks")]
    fn now(&self) -> Now {
        use std::sync::OnceLock;
        use std::time::Instant;

        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        let now = Instant::now();
        Now::new(SystemTime::now(), now.saturating_duration_since(*ORIGIN.get_or_init(|| now)))
    }
}

/// A clock that stands still until it is told otherwise, to test what happens when a token expires.
///
/// It does not drive tokio's timers: the timeout of a load is tokio's (`tokio::time::pause`).
#[derive(Debug)]
pub struct ManualClock(Mutex<Now>);

impl ManualClock {
    /// A clock that shows `wall`.
    #[must_use]
    pub fn new(wall: SystemTime) -> Self {
        Self(Mutex::new(Now::new(wall, Duration::ZERO)))
    }

    /// Lets time pass, as it does for a machine that is awake and whose clock nobody sets.
    pub fn advance(&self, by: Duration) {
        self.change(|now| {
            now.wall += by;
            now.monotonic += by;
        });
    }

    /// Sets the wall clock alone: somebody corrected the time of day, or the machine was suspended until then.
    pub fn set_wall(&self, wall: SystemTime) {
        self.change(|now| now.wall = wall);
    }

    /// Lets time pass on the monotonic clock alone.
    pub fn advance_monotonic(&self, by: Duration) {
        self.change(|now| now.monotonic += by);
    }

    fn change(&self, change: impl FnOnce(&mut Now)) {
        change(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Now {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl<C: Clock + ?Sized> Clock for std::sync::Arc<C> {
    fn now(&self) -> Now {
        (**self).now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "to compare with")]
    fn the_clock_of_the_machine_tells_the_time_of_day() {
        // A virtual machine may stand still for a moment in between.
        let before = SystemTime::now() - Duration::from_secs(1);
        let now = SystemClock.now();
        let after = SystemTime::now() + Duration::from_secs(1);
        assert!(before <= now.wall && now.wall <= after);
        assert!(SystemClock.now().monotonic >= now.monotonic);
    }
}
