//! What an application does with sound between the microphone and the encoder, and before the loudspeaker.

use std::fmt;

/// Changes sound in place: noise suppression, gain, echo cancellation.
///
/// One is given to a source with [`AudioSourceOptions::with_processor`](crate::AudioSourceOptions::with_processor), and the
/// same, where it cancels echoes, to a stream with
/// [`AudioStreamOptions::with_processor`](crate::AudioStreamOptions::with_processor), so that it knows what was played.
/// Where several streams are mixed before they are played, give it to none of them, and call
/// [`process_render`](Self::process_render) with the mix.
///
/// Both methods get 10 ms of 48 kHz at a time, channels interleaved. They are called in the task that captures or that reads
/// the stream, each in order, and the two at the same time; they must be quick.
pub trait AudioProcessor: fmt::Debug + Send + Sync {
    /// What was captured, on its way to the encoder.
    fn process_capture(&self, samples: &mut [f32], num_channels: u32);

    /// What a stream yields, on its way to the loudspeaker.
    fn process_render(&self, samples: &mut [f32], num_channels: u32) {
        let _ = (samples, num_channels);
    }
}
