use std::time::Instant;

use futures_util::FutureExt as _;
use livekit_protocol::data_packet::Value;
use livekit_protocol::data_stream as proto;

use super::*;
use crate::data_stream::incoming::Origin;
use crate::data_stream::limits::StreamLimits;

#[test]
fn pieces_are_read_as_they_come() {
    let mut room = Room::new(1_000);
    let mut reader = room.open_text("s");
    assert_eq!(reader.info().topic, "chat");
    assert_eq!(reader.next().now_or_never(), None);
    room.chunk("s", 0, "a");
    room.chunk("s", 1, "b");
    assert_eq!(reader.next().now_or_never(), Some(Some(Ok("a".to_owned()))));
    room.trailer("s", "");
    assert_eq!(reader.trailer_attributes(), None, "not before all is read");
    assert_eq!(reader.next().now_or_never(), Some(Some(Ok("b".to_owned()))));
    assert_eq!(reader.next().now_or_never(), Some(None));
    assert_eq!(reader.trailer_attributes(), Some(HashMap::from([("end".to_owned(), "yes".to_owned())])));
}

#[tokio::test]
async fn a_waiting_reader_is_woken() {
    let mut room = Room::new(1_000);
    let mut reader = room.open_text("s");
    let reading = tokio::spawn(async move { reader.read_all().await });
    tokio::task::yield_now().await;
    room.chunk("s", 0, "hello ");
    tokio::task::yield_now().await;
    room.chunk("s", 1, "world");
    room.trailer("s", "");
    assert_eq!(reading.await.unwrap(), Ok("hello world".to_owned()));
}

#[test]
fn a_reading_that_is_dropped_half_way_loses_nothing() {
    let mut room = Room::new(1_000);
    let mut reader = room.open_text("s");
    room.chunk("s", 0, "hello ");
    assert_eq!(reader.read_all().now_or_never(), None);
    room.chunk("s", 1, "world");
    room.trailer("s", "");
    assert_eq!(reader.read_all().now_or_never(), Some(Ok("hello world".to_owned())));
}

#[test]
fn an_error_comes_after_what_was_received() {
    let mut room = Room::new(1_000);
    let mut reader = room.open_text("s");
    room.chunk("s", 0, "half");
    room.trailer("s", "interrupted");
    assert_eq!(reader.next().now_or_never(), Some(Some(Ok("half".to_owned()))));
    let aborted = StreamError::Aborted { reason: "interrupted".to_owned() };
    assert_eq!(reader.next().now_or_never(), Some(Some(Err(aborted.clone()))));
    assert_eq!(reader.next().now_or_never(), Some(None));
    assert_eq!(reader.read_all().now_or_never(), Some(Err(aborted)), "half a text is not passed off as a whole one");
    assert_eq!(reader.trailer_attributes(), Some(HashMap::from([("end".to_owned(), "yes".to_owned())])));
}

#[test]
fn what_is_not_read_is_bounded() {
    let mut room = Room::new(3 * (64 + 10));
    let mut reader = room.open_text("s");
    for index in 0..100 {
        room.chunk("s", index, "0123456789");
    }
    assert_eq!(room.streams.open_streams(), 0, "the stream is left");
    for _ in 0..3 {
        assert_eq!(reader.next().now_or_never(), Some(Some(Ok("0123456789".to_owned()))));
    }
    assert_eq!(reader.next().now_or_never(), Some(Some(Err(StreamError::TooMuchUnread { limit: 222 }))));
    assert_eq!(reader.next().now_or_never(), Some(None));

    let mut reader = room.open_text("t");
    for index in 0..100 {
        room.chunk("t", index, "0123456789");
        assert_eq!(reader.next().now_or_never(), Some(Some(Ok("0123456789".to_owned()))));
    }
}

#[test]
fn what_is_not_read_of_all_streams_is_bounded_and_the_others_live() {
    // Two pieces of three streams, of which one is collected and one waits unread.
    let mut room = Room::with(StreamLimits { unread_bytes_in_all: (3 * 74 + 10) * 3 / 2, ..StreamLimits::default() });
    let [mut collecting, unread, mut third] = ["a", "b", "c"].map(|id| room.open_text(id));
    room.chunk("a", 0, "0123456789");
    assert_eq!(collecting.read_all().now_or_never(), None);
    assert_eq!(room.readers.budget.held(), 10, "what is collected counts");
    room.chunk("b", 0, "0123456789");
    room.chunk("b", 1, "0123456789");
    room.chunk("c", 0, "0123456789");
    room.chunk("c", 1, "0123456789");
    assert_eq!(room.streams.open_streams(), 2, "the one that went beyond has ended");
    assert_eq!(third.next().now_or_never(), Some(Some(Ok("0123456789".to_owned()))));
    assert_eq!(third.next().now_or_never(), Some(Some(Err(StreamError::TooMuchUnread { limit: 232 }))));
    room.chunk("a", 1, "the rest");
    assert_eq!(collecting.read_all().now_or_never(), None);
    room.trailer("a", "");
    assert_eq!(collecting.read_all().now_or_never(), Some(Ok("0123456789the rest".to_owned())));
    drop((unread, third, collecting));
    assert_eq!(room.readers.budget.held(), 0, "whoever goes gives all back");
}

#[test]
fn streams_of_one_packet_and_trailers_count_while_nobody_takes_the_reader() {
    let mut room = Room::with(StreamLimits { unread_bytes_in_all: 3 * (64 + 100), ..StreamLimits::default() });
    let bytes = || proto::header::ContentHeader::ByteHeader(proto::ByteHeader::default());
    let mut readers: Vec<_> = (0..100)
        .filter_map(|number: u32| match room.open(&number.to_string(), bytes(), Some(vec![0; 100])) {
            Some(StreamReader::Bytes(reader)) => Some(reader),
            _ => None,
        })
        .collect();
    let outcomes: Vec<_> = readers.iter_mut().map(|reader| reader.read_all().now_or_never().unwrap()).collect();
    assert!(outcomes[..2].iter().all(Result::is_ok), "{outcomes:?}");
    assert!(outcomes[2..].iter().all(|outcome| *outcome == Err(StreamError::TooMuchUnread { limit: 328 })));

    let mut room = Room::with(StreamLimits { unread_bytes_in_all: 15, ..StreamLimits::default() });
    let mut reader = room.open_text("s");
    room.trailer("s", "");
    assert_eq!(reader.read_all().now_or_never(), Some(Err(StreamError::TooMuchUnread { limit: 10 })));
    assert_eq!((reader.trailer_attributes(), room.readers.budget.held()), (None, 0));
}

#[test]
fn a_dropped_reader_leaves_its_stream() {
    let mut room = Room::new(1_000);
    let reader = room.open_text("s");
    let other = room.open_text("t");
    drop(reader);
    room.chunk("s", 0, "unseen");
    assert_eq!(room.streams.open_streams(), 1);
    assert_eq!(room.readers.sinks.len(), 1);
    drop(other);
    room.trailer("t", "");
    assert_eq!((room.streams.open_streams(), room.readers.sinks.len()), (0, 0));
}

#[test]
fn more_than_is_to_be_collected_is_an_error() {
    let mut room = Room::new(1_000);
    let mut reader = room.open_text("s");
    room.chunk("s", 0, "0123456789");
    assert_eq!(reader.read_all_within(9).now_or_never(), Some(Err(StreamError::TooLarge { limit: 9 })));
    assert_eq!(reader.read_all().now_or_never(), Some(Err(StreamError::TooLarge { limit: 9 })), "and stays one");
    room.chunk("s", 1, "more");
    assert_eq!(room.streams.open_streams(), 0);
}

#[test]
fn bytes_are_read_as_bytes() {
    let mut room = Room::new(1_000);
    let bytes = proto::header::ContentHeader::ByteHeader(proto::ByteHeader { name: "a.bin".into() });
    let Some(StreamReader::Bytes(mut reader)) = room.open("s", bytes, Some(b"\xff\x00".to_vec())) else { panic!() };
    assert_eq!(reader.info().name, "a.bin");
    assert_eq!(reader.read_all().now_or_never(), Some(Ok(vec![0xff, 0])));
    assert_eq!(reader.trailer_attributes(), None);
}

struct Room {
    streams: IncomingStreams,
    readers: OpenReaders,
    now: Instant,
}

impl Room {
    fn new(unread_bytes: usize) -> Self {
        Self::with(StreamLimits { unread_bytes, ..StreamLimits::default() })
    }

    fn with(limits: StreamLimits) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the beginning of virtual time")]
        let now = Instant::now();
        let readers = OpenReaders::new(&limits);
        Self { streams: IncomingStreams::new(limits), readers, now }
    }

    fn packet(&mut self, value: Value) -> Option<StreamReader> {
        self.streams.handle_packet(self.now, &Origin::default(), value);
        let mut opened = None;
        while let Some(event) = self.streams.poll_event() {
            opened = self.readers.handle_event(event, &mut self.streams).or(opened);
        }
        opened
    }

    fn open(
        &mut self,
        id: &str,
        kind: proto::header::ContentHeader,
        inline_content: Option<Vec<u8>>,
    ) -> Option<StreamReader> {
        self.packet(Value::StreamHeader(proto::Header {
            stream_id: id.into(),
            topic: "chat".into(),
            content_header: Some(kind),
            inline_content,
            ..Default::default()
        }))
    }

    fn open_text(&mut self, id: &str) -> TextStreamReader {
        let text = proto::header::ContentHeader::TextHeader(proto::TextHeader::default());
        match self.open(id, text, None) {
            Some(StreamReader::Text(reader)) => reader,
            other => panic!("{other:?}"),
        }
    }

    fn chunk(&mut self, id: &str, chunk_index: u64, text: &str) {
        let content = text.as_bytes().to_vec();
        let chunk = proto::Chunk { stream_id: id.into(), chunk_index, content, ..Default::default() };
        self.packet(Value::StreamChunk(chunk));
    }

    fn trailer(&mut self, id: &str, reason: &str) {
        let attributes = HashMap::from([("end".to_owned(), "yes".to_owned())]);
        let trailer = proto::Trailer { stream_id: id.into(), reason: reason.into(), attributes };
        self.packet(Value::StreamTrailer(trailer));
    }
}
