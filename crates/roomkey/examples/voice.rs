//! A sound to the agent and what it says back: a WAV file in, a WAV file out, and how long it takes.
//!
//! `cargo run --example voice` runs against a dev server that it starts itself, whose agent echoes; `--token-endpoint URL`
//! against any other. `--in FILE.wav` is what is said, 16-bit PCM, three tones by default; `--out FILE.wav` is what is heard.
//! Figures are worth something with `--release`: a codec without optimizations takes its time.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod local;
mod wav;

use std::f64::consts::TAU;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use local::{Local, argument};
use roomkey::session::{Microphone, Ready, Session, StartOptions};
use roomkey::{AudioFrame, AudioSource, AudioSourceOptions, AudioStreamOptions, BoxError, RemoteTrack};
use tokio::time::{interval, timeout};
use wav::Wav;

const PATIENCE: Duration = Duration::from_secs(30);
const FRAME: Duration = Duration::from_millis(20);
/// What comes back later than this is the echo of something else.
const LONGEST: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    local::install_tls()?;
    let local = Local::start().await?;
    let spoken = match argument("--in") {
        Some(path) => Wav::read(&fs::read(path)?)?,
        None => tones(),
    };
    let out = argument("--out").map_or_else(|| std::env::temp_dir().join("roomkey-voice.wav"), PathBuf::from);

    // A microphone that lags behind by no more than this if something holds it up.
    let microphone = AudioSource::new(AudioSourceOptions::new().with_queue_size(Duration::from_millis(100)));
    let session = Session::of(local.token_source().bind(local.options("alice")));
    let published = Microphone::new(&microphone).pre_connect(false);
    session.start(StartOptions::new().microphone(published).wait_for(Ready::Agent)).await?;
    println!("started          {:?}", session.agent_ready().await?.state);

    let track =
        timeout(PATIENCE, agents_track(&session, &microphone)).await.map_err(|_| "the agent has no voice")??;
    if local.is_own() {
        timeout(PATIENCE, until_echoed(&microphone, &track)).await.map_err(|_| "the hum did not come back")??;
    }
    let quiet = if local.is_own() { Duration::from_secs(1) } else { Duration::from_secs(5) };
    let Heard { samples, said, came, ended } = converse(&microphone, spoken, &track, quiet).await?;

    let heard = Wav { samples, sample_rate: 48_000, channels: 1 };
    fs::write(&out, heard.write())?;
    println!(
        "heard            {:.1} s, {} sounds: {}",
        heard.samples.len() as f64 / 48_000.0,
        came.len(),
        out.display()
    );
    if local.is_own() {
        let echo = |said: &Instant| came.iter().find(|came| *came > said).map(|came| *came - *said);
        let mut latencies: Vec<_> = said.iter().filter_map(echo).filter(|latency| *latency < LONGEST).collect();
        latencies.sort();
        let middle = latencies.get(latencies.len() / 2).ok_or("nothing of what was said came back")?;
        println!(
            "mouth to ear     {} ms in the middle of {} sounds out of {}",
            middle.as_millis(),
            latencies.len(),
            said.len()
        );
    } else {
        match came.iter().find(|came| **came > ended) {
            Some(answer) => {
                println!("answered         {} ms after the end of what was said", (*answer - ended).as_millis());
            }
            None if came.is_empty() => return Err("the agent said nothing".into()),
            None => println!("answered         while it was said"),
        }
    }
    session.end().await;
    local.stop().await;
    Ok(())
}

/// The agent's voice. An agent that echoes has one once it hears something: a hum that is too quiet to count.
async fn agents_track(session: &Session, microphone: &AudioSource) -> Result<RemoteTrack, BoxError> {
    let mut voice = session.agent_audio();
    let mut ticks = interval(FRAME);
    loop {
        tokio::select! {
            track = voice.next() => return track.ok_or_else(|| "the session is over".into()),
            _ = ticks.tick() => microphone.capture_frame(&hum()?).await?,
        }
    }
}

/// Hums until that comes back: a new track takes a moment to flow.
async fn until_echoed(microphone: &AudioSource, track: &RemoteTrack) -> Result<(), BoxError> {
    let mut stream = track.audio_stream(&AudioStreamOptions::new());
    let mut ticks = interval(FRAME);
    loop {
        tokio::select! {
            frame = stream.next() => return frame.map(|_| ()).ok_or_else(|| "the agent's track ended".into()),
            _ = ticks.tick() => microphone.capture_frame(&hum()?).await?,
        }
    }
}

struct Heard {
    samples: Vec<i16>,
    /// When sounds began that were said, and such that were heard.
    said: Vec<Instant>,
    came: Vec<Instant>,
    ended: Instant,
}

/// Says the sound, and listens until it has been quiet for a while.
async fn converse(
    microphone: &AudioSource,
    spoken: Wav,
    track: &RemoteTrack,
    quiet: Duration,
) -> Result<Heard, BoxError> {
    // A second of the file is a second, also where nothing is sent.
    let mut stream = track.audio_stream(&AudioStreamOptions::new().with_continuous(true));
    // Encoding and decoding happen where they are awaited: each in a task of its own.
    let mut saying = tokio::spawn(say(microphone.clone(), spoken));
    let mut said = None;
    let (mut samples, mut came, mut last) = (Vec::new(), Onsets::new(), now());
    loop {
        tokio::select! {
            frame = stream.next() => {
                let frame = frame.ok_or("the agent's track ended")?;
                samples.extend(frame.to_i16());
                if came.hear(&frame, now()) {
                    last = now();
                }
            }
            result = &mut saying, if said.is_none() => {
                last = now();
                said = Some((result??, last));
            }
        }
        if let Some((said, ended)) = &said
            && now() - last > quiet
        {
            return Ok(Heard { samples, said: said.clone(), came: came.times, ended: *ended });
        }
    }
}

/// Says it as a microphone does, 20 ms after 20 ms. Gives when sounds began.
async fn say(microphone: AudioSource, spoken: Wav) -> Result<Vec<Instant>, BoxError> {
    let mut onsets = Onsets::new();
    let mut ticks = interval(FRAME);
    for samples in spoken.samples.chunks((spoken.sample_rate / 50 * spoken.channels) as usize) {
        ticks.tick().await;
        let frame = AudioFrame::from_i16(samples, spoken.sample_rate, spoken.channels)?;
        // A microphone has a frame when its last sample is over.
        onsets.hear(&frame, now() - frame.duration());
        microphone.capture_frame(&frame).await?;
    }
    Ok(onsets.times)
}

/// When sounds begin: what is loud after 150 ms of quiet.
struct Onsets {
    times: Vec<Instant>,
    quiet_samples: u32,
}

impl Onsets {
    fn new() -> Self {
        Self { times: Vec::new(), quiet_samples: u32::MAX }
    }

    /// Takes a frame that begins at this time; whether any of it is loud.
    fn hear(&mut self, frame: &AudioFrame, begins: Instant) -> bool {
        let mut is_loud = false;
        for (index, sample) in frame.samples().iter().step_by(frame.num_channels() as usize).enumerate() {
            if sample.abs() < 0.05 {
                self.quiet_samples = self.quiet_samples.saturating_add(1);
                continue;
            }
            if self.quiet_samples > frame.sample_rate() * 3 / 20 {
                self.times.push(begins + Duration::from_secs_f64(index as f64 / f64::from(frame.sample_rate())));
            }
            self.quiet_samples = 0;
            is_loud = true;
        }
        is_loud
    }
}

/// Three tones with pauses.
fn tones() -> Wav {
    let pause = || std::iter::repeat_n(0.0, 14_400);
    let samples = [440.0, 554.0, 659.0].into_iter().flat_map(|pitch| pause().chain(tone(pitch, 0.4, 14_400)));
    let samples = samples.chain(pause()).map(|sample| (sample * 32_767.0) as i16).collect();
    Wav { samples, sample_rate: 48_000, channels: 1 }
}

fn hum() -> Result<AudioFrame, BoxError> {
    Ok(AudioFrame::new(tone(100.0, 0.01, 960), 48_000, 1)?)
}

fn tone(pitch: f64, loudness: f64, samples: u32) -> Vec<f32> {
    let turns = (0..samples).map(|index| f64::from(index) * pitch / 48_000.0);
    turns.map(|turns| (loudness * (turns * TAU).sin()) as f32).collect()
}

#[expect(clippy::disallowed_methods, reason = "the example's own shell")]
fn now() -> Instant {
    Instant::now()
}
