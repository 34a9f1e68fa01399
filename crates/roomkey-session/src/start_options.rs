//! How a session is started.

use std::time::Duration;

use roomkey_room::{AudioSource, LocalTrack, TrackPublishOptions};

use crate::core::{MicrophonePlan, StartPlan};
use crate::options::Ready;

/// What a start publishes and waits for. Unless something is added, nothing is published: a session of text, in which no
/// microphone is touched.
#[derive(Debug, Clone)]
#[must_use]
pub struct StartOptions {
    ready: Ready,
    timeout: Duration,
    microphone: Option<Microphone>,
    tracks: Vec<(LocalTrack, TrackPublishOptions)>,
}

impl Default for StartOptions {
    fn default() -> Self {
        Self { ready: Ready::Room, timeout: Duration::from_secs(60), microphone: None, tracks: Vec::new() }
    }
}

impl StartOptions {
    /// Publishes nothing and waits for the room.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the start waits for.
    pub fn wait_for(self, ready: Ready) -> Self {
        Self { ready, ..self }
    }

    /// How long token and room may take together, 60 s unless set. The agent's time is not in it.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Publishes this microphone.
    pub fn microphone(self, microphone: impl Into<Microphone>) -> Self {
        Self { microphone: Some(microphone.into()), ..self }
    }

    /// Publishes this track as well, such as a camera or a screen; can be called again for more.
    pub fn track(mut self, track: LocalTrack, options: TrackPublishOptions) -> Self {
        self.tracks.push((track, options));
        self
    }

    pub(crate) fn plan(&self) -> StartPlan {
        let microphone = match &self.microphone {
            None => MicrophonePlan::Off,
            Some(Microphone { pre_connect: true, .. }) => MicrophonePlan::PreConnect,
            Some(Microphone { pre_connect: false, .. }) => MicrophonePlan::On,
        };
        StartPlan { ready: self.ready, timeout: self.timeout, microphone }
    }

    pub(crate) fn into_media(self) -> StartMedia {
        StartMedia { microphone: self.microphone, tracks: self.tracks }
    }
}

/// What the user is heard with.
#[derive(Debug, Clone)]
#[must_use]
pub struct Microphone {
    pub(crate) source: AudioSource,
    pub(crate) options: TrackPublishOptions,
    pre_connect: bool,
}

impl Microphone {
    /// What is captured with this source. What is captured from the start on is kept and sent to the agent when it is ready,
    /// the newest 10 s of it, so that the user can speak at once.
    pub fn new(source: &AudioSource) -> Self {
        Self { source: source.clone(), options: TrackPublishOptions::new(), pre_connect: true }
    }

    /// Whether what is said before the agent is ready is kept for it; it is unless set otherwise.
    pub fn pre_connect(self, pre_connect: bool) -> Self {
        Self { pre_connect, ..self }
    }

    /// How it is published.
    pub fn options(self, options: TrackPublishOptions) -> Self {
        Self { options, ..self }
    }
}

impl From<&AudioSource> for Microphone {
    fn from(source: &AudioSource) -> Self {
        Self::new(source)
    }
}

/// What a session publishes in each of its rooms.
#[derive(Debug, Clone, Default)]
pub(crate) struct StartMedia {
    pub(crate) microphone: Option<Microphone>,
    pub(crate) tracks: Vec<(LocalTrack, TrackPublishOptions)>,
}
