//! The units that AV1 consists of (specification, section 5.3).

use crate::video::bits::BitReader;
use crate::video::malformed::MalformedVideo;

pub(super) const SEQUENCE_HEADER: u8 = 1;
pub(super) const TEMPORAL_DELIMITER: u8 = 2;
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;
const TILE_LIST: u8 = 8;

/// One unit, taken apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Obu<'a> {
    /// One byte, or two with an extension; it says that there is no size.
    header: [u8; 2],
    has_extension: bool,
    pub(super) payload: &'a [u8],
}

impl<'a> Obu<'a> {
    /// The unit at the beginning of `bytes`, and what comes after it. One without a size goes to the end.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), MalformedVideo> {
        let (&first, mut rest) = bytes.split_first().ok_or(MalformedVideo::Truncated)?;
        if first & 0x80 != 0 {
            return Err(MalformedVideo::BrokenObu);
        }
        let has_extension = first & 0x04 != 0;
        let mut header = [first & !0x02, 0];
        if has_extension {
            let (&extension, after) = rest.split_first().ok_or(MalformedVideo::Truncated)?;
            (header[1], rest) = (extension, after);
        }
        let mut end = rest.len();
        if first & 0x02 != 0 {
            (end, rest) = read_leb128(rest)?;
        }
        let (payload, after) = rest.split_at_checked(end).ok_or(MalformedVideo::Truncated)?;
        Ok((Self { header, has_extension, payload }, after))
    }

    pub(super) fn kind(&self) -> u8 {
        self.header[0] >> 3 & 0x0f
    }

    /// Whether RTP does without it.
    pub(super) fn is_left_out(&self) -> bool {
        matches!(self.kind(), TEMPORAL_DELIMITER | TILE_LIST)
    }

    /// Whether a frame begins here that needs no other frame: `frame_type` of the frame's header (section 5.9.2).
    ///
    /// Nothing if no frame begins here.
    pub(super) fn is_keyframe(&self) -> Option<bool> {
        if !matches!(self.kind(), FRAME_HEADER | FRAME) {
            return None;
        }
        let mut bits = BitReader::new(self.payload);
        let shows_existing = bits.flag()?;
        Some(!shows_existing && bits.number(2)? == 0)
    }

    /// As RTP has it: the size is that of the element.
    pub(super) fn without_size(&self) -> Vec<u8> {
        let mut bytes = self.header[..if self.has_extension { 2 } else { 1 }].to_vec();
        bytes.extend_from_slice(self.payload);
        bytes
    }

    /// As files have it.
    pub(super) fn write_with_size(&self, data: &mut Vec<u8>) {
        data.push(self.header[0] | 0x02);
        if self.has_extension {
            data.push(self.header[1]);
        }
        write_leb128(data, self.payload.len());
        data.extend_from_slice(self.payload);
    }
}

/// `leb128()` of section 4.10.5, and what comes after it.
pub(super) fn read_leb128(bytes: &[u8]) -> Result<(usize, &[u8]), MalformedVideo> {
    let mut value = 0_u64;
    for (index, &byte) in bytes.iter().enumerate().take(8) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            // Sizes have 32 bits; a larger one is beyond any frame, so that it is cut short.
            let value = u32::try_from(value).map_err(|_| MalformedVideo::BrokenObu)?;
            return Ok((value as usize, &bytes[index + 1..]));
        }
    }
    Err(if bytes.len() < 8 { MalformedVideo::Truncated } else { MalformedVideo::BrokenObu })
}

pub(super) fn write_leb128(data: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        data.push(value as u8 | 0x80);
        value >>= 7;
    }
    data.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        for value in [0, 1, 127, 128, 16_383, 16_384, 300_000, u32::MAX as usize] {
            let mut bytes = Vec::new();
            write_leb128(&mut bytes, value);
            assert_eq!(read_leb128(&bytes), Ok((value, &[][..])));
            assert_eq!(read_leb128(&bytes[..bytes.len() - 1]), Err(MalformedVideo::Truncated));
        }
        assert_eq!(read_leb128(&[0x80; 9]), Err(MalformedVideo::BrokenObu));
        assert_eq!(read_leb128(&[0xff, 0xff, 0xff, 0xff, 0x7f]), Err(MalformedVideo::BrokenObu));
        assert_eq!(read_leb128(&[0x81, 0x00, 7]), Ok((1, &[7][..])), "more bytes than needed are allowed");
    }
}
