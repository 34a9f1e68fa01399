use std::sync::mpsc;
use std::time::Duration;

use futures_util::stream;

use super::super::super::inlet::AudioInlet;
use super::super::super::jitter_buffer::IncomingAudio;
use super::super::super::red::PayloadFormat;
use super::super::super::stream::AudioStreamOptions;
use super::super::super::{AudioSource, AudioSourceOptions, tone};
use super::super::fake_host::FakeHost;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

async fn open(host: &Arc<FakeHost>, options: SpeakerOptions) -> Result<Speaker, DeviceError> {
    Speaker::open_at(Arc::clone(host) as Arc<dyn Host>, options).await
}

/// What the device plays in so long.
async fn listen(host: &FakeHost, duration: Duration, ppm: f64) -> Vec<f32> {
    let mut heard = Vec::new();
    host.run::<i16>(duration, ppm, |played| {
        heard.extend_from_slice(played);
        vec![0.0; played.len()]
    })
    .await;
    heard
}

/// A tone as frames of 20 ms, all there at once.
fn frames(pitch: f64, seconds: usize) -> impl Stream<Item = AudioFrame> + Send + 'static {
    let samples = tone::sine(pitch, 0.25, 48_000, 48_000 * seconds);
    let frames: Vec<_> = samples.chunks(960).map(|frame| AudioFrame::new(frame, 48_000, 1).unwrap()).collect();
    stream::iter(frames)
}

/// Sends a tone as a track does, in real time.
fn send_track(pitch: f64, seconds: usize, inlet: AudioInlet) {
    tokio::spawn(async move {
        let source = AudioSource::new(AudioSourceOptions::new());
        let outlet = source.attach(0).unwrap();
        let mut ticks = interval(Duration::from_millis(20));
        let samples = tone::sine(pitch, 0.25, 48_000, 48_000 * seconds);
        for (sequence, frame) in samples.chunks(960).enumerate() {
            ticks.tick().await;
            source.capture_frame(&AudioFrame::new(frame, 48_000, 1).unwrap()).await.unwrap();
            let packet = outlet.poll_packet(clock::now()).unwrap();
            let format = PayloadFormat::Opus;
            let sequence = sequence as u64;
            inlet.push(
                clock::now(),
                IncomingAudio {
                    sequence,
                    timestamp: packet.timestamp,
                    capture_time: None,
                    payload: packet.payload,
                    format,
                },
            );
        }
    });
}

#[tokio::test(start_paused = true)]
async fn any_number_of_streams_are_heard_at_the_same_time_whatever_the_device() {
    for (sample_rate, num_channels, ppm) in [(48_000, 2, 0.0), (44_100, 2, 200.0), (48_000, 1, -200.0)] {
        let (host, _closed) = FakeHost::new(sample_rate, num_channels);
        let speaker = open(&host, SpeakerOptions::new()).await.unwrap();
        let (track, inlet) = AudioStream::new(&AudioStreamOptions::new());
        send_track(440.0, 20, inlet);
        speaker.play(track);
        speaker.play_frames(frames(1_000.0, 20));
        speaker.play_frames(frames(1_500.0, 20)).set_volume(0.5);
        let heard = listen(&host, 4 * SECOND, ppm).await;
        let heard = &heard[heard.len() - sample_rate as usize / 10..];
        let at = |pitch| tone::power_at(heard, pitch / (1.0 + ppm / 1e6), sample_rate);
        // The tenth of a second has whole numbers of turns.
        for (pitch, power) in [(440.0, 0.031), (1_000.0, 0.031), (1_500.0, 0.0078)] {
            assert!((0.9 * power..1.1 * power).contains(&at(pitch)), "{sample_rate} {pitch}: {}", at(pitch));
        }
        let all = [440.0, 1_000.0, 1_500.0].map(at).iter().sum::<f64>();
        assert!(all > 0.97 * tone::power(heard), "{sample_rate}: {all} of {}", tone::power(heard));
        let stats = speaker.stats();
        assert_eq!((stats.xruns, stats.missed), (0, Duration::ZERO), "{stats:?}");
        assert!(stats.adjusted < Duration::from_millis(50), "{stats:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_mix_that_is_too_loud_is_turned_down() {
    let (host, _closed) = FakeHost::new(48_000, 2);
    let speaker = open(&host, SpeakerOptions::new()).await.unwrap();
    for _ in 0..8 {
        speaker.play_frames(frames(440.0, 4));
    }
    let heard = listen(&host, 2 * SECOND, 0.0).await;
    let heard = &heard[91_200..];
    assert!((0.4..0.55).contains(&tone::power(heard)), "{}", tone::power(heard));
    assert!(tone::power_at(heard, 440.0, 48_000) > 0.98 * tone::power(heard));
}

#[tokio::test(start_paused = true)]
async fn a_playback_can_be_ended_and_ends_by_itself() {
    let (host, _closed) = FakeHost::new(48_000, 1);
    let speaker = open(&host, SpeakerOptions::new()).await.unwrap();
    speaker.play_frames(frames(1_000.0, 1));
    let playback = speaker.play_frames(frames(440.0, 60));
    let heard = listen(&host, 2 * SECOND, 0.0).await;
    assert!(tone::power_at(&heard[24_000..43_200], 1_000.0, 48_000) > 0.03);
    assert!(tone::power_at(&heard[57_600..], 1_000.0, 48_000) < 1e-6);
    assert!(tone::power_at(&heard[57_600..], 440.0, 48_000) > 0.03);
    playback.stop();
    let heard = listen(&host, SECOND, 0.0).await;
    assert_eq!(tone::power(&heard[4_800..]), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_goes_away_says_so_and_is_closed() {
    let (host, closed) = FakeHost::new(48_000, 2);
    let speaker = open(&host, SpeakerOptions::new()).await.unwrap();
    listen(&host, SECOND, 0.0).await;
    host.speaker.lock().unwrap().as_mut().unwrap().1.fail(DeviceError::Lost("it was pulled out".into()));
    assert!(matches!(&*speaker.lost().await, DeviceError::Lost(_)));
    closed.recv_timeout(10 * SECOND).unwrap();
    speaker.play_frames(frames(440.0, 1)).stop();
}

#[tokio::test(start_paused = true)]
async fn a_device_that_takes_nothing_any_more_has_gone() {
    let (host, _closed) = FakeHost::new(48_000, 2);
    let speaker = open(&host, SpeakerOptions::new()).await.unwrap();
    listen(&host, SECOND, 0.0).await;
    let start = clock::now();
    assert!(matches!(&*speaker.lost().await, DeviceError::Stalled));
    assert!((STALL..STALL + SECOND / 10).contains(&(clock::now() - start)));
}

#[tokio::test(start_paused = true)]
async fn dropping_it_closes_the_device_and_waits_for_that() {
    let (host, closed) = FakeHost::new(48_000, 2);
    let speaker = open(&host, SpeakerOptions::new()).await.unwrap();
    assert_eq!(closed.try_recv(), Err(mpsc::TryRecvError::Empty));
    drop(speaker);
    assert_eq!(closed.try_recv(), Ok(()));
}

#[cfg(feature = "sonora")]
#[tokio::test]
async fn what_the_loudspeaker_plays_is_not_what_the_microphone_sends() {
    use super::super::microphone::{Microphone, MicrophoneOptions};
    use crate::{SonoraOptions, SonoraProcessor};

    let noise = |seconds: usize| {
        let mut rng = fastrand::Rng::with_seed(11);
        let frame = move || (0..960).map(|_| 0.3 * (2.0 * rng.f32() - 1.0)).collect::<Vec<_>>();
        let frames = std::iter::repeat_with(frame).take(50 * seconds);
        stream::iter(frames.map(|samples| AudioFrame::new(samples, 48_000, 1).unwrap()).collect::<Vec<_>>())
    };
    let mut sent = Vec::new();
    for echo_cancellation in [true, false] {
        let options = SonoraOptions::new().with_noise_suppression(false).with_gain_control(false);
        let processor = Arc::new(SonoraProcessor::new(options.with_echo_cancellation(echo_cancellation)));
        let source = AudioSource::new(AudioSourceOptions::new().with_processor(Arc::clone(&processor) as _));
        let recording = source.record(2 * SECOND);
        // The devices of one machine mostly have one clock, which is not the machine's.
        let (host, _closed) = FakeHost::new(48_000, 2);
        let microphone =
            Microphone::open_at(Arc::clone(&host) as Arc<dyn Host>, &source, MicrophoneOptions::new()).await.unwrap();
        let speaker = open(&host, SpeakerOptions::new().with_processor(processor)).await.unwrap();
        // Not before: a clock that stands still jumps while a thread opens a device.
        tokio::time::pause();
        speaker.play_frames(noise(12));
        let mut air = vec![0.0; 960];
        host.run::<i16>(7 * SECOND, 60.0, |played| {
            air.extend(played.iter().map(|sample| sample * 0.5));
            air.drain(..played.len()).collect()
        })
        .await;
        let recorded = recording.take();
        let heard: Vec<_> =
            recorded.chunks_exact(2).map(|s| f32::from(i16::from_le_bytes([s[0], s[1]])) / 32_768.0).collect();
        sent.push(tone::power(&heard));
        drop((microphone, speaker));
        tokio::time::resume();
    }
    assert!(sent[0] < 0.05 * sent[1], "{sent:?}");
}
