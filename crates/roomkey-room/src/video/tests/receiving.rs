//! A track of somebody else, from its packets to its stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;

use super::{CODECS, Encoder, millis};
use crate::video::VideoQuality;
use crate::video::assembler::FrameAssembler;
use crate::video::frame::{EncodedVideoFrame, VideoCodec};
use crate::video::packet::VideoPacket;
use crate::video::stream::{VideoInlet, VideoStream, VideoStreamOptions};

fn next(stream: &mut VideoStream) -> Option<Option<EncodedVideoFrame>> {
    stream.next().now_or_never()
}

/// Packets under the numbers that a server gives them.
fn renumbered(packets: Vec<VideoPacket>, sequence: &mut u64) -> Vec<VideoPacket> {
    let renumber = |packet| {
        *sequence += 1;
        VideoPacket { sequence: *sequence, ..packet }
    };
    packets.into_iter().map(renumber).collect()
}

#[test]
fn another_size_that_begins_with_a_key_frame_passes() {
    let now = crate::video::test_clock();
    for codec in CODECS {
        let (mut small, mut large) = (Encoder::new(codec, 1), Encoder::new(codec, 2));
        large.width = 112;
        let mut assembler = FrameAssembler::new(millis(300));
        let mut sequence = 65_500;
        let mut sizes = Vec::new();
        for index in 0..12 {
            let encoder = if index < 6 { &mut small } else { &mut large };
            let (_, packets) = encoder.packets(millis(index * 33), 3_000, index % 6 == 0);
            for packet in renumbered(packets, &mut sequence) {
                assembler.handle_packet(now, packet);
            }
            sizes.extend(assembler.poll_frame().unwrap().dimensions.map(|(width, _)| width));
        }
        assert_eq!(sizes, [64, 112], "{codec:?}");
        assert_eq!(assembler.stats().lost_frames, 0);
    }
}

#[test]
fn padding_has_a_number_and_is_of_no_frame() {
    let now = crate::video::test_clock();
    for codec in CODECS {
        let mut encoder = Encoder::new(codec, 1);
        let mut assembler = FrameAssembler::new(millis(300));
        let mut sequence = 0;
        for index in 0..10 {
            let (frame, mut packets) = encoder.packets(millis(index * 33), 3_000, index == 0);
            let padding = VideoPacket { payload: Arc::default(), marker: index % 2 == 0, ..packets[0].clone() };
            packets.insert(1, padding.clone());
            packets.push(VideoPacket { timestamp: 99, ..padding.clone() });
            packets.push(padding);
            for packet in renumbered(packets, &mut sequence) {
                assembler.handle_packet(now, packet);
            }
            assert_eq!(assembler.poll_frame().map(|got| got.data), Some(frame.data), "{codec:?}");
        }
    }
}

#[test]
fn a_frame_whose_marker_is_missing_ends_where_the_next_begins() {
    let now = crate::video::test_clock();
    for codec in CODECS {
        let mut encoder = Encoder::new(codec, 1);
        let mut assembler = FrameAssembler::new(millis(300));
        let mut frames = Vec::new();
        for index in 0..4 {
            let (frame, packets) = encoder.packets(millis(index * 33), 2_000, index == 0);
            frames.push(frame.data);
            for packet in packets {
                assembler.handle_packet(now, VideoPacket { marker: false, ..packet });
            }
        }
        let got: Vec<_> = std::iter::from_fn(|| assembler.poll_frame()).map(|frame| frame.data).collect();
        assert_eq!(got, frames[..3], "{codec:?}");
    }
}

#[test]
fn who_comes_in_the_middle_asks_for_a_key_frame_and_asks_again() {
    let start = crate::video::test_clock();
    let mut encoder = Encoder::new(VideoCodec::Vp8, 1);
    let mut assembler = FrameAssembler::new(millis(300));
    let mut asked = Vec::new();
    for index in 0..60 {
        let now = start + millis(index * 20);
        let (_, packets) = encoder.packets(millis(index * 20), 500, index == 59);
        packets.into_iter().for_each(|packet| assembler.handle_packet(now, packet));
        if assembler.poll_keyframe_request(now) {
            asked.push(index * 20);
        }
    }
    assert_eq!(asked, [60, 560, 1_060], "a first key frame may be on its way");
    assert!(assembler.poll_frame().unwrap().is_keyframe);
    assert_eq!(assembler.poll_timeout(), None, "nothing is left to ask for");
}

#[test]
fn parameter_sets_that_come_alone_go_with_the_next_picture() {
    let now = crate::video::test_clock();
    let mut encoder = Encoder::new(VideoCodec::H264, 1);
    let mut assembler = FrameAssembler::new(millis(300));
    let keyframe = encoder.frame(millis(0), 50, true);
    let sets_end = keyframe.data.windows(5).position(|window| window == [0, 0, 0, 1, 0x65]).unwrap();
    for (index, part) in [&keyframe.data[..sets_end], &keyframe.data[sets_end..]].into_iter().enumerate() {
        let frame = EncodedVideoFrame::new(VideoCodec::H264, millis(0), part);
        let mut packets = super::Packetizer::new(VideoCodec::H264, None, 0).packetize(&frame, 0).unwrap();
        packets[0].sequence = index as u64 + 1;
        assembler.handle_packet(now, packets.remove(0));
    }
    let got = assembler.poll_frame().unwrap();
    assert_eq!((got.data, got.dimensions), (keyframe.data, Some((64, 48))));
}

#[test]
fn another_sequence_is_noticed_or_announced() {
    let start = crate::video::test_clock();
    for is_announced in [true, false] {
        let mut encoder = Encoder::new(VideoCodec::Vp8, 1);
        let mut assembler = FrameAssembler::new(millis(300));
        let mut sequence = 50_000;
        let mut received = Vec::new();
        for index in 0..200 {
            let now = start + millis(index * 20);
            if index == 100 {
                sequence = 700;
                if is_announced {
                    assembler.restart();
                }
            }
            let (_, packets) = encoder.packets(millis(index * 20), 200, index % 100 == 0 || index == 180);
            for mut packet in renumbered(packets, &mut sequence) {
                packet.timestamp = packet.timestamp.wrapping_add(if index < 100 { 0 } else { 1 << 30 });
                assembler.handle_packet(now, packet);
            }
            while let Some(frame) = assembler.poll_frame() {
                assert_eq!(frame.elapsed, millis(index * 20), "time goes on, whatever the timestamps");
                received.push(index);
            }
        }
        let expected: Vec<_> = (0..200).filter(|index| is_announced || !(100..180).contains(index)).collect();
        assert_eq!(received, expected);
    }
}

#[test]
fn a_slow_consumer_goes_on_at_a_key_frame() {
    let now = crate::video::test_clock();
    let mut encoder = Encoder::new(VideoCodec::Vp8, 1);
    let (mut inlet, mut stream) = VideoInlet::new(VideoStreamOptions::new().with_queue(5), None);
    let mut push = |inlet: &mut VideoInlet, index: u64, is_keyframe| {
        let (_, packets) = encoder.packets(millis(index * 20), 200, is_keyframe);
        packets.into_iter().for_each(|packet| inlet.handle_packet(now, packet));
    };
    let taken = |stream: &mut VideoStream| -> Vec<u128> {
        std::iter::from_fn(|| next(stream).flatten()).map(|frame| frame.elapsed.as_millis() / 20).collect()
    };
    for index in 0..7 {
        push(&mut inlet, index, index % 3 == 0);
    }
    assert_eq!(taken(&mut stream), [3, 4, 5, 6], "the oldest went, up to a key frame");
    assert_eq!((stream.stats().dropped_frames, stream.stats().frames, stream.stats().keyframes), (3, 4, 2));
    assert!(!inlet.poll_keyframe_request(now));
    for index in 7..14 {
        push(&mut inlet, index, false);
    }
    assert!(inlet.poll_keyframe_request(now), "without a key frame in the queue nothing is left");
    assert_eq!(taken(&mut stream), []);
    push(&mut inlet, 14, true);
    push(&mut inlet, 15, false);
    assert_eq!(taken(&mut stream), [14, 15]);
    assert_eq!(stream.stats().keyframe_requests, 1);
}

#[test]
fn the_stream_wakes_ends_and_says_that_it_was_left() {
    let now = crate::video::test_clock();
    let mut encoder = Encoder::new(VideoCodec::Vp9, 1);
    let (mut inlet, mut stream) = VideoInlet::new(VideoStreamOptions::new(), None);
    let woken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&woken);
    inlet.set_waker(Arc::new(move || {
        counter.fetch_add(1, Ordering::Relaxed);
    }));
    assert_eq!(next(&mut stream), None);
    stream.request_keyframe();
    assert_eq!(woken.load(Ordering::Relaxed), 1);
    assert!(inlet.poll_keyframe_request(now) && !inlet.poll_keyframe_request(now));
    stream.request_keyframe();
    assert!(!inlet.poll_keyframe_request(now), "not so soon");
    assert_eq!(inlet.poll_timeout(), Some(now + millis(500)));
    let (_, packets) = encoder.packets(Duration::ZERO, 200, true);
    packets.into_iter().for_each(|packet| inlet.handle_packet(now, packet));
    drop(inlet);
    assert!(next(&mut stream).flatten().is_some(), "what waits is given");
    assert_eq!(next(&mut stream), Some(None));

    let (inlet, stream) = VideoInlet::new(VideoStreamOptions::new(), None);
    assert!(!inlet.is_abandoned());
    drop(stream);
    assert!(inlet.is_abandoned());
}

#[tokio::test]
async fn a_consumer_that_waits_is_woken() {
    let now = crate::video::test_clock();
    let mut encoder = Encoder::new(VideoCodec::Av1, 1);
    let (mut inlet, mut stream) = VideoInlet::new(VideoStreamOptions::new(), None);
    let consumer = tokio::spawn(async move { stream.next().await.is_some() && stream.next().await.is_none() });
    tokio::task::yield_now().await;
    let (_, packets) = encoder.packets(Duration::ZERO, 200, true);
    packets.into_iter().for_each(|packet| inlet.handle_packet(now, packet));
    tokio::task::yield_now().await;
    drop(inlet);
    assert!(consumer.await.unwrap());
}

#[test]
fn rids_are_those_of_livekit() {
    assert_eq!(VideoQuality::ALL.map(VideoQuality::rid), ["q", "h", "f"]);
    assert_eq!(VideoQuality::from_rid("h"), Some(VideoQuality::Medium));
    assert_eq!(VideoQuality::from_rid("x"), None);
}
