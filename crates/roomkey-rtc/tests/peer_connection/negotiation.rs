//! Offers and answers.

use std::time::Duration;

use roomkey_rtc::{ChannelConfig, Direction, Event, MediaKind, Msid, NegotiationError};

use crate::support::{CLIENT, Link, Pair, SERVER};

#[test]
fn a_place_without_a_track_is_answered_without_an_msid_and_with_one_it_names_it() {
    let mut pair = Pair::with_channels(1, Link::fast());
    (0..2).for_each(|_| pair.connection(CLIENT).add_receiver(MediaKind::Audio));
    let (_, answer) = pair.negotiate(CLIENT);
    assert_eq!(answer.matches("a=sendonly").count(), 2);
    assert!(!answer.contains("a=msid:") && !answer.contains("a=ssrc"), "{answer}");

    let mid = pair.connection(SERVER).media().nth(1).unwrap().mid;
    pair.connection(SERVER).attach_sender(mid, Msid::new("PA_1|TR_2", "TR_2")).unwrap();
    pair.connection(CLIENT).restart_ice();
    let (_, answer) = pair.negotiate(CLIENT);
    assert_eq!(answer.matches("a=msid:").count(), 1);
    let section = answer.split("m=").find(|section| section.contains(&format!("a=mid:{mid}\r\n"))).unwrap();
    assert!(section.contains("a=msid:PA_1|TR_2 TR_2\r\n") && section.contains(" msid:PA_1|TR_2 TR_2\r\n"));
    pair.run_for(Duration::from_millis(1));
    let added = |event: &Event| matches!(event, Event::MediaAdded { mid: added, .. } if *added == mid);
    assert!(pair.when(CLIENT, added).is_some());
}

#[test]
fn there_is_no_offer_without_a_change() {
    let mut pair = Pair::with_channels(2, Link::fast());
    let now = pair.now;
    for side in [CLIENT, SERVER] {
        assert_eq!(pair.connection(side).create_offer(now), Ok(None));
    }
    pair.connection(CLIENT).open_channel(ChannelConfig::new("more"));
    assert_eq!(pair.connection(CLIENT).create_offer(now), Ok(None), "there is a section for channels");
    assert!(pair.run_until(Duration::from_secs(1), |pair| pair.open_channel(SERVER, "more").is_some()));
}

#[test]
fn an_offer_that_is_repeated_unchanged_changes_nothing() {
    let mut pair = Pair::new(3, Link::fast());
    pair.connection(CLIENT).open_channel(ChannelConfig::new("_reliable"));
    pair.connection(CLIENT).add_sender(MediaKind::Audio, Msid::new("s", "t"), &[]);
    let (offer, answer) = pair.negotiate(CLIENT);
    assert!(pair.run_until(Duration::from_secs(5), Pair::both_connected));
    let now = pair.now;
    let again = pair.connection(SERVER).accept_offer(&offer, now).unwrap();
    let without_version = |sdp: &str| sdp.lines().filter(|line| !line.starts_with("o=")).collect::<Vec<_>>().join("\n");
    assert_eq!(without_version(&again), without_version(&answer));
    pair.run_for(Duration::from_secs(1));
    let added = |event: &&(Duration, Event)| matches!(event.1, Event::MediaAdded { .. });
    assert_eq!(pair.sides[SERVER].events.iter().filter(added).count(), 1);
}

#[test]
fn an_offer_waits_for_its_own_answer() {
    let mut pair = Pair::new(4, Link::fast());
    let now = pair.now;
    assert_eq!(pair.connection(CLIENT).accept_answer("v=0", now), Err(NegotiationError::NoOffer));
    pair.connection(CLIENT).open_channel(ChannelConfig::new("_reliable"));
    let offer = pair.connection(CLIENT).create_offer(now).unwrap().unwrap();
    assert_eq!(pair.connection(CLIENT).create_offer(now), Err(NegotiationError::OfferPending));
    assert_eq!(pair.connection(CLIENT).accept_offer(&offer, now), Err(NegotiationError::OfferPending));
    assert_eq!(pair.connection(CLIENT).pending_offer(), Some(&offer[..]));

    let answer = pair.connection(SERVER).accept_offer(&offer, now).unwrap();
    let other = answer.replace("a=mid:", "a=mid:x");
    for bad in ["", "v=0\r\n", &other, &answer.replace("a=fingerprint:", "a=x:"), &answer.replace("a=ice-", "a=x-")] {
        let refused = pair.connection(CLIENT).accept_answer(bad, now);
        assert!(matches!(refused, Err(NegotiationError::Invalid(_))), "{bad}");
        assert!(pair.connection(CLIENT).has_pending_offer());
    }
    pair.connection(CLIENT).accept_answer(&answer, now).unwrap();
    assert!(pair.run_until(Duration::from_secs(5), Pair::both_connected));
}

#[test]
fn sections_can_not_be_moved_and_a_refused_offer_leaves_the_connection_up() {
    let mut pair = Pair::with_channels(5, Link::fast());
    pair.connection(CLIENT).add_sender(MediaKind::Audio, Msid::new("s", "t"), &[]);
    let (offer, _) = pair.negotiate(CLIENT);
    let parts: Vec<_> = offer.split("\r\nm=").collect();
    let moved = [parts[0], parts[2].trim_end(), parts[1]].join("\r\nm=") + "\r\n";
    let shorter = parts[..2].join("\r\nm=") + "\r\n";
    let now = pair.now;
    for bad in [moved, shorter] {
        assert!(matches!(pair.connection(SERVER).accept_offer(&bad, now), Err(NegotiationError::Invalid(_))));
    }
    pair.run_for(Duration::from_secs(1));
    assert!(pair.both_connected());
    pair.connection(CLIENT).add_receiver(MediaKind::Video);
    pair.negotiate(CLIENT);
}

#[test]
fn an_ended_track_is_inactive_in_the_offer_and_its_section_stays() {
    let mut pair = Pair::with_channels(6, Link::fast());
    let sender = pair.connection(CLIENT).add_sender(MediaKind::Audio, Msid::new("s", "t"), &[]);
    pair.negotiate(CLIENT);
    pair.connection(CLIENT).detach_sender(sender);
    let (offer, _) = pair.negotiate(CLIENT);
    assert!(offer.contains("m=audio") && offer.contains("a=inactive") && !offer.contains("a=msid:"));
    assert_eq!(pair.connection(SERVER).media().next().unwrap().direction, Direction::Inactive);
}

#[test]
fn a_connection_can_be_given_to_another_thread() {
    fn takes(_: impl Send + 'static) {}
    takes(Pair::new(7, Link::fast()).sides);
}
