//! The codecs that the server looks into, and their names.

use std::fmt;

/// A codec, as far as forwarding needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Opus,
    Red,
    Pcmu,
    Pcma,
    Vp8,
    Vp9,
    H264,
    Av1,
    Other,
}

impl Codec {
    /// Reads the encoding name of an `a=rtpmap` line.
    pub(super) fn from_encoding_name(name: &str) -> Self {
        let names = [
            ("opus", Self::Opus),
            ("red", Self::Red),
            ("pcmu", Self::Pcmu),
            ("pcma", Self::Pcma),
            ("vp8", Self::Vp8),
            ("vp9", Self::Vp9),
            ("h264", Self::H264),
            ("av1", Self::Av1),
        ];
        let found = names.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        found.map_or(Self::Other, |(_, codec)| codec)
    }

    /// The ticks of an RTP timestamp in a second.
    pub(super) fn clock_rate(self) -> u32 {
        match self {
            Self::Opus | Self::Red => 48_000,
            Self::Pcmu | Self::Pcma => 8_000,
            Self::Vp8 | Self::Vp9 | Self::H264 | Self::Av1 | Self::Other => 90_000,
        }
    }

    /// LiveKit's name of it in a `TrackInfo`.
    pub(super) fn mime_type(self) -> &'static str {
        match self {
            Self::Opus => "audio/opus",
            Self::Red => "audio/red",
            Self::Pcmu => "audio/PCMU",
            Self::Pcma => "audio/PCMA",
            Self::Vp8 => "video/VP8",
            Self::Vp9 => "video/VP9",
            Self::H264 => "video/H264",
            Self::Av1 => "video/AV1",
            Self::Other => "",
        }
    }
}

impl From<roomkey_rtc::Codec> for Codec {
    fn from(codec: roomkey_rtc::Codec) -> Self {
        match codec {
            roomkey_rtc::Codec::Opus => Self::Opus,
            roomkey_rtc::Codec::Red => Self::Red,
            roomkey_rtc::Codec::Pcmu => Self::Pcmu,
            roomkey_rtc::Codec::Pcma => Self::Pcma,
            roomkey_rtc::Codec::Vp8 => Self::Vp8,
            roomkey_rtc::Codec::Vp9 => Self::Vp9,
            roomkey_rtc::Codec::H264 => Self::H264,
            roomkey_rtc::Codec::Av1 => Self::Av1,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mime_type())
    }
}

/// The codec that the section `mid` of an offer prefers: the first payload type of its m-line.
pub(super) fn preferred(sdp: &str, mid: &str) -> Option<Codec> {
    let section = sdp
        .split("\nm=")
        .skip(1)
        .find(|section| section.lines().any(|line| line.trim_end().strip_prefix("a=mid:") == Some(mid)))?;
    let payload_type = section.lines().next()?.split_whitespace().nth(3)?;
    let map = section.lines().find_map(|line| {
        let (number, encoding) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
        (number == payload_type).then_some(encoding)
    })?;
    Some(Codec::from_encoding_name(map.split('/').next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_payload_type_of_a_section_is_what_it_prefers() {
        let sdp = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 63 111\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:63 red/48000/2\r\n\
                   m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:v\r\na=rtpmap:96 VP8/90000\r\n";
        assert_eq!(preferred(sdp, "0"), Some(Codec::Red));
        assert_eq!(preferred(sdp, "v"), Some(Codec::Vp8));
        assert_eq!(preferred(sdp, "1"), None);
        assert_eq!(preferred("", "0"), None);
    }
}
