//! A track in a list of tracks.

use std::sync::Arc;

use roomkey_room::{Participant, TrackPublication, TrackSource};

/// A track of a participant, or the place where one is missing.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TrackRef {
    /// Whose it is.
    pub participant: Arc<Participant>,
    /// What it shows or lets hear.
    pub source: TrackSource,
    /// The publication; `None` of a placeholder.
    pub publication: Option<Arc<TrackPublication>>,
}

impl TrackRef {
    /// The track of a publication.
    pub fn new(participant: Arc<Participant>, publication: Arc<TrackPublication>) -> Self {
        Self { participant, source: publication.source, publication: Some(publication) }
    }

    /// The place of a track that the participant does not have.
    pub fn placeholder(participant: Arc<Participant>, source: TrackSource) -> Self {
        Self { participant, source, publication: None }
    }

    /// Whether there is no track.
    pub fn is_placeholder(&self) -> bool {
        self.publication.is_none()
    }

    /// A key for this track in a list: unique, and the same while the track is the same.
    pub fn id(&self) -> String {
        let sid = self.publication.as_ref().map_or("placeholder", |publication| publication.sid.as_str());
        format!("{}_{:?}_{sid}", self.participant.identity, self.source)
    }
}

/// Which tracks a list has.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrackFilter {
    /// Of these sources, in this order for each participant.
    pub sources: Vec<TrackSource>,
    /// Only those that this client receives; its own count as such.
    pub only_subscribed: bool,
    /// A placeholder where a participant has no track of a source.
    pub placeholders: bool,
}

impl TrackFilter {
    /// Tracks of one source that are received, without placeholders.
    pub fn source(source: TrackSource) -> Self {
        Self::sources([source])
    }

    /// Tracks of these sources that are received, without placeholders.
    pub fn sources(sources: impl IntoIterator<Item = TrackSource>) -> Self {
        Self { sources: sources.into_iter().collect(), only_subscribed: true, placeholders: false }
    }

    /// Tracks of every source that are received, without placeholders.
    pub fn all() -> Self {
        Self::sources([
            TrackSource::Camera,
            TrackSource::Microphone,
            TrackSource::Screenshare,
            TrackSource::ScreenshareAudio,
            TrackSource::Unknown,
        ])
    }

    /// Sets whether the list has only what this client receives.
    #[must_use]
    pub fn only_subscribed(mut self, only: bool) -> Self {
        self.only_subscribed = only;
        self
    }

    /// Sets whether there are placeholders.
    #[must_use]
    pub fn placeholders(mut self, placeholders: bool) -> Self {
        self.placeholders = placeholders;
        self
    }
}
