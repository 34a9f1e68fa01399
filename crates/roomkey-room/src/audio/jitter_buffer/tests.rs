use super::super::red::RedEncoder;
use super::*;
use crate::clock;

const MS: Duration = Duration::from_millis(1);

/// A packet of Opus as far as its length goes, 20 ms, with a number in it.
fn frame(n: u32) -> Arc<[u8]> {
    let mut payload = vec![0xf8];
    payload.extend(n.to_be_bytes());
    payload.into()
}

fn number(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload[1..5].try_into().unwrap())
}

fn opus(n: u32) -> IncomingAudio {
    IncomingAudio {
        sequence: u64::from(n) + 1_000,
        timestamp: n.wrapping_mul(960),
        capture_time: None,
        payload: frame(n),
        format: PayloadFormat::Opus,
    }
}

/// What `count` packets look like where `depth` earlier frames are in each.
fn red(count: u32, depth: usize) -> Vec<IncomingAudio> {
    let mut encoder = RedEncoder::new(depth);
    (0..count)
        .map(|n| {
            let packet = opus(n);
            let (format, payload) = encoder.encode(packet.timestamp, &packet.payload);
            IncomingAudio { format, payload, ..packet }
        })
        .collect()
}

fn buffer() -> JitterBuffer {
    JitterBuffer::new(DelayBounds { least: 20 * MS, most: 500 * MS })
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Played {
    Frame(u32),
    Overlapped(u32),
    MadeUp,
    End,
}

/// Gives the buffer each packet at its millisecond, polls it once a millisecond, and says what was played when.
fn run(buffer: &mut JitterBuffer, start: Instant, mut packets: Vec<(u32, IncomingAudio)>) -> Vec<(u32, Played)> {
    packets.sort_by_key(|(at, _)| *at);
    let end = packets.last().map_or(0, |(at, _)| at + 1_000);
    let mut packets = packets.into_iter().peekable();
    let mut played = Vec::new();
    for ms in packets.peek().map_or(0, |(at, _)| *at)..end {
        let now = start + MS * ms;
        while let Some((_, packet)) = packets.next_if(|(at, _)| *at <= ms) {
            buffer.handle_packet(now, &packet);
        }
        let due = buffer.next_due();
        let mut any = false;
        while let Some(playout) = buffer.poll_frame(now) {
            any = true;
            played.push((
                ms,
                match playout {
                    Playout::Decode { payload } => Played::Frame(number(&payload)),
                    Playout::Overlap { payload } => Played::Overlapped(number(&payload)),
                    Playout::Recover { .. } | Playout::Conceal { .. } => Played::MadeUp,
                    Playout::End => Played::End,
                },
            ));
        }
        assert!(!any || due.is_some_and(|due| due <= now), "it said when to poll");
        assert!(buffer.frames.len() <= JitterBuffer::MOST_FRAMES);
    }
    played
}

fn frames(played: &[(u32, Played)]) -> Vec<u32> {
    let frame = |(_, played): &(u32, Played)| match played {
        Played::Frame(n) | Played::Overlapped(n) => Some(*n),
        Played::MadeUp | Played::End => None,
    };
    played.iter().filter_map(frame).collect()
}

fn made_up(played: &[(u32, Played)]) -> usize {
    played.iter().filter(|(_, played)| *played == Played::MadeUp).count()
}

/// The number of the first frame that is played at `from` or later, and when.
fn first_after(played: &[(u32, Played)], from: u32) -> Option<(u32, u32)> {
    played.iter().find_map(|(at, played)| match played {
        Played::Frame(n) if *at >= from => Some((*at, *n)),
        Played::Frame(_) | Played::Overlapped(_) | Played::MadeUp | Played::End => None,
    })
}

/// The longest time between two frames, in milliseconds.
fn longest_gap(played: &[(u32, Played)]) -> u32 {
    let at: Vec<_> =
        played.iter().filter(|(_, played)| matches!(played, Played::Frame(_))).map(|(at, _)| *at).collect();
    at.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
}

/// Sends a packet every 20 ms over a network that loses some and delays each by up to `jitter` ms more than 50.
fn network(packets: &[IncomingAudio], loss: f64, jitter: u32, seed: u64) -> Vec<(u32, IncomingAudio)> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let sent = packets.iter().zip(0..).map(|(packet, n)| (n * 20 + 50 + rng.u32(0..=jitter), packet.clone()));
    let sent: Vec<_> = sent.collect();
    sent.into_iter().filter(|_| rng.f64() >= loss).collect()
}

#[test]
fn packets_in_order_are_played_20_ms_apart_after_40_ms() {
    let played = run(&mut buffer(), clock::now(), (0..100).map(|n| (n * 20, opus(n))).collect());
    let expected: Vec<_> = (0..100).map(|n| (40 + n * 20, Played::Frame(n))).collect();
    assert_eq!(played[..20], expected[..20]);
    assert_eq!(frames(&played), (0..100).collect::<Vec<_>>());
    assert_eq!(made_up(&played), 5);
    assert_eq!(played.last().unwrap().1, Played::End);
}

#[test]
fn redundancy_makes_up_for_loss() {
    const SENT: u32 = 6_000;
    for depth in [0, 1, 2] {
        for (loss, least) in [(0.05, 0.99), (0.2, 0.95), (0.4, 0.8)] {
            let mut buffer = buffer();
            let played = run(&mut buffer, clock::now(), network(&red(SENT, depth), loss, 10, 42));
            let frames = frames(&played);
            assert!(frames.is_sorted() && frames.windows(2).all(|pair| pair[0] < pair[1]), "in order, each once");
            let share = frames.len() as f64 / f64::from(SENT);
            let gap = longest_gap(&played);
            if depth == RedEncoder::DEPTH {
                assert!(share >= least, "{share} at {loss}");
                assert!(loss > 0.05 || gap <= 100, "{gap} ms at {loss}");
                let stats = buffer.stats();
                assert_eq!((stats.late, stats.dropped, stats.malformed), (0, 0, 0));
                assert_eq!(stats.received + stats.lost, u64::from(frames.last().unwrap() + 1));
            }
        }
    }
}

#[test]
fn reordered_packets_are_played_in_order() {
    let mut buffer = buffer();
    let played = run(&mut buffer, clock::now(), network(&red(2_000, 0), 0.0, 70, 5));
    let frames = frames(&played);
    assert!(frames.is_sorted());
    assert!(frames.len() > 1_950, "{}", frames.len());
    assert!((30 * MS..130 * MS).contains(&buffer.stats().delay), "{:?}", buffer.stats());
}

#[test]
fn a_packet_that_comes_twice_is_played_once() {
    let twice = (0..200).flat_map(|n| [(n * 20, opus(n)), (n * 20 + 7, opus(n)), (n * 20 + 90, opus(n))]).collect();
    let mut buffer = buffer();
    assert_eq!(frames(&run(&mut buffer, clock::now(), twice)), (0..200).collect::<Vec<_>>());
    assert_eq!((buffer.stats().received, buffer.stats().late), (200, 0));
}

#[test]
fn timestamps_wrap() {
    let packets = (0..200_u32)
        .map(|n| (n * 20, IncomingAudio { timestamp: (n * 960).wrapping_sub(96_000), ..opus(n) }))
        .filter(|(at, _)| at % 140 != 0 || *at == 0)
        .collect();
    let played = run(&mut buffer(), clock::now(), packets);
    assert_eq!(frames(&played).len(), 172);
    assert!(longest_gap(&played) <= 40);
}

#[test]
fn a_sender_that_begins_again_is_heard_at_once() {
    let first = (0..100).map(|n| (n * 20, opus(n)));
    let again = (0..100).map(|n| {
        let packet = opus(1_000 + n);
        (
            2_000 + n * 20,
            IncomingAudio { timestamp: packet.timestamp.wrapping_add(3 << 30), sequence: u64::from(n), ..packet },
        )
    });
    let played = run(&mut buffer(), clock::now(), first.chain(again).collect());
    let at = played.iter().find(|(_, played)| *played == Played::Frame(1_000)).unwrap().0;
    assert!((2_000..2_060).contains(&at), "{at}");
    assert!(frames(&played).len() >= 197);
}

#[test]
fn what_piled_up_in_an_outage_is_let_go_and_the_delay_stays_small() {
    for outage in [10_000, 500] {
        // All that was sent meanwhile comes at once.
        let packets = (0..1_000)
            .map(|n| (n * 20, opus(n)))
            .map(|(at, packet)| (if (1_000..1_000 + outage).contains(&at) { 1_000 + outage } else { at }, packet));
        let mut buffer = buffer();
        let played = run(&mut buffer, clock::now(), packets.collect());
        let (back, n) = first_after(&played, 1_000 + outage).unwrap();
        assert!(back <= 1_000 + outage + 60, "{back}");
        assert!(back - n * 20 <= 500, "{n} is played at {back}");
        let concealing = played.iter().filter(|(at, _)| (1_000..1_000 + outage).contains(at));
        assert!(concealing.filter(|(_, played)| *played == Played::MadeUp).count() <= 5);
        let later = first_after(&played, 10_000 + outage).map(|(at, n)| at - n * 20);
        assert!(later.unwrap_or(60) <= 100, "{later:?}");
    }
}

#[test]
fn a_spike_loses_nothing_and_is_made_up_for() {
    // Six packets come 120 ms late, together.
    let packets = (0..1_500).map(|n| (if (100..106).contains(&n) { 2_120 } else { n * 20 }, opus(n))).collect();
    let mut buffer = buffer();
    let played = run(&mut buffer, clock::now(), packets);
    assert_eq!(frames(&played), (0..1_500).collect::<Vec<_>>());
    assert!(played.iter().any(|(_, played)| matches!(played, Played::Overlapped(_))));
    assert!(buffer.stats().delay <= 60 * MS, "{:?}", buffer.stats());
}

#[test]
fn after_a_pause_speech_goes_on_where_the_timestamps_say() {
    for pause in [200, 1_900, 60_000] {
        let packets = (0..50).map(|n| (n * 20, opus(n))).chain((0..50).map(|n| {
            let packet = opus(50 + n);
            let timestamp = packet.timestamp + pause * 48;
            (1_000 + pause + n * 20, IncomingAudio { timestamp, ..packet })
        }));
        let mut buffer = buffer();
        let played = run(&mut buffer, clock::now(), packets.collect());
        assert_eq!(frames(&played), (0..100).collect::<Vec<_>>());
        let at = played.iter().find(|(_, played)| *played == Played::Frame(50)).unwrap().0;
        assert!((1_020 + pause..=1_040 + pause).contains(&at), "{at} after {pause}");
        assert_eq!(made_up(&played), 10);
        assert_eq!(played.iter().filter(|(_, played)| *played == Played::End).count(), 2);
    }
}

#[test]
fn clocks_that_run_at_different_speeds_add_no_delay() {
    // A sender whose second is 0.3 ms shorter or longer, for ten minutes: as bad as sound cards get.
    for (speed, lost) in [(0.999_7, 15), (1.000_3, 15)] {
        let packets = (0..30_000).map(|n| ((f64::from(n) * 20.0 * speed) as u32, opus(n))).collect();
        let mut buffer = buffer();
        let played = run(&mut buffer, clock::now(), packets);
        let frames = frames(&played);
        assert!(frames.len() >= 30_000 - lost, "{} at {speed}", frames.len());
        assert!(made_up(&played) <= 20, "{} at {speed}", made_up(&played));
        assert!((10 * MS..=60 * MS).contains(&buffer.stats().delay), "{:?} at {speed}", buffer.stats());
    }
}

#[test]
fn a_flood_is_bounded() {
    let mut buffer = buffer();
    let now = clock::now();
    for n in 0..100_000 {
        buffer.handle_packet(now, &opus(n));
        assert!(buffer.frames.len() <= 50);
    }
    // The shortest packets there are, 2.5 ms.
    for n in 0..100_000_u32 {
        let payload: Arc<[u8]> = [0xe0, 1].into();
        let packet = IncomingAudio {
            sequence: u64::from(n),
            timestamp: n * 120,
            capture_time: None,
            payload,
            format: PayloadFormat::Opus,
        };
        buffer.handle_packet(now, &packet);
        assert!(buffer.frames.len() <= JitterBuffer::MOST_FRAMES);
    }
    assert!(buffer.stats().dropped > 190_000);
}

#[test]
fn who_polls_late_gets_the_newest() {
    let mut buffer = buffer();
    let start = clock::now();
    for n in 0..500 {
        buffer.handle_packet(start + 20 * MS * n, &opus(n));
    }
    let now = start + 10_000 * MS;
    let Some(Playout::Decode { payload }) = buffer.poll_frame(now) else { panic!("there is a frame") };
    assert!(number(&payload) >= 490, "{}", number(&payload));
}

#[test]
fn any_bytes_at_any_time_do_no_harm() {
    let mut rng = fastrand::Rng::with_seed(11);
    let good = red(64, 2);
    for _ in 0..200 {
        let mut buffer = buffer();
        let mut now = clock::now();
        for _ in 0..200 {
            let mut payload = if rng.bool() {
                good[rng.usize(..64)].payload.to_vec()
            } else {
                (0..rng.usize(..80)).map(|_| rng.u8(..)).collect()
            };
            if rng.bool() && !payload.is_empty() {
                let at = rng.usize(..payload.len());
                payload[at] ^= 1 << rng.u8(..8);
            }
            let format = if rng.bool() { PayloadFormat::Red } else { PayloadFormat::Opus };
            let sequence = if rng.u8(..) == 0 { rng.u64(..) } else { rng.u64(..300) };
            let timestamp = if rng.u8(..) < 10 { rng.u32(..) } else { rng.u32(..200_000) };
            let packet = IncomingAudio { sequence, timestamp, capture_time: None, payload: payload.into(), format };
            buffer.handle_packet(now, &packet);
            let most = 1_000;
            let polled = std::iter::from_fn(|| buffer.poll_frame(now)).take(most).count();
            assert!(polled < most, "it comes to an end");
            now += MS * rng.u32(..60);
        }
    }
}

#[test]
fn what_is_played_says_when_it_was_taken_made_up_or_not() {
    let taken = |n: u32| Duration::from_secs(1_000) + MS * 20 * n;
    let start = clock::now();
    let mut buffer = buffer();
    let mut times = Vec::new();
    for ms in 0..200 {
        let now = start + MS * ms;
        // The fourth is lost, and only some say when they were taken, as if a report came in between.
        if let (n @ 0..8, true) = (ms / 20, ms % 20 == 0 && ms != 60) {
            buffer.handle_packet(now, &IncomingAudio { capture_time: (n >= 2).then(|| taken(n)), ..opus(n) });
        }
        while let Some(playout) = buffer.poll_frame(now) {
            if playout != Playout::End {
                times.push(buffer.capture_time());
            }
        }
    }
    assert!(times.len() >= 8, "{times:?}");
    for (n, time) in (0..8).zip(times) {
        assert_eq!(time, Some(taken(n)), "{n}");
    }
}
