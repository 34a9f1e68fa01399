//! A track of this client, from its frames to packets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};

use super::{Encoder, millis};
use crate::video::assembler::FrameAssembler;
use crate::video::frame::VideoCodec;
use crate::video::layer::{SubscribedQualities, VideoLayer, VideoQuality};
use crate::video::malformed::MalformedVideo;
use crate::video::source::{CaptureError, Captured, KeyframeRequests, VideoSource};
use crate::video::source_options::VideoSourceOptions;
use crate::video::{EncodedVideoFrame, TemporalLayer};

fn requested(requests: &mut KeyframeRequests) -> Vec<VideoQuality> {
    std::iter::from_fn(|| requests.next().now_or_never().flatten()).collect()
}

fn simulcast() -> VideoSource {
    VideoSource::new(VideoSourceOptions::new(VideoCodec::Vp8, 1_280, 720).with_bitrate(1_600_000).with_simulcast())
}

#[test]
fn sizes_are_those_that_livekit_expects() {
    let sizes = |width, height| {
        let options = VideoSourceOptions::new(VideoCodec::Vp8, width, height).with_bitrate(1_600).with_simulcast();
        let layers = options.layers().iter();
        layers.map(|layer| (layer.quality.rid(), layer.width, layer.height, layer.bitrate)).collect::<Vec<_>>()
    };
    assert_eq!(sizes(1_280, 720), [("q", 320, 180, 100), ("h", 640, 360, 400), ("f", 1_280, 720, 1_600)]);
    assert_eq!(sizes(360, 640), [("q", 180, 320, 400), ("h", 360, 640, 1_600)]);
    assert_eq!(sizes(320, 180), [("f", 320, 180, 1_600)]);
    let layers = [VideoQuality::High, VideoQuality::Low, VideoQuality::Low];
    let layers = layers.into_iter().zip(1..).map(|(quality, size)| VideoLayer::new(quality, size, size));
    let options = VideoSourceOptions::new(VideoCodec::Vp8, 9, 9).with_simulcast_layers(layers);
    assert_eq!(options.layers().iter().map(|layer| layer.width).collect::<Vec<_>>(), [3, 1]);
    assert!(options.is_simulcast());
    assert!(!VideoSourceOptions::new(VideoCodec::Vp8, 9, 9).with_simulcast_layers([]).is_simulcast());
}

#[test]
fn each_layer_counts_for_itself_and_all_share_their_time() {
    let now = crate::video::test_clock();
    let source = simulcast();
    let outlet = source.outlet().unwrap();
    assert_eq!(outlet.rids().iter().map(ToString::to_string).collect::<Vec<_>>(), ["q", "h", "f"]);
    outlet.set_active(true);
    let mut encoder = Encoder::new(VideoCodec::Vp8, 1);
    let mut assemblers = VideoQuality::ALL.map(|quality| (quality, FrameAssembler::new(millis(300))));
    for index in 0..5 {
        let mut timestamps = Vec::new();
        for (quality, assembler) in &mut assemblers {
            let frame = encoder.frame(millis(index * 33), 3_000, index == 0).with_layer(*quality);
            assert_eq!(source.capture_frame(&frame), Ok(Captured::Queued));
            for packet in outlet.take_packets(100) {
                assert_eq!(packet.layer, Some(*quality));
                timestamps.push(packet.timestamp);
                assembler.handle_packet(now, packet);
            }
            assert_eq!(assembler.poll_frame().unwrap().data, frame.data);
        }
        assert!(timestamps.iter().all(|timestamp| *timestamp == timestamps[0]));
    }
    assert_eq!((source.stats().frames, source.stats().packets), (15, 45));
}

#[test]
fn nothing_is_sent_before_a_connection_is_up_nor_without_a_key_frame() {
    let source = VideoSource::new(VideoSourceOptions::new(VideoCodec::Vp9, 64, 50));
    let mut requests = source.keyframe_requests();
    let mut encoder = Encoder::new(VideoCodec::Vp9, 1);
    let (key, delta) = (encoder.frame(millis(0), 100, true), encoder.frame(millis(33), 100, false));
    assert_eq!(source.capture_frame(&key), Ok(Captured::NotConnected));
    let outlet = source.outlet().unwrap();
    assert!(source.outlet().is_none(), "it is published already");
    assert_eq!(source.capture_frame(&key), Ok(Captured::NotConnected));
    assert_eq!(requested(&mut requests), []);

    let woken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&woken);
    outlet.set_waker(Arc::new(move || {
        counter.fetch_add(1, Ordering::Relaxed);
    }));
    outlet.set_active(true);
    assert_eq!(requested(&mut requests), [VideoQuality::High]);
    assert_eq!(source.capture_frame(&delta), Ok(Captured::AwaitingKeyframe));
    assert_eq!(source.capture_frame(&key), Ok(Captured::Queued));
    assert_eq!(source.capture_frame(&delta), Ok(Captured::Queued));
    assert_eq!(woken.load(Ordering::Relaxed), 2);
    assert_eq!(outlet.poll_packets(1).len(), 1);
    outlet.set_active(false);
    outlet.set_active(true);
    assert_eq!(outlet.poll_packets(9).len(), 0, "what is old is not sent on another connection");
    assert_eq!(source.capture_frame(&delta), Ok(Captured::AwaitingKeyframe));
    drop(outlet);
    assert_eq!(source.capture_frame(&key), Ok(Captured::NotConnected));
    assert!(source.outlet().is_some(), "it can be published again");
}

#[test]
fn a_network_that_is_too_slow_costs_frames_up_to_a_key_frame() {
    let source = VideoSource::new(VideoSourceOptions::new(VideoCodec::Vp8, 64, 50));
    let outlet = source.outlet().unwrap();
    outlet.set_active(true);
    let mut requests = source.keyframe_requests();
    requested(&mut requests);
    let mut encoder = Encoder::new(VideoCodec::Vp8, 1);
    let mut capture = |is_keyframe| {
        let frame = encoder.frame(millis(0), 1_500_000, is_keyframe);
        source.capture_frame(&frame).unwrap()
    };
    assert_eq!([true, false, false].map(&mut capture), [Captured::Queued, Captured::Queued, Captured::QueueFull]);
    assert_eq!(requested(&mut requests), [VideoQuality::High]);
    outlet.poll_packets(usize::MAX);
    assert_eq!([false, true].map(&mut capture), [Captured::AwaitingKeyframe, Captured::Queued]);
    assert_eq!(source.stats().dropped_frames, 2);
}

#[test]
fn frames_that_are_left_out_take_no_numbers() {
    let source = VideoSource::new(VideoSourceOptions::new(VideoCodec::Vp8, 64, 50));
    let outlet = source.outlet().unwrap();
    outlet.set_active(true);
    let mut encoder = Encoder::new(VideoCodec::Vp8, 1);
    let mut capture = |is_keyframe| source.capture_frame(&encoder.frame(millis(0), 1_500_000, is_keyframe)).unwrap();
    assert_eq!([true, false, false].map(&mut capture), [Captured::Queued, Captured::Queued, Captured::QueueFull]);
    let mut numbers = source.queued_numbers();
    outlet.poll_packets(usize::MAX);
    assert_eq!(capture(true), Captured::Queued);
    numbers.extend(source.queued_numbers());
    assert!(numbers.iter().zip(&numbers[1..]).all(|(one, next)| next - one == 1));
}

#[test]
fn what_nobody_wants_is_not_sent_and_begins_again_with_a_key_frame() {
    let source = simulcast();
    let outlet = source.outlet().unwrap();
    outlet.set_active(true);
    let mut requests = source.keyframe_requests();
    assert_eq!(requested(&mut requests), VideoQuality::ALL);
    let mut encoder = Encoder::new(VideoCodec::Vp8, 1);
    let mut capture = |quality, is_keyframe| {
        source.capture_frame(&encoder.frame(millis(0), 100, is_keyframe).with_layer(quality)).unwrap()
    };
    assert_eq!(capture(VideoQuality::High, true), Captured::Queued);
    let wanted = SubscribedQualities::ALL.with(VideoQuality::High, false);
    outlet.set_subscribed(wanted);
    assert_eq!(*source.subscribed_qualities().borrow(), wanted);
    assert_eq!(capture(VideoQuality::High, true), Captured::NotWanted);
    assert_eq!(capture(VideoQuality::Low, true), Captured::Queued);
    outlet.request_keyframe(Some("f".parse().unwrap()));
    assert_eq!(requested(&mut requests), [], "nobody would see it");
    outlet.request_keyframe(Some("q".parse().unwrap()));
    outlet.request_keyframe(Some("q".parse().unwrap()));
    outlet.request_keyframe(Some("other".parse().unwrap()));
    assert_eq!(requested(&mut requests), [VideoQuality::Low]);
    outlet.set_subscribed(SubscribedQualities::ALL);
    assert_eq!(requested(&mut requests), [VideoQuality::High]);
    assert_eq!(capture(VideoQuality::High, false), Captured::AwaitingKeyframe);
    outlet.set_subscribed(SubscribedQualities::NONE);
    drop(outlet);
    assert_eq!(requested(&mut requests), [], "nor when it is published no more");
    drop(source);
    assert_eq!(requests.next().now_or_never(), Some(None), "it ends with the source");
}

#[test]
fn frames_that_are_not_for_the_source_are_refused() {
    let source = VideoSource::new(VideoSourceOptions::new(VideoCodec::H264, 64, 50));
    let outlet = source.outlet().unwrap();
    outlet.set_active(true);
    let vp8 = Encoder::new(VideoCodec::Vp8, 1).frame(millis(0), 100, true);
    assert_eq!(source.capture_frame(&vp8), Err(CaptureError::WrongCodec(VideoCodec::Vp8)));
    let mut encoder = Encoder::new(VideoCodec::H264, 1);
    let key = encoder.frame(millis(0), 100, true);
    let low = key.clone().with_layer(VideoQuality::Low);
    assert_eq!(source.capture_frame(&low), Err(CaptureError::UnknownLayer(Some(VideoQuality::Low))));
    assert_eq!(source.capture_frame(&key), Ok(Captured::Queued));
    let broken = EncodedVideoFrame::new(VideoCodec::H264, Duration::ZERO, &b"\0\0\0\x05\x41\x9a"[..]);
    assert_eq!(source.capture_frame(&broken), Err(CaptureError::Malformed(MalformedVideo::NoStartCode)));
    let delta = encoder.frame(millis(33), 100, false);
    assert_eq!(source.capture_frame(&delta), Ok(Captured::AwaitingKeyframe), "a decoder would miss the broken one");
    let key = simulcast().capture_frame(&vp8);
    assert_eq!(key, Err(CaptureError::UnknownLayer(None)));
}

#[test]
fn temporal_layers_of_vp8_arrive() {
    let now = crate::video::test_clock();
    let source = VideoSource::new(VideoSourceOptions::new(VideoCodec::Vp8, 64, 50));
    let outlet = source.outlet().unwrap();
    outlet.set_active(true);
    let mut encoder = Encoder::new(VideoCodec::Vp8, 1);
    let mut assembler = FrameAssembler::new(millis(300));
    for index in 0..4 {
        let layer = TemporalLayer::new(index % 2, index == 1);
        let frame = encoder.frame(millis(0), 100, index == 0).with_temporal_layer(layer);
        source.capture_frame(&frame).unwrap();
        outlet.take_packets(9).into_iter().for_each(|packet| assembler.handle_packet(now, packet));
        assert_eq!(assembler.poll_frame().unwrap().temporal_layer, Some(layer));
    }
}
