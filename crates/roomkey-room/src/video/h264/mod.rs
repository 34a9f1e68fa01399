//! H.264: what a frame says of itself, and its RTP payloads (RFC 6184, packetization-mode 1).

mod sps;

use super::frame::FrameFacts;
use super::malformed::MalformedVideo;
use super::packet::{Depacketized, MAX_PAYLOAD};
use super::packetizer::{NotPacketized, even_parts};

pub(super) fn facts(data: &[u8]) -> FrameFacts {
    let is_keyframe = units(data).any(|unit| kind(unit) == IDR);
    let dimensions = units(data).find(|unit| kind(unit) == SPS).filter(|_| is_keyframe).and_then(sps::dimensions);
    FrameFacts { is_keyframe, dimensions }
}

/// The parameter sets that an encoder made last. Some encoders make them once only, but who joins later needs them too,
/// and the server takes nothing else for a key frame.
#[derive(Debug, Default)]
pub(super) struct ParameterSets {
    units: Vec<Vec<u8>>,
}

impl ParameterSets {
    /// Many more than an encoder has.
    const MOST_BYTES: usize = 64 << 10;

    fn remember(&mut self, units: &[&[u8]]) {
        let sets = || units.iter().filter(|unit| matches!(kind(unit), SPS | PPS | SPS_EXTENSION | SUBSET_SPS));
        if sets().any(|unit| kind(unit) == SPS) && sets().map(|unit| unit.len()).sum::<usize>() <= Self::MOST_BYTES {
            self.units = sets().map(|unit| unit.to_vec()).collect();
        }
    }
}

/// Delimiters and fillers are left out.
pub(super) fn packetize(data: &[u8], sets: &mut ParameterSets) -> Result<Vec<Vec<u8>>, MalformedVideo> {
    Ok(pack(&complete(data, sets)?))
}

/// The same of a frame that is sealed as a receiver will put it together. Parameter sets alone are kept for the next key
/// frame: nothing goes without what authenticates it.
pub(super) fn packetize_sealed(
    data: &[u8],
    sets: &mut ParameterSets,
    seal: impl FnOnce(&[u8]) -> Result<Vec<u8>, NotPacketized>,
) -> Result<Vec<Vec<u8>>, NotPacketized> {
    let units = complete(data, sets)?;
    let Some(slice) = units.iter().position(|unit| matches!(kind(unit), SLICE | IDR)) else { return Ok(Vec::new()) };
    let before: usize = units[..slice].iter().map(|unit| START_CODE.len() + unit.len()).sum();
    let mut plain = Vec::with_capacity(data.len() + START_CODE.len() * units.len());
    for unit in &units {
        plain.extend_from_slice(&START_CODE);
        plain.extend_from_slice(unit);
    }
    let sealed = seal(&plain)?;
    // All from the first slice on has become one unit.
    let rest = sealed.get(before + START_CODE.len()..).ok_or(NotPacketized::NotSealed)?;
    Ok(pack(&[&units[..slice], &[rest]].concat()))
}

/// The units of a frame, with the parameter sets that a key frame needs.
fn complete<'a>(data: &'a [u8], sets: &'a mut ParameterSets) -> Result<Vec<&'a [u8]>, MalformedVideo> {
    if data.is_empty() {
        return Err(MalformedVideo::Empty);
    }
    if start_code(data, 0).is_none_or(|(at, _)| data[..at].iter().any(|byte| *byte != 0)) {
        return Err(MalformedVideo::NoStartCode);
    }
    let own: Vec<&[u8]> = units(data).filter(|unit| !matches!(kind(unit), DELIMITER | FILLER)).collect();
    if let Some(unit) = own.iter().find(|unit| !(1..=23).contains(&kind(unit))) {
        return Err(MalformedVideo::UnsupportedNalUnit(kind(unit)));
    }
    if own.is_empty() {
        return Err(MalformedVideo::Empty);
    }
    sets.remember(&own);
    let has = |wanted| own.iter().any(|unit| kind(unit) == wanted);
    let repeated = if has(IDR) && !has(SPS) { &sets.units[..] } else { &[] };
    Ok(repeated.iter().map(Vec::as_slice).chain(own).collect())
}

fn pack<'a>(units: &[&'a [u8]]) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    let mut together: Vec<&'a [u8]> = Vec::new();
    let mut length = 1;
    for &unit in units {
        if length + 2 + unit.len() > MAX_PAYLOAD {
            flush(&mut together, &mut payloads);
            length = 1;
        }
        if unit.len() > MAX_PAYLOAD {
            fragment(unit, &mut payloads);
        } else {
            together.push(unit);
            length += 2 + unit.len();
        }
    }
    flush(&mut together, &mut payloads);
    payloads
}

/// One unit as it is, several in a STAP-A (RFC 6184 section 5.7.1).
fn flush(together: &mut Vec<&[u8]>, payloads: &mut Vec<Vec<u8>>) {
    match together[..] {
        [] => {}
        [unit] => payloads.push(unit.to_vec()),
        _ => {
            let importance = together.iter().map(|unit| unit[0] & 0x60).max().unwrap_or_default();
            let mut payload = vec![importance | STAP_A];
            for unit in &**together {
                let length = u16::try_from(unit.len()).expect("units that go together fit into a packet");
                payload.extend_from_slice(&length.to_be_bytes());
                payload.extend_from_slice(unit);
            }
            payloads.push(payload);
        }
    }
    together.clear();
}

/// Into FU-As (RFC 6184 section 5.8).
fn fragment(unit: &[u8], payloads: &mut Vec<Vec<u8>>) {
    let (header, body) = (unit[0], &unit[1..]);
    for part in even_parts(body.len(), MAX_PAYLOAD - 2) {
        let start = if part.start == 0 { 0x80 } else { 0 };
        let end = if part.end == body.len() { 0x40 } else { 0 };
        let mut payload = vec![header & 0x60 | FU_A, start | end | header & 0x1f];
        payload.extend_from_slice(&body[part]);
        payloads.push(payload);
    }
}

/// Whether the packet begins a key frame: it has a parameter set. An IDR picture alone says not whether one came before it.
pub(super) fn begins_keyframe(payload: &[u8]) -> bool {
    match payload.first().map(|header| header & 0x1f) {
        Some(STAP_A) => aggregated(&payload[1..]).flatten().any(|unit| kind(unit) == SPS),
        Some(FU_A) => payload.get(1).is_some_and(|fu| fu & 0x9f == 0x80 | SPS),
        kind => kind == Some(SPS),
    }
}

pub(super) fn depacketize<'a>(payloads: impl Iterator<Item = &'a [u8]>) -> Result<Depacketized, MalformedVideo> {
    let mut data = Vec::new();
    // The type of the unit whose fragments are coming.
    let mut fragmented = None;
    let (mut is_keyframe, mut has_picture) = (false, false);
    let mut push = |data: &mut Vec<u8>, header: u8, body: &[u8]| {
        is_keyframe |= header & 0x1f == IDR;
        has_picture |= (1..=IDR).contains(&(header & 0x1f));
        data.extend_from_slice(&START_CODE);
        data.push(header);
        data.extend_from_slice(body);
    };
    for payload in payloads {
        let (&header, body) = payload.split_first().ok_or(MalformedVideo::Empty)?;
        let kind = header & 0x1f;
        if fragmented.is_some() && kind != FU_A {
            return Err(MalformedVideo::BrokenFragment);
        }
        match kind {
            1..=23 => push(&mut data, header, body),
            STAP_A => {
                for unit in aggregated(body) {
                    let (&header, body) = unit?.split_first().ok_or(MalformedVideo::Truncated)?;
                    if !(1..=23).contains(&(header & 0x1f)) {
                        return Err(MalformedVideo::UnsupportedNalUnit(header & 0x1f));
                    }
                    push(&mut data, header, body);
                }
            }
            FU_A => {
                let (&fu, body) = body.split_first().ok_or(MalformedVideo::Truncated)?;
                let kind = fu & 0x1f;
                match (fu & 0x80 != 0, fragmented) {
                    (true, None) if (1..=23).contains(&kind) => push(&mut data, header & 0xe0 | kind, body),
                    (false, Some(begun)) if begun == kind => data.extend_from_slice(body),
                    _ => return Err(MalformedVideo::BrokenFragment),
                }
                fragmented = (fu & 0x40 == 0).then_some(kind);
            }
            other => return Err(MalformedVideo::UnsupportedNalUnit(other)),
        }
    }
    if fragmented.is_some() {
        return Err(MalformedVideo::BrokenFragment);
    }
    if data.is_empty() {
        return Err(MalformedVideo::Empty);
    }
    Ok(Depacketized { data, is_keyframe, has_picture, temporal_layer: None, layers: Vec::new() })
}

/// The units of a STAP-A, each after its length; an error where one is cut short.
fn aggregated(mut rest: &[u8]) -> impl Iterator<Item = Result<&[u8], MalformedVideo>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let found = rest.split_first_chunk().and_then(|(length, after)| {
            after.split_at_checked(usize::from(u16::from_be_bytes(*length))).filter(|(unit, _)| !unit.is_empty())
        });
        rest = found.map_or(&[][..], |(_, after)| after);
        Some(found.map(|(unit, _)| unit).ok_or(MalformedVideo::Truncated))
    })
}

/// The NAL units between start codes, without the zeros that may follow one (Annex B).
fn units(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut begin = start_code(data, 0).map(|(_, end)| end);
    std::iter::from_fn(move || {
        let from = begin?;
        let next = start_code(data, from);
        begin = next.map(|(_, end)| end);
        let unit = &data[from..next.map_or(data.len(), |(at, _)| at)];
        let length = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Some(&unit[..length])
    })
    .filter(|unit| !unit.is_empty())
}

/// Where the next `00 00 01` is, and where it ends.
fn start_code(data: &[u8], from: usize) -> Option<(usize, usize)> {
    let at = from + data[from..].windows(3).position(|window| window == [0, 0, 1])?;
    Some((at, at + 3))
}

fn kind(unit: &[u8]) -> u8 {
    unit[0] & 0x1f
}

/// What units are joined with.
const START_CODE: [u8; 4] = [0, 0, 0, 1];
const SLICE: u8 = 1;
const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;
const FILLER: u8 = 12;
const SPS_EXTENSION: u8 = 13;
const SUBSET_SPS: u8 = 15;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_frame_is_put_together_as_it_was_sealed() {
        let mut sets = ParameterSets::default();
        let first = [&[0, 0, 1, 0x67, 1][..], &[0, 0, 1, 0x68, 2], &[0, 0, 1, 9, 0xf0]].concat();
        let none = packetize_sealed(&first, &mut sets, |_| Err(NotPacketized::NotSealed));
        assert_eq!(none, Ok(Vec::new()), "parameter sets alone wait for a key frame");
        let mut sealed_of = Vec::new();
        // Its last byte is the number of a key, which is no padding.
        let tail = [&[0x77; 3_000][..], &[12, 0]].concat();
        let data = [&[0, 0, 1, 0x65, 0x88][..], &[5; 20], &[0, 0, 0, 1, 0x65, 0x22, 7]].concat();
        let payloads = packetize_sealed(&data, &mut sets, |plain| {
            sealed_of = plain.to_vec();
            Ok([&plain[..18], &tail[..]].concat())
        });
        let expected = annex_b(&[&[0x67, 1], &[0x68, 2], &[&[0x65, 0x88][..], &[5; 20]].concat(), &[0x65, 0x22, 7]]);
        assert_eq!(sealed_of, expected);
        assert_eq!(joined(&payloads.unwrap()).unwrap().data, [&sealed_of[..18], &tail[..]].concat());
    }

    fn annex_b(units: &[&[u8]]) -> Vec<u8> {
        units.iter().flat_map(|unit| [&[0, 0, 0, 1], *unit].concat()).collect()
    }

    fn joined(payloads: &[Vec<u8>]) -> Result<Depacketized, MalformedVideo> {
        depacketize(payloads.iter().map(Vec::as_slice))
    }

    #[test]
    fn small_units_go_together_and_large_ones_in_fragments() {
        let slice = [&[0x65, 0x88][..], &[0x5a; 3_000]].concat();
        let data = annex_b(&[&[0x67, 1, 2], &[0x68, 3], &slice]);
        let payloads = packetize(&data, &mut ParameterSets::default()).unwrap();
        assert_eq!(payloads[0], [0x78, 0, 3, 0x67, 1, 2, 0, 2, 0x68, 3]);
        assert_eq!(payloads.len(), 4);
        assert_eq!(payloads[1][..3], [0x7c, 0x85, 0x88]);
        assert_eq!(payloads[2][..2], [0x7c, 0x05]);
        assert_eq!(payloads[3][..2], [0x7c, 0x45]);
        assert!(begins_keyframe(&payloads[0]) && !payloads[1..].iter().any(|payload| begins_keyframe(payload)));
        let frame = joined(&payloads).unwrap();
        assert_eq!(frame.data, data);
        assert!(frame.is_keyframe);
    }

    #[test]
    fn parameter_sets_are_repeated_before_a_key_frame_that_has_none() {
        let mut sets = ParameterSets::default();
        packetize(&annex_b(&[&[0x67, 1], &[0x68, 2], &[0x65, 0x88]]), &mut sets).unwrap();
        let payloads = packetize(&annex_b(&[&[0x65, 0x88, 9]]), &mut sets).unwrap();
        assert_eq!(joined(&payloads).unwrap().data, annex_b(&[&[0x67, 1], &[0x68, 2], &[0x65, 0x88, 9]]));
        let payloads = packetize(&annex_b(&[&[0x41, 0x9a, 9]]), &mut sets).unwrap();
        assert_eq!(payloads, [[0x41, 0x9a, 9]], "other frames go as they are");
    }

    #[test]
    fn both_start_codes_are_read_and_delimiters_left_out() {
        let data = [0, 0, 0, 1, 9, 0xf0, 0, 0, 1, 0x41, 0x9a, 1, 0, 0, 0, 0, 1, 0x41, 0x1a, 2, 0, 0];
        let payloads = packetize(&data, &mut ParameterSets::default()).unwrap();
        assert_eq!(joined(&payloads).unwrap().data, annex_b(&[&[0x41, 0x9a, 1], &[0x41, 0x1a, 2]]));
    }

    #[test]
    fn what_is_no_annex_b_is_refused() {
        let refused = |data: &[u8]| packetize(data, &mut ParameterSets::default()).unwrap_err();
        assert_eq!(refused(&[]), MalformedVideo::Empty);
        assert_eq!(refused(&[0, 0, 0, 5, 0x65, 1, 2, 3, 4]), MalformedVideo::NoStartCode, "lengths, as in MP4");
        assert_eq!(refused(&[7, 0, 0, 1, 0x65]), MalformedVideo::NoStartCode);
        assert_eq!(refused(&[0, 0, 1, 0x7c, 1]), MalformedVideo::UnsupportedNalUnit(28));
        assert_eq!(refused(&[0, 0, 1, 9, 0xf0]), MalformedVideo::Empty);
    }

    #[test]
    fn fragments_that_do_not_fit_are_no_frame() {
        let parts = |payloads: &[&[u8]]| depacketize(payloads.iter().copied()).unwrap_err();
        assert_eq!(parts(&[&[0x7c, 0x05, 1]]), MalformedVideo::BrokenFragment);
        assert_eq!(parts(&[&[0x7c, 0x85, 1]]), MalformedVideo::BrokenFragment);
        assert_eq!(parts(&[&[0x7c, 0x85, 1], &[0x7c, 0x41, 1]]), MalformedVideo::BrokenFragment);
        assert_eq!(parts(&[&[0x7c, 0x85, 1], &[0x41, 1]]), MalformedVideo::BrokenFragment);
        assert_eq!(parts(&[&[0x7c]]), MalformedVideo::Truncated);
        assert_eq!(parts(&[&[0x78, 0, 9, 0x67]]), MalformedVideo::Truncated);
        assert_eq!(parts(&[&[0x78, 0]]), MalformedVideo::Truncated);
        assert_eq!(parts(&[&[0x78]]), MalformedVideo::Empty);
        assert_eq!(parts(&[&[0x79, 1, 2]]), MalformedVideo::UnsupportedNalUnit(25));
    }
}
