//! How much of all streams of a room is held at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of bytes that readers share, wherever they are: waiting in a queue of events, or with the application.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    held: Arc<AtomicUsize>,
    limit: usize,
}

/// A part of a budget that is in use; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    /// Of which nothing is in use.
    pub(crate) fn new(limit: usize) -> Self {
        Self { held: Arc::default(), limit }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// No bytes, to which some can be added.
    pub(crate) fn nothing(&self) -> Held {
        Held { budget: self.clone(), bytes: 0 }
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

    pub(crate) fn limit(&self) -> usize {
        self.budget.limit()
    }

    /// Takes more of the budget; nothing is taken if there is not so much left.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let more = |held: usize| held.checked_add(bytes).filter(|held| *held <= self.budget.limit);
        let is_granted = self.budget.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        if is_granted {
            self.bytes += bytes;
        }
        is_granted
    }

    /// So many of these bytes, for themselves; all, if there are not so many.
    pub(crate) fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { budget: self.budget.clone(), bytes }
    }

    /// Those of another part of the same budget too.
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
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_to_what_is_in_use_and_never_to_more_than_the_budget() {
        let budget = Budget::new(100);
        let (mut one, mut other) = (budget.nothing(), budget.nothing());
        assert!(one.grow(60) && !other.grow(41) && other.grow(40) && !one.grow(usize::MAX));
        let half = one.split(30);
        other.merge(half);
        assert_eq!((one.bytes(), other.bytes(), budget.held()), (30, 70, 100));
        other.clear();
        assert_eq!(budget.held(), 30);
        drop(one.split(1_000));
        assert_eq!((one.bytes(), budget.held()), (0, 0));
    }
}
