//! Where RTP packets go to and come from.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use roomkey_rtc::{IncomingRtp, OutgoingRtp, Rid};
use tokio::sync::Notify;

use crate::encryption::TrackEncryption;
use crate::names::TrackSid;

/// What wakes the room's task.
pub(crate) type Wake = Arc<dyn Fn() + Send + Sync>;

/// Takes the packets of a track that comes in. It ends when it is dropped.
pub(crate) trait RtpSink: Send {
    /// Takes a packet; `false` if nobody listens any more.
    fn push(&mut self, now: Instant, packet: &IncomingRtp) -> bool;
    /// The packets that come next are of another connection, and numbered anew.
    fn restart(&mut self) {}
    fn timeout(&self) -> Option<Instant> {
        None
    }
    /// Time has passed, or the waker was called; `false` if nobody listens any more.
    fn handle_timeout(&mut self, _now: Instant) -> bool {
        true
    }
    /// Whether to ask the publisher for a key frame now.
    fn wants_keyframe(&mut self, _now: Instant) -> bool {
        false
    }
}

/// Gives the packets of a track that goes out. It ends when it is dropped.
pub(crate) trait RtpOutlet: Send {
    /// The next packet that is due.
    fn poll(&mut self, now: Instant) -> Option<OutgoingRtp>;
    /// When the next packet is due; `None` until the waker is called.
    fn next_due(&self, now: Instant) -> Option<Instant>;
    /// Is called when a packet may be due that was not known of.
    fn set_waker(&mut self, waker: Wake);
    fn set_muted(&mut self, muted: bool);
    /// What is to seal its frames from now on; nothing, for frames as they are.
    fn set_encryption(&mut self, encryption: Option<TrackEncryption>);
    /// Whether what it gives can be sent: the track is negotiated, and the connection there.
    fn set_sending(&mut self, _sending: bool) {}
    /// Somebody can't go on without a key frame.
    fn keyframe_requested(&mut self, _rid: Option<Rid>) {}
    /// Which layers anybody wants, by quality from low to high.
    fn qualities_wanted(&mut self, _wanted: [bool; 3]) {}
}

/// Who listens to which track that comes in. The room's task and the application's tracks share it.
#[derive(Default)]
pub(crate) struct Sinks {
    tracks: Mutex<HashMap<TrackSid, Vec<Box<dyn RtpSink>>>>,
    ready: Arc<Notify>,
}

impl fmt::Debug for Sinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sinks").finish_non_exhaustive()
    }
}

impl Sinks {
    /// Somebody has called a waker.
    pub(crate) async fn woken(&self) {
        self.ready.notified().await;
    }

    pub(crate) fn waker(&self) -> Wake {
        let ready = Arc::clone(&self.ready);
        Arc::new(move || ready.notify_one())
    }

    pub(crate) fn begin(&self, track: &TrackSid) {
        self.lock().entry(track.clone()).or_default();
    }

    /// Adds a listener; one of a track that has ended ends at once.
    pub(crate) fn add(&self, track: &TrackSid, sink: Box<dyn RtpSink>) {
        if let Some(sinks) = self.lock().get_mut(track) {
            sinks.push(sink);
        }
    }

    /// Hands a packet to all who listen; says whether one of them wants a key frame.
    pub(crate) fn push(&self, track: &TrackSid, packet: &IncomingRtp, now: Instant) -> bool {
        let mut wants_keyframe = false;
        self.each(track, |sink| {
            let listens = sink.push(now, packet);
            wants_keyframe |= listens && sink.wants_keyframe(now);
            listens
        });
        wants_keyframe
    }

    /// Keeps those of a track's that `keep` says, without the lock: it wakes those who listen. Only the room's task takes sinks
    /// out, so that those that were added meanwhile are all that it can find.
    fn each(&self, track: &TrackSid, keep: impl FnMut(&mut Box<dyn RtpSink>) -> bool) {
        let taken = self.lock().get_mut(track).map(std::mem::take);
        let Some(mut sinks) = taken.filter(|sinks| !sinks.is_empty()) else { return };
        sinks.retain_mut(keep);
        let mut tracks = self.lock();
        if let Some(added) = tracks.get_mut(track) {
            sinks.append(added);
            *added = sinks;
        }
    }

    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.lock().values().flatten().filter_map(|sink| sink.timeout()).min()
    }

    /// Time has passed, or a waker was called; says which tracks need a key frame.
    pub(crate) fn handle_timeout(&self, now: Instant) -> Vec<TrackSid> {
        let mut wanting = Vec::new();
        let tracks: Vec<_> = {
            let tracks = self.lock();
            tracks.iter().filter(|(_, sinks)| !sinks.is_empty()).map(|(track, _)| track.clone()).collect()
        };
        for track in tracks {
            let mut wants_keyframe = false;
            self.each(&track, |sink| {
                let listens = sink.handle_timeout(now);
                wants_keyframe |= listens && sink.wants_keyframe(now);
                listens
            });
            if wants_keyframe {
                wanting.push(track);
            }
        }
        wanting
    }

    pub(crate) fn restart(&self) {
        self.lock().values_mut().flatten().for_each(|sink| sink.restart());
    }

    pub(crate) fn end(&self, track: &TrackSid) {
        // Dropped without the lock: who listens is woken.
        let ended = self.lock().remove(track);
        drop(ended);
    }

    pub(crate) fn end_all(&self) {
        let ended = std::mem::take(&mut *self.lock());
        drop(ended);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TrackSid, Vec<Box<dyn RtpSink>>>> {
        self.tracks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Listens again when it is woken, as a task does that is run in place.
    struct Again(std::sync::Weak<Sinks>, TrackSid);

    impl RtpSink for Again {
        fn push(&mut self, _now: Instant, _packet: &IncomingRtp) -> bool {
            false
        }

        fn handle_timeout(&mut self, _now: Instant) -> bool {
            if let Some(sinks) = self.0.upgrade() {
                sinks.add(&self.1, Box::new(Self(std::sync::Weak::new(), self.1.clone())));
            }
            false
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
    fn who_is_woken_may_listen_to_another_track_at_once() {
        let (sinks, track) = (Arc::new(Sinks::default()), TrackSid::from("TR_1"));
        sinks.begin(&track);
        sinks.add(&track, Box::new(Again(Arc::downgrade(&sinks), track.clone())));
        sinks.handle_timeout(Instant::now());
        assert_eq!(sinks.lock()[&track].len(), 1, "the first is gone, and the other is there");
        sinks.handle_timeout(Instant::now());
        assert_eq!(sinks.lock()[&track].len(), 0);
    }
}
