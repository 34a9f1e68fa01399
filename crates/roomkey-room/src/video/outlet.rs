//! Where the room takes a source's packets from.

use std::fmt;
use std::sync::Arc;

use roomkey_rtc::{OutgoingRtp, Rid};

use super::frame::VideoCodec;
use super::layer::{SubscribedQualities, VideoLayer, VideoQuality};
use super::packet::VideoPacket;
use super::source::Shared;
use crate::encryption::TrackEncryption;

/// The room's end of a [`VideoSource`](super::VideoSource). Dropping it leaves the source as it was before it was published.
pub(crate) struct VideoOutlet {
    shared: Arc<Shared>,
}

impl VideoOutlet {
    pub(super) fn take(shared: &Arc<Shared>) -> Option<Self> {
        let mut state = shared.state();
        if std::mem::replace(&mut state.has_outlet, true) {
            return None;
        }
        drop(state);
        Some(Self { shared: Arc::clone(shared) })
    }

    pub(crate) fn codec(&self) -> VideoCodec {
        self.shared.options.codec()
    }

    /// What an AddTrackRequest says of the sizes.
    pub(crate) fn layers(&self) -> &[VideoLayer] {
        self.shared.options.layers()
    }

    /// The names of the layers in an offer, from the smallest on; none without simulcast.
    pub(crate) fn rids(&self) -> Vec<Rid> {
        let is_simulcast = self.shared.options.is_simulcast();
        self.layers().iter().filter(|_| is_simulcast).map(|layer| layer.quality.to_rid()).collect()
    }

    /// What to call when there are packets. It is called on the application's threads, and must not block.
    pub(crate) fn set_waker(&self, waker: Arc<dyn Fn() + Send + Sync>) {
        let replaced = self.shared.state().room_waker.replace(waker);
        drop(replaced);
    }

    /// Whether what is captured can be sent: the track is negotiated and the connection up, and it is not muted. It can't at
    /// first. When it can, each layer begins with a key frame, which is asked for.
    pub(crate) fn set_active(&self, is_active: bool) {
        let mut state = self.shared.state();
        if state.is_active == is_active {
            return;
        }
        state.is_active = is_active;
        state.needs_keyframe.fill(true);
        let dropped = std::mem::take(&mut state.queue);
        state.queue_bytes = 0;
        drop(state);
        drop(dropped);
        if is_active {
            self.request_keyframe(None);
        }
    }

    /// What is to seal the frames that are captured from now on; nothing, for frames as they are. Those that wait are dropped,
    /// and each layer begins again with a key frame.
    pub(crate) fn set_encryption(&self, encryption: Option<TrackEncryption>) {
        let mut state = self.shared.state();
        state.encryption = encryption;
        state.needs_keyframe.fill(true);
        let dropped = std::mem::take(&mut state.queue);
        state.queue_bytes = 0;
        let is_active = state.is_active;
        drop(state);
        drop(dropped);
        if is_active {
            self.request_keyframe(None);
        }
    }

    /// At most so many packets, in the order in which they are to be sent.
    pub(crate) fn poll_packets(&self, most: usize) -> Vec<OutgoingRtp> {
        self.take_packets(most).iter().map(VideoPacket::to_rtp).collect()
    }

    pub(super) fn take_packets(&self, most: usize) -> Vec<VideoPacket> {
        let mut state = self.shared.state();
        let count = most.min(state.queue.len());
        let packets: Vec<_> = state.queue.drain(..count).collect();
        state.queue_bytes -= packets.iter().map(|packet| packet.payload.len()).sum::<usize>();
        packets
    }

    /// A subscriber wants a key frame (PLI): of this layer, or of all where none is named. A name that is none of ours is
    /// ignored.
    pub(crate) fn request_keyframe(&self, rid: Option<Rid>) {
        for (index, layer) in self.layers().iter().enumerate() {
            let is_meant = rid.is_none_or(|rid| VideoQuality::from_rid(rid.as_str()) == Some(layer.quality));
            if is_meant && self.shared.wants(index, self.shared.subscribed()) {
                self.shared.request_keyframe(index);
            }
        }
    }

    /// The server says which layers anybody wants.
    pub(crate) fn set_subscribed(&self, subscribed: SubscribedQualities) {
        self.shared.set_subscribed(subscribed);
    }
}

impl Drop for VideoOutlet {
    fn drop(&mut self) {
        self.set_active(false);
        self.set_encryption(None);
        self.shared.set_subscribed(SubscribedQualities::ALL);
        let mut state = self.shared.state();
        state.has_outlet = false;
        let waker = state.room_waker.take();
        drop(state);
        drop(waker);
    }
}

impl fmt::Debug for VideoOutlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VideoOutlet").field("layers", &self.layers()).finish_non_exhaustive()
    }
}
