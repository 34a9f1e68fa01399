use std::time::Duration;

use super::*;
use crate::data_stream::incoming::{IncomingStreams, Origin};
use crate::data_stream::limits::StreamLimits;

/// Client protocols of the two: RPC in packets, in streams, in streams of one packet.
const PROTOCOLS: [i32; 3] = [0, 1, 2];

#[test]
fn a_method_is_called_and_answers() {
    for protocol in PROTOCOLS {
        let mut pair = Pair::new(protocol);
        pair.agent.rpc.register("greet");
        let call = pair.call(&RpcRequest::new("agent", "greet", "Anna"));
        pair.exchange();
        let (id, invocation) = pair.agent.invoked.pop().unwrap();
        assert_eq!(invocation.caller_identity, "client");
        assert_eq!((invocation.method.as_str(), invocation.payload.as_str()), ("greet", "Anna"));
        assert_eq!(invocation.request_id, call);
        assert_eq!(invocation.response_timeout, Duration::from_secs(8), "15 s less a slow round trip");
        pair.respond(id, Ok("hello Anna".to_owned()));
        pair.exchange();
        assert_eq!(pair.client.finished, [(call, Ok("hello Anna".to_owned()))]);
        assert_eq!((pair.client.rpc.poll_timeout(), pair.agent.rpc.poll_timeout()), (None, None));
    }
}

#[test]
fn requests_and_answers_have_the_form_that_the_other_knows() {
    #[expect(clippy::wildcard_enum_match_arm, reason = "no others are sent")]
    let kind = |value: &Value| match value {
        Value::RpcRequest(_) => "request",
        Value::RpcAck(_) => "ack",
        Value::RpcResponse(_) => "response",
        Value::StreamHeader(header) if header.topic == "lk.rpc_request" => "request header",
        Value::StreamHeader(header) if header.topic == "lk.rpc_response" => "response header",
        Value::StreamChunk(_) => "chunk",
        Value::StreamTrailer(_) => "trailer",
        other => panic!("{other:?}"),
    };
    for (protocol, expected) in [
        (0, &["request", "ack", "response"][..]),
        (1, &["request header", "chunk", "trailer", "ack", "response header", "chunk", "trailer"]),
        (2, &["request header", "ack", "response header"]),
    ] {
        let mut pair = Pair::new(protocol);
        pair.agent.rpc.register("m");
        pair.call(&RpcRequest::new("agent", "m", "p"));
        pair.exchange();
        let (id, _) = pair.agent.invoked.pop().unwrap();
        pair.respond(id, Ok("r".to_owned()));
        pair.exchange();
        let kinds: Vec<_> = pair.sent.iter().filter_map(|packet| packet.value.as_ref()).map(kind).collect();
        assert_eq!(kinds, expected);
        let one_each = |packet: &DataPacket| packet.destination_identities.len() == 1;
        assert!(pair.sent.iter().all(one_each), "nothing is for the whole room");
        if let Some(Value::StreamHeader(header)) = &pair.sent[0].value {
            let keys = ["id", "method", "response_timeout_ms", "version"].map(|key| format!("lk.rpc_request_{key}"));
            let values = keys.map(|key| header.attributes[&key].clone());
            assert_eq!(values[1..], ["m", "8000", "2"]);
        }
    }
}

#[test]
fn the_acknowledgement_does_not_wait_for_the_payload() {
    let mut pair = Pair::new(1);
    pair.agent.rpc.register("m");
    pair.call(&RpcRequest::new("agent", "m", "p"));
    let mut packets = pair.client.outgoing();
    let header = packets.remove(0);
    pair.agent.receive(pair.now, "client", header);
    let answer = pair.agent.outgoing();
    assert!(matches!(answer[..], [DataPacket { value: Some(Value::RpcAck(_)), .. }]));
    assert!(pair.agent.invoked.is_empty());
}

#[test]
fn a_method_that_is_not_there_is_an_error() {
    for protocol in PROTOCOLS {
        let mut pair = Pair::new(protocol);
        pair.agent.rpc.register("other");
        pair.agent.rpc.register("gone");
        pair.agent.rpc.unregister("gone");
        for method in ["greet", "gone"] {
            let call = pair.call(&RpcRequest::new("agent", method, "x".repeat(9_000)));
            pair.exchange();
            let error = RpcError::new(1400, "Method not supported at destination");
            assert_eq!(pair.client.finished, [(call, Err(error))]);
            pair.client.finished.clear();
        }
    }
}

#[test]
fn an_error_of_the_method_arrives_as_it_was_sent() {
    for protocol in PROTOCOLS {
        let mut pair = Pair::new(protocol);
        let (call, id) = pair.invoked("m");
        let error = RpcError::new(42, "no").with_data("{}");
        pair.respond(id, Err(error.clone()));
        pair.exchange();
        assert_eq!(pair.client.finished, [(call, Err(error))]);
        assert!(matches!(pair.sent.last().unwrap().value, Some(Value::RpcResponse(_))), "errors are packets");
    }
}

#[test]
fn what_is_too_large_for_packets_goes_through_streams() {
    let large = "x".repeat(20_000);
    let mut pair = Pair::new(0);
    pair.agent.rpc.register("m");
    let agent = pair.agent.participant.clone();
    let request = RpcRequest::new("agent", "m", large.clone());
    let error = pair.client.rpc.call(pair.now, at(), &request, Some(&agent), None).unwrap_err();
    assert_eq!(error, RpcError::new(1402, "Request payload too large"));
    let (call, id) = pair.invoked("m");
    pair.respond(id, Ok(large.clone()));
    pair.exchange();
    let error = RpcError::new(1504, "Response payload too large");
    assert_eq!(pair.client.finished, [(call, Err(error))]);

    for protocol in [1, 2] {
        let mut pair = Pair::new(protocol);
        pair.agent.rpc.register("m");
        let call = pair.call(&request);
        pair.exchange();
        let (id, invocation) = pair.agent.invoked.pop().unwrap();
        assert_eq!(invocation.payload, large);
        pair.respond(id, Ok(large.clone()));
        pair.exchange();
        assert_eq!(pair.client.finished, [(call, Ok(large.clone()))]);
    }
}

#[test]
fn nothing_is_sent_to_who_is_not_there_or_over_an_old_server() {
    let mut pair = Pair::new(2);
    let agent = pair.agent.participant.clone();
    let request = RpcRequest::new("agent", "m", "p");
    let mut code = |recipient, version| {
        pair.client.rpc.call(pair.now, at(), &request, recipient, version).err().map(|error| error.code)
    };
    assert_eq!(code(None, None), Some(1401));
    for (version, expected) in [
        ("1.7.9", Some(1403)),
        ("0.15.0", Some(1403)),
        ("1.8.0", None),
        ("1.13.5-dev+1", None),
        ("2.0", None),
        ("unknown", None),
    ] {
        assert_eq!(code(Some(&agent), Some(version)), expected, "{version}");
    }
    let long = RpcRequest::new("agent", "m".repeat(16_000), "");
    assert_eq!(pair.client.rpc.call(pair.now, at(), &long, Some(&agent), None).unwrap_err().code, 1505);
}

#[test]
fn a_request_without_acknowledgement_ends_after_seven_seconds() {
    for protocol in PROTOCOLS {
        let mut pair = Pair::new(protocol);
        let call = pair.call(&RpcRequest::new("agent", "m", "p"));
        let start = pair.now;
        assert_eq!(pair.client.rpc.poll_timeout(), Some(start + Duration::from_secs(7)));
        pair.at(start + Duration::from_millis(6_999));
        assert!(pair.client.finished.is_empty());
        pair.at(start + Duration::from_secs(7));
        assert_eq!(pair.client.finished, [(call, Err(RpcError::new(1501, "Connection timeout")))]);
        assert_eq!(pair.client.rpc.poll_timeout(), None);
    }
}

#[test]
fn an_answer_that_does_not_come_ends_the_call_after_its_time() {
    for protocol in PROTOCOLS {
        let mut pair = Pair::new(protocol);
        let start = pair.now;
        let (call, id) = pair.invoked("m");
        pair.at(start + Duration::from_millis(14_999));
        assert!(pair.client.finished.is_empty());
        pair.at(start + Duration::from_secs(15));
        assert_eq!(pair.client.finished, [(call, Err(RpcError::new(1502, "Response timeout")))]);
        let sent = pair.sent.len();
        pair.respond(id, Ok("late".to_owned()));
        pair.exchange();
        assert_eq!((pair.client.finished.len(), pair.sent.len()), (1, sent), "nobody waits for it");
    }
}

#[test]
fn who_leaves_may_have_answered_before() {
    for protocol in PROTOCOLS {
        for answers in [true, false] {
            let mut pair = Pair::new(protocol);
            let (call, id) = pair.invoked("m");
            pair.respond(id, Ok("bye".to_owned()));
            let start = pair.now;
            pair.client.rpc.participant_left(start, &"agent".into(), false);
            assert_eq!(pair.client.rpc.poll_timeout(), Some(start + Duration::from_secs(2)));
            let result = if answers {
                pair.at(start + Duration::from_millis(1_999));
                pair.exchange();
                Ok("bye".to_owned())
            } else {
                pair.at(start + Duration::from_secs(2));
                Err(RpcError::new(1503, "Recipient disconnected"))
            };
            assert_eq!(pair.client.finished, [(call, result)]);
        }
    }
}

#[test]
fn an_answer_that_breaks_off_ends_the_call_at_once() {
    let mut pair = Pair::new(1);
    let (call, id) = pair.invoked("m");
    pair.respond(id, Ok("an answer".to_owned()));
    let header = pair.agent.outgoing().remove(0);
    pair.client.receive(pair.now, "agent", header);
    pair.client.streams.participant_left(&"agent".into(), &"PA_agent".into());
    pair.client.drain(pair.now);
    assert_eq!(pair.client.finished, [(call, Err(RpcError::new(1503, "Recipient disconnected")))]);
}

#[test]
fn a_lost_room_ends_all_calls() {
    let mut pair = Pair::new(2);
    pair.agent.rpc.register("m");
    let (call, id) = pair.invoked("m");
    pair.client.rpc.disconnected();
    pair.client.outgoing();
    assert_eq!(pair.client.finished, [(call, Err(RpcError::of(1503)))]);
    pair.agent.rpc.disconnected();
    pair.respond(id, Ok("to nobody".to_owned()));
    assert!(pair.agent.outgoing().is_empty());
    assert_eq!((pair.client.rpc.poll_timeout(), pair.agent.rpc.poll_timeout()), (None, None));
}

#[test]
fn a_cancelled_call_is_forgotten() {
    let mut pair = Pair::new(2);
    let (call, id) = pair.invoked("m");
    pair.client.rpc.cancel(&call);
    pair.respond(id, Ok("unwanted".to_owned()));
    pair.exchange();
    assert!(pair.client.finished.is_empty());
    assert_eq!(pair.client.rpc.poll_timeout(), None);
}

#[test]
fn nobody_answers_for_another() {
    for protocol in PROTOCOLS {
        let mut pair = Pair::new(protocol);
        let (call, id) = pair.invoked("m");
        pair.respond(id, Ok("forged".to_owned()));
        for packet in pair.agent.outgoing() {
            pair.client.receive(pair.now, "other", packet);
        }
        assert!(pair.client.finished.is_empty());
        pair.at(pair.now + Duration::from_secs(15));
        assert_eq!(pair.client.finished, [(call, Err(RpcError::of(1502)))]);
    }
}

#[test]
fn a_request_that_comes_twice_is_done_once() {
    for protocol in PROTOCOLS {
        let mut pair = Pair::new(protocol);
        pair.agent.rpc.register("m");
        pair.call(&RpcRequest::new("agent", "m", "p"));
        let request = pair.client.outgoing();
        for _ in 0..2 {
            for packet in request.clone() {
                pair.agent.receive(pair.now, "client", packet);
            }
        }
        assert_eq!((pair.agent.invoked.len(), pair.agent.outgoing().len()), (1, 1));
        for packet in request {
            pair.agent.receive(pair.now, "other", packet);
        }
        assert_eq!(pair.agent.invoked.len(), 2, "another's request with the same id is another one");
    }
}

#[test]
fn requests_of_an_unknown_version_are_refused() {
    let mut pair = Pair::new(2);
    pair.agent.rpc.register("m");
    let request = proto::RpcRequest { id: "r".into(), method: "m".into(), version: 2, ..Default::default() };
    pair.agent.receive(pair.now, "client", packet::packet_to(&[], Value::RpcRequest(request)));
    let call = pair.call(&RpcRequest::new("agent", "m", "p"));
    let mut packets = pair.client.outgoing();
    let Some(Value::StreamHeader(header)) = &mut packets[0].value else { panic!() };
    header.attributes.insert("lk.rpc_request_version".into(), "3".into());
    pair.agent.receive(pair.now, "client", packets.remove(0));
    let codes: Vec<_> = pair.agent.outgoing().into_iter().filter_map(|packet| error_of(&packet)).collect();
    assert_eq!(codes, [("r".to_owned(), 1404), (call, 1404)]);
    assert!(pair.agent.invoked.is_empty());
}

#[test]
fn only_so_many_invocations_wait() {
    let mut pair = Pair::new(2);
    pair.agent.rpc.register("m");
    for n in 0..400 {
        let caller = format!("caller {}", n / 100);
        let request = proto::RpcRequest { id: n.to_string(), method: "m".into(), version: 1, ..Default::default() };
        pair.agent.receive(pair.now, &caller, packet::packet_to(&[], Value::RpcRequest(request)));
    }
    assert_eq!(pair.agent.invoked.len(), 256, "64 of each of four callers");
    let refused = pair.agent.outgoing().iter().filter_map(error_of).filter(|(_, code)| *code == 1500).count();
    assert_eq!(refused, 400 - 256);
    pair.agent.rpc.participant_left(pair.now, &"caller 0".into(), false);
    let request = proto::RpcRequest { id: "r".into(), method: "m".into(), version: 1, ..Default::default() };
    pair.agent.receive(pair.now, "caller 4", packet::packet_to(&[], Value::RpcRequest(request)));
    assert_eq!(pair.agent.invoked.len(), 257);
    let last = pair.agent.rpc.poll_timeout().unwrap();
    pair.agent.rpc.handle_timeout(last);
    assert_eq!(pair.agent.rpc.poll_timeout(), None, "all said the same time");
}

#[test]
fn a_caller_that_is_back_at_once_still_gets_its_answer() {
    let mut pair = Pair::new(1);
    pair.agent.rpc.register("m");
    let call = pair.call(&RpcRequest::new("agent", "m", "x"));
    pair.exchange();
    let (id, _) = pair.agent.invoked.pop().unwrap();
    pair.agent.rpc.participant_left(pair.now, &"client".into(), true);
    pair.agent.rpc.respond(id, Ok("y".into()), Some(&pair.client.participant), at());
    pair.exchange();
    assert_eq!(pair.client.finished, [(call, Ok("y".to_owned()))]);
}

#[test]
fn what_strangers_make_us_say_is_bounded_while_nothing_can_be_sent() {
    let mut pair = Pair::new(2);
    pair.agent.rpc.register("m");
    for n in 0..5_000 {
        let request = proto::RpcRequest { id: n.to_string(), method: "?".into(), version: 1, ..Default::default() };
        pair.agent.receive(pair.now, "stranger", packet::packet_to(&[], Value::RpcRequest(request)));
    }
    assert_eq!(pair.agent.outgoing().len(), WAITING_PACKETS);

    // Answers as large as they may be.
    let calls: Vec<_> = (0..5).map(|_| pair.call(&RpcRequest::new("agent", "m", "x".repeat(20_000)))).collect();
    pair.client.participant.reads_deflate = false;
    pair.exchange();
    for (id, _) in std::mem::take(&mut pair.agent.invoked) {
        pair.agent.rpc.respond(id, Ok("y".repeat(STREAM_PAYLOAD_BYTES)), Some(&pair.client.participant), at());
    }
    pair.exchange();
    let refused = pair.client.finished.iter().filter(|(_, result)| result.is_err()).count();
    assert_eq!((pair.client.finished.len(), refused), (calls.len(), 1));
    assert_eq!(pair.agent.rpc.answer_bytes, 0);
}

#[test]
fn a_request_that_is_too_large_is_refused() {
    let mut pair = Pair::new(1);
    pair.agent.rpc.register("m");
    let call = pair.call(&RpcRequest::new("agent", "m", "x".repeat(STREAM_PAYLOAD_BYTES + 1)));
    pair.exchange();
    assert_eq!(pair.client.finished, [(call, Err(RpcError::of(1402)))]);
    assert!(pair.agent.invoked.is_empty());
}

#[test]
fn a_caller_whose_requests_come_all_at_once_leaves_something_to_the_others() {
    let mut pair = Pair::new(1);
    pair.agent.rpc.register("m");
    // Without their ends, so that all of them are still coming.
    let mut is_taken = |from: &str| {
        pair.call(&RpcRequest::new("agent", "m", "x".repeat(15 * 1024 * 1024)));
        let (now, packets) = (pair.now, pair.client.outgoing());
        let is_end = |packet: &DataPacket| matches!(packet.value, Some(Value::StreamTrailer(_)));
        for packet in packets.into_iter().filter(|packet| !is_end(packet)) {
            pair.agent.receive(now, from, packet);
        }
        let answers = pair.agent.outgoing();
        !answers.iter().any(|packet| matches!(packet.value, Some(Value::RpcResponse(_))))
    };
    assert_eq!(["mallory", "mallory", "mallory", "bob"].map(&mut is_taken), [true, true, false, true]);
}

#[test]
fn other_streams_and_packets_are_given_back() {
    let mut pair = Pair::new(2);
    let user = Value::User(proto::UserPacket::default());
    assert_eq!(pair.client.rpc.handle_packet(pair.now, &"a".into(), user.clone()), Some(user));
    let options = crate::data_stream::options::TextStreamOptions::new("lk.chat");
    let mut rng = fastrand::Rng::with_seed(3);
    for packet in WholeStream::text("hello", &options, Readable::Chunked, at(), &mut rng).unwrap() {
        pair.client.receive(pair.now, "agent", packet);
    }
    assert_eq!(pair.client.others.len(), 3);
}

#[test]
fn no_packets_make_it_panic_or_grow() {
    for seed in 0..100 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut pair = Pair::new(rng.i32(..3));
        pair.agent.rpc.register("m");
        let mut calls = 0;
        for _ in 0..60 {
            if rng.bool() {
                pair.call(&RpcRequest::new("agent", ["m", "n"][rng.usize(..2)], noise(rng.usize(..40))));
                calls += 1;
            }
            while let Some((id, invocation)) = pair.agent.invoked.pop() {
                let response = if rng.bool() { Ok(invocation.payload) } else { Err(RpcError::new(7, "no")) };
                pair.respond(id, response);
            }
            let now = pair.now;
            for packet in pair.client.outgoing() {
                for _ in 0..rng.usize(..3) {
                    pair.agent.receive(now, ["client", "x"][rng.usize(..2)], mutated(&mut rng, packet.clone()));
                }
            }
            for packet in pair.agent.outgoing() {
                for _ in 0..rng.usize(..3) {
                    pair.client.receive(now, ["agent", "x"][rng.usize(..2)], mutated(&mut rng, packet.clone()));
                }
            }
            if rng.u8(..10) == 0 {
                pair.client.rpc.participant_left(now, &"agent".into(), false);
            }
            pair.at(now + Duration::from_millis(rng.u64(..3_000)));
            assert_eq!(pair.client.rpc.streams.len(), pair.client.rpc_streams_open());
        }
        pair.at(pair.now + Duration::from_secs(60));
        assert_eq!(pair.client.finished.len(), calls, "each call has one end");
        assert_eq!(pair.client.rpc.poll_timeout(), None);
    }
}

fn mutated(rng: &mut fastrand::Rng, packet: DataPacket) -> DataPacket {
    use prost::Message as _;
    if rng.u8(..4) != 0 {
        return packet;
    }
    let mut bytes = packet.encode_to_vec();
    let at = rng.usize(..bytes.len());
    bytes[at] = rng.u8(..);
    DataPacket::decode(bytes.as_slice()).unwrap_or(packet)
}

fn error_of(packet: &DataPacket) -> Option<(String, u32)> {
    let Some(Value::RpcResponse(response)) = packet.value.clone() else { return None };
    let Some(Answer::Error(error)) = response.value else { return None };
    Some((response.request_id, error.code))
}

/// Text that does not compress.
fn noise(bytes: usize) -> String {
    let mut rng = fastrand::Rng::with_seed(11);
    std::iter::repeat_with(|| rng.alphanumeric()).take(bytes).collect()
}

struct Pair {
    client: Peer,
    agent: Peer,
    now: Instant,
    /// All packets that were exchanged.
    sent: Vec<DataPacket>,
}

impl Pair {
    fn new(client_protocol: i32) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the beginning of virtual time")]
        let now = Instant::now();
        let peer = |identity, seed| Peer::new(identity, client_protocol, fastrand::Rng::with_seed(seed));
        Self { client: peer("client", 1), agent: peer("agent", 2), now, sent: Vec::new() }
    }

    fn call(&mut self, request: &RpcRequest) -> String {
        let recipient = Some(&self.agent.participant);
        self.client.rpc.call(self.now, at(), request, recipient, Some("1.13.5")).unwrap()
    }

    /// A call that the agent has got and not answered.
    fn invoked(&mut self, method: &str) -> (String, InvocationId) {
        self.agent.rpc.register(method);
        let call = self.call(&RpcRequest::new("agent", method, "payload"));
        self.exchange();
        (call, self.agent.invoked.pop().unwrap().0)
    }

    fn respond(&mut self, id: InvocationId, response: Result<String, RpcError>) {
        self.agent.rpc.respond(id, response, Some(&self.client.participant), at());
    }

    /// Delivers everything.
    fn exchange(&mut self) {
        loop {
            let (requests, answers) = (self.client.outgoing(), self.agent.outgoing());
            if requests.is_empty() && answers.is_empty() {
                return;
            }
            self.sent.extend(requests.iter().chain(&answers).cloned());
            requests.into_iter().for_each(|packet| self.agent.receive(self.now, "client", packet));
            answers.into_iter().for_each(|packet| self.client.receive(self.now, "agent", packet));
        }
    }

    fn at(&mut self, now: Instant) {
        self.now = now;
        self.client.rpc.handle_timeout(now);
        self.agent.rpc.handle_timeout(now);
        self.client.drain(now);
        self.agent.drain(now);
    }
}

struct Peer {
    participant: Participant,
    streams: IncomingStreams,
    rpc: RpcEndpoint,
    invoked: Vec<(InvocationId, RpcInvocation)>,
    finished: Vec<(String, Result<String, RpcError>)>,
    others: Vec<IncomingEvent>,
}

impl Peer {
    fn new(identity: &str, client_protocol: i32, rng: fastrand::Rng) -> Self {
        let mut participant = Participant::new(format!("PA_{identity}"), identity);
        participant.client_protocol = client_protocol;
        participant.reads_deflate = client_protocol >= 2;
        Self {
            participant,
            streams: IncomingStreams::new(StreamLimits::default()),
            rpc: RpcEndpoint::new(rng),
            invoked: Vec::new(),
            finished: Vec::new(),
            others: Vec::new(),
        }
    }

    fn receive(&mut self, now: Instant, from: &str, packet: DataPacket) {
        let origin = Origin { identity: from.into(), sid: format!("PA_{from}").into(), ..Origin::default() };
        let Some(value) = packet.value else { return };
        if let Some(value) = self.rpc.handle_packet(now, &origin.identity, value) {
            self.streams.handle_packet(now, &origin, value);
        }
        self.drain(now);
    }

    fn drain(&mut self, now: Instant) {
        while let Some(event) = self.streams.poll_event() {
            self.others.extend(self.rpc.handle_stream(now, event));
        }
        self.take_outputs();
    }

    fn outgoing(&mut self) -> Vec<DataPacket> {
        self.take_outputs();
        std::iter::from_fn(|| self.rpc.poll_packet()).collect()
    }

    fn take_outputs(&mut self) {
        while let Some(output) = self.rpc.poll_output() {
            match output {
                RpcOutput::Invoke { id, invocation } => self.invoked.push((id, invocation)),
                RpcOutput::Finished { call, result } => self.finished.push((call, result)),
            }
        }
    }

    /// How many of the streams that are open are not other streams.
    fn rpc_streams_open(&self) -> usize {
        let (mut opened, mut closed) = (0, 0);
        for event in &self.others {
            match event {
                IncomingEvent::Opened { .. } => opened += 1,
                IncomingEvent::Closed { .. } => closed += 1,
                IncomingEvent::Chunk { .. } | IncomingEvent::Refused { .. } => {}
            }
        }
        self.streams.open_streams() - (opened - closed)
    }
}

fn at() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_764_000_000)
}
