//! A VP8 key frame as a picture: WebP holds the same bits (RFC 9649 section 2.5).

use super::frame::{EncodedVideoFrame, VideoCodec};

impl EncodedVideoFrame {
    /// A VP8 key frame as a WebP file, which browsers and image viewers show: a snapshot without a decoder. The bits are
    /// the frame's own. Nothing for other frames.
    pub fn to_webp(&self) -> Option<Vec<u8>> {
        if self.codec != VideoCodec::Vp8 || self.dimensions.is_none() {
            return None;
        }
        let size = u32::try_from(self.data.len()).ok()?;
        let padding = size % 2;
        let all = size.checked_add(padding)?.checked_add(12)?;
        let header = [&b"RIFF"[..], &all.to_le_bytes(), b"WEBPVP8 ", &size.to_le_bytes()].concat();
        Some([&header[..], &self.data, &[0][..padding as usize]].concat())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_key_frame_is_framed_and_padded_to_an_even_length() {
        let key = [0x10, 2, 0, 0x9d, 0x01, 0x2a, 64, 0, 50, 0, 7];
        let frame = EncodedVideoFrame::new(VideoCodec::Vp8, Duration::ZERO, &key[..]);
        let file = frame.to_webp().unwrap();
        assert_eq!(file[..20], *b"RIFF\x18\0\0\0WEBPVP8 \x0b\0\0\0");
        assert_eq!((file[20..31] == key, file.len()), (true, 32));
        let delta = EncodedVideoFrame::new(VideoCodec::Vp8, Duration::ZERO, &[0x11, 2, 0][..]);
        assert_eq!(delta.to_webp(), None);
    }
}
