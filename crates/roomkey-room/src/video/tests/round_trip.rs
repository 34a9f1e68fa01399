//! What a packetizer makes, an assembler understands.

use super::{CODECS, Encoder, millis};
use crate::video::assembler::FrameAssembler;
use crate::video::packet::MAX_PAYLOAD;

#[test]
fn frames_of_all_sizes_come_back_as_they_were() {
    for codec in CODECS {
        let now = crate::video::test_clock();
        let mut encoder = Encoder::new(codec, 1);
        let mut assembler = FrameAssembler::new(millis(300));
        let mut sizes: Vec<usize> = (4..20).chain(1_100..1_130).chain(2_200..2_260).collect();
        sizes.extend((0..20).map(|_| fastrand::Rng::with_seed(7).usize(3_000..60_000)));
        sizes.push(1 << 18);
        let mut next_sequence = 0;
        for (index, size) in sizes.into_iter().enumerate() {
            let elapsed = millis(index as u64 * 40);
            let (frame, packets) = encoder.packets(elapsed, size, index % 3 == 0);
            assert_eq!(frame.is_keyframe, index % 3 == 0, "{codec:?}");
            assert_eq!(
                frame.dimensions,
                frame.is_keyframe.then_some((64, if codec == crate::video::VideoCodec::H264 { 48 } else { 50 }))
            );
            for (at, packet) in packets.iter().enumerate() {
                assert!((1..=MAX_PAYLOAD).contains(&packet.payload.len()), "{} bytes", packet.payload.len());
                assert_eq!(packet.sequence, next_sequence);
                assert_eq!(packet.marker, at + 1 == packets.len());
                next_sequence += 1;
                assert_eq!(assembler.poll_frame(), None);
                assembler.handle_packet(now + elapsed, packet.clone());
            }
            let got = assembler.poll_frame().unwrap_or_else(|| panic!("{codec:?} of {size}: {:?}", assembler.stats()));
            assert_eq!(got.data, frame.data, "{codec:?} of {size}");
            assert_eq!((got.elapsed, got.is_keyframe), (frame.elapsed, frame.is_keyframe));
            assert_eq!((got.codec, got.dimensions), (frame.codec, frame.dimensions));
        }
        assert!(!assembler.poll_keyframe_request(now + millis(60_000)));
    }
}

#[test]
fn packets_are_as_few_as_they_can_be() {
    for codec in CODECS {
        let (_, packets) = Encoder::new(codec, 2).packets(millis(0), 100_000, false);
        let bytes: usize = packets.iter().map(|packet| packet.payload.len()).sum();
        assert!(packets.len() <= bytes.div_ceil(MAX_PAYLOAD) + 1, "{codec:?}: {} packets", packets.len());
        assert!(bytes < 100_000 + 16 * packets.len(), "{codec:?}: {bytes} bytes");
    }
}
