//! What a stranger may send: changed descriptions, candidates and datagrams.

use std::time::Duration;

use roomkey_rtc::{Candidate, ChannelConfig, Config, MediaKind, Msid, PeerConnection};

use crate::support::{CLIENT, Link, Pair, SERVER, epoch};

/// How many changed inputs of each kind; `ROOMKEY_MUTATIONS` sets another number for a long run.
fn rounds() -> u64 {
    std::env::var("ROOMKEY_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(40)
}

/// Changes a text where a parser may stumble: bytes, numbers, words and whole lines.
fn mutate(random: &mut fastrand::Rng, text: &str) -> String {
    let mut lines: Vec<String> = text.split("\r\n").map(str::to_owned).collect();
    for _ in 0..random.usize(1..4) {
        let (at, other) = (random.usize(..lines.len()), random.usize(..lines.len()));
        match random.u8(..9) {
            0 => _ = lines.remove(at),
            1 => lines.insert(other, lines[at].clone()),
            2 => lines.swap(at, other),
            3 => {
                let length = random.usize(..=lines[at].chars().count());
                lines[at] = lines[at].chars().take(length).collect();
            }
            4 => {
                lines[at] = lines[at]
                    .replace(|c: char| c.is_ascii_digit(), ["0", "9", "-1", "4294967296", ""][random.usize(..5)])
            }
            5 => {
                let mut bytes = lines[at].clone().into_bytes();
                change_byte(random, &mut bytes);
                lines[at] = String::from_utf8_lossy(&bytes).into_owned();
            }
            6 => {
                let mut words: Vec<_> = lines[at].split(' ').map(str::to_owned).collect();
                let word = random.usize(..words.len());
                words[word] = ["", "0", "65536", "é", "\u{0}", ";;", ",,~", "=", ":"][random.usize(..9)].to_owned();
                lines[at] = words.join(" ");
            }
            7 => lines[at] = lines[at].repeat(random.usize(2..20)),
            _ => lines[at] = lines[at].replacen(':', ["", "::", " :"][random.usize(..3)], 1),
        }
        if lines.is_empty() {
            lines.push(String::new());
        }
    }
    lines.join("\r\n")
}

fn change_byte(random: &mut fastrand::Rng, bytes: &mut [u8]) {
    if !bytes.is_empty() {
        bytes[random.usize(..bytes.len())] = random.u8(..);
    }
}

/// An offer with everything that this crate negotiates.
fn full_offer(random: &mut fastrand::Rng) -> (Pair, String) {
    let mut pair = Pair::new(random.u64(..), Link::fast());
    let client = pair.connection(CLIENT);
    client.open_channel(ChannelConfig::new("_reliable"));
    client.add_sender(MediaKind::Audio, Msid::new("s", "a"), &[]);
    client.add_sender(MediaKind::Video, Msid::new("s", "v"), &["q", "h", "f"].map(|rid| rid.parse().unwrap()));
    client.add_receiver(MediaKind::Video);
    let now = pair.now;
    let offer = pair.connection(CLIENT).create_offer(now).unwrap().unwrap();
    (pair, offer)
}

#[test]
fn a_changed_description_is_taken_or_refused() {
    let mut random = fastrand::Rng::with_seed(20);
    let (mut pair, offer) = full_offer(&mut random);
    let now = pair.now;
    let answer = pair.connection(SERVER).accept_offer(&offer, now).unwrap();
    for round in 0..rounds() {
        let mut random = fastrand::Rng::with_seed(round);
        let changed = mutate(&mut random, &offer);
        let mut server = PeerConnection::new(&Config::new().with_ice_lite(true), now);
        if server.accept_offer(&changed, now).is_ok() {
            // What it took, it can be told again, and then in its right form.
            let _ = server.accept_offer(&mutate(&mut random, &changed), now);
            let _ = server.accept_offer(&offer, now);
        }
        server.handle_timeout(now + Duration::from_secs(1));
        let _ = server.poll();

        let (mut pair, _) = full_offer(&mut random);
        let _ = pair.connection(CLIENT).accept_answer(&mutate(&mut random, &answer), now);
        pair.run_for(Duration::from_millis(100));
    }
}

#[test]
fn a_changed_candidate_is_taken_or_refused() {
    let candidate = "candidate:842163049 1 udp 1677729535 203.0.113.9 61764 typ srflx raddr 10.0.0.2 rport 61764 \
        generation 0 ufrag 4ZcD network-cost 999";
    let mut connection = PeerConnection::new(&Config::new(), epoch());
    for round in 0..rounds() * 50 {
        let mut random = fastrand::Rng::with_seed(round);
        let changed = mutate(&mut random, candidate);
        if let Ok(candidate) = changed.parse::<Candidate>() {
            connection.add_remote_candidate(candidate);
        }
        let json = format!(r#"{{"candidate":"{changed}","sdpMid":"0","sdpMLineIndex":0}}"#);
        let _ = Candidate::from_trickle_json(&mutate(&mut random, &json));
    }
}

#[test]
fn changed_datagrams_are_ignored_and_the_connection_goes_on() {
    let mut pair = Pair::with_channels(21, Link::fast());
    let sender = pair.connection(CLIENT).add_sender(MediaKind::Video, Msid::new("s", "t"), &[]);
    pair.negotiate(CLIENT);
    pair.run_for(Duration::from_millis(100));
    crate::media::send_video(&mut pair, CLIENT, sender, 0..20);
    let genuine = pair.sides[CLIENT].datagrams.clone();
    let (source, destination) = (pair.sides[CLIENT].address, pair.sides[SERVER].address);
    let mut random = fastrand::Rng::with_seed(22);
    let before = pair.connection(SERVER).ignored_datagrams();
    for _ in 0..rounds() * 50 {
        let mut datagram = genuine[random.usize(..genuine.len())].clone();
        match random.u8(..4) {
            0 => datagram.truncate(random.usize(..=datagram.len())),
            1 => datagram = (0..random.usize(..1500)).map(|_| random.u8(..)).collect(),
            2 => datagram.extend((0..random.usize(..400)).map(|_| random.u8(..))),
            _ => {}
        }
        for _ in 0..random.usize(1..6) {
            change_byte(&mut random, &mut datagram);
        }
        // A stranger can't break integrity; that it may close DTLS with a forged alert is DTLS 1.2 before encryption only.
        let now = pair.now;
        pair.connection(SERVER).handle_datagram(now, source, destination, &datagram);
    }
    assert!(pair.connection(SERVER).ignored_datagrams() > before);
    assert!(pair.both_connected());
    let (from, to) = (pair.open_channel(CLIENT, "_reliable").unwrap(), pair.open_channel(SERVER, "_reliable").unwrap());
    let now = pair.now;
    pair.connection(CLIENT).send_data(from, true, b"after all that".to_vec(), now).unwrap();
    assert!(pair.run_until(Duration::from_secs(30), |pair| !pair.messages(SERVER, to).is_empty()));
}

#[test]
fn changed_datagrams_of_a_handshake_never_panic() {
    let mut pair = Pair::with_channels(23, Link::fast());
    let mut genuine = std::mem::take(&mut pair.sides[CLIENT].datagrams);
    genuine.retain(|datagram| (20..64).contains(&datagram[0]));
    for round in 0..rounds() / 4 {
        let mut random = fastrand::Rng::with_seed(round);
        let mut pair = Pair::new(round, Link::fast());
        pair.connection(CLIENT).open_channel(ChannelConfig::new("_reliable"));
        pair.negotiate(CLIENT);
        let (source, destination) = (pair.sides[CLIENT].address, pair.sides[SERVER].address);
        for _ in 0..40 {
            let mut datagram = genuine[random.usize(..genuine.len())].clone();
            let at = random.usize(..datagram.len());
            datagram[at] = random.u8(..);
            datagram.truncate(random.usize(1..=datagram.len()));
            let now = pair.now;
            pair.connection(SERVER).handle_datagram(now, source, destination, &datagram);
            pair.run_for(Duration::from_millis(1));
        }
    }
}
