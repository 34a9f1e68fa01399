//! What was captured before anybody could hear it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::converter::Converter;
use super::frame::{AudioFormat, to_i16};

/// The newest of what a source captures, kept until it is taken: see [`AudioSource::record`](crate::AudioSource::record).
///
/// The bytes are 16-bit little-endian samples, one channel, [`SAMPLE_RATE`](Self::SAMPLE_RATE) a second, without a header.
/// LiveKit's agents take audio from before the connection in this form (attributes `sampleRate` and `channels` of the byte
/// stream `lk.agent.pre-connect-audio-buffer` say so).
///
/// Dropping it ends the recording.
pub struct Recording {
    recorded: Arc<Mutex<Recorded>>,
}

impl Recording {
    /// Samples a second of the bytes.
    pub const SAMPLE_RATE: u32 = 24_000;

    /// A recording, and where samples of `format` are put.
    pub(crate) fn new(limit: Duration, format: AudioFormat) -> (Self, Recorder) {
        let target = AudioFormat { sample_rate: Self::SAMPLE_RATE, num_channels: 1 };
        let samples = limit.as_secs_f64() * f64::from(Self::SAMPLE_RATE);
        let recorded = Arc::new(Mutex::new(Recorded {
            converter: Converter::new(format, target),
            converted: Vec::new(),
            // The cast saturates.
            limit: samples as usize,
            samples: VecDeque::new(),
            dropped: 0,
            is_paused: false,
        }));
        let recorder = Recorder(Arc::downgrade(&recorded));
        (Self { recorded }, recorder)
    }

    /// Ends the recording and gives what it holds.
    pub fn take(self) -> Vec<u8> {
        self.drain()
    }

    /// Gives what has been recorded since the last time, oldest first, and goes on. What was older than the limit is gone.
    pub fn drain(&self) -> Vec<u8> {
        let mut recorded = self.recorded.lock().expect("nothing panics under the lock");
        recorded.samples.drain(..).flat_map(i16::to_le_bytes).collect()
    }

    /// Whether nothing is added, until it is set otherwise; what is held stays. A recording begins without a pause.
    pub fn set_paused(&self, is_paused: bool) {
        self.recorded.lock().expect("nothing panics under the lock").is_paused = is_paused;
    }

    /// How much is held.
    pub fn duration(&self) -> Duration {
        samples(self.recorded.lock().expect("nothing panics under the lock").samples.len() as u64)
    }

    /// How much was older than the limit, and so lost, since the recording began.
    pub fn dropped(&self) -> Duration {
        samples(self.recorded.lock().expect("nothing panics under the lock").dropped)
    }
}

fn samples(count: u64) -> Duration {
    Duration::from_secs_f64(count as f64 / f64::from(Recording::SAMPLE_RATE))
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").field("duration", &self.duration()).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Recorded {
    converter: Converter,
    converted: Vec<f32>,
    limit: usize,
    samples: VecDeque<i16>,
    dropped: u64,
    is_paused: bool,
}

/// Where samples are put, as long as somebody wants them.
#[derive(Debug)]
pub(crate) struct Recorder(Weak<Mutex<Recorded>>);

impl Recorder {
    /// False where nobody wants them any more.
    pub(crate) fn push(&self, samples: &[f32]) -> bool {
        let Some(recorded) = self.0.upgrade() else { return false };
        let mut recorded = recorded.lock().expect("nothing panics under the lock");
        let Recorded { converter, converted, limit, samples: kept, dropped, is_paused } = &mut *recorded;
        if *is_paused {
            return true;
        }
        converted.clear();
        converter.push(samples, converted);
        kept.extend(converted.iter().copied().map(to_i16));
        let excess = kept.len().saturating_sub(*limit);
        kept.drain(..excess);
        *dropped += excess as u64;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::tone;
    use super::*;

    const FORMAT: AudioFormat = AudioFormat { sample_rate: 48_000, num_channels: 2 };

    fn stereo(frequency: f64, samples: usize) -> Vec<f32> {
        tone::sine(frequency, 0.5, 48_000, samples).into_iter().flat_map(|sample| [sample, sample]).collect()
    }

    #[test]
    fn a_recording_is_24_khz_mono_of_16_bits() {
        let (recording, recorder) = Recording::new(Duration::from_secs(10), FORMAT);
        stereo(1_000.0, 48_000).chunks(1_920).for_each(|frame| assert!(recorder.push(frame)));
        assert_eq!(recording.duration(), Duration::from_secs(1));
        let bytes = recording.take();
        assert_eq!(bytes.len(), 48_000);
        let samples: Vec<_> =
            bytes.chunks_exact(2).map(|s| f32::from(i16::from_le_bytes([s[0], s[1]])) / 32_768.0).collect();
        let heard = &samples[2_400..];
        assert!(tone::power_at(heard, 1_000.0, 24_000) > 0.99 * tone::power(heard));
        assert!((0.12..0.13).contains(&tone::power(heard)));
        assert!(!recorder.push(&[0.0; 1_920]), "nobody listens any more");
    }

    #[test]
    fn the_newest_is_kept() {
        let (recording, recorder) = Recording::new(Duration::from_millis(100), FORMAT);
        for _ in 0..100 {
            recorder.push(&[0.0; 1_920]);
        }
        for frame in stereo(1_000.0, 9_600).chunks(1_920) {
            recorder.push(frame);
        }
        assert_eq!(
            (recording.duration(), recording.dropped()),
            (Duration::from_millis(100), Duration::from_millis(2_100))
        );
        let loud = recording.drain().chunks_exact(2).filter(|sample| sample[1] != 0).count();
        assert!(loud > 2_000, "{loud}");
        assert_eq!(recording.duration(), Duration::ZERO);
        recorder.push(&[0.0; 1_920]);
        assert_eq!(recording.drain().len(), 960, "it goes on");
        recording.set_paused(true);
        assert!(recorder.push(&[0.0; 1_920]), "it is wanted later");
        assert!(recording.drain().is_empty());
        recording.set_paused(false);
        recorder.push(&[0.0; 1_920]);
        assert_eq!(recording.drain().len(), 960);
    }
}
