use std::time::Instant;

use prost::Message as _;

use super::*;
use crate::data_stream::content::Content;
use crate::data_stream::incoming::{IncomingEvent, IncomingStreams, Origin};
use crate::data_stream::info::TextOperation;
use crate::data_stream::limits::StreamLimits;

const SIZES: [usize; 6] = [0, 1, 15_000, 15_001, 45_000, 1_000_000];
const ALL: [Readable; 3] = [Readable::Chunked, Readable::Inline, Readable::Compressed];

#[test]
fn texts_of_every_size_come_back_as_they_were() {
    for size in SIZES {
        for shift in 0..4 {
            // Characters of one to four bytes, so that every cut falls on every place within one.
            let mut text = "x".repeat(shift.min(size));
            text.extend("aß€😀".chars().cycle().take_while({
                let mut left = size - shift.min(size);
                move |c| {
                    let fits = c.len_utf8() <= left;
                    left = left.saturating_sub(c.len_utf8());
                    fits
                }
            }));
            for readable in ALL {
                let options = TextStreamOptions::new("t").with_attribute("k", "v");
                let packets: Vec<_> = WholeStream::text(&text, &options, readable, at(), &mut rng()).unwrap().collect();
                for packet in &packets {
                    if let Some(Value::StreamChunk(chunk)) = &packet.value {
                        assert!(chunk.content.len() <= 15_000);
                        assert!(readable == Readable::Compressed || std::str::from_utf8(&chunk.content).is_ok());
                    }
                }
                let (content, info) = received(packets);
                assert!(content == text.as_bytes(), "{size} {shift} {readable:?}");
                assert_eq!(info.total_length(), Some(text.len() as u64));
            }
        }
    }
}

#[test]
fn bytes_of_every_size_come_back_as_they_were() {
    for size in SIZES {
        let mut rng = rng();
        let noise: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(size).collect();
        for bytes in [noise, (0..size).map(|n| (n / 100) as u8).collect()] {
            for readable in ALL {
                let options = ByteStreamOptions::new("t").with_name("a.bin").with_mime_type("x/y");
                let stream = WholeStream::bytes(&bytes, &options, readable, at(), &mut rng).unwrap();
                let (content, info) = received(stream.collect());
                assert!(content == bytes, "{size} {readable:?}");
                let StreamInfo::Bytes(info) = info else { panic!("{info:?}") };
                assert_eq!((info.name.as_str(), info.mime_type.as_str()), ("a.bin", "x/y"));
            }
        }
    }
}

#[test]
fn what_is_taken_grows_from_nothing_to_all_whatever_is_sent() {
    let seeded: Vec<u8> = (0..100_000).map(|_| rng().u8(..)).collect();
    for (bytes, readable) in [
        (&seeded[..], Readable::Chunked),
        (&[7; 100_000], Readable::Compressed),
        (&[7; 10], Readable::Inline),
        (&[], Readable::Chunked),
    ] {
        let options = ByteStreamOptions::new("files");
        let mut stream = WholeStream::bytes(bytes, &options, readable, at(), &mut rng()).unwrap();
        let mut taken = vec![stream.taken()];
        while stream.next().is_some() {
            taken.push(stream.taken());
        }
        assert_eq!((taken[0], *taken.last().unwrap()), (0, bytes.len() as u64));
        assert!(taken.is_sorted(), "{taken:?}");
    }
}

#[test]
fn a_packet_carries_what_all_can_read() {
    let small = "small ".repeat(20);
    let counts = |text: &str, options: &TextStreamOptions| {
        ALL.map(|readable| WholeStream::text(text, options, readable, at(), &mut rng()).unwrap().count())
    };
    let options = TextStreamOptions::new("t");
    assert_eq!(counts(&small, &options), [3, 1, 1]);
    let large = "large ".repeat(5_000);
    assert_eq!(counts(&large, &options), [4, 4, 1], "30,000 bytes that compress to one packet");
    assert_eq!(counts(&large, &options.clone().without_compression()), [4, 4, 4]);
    assert_eq!(counts(&small, &options.with_attachment("file")), [3, 3, 3], "attachments wait for a trailer");
    let inline = WholeStream::text("ab", &TextStreamOptions::new("t"), Readable::Compressed, at(), &mut rng())
        .unwrap()
        .next()
        .unwrap();
    let Some(Value::StreamHeader(header)) = inline.value else { panic!("{inline:?}") };
    assert_eq!((header.inline_content, header.compression), (Some(b"ab".to_vec()), 0), "compression would not help");
}

#[test]
fn the_options_are_in_the_header_and_the_destinations_on_every_packet() {
    let options = TextStreamOptions::new("lk.chat")
        .with_id("mine")
        .with_attribute("k", "v")
        .with_destination("agent")
        .with_operation(TextOperation::Update, 2)
        .with_reply_to("earlier")
        .with_attachment("file");
    let packets: Vec<_> = WholeStream::text("hi", &options, Readable::Compressed, at(), &mut rng()).unwrap().collect();
    assert!(packets.iter().all(|packet| packet.destination_identities == ["agent"]));
    let (_, info) = received(packets);
    let StreamInfo::Text(info) = info else { panic!("{info:?}") };
    assert_eq!((info.id.as_str(), info.topic.as_str(), info.mime_type.as_str()), ("mine", "lk.chat", "text/plain"));
    assert_eq!((info.operation, info.version), (TextOperation::Update, 2));
    assert_eq!(info.reply_to_stream_id.as_deref(), Some("earlier"));
    assert_eq!(info.attached_stream_ids, ["file"]);
    assert_eq!(info.attributes, HashMap::from([("k".to_owned(), "v".to_owned())]));
    assert_eq!(info.timestamp, at());
}

#[test]
fn metadata_beyond_a_packet_is_an_error() {
    let options = TextStreamOptions::new("t").with_attribute("k", "v".repeat(15_000));
    let error = WholeStream::text("hi", &options, Readable::Compressed, at(), &mut rng()).unwrap_err();
    assert!(matches!(error, StreamError::MetadataTooLarge { bytes: 15_001.., limit: 15_000 }), "{error:?}");
    let tight = TextStreamOptions::new("t").with_attribute("k", "v".repeat(14_000));
    let packets: Vec<_> = WholeStream::text(
        &"0123456789abcdef ".repeat(100),
        &tight.without_compression(),
        Readable::Inline,
        at(),
        &mut rng(),
    )
    .unwrap()
    .collect();
    assert_eq!(packets.len(), 3, "a small text beside large attributes has a chunk of its own");
    assert!(packets.iter().all(|packet| packet.encoded_len() <= 15_100));
}

#[test]
fn a_written_stream_comes_back_with_its_trailer() {
    let options = TextStreamOptions::new("t").with_destination("agent");
    let (mut stream, opening) = OutgoingTextStream::open(&options, at(), &mut rng()).unwrap();
    let mut packets = vec![opening];
    let long = "😀".repeat(10_000);
    for text in ["a", "", "ß", &long] {
        packets.extend(stream.write(text).unwrap());
    }
    let attributes = HashMap::from([("lk.transcription_final".to_owned(), "true".to_owned())]);
    packets.push(stream.close(None, attributes.clone()).unwrap());
    assert!(packets.iter().all(|packet| packet.destination_identities == ["agent"]));
    let Some(Value::StreamTrailer(trailer)) = &packets.last().unwrap().value else { panic!() };
    assert_eq!(trailer.attributes, attributes);
    assert!(received(packets).0 == format!("aß{long}").as_bytes());
    assert_eq!(stream.write("late"), Err(StreamError::Closed));
    assert_eq!(stream.close(None, HashMap::new()), Err(StreamError::Closed));
}

#[test]
fn a_written_stream_keeps_to_its_announced_length() {
    let options = ByteStreamOptions::new("t").with_total_length(5);
    let (mut stream, opening) = OutgoingByteStream::open(&options, at(), &mut rng()).unwrap();
    let mut packets = vec![opening];
    packets.extend(stream.write(b"abc").unwrap());
    assert_eq!(stream.write(b"def"), Err(StreamError::LengthExceeded { total_length: 5 }));
    packets.extend(stream.write(b"de").unwrap());
    packets.push(stream.close(None, HashMap::new()).unwrap());
    assert_eq!(received(packets).0, b"abcde");
}

#[test]
fn a_trailer_that_is_too_large_leaves_the_stream_open() {
    let (mut stream, _) = OutgoingTextStream::open(&TextStreamOptions::new("t"), at(), &mut rng()).unwrap();
    let large = HashMap::from([("k".to_owned(), "v".repeat(15_000))]);
    assert!(matches!(stream.close(None, large), Err(StreamError::MetadataTooLarge { .. })));
    let Some(Value::StreamTrailer(trailer)) = stream.close(Some("interrupted"), HashMap::new()).unwrap().value else {
        panic!()
    };
    assert_eq!(trailer.reason, "interrupted");
}

#[test]
fn recipients_are_written_to_as_the_least_of_them_can_read() {
    let participant = |identity: &str, client_protocol, reads_deflate| {
        let mut participant = Participant::new("PA", identity);
        participant.client_protocol = client_protocol;
        participant.reads_deflate = reads_deflate;
        (participant.identity.clone(), std::sync::Arc::new(participant))
    };
    let mut participants = Participants::default();
    assert_eq!(Readable::by(&participants, &[]), Readable::Compressed, "nobody to be careful of");
    participants.remote.extend([participant("new", 2, true)]);
    assert_eq!(Readable::by(&participants, &[]), Readable::Compressed);
    participants.remote.extend([participant("plain", 2, false)]);
    assert_eq!(Readable::by(&participants, &[]), Readable::Inline);
    participants.remote.extend([participant("old", 1, true)]);
    assert_eq!(Readable::by(&participants, &[]), Readable::Chunked);
    assert_eq!(Readable::by(&participants, &["new".into(), "plain".into()]), Readable::Inline);
    assert_eq!(Readable::by(&participants, &["new".into(), "nobody".into()]), Readable::Chunked);
}

fn received(packets: Vec<DataPacket>) -> (Vec<u8>, StreamInfo) {
    #[expect(clippy::disallowed_methods, reason = "the beginning of virtual time")]
    let now = Instant::now();
    let mut streams = IncomingStreams::new(StreamLimits::default());
    for packet in packets {
        streams.handle_packet(now, &Origin::default(), packet.value.unwrap());
    }
    let (mut opened, mut content, mut outcome) = (None, Vec::new(), None);
    while let Some(event) = streams.poll_event() {
        match event {
            IncomingEvent::Opened { info, .. } => opened = Some(info),
            IncomingEvent::Chunk { content: Content::Text(text), .. } => content.extend(text.into_bytes()),
            IncomingEvent::Chunk { content: Content::Bytes(bytes), .. } => content.extend(bytes),
            IncomingEvent::Closed { outcome: how, .. } => outcome = Some(how),
            IncomingEvent::Refused { error, .. } => panic!("{error}"),
        }
    }
    assert_eq!(outcome, Some(Ok(())));
    (content, opened.unwrap())
}

fn at() -> SystemTime {
    SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_764_000_000_123)
}

fn rng() -> fastrand::Rng {
    fastrand::Rng::with_seed(7)
}
