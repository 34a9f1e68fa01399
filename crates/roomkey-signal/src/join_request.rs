//! The `join_request` of a query: a `JoinRequest`, maybe compressed, wrapped and in base64.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE};
use flate2::Compression as Level;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use prost::Message as _;

use crate::ConnectRequestError;
use crate::breadth;
use crate::proto::wrapped_join_request::Compression;
use crate::proto::{JoinRequest, WrappedJoinRequest};

/// The largest `JoinRequest`, after decompression, that livekit-server 1.13.5 takes, in bytes.
pub(crate) const MAX_JOIN_REQUEST_SIZE: usize = 1 << 20;

/// Go's decoder, which livekit-server uses, wants padding, skips line breaks, and lets unused bits be anything.
const DECODER: GeneralPurpose =
    GeneralPurpose::new(&alphabet::URL_SAFE, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

pub(crate) fn decode(text: &str) -> Result<JoinRequest, ConnectRequestError> {
    let text: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    let wrapped = DECODER.decode(text).map_err(|_| ConnectRequestError::JoinRequestNotBase64)?;
    let wrapped = WrappedJoinRequest::decode(&*wrapped).map_err(|_| ConnectRequestError::WrapperNotProtobuf)?;
    let message = match Compression::try_from(wrapped.compression) {
        Ok(Compression::None) if wrapped.join_request.len() > MAX_JOIN_REQUEST_SIZE => {
            return Err(ConnectRequestError::JoinRequestTooLarge);
        }
        Ok(Compression::None) => wrapped.join_request,
        Ok(Compression::Gzip) => decompress(&wrapped.join_request)?,
        // livekit-server looks into no other, and goes on with an empty request.
        Err(_) => Vec::new(),
    };
    if breadth::is_too_broad(&message, &breadth::JOIN) {
        return Err(ConnectRequestError::JoinRequestTooLarge);
    }
    JoinRequest::decode(&*message).map_err(|_| ConnectRequestError::JoinRequestNotProtobuf)
}

/// Compressed if there is an SDP inside, as LiveKit's own clients do: little else is worth it.
pub(crate) fn encode(request: &JoinRequest) -> String {
    let message = request.encode_to_vec();
    let (compression, join_request) = if request.publisher_offer.is_some() {
        (Compression::Gzip, compress(&message))
    } else {
        (Compression::None, message)
    };
    URL_SAFE.encode(WrappedJoinRequest { compression: compression.into(), join_request }.encode_to_vec())
}

fn compress(message: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::default());
    encoder.write_all(message).and_then(|()| encoder.finish()).expect("a Vec takes all that is written")
}

fn decompress(compressed: &[u8]) -> Result<Vec<u8>, ConnectRequestError> {
    let mut message = Vec::new();
    MultiGzDecoder::new(compressed)
        .take(MAX_JOIN_REQUEST_SIZE as u64 + 1)
        .read_to_end(&mut message)
        .map_err(|_| ConnectRequestError::JoinRequestNotGzip)?;
    if message.len() > MAX_JOIN_REQUEST_SIZE {
        return Err(ConnectRequestError::JoinRequestTooLarge);
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::SessionDescription;

    fn wrapped(compression: i32, join_request: Vec<u8>) -> String {
        URL_SAFE.encode(WrappedJoinRequest { compression, join_request }.encode_to_vec())
    }

    #[test]
    fn what_is_written_is_read_compressed_or_not() {
        let plain = JoinRequest { metadata: "m".into(), ..Default::default() };
        let offer = SessionDescription { sdp: "v=0\r\n".repeat(500), ..Default::default() };
        let offering = JoinRequest { publisher_offer: Some(offer), ..Default::default() };
        assert!(encode(&offering).len() < 500, "an SDP is compressed");
        for request in [plain, offering, JoinRequest::default()] {
            assert_eq!(decode(&encode(&request)).unwrap(), request);
        }
    }

    #[test]
    fn a_small_request_that_decompresses_to_a_large_one_is_refused() {
        let bomb = compress(&vec![0; 4 << 20]);
        assert!(bomb.len() < MAX_JOIN_REQUEST_SIZE);
        assert_eq!(decode(&wrapped(1, bomb)).unwrap_err(), ConnectRequestError::JoinRequestTooLarge);
        let plain = vec![0; MAX_JOIN_REQUEST_SIZE + 1];
        assert_eq!(decode(&wrapped(0, plain)).unwrap_err(), ConnectRequestError::JoinRequestTooLarge);
    }

    #[test]
    fn a_small_request_with_more_tracks_than_anybody_has_is_refused() {
        let tracks = vec![crate::proto::AddTrackRequest::default(); 400_000];
        let message = JoinRequest { add_track_requests: tracks, ..Default::default() }.encode_to_vec();
        assert!(message.len() < MAX_JOIN_REQUEST_SIZE);
        let compressed = compress(&message);
        assert!(compressed.len() < 8_192);
        assert_eq!(decode(&wrapped(1, compressed)).unwrap_err(), ConnectRequestError::JoinRequestTooLarge);
    }

    #[test]
    fn each_layer_that_cannot_be_read_has_its_own_error() {
        let cases = [
            ("no base64".to_owned(), ConnectRequestError::JoinRequestNotBase64),
            ("AAA".to_owned(), ConnectRequestError::JoinRequestNotBase64),
            ("____".to_owned(), ConnectRequestError::WrapperNotProtobuf),
            (wrapped(1, b"no gzip".to_vec()), ConnectRequestError::JoinRequestNotGzip),
            (wrapped(0, vec![0xff]), ConnectRequestError::JoinRequestNotProtobuf),
            (wrapped(1, compress(&[0xff])), ConnectRequestError::JoinRequestNotProtobuf),
        ];
        for (text, error) in cases {
            assert_eq!(decode(&text).unwrap_err(), error, "{text}");
        }
        assert_eq!(decode(&wrapped(7, b"other".to_vec())).unwrap(), JoinRequest::default());
    }
}
