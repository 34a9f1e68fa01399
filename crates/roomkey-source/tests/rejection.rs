//! Many whose tokens are refused at one moment.

#![allow(clippy::unwrap_used, reason = "a panic is a test's report")]
#![expect(clippy::disallowed_methods, reason = "tokio's clock, which is paused")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use support::{Backend, clock, id, room, seconds, settle};

#[tokio::test(start_paused = true)]
async fn those_who_are_refused_at_once_ask_within_the_window_and_not_at_once() {
    let backend = Backend::numbered();
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..1_000 {
        let source = backend.builder().clock(clock()).rejection_spread(seconds(60)).build();
        clients.spawn(async move {
            let refused = source.fetch(&room("a")).await.unwrap();
            source.fetch_after_rejection(&room("a"), &refused).await.unwrap()
        });
    }
    settle().await;
    let mut calls = vec![backend.calls()];
    while let Ok(Some(client)) = tokio::time::timeout(Duration::from_secs(1), clients.join_next()).await {
        client.unwrap();
        settle().await;
    }
    calls.push(backend.calls());
    assert!((1_000..1_100).contains(&calls[0]), "{calls:?}");
    assert_eq!(calls[1], 2_000);
}

#[tokio::test(start_paused = true)]
async fn tasks_of_one_source_wait_together_and_make_one_call() {
    let backend = Backend::numbered();
    let source = backend.builder().clock(clock()).rejection_spread(seconds(60)).build();
    let refused = source.fetch(&room("a")).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (source, refused) = (source.clone(), refused.clone());
        tasks.spawn(async move { source.fetch_after_rejection(&room("a"), &refused).await.unwrap() });
    }
    settle().await;
    assert!(source.cached(&room("a")).is_none(), "the refused token is dropped at once");
    while let Some(given) = tasks.join_next().await {
        assert_eq!(id(&given.unwrap()), "2");
    }
    assert_eq!(backend.calls(), 2);
    // Another token is there, so that nobody waits.
    assert_eq!(id(&source.fetch_after_rejection(&room("a"), &refused).await.unwrap()), "2");
    assert_eq!(backend.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_watch_and_a_bound_source_wait_with_the_others() {
    for watches in [false, true] {
        let backend = Backend::numbered();
        let mut waits = Vec::new();
        for _ in 0..50 {
            let before = backend.calls();
            let source = backend.builder().clock(clock()).rejection_spread(seconds(60)).build();
            let refused = source.fetch(&room("a")).await.unwrap();
            let mut watch = source.watch(room("a"));
            assert_eq!(watch.next().await.unwrap(), refused);
            if watches {
                tokio::spawn(async move { watch.next().await });
            }
            let begun = tokio::time::Instant::now();
            let given = source.bind(room("a")).fetch_after_rejection(&refused).await.unwrap();
            assert_ne!(given, refused);
            assert_eq!(backend.calls(), before + 2);
            waits.push(begun.elapsed());
        }
        let mean = waits.iter().sum::<Duration>() / 50;
        assert!((seconds(18)..seconds(42)).contains(&mean), "watched: {watches}, mean {mean:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_spread_nobody_waits() {
    let backend = Backend::numbered();
    let source = backend.source(&Arc::clone(&clock()));
    let refused = source.fetch(&room("a")).await.unwrap();
    let asked = tokio::spawn(async move { source.fetch_after_rejection(&room("a"), &refused).await.unwrap() });
    settle().await;
    assert!(asked.is_finished());
}
