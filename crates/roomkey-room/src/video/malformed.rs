//! What is wrong with video that cannot be read.

use std::fmt;

/// Why a frame could not be taken apart or put together: what its bytes say contradicts its codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MalformedVideo {
    /// There is nothing in it.
    Empty,
    /// It ends within a header or before a length that it says.
    Truncated,
    /// The first packet does not begin a frame, or a later one does.
    WrongStart,
    /// A fragment has no beginning, or what was begun is not continued.
    BrokenFragment,
    /// H.264: there is no start code (Annex B) before the first unit.
    NoStartCode,
    /// H.264: a unit of a type that WebRTC does not use (RFC 6184, packetization-mode 1).
    UnsupportedNalUnit(u8),
    /// AV1: an OBU whose header breaks the rules, or that has no size where it needs one.
    BrokenObu,
    /// It is larger than any frame should be.
    TooLarge,
}

impl fmt::Display for MalformedVideo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the frame is empty",
            Self::Truncated => "the frame ends within a header or a unit",
            Self::WrongStart => "the packets do not begin where a frame begins",
            Self::BrokenFragment => "a fragment does not fit to the one before it",
            Self::NoStartCode => "the frame does not begin with a start code",
            Self::UnsupportedNalUnit(kind) => return write!(f, "a NAL unit of type {kind} is not for WebRTC"),
            Self::BrokenObu => "an OBU breaks the rules of AV1",
            Self::TooLarge => "the frame is larger than a frame should be",
        })
    }
}

impl std::error::Error for MalformedVideo {}
