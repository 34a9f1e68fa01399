//! Packets on a TCP connection: each goes behind its length, two bytes with the high one first (RFC 4571 section 2, which
//! RFC 6544 section 10.1 takes for ICE).

use std::collections::VecDeque;

const LENGTH: usize = 2;

/// Appends a packet to what a connection is to send. Whether it could be: one of more than 65,535 bytes has no frame, and
/// one of none says nothing.
#[must_use]
pub fn write(packet: &[u8], stream: &mut Vec<u8>) -> bool {
    let Some(length) = u16::try_from(packet.len()).ok().filter(|length| *length > 0) else { return false };
    stream.extend(length.to_be_bytes());
    stream.extend(packet);
    true
}

/// Takes packets out of what a connection has received.
///
/// It holds what it was given and has not handed out yet: take all packets after each piece, and it is a frame and a piece
/// at most.
#[derive(Default)]
pub struct Frames {
    bytes: VecDeque<u8>,
}

impl Frames {
    /// Of a connection from which nothing has come yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes as they came.
    pub fn push(&mut self, piece: &[u8]) {
        self.bytes.extend(piece);
    }

    /// The next packet, once all of it is there. Empty ones are passed over.
    pub fn next_packet(&mut self) -> Option<Vec<u8>> {
        loop {
            let (high, low) = (*self.bytes.front()?, *self.bytes.get(1)?);
            let end = LENGTH + usize::from(u16::from_be_bytes([high, low]));
            if self.bytes.len() < end {
                return None;
            }
            let packet: Vec<u8> = self.bytes.drain(..end).skip(LENGTH).collect();
            if !packet.is_empty() {
                return Some(packet);
            }
        }
    }
}

impl std::fmt::Debug for Frames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frames({} bytes)", self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_out_as_they_went_in_whatever_the_pieces() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..200 {
            let packets: Vec<Vec<u8>> =
                (0..random.usize(0..8)).map(|_| (0..random.usize(1..2_000)).map(|_| random.u8(..)).collect()).collect();
            let mut stream = Vec::new();
            for packet in &packets {
                assert!(write(packet, &mut stream));
            }
            let (mut frames, mut taken) = (Frames::new(), Vec::new());
            let mut rest = &stream[..];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(random.usize(1..=rest.len()));
                frames.push(piece);
                taken.extend(std::iter::from_fn(|| frames.next_packet()));
                rest = after;
            }
            assert_eq!(taken, packets);
        }
    }

    #[test]
    fn what_has_no_frame_is_not_written() {
        let mut stream = Vec::new();
        assert!(!write(&[], &mut stream) && !write(&vec![0; 65_536], &mut stream));
        assert!(stream.is_empty());
        assert!(write(&vec![0; 65_535], &mut stream));
    }

    #[test]
    fn empty_frames_are_passed_over() {
        let mut frames = Frames::new();
        frames.push(&[0, 0, 0, 0, 0, 1, 7, 0, 0, 0]);
        assert_eq!(frames.next_packet(), Some(vec![7]));
        assert_eq!(frames.next_packet(), None);
    }
}
