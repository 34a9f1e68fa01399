//! How much a peer may ask of us with its streams.

use std::time::Duration;

/// What is accepted of the streams of others. Beyond a limit, the stream fails with a [`StreamError`](crate::StreamError).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamLimits {
    /// How many streams of one sender may be open at once; 256 unless set.
    pub open_streams_per_sender: usize,
    /// How many streams may be open at once; 1024 unless set.
    pub open_streams: usize,
    /// How many bytes the metadata of a header, or of a trailer, may have: id, topic, MIME type, name, attributes and ids of
    /// other streams. 64 KiB unless set; LiveKit's SDKs send 15,000 at most.
    pub metadata_bytes: usize,
    /// How long nothing may come of an open stream; 10 minutes unless set.
    pub idle_timeout: Duration,
    /// To how many bytes a compressed stream may unpack; 64 MiB unless set.
    pub decompressed_bytes: u64,
    /// To how many times its size a compressed stream may unpack, once it has unpacked to more than 1 MiB; 256 unless set.
    pub decompression_ratio: u64,
    /// How many bytes of a stream are kept for a reader that does not read; 16 MiB unless set.
    pub unread_bytes: usize,
    /// How many bytes are kept of all streams of the room together, for readers that do not read, that are collecting, or that
    /// nobody has taken yet: 128 MiB unless set, so that one stream of as much as `read_all` collects leaves room for others.
    /// What comes beyond ends the stream that it is of. The streams of one sender have two thirds of what those of the others
    /// leave, at most, so that nobody takes all of it: 85 MiB where nothing else is kept.
    pub unread_bytes_in_all: usize,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            open_streams_per_sender: 256,
            open_streams: 1024,
            metadata_bytes: 64 * 1024,
            idle_timeout: Duration::from_secs(600),
            decompressed_bytes: 64 * 1024 * 1024,
            decompression_ratio: 256,
            unread_bytes: 16 * 1024 * 1024,
            unread_bytes_in_all: 128 * 1024 * 1024,
        }
    }
}
