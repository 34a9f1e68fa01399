//! What a source has done so far, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a source has done since it was made; from [`TokenSource::stats`](crate::TokenSource::stats).
///
/// Each number is exact, and they are read one after the other: while others fetch, they may not add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// How often a token that was held was given.
    pub hits: u64,
    /// How often somebody had to wait for a call.
    pub misses: u64,
    /// How many of the `misses` waited for a call that somebody else had begun.
    pub shared: u64,
    /// How many calls of the provider were begun. An endpoint may send several requests for one.
    pub flights: u64,
    /// How many calls failed: an error, a panic, a timeout, a token that [`GrantCheck`](crate::GrantCheck) denied.
    pub failures: u64,
    /// How often a token that was held and had not expired was replaced by a new one.
    pub refreshes: u64,
    /// How many fetches got an earlier error in place of a call, by the
    /// [back-off](crate::TokenSourceBuilder::back_off).
    pub spared: u64,
    /// How many tokens are held now.
    pub entries: u64,
}

#[cfg(feature = "metrics")]
impl Stats {
    /// Hands the numbers to the recorder of the crate `metrics`, each with the label `source`: the counters
    /// `roomkey_source_hits_total`, `roomkey_source_misses_total`, `roomkey_source_shared_total`,
    /// `roomkey_source_flights_total`, `roomkey_source_failures_total`, `roomkey_source_refreshes_total` and
    /// `roomkey_source_spared_total`, and the gauge `roomkey_source_entries`.
    ///
    /// Nothing is handed over unless this is called: call it before each scrape, or now and then. Give each source a name
    /// of its own, since the counters are set to these numbers and not added to.
    pub fn record(&self, source: &str) {
        use metrics::{counter, gauge};

        let source = || source.to_owned();
        counter!("roomkey_source_hits_total", "source" => source()).absolute(self.hits);
        counter!("roomkey_source_misses_total", "source" => source()).absolute(self.misses);
        counter!("roomkey_source_shared_total", "source" => source()).absolute(self.shared);
        counter!("roomkey_source_flights_total", "source" => source()).absolute(self.flights);
        counter!("roomkey_source_failures_total", "source" => source()).absolute(self.failures);
        counter!("roomkey_source_refreshes_total", "source" => source()).absolute(self.refreshes);
        counter!("roomkey_source_spared_total", "source" => source()).absolute(self.spared);
        gauge!("roomkey_source_entries", "source" => source()).set(self.entries as f64);
    }
}

/// What is counted beside a call, where an atomic counter costs nothing in comparison. Hits are counted in the fronts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) misses: Counter,
    pub(crate) shared: Counter,
    pub(crate) flights: Counter,
    pub(crate) failures: Counter,
    pub(crate) refreshes: Counter,
    pub(crate) spared: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
