//! Encoded video: frames in and out, and the RTP packets between.
//!
//! What decides is pure: `packetizer` and `assembler` with a file for each codec. `stream` and `source` are what an
//! application holds, `VideoInlet` and `VideoOutlet` their other ends in the room.

mod assembler;
mod av1;
mod bits;
mod decoder;
mod frame;
mod h264;
mod ivf;
mod keyframe_request;
mod layer;
mod malformed;
mod outlet;
mod packet;
mod packetizer;
mod source;
mod source_options;
mod stream;
mod timeline;
mod vp8;
#[cfg(feature = "vp8-keyframes")]
mod vp8_keyframes;
mod vp9;
mod webp;

pub use decoder::{DecodeError, Plane, VideoDecoder, VideoFrame};
pub use frame::{EncodedVideoFrame, TemporalLayer, VideoCodec};
pub use ivf::{IvfError, IvfReader, IvfWriter};
pub use layer::{SubscribedQualities, VideoLayer, VideoQuality};
pub use malformed::MalformedVideo;
pub(crate) use outlet::VideoOutlet;
pub use source::{CaptureError, Captured, KeyframeRequests, VideoSource, VideoSourceStats};
pub use source_options::VideoSourceOptions;
pub(crate) use stream::VideoInlet;
pub use stream::{VideoStream, VideoStreamOptions, VideoStreamStats};
#[cfg(feature = "vp8-keyframes")]
pub use vp8_keyframes::Vp8KeyframeDecoder;

#[cfg(test)]
mod tests;

/// Where virtual time begins.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
fn test_clock() -> std::time::Instant {
    std::time::Instant::now()
}
