//! Token sources for programs without async.

#![cfg(feature = "blocking")]
#![allow(clippy::unwrap_used, reason = "in helpers of tests too, a panic is the report")]

mod support;

use std::sync::{Arc, Barrier};

use roomkey_source::{Credentials, FetchErrorKind, TokenSource};
use support::*;

#[test]
fn without_a_runtime_tokens_are_fetched_held_and_forgotten() {
    let backend = Backend::numbered();
    let source = backend.source(&clock()).blocking().unwrap();
    let first = source.fetch(&room("a")).unwrap();
    assert_eq!((id(&first).as_str(), source.fetch(&room("a")).unwrap()), ("1", first.clone()));
    assert_eq!(id(&source.fetch_fresh(&room("a")).unwrap()), "2");
    assert!(!source.invalidate_token(&first));
    let second = source.cached(&room("a")).unwrap();
    assert_eq!(id(&source.fetch_after_rejection(&room("a"), &second).unwrap()), "3");
    source.invalidate(&room("a"));
    source.prefetch(&room("a")).unwrap();
    assert_eq!(id(&source.take(&room("a")).unwrap()), "4");
    assert!(source.cached(&room("a")).is_none());
    source.fetch(&room("a")).unwrap();
    source.invalidate_all();
    backend.fail();
    assert_eq!(source.fetch(&room("a")).unwrap_err().kind(), FetchErrorKind::Provider);
    assert_eq!((backend.calls(), source.stats().flights, source.stats().failures), (6, 6, 1));
}

/// The provider waits for a timer, as one that uses the network waits for a socket.
#[test]
fn threads_that_wait_share_a_call_that_needs_a_runtime() {
    let backend = Backend::numbered();
    let inner = backend.clone();
    let source = TokenSource::custom(move |options| {
        let call = inner.call(options);
        async move {
            tokio::time::sleep(seconds(1) / 100).await;
            call.await
        }
    });
    let blocking = source.blocking().unwrap();
    let all_are_here = Arc::new(Barrier::new(8));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let (blocking, all_are_here) = (blocking.clone(), Arc::clone(&all_are_here));
            scope.spawn(move || {
                all_are_here.wait();
                blocking.fetch(&room("a")).unwrap();
            });
        }
    });
    // A thread that came when the call was over found an expired token of another time, or none: by the system's clock.
    assert!(backend.calls() <= 8);
    assert!(source.cached(&room("a")).is_some(), "held for the async handle too");
    assert_eq!(source.stats(), blocking.stats());
}

#[test]
fn a_watch_blocks_until_there_is_another_token() {
    let source = Backend::numbered().source(&clock()).blocking().unwrap();
    let mut watch = source.watch(room("a"));
    assert_eq!(id(&watch.next().unwrap()), "1");
    let other = source.clone();
    let fetched = std::thread::spawn(move || other.fetch_fresh(&room("a")).unwrap());
    assert_eq!(watch.next().unwrap(), fetched.join().unwrap());
    assert!(source.flush(), "there is no store to wait for");
}

#[test]
fn inside_of_a_runtime_it_blocks_and_does_not_panic() {
    let slow = TokenSource::custom(|_| async {
        tokio::time::sleep(seconds(1) / 100).await;
        Ok(Credentials::new("wss://example", "a token"))
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let blocking = slow.blocking().unwrap();
        assert_eq!(blocking.fetch(&room("a")).unwrap().participant_token(), "a token");
        drop(blocking);
    });
}

#[test]
fn a_call_that_never_ends_is_a_timeout_and_the_thread_goes_with_the_last_handle() {
    let hung = TokenSource::builder(roomkey_source::provider_fn(|_| std::future::pending()))
        .load_timeout(seconds(1) / 100)
        .build();
    let blocking = hung.blocking().unwrap();
    let other = blocking.clone();
    drop(blocking);
    assert_eq!(other.fetch(&room("a")).unwrap_err().kind(), FetchErrorKind::Timeout, "one handle is left");
    drop(other);
    assert!(hung.cached(&room("a")).is_none(), "and the source stays");
}
