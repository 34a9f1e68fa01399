//! AV1: what a frame says of itself, and its RTP payloads (RTP Payload Format For AV1, AOM).

mod obu;
mod sequence_header;

use self::obu::{Obu, SEQUENCE_HEADER, TEMPORAL_DELIMITER, read_leb128, write_leb128};
use super::frame::FrameFacts;
use super::malformed::MalformedVideo;
use super::packet::{Depacketized, MAX_PAYLOAD};

/// A decoder can begin where there is a sequence header before a key frame.
pub(super) fn facts(data: &[u8]) -> FrameFacts {
    let mut facts = FrameFacts::default();
    let mut has_sequence_header = false;
    for obu in obus(data) {
        let Ok(obu) = obu else { break };
        if obu.kind() == SEQUENCE_HEADER {
            has_sequence_header = true;
            facts.dimensions = sequence_header::dimensions(obu.payload);
        } else if let Some(is_keyframe) = obu.is_keyframe() {
            facts.is_keyframe = is_keyframe && has_sequence_header;
            break;
        }
    }
    if facts.is_keyframe { facts } else { FrameFacts::default() }
}

/// A temporal unit of a file begins with such a delimiter; RTP leaves it out.
pub(super) const DELIMITER: [u8; 2] = [TEMPORAL_DELIMITER << 3 | 0x02, 0];

/// Whether a temporal unit has its delimiter.
pub(super) fn has_delimiter(data: &[u8]) -> bool {
    matches!(obus(data).next(), Some(Ok(obu)) if obu.kind() == TEMPORAL_DELIMITER)
}

/// Elements as full as they go, each packet counting its own (section 4.4).
pub(super) fn packetize(data: &[u8]) -> Result<Vec<Vec<u8>>, MalformedVideo> {
    let mut packet = Aggregate::default();
    let mut payloads = Vec::new();
    for obu in obus(data) {
        let obu = obu?;
        if obu.is_left_out() {
            continue;
        }
        let unit = obu.without_size();
        let mut rest = &unit[..];
        while !rest.is_empty() {
            if packet.room() < rest.len().min(SMALLEST_FRAGMENT) {
                payloads.push(packet.finish(false));
            }
            let part;
            (part, rest) = rest.split_at(packet.room().min(rest.len()));
            packet.push(part);
            if !rest.is_empty() {
                payloads.push(packet.finish(true));
            }
        }
    }
    if !packet.elements.is_empty() {
        payloads.push(packet.finish(false));
    }
    let first = payloads.first_mut().ok_or(MalformedVideo::Empty)?;
    if facts(data).is_keyframe {
        first[0] |= NEW_SEQUENCE;
    }
    Ok(payloads)
}

/// A packet in the making.
#[derive(Debug, Default)]
struct Aggregate {
    elements: Vec<Vec<u8>>,
    length: usize,
    continues: bool,
}

impl Aggregate {
    /// For an element, its length not counted: two bytes are enough for that.
    fn room(&self) -> usize {
        MAX_PAYLOAD.saturating_sub(1 + self.length + 2)
    }

    fn push(&mut self, element: &[u8]) {
        self.length += element.len() + 2;
        self.elements.push(element.to_vec());
    }

    /// Up to three elements are counted, and then the last has no length.
    fn finish(&mut self, is_continued: bool) -> Vec<u8> {
        let elements = std::mem::take(&mut self.elements);
        let count = if elements.len() <= 3 { elements.len() } else { 0 };
        let mut header = (count as u8) << 4;
        if self.continues {
            header |= CONTINUES;
        }
        if is_continued {
            header |= IS_CONTINUED;
        }
        let mut payload = vec![header];
        for (index, element) in elements.iter().enumerate() {
            if index + 1 != count {
                write_leb128(&mut payload, element.len());
            }
            payload.extend_from_slice(element);
        }
        *self = Self { continues: is_continued, ..Self::default() };
        payload
    }
}

/// Whether the packet begins a coded video sequence: it says so, or its first element is a sequence header.
pub(super) fn begins_keyframe(payload: &[u8]) -> bool {
    let Some(&header) = payload.first() else { return false };
    if header & CONTINUES != 0 {
        return false;
    }
    let first = elements(payload).next();
    let has_sequence_header = matches!(first, Some(Ok([obu, ..])) if obu >> 3 & 0x0f == SEQUENCE_HEADER);
    header & NEW_SEQUENCE != 0 || has_sequence_header
}

pub(super) fn depacketize<'a>(payloads: impl Iterator<Item = &'a [u8]>) -> Result<Depacketized, MalformedVideo> {
    let mut data = Vec::new();
    let mut begun: Option<Vec<u8>> = None;
    for payload in payloads {
        let &header = payload.first().ok_or(MalformedVideo::Empty)?;
        if (header & CONTINUES != 0) != begun.is_some() {
            return Err(MalformedVideo::BrokenFragment);
        }
        let mut elements = elements(payload).peekable();
        if elements.peek().is_none() {
            return Err(MalformedVideo::Empty);
        }
        while let Some(element) = elements.next() {
            let mut whole = begun.take().unwrap_or_default();
            whole.extend_from_slice(element?);
            if elements.peek().is_none() && header & IS_CONTINUED != 0 {
                begun = Some(whole);
            } else if !whole.is_empty() {
                let (obu, _) = Obu::parse(&whole)?;
                if !obu.is_left_out() {
                    obu.write_with_size(&mut data);
                }
            }
        }
    }
    if begun.is_some() {
        return Err(MalformedVideo::BrokenFragment);
    }
    if data.is_empty() {
        return Err(MalformedVideo::Empty);
    }
    let is_keyframe = facts(&data).is_keyframe;
    Ok(Depacketized { data, is_keyframe, has_picture: true, temporal_layer: None, layers: Vec::new() })
}

/// The elements of a payload after its aggregation header (section 4.3).
fn elements(payload: &[u8]) -> impl Iterator<Item = Result<&[u8], MalformedVideo>> {
    let count = payload.first().map_or(0, |header| header >> 4 & 0x03);
    let mut rest = payload.get(1..).unwrap_or_default();
    let mut index = 0;
    std::iter::from_fn(move || {
        if rest.is_empty() || (count != 0 && index == count) {
            return None;
        }
        index = if count == 0 { 0 } else { index + 1 };
        if count != 0 && index == count {
            return Some(Ok(std::mem::take(&mut rest)));
        }
        let found = read_leb128(rest)
            .and_then(|(length, after)| after.split_at_checked(length).ok_or(MalformedVideo::Truncated));
        rest = found.map_or(&[][..], |(_, after)| after);
        Some(found.map(|(element, _)| element))
    })
}

/// The units of a temporal unit in the low-overhead format; one without a size is the last.
fn obus(mut rest: &[u8]) -> impl Iterator<Item = Result<Obu<'_>, MalformedVideo>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let found = Obu::parse(rest);
        rest = found.map_or(&[][..], |(_, after)| after);
        Some(found.map(|(obu, _)| obu))
    })
}

/// A smaller rest of a packet is left empty.
const SMALLEST_FRAGMENT: usize = 32;

/// Z: the first element goes on with the last packet's last.
const CONTINUES: u8 = 0x80;
/// Y: the last element goes on in the next packet.
const IS_CONTINUED: u8 = 0x40;
/// N: the first packet of a coded video sequence.
const NEW_SEQUENCE: u8 = 0x08;

#[cfg(test)]
mod tests {
    use super::*;

    /// A sequence header of 66 x 50 as libaom makes it, without its header and size.
    const SEQUENCE: [u8; 10] = [0x00, 0x00, 0x00, 0x03, 0x2c, 0x1c, 0x4d, 0xaf, 0x90, 0x04];

    fn unit(units: &[(u8, &[u8])]) -> Vec<u8> {
        let mut data = Vec::new();
        for (kind, payload) in units {
            data.push(kind << 3 | 0x02);
            write_leb128(&mut data, payload.len());
            data.extend_from_slice(payload);
        }
        data
    }

    fn joined(payloads: &[Vec<u8>]) -> Result<Depacketized, MalformedVideo> {
        depacketize(payloads.iter().map(Vec::as_slice))
    }

    #[test]
    fn units_lose_their_sizes_and_delimiters_and_get_the_sizes_back() {
        let frame = [&[0x10][..], &[7; 50]].concat();
        let without_delimiter = unit(&[(1, &SEQUENCE), (6, &frame)]);
        let data = [&DELIMITER[..], &without_delimiter].concat();
        let payloads = packetize(&data).unwrap();
        assert_eq!(payloads.len(), 1);
        assert_eq!(payloads[0][..3], [0x28, 11, 0x08], "two elements, a new sequence");
        assert!(begins_keyframe(&payloads[0]));
        let joined = joined(&payloads).unwrap();
        assert_eq!(joined.data, without_delimiter);
        assert!(joined.is_keyframe);
        assert_eq!(facts(&data).dimensions, Some((66, 50)));
        assert!(has_delimiter(&data) && !has_delimiter(&without_delimiter));
    }

    #[test]
    fn a_large_unit_goes_over_several_packets() {
        let frame = [&[0x30][..], &[7; 3_000]].concat();
        let data = unit(&[(6, &frame)]);
        let payloads = packetize(&data).unwrap();
        let headers: Vec<_> = payloads.iter().map(|payload| payload[0]).collect();
        assert_eq!(headers, [0x50, 0xd0, 0x90]);
        assert_eq!(joined(&payloads).unwrap().data, data);
        assert!(!joined(&payloads).unwrap().is_keyframe);
        assert_eq!(joined(&payloads[..2]), Err(MalformedVideo::BrokenFragment));
        assert_eq!(joined(&payloads[1..]), Err(MalformedVideo::BrokenFragment));
    }

    #[test]
    fn many_small_units_have_lengths() {
        let units: Vec<(u8, &[u8])> = vec![(5, &[1, 2, 3]); 9];
        let data = unit(&units);
        let payloads = packetize(&data).unwrap();
        assert_eq!(payloads[0][..3], [0x00, 4, 0x28]);
        assert_eq!(joined(&payloads).unwrap().data, data);
    }

    #[test]
    fn a_unit_that_kept_its_size_and_an_extension_are_read() {
        let payload = [&[0x10, 0x36, 0x28, 3][..], &[1, 2, 3]].concat();
        let frame = depacketize([&payload[..]].into_iter()).unwrap();
        assert_eq!(frame.data, [0x36, 0x28, 3, 1, 2, 3]);
        assert_eq!(packetize(&frame.data).unwrap(), [[0x10, 0x34, 0x28, 1, 2, 3]]);
    }

    #[test]
    fn what_is_broken_is_no_frame() {
        let parts = |payload: &[u8]| depacketize([payload].into_iter()).unwrap_err();
        assert_eq!(parts(&[0x10]), MalformedVideo::Empty);
        assert_eq!(parts(&[0x00, 9, 0x30]), MalformedVideo::Truncated);
        assert_eq!(parts(&[0x10, 0x80, 1]), MalformedVideo::BrokenObu);
        assert_eq!(parts(&[0x10, 0x32, 9, 1]), MalformedVideo::Truncated);
        assert_eq!(parts(&[0x10, 0x10]), MalformedVideo::Empty, "nothing but a delimiter");
        assert_eq!(packetize(&[]), Err(MalformedVideo::Empty));
        assert_eq!(packetize(&[0x12, 0]), Err(MalformedVideo::Empty));
        assert_eq!(packetize(&[0x32, 9, 1]), Err(MalformedVideo::Truncated));
    }
}
