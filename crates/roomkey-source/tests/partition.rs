//! Who is logged in: no token of one user's for another. Case 53.

#![allow(clippy::unwrap_used, reason = "in helpers of tests too, a panic is the report")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};

use roomkey_source::{Credentials, FetchErrorKind, FetchOptions, TokenSource, provider_fn};
use serde_json::json;
use support::*;

/// An application in which one user at a time is logged in, and whose backend knows them by a session.
#[derive(Clone)]
struct Login(Arc<RwLock<Arc<str>>>);

impl Login {
    fn new(user: &str) -> Self {
        Self(Arc::new(RwLock::new(user.into())))
    }

    fn switch_to(&self, user: &str) {
        *self.0.write().unwrap() = user.into();
    }

    fn user(&self) -> Arc<str> {
        Arc::clone(&self.0.read().unwrap())
    }

    fn source(&self, backend: &Backend) -> TokenSource {
        let (login, backend) = (self.clone(), backend.clone());
        let current = self.clone();
        TokenSource::builder(provider_fn(move |options| {
            // The user of the session as it is when the backend is asked.
            let user = login.user();
            let call = backend.call(options);
            async move {
                call.await?;
                Ok(Credentials::new("wss://example", jwt(&json!({ "exp": NOW + 3_600, "sub": &*user }))))
            }
        }))
        .clock(clock())
        .partition(move || current.user())
        .build()
    }
}

fn user_of(credentials: &Credentials) -> String {
    credentials.claims().unwrap().sub.clone()
}

#[tokio::test]
async fn a_token_of_one_user_is_never_given_to_another() {
    let (login, backend) = (Login::new("alice"), Backend::numbered());
    let source = login.source(&backend);
    for options in [FetchOptions::new(), room("a")] {
        login.switch_to("alice");
        assert_eq!(user_of(&source.fetch(&options).await.unwrap()), "alice");
        login.switch_to("bob");
        assert_eq!(source.cached(&options), None);
        assert_eq!(user_of(&source.fetch(&options).await.unwrap()), "bob");
        login.switch_to("");
        assert_eq!(user_of(&source.fetch(&options).await.unwrap()), "", "nobody is a user of their own");
    }
    let calls = backend.calls();
    login.switch_to("alice");
    assert_eq!(user_of(&source.fetch(&room("a")).await.unwrap()), "alice");
    assert_eq!(backend.calls(), calls, "and who comes back finds their own");
}

#[tokio::test]
async fn a_token_under_way_when_another_logs_in_goes_to_nobody() {
    let (login, backend) = (Login::new("alice"), Backend::numbered());
    let source = login.source(&backend);
    let gate = backend.gate();
    let fetch = |source: &TokenSource| {
        let source = source.clone();
        tokio::spawn(async move { source.fetch(&room("a")).await })
    };
    let alices = [fetch(&source), fetch(&source)];
    settle().await;
    login.switch_to("bob");
    let bobs = fetch(&source);
    settle().await;
    assert_eq!(backend.calls(), 2, "Bob does not wait for Alice's call");
    gate.add_permits(2);

    for alices in alices {
        let error = alices.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), FetchErrorKind::PartitionChanged);
        assert!(error.is_retryable());
    }
    assert_eq!(user_of(&bobs.await.unwrap().unwrap()), "bob");
    login.switch_to("alice");
    assert_eq!(source.cached(&room("a")), None, "it may have been either's");
}

#[tokio::test]
async fn neither_a_fresh_fetch_nor_a_failed_one_gives_a_token_of_before_the_switch() {
    let (login, backend) = (Login::new("alice"), Backend::numbered());
    let source = login.source(&backend);
    source.fetch(&room("a")).await.unwrap();
    for answer_is_a_token in [true, false] {
        if !answer_is_a_token {
            backend.fail();
        }
        let gate = backend.gate();
        let fresh = {
            let source = source.clone();
            tokio::spawn(async move { source.fetch_fresh(&room("a")).await })
        };
        settle().await;
        login.switch_to("bob");
        gate.add_permits(1);
        assert_eq!(fresh.await.unwrap().unwrap_err().kind(), FetchErrorKind::PartitionChanged);
        backend.open();
        login.switch_to("alice");
    }
}

#[tokio::test]
async fn a_call_that_waited_for_its_turn_is_not_begun_for_who_has_logged_out() {
    let (login, backend) = (Login::new("alice"), Backend::numbered());
    let source = login.source(&backend);
    let gate = backend.gate();
    let fresh = |source: &TokenSource| {
        let source = source.clone();
        tokio::spawn(async move { source.fetch_fresh(&room("a")).await })
    };
    let (first, queued) = (fresh(&source), fresh(&source));
    settle().await;
    login.switch_to("bob");
    gate.add_permits(1);
    for fetch in [first, queued] {
        assert_eq!(fetch.await.unwrap().unwrap_err().kind(), FetchErrorKind::PartitionChanged);
    }
    assert_eq!(backend.calls(), 1, "nobody asks for Alice with Bob's login");
}

#[tokio::test]
async fn a_panic_of_the_partition_leaves_nobody_waiting() {
    let backend = Backend::numbered();
    let gate = backend.gate();
    let panics = Arc::new(AtomicBool::new(false));
    let source = {
        let panics = Arc::clone(&panics);
        let who = move || {
            assert!(!panics.load(Ordering::SeqCst), "the partition panics, and the test goes on");
            "alice"
        };
        backend.builder().partition(who).build()
    };
    let fetches = [room("a"), room("a")].map(|options| {
        let source = source.clone();
        tokio::spawn(async move { source.fetch(&options).await })
    });
    settle().await;
    panics.store(true, Ordering::SeqCst);
    gate.add_permits(1);
    for fetch in fetches {
        assert!(fetch.await.is_err_and(|error| error.is_panic()), "each asks who is logged in");
    }
    panics.store(false, Ordering::SeqCst);
    backend.open();
    assert!(source.fetch(&room("a")).await.is_ok());
}

#[tokio::test]
async fn invalidation_is_for_who_is_logged_in_unless_it_is_of_all() {
    let (login, backend) = (Login::new("alice"), Backend::numbered());
    let source = login.source(&backend);
    source.fetch(&room("a")).await.unwrap();
    login.switch_to("bob");
    let bobs = source.fetch(&room("a")).await.unwrap();
    source.invalidate(&room("a"));
    login.switch_to("alice");
    assert!(source.cached(&room("a")).is_some());
    assert!(!source.invalidate_token(&bobs));
    source.invalidate_all();
    assert_eq!(source.cached(&room("a")), None);
}

#[tokio::test]
async fn a_fixed_source_follows_the_login_too() {
    let (login, backend) = (Login::new("alice"), Backend::numbered());
    let fixed = login.source(&backend).bind(room("a"));
    assert_eq!(user_of(&fixed.fetch().await.unwrap()), "alice");
    login.switch_to("bob");
    assert_eq!(user_of(&fixed.fetch().await.unwrap()), "bob");
}
