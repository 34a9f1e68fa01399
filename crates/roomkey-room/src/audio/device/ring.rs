//! What lies between a device's real-time thread and a task.
//!
//! The device's end waits for nothing, takes no lock and no memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};

use super::super::frame::AudioFormat;
use super::error::DeviceError;
use super::sample::DeviceSample;

/// How much a ring holds. A task that is held up for longer loses sound, or is silent.
pub(super) const LENGTH: Duration = Duration::from_millis(500);

/// What the device's end counts.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Frames that the device has given or asked for; one is a sample for each channel.
    passed: AtomicU64,
    /// Those of them that found no room, or nothing to play.
    missed: AtomicU64,
    xruns: AtomicU64,
    driver_xruns: AtomicU64,
    /// The most frames at a time.
    period: AtomicUsize,
}

impl Counters {
    pub(super) fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    pub(super) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    pub(super) fn xruns(&self) -> u64 {
        self.xruns.load(Ordering::Relaxed)
    }

    pub(super) fn driver_xruns(&self) -> u64 {
        self.driver_xruns.load(Ordering::Relaxed)
    }

    pub(super) fn period(&self) -> usize {
        self.period.load(Ordering::Relaxed)
    }

    fn count(&self, frames: usize, missed: usize) {
        self.passed.fetch_add(frames as u64, Ordering::Relaxed);
        self.period.fetch_max(frames, Ordering::Relaxed);
        if missed > 0 {
            self.missed.fetch_add(missed as u64, Ordering::Relaxed);
            self.xruns.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A ring of a format: one end for who gives, one for who takes.
fn ring(format: AudioFormat) -> (Producer<f32>, Consumer<f32>) {
    let frames = (LENGTH.as_secs_f64() * f64::from(format.sample_rate)) as usize;
    RingBuffer::new(frames * format.num_channels as usize)
}

/// Where a microphone's driver puts what it has.
#[derive(Debug)]
pub(super) struct CaptureEnd {
    samples: Producer<f32>,
    counters: Arc<Counters>,
    channels: usize,
}

impl CaptureEnd {
    pub(super) fn new(format: AudioFormat, counters: &Arc<Counters>) -> (Self, Consumer<f32>) {
        let (samples, task) = ring(format);
        (Self { samples, counters: Arc::clone(counters), channels: format.num_channels as usize }, task)
    }

    /// Takes what there is room for, whole frames; the newest is lost.
    pub(super) fn capture<T: DeviceSample>(&mut self, samples: &[T]) {
        let frames = samples.len() / self.channels;
        let taken = (self.samples.slots() / self.channels).min(frames);
        if let Ok(chunk) = self.samples.write_chunk_uninit(taken * self.channels) {
            chunk.fill_from_iter(samples.iter().map(|sample| sample.to_f32()));
        }
        self.counters.count(frames, frames - taken);
    }
}

/// Where a loudspeaker's driver gets what it plays.
#[derive(Debug)]
pub(super) struct PlaybackEnd {
    samples: Consumer<f32>,
    counters: Arc<Counters>,
    channels: usize,
}

impl PlaybackEnd {
    pub(super) fn new(format: AudioFormat, counters: &Arc<Counters>) -> (Self, Producer<f32>) {
        let (task, samples) = ring(format);
        (Self { samples, counters: Arc::clone(counters), channels: format.num_channels as usize }, task)
    }

    /// Gives what there is, whole frames, and silence for the rest.
    pub(super) fn play<T: DeviceSample>(&mut self, out: &mut [T]) {
        let frames = out.len() / self.channels;
        let given = (self.samples.slots() / self.channels).min(frames);
        let (filled, rest) = out.split_at_mut(given * self.channels);
        if let Ok(chunk) = self.samples.read_chunk(filled.len()) {
            filled.iter_mut().zip(chunk).for_each(|(to, sample)| *to = T::from_f32(sample));
        }
        rest.fill(T::EQUILIBRIUM);
        self.counters.count(frames, frames - given);
    }
}

/// How a driver says that something is wrong.
#[derive(Debug)]
pub(super) struct Faults {
    faults: Producer<DeviceError>,
    counters: Arc<Counters>,
}

impl Faults {
    pub(super) fn new(counters: &Arc<Counters>) -> (Self, Consumer<DeviceError>) {
        // The first one ends it.
        let (faults, task) = RingBuffer::new(1);
        (Self { faults, counters: Arc::clone(counters) }, task)
    }

    /// The device lost some sound, and goes on.
    pub(super) fn xrun(&self) {
        self.counters.driver_xruns.fetch_add(1, Ordering::Relaxed);
    }

    /// The device does not go on.
    pub(super) fn fail(&mut self, error: DeviceError) {
        let _ = self.faults.push(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEREO: AudioFormat = AudioFormat { sample_rate: 8_000, num_channels: 2 };
    const FRAMES: usize = 4_000;

    #[test]
    fn what_finds_no_room_is_lost_in_whole_frames_and_counted() {
        let counters = Arc::default();
        let (mut end, mut task) = CaptureEnd::new(STEREO, &counters);
        end.capture(&vec![0.5_f32; 2 * (FRAMES - 1)]);
        assert_eq!((counters.passed(), counters.missed(), counters.xruns()), (FRAMES as u64 - 1, 0, 0));
        end.capture(&[16_384_i16; 6]);
        assert_eq!((counters.passed(), counters.missed(), counters.xruns()), (FRAMES as u64 + 2, 2, 1));
        assert_eq!((task.slots(), counters.period()), (2 * FRAMES, FRAMES - 1));
        while let Ok(sample) = task.pop() {
            assert_eq!(sample, 0.5);
        }
        end.capture(&[0_u8; 4]);
        assert_eq!((task.slots(), counters.xruns()), (4, 1));
    }

    #[test]
    fn what_is_not_there_is_silence_and_counted() {
        let counters = Arc::default();
        let (mut end, mut task) = PlaybackEnd::new(STEREO, &counters);
        // Half a frame waits for the rest of it.
        for sample in [0.5, -0.5, 0.25] {
            task.push(sample).unwrap();
        }
        let mut out = [7_u8; 6];
        end.play(&mut out);
        assert_eq!(out, [192, 64, 128, 128, 128, 128]);
        assert_eq!((counters.passed(), counters.missed(), counters.xruns()), (3, 2, 1));
        task.push(-0.25).unwrap();
        let mut out = [7_i16; 2];
        end.play(&mut out);
        assert_eq!(out, [8_192, -8_192]);
        assert_eq!(counters.xruns(), 1);
    }

    #[test]
    fn nothing_is_lost_or_turned_around_between_two_threads() {
        let counters = Arc::default();
        let format = AudioFormat { sample_rate: 8_000, num_channels: 1 };
        let (mut end, mut task) = CaptureEnd::new(format, &counters);
        let thread = std::thread::spawn(move || {
            let mut rng = fastrand::Rng::with_seed(1);
            let (mut next, mut room) = (0_u32, FRAMES as u32);
            while next < 50_000 {
                let piece = rng.u32(1..300);
                while room < piece {
                    room = end.samples.slots() as u32;
                    std::thread::yield_now();
                }
                // All of them are exact as `f32`.
                end.capture(&(next..next + piece).map(|n| n as f32).collect::<Vec<_>>());
                (next, room) = (next + piece, room - piece);
            }
            next
        });
        let mut seen = 0_u32;
        while !thread.is_finished() || !task.is_empty() {
            match task.pop() {
                Ok(sample) => {
                    assert_eq!(sample, seen as f32);
                    seen += 1;
                }
                Err(_) => std::thread::yield_now(),
            }
        }
        assert_eq!(seen, thread.join().unwrap());
        assert_eq!((counters.passed(), counters.missed()), (u64::from(seen), 0));
    }

    #[test]
    fn the_first_fault_counts() {
        let counters = Arc::default();
        let (mut faults, mut task) = Faults::new(&counters);
        faults.xrun();
        faults.fail(DeviceError::Stalled);
        faults.fail(DeviceError::Lost("it is gone".into()));
        assert!(matches!(task.pop(), Ok(DeviceError::Stalled)));
        assert_eq!(counters.driver_xruns(), 1);
    }
}
