use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt;

use super::super::jitter_buffer::IncomingAudio;
use super::super::red::{PayloadFormat, RedEncoder};
use super::super::{AudioSource, AudioSourceOptions, tone};
use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A second of a tone, as packets.
async fn tone_packets() -> Vec<IncomingAudio> {
    let source = AudioSource::new(AudioSourceOptions::new());
    let outlet = source.attach(5).unwrap();
    let frame = AudioFrame::new(tone::sine(1_000.0, 0.5, 48_000, 48_000), 48_000, 1).unwrap();
    source.capture_frame(&frame).await.unwrap();
    let (mut red, mut packets) = (RedEncoder::new(RedEncoder::DEPTH), Vec::new());
    while let Some(due) = outlet.next_due(clock::now()) {
        let packet = outlet.poll_packet(due).unwrap();
        let (format, payload) = red.encode(packet.timestamp, &packet.payload);
        packets.push(IncomingAudio {
            sequence: packets.len() as u64,
            timestamp: packet.timestamp,
            capture_time: None,
            payload,
            format,
        });
    }
    packets
}

/// Sends the packets in real time.
fn send(packets: Vec<IncomingAudio>, inlet: AudioInlet) {
    tokio::spawn(async move {
        let mut interval = tokio::time::interval(ms(20));
        for packet in packets {
            interval.tick().await;
            inlet.push(clock::now(), packet);
        }
    });
}

#[tokio::test(start_paused = true)]
async fn a_tone_is_heard_as_it_was_sent_whatever_the_format() {
    for (rate, channels) in [(48_000, 1), (48_000, 2), (24_000, 1), (16_000, 2), (44_100, 1), (8_000, 1)] {
        let options = AudioStreamOptions::new().with_format(rate, channels).unwrap();
        let (stream, inlet) = AudioStream::new(&options);
        send(tone_packets().await, inlet);
        let frames: Vec<_> = stream.collect().await;
        let heard: Vec<_> =
            frames.iter().flat_map(|frame| frame.samples().iter().step_by(channels as usize)).copied().collect();
        assert!(frames.iter().all(|frame| (frame.sample_rate(), frame.num_channels()) == (rate, channels)));
        assert!(heard.len() >= rate as usize * 95 / 100, "{}", heard.len());
        let heard = &heard[rate as usize / 5..rate as usize * 9 / 10];
        assert!(tone::power_at(heard, 1_000.0, rate) > 0.95 * tone::power(heard), "{rate}");
        assert!((0.1..0.15).contains(&tone::power(heard)), "{rate}: {}", tone::power(heard));
    }
}

#[tokio::test(start_paused = true)]
async fn frames_come_in_real_time_and_lost_packets_are_recovered() {
    let (mut stream, inlet) = AudioStream::new(&AudioStreamOptions::new());
    let packets = tone_packets().await.into_iter().enumerate().filter(|(n, _)| n % 5 != 3).map(|(_, packet)| packet);
    let packets: Vec<_> = packets.collect();
    tokio::spawn(async move {
        let start = clock::now();
        for packet in packets {
            tokio::time::sleep_until((start + ms(20) * packet.sequence as u32).into()).await;
            inlet.push(clock::now(), packet);
        }
    });
    let mut at = Vec::new();
    while stream.next().await.is_some() {
        at.push(clock::now());
    }
    assert_eq!(at.len(), 50);
    assert!(at.windows(2).all(|pair| (ms(18)..=ms(22)).contains(&(pair[1] - pair[0]))), "{at:?}");
    let stats = stream.stats();
    assert_eq!((stats.received, stats.lost, stats.recovered, stats.concealed), (40, 10, 10, Duration::ZERO));
    assert!((ms(20)..=ms(41)).contains(&stats.delay), "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_comes_in_a_pause_unless_the_stream_is_continuous() {
    for continuous in [false, true] {
        let (mut stream, inlet) = AudioStream::new(&AudioStreamOptions::new().with_continuous(continuous));
        send(tone_packets().await, inlet.clone());
        let (start, mut frames) = (clock::now(), Vec::new());
        let _ = tokio::time::timeout(Duration::from_secs(10), async {
            while let Some(frame) = stream.next().await {
                frames.push((clock::now() - start, frame));
            }
        })
        .await;
        let heard: Duration = frames.iter().map(|(_, frame)| frame.duration()).sum();
        let last = frames.last().unwrap();
        if continuous {
            assert!((ms(9_900)..ms(10_100)).contains(&heard), "{heard:?}");
            assert!(tone::power(last.1.samples()) == 0.0);
        } else {
            assert!((ms(1_080)..ms(1_120)).contains(&heard), "the tone, and 100 ms in which it fades: {heard:?}");
            assert!(last.0 < ms(1_200));
            assert!(tone::power(last.1.samples()) < 0.01, "{}", tone::power(last.1.samples()));
        }
        drop(inlet);
        assert!(stream.next().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_costs_no_memory_and_goes_on_with_the_newest() {
    let (mut stream, inlet) = AudioStream::new(&AudioStreamOptions::new());
    let packet = tone_packets().await.swap_remove(0);
    for n in 0..1_000 {
        let packet = IncomingAudio { sequence: n, timestamp: n as u32 * 960, ..packet.clone() };
        inlet.push(clock::now(), packet);
        tokio::time::advance(ms(20)).await;
    }
    assert!(stream.input.lock().packets.len() <= 100);
    assert!(stream.next().await.is_some());
    let stats = stream.stats();
    assert!(stats.dropped >= 960, "{stats:?}");
    let mut rest = 1;
    while tokio::time::timeout(ms(25), stream.next()).await.is_ok() {
        rest += 1;
    }
    assert!(rest < 30, "{rest}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_its_inlets_are_gone_and_an_inlet_knows_that_nobody_reads() {
    let (mut stream, inlet) = AudioStream::new(&AudioStreamOptions::new());
    let packets = tone_packets().await;
    let other = inlet.clone();
    drop(inlet);
    assert!(other.push(clock::now(), packets[0].clone()));
    drop(other);
    assert!(stream.next().await.is_some(), "what came is played");
    assert!(stream.next().await.is_none());

    let (stream, inlet) = AudioStream::new(&AudioStreamOptions::new());
    drop(stream);
    assert!(!inlet.push(clock::now(), packets[0].clone()));
}

#[derive(Debug, Default)]
struct Counting(AtomicUsize);

impl AudioProcessor for Counting {
    fn process_capture(&self, _: &mut [f32], _: u32) {
        unreachable!("nothing is captured");
    }

    fn process_render(&self, samples: &mut [f32], num_channels: u32) {
        assert_eq!(samples.len(), 480 * num_channels as usize);
        self.0.fetch_add(1, Ordering::Relaxed);
        samples.fill(0.25);
    }
}

#[tokio::test(start_paused = true)]
async fn a_processor_gets_all_that_is_played() {
    let processor = Arc::new(Counting::default());
    let (stream, inlet) = AudioStream::new(&AudioStreamOptions::new().with_processor(Arc::clone(&processor) as _));
    send(tone_packets().await, inlet);
    let frames: Vec<_> = stream.collect().await;
    assert_eq!(processor.0.load(Ordering::Relaxed), 100);
    assert!(frames.iter().flat_map(|frame| frame.samples()).all(|sample| *sample == 0.25));
}

#[tokio::test(start_paused = true)]
async fn packets_of_random_bytes_are_played_as_something_or_nothing() {
    let mut rng = fastrand::Rng::with_seed(23);
    let (mut stream, inlet) = AudioStream::new(&AudioStreamOptions::new().with_format(16_000, 2).unwrap());
    for n in 0..1_000 {
        let payload: Vec<_> = (0..rng.usize(..100)).map(|_| rng.u8(..)).collect();
        let format = if rng.bool() { PayloadFormat::Red } else { PayloadFormat::Opus };
        inlet.push(
            clock::now(),
            IncomingAudio {
                sequence: n,
                timestamp: n as u32 * 960,
                capture_time: None,
                payload: payload.into(),
                format,
            },
        );
        let _ = tokio::time::timeout(ms(20), stream.next()).await;
    }
    assert!(stream.stats().malformed > 30);
}

#[test]
fn frames_follow_each_other_in_the_time_in_which_they_were_taken_resampled_or_not() {
    let part = Duration::from_millis(10);
    for rate in [48_000, 44_100, 16_000] {
        let mut output = Output::new(&AudioStreamOptions::new().with_format(rate, 1).unwrap());
        let first = Duration::from_secs(1_000);
        let mut next = (rate == 48_000).then_some(first);
        for n in 0..40 {
            let Some(frame) = output.play(Playout::Conceal { samples: 480 }, Some(first + part * n)) else { continue };
            let taken = frame.capture_time().unwrap();
            // The resampler is half a step of 20 ms behind.
            let next_taken = next.unwrap_or(first - part);
            assert!(taken.abs_diff(next_taken) < Duration::from_micros(1), "{rate} {n} {taken:?} {next_taken:?}");
            next = Some(taken + frame.duration());
        }
        assert!(next.is_some_and(|next| next > first + part * 30));
        assert_eq!(output.silence().and_then(|frame| frame.capture_time()), None);
    }
}
