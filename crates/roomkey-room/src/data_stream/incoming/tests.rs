use std::time::Duration;

use super::*;
use crate::data_stream::packet::deflate;

#[test]
fn a_text_stream_is_opened_grows_and_is_closed() {
    let mut streams = Streams::new();
    let mut opening = header("s", Kind::Text, None);
    opening.attributes = attributes(&[("lk.segment_id", "SG_1")]);
    streams.agent_sends(Value::StreamHeader(opening));
    streams.agent_sends(chunk("s", 0, "hello "));
    streams.agent_sends(chunk("s", 1, "world"));
    streams.agent_sends(trailer("s", "", &[("lk.transcription_final", "true")]));
    let events = streams.events();
    let IncomingEvent::Opened { info: StreamInfo::Text(info), .. } = &events[0] else { panic!("{events:?}") };
    assert_eq!((info.id.as_str(), info.topic.as_str(), info.sender_identity.as_str()), ("s", "chat", "agent"));
    assert_eq!(info.timestamp, std::time::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123));
    assert_eq!(info.attributes, attributes(&[("lk.segment_id", "SG_1")]));
    assert_eq!(text_of(&events), "hello world");
    assert_eq!(outcome_of(&events), Ok(()));
    let Some(IncomingEvent::Closed { trailer_attributes, .. }) = events.last() else { panic!("{events:?}") };
    assert_eq!(*trailer_attributes, Some(attributes(&[("lk.transcription_final", "true")])));
    assert_eq!((events.len(), streams.core.open_streams(), streams.core.poll_timeout()), (4, 0, None));
}

#[test]
fn a_character_split_between_chunks_is_kept() {
    let text = "x😀€";
    for at in 1..text.len() {
        let mut streams = Streams::new();
        streams.open_text("s", Some(text.len() as u64));
        streams.agent_sends(chunk("s", 0, &text.as_bytes()[..at]));
        streams.agent_sends(chunk("s", 1, &text.as_bytes()[at..]));
        streams.agent_sends(trailer("s", "", &[]));
        let events = streams.events();
        assert_eq!(text_of(&events), text);
        assert_eq!(outcome_of(&events), Ok(()));
    }
}

#[test]
fn text_that_is_not_utf_8_ends_its_stream_alone() {
    let mut streams = Streams::new();
    streams.open_text("bad", None);
    streams.open_text("cut", None);
    streams.open_text("good", None);
    streams.agent_sends(chunk("bad", 0, b"ok\xff"));
    streams.agent_sends(chunk("bad", 1, "more"));
    streams.agent_sends(trailer("bad", "", &[]));
    let events = streams.events();
    assert_eq!((text_of(&events).as_str(), outcome_of(&events)), ("ok", Err(StreamError::InvalidUtf8)));
    streams.agent_sends(chunk("cut", 0, &"€".as_bytes()[..2]));
    streams.agent_sends(trailer("cut", "", &[]));
    assert_eq!(outcome_of(&streams.events()), Err(StreamError::InvalidUtf8));
    streams.agent_sends(chunk("good", 0, "fine"));
    streams.agent_sends(trailer("good", "", &[]));
    let events = streams.events();
    assert_eq!((text_of(&events).as_str(), outcome_of(&events)), ("fine", Ok(())));
}

#[test]
fn chunks_that_come_again_are_dropped_and_a_gap_is_an_error() {
    let mut streams = Streams::new();
    streams.open_text("s", None);
    streams.agent_sends(chunk("s", 0, "a"));
    streams.agent_sends(chunk("s", 0, "a"));
    streams.agent_sends(chunk("s", 1, "b"));
    let edit = proto::Chunk { stream_id: "s".into(), content: b"c".to_vec(), version: 1, ..Default::default() };
    streams.agent_sends(Value::StreamChunk(edit));
    assert_eq!(text_of(&streams.events()), "ab");
    streams.agent_sends(chunk("s", 3, "d"));
    let events = streams.events();
    assert_eq!(outcome_of(&events), Err(StreamError::MissedChunk { expected: 2, received: 3 }));
    assert_eq!(events.len(), 1);
}

#[test]
fn lengths_are_held_to_what_was_announced() {
    for (total, content, outcome) in [
        (3, "abc", Ok(())),
        (2, "abc", Err(StreamError::LengthExceeded { total_length: 2 })),
        (4, "abc", Err(StreamError::Incomplete { received: 3, total_length: Some(4) })),
        (0, "", Ok(())),
    ] {
        for is_compressed in [false, true] {
            for is_inline in [false, true] {
                let mut streams = Streams::new();
                let mut opening = header("s", Kind::Bytes, Some(total));
                let content = if is_compressed { deflate(content.as_bytes()) } else { content.as_bytes().to_vec() };
                opening.compression = i32::from(is_compressed);
                if is_inline {
                    opening.inline_content = Some(content);
                    streams.agent_sends(Value::StreamHeader(opening));
                } else {
                    streams.agent_sends(Value::StreamHeader(opening));
                    streams.agent_sends(chunk("s", 0, content));
                    streams.agent_sends(trailer("s", "", &[]));
                }
                assert_eq!(outcome_of(&streams.events()), outcome, "{is_compressed} {is_inline}");
                assert_eq!(streams.core.open_streams(), 0);
            }
        }
    }
}

#[test]
fn a_reason_in_the_trailer_is_an_abort() {
    let mut streams = Streams::new();
    streams.open_text("s", Some(100));
    streams.agent_sends(chunk("s", 0, "half a"));
    streams.agent_sends(trailer("s", "interrupted", &[("k", "v")]));
    let events = streams.events();
    assert_eq!(text_of(&events), "half a");
    assert_eq!(outcome_of(&events), Err(StreamError::Aborted { reason: "interrupted".into() }));
}

#[test]
fn a_stream_in_one_packet_is_opened_and_closed_at_once() {
    for is_compressed in [false, true] {
        let mut streams = Streams::new();
        let text = "no character is lost: 😀";
        let mut opening = header("s", Kind::Text, Some(text.len() as u64));
        opening.inline_content = Some(if is_compressed { deflate(text.as_bytes()) } else { text.into() });
        opening.compression = i32::from(is_compressed);
        streams.agent_sends(Value::StreamHeader(opening));
        let events = streams.events();
        assert_eq!((text_of(&events).as_str(), outcome_of(&events), events.len()), (text, Ok(()), 3));
        assert_eq!(streams.core.open_streams(), 0);
    }
}

#[test]
fn a_compressed_stream_goes_over_its_chunks_wherever_they_are_cut() {
    let text = "😀€ß".repeat(2_000);
    let compressed = deflate(text.as_bytes());
    for width in [1, 13, compressed.len()] {
        for total in [Some(text.len() as u64), None] {
            let mut streams = Streams::new();
            let opening = proto::Header { compression: 1, ..header("s", Kind::Text, total) };
            streams.agent_sends(Value::StreamHeader(opening));
            for (index, piece) in compressed.chunks(width).enumerate() {
                streams.agent_sends(chunk("s", index as u64, piece));
            }
            streams.agent_sends(trailer("s", "", &[]));
            let events = streams.events();
            assert_eq!(outcome_of(&events), Ok(()));
            assert!(text_of(&events) == text);
        }
    }
}

#[test]
fn bad_compression_and_bombs_end_their_stream_alone() {
    let mut streams = Streams::new();
    streams.open_text("other", None);
    for (content, error) in [
        (vec![0xff; 100], StreamError::InvalidDeflate),
        (deflate(&vec![b'a'; 4 << 20]), StreamError::DecompressionBomb),
        (deflate(b"cut off")[..5].to_vec(), StreamError::Incomplete { received: 2, total_length: None }),
    ] {
        let opening = proto::Header { compression: 1, ..header("s", Kind::Text, None) };
        streams.agent_sends(Value::StreamHeader(opening));
        streams.agent_sends(chunk("s", 0, content));
        streams.agent_sends(trailer("s", "", &[]));
        let outcome = outcome_of(&streams.events());
        match (&error, outcome) {
            (StreamError::Incomplete { .. }, Err(StreamError::Incomplete { .. })) => {}
            (error, outcome) => assert_eq!(outcome, Err(error.clone())),
        }
    }
    streams.agent_sends(chunk("other", 0, "alive"));
    assert_eq!(text_of(&streams.events()), "alive");
}

#[test]
fn headers_that_cannot_be_read_are_refused_with_a_reason() {
    let no_kind = proto::Header { content_header: None, ..header("a", Kind::Text, None) };
    let no_id = header("", Kind::Text, None);
    let unknown = proto::Header { compression: 7, ..header("b", Kind::Text, None) };
    #[expect(deprecated, reason = "older senders say it here")]
    let encrypted = proto::Header { encryption_type: 1, ..header("c", Kind::Text, None) };
    let large =
        proto::Header { attributes: attributes(&[("k", &"v".repeat(70_000))]), ..header("d", Kind::Text, None) };
    let bytes = "d".len() + "chat".len() + "text/plain".len() + 1 + 70_000 + ENTRY_BYTES;
    for (header, expected) in [
        (no_kind, StreamError::InvalidHeader),
        (no_id, StreamError::InvalidHeader),
        (unknown, StreamError::UnknownCompression),
        (encrypted, StreamError::Encrypted),
        (large, StreamError::MetadataTooLarge { bytes, limit: 65_536 }),
    ] {
        let mut streams = Streams::new();
        let id = header.stream_id.clone();
        streams.agent_sends(Value::StreamHeader(header));
        streams.agent_sends(chunk(&id, 0, "ignored"));
        let events = streams.events();
        let [IncomingEvent::Refused { error, topic, sender_identity }] = &events[..] else { panic!("{events:?}") };
        assert_eq!((error, topic.as_str(), sender_identity.as_str()), (&expected, "chat", "agent"));
    }
}

#[test]
fn only_so_many_streams_may_be_open() {
    let limits = StreamLimits { open_streams_per_sender: 2, open_streams: 3, ..StreamLimits::default() };
    let mut streams = Streams { core: IncomingStreams::new(limits), now: start() };
    let refused = |streams: &mut Streams| match &streams.events()[..] {
        [IncomingEvent::Opened { .. }] => false,
        [IncomingEvent::Refused { error: StreamError::TooManyStreams, .. }] => true,
        other => panic!("{other:?}"),
    };
    for (from, id, is_refused) in
        [("A", "1", false), ("A", "2", false), ("A", "3", true), ("B", "1", false), ("B", "2", true), ("C", "1", true)]
    {
        streams.packet(&origin(from, from), Value::StreamHeader(header(id, Kind::Text, None)));
        assert_eq!(refused(&mut streams), is_refused, "{from} {id}");
    }
    streams.packet(&origin("A", "A"), trailer("1", "", &[]));
    assert_eq!(outcome_of(&streams.events()), Ok(()));
    streams.packet(&origin("C", "C"), Value::StreamHeader(header("1", Kind::Text, None)));
    assert!(!refused(&mut streams));
}

#[test]
fn a_sender_that_leaves_takes_its_streams_along() {
    let mut streams = Streams::new();
    streams.open_text("a", None);
    // An agent's transcript of a user: the header is in the user's name, and the chunks in the agent's.
    streams.packet(&origin("user", "PA_agent"), Value::StreamHeader(header("t", Kind::Text, None)));
    streams.agent_sends(chunk("t", 0, "what I said"));
    streams.packet(&origin("other", "PA_other"), Value::StreamHeader(header("o", Kind::Text, None)));
    assert_eq!(text_of(&streams.events()), "what I said");
    streams.core.participant_left(&"agent".into(), &"PA_agent".into());
    let left: Vec<_> = streams.events().iter().map(|event| outcome_of(std::slice::from_ref(event))).collect();
    assert_eq!(left, vec![Err(StreamError::SenderLeft); 2]);
    streams.core.disconnected();
    assert_eq!(outcome_of(&streams.events()), Err(StreamError::Disconnected));
    assert_eq!(streams.core.open_streams(), 0);
}

#[test]
fn nobody_writes_into_the_stream_of_another() {
    let mut streams = Streams::new();
    streams.open_text("s", None);
    streams.events();
    let other = origin("agent", "PA_other");
    streams.packet(&other, chunk("s", 0, "forged"));
    streams.packet(&other, trailer("s", "", &[]));
    assert_eq!(streams.events(), []);
    streams.packet(&other, Value::StreamHeader(header("s", Kind::Text, None)));
    streams.packet(&other, chunk("s", 0, "its own"));
    assert_eq!(text_of(&streams.events()), "its own");
}

#[test]
fn without_sids_a_stream_is_found_by_its_id() {
    let mut streams = Streams::new();
    streams.packet(&origin("user", ""), Value::StreamHeader(header("t", Kind::Text, None)));
    streams.packet(&origin("agent", ""), chunk("t", 0, "text"));
    assert_eq!(text_of(&streams.events()), "text");
    streams.core.participant_left(&"user".into(), &"PA_user".into());
    assert_eq!(outcome_of(&streams.events()), Err(StreamError::SenderLeft));
}

#[test]
fn a_stream_of_which_nothing_comes_times_out() {
    let mut streams = Streams::new();
    let idle_timeout = StreamLimits::default().idle_timeout;
    let start = streams.now;
    streams.open_text("a", None);
    streams.open_text("b", None);
    streams.now = start + idle_timeout / 2;
    streams.agent_sends(chunk("b", 0, "alive"));
    streams.events();
    assert_eq!(streams.core.poll_timeout(), Some(start + idle_timeout));
    streams.core.handle_timeout(start + idle_timeout - Duration::from_millis(1));
    assert_eq!(streams.events(), []);
    streams.core.handle_timeout(start + idle_timeout);
    assert_eq!(outcome_of(&streams.events()), Err(StreamError::TimedOut));
    assert_eq!(streams.core.poll_timeout(), Some(streams.now + idle_timeout));
    streams.core.handle_timeout(streams.now + idle_timeout);
    assert_eq!(outcome_of(&streams.events()), Err(StreamError::TimedOut));
    assert_eq!(streams.core.poll_timeout(), None);
}

#[test]
fn after_a_join_anew_a_stream_goes_on_with_its_next_chunk_and_fails_if_its_end_may_lack_one() {
    let mut streams = Streams::new();
    for id in ["goes on", "has a gap", "ends", "has a length", "is short", "is silent"] {
        streams.open_text(id, id.contains("length").then_some(2).or_else(|| id.contains("short").then_some(3)));
        streams.agent_sends(chunk(id, 0, "ab"));
    }
    streams.events();
    streams.core.joined_anew(streams.now);
    let mut outcome = |sent: Value| {
        streams.agent_sends(sent);
        let events = streams.events();
        matches!(events.last(), Some(IncomingEvent::Closed { .. })).then(|| outcome_of(&events))
    };
    outcome(chunk("goes on", 1, "c"));
    assert_eq!(outcome(trailer("goes on", "", &[])), Some(Ok(())));
    let missed = StreamError::MissedChunk { expected: 1, received: 2 };
    assert_eq!(outcome(chunk("has a gap", 2, "d")), Some(Err(missed)));
    assert_eq!(outcome(trailer("ends", "", &[])), Some(Err(StreamError::Interrupted)));
    assert_eq!(outcome(trailer("has a length", "", &[])), Some(Ok(())));
    let incomplete = StreamError::Incomplete { received: 2, total_length: Some(3) };
    assert_eq!(outcome(trailer("is short", "", &[])), Some(Err(incomplete)));
    // Its end may have come and gone.
    streams.now += INTERRUPTED_TIMEOUT - Duration::from_millis(1);
    streams.core.handle_timeout(streams.now);
    assert_eq!(streams.core.open_streams(), 1);
    streams.now += Duration::from_millis(1);
    streams.core.handle_timeout(streams.now);
    assert_eq!(outcome_of(&streams.events()), Err(StreamError::Interrupted));
    assert_eq!(streams.core.poll_timeout(), None);
}

#[test]
fn a_header_that_comes_again_in_another_stay_before_the_servers_word_of_it_opens_nothing() {
    let mut streams = Streams::new();
    streams.open_text("goes on", None);
    streams.agent_sends(chunk("goes on", 0, "a"));
    let again = origin("agent", "PA_again");
    streams.packet(&again, Value::StreamHeader(header("goes on", Kind::Text, None)));
    streams.packet(&again, chunk("goes on", 0, "a"));
    streams.core.sender_came_again(&"PA_agent".into(), &"PA_again".into(), streams.now);
    // What is late of the stay before, and what is new.
    streams.agent_sends(chunk("goes on", 1, "b"));
    streams.packet(&again, chunk("goes on", 1, "b"));
    streams.packet(&again, chunk("goes on", 2, "c"));
    streams.packet(&again, trailer("goes on", "", &[]));
    let events = streams.events();
    let count = |is_it: fn(&IncomingEvent) -> bool| events.iter().filter(|event| is_it(event)).count();
    let opened = count(|event| matches!(event, IncomingEvent::Opened { .. }));
    let chunks = count(|event| matches!(event, IncomingEvent::Chunk { .. }));
    assert_eq!((opened, chunks, outcome_of(&events)), (1, 3, Ok(())));
    assert_eq!((streams.core.open_streams(), streams.core.poll_timeout()), (0, None));
}

#[test]
fn a_sender_that_came_again_goes_on_with_its_streams_soon_or_has_lost_them() {
    let mut streams = Streams::new();
    streams.open_text("goes on", None);
    streams.open_text("is forgotten", None);
    streams.events();
    streams.core.sender_came_again(&"PA_agent".into(), &"PA_again".into(), streams.now);
    assert_eq!(streams.core.poll_timeout(), Some(streams.now + RETURN_TIMEOUT));
    streams.now += Duration::from_secs(2);
    streams.core.sender_is_active(&"PA_again".into(), streams.now);
    streams.packet(&origin("agent", "PA_again"), chunk("goes on", 0, "a"));
    // What was on its way from the stay before says nothing of this one.
    streams.agent_sends(chunk("is forgotten", 0, "a"));
    streams.events();
    streams.now += CONTINUATION_TIMEOUT;
    assert!(streams.core.poll_timeout().is_some_and(|at| at <= streams.now));
    streams.core.handle_timeout(streams.now);
    let events = streams.events();
    assert_eq!((outcome_of(&events), events.len()), (Err(StreamError::SenderLeft), 1));
    assert_eq!(streams.core.open_streams(), 1);
}

#[test]
fn an_ignored_stream_has_no_more_events() {
    let mut streams = Streams::new();
    streams.open_text("s", None);
    let events = streams.events();
    let [IncomingEvent::Opened { key, .. }] = events[..] else { panic!("{events:?}") };
    streams.agent_sends(chunk("s", 0, "unseen"));
    streams.core.ignore(key);
    streams.agent_sends(chunk("s", 1, "unseen"));
    streams.agent_sends(trailer("s", "", &[]));
    assert_eq!((streams.events(), streams.core.open_streams()), (vec![], 0));
}

#[test]
fn other_packets_are_given_back() {
    let mut streams = Streams::new();
    let ack = Value::RpcAck(livekit_protocol::RpcAck { request_id: "r".into() });
    assert_eq!(streams.core.handle_packet(streams.now, &origin("a", "A"), ack.clone()), Some(ack));
}

#[test]
fn no_packets_make_it_panic_or_grow() {
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let limits = StreamLimits { open_streams_per_sender: 4, open_streams: 8, ..StreamLimits::default() };
        let mut streams = Streams { core: IncomingStreams::new(limits), now: start() };
        let mut opened = std::collections::HashSet::new();
        for _ in 0..400 {
            let from = origin(["a", "b", "c"][rng.usize(..3)], ["", "A", "B", "C"][rng.usize(..4)]);
            let id = ["1", "2", "3", "4", "5", ""][rng.usize(..6)];
            let content = random_content(&mut rng);
            let value = match rng.u8(..10) {
                0..=2 => Value::StreamHeader(proto::Header {
                    compression: rng.i32(..3).max(0),
                    inline_content: rng.bool().then(|| content.clone()),
                    timestamp: rng.i64(..),
                    ..header(id, [Kind::Text, Kind::Bytes][rng.usize(..2)], rng.bool().then(|| rng.u64(..64)))
                }),
                3..=7 => chunk(id, rng.u64(..4), content),
                8 => trailer(id, ["", "error"][rng.usize(..2)], &[]),
                _ => {
                    streams.now += Duration::from_secs(rng.u64(..400));
                    streams.core.handle_timeout(streams.now);
                    match rng.u8(..8) {
                        0 => streams.core.participant_left(&from.identity, &from.sid),
                        1 => streams.core.joined_anew(streams.now),
                        2 => {
                            let again = rng.choice(["", "PA_again"]).expect("there are some");
                            streams.core.sender_came_again(&from.sid, &again.into(), streams.now);
                        }
                        _ => {}
                    }
                    continue;
                }
            };
            streams.packet(&from, mutated(&mut rng, value));
            assert!(streams.core.open_streams() <= 8);
            for event in streams.events() {
                match event {
                    IncomingEvent::Opened { key, .. } => assert!(opened.insert(key)),
                    IncomingEvent::Chunk { key, content } => {
                        assert!(opened.contains(&key), "a chunk of a stream that is not open");
                        assert_ne!(content, Content::Text(String::new()));
                    }
                    IncomingEvent::Closed { key, .. } => assert!(opened.remove(&key)),
                    IncomingEvent::Refused { .. } => {}
                }
            }
            assert_eq!(opened.len(), streams.core.open_streams());
        }
    }
}

/// The packet with a byte of its encoding changed, if that is still a packet.
fn mutated(rng: &mut fastrand::Rng, value: Value) -> Value {
    use prost::Message as _;
    let packet = livekit_protocol::DataPacket { value: Some(value.clone()), ..Default::default() };
    let mut bytes = packet.encode_to_vec();
    if rng.bool() {
        let at = rng.usize(..bytes.len());
        bytes[at] = rng.u8(..);
    }
    livekit_protocol::DataPacket::decode(bytes.as_slice()).ok().and_then(|packet| packet.value).unwrap_or(value)
}

fn random_content(rng: &mut fastrand::Rng) -> Vec<u8> {
    let plain: Vec<u8> = (0..rng.usize(..40)).map(|_| *rng.choice(b"ab\xe2\x82\xac\xff").expect("not empty")).collect();
    if rng.bool() { deflate(&plain) } else { plain }
}

struct Streams {
    core: IncomingStreams,
    now: Instant,
}

impl Streams {
    fn new() -> Self {
        Self { core: IncomingStreams::new(StreamLimits::default()), now: start() }
    }

    fn packet(&mut self, origin: &Origin, value: Value) {
        self.core.handle_packet(self.now, origin, value);
    }

    fn agent_sends(&mut self, value: Value) {
        self.packet(&origin("agent", "PA_agent"), value);
    }

    fn open_text(&mut self, id: &str, total_length: Option<u64>) {
        self.agent_sends(Value::StreamHeader(header(id, Kind::Text, total_length)));
    }

    fn events(&mut self) -> Vec<IncomingEvent> {
        std::iter::from_fn(|| self.core.poll_event()).collect()
    }
}

#[expect(clippy::disallowed_methods, reason = "the beginning of virtual time")]
fn start() -> Instant {
    Instant::now()
}

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Bytes,
}

fn origin(identity: &str, sid: &str) -> Origin {
    Origin { identity: identity.into(), sid: sid.into(), ..Origin::default() }
}

fn header(id: &str, kind: Kind, total_length: Option<u64>) -> proto::Header {
    let (mime_type, content_header) = match kind {
        Kind::Text => ("text/plain", proto::header::ContentHeader::TextHeader(proto::TextHeader::default())),
        Kind::Bytes => {
            ("image/png", proto::header::ContentHeader::ByteHeader(proto::ByteHeader { name: "a.png".into() }))
        }
    };
    proto::Header {
        stream_id: id.into(),
        timestamp: 1_700_000_000_123,
        topic: "chat".into(),
        mime_type: mime_type.into(),
        total_length,
        content_header: Some(content_header),
        ..Default::default()
    }
}

fn chunk(id: &str, chunk_index: u64, content: impl AsRef<[u8]>) -> Value {
    let content = content.as_ref().to_vec();
    Value::StreamChunk(proto::Chunk { stream_id: id.into(), chunk_index, content, ..Default::default() })
}

fn trailer(id: &str, reason: &str, pairs: &[(&str, &str)]) -> Value {
    let attributes = attributes(pairs);
    Value::StreamTrailer(proto::Trailer { stream_id: id.into(), reason: reason.into(), attributes })
}

fn attributes(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn text_of(events: &[IncomingEvent]) -> String {
    let text = |event: &IncomingEvent| match event {
        IncomingEvent::Chunk { content: Content::Text(text), .. } => Some(text.clone()),
        IncomingEvent::Chunk { .. }
        | IncomingEvent::Opened { .. }
        | IncomingEvent::Closed { .. }
        | IncomingEvent::Refused { .. } => None,
    };
    events.iter().filter_map(text).collect()
}

fn outcome_of(events: &[IncomingEvent]) -> Result<(), StreamError> {
    match events.last() {
        Some(IncomingEvent::Closed { outcome, .. }) => outcome.clone(),
        other => panic!("not closed: {other:?}"),
    }
}
