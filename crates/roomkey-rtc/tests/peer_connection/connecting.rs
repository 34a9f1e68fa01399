//! How connections come up and end.

use std::time::Duration;

use roomkey_rtc::{ChannelConfig, Config, Event, IceState, MediaKind, Msid, PeerConnection};

use crate::support::{CLIENT, Link, Pair, SERVER};

const LABELS: [&str; 3] = ["_reliable", "_lossy", "_data_track"];

fn channels(negotiated: bool) -> impl Iterator<Item = ChannelConfig> {
    LABELS.into_iter().zip(100..).map(move |(label, stream)| {
        let config = ChannelConfig::new(label).with_negotiated(negotiated.then_some(stream));
        if label == "_reliable" { config } else { config.with_ordered(false).with_max_retransmits(Some(0)) }
    })
}

fn all_open(pair: &Pair) -> bool {
    [CLIENT, SERVER].iter().all(|side| LABELS.iter().all(|label| pair.open_channel(*side, label).is_some()))
}

#[test]
fn a_server_that_offers_its_channels_connects() {
    for ice_lite in [false, true] {
        let mut pair = Pair::with_configs(1, Link::fast(), &Config::new(), &Config::new().with_ice_lite(ice_lite));
        channels(false).for_each(|config| _ = pair.connection(SERVER).open_channel(config));
        let (offer, answer) = pair.negotiate(SERVER);
        assert!(offer.contains("a=setup:actpass") && answer.contains("a=setup:passive"));
        assert!(pair.run_until(Duration::from_secs(5), |pair| all_open(pair)), "ice_lite {ice_lite}");
    }
}

#[test]
fn a_client_that_offers_places_to_receive_connects() {
    for negotiated in [false, true] {
        let mut pair = Pair::new(2, Link::fast());
        for kind in [MediaKind::Audio, MediaKind::Video] {
            (0..3).for_each(|_| pair.connection(CLIENT).add_receiver(kind));
        }
        channels(negotiated).for_each(|config| _ = pair.connection(CLIENT).open_channel(config));
        if negotiated {
            channels(true).for_each(|config| _ = pair.connection(SERVER).open_channel(config));
        }
        pair.negotiate(CLIENT);
        assert_eq!(pair.connection(SERVER).media().filter(|section| section.free).count(), 6);
        assert!(pair.run_until(Duration::from_secs(5), |pair| all_open(pair)), "negotiated {negotiated}");
    }
}

#[test]
fn places_without_a_track_cost_no_reports() {
    let mut pair = Pair::new(2, Link::fast());
    for kind in [MediaKind::Audio, MediaKind::Video] {
        (0..3).for_each(|_| pair.connection(CLIENT).add_receiver(kind));
    }
    channels(false).for_each(|config| _ = pair.connection(CLIENT).open_channel(config));
    pair.negotiate(CLIENT);
    assert!(pair.run_until(Duration::from_secs(5), |pair| all_open(pair)));
    let before = pair.sides.each_ref().map(|side| side.datagrams.len());
    pair.run_for(Duration::from_secs(30));
    for (side, before) in [CLIENT, SERVER].into_iter().zip(before) {
        let idle = &pair.sides[side].datagrams[before..];
        // RFC 5761 section 4: RTCP is told by its type, from 192 on.
        let reports = idle.iter().filter(|it| (128..192).contains(&it[0]) && (192..224).contains(&it[1])).count();
        assert_eq!(reports, 0, "{side}");
        // A check a second, each side's or the answers, and what SCTP asks.
        assert!(idle.len() < 45, "{side}: {}", idle.len());
    }
}

/// str0m makes one check each 50 ms unless it is woken more often.
#[test]
fn the_side_that_leads_ice_does_not_wait_for_its_pacing() {
    let connected_after = |eager| {
        let client = Config::new().with_eager_ice(eager);
        let mut pair = Pair::with_configs(3, Link::fast(), &client, &Config::new().with_ice_lite(true));
        pair.connection(CLIENT).open_channel(ChannelConfig::new("_reliable"));
        let now = pair.now;
        let offer = pair.connection(CLIENT).create_offer(now).unwrap().unwrap();
        let answer = pair.connection(SERVER).accept_offer(&offer, now).unwrap();
        let (candidates, answer): (Vec<_>, Vec<_>) = answer.lines().partition(|line| line.starts_with("a=candidate:"));
        pair.connection(CLIENT).accept_answer(&(answer.join("\r\n") + "\r\n"), now).unwrap();
        pair.run_for(Duration::from_millis(5));
        candidates.iter().for_each(|line| pair.connection(CLIENT).add_remote_candidate(line.parse().unwrap()));
        assert!(pair.run_until(Duration::from_secs(5), Pair::both_connected));
        pair.when(CLIENT, |event| *event == Event::Connected).unwrap()
    };
    let (eager, paced) = (connected_after(true), connected_after(false));
    assert!(eager < Duration::from_millis(40), "{eager:?}");
    assert!(paced >= Duration::from_millis(50), "{paced:?}");
}

/// One for ICE and two for DTLS 1.2, which LiveKit's servers begin. A cookie of DTLS would be one more.
#[test]
fn a_far_server_is_connected_to_within_three_round_trips() {
    let one_way = Duration::from_millis(50);
    let mut pair = Pair::new(1, Link { delay: one_way, ..Link::fast() });
    channels(false).for_each(|config| _ = pair.connection(CLIENT).open_channel(config));
    pair.negotiate(CLIENT);
    assert!(pair.run_until(Duration::from_secs(5), |pair| all_open(pair)));
    let after = pair.when(CLIENT, |event| *event == Event::Connected).unwrap();
    assert!(after < one_way * 6 + Duration::from_millis(10), "{after:?}");
}

#[test]
fn connections_come_up_over_a_network_that_loses_a_fifth() {
    for seed in 0..4 {
        let mut pair = Pair::with_channels(seed, Link::lossy(20));
        assert!(pair.both_connected());
    }
}

#[test]
fn a_connection_comes_up_over_tcp_alone() {
    let mut pair = Pair::over_tcp(1);
    for config in channels(false) {
        pair.connection(CLIENT).open_channel(config);
    }
    let (offer, answer) = pair.negotiate(CLIENT);
    assert!(offer.contains("tcptype active") && answer.contains("tcptype passive"), "{offer}{answer}");
    assert!(pair.run_until(Duration::from_secs(2), |pair| all_open(pair)));
}

#[test]
fn a_check_is_accepted_by_the_connection_that_it_names_and_by_no_other() {
    let mut pair = Pair::with_channels(4, Link::fast());
    let stranger = Pair::new(5, Link::fast());
    let check = pair.sides[CLIENT].datagrams.iter().find(|datagram| datagram[0] < 2).unwrap().clone();
    let (source, destination) = ("192.0.2.1:9".parse().unwrap(), pair.sides[SERVER].address);
    assert!(pair.connection(SERVER).accepts(source, destination, &check));
    assert!(!stranger.sides[SERVER].connection.accepts(source, destination, &check));
    assert!(!pair.connection(SERVER).accepts(source, destination, b"?"));
    let name = pair.connection(SERVER).local_ufrag().as_bytes().to_vec();
    assert!(check.windows(name.len()).any(|window| window == name));
}

#[test]
fn a_check_for_another_connection_is_not_accepted_from_the_address_that_this_one_sends_to() {
    let (mut pair, other) = (Pair::with_channels(4, Link::fast()), Pair::with_channels(5, Link::fast()));
    let of_client = |pair: &Pair, is_check: bool| {
        let datagrams = &pair.sides[CLIENT].datagrams;
        datagrams.iter().find(|it| PeerConnection::is_connectivity_check(it) == is_check).unwrap().clone()
    };
    // The client has vanished, and the other one got its address.
    let (source, destination) = (pair.sides[CLIENT].address, pair.sides[SERVER].address);
    let (own, foreign) = (of_client(&pair, true), of_client(&other, true));
    let connection = pair.connection(SERVER);
    assert!(connection.accepts(source, destination, &own));
    assert!(!connection.accepts(source, destination, &foreign));
    assert!(connection.accepts(source, destination, &of_client(&other, false)), "nothing in it says whose it is");
}

#[test]
fn closing_tells_the_other_side() {
    let mut pair = Pair::with_channels(6, Link::fast());
    pair.connection(CLIENT).close();
    assert!(pair.run_until(Duration::from_secs(1), |pair| pair.when(SERVER, |e| *e == Event::Closed).is_some()));
    assert_eq!(pair.sides[CLIENT].events.iter().filter(|(_, event)| *event == Event::Closed).count(), 1);
    assert!(pair.connection(CLIENT).failure().is_none());
    let now = pair.now;
    assert!(pair.connection(CLIENT).create_offer(now).is_err());
}

#[test]
fn a_dead_network_is_noticed_and_a_restart_of_ice_heals_it_with_channels_and_media() {
    let mut pair = Pair::with_channels(7, Link::fast());
    let sender = pair.connection(CLIENT).add_sender(MediaKind::Audio, Msid::new("s", "t"), &[]);
    pair.negotiate(CLIENT);
    pair.run_for(Duration::from_millis(100));
    let channel = pair.open_channel(CLIENT, "_reliable").unwrap();
    let before = pair.connection(CLIENT).local_ufrag().to_owned();

    pair.link.loss = 100;
    let disconnected = |event: &Event| *event == Event::IceStateChanged(IceState::Disconnected);
    assert!(pair.run_until(Duration::from_secs(30), |pair| pair.when(CLIENT, disconnected).is_some()));

    pair.link.loss = 0;
    pair.connection(CLIENT).restart_ice();
    let (offer, _) = pair.negotiate(CLIENT);
    assert_ne!(pair.connection(CLIENT).local_ufrag(), before);
    assert!(offer.contains(&format!("a=ice-ufrag:{}", pair.connection(CLIENT).local_ufrag())));
    let now = pair.now;
    pair.connection(CLIENT).send_data(channel, true, b"still here".to_vec(), now).unwrap();
    let server_channel = pair.open_channel(SERVER, "_reliable").unwrap();
    assert!(pair.run_until(Duration::from_secs(5), |pair| !pair.messages(SERVER, server_channel).is_empty()));
    crate::media::send_audio(&mut pair, CLIENT, sender, 0..50);
    assert_eq!(crate::media::received(&pair, SERVER).len(), 50);
    assert_eq!(pair.sides[CLIENT].events.iter().filter(|(_, event)| *event == Event::Connected).count(), 1);
}
