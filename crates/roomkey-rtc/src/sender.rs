//! What this side sends.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use str0m::Rtc;
use str0m::rtp::{ExtensionValues, RtpWrite};

use crate::media::{Codec, Format, MediaKind, Mid, Msid, Rid};
use crate::red;

/// A track of ours in one connection. It is not used again after the track was detached.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SenderId(u32);

/// An RTP packet on its way out.
#[derive(Clone, Debug)]
pub struct OutgoingRtp {
    format: Format,
    rid: Option<Rid>,
    sequence: u64,
    timestamp: u32,
    marker: bool,
    audio_level: Option<i8>,
    voice_activity: Option<bool>,
    payload: Arc<[u8]>,
}

impl OutgoingRtp {
    /// `sequence` counts the packets of a source without wrapping; where it starts does not matter, and a jump of more than
    /// 16,384 either way is taken for another source. `timestamp` is in units of the codec's clock and goes out as it is.
    pub fn new(format: impl Into<Format>, sequence: u64, timestamp: u32, payload: impl Into<Arc<[u8]>>) -> Self {
        Self {
            format: format.into(),
            rid: None,
            sequence,
            timestamp,
            marker: false,
            audio_level: None,
            voice_activity: None,
            payload: payload.into(),
        }
    }

    /// The simulcast layer that the packet belongs to.
    pub fn with_rid(self, rid: Option<Rid>) -> Self {
        Self { rid, ..self }
    }

    /// The marker bit: the last packet of a video frame, or the first after silence.
    pub fn with_marker(self, marker: bool) -> Self {
        Self { marker, ..self }
    }

    /// How loud the packet is, from -127 (silence) to 0 dBov, and whether it is speech (RFC 6464).
    pub fn with_audio_level(self, audio_level: Option<i8>, voice_activity: Option<bool>) -> Self {
        Self { audio_level, voice_activity, ..self }
    }
}

/// Why a packet was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The sender was detached, or is of another connection.
    UnknownSender,
    /// No offer and answer have given the sender a place yet, or the other side refused it.
    NotNegotiated,
    /// The connection is not up. Drop the packet: it would be late.
    NotConnected,
    /// The other side takes no such codec.
    UnsupportedFormat,
    /// The sender has no such layer.
    UnknownRid,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownSender => "no such sender in this connection",
            Self::NotNegotiated => "the sender has not been negotiated",
            Self::NotConnected => "the connection is not up",
            Self::UnsupportedFormat => "the other side does not take this codec",
            Self::UnknownRid => "the sender has no such simulcast layer",
        })
    }
}

impl std::error::Error for SendError {}

/// All senders of a connection.
#[derive(Debug, Default)]
pub(crate) struct Senders {
    list: Vec<Sender>,
    next: u32,
}

#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) id: SenderId,
    pub(crate) kind: MediaKind,
    pub(crate) msid: Msid,
    pub(crate) rids: Vec<Rid>,
    pub(crate) mid: Option<Mid>,
    streams: Vec<Stream>,
    formats: Vec<(Format, u8)>,
}

#[derive(Debug)]
struct Stream {
    rid: Option<Rid>,
    ssrc: u32,
    sequence: Sequence,
}

impl Senders {
    pub(crate) fn add(&mut self, kind: MediaKind, msid: Msid, rids: &[Rid], mid: Option<Mid>) -> SenderId {
        let id = SenderId(self.next);
        self.next += 1;
        self.list.push(Sender { id, kind, msid, rids: rids.to_vec(), mid, streams: Vec::new(), formats: Vec::new() });
        id
    }

    pub(crate) fn remove(&mut self, id: SenderId) -> Option<Sender> {
        let index = self.list.iter().position(|sender| sender.id == id)?;
        Some(self.list.remove(index))
    }

    pub(crate) fn get(&self, id: SenderId) -> Option<&Sender> {
        self.list.iter().find(|sender| sender.id == id)
    }

    pub(crate) fn get_mut(&mut self, id: SenderId) -> Option<&mut Sender> {
        self.list.iter_mut().find(|sender| sender.id == id)
    }

    pub(crate) fn in_section(&self, mid: Mid) -> Option<&Sender> {
        self.list.iter().find(|sender| sender.mid == Some(mid))
    }

    /// Those that no offer has placed.
    pub(crate) fn unplaced(&self) -> Vec<SenderId> {
        self.list.iter().filter(|sender| sender.mid.is_none()).map(|sender| sender.id).collect()
    }
}

impl Sender {
    /// Takes what a finished negotiation says: which streams there are and which payload types go.
    pub(crate) fn negotiated(&mut self, rtc: &mut Rtc, formats: Vec<(Format, u8)>) {
        let Some(mid) = self.mid else { return };
        let rids: Vec<_> =
            if self.rids.is_empty() { vec![None] } else { self.rids.iter().copied().map(Some).collect() };
        for rid in rids {
            let mut direct = rtc.direct_api();
            let Some(stream) = direct.stream_tx_by_mid(mid.0, rid.map(|rid| rid.0)) else { continue };
            let ssrc = *stream.ssrc();
            match self.streams.iter_mut().find(|known| known.rid == rid) {
                Some(known) if known.ssrc == ssrc => {}
                Some(known) => *known = Stream { rid, ssrc, sequence: Sequence::starting_near(ssrc) },
                None => self.streams.push(Stream { rid, ssrc, sequence: Sequence::starting_near(ssrc) }),
            }
        }
        self.formats = formats;
    }

    /// The other side does not receive it.
    pub(crate) fn refused(&mut self) {
        self.formats.clear();
    }

    pub(crate) fn send(&mut self, rtc: &mut Rtc, packet: OutgoingRtp, now: Instant) -> Result<(), SendError> {
        if self.formats.is_empty() || self.streams.is_empty() {
            return Err(SendError::NotNegotiated);
        }
        let stream = self.streams.iter_mut().find(|stream| stream.rid == packet.rid).ok_or(SendError::UnknownRid)?;
        let (payload_type, payload) = translate(&self.formats, packet.format, packet.payload)?;
        let Some(sequence) = stream.sequence.rebase(packet.sequence) else { return Ok(()) };
        let extensions = ExtensionValues {
            audio_level: packet.audio_level,
            voice_activity: packet.voice_activity,
            ..ExtensionValues::default()
        };
        let write = RtpWrite::new(payload_type.into(), sequence.into(), packet.timestamp, now, payload)
            .marker(packet.marker)
            .ext_vals(extensions)
            .nackable(self.kind == MediaKind::Video);
        rtc.direct_api().stream_tx(&stream.ssrc.into()).ok_or(SendError::NotNegotiated)?.write_rtp(write);
        Ok(())
    }
}

/// The payload type that means `format` here, and the payload for it.
///
/// RED names the payload type of Opus inside the payload, so that changes too; to who takes no RED goes the Opus in it.
fn translate(formats: &[(Format, u8)], format: Format, payload: Arc<[u8]>) -> Result<(u8, Arc<[u8]>), SendError> {
    let found = format.find(formats);
    if format.codec() != Codec::Red {
        return Ok((found.ok_or(SendError::UnsupportedFormat)?, payload));
    }
    let opus = Format::new(Codec::Opus).find(formats).ok_or(SendError::UnsupportedFormat)?;
    if let Some(red) = found {
        let changed = red::with_payload_type(&payload, opus).map(Arc::from);
        return Ok((red, changed.unwrap_or(payload)));
    }
    let primary = red::blocks(&payload).and_then(|blocks| blocks.last().map(|block| Arc::from(block.data)));
    Ok((opus, primary.ok_or(SendError::UnsupportedFormat)?))
}

/// Turns the sequence numbers of a source into those of an SSRC.
///
/// A receiver counts the wraps of the 16 bits from 0 (RFC 3711 section 3.3.1), so that the first number has to be below
/// 65,536, wherever the source has got to.
#[derive(Debug)]
struct Sequence {
    /// Lower numbers belong to an earlier source.
    floor: u64,
    highest: u64,
    source: Option<Source>,
}

#[derive(Debug)]
struct Source {
    first_in: u64,
    first_out: u64,
    highest_in: u64,
}

impl Sequence {
    /// A jump that no network explains.
    const JUMP: u64 = 1 << 14;

    /// Room for packets from before the first.
    const SLACK: u64 = 1 << 10;

    fn starting_near(ssrc: u32) -> Self {
        let first = Self::SLACK + u64::from(ssrc) % (1 << 14);
        Self { floor: first - Self::SLACK, highest: first - 1, source: None }
    }

    /// The number to send, or `None` for a packet of before the source began here.
    fn rebase(&mut self, sequence: u64) -> Option<u64> {
        let source = match self.source.take() {
            Some(source) if source.highest_in.abs_diff(sequence) <= Self::JUMP => source,
            earlier => {
                let first_out = self.highest + 1;
                if earlier.is_some() {
                    self.floor = first_out;
                }
                Source { first_in: sequence, first_out, highest_in: sequence }
            }
        };
        let source = self.source.insert(source);
        source.highest_in = source.highest_in.max(sequence);
        let out = (u128::from(source.first_out) + u128::from(sequence)).checked_sub(u128::from(source.first_in))?;
        let out = u64::try_from(out).ok()?;
        if out < self.floor {
            return None;
        }
        self.highest = self.highest.max(out);
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_has_wrapped_starts_below_65536_and_keeps_its_gaps() {
        let mut sequence = Sequence::starting_near(u32::MAX);
        let first = sequence.rebase(1_000_000).unwrap();
        assert!((1024..32_768).contains(&first), "{first}");
        assert_eq!(sequence.rebase(1_000_003), Some(first + 3));
        assert_eq!(sequence.rebase(1_000_001), Some(first + 1), "reordered packets keep their place");
        assert_eq!(sequence.rebase(999_999), Some(first - 1), "so does one of before the first");
    }

    #[test]
    fn another_source_goes_on_where_the_last_one_ended() {
        let mut sequence = Sequence::starting_near(7);
        let first = sequence.rebase(50).unwrap();
        assert_eq!(sequence.rebase(900_000), Some(first + 1));
        assert_eq!(sequence.rebase(899_999), None, "it would collide with the earlier source");
        assert_eq!(sequence.rebase(12), Some(first + 2));
    }

    #[test]
    fn counting_goes_on_beyond_65536() {
        let mut sequence = Sequence::starting_near(0);
        let first = sequence.rebase(5).unwrap();
        let last = (6..200_000).map(|n| sequence.rebase(n).unwrap()).last().unwrap();
        assert_eq!(last, first + 200_000 - 1 - 5);
    }

    #[test]
    fn extreme_numbers_of_a_source_do_no_harm() {
        let mut sequence = Sequence::starting_near(0);
        for n in [u64::MAX, 0, u64::MAX - 1, 1, u64::MAX] {
            let _ = sequence.rebase(n);
        }
    }

    #[test]
    fn red_goes_to_who_takes_it_and_opus_to_who_does_not() {
        let payload: Arc<[u8]> = red::encode(111, &[(960, b"old")], b"new").into();
        let red = Format::new(Codec::Red);
        let both = [(Format::new(Codec::Opus), 96), (red, 63)];
        let (payload_type, sent) = translate(&both, red, Arc::clone(&payload)).unwrap();
        assert_eq!(payload_type, 63);
        assert!(red::blocks(&sent).unwrap().iter().all(|block| block.payload_type == 96));

        let (payload_type, sent) = translate(&both[..1], red, payload).unwrap();
        assert_eq!((payload_type, &sent[..]), (96, &b"new"[..]));
    }
}
