//! Whose packets come from an address.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use roomkey_rtc::Protocol;

use super::RoomId;
use super::participant::{ParticipantId, Target};

/// The addresses of one participant that are known at a time: a client tries each of its own from each side.
const MAX_OF_ONE: usize = 32;

type Source = (Protocol, SocketAddr);

/// Which connection of whom.
pub(super) type Seat = (RoomId, ParticipantId, Target);

/// The addresses that connectivity checks came from. Nobody's are forgotten for somebody else's.
#[derive(Debug, Default)]
pub(super) struct Sources {
    seats: HashMap<Source, Seat>,
    /// Each one's addresses, the one that was checked last at the end.
    of: HashMap<(RoomId, ParticipantId), VecDeque<Source>>,
}

impl Sources {
    pub(super) fn seat(&self, source: Source) -> Option<Seat> {
        self.seats.get(&source).copied()
    }

    /// A check for this seat came from there. Of too many addresses the one that was not checked for longest goes.
    pub(super) fn checked(&mut self, source: Source, seat: Seat) {
        self.forget(source);
        let of = self.of.entry((seat.0, seat.1)).or_default();
        if of.len() >= MAX_OF_ONE
            && let Some(oldest) = of.pop_front()
        {
            self.seats.remove(&oldest);
        }
        of.push_back(source);
        self.seats.insert(source, seat);
    }

    pub(super) fn forget(&mut self, source: Source) {
        let Some((room, participant, _)) = self.seats.remove(&source) else { return };
        if let Some(of) = self.of.get_mut(&(room, participant)) {
            of.retain(|other| *other != source);
        }
    }

    /// Somebody left.
    pub(super) fn forget_participant(&mut self, room: RoomId, participant: ParticipantId) {
        for source in self.of.remove(&(room, participant)).unwrap_or_default() {
            self.seats.remove(&source);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.seats.len(), self.of.values().map(VecDeque::len).sum::<usize>());
        self.seats.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(protocol: Protocol, port: u16) -> Source {
        (protocol, SocketAddr::from(([127, 0, 0, 1], port)))
    }

    #[test]
    fn many_addresses_of_one_push_out_its_own_that_are_not_in_use_and_nobody_elses() {
        let mut sources = Sources::default();
        let (alice, bob) = ((1, 1, Target::Publisher), (1, 2, Target::Publisher));
        let (of_alice, of_bob) = (source(Protocol::Tcp, 1), source(Protocol::Udp, 2));
        sources.checked(of_alice, alice);
        sources.checked(of_bob, bob);
        for port in 100..10_000 {
            sources.checked(source(Protocol::Udp, port), bob);
            sources.checked(of_bob, bob);
        }
        assert_eq!((sources.seat(of_alice), sources.seat(of_bob)), (Some(alice), Some(bob)));
        assert_eq!(sources.len(), 1 + MAX_OF_ONE);
        sources.checked(of_alice, bob);
        assert_eq!(sources.seat(of_alice), Some(bob), "an address can pass to somebody else");
        sources.forget_participant(1, 2);
        assert_eq!(sources.len(), 0);
    }
}
