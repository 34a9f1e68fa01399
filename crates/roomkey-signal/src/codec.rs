//! Messages to websocket frames and back, within a size.
//!
//! livekit-server answers each client in the kind of frame that it last sent: binary frames are protobuf, text frames
//! are protobuf's JSON. Its own clients send binary ones.

use std::fmt;

use prost::Message as _;

use crate::breadth::{self, MAX_FIELDS};
use crate::proto::{SignalRequest, SignalResponse};

/// The largest message that a server takes from a client, in bytes. Offers of many tracks stay far below it.
pub const MAX_REQUEST_SIZE: usize = 512 * 1024;

/// The largest message that a client takes from a server, in bytes. A `join` lists everybody in the room, with their
/// tracks and metadata.
pub const MAX_RESPONSE_SIZE: usize = 16 * 1024 * 1024;

/// The payload of a websocket message.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a websocket has these two kinds of message")]
pub enum Frame {
    /// Protobuf.
    Binary(Vec<u8>),
    /// The JSON of protobuf.
    Text(String),
}

impl Frame {
    /// The length of the payload in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Binary(bytes) => bytes.len(),
            Self::Text(text) => text.len(),
        }
    }

    /// Whether the payload is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Shows the length only: a message can hold a token.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Binary(bytes) => write!(f, "Binary({} bytes)", bytes.len()),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
        }
    }
}

/// Reads what a client sent in a binary frame.
///
/// A message of a kind that this crate does not know, such as a newer client's, is a request with no `message`.
///
/// # Errors
/// If it is larger than [`MAX_REQUEST_SIZE`], has too many fields or is no protobuf.
pub fn decode_request(bytes: &[u8]) -> Result<SignalRequest, DecodeError> {
    within(bytes.len(), MAX_REQUEST_SIZE)?;
    not_too_broad(breadth::is_too_broad(bytes, &breadth::REQUEST))?;
    decode(bytes, MAX_REQUEST_SIZE)
}

/// Reads what a server sent in a binary frame.
///
/// A message of a kind that this crate does not know, such as a newer server's, is a response with no `message`.
///
/// # Errors
/// If it is larger than [`MAX_RESPONSE_SIZE`], has more than a million fields with a length, or is no protobuf.
pub fn decode_response(bytes: &[u8]) -> Result<SignalResponse, DecodeError> {
    within(bytes.len(), MAX_RESPONSE_SIZE)?;
    if breadth::is_too_broad_response(bytes) {
        return Err(DecodeError::TooManyFields { limit: breadth::MAX_RESPONSE_FIELDS });
    }
    decode(bytes, MAX_RESPONSE_SIZE)
}

/// Reads what a client sent in a text frame.
///
/// # Errors
/// If it is larger than [`MAX_REQUEST_SIZE`], has too many fields or is no JSON of a request. Members that are unknown are
/// passed over.
pub fn decode_request_json(text: &str) -> Result<SignalRequest, DecodeError> {
    within(text.len(), MAX_REQUEST_SIZE)?;
    not_too_broad(breadth::is_too_broad_json(text))?;
    let request: SignalRequest =
        serde_json::from_str(text).map_err(|error| DecodeError::Json { line: error.line(), column: error.column() })?;
    not_too_broad(breadth::is_too_broad(&request.encode_to_vec(), &breadth::REQUEST))?;
    Ok(request)
}

/// The binary frame of a request.
pub fn encode_request(request: &SignalRequest) -> Vec<u8> {
    request.encode_to_vec()
}

/// The binary frame of a response.
pub fn encode_response(response: &SignalResponse) -> Vec<u8> {
    response.encode_to_vec()
}

/// The text frame of a response, for a client that sent one.
pub fn encode_response_json(response: &SignalResponse) -> String {
    // An enum's number that this crate has no name for has no JSON.
    serde_json::to_string(response).unwrap_or_else(|_| "{}".to_owned())
}

fn decode<M: prost::Message + Default>(bytes: &[u8], limit: usize) -> Result<M, DecodeError> {
    within(bytes.len(), limit)?;
    M::decode(bytes).map_err(|error| DecodeError::Protobuf(Cause(error)))
}

fn within(size: usize, limit: usize) -> Result<(), DecodeError> {
    if size > limit { Err(DecodeError::TooLarge { size, limit }) } else { Ok(()) }
}

fn not_too_broad(is_too_broad: bool) -> Result<(), DecodeError> {
    if is_too_broad { Err(DecodeError::TooManyFields { limit: MAX_FIELDS }) } else { Ok(()) }
}

/// Why a message could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// It is larger than its receiver takes.
    #[non_exhaustive]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// What the receiver takes, in bytes.
        limit: usize,
    },
    /// It has more fields than its receiver takes: decoded, it would be many times its size.
    #[non_exhaustive]
    TooManyFields {
        /// What the receiver takes; a track counts for 64.
        limit: usize,
    },
    /// It is no protobuf of this kind of message.
    Protobuf(Cause),
    /// It is no JSON of this kind of message. What is there is not shown, since it can be anything.
    #[non_exhaustive]
    Json {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// A text frame came where only binary ones are read: a client asks for protobuf by sending it.
    Text,
}

/// What the protobuf library says.
#[derive(Clone, PartialEq, Eq)]
pub struct Cause(prost::DecodeError);

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { size, limit } => write!(f, "a signalling message of {size} bytes is over {limit}"),
            Self::TooManyFields { limit } => write!(f, "a signalling message has more fields than {limit}"),
            Self::Protobuf(_) => f.write_str("a signalling message is not protobuf"),
            Self::Json { line, column } => {
                write!(f, "a signalling message is not JSON of one, at line {line} column {column}")
            }
            Self::Text => f.write_str("a signalling message came as text, not as protobuf"),
        }
    }
}

impl std::error::Error for DecodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Protobuf(cause) => Some(&cause.0),
            Self::TooLarge { .. } | Self::TooManyFields { .. } | Self::Json { .. } | Self::Text => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{signal_request, signal_response};

    #[test]
    fn a_message_over_the_limit_is_refused_before_it_is_read() {
        let error = decode_request(&vec![0xff; MAX_REQUEST_SIZE + 1]).unwrap_err();
        assert_eq!(error, DecodeError::TooLarge { size: MAX_REQUEST_SIZE + 1, limit: MAX_REQUEST_SIZE });
        assert!(matches!(decode_request(&vec![0xff; MAX_REQUEST_SIZE]), Err(DecodeError::Protobuf(_))));
        assert!(matches!(decode_request_json(&" ".repeat(MAX_REQUEST_SIZE + 1)), Err(DecodeError::TooLarge { .. })));
    }

    /// `length` bytes of a join with empty entries of a list, each two bytes on the wire.
    fn empty_entries(length: usize) -> Vec<u8> {
        let list = [0x1a, 0].repeat(length / 2);
        let mut message = vec![0x0a];
        prost::encoding::encode_varint(list.len() as u64, &mut message);
        [message, list].concat()
    }

    #[test]
    fn a_small_message_of_a_server_that_would_be_large_in_memory_is_refused_before_it_is_read() {
        let many = empty_entries(4_000_000);
        let too_many = Err(DecodeError::TooManyFields { limit: breadth::MAX_RESPONSE_FIELDS });
        assert_eq!(decode_response(&many), too_many);
        // What can't be read at its end, or hides behind the mark of a group, is not read up to there either.
        assert_eq!(decode_response(&[&many[..], &[0x0f]].concat()), too_many);
        assert_eq!(decode_response(&[&[0x0b][..], &many].concat()), too_many);
        let full_room = decode_response(&empty_entries(1_000_000)).unwrap().message;
        assert!(
            matches!(full_room, Some(signal_response::Message::Join(join)) if join.other_participants.len() == 500_000)
        );
    }

    #[test]
    fn a_message_of_an_unknown_kind_is_one_without_content() {
        // Field 1000, length-delimited, empty.
        assert_eq!(decode_request(&[0xc2, 0x3e, 0]).unwrap().message, None);
        assert_eq!(decode_response(&[0xc2, 0x3e, 0]).unwrap().message, None);
    }

    #[test]
    fn text_is_read_and_written_as_the_json_of_protobuf() {
        let request = decode_request_json(r#"{"ping":"123"}"#).unwrap();
        assert_eq!(request.message, Some(signal_request::Message::Ping(123)));
        let response = SignalResponse { message: Some(signal_response::Message::Pong(5)) };
        assert_eq!(encode_response_json(&response), r#"{"pong":"5"}"#);
    }

    #[test]
    fn errors_and_frames_show_nothing_of_the_message() {
        let error = decode_request_json(r#"{"ping":"secret-token"}"#).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret-token"));
        assert_eq!(format!("{:?}", Frame::Text("secret".into())), "Text(6 bytes)");
        assert_eq!(format!("{:?}", Frame::Binary(b"secret".to_vec())), "Binary(6 bytes)");
    }
}
