//! One track on its way to one subscriber: which of the publisher's layers it gets, and numbers that go on when the layer
//! changes.

use std::time::{Duration, Instant};

use super::codec::Codec;
use super::keyframe::begins_keyframe;
use super::vp8::{Descriptor, Renumbering};

/// A simulcast layer, by its place in the order of quality: LiveKit's `q`, `h`, `f`. A track without simulcast has layer 0.
pub(super) type Layer = usize;

/// The layer that a `rid` stands for.
pub(super) fn layer_of_rid(rid: Option<&str>) -> Layer {
    match rid {
        Some("h" | "1") => 1,
        Some("f" | "2") => 2,
        Some(_) | None => 0,
    }
}

/// The numbers that a forwarded packet gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    /// Extended; what is sent are its low 16 bits. Begins far below 65,536, since SRTP counts roll-overs from there.
    pub(super) sequence: u64,
    pub(super) timestamp: u32,
}

/// What a packet is like before it is forwarded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived<'a> {
    pub(super) layer: Layer,
    pub(super) codec: Codec,
    pub(super) sequence: u64,
    pub(super) timestamp: u32,
    pub(super) payload: &'a [u8],
}

/// A packet as the subscriber gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Forwarded {
    pub(super) numbers: Numbers,
    /// The payload, where it is not the publisher's.
    pub(super) rewritten: Option<Vec<u8>>,
}

/// Decides what of a track reaches a subscriber.
#[derive(Debug)]
pub(super) struct Forwarder {
    is_video: bool,
    is_paused: bool,
    wanted: Layer,
    current: Option<Layer>,
    keyframe_asked: Option<Instant>,
    source: Numbers,
    sent: Option<(Numbers, Instant)>,
    base: Numbers,
    vp8: Renumbering,
}

const FIRST_SEQUENCE: u64 = 1_000;
/// A publisher that does not answer a request for a key frame is asked again after this.
const KEYFRAME_PATIENCE: Duration = Duration::from_millis(500);

impl Forwarder {
    pub(super) fn new(is_video: bool, wanted: Layer) -> Self {
        let base = Numbers { sequence: FIRST_SEQUENCE, timestamp: 0 };
        Self {
            is_video,
            is_paused: false,
            wanted,
            current: None,
            keyframe_asked: None,
            source: base,
            sent: None,
            base,
            vp8: Renumbering::default(),
        }
    }

    /// Stops or goes on. Video goes on with a key frame.
    pub(super) fn pause(&mut self, is_paused: bool) {
        if is_paused {
            self.current = None;
        }
        self.is_paused = is_paused;
    }

    /// The highest layer that the subscriber wants.
    pub(super) fn want(&mut self, layer: Layer) {
        self.wanted = layer;
    }

    /// The layer that flows.
    pub(super) fn current(&self) -> Option<Layer> {
        self.current
    }

    /// The best layer that is of use to the subscriber; nothing while it wants none.
    pub(super) fn wanted(&self) -> Option<Layer> {
        (!self.is_paused).then_some(self.wanted)
    }

    /// The layer to ask the publisher for a key frame of, where this subscriber waits for one and it is time to ask.
    /// `live` are the layers that packets arrive on.
    pub(super) fn keyframe_to_ask(&mut self, live: &[bool], now: Instant) -> Option<Layer> {
        if !self.is_video || self.is_paused {
            return None;
        }
        let target = self.target(live)?;
        if self.current == Some(target) {
            return None;
        }
        if self.keyframe_asked.is_some_and(|asked| now.saturating_duration_since(asked) < KEYFRAME_PATIENCE) {
            return None;
        }
        self.keyframe_asked = Some(now);
        Some(target)
    }

    /// The best live layer that is not above the wanted one; failing that, the lowest.
    fn target(&self, live: &[bool]) -> Option<Layer> {
        let mut layers = (0..live.len()).filter(|&layer| live[layer]);
        let lowest = layers.clone().next()?;
        Some(layers.rfind(|&layer| layer <= self.wanted).unwrap_or(lowest))
    }

    /// Whether this packet goes to the subscriber, and how.
    pub(super) fn forward(&mut self, packet: Arrived<'_>, live: &[bool], now: Instant) -> Option<Forwarded> {
        if self.is_paused {
            return None;
        }
        let vp8 = if packet.codec == Codec::Vp8 { Descriptor::parse(packet.payload) } else { None };
        if self.current != Some(packet.layer) {
            let is_target = !self.is_video || self.target(live) == Some(packet.layer);
            if !is_target || !begins_keyframe(packet.codec, packet.payload) {
                return None;
            }
            self.change_layer(packet, now);
            if let Some(descriptor) = &vp8 {
                self.vp8.change_layer(descriptor);
            }
        }
        // What is older than the change of layer is not for this subscriber.
        let sequence = self.base.sequence + packet.sequence.checked_sub(self.source.sequence)?;
        let timestamp = self.base.timestamp.wrapping_add(packet.timestamp.wrapping_sub(self.source.timestamp));
        let numbers = Numbers { sequence, timestamp };
        if self.sent.is_none_or(|(last, _)| sequence > last.sequence) {
            self.sent = Some((numbers, now));
        }
        let rewritten = vp8.map(|descriptor| {
            let mut payload = packet.payload.to_vec();
            self.vp8.apply(&descriptor, &mut payload);
            payload
        });
        Some(Forwarded { numbers, rewritten })
    }

    /// The layers' clocks do not begin together: the time since the last packet says how far the timestamp goes on.
    fn change_layer(&mut self, packet: Arrived<'_>, now: Instant) {
        self.current = Some(packet.layer);
        self.keyframe_asked = None;
        self.source = Numbers { sequence: packet.sequence, timestamp: packet.timestamp };
        self.base = match self.sent {
            None => Numbers { sequence: FIRST_SEQUENCE, timestamp: packet.timestamp },
            Some((last, at)) => {
                let ticks =
                    now.saturating_duration_since(at).as_micros() * u128::from(packet.codec.clock_rate()) / 1_000_000;
                let ticks = u32::try_from(ticks.max(1)).unwrap_or(u32::MAX);
                Numbers { sequence: last.sequence + 1, timestamp: last.timestamp.wrapping_add(ticks) }
            }
        };
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
mod tests {
    use super::*;

    const KEY: &[u8] = &[0x10, 0x00, 1];
    const DELTA: &[u8] = &[0x10, 0x01, 1];
    const ALL: [bool; 3] = [true; 3];

    fn vp8(layer: Layer, sequence: u64, timestamp: u32, payload: &[u8]) -> Arrived<'_> {
        Arrived { layer, codec: Codec::Vp8, sequence, timestamp, payload }
    }

    #[test]
    fn a_subscriber_begins_with_a_key_frame_of_the_layer_it_wants() {
        let now = Instant::now();
        let mut forwarder = Forwarder::new(true, 2);
        assert_eq!(forwarder.keyframe_to_ask(&ALL, now), Some(2));
        assert_eq!(forwarder.forward(vp8(2, 70, 5, DELTA), &ALL, now), None);
        assert_eq!(forwarder.forward(vp8(0, 71, 5, KEY), &ALL, now), None);
        let first = forwarder.forward(vp8(2, 72, 5, KEY), &ALL, now).unwrap().numbers;
        let second = forwarder.forward(vp8(2, 74, 6, DELTA), &ALL, now).unwrap().numbers;
        assert_eq!((second.sequence - first.sequence, second.timestamp - first.timestamp), (2, 1));
        assert_eq!(forwarder.keyframe_to_ask(&ALL, now), None);
    }

    #[test]
    fn numbers_go_on_when_the_layer_changes_and_the_old_layer_flows_until_then() {
        let start = Instant::now();
        let mut forwarder = Forwarder::new(true, 0);
        let first = forwarder.forward(vp8(0, 9, 100, KEY), &ALL, start).unwrap().numbers;
        forwarder.want(2);
        let old = forwarder.forward(vp8(0, 10, 200, DELTA), &ALL, start).unwrap().numbers;
        assert_eq!(old.sequence, first.sequence + 1);
        let later = start + Duration::from_millis(100);
        let new = forwarder.forward(vp8(2, 40_000, 77, KEY), &ALL, later).unwrap().numbers;
        assert_eq!(new, Numbers { sequence: old.sequence + 1, timestamp: old.timestamp + 9_000 });
        assert_eq!(forwarder.forward(vp8(2, 39_999, 76, DELTA), &ALL, later), None);
        assert_eq!(forwarder.forward(vp8(0, 11, 300, DELTA), &ALL, later), None);
    }

    #[test]
    fn a_layer_that_is_not_sent_is_not_waited_for() {
        let now = Instant::now();
        let mut forwarder = Forwarder::new(true, 2);
        assert_eq!(forwarder.keyframe_to_ask(&[true, true, false], now), Some(1));
        let mut low = Forwarder::new(true, 0);
        assert_eq!(low.keyframe_to_ask(&[false, false, true], now), Some(2));
        assert_eq!(low.keyframe_to_ask(&[false; 3], now), None);
    }

    #[test]
    fn a_publisher_is_not_asked_for_key_frames_without_a_pause() {
        let now = Instant::now();
        let mut forwarder = Forwarder::new(true, 0);
        assert_eq!(forwarder.keyframe_to_ask(&ALL, now), Some(0));
        assert_eq!(forwarder.keyframe_to_ask(&ALL, now), None);
        assert_eq!(forwarder.keyframe_to_ask(&ALL, now + KEYFRAME_PATIENCE), Some(0));
    }

    #[test]
    fn a_pause_ends_with_a_key_frame() {
        let now = Instant::now();
        let mut forwarder = Forwarder::new(true, 0);
        forwarder.forward(vp8(0, 9, 100, KEY), &ALL, now).unwrap();
        forwarder.pause(true);
        assert_eq!(forwarder.forward(vp8(0, 10, 100, KEY), &ALL, now), None);
        forwarder.pause(false);
        assert_eq!(forwarder.forward(vp8(0, 11, 100, DELTA), &ALL, now), None);
        assert!(forwarder.forward(vp8(0, 12, 100, KEY), &ALL, now).is_some());
    }

    #[test]
    fn audio_flows_from_its_first_packet() {
        let now = Instant::now();
        let mut forwarder = Forwarder::new(false, 0);
        let packet = Arrived { layer: 0, codec: Codec::Opus, sequence: 65_535, timestamp: 7, payload: &[1, 2] };
        let forwarded = forwarder.forward(packet, &[true], now).unwrap();
        let numbers = Numbers { sequence: FIRST_SEQUENCE, timestamp: 7 };
        assert_eq!(forwarded, Forwarded { numbers, rewritten: None });
    }
}
