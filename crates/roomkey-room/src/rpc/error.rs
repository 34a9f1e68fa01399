//! Why a call has no answer.

use std::error::Error;
use std::fmt;

use livekit_protocol as proto;

/// Why a call failed, at either end; what a method answers when it cannot do what was asked.
///
/// It goes over the wire as it is. Codes from 1400 to 1999 are LiveKit's; methods may answer with any other.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RpcError {
    /// What kind of error it is, such as [`Self::UNSUPPORTED_METHOD`].
    pub code: u32,
    /// What to tell; 256 bytes at most.
    pub message: String,
    /// More about it, in a form that caller and method agree on; 15,360 bytes at most.
    pub data: Option<String>,
}

impl RpcError {
    /// The participant has no such method.
    pub const UNSUPPORTED_METHOD: u32 = 1400;
    /// There is no such participant.
    pub const RECIPIENT_NOT_FOUND: u32 = 1401;
    /// The request is larger than what the recipient can take: 15,360 bytes, if it knows RPC in packets only.
    pub const REQUEST_PAYLOAD_TOO_LARGE: u32 = 1402;
    /// The server knows no RPC; livekit-server does from 1.8 on.
    pub const UNSUPPORTED_SERVER: u32 = 1403;
    /// The request is of a version that the recipient does not know.
    pub const UNSUPPORTED_VERSION: u32 = 1404;
    /// The method failed without saying more.
    pub const APPLICATION_ERROR: u32 = 1500;
    /// The recipient has not acknowledged the request in time.
    pub const CONNECTION_TIMEOUT: u32 = 1501;
    /// The recipient has acknowledged the request, and has not answered in time.
    pub const RESPONSE_TIMEOUT: u32 = 1502;
    /// The recipient left before it answered, or this client lost the room.
    pub const RECIPIENT_DISCONNECTED: u32 = 1503;
    /// The answer is larger than what the caller can take: 15,360 bytes, if it knows RPC in packets only.
    pub const RESPONSE_PAYLOAD_TOO_LARGE: u32 = 1504;
    /// The request or the answer could not be sent.
    pub const SEND_FAILED: u32 = 1505;

    /// An error of one's own. What is longer than the wire allows is cut off.
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: cut(message.into(), MESSAGE_BYTES), data: None }
    }

    /// Says more about it. What is longer than the wire allows is cut off.
    #[must_use]
    pub fn with_data(mut self, data: impl Into<String>) -> Self {
        self.data = Some(cut(data.into(), PACKET_PAYLOAD_BYTES));
        self
    }

    /// An error of this code with the message that LiveKit's SDKs have for it.
    pub(crate) fn of(code: u32) -> Self {
        let message = match code {
            Self::UNSUPPORTED_METHOD => "Method not supported at destination",
            Self::RECIPIENT_NOT_FOUND => "Recipient not found",
            Self::REQUEST_PAYLOAD_TOO_LARGE => "Request payload too large",
            Self::UNSUPPORTED_SERVER => "RPC not supported by server",
            Self::UNSUPPORTED_VERSION => "Unsupported RPC version",
            Self::CONNECTION_TIMEOUT => "Connection timeout",
            Self::RESPONSE_TIMEOUT => "Response timeout",
            Self::RECIPIENT_DISCONNECTED => "Recipient disconnected",
            Self::RESPONSE_PAYLOAD_TOO_LARGE => "Response payload too large",
            Self::SEND_FAILED => "Failed to send",
            _ => "Application error in method handler",
        };
        Self::new(code, message)
    }

    pub(crate) fn from_proto(error: proto::RpcError) -> Self {
        let data = Some(error.data).filter(|data| !data.is_empty());
        let received = Self::new(error.code, error.message);
        match data {
            Some(data) => received.with_data(data),
            None => received,
        }
    }

    pub(crate) fn into_proto(self) -> proto::RpcError {
        // The fields are public, and may have been made longer since.
        let data = self.data.map(|data| cut(data, PACKET_PAYLOAD_BYTES)).unwrap_or_default();
        proto::RpcError { code: self.code, message: cut(self.message, MESSAGE_BYTES), data }
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the call failed with code {}: {:?}", self.code, self.message)
    }
}

impl Error for RpcError {}

fn cut(mut text: String, bytes: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes));
    text
}

/// How large a request or an answer in a packet may be, and the data of an error.
pub(crate) const PACKET_PAYLOAD_BYTES: usize = 15 * 1024;

const MESSAGE_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        let error = RpcError::new(7, "€".repeat(100)).with_data("😀".repeat(4_000));
        assert_eq!((error.message.len(), error.data.as_ref().map(String::len)), (255, Some(15_360)));
        let mut error = RpcError::new(7, "short");
        error.message = "x".repeat(1_000);
        assert_eq!(error.into_proto().message.len(), 256);
    }

    #[test]
    fn an_error_survives_the_wire() {
        for error in [RpcError::new(7, "no"), RpcError::new(1500, "").with_data("{}")] {
            assert_eq!(RpcError::from_proto(error.clone().into_proto()), error);
        }
    }
}
