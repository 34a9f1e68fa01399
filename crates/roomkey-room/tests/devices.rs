//! The system's own devices, as far as a machine without a sound card has any: ALSA's `null`, which plays into nothing and
//! hears silence, as fast as it can.

#![cfg(feature = "cpal")]

use std::time::Duration;

use roomkey_room::device::{AudioDevice, DeviceError, Microphone, MicrophoneOptions, Speaker, SpeakerOptions};
use roomkey_room::{AudioFrame, AudioSource, AudioSourceOptions};
use tokio::time::timeout;

#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn null(devices: Result<Vec<AudioDevice>, DeviceError>) -> Option<AudioDevice> {
    let null = devices.ok().and_then(|devices| devices.into_iter().find(|device| device.id() == "alsa:null"));
    if null.is_none() {
        eprintln!("skipped: this machine has no device `null` of ALSA");
    }
    null
}

/// Until the device has been asked or has given something.
async fn until(mut has_passed: impl FnMut() -> bool) {
    let passing = async {
        while !has_passed() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(30), passing).await.expect("the device does something");
}

#[tokio::test]
async fn a_microphone_of_the_system_is_captured_with() {
    let Some(null) = null(AudioDevice::microphones()) else { return };
    let source = AudioSource::new(AudioSourceOptions::new());
    let recording = source.record(Duration::from_secs(1));
    let microphone = Microphone::open(&source, MicrophoneOptions::new().with_device(null.id())).await.unwrap();
    assert_eq!(microphone.device(), &null);
    until(|| !microphone.stats().passed.is_zero() && !recording.duration().is_zero()).await;
    assert!(recording.take().iter().all(|byte| *byte == 0));
}

#[tokio::test]
async fn a_speaker_of_the_system_is_played_on() {
    let Some(null) = null(AudioDevice::speakers()) else { return };
    let speaker = Speaker::open(SpeakerOptions::new().with_device(null.id())).await.unwrap();
    let silence = AudioFrame::silence(960, 48_000, 1).unwrap();
    speaker.play_frames(futures_util::stream::iter(std::iter::repeat_n(silence, 3)));
    until(|| !speaker.stats().passed.is_zero()).await;
}

#[tokio::test]
async fn a_device_that_there_is_not_is_not_found() {
    let options = SpeakerOptions::new().with_device("alsa:of a machine far away");
    let error = Speaker::open(options).await.unwrap_err();
    assert!(matches!(error, DeviceError::NotFound(_) | DeviceError::Other(_)), "{error:?}");
}
