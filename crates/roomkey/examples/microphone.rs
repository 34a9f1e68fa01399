//! A call from a terminal: the microphone is heard in the room, and the loudspeaker plays all that others say.
//!
//! `cargo run --example microphone --features cpal,sonora` talks to the echo agent of a dev server that it starts itself;
//! `--token-endpoint URL` and `--room NAME` name another room. It lasts `--seconds N`, 30 by default. `--list` shows the
//! devices, `--microphone ID` and `--speaker ID` choose among them.
//!
//! Without the feature `sonora` nothing takes the loudspeaker's sound out of the microphone's: wear headphones then.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod local;

use std::sync::Arc;
use std::time::Duration;

use local::{Local, argument};
use roomkey::device::{AudioDevice, Microphone, MicrophoneOptions, Speaker, SpeakerOptions};
use roomkey::room::AudioProcessor;
use roomkey::{
    AudioSource, AudioSourceOptions, AudioStreamOptions, BoxError, LocalTrack, Room, RoomEvent, TrackKind,
    TrackPublishOptions, TrackSource,
};
use tokio::time::timeout;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    if std::env::args().any(|argument| argument == "--list") {
        return list();
    }
    local::install_tls()?;
    let local = Local::start().await?;
    let seconds = argument("--seconds").map_or(Ok(30), |seconds| seconds.parse())?;

    // The same processor hears what is played and what is captured.
    let processor = echo_canceller();
    let mut options = AudioSourceOptions::new().with_queue_size(Duration::from_millis(200));
    let mut speaker_options = SpeakerOptions::new();
    if let Some(processor) = processor {
        options = options.with_processor(Arc::clone(&processor));
        speaker_options = speaker_options.with_processor(processor);
    }
    if let Some(id) = argument("--speaker") {
        speaker_options = speaker_options.with_device(id);
    }
    let microphone_options =
        argument("--microphone").map_or_else(MicrophoneOptions::new, |id| MicrophoneOptions::new().with_device(id));

    let source = AudioSource::new(options);
    let speaker = Speaker::open(speaker_options).await?;
    println!("speaker          {} at {} Hz", speaker.device(), speaker.sample_rate());
    let microphone = Microphone::open(&source, microphone_options).await?;
    println!("microphone       {} at {} Hz", microphone.device(), microphone.sample_rate());

    let credentials = local.token_source().fetch(&local.options("alice")).await?;
    let room = Room::connect(credentials.server_url(), credentials.participant_token()).await?;
    let mut events = room.events();
    let track = LocalTrack::audio("microphone", &source);
    let published = TrackPublishOptions::new().source(TrackSource::Microphone);
    room.local_participant().publish_track(track, published).await?;
    println!("joined           {} for {seconds} s: say something", room.name());

    let call = async {
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(RoomEvent::TrackSubscribed { track, participant, .. }) if track.kind() == TrackKind::Audio => {
                        println!("heard            {}", participant.identity);
                        speaker.play(track.audio_stream(&AudioStreamOptions::new()));
                    }
                    Some(_) => {}
                    None => return "the room is over".to_owned(),
                },
                error = microphone.lost() => return format!("the microphone: {error}"),
                error = speaker.lost() => return format!("the speaker: {error}"),
            }
        }
    };
    let ended = timeout(Duration::from_secs(seconds), call).await.unwrap_or_else(|_| "time is up".to_owned());
    println!("ended            {ended}");
    println!("microphone       {:?}", microphone.stats());
    println!("speaker          {:?}", speaker.stats());
    room.close().await;
    local.stop().await;
    Ok(())
}

fn list() -> Result<(), BoxError> {
    for (title, devices) in [("microphones", AudioDevice::microphones()?), ("speakers", AudioDevice::speakers()?)] {
        println!("{title}");
        devices.iter().for_each(|device| println!("  {:<40} {device}", device.id()));
    }
    Ok(())
}

#[cfg(feature = "sonora")]
fn echo_canceller() -> Option<Arc<dyn AudioProcessor>> {
    use roomkey::room::{SonoraOptions, SonoraProcessor};

    // What is played waits here and in the devices for about so long before it can be heard.
    let options = SonoraOptions::new().with_delay(Duration::from_millis(80));
    Some(Arc::new(SonoraProcessor::new(options)))
}

#[cfg(not(feature = "sonora"))]
fn echo_canceller() -> Option<Arc<dyn AudioProcessor>> {
    None
}
