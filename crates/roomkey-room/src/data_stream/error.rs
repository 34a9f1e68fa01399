//! Why a stream failed.

use std::error::Error;
use std::fmt;

/// Why a stream could not be opened, or ended before its contents were complete.
///
/// It concerns one stream. Others, and the room, go on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamError {
    /// The sender ended the stream before its contents were complete.
    Aborted {
        /// What the sender says of it, such as `error` or `interrupted`.
        reason: String,
    },
    /// The sender left the room in the middle of the stream; or it came again and did not go on with the stream within five
    /// seconds of being able to, as another process under its identity.
    SenderLeft,
    /// The connection to the room ended in the middle of the stream.
    Disconnected,
    /// This client [joined the room anew](crate::ConnectionState::Restarting) in the middle of the stream, and the rest of it may
    /// have come in between: nothing more came for a minute, or the end came, and nothing says whether what was before it is all.
    Interrupted,
    /// Nothing came for longer than [`StreamLimits::idle_timeout`](crate::StreamLimits::idle_timeout).
    TimedOut,
    /// A chunk is missing: it came while this client [joined anew](crate::ConnectionState::Restarting), or the sender made a
    /// mistake.
    MissedChunk {
        /// The index that should have come.
        expected: u64,
        /// The index that came.
        received: u64,
    },
    /// There is more than the sender announced.
    LengthExceeded {
        /// The announced length in bytes.
        total_length: u64,
    },
    /// The stream ended before all of it came.
    Incomplete {
        /// How many bytes came, after decompression.
        received: u64,
        /// The announced length in bytes, if there was one.
        total_length: Option<u64>,
    },
    /// The text is not UTF-8.
    InvalidUtf8,
    /// The contents are not what DEFLATE (RFC 1951) makes.
    InvalidDeflate,
    /// The contents unpack to more than is allowed, in all or for what came.
    DecompressionBomb,
    /// The contents are compressed in a way that this client does not know.
    UnknownCompression,
    /// The contents are encrypted in a way that this client does not read.
    Encrypted,
    /// The stream began encrypted end to end and goes on without, or the other way round.
    EncryptionMismatch,
    /// The header has no id, or does not say whether it is of text or of bytes.
    InvalidHeader,
    /// The metadata of a stream (id, topic, attributes, destinations, …) is larger than a packet may be or a limit allows.
    MetadataTooLarge {
        /// How many bytes there are.
        bytes: usize,
        /// How many may be.
        limit: usize,
    },
    /// Too many streams are open, of this sender or of all.
    TooManyStreams,
    /// The contents are larger than the reader was willing to collect.
    TooLarge {
        /// The most bytes that it would collect.
        limit: usize,
    },
    /// More came than was read, up to the limit of what is kept for a reader, or of a sender and for all readers of the room.
    TooMuchUnread {
        /// The most bytes that are kept.
        limit: usize,
    },
    /// The stream has been closed by this client.
    Closed,
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aborted { reason } => write!(f, "the sender ended the stream early: {reason:?}"),
            Self::SenderLeft => f.write_str("the sender left in the middle of the stream"),
            Self::Interrupted => f.write_str("the room was joined anew in the middle of the stream"),
            Self::Disconnected => f.write_str("the connection ended in the middle of the stream"),
            Self::TimedOut => f.write_str("nothing more came of the stream"),
            Self::MissedChunk { expected, received } => {
                write!(f, "chunk {received} of the stream came instead of chunk {expected}")
            }
            Self::LengthExceeded { total_length } => {
                write!(f, "the stream is longer than the {total_length} bytes that were announced")
            }
            Self::Incomplete { received, total_length: Some(total) } => {
                write!(f, "the stream ended after {received} of {total} bytes")
            }
            Self::Incomplete { received, total_length: None } => {
                write!(f, "the stream ended in the middle, after {received} bytes")
            }
            Self::InvalidUtf8 => f.write_str("the text of the stream is not UTF-8"),
            Self::InvalidDeflate => f.write_str("the stream could not be decompressed"),
            Self::DecompressionBomb => f.write_str("the stream decompresses to more than is allowed"),
            Self::UnknownCompression => f.write_str("the stream is compressed in an unknown way"),
            Self::Encrypted => f.write_str("the stream is encrypted in a way that is not supported"),
            Self::EncryptionMismatch => f.write_str("the stream is encrypted in part"),
            Self::InvalidHeader => f.write_str("the stream's header has no id or no kind"),
            Self::MetadataTooLarge { bytes, limit } => {
                write!(f, "the stream's metadata has {bytes} bytes, {limit} are allowed")
            }
            Self::TooManyStreams => f.write_str("too many streams are open"),
            Self::TooLarge { limit } => write!(f, "the stream has more than the {limit} bytes that may be collected"),
            Self::TooMuchUnread { limit } => {
                write!(f, "the stream was not read: more than {limit} bytes of it, or of all streams, were waiting")
            }
            Self::Closed => f.write_str("the stream has been closed"),
        }
    }
}

impl Error for StreamError {}
