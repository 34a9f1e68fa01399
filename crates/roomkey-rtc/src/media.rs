//! Sections of media: what they are called, what they carry, which way.

use std::fmt;
use std::str::FromStr;

use str0m::format::PayloadParams;

use crate::sender::SenderId;

/// Audio or video.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(clippy::exhaustive_enums, reason = "SDP has no third kind of RTP media")]
pub enum MediaKind {
    /// `m=audio`.
    Audio,
    /// `m=video`.
    Video,
}

impl MediaKind {
    pub(crate) fn to_str0m(self) -> str0m::media::MediaKind {
        match self {
            Self::Audio => str0m::media::MediaKind::Audio,
            Self::Video => str0m::media::MediaKind::Video,
        }
    }
}

/// The name of a media section, `a=mid` (RFC 5888): at most 16 ASCII letters and digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mid(pub(crate) str0m::media::Mid);

/// The name of a simulcast layer, `a=rid` (RFC 8851): at most 16 ASCII letters and digits. LiveKit's are `q`, `h` and `f`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rid(pub(crate) str0m::media::Rid);

/// The longest name, in bytes, that a [`Mid`] or [`Rid`] can be.
const NAME_LEN: usize = 16;

/// A text that is no [`Mid`] or [`Rid`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct InvalidName;

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a name is 1 to {NAME_LEN} ASCII letters and digits")
    }
}

impl std::error::Error for InvalidName {}

fn name(text: &str) -> Result<&str, InvalidName> {
    let fits = (1..=NAME_LEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if fits { Ok(text) } else { Err(InvalidName) }
}

macro_rules! name_type {
    ($name:ident) => {
        impl $name {
            /// The name as it is in SDP.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Ok(Self(name(text)?.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.as_str()).finish()
            }
        }
    };
}

name_type!(Mid);
name_type!(Rid);

/// Which stream and which track a section carries, `a=msid` (RFC 8830).
///
/// LiveKit's server says `PA_…|TR_…` and `TR_…` here; a client says the `cid` of its AddTrackRequest as the track.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Msid {
    /// The stream; `-` where there is none.
    pub stream_id: String,
    /// The track.
    pub track_id: String,
}

impl Msid {
    /// Characters that SDP could not carry in an identifier become `_`, an empty one becomes `-`, and what is beyond 256
    /// bytes is cut.
    pub fn new(stream_id: impl Into<String>, track_id: impl Into<String>) -> Self {
        Self { stream_id: token(stream_id.into()), track_id: token(track_id.into()) }
    }
}

fn token(text: String) -> String {
    const LONGEST: usize = 256;
    if text.is_empty() {
        return "-".to_owned();
    }
    if text.len() <= LONGEST && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return text;
    }
    text.chars().take(LONGEST).map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect()
}

/// Which way media flows, as this side sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(clippy::exhaustive_enums, reason = "SDP has these four")]
pub enum Direction {
    /// Both ways.
    SendRecv,
    /// Only to the other side.
    SendOnly,
    /// Only from the other side.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// Whether this side may send.
    pub fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether this side may receive.
    pub fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The same, as the other side sees it.
    pub(crate) fn invert(self) -> Self {
        match self {
            Self::SendOnly => Self::RecvOnly,
            Self::RecvOnly => Self::SendOnly,
            both @ (Self::SendRecv | Self::Inactive) => both,
        }
    }
}

/// One media section as [`PeerConnection::media`](crate::PeerConnection::media) shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct MediaSection {
    /// Its name.
    pub mid: Mid,
    /// Audio or video.
    pub kind: MediaKind,
    /// What was negotiated last.
    pub direction: Direction,
    /// The track that the other side sends, where it sends one.
    pub remote_msid: Option<Msid>,
    /// The simulcast layers that the other side sends.
    pub remote_rids: Vec<Rid>,
    /// Our sender in it.
    pub sender: Option<SenderId>,
    /// Whether the other side waits for a track here and none is attached:
    /// [`attach_sender`](crate::PeerConnection::attach_sender) would take it.
    pub free: bool,
}

/// What is in an RTP packet's payload.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Codec {
    /// Opus (RFC 7587).
    Opus,
    /// Opus with earlier frames before it (RFC 2198): see [`red`](crate::red).
    Red,
    /// G.711 mu-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// VP8.
    Vp8,
    /// VP9.
    Vp9,
    /// H.264.
    H264,
    /// AV1.
    Av1,
}

/// A codec with what tells its variants apart: the profile of H.264, VP9 and AV1.
///
/// Payload types are numbers of one connection. A packet that goes on to another connection takes its format along, and
/// [`send_rtp`](crate::PeerConnection::send_rtp) finds the number that means the same there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Format {
    codec: Codec,
    profile: u64,
}

impl Format {
    /// The codec in whichever variant the other side prefers.
    pub fn new(codec: Codec) -> Self {
        Self { codec, profile: ANY_PROFILE }
    }

    /// The codec.
    pub fn codec(self) -> Codec {
        self.codec
    }

    /// The payload type among `known` that carries this: the same variant, or else the first of the same codec.
    pub(crate) fn find(self, known: &[(Self, u8)]) -> Option<u8> {
        let exact = known.iter().find(|(format, _)| *format == self);
        let found = exact.or_else(|| known.iter().find(|(format, _)| format.codec == self.codec));
        found.map(|(_, payload_type)| *payload_type)
    }

    /// The formats and payload types of a negotiated payload; RED counts beside its primary.
    #[expect(clippy::wildcard_enum_match_arm, reason = "codecs that are not offered")]
    pub(crate) fn of(params: &PayloadParams) -> impl Iterator<Item = (Self, u8)> {
        let spec = params.spec();
        let codec = match spec.codec {
            str0m::format::Codec::Opus => Some(Codec::Opus),
            str0m::format::Codec::PCMU => Some(Codec::Pcmu),
            str0m::format::Codec::PCMA => Some(Codec::Pcma),
            str0m::format::Codec::Vp8 => Some(Codec::Vp8),
            str0m::format::Codec::Vp9 => Some(Codec::Vp9),
            str0m::format::Codec::H264 => Some(Codec::H264),
            str0m::format::Codec::Av1 => Some(Codec::Av1),
            _ => None,
        };
        let profile = match codec {
            Some(Codec::H264) => {
                let mode = u64::from(spec.format.packetization_mode.unwrap_or(0));
                mode << 32 | u64::from(spec.format.profile_level_id.unwrap_or(0x42_0010))
            }
            Some(Codec::Vp9) => u64::from(spec.format.profile_id.unwrap_or(0)),
            Some(Codec::Av1) => u64::from(spec.format.profile.unwrap_or(0)),
            _ => 0,
        };
        let red = params.red().map(|payload_type| (Self { codec: Codec::Red, profile: 0 }, *payload_type));
        let primary = codec.map(|codec| (Self { codec, profile }, *params.pt()));
        red.into_iter().chain(primary)
    }
}

impl From<Codec> for Format {
    fn from(codec: Codec) -> Self {
        Self::new(codec)
    }
}

/// No negotiated variant has this profile.
const ANY_PROFILE: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_a_packet_could_not_carry_is_refused() {
        assert_eq!("0".parse::<Mid>().unwrap().as_str(), "0");
        assert_eq!("0123456789abcdef".parse::<Mid>().unwrap().to_string(), "0123456789abcdef");
        for bad in ["", "0123456789abcdefg", "audio-1", "a b", "é"] {
            assert_eq!(bad.parse::<Mid>(), Err(InvalidName), "{bad}");
        }
    }

    #[test]
    fn an_msid_never_breaks_a_line_of_sdp() {
        let msid = Msid::new("PA_a|TR_b", "x y\r\nm=audio");
        assert_eq!((msid.stream_id.as_str(), msid.track_id.as_str()), ("PA_a|TR_b", "x_y__m=audio"));
        assert_eq!(Msid::new("", "é").stream_id, "-");
        assert_eq!(Msid::new("", "é".repeat(400)).track_id.len(), 256);
    }

    #[test]
    fn a_format_prefers_its_own_variant_and_takes_another_of_its_codec() {
        let baseline = Format { codec: Codec::H264, profile: 1 };
        let high = Format { codec: Codec::H264, profile: 2 };
        let known = [(baseline, 102), (high, 104), (Format::new(Codec::Vp8), 96)];
        assert_eq!(high.find(&known), Some(104));
        assert_eq!(Format { codec: Codec::H264, profile: 3 }.find(&known), Some(102));
        assert_eq!(Format::new(Codec::Vp8).find(&known), Some(96));
        assert_eq!(Format::new(Codec::Opus).find(&known), None);
    }
}
