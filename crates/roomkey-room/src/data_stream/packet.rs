//! The packets of a stream.

use std::collections::HashMap;

use flate2::{Compress, Compression, FlushCompress, Status};
use livekit_protocol::data_packet::Value;
use livekit_protocol::{DataPacket, data_stream as proto};
use prost::Message as _;

use super::error::StreamError;
use crate::names::ParticipantIdentity;

/// How many bytes of contents a chunk has, and how many a header's or a trailer's packet, at most. LiveKit's SDKs keep to the
/// same, some below the 16 KiB that every data channel carries in one message.
pub(crate) const PACKET_BYTES: usize = 15_000;

/// A reliable packet to these participants, or to all if there are none. The server puts the sender on it.
pub(crate) fn packet_to(destination_identities: &[ParticipantIdentity], value: Value) -> DataPacket {
    DataPacket {
        destination_identities: destination_identities.iter().map(|identity| identity.as_str().to_owned()).collect(),
        value: Some(value),
        ..DataPacket::default()
    }
}

/// A chunk of a stream.
pub(crate) fn chunk(to: &[ParticipantIdentity], stream_id: &str, chunk_index: u64, content: &[u8]) -> DataPacket {
    let chunk = proto::Chunk {
        stream_id: stream_id.to_owned(),
        chunk_index,
        content: content.to_vec(),
        ..proto::Chunk::default()
    };
    packet_to(to, Value::StreamChunk(chunk))
}

/// The end of a stream: the regular one if there is no reason.
pub(crate) fn trailer(
    to: &[ParticipantIdentity],
    stream_id: &str,
    reason: &str,
    attributes: HashMap<String, String>,
) -> DataPacket {
    let trailer = proto::Trailer { stream_id: stream_id.to_owned(), reason: reason.to_owned(), attributes };
    packet_to(to, Value::StreamTrailer(trailer))
}

/// The packet, if it is small enough for one that carries metadata.
pub(crate) fn within_size(packet: DataPacket) -> Result<DataPacket, StreamError> {
    let bytes = packet.encoded_len();
    if bytes > PACKET_BYTES { Err(StreamError::MetadataTooLarge { bytes, limit: PACKET_BYTES }) } else { Ok(packet) }
}

/// Where a text is to be cut so that at most `limit` bytes come first and no character is split.
pub(crate) fn text_cut(text: &str, limit: usize) -> usize {
    text.floor_char_boundary(limit)
}

/// A random id (RFC 9562 section 5.4).
pub(crate) fn uuid(rng: &mut fastrand::Rng) -> String {
    let bits = rng.u128(..) & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        (bits >> 96) as u32,
        (bits >> 80) as u16,
        (bits >> 64) as u16,
        (bits >> 48) as u16,
        bits & 0xffff_ffff_ffff
    )
}

/// Raw DEFLATE (RFC 1951) of this content.
pub(crate) fn deflate(content: &[u8]) -> Vec<u8> {
    let mut state = Compress::new(Compression::default(), false);
    let mut output = Vec::with_capacity(content.len() / 4 + 64);
    loop {
        let rest = content.get(state.total_in() as usize..).unwrap_or_default();
        let status = state.compress_vec(rest, &mut output, FlushCompress::Finish);
        if status.expect("compression without a dictionary has no errors") == Status::StreamEnd {
            return output;
        }
        output.reserve(output.capacity().max(64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_random_uuid() {
        let mut rng = fastrand::Rng::with_seed(1);
        let id = uuid(&mut rng);
        let dashes: Vec<_> = id.match_indices('-').map(|(at, _)| at).collect();
        assert_eq!((id.len(), dashes), (36, vec![8, 13, 18, 23]));
        assert_eq!(id.as_bytes()[14], b'4', "version");
        assert!(b"89ab".contains(&id.as_bytes()[19]), "variant");
        assert_ne!(id, uuid(&mut rng));
    }
}
