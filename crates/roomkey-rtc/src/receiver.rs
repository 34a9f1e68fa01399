//! What the other side sends.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use str0m::Rtc;
use str0m::rtp::RtpPacket;

use crate::media::{Format, Mid, Rid};

/// An RTP packet that has come in.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IncomingRtp {
    /// The codec, with its variant.
    pub format: Format,
    /// The payload type, which means the format in this connection.
    pub payload_type: u8,
    /// The sequence number, extended so that it never wraps. Packets come as they arrive, each once, late ones too.
    pub sequence: u64,
    /// The timestamp, in units of the codec's clock.
    pub timestamp: u32,
    /// When its first sample was taken, as the time since the Unix epoch by the clock that the stream's sender reports are of
    /// (RFC 3550, section 6.4.1): that of whoever is at the other end of this connection, or whom it passes on. `None` until
    /// there was a report. Streams of one sender have one clock, so that they can be played in step; two senders' may
    /// be far apart. Each report may shift it a little, as clocks drift and as packets took longer.
    pub capture_time: Option<Duration>,
    /// The marker bit.
    pub marker: bool,
    /// How loud the packet is, from -127 (silence) to 0 dBov (RFC 6464).
    pub audio_level: Option<i8>,
    /// Whether the sender takes it for speech.
    pub voice_activity: Option<bool>,
    /// The payload, without padding.
    pub payload: Arc<[u8]>,
}

impl fmt::Debug for IncomingRtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingRtp")
            .field("format", &self.format)
            .field("sequence", &self.sequence)
            .field("timestamp", &self.timestamp)
            .field("bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// Which stream belongs to which section, and what payload types mean.
#[derive(Debug, Default)]
pub(crate) struct Receivers {
    streams: HashMap<u32, (Mid, Option<Rid>)>,
    formats: Vec<(u8, Format)>,
}

impl Receivers {
    /// As many streams as are remembered; a peer that invents more costs only look-ups.
    const MOST: usize = 512;

    /// Forgets what a negotiation may have changed.
    pub(crate) fn negotiated(&mut self, rtc: &Rtc) {
        self.streams.clear();
        self.formats = rtc
            .codec_config()
            .iter()
            .flat_map(Format::of)
            .map(|(format, payload_type)| (payload_type, format))
            .collect();
    }

    pub(crate) fn receive(&mut self, rtc: &mut Rtc, packet: RtpPacket) -> Option<(Mid, Option<Rid>, IncomingRtp)> {
        let header = &packet.header;
        let payload_type = *header.payload_type;
        let (_, format) = *self.formats.iter().find(|(known, _)| *known == payload_type)?;
        let (mid, rid) = match self.streams.get(&*header.ssrc) {
            Some(known) => *known,
            None => {
                let mut direct = rtc.direct_api();
                let stream = direct.stream_rx(&header.ssrc)?;
                let found = (Mid(stream.mid()), stream.rid().map(Rid));
                if self.streams.len() == Self::MOST {
                    self.streams.clear();
                }
                self.streams.insert(*header.ssrc, found);
                found
            }
        };
        let report = packet.last_sender_info.as_ref();
        let capture_time = report.and_then(|report| {
            // A stream that has not begun has no time of its own to report.
            let has_begun = report.sender_packet_count > 0;
            let ntp = report.ntp_time.duration_since(UNIX_EPOCH).ok().filter(|_| has_begun)?;
            time_of(header.timestamp, (report.rtp_time.numer() as u32, ntp), packet.time.frequency().get())
        });
        let received = IncomingRtp {
            format,
            payload_type,
            sequence: *packet.seq_no,
            timestamp: header.timestamp,
            capture_time,
            marker: header.marker,
            audio_level: header.ext_vals.audio_level,
            voice_activity: header.ext_vals.voice_activity,
            payload: packet.payload,
        };
        Some((mid, rid, received))
    }
}

/// When a timestamp is, where another one is known with its time. `None` where there is no such time.
fn time_of(timestamp: u32, (known, at): (u32, Duration), clock_rate: u32) -> Option<Duration> {
    let ticks = i64::from(timestamp.wrapping_sub(known).cast_signed());
    let distance = Duration::from_nanos(ticks.unsigned_abs() * 1_000_000_000 / u64::from(clock_rate.max(1)));
    if ticks < 0 { at.checked_sub(distance) } else { at.checked_add(distance) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_from_the_report_in_both_directions_and_over_the_end_of_the_numbers() {
        let at = Duration::from_secs(1_000);
        let second = Duration::from_secs(1);
        assert_eq!(time_of(48_000, (0, at), 48_000), Some(at + second));
        assert_eq!(time_of(10, (90_010, at), 90_000), Some(at - second));
        assert_eq!(time_of(23_999, (u32::MAX - 24_000, at), 48_000), Some(at + second));
        assert_eq!(time_of(0, (1, Duration::ZERO), 48_000), None);
        assert_eq!(time_of(i32::MAX as u32, (0, Duration::MAX), 1), None);
    }
}
