//! Which packets came, by their numbers.

/// Tells new packets from those that came before, and counts those that did not come.
#[derive(Debug, Default)]
pub(crate) struct Sequence {
    highest: Option<u64>,
    /// Bit n: whether `highest - n` came.
    came: u128,
    expected: u64,
    received: u64,
}

impl Sequence {
    /// A jump that no network explains: the sender has begun again.
    const JUMP: u64 = 1_000;

    /// Whether the packet is new. One that is far behind counts as seen.
    pub(crate) fn handle(&mut self, sequence: u64) -> bool {
        let Some(highest) = self.highest.filter(|highest| highest.abs_diff(sequence) <= Self::JUMP) else {
            (self.highest, self.came) = (Some(sequence), 1);
            self.expected += 1;
            self.received += 1;
            return true;
        };
        if sequence > highest {
            let ahead = sequence - highest;
            self.came = u32::try_from(ahead).ok().and_then(|ahead| self.came.checked_shl(ahead)).unwrap_or(0) | 1;
            self.highest = Some(sequence);
            self.expected += ahead;
        } else {
            let behind = highest - sequence;
            let bit = u32::try_from(behind).ok().and_then(|behind| 1_u128.checked_shl(behind)).unwrap_or(0);
            if bit == 0 || self.came & bit != 0 {
                return false;
            }
            self.came |= bit;
        }
        self.received += 1;
        true
    }

    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// How many were sent before the newest and have not come.
    pub(crate) fn lost(&self) -> u64 {
        // What came from before the first makes up for one that is missing.
        self.expected.saturating_sub(self.received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_packet_is_new_once() {
        let mut sequence = Sequence::default();
        let new: Vec<_> = [5, 6, 6, 9, 7, 7, 5, 300, 9, 299].map(|n| sequence.handle(n)).into();
        assert_eq!(new, [true, true, false, true, true, false, false, true, false, true]);
        assert_eq!((sequence.received(), sequence.lost()), (6, 296 - 6));
    }

    #[test]
    fn who_begins_again_has_lost_nothing() {
        let mut sequence = Sequence::default();
        for n in [u64::MAX, 10_000, 10_001, 3, 4] {
            assert!(sequence.handle(n));
        }
        assert_eq!((sequence.received(), sequence.lost()), (5, 0));
    }
}
