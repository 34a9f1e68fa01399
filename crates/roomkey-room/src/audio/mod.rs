//! Sound: from the application's samples to packets of Opus, and back.

#![allow(dead_code, reason = "the room, which polls one end and feeds the other, does not do so yet")]

mod codec;
mod converter;
mod frame;
mod level;
mod opus;
mod outlet;
mod processor;
mod recording;
mod red;
mod send_queue;
mod source;
#[cfg(test)]
mod tone;

pub use codec::{AudioCodec, AudioDecoder, AudioEncoder, CodecError};
pub use frame::{AudioFrame, InvalidAudioFrame};
pub use opus::OpusCodec;
pub use processor::AudioProcessor;
pub use recording::Recording;
pub use source::{AudioSource, AudioSourceOptions};

use std::time::Duration;

/// Samples a channel of a packet of ours: 20 ms at 48 kHz.
const FRAME: usize = 960;

/// The same as a time.
const FRAME_DURATION: Duration = Duration::from_millis(20);

/// The most that a packet of ours has: it fits into a datagram with one like it before it.
const MAX_PACKET_BYTES: usize = 1_020;
