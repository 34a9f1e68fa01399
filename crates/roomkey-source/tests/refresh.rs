//! Tokens renewed before anybody waits for one. The numbers are those of the black-box cases.

#![allow(clippy::unwrap_used, reason = "in helpers of tests too, a panic is the report")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use roomkey_source::{FetchErrorKind, RefreshAhead, TokenSource, TokenSourceBuilder};
use serde_json::json;
use support::*;
use tokio::task::JoinSet;

fn exact(lead: u64) -> RefreshAhead {
    RefreshAhead::new(seconds(lead)).with_jitter(0.0)
}

fn ahead(backend: &Backend, clock: TokioClock) -> TokenSourceBuilder {
    backend.builder().clock(clock).refresh_ahead(exact(300))
}

/// Case 29.
#[tokio::test(start_paused = true)]
async fn a_token_in_its_last_part_is_given_at_once_and_renewed_behind_the_fetch() {
    let clock = TokioClock::new();
    let backend = short_lived(clock);
    let source = ahead(&backend, clock).build();
    source.fetch(&room("a")).await.unwrap();
    tokio::time::advance(seconds(299)).await;
    source.fetch(&room("a")).await.unwrap();
    settle().await;
    assert_eq!(backend.calls(), 1, "301 s are left");

    tokio::time::advance(seconds(2)).await;
    let gate = backend.gate();
    for _ in 0..5 {
        assert_eq!(id(&source.fetch(&room("a")).await.unwrap()), "1", "the old one, at once");
    }
    settle().await;
    assert_eq!(backend.calls(), 2, "and one renewal");
    assert_eq!(id(&source.fetch(&room("a")).await.unwrap()), "1");
    gate.add_permits(1);
    settle().await;
    assert_eq!(id(&source.fetch(&room("a")).await.unwrap()), "2");
    assert_eq!(backend.calls(), 2);
}

/// Case 30.
#[tokio::test(start_paused = true)]
async fn while_renewals_fail_the_token_is_given_until_it_expires_and_the_backend_is_spared() {
    let clock = TokioClock::new();
    let backend = short_lived(clock);
    let source = ahead(&backend, clock).build();
    source.fetch(&room("a")).await.unwrap();
    backend.fail();
    tokio::time::advance(seconds(300)).await;
    let mut attempts = Vec::new();
    for second in 300..540u64 {
        let before = backend.calls();
        assert_eq!(id(&source.fetch(&room("a")).await.unwrap()), "1");
        settle().await;
        if backend.calls() > before {
            attempts.push(second);
        }
        tokio::time::advance(seconds(1)).await;
    }
    assert_eq!(attempts, [300, 305, 315, 335, 375, 435, 495], "5, 10, 20, 40, 60, 60 s");

    // In the last minute each fetch asks, and the token stands in until it has expired.
    assert_eq!(id(&source.fetch(&room("a")).await.unwrap()), "1");
    tokio::time::advance(seconds(60)).await;
    assert_eq!(source.fetch(&room("a")).await.unwrap_err().kind(), FetchErrorKind::Provider);
}

/// Case 31.
#[tokio::test(start_paused = true)]
async fn a_renewal_ends_with_the_last_handle() {
    let clock = TokioClock::new();
    let backend = short_lived(clock);
    let source = ahead(&backend, clock).build();
    let other = source.clone();
    source.fetch(&room("a")).await.unwrap();
    tokio::time::advance(seconds(301)).await;
    let gate = backend.gate();
    source.fetch(&room("a")).await.unwrap();
    settle().await;
    assert_eq!(backend.calls(), 2);
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(tasks(), 1);
    drop(source);
    settle().await;
    assert_eq!(tasks(), 1, "one handle is left");
    drop(other);
    settle().await;
    assert_eq!(tasks(), 0);
    gate.add_permits(1);
    tokio::time::advance(seconds(10_000)).await;
    settle().await;
    assert_eq!(backend.calls(), 2);
}

/// Case 31: no runtime, no renewal, and no harm.
#[test]
fn outside_of_a_runtime_tokens_are_fetched_when_they_are_needed() {
    let backend = Backend::numbered();
    let clock = clock();
    let source = backend.builder().clock(Arc::clone(&clock)).refresh_ahead(exact(600)).build();
    let fetch = |source: &TokenSource| {
        let options = room("a");
        let mut fetch = std::pin::pin!(source.fetch(&options));
        match fetch.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(fetched) => id(&fetched.unwrap()),
            std::task::Poll::Pending => panic!("the backend answers at once"),
        }
    };
    assert_eq!(fetch(&source), "1");
    clock.advance(seconds(3_100));
    assert_eq!((fetch(&source).as_str(), backend.calls()), ("1", 1));
    clock.advance(seconds(500));
    assert_eq!((fetch(&source).as_str(), backend.calls()), ("2", 2));
}

#[test]
fn a_runtime_that_ends_takes_its_renewal_and_leaves_the_next_one_to_another() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (backend, clock) = (Backend::numbered(), clock());
    let source = backend.builder().clock(Arc::clone(&clock)).refresh_ahead(exact(600)).build();
    let first = runtime();
    first.block_on(source.fetch(&room("a"))).unwrap();
    clock.advance(seconds(3_100));
    backend.gate();
    first.block_on(async {
        source.fetch(&room("a")).await.unwrap();
        settle().await;
    });
    assert_eq!(backend.calls(), 2);
    drop(first);
    backend.open();
    runtime().block_on(async {
        source.fetch(&room("a")).await.unwrap();
        settle().await;
        assert_eq!(id(&source.fetch(&room("a")).await.unwrap()), "3");
    });
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_gives_an_expired_token_is_a_failure_and_the_good_one_stays() {
    let clock = TokioClock::new();
    let backend = short_lived(clock);
    let source = ahead(&backend, clock).build();
    source.fetch(&room("a")).await.unwrap();
    backend.respond(|_, _| Ok(jwt(&json!({ "jti": "expired", "exp": NOW - 1 }))));
    tokio::time::advance(seconds(301)).await;
    for _ in 0..100 {
        assert_eq!(id(&source.fetch(&room("a")).await.unwrap()), "1");
        settle().await;
    }
    assert_eq!(backend.calls(), 2, "and nothing runs hot");
}

#[tokio::test(start_paused = true)]
async fn a_lead_that_is_longer_than_a_life_does_not_run_hot() {
    let clock = TokioClock::new();
    let backend = short_lived(clock);
    let source = backend.builder().clock(clock).refresh_ahead(exact(1_000_000)).build();
    for _ in 0..600 {
        source.fetch(&room("a")).await.unwrap();
        settle().await;
        tokio::time::advance(seconds(1)).await;
    }
    assert!(backend.calls() <= 3, "{} calls in the life of one token", backend.calls());
}

#[tokio::test(start_paused = true)]
async fn a_watch_gives_what_is_new_before_the_old_one_expires() {
    let clock = TokioClock::new();
    let backend = short_lived(clock);
    let mut watch = ahead(&backend, clock).build().watch(room("a"));
    for (number, at) in [("1", 0), ("2", 300), ("3", 600), ("4", 900)] {
        assert_eq!(id(&watch.next().await.unwrap()), number);
        assert_eq!(clock.elapsed().as_secs(), at, "nobody asked, and it came");
    }
    assert_eq!(backend.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_watch_without_refresh_ahead_renews_when_the_token_can_be_reused_no_longer() {
    let clock = TokioClock::new();
    let backend = short_lived(clock);
    let source = backend.builder().clock(clock).build();
    let mut watch = source.watch(room("a"));
    watch.next().await.unwrap();
    assert_eq!(id(&watch.next().await.unwrap()), "2");
    assert_eq!(clock.elapsed().as_secs(), 540);

    // What somebody else has fetched is new too.
    let waiting = tokio::spawn(async move { id(&watch.next().await.unwrap()) });
    settle().await;
    assert_eq!(id(&source.fetch_fresh(&room("a")).await.unwrap()), "3");
    assert_eq!(waiting.await.unwrap(), "3");
    assert_eq!(clock.elapsed().as_secs(), 540);
}

#[tokio::test(start_paused = true)]
async fn a_watch_says_nothing_of_failures_until_the_token_has_expired_and_then_goes_on() {
    let clock = TokioClock::new();
    let backend = short_lived(clock);
    let mut watch = ahead(&backend, clock).build().watch(room("a"));
    watch.next().await.unwrap();
    backend.fail();
    assert_eq!(watch.next().await.unwrap_err().kind(), FetchErrorKind::Provider);
    let at = clock.elapsed().as_secs();
    assert!((600..=660).contains(&at), "{at}");
    assert!(backend.calls() < 15, "{} calls", backend.calls());
    let calls = backend.calls();
    watch.next().await.unwrap_err();
    assert_eq!((backend.calls(), clock.elapsed().as_secs() - at), (calls + 1, 60), "no faster after an error");
    backend.respond(|_, _| Ok("opaque".to_owned()));
    assert_eq!(watch.next().await.unwrap().participant_token(), "opaque");
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_a_token_that_is_always_the_same_does_not_run_hot() {
    let clock = TokioClock::new();
    let backend = Backend::giving("opaque");
    let mut watch = backend.builder().clock(clock).build().watch(room("a"));
    watch.next().await.unwrap();
    let waiting = tokio::spawn(async move { watch.next().await.map(drop) });
    for _ in 0..60 {
        tokio::time::advance(seconds(10)).await;
        settle().await;
    }
    assert!(!waiting.is_finished() && backend.calls() < 25, "{} calls in ten minutes", backend.calls());
    waiting.abort();

    let ruled = Backend::new(|call, _| Ok(format!("opaque {call}")));
    let mut watch = ruled.builder().clock(clock).reuse_when(|held| held.age() < seconds(540)).build().watch(room("a"));
    for calls in 1..4 {
        watch.next().await.unwrap();
        assert_eq!(ruled.calls(), calls);
    }
    assert!(clock.elapsed() > seconds(600 + 540));
}

/// Neither the failures of others nor what is fetched for other options makes a watch ask sooner.
#[tokio::test(start_paused = true)]
async fn many_watches_of_a_backend_that_is_down_spare_it() {
    let clock = TokioClock::new();
    let backend = short_lived(clock);
    let source = backend.builder().clock(clock).refresh_ahead(RefreshAhead::new(seconds(300))).build();
    let mut watches = JoinSet::new();
    for _ in 0..100 {
        let mut watch = source.watch(room("a"));
        watches.spawn(async move {
            watch.next().await.unwrap();
            watch.next().await.unwrap_err()
        });
    }
    settle().await;
    assert_eq!(backend.calls(), 1);
    backend.respond(move |_, options| match options.room_name() {
        Some("a") => Err("down".into()),
        _ => Ok(jwt(&json!({ "exp": NOW + clock.elapsed().as_secs() + 600 }))),
    });
    let mut others = 0;
    while !watches.is_empty() {
        tokio::time::advance(seconds(1)).await;
        source.fetch_fresh(&room("b")).await.unwrap();
        others += 1;
        settle().await;
        while watches.try_join_next().is_some() {}
    }
    let calls = backend.calls() - 1 - others;
    assert!(calls <= 20, "{calls} calls in five minutes, of a hundred watches");
    assert!((600..=661).contains(&clock.elapsed().as_secs()), "{:?}", clock.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_tokens_that_can_not_be_reused_does_not_run_hot() {
    let clock = TokioClock::new();
    let backend = Backend::new(|call, _| Ok(format!("opaque {call}")));
    let source = backend.builder().clock(clock).refresh_ahead(exact(300)).build();
    let mut watch = source.watch(room("a"));
    for _ in 0..20 {
        watch.next().await.unwrap();
    }
    assert_eq!(backend.calls(), 20);
    assert_eq!(clock.elapsed().as_secs(), 5 + 10 + 20 + 40 + 15 * 60);
}

/// Ten thousand watches of one key make one call a life.
#[tokio::test(start_paused = true)]
async fn ten_thousand_watches_share_their_renewals() {
    let clock = TokioClock::new();
    let backend = short_lived(clock);
    let source = ahead(&backend, clock).build();
    let given = Arc::new(AtomicU64::new(0));
    let mut watches = JoinSet::new();
    for _ in 0..10_000 {
        let (mut watch, given) = (source.watch(room("a")), Arc::clone(&given));
        watches.spawn(async move {
            for _ in 0..4 {
                watch.next().await.unwrap();
                given.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    watches.join_all().await;
    assert_eq!((given.load(Ordering::Relaxed), backend.calls()), (40_000, 4));
    assert_eq!(clock.elapsed().as_secs(), 900);
    let mut watch = source.watch(room("a"));
    let size = size_of_val(&watch) + size_of_val(&watch.next());
    assert!(size < 1_024, "{size} bytes");
}

/// A provider that gives less than what is held, or the very token that was refused, takes nothing away.
#[tokio::test(start_paused = true)]
async fn a_watch_keeps_a_good_token_whatever_worse_one_comes() {
    let clock = TokioClock::new();
    let backend = short_lived(clock);
    let source = ahead(&backend, clock).build();
    let mut watch = source.watch(room("a"));
    assert_eq!(id(&watch.next().await.unwrap()), "1");
    backend.respond(|_, _| Ok(jwt(&json!({ "jti": "worse", "exp": NOW + 1 }))));
    let waiting = tokio::spawn(async move { id(&watch.next().await.unwrap()) });
    for _ in 0..20 {
        tokio::time::advance(seconds(10)).await;
        settle().await;
    }
    tokio::time::advance(seconds(200)).await;
    settle().await;
    assert!(backend.calls() > 1 && !waiting.is_finished(), "{} calls", backend.calls());
    assert!(backend.calls() < 12, "{} calls", backend.calls());
    backend.respond(move |_, _| Ok(jwt(&json!({ "jti": "better", "exp": NOW + clock.elapsed().as_secs() + 600 }))));
    assert_eq!(waiting.await.unwrap(), "better");
}

#[tokio::test(start_paused = true)]
async fn a_watch_does_not_go_back_to_a_token_that_was_refused() {
    let clock = TokioClock::new();
    let backend = short_lived(clock);
    let source = backend.builder().clock(clock).build();
    let mut watch = source.watch(room("a"));
    let refused = watch.next().await.unwrap();
    // A call for anybody, begun before the refusal, that gives the token of before: it is nobody's news.
    tokio::time::advance(seconds(560)).await;
    let slow = backend.gate();
    backend.respond({
        let token = refused.participant_token().to_owned();
        move |_, _| Ok(token.clone())
    });
    let waiting = tokio::spawn(async move { id(&watch.next().await.unwrap()) });
    settle().await;
    assert_eq!(backend.calls(), 2);
    backend.open();
    backend.respond(move |_, _| Ok(jwt(&json!({ "jti": "3", "exp": NOW + clock.elapsed().as_secs() + 600 }))));
    // The answer of the call under way was made before.
    assert_eq!(id(&source.fetch_after_rejection(&room("a"), &refused).await.unwrap()), "3");
    slow.add_permits(1);
    assert_eq!(waiting.await.unwrap(), "3");
    assert_eq!(backend.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_first_credentials_of_a_watch_are_what_a_fetch_gives_when_the_backend_is_down() {
    let clock = TokioClock::new();
    let backend = short_lived(clock);
    let source = backend.builder().clock(clock).build();
    source.fetch(&room("a")).await.unwrap();
    tokio::time::advance(seconds(570)).await;
    backend.fail();
    assert_eq!(id(&source.fetch(&room("a")).await.unwrap()), "1", "in its last minute");
    let mut watch = source.watch(room("a"));
    let before = clock.elapsed();
    assert_eq!(id(&watch.next().await.unwrap()), "1");
    assert_eq!(clock.elapsed(), before, "at once");
    assert_eq!(watch.next().await.unwrap_err().kind(), FetchErrorKind::Provider);
    let at = clock.elapsed().as_secs();
    assert!((600..=660).contains(&at), "{at}");
}
