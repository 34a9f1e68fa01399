//! The pictures of a track that somebody else publishes.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_util::Stream;
use roomkey_rtc::IncomingRtp;

use super::assembler::FrameAssembler;
use super::frame::EncodedVideoFrame;
use super::malformed::MalformedVideo;
use super::packet::VideoPacket;
use crate::encryption::FrameOpener;

/// How a [`VideoStream`] waits and holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct VideoStreamOptions {
    /// How many frames wait for a slow consumer; 150 by default, five seconds of most cameras.
    pub queue: usize,
    /// How long a packet that is missing is waited for; 300 ms by default. It is asked for and sent again meanwhile, which
    /// takes a round trip or two. Only frames after a loss wait for so long.
    pub reorder_wait: Duration,
}

impl Default for VideoStreamOptions {
    fn default() -> Self {
        Self { queue: 150, reorder_wait: Duration::from_millis(300) }
    }
}

impl VideoStreamOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// So many frames wait for a slow consumer, one at least.
    pub fn with_queue(self, frames: usize) -> Self {
        Self { queue: frames.max(1), ..self }
    }

    /// A packet that is missing is waited for so long.
    pub fn with_reorder_wait(self, reorder_wait: Duration) -> Self {
        Self { reorder_wait, ..self }
    }
}

/// The encoded frames of a track, in an order that a decoder can take, beginning with a key frame.
///
/// After a loss that was not made good in time, frames are left out until the next key frame, which is asked for. So it is
/// with a consumer that is slow: the oldest frames go, up to a key frame. [`stats`](Self::stats) counts both. Frames may
/// change their size at a key frame, when the server forwards another layer; and a server sends a few black frames of some
/// pixels where a track is muted or ends.
///
/// It ends with the track. Dropping it ends the reception; a dropped wait for the next frame loses nothing.
#[doc(alias = "NativeVideoStream")]
pub struct VideoStream {
    shared: Arc<Shared>,
}

impl VideoStream {
    /// The next frame; `None` once the track has ended. Dropping the future loses none.
    pub async fn next(&mut self) -> Option<EncodedVideoFrame> {
        futures_util::StreamExt::next(self).await
    }

    /// Asks the publisher for a key frame, at most every half second: for a decoder that was begun anew.
    pub fn request_keyframe(&self) {
        let mut state = self.shared.state();
        state.wants_keyframe = true;
        let waker = state.room_waker.clone();
        drop(state);
        if let Some(waker) = waker {
            waker();
        }
    }

    /// What was counted until now.
    pub fn stats(&self) -> VideoStreamStats {
        self.shared.state().stats
    }
}

impl Stream for VideoStream {
    type Item = EncodedVideoFrame;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<EncodedVideoFrame>> {
        let waker = context.waker().clone();
        let mut state = self.shared.state();
        if let Some(frame) = state.pop() {
            return Poll::Ready(Some(frame));
        }
        if state.is_closed {
            return Poll::Ready(None);
        }
        let replaced = state.consumer.replace(waker);
        drop(state);
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for VideoStream {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.is_abandoned = true;
        let queue = std::mem::take(&mut state.queue);
        state.queue_bytes = 0;
        let waker = state.room_waker.take();
        drop(state);
        drop(queue);
        if let Some(waker) = waker {
            waker();
        }
    }
}

impl fmt::Debug for VideoStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VideoStream").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// What a [`VideoStream`] has counted since its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct VideoStreamStats {
    /// Packets that came.
    pub packets: u64,
    /// Packets that came too late, twice, or were dropped for want of a frame that they are part of.
    pub unused_packets: u64,
    /// Frames that were given or wait.
    pub frames: u64,
    /// Key frames among them.
    pub keyframes: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Times at which a frame was lost; the frames up to the next key frame went with it.
    pub lost_frames: u64,
    /// Frames that could not be put together, though all packets were there. They count as lost too.
    pub malformed_frames: u64,
    /// What was wrong with the last of them.
    pub last_malformed: Option<MalformedVideo>,
    /// Frames of a track that is encrypted end to end that could not be decrypted. None of them is given.
    pub undecrypted_frames: u64,
    /// Frames that were whole and were dropped, since the consumer is slow.
    pub dropped_frames: u64,
    /// Key frames that were asked for.
    pub keyframe_requests: u64,
}

/// Where the room puts a track's packets.
#[derive(Debug)]
pub(crate) struct VideoInlet {
    shared: Arc<Shared>,
    assembler: FrameAssembler,
}

impl VideoInlet {
    /// The two ends. The inlet is the room's; of a track that is encrypted end to end it opens the frames.
    pub(crate) fn new(options: VideoStreamOptions, opener: Option<FrameOpener>) -> (Self, VideoStream) {
        let shared = Arc::new(Shared { most_frames: options.queue.max(1), state: Mutex::default() });
        let stream = VideoStream { shared: Arc::clone(&shared) };
        (Self { shared, assembler: FrameAssembler::new(options.reorder_wait).with_opener(opener) }, stream)
    }

    /// What to call when [`poll_keyframe_request`](Self::poll_keyframe_request) or
    /// [`is_abandoned`](Self::is_abandoned) may say something else. It is called on the application's threads, and must not
    /// block.
    pub(crate) fn set_waker(&self, waker: Arc<dyn Fn() + Send + Sync>) {
        let replaced = self.shared.state().room_waker.replace(waker);
        drop(replaced);
    }

    /// A packet of the track has come. Others than video are ignored.
    pub(crate) fn push(&mut self, now: Instant, packet: IncomingRtp) {
        if let Some(packet) = VideoPacket::received(packet) {
            self.handle_packet(now, packet);
        }
    }

    pub(super) fn handle_packet(&mut self, now: Instant, packet: VideoPacket) {
        if !self.is_abandoned() {
            self.assembler.handle_packet(now, packet);
            self.deliver(now);
        }
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) said has come, or any other.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.assembler.handle_timeout(now);
        self.deliver(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) and
    /// [`poll_keyframe_request`](Self::poll_keyframe_request) at the latest.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.assembler.poll_timeout()
    }

    /// Whether to ask for a key frame (PLI) now. Call it after each `push` and `handle_timeout`, and when woken.
    pub(crate) fn poll_keyframe_request(&mut self, now: Instant) -> bool {
        if std::mem::take(&mut self.shared.state().wants_keyframe) {
            self.assembler.request_keyframe(now);
        }
        let asks = self.assembler.poll_keyframe_request(now);
        if asks {
            self.shared.state().stats.keyframe_requests += 1;
        }
        asks
    }

    /// The packets that come next have other sequence numbers: another SSRC, or another connection.
    pub(crate) fn restart(&mut self) {
        self.assembler.restart();
    }

    /// Whether nobody will take frames any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.shared.state().is_abandoned
    }

    fn deliver(&mut self, now: Instant) {
        let mut needs_keyframe = false;
        let mut state = self.shared.state();
        let queued_before = state.queue.len();
        while let Some(frame) = self.assembler.poll_frame() {
            needs_keyframe |= !state.is_abandoned && state.push(frame, self.shared.most_frames);
        }
        state.count(&self.assembler);
        let waker = if state.queue.len() > queued_before { state.consumer.take() } else { None };
        drop(state);
        if needs_keyframe {
            self.assembler.request_keyframe(now);
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for VideoInlet {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.is_closed = true;
        let waker = state.consumer.take();
        let room_waker = state.room_waker.take();
        drop(state);
        drop(room_waker);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[derive(Debug)]
struct Shared {
    most_frames: usize,
    state: Mutex<State>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct State {
    queue: VecDeque<EncodedVideoFrame>,
    queue_bytes: usize,
    /// Frames are dropped until a key frame comes.
    skips_to_keyframe: bool,
    wants_keyframe: bool,
    is_closed: bool,
    is_abandoned: bool,
    consumer: Option<Waker>,
    room_waker: Option<Arc<dyn Fn() + Send + Sync>>,
    stats: VideoStreamStats,
}

impl State {
    /// Whatever the number of frames.
    const MOST_BYTES: usize = 32 << 20;

    /// Whether the consumer will need a key frame.
    fn push(&mut self, frame: EncodedVideoFrame, most_frames: usize) -> bool {
        let is_over = self.queue.len() >= most_frames || self.queue_bytes + frame.data.len() > Self::MOST_BYTES;
        if is_over && !self.queue.is_empty() {
            self.drop_to_keyframe();
            self.skips_to_keyframe |= self.queue.is_empty();
        }
        if self.skips_to_keyframe && !frame.is_keyframe {
            self.stats.dropped_frames += 1;
            return true;
        }
        self.skips_to_keyframe = false;
        self.stats.frames += 1;
        self.stats.keyframes += u64::from(frame.is_keyframe);
        self.stats.bytes += frame.data.len() as u64;
        self.queue_bytes += frame.data.len();
        self.queue.push_back(frame);
        false
    }

    fn pop(&mut self) -> Option<EncodedVideoFrame> {
        let frame = self.queue.pop_front()?;
        self.queue_bytes -= frame.data.len();
        Some(frame)
    }

    /// The oldest frame goes, and all that need it.
    fn drop_to_keyframe(&mut self) {
        let mut dropped = self.pop();
        while let Some(frame) = dropped {
            self.stats.dropped_frames += 1;
            self.stats.frames -= 1;
            self.stats.keyframes -= u64::from(frame.is_keyframe);
            self.stats.bytes -= frame.data.len() as u64;
            dropped = if self.queue.front().is_some_and(|next| !next.is_keyframe) { self.pop() } else { None };
        }
    }

    fn count(&mut self, assembler: &FrameAssembler) {
        let counted = assembler.stats();
        self.stats.packets = counted.packets;
        self.stats.unused_packets = counted.unused_packets;
        self.stats.lost_frames = counted.lost_frames;
        self.stats.malformed_frames = counted.malformed_frames;
        self.stats.last_malformed = counted.last_malformed;
        self.stats.undecrypted_frames = counted.undecrypted_frames;
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("queue", &self.queue.len()).field("stats", &self.stats).finish_non_exhaustive()
    }
}
