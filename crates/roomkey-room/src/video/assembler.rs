//! From packets in any order to frames that a decoder can take.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::frame::{EncodedVideoFrame, FrameFacts, VideoCodec};
use super::keyframe_request::KeyframeRequest;
use super::malformed::MalformedVideo;
use super::packet::{Depacketized, MAX_FRAME, VideoPacket};
use super::timeline::Timeline;
use super::{av1, h264, vp8, vp9};
use crate::clock::later;
use crate::encryption::FrameOpener;

/// Puts packets in order and frames together.
///
/// A stream begins with a key frame. Packets that are lost are asked for and sent again below; a packet that does not come
/// in time takes its frame along, and all frames after it until the next key frame, which is asked for. A sequence of the
/// server goes on where it forwards another size; that one begins with a key frame.
///
/// After each `handle_…`, take all that `poll_frame` has, and ask for a key frame if `poll_keyframe_request` says so.
#[derive(Debug)]
pub(super) struct FrameAssembler {
    patience: Duration,
    held: BTreeMap<u64, Held>,
    held_bytes: usize,
    position: Option<Position>,
    /// What is before this has been given, or has been given up.
    floor: u64,
    /// Parameter sets of H.264 that came without a picture.
    prefix: Vec<u8>,
    /// The codec that a decoder has all it needs for: what comes next follows what was given.
    decodable: Option<VideoCodec>,
    /// Packets of before the floor in a row.
    late_in_a_row: u32,
    request: KeyframeRequest,
    timeline: Timeline,
    frames: VecDeque<EncodedVideoFrame>,
    /// What opens frames, of a track that is encrypted end to end.
    opener: Option<FrameOpener>,
    stats: AssemblerStats,
}

/// What was counted since the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct AssemblerStats {
    pub(super) packets: u64,
    pub(super) unused_packets: u64,
    pub(super) lost_frames: u64,
    pub(super) malformed_frames: u64,
    pub(super) last_malformed: Option<MalformedVideo>,
    pub(super) undecrypted_frames: u64,
}

#[derive(Debug)]
struct Held {
    packet: VideoPacket,
    arrived: Instant,
}

/// What comes next in a sequence whose beginning is known.
#[derive(Debug, Clone, Copy)]
struct Position {
    /// The first packet of the frame that is being put together.
    begin: u64,
    /// All packets from `begin` to before this are held, and are of one frame.
    cursor: u64,
}

impl FrameAssembler {
    /// A 4K key frame has about 1,500 packets.
    const MOST_PACKETS: usize = 4_096;

    /// What a held packet costs besides its payload.
    const PACKET_OVERHEAD: usize = 128;

    /// Parameter sets are a few hundred bytes.
    const MOST_PREFIX: usize = 64 << 10;

    /// The server begins with a key frame. Its first packet may have been overtaken; if it was lost, it is not sent again,
    /// since a receiver does not know of what was before the first packet that it got.
    const FIRST_KEYFRAME: Duration = Duration::from_millis(50);

    /// So many late packets without one that is not are the beginning of another sequence.
    const ANOTHER_SEQUENCE: u32 = 64;

    /// `patience` is how long a missing packet is waited for.
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience,
            held: BTreeMap::new(),
            held_bytes: 0,
            position: None,
            floor: 0,
            prefix: Vec::new(),
            decodable: None,
            late_in_a_row: 0,
            request: KeyframeRequest::default(),
            timeline: Timeline::default(),
            frames: VecDeque::new(),
            opener: None,
            stats: AssemblerStats::default(),
        }
    }

    /// Whose frames are sealed.
    pub(super) fn with_opener(self, opener: Option<FrameOpener>) -> Self {
        Self { opener, ..self }
    }

    pub(super) fn stats(&self) -> AssemblerStats {
        self.stats
    }

    /// Another sequence begins: what is held of the last one is dropped.
    pub(super) fn restart(&mut self) {
        self.clear();
        self.floor = 0;
    }

    pub(super) fn handle_packet(&mut self, now: Instant, packet: VideoPacket) {
        self.stats.packets += 1;
        let sequence = packet.sequence;
        let is_late = sequence < self.floor;
        if is_late {
            self.late_in_a_row += 1;
            if self.late_in_a_row == Self::ANOTHER_SEQUENCE {
                self.late_in_a_row = 0;
                self.restart();
            }
        } else {
            self.late_in_a_row = 0;
        }
        // The last number of all has no next.
        if is_late || sequence == u64::MAX || self.held.contains_key(&sequence) {
            self.stats.unused_packets += 1;
            return;
        }
        let begins_keyframe = self.begins_keyframe(&packet);
        self.held_bytes += Self::cost(&packet);
        self.held.insert(sequence, Held { packet, arrived: now });
        if self.position.is_none() {
            if begins_keyframe {
                self.begin_at(sequence);
            } else {
                self.request.want(if self.floor == 0 { now + Self::FIRST_KEYFRAME } else { now });
            }
        }
        self.advance(now);
        self.handle_timeout(now);
        self.keep_bounds(now);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while self.gap_deadline().is_some_and(|deadline| deadline <= now) {
            self.lose(now);
            self.advance(now);
        }
        if self.position.is_none() {
            while self.held.first_key_value().is_some_and(|(_, held)| later(held.arrived, self.patience) <= now) {
                self.drop_first();
            }
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) or
    /// [`poll_keyframe_request`](Self::poll_keyframe_request) at the latest.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.gap_deadline(), self.request.due()].into_iter().flatten().min()
    }

    pub(super) fn poll_frame(&mut self) -> Option<EncodedVideoFrame> {
        self.frames.pop_front()
    }

    /// The consumer can't go on without a key frame.
    pub(super) fn request_keyframe(&mut self, now: Instant) {
        self.request.want(now);
    }

    /// Whether a key frame is to be asked for now. True once.
    pub(super) fn poll_keyframe_request(&mut self, now: Instant) -> bool {
        self.request.take(now)
    }

    fn cost(packet: &VideoPacket) -> usize {
        packet.payload.len() + Self::PACKET_OVERHEAD
    }

    fn remove(&mut self, sequence: u64) -> Option<VideoPacket> {
        let held = self.held.remove(&sequence)?;
        self.held_bytes -= Self::cost(&held.packet);
        Some(held.packet)
    }

    fn drop_first(&mut self) {
        if let Some((_, held)) = self.held.pop_first() {
            self.held_bytes -= Self::cost(&held.packet);
            self.stats.unused_packets += 1;
        }
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Nothing is held, and a decoder has nothing to go on with.
    fn clear(&mut self) {
        self.stats.unused_packets += self.held.len() as u64;
        self.held.clear();
        self.held_bytes = 0;
        self.position = None;
        self.prefix.clear();
        self.decodable = None;
    }

    /// A frame begins with this packet, and what is before it is of no use.
    fn begin_at(&mut self, sequence: u64) {
        self.move_to(sequence);
        self.request.cancel();
    }

    fn move_to(&mut self, sequence: u64) {
        self.raise_floor(sequence);
        self.position = Some(Position { begin: sequence, cursor: sequence });
    }

    fn raise_floor(&mut self, sequence: u64) {
        self.floor = sequence;
        while self.held.first_key_value().is_some_and(|(first, _)| *first < sequence) {
            self.drop_first();
        }
    }

    /// Until when the packet at the cursor is waited for, where one is missing: from the arrival of the next one on.
    fn gap_deadline(&self) -> Option<Instant> {
        let cursor = self.position?.cursor;
        let (sequence, next) = self.held.range(cursor..).next()?;
        (*sequence != cursor).then(|| later(next.arrived, self.patience))
    }

    /// The frame at the position will not be whole: go on at the next key frame that is held, or ask for one.
    fn lose(&mut self, now: Instant) {
        self.stats.lost_frames += 1;
        self.decodable = None;
        self.prefix.clear();
        if let Some(position) = self.position.take() {
            self.raise_floor(position.cursor);
        }
        let found =
            self.held.iter().find(|(_, held)| self.begins_keyframe(&held.packet)).map(|(sequence, _)| *sequence);
        match found {
            Some(sequence) => self.begin_at(sequence),
            None => self.request.want(now),
        }
    }

    /// As far as packets are there without a gap.
    fn advance(&mut self, now: Instant) {
        while let Some(Position { begin, cursor }) = self.position
            && let Some(Held { packet, .. }) = self.held.get(&cursor)
        {
            // Padding has a number and is of no frame.
            let is_padding = packet.payload.is_empty();
            let is_of_another = !is_padding
                && self.held.get(&begin).is_some_and(|Held { packet: first, .. }| {
                    (first.timestamp, first.codec) != (packet.timestamp, packet.codec)
                });
            let ends = packet.marker && !is_padding;
            if is_padding && begin == cursor {
                self.remove(cursor);
                self.move_to(cursor + 1);
            } else if is_of_another {
                self.finish(now, begin..cursor);
            } else if ends {
                self.finish(now, begin..cursor + 1);
            } else {
                self.position = Some(Position { begin, cursor: cursor + 1 });
            }
        }
    }

    /// All packets of a frame are there.
    fn finish(&mut self, now: Instant, sequences: Range<u64>) {
        let end = sequences.end;
        let packets: Vec<_> = sequences.filter_map(|sequence| self.remove(sequence)).collect();
        self.move_to(end);
        let Some(first) = packets.first() else { return };
        let (codec, timestamp, capture_time) = (first.codec, first.timestamp, first.capture_time);
        let length: usize = packets.iter().map(|packet| packet.payload.len()).sum();
        let joined = if length > MAX_FRAME { Err(MalformedVideo::TooLarge) } else { depacketize(codec, &packets) };
        let opened = match (joined, &mut self.opener) {
            (Ok(frame), Some(opener)) => match open(opener, now, codec, frame) {
                Some(frame) => Ok(frame),
                None => {
                    // What comes next may be opened, but says nothing without this one.
                    self.stats.undecrypted_frames += 1;
                    self.decodable = None;
                    return;
                }
            },
            (joined, _) => joined,
        };
        match opened {
            Ok(frame) if !frame.has_picture => self.keep_prefix(&frame.data),
            Ok(frame) if frame.is_keyframe || self.decodable == Some(codec) => {
                self.decodable = Some(codec);
                self.give(now, codec, (timestamp, capture_time), frame);
            }
            Ok(_) => self.lose(now),
            Err(malformed) => {
                self.stats.malformed_frames += 1;
                self.stats.last_malformed = Some(malformed);
                self.lose(now);
            }
        }
    }

    fn keep_prefix(&mut self, data: &[u8]) {
        if self.prefix.len() + data.len() <= Self::MOST_PREFIX {
            self.prefix.extend_from_slice(data);
        }
    }

    fn give(
        &mut self,
        now: Instant,
        codec: VideoCodec,
        (timestamp, capture_time): (u32, Option<Duration>),
        frame: Depacketized,
    ) {
        let mut data = std::mem::take(&mut self.prefix);
        if data.is_empty() {
            data = frame.data;
        } else {
            data.extend_from_slice(&frame.data);
        }
        if frame.is_keyframe {
            self.request.cancel();
        }
        let dimensions = if frame.is_keyframe { FrameFacts::of(codec, &data).dimensions } else { None };
        self.frames.push_back(EncodedVideoFrame {
            codec,
            data: Arc::from(data),
            elapsed: self.timeline.elapsed(now, timestamp),
            timestamp,
            capture_time,
            is_keyframe: frame.is_keyframe,
            dimensions,
            layer: None,
            temporal_layer: frame.temporal_layer,
        });
    }

    fn begins_keyframe(&self, packet: &VideoPacket) -> bool {
        match packet.codec {
            VideoCodec::Vp9 if self.opener.is_some() => vp9::says_keyframe(&packet.payload),
            VideoCodec::Vp8 | VideoCodec::H264 | VideoCodec::Vp9 | VideoCodec::Av1 => begins_keyframe(packet),
        }
    }

    /// A sender of more than any frame has loses what is held.
    fn keep_bounds(&mut self, now: Instant) {
        let is_over = |this: &Self| this.held.len() > Self::MOST_PACKETS || this.held_bytes > MAX_FRAME + MAX_FRAME / 4;
        if is_over(self) && self.gap_deadline().is_some() {
            self.lose(now);
            self.advance(now);
        }
        if !is_over(self) {
            return;
        }
        if self.position.is_some() {
            self.stats.lost_frames += 1;
            self.clear();
            self.request.want(now);
        }
        while is_over(self) {
            self.drop_first();
        }
    }
}

/// The frame that was sealed; one without a picture never was.
fn open(opener: &mut FrameOpener, now: Instant, codec: VideoCodec, frame: Depacketized) -> Option<Depacketized> {
    let mut data = Vec::with_capacity(frame.data.len());
    let ends = frame.layers.iter().copied().chain([frame.data.len()]);
    let mut begin = 0;
    for end in ends {
        data.extend_from_slice(&opener.open(now, codec.to_encryption(), frame.data.get(begin..end)?)?);
        begin = end;
    }
    let is_keyframe = match codec {
        VideoCodec::Vp9 => FrameFacts::of(codec, &data).is_keyframe,
        VideoCodec::Vp8 | VideoCodec::H264 | VideoCodec::Av1 => frame.is_keyframe,
    };
    Some(Depacketized { data, is_keyframe, ..frame })
}

fn begins_keyframe(packet: &VideoPacket) -> bool {
    match packet.codec {
        VideoCodec::Vp8 => vp8::begins_keyframe(&packet.payload),
        VideoCodec::H264 => h264::begins_keyframe(&packet.payload),
        VideoCodec::Vp9 => vp9::begins_keyframe(&packet.payload),
        VideoCodec::Av1 => av1::begins_keyframe(&packet.payload),
    }
}

fn depacketize(codec: VideoCodec, packets: &[VideoPacket]) -> Result<Depacketized, MalformedVideo> {
    let payloads = packets.iter().map(|packet| &*packet.payload).filter(|payload| !payload.is_empty());
    match codec {
        VideoCodec::Vp8 => vp8::depacketize(payloads),
        VideoCodec::H264 => h264::depacketize(payloads),
        VideoCodec::Vp9 => vp9::depacketize(payloads),
        VideoCodec::Av1 => av1::depacketize(payloads),
    }
}
