//! A microphone that feeds a source.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rtrb::Consumer;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::super::AudioSource;
use super::super::frame::{AudioFormat, AudioFrame};
use super::cpal_host::CpalHost;
use super::error::DeviceError;
use super::host::{AudioDevice, Host, Wanted};
use super::intake::Intake;
use super::ring::{CaptureEnd, Counters, Faults};
use super::stats::DeviceStats;
use super::thread::{Close, DeviceThread};
use super::{STALL, TICK};
use crate::clock;

/// An open microphone: what it hears is captured with an [`AudioSource`], in a task, until this is dropped or the device goes.
///
/// Whatever the device has, rate, channels and format of samples, becomes what the source sends. Echo cancellation and the
/// like are the source's: [`AudioSourceOptions::with_processor`](crate::AudioSourceOptions::with_processor). Muting is the
/// track's; the device stays open then.
///
/// What waits in the source for more than 120 ms, because something held the sender up, is let go down to 40 ms.
///
/// Dropping it closes the device and waits for that, some milliseconds most of the time.
pub struct Microphone {
    device: AudioDevice,
    shared: Arc<Shared>,
    lost: watch::Receiver<Option<Arc<DeviceError>>>,
    task: tokio::task::JoinHandle<()>,
    _thread: DeviceThread,
}

struct Shared {
    format: AudioFormat,
    counters: Arc<Counters>,
    intake: Mutex<Intake>,
}

/// What the task has of an open device.
struct Open {
    device: AudioDevice,
    format: AudioFormat,
    counters: Arc<Counters>,
    samples: Consumer<f32>,
    faults: Consumer<DeviceError>,
}

impl Microphone {
    /// Opens a microphone, and captures with the source from then on. Nothing else should capture with it meanwhile. It needs
    /// a tokio runtime with time.
    ///
    /// Dropping the future closes the device as soon as it is open.
    ///
    /// # Errors
    ///
    /// Where there is none or it can't be opened. The system may ask its user first.
    pub async fn open(source: &AudioSource, options: MicrophoneOptions) -> Result<Self, DeviceError> {
        Self::open_at(Arc::new(CpalHost), source, options).await
    }

    pub(super) async fn open_at(
        host: Arc<dyn Host>,
        source: &AudioSource,
        options: MicrophoneOptions,
    ) -> Result<Self, DeviceError> {
        let num_channels = if source.is_stereo() { 2 } else { 1 };
        let wanted = Wanted { id: options.device, num_channels };
        let (open, thread) = DeviceThread::open("microphone", move || {
            let counters = Arc::default();
            let mut ends = None;
            let opened = host.open_capture(&wanted, &mut |format| {
                let (capture, samples) = CaptureEnd::new(format, &counters);
                let (faults, faulty) = Faults::new(&counters);
                ends = Some((samples, faulty));
                (capture, faults)
            })?;
            let (samples, faults) = ends.expect("an open device has an end");
            let (device, format) = (opened.device, opened.format);
            Ok((Open { device, format, counters, samples, faults }, opened.stream))
        })
        .await?;
        let Open { device, format, counters, samples, faults } = open;
        let intake = Mutex::new(Intake::new(format, num_channels));
        let shared = Arc::new(Shared { format, counters, intake });
        let (lose, lost) = watch::channel(None);
        let task = Task {
            shared: Arc::clone(&shared),
            source: source.clone(),
            format: AudioFormat { sample_rate: AudioFormat::OPUS_RATE, num_channels },
            samples,
            faults,
            lose,
            close: thread.closer(),
        };
        Ok(Self { device, shared, lost, task: tokio::spawn(task.run()), _thread: thread })
    }

    /// Which one it is.
    pub fn device(&self) -> &AudioDevice {
        &self.device
    }

    /// Samples a second of the device itself.
    pub fn sample_rate(&self) -> u32 {
        self.shared.format.sample_rate
    }

    /// What became of its sound.
    pub fn stats(&self) -> DeviceStats {
        let Shared { format, counters, intake } = &*self.shared;
        let (adjusted, drift_ppm) = {
            let intake = intake.lock().unwrap_or_else(PoisonError::into_inner);
            (intake.skipped(), intake.drift_ppm())
        };
        DeviceStats { adjusted, drift_ppm, ..counters.stats(format.sample_rate) }
    }

    /// Waits until the device has gone, and says why. It is closed then; the source is as if nothing were captured any more.
    ///
    /// Dropping the future changes nothing.
    pub async fn lost(&self) -> Arc<DeviceError> {
        DeviceError::told(self.lost.clone()).await
    }
}

impl Drop for Microphone {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Microphone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Microphone").field("device", &self.device).field("stats", &self.stats()).finish_non_exhaustive()
    }
}

struct Task {
    shared: Arc<Shared>,
    source: AudioSource,
    format: AudioFormat,
    samples: Consumer<f32>,
    faults: Consumer<DeviceError>,
    lose: watch::Sender<Option<Arc<DeviceError>>>,
    close: Close,
}

impl Task {
    async fn run(mut self) {
        let error = self.capture().await;
        tracing::debug!(%error, "a microphone has gone");
        self.close.close();
        self.lose.send_replace(Some(Arc::new(error)));
    }

    async fn capture(&mut self) -> DeviceError {
        let counters = Arc::clone(&self.shared.counters);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut passed, mut missed, mut alive) = (0, 0, clock::now());
        let (mut samples, mut out) = (Vec::new(), Vec::new());
        loop {
            ticks.tick().await;
            if let Ok(error) = self.faults.pop() {
                return error;
            }
            let now = clock::now();
            if counters.passed() != passed {
                (passed, alive) = (counters.passed(), now);
            } else if now - alive > STALL {
                return DeviceError::Stalled;
            }
            let lost = counters.missed() - missed;
            missed += lost;
            samples.clear();
            if let Ok(chunk) = self.samples.read_chunk(self.samples.slots()) {
                samples.extend(chunk);
            }
            out.clear();
            let queued = self.source.backlog(now);
            {
                let mut intake = self.shared.intake.lock().unwrap_or_else(PoisonError::into_inner);
                intake.push(now, &samples, lost, counters.period(), queued, &mut out);
            }
            if !out.is_empty()
                && let Err(error) = self.source.capture_frame(&AudioFrame::of(&out, self.format)).await
            {
                tracing::trace!(%error, "a microphone's sound was not encoded");
            }
        }
    }
}

impl Counters {
    /// What the device's end knows.
    pub(super) fn stats(&self, sample_rate: u32) -> DeviceStats {
        let frames = |frames: u64| Duration::from_secs_f64(frames as f64 / f64::from(sample_rate));
        DeviceStats {
            passed: frames(self.passed()),
            xruns: self.xruns(),
            missed: frames(self.missed()),
            driver_xruns: self.driver_xruns(),
            ..DeviceStats::default()
        }
    }
}

/// Which microphone is opened.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MicrophoneOptions {
    device: Option<String>,
}

impl MicrophoneOptions {
    /// The system's default.
    pub fn new() -> Self {
        Self::default()
    }

    /// The one of this id: [`AudioDevice::id`].
    pub fn with_device(self, id: impl Into<String>) -> Self {
        Self { device: Some(id.into()) }
    }
}

#[cfg(test)]
mod tests;
