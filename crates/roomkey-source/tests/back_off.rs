//! A backend that is down is left alone.

#![allow(clippy::unwrap_used, reason = "in helpers of tests too, a panic is the report")]

mod support;

use roomkey_source::{
    BackOff, FetchError, FetchErrorKind, FetchOptions, ProviderError, TokenSource, TokenSourceBuilder,
};
use support::*;
use tokio::task::JoinSet;

/// 1, 2, 4, 8, 8, … seconds.
fn builder(backend: &Backend, clock: TokioClock) -> TokenSourceBuilder {
    backend.builder().clock(clock).back_off(BackOff::new(seconds(1), seconds(8)).without_jitter())
}

async fn error(source: &TokenSource, options: &FetchOptions) -> FetchError {
    source.fetch(options).await.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn a_herd_on_a_dead_backend_is_one_call_a_wait() {
    let clock = TokioClock::new();
    let backend = short_lived(clock);
    backend.fail();
    let source = builder(&backend, clock).build();
    let mut called_at = Vec::new();
    for tenth in 0..400u32 {
        let mut herd = JoinSet::new();
        for _ in 0..20 {
            let source = source.clone();
            herd.spawn(async move { source.fetch(&room("a")).await.unwrap_err().kind() });
        }
        let calls = backend.calls();
        assert!(herd.join_all().await.into_iter().all(|kind| kind == FetchErrorKind::Provider));
        if backend.calls() > calls {
            assert_eq!(backend.calls(), calls + 1);
            called_at.push(tenth / 10);
        }
        tokio::time::advance(seconds(1) / 10).await;
    }
    assert_eq!(called_at, [0, 1, 3, 7, 15, 23, 31, 39]);

    // Other options are another matter, and a success begins anew.
    error(&source, &room("b")).await;
    assert_eq!(backend.calls(), 9);
    backend.respond(|_, _| Ok("opaque".to_owned()));
    tokio::time::advance(seconds(8)).await;
    source.fetch(&room("a")).await.unwrap();
    backend.fail();
    error(&source, &room("a")).await;
    tokio::time::advance(seconds(1)).await;
    error(&source, &room("a")).await;
    assert_eq!(backend.calls(), 12, "one second after the first failure");
}

/// Case 21 stands without it: it is for those who ask for it.
#[tokio::test(start_paused = true)]
async fn without_a_back_off_a_failure_is_not_remembered() {
    let clock = TokioClock::new();
    let backend = short_lived(clock);
    backend.fail();
    let source = backend.builder().clock(clock).build();
    for calls in 1..4 {
        error(&source, &room("a")).await;
        assert_eq!(backend.calls(), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_caller_can_put_right_is_asked_for_again_at_once() {
    type Fail = fn() -> ProviderError;
    let clock = TokioClock::new();
    for (fail, is_remembered) in [
        ((|| ProviderError::transient("x")) as Fail, true),
        (|| ProviderError::auth("x"), false),
        (|| ProviderError::permanent("x"), false),
    ] {
        let backend = Backend::new(move |_, _| Err(fail().into()));
        let source = builder(&backend, clock).build();
        let first = error(&source, &room("a")).await;
        let second = error(&source, &room("a")).await;
        assert_eq!((first.is_auth(), first.is_retryable()), (second.is_auth(), second.is_retryable()));
        assert_eq!(backend.calls() == 1, is_remembered, "{first:?}");
    }

    let hung = short_lived(clock);
    hung.gate();
    let source = builder(&hung, clock).build();
    for _ in 0..2 {
        assert_eq!(error(&source, &room("a")).await.kind(), FetchErrorKind::Timeout);
    }
    assert_eq!(hung.calls(), 1, "a timeout is remembered");
}

#[tokio::test(start_paused = true)]
async fn a_token_in_its_last_minute_stands_in_during_a_back_off() {
    let clock = TokioClock::new();
    let backend = short_lived(clock);
    let source = builder(&backend, clock).build();
    source.fetch(&room("a")).await.unwrap();
    backend.fail();
    tokio::time::advance(seconds(545)).await;
    for _ in 0..5 {
        assert_eq!(id(&source.fetch(&room("a")).await.unwrap()), "1");
    }
    assert_eq!(backend.calls(), 2);
    tokio::time::advance(seconds(56)).await;
    error(&source, &room("a")).await;
    error(&source, &room("a")).await;
    assert_eq!(backend.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn who_insists_calls_and_an_invalidation_ends_the_wait_and_a_rejection_does_not() {
    let clock = TokioClock::new();
    let backend = short_lived(clock);
    let source = builder(&backend, clock).build();
    let token = source.fetch(&room("a")).await.unwrap();
    backend.fail();
    // Tasks that were refused together, on a backend that is down.
    for _ in 0..5 {
        source.fetch_after_rejection(&room("a"), &token).await.unwrap_err();
    }
    assert_eq!(backend.calls(), 2);
    for calls in 3..6 {
        source.fetch_fresh(&room("a")).await.unwrap_err();
        assert_eq!(backend.calls(), calls, "each fresh one");
    }
    tokio::time::advance(seconds(1)).await;
    error(&source, &room("a")).await;
    assert_eq!(backend.calls(), 6, "and those who insist make the wait no longer");

    source.invalidate(&room("a"));
    error(&source, &room("a")).await;
    assert_eq!(backend.calls(), 7);
    source.invalidate_all();
    error(&source, &room("a")).await;
    assert_eq!(backend.calls(), 8);
    backend.respond(|_, _| Ok("opaque".to_owned()));
    source.fetch_fresh(&room("a")).await.unwrap();
    source.fetch(&room("a")).await.unwrap();
    assert_eq!(backend.calls(), 10, "a success ends it");
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_is_waited_for_by_fetches_and_by_watches() {
    let clock = TokioClock::new();
    let busy = || Backend::new(|_, _| Err(ProviderError::transient("busy").with_retry_after(seconds(100)).into()));
    let backend = busy();
    let source = builder(&backend, clock).build();
    error(&source, &room("a")).await;
    tokio::time::advance(seconds(99)).await;
    assert_eq!(error(&source, &room("a")).await.retry_after(), Some(seconds(100)));
    assert_eq!(backend.calls(), 1);
    tokio::time::advance(seconds(1)).await;
    error(&source, &room("a")).await;
    assert_eq!(backend.calls(), 2);

    let backend = busy();
    let mut watch = backend.builder().clock(clock).build().watch(room("a"));
    let began = clock.elapsed();
    for _ in 0..4 {
        watch.next().await.unwrap_err();
    }
    assert_eq!(backend.calls(), 4);
    let took = (clock.elapsed() - began).as_secs();
    assert!((300..=380).contains(&took), "three times a hundred seconds, up to a quarter longer: {took}");
}

#[tokio::test(start_paused = true)]
async fn takes_of_single_use_tokens_leave_a_dead_backend_alone_too() {
    let clock = TokioClock::new();
    let backend = short_lived(clock);
    backend.fail();
    let source = builder(&backend, clock).single_use().build();
    for _ in 0..5 {
        error(&source, &room("a")).await;
        source.prefetch(&room("a")).await.unwrap_err();
    }
    assert_eq!(backend.calls(), 1);
}

/// With nothing held there is no token to note a failure at, and with or without a back-off for fetches.
#[tokio::test(start_paused = true)]
async fn a_hundred_watches_of_a_dead_backend_are_one_call_a_wait() {
    let clock = TokioClock::new();
    let backend = short_lived(clock);
    backend.fail();
    let source = backend.builder().clock(clock).build();
    let mut watches = JoinSet::new();
    for _ in 0..100 {
        let mut watch = source.watch(room("a"));
        watches.spawn(async move {
            for _ in 0..10 {
                watch.next().await.unwrap_err();
            }
        });
    }
    watches.join_all().await;
    let took = clock.elapsed().as_secs();
    assert_eq!(backend.calls(), 10, "and all were told of each");
    assert!((157..=435).contains(&took), "5, 10, 20, 40, 60… seconds, half of it chance: {took}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_dropped_and_made_again_begins_no_wait_anew() {
    let clock = TokioClock::new();
    let backend = short_lived(clock);
    backend.fail();
    let source = builder(&backend, clock).build();
    let mut watch = source.watch(room("a"));
    watch.next().await.unwrap_err();
    // A future that is dropped each half second, as beside other branches of a select.
    let mut errors = 0;
    for _ in 0..60 {
        let next = tokio::time::timeout(seconds(1) / 2, watch.next()).await;
        errors += usize::from(next.is_ok());
    }
    assert!((3..=6).contains(&errors) && backend.calls() == errors + 1, "{errors} {}", backend.calls());

    let calls = backend.calls();
    for _ in 0..10 {
        source.watch(room("a")).next().await.unwrap_err();
    }
    assert!(backend.calls() <= calls + 1, "a new watch gets the error of the others");
}
