//! What the user is heard with, and hears the agent with: devices, with the feature `cpal`.

#[cfg(feature = "cpal")]
pub(crate) use devices::{DeviceArguments, Sound};
#[cfg(not(feature = "cpal"))]
pub(crate) use none::{DeviceArguments, Sound};

#[cfg(feature = "cpal")]
mod devices {
    use std::time::Duration;

    use clap::Args;
    use roomkey::device::{Microphone, MicrophoneOptions, Speaker, SpeakerOptions};
    use roomkey::room::RemoteTrack;
    use roomkey::{AudioSource, AudioSourceOptions, AudioStreamOptions};

    use crate::join::failure::Failure;
    use crate::join::words;

    #[derive(Debug, Default, Args)]
    pub(crate) struct DeviceArguments {
        /// Sends what a microphone hears; without an ID the system's. Wear headphones: nothing takes the loudspeaker out of it.
        #[arg(long, value_name = "ID", num_args = 0..=1, conflicts_with_all = ["say", "json"])]
        mic: Option<Option<String>>,
        /// Plays what the agent says; without an ID on the system's loudspeaker.
        #[arg(long, value_name = "ID", num_args = 0..=1, conflicts_with_all = ["say", "json"])]
        speaker: Option<Option<String>>,
    }

    /// The devices that are open. They are closed when this is dropped.
    #[derive(Debug)]
    pub(crate) struct Sound {
        microphone: Option<(AudioSource, Microphone)>,
        speaker: Option<Speaker>,
    }

    impl Sound {
        pub(crate) async fn open(arguments: &DeviceArguments) -> Result<Self, Failure> {
            let failed = |what: &str, error: &(dyn std::error::Error + 'static)| {
                Failure::new(format!("the {what}: {}", words::of_error(error)))
            };
            let speaker = match &arguments.speaker {
                None => None,
                Some(id) => {
                    let options = id.iter().fold(SpeakerOptions::new(), |options, id| options.with_device(id.as_str()));
                    Some(Speaker::open(options).await.map_err(|error| failed("loudspeaker", &error))?)
                }
            };
            let microphone = match &arguments.mic {
                None => None,
                Some(id) => {
                    let new = MicrophoneOptions::new;
                    let options = id.iter().fold(new(), |options, id| options.with_device(id.as_str()));
                    let source = AudioSource::new(AudioSourceOptions::new().with_queue_size(LONGEST_QUEUE));
                    let opened = Microphone::open(&source, options).await;
                    Some((source, opened.map_err(|error| failed("microphone", &error))?))
                }
            };
            Ok(Self { microphone, speaker })
        }

        /// What the user is heard with.
        pub(crate) fn microphone(&self) -> Option<&AudioSource> {
            self.microphone.as_ref().map(|(source, _)| source)
        }

        /// Lets the agent be heard.
        pub(crate) fn play(&self, track: &RemoteTrack) {
            if let Some(speaker) = &self.speaker {
                speaker.play(track.audio_stream(&AudioStreamOptions::new()));
            }
        }
    }

    const LONGEST_QUEUE: Duration = Duration::from_millis(200);
}

#[cfg(not(feature = "cpal"))]
mod none {
    use clap::Args;
    use roomkey::AudioSource;
    use roomkey::room::RemoteTrack;

    use crate::join::failure::Failure;

    #[derive(Debug, Default, Args)]
    pub(crate) struct DeviceArguments {}

    /// No devices.
    #[derive(Debug)]
    pub(crate) struct Sound;

    impl Sound {
        #[expect(clippy::unused_async, reason = "devices take a while to open")]
        pub(crate) async fn open(_: &DeviceArguments) -> Result<Self, Failure> {
            Ok(Self)
        }

        pub(crate) fn microphone(&self) -> Option<&AudioSource> {
            None
        }

        pub(crate) fn play(&self, _: &RemoteTrack) {}
    }
}
