//! What became of the packets of a stream.

use std::time::Duration;

/// What became of the packets of an [`AudioStream`](crate::AudioStream) since it began.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct AudioStreamStats {
    /// Packets that came, each once.
    pub received: u64,
    /// Packets that did not come, or not yet.
    pub lost: u64,
    /// Frames of lost packets that were found in later packets, and played.
    pub recovered: u64,
    /// How much was made up because a frame was missing when it should have been played, silence before and after speech
    /// included.
    pub concealed: Duration,
    /// Packets that came after their frame should have been played.
    pub late: u64,
    /// Packets and frames that were dropped because too many came at once, or because nobody read the stream.
    pub dropped: u64,
    /// Packets and frames that are not what they should be.
    pub malformed: u64,
    /// Packets of a track that is encrypted end to end that could not be decrypted. They count as lost too.
    pub undecrypted: u64,
    /// How long the frame that was played last had waited: the delay that the stream adds to that of the network.
    pub delay: Duration,
}

impl AudioStreamStats {
    pub(crate) fn conceal(&mut self, samples: usize) {
        self.concealed += Duration::from_micros(samples as u64 * 125 / 6);
    }
}
