//! What a participant publishes.

use std::fmt;

use crate::names::TrackSid;

/// What is known of a published track at one moment. A later change is another value.
#[doc(alias = "RemoteTrackPublication")]
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TrackPublication {
    /// The sid of the publication.
    pub sid: TrackSid,
    /// What its publisher calls it.
    pub name: String,
    /// Audio or video.
    pub kind: TrackKind,
    /// What it shows or lets hear.
    pub source: TrackSource,
    /// The MIME type of its codec, such as `audio/opus`; empty if the server has not said.
    pub mime_type: String,
    /// Whether the publisher has muted it.
    pub is_muted: bool,
    /// Whether it comes in several sizes.
    pub is_simulcast: bool,
    /// Width and height of the largest size in pixels; zeros for audio.
    pub dimensions: (u32, u32),
    /// The stream that it is played in step with; empty for the participant's own.
    pub stream: String,
    /// Whether it comes with redundancy (RFC 2198).
    pub has_red: bool,
    /// Whether it is encrypted from end to end.
    pub is_encrypted: bool,
    /// Whether its publisher sends what was said before it was published
    /// ([pre-connect audio](https://docs.livekit.io/agents/)), so that an agent waits for that.
    pub has_preconnect_buffer: bool,
    /// Whether this client wants it.
    pub is_desired: bool,
    /// Whether this client receives it; of an own track, whether anybody does.
    pub is_subscribed: bool,
    /// Whether this client may have it.
    pub is_allowed: bool,
    /// Whether the server has paused it, for want of bandwidth.
    pub is_paused: bool,
}

impl TrackPublication {
    /// A publication of which nothing but this is known.
    pub fn new(sid: impl Into<TrackSid>, kind: TrackKind, source: TrackSource) -> Self {
        Self {
            sid: sid.into(),
            name: String::new(),
            kind,
            source,
            mime_type: String::new(),
            is_muted: false,
            is_simulcast: false,
            dimensions: (0, 0),
            stream: String::new(),
            has_red: false,
            is_encrypted: false,
            has_preconnect_buffer: false,
            is_desired: true,
            is_subscribed: false,
            is_allowed: true,
            is_paused: false,
        }
    }
}

/// Whether a track is heard or seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "RTP has these two")]
pub enum TrackKind {
    /// Heard.
    Audio,
    /// Seen.
    Video,
}

impl TrackKind {
    /// Its name for programs and logs, which stays what it is.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }
}

impl fmt::Display for TrackKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a track shows or lets hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum TrackSource {
    /// Anything else.
    #[default]
    Unknown,
    /// A camera.
    Camera,
    /// A microphone.
    Microphone,
    /// A screen or a window.
    Screenshare,
    /// The sound of a screen or a window.
    ScreenshareAudio,
}

impl TrackSource {
    /// Its name for programs and logs, which stays what it is.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Camera => "camera",
            Self::Microphone => "microphone",
            Self::Screenshare => "screenshare",
            Self::ScreenshareAudio => "screenshare_audio",
        }
    }
}

impl fmt::Display for TrackSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
