//! Tokens that are worth one join, tokens that a server refused, and tokens for something else than was asked.

#![allow(clippy::unwrap_used, reason = "in helpers of tests too, a panic is the report")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use roomkey_source::{Credentials, FetchError, FetchErrorKind, FetchOptions, GrantCheck, TokenSource};
use serde_json::json;
use support::*;

/// Case 36.
#[tokio::test]
async fn a_prefetched_token_is_for_one_join_or_for_all_as_the_policy_says() {
    let backend = Backend::numbered();
    let source = backend.builder().clock(clock()).single_use().build();
    source.prefetch(&room("a")).await.unwrap();
    source.prefetch(&room("a")).await.unwrap();
    assert_eq!(backend.calls(), 1, "one is held already");
    assert_eq!(id(&source.take(&room("a")).await.unwrap()), "1");
    assert_eq!(source.cached(&room("a")), None);
    assert_eq!(id(&source.take(&room("a")).await.unwrap()), "2");
    assert_eq!(id(&source.fetch(&room("a")).await.unwrap()), "3", "each fetch is one");
    assert_eq!(id(&source.fetch_fresh(&room("a")).await.unwrap()), "4");
    assert_eq!(source.cached(&room("a")), None);

    let backend = Backend::numbered();
    let source = backend.source(&clock());
    source.prefetch(&room("a")).await.unwrap();
    assert_eq!(id(&source.fetch(&room("a")).await.unwrap()), "1");
    assert_eq!(id(&source.fetch(&room("a")).await.unwrap()), "1");
    assert_eq!(id(&source.take(&room("a")).await.unwrap()), "1", "and nobody else's from here on");
    assert_eq!(id(&source.fetch(&room("a")).await.unwrap()), "2");
}

/// Case 56.
#[tokio::test]
async fn as_many_as_take_at_once_get_a_token_each() {
    let backend = Backend::numbered();
    let source = backend.builder().clock(clock()).single_use().build();
    source.prefetch(&room("a")).await.unwrap();
    let gate = backend.gate();
    let takes: Vec<_> = (0..10)
        .map(|number| {
            let source = source.clone();
            tokio::spawn(async move {
                let options = room("a");
                if number % 2 == 0 { source.take(&options).await } else { source.fetch(&options).await }
            })
        })
        .collect();
    settle().await;
    gate.add_permits(10);
    let mut tokens = BTreeSet::new();
    for take in takes {
        tokens.insert(id(&take.await.unwrap().unwrap()));
    }
    assert_eq!((tokens.len(), backend.calls()), (10, 10));
}

/// Case 56, on many threads: no token goes to two.
#[test]
fn a_token_that_is_held_is_taken_once() {
    let backend = Backend::numbered();
    let source = backend.builder().clock(clock()).single_use().build();
    let taken: Vec<Vec<String>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                    let mut taken = Vec::new();
                    for round in 0..300 {
                        if round % 3 == 0 {
                            runtime.block_on(source.prefetch(&room("a"))).unwrap();
                        }
                        taken.push(id(&runtime.block_on(source.take(&room("a"))).unwrap()));
                    }
                    taken
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let taken: Vec<_> = taken.into_iter().flatten().collect();
    assert_eq!(taken.iter().collect::<BTreeSet<_>>().len(), taken.len());
}

#[tokio::test]
async fn a_token_that_has_nearly_expired_is_not_taken() {
    let (backend, clock) = (Backend::giving(expiring(100)), clock());
    let source = backend.builder().clock(Arc::clone(&clock)).single_use().build();
    source.prefetch(&room("a")).await.unwrap();
    clock.advance(seconds(41));
    source.take(&room("a")).await.unwrap();
    assert_eq!(backend.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_take_ends_and_its_failures_are_its_own() {
    let backend = Backend::new(|call, _| if call == 1 { Err("down".into()) } else { panic!("and the test goes on") });
    let source = backend.builder().single_use().build();
    assert_eq!(source.take(&room("a")).await.unwrap_err().kind(), FetchErrorKind::Provider);
    assert_eq!(source.take(&room("a")).await.unwrap_err().kind(), FetchErrorKind::Provider);
    backend.gate();
    assert_eq!(source.take(&room("a")).await.unwrap_err().kind(), FetchErrorKind::Timeout);
}

#[tokio::test]
async fn tasks_that_were_refused_together_make_one_call() {
    let backend = Backend::numbered();
    let source = backend.source(&clock());
    let refused = source.fetch(&room("a")).await.unwrap();
    let gate = backend.gate();
    let again: Vec<_> = (0..5)
        .map(|_| {
            let (source, refused) = (source.clone(), refused.clone());
            tokio::spawn(async move { source.fetch_after_rejection(&room("a"), &refused).await })
        })
        .collect();
    settle().await;
    gate.add_permits(5);
    for fetch in again {
        assert_eq!(id(&fetch.await.unwrap().unwrap()), "2");
    }
    assert_eq!(backend.calls(), 2);
    // One who comes late with the old one gets the new one.
    assert_eq!(id(&source.fetch_after_rejection(&room("a"), &refused).await.unwrap()), "2");
    assert_eq!(id(&source.bind(room("a")).fetch_after_rejection(&refused).await.unwrap()), "2");
    assert_eq!(backend.calls(), 2);
}

/// A call that was begun before the token was refused may give it again.
#[tokio::test]
async fn a_call_from_before_a_rejection_is_not_held() {
    let backend = Backend::numbered();
    let source = backend.source(&clock());
    let refused = source.fetch(&room("a")).await.unwrap();
    let gate = backend.gate();
    let before = {
        let source = source.clone();
        tokio::spawn(async move { source.fetch_fresh(&room("a")).await })
    };
    settle().await;
    let after = {
        let (source, refused) = (source.clone(), refused.clone());
        tokio::spawn(async move { source.fetch_after_rejection(&room("a"), &refused).await })
    };
    settle().await;
    gate.add_permits(2);
    assert_eq!(id(&before.await.unwrap().unwrap()), "2");
    assert_eq!(id(&after.await.unwrap().unwrap()), "3");
    assert_eq!(id(&source.fetch(&room("a")).await.unwrap()), "3");
}

async fn fetch_checked(
    check: Option<GrantCheck>,
    token: String,
    options: &FetchOptions,
) -> Result<Credentials, FetchError> {
    let backend = Backend::giving(token);
    let builder = backend.builder().clock(clock());
    let source: TokenSource = match check {
        Some(check) => builder.grant_check(check).build(),
        None => builder.build(),
    };
    let fetched = source.fetch(options).await;
    assert_eq!(source.cached(options).is_some(), fetched.is_ok());
    fetched
}

/// Case 49.
#[tokio::test]
async fn a_token_for_something_else_is_taken_warned_of_or_denied() {
    let token = jwt(&json!({ "exp": NOW + 3_600, "sub": "alice", "video": { "room": "lobby" } }));
    let asked = FetchOptions::new().with_room_name("lobby").with_participant_identity("alice");
    let others = [asked.clone().with_room_name("hall"), asked.clone().with_participant_identity("bob")];
    for check in [None, Some(GrantCheck::Ignore), Some(GrantCheck::Warn)] {
        for options in &others {
            assert!(fetch_checked(check, token.clone(), options).await.is_ok());
        }
    }
    for options in &others {
        let error = fetch_checked(Some(GrantCheck::Deny), token.clone(), options).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (FetchErrorKind::GrantMismatch, false));
        assert!(!format!("{error:?} {error}").contains("alice"));
    }
    assert!(fetch_checked(Some(GrantCheck::Deny), token.clone(), &asked).await.is_ok());
    assert!(fetch_checked(Some(GrantCheck::Deny), token, &FetchOptions::new()).await.is_ok());
    assert!(fetch_checked(Some(GrantCheck::Deny), "opaque".to_owned(), &asked).await.is_ok(), "nobody knows");

    let backend = Backend::numbered();
    let source = backend.builder().single_use().grant_check(GrantCheck::Deny).build();
    let error = source.take(&asked).await.unwrap_err();
    assert_eq!(error.kind(), FetchErrorKind::GrantMismatch);
}
