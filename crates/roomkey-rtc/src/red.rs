//! Redundant audio, RFC 2198: an Opus frame with earlier ones before it, so that a lost packet is in the next one.

/// One frame of a redundant payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Block<'a> {
    /// The payload type of the frame.
    pub payload_type: u8,
    /// How much earlier than the packet's timestamp the frame is, in units of its clock; 0 for the last, the primary.
    pub timestamp_offset: u32,
    /// The frame.
    pub data: &'a [u8],
}

/// The frames of a redundant payload, oldest first; the last is the packet's own. `None` where it is not one.
///
/// At most 16 frames are read: a payload that announces more is not one.
pub fn blocks(payload: &[u8]) -> Option<Vec<Block<'_>>> {
    const MOST: usize = 16;
    let mut headers = Vec::new();
    let mut rest = payload;
    loop {
        let (&first, after) = rest.split_first()?;
        if first & 0x80 == 0 {
            headers.push((first, 0, None));
            rest = after;
            break;
        }
        let (header, after) = rest.split_first_chunk::<4>()?;
        let packed = u32::from_be_bytes(*header) & 0x00ff_ffff;
        headers.push((first & 0x7f, packed >> 10, Some((packed & 0x3ff) as usize)));
        rest = after;
        if headers.len() == MOST {
            return None;
        }
    }
    headers
        .into_iter()
        .map(|(payload_type, timestamp_offset, length)| {
            let (data, after) = rest.split_at_checked(length.unwrap_or(rest.len()))?;
            rest = after;
            Some(Block { payload_type, timestamp_offset, data })
        })
        .collect()
}

/// A payload of `primary` with `earlier` frames, oldest first, each with how much earlier it is in units of the clock.
///
/// A frame that the format has no room for (1,023 bytes, 16,383 units) is left out.
pub fn encode(payload_type: u8, earlier: &[(u32, &[u8])], primary: &[u8]) -> Vec<u8> {
    let fits = |(offset, data): &&(u32, &[u8])| *offset < 1 << 14 && data.len() < 1 << 10 && !data.is_empty();
    let mut out = Vec::with_capacity(primary.len() + 64);
    for (offset, data) in earlier.iter().filter(fits) {
        let packed = u32::from(0x80 | payload_type) << 24 | *offset << 10 | data.len() as u32;
        out.extend(packed.to_be_bytes());
    }
    out.push(payload_type & 0x7f);
    earlier.iter().filter(fits).for_each(|(_, data)| out.extend_from_slice(data));
    out.extend_from_slice(primary);
    out
}

/// The payload with `payload_type` in all headers, or `None` where it has that already or is not one.
pub(crate) fn with_payload_type(payload: &[u8], payload_type: u8) -> Option<Vec<u8>> {
    let blocks = blocks(payload)?;
    if blocks.iter().all(|block| block.payload_type == payload_type) {
        return None;
    }
    let mut out = payload.to_vec();
    let mut at = 0;
    for _ in &blocks {
        out[at] = out[at] & 0x80 | payload_type & 0x7f;
        at += 4;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_read_back() {
        let payload = encode(111, &[(1920, b"older"), (960, b"old")], b"newest");
        let read = blocks(&payload).unwrap();
        let seen: Vec<_> = read.iter().map(|b| (b.payload_type, b.timestamp_offset, b.data)).collect();
        assert_eq!(seen, [(111, 1920, &b"older"[..]), (111, 960, b"old"), (111, 0, b"newest")]);
    }

    #[test]
    fn a_frame_that_does_not_fit_is_left_out() {
        let long = [0; 1024];
        let payload = encode(111, &[(960, &long), (1 << 14, b"x"), (960, b"")], b"newest");
        assert_eq!(blocks(&payload).unwrap().len(), 1);
    }

    #[test]
    fn every_cut_and_every_flip_of_a_payload_is_read_or_refused() {
        let payload = encode(111, &[(1920, b"older"), (960, b"old")], b"newest");
        for end in 0..payload.len() {
            let _ = blocks(&payload[..end]);
            for bit in 0..8 {
                let mut changed = payload.clone();
                changed[end] ^= 1 << bit;
                let _ = with_payload_type(&changed, 63);
            }
        }
        assert_eq!(blocks(&[0xff; 200]), None);
        assert_eq!(blocks(&[]), None);
    }

    #[test]
    fn another_payload_type_changes_nothing_else() {
        let payload = encode(111, &[(960, b"old")], b"newest");
        assert_eq!(with_payload_type(&payload, 111), None);
        let changed = with_payload_type(&payload, 96).unwrap();
        assert_eq!(changed, encode(96, &[(960, b"old")], b"newest"));
    }
}
