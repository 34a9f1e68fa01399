//! The VP8 payload descriptor (RFC 7741, section 4.2): what a subscriber sees must go on where it was when the layer
//! that is forwarded changes, though each layer counts for itself.

/// Where the counters of a descriptor stand in the payload, and their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Descriptor {
    /// Offset, whether it has 15 bits, value.
    picture_id: Option<(usize, bool, u16)>,
    tl0_picture_index: Option<(usize, u8)>,
    /// Where the frame's own bytes begin.
    header_length: usize,
    /// The first packet of the frame's first partition.
    is_start: bool,
}

impl Descriptor {
    /// Nothing where the payload ends within its descriptor.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let first = *payload.first()?;
        let is_start = first & 0x10 != 0 && first & 0x07 == 0;
        let mut descriptor = Self { picture_id: None, tl0_picture_index: None, header_length: 1, is_start };
        if first & 0x80 == 0 {
            return Some(descriptor);
        }
        let extensions = *payload.get(1)?;
        let mut at = 2;
        if extensions & 0x80 != 0 {
            let high = *payload.get(at)?;
            if high & 0x80 == 0 {
                descriptor.picture_id = Some((at, false, u16::from(high)));
                at += 1;
            } else {
                let low = *payload.get(at + 1)?;
                descriptor.picture_id = Some((at, true, u16::from_be_bytes([high & 0x7f, low])));
                at += 2;
            }
        }
        if extensions & 0x40 != 0 {
            descriptor.tl0_picture_index = Some((at, *payload.get(at)?));
            at += 1;
        }
        if extensions & 0x30 != 0 {
            at += 1;
        }
        descriptor.header_length = at;
        Some(descriptor)
    }

    /// Whether the packet begins a key frame.
    pub(super) fn begins_keyframe(&self, payload: &[u8]) -> bool {
        self.is_start && payload.get(self.header_length).is_some_and(|byte| byte & 0x01 == 0)
    }
}

/// Renumbers pictures across changes of layer.
#[derive(Debug, Default)]
pub(super) struct Renumbering {
    picture_offset: u16,
    tl0_offset: u8,
    last_picture: Option<u16>,
    last_tl0: Option<u8>,
}

const PICTURE_MASK: u16 = 0x7fff;

impl Renumbering {
    /// The layer changes: what comes next follows what was forwarded last.
    pub(super) fn change_layer(&mut self, next: &Descriptor) {
        if let (Some(last), Some((_, _, picture))) = (self.last_picture, next.picture_id) {
            self.picture_offset = last.wrapping_add(1).wrapping_sub(picture) & PICTURE_MASK;
        }
        if let (Some(last), Some((_, index))) = (self.last_tl0, next.tl0_picture_index) {
            self.tl0_offset = last.wrapping_add(1).wrapping_sub(index);
        }
    }

    /// Writes the subscriber's numbers over the layer's.
    pub(super) fn apply(&mut self, descriptor: &Descriptor, payload: &mut [u8]) {
        if let Some((at, is_long, picture)) = descriptor.picture_id {
            let picture = picture.wrapping_add(self.picture_offset) & PICTURE_MASK;
            self.last_picture = Some(picture);
            if is_long {
                payload[at..at + 2].copy_from_slice(&(picture | 0x8000).to_be_bytes());
            } else {
                payload[at] = (picture & 0x7f) as u8;
            }
        }
        if let Some((at, index)) = descriptor.tl0_picture_index {
            let index = index.wrapping_add(self.tl0_offset);
            self.last_tl0 = Some(index);
            payload[at] = index;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A start of a frame with a 15-bit picture id and a TL0PICIDX.
    fn packet(picture: u16, tl0: u8, is_key: bool) -> Vec<u8> {
        let [high, low] = (picture | 0x8000).to_be_bytes();
        vec![0x90, 0xc0, high, low, tl0, u8::from(!is_key), 0, 0]
    }

    #[test]
    fn a_descriptor_is_read_with_its_counters() {
        let payload = packet(300, 7, true);
        let descriptor = Descriptor::parse(&payload).unwrap();
        assert_eq!(descriptor.picture_id, Some((2, true, 300)));
        assert_eq!(descriptor.tl0_picture_index, Some((4, 7)));
        assert!(descriptor.begins_keyframe(&payload));
        let delta = packet(301, 8, false);
        assert!(!Descriptor::parse(&delta).unwrap().begins_keyframe(&delta));
    }

    #[test]
    fn a_descriptor_that_is_cut_short_is_none() {
        let payload = packet(300, 7, true);
        for length in 0..5 {
            assert_eq!(Descriptor::parse(&payload[..length]), None, "{length}");
        }
        assert!(!Descriptor::parse(&payload[..5]).unwrap().begins_keyframe(&payload[..5]));
    }

    #[test]
    fn pictures_go_on_across_a_change_of_layer() {
        let mut numbers = Renumbering::default();
        let mut seen = Vec::new();
        for (picture, changes) in [(32_766, false), (32_767, false), (500, true), (501, false), (9, true)] {
            let mut payload = packet(picture, picture as u8, true);
            let descriptor = Descriptor::parse(&payload).unwrap();
            if changes {
                numbers.change_layer(&descriptor);
            }
            numbers.apply(&descriptor, &mut payload);
            seen.push(Descriptor::parse(&payload).unwrap().picture_id.unwrap().2);
        }
        assert_eq!(seen, [32_766, 32_767, 0, 1, 2]);
    }
}
