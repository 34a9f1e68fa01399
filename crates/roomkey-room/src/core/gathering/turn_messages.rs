//! Messages of TURN on a connection of TCP or TLS (RFC 8656 section 3.1, section 12.5).
//!
//! The client of `turn-client-proto` is given whole messages: its own buffer does not know that the data of a channel is
//! padded here.

const HEAD: usize = 4;
/// No packet of a room is as long.
const LONGEST: usize = 16 * 1024;

/// Takes messages out of what a connection has received.
#[derive(Debug, Default)]
pub(super) struct TurnMessages {
    bytes: Vec<u8>,
    /// So many at the front have been taken.
    taken: usize,
}

impl TurnMessages {
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.taken));
        self.bytes.extend_from_slice(piece);
    }

    /// The next message, once all of it is there.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, Malformed> {
        let Some((head, _)) = self.bytes[self.taken..].split_first_chunk::<HEAD>() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let (length, padded) = match head[0] >> 6 {
            0 if length % 4 == 0 => (20 + length, 20 + length),
            1 => (HEAD + length, HEAD + length.next_multiple_of(4)),
            _ => return Err(Malformed),
        };
        if padded > LONGEST {
            return Err(Malformed);
        }
        let start = self.taken;
        if self.bytes.len() - start < padded {
            return Ok(None);
        }
        self.taken += padded;
        Ok(Some(&self.bytes[start..start + length]))
    }

    /// What is sent instead of a message: the data of a channel is padded.
    pub(super) fn pad(mut message: Vec<u8>) -> Vec<u8> {
        if message.first().is_some_and(|first| first >> 6 == 1) {
            message.resize(message.len().next_multiple_of(4), 0);
        }
        message
    }
}

/// What came is no message of TURN; the connection is of no more use.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

#[cfg(test)]
mod tests {
    use super::*;

    fn take_all(messages: &mut TurnMessages) -> Result<Vec<Vec<u8>>, Malformed> {
        let mut taken = Vec::new();
        while let Some(message) = messages.next()? {
            taken.push(message.to_vec());
        }
        Ok(taken)
    }

    #[test]
    fn messages_come_out_as_they_went_in_whatever_the_pieces() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..100 {
            let message = |random: &mut fastrand::Rng| {
                let length = random.u16(0..500);
                if random.bool() {
                    let length = length & !3;
                    let head = [&[0, 1][..], &length.to_be_bytes(), &[7; 16]].concat();
                    [head, vec![9; usize::from(length)]].concat()
                } else {
                    [&[0x40, 1][..], &length.to_be_bytes(), &vec![9; usize::from(length)]].concat()
                }
            };
            let sent: Vec<Vec<u8>> = (0..random.usize(0..9)).map(|_| message(&mut random)).collect();
            let stream: Vec<u8> = sent.iter().cloned().flat_map(TurnMessages::pad).collect();
            let (mut messages, mut received) = (TurnMessages::default(), Vec::new());
            let mut rest = &stream[..];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(random.usize(1..=rest.len()));
                messages.push(piece);
                received.extend(take_all(&mut messages).unwrap());
                rest = after;
            }
            assert_eq!(received, sent);
        }
    }

    #[test]
    fn what_is_no_message_ends_the_connection_and_is_not_kept() {
        for bytes in [&[0x80, 0, 0, 0][..], &[0xff; 4], &[0, 1, 0, 3], &[0, 1, 0xff, 0xfc], &[0x40, 0, 0xff, 0xff]] {
            let mut messages = TurnMessages::default();
            messages.push(bytes);
            assert_eq!(messages.next(), Err(Malformed), "{bytes:?}");
        }
    }
}
