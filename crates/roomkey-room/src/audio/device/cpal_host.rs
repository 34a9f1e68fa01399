//! The devices that `cpal` knows: ALSA on Linux, CoreAudio on macOS, WASAPI on Windows.

use std::error::Error;

use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{BufferSize, Data, Device, ErrorKind, SampleFormat, StreamConfig, SupportedStreamConfigRange};

use super::super::frame::AudioFormat;
use super::choice::{Choice, choose};
use super::error::DeviceError;
use super::host::{AudioDevice, Direction, Host, Opened, Wanted};
use super::ring::{CaptureEnd, Faults, PlaybackEnd};

impl AudioDevice {
    /// The microphones there are, the system's default first. It blocks, for as long as the system's sound takes.
    ///
    /// # Errors
    ///
    /// [`DeviceError::NotFound`] where the machine has no sound at all, and what else the system says.
    pub fn microphones() -> Result<Vec<Self>, DeviceError> {
        CpalHost.devices(Direction::Capture)
    }

    /// The loudspeakers there are, the system's default first. It blocks, for as long as the system's sound takes.
    ///
    /// # Errors
    ///
    /// As [`microphones`](Self::microphones).
    pub fn speakers() -> Result<Vec<Self>, DeviceError> {
        CpalHost.devices(Direction::Playback)
    }
}

/// The system's own.
#[derive(Clone, Copy, Debug)]
pub(super) struct CpalHost;

impl Host for CpalHost {
    fn devices(&self, direction: Direction) -> Result<Vec<AudioDevice>, DeviceError> {
        let (default, others) = devices(direction)?;
        let mut devices: Vec<_> = default.iter().map(named).collect();
        for device in others.iter().map(named) {
            if devices.iter().all(|known| known.id() != device.id()) {
                devices.push(device);
            }
        }
        Ok(devices)
    }

    fn open_capture(
        &self,
        wanted: &Wanted,
        end: &mut dyn FnMut(AudioFormat) -> (CaptureEnd, Faults),
    ) -> Result<Opened, DeviceError> {
        let device = find(Direction::Capture, wanted)?;
        let choice = chosen(device.supported_input_configs(), wanted)?;
        let stream = built(choice, |config| {
            let (mut end, mut faults) = end(choice.format);
            device.build_input_stream_raw(
                config,
                choice.sample_format,
                move |data, _| capture(&mut end, data),
                move |error| report(&mut faults, error),
                None,
            )
        })?;
        stream.play().map_err(open_error)?;
        Ok(Opened { device: named(&device), format: choice.format, stream: Box::new(stream) })
    }

    fn open_playback(
        &self,
        wanted: &Wanted,
        end: &mut dyn FnMut(AudioFormat) -> (PlaybackEnd, Faults),
    ) -> Result<Opened, DeviceError> {
        let device = find(Direction::Playback, wanted)?;
        let choice = chosen(device.supported_output_configs(), wanted)?;
        let stream = built(choice, |config| {
            let (mut end, mut faults) = end(choice.format);
            device.build_output_stream_raw(
                config,
                choice.sample_format,
                move |data, _| play(&mut end, data),
                move |error| report(&mut faults, error),
                None,
            )
        })?;
        stream.play().map_err(open_error)?;
        Ok(Opened { device: named(&device), format: choice.format, stream: Box::new(stream) })
    }
}

/// The default one, which is not always among the others.
fn devices(direction: Direction) -> Result<(Option<Device>, Vec<Device>), DeviceError> {
    let host = cpal::default_host();
    Ok(match direction {
        Direction::Capture => (host.default_input_device(), host.input_devices().map_err(open_error)?.collect()),
        Direction::Playback => (host.default_output_device(), host.output_devices().map_err(open_error)?.collect()),
    })
}

fn find(direction: Direction, wanted: &Wanted) -> Result<Device, DeviceError> {
    let (default, others) = devices(direction)?;
    match &wanted.id {
        None => default.ok_or_else(|| DeviceError::NotFound("the system has no default".into())),
        Some(id) => default
            .into_iter()
            .chain(others)
            .find(|device| named(device).id() == id)
            .ok_or_else(|| DeviceError::NotFound(format!("none has the id {id:?}").into())),
    }
}

fn named(device: &Device) -> AudioDevice {
    let name = device.to_string();
    AudioDevice::new(device.id().map_or_else(|_| name.clone(), |id| id.to_string()), name)
}

fn chosen(
    offers: Result<impl Iterator<Item = SupportedStreamConfigRange>, cpal::Error>,
    wanted: &Wanted,
) -> Result<Choice, DeviceError> {
    let choice = choose(offers.map_err(open_error)?, wanted.num_channels);
    choice.ok_or_else(|| DeviceError::Unsupported("no rate from 8 to 192 kHz with 1 to 8 channels".into()))
}

/// Builds a stream with the period that is wanted, or with the device's own where it does not do that after all.
fn built<S>(choice: Choice, mut build: impl FnMut(StreamConfig) -> Result<S, cpal::Error>) -> Result<S, DeviceError> {
    let channels = u16::try_from(choice.format.num_channels).expect("there are 8 at most");
    let config = StreamConfig { channels, sample_rate: choice.format.sample_rate, buffer_size: BufferSize::Default };
    let built = match choice.period {
        Some(period) => build(StreamConfig { buffer_size: BufferSize::Fixed(period), ..config }).or_else(|error| {
            tracing::debug!(%error, "an audio device does not take the period that it offered");
            build(config)
        }),
        None => build(config),
    };
    built.map_err(open_error)
}

/// Calls the function with the samples as what they are.
macro_rules! with_samples {
    ($data:expr, $as_slice:ident, $each:expr) => {
        match $data.sample_format() {
            SampleFormat::I8 => $data.$as_slice::<i8>().map($each),
            SampleFormat::I16 => $data.$as_slice::<i16>().map($each),
            SampleFormat::I24 => $data.$as_slice::<cpal::I24>().map($each),
            SampleFormat::I32 => $data.$as_slice::<i32>().map($each),
            SampleFormat::I64 => $data.$as_slice::<i64>().map($each),
            SampleFormat::U8 => $data.$as_slice::<u8>().map($each),
            SampleFormat::U16 => $data.$as_slice::<u16>().map($each),
            SampleFormat::U24 => $data.$as_slice::<cpal::U24>().map($each),
            SampleFormat::U32 => $data.$as_slice::<u32>().map($each),
            SampleFormat::U64 => $data.$as_slice::<u64>().map($each),
            SampleFormat::F32 => $data.$as_slice::<f32>().map($each),
            SampleFormat::F64 => $data.$as_slice::<f64>().map($each),
            // What was not chosen is not opened.
            _ => None,
        }
    };
}

fn capture(end: &mut CaptureEnd, data: &Data) {
    let _ = with_samples!(data, as_slice, |samples| end.capture(samples));
}

fn play(end: &mut PlaybackEnd, data: &mut Data) {
    let _ = with_samples!(data, as_slice_mut, |samples| end.play(samples));
}

/// Called by the driver, for lost sound in its real-time thread.
#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else it is, it does not go on")]
fn report(faults: &mut Faults, error: cpal::Error) {
    match error.kind() {
        ErrorKind::Xrun => faults.xrun(),
        // It goes on, elsewhere or with less of a guarantee.
        ErrorKind::DeviceChanged | ErrorKind::RealtimeDenied => {}
        ErrorKind::PermissionDenied => faults.fail(DeviceError::Denied(error.into())),
        _ => faults.fail(DeviceError::Lost(error.into())),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else it is, nobody can act on it")]
fn open_error(error: cpal::Error) -> DeviceError {
    let kind = error.kind();
    let cause: Box<dyn Error + Send + Sync> = error.into();
    match kind {
        ErrorKind::DeviceNotAvailable | ErrorKind::HostUnavailable => DeviceError::NotFound(cause),
        ErrorKind::DeviceBusy => DeviceError::Busy(cause),
        ErrorKind::PermissionDenied => DeviceError::Denied(cause),
        ErrorKind::UnsupportedConfig | ErrorKind::UnsupportedOperation => DeviceError::Unsupported(cause),
        _ => DeviceError::Other(cause),
    }
}
