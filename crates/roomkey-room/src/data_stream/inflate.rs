//! Decompression of a stream that was made by somebody else.

use flate2::{Decompress, FlushDecompress, Status};

use super::error::StreamError;
use super::limits::StreamLimits;

/// A raw DEFLATE stream (RFC 1951) that comes in pieces, and is left as soon as it unpacks to more than is allowed.
#[derive(Debug)]
pub(crate) struct Inflater {
    state: Decompress,
    has_ended: bool,
    allowed_bytes: u64,
    allowed_ratio: u64,
}

impl Inflater {
    /// One that unpacks to what the limits allow, or to the announced length if that is less.
    pub(crate) fn new(limits: &StreamLimits) -> Self {
        Self {
            state: Decompress::new(false),
            has_ended: false,
            allowed_bytes: limits.decompressed_bytes,
            allowed_ratio: limits.decompression_ratio,
        }
    }

    /// What this piece unpacks to. `length_left` is how many bytes the sender announced and has not sent: one more than that
    /// is given at most, enough for the caller to see that there are too many.
    pub(crate) fn inflate(&mut self, piece: &[u8], length_left: Option<u64>) -> Result<Vec<u8>, StreamError> {
        let mut rest = piece;
        let mut output = Vec::new();
        let mut buffer = [0; BUFFER_BYTES];
        loop {
            if self.has_ended {
                return if rest.is_empty() { Ok(output) } else { Err(StreamError::InvalidDeflate) };
            }
            let (before_in, before_out) = (self.state.total_in(), self.state.total_out());
            let status = self
                .state
                .decompress(rest, &mut buffer, FlushDecompress::None)
                .map_err(|_| StreamError::InvalidDeflate)?;
            let consumed = (self.state.total_in() - before_in) as usize;
            let produced = (self.state.total_out() - before_out) as usize;
            rest = rest.get(consumed..).unwrap_or_default();
            output.extend_from_slice(&buffer[..produced]);
            if length_left.is_some_and(|left| output.len() as u64 > left) {
                return Ok(output);
            }
            if self.is_too_much() {
                return Err(StreamError::DecompressionBomb);
            }
            match status {
                Status::StreamEnd => self.has_ended = true,
                // All input is taken, and the buffer had room for more: the rest is in the next piece.
                Status::Ok | Status::BufError if rest.is_empty() && produced < buffer.len() => return Ok(output),
                Status::Ok | Status::BufError if consumed == 0 && produced == 0 => {
                    return Err(StreamError::InvalidDeflate);
                }
                Status::Ok | Status::BufError => {}
            }
        }
    }

    /// Whether the compressed stream is complete.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    fn is_too_much(&self) -> bool {
        let (compressed, decompressed) = (self.state.total_in(), self.state.total_out());
        decompressed > self.allowed_bytes
            || (decompressed > RATIO_FREE_BYTES && decompressed > compressed.saturating_mul(self.allowed_ratio))
    }
}

const BUFFER_BYTES: usize = 16 * 1024;

/// Up to here a ratio says nothing: a short text may well be all spaces.
const RATIO_FREE_BYTES: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_stream::packet::deflate;

    #[test]
    fn pieces_of_any_size_unpack_to_the_same() {
        let content: Vec<u8> = (0..200_000_u32).map(|n| (n.wrapping_mul(n) / 7) as u8).collect();
        let compressed = deflate(&content);
        for width in [1, 7, 15_000, compressed.len()] {
            let mut inflater = Inflater::new(&StreamLimits::default());
            let unpacked: Vec<u8> =
                compressed.chunks(width).flat_map(|piece| inflater.inflate(piece, None).unwrap()).collect();
            assert!(inflater.has_ended());
            assert!(unpacked == content, "pieces of {width}");
        }
    }

    #[test]
    fn a_bomb_is_left_at_the_limit() {
        let bomb = deflate(&vec![0; 8 << 20]);
        assert_eq!(
            Inflater::new(&StreamLimits::default()).inflate(&bomb, None),
            Err(StreamError::DecompressionBomb),
            "by its ratio"
        );
        let limits = StreamLimits { decompressed_bytes: 100_000, ..StreamLimits::default() };
        let long = deflate(&vec![7; 100_001]);
        assert_eq!(Inflater::new(&limits).inflate(&long, None), Err(StreamError::DecompressionBomb), "by its size");
        assert_eq!(Inflater::new(&limits).inflate(&deflate(&vec![7; 100_000]), None).unwrap().len(), 100_000);
    }

    #[test]
    fn an_announced_length_stops_a_bomb_earlier() {
        let bomb = deflate(&vec![0; 64 << 20]);
        let output = Inflater::new(&StreamLimits::default()).inflate(&bomb, Some(10)).unwrap();
        assert!(output.len() > 10 && output.len() <= BUFFER_BYTES);
    }

    #[test]
    fn rubbish_and_what_follows_the_end_are_errors() {
        let mut inflater = Inflater::new(&StreamLimits::default());
        assert_eq!(inflater.inflate(&[0xff; 64], None), Err(StreamError::InvalidDeflate));
        let mut followed = deflate(b"hello");
        followed.push(0);
        assert_eq!(Inflater::new(&StreamLimits::default()).inflate(&followed, None), Err(StreamError::InvalidDeflate));
    }
}
