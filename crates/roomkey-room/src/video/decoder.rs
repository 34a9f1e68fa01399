//! From encoded frames to pictures.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::frame::{EncodedVideoFrame, VideoCodec};

/// Makes pictures of a stream's frames.
///
/// Roomkey brings no decoder of moving pictures: of those in Rust alone, none that we found is both complete and well kept,
/// and C and C++ stay out. An application that has a decoder, of the system or of a library, puts it behind this trait. For
/// snapshots there is `Vp8KeyframeDecoder`, with the feature `vp8-keyframes`.
pub trait VideoDecoder {
    /// Takes the next frame of the stream. Gives a picture, which may be that of an earlier frame, or nothing yet.
    ///
    /// # Errors
    ///
    /// The frame can't be decoded. Go on with the next [key frame](EncodedVideoFrame::is_keyframe):
    /// [`request_keyframe`](crate::VideoStream::request_keyframe) asks for one.
    fn decode(&mut self, frame: &EncodedVideoFrame) -> Result<Option<VideoFrame>, DecodeError>;

    /// Forgets all frames: what comes next is a key frame, perhaps of another stream.
    fn reset(&mut self);
}

/// A picture in three planes of 8 bits with half the width and height of colour: I420.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VideoFrame {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// How long after the first frame of its stream the picture was taken.
    pub elapsed: Duration,
    /// Brightness.
    pub y: Plane,
    /// Blue, as a difference.
    pub u: Plane,
    /// Red, as a difference.
    pub v: Plane,
}

/// One plane of a picture: rows of `stride` bytes, of which the first ones count.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plane {
    /// The rows, one after the other.
    pub data: Arc<[u8]>,
    /// From a row's beginning to that of the next.
    pub stride: usize,
}

impl Plane {
    /// A plane of these rows.
    pub fn new(data: impl Into<Arc<[u8]>>, stride: usize) -> Self {
        Self { data: data.into(), stride }
    }

    fn holds(&self, width: u32, height: u32) -> bool {
        let (width, height) = (width as usize, height as usize);
        let rows = self.stride.checked_mul(height.saturating_sub(1));
        self.stride >= width && rows.and_then(|rows| rows.checked_add(width)).is_some_and(|end| end <= self.data.len())
    }
}

impl VideoFrame {
    /// A picture of three planes. Nothing if one is too small for it, or if there is no pixel.
    pub fn new(width: u32, height: u32, elapsed: Duration, [y, u, v]: [Plane; 3]) -> Option<Self> {
        let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
        let fits = width > 0 && height > 0 && y.holds(width, height);
        let fits = fits && [&u, &v].iter().all(|plane| plane.holds(half_width, half_height));
        fits.then_some(Self { width, height, elapsed, y, u, v })
    }

    /// Rows of red, green and blue, a byte each. The colours are taken for BT.601 with 16 as black and 235 as white, as VP8
    /// has them.
    pub fn to_rgb(&self) -> Vec<u8> {
        let mut rgb = Vec::with_capacity(self.width as usize * self.height as usize * 3);
        for row in 0..self.height as usize {
            for column in 0..self.width as usize {
                let at = |plane: &Plane, row: usize, column: usize| i32::from(plane.data[row * plane.stride + column]);
                let luma = 298 * (at(&self.y, row, column) - 16) + 128;
                let blue = at(&self.u, row / 2, column / 2) - 128;
                let red = at(&self.v, row / 2, column / 2) - 128;
                for value in [luma + 409 * red, luma - 100 * blue - 208 * red, luma + 516 * blue] {
                    rgb.push((value >> 8).clamp(0, 255) as u8);
                }
            }
        }
        rgb
    }
}

impl fmt::Debug for VideoFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VideoFrame")
            .field("width", &self.width)
            .field("height", &self.height)
            .field("elapsed", &self.elapsed)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plane").field("bytes", &self.data.len()).field("stride", &self.stride).finish()
    }
}

/// Why a frame can't be decoded.
#[derive(Debug)]
#[non_exhaustive]
pub enum DecodeError {
    /// The decoder is for another codec.
    UnsupportedCodec(VideoCodec),
    /// The picture is larger than the decoder takes.
    TooLarge {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// The frame contradicts its codec.
    Corrupt(Box<dyn Error + Send + Sync>),
    /// Something of the decoder's own.
    Custom(Box<dyn Error + Send + Sync>),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnsupportedCodec(codec) => write!(f, "the decoder is not for {}", codec.mime_type()),
            Self::TooLarge { width, height } => write!(f, "{width} x {height} pixels are more than the decoder takes"),
            Self::Corrupt(_) => f.write_str("the frame is corrupt"),
            Self::Custom(_) => f.write_str("the decoder failed"),
        }
    }
}

impl Error for DecodeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Corrupt(error) | Self::Custom(error) => Some(&**error),
            Self::UnsupportedCodec(_) | Self::TooLarge { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(width: u32, height: u32, y: &[u8], u: &[u8], v: &[u8]) -> Option<VideoFrame> {
        let stride = width as usize;
        let planes = [Plane::new(y, stride), Plane::new(u, stride.div_ceil(2)), Plane::new(v, stride.div_ceil(2))];
        VideoFrame::new(width, height, Duration::ZERO, planes)
    }

    #[test]
    fn colours_are_those_of_bt_601() {
        let rgb = frame(3, 1, &[16, 235, 81], &[128, 90], &[128, 240]).unwrap().to_rgb();
        assert_eq!(rgb, [0, 0, 0, 255, 255, 255, 255, 0, 0], "black, white, red");
    }

    #[test]
    fn planes_that_are_too_small_are_no_picture() {
        assert!(frame(3, 2, &[0; 6], &[0; 2], &[0; 2]).is_some());
        assert!(frame(3, 2, &[0; 5], &[0; 2], &[0; 2]).is_none());
        assert!(frame(3, 2, &[0; 6], &[0; 1], &[0; 2]).is_none());
        assert!(frame(3, 3, &[0; 9], &[0; 4], &[0; 3]).is_none());
        assert!(frame(0, 2, &[0; 5], &[0; 2], &[0; 2]).is_none());
        assert!(frame(u32::MAX, u32::MAX, &[0; 5], &[0; 2], &[0; 2]).is_none());
    }
}
