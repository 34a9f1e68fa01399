//! What a codec has to do.

use std::fmt;

/// Makes encoders and decoders of Opus (RFC 6716, RFC 7587), the codec of audio in LiveKit.
///
/// The one used without a word is [`OpusCodec`](crate::OpusCodec), which is pure Rust. Another, say over libopus, is given to
/// [`AudioSourceOptions::with_codec`](crate::AudioSourceOptions::with_codec) and
/// [`AudioStreamOptions::with_codec`](crate::AudioStreamOptions::with_codec).
pub trait AudioCodec: fmt::Debug + Send + Sync {
    /// An encoder of 48 kHz samples with this many channels, 1 or 2, interleaved.
    ///
    /// # Errors
    ///
    /// Where the codec does not do that.
    fn encoder(&self, num_channels: u32) -> Result<Box<dyn AudioEncoder>, CodecError>;

    /// A decoder to 48 kHz samples with this many channels, 1 or 2, interleaved, whatever the packets have.
    ///
    /// # Errors
    ///
    /// Where the codec does not do that.
    fn decoder(&self, num_channels: u32) -> Result<Box<dyn AudioDecoder>, CodecError>;
}

/// Encodes one stream.
pub trait AudioEncoder: Send {
    /// Encodes 20 ms, 960 samples a channel, and writes the packet into the empty `packet`. One of two bytes or fewer says
    /// that nothing needs to be sent (discontinuous transmission).
    ///
    /// # Errors
    ///
    /// Where the samples can't be encoded. The frame is then skipped.
    fn encode(&mut self, samples: &[f32], packet: &mut Vec<u8>) -> Result<(), CodecError>;
}

/// Decodes one stream. All three methods append what they make to `samples`.
pub trait AudioDecoder: Send {
    /// Decodes a packet of a peer, which may be anything at all and must not panic.
    ///
    /// # Errors
    ///
    /// Where it is no packet. The frame is then concealed.
    fn decode(&mut self, packet: &[u8], samples: &mut Vec<f32>) -> Result<(), CodecError>;

    /// Makes up for a lost packet of so many samples a channel, from a copy that the packet behind it, `next`, may carry
    /// (in-band FEC).
    ///
    /// # Errors
    ///
    /// Where `next` is no packet.
    fn recover(&mut self, next: &[u8], samples_per_channel: usize, samples: &mut Vec<f32>) -> Result<(), CodecError> {
        let _ = next;
        self.conceal(samples_per_channel, samples)
    }

    /// Makes up for a lost packet from what came before it.
    ///
    /// # Errors
    ///
    /// Where the codec cannot. Silence is then played.
    fn conceal(&mut self, samples_per_channel: usize, samples: &mut Vec<f32>) -> Result<(), CodecError>;
}

/// What a codec could not do; the cause is in [`source`](std::error::Error::source).
#[derive(Debug)]
pub struct CodecError(Box<dyn std::error::Error + Send + Sync>);

impl CodecError {
    /// An error with its cause.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the audio codec failed")
    }
}

impl std::error::Error for CodecError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}
