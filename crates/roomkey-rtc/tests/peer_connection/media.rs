//! RTP.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use roomkey_rtc::{Codec, Event, IncomingRtp, MediaKind, Mid, Msid, OutgoingRtp, Rid, SendError, SenderId, red};

use crate::support::{CLIENT, Link, Pair, SERVER};

const FRAME: Duration = Duration::from_millis(20);

/// What a side has got.
pub(crate) fn received(pair: &Pair, side: usize) -> Vec<(Mid, Option<Rid>, &IncomingRtp)> {
    let rtp = |event| match event {
        &Event::RtpReceived { mid, rid, ref packet } => Some((mid, rid, packet)),
        _ => None,
    };
    pair.sides[side].events.iter().filter_map(|(_, event)| rtp(event)).collect()
}

pub(crate) fn send_audio(pair: &mut Pair, side: usize, sender: SenderId, numbers: Range<u64>) {
    for n in numbers {
        let packet = OutgoingRtp::new(Codec::Opus, n, (n * 960) as u32, &n.to_be_bytes()[..])
            .with_audio_level(Some(-30), Some(true));
        let now = pair.now;
        pair.connection(side).send_rtp(sender, packet, now).unwrap();
        pair.run_for(FRAME);
    }
    pair.run_for(Duration::from_millis(500));
}

/// Video, since that has RTX.
pub(crate) fn send_video(pair: &mut Pair, side: usize, sender: SenderId, numbers: Range<u64>) {
    for n in numbers {
        let packet = OutgoingRtp::new(Codec::Vp8, n, (n * 1800) as u32, &n.to_be_bytes()[..]).with_marker(true);
        let now = pair.now;
        pair.connection(side).send_rtp(sender, packet, now).unwrap();
        pair.run_for(FRAME);
    }
}

fn number(packet: &IncomingRtp) -> u64 {
    u64::from_be_bytes(packet.payload[..8].try_into().unwrap())
}

fn msid(track: &str) -> Msid {
    Msid::new(format!("PA_1|{track}"), track)
}

#[test]
fn audio_goes_both_ways_with_its_level() {
    let mut pair = Pair::with_channels(1, Link::fast());
    let up = pair.connection(CLIENT).add_sender(MediaKind::Audio, msid("up"), &[]);
    pair.connection(CLIENT).add_receiver(MediaKind::Audio);
    pair.negotiate(CLIENT);
    let free = pair.connection(SERVER).media().find(|section| section.free).unwrap().mid;
    let down = pair.connection(SERVER).attach_sender(free, msid("down")).unwrap();
    pair.connection(CLIENT).restart_ice();
    pair.negotiate(CLIENT);
    send_audio(&mut pair, CLIENT, up, 0..50);
    send_audio(&mut pair, SERVER, down, 0..50);

    for (side, track) in [(SERVER, "up"), (CLIENT, "down")] {
        let got = received(&pair, side);
        assert!(got.iter().map(|(_, _, packet)| number(packet)).eq(0..50), "{track}");
        let (mid, _, packet) = got[0];
        assert_eq!((packet.audio_level, packet.voice_activity), (Some(-30), Some(true)));
        assert_eq!(packet.format.codec(), Codec::Opus);
        let section = pair.connection(side).media().find(|section| section.mid == mid).unwrap();
        assert_eq!(section.remote_msid, Some(msid(track)));
    }
}

#[test]
fn sound_and_pictures_of_one_side_say_by_one_clock_when_they_were_taken() {
    let mut pair = Pair::with_channels(9, Link::fast());
    let audio = pair.connection(CLIENT).add_sender(MediaKind::Audio, msid("a"), &[]);
    let video = pair.connection(CLIENT).add_sender(MediaKind::Video, msid("v"), &[]);
    pair.negotiate(CLIENT);
    for n in 0..600_u64 {
        // Of the same moment, by numbers that begin anywhere, one of which wraps.
        let number = &n.to_be_bytes()[..];
        let sound = OutgoingRtp::new(Codec::Opus, n, (7_000_000 + n * 960) as u32, number);
        let picture = OutgoingRtp::new(Codec::Vp8, n, (u64::from(u32::MAX) - 90_000 + n * 1_800) as u32, number);
        let now = pair.now;
        pair.connection(CLIENT).send_rtp(audio, sound, now).unwrap();
        pair.connection(CLIENT).send_rtp(video, picture.with_marker(true), now).unwrap();
        pair.run_for(FRAME);
    }
    let got = received(&pair, SERVER);
    let times = |codec| -> BTreeMap<u64, Duration> {
        let of_codec = got.iter().filter(|(_, _, packet)| packet.format.codec() == codec);
        of_codec.filter_map(|(_, _, packet)| Some((number(packet), packet.capture_time?))).collect()
    };
    let (sound, pictures) = (times(Codec::Opus), times(Codec::Vp8));
    assert!(got[0].2.capture_time.is_none(), "not before a report");
    assert!(sound.len() > 200 && pictures.len() > 400, "{} {}", sound.len(), pictures.len());
    for (n, at) in &sound {
        let difference = at.abs_diff(pictures[n]);
        assert!(difference < Duration::from_millis(2), "{n}: {difference:?}");
    }
    let (first, last) = (sound.first_key_value().unwrap(), sound.last_key_value().unwrap());
    let passed = FRAME * u32::try_from(last.0 - first.0).unwrap();
    assert!((*last.1 - *first.1).abs_diff(passed) < Duration::from_millis(2));
}

/// The receiver counts wraps from 0, so that a number that has wrapped at the source could not be decrypted.
#[test]
fn a_source_that_has_sent_for_hours_can_be_forwarded_to_who_joins_late() {
    let mut pair = Pair::with_channels(2, Link::fast());
    let sender = pair.connection(CLIENT).add_sender(MediaKind::Audio, msid("t"), &[]);
    pair.negotiate(CLIENT);
    send_audio(&mut pair, CLIENT, sender, 10_000_000..10_000_050);
    let got = received(&pair, SERVER);
    assert!(got.iter().map(|(_, _, packet)| number(packet)).eq(10_000_000..10_000_050));
    assert!(got[0].2.sequence < 65_536);
}

#[test]
fn redundant_audio_arrives_as_it_was_sent() {
    let mut pair = Pair::with_channels(3, Link::fast());
    let sender = pair.connection(CLIENT).add_sender(MediaKind::Audio, msid("t"), &[]);
    pair.negotiate(CLIENT);
    let payload = red::encode(111, &[(960, b"before")], b"this one");
    let now = pair.now;
    pair.connection(CLIENT).send_rtp(sender, OutgoingRtp::new(Codec::Red, 1, 960, payload), now).unwrap();
    pair.run_for(FRAME);
    let got = received(&pair, SERVER);
    assert_eq!(got[0].2.format.codec(), Codec::Red);
    let blocks = red::blocks(&got[0].2.payload).unwrap();
    assert_eq!((blocks[0].data, blocks[1].data), (&b"before"[..], &b"this one"[..]));
}

#[test]
fn lost_video_packets_are_sent_again() {
    let mut pair = Pair::with_channels(4, Link::lossy(0));
    let sender = pair.connection(CLIENT).add_sender(MediaKind::Video, msid("t"), &[]);
    pair.negotiate(CLIENT);
    pair.link.loss = 10;
    for n in 0_u64..400 {
        let payload = [&n.to_be_bytes()[..], &[0; 900]].concat();
        let packet = OutgoingRtp::new(Codec::Vp8, n, (n * 3000) as u32, payload).with_marker(true);
        let now = pair.now;
        pair.connection(CLIENT).send_rtp(sender, packet, now).unwrap();
        pair.run_for(Duration::from_millis(10));
    }
    pair.run_for(Duration::from_secs(1));
    let got = received(&pair, SERVER);
    let numbers: BTreeSet<_> = got.iter().map(|(_, _, packet)| number(packet)).collect();
    assert_eq!(numbers.len(), got.len(), "none twice");
    assert!(numbers.len() >= 395, "{} of 400 at 10 % loss", numbers.len());
}

#[test]
fn simulcast_layers_and_requests_for_key_frames_keep_their_names() {
    let mut pair = Pair::with_channels(5, Link::fast());
    let rids: Vec<Rid> = ["q", "h", "f"].map(|rid| rid.parse().unwrap()).to_vec();
    let sender = pair.connection(CLIENT).add_sender(MediaKind::Video, msid("t"), &rids);
    let (offer, answer) = pair.negotiate(CLIENT);
    assert!(offer.contains("a=simulcast:send q;h;f") && answer.contains("a=simulcast:recv q;h;f"));
    for n in 0_u64..20 {
        for (layer, rid) in rids.iter().enumerate() {
            let n = n + 1000 * layer as u64;
            let packet = OutgoingRtp::new(Codec::Vp8, n, 0, &n.to_be_bytes()[..]).with_rid(Some(*rid));
            let now = pair.now;
            pair.connection(CLIENT).send_rtp(sender, packet, now).unwrap();
        }
        pair.run_for(FRAME);
    }
    let got = received(&pair, SERVER);
    for (layer, rid) in rids.iter().enumerate() {
        let of_layer = got.iter().filter(|(_, got, _)| *got == Some(*rid));
        assert!(of_layer.map(|(_, _, packet)| number(packet)).eq((0..20).map(|n| n + 1000 * layer as u64)), "{rid}");
    }
    let added = pair.sides[SERVER].events.iter().find_map(|(_, event)| match event {
        Event::MediaAdded { mid, rids, .. } => Some((*mid, rids.clone())),
        _ => None,
    });
    let (mid, announced) = added.unwrap();
    assert_eq!(announced, rids);

    assert!(pair.connection(SERVER).request_keyframe(mid, Some(rids[1])));
    let wanted = Event::KeyframeRequested { sender, mid, rid: Some(rids[1]) };
    assert!(pair.run_until(Duration::from_secs(1), |pair| pair.when(CLIENT, |event| *event == wanted).is_some()));
    let now = pair.now;
    let unnamed = pair.connection(CLIENT).send_rtp(sender, OutgoingRtp::new(Codec::Vp8, 0, 0, &[0][..]), now);
    assert_eq!(unnamed, Err(SendError::UnknownRid));
}

#[test]
fn a_packet_that_has_nowhere_to_go_is_refused_with_the_reason() {
    let mut pair = Pair::new(6, Link::fast());
    let packet = || OutgoingRtp::new(Codec::Opus, 0, 0, &[0][..]);
    let sender = pair.connection(CLIENT).add_sender(MediaKind::Audio, msid("t"), &[]);
    let now = pair.now;
    assert_eq!(pair.connection(CLIENT).send_rtp(sender, packet(), now), Err(SendError::NotConnected));
    pair.negotiate(CLIENT);
    assert!(pair.run_until(Duration::from_secs(5), Pair::both_connected));
    let second = pair.connection(CLIENT).add_sender(MediaKind::Audio, msid("u"), &[]);
    let now = pair.now;
    assert_eq!(pair.connection(CLIENT).send_rtp(second, packet(), now), Err(SendError::NotNegotiated));
    let video = OutgoingRtp::new(Codec::Vp8, 0, 0, &[0][..]);
    assert_eq!(pair.connection(CLIENT).send_rtp(sender, video, now), Err(SendError::UnsupportedFormat));
    pair.connection(CLIENT).detach_sender(sender);
    assert_eq!(pair.connection(CLIENT).send_rtp(sender, packet(), now), Err(SendError::UnknownSender));
}

#[test]
fn a_track_that_takes_the_place_of_one_in_the_same_offer_is_offered() {
    let mut pair = Pair::with_channels(8, Link::fast());
    let first = pair.connection(CLIENT).add_sender(MediaKind::Audio, msid("one"), &[]);
    pair.negotiate(CLIENT);
    send_audio(&mut pair, CLIENT, first, 0..10);
    pair.connection(CLIENT).detach_sender(first);
    let second = pair.connection(CLIENT).add_sender(MediaKind::Audio, msid("two"), &[]);
    let (offer, _) = pair.negotiate(CLIENT);
    assert!(offer.contains(" two\r\n") && !offer.contains(" one\r\n"), "{offer}");
    send_audio(&mut pair, CLIENT, second, 100..110);
    let numbers = received(&pair, SERVER).iter().map(|(_, _, packet)| number(packet)).collect::<Vec<_>>();
    assert!(numbers.iter().copied().eq((0..10).chain(100..110)), "{numbers:?}");
}

#[test]
fn a_section_whose_track_ended_is_used_again_by_who_offers() {
    let mut pair = Pair::with_channels(7, Link::fast());
    let first = pair.connection(SERVER).add_sender(MediaKind::Audio, msid("one"), &[]);
    pair.negotiate(SERVER);
    send_audio(&mut pair, SERVER, first, 5000..5020);
    let mid = pair.connection(SERVER).sender_mid(first).unwrap();
    pair.connection(SERVER).detach_sender(first);
    pair.negotiate(SERVER);
    pair.run_for(FRAME);
    assert!(pair.when(CLIENT, |event| *event == Event::MediaRemoved { mid }).is_some());

    let second = pair.connection(SERVER).add_sender(MediaKind::Audio, msid("two"), &[]);
    let (offer, _) = pair.negotiate(SERVER);
    assert_eq!(offer.matches("m=audio").count(), 1);
    assert_eq!(pair.connection(SERVER).sender_mid(second), Some(mid));
    send_audio(&mut pair, SERVER, second, 100..120);
    let numbers = received(&pair, CLIENT).iter().map(|(_, _, packet)| number(packet)).collect::<Vec<_>>();
    assert!(numbers.iter().copied().eq((5000..5020).chain(100..120)), "{numbers:?}");
    let tracks = pair.sides[CLIENT].events.iter().filter_map(|(_, event)| match event {
        Event::MediaAdded { msid, .. } => Some(msid.track_id.as_str()),
        _ => None,
    });
    assert!(tracks.eq(["one", "two"]));
}

#[test]
fn a_place_whose_track_ended_is_used_again_by_who_answers() {
    let mut pair = Pair::with_channels(8, Link::fast());
    pair.connection(CLIENT).add_receiver(MediaKind::Video);
    pair.negotiate(CLIENT);
    let mid = pair.connection(SERVER).media().find(|section| section.free).unwrap().mid;
    for (track, numbers) in [("one", 0_u64..10), ("two", 7_000_000..7_000_010)] {
        let sender = pair.connection(SERVER).attach_sender(mid, msid(track)).unwrap();
        assert!(pair.connection(SERVER).attach_sender(mid, msid("more")).is_err());
        pair.connection(CLIENT).restart_ice();
        pair.negotiate(CLIENT);
        pair.run_for(Duration::from_millis(200));
        send_video(&mut pair, SERVER, sender, numbers.clone());
        let got = received(&pair, CLIENT);
        assert!(got.iter().rev().take(10).rev().map(|(_, _, packet)| number(packet)).eq(numbers), "{track}");
        pair.connection(SERVER).detach_sender(sender);
    }
}
