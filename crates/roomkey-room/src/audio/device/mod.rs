//! Microphones and loudspeakers of the machine (feature `cpal`).
//!
//! [`Microphone`] feeds an [`AudioSource`](crate::AudioSource), [`Speaker`] plays any number of
//! [`AudioStream`](crate::AudioStream)s; [`AudioDevice`] lists what there is.
//!
//! ```no_run
//! use roomkey_room::device::{DeviceError, Microphone, MicrophoneOptions, Speaker, SpeakerOptions};
//! use roomkey_room::{AudioSource, AudioStreamOptions, RemoteTrack};
//!
//! async fn talk(source: &AudioSource, track: &RemoteTrack) -> Result<(), DeviceError> {
//!     let microphone = Microphone::open(source, MicrophoneOptions::new()).await?;
//!     let speaker = Speaker::open(SpeakerOptions::new()).await?;
//!     speaker.play(track.audio_stream(&AudioStreamOptions::new()));
//!     println!("the microphone is gone: {}", microphone.lost().await);
//!     Ok(())
//! }
//! ```
//!
//! # How sound gets there
//!
//! What the driver calls, in its real-time thread, moves samples into or out of a ring of fixed size: it waits for nothing,
//! takes no lock and no memory, and where the ring is full or empty, it counts. A task looks at the ring every 10 ms and does
//! the rest: rates, channels, mixing, the codec. A thread of its own holds the device; dropping a [`Microphone`] or [`Speaker`]
//! closes the device and waits for that thread, which takes as long as the driver takes, some milliseconds most of the time.
//!
//! # Two clocks
//!
//! A device's second is not quite the machine's: some 10 to 200 millionths more or less. Everything on this side of the ring
//! goes by the machine's clock. What the device has too much or too little is found by a slow control loop, and single samples
//! are dropped or doubled under a cross-fade of 128, five a second at 100 millionths (`rubato::Slip`); there is no resampling
//! where the device has 48 kHz. Tens of milliseconds too much or too little, after a stall for instance, is put right at
//! once, by a gap or a silence. [`DeviceStats`] tells of both.
//!
//! # What is left to you
//!
//! A device that goes away ends its [`Microphone`] or [`Speaker`] with a [`DeviceError`]; opening another, the default one for
//! instance, is the application's choice. So is what to do when the system's default changes: where the system moves the
//! stream itself, nothing is to be done. Volumes of the system are not touched.

mod choice;
mod clutch;
mod cpal_host;
mod drift;
mod error;
#[cfg(test)]
mod fake_host;
mod feed;
mod host;
mod intake;
mod limiter;
mod microphone;
mod mixer;
mod ring;
mod sample;
mod speaker;
mod stats;
mod thread;

pub use error::DeviceError;
pub use host::AudioDevice;
pub use microphone::{Microphone, MicrophoneOptions};
pub use speaker::{Playback, Speaker, SpeakerOptions};
pub use stats::DeviceStats;

use std::time::Duration;

/// How often a task looks at a ring, and how much is mixed at a time.
const TICK: Duration = Duration::from_millis(10);

/// Samples a channel of that at 48 kHz; also what an `AudioProcessor` takes.
const BLOCK: usize = 480;

/// How long a device may give or take nothing before it counts as gone.
const STALL: Duration = Duration::from_secs(5);
