//! Tracks that go out.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use roomkey_rtc::{Codec, OutgoingRtp, Rid};
use tokio::sync::{oneshot, watch};

use crate::audio::{AudioSource, Outlet, PayloadFormat, RedEncoder};
use crate::command::Command;
use crate::core::{Layer, LocalTrackId, TrackRequest};
use crate::encryption::{FrameCodec, FrameSealer, TrackEncryption};
use crate::error::PublishError;
use crate::local_participant::LocalParticipant;
use crate::media::RtpOutlet;
use crate::names::TrackSid;
use crate::participant::Participants;
use crate::publication::{TrackKind, TrackPublication, TrackSource};
use crate::room::Shared;
use crate::video::{SubscribedQualities, VideoOutlet, VideoQuality, VideoSource};

/// A track of this client: what is captured with its source is sent once it is published.
#[doc(alias = "LocalAudioTrack")]
#[doc(alias = "LocalVideoTrack")]
#[derive(Debug, Clone)]
pub struct LocalTrack {
    name: String,
    media: Media,
}

#[derive(Debug, Clone)]
enum Media {
    Audio(AudioSource),
    Video(VideoSource),
}

impl LocalTrack {
    /// A track of sound.
    pub fn audio(name: impl Into<String>, source: &AudioSource) -> Self {
        Self { name: name.into(), media: Media::Audio(source.clone()) }
    }

    /// A track of encoded video.
    pub fn video(name: impl Into<String>, source: &VideoSource) -> Self {
        Self { name: name.into(), media: Media::Video(source.clone()) }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Audio or video.
    pub fn kind(&self) -> TrackKind {
        match self.media {
            Media::Audio(_) => TrackKind::Audio,
            Media::Video(_) => TrackKind::Video,
        }
    }
}

/// How a track is published.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct TrackPublishOptions {
    source: Option<TrackSource>,
    stream: String,
    is_muted: bool,
    has_red: bool,
    has_preconnect_buffer: bool,
}

impl Default for TrackPublishOptions {
    fn default() -> Self {
        Self { source: None, stream: String::new(), is_muted: false, has_red: true, has_preconnect_buffer: false }
    }
}

impl TrackPublishOptions {
    /// A microphone or a camera, with redundant audio.
    pub fn new() -> Self {
        Self::default()
    }

    /// What it shows or lets hear; a microphone or a camera unless set.
    pub fn source(self, source: TrackSource) -> Self {
        Self { source: Some(source), ..self }
    }

    /// The stream that it is played in step with: tracks of one name belong together.
    pub fn stream(self, stream: impl Into<String>) -> Self {
        Self { stream: stream.into(), ..self }
    }

    /// Whether it begins muted; it does not by default.
    pub fn muted(self, is_muted: bool) -> Self {
        Self { is_muted, ..self }
    }

    /// Whether it [begins muted](Self::muted).
    pub fn is_muted(&self) -> bool {
        self.is_muted
    }

    /// Whether each packet of sound has the one before it as well (RFC 2198), so that a lost one is not missed; on by
    /// default. It doubles the bytes. A track that is encrypted end to end has no such packets.
    pub fn red(self, has_red: bool) -> Self {
        Self { has_red, ..self }
    }

    /// Tells agents to wait for what was said before the track was published: whoever sets it has to send that, in a byte
    /// stream of the topic `lk.agent.pre-connect-audio-buffer`. Off by default.
    pub fn preconnect_buffer(self, has_preconnect_buffer: bool) -> Self {
        Self { has_preconnect_buffer, ..self }
    }
}

impl LocalParticipant {
    /// Publishes a track. A source can be published once at a time.
    ///
    /// Returns when the server has taken the track: what is captured from then on is sent. During a reconnect it waits for the
    /// room to be back. Dropping the future does not publish, or takes it back.
    ///
    /// # Errors
    ///
    /// [`PublishError`].
    pub async fn publish_track(
        &self,
        track: LocalTrack,
        options: TrackPublishOptions,
    ) -> Result<LocalTrackPublication, PublishError> {
        let TrackPublishOptions { source, stream, is_muted, has_red, has_preconnect_buffer } = options;
        let kind = match &track.media {
            Media::Audio(_) => TrackKind::Audio,
            Media::Video(_) => TrackKind::Video,
        };
        let attach = Box::new(move || {
            let (outlet, mut request): (Box<dyn RtpOutlet>, TrackRequest) = match &track.media {
                Media::Audio(audio) => {
                    let outlet = audio.attach(fastrand::u32(..))?;
                    // Not even what is captured at this moment.
                    outlet.set_muted(is_muted);
                    (Box::new(AudioOut::new(outlet, has_red)), audio_request(audio))
                }
                Media::Video(video) => {
                    let outlet = video.outlet()?;
                    let request = video_request(&outlet);
                    (Box::new(VideoOut { outlet, ready: VecDeque::new(), is_muted: false, is_sending: false }), request)
                }
            };
            request.name = track.name;
            request.source = source.unwrap_or(request.source);
            (request.stream, request.is_muted, request.has_red) = (stream, is_muted, has_red);
            request.has_preconnect_buffer = has_preconnect_buffer;
            Some((outlet, request))
        });
        let id = self.shared.next_number();
        let (reply, answer) = oneshot::channel();
        let publish = Command::Publish { id, attach, reply };
        self.shared.command(publish).map_err(|_| PublishError::Disconnected)?;
        // Dropped before the answer, it is taken back; the task does so for one that is dropped at the same moment.
        let publication = LocalTrackPublication {
            inner: Arc::new(Inner { id, shared: Arc::clone(&self.shared), kind, keeps: AtomicBool::new(false) }),
        };
        let sid = answer.await.map_err(|_| PublishError::Disconnected)??;
        publication.keep();
        debug_assert!(publication.info().is_none_or(|info| info.sid == sid));
        Ok(publication)
    }

    /// The publications of this client.
    pub fn track_publications(&self) -> Vec<Arc<TrackPublication>> {
        self.info().publications.clone()
    }

    /// A handle of the publication that has this sid now; `None` if none of this client's has.
    #[doc(alias = "get_track_publication")]
    pub fn track_publication(&self, sid: &TrackSid) -> Option<LocalTrackPublication> {
        let kind = self.info().publication(sid)?.kind;
        let id = self.shared.local_sids.find(sid)?;
        let shared = Arc::clone(&self.shared);
        Some(LocalTrackPublication { inner: Arc::new(Inner { id, shared, kind, keeps: AtomicBool::new(true) }) })
    }

    /// Ends the publication that has this sid now, if one of this client's has.
    pub fn unpublish_track(&self, sid: &TrackSid) {
        if let Some(publication) = self.track_publication(sid) {
            publication.unpublish();
        }
    }
}

fn audio_request(source: &AudioSource) -> TrackRequest {
    TrackRequest {
        kind: TrackKind::Audio,
        source: TrackSource::Microphone,
        name: String::new(),
        stream: String::new(),
        mime_type: "audio/opus".to_owned(),
        is_muted: false,
        is_stereo: source.is_stereo(),
        has_red: true,
        has_dtx: false,
        has_preconnect_buffer: false,
        is_encrypted: false,
        dimensions: (0, 0),
        layers: Vec::new(),
    }
}

fn video_request(outlet: &VideoOutlet) -> TrackRequest {
    let all: Vec<_> = (outlet.layers().iter())
        .map(|layer| Layer {
            rid: layer.quality.to_rid(),
            dimensions: (layer.width, layer.height),
            bits_per_second: layer.bitrate,
        })
        .collect();
    TrackRequest {
        kind: TrackKind::Video,
        source: TrackSource::Camera,
        name: String::new(),
        stream: String::new(),
        mime_type: outlet.codec().mime_type().to_owned(),
        is_muted: false,
        is_stereo: false,
        has_red: false,
        has_dtx: false,
        has_preconnect_buffer: false,
        is_encrypted: false,
        dimensions: all.last().map(|layer| layer.dimensions).unwrap_or_default(),
        layers: if outlet.rids().is_empty() { Vec::new() } else { all },
    }
}

/// A published track of this client: a handle, which keeps the room. Dropping it does not unpublish.
#[derive(Clone)]
pub struct LocalTrackPublication {
    inner: Arc<Inner>,
}

struct Inner {
    id: LocalTrackId,
    shared: Arc<Shared>,
    kind: TrackKind,
    /// Whether it stays published without this handle.
    keeps: AtomicBool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !*self.keeps.get_mut() {
            // A room that is over publishes nothing.
            let _ = self.shared.command(Command::Unpublish { id: self.id });
        }
    }
}

impl LocalTrackPublication {
    fn keep(&self) {
        self.inner.keeps.store(true, Ordering::Relaxed);
    }

    /// The sid of the publication: another one after a full reconnect, and empty once it is no longer published.
    pub fn sid(&self) -> TrackSid {
        self.inner.shared.local_sids.get(self.inner.id).unwrap_or_default()
    }

    /// Audio or video.
    pub fn kind(&self) -> TrackKind {
        self.inner.kind
    }

    /// What is known of it now; `None` once it is no longer published.
    pub fn info(&self) -> Option<Arc<TrackPublication>> {
        let sid = self.sid();
        self.inner.shared.participants.borrow().local.as_ref()?.publication(&sid).cloned()
    }

    /// Whether it is muted.
    pub fn is_muted(&self) -> bool {
        self.info().is_some_and(|publication| publication.is_muted)
    }

    /// Sends nothing of it, and tells the others so.
    pub fn mute(&self) {
        self.set_muted(true);
    }

    /// Sends it again.
    pub fn unmute(&self) {
        self.set_muted(false);
    }

    fn set_muted(&self, muted: bool) {
        // A room that is over sends nothing anyway.
        let _ = self.inner.shared.command(Command::SetMuted { id: self.inner.id, muted });
    }

    /// Ends the publication. The source can be published again at once.
    pub fn unpublish(&self) {
        let _ = self.inner.shared.command(Command::Unpublish { id: self.inner.id });
    }

    /// Waits until somebody receives the track. Dropping the future changes nothing.
    ///
    /// # Errors
    ///
    /// [`PublishError::Disconnected`] if the room is over, or the track unpublished, before.
    pub async fn subscribed(&self) -> Result<(), PublishError> {
        let Inner { id, shared, .. } = &*self.inner;
        let mut participants: watch::Receiver<Arc<Participants>> = shared.participants.clone();
        loop {
            // The snapshot's lock is not held while anything else is asked: a second look under it waits for the room's task, and
            // that for the first look's end.
            let now = Arc::clone(&participants.borrow_and_update());
            // Read after the snapshot, since the task says so when it becomes another one. After a join anew the track may be
            // there without a publication for a while.
            let Some(sid) = shared.local_sids.get(*id) else { return Err(PublishError::Disconnected) };
            let publication = now.local.as_ref().and_then(|local| local.publication(&sid));
            if publication.is_some_and(|publication| publication.is_subscribed) {
                return Ok(());
            }
            participants.changed().await.map_err(|_| PublishError::Disconnected)?;
        }
    }
}

impl fmt::Debug for LocalTrackPublication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalTrackPublication")
            .field("sid", &self.sid())
            .field("kind", &self.inner.kind)
            .finish_non_exhaustive()
    }
}

/// An audio source's packets as RTP.
struct AudioOut {
    outlet: Outlet,
    red: Option<RedEncoder>,
    sealer: Option<FrameSealer>,
    sequence: u64,
}

impl AudioOut {
    fn new(outlet: Outlet, has_red: bool) -> Self {
        Self { outlet, red: has_red.then(|| RedEncoder::new(RedEncoder::DEPTH)), sealer: None, sequence: 0 }
    }
}

impl RtpOutlet for AudioOut {
    fn poll(&mut self, now: Instant) -> Option<OutgoingRtp> {
        let (audio, format, payload) = loop {
            let audio = self.outlet.poll_packet(now)?;
            let (format, payload) = match (&mut self.sealer, &mut self.red) {
                // As of all clients, redundancy ends where encryption begins.
                (Some(sealer), _) => match sealer.seal(FrameCodec::Audio, &audio.payload) {
                    Some(sealed) => (PayloadFormat::Opus, Arc::from(sealed)),
                    None => continue,
                },
                (None, Some(red)) => red.encode(audio.timestamp, &audio.payload),
                (None, None) => (PayloadFormat::Opus, Arc::clone(&audio.payload)),
            };
            break (audio, format, payload);
        };
        let codec = match format {
            PayloadFormat::Opus => Codec::Opus,
            PayloadFormat::Red => Codec::Red,
        };
        self.sequence += 1;
        Some(
            OutgoingRtp::new(codec, self.sequence, audio.timestamp, payload)
                .with_marker(audio.is_first_after_silence)
                .with_audio_level(Some(audio.audio_level), Some(audio.voice_activity)),
        )
    }

    fn next_due(&self, now: Instant) -> Option<Instant> {
        self.outlet.next_due(now)
    }

    fn set_waker(&mut self, waker: Arc<dyn Fn() + Send + Sync>) {
        self.outlet.set_waker(waker);
    }

    fn set_muted(&mut self, muted: bool) {
        self.outlet.set_muted(muted);
    }

    fn set_encryption(&mut self, encryption: Option<TrackEncryption>) {
        self.sealer = encryption.as_ref().map(FrameSealer::new);
    }
}

/// A video source's packets.
struct VideoOut {
    outlet: VideoOutlet,
    ready: VecDeque<OutgoingRtp>,
    is_muted: bool,
    is_sending: bool,
}

impl VideoOut {
    fn update(&self) {
        self.outlet.set_active(self.is_sending && !self.is_muted);
    }
}

/// Packets of video that are taken from a source at a time.
const VIDEO_BATCH: usize = 64;

impl RtpOutlet for VideoOut {
    fn poll(&mut self, _now: Instant) -> Option<OutgoingRtp> {
        if self.ready.is_empty() {
            self.ready.extend(self.outlet.poll_packets(VIDEO_BATCH));
        }
        self.ready.pop_front()
    }

    fn next_due(&self, now: Instant) -> Option<Instant> {
        (!self.ready.is_empty()).then_some(now)
    }

    fn set_waker(&mut self, waker: Arc<dyn Fn() + Send + Sync>) {
        self.outlet.set_waker(waker);
    }

    fn set_muted(&mut self, muted: bool) {
        self.is_muted = muted;
        self.update();
    }

    fn set_encryption(&mut self, encryption: Option<TrackEncryption>) {
        self.ready.clear();
        self.outlet.set_encryption(encryption);
    }

    fn set_sending(&mut self, sending: bool) {
        self.is_sending = sending;
        self.update();
    }

    fn keyframe_requested(&mut self, rid: Option<Rid>) {
        self.outlet.request_keyframe(rid);
    }

    fn qualities_wanted(&mut self, [low, medium, high]: [bool; 3]) {
        let wanted = SubscribedQualities::ALL
            .with(VideoQuality::Low, low)
            .with(VideoQuality::Medium, medium)
            .with(VideoQuality::High, high);
        self.outlet.set_subscribed(wanted);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::participant::Participant;

    fn with(sid: &str, is_subscribed: bool) -> Arc<Participants> {
        let mut publication = TrackPublication::new(sid, TrackKind::Audio, TrackSource::Microphone);
        publication.is_subscribed = is_subscribed;
        let mut local = Participant::new("PA_me", "me");
        local.publications.push(Arc::new(publication));
        Arc::new(Participants { local: Some(Arc::new(local)), ..Participants::default() })
    }

    fn published() -> (LocalTrackPublication, watch::Sender<Arc<Participants>>) {
        let (room, participants) = watch::channel(with("TR_1", false));
        let shared = Arc::new(Shared::detached(participants));
        shared.local_sids.insert(1, &"TR_1".into());
        let inner = Inner { id: 1, shared, kind: TrackKind::Audio, keeps: AtomicBool::new(true) };
        (LocalTrackPublication { inner: Arc::new(inner) }, room)
    }

    #[test]
    fn who_waits_for_a_subscription_does_not_lock_the_room_out() {
        let (publication, room) = published();
        let (done, is_done) = mpsc::channel();
        let waits = std::thread::spawn(move || {
            for _ in 0..20_000 {
                assert_eq!(publication.subscribed().now_or_never(), None);
            }
            done.send(()).unwrap();
        });
        let tells = std::thread::spawn(move || {
            while !waits.is_finished() {
                room.send_replace(with("TR_1", false));
            }
        });
        is_done.recv_timeout(Duration::from_secs(20)).expect("neither waits for the other");
        tells.join().unwrap();
    }

    #[tokio::test]
    async fn a_subscription_is_waited_for_under_whatever_sid_the_track_has() {
        let (publication, room) = published();
        let waiting = publication.clone();
        let subscribed = tokio::spawn(async move { waiting.subscribed().await });
        tokio::task::yield_now().await;
        // A join anew: the publication goes, comes again and gets its sid, in this order.
        room.send_replace(Arc::default());
        tokio::task::yield_now().await;
        room.send_replace(with("TR_2", true));
        tokio::task::yield_now().await;
        assert!(!subscribed.is_finished());
        publication.inner.shared.local_sids.insert(1, &"TR_2".into());
        room.send_modify(|_| {});
        assert_eq!(subscribed.await.unwrap(), Ok(()));

        room.send_replace(Arc::default());
        publication.inner.shared.local_sids.remove(1);
        assert_eq!(publication.subscribed().await, Err(PublishError::Disconnected));
    }
}
