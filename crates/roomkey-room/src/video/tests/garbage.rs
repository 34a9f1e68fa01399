//! Bytes of a stranger: never a panic, never memory without bound.

use std::sync::Arc;

use super::{CODECS, Encoder, encoded, millis};
use crate::video::assembler::FrameAssembler;
use crate::video::frame::{EncodedVideoFrame, VideoCodec};
use crate::video::packet::VideoPacket;

fn packet(codec: VideoCodec, sequence: u64, payload: Vec<u8>) -> VideoPacket {
    VideoPacket {
        codec,
        layer: None,
        sequence,
        timestamp: 7,
        capture_time: None,
        marker: false,
        payload: Arc::from(payload),
    }
}

#[test]
fn payloads_at_random_do_no_harm() {
    let start = crate::video::test_clock();
    for (seed, codec) in (0..4).flat_map(|seed| CODECS.map(|codec| (seed, codec))) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut assembler = FrameAssembler::new(millis(300));
        let mut sequence = random.u64(..);
        for step in 0..8_000 {
            let payload: Vec<u8> = (0..random.usize(0..40)).map(|_| random.u8(..)).collect();
            sequence = match random.u8(0..200) {
                0 => random.u64(..),
                1..10 => sequence.saturating_add(random.u64(0..5)),
                10..15 => sequence.saturating_sub(random.u64(0..5)),
                _ => sequence.saturating_add(1),
            };
            let codec = if random.u8(..) == 0 { CODECS[random.usize(0..4)] } else { codec };
            let timestamp = if random.bool() { 7 } else { random.u32(..) };
            let packet = VideoPacket { timestamp, marker: random.bool(), ..packet(codec, sequence, payload) };
            let now = start + millis(step * 3);
            assembler.handle_packet(now, packet);
            assert!(assembler.held() <= 4_097);
            while let Some(frame) = assembler.poll_frame() {
                assert!(!frame.data.is_empty());
            }
            assembler.poll_keyframe_request(now);
        }
        assert!(assembler.stats().malformed_frames > 0, "{codec:?}");
        assert!(assembler.stats().last_malformed.is_some(), "{codec:?}");
    }
}

#[test]
fn packets_that_are_nearly_right_do_no_harm() {
    let start = crate::video::test_clock();
    for (seed, codec) in (0..4).flat_map(|seed| CODECS.map(|codec| (seed, codec))) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut encoder = Encoder::new(codec, seed);
        let mut assembler = FrameAssembler::new(millis(300));
        let mut frames = 0;
        for step in 0..600 {
            let now = start + millis(step * 33);
            let size = random.usize(4..4_000);
            let (_, packets) = encoder.packets(millis(step * 33), size, step % 5 == 0);
            for mut packet in packets {
                if random.u8(0..20) == 0 {
                    let mut payload = packet.payload.to_vec();
                    let near = payload.len().min(12);
                    payload[random.usize(..near)] ^= 1 << random.u8(0..8);
                    payload.truncate(random.usize(0..2 * payload.len()));
                    packet.payload = Arc::from(payload);
                }
                assembler.handle_packet(now, packet);
            }
            while let Some(frame) = assembler.poll_frame() {
                frames += 1;
                assert!(frame.data.len() < 10_000);
            }
        }
        assert!(frames > 80, "{codec:?}: {frames}");
    }
}

#[test]
fn frames_at_random_are_sent_or_refused() {
    for (seed, codec) in (0..4).flat_map(|seed| CODECS.map(|codec| (seed, codec))) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut encoder = Encoder::new(codec, seed);
        for _ in 0..1_000 {
            let (size, is_keyframe) = (random.usize(4..3_000), random.bool());
            let mut data = encoded(codec, &mut random, size, is_keyframe, 64);
            for _ in 0..random.usize(0..8) {
                let near = data.len().min(40);
                data[random.usize(..near)] = random.u8(..);
            }
            data.truncate(random.usize(0..2 * data.len()));
            let frame = EncodedVideoFrame::new(codec, millis(0), data);
            let _ = encoder.packetizer.packetize(&frame, 0);
        }
    }
}

#[test]
fn a_flood_without_an_end_of_frame_is_dropped() {
    let now = crate::video::test_clock();
    for codec in CODECS {
        let mut encoder = Encoder::new(codec, 1);
        let mut assembler = FrameAssembler::new(millis(300));
        let (_, packets) = encoder.packets(millis(0), 5_000, true);
        for sequence in 0..2_000 {
            let first = packets[0].clone();
            let payload = if sequence == 0 { first.payload } else { Arc::from(vec![0x55; 20_000]) };
            assembler.handle_packet(now, VideoPacket { sequence, marker: false, payload, ..first });
            assert!(assembler.held_bytes() <= 11 << 20, "{codec:?}: {}", assembler.held_bytes());
        }
        assert_eq!(assembler.poll_frame(), None);
        assert!(assembler.poll_keyframe_request(now));
        let (_, packets) = encoder.packets(millis(0), 5_000, true);
        for (index, packet) in packets.into_iter().enumerate() {
            assembler.handle_packet(now, VideoPacket { sequence: 30_000 + index as u64, ..packet });
        }
        assert!(assembler.poll_frame().is_some(), "{codec:?}: it goes on afterwards");
    }
}

#[test]
fn a_flood_of_packets_with_gaps_is_dropped() {
    let now = crate::video::test_clock();
    for codec in CODECS {
        let mut encoder = Encoder::new(codec, 1);
        let mut assembler = FrameAssembler::new(millis(300));
        let (_, packets) = encoder.packets(millis(0), 5_000, true);
        for sequence in 0..20_000 {
            let from = &packets[usize::from(sequence % 7 != 0)];
            assembler.handle_packet(now, VideoPacket { sequence: 2 * sequence, ..from.clone() });
            assert!(assembler.held() <= 4_097);
        }
        assert_eq!(assembler.poll_frame(), None);
    }
}
