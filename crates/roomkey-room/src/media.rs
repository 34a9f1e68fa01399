//! Where RTP packets go to and come from.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use roomkey_rtc::{IncomingRtp, OutgoingRtp, Rid};

use crate::names::TrackSid;

/// Takes the packets of a track that comes in.
pub(crate) trait RtpSink: Send {
    /// Takes a packet; `false` if nobody listens any more.
    fn push(&mut self, now: Instant, packet: &IncomingRtp) -> bool;
    /// The track has ended.
    fn end(&mut self);
}

/// Gives the packets of a track that goes out.
pub(crate) trait RtpOutlet: Send {
    /// The next packet that is due.
    fn poll(&mut self, now: Instant) -> Option<OutgoingRtp>;
    /// When the next packet is due; `None` until the waker is called.
    fn next_due(&self, now: Instant) -> Option<Instant>;
    /// Is called when a packet may be due that was not known of.
    fn set_waker(&mut self, waker: Arc<dyn Fn() + Send + Sync>);
    fn set_muted(&mut self, muted: bool);
    /// Somebody can't go on without a key frame.
    fn keyframe_requested(&mut self, _rid: Option<Rid>) {}
    /// Which layers anybody wants, by quality from low to high.
    fn qualities_wanted(&mut self, _wanted: [bool; 3]) {}
    /// The track is published no more.
    fn end(&mut self) {}
}

/// Who listens to which track that comes in. The room's task and the application's tracks share it.
#[derive(Default)]
pub(crate) struct Sinks {
    tracks: Mutex<HashMap<TrackSid, Vec<Box<dyn RtpSink>>>>,
}

impl std::fmt::Debug for Sinks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sinks").finish_non_exhaustive()
    }
}

impl Sinks {
    pub(crate) fn begin(&self, track: &TrackSid) {
        self.lock().entry(track.clone()).or_default();
    }

    /// Adds a listener; one of a track that has ended is told so.
    pub(crate) fn add(&self, track: &TrackSid, mut sink: Box<dyn RtpSink>) {
        match self.lock().get_mut(track) {
            Some(sinks) => sinks.push(sink),
            None => sink.end(),
        }
    }

    pub(crate) fn push(&self, track: &TrackSid, packet: &IncomingRtp, now: Instant) {
        if let Some(sinks) = self.lock().get_mut(track) {
            sinks.retain_mut(|sink| sink.push(now, packet));
        }
    }

    pub(crate) fn end(&self, track: &TrackSid) {
        let ended = self.lock().remove(track);
        ended.into_iter().flatten().for_each(|mut sink| sink.end());
    }

    pub(crate) fn end_all(&self) {
        let ended = std::mem::take(&mut *self.lock());
        ended.into_values().flatten().for_each(|mut sink| sink.end());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TrackSid, Vec<Box<dyn RtpSink>>>> {
        self.tracks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
