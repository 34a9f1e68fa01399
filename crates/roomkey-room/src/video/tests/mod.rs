//! The module as a whole: frames to packets, a network of any manners, and back.

mod connection;
mod files;
mod garbage;
mod loss;
mod receiving;
mod round_trip;
mod sending;

use std::time::Duration;

use super::frame::{EncodedVideoFrame, VideoCodec};
use super::packet::VideoPacket;
use super::packetizer::Packetizer;

const CODECS: [VideoCodec; 4] = [VideoCodec::Vp8, VideoCodec::H264, VideoCodec::Vp9, VideoCodec::Av1];

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What an encoder might make: true as far as headers go, at random beyond. The size is in bytes, about.
fn encoded(codec: VideoCodec, random: &mut fastrand::Rng, size: usize, is_keyframe: bool, width: u8) -> Vec<u8> {
    // No zeros, so that no start code comes about.
    let mut noise = |size: usize| -> Vec<u8> { (0..size).map(|_| random.u8(1..)).collect() };
    match (codec, is_keyframe) {
        (VideoCodec::Vp8, true) => [&[0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, width, 0, 50, 0][..], &noise(size)].concat(),
        (VideoCodec::Vp8, false) => [&[0x11][..], &noise(size)].concat(),
        (VideoCodec::Vp9, true) => {
            let width = u16::from(width - 1) << 4;
            let [high, low] = width.to_be_bytes();
            [&[0x82, 0x49, 0x83, 0x42, 0x00, high, low, 0x03, 0x10][..], &noise(size)].concat()
        }
        (VideoCodec::Vp9, false) => [&[0x86][..], &noise(size)].concat(),
        (VideoCodec::H264, true) => {
            // The parameter sets of a baseline encoder, `width` in macroblocks of 16 pixels as ue(v).
            let sps = [&[0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x0a][..], &baseline_size(width / 16, 3)].concat();
            let pps = [0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80];
            [&sps[..], &pps, &[0, 0, 0, 1, 0x65, 0x88], &noise(size)].concat()
        }
        (VideoCodec::H264, false) => {
            let slices = noise(size);
            let (first, second) = slices.split_at(size / 3);
            [&[0, 0, 0, 1, 0x41, 0x9a][..], first, &[0, 0, 0, 1, 0x41, 0x1a], second].concat()
        }
        (VideoCodec::Av1, true) => {
            // 7 bits of width and height after an operating point without extras.
            let sequence = [
                0x0a,
                10,
                0x00,
                0x00,
                0x00,
                0x03,
                0x28 | (width - 1) >> 4,
                (width - 1) << 4 | 0x0c,
                0x4d,
                0xaf,
                0x90,
                0x04,
            ];
            [&sequence[..], &obu(6, &[&[0x10][..], &noise(size)].concat())].concat()
        }
        (VideoCodec::Av1, false) => {
            let tiles = noise(size);
            let (first, second) = tiles.split_at(size / 3);
            [obu(3, &[0x30]), obu(4, first), obu(4, second)].concat()
        }
    }
}

fn obu(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind << 3 | 0x02];
    let mut length = payload.len();
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(payload);
    bytes
}

/// A baseline parameter set from its id on: picture order type 2, one reference, frames only, no cropping.
fn baseline_size(wide: u8, high: u8) -> Vec<u8> {
    let mut bits = String::new();
    let code = |bits: &mut String, value: u8| {
        let value = u32::from(value) + 1;
        let length = 32 - value.leading_zeros();
        bits.extend(std::iter::repeat_n('0', length as usize - 1));
        bits.push_str(&format!("{value:b}"));
    };
    for value in [0, 0, 2, 1] {
        code(&mut bits, value);
    }
    bits.push('0');
    code(&mut bits, wide - 1);
    code(&mut bits, high - 1);
    bits.push_str("11001");
    while !bits.len().is_multiple_of(8) {
        bits.push('0');
    }
    bits.as_bytes().chunks(8).map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | (bit - b'0'))).collect()
}

/// An encoder with a packetizer behind it.
struct Encoder {
    codec: VideoCodec,
    random: fastrand::Rng,
    packetizer: Packetizer,
    width: u8,
}

impl Encoder {
    fn new(codec: VideoCodec, seed: u64) -> Self {
        let packetizer = Packetizer::new(codec, None, 32_760);
        Self { codec, random: fastrand::Rng::with_seed(seed), packetizer, width: 64 }
    }

    fn frame(&mut self, elapsed: Duration, size: usize, is_keyframe: bool) -> EncodedVideoFrame {
        let data = encoded(self.codec, &mut self.random, size, is_keyframe, self.width);
        EncodedVideoFrame::new(self.codec, elapsed, data)
    }

    fn packets(&mut self, elapsed: Duration, size: usize, is_keyframe: bool) -> (EncodedVideoFrame, Vec<VideoPacket>) {
        let frame = self.frame(elapsed, size, is_keyframe);
        let packets = self.packetizer.packetize(&frame, frame.timestamp.wrapping_add(u32::MAX - 90_000)).unwrap();
        (frame, packets)
    }
}
