//! What the other side sends.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

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
        let received = IncomingRtp {
            format,
            payload_type,
            sequence: *packet.seq_no,
            timestamp: header.timestamp,
            marker: header.marker,
            audio_level: header.ext_vals.audio_level,
            voice_activity: header.ext_vals.voice_activity,
            payload: packet.payload,
        };
        Some((mid, rid, received))
    }
}
