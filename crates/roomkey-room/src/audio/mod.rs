//! Sound: from the application's samples to packets of Opus, and back.

mod codec;
mod converter;
mod delay;
#[cfg(feature = "cpal")]
pub mod device;
mod frame;
mod inlet;
mod jitter_buffer;
mod level;
mod opus;
mod outlet;
mod processor;
mod recording;
mod red;
mod send_queue;
mod sequence;
#[cfg(feature = "sonora")]
mod sonora;
mod source;
mod stats;
mod stream;
#[cfg(test)]
mod tone;

pub use codec::{AudioCodec, AudioDecoder, AudioEncoder, CodecError};
pub use frame::{AudioFrame, InvalidAudioFrame};
pub(crate) use inlet::AudioInlet;
pub(crate) use jitter_buffer::IncomingAudio;
pub use opus::OpusCodec;
pub(crate) use outlet::Outlet;
pub use processor::AudioProcessor;
pub use recording::Recording;
pub(crate) use red::{PayloadFormat, RedEncoder};
#[cfg(feature = "sonora")]
pub use sonora::{SonoraOptions, SonoraProcessor};
pub use source::{AudioSource, AudioSourceOptions};
pub use stats::AudioStreamStats;
pub use stream::{AudioStream, AudioStreamOptions};

use std::time::Duration;

/// Samples a channel of a packet of ours: 20 ms at 48 kHz.
const FRAME: usize = 960;

/// The same as a time.
const FRAME_DURATION: Duration = Duration::from_millis(20);

/// The most that a packet of ours has: it fits into a datagram with one like it before it.
const MAX_PACKET_BYTES: usize = 1_020;

/// Samples a channel after which what is made up for a missing frame is silent: 100 ms.
const FADE: usize = 4_800;
