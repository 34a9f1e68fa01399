//! Which user packets a room has had: a client that joins anew sends again what may not have arrived.

use std::collections::{HashSet, VecDeque};

/// As many as livekit-server 1.13.5 remembers.
const MEMORY: usize = 100;

type Nonce = [u8; 16];

/// The last packets of a room, by the nonces that their senders gave them.
#[derive(Debug, Default)]
pub(super) struct Nonces {
    seen: HashSet<Nonce>,
    order: VecDeque<Nonce>,
}

impl Nonces {
    /// Whether a packet came before. One whose nonce has not 16 bytes can't be known again.
    pub(super) fn is_known(&mut self, nonce: &[u8]) -> bool {
        let Ok(nonce) = Nonce::try_from(nonce) else { return false };
        if !self.seen.insert(nonce) {
            return true;
        }
        self.order.push_back(nonce);
        if self.order.len() > MEMORY
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_known_until_a_hundred_others_came() {
        let mut nonces = Nonces::default();
        assert!(!nonces.is_known(&[7; 16]));
        assert!(nonces.is_known(&[7; 16]));
        for other in 100..200 {
            assert!(!nonces.is_known(&[other; 16]));
        }
        assert!(!nonces.is_known(&[7; 16]));
        assert_eq!((nonces.seen.len(), nonces.order.len()), (MEMORY, MEMORY));
        for _ in 0..2 {
            assert!(!nonces.is_known(&[]) && !nonces.is_known(&[1; 17]));
        }
    }
}
