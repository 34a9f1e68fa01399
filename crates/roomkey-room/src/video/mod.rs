//! Encoded video: frames in and out, and the RTP packets between.
//!
//! What decides is pure: `packetizer` and `assembler` with a file for each codec.

mod assembler;
mod av1;
mod bits;
mod frame;
mod h264;
mod keyframe_request;
mod layer;
mod malformed;
mod packet;
mod packetizer;
mod timeline;
mod vp8;
mod vp9;

pub use frame::{EncodedVideoFrame, TemporalLayer, VideoCodec};
pub use layer::{SubscribedQualities, VideoLayer, VideoQuality};
pub use malformed::MalformedVideo;

#[cfg(test)]
mod tests;

/// Where virtual time begins.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
fn test_clock() -> std::time::Instant {
    std::time::Instant::now()
}
