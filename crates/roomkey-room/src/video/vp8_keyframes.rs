//! Snapshots of VP8: key frames are decoded as the pictures of WebP that they are.

use image_webp::vp8::Vp8Decoder;

use super::decoder::{DecodeError, Plane, VideoDecoder, VideoFrame};
use super::frame::{EncodedVideoFrame, VideoCodec};

/// Decodes the key frames of VP8 and passes over all others, so that it shows a picture now and then: a preview, a
/// snapshot, what an agent looks at. Where pictures are wanted more often,
/// [`request_keyframe`](crate::VideoStream::request_keyframe) asks for them, which costs the publisher and the network more
/// than a real decoder would.
///
/// It takes pictures of up to 4,096 x 4,096 pixels.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Vp8KeyframeDecoder;

impl Vp8KeyframeDecoder {
    const MOST_PIXELS: u32 = 4_096 * 4_096;

    /// It has no state.
    pub fn new() -> Self {
        Self
    }
}

impl VideoDecoder for Vp8KeyframeDecoder {
    fn decode(&mut self, frame: &EncodedVideoFrame) -> Result<Option<VideoFrame>, DecodeError> {
        if frame.codec != VideoCodec::Vp8 {
            return Err(DecodeError::UnsupportedCodec(frame.codec));
        }
        if !frame.is_keyframe {
            return Ok(None);
        }
        let (width, height) = frame.dimensions.ok_or_else(|| DecodeError::Corrupt("the size is missing".into()))?;
        if width * height > Self::MOST_PIXELS {
            return Err(DecodeError::TooLarge { width, height });
        }
        let decoded = Vp8Decoder::decode_frame(&*frame.data).map_err(|error| DecodeError::Corrupt(error.into()))?;
        // Its planes have whole macroblocks.
        let stride = usize::from(decoded.width).next_multiple_of(16);
        let planes = [
            Plane::new(decoded.ybuf, stride),
            Plane::new(decoded.ubuf, stride / 2),
            Plane::new(decoded.vbuf, stride / 2),
        ];
        let picture = VideoFrame::new(decoded.width.into(), decoded.height.into(), frame.elapsed, planes);
        picture.map(Some).ok_or_else(|| DecodeError::Corrupt("there is no pixel".into()))
    }

    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::video::IvfReader;

    const FILE: &[u8] = include_bytes!("../../tests/data/video/vp8.ivf");

    fn frames() -> Vec<EncodedVideoFrame> {
        IvfReader::new(FILE).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn key_frames_are_pictures_of_colour_bars() {
        let frames = frames();
        let mut decoder = Vp8KeyframeDecoder::new();
        let pictures: Vec<_> = frames.iter().map(|frame| decoder.decode(frame).unwrap()).collect();
        assert_eq!(pictures.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, false, true]);
        let picture = pictures[3].as_ref().unwrap();
        assert_eq!((picture.width, picture.height, picture.elapsed), (66, 50, frames[3].elapsed));
        let rgb = picture.to_rgb();
        assert_eq!(rgb.len(), 66 * 50 * 3);
        // Seven bars: grey, yellow, cyan, green, magenta, red, blue.
        let bars = (0..7).map(|bar| {
            let at = (66 * 15 + bar * 66 / 7 + 5) * 3;
            [0, 1, 2].map(|colour| rgb[at + colour] > 96)
        });
        let expected = [[1, 1, 1], [1, 1, 0], [0, 1, 1], [0, 1, 0], [1, 0, 1], [1, 0, 0], [0, 0, 1]];
        assert_eq!(bars.collect::<Vec<_>>(), expected.map(|bar| bar.map(|colour| colour == 1)));
    }

    #[test]
    fn a_key_frame_is_the_same_picture_as_a_webp_file() {
        let frame = &frames()[0];
        let file = frame.to_webp().unwrap();
        let mut webp = image_webp::WebPDecoder::new(Cursor::new(file)).unwrap();
        let mut rgb = vec![0; webp.output_buffer_size().unwrap()];
        webp.read_image(&mut rgb).unwrap();
        assert_eq!(webp.dimensions(), (66, 50));
        // It blends colours between pixels, so that edges differ.
        let ours = Vp8KeyframeDecoder::new().decode(frame).unwrap().unwrap().to_rgb();
        let same = rgb.iter().zip(&ours).filter(|(a, b)| a.abs_diff(**b) < 6).count();
        assert!(same * 10 > rgb.len() * 7, "{same} of {}", rgb.len());
    }

    #[test]
    fn frames_that_are_nothing_for_it_are_errors() {
        let frame = &frames()[0];
        let mut decoder = Vp8KeyframeDecoder::new();
        let other = EncodedVideoFrame { codec: VideoCodec::Vp9, ..frame.clone() };
        assert!(matches!(decoder.decode(&other), Err(DecodeError::UnsupportedCodec(VideoCodec::Vp9))));
        let mut large = frame.data.to_vec();
        large[6..10].copy_from_slice(&[0xff, 0x3f, 0xff, 0x3f]);
        let large = EncodedVideoFrame::new(VideoCodec::Vp8, frame.elapsed, large);
        assert!(matches!(decoder.decode(&large), Err(DecodeError::TooLarge { width: 16_383, height: 16_383 })));
        let cut = EncodedVideoFrame::new(VideoCodec::Vp8, frame.elapsed, &frame.data[..20]);
        assert!(matches!(decoder.decode(&cut), Err(DecodeError::Corrupt(_))));
    }

    #[test]
    fn frames_at_random_do_no_harm() {
        let frames = frames();
        let mut random = fastrand::Rng::with_seed(1);
        let mut decoder = Vp8KeyframeDecoder::new();
        for _ in 0..1_500 {
            let mut data = frames[0].data.to_vec();
            for _ in 0..random.usize(1..10) {
                let near = if random.bool() { 40 } else { data.len() };
                data[random.usize(..near)] = random.u8(..);
            }
            // Small pictures keep the test short.
            (data[7], data[9]) = (data[7] & 0xc0, data[9] & 0xc0);
            data.truncate(random.usize(0..3 * data.len()));
            let _ = decoder.decode(&EncodedVideoFrame::new(VideoCodec::Vp8, frames[0].elapsed, data));
        }
    }
}
