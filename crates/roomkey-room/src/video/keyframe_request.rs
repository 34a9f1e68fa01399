//! When to ask for a key frame.

use std::time::{Duration, Instant};

/// Asks at most once in a while, since each key frame costs everybody bandwidth.
#[derive(Debug, Default)]
pub(super) struct KeyframeRequest {
    due: Option<Instant>,
    last: Option<Instant>,
}

impl KeyframeRequest {
    /// An answer takes a round trip and some encoding: LiveKit's came after 95 to 180 ms on one machine.
    const INTERVAL: Duration = Duration::from_millis(500);

    /// At this time or as soon after it as may be, unless it is due earlier.
    pub(super) fn want(&mut self, at: Instant) {
        let earliest = self.last.map_or(at, |last| at.max(last + Self::INTERVAL));
        self.due = Some(self.due.map_or(earliest, |due| due.min(earliest)));
    }

    pub(super) fn cancel(&mut self) {
        self.due = None;
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether to ask now. True once.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let is_due = self.due.is_some_and(|due| due <= now);
        if is_due {
            self.due = None;
            self.last = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_repeated_after_a_while_at_the_earliest() {
        let start = crate::video::test_clock();
        let at = |millis| start + Duration::from_millis(millis);
        let mut request = KeyframeRequest::default();
        assert!(!request.take(at(0)), "nobody wants one");
        request.want(at(10));
        assert!(!request.take(at(9)));
        assert!(request.take(at(10)));
        assert!(!request.take(at(10)), "it was taken");
        request.want(at(20));
        assert_eq!(request.due(), Some(at(510)));
        assert!(!request.take(at(509)));
        request.cancel();
        assert!(!request.take(at(600)));
        request.want(at(700));
        request.want(at(800));
        assert!(request.take(at(700)), "the earlier wish counts");
    }
}
