//! Data channels.

use std::time::Duration;

use roomkey_rtc::{ChannelConfig, Config, Event, SendDataError};

use crate::support::{CLIENT, Link, Pair, SERVER};

#[test]
fn reliable_messages_arrive_all_in_order_and_once_over_a_lossy_network() {
    for (loss, seed) in [(0, 1), (5, 2), (20, 3)] {
        let mut pair = Pair::with_channels(seed, Link::lossy(loss));
        let (from, to) =
            (pair.open_channel(CLIENT, "_reliable").unwrap(), pair.open_channel(SERVER, "_reliable").unwrap());
        let sent: Vec<_> = (0_u32..300).map(|n| [&n.to_be_bytes()[..], &[n as u8; 500]].concat()).collect();
        for message in &sent {
            let now = pair.now;
            pair.connection(CLIENT).send_data(from, true, message.clone(), now).unwrap();
        }
        assert!(pair.run_until(Duration::from_secs(600), |pair| pair.messages(SERVER, to).len() >= sent.len()));
        pair.run_for(Duration::from_secs(5));
        assert_eq!(pair.messages(SERVER, to), sent, "{loss} % loss");
        assert_eq!(pair.connection(CLIENT).buffered_amount(from), 0);
    }
}

#[test]
fn large_messages_go_both_ways_and_text_stays_text() {
    let mut pair = Pair::with_channels(4, Link::fast());
    let channels = [CLIENT, SERVER].map(|side| pair.open_channel(side, "_reliable").unwrap());
    for side in [CLIENT, SERVER] {
        let now = pair.now;
        (0..20)
            .for_each(|n| pair.connection(side).send_data(channels[side], false, vec![b'a' + n; 60_000], now).unwrap());
    }
    assert!(pair.run_until(Duration::from_secs(60), |pair| {
        [CLIENT, SERVER].iter().all(|side| pair.messages(*side, channels[*side]).len() == 6)
    }));
    for (side, channel) in channels.into_iter().enumerate() {
        assert!(pair.messages(side, channel).iter().zip(b'a'..).all(|(m, n)| m.len() == 60_000 && m[0] == n));
        assert!(pair.sides[side].events.iter().all(|(_, event)| !matches!(event, Event::Data { binary: true, .. })));
    }
}

#[test]
fn a_full_queue_refuses_says_when_it_is_low_and_loses_nothing_that_it_took() {
    let client = Config::new().with_data_queue_limit(1_000_000);
    let mut pair = Pair::with_configs(5, Link::fast(), &client, &Config::new().with_ice_lite(true));
    let from = pair.connection(CLIENT).open_channel(ChannelConfig::new("_reliable"));
    let now = pair.now;
    assert_eq!(pair.connection(CLIENT).send_data(from, true, vec![1], now), Err(SendDataError::NotOpen));
    pair.negotiate(CLIENT);
    assert!(pair.run_until(Duration::from_secs(5), |pair| {
        [CLIENT, SERVER].iter().all(|side| pair.open_channel(*side, "_reliable").is_some())
    }));
    let to = pair.open_channel(SERVER, "_reliable").unwrap();
    pair.connection(CLIENT).set_low_water(from, 100_000);

    let now = pair.now;
    let mut taken = 0_u32;
    while pair.connection(CLIENT).send_data(from, true, [&taken.to_be_bytes()[..], &[7; 9_996]].concat(), now).is_ok() {
        taken += 1;
        assert!(taken < 1000, "the queue has no bound");
    }
    assert!((100..=115).contains(&taken), "{taken} messages of 10 kB in 1 MB and 128 kB");
    let again = pair.connection(CLIENT).send_data(from, true, vec![0; 10_000], now);
    assert_eq!(again, Err(SendDataError::Full));
    let buffered = pair.connection(CLIENT).buffered_amount(from);
    assert!((1_000_000..1_150_000).contains(&buffered), "{buffered}");

    let low = |event: &Event| matches!(event, Event::BufferedAmountLow { .. });
    assert!(pair.run_until(Duration::from_secs(60), |pair| pair.when(CLIENT, low).is_some()));
    assert!(pair.connection(CLIENT).buffered_amount(from) <= 100_000);
    assert!(pair.run_until(Duration::from_secs(60), |pair| pair.messages(SERVER, to).len() >= taken as usize));
    let numbers = pair.messages(SERVER, to).into_iter().map(|m| u32::from_be_bytes(m[..4].try_into().unwrap()));
    assert!(numbers.eq(0..taken));
    assert_eq!(pair.sides[CLIENT].events.iter().filter(|(_, event)| low(event)).count(), 1);
}

#[test]
fn a_lossy_channel_has_room_beside_a_reliable_one_with_a_long_queue() {
    let mut pair = Pair::with_channels(6, Link::fast());
    let reliable = pair.open_channel(CLIENT, "_reliable").unwrap();
    let lossy = pair.open_channel(CLIENT, "_lossy").unwrap();
    let to = pair.open_channel(SERVER, "_lossy").unwrap();
    let now = pair.now;
    (0..200).for_each(|_| pair.connection(CLIENT).send_data(reliable, true, vec![1; 10_000], now).unwrap());
    pair.connection(CLIENT).send_data(lossy, true, b"now".to_vec(), now).unwrap();
    let refused =
        (0..100).map(|_| pair.connection(CLIENT).send_data(lossy, true, vec![2; 10_000], now)).filter(|r| r.is_err());
    assert!(refused.count() > 80, "what is not reliable does not queue");
    assert!(pair.run_until(Duration::from_secs(10), |pair| !pair.messages(SERVER, to).is_empty()));
}

#[test]
fn a_reliable_channel_goes_on_while_more_is_sent_on_a_lossy_one_than_the_network_takes() {
    let link = Link { bytes_per_second: Some(100_000), ..Link::fast() };
    let mut pair = Pair::with_channels(12, link);
    let reliable = pair.open_channel(CLIENT, "_reliable").unwrap();
    let lossy = pair.open_channel(CLIENT, "_lossy").unwrap();
    let to = pair.open_channel(SERVER, "_reliable").unwrap();
    let flood = |pair: &mut Pair| {
        let now = pair.now;
        while pair.connection(CLIENT).send_data(lossy, true, vec![2; 1_000], now).is_ok() {}
    };
    flood(&mut pair);
    let now = pair.now;
    (0..20_u8).for_each(|n| pair.connection(CLIENT).send_data(reliable, true, vec![n; 10_000], now).unwrap());
    for _ in 0..2_000 {
        flood(&mut pair);
        pair.run_for(Duration::from_millis(5));
    }
    let numbers: Vec<_> = pair.messages(SERVER, to).into_iter().map(|message| message[0]).collect();
    assert_eq!(numbers, (0..20).collect::<Vec<_>>());
}

#[test]
fn a_message_that_the_other_side_does_not_take_is_refused_with_the_limit() {
    let mut pair = Pair::with_channels(7, Link::fast());
    let channel = pair.open_channel(CLIENT, "_reliable").unwrap();
    let now = pair.now;
    let refused = pair.connection(CLIENT).send_data(channel, true, vec![0; 300_000], now);
    assert!(matches!(refused, Err(SendDataError::TooLarge { limit }) if limit <= 256 * 1024), "{refused:?}");
}

#[test]
fn a_channel_more_than_allowed_is_closed() {
    let server = Config::new().with_ice_lite(true).with_max_channels(2);
    let mut pair = Pair::with_configs(8, Link::fast(), &Config::new(), &server);
    for n in 0..4 {
        pair.connection(CLIENT).open_channel(ChannelConfig::new(format!("c{n}")));
    }
    pair.negotiate(CLIENT);
    pair.run_for(Duration::from_secs(2));
    let opened = |event: &&(Duration, Event)| matches!(event.1, Event::ChannelOpened { .. });
    assert_eq!(pair.sides[SERVER].events.iter().filter(opened).count(), 2);
    let closed = |event: &&(Duration, Event)| matches!(event.1, Event::ChannelClosed { .. });
    assert_eq!(pair.sides[CLIENT].events.iter().filter(closed).count(), 2);
}

#[test]
fn two_channels_can_not_share_a_stream() {
    let mut pair = Pair::new(9, Link::fast());
    let config = || ChannelConfig::new("x").with_negotiated(Some(100));
    let first = pair.connection(CLIENT).open_channel(config());
    let second = pair.connection(CLIENT).open_channel(config());
    pair.run_for(Duration::from_millis(1));
    assert!(pair.when(CLIENT, |event| *event == Event::ChannelClosed { id: second }).is_some());
    assert_eq!(pair.connection(CLIENT).channel_label(first), Some("x"));
}

#[test]
fn a_closed_channel_is_gone_on_both_sides() {
    let mut pair = Pair::with_channels(10, Link::fast());
    let channel = pair.open_channel(CLIENT, "_lossy").unwrap();
    let at_server = pair.open_channel(SERVER, "_lossy").unwrap();
    pair.connection(CLIENT).close_channel(channel);
    assert!(pair.run_until(Duration::from_secs(5), |pair| {
        pair.when(CLIENT, |event| *event == Event::ChannelClosed { id: channel }).is_some()
            && pair.when(SERVER, |event| *event == Event::ChannelClosed { id: at_server }).is_some()
    }));
    let now = pair.now;
    assert_eq!(pair.connection(CLIENT).send_data(channel, true, vec![1], now), Err(SendDataError::NotOpen));
}

/// str0m wants to be polled between two changes; this crate sees to it.
#[test]
fn many_changes_without_a_poll_between_them_are_all_carried_out() {
    let mut pair = Pair::with_channels(11, Link::fast());
    let (from, to) = (pair.open_channel(CLIENT, "_reliable").unwrap(), pair.open_channel(SERVER, "_reliable").unwrap());
    let now = pair.now;
    for n in 0..50_u8 {
        pair.connection(CLIENT).send_data(from, true, vec![n], now).unwrap();
        pair.connection(CLIENT).handle_timeout(now);
    }
    pair.run_for(Duration::from_secs(1));
    assert!(pair.messages(SERVER, to).iter().zip(0..).all(|(message, n)| message == &[n]));
    assert_eq!(pair.messages(SERVER, to).len(), 50);
}
