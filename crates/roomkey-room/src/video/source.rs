//! The pictures of a track of this client.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::stream::{self, BoxStream};
use tokio::sync::watch;

use super::frame::{EncodedVideoFrame, VideoCodec, to_ticks};
use super::layer::{SubscribedQualities, VideoLayer, VideoQuality};
use super::malformed::MalformedVideo;
use super::outlet::VideoOutlet;
use super::packet::VideoPacket;
use super::packetizer::{NotPacketized, Packetizer};
use super::source_options::VideoSourceOptions;
use crate::encryption::TrackEncryption;

/// A track's pictures, as an encoder of the application makes them. A cheap handle of what is to be published.
///
/// Nothing is encoded here. Who captures sends what encoders make, begins each layer with a key frame, makes another when
/// [`keyframe_requests`](Self::keyframe_requests) says so, and may spare what
/// [`subscribed_qualities`](Self::subscribed_qualities) says that nobody wants.
///
/// ```
/// use std::time::Duration;
///
/// use roomkey_room::{Captured, EncodedVideoFrame, VideoCodec, VideoQuality, VideoSource, VideoSourceOptions};
///
/// let source = VideoSource::new(VideoSourceOptions::new(VideoCodec::Vp8, 1_280, 720).with_simulcast());
/// let names: Vec<_> = source.options().layers().iter().map(|layer| layer.quality.rid()).collect();
/// assert_eq!(names, ["q", "h", "f"]);
///
/// // An encoder's key frame of the smallest size, as far as its header.
/// let data = [0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00];
/// let frame = EncodedVideoFrame::new(VideoCodec::Vp8, Duration::ZERO, &data[..]).with_layer(VideoQuality::Low);
/// assert_eq!((frame.is_keyframe, frame.dimensions), (true, Some((320, 180))));
/// assert_eq!(source.capture_frame(&frame), Ok(Captured::NotConnected), "it is not published");
/// ```
#[doc(alias = "NativeVideoSource")]
#[derive(Clone)]
pub struct VideoSource {
    shared: Arc<Shared>,
}

impl VideoSource {
    /// A source that nobody has published.
    pub fn new(options: VideoSourceOptions) -> Self {
        let layer_name = |layer: &VideoLayer| options.is_simulcast().then_some(layer.quality);
        let packetizers =
            options.layers().iter().map(|layer| Packetizer::new(options.codec(), layer_name(layer), fastrand::u16(..)));
        let packetizers = Mutex::new(packetizers.collect());
        let state = Mutex::new(State::new(options.layers().len()));
        let shared = Shared {
            options,
            timestamp_offset: fastrand::u32(..),
            packetizers,
            state,
            requests: watch::Sender::default(),
            subscribed: watch::Sender::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// What it was made for.
    pub fn options(&self) -> &VideoSourceOptions {
        &self.shared.options
    }

    /// Sends a frame. It does not wait: what can't be sent is left out, as [`Captured`] says, and then all that follows in
    /// the same layer up to the next key frame.
    ///
    /// # Errors
    ///
    /// The frame is not what the source was made for, or nothing that packets could carry.
    pub fn capture_frame(&self, frame: &EncodedVideoFrame) -> Result<Captured, CaptureError> {
        let shared = &*self.shared;
        if frame.codec != shared.options.codec() {
            return Err(CaptureError::WrongCodec(frame.codec));
        }
        let index = shared.layer_index(frame.layer).ok_or(CaptureError::UnknownLayer(frame.layer))?;
        // The order of frames is that of this lock, which the room never waits for.
        let mut packetizers = shared.packetizers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = shared.state();
        if let Some(refused) = state.refusal(shared, index, frame.is_keyframe) {
            return Ok(refused);
        }
        // Before it is made into packets, which takes numbers: a gap in them is waited for by those who receive.
        if !state.has_room_for(frame.data.len()) {
            state.stats.dropped_frames += 1;
            state.needs_keyframe[index] = true;
            drop(state);
            drop(packetizers);
            shared.request_keyframe(index);
            return Ok(Captured::QueueFull);
        }
        let encryption = state.encryption.clone();
        drop(state);
        let timestamp = to_ticks(frame.elapsed).wrapping_add(shared.timestamp_offset);
        packetizers[index].set_encryption(encryption.as_ref());
        let packets = packetizers[index].packetize(frame, timestamp);
        let mut state = shared.state();
        // The room may have gone on meanwhile.
        if let Some(refused) = state.refusal(shared, index, frame.is_keyframe) {
            return Ok(refused);
        }
        if state.encryption.is_some() != encryption.is_some() {
            state.needs_keyframe[index] = true;
            return Ok(Captured::AwaitingKeyframe);
        }
        let (captured, waker) = match packets {
            Ok(packets) => {
                state.push(index, packets);
                (Ok(Captured::Queued), state.room_waker.clone())
            }
            Err(NotPacketized::Malformed(malformed)) => {
                state.needs_keyframe[index] = true;
                (Err(CaptureError::Malformed(malformed)), None)
            }
            Err(NotPacketized::NotSealed) => {
                state.stats.dropped_frames += 1;
                state.needs_keyframe[index] = true;
                (Ok(Captured::NotEncrypted), None)
            }
        };
        drop(state);
        drop(packetizers);
        if captured.is_err() {
            shared.request_keyframe(index);
        }
        if let Some(waker) = waker {
            waker();
        }
        captured
    }

    #[cfg(test)]
    pub(super) fn queued_numbers(&self) -> Vec<u64> {
        self.shared.state().queue.iter().map(|packet| packet.sequence).collect()
    }

    /// The layers for which a key frame is wanted, each as soon as it is: by a subscriber, or since frames were left out.
    /// Requests that nobody has looked at are one. Several streams get the same.
    ///
    /// It ends with the source. Dropping it, or a wait, loses nothing.
    pub fn keyframe_requests(&self) -> KeyframeRequests {
        let requests =
            stream::unfold((self.shared.requests.subscribe(), [0; 3]), |(mut counts, mut seen)| async move {
                loop {
                    let now = *counts.borrow_and_update();
                    let news =
                        VideoQuality::ALL.into_iter().find(|quality| now[quality.index()] != seen[quality.index()]);
                    if let Some(quality) = news {
                        seen[quality.index()] = now[quality.index()];
                        return Some((quality, (counts, seen)));
                    }
                    counts.changed().await.ok()?;
                }
            });
        KeyframeRequests { requests: Box::pin(requests) }
    }

    /// Which layers anybody wants (dynacast). What nobody wants is not sent, and need not be encoded. All, as long as the
    /// server has not said. Without simulcast, any of them means the one size.
    pub fn subscribed_qualities(&self) -> watch::Receiver<SubscribedQualities> {
        self.shared.subscribed.subscribe()
    }

    /// What was counted until now.
    pub fn stats(&self) -> VideoSourceStats {
        self.shared.state().stats
    }

    /// The room's end. Nothing if the source is published already.
    pub(crate) fn outlet(&self) -> Option<VideoOutlet> {
        VideoOutlet::take(&self.shared)
    }
}

impl fmt::Debug for VideoSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VideoSource").field("options", self.options()).field("stats", &self.stats()).finish()
    }
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Captured {
    /// It will be sent.
    Queued,
    /// The source is not published, is muted, or the connection is not up.
    NotConnected,
    /// Nobody wants this layer.
    NotWanted,
    /// A frame before it is missing: only a key frame helps.
    AwaitingKeyframe,
    /// The network takes less than the encoder makes.
    QueueFull,
    /// The track is encrypted end to end and the frame could not be: there is no key, or the codec is AV1, which LiveKit's
    /// clients do not encrypt. The room's [`E2eeStateChanged`](crate::RoomEvent::E2eeStateChanged) says which.
    NotEncrypted,
}

/// Why a frame is nothing for the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CaptureError {
    /// The source is for another codec.
    WrongCodec(VideoCodec),
    /// The source has no such layer, or has layers and the frame doesn't say which:
    /// [`with_layer`](EncodedVideoFrame::with_layer).
    UnknownLayer(Option<VideoQuality>),
    /// The codec's format is broken. A key frame has to come next.
    Malformed(MalformedVideo),
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongCodec(codec) => write!(f, "the source is not for {}", codec.mime_type()),
            Self::UnknownLayer(Some(quality)) => write!(f, "the source has no layer of {quality} quality"),
            Self::UnknownLayer(None) => f.write_str("the source has several layers, and the frame is of none"),
            Self::Malformed(_) => f.write_str("the frame is not in the format of its codec"),
        }
    }
}

impl std::error::Error for CaptureError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Malformed(malformed) => Some(malformed),
            Self::WrongCodec(_) | Self::UnknownLayer(_) => None,
        }
    }
}

/// What a [`VideoSource`] has counted since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct VideoSourceStats {
    /// Frames that were sent or wait.
    pub frames: u64,
    /// Packets of them.
    pub packets: u64,
    /// Bytes of payload in the packets.
    pub bytes: u64,
    /// Frames that were dropped since the queue was full, a key frame had to come first, or they could not be encrypted.
    pub dropped_frames: u64,
    /// Key frames that were asked for.
    pub keyframe_requests: u64,
}

/// The layers for which a key frame is wanted, made by [`VideoSource::keyframe_requests`]. Without simulcast it is always
/// [`High`](VideoQuality::High).
pub struct KeyframeRequests {
    requests: BoxStream<'static, VideoQuality>,
}

impl Stream for KeyframeRequests {
    type Item = VideoQuality;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<VideoQuality>> {
        self.requests.as_mut().poll_next(context)
    }
}

impl fmt::Debug for KeyframeRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyframeRequests").finish_non_exhaustive()
    }
}

/// What the source and its outlet have in common.
pub(super) struct Shared {
    pub(super) options: VideoSourceOptions,
    /// Timestamps begin anywhere (RFC 3550 section 5.1), with all layers alike.
    timestamp_offset: u32,
    packetizers: Mutex<Vec<Packetizer>>,
    state: Mutex<State>,
    /// How many key frames were asked for, by quality.
    requests: watch::Sender<[u64; 3]>,
    subscribed: watch::Sender<SubscribedQualities>,
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn layer_index(&self, layer: Option<VideoQuality>) -> Option<usize> {
        if !self.options.is_simulcast() {
            return matches!(layer, None | Some(VideoQuality::High)).then_some(0);
        }
        self.options.layers().iter().position(|known| Some(known.quality) == layer)
    }

    pub(super) fn wants(&self, index: usize, subscribed: SubscribedQualities) -> bool {
        if self.options.is_simulcast() {
            subscribed.contains(self.options.layers()[index].quality)
        } else {
            subscribed.any()
        }
    }

    pub(super) fn request_keyframe(&self, index: usize) {
        self.state().stats.keyframe_requests += 1;
        let quality = self.options.layers()[index].quality;
        self.requests.send_modify(|counts| counts[quality.index()] += 1);
    }

    pub(super) fn subscribed(&self) -> SubscribedQualities {
        *self.subscribed.borrow()
    }

    pub(super) fn set_subscribed(&self, subscribed: SubscribedQualities) {
        let before = self.subscribed.send_replace(subscribed);
        for index in 0..self.options.layers().len() {
            if self.wants(index, subscribed) && !self.wants(index, before) {
                let mut state = self.state();
                state.needs_keyframe[index] = true;
                let is_active = state.is_active;
                drop(state);
                if is_active {
                    self.request_keyframe(index);
                }
            }
        }
    }
}

/// What waits to be sent.
pub(super) struct State {
    pub(super) queue: VecDeque<VideoPacket>,
    pub(super) queue_bytes: usize,
    /// By layer: whether a frame before the next one is missing.
    pub(super) needs_keyframe: Vec<bool>,
    pub(super) has_outlet: bool,
    pub(super) is_active: bool,
    pub(super) encryption: Option<TrackEncryption>,
    pub(super) room_waker: Option<Arc<dyn Fn() + Send + Sync>>,
    stats: VideoSourceStats,
}

impl State {
    /// More than a second of the fastest encoder; a frame always fits into an empty queue.
    const MOST_BYTES: usize = 4 << 20;

    fn new(layers: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            queue_bytes: 0,
            needs_keyframe: vec![true; layers],
            has_outlet: false,
            is_active: false,
            encryption: None,
            room_waker: None,
            stats: VideoSourceStats::default(),
        }
    }

    /// Why a frame is not sent, before it is looked into.
    fn refusal(&mut self, shared: &Shared, index: usize, is_keyframe: bool) -> Option<Captured> {
        if !self.is_active {
            self.needs_keyframe[index] = true;
            return Some(Captured::NotConnected);
        }
        if !shared.wants(index, shared.subscribed()) {
            self.needs_keyframe[index] = true;
            return Some(Captured::NotWanted);
        }
        if self.needs_keyframe[index] && !is_keyframe {
            self.stats.dropped_frames += 1;
            return Some(Captured::AwaitingKeyframe);
        }
        None
    }

    fn has_room_for(&self, bytes: usize) -> bool {
        self.queue.is_empty() || self.queue_bytes + bytes <= Self::MOST_BYTES
    }

    fn push(&mut self, index: usize, packets: Vec<VideoPacket>) {
        let bytes: usize = packets.iter().map(|packet| packet.payload.len()).sum();
        self.needs_keyframe[index] = false;
        self.stats.frames += 1;
        self.stats.packets += packets.len() as u64;
        self.stats.bytes += bytes as u64;
        self.queue_bytes += bytes;
        self.queue.extend(packets);
    }
}
