//! The reliable packets of the last moments, for who lost the connection that they were sent on and joins anew.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use livekit_protocol as proto;

/// Clients remember for as long which packets they had of whom.
const MEMORY: Duration = Duration::from_secs(30);
const MAX_BYTES: usize = 1024 * 1024;
const MAX_PACKETS: usize = 1_024;
/// Those who left lately and may come back.
const MAX_DEPARTED: usize = 256;

/// What went out in a room, numbered in its order. The oldest is forgotten first.
#[derive(Debug, Default)]
pub(super) struct History {
    packets: VecDeque<Sent>,
    /// What they take.
    bytes: usize,
    /// The number of the next packet.
    next: u64,
    departed: VecDeque<Departed>,
}

/// A packet that says whose it is and which one of theirs.
#[derive(Debug)]
struct Sent {
    number: u64,
    at: Instant,
    publisher_sid: String,
    /// Of who sent it, whoever it names.
    publisher_identity: String,
    sequence: u32,
    to: Destinations,
    bytes: Arc<[u8]>,
}

impl Sent {
    /// What it takes, in bytes. The names that it is for can take more than the packet.
    fn size(&self) -> usize {
        let names = self.to.identities.iter().chain(&self.to.sids);
        self.bytes.len() + names.map(|name| size_of::<String>() + name.len()).sum::<usize>()
    }
}

/// Whom a packet is for.
#[derive(Clone, Debug, Default)]
pub(super) struct Destinations {
    pub(super) identities: Vec<String>,
    pub(super) sids: Vec<String>,
}

impl Destinations {
    /// None named means everybody.
    pub(super) fn include(&self, identity: &str, sid: &str) -> bool {
        let is_for_everybody = self.identities.is_empty() && self.sids.is_empty();
        is_for_everybody || self.identities.iter().any(|it| it == identity) || self.sids.iter().any(|it| it == sid)
    }
}

#[derive(Debug)]
struct Departed {
    identity: String,
    sid: String,
    /// The first packet that it was there for.
    since: u64,
    at: Instant,
}

/// The packets that were sent to a participant when it was another one, and perhaps did not arrive.
#[derive(Debug)]
pub(super) struct Missed {
    former_sid: String,
    numbers: Range<u64>,
}

impl History {
    /// The number of the next packet.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Remembers a packet that goes out. One without a sequence can't be told from one that arrived.
    pub(super) fn record(
        &mut self,
        packet: &proto::DataPacket,
        sender: &str,
        to: &Destinations,
        bytes: &[u8],
        now: Instant,
    ) {
        self.next += 1;
        if packet.sequence == 0 {
            return;
        }
        let sent = Sent {
            number: self.next - 1,
            at: now,
            publisher_sid: packet.participant_sid.clone(),
            publisher_identity: sender.to_owned(),
            sequence: packet.sequence,
            to: to.clone(),
            bytes: bytes.into(),
        };
        self.bytes += sent.size();
        self.packets.push_back(sent);
        while self.bytes > MAX_BYTES || self.packets.len() > MAX_PACKETS {
            self.forget_oldest();
        }
        self.forget_old(now);
    }

    pub(super) fn forget_old(&mut self, now: Instant) {
        let is_old = |at: Instant| now.saturating_duration_since(at) >= MEMORY;
        while self.packets.front().is_some_and(|oldest| is_old(oldest.at)) {
            self.forget_oldest();
        }
        self.departed.retain(|departed| !is_old(departed.at));
    }

    fn forget_oldest(&mut self) {
        self.bytes -= self.packets.pop_front().map_or(0, |oldest| oldest.size());
    }

    /// Somebody who was there since the packet `since` is gone.
    pub(super) fn departed(&mut self, identity: &str, sid: &str, since: u64, now: Instant) {
        self.departed.retain(|departed| departed.identity != identity);
        if self.departed.len() >= MAX_DEPARTED {
            self.departed.pop_front();
        }
        self.departed.push_back(Departed { identity: identity.to_owned(), sid: sid.to_owned(), since, at: now });
    }

    /// Somebody came: what it can have missed, where it was here a moment ago. From now on it gets everything itself.
    pub(super) fn returned(&mut self, identity: &str, now: Instant) -> Option<Missed> {
        self.forget_old(now);
        let at = self.departed.iter().position(|departed| departed.identity == identity)?;
        let departed = self.departed.remove(at)?;
        Some(Missed { former_sid: departed.sid, numbers: departed.since..self.next })
    }

    /// Of what somebody can have missed, that which is newer than what it says it had of each publisher. Who says nothing
    /// of any gets nothing, since it would not know what it gets twice.
    pub(super) fn newer<'a>(
        &'a self,
        missed: &'a Missed,
        identity: &'a str,
        received: &'a [proto::DataChannelReceiveState],
    ) -> impl Iterator<Item = Arc<[u8]>> + 'a {
        let last_of = |sid: &str| {
            let states = received.iter().filter(|state| state.publisher_sid == sid);
            states.map(|state| state.last_seq).max().unwrap_or_default()
        };
        let is_missed = move |sent: &&Sent| {
            !received.is_empty()
                && missed.numbers.contains(&sent.number)
                && sent.publisher_identity != identity
                && sent.to.include(identity, &missed.former_sid)
                && sent.sequence > last_of(&sent.publisher_sid)
        };
        self.packets.iter().filter(is_missed).map(|sent| Arc::clone(&sent.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(publisher: &str, sequence: u32) -> proto::DataPacket {
        proto::DataPacket { participant_sid: format!("PA_{publisher}"), sequence, ..Default::default() }
    }

    fn state(publisher: &str, last_seq: u32) -> proto::DataChannelReceiveState {
        proto::DataChannelReceiveState { publisher_sid: format!("PA_{publisher}"), last_seq }
    }

    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn who_comes_back_gets_what_is_newer_than_what_it_had_of_each() {
        let (mut history, now) = (History::default(), start());
        let everybody = Destinations::default();
        history.record(&packet("alice", 1), "alice", &everybody, b"before it came", now);
        let since = history.next();
        history.record(&packet("alice", 2), "alice", &everybody, b"had", now);
        history.record(&packet("alice", 3), "alice", &everybody, b"missed", now);
        history.record(&packet("carol", 1), "carol", &everybody, b"of another", now);
        history.record(&packet("carol", 0), "carol", &everybody, b"without a sequence", now);
        history.record(&packet("bob", 1), "bob", &everybody, b"its own", now);
        let to_carol = Destinations { identities: vec!["carol".to_owned()], sids: Vec::new() };
        history.record(&packet("alice", 4), "alice", &to_carol, b"for somebody else", now);
        let to_bob = Destinations { identities: Vec::new(), sids: vec!["PA_bob".to_owned()] };
        history.record(&packet("alice", 5), "alice", &to_bob, b"for its former self", now);
        history.departed("bob", "PA_bob", since, now);
        history.record(&packet("alice", 6), "alice", &everybody, b"while it was away", now);
        let missed = history.returned("bob", now).unwrap();
        history.record(&packet("alice", 7), "alice", &everybody, b"after it came back", now);
        let received = [state("alice", 2)];
        let newer: Vec<_> = history.newer(&missed, "bob", &received).map(|bytes| bytes.to_vec()).collect();
        let expected: [&[u8]; 4] = [b"missed", b"of another", b"for its former self", b"while it was away"];
        assert_eq!(newer, expected);
        assert_eq!(history.newer(&missed, "bob", &[]).count(), 0);
        assert!(history.returned("bob", now).is_none(), "nobody comes back twice");
    }

    #[test]
    fn memory_is_bounded_and_fades() {
        let (mut history, now) = (History::default(), start());
        let to = Destinations { identities: vec![String::new(); 1_000], sids: Vec::new() };
        for sequence in 1..=5_000 {
            history.record(&packet("alice", sequence), "alice", &to, &[0; 10_000], now);
            history.departed(&format!("{sequence}"), "PA", 0, now);
        }
        assert!(history.bytes <= MAX_BYTES && history.packets.len() <= MAX_BYTES / 34_000);
        assert_eq!(history.departed.len(), MAX_DEPARTED);
        history.forget_old(now + MEMORY);
        assert!(history.bytes == 0 && history.packets.is_empty() && history.departed.is_empty());
    }
}
