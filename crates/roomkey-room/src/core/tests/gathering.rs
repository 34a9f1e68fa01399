//! Gathering alone, with servers and peers that mean no good.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fastrand::Rng;
use roomkey_rtc::{Candidate, TcpType, Transmit};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

use super::turn_server::{CREDENTIAL, Caller, TurnServer, Turned, USERNAME};
use crate::core::gathering::{Errand, Gathered, Gathering, Resolved, StreamId};
use crate::ice_server::{Allowed, IceServer, IceTransportPolicy};

const LOCAL: &str = "10.0.0.1:40000";
const TURN: &str = "10.0.254.1:3478";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn gathering(policy: IceTransportPolicy, urls: &[&str]) -> (Gathering, Instant) {
    let now = crate::clock::now();
    let mut gathering = Gathering::new(Allowed::by(policy), false, now);
    gathering.set_addresses(&[address(LOCAL)], now);
    gathering.set_servers(&[IceServer::new(urls.iter().copied()).with_credential(USERNAME, CREDENTIAL)]);
    gathering.restart(now);
    (gathering, now)
}

fn all(gathering: &mut Gathering) -> Vec<Gathered> {
    std::iter::from_fn(|| gathering.poll()).collect()
}

fn connects(gathered: &[Gathered]) -> Vec<StreamId> {
    let connect = |gathered: &Gathered| {
        if let Gathered::Errand(Errand::Connect { stream, .. }) = gathered { Some(*stream) } else { None }
    };
    gathered.iter().filter_map(connect).collect()
}

fn passive(number: u8) -> Candidate {
    Candidate::host_tcp(SocketAddr::from(([192, 0, 2, number], 7_881)), TcpType::Passive).unwrap()
}

#[test]
fn of_hundreds_of_candidates_a_few_are_connected_to() {
    let (mut gathering, now) = gathering(IceTransportPolicy::All, &[]);
    for round in 1..6 {
        for number in 1..=255 {
            gathering.add_remote_candidate(&passive(number), now);
            gathering.add_remote_candidate(&passive(number), now);
        }
        let count = connects(&all(&mut gathering)).len();
        assert_eq!(count, if round < 5 { 4 } else { 0 }, "{round}");
        gathering.restart(now);
    }
    gathering.handle_timeout(now + Duration::from_secs(9));
    let given_up = all(&mut gathering);
    assert_eq!(given_up.iter().filter(|one| matches!(one, Gathered::Errand(Errand::Disconnect { .. }))).count(), 16);
}

#[test]
fn a_server_elsewhere_does_not_make_a_client_connect_to_its_own_machine_or_to_nobody() {
    let (mut gathering, now) = gathering(IceTransportPolicy::All, &[]);
    for text in ["127.0.0.1:22", "[::1]:22", "224.0.0.1:1", "[ff02::1]:1"] {
        if let Ok(candidate) = Candidate::host_tcp(address(text), TcpType::Passive) {
            gathering.add_remote_candidate(&candidate, now);
        }
    }
    for tcp_type in [TcpType::Active, TcpType::SimultaneousOpen] {
        let candidate = Candidate::host_tcp(address("192.0.2.1:9"), tcp_type).unwrap();
        gathering.add_remote_candidate(&candidate, now);
    }
    assert!(connects(&all(&mut gathering)).is_empty());
}

#[test]
fn a_peer_on_tcp_that_sends_a_byte_at_a_time_or_silly_lengths_is_understood_or_harmless() {
    let (mut gathering, now) = gathering(IceTransportPolicy::All, &[]);
    gathering.add_remote_candidate(&passive(1), now);
    let stream = connects(&all(&mut gathering))[0];
    gathering.handle_opened(stream, address(LOCAL), passive(1).address(), now);
    all(&mut gathering);
    let mut frames = Vec::new();
    for length in [1, 2, 1_200, 65_535] {
        assert!(roomkey_rtc::framing::write(&vec![200; length], &mut frames));
        frames.extend([0, 0]);
    }
    let mut received = Vec::new();
    for byte in frames {
        gathering.handle_bytes(stream, &[byte], now);
        for gathered in all(&mut gathering) {
            let Gathered::Received { packet, source, .. } = gathered else { panic!("{gathered:?}") };
            assert_eq!(source, passive(1).address());
            received.push(packet.len());
        }
    }
    assert_eq!(received, [1, 2, 1_200, 65_535]);
    // The other end is gone in the middle of a frame.
    gathering.handle_bytes(stream, &[255, 255, 1], now);
    gathering.handle_closed(stream, now);
    assert!(matches!(all(&mut gathering)[..], [Gathered::Remove(_)]));
    // It is connected to again a few times.
    let mut count = 0;
    while let Some(next) = gathering.timeout() {
        gathering.handle_timeout(next);
        for stream in connects(&all(&mut gathering)) {
            count += 1;
            gathering.handle_closed(stream, next);
        }
    }
    assert_eq!(count, 3);
}

/// A TURN server, and a client that has it alone.
struct Relayed {
    gathering: Gathering,
    turn: TurnServer,
    now: Instant,
    stream: Option<StreamId>,
    added: Vec<Candidate>,
    received: Vec<Vec<u8>>,
    sent: usize,
}

impl Relayed {
    fn new(is_udp: bool) -> Self {
        let url = if is_udp { "turn:10.0.254.1" } else { "turn:10.0.254.1?transport=tcp" };
        let (mut gathering, now) = gathering(IceTransportPolicy::Relay, &[url]);
        let peer = Candidate::host_udp(address("192.0.2.1:7882")).unwrap();
        gathering.add_remote_candidate(&peer, now);
        let turn = TurnServer::new(address(TURN));
        Self { gathering, turn, now, stream: None, added: Vec::new(), received: Vec::new(), sent: 0 }
    }

    /// Lets time pass, and what the server says be `change`d.
    fn run(&mut self, for_time: Duration, mut change: impl FnMut(&mut Vec<u8>)) {
        let end = self.now + for_time;
        while let Some(next) = self.gathering.timeout().filter(|at| *at <= end) {
            self.now = self.now.max(next);
            self.gathering.handle_timeout(self.now);
            self.settle(&mut change);
        }
        self.now = end;
    }

    fn settle(&mut self, change: &mut impl FnMut(&mut Vec<u8>)) {
        let mut todo: VecDeque<_> = all(&mut self.gathering).into();
        while let Some(gathered) = todo.pop_front() {
            self.sent += 1;
            let message = match gathered {
                Gathered::Errand(Errand::Resolve { lookup, .. }) => {
                    let found = Resolved { address: address(TURN).ip(), local: None };
                    self.gathering.handle_resolved(lookup, &[found], self.now);
                    None
                }
                Gathered::Errand(Errand::Connect { stream, .. }) => {
                    self.stream = Some(stream);
                    self.gathering.handle_opened(stream, address(LOCAL), address(TURN), self.now);
                    None
                }
                Gathered::Errand(Errand::Write { bytes, .. }) => Some((bytes, Caller::Tcp(1, address(LOCAL)))),
                Gathered::Transmit(Transmit { payload, .. }) => Some((payload, Caller::Udp(address(LOCAL)))),
                Gathered::Add(candidate) => {
                    self.added.push(candidate);
                    None
                }
                Gathered::Received { packet, .. } => {
                    self.received.push(packet);
                    None
                }
                Gathered::Tell(_)
                | Gathered::Lost
                | Gathered::Remove(_)
                | Gathered::Errand(Errand::Disconnect { .. }) => None,
            };
            if let Some((message, from)) = message
                && let Some(Turned::Reply(mut reply)) = self.turn.handle(&message, from)
            {
                change(&mut reply);
                self.say(&reply);
            }
            todo.extend(all(&mut self.gathering));
        }
    }

    fn say(&mut self, bytes: &[u8]) {
        match self.stream {
            Some(stream) => self.gathering.handle_bytes(stream, bytes, self.now),
            None => {
                self.gathering.handle_datagram(address(TURN), address(LOCAL), bytes, self.now);
            }
        }
    }
}

#[test]
fn answers_of_a_turn_server_that_are_spoiled_have_no_effect_but_the_attempt_s_end() {
    for is_udp in [true, false] {
        let mut worked = 0;
        for seed in 0..150 {
            let mut rng = Rng::with_seed(seed);
            let mut relayed = Relayed::new(is_udp);
            relayed.run(Duration::from_secs(30), |reply| {
                if rng.f64() < 0.5 {
                    super::world::mutate(reply, &mut rng);
                }
            });
            worked += usize::from(!relayed.added.is_empty());
            assert!(relayed.sent < 200, "{seed} {}", relayed.sent);
            for candidate in &relayed.added {
                assert_eq!(candidate.address().ip(), address(TURN).ip());
            }
            // And whatever comes later.
            for _ in 0..50 {
                let length = rng.usize(1..200);
                let noise: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(length).collect();
                relayed.say(&noise);
                relayed.settle(&mut |_| ());
            }
            assert!(relayed.received.is_empty());
        }
        assert!(worked > 10, "{worked}");
    }
}

#[test]
fn a_server_that_always_wants_another_nonce_is_given_up() {
    let mut relayed = Relayed::new(true);
    let end = relayed.now + Duration::from_secs(30);
    let mut nonce = 0;
    while let Some(next) = relayed.gathering.timeout().filter(|at| *at <= end) {
        relayed.now = relayed.now.max(next);
        nonce += 1;
        relayed.turn.nonce = nonce;
        relayed.gathering.handle_timeout(relayed.now);
        relayed.settle(&mut |_| ());
    }
    assert!(relayed.added.is_empty() && relayed.sent < 200, "{}", relayed.sent);
}

#[test]
fn what_peers_say_through_a_relay_comes_from_them_and_to_the_address_that_is_lent() {
    for is_udp in [true, false] {
        let mut relayed = Relayed::new(is_udp);
        relayed.run(Duration::from_secs(2), |_| ());
        let lent = relayed.added[0].address();
        let peer = address("192.0.2.1:7882");
        for length in [1, 2, 3, 4, 1_200] {
            let (_, bytes) = relayed.turn.relay(lent, peer, &vec![200; length]).unwrap();
            // In pieces, where there is a stream.
            let pieces = if is_udp { bytes.len() } else { 3 };
            for piece in bytes.chunks(pieces) {
                relayed.say(piece);
            }
            relayed.settle(&mut |_| ());
        }
        let lengths: Vec<_> = relayed.received.iter().map(Vec::len).collect();
        assert_eq!(lengths, [1, 2, 3, 4, 1_200]);
    }
}

#[test]
fn names_that_resolve_to_nothing_or_to_hundreds_of_addresses_are_bounded() {
    let urls = ["stun:a.example.org", "stun:b.example.org", "stun:c.example.org", "stun:d.example.org"];
    let (mut gathering, now) = gathering(IceTransportPolicy::All, &urls);
    let later = now + Duration::from_secs(1);
    gathering.handle_timeout(later);
    let lookups: Vec<_> =
        all(&mut gathering)
            .into_iter()
            .filter_map(|gathered| {
                if let Gathered::Errand(Errand::Resolve { lookup, .. }) = gathered { Some(lookup) } else { None }
            })
            .collect();
    assert_eq!(lookups.len(), 3, "more of them say the same");
    gathering.handle_resolved(lookups[0], &[], later);
    let many: Vec<_> = (0..=255).map(|number| Resolved { address: [192, 0, 2, number].into(), local: None }).collect();
    gathering.handle_resolved(lookups[1], &many, later);
    gathering.handle_resolved(lookups[1], &many, later);
    gathering.handle_resolved(99, &many, later);
    assert_eq!(all(&mut gathering).len(), 1);
    let mut sent = 1;
    while let Some(next) = gathering.timeout() {
        gathering.handle_timeout(next);
        sent += all(&mut gathering).len();
    }
    assert_eq!(sent, 5, "a server that does not answer is left alone after a while");
}

#[test]
fn a_server_s_hundred_urls_are_cut_down_and_what_can_t_be_used_is_passed_over() {
    let many: Vec<_> = (0..100).map(|number| format!("turn:10.0.253.{number}?transport=tcp")).collect();
    let mut urls: Vec<&str> = vec!["http://a", "turns:a?transport=udp", "", "stuns:a", "turn:[::1"];
    urls.extend(many.iter().map(String::as_str));
    let (mut gathering, now) = gathering(IceTransportPolicy::Relay, &urls);
    gathering.handle_timeout(now);
    assert_eq!(connects(&all(&mut gathering)).len(), 6);
}

#[test]
fn no_credential_is_in_debug() {
    for is_udp in [true, false] {
        let mut relayed = Relayed::new(is_udp);
        relayed.run(Duration::from_secs(2), |_| ());
        assert!(!relayed.added.is_empty());
        let shown = format!("{:?}", relayed.gathering);
        assert!(shown.contains("10.0.254.1") && !shown.contains(CREDENTIAL) && !shown.contains(USERNAME), "{shown}");
    }
}

/// Keeps all that is logged, at every level, as text.
#[derive(Default)]
struct Log(Arc<Mutex<String>>);

impl Visit for &Log {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.lock().unwrap().push_str(&format!("{field}={value:?}\n"));
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        span.record(&mut &*self);
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut &*self);
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut &*self);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[test]
fn no_credential_is_logged_by_us_or_by_what_speaks_turn() {
    let log = Log::default();
    let text = Arc::clone(&log.0);
    tracing::subscriber::with_default(log, || {
        for is_udp in [true, false] {
            let mut relayed = Relayed::new(is_udp);
            relayed.run(Duration::from_secs(1_000), |_| ());
            assert!(!relayed.added.is_empty());
            relayed.gathering.close();
            relayed.settle(&mut |_| ());
            // And where it is refused.
            let mut refused = Relayed::new(is_udp);
            let another = IceServer::new(["turn:10.0.254.1"]).with_credential(USERNAME, format!("not {CREDENTIAL}"));
            refused.gathering.set_servers(&[another]);
            refused.run(Duration::from_secs(20), |_| ());
            assert!(refused.added.is_empty());
        }
    });
    let text = text.lock().unwrap();
    assert!(text.contains("10.0.254.1"), "nothing is logged");
    assert!(!text.contains(CREDENTIAL), "{}", text.lines().find(|line| line.contains(CREDENTIAL)).unwrap());
}
