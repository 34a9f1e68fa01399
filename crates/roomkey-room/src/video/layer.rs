//! The sizes in which a track is published.

use std::fmt;

use roomkey_rtc::Rid;

/// Which of a track's sizes: what a subscriber asks the server for, and what a layer of a simulcast track is.
///
/// LiveKit's clients call the layers `q`, `h` and `f` in SDP, from the smallest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "LiveKit has these three, and a layer more would need a rid")]
pub enum VideoQuality {
    /// The smallest, `q`.
    Low,
    /// The one between, `h`.
    Medium,
    /// The largest, `f`; also the only size of a track without simulcast.
    High,
}

impl VideoQuality {
    /// All, from the smallest on.
    pub const ALL: [Self; 3] = [Self::Low, Self::Medium, Self::High];

    /// The name of the layer in SDP.
    pub fn rid(self) -> &'static str {
        match self {
            Self::Low => "q",
            Self::Medium => "h",
            Self::High => "f",
        }
    }

    /// The quality that this name means.
    pub fn from_rid(rid: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|quality| quality.rid() == rid)
    }

    pub(crate) fn to_rid(self) -> Rid {
        self.rid().parse().expect("one letter is a rid")
    }

    pub(super) fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for VideoQuality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        })
    }
}

/// One of the sizes in which a track is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct VideoLayer {
    /// Which one.
    pub quality: VideoQuality,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// How many bits a second the encoder makes of it at most; 0 where that is not known. The server plans with it.
    pub bitrate: u32,
}

impl VideoLayer {
    /// A layer of a bitrate that is not known.
    pub fn new(quality: VideoQuality, width: u32, height: u32) -> Self {
        Self { quality, width, height, bitrate: 0 }
    }

    /// With at most so many bits a second.
    pub fn with_bitrate(self, bits_per_second: u32) -> Self {
        Self { bitrate: bits_per_second, ..self }
    }
}

/// Which layers anybody in the room wants: the server's `SubscribedQualityUpdate` (dynacast).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SubscribedQualities {
    /// Somebody wants the smallest.
    pub low: bool,
    /// Somebody wants the one between.
    pub medium: bool,
    /// Somebody wants the largest.
    pub high: bool,
}

impl SubscribedQualities {
    /// As long as the server has said nothing.
    pub const ALL: Self = Self { low: true, medium: true, high: true };

    /// Nobody wants the track.
    pub const NONE: Self = Self { low: false, medium: false, high: false };

    /// Whether anybody wants this layer.
    pub fn contains(self, quality: VideoQuality) -> bool {
        match quality {
            VideoQuality::Low => self.low,
            VideoQuality::Medium => self.medium,
            VideoQuality::High => self.high,
        }
    }

    /// The same with one of them changed.
    #[must_use]
    pub fn with(mut self, quality: VideoQuality, wanted: bool) -> Self {
        match quality {
            VideoQuality::Low => self.low = wanted,
            VideoQuality::Medium => self.medium = wanted,
            VideoQuality::High => self.high = wanted,
        }
        self
    }

    /// Whether anybody wants any of them.
    pub fn any(self) -> bool {
        self != Self::NONE
    }
}

impl Default for SubscribedQualities {
    fn default() -> Self {
        Self::ALL
    }
}
