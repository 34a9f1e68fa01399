//! Bytes that wait for a connection to take them.

/// Packets are dropped from here on, as a full socket of UDP drops them.
const FULL: usize = 64 * 1024;
/// No more than this waits at all.
const OVERFULL: usize = 256 * 1024;

/// A bounded queue of bytes. Each piece is in it whole or not at all, so that no frame is cut.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    /// Takes a piece, or drops one that may be lost; `Err` where there is no room for one that may not.
    pub(crate) fn push(&mut self, piece: &[u8], may_be_lost: bool) -> Result<(), Overfull> {
        let waiting = self.waiting().len();
        if may_be_lost && waiting >= FULL {
            return Ok(());
        }
        if waiting + piece.len() > OVERFULL {
            return Err(Overfull);
        }
        self.bytes.drain(..std::mem::take(&mut self.sent));
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    pub(crate) fn waiting(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    pub(crate) fn advance(&mut self, sent: usize) {
        self.sent = (self.sent + sent).min(self.bytes.len());
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
        }
    }
}

/// The other side takes nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overfull;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_and_no_piece_is_cut() {
        let mut random = fastrand::Rng::with_seed(1);
        let (mut outbox, mut sent) = (Outbox::default(), Vec::new());
        for number in 0..2_000_u16 {
            let length = random.u16(1..2_000);
            let mut frame = length.to_be_bytes().to_vec();
            frame.resize(2 + usize::from(length), number as u8);
            assert_eq!(outbox.push(&frame, true), Ok(()));
            assert!(outbox.waiting().len() < FULL + 2_002);
            // It takes less than it is given.
            let taken = random.usize(0..1_000).min(outbox.waiting().len());
            sent.extend_from_slice(&outbox.waiting()[..taken]);
            outbox.advance(taken);
        }
        sent.extend_from_slice(outbox.waiting());
        let (mut rest, mut frames) = (&sent[..], 0);
        while let Some((head, after)) = rest.split_first_chunk::<2>() {
            let (frame, after) = after.split_at(usize::from(u16::from_be_bytes(*head)));
            assert!(frame.iter().all(|byte| *byte == frame[0]));
            (rest, frames) = (after, frames + 1);
        }
        assert!(rest.is_empty() && (500..1_900).contains(&frames), "{frames}");
    }

    #[test]
    fn what_may_not_be_lost_has_more_room_and_then_an_end() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.push(&vec![0; FULL], true), Ok(()));
        assert_eq!(outbox.push(&[0], true), Ok(()));
        assert_eq!(outbox.waiting().len(), FULL);
        assert_eq!(outbox.push(&vec![0; OVERFULL - FULL], false), Ok(()));
        assert_eq!(outbox.push(&[0], false), Err(Overfull));
    }
}
