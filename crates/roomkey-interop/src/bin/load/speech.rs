//! A made-up Opus packet that says who sent it, and when.

use std::time::{Duration, Instant};

/// Of a usual voice packet.
const LENGTH: usize = 80;
/// Opus: 20 ms of CELT, one frame.
const TOC: u8 = 0xf8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Speech {
    pub(crate) publisher: u32,
    pub(crate) sequence: u64,
    /// Whether it counts.
    pub(crate) is_measured: bool,
    /// Since the clients' common start.
    pub(crate) sent: Duration,
}

impl Speech {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![TOC];
        bytes.extend(self.publisher.to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        bytes.push(u8::from(self.is_measured));
        bytes.extend(u64::try_from(self.sent.as_micros()).unwrap_or(u64::MAX).to_be_bytes());
        bytes.resize(LENGTH, 0x55);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (toc, rest) = bytes.split_first()?;
        let (publisher, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (is_measured, rest) = rest.split_first()?;
        let sent = Duration::from_micros(u64::from_be_bytes(*rest.first_chunk()?));
        let (publisher, sequence) = (u32::from_be_bytes(*publisher), u64::from_be_bytes(*sequence));
        (*toc == TOC).then_some(Self { publisher, sequence, is_measured: *is_measured == 1, sent })
    }
}

/// The time between two packets.
pub(crate) const PACE: Duration = Duration::from_millis(20);
/// The units of Opus's clock in that time.
pub(crate) const TIMESTAMP_STEP: u32 = 960;

/// How long ago a packet was sent.
pub(crate) fn delay(speech: &Speech, start: Instant, now: Instant) -> Duration {
    now.saturating_duration_since(start).saturating_sub(speech.sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_read_as_it_was_written() {
        let speech = Speech { publisher: 3, sequence: 70_000, is_measured: true, sent: Duration::from_micros(1_234) };
        assert_eq!(Speech::decode(&speech.encode()), Some(speech));
        assert_eq!(Speech::decode(&speech.encode()[..12]), None);
    }
}
