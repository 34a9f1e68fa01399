//! Packets that wait for their time to be sent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{FRAME, FRAME_DURATION};

/// One packet of audio for the connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct EncodedAudio {
    /// When it sounds, in units of 48 kHz, whatever the frames were captured with (RFC 7587).
    pub(crate) timestamp: u32,
    /// A packet of Opus.
    pub(crate) payload: Arc<[u8]>,
    /// How loud it is, from -127 (silence) to 0 dBov.
    pub(crate) audio_level: i8,
    /// Whether it is taken for speech.
    pub(crate) voice_activity: bool,
    /// Whether nothing was sent before it for a while, which is what the marker bit of RTP says.
    pub(crate) is_first_after_silence: bool,
}

/// What takes the place of 20 ms in the queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Slot {
    Packet {
        payload: Arc<[u8]>,
        audio_level: i8,
        voice_activity: bool,
    },
    /// Nothing is sent, but the time passes: muted, silent, or not published.
    Nothing,
}

/// A queue that gives one slot a 20 ms.
#[derive(Debug)]
pub(crate) struct SendQueue {
    slots: VecDeque<Slot>,
    capacity: usize,
    /// When the next slot may go.
    due: Option<Instant>,
    /// That of the next slot.
    timestamp: u32,
    silent: bool,
    muted: bool,
    /// Whether somebody polls it in time. If not, who captures has to.
    attached: bool,
}

impl SendQueue {
    /// How late a slot may go and still be followed by the next at its own time. Where it is later than that, because
    /// nothing was captured or nobody polled, the timestamps skip what has passed.
    const ALLOWANCE: Duration = Duration::from_millis(60);

    /// A queue that holds so much, though one slot at least.
    pub(crate) fn new(limit: Duration) -> Self {
        let capacity = (limit.as_millis() / FRAME_DURATION.as_millis()).clamp(1, 1 << 20) as usize;
        Self { slots: VecDeque::new(), capacity, due: None, timestamp: 0, silent: true, muted: false, attached: false }
    }

    /// Somebody sends what is captured from now on, with timestamps from `timestamp`. False where somebody does already.
    pub(crate) fn attach(&mut self, timestamp: u32) -> bool {
        if self.attached {
            return false;
        }
        self.slots.clear();
        self.attached = true;
        self.muted = false;
        self.silent = true;
        self.due = None;
        self.timestamp = timestamp;
        true
    }

    /// Nobody does any more.
    pub(crate) fn detach(&mut self) {
        self.attached = false;
        self.muted = false;
        self.forget();
    }

    pub(crate) fn is_attached(&self) -> bool {
        self.attached
    }

    /// Whether what is captured should be encoded.
    pub(crate) fn is_heard(&self) -> bool {
        self.attached && !self.muted
    }

    /// What was captured before is not sent after, either way.
    pub(crate) fn set_muted(&mut self, muted: bool) {
        if self.muted != muted {
            self.muted = muted;
            self.forget();
        }
    }

    pub(crate) fn is_muted(&self) -> bool {
        self.muted
    }

    /// Sends nothing of what is queued, though its time still passes.
    fn forget(&mut self) {
        self.slots.iter_mut().for_each(|slot| *slot = Slot::Nothing);
    }

    pub(crate) fn clear(&mut self) {
        self.slots.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.slots.len() < self.capacity
    }

    pub(crate) fn queued(&self) -> Duration {
        FRAME_DURATION * self.slots.len() as u32
    }

    /// Adds a slot, and says whether it was the only one. There is room for it, unless the caller raced with another.
    pub(crate) fn push(&mut self, slot: Slot) -> bool {
        self.slots.push_back(if self.is_heard() { slot } else { Slot::Nothing });
        self.slots.len() == 1
    }

    /// The next packet, where it is time. Poll until there is none.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<EncodedAudio> {
        while !self.slots.is_empty() {
            let mut due = self.due.unwrap_or(now);
            let late = now.checked_duration_since(due)?;
            if late > Self::ALLOWANCE {
                let missed = u32::try_from(late.as_millis() / FRAME_DURATION.as_millis()).unwrap_or(u32::MAX);
                self.timestamp = self.timestamp.wrapping_add(missed.wrapping_mul(FRAME as u32));
                self.silent = true;
                // A little early is fine: the remainder is made up for by the slots behind.
                due = now.checked_sub(late.saturating_sub(FRAME_DURATION.saturating_mul(missed))).unwrap_or(now);
            }
            let slot = self.slots.pop_front()?;
            let timestamp = self.timestamp;
            self.timestamp = timestamp.wrapping_add(FRAME as u32);
            self.due = Some(due + FRAME_DURATION);
            if let Slot::Packet { payload, audio_level, voice_activity } = slot {
                let is_first_after_silence = std::mem::take(&mut self.silent);
                return Some(EncodedAudio { timestamp, payload, audio_level, voice_activity, is_first_after_silence });
            }
            self.silent = true;
        }
        None
    }

    /// When to poll next, or `None` until something is pushed.
    pub(crate) fn next_due(&self, now: Instant) -> Option<Instant> {
        (!self.slots.is_empty()).then(|| self.due.map_or(now, |due| due.max(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn packet(n: u8) -> Slot {
        Slot::Packet { payload: [n].into(), audio_level: -30, voice_activity: true }
    }

    fn attached(limit: Duration) -> (SendQueue, Instant) {
        let mut queue = SendQueue::new(limit);
        assert!(queue.attach(1_000));
        (queue, clock::now())
    }

    const MS: Duration = Duration::from_millis(1);

    /// All that is given when polled once a millisecond: when, which, its timestamp and marker.
    fn run(
        queue: &mut SendQueue,
        start: Instant,
        from: u32,
        until: u32,
        mut each: impl FnMut(&mut SendQueue, u32),
    ) -> Vec<(u32, u8, u32, bool)> {
        let mut seen = Vec::new();
        for ms in from..until {
            each(queue, ms);
            while let Some(sent) = queue.poll(start + MS * ms) {
                seen.push((ms, sent.payload[0], sent.timestamp, sent.is_first_after_silence));
            }
        }
        seen
    }

    #[test]
    fn what_is_queued_at_once_goes_one_packet_a_20_ms() {
        let (mut queue, start) = attached(Duration::from_secs(1));
        assert_eq!(queue.next_due(start), None);
        (0..4).for_each(|n| assert_eq!(queue.push(packet(n)), n == 0));
        assert_eq!(queue.next_due(start), Some(start));
        let seen = run(&mut queue, start, 0, 100, |_, _| {});
        assert_eq!(seen, [(0, 0, 1_000, true), (20, 1, 1_960, false), (40, 2, 2_920, false), (60, 3, 3_880, false)]);
    }

    #[test]
    fn a_microphone_that_is_a_little_early_or_late_changes_no_timestamp() {
        let (mut queue, start) = attached(Duration::from_secs(1));
        let mut rng = fastrand::Rng::with_seed(3);
        let (mut at, mut n) = (0, 0);
        let seen = run(&mut queue, start, 0, 20_000, |queue, ms| {
            if ms >= at {
                queue.push(packet(n as u8));
                n += 1;
                at = n * 20 + rng.u32(0..50);
            }
        });
        assert!(seen.len() > 900, "{}", seen.len());
        assert!(seen.iter().skip(1).all(|(_, _, _, first)| !first));
        assert!(seen.windows(2).all(|pair| pair[1].2 - pair[0].2 == 960));
    }

    #[test]
    fn after_a_silence_the_timestamp_has_gone_on_as_the_time_has() {
        let (mut queue, start) = attached(Duration::from_secs(1));
        let seen = run(&mut queue, start, 0, 2_000, |queue, ms| {
            if ms == 0 || ms == 1_007 {
                queue.push(packet(0));
                queue.push(packet(1));
            }
        });
        // 1,007 - 40 ms late is 48 packets.
        assert_eq!(seen[2..], [(1_007, 0, 1_000 + 50 * 960, true), (1_020, 1, 1_000 + 51 * 960, false)]);
    }

    #[test]
    fn who_polls_late_sends_no_burst() {
        let (mut queue, start) = attached(Duration::from_secs(10));
        (0..200).for_each(|n| _ = queue.push(packet(n)));
        assert!(queue.poll(start).is_some());
        let late = start + Duration::from_millis(60);
        assert_eq!(std::iter::from_fn(|| queue.poll(late)).count(), 3, "what is within the allowance is made up for");
        let later = start + Duration::from_secs(2);
        assert_eq!(std::iter::from_fn(|| queue.poll(later)).count(), 1);
        assert_eq!(queue.next_due(later), Some(later + FRAME_DURATION));
    }

    #[test]
    fn what_is_captured_while_muted_is_never_sent_and_takes_its_time() {
        let (mut queue, start) = attached(Duration::from_secs(1));
        (0..3).for_each(|n| _ = queue.push(packet(n)));
        queue.set_muted(true);
        (3..6).for_each(|n| _ = queue.push(packet(n)));
        assert_eq!(queue.poll(start + 10 * MS), None);
        assert_eq!(queue.queued(), 5 * FRAME_DURATION, "muted or not, a queue drains in real time");
        queue.set_muted(false);
        queue.push(packet(6));
        let seen = run(&mut queue, start, 11, 200, |_, _| {});
        assert_eq!(seen, [(130, 6, 1_000 + 6 * 960, true)]);
    }

    #[test]
    fn who_publishes_gets_nothing_of_what_was_captured_before() {
        let mut queue = SendQueue::new(Duration::from_secs(1));
        queue.push(packet(0));
        assert!(queue.attach(7) && !queue.attach(8));
        assert!(queue.is_empty());
        queue.push(packet(1));
        assert_eq!(queue.poll(clock::now()).unwrap().timestamp, 7);
    }

    #[test]
    fn a_queue_has_room_for_one_packet_at_least() {
        let mut queue = SendQueue::new(Duration::ZERO);
        assert!(queue.has_room());
        queue.push(packet(0));
        assert!(!queue.has_room());
    }
}
