//! A token that is held, as a rule of the application's about reuse sees it.

use std::time::Duration;

use crate::cache::Entry;
use crate::clock::Now;
use crate::credentials::Credentials;
use crate::options::FetchOptions;

/// A token that is held and could be reused; see
/// [`TokenSourceBuilder::reuse_when`](crate::TokenSourceBuilder::reuse_when).
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    entry: &'a Entry,
    now: Now,
}

impl<'a> Held<'a> {
    pub(crate) fn new(entry: &'a Entry, now: Now) -> Self {
        Self { entry, now }
    }

    /// The options that it was fetched for.
    #[must_use]
    pub fn options(&self) -> &'a FetchOptions {
        &self.entry.key.options
    }

    /// The credentials.
    #[must_use]
    pub fn credentials(&self) -> &'a Credentials {
        &self.entry.credentials
    }

    /// How long ago it was received; time during which the machine was suspended counts.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.entry.age(self.now)
    }

    /// Whether it still joins, as far as its expiry says: true for longer than [`is_fresh`](Self::is_fresh).
    #[must_use]
    pub fn is_unexpired(&self) -> bool {
        self.entry.freshness.unexpired.contains(self.age())
    }

    /// Whether the rules about expiry allow it.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.entry.freshness.reusable.contains(self.age())
    }
}
