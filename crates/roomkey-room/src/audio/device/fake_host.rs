//! Devices that a test holds in its hands.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use tokio::time::interval;

use super::super::frame::AudioFormat;
use super::TICK;
use super::error::DeviceError;
use super::host::{AudioDevice, Direction, Host, Opened, Wanted};
use super::ring::{CaptureEnd, Faults, PlaybackEnd};
use super::sample::DeviceSample;

/// A host with one microphone and one loudspeaker, which do what the test does with them.
pub(super) struct FakeHost {
    format: AudioFormat,
    /// What is opened next is refused with this.
    pub(super) refusal: Mutex<Option<DeviceError>>,
    /// Opening waits until the other end sends, or is dropped.
    pub(super) gate: Mutex<Option<mpsc::Receiver<()>>>,
    pub(super) microphone: Mutex<Option<(CaptureEnd, Faults)>>,
    pub(super) speaker: Mutex<Option<(PlaybackEnd, Faults)>>,
    closed: mpsc::Sender<()>,
}

impl FakeHost {
    /// A host of this format, and what hears of each device that is closed.
    pub(super) fn new(sample_rate: u32, num_channels: u32) -> (Arc<Self>, mpsc::Receiver<()>) {
        let (closed, closing) = mpsc::channel();
        let host = Self {
            format: AudioFormat::new(sample_rate, num_channels).unwrap(),
            refusal: Mutex::default(),
            gate: Mutex::default(),
            microphone: Mutex::default(),
            speaker: Mutex::default(),
            closed,
        };
        (Arc::new(host), closing)
    }

    /// Runs both devices for so long, with a clock that is off: `heard` gives what the microphone hears of what the
    /// loudspeaker plays, all channels alike.
    pub(super) async fn run<T: DeviceSample>(
        &self,
        duration: Duration,
        ppm: f64,
        mut heard: impl FnMut(&[f32]) -> Vec<f32>,
    ) {
        let rate = f64::from(self.format.sample_rate) * (1.0 + ppm / 1e6);
        let period = self.format.sample_rate as usize / 100;
        let channels = self.format.num_channels as usize;
        let (mut ticks, mut passed) = (interval(TICK), 0);
        for tick in 0..=(duration.as_millis() / TICK.as_millis()) {
            ticks.tick().await;
            while passed + period <= (rate * tick as f64 / 100.0) as usize {
                passed += period;
                let mut played = vec![T::EQUILIBRIUM; period * channels];
                if let Some((speaker, _)) = &mut *self.speaker.lock().unwrap() {
                    speaker.play(&mut played);
                }
                let played: Vec<_> = played.iter().step_by(channels).map(|sample| sample.to_f32()).collect();
                let heard = heard(&played);
                if let Some((microphone, _)) = &mut *self.microphone.lock().unwrap() {
                    let samples = heard.iter().flat_map(|&sample| std::iter::repeat_n(T::from_f32(sample), channels));
                    microphone.capture(&samples.collect::<Vec<_>>());
                }
            }
        }
    }

    fn opened(&self) -> Result<Opened, DeviceError> {
        if let Some(gate) = self.gate.lock().unwrap().take() {
            let _ = gate.recv();
        }
        if let Some(error) = self.refusal.lock().unwrap().take() {
            return Err(error);
        }
        let stream = Box::new(CloseOnDrop(self.closed.clone()));
        Ok(Opened { device: AudioDevice::new("fake:0", "a fake"), format: self.format, stream })
    }
}

impl Host for FakeHost {
    fn devices(&self, _: Direction) -> Result<Vec<AudioDevice>, DeviceError> {
        Ok(vec![AudioDevice::new("fake:0", "a fake")])
    }

    fn open_capture(
        &self,
        _: &Wanted,
        end: &mut dyn FnMut(AudioFormat) -> (CaptureEnd, Faults),
    ) -> Result<Opened, DeviceError> {
        // As a device that does not take the first period: the second time counts.
        drop(end(self.format));
        let opened = self.opened()?;
        *self.microphone.lock().unwrap() = Some(end(self.format));
        Ok(opened)
    }

    fn open_playback(
        &self,
        _: &Wanted,
        end: &mut dyn FnMut(AudioFormat) -> (PlaybackEnd, Faults),
    ) -> Result<Opened, DeviceError> {
        drop(end(self.format));
        let opened = self.opened()?;
        *self.speaker.lock().unwrap() = Some(end(self.format));
        Ok(opened)
    }
}

struct CloseOnDrop(mpsc::Sender<()>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}
