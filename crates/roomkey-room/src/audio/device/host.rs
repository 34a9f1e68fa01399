//! What is asked of the system's sound.

use std::any::Any;
use std::fmt;

use super::super::frame::AudioFormat;
use super::error::DeviceError;
use super::ring::{CaptureEnd, Faults, PlaybackEnd};

/// A microphone or a loudspeaker of this machine, as the system names it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct AudioDevice {
    id: String,
    name: String,
}

impl AudioDevice {
    pub(super) fn new(id: impl Into<String>, name: impl Into<String>) -> Self {
        Self { id: id.into(), name: name.into() }
    }

    /// What stays the same when the program is started again: what to write into a configuration, and to open it by.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What to show to a person.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for AudioDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Which way sound goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Direction {
    Capture,
    Playback,
}

/// Which device is wanted: that of an id, or the system's default.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) id: Option<String>,
    pub(super) num_channels: u32,
}

/// A device that is open as long as `stream` is there. It stays in the thread that opened it.
pub(super) struct Opened {
    pub(super) device: AudioDevice,
    pub(super) format: AudioFormat,
    pub(super) stream: Box<dyn Any>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("device", &self.device).field("format", &self.format).finish_non_exhaustive()
    }
}

/// The devices of a system. All methods block.
pub(super) trait Host: Send + Sync + 'static {
    fn devices(&self, direction: Direction) -> Result<Vec<AudioDevice>, DeviceError>;

    /// Opens a microphone. `end` makes where its sound goes; where it is called more than once, the last time counts.
    fn open_capture(
        &self,
        wanted: &Wanted,
        end: &mut dyn FnMut(AudioFormat) -> (CaptureEnd, Faults),
    ) -> Result<Opened, DeviceError>;

    /// The same with a loudspeaker.
    fn open_playback(
        &self,
        wanted: &Wanted,
        end: &mut dyn FnMut(AudioFormat) -> (PlaybackEnd, Faults),
    ) -> Result<Opened, DeviceError>;
}
