//! What became of the sound of a device.

use std::time::Duration;

/// What became of the sound of a [`Microphone`](super::Microphone) or [`Speaker`](super::Speaker) since it was opened.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct DeviceStats {
    /// How much the device has given or asked for.
    pub passed: Duration,
    /// How often that was too much: a microphone found no room (an overrun), a speaker nothing to play (an underrun).
    pub xruns: u64,
    /// How much of `passed` was lost by that, or was silence instead.
    pub missed: Duration,
    /// Overruns and underruns between the driver and the device, where the driver tells.
    pub driver_xruns: u64,
    /// How much was left out, or was silence that was put in, because there was too much or too little of it.
    pub adjusted: Duration,
    /// By how many millionths the device is faster than this machine's clock, as far as that has been found out.
    pub drift_ppm: f64,
}
