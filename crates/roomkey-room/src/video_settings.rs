//! Which size of a video is wanted.

use livekit_protocol as proto;

use crate::core::TrackSettings;
use crate::video::VideoQuality;

/// Which size of a video that comes in is wanted, and whether it is wanted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct VideoSettings {
    is_disabled: bool,
    quality: Option<VideoQuality>,
    dimensions: Option<(u32, u32)>,
    frames_per_second: Option<u32>,
}

impl VideoSettings {
    /// The largest size.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the video comes at all; it stays subscribed to. On by default.
    pub fn enabled(self, enabled: bool) -> Self {
        Self { is_disabled: !enabled, ..self }
    }

    /// A size by name.
    pub fn quality(self, quality: VideoQuality) -> Self {
        Self { quality: Some(quality), ..self }
    }

    /// The size that it is shown in, in pixels: the server chooses the smallest that is no smaller.
    pub fn dimensions(self, width: u32, height: u32) -> Self {
        Self { dimensions: Some((width, height)), ..self }
    }

    /// As many frames a second are enough.
    pub fn frames_per_second(self, frames_per_second: u32) -> Self {
        Self { frames_per_second: Some(frames_per_second), ..self }
    }
}

impl From<VideoSettings> for TrackSettings {
    fn from(settings: VideoSettings) -> Self {
        let quality = settings.quality.map(|quality| match quality {
            VideoQuality::Low => proto::VideoQuality::Low,
            VideoQuality::Medium => proto::VideoQuality::Medium,
            VideoQuality::High => proto::VideoQuality::High,
        });
        Self {
            is_disabled: settings.is_disabled,
            quality,
            dimensions: settings.dimensions,
            frames_per_second: settings.frames_per_second,
        }
    }
}
