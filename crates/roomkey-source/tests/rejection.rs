//! Many whose tokens are refused at one moment.

#![allow(clippy::unwrap_used, reason = "a panic is a test's report")]

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
async fn without_a_spread_nobody_waits() {
    let backend = Backend::numbered();
    let source = backend.source(&Arc::clone(&clock()));
    let refused = source.fetch(&room("a")).await.unwrap();
    let asked = tokio::spawn(async move { source.fetch_after_rejection(&room("a"), &refused).await.unwrap() });
    settle().await;
    assert!(asked.is_finished());
}
