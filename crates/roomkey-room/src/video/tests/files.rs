//! IVF, and what real encoders make: small pictures of colour bars by libvpx, libaom and x264.

use std::io::Cursor;
use std::time::Duration;

use super::{CODECS, Encoder, millis};
use crate::video::assembler::FrameAssembler;
use crate::video::av1;
use crate::video::frame::{EncodedVideoFrame, VideoCodec};
use crate::video::ivf::{IvfError, IvfReader, IvfWriter};
use crate::video::packetizer::Packetizer;

// Made with ffmpeg 5.1: `-f lavfi -i smptebars=s=66x50:r=15 -frames:v 4 -g 3` and each encoder's fastest settings; without
// x264's SEI, which says no more than its version.
const VP8: &[u8] = include_bytes!("../../../tests/data/video/vp8.ivf");
const VP9: &[u8] = include_bytes!("../../../tests/data/video/vp9.ivf");
const VP9_444: &[u8] = include_bytes!("../../../tests/data/video/vp9_444.ivf");
const AV1: &[u8] = include_bytes!("../../../tests/data/video/av1.ivf");
const H264: &[u8] = include_bytes!("../../../tests/data/video/h264.h264");

fn read(file: &[u8]) -> Vec<EncodedVideoFrame> {
    IvfReader::new(file).unwrap().map(Result::unwrap).collect()
}

/// Each slice of the file is a picture, with the parameter sets before it.
fn read_h264() -> Vec<EncodedVideoFrame> {
    let begins: Vec<_> = H264.windows(4).enumerate().filter(|(_, code)| *code == [0, 0, 1, code[3]]).collect();
    let mut pictures = Vec::new();
    let mut from = 0;
    for (index, (_, code)) in begins.iter().enumerate() {
        if matches!(code[3] & 0x1f, 1 | 5) {
            let to = begins.get(index + 1).map_or(H264.len(), |(at, _)| *at);
            let to = if H264[..to].ends_with(&[0]) && to < H264.len() { to - 1 } else { to };
            let elapsed = Duration::from_secs(pictures.len() as u64) / 15;
            pictures.push(EncodedVideoFrame::new(VideoCodec::H264, elapsed, &H264[from..to]));
            from = to;
        }
    }
    pictures
}

/// With start codes of four bytes.
fn with_long_codes(data: &[u8]) -> Vec<u8> {
    let mut long = Vec::new();
    for (at, &byte) in data.iter().enumerate() {
        if data[at..].starts_with(&[0, 0, 1]) && !long.ends_with(&[0]) {
            long.push(0);
        }
        long.push(byte);
    }
    long
}

fn samples() -> Vec<(&'static str, Vec<EncodedVideoFrame>)> {
    vec![
        ("vp8", read(VP8)),
        ("vp9", read(VP9)),
        ("vp9 4:4:4", read(VP9_444)),
        ("av1", read(AV1)),
        ("h264", read_h264()),
    ]
}

#[test]
fn real_frames_say_their_size_and_which_are_key_frames() {
    for (name, frames) in samples() {
        let keyframes: Vec<_> = frames.iter().map(|frame| frame.is_keyframe).collect();
        assert_eq!(keyframes, [true, false, false, true], "{name}");
        for frame in &frames {
            assert_eq!(frame.dimensions, frame.is_keyframe.then_some((66, 50)), "{name}");
        }
        let times: Vec<_> = frames.iter().map(|frame| frame.timestamp).collect();
        assert_eq!(times, [0, 6_000, 12_000, 18_000], "{name}");
    }
}

#[test]
fn real_frames_come_through_packets_unchanged() {
    let now = crate::video::test_clock();
    for (name, frames) in samples() {
        let codec = frames[0].codec;
        let mut packetizer = Packetizer::new(codec, None, 0);
        let mut assembler = FrameAssembler::new(millis(300));
        for frame in frames {
            for packet in packetizer.packetize(&frame, frame.timestamp).unwrap() {
                assembler.handle_packet(now, packet);
            }
            let got = assembler.poll_frame().unwrap_or_else(|| panic!("{name}: {:?}", assembler.stats()));
            let sent = match codec {
                VideoCodec::Av1 => frame.data[av1::DELIMITER.len()..].to_vec(),
                VideoCodec::H264 => with_long_codes(&frame.data),
                VideoCodec::Vp8 | VideoCodec::Vp9 => frame.data.to_vec(),
            };
            assert_eq!(got.data[..], sent, "{name}");
            assert_eq!((got.is_keyframe, got.dimensions), (frame.is_keyframe, frame.dimensions), "{name}");
        }
    }
}

#[test]
fn what_is_written_is_read_again() {
    for codec in CODECS {
        let mut encoder = Encoder::new(codec, 3);
        let Ok(mut writer) = IvfWriter::new(Vec::new(), codec, 64, 50) else {
            assert_eq!(codec, VideoCodec::H264);
            continue;
        };
        let frames: Vec<_> =
            (0..40_u32).map(|n| encoder.frame(Duration::from_secs(3_000) * n, 10 + n as usize, n == 0)).collect();
        for frame in &frames {
            writer.write(frame).unwrap();
        }
        let file = writer.finish().unwrap();
        let reader = IvfReader::new(&file[..]).unwrap();
        assert_eq!((reader.codec(), reader.dimensions()), (codec, (64, 50)));
        for (read, frame) in reader.zip(&frames) {
            let read = read.unwrap();
            let delimiter = if codec == VideoCodec::Av1 { av1::DELIMITER.len() } else { 0 };
            assert_eq!(read.data[delimiter..], frame.data[..]);
            assert_eq!((read.elapsed, read.is_keyframe), (frame.elapsed, frame.is_keyframe), "hours later too");
        }
        let cut = IvfReader::new(&file[..file.len() - 1]).unwrap().last();
        assert!(matches!(cut, Some(Err(IvfError::Io(_)))));
    }
}

#[test]
fn what_is_no_file_of_ours_is_refused() {
    let error = |file: &[u8]| IvfReader::new(Cursor::new(file)).unwrap_err();
    assert!(matches!(error(b"RIFF"), IvfError::Io(_)));
    assert!(matches!(error(&[7; 40]), IvfError::NotIvf));
    let mut other = VP8[..32].to_vec();
    other[8..12].copy_from_slice(b"FFV1");
    assert_eq!(error(&other).to_string(), "FFV1 in IVF is not supported");
    let mut endless = VP8[..44].to_vec();
    endless[32..36].fill(0xff);
    assert!(matches!(IvfReader::new(&endless[..]).unwrap().next(), Some(Err(IvfError::FrameTooLarge))));
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..2_000 {
        let mut file = VP8.to_vec();
        for _ in 0..random.usize(1..6) {
            file[random.usize(..60)] = random.u8(..);
        }
        if let Ok(reader) = IvfReader::new(&file[..]) {
            // An error does not end the file for who goes on asking.
            let _ = reader.take(20).count();
        }
    }
}
