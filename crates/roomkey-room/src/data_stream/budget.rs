//! How much of all streams of a room is held at once, and how much of that is one sender's.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use crate::names::ParticipantIdentity;

/// A number of bytes that readers share, wherever they are: waiting in a queue of events, or with the application.
///
/// One sender has two thirds of what the others leave at most ([`share`]), so that something is left for the next one, however
/// many there are who take all that they can have.
#[derive(Debug)]
pub(crate) struct Budget {
    held: Arc<AtomicUsize>,
    limit: usize,
    /// What each sender has in use, as long as there is a reader of its streams.
    senders: HashMap<ParticipantIdentity, Weak<AtomicUsize>>,
}

/// A part of a budget that is in use; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    held: Arc<AtomicUsize>,
    of_sender: Arc<AtomicUsize>,
    limit: usize,
    bytes: usize,
}

/// What one may have of so many bytes, of which others have some: two thirds of the rest.
pub(crate) fn share(limit: usize, others: usize) -> usize {
    let rest = limit.saturating_sub(others);
    rest - rest / 3
}

impl Budget {
    /// Of which nothing is in use.
    pub(crate) fn new(limit: usize) -> Self {
        Self { held: Arc::default(), limit, senders: HashMap::new() }
    }

    /// No bytes of a sender's, to which some can be added.
    pub(crate) fn nothing(&mut self, sender: &ParticipantIdentity) -> Held {
        let known = self.senders.get(sender).and_then(Weak::upgrade);
        let of_sender = known.unwrap_or_else(|| {
            self.senders.retain(|_, known| known.strong_count() > 0);
            let new = Arc::default();
            self.senders.insert(sender.clone(), Arc::downgrade(&new));
            new
        });
        Held { held: Arc::clone(&self.held), of_sender, limit: self.limit, bytes: 0 }
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

impl Held {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes more of the budget; nothing is taken if there is not so much left, for this sender or for all.
    ///
    /// # Errors
    ///
    /// What the sender may have.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), usize> {
        // Whoever gives bytes back says so of the sender first: what the others have is never taken for less than it is, since
        // only the room's task takes more.
        let held = self.held.load(Ordering::Acquire);
        let of_sender = self.of_sender.load(Ordering::Acquire);
        let share = share(self.limit, held.saturating_sub(of_sender));
        if of_sender.checked_add(bytes).is_none_or(|all| all > share) {
            return Err(share);
        }
        self.held.fetch_add(bytes, Ordering::AcqRel);
        self.of_sender.fetch_add(bytes, Ordering::AcqRel);
        self.bytes += bytes;
        Ok(())
    }

    /// So many of these bytes, for themselves; all, if there are not so many.
    pub(crate) fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { held: Arc::clone(&self.held), of_sender: Arc::clone(&self.of_sender), limit: self.limit, bytes }
    }

    /// Those of another part of the same sender's too.
    pub(crate) fn merge(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Gives all back.
    pub(crate) fn clear(&mut self) {
        drop(self.split(self.bytes));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of_sender.fetch_sub(self.bytes, Ordering::AcqRel);
        self.held.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_to_what_is_in_use_and_never_to_more_than_the_budget() {
        let mut budget = Budget::new(150);
        let sender = "alice".into();
        let (mut one, mut other) = (budget.nothing(&sender), budget.nothing(&sender));
        assert_eq!((one.grow(60), other.grow(41), other.grow(40)), (Ok(()), Err(100), Ok(())));
        assert_eq!(one.grow(usize::MAX), Err(100));
        let half = one.split(30);
        other.merge(half);
        assert_eq!((one.bytes(), other.bytes(), budget.held()), (30, 70, 100));
        other.clear();
        assert_eq!(budget.held(), 30);
        drop(one.split(1_000));
        assert_eq!((one.bytes(), budget.held()), (0, 0));
    }

    #[test]
    fn whoever_takes_all_that_it_can_have_leaves_something_for_the_next() {
        let mut budget = Budget::new(128 << 20);
        let mut held = Vec::new();
        for (sender, most) in [("one", 85), ("two", 28), ("three", 10), ("four", 3), ("five", 1)] {
            let mut of_sender = budget.nothing(&sender.into());
            let taken = (0..).take_while(|_| of_sender.grow(1 << 20).is_ok()).count();
            assert_eq!(taken, most, "{sender}");
            held.push(of_sender);
        }
        // With another stream it is the same sender.
        assert!(budget.nothing(&"one".into()).grow(1 << 20).is_err());
        held.remove(0);
        assert!(budget.nothing(&"one".into()).grow(1 << 20).is_ok(), "it has given back what it had");
        assert!(held[0].grow(1 << 20).is_ok(), "so that there is more for the others");
    }

    #[test]
    fn senders_that_have_nothing_are_forgotten() {
        let mut budget = Budget::new(100);
        for sender in 0..1_000 {
            drop(budget.nothing(&format!("{sender}").as_str().into()));
        }
        assert_eq!(budget.senders.len(), 1);
    }
}
