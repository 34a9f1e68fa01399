//! Streams between us and LiveKit's own crate, both ways.

use std::time::{Instant, SystemTime};

use livekit_common as common;
use livekit_data_stream::api::{AnyStreamReader, SendByteOptions, SendTextOptions, StreamReader as _};
use livekit_data_stream::backend::incoming::{Manager as TheirIncoming, OutputEvent, PacketReceived};
use livekit_data_stream::backend::outgoing::Manager as TheirOutgoing;
use livekit_data_stream::backend::{Chunk, Header, Packet, Trailer};
use livekit_protocol::DataPacket;
use livekit_protocol::data_packet::Value;

use super::content::Content;
use super::incoming::{IncomingEvent, IncomingStreams, Origin};
use super::info::StreamInfo;
use super::limits::StreamLimits;
use super::options::{ByteStreamOptions, TextStreamOptions};
use super::outgoing::{OutgoingTextStream, Readable, WholeStream};

const SIZES: [usize; 6] = [0, 1, 15_000, 15_001, 100_000, 1_000_000];

/// What each can read, with the protocol that a client of LiveKit's says for it.
const ALL: [(Readable, i32, bool); 3] =
    [(Readable::Chunked, 1, false), (Readable::Inline, 2, false), (Readable::Compressed, 2, true)];

#[tokio::test]
async fn livekit_reads_our_texts() {
    for size in SIZES {
        for (readable, ..) in ALL {
            let text = text_of(size);
            let options = TextStreamOptions::new("topic").with_attribute("k", "v");
            let packets = WholeStream::text(&text, &options, readable, at(), &mut rng()).unwrap();
            let AnyStreamReader::Text(reader) = read_by_livekit(packets.collect()).await else { panic!() };
            assert_eq!((reader.info().topic.as_str(), reader.info().attributes()["k"].as_str()), ("topic", "v"));
            assert!(reader.read_all().await.unwrap() == text, "{size} {readable:?}");
        }
    }
}

#[tokio::test]
async fn livekit_reads_our_bytes() {
    for size in SIZES {
        for (readable, ..) in ALL {
            let bytes = text_of(size).into_bytes();
            let options = ByteStreamOptions::new("topic").with_name("a.txt").with_mime_type("text/x");
            let packets = WholeStream::bytes(&bytes, &options, readable, at(), &mut rng()).unwrap();
            let AnyStreamReader::Byte(reader) = read_by_livekit(packets.collect()).await else { panic!() };
            assert_eq!((reader.info().name.as_str(), reader.info().mime_type.as_str()), ("a.txt", "text/x"));
            assert!(reader.read_all().await.unwrap() == bytes, "{size} {readable:?}");
        }
    }
}

#[tokio::test]
async fn livekit_reads_what_we_write_piece_by_piece() {
    let (mut stream, header) = OutgoingTextStream::open(&TextStreamOptions::new("topic"), at(), &mut rng()).unwrap();
    let text = text_of(40_000);
    let mut packets = vec![header];
    packets.extend(stream.write("first ").unwrap());
    packets.extend(stream.write(&text).unwrap());
    packets.push(stream.close(None, [("k".to_owned(), "v".to_owned())].into()).unwrap());
    let AnyStreamReader::Text(reader) = read_by_livekit(packets).await else { panic!() };
    let info = reader.info().clone();
    assert!(reader.read_all().await.unwrap() == format!("first {text}"));
    assert_eq!(info.attributes()["k"], "v");
}

#[tokio::test]
async fn we_read_livekits_texts_and_bytes() {
    for size in SIZES {
        for (_, client_protocol, reads_deflate) in ALL {
            let registry = Registry { client_protocol, reads_deflate };
            let text = text_of(size);
            let packets = sent_by_livekit(async |manager| {
                let options = SendTextOptions::new_with_topic("topic").with_attribute("k", "v");
                manager.send_text(&text, options, &registry).await.unwrap();
            });
            let (info, content) = read_by_us(packets.await);
            assert!(content == text.as_bytes(), "{size} {client_protocol} {reads_deflate}");
            assert_eq!((info.topic(), info.attributes()["k"].as_str()), ("topic", "v"));
            let packets = sent_by_livekit(async |manager| {
                let options = SendByteOptions::new_with_topic("topic").with_name("a.txt");
                manager.send_bytes(&text, options, &registry).await.unwrap();
            });
            let (info, content) = read_by_us(packets.await);
            assert!(content == text.as_bytes(), "{size} {client_protocol} {reads_deflate}");
            let StreamInfo::Bytes(info) = info else { panic!("{info:?}") };
            assert_eq!(info.name, "a.txt");
        }
    }
}

#[test]
fn both_decide_alike_what_goes_into_one_packet() {
    let sizes = [0, 1, 100, 14_000, 14_800, 14_900, 14_950, 15_000, 16_000, 30_000];
    let counts = |size: usize, readable| {
        WholeStream::text(&text_of(size), &TextStreamOptions::new("topic").with_id("s"), readable, at(), &mut rng())
            .unwrap()
            .count()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for size in sizes {
        for (readable, client_protocol, reads_deflate) in ALL {
            let registry = Registry { client_protocol, reads_deflate };
            let theirs = runtime.block_on(sent_by_livekit(async |manager| {
                let options = SendTextOptions::new_with_topic("topic").with_id("s");
                manager.send_text(&text_of(size), options, &registry).await.unwrap();
            }));
            assert_eq!(counts(size, readable), theirs.len(), "{size} {readable:?}");
        }
    }
}

async fn read_by_livekit(packets: Vec<DataPacket>) -> AnyStreamReader {
    let (manager, input, mut outputs) = TheirIncoming::new(None);
    tokio::spawn(manager.run());
    for packet in packets {
        let encryption_type = common::EncryptionType::None;
        #[expect(clippy::wildcard_enum_match_arm, reason = "no others are sent")]
        let packet = match packet.value.unwrap() {
            Value::StreamHeader(header) => Packet::Header { header: Header::from(header), encryption_type },
            Value::StreamChunk(chunk) => Packet::Chunk { chunk: Chunk::from(chunk), encryption_type },
            Value::StreamTrailer(trailer) => Packet::Trailer { trailer: Trailer::from(trailer), encryption_type },
            other => panic!("{other:?}"),
        };
        input.send(PacketReceived::new(packet, "us".into()).into()).unwrap();
    }
    let (mut reader, mut is_closed) = (None, false);
    while !is_closed {
        match outputs.recv().await.unwrap() {
            OutputEvent::StreamOpened(opened) => reader = Some(opened.stream_reader),
            OutputEvent::StreamClosed(_) => is_closed = true,
            OutputEvent::ChunkReceived(_) | OutputEvent::TrailerReceived(_) | _ => {}
        }
    }
    reader.unwrap()
}

async fn sent_by_livekit(send: impl AsyncFnOnce(TheirOutgoing)) -> Vec<DataPacket> {
    let (manager, mut requests) = TheirOutgoing::new();
    let collect = async {
        let mut packets = Vec::new();
        while let Ok((more, responder)) = requests.recv().await {
            packets.extend(more);
            responder.respond(Ok(())).unwrap();
        }
        packets
    };
    tokio::join!(send(manager), collect).1
}

fn read_by_us(packets: Vec<DataPacket>) -> (StreamInfo, Vec<u8>) {
    #[expect(clippy::disallowed_methods, reason = "the beginning of virtual time")]
    let now = Instant::now();
    let mut streams = IncomingStreams::new(StreamLimits::default());
    for packet in packets {
        streams.handle_packet(now, &Origin::default(), packet.value.unwrap());
    }
    let (mut opened, mut content) = (None, Vec::new());
    loop {
        match streams.poll_event().unwrap() {
            IncomingEvent::Opened { info, .. } => opened = Some(info),
            IncomingEvent::Chunk { content: Content::Text(text), .. } => content.extend(text.into_bytes()),
            IncomingEvent::Chunk { content: Content::Bytes(bytes), .. } => content.extend(bytes),
            IncomingEvent::Closed { outcome, .. } => {
                outcome.unwrap();
                return (opened.unwrap(), content);
            }
            IncomingEvent::Refused { error, .. } => panic!("{error}"),
        }
    }
}

/// A room of one participant.
struct Registry {
    client_protocol: i32,
    reads_deflate: bool,
}

impl common::RemoteParticipantRegistry for Registry {
    fn remote_client_protocol(&self, _: &common::ParticipantIdentity) -> i32 {
        self.client_protocol
    }

    fn remote_capabilities(&self, _: &common::ParticipantIdentity) -> Vec<common::ClientCapability> {
        self.reads_deflate.then_some(common::ClientCapability::CompressionDeflateRaw).into_iter().collect()
    }

    fn remote_identities(&self) -> Vec<common::ParticipantIdentity> {
        vec!["us".into()]
    }
}

/// Letters that compress to about two thirds, with characters of several bytes among them.
fn text_of(size: usize) -> String {
    let mut rng = rng();
    let mut text = String::with_capacity(size);
    while text.len() < size {
        let next = if rng.u8(..20) == 0 { *rng.choice(&['ß', '€', '😀']).unwrap() } else { rng.lowercase() };
        if text.len() + next.len_utf8() <= size {
            text.push(next);
        }
    }
    text
}

fn at() -> SystemTime {
    SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_764_000_000)
}

fn rng() -> fastrand::Rng {
    fastrand::Rng::with_seed(5)
}
