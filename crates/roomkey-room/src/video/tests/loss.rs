//! Packets that come late, twice, in any order, or not at all, in virtual time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{CODECS, Encoder, millis};
use crate::video::assembler::FrameAssembler;
use crate::video::frame::{EncodedVideoFrame, VideoCodec};
use crate::video::packet::VideoPacket;

/// How a network treats packets.
#[derive(Clone, Copy, Debug)]
struct Manners {
    /// Of 100 packets, so many are lost and sent again later.
    resent: u8,
    /// And so many are lost for good.
    lost: u8,
    doubled: u8,
    /// Up to so long a packet may take in excess.
    jitter: Duration,
}

#[derive(Default, Debug)]
struct Outcome {
    sent: Vec<EncodedVideoFrame>,
    /// By their index among the sent ones.
    received: Vec<usize>,
    keyframe_requests: usize,
    lost_frames: u64,
}

/// 30 frames a second through a network, a key frame where one is asked for, 40 ms each way.
fn run(codec: VideoCodec, seed: u64, manners: Manners, frames: usize) -> Outcome {
    let start = crate::video::test_clock();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut encoder = Encoder::new(codec, seed);
    let mut assembler = FrameAssembler::new(millis(300));
    let mut outcome = Outcome::default();
    let mut wanted_at: VecDeque<Instant> = VecDeque::new();
    let mut on_the_way: Vec<(Instant, VideoPacket)> = Vec::new();
    for index in 0..frames {
        let elapsed = millis(index as u64 * 33);
        let now = start + elapsed;
        let is_asked_for = wanted_at.front().is_some_and(|at| *at <= now);
        if is_asked_for {
            wanted_at.pop_front();
        }
        let size = if is_asked_for { random.usize(3_000..8_000) } else { random.usize(100..3_000) };
        let (frame, packets) = encoder.packets(elapsed, size, index == 0 || is_asked_for);
        outcome.sent.push(frame);
        for packet in packets {
            let jitter = Duration::from_micros(random.u64(0..=manners.jitter.as_micros() as u64));
            let fate = random.u8(0..100);
            let arrives = now + millis(40) + jitter;
            if fate < manners.lost {
                continue;
            }
            let arrives = if fate < manners.lost + manners.resent { arrives + millis(90) } else { arrives };
            if random.u8(0..100) < manners.doubled {
                on_the_way.push((arrives + millis(5), packet.clone()));
            }
            on_the_way.push((arrives, packet));
        }
        // Stable, so that without jitter nothing changes its order.
        on_the_way.sort_by_key(|(at, _)| *at);
        let until = if index + 1 == frames { now + millis(5_000) } else { now + millis(33) };
        loop {
            let packet_at = on_the_way.first().map(|(at, _)| *at);
            let Some(at) = [packet_at, assembler.poll_timeout()].into_iter().flatten().min() else { break };
            if at >= until {
                break;
            }
            if packet_at == Some(at) {
                assembler.handle_packet(at, on_the_way.remove(0).1);
            } else {
                assembler.handle_timeout(at);
            }
            if assembler.poll_keyframe_request(at) {
                outcome.keyframe_requests += 1;
                wanted_at.push_back(at + millis(40));
            }
            while let Some(frame) = assembler.poll_frame() {
                let found = outcome.sent.iter().rposition(|sent| sent.data == frame.data);
                outcome.received.push(found.expect("only what was sent comes out"));
            }
        }
    }
    outcome.lost_frames = assembler.stats().lost_frames;
    outcome
}

impl Outcome {
    /// A decoder could go on at each frame.
    fn assert_decodable(&self) {
        let mut last: Option<usize> = None;
        for &index in &self.received {
            let follows = last.map_or(index == 0, |last| index == last + 1);
            assert!(follows || (self.sent[index].is_keyframe && last < Some(index)), "{index} after {last:?}");
            last = Some(index);
        }
    }
}

#[test]
fn what_is_late_twice_or_resent_makes_no_difference() {
    let manners = Manners { resent: 10, lost: 0, doubled: 20, jitter: millis(30) };
    for (seed, codec) in (0..4).flat_map(|seed| CODECS.map(|codec| (seed, codec))) {
        let outcome = run(codec, seed, manners, 120);
        assert_eq!(outcome.received, (0..120).collect::<Vec<_>>(), "{codec:?}, seed {seed}");
        assert_eq!((outcome.keyframe_requests, outcome.lost_frames), (0, 0), "{codec:?}, seed {seed}");
    }
}

#[test]
fn after_a_loss_it_goes_on_with_the_key_frame_that_was_asked_for() {
    let manners = Manners { resent: 3, lost: 1, doubled: 2, jitter: millis(10) };
    for (seed, codec) in (0..4).flat_map(|seed| CODECS.map(|codec| (seed, codec))) {
        let outcome = run(codec, seed, manners, 400);
        outcome.assert_decodable();
        assert!(outcome.lost_frames > 0 && outcome.keyframe_requests > 0, "{codec:?}, seed {seed}");
        assert!(outcome.keyframe_requests <= 400 * 33 / 500 + 1, "{codec:?}, seed {seed}: asked too often");
        assert!(outcome.received.len() > 40, "{codec:?}, seed {seed}: {} frames", outcome.received.len());
    }
}

#[test]
fn a_network_that_loses_a_third_still_gives_nothing_that_cannot_be_decoded() {
    let manners = Manners { resent: 20, lost: 30, doubled: 10, jitter: millis(400) };
    for (seed, codec) in (100..104).flat_map(|seed| CODECS.map(|codec| (seed, codec))) {
        run(codec, seed, manners, 200).assert_decodable();
    }
}
