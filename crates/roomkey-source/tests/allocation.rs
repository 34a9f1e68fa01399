//! A fetch from the cache takes no memory from the heap.
//!
//! Alone in its file and without a test harness, since the allocator counts for the whole process.

#![expect(clippy::print_stdout, reason = "without a harness the test says itself that it passed")]

mod support;

use std::alloc::System;
use std::sync::Arc;
use std::task::{Context, Waker};

use roomkey_source::{FetchOptions, TokenSource};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::*;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Polls a fetch to its end, which is at once.
fn fetch_now(source: &TokenSource, options: &FetchOptions) {
    let mut fetch = std::pin::pin!(source.fetch(options));
    assert!(fetch.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
}

fn main() {
    a_hit_allocates_nothing();
    println!("test a_hit_allocates_nothing ... ok");
}

fn a_hit_allocates_nothing() {
    let who: Arc<str> = "alice".into();
    let plain = Backend::numbered().source(&clock());
    let partitioned = Backend::numbered().builder().clock(clock()).partition(move || Arc::clone(&who)).build();
    let ruled = Backend::numbered().builder().clock(clock()).reuse_when(|_| true).build();
    // As many as a thread's front holds.
    let options: Vec<FetchOptions> =
        (0..16).map(|number| room(&number.to_string()).with_participant_attribute("k", "v")).collect();
    for source in [&plain, &partitioned, &ruled] {
        for options in options.iter().chain(&options) {
            fetch_now(source, options);
        }
        let region = Region::new(ALLOCATOR);
        for options in options.iter().cycle().take(1_000) {
            fetch_now(source, options);
        }
        let change = region.change();
        assert_eq!((change.allocations, change.reallocations), (0, 0));
    }

    // It does count.
    let region = Region::new(ALLOCATOR);
    fetch_now(&plain, &room("another"));
    assert!(region.change().allocations > 0);
}
