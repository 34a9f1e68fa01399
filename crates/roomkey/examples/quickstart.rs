//! The whole page: a custom token source, a session, the agent's state, a chat message and its reply, audio to the agent and
//! back, the list of cameras, the end.
//!
//! `cargo run --example quickstart` starts a dev server and its echo agent in this process. `--token-endpoint URL` runs it
//! against anything else: an endpoint that gives tokens for a room with an agent; `--url URL` then names a server in the
//! place of the one that the endpoint names. An agent that is not the echo is not asked to echo the sound.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod local;
mod tone;

use std::time::{Duration, Instant};

use local::Local;
use roomkey::session::{MessageKind, Microphone, Ready, Session, StartOptions, TrackFilter};
use roomkey::{
    AudioSource, AudioSourceOptions, AudioStreamOptions, BoxError, EncodedVideoFrame, LocalTrack, TrackPublishOptions,
    TrackSource, VideoSource, room,
};
use tokio::time::timeout;
use tone::Tone;

/// Far longer than any step takes; a model may think for a while.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    local::install_tls()?;
    let local = Local::start().await?;

    // 1. A custom token source: the application's own function, cached and renewed.
    let source = local.token_source();
    let session = Session::of(source.bind(local.options("alice")));

    // 2. A session: token, room, microphone, agent.
    let microphone = AudioSource::new(AudioSourceOptions::new());
    let options = StartOptions::new().microphone(Microphone::new(&microphone)).wait_for(Ready::Agent);
    let mut states = session.agent_states();
    let states = tokio::spawn(async move {
        while let Some(state) = states.next().await {
            println!("agent            {state:?}");
        }
    });
    session.start(options).await?;
    let room = session.room().ok_or("a session that is started has a room")?;
    let metrics = *session.metrics().borrow();
    println!(
        "started          room {} as {}; token {}, room {}, agent {}",
        room.name(),
        room.local_participant().identity(),
        milliseconds(metrics.token),
        milliseconds(metrics.connect),
        milliseconds(metrics.agent_ready),
    );

    // 3. A message and its reply.
    let question = "What do you hear?";
    let mut messages = session.messages();
    session.send(question).await?;
    println!("said             {question}");
    let answered = |messages: &std::sync::Arc<[std::sync::Arc<roomkey::session::Message>]>| {
        messages.iter().any(|message| message.kind == MessageKind::AgentTranscript && message.status.is_settled())
    };
    let messages =
        timeout(PATIENCE, messages.wait_for(answered)).await.map_err(|_| "the agent did not answer")??.clone();
    for message in messages.iter().filter(|message| message.kind == MessageKind::AgentTranscript) {
        println!("answered         {}", message.text);
    }

    // 4. Sound to the agent, and back.
    if local.is_own() {
        let heard = echo(&session, &microphone).await?;
        println!(
            "echoed           a tone of 440 Hz came back after {} ms, {:.0} Hz",
            heard.after.as_millis(),
            heard.frequency
        );
    }

    // 5. Cameras: this client publishes one, and the list has it.
    let camera = VideoSource::new(room::VideoSourceOptions::new(room::VideoCodec::Vp8, 64, 48));
    let track = LocalTrack::video("camera", &camera);
    let publication = room.local_participant().publish_track(track, TrackPublishOptions::new()).await?;
    // An application's encoder gives these; this is the first of them.
    let _ = camera.capture_frame(&EncodedVideoFrame::new(room::VideoCodec::Vp8, Duration::ZERO, &b"\x10"[..]));
    let mut cameras = session.tracks(TrackFilter::source(TrackSource::Camera));
    let cameras = timeout(PATIENCE, cameras.wait_for(|list| !list.is_empty())).await??.clone();
    for camera in cameras.iter() {
        println!("camera           {} of {}", camera.id(), camera.participant.identity);
    }
    publication.unpublish();

    // 6. The end.
    session.end().await;
    println!("ended            {:?}", *session.state().borrow());
    drop((session, room));
    states.await?;
    local.stop().await;
    Ok(())
}

struct Heard {
    after: Duration,
    frequency: f64,
}

/// Says a tone until it comes back.
async fn echo(session: &Session, microphone: &AudioSource) -> Result<Heard, BoxError> {
    let mut voice = session.agent_audio();
    let mut tone = Tone::new(440.0);
    let begun = now();
    let heard = async {
        // The agent publishes its sound once it hears some.
        let track = loop {
            tokio::select! {
                track = voice.next() => break track.ok_or("the session is over")?,
                captured = async { microphone.capture_frame(&tone.next_frame()).await } => captured?,
            }
        };
        let mut stream = track.audio_stream(&AudioStreamOptions::new());
        let mut loud = Vec::new();
        while loud.len() < 9_600 {
            tokio::select! {
                frame = stream.next() => {
                    let frame = frame.ok_or("the agent fell silent")?;
                    let is_loud = frame.samples().iter().any(|sample| sample.abs() > 0.1);
                    if is_loud { loud.extend_from_slice(frame.samples()) } else { loud.clear() }
                }
                captured = async { microphone.capture_frame(&tone.next_frame()).await } => captured?,
            }
        }
        Ok::<_, BoxError>(Heard { after: begun.elapsed(), frequency: tone::frequency(&loud, 48_000) })
    };
    timeout(PATIENCE, heard).await.map_err(|_| "the tone did not come back")?
}

#[expect(clippy::disallowed_methods, reason = "the example's own shell")]
fn now() -> Instant {
    Instant::now()
}

fn milliseconds(time: Option<Duration>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| format!("{} ms", time.as_millis()))
}
