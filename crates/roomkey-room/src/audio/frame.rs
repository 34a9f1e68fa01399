//! A piece of sound, uncompressed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A piece of sound: samples from -1.0 to 1.0, channels interleaved, of any length. Cheap to clone.
#[derive(Clone, PartialEq)]
pub struct AudioFrame {
    samples: Arc<[f32]>,
    format: AudioFormat,
    capture_time: Option<Duration>,
}

/// How many samples a second and how many channels sound has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct AudioFormat {
    pub(crate) sample_rate: u32,
    pub(crate) num_channels: u32,
}

impl AudioFrame {
    /// A frame of interleaved samples. What is beyond -1.0 to 1.0 is kept; a codec clips it.
    ///
    /// # Errors
    ///
    /// Where the rate or the number of channels is not supported, or the last sample lacks a channel.
    pub fn new(samples: impl Into<Arc<[f32]>>, sample_rate: u32, num_channels: u32) -> Result<Self, InvalidAudioFrame> {
        let samples = samples.into();
        let format = AudioFormat::new(sample_rate, num_channels)?;
        if samples.len() % num_channels as usize != 0 {
            return Err(InvalidAudioFrame::IncompleteSample { samples: samples.len(), num_channels });
        }
        Ok(Self { samples, format, capture_time: None })
    }

    /// The same from 16-bit samples, as wav files have them.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn from_i16(samples: &[i16], sample_rate: u32, num_channels: u32) -> Result<Self, InvalidAudioFrame> {
        let samples: Vec<_> = samples.iter().map(|&sample| f32::from(sample) / 32_768.0).collect();
        Self::new(samples, sample_rate, num_channels)
    }

    /// Silence of this many samples a channel.
    ///
    /// # Errors
    ///
    /// Where the rate or the number of channels is not supported.
    pub fn silence(samples_per_channel: usize, sample_rate: u32, num_channels: u32) -> Result<Self, InvalidAudioFrame> {
        let format = AudioFormat::new(sample_rate, num_channels)?;
        let samples = vec![0.0; samples_per_channel.saturating_mul(num_channels as usize)].into();
        Ok(Self { samples, format, capture_time: None })
    }

    /// What a codec made; its caller knows that the samples are whole.
    pub(crate) fn of(samples: &[f32], format: AudioFormat) -> Self {
        debug_assert_eq!(samples.len() % format.num_channels as usize, 0);
        Self { samples: samples.into(), format, capture_time: None }
    }

    pub(crate) fn captured_at(self, capture_time: Option<Duration>) -> Self {
        Self { capture_time, ..self }
    }

    /// When its first sample was taken, as the time since the Unix epoch by the clock of the sender reports that come with the
    /// track: for playing sound and pictures of one participant in step, whose clock is one
    /// ([`EncodedVideoFrame::capture_time`](crate::EncodedVideoFrame::capture_time)). It is known of frames of an
    /// [`AudioStream`](crate::AudioStream), from the first report on, some seconds after the first packet at most; not of
    /// silence that stands for nothing.
    pub fn capture_time(&self) -> Option<Duration> {
        self.capture_time
    }

    /// The samples, channels interleaved.
    pub fn samples(&self) -> &[f32] {
        &self.samples
    }

    /// Samples a second, in each channel.
    pub fn sample_rate(&self) -> u32 {
        self.format.sample_rate
    }

    /// How many channels are interleaved.
    pub fn num_channels(&self) -> u32 {
        self.format.num_channels
    }

    /// How many samples each channel has.
    pub fn samples_per_channel(&self) -> usize {
        self.samples.len() / self.format.num_channels as usize
    }

    /// How long it sounds.
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.samples_per_channel() as f64 / f64::from(self.format.sample_rate))
    }

    /// The samples with 16 bits. What is beyond -1.0 to 1.0 is clipped.
    pub fn to_i16(&self) -> Vec<i16> {
        self.samples.iter().copied().map(to_i16).collect()
    }

    pub(crate) fn format(&self) -> AudioFormat {
        self.format
    }
}

impl fmt::Debug for AudioFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AudioFrame")
            .field("sample_rate", &self.format.sample_rate)
            .field("num_channels", &self.format.num_channels)
            .field("samples_per_channel", &self.samples_per_channel())
            .finish_non_exhaustive()
    }
}

/// The nearest 16-bit sample.
pub(crate) fn to_i16(sample: f32) -> i16 {
    // The cast saturates, and makes 0 of what is not a number.
    (sample * 32_768.0).round() as i16
}

impl AudioFormat {
    /// What every codec here speaks.
    pub(crate) const OPUS_RATE: u32 = 48_000;

    pub(crate) fn new(sample_rate: u32, num_channels: u32) -> Result<Self, InvalidAudioFrame> {
        // A multiple of 25 leaves no resampling ratio that would need long buffers.
        if !(8_000..=192_000).contains(&sample_rate) || !sample_rate.is_multiple_of(25) {
            return Err(InvalidAudioFrame::SampleRate(sample_rate));
        }
        if !(1..=8).contains(&num_channels) {
            return Err(InvalidAudioFrame::Channels(num_channels));
        }
        Ok(Self { sample_rate, num_channels })
    }
}

/// Why samples make no [`AudioFrame`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum InvalidAudioFrame {
    /// The rate is not from 8,000 to 192,000, or no multiple of 25.
    SampleRate(u32),
    /// The number of channels is not from 1 to 8.
    Channels(u32),
    /// The samples do not divide among the channels.
    #[non_exhaustive]
    IncompleteSample {
        /// How many samples there were, all channels together.
        samples: usize,
        /// How many channels they were for.
        num_channels: u32,
    },
}

impl fmt::Display for InvalidAudioFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SampleRate(rate) => {
                write!(f, "a sample rate of {rate}: it is from 8,000 to 192,000 and a multiple of 25")
            }
            Self::Channels(channels) => write!(f, "{channels} channels: there are 1 to 8"),
            Self::IncompleteSample { samples, num_channels } => {
                write!(f, "{samples} samples do not divide among {num_channels} channels")
            }
        }
    }
}

impl std::error::Error for InvalidAudioFrame {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_knows_its_length() {
        let frame = AudioFrame::new(vec![0.0; 960], 48_000, 2).unwrap();
        assert_eq!((frame.samples_per_channel(), frame.duration()), (480, Duration::from_millis(10)));
        assert_eq!(AudioFrame::silence(160, 8_000, 1).unwrap().duration(), Duration::from_millis(20));
    }

    #[test]
    fn what_cannot_be_played_is_refused() {
        let new = |samples: usize, rate, channels| AudioFrame::new(vec![0.0; samples], rate, channels).unwrap_err();
        assert_eq!(new(4, 0, 1), InvalidAudioFrame::SampleRate(0));
        assert_eq!(new(4, 44_101, 1), InvalidAudioFrame::SampleRate(44_101));
        assert_eq!(new(4, 48_000, 0), InvalidAudioFrame::Channels(0));
        assert_eq!(new(4, 48_000, 9), InvalidAudioFrame::Channels(9));
        assert_eq!(new(3, 48_000, 2), InvalidAudioFrame::IncompleteSample { samples: 3, num_channels: 2 });
    }

    #[test]
    fn sixteen_bits_come_back_as_they_were() {
        let samples: Vec<_> = (i16::MIN..=i16::MAX).step_by(7).collect();
        assert_eq!(AudioFrame::from_i16(&samples, 24_000, 1).unwrap().to_i16(), samples);
    }

    #[test]
    fn what_is_too_loud_is_clipped_and_what_is_no_number_is_silent() {
        let frame = AudioFrame::new(vec![2.0, -2.0, f32::NAN, f32::INFINITY], 8_000, 1).unwrap();
        assert_eq!(frame.to_i16(), [i16::MAX, i16::MIN, 0, i16::MAX]);
    }
}
