//! One side of a measurement: reads `{"url":…,"tokens":[…],"seconds":…}` on stdin, measures, and says what it saw in one
//! line of JSON. `tests/interop/python/bench.py` does the same.
//!
//! A worker that serves another says `{"ready":true}` first, and ends when its stdin does.

use std::io::Read as _;
use std::time::{Duration, Instant};

use roomkey::{
    AudioFrame, AudioSource, AudioSourceOptions, AudioStreamOptions, BoxError, DataPacket, LocalTrack, RemoteTrack,
    Room, RoomEvent, TrackPublishOptions,
};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::process::{cpu, now, rss};
use crate::transport::Transport;

const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a message when throughput is measured.
pub(crate) const MESSAGE: usize = 15_000;

struct Task {
    url: String,
    tokens: Vec<String>,
    seconds: u64,
    transport: Transport,
}

impl Task {
    async fn connect(&self, token: &str) -> Result<Room, BoxError> {
        Ok(Room::builder().ice_transport_policy(self.transport.into()).connect(&self.url, token).await?)
    }
}

pub(crate) async fn run(mode: &str) -> Result<(), BoxError> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let value: Value = serde_json::from_str(&line)?;
    let tokens = value["tokens"].as_array().ok_or("no tokens")?;
    let task = Task {
        url: value["url"].as_str().ok_or("no url")?.to_owned(),
        tokens: tokens.iter().filter_map(|token| token.as_str().map(str::to_owned)).collect(),
        seconds: value["seconds"].as_u64().unwrap_or(5),
        transport: value["transport"].as_str().map_or(Ok(Transport::Any), str::parse)?,
    };
    let result = match mode {
        "connect" => connect(&task).await?,
        "idle" => idle(&task).await?,
        "speak" => speak(&task).await?,
        "hear" => hear(&task).await?,
        "send" => send(&task).await?,
        "receive" => receive(&task).await?,
        "say" => say_until_told(&task).await?,
        "latency" => latency(&task).await?,
        other => return Err(format!("there is no measurement {other}").into()),
    };
    println!("{result}");
    Ok(())
}

async fn join(task: &Task) -> Result<Room, BoxError> {
    task.connect(task.tokens.first().ok_or("no token")?).await
}

/// Joins one room after the other, and publishes a track in it.
async fn connect(task: &Task) -> Result<Value, BoxError> {
    let (mut times, mut published) = (Vec::new(), Vec::new());
    for (index, token) in task.tokens.iter().enumerate() {
        let since = now();
        let room = task.connect(token).await?;
        let joined = since.elapsed();
        publish(&room).await?;
        // The first warms the process up.
        if index > 0 {
            times.push(joined.as_secs_f64() * 1000.0);
            published.push(since.elapsed().as_secs_f64() * 1000.0);
        }
        room.close().await;
    }
    Ok(json!({ "milliseconds": times, "published": published }))
}

async fn idle(task: &Task) -> Result<Value, BoxError> {
    let before = rss()?;
    let mut rooms = Vec::new();
    for token in &task.tokens {
        rooms.push(task.connect(token).await?);
    }
    sleep(Duration::from_secs(3)).await;
    let from = cpu()?;
    sleep(Duration::from_secs(task.seconds)).await;
    let used = cpu()? - from;
    Ok(json!({ "before": before, "rss": rss()?, "cpu": used.as_secs_f64() }))
}

fn tone(number: u64) -> AudioFrame {
    let sample = |index: u64| {
        let turns = (number * 960 + index) as f64 * 440.0 / 48_000.0;
        (0.4 * (turns * std::f64::consts::TAU).sin()) as f32
    };
    AudioFrame::new((0..960).map(sample).collect::<Vec<_>>(), 48_000, 1).expect("960 samples are a frame")
}

async fn publish(room: &Room) -> Result<AudioSource, BoxError> {
    let source = AudioSource::new(AudioSourceOptions::new().with_queue_size(Duration::from_millis(60)));
    room.local_participant().publish_track(LocalTrack::audio("tone", &source), TrackPublishOptions::new()).await?;
    Ok(source)
}

async fn speak(task: &Task) -> Result<Value, BoxError> {
    let room = join(task).await?;
    let source = publish(&room).await?;
    let frames = task.seconds * 50;
    let from = cpu()?;
    for number in 0..frames {
        source.capture_frame(&tone(number)).await?;
    }
    let used = cpu()? - from;
    Ok(json!({ "frames": frames, "cpu": used.as_secs_f64() }))
}

/// Speaks until its stdin ends.
async fn say_until_told(task: &Task) -> Result<Value, BoxError> {
    let room = join(task).await?;
    let source = publish(&room).await?;
    println!("{}", json!({ "ready": true }));
    let speaking = async {
        for number in 0.. {
            source.capture_frame(&tone(number)).await?;
        }
        Ok::<_, BoxError>(())
    };
    let told = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    tokio::select! {
        spoken = speaking => spoken?,
        ended = told => drop(ended??),
    }
    Ok(json!({}))
}

async fn track(room: &Room) -> Result<RemoteTrack, BoxError> {
    let mut events = room.events();
    let found = async {
        while let Some(event) = events.next().await {
            if let RoomEvent::TrackSubscribed { track, .. } = event {
                return Some(track);
            }
        }
        None
    };
    timeout(PATIENCE, found).await?.ok_or_else(|| "the room is over".into())
}

async fn hear(task: &Task) -> Result<Value, BoxError> {
    let room = join(task).await?;
    let track = track(&room).await?;
    let mut stream = track.audio_stream(&AudioStreamOptions::new());
    stream.next().await.ok_or("nothing is heard")?;
    let from = cpu()?;
    let (since, mut samples) = (now(), 0);
    while since.elapsed() < Duration::from_secs(task.seconds) {
        samples += stream.next().await.ok_or("nothing is heard")?.samples_per_channel();
    }
    let used = cpu()? - from;
    Ok(json!({ "frames": samples / 960, "cpu": used.as_secs_f64() }))
}

async fn send(task: &Task) -> Result<Value, BoxError> {
    let room = join(task).await?;
    let mut participants = room.participants();
    let active = |participants: &std::sync::Arc<roomkey::room::Participants>| {
        participants
            .remote()
            .any(|other| other.state == roomkey::room::ParticipantState::Active && other.identity == "receiver")
    };
    timeout(PATIENCE, participants.wait_for(active)).await??;
    let from = cpu()?;
    let (since, mut number) = (now(), 0_u64);
    while since.elapsed() < Duration::from_secs(task.seconds) {
        let mut message = vec![0; MESSAGE];
        message[..8].copy_from_slice(&number.to_be_bytes());
        room.local_participant().publish_data(DataPacket::new(message)).await?;
        number += 1;
    }
    room.local_participant().publish_data(DataPacket::new("end")).await?;
    let used = cpu()? - from;
    // What waits has its time to arrive.
    sleep(Duration::from_secs(2)).await;
    room.close().await;
    Ok(json!({ "messages": number, "cpu": used.as_secs_f64() }))
}

async fn receive(task: &Task) -> Result<Value, BoxError> {
    let room = join(task).await?;
    let mut events = room.events();
    println!("{}", json!({ "ready": true }));
    let (mut next, mut wrong, mut since, mut last) = (0_u64, 0_u64, None, now());
    let mut from = cpu()?;
    let receiving = async {
        while let Some(event) = events.next().await {
            let RoomEvent::DataReceived { payload, .. } = event else { continue };
            // What is still on its way after the time is not waited for.
            let is_late = since.is_some_and(|since: Instant| since.elapsed() > Duration::from_secs(task.seconds));
            if &*payload == b"end" || is_late {
                return;
            }
            if since.is_none() {
                since = Some(now());
                from = cpu().unwrap_or_default();
            }
            let number = payload.first_chunk().map(|number| u64::from_be_bytes(*number));
            wrong += u64::from(number != Some(next));
            next += 1;
            last = now();
        }
    };
    timeout(Duration::from_secs(task.seconds + 30), receiving).await?;
    let elapsed = since.map_or(0.0, |since| (last - since).as_secs_f64());
    let used = cpu()? - from;
    Ok(json!({ "messages": next, "wrong": wrong, "seconds": elapsed, "cpu": used.as_secs_f64() }))
}

/// From mouth to ear, in one process: clicks on one side, and when they are heard on the other.
async fn latency(task: &Task) -> Result<Value, BoxError> {
    let [speaker, listener] = task.tokens.as_slice() else { return Err("it takes two tokens".into()) };
    let speaker = task.connect(speaker).await?;
    let source = publish(&speaker).await?;
    let listener = task.connect(listener).await?;
    let silence = AudioFrame::silence(960, 48_000, 1)?;
    let mouth = async {
        let mut said: Vec<Instant> = Vec::new();
        // As a microphone does, rather than as fast as the queue takes it.
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        for number in 0..task.seconds * 50 {
            pace.tick().await;
            // A click every half a second, once the path has settled.
            let is_click = number > 100 && number % 25 == 0;
            if is_click {
                said.push(now());
                source.capture_frame(&tone(number)).await?;
            } else {
                source.capture_frame(&silence).await?;
            }
        }
        Ok::<_, BoxError>(said)
    };
    let ear = async {
        let track = track(&listener).await?;
        let mut stream = track.audio_stream(&AudioStreamOptions::new());
        let (mut heard, mut was_loud, since) = (Vec::new(), false, now());
        while since.elapsed() < Duration::from_secs(task.seconds) {
            let Ok(frame) = timeout(Duration::from_secs(1), stream.next()).await else { continue };
            let frame = frame.ok_or("nothing is heard")?;
            let is_loud = frame.samples().iter().any(|sample| sample.abs() > 0.1);
            if is_loud && !was_loud {
                heard.push(now());
            }
            was_loud = is_loud;
        }
        Ok::<_, BoxError>(heard)
    };
    let (said, heard) = tokio::try_join!(mouth, ear)?;
    let times: Vec<_> = said
        .iter()
        .filter_map(|said| {
            let heard = heard.iter().find(|heard| *heard >= said)?;
            let after = (*heard - *said).as_secs_f64() * 1000.0;
            (after < 450.0).then_some(after)
        })
        .collect();
    Ok(json!({ "milliseconds": times, "clicks": said.len() }))
}
