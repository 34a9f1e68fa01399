use std::sync::mpsc;

use super::super::super::{AudioSourceOptions, tone};
use super::super::fake_host::FakeHost;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

async fn open(host: &Arc<FakeHost>, source: &AudioSource) -> Result<Microphone, DeviceError> {
    Microphone::open_at(Arc::clone(host) as Arc<dyn Host>, source, MicrophoneOptions::new()).await
}

/// A tone as a device of this rate hears it.
fn humming(pitch: f64, sample_rate: u32) -> impl FnMut(&[f32]) -> Vec<f32> {
    let mut heard = 0_u64;
    move |played| {
        let turns = (heard..).map(|n| n as f64 * pitch / f64::from(sample_rate));
        heard += played.len() as u64;
        turns.take(played.len()).map(|turns| 0.5 * (std::f64::consts::TAU * turns).sin() as f32).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_device_hears_is_captured_whatever_its_format_and_clock() {
    for (sample_rate, num_channels, ppm, stereo) in
        [(48_000, 1, 0.0, false), (44_100, 2, 150.0, false), (16_000, 1, -150.0, true), (96_000, 4, 80.0, false)]
    {
        let (host, _closed) = FakeHost::new(sample_rate, num_channels);
        let source = AudioSource::new(AudioSourceOptions::new().with_stereo(stereo));
        let recording = source.record(3 * SECOND);
        let microphone = open(&host, &source).await.unwrap();
        assert_eq!((microphone.device().id(), microphone.sample_rate()), ("fake:0", sample_rate));
        host.run::<i16>(6 * SECOND, ppm, humming(440.0, sample_rate)).await;
        let stats = microphone.stats();
        assert_eq!((stats.xruns, stats.missed, stats.adjusted), (0, Duration::ZERO, Duration::ZERO), "{stats:?}");
        assert!((stats.passed.as_secs_f64() - 6.0).abs() < 0.05, "{stats:?}");
        assert!(source.queued() <= Duration::from_millis(60), "{:?}", source.queued());
        let recorded = recording.take();
        let samples: Vec<_> =
            recorded.chunks_exact(2).map(|s| f32::from(i16::from_le_bytes([s[0], s[1]])) / 32_768.0).collect();
        let heard = &samples[samples.len() - 2_400..];
        let purity = tone::power_at(heard, 440.0, 24_000) / tone::power(heard);
        assert!(purity > 0.99, "{sample_rate}: {purity}");
        assert!((0.12..0.13).contains(&tone::power(heard)), "{sample_rate}: {}", tone::power(heard));
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_that_goes_away_says_so_and_is_closed() {
    let (host, closed) = FakeHost::new(48_000, 1);
    let source = AudioSource::new(AudioSourceOptions::new());
    let microphone = open(&host, &source).await.unwrap();
    host.run::<f32>(SECOND, 0.0, humming(440.0, 48_000)).await;
    host.microphone.lock().unwrap().as_mut().unwrap().1.fail(DeviceError::Lost("it was pulled out".into()));
    let error = microphone.lost().await;
    assert!(matches!(&*error, DeviceError::Lost(cause) if cause.to_string() == "it was pulled out"));
    closed.recv_timeout(10 * SECOND).unwrap();
    assert!(matches!(&*microphone.lost().await, DeviceError::Lost(_)), "as often as it is asked");
    drop(microphone);
    open(&host, &source).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_device_that_gives_nothing_any_more_has_gone() {
    let (host, _closed) = FakeHost::new(48_000, 1);
    let source = AudioSource::new(AudioSourceOptions::new());
    let microphone = open(&host, &source).await.unwrap();
    host.run::<f32>(SECOND, 0.0, humming(440.0, 48_000)).await;
    let start = clock::now();
    assert!(matches!(&*microphone.lost().await, DeviceError::Stalled));
    assert!((STALL..STALL + SECOND / 10).contains(&(clock::now() - start)));
}

#[tokio::test(start_paused = true)]
async fn dropping_it_closes_the_device_and_waits_for_that() {
    let (host, closed) = FakeHost::new(48_000, 1);
    let source = AudioSource::new(AudioSourceOptions::new());
    let microphone = open(&host, &source).await.unwrap();
    assert_eq!(closed.try_recv(), Err(mpsc::TryRecvError::Empty));
    drop(microphone);
    assert_eq!(closed.try_recv(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_cannot_be_opened_says_why() {
    let (host, closed) = FakeHost::new(48_000, 1);
    *host.refusal.lock().unwrap() = Some(DeviceError::Busy("another program has it".into()));
    let source = AudioSource::new(AudioSourceOptions::new());
    assert!(matches!(open(&host, &source).await, Err(DeviceError::Busy(_))));
    assert_eq!(closed.try_recv(), Err(mpsc::TryRecvError::Empty));
}

#[tokio::test(start_paused = true)]
async fn an_opening_that_is_given_up_leaves_no_device_open() {
    let (host, closed) = FakeHost::new(48_000, 1);
    let (gate, closed_gate) = mpsc::channel();
    *host.gate.lock().unwrap() = Some(closed_gate);
    let source = AudioSource::new(AudioSourceOptions::new());
    tokio::time::timeout(SECOND, open(&host, &source)).await.unwrap_err();
    drop(gate);
    closed.recv_timeout(10 * SECOND).unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_the_task_is_held_up_is_counted_and_does_not_delay_what_follows() {
    let (host, _closed) = FakeHost::new(48_000, 1);
    let source = AudioSource::new(AudioSourceOptions::new());
    let microphone = open(&host, &source).await.unwrap();
    host.run::<f32>(SECOND, 0.0, humming(440.0, 48_000)).await;
    // A second at once, as if nothing else had run for so long: half of it finds no room.
    host.microphone.lock().unwrap().as_mut().unwrap().0.capture(&vec![0.1_f32; 48_000]);
    tokio::time::sleep(SECOND).await;
    host.run::<f32>(5 * SECOND, 0.0, humming(440.0, 48_000)).await;
    let stats = microphone.stats();
    assert_eq!(stats.xruns, 1);
    assert!(stats.missed >= SECOND / 2, "{stats:?}");
    assert!(source.queued() <= Duration::from_millis(60), "{:?} {stats:?}", source.queued());
    assert!(stats.drift_ppm.abs() < 300.0, "{stats:?}");
}
