//! What is held, for which options, and for how long. The numbers are those of the black-box cases that every LiveKit SDK
//! was measured with.

#![allow(clippy::unwrap_used, reason = "in helpers of tests too, a panic is the report")]

mod support;

use std::time::Duration;

use base64::Engine as _;
use roomkey_source::{FetchOptions, RoomConfiguration};
use serde_json::json;
use support::*;

/// Case 1.
#[tokio::test]
async fn equal_options_are_fetched_once() {
    let backend = Backend::numbered();
    let source = backend.source(&clock());
    let first = source.fetch(&room("a")).await.unwrap();
    for _ in 0..3 {
        assert_eq!(source.fetch(&room("a")).await.unwrap(), first);
    }
    assert_eq!(backend.calls(), 1);
}

/// Case 2.
#[tokio::test]
async fn other_options_are_fetched_and_the_first_ones_stay() {
    let backend = Backend::numbered();
    let source = backend.source(&clock());
    assert_eq!(room_of(&source.fetch(&room("a")).await.unwrap()), "a");
    assert_eq!(room_of(&source.fetch(&room("b")).await.unwrap()), "b");
    assert_eq!(backend.last_options(), room("b"));
    assert_eq!(room_of(&source.fetch(&room("b")).await.unwrap()), "b");
    assert_eq!(room_of(&source.fetch(&room("a")).await.unwrap()), "a");
    assert_eq!(backend.calls(), 2);
}

fn full() -> FetchOptions {
    FetchOptions::new()
        .with_room_name("room")
        .with_participant_name("name")
        .with_participant_identity("identity")
        .with_participant_metadata("metadata")
        .with_participant_attribute("key", "value")
        .with_agent_name("agent")
        .with_agent_metadata("agent metadata")
        .with_deployment("deployment")
        .with_room_config(RoomConfiguration::new().with_empty_timeout(1))
}

/// Case 3.
#[tokio::test]
async fn each_option_alone_makes_a_difference() {
    let backend = Backend::numbered();
    let source = backend.source(&clock());
    let variants = [
        full(),
        full().with_room_name("other"),
        full().with_participant_name("other"),
        full().with_participant_identity("other"),
        full().with_participant_metadata("other"),
        full().with_participant_attribute("key", "other"),
        full().with_agent_name("other"),
        full().with_agent_metadata("other"),
        full().with_deployment("other"),
        full().with_room_config(RoomConfiguration::new().with_empty_timeout(2)),
        full().with_room_name("").with_participant_name("room"),
    ];
    for (index, options) in variants.iter().enumerate() {
        source.fetch(options).await.unwrap();
        assert_eq!(backend.calls(), index + 1, "{options:?}");
        assert_eq!(&backend.last_options(), options);
    }
    for options in &variants {
        source.fetch(options).await.unwrap();
    }
    assert_eq!(backend.calls(), variants.len());
}

/// Case 4.
#[tokio::test]
async fn attributes_are_compared_by_value_whatever_their_order() {
    let backend = Backend::numbered();
    let source = backend.source(&clock());
    let attributes = |list: [(&str, &str); 2]| FetchOptions::new().with_participant_attributes(list);
    source.fetch(&attributes([("x", "1"), ("y", "2")])).await.unwrap();
    source.fetch(&attributes([("y", "2"), ("x", "1")])).await.unwrap();
    assert_eq!(backend.calls(), 1);
}

/// Case 5.
#[tokio::test]
async fn empty_options_are_the_same_as_none_in_the_key_and_on_the_wire() {
    let backend = Backend::numbered();
    let source = backend.source(&clock());
    let empty = FetchOptions::new()
        .with_room_name("")
        .with_agent_name("")
        .with_participant_attributes(Vec::<(String, String)>::new())
        .with_room_config(RoomConfiguration::new());
    source.fetch(&FetchOptions::new()).await.unwrap();
    source.fetch(&empty).await.unwrap();
    assert_eq!(backend.calls(), 1);
    assert_eq!(serde_json::to_value(empty.to_request()).unwrap(), json!({}));
}

/// Case 6.
#[tokio::test]
async fn options_that_the_caller_changes_later_are_other_options() {
    let backend = Backend::numbered();
    let source = backend.source(&clock());
    let mut options = room("a").with_participant_attribute("k", "1");
    source.fetch(&options).await.unwrap();
    options = options.with_participant_attribute("k", "2");
    source.fetch(&options).await.unwrap();
    assert_eq!(backend.calls(), 2);
    assert_eq!(backend.last_options().participant_attributes()["k"], "2");
}

/// How often the backend is called for two fetches of this token.
async fn calls_for_two_fetches(token: String) -> usize {
    let backend = Backend::giving(token);
    let source = backend.source(&clock());
    source.fetch(&room("a")).await.unwrap();
    source.fetch(&room("a")).await.unwrap();
    backend.calls()
}

/// Case 7.
#[tokio::test]
async fn a_token_is_reused_until_a_minute_before_its_expiry() {
    assert_eq!(calls_for_two_fetches(expiring(61)).await, 1);
    assert_eq!(calls_for_two_fetches(expiring(60)).await, 2);
    assert_eq!(calls_for_two_fetches(expiring(30)).await, 2);

    let backend = Backend::giving(expiring(30));
    let source = backend.builder().clock(clock()).lead(Duration::ZERO).build();
    source.fetch(&room("a")).await.unwrap();
    source.fetch(&room("a")).await.unwrap();
    assert_eq!(backend.calls(), 1, "with no lead");
}

/// Case 8.
#[tokio::test]
async fn a_token_is_fetched_again_once_its_last_minute_has_begun() {
    let (backend, clock) = (Backend::giving(expiring(100)), clock());
    let source = backend.source(&clock);
    source.fetch(&room("a")).await.unwrap();
    clock.advance(seconds(39));
    source.fetch(&room("a")).await.unwrap();
    assert_eq!(backend.calls(), 1);
    clock.advance(seconds(2));
    source.fetch(&room("a")).await.unwrap();
    assert_eq!(backend.calls(), 2);
}

/// Case 9.
#[tokio::test]
async fn expiry_counts_with_or_without_a_start_and_its_absence_forbids_reuse() {
    assert_eq!(calls_for_two_fetches(jwt(&json!({ "exp": NOW - 1 }))).await, 2);
    assert_eq!(calls_for_two_fetches(jwt(&json!({ "exp": NOW - 1, "nbf": 0 }))).await, 2);
    assert_eq!(calls_for_two_fetches(expiring(3_600)).await, 1);
    assert_eq!(calls_for_two_fetches(jwt(&json!({ "nbf": NOW }))).await, 2);
}

/// Case 9, the other policy.
#[tokio::test]
async fn a_token_without_expiry_is_reused_for_as_long_as_a_rule_says() {
    let (backend, clock) = (Backend::giving(jwt(&json!({ "sub": "a" }))), clock());
    let source = backend
        .builder()
        .clock(std::sync::Arc::clone(&clock))
        .reuse_when(|held| {
            held.is_fresh() || (held.credentials().expires_at().is_none() && held.age() < Duration::from_secs(10))
        })
        .build();
    source.fetch(&room("a")).await.unwrap();
    clock.advance(seconds(9));
    source.fetch(&room("a")).await.unwrap();
    assert_eq!(backend.calls(), 1);
    clock.advance(seconds(1));
    source.fetch(&room("a")).await.unwrap();
    assert_eq!(backend.calls(), 2);
}

/// Case 10.
#[tokio::test]
async fn a_start_that_lies_ahead_forbids_reuse_beyond_the_leeway() {
    let starting = |in_seconds: u64| jwt(&json!({ "exp": NOW + 3_600, "nbf": NOW + in_seconds }));
    assert_eq!(calls_for_two_fetches(starting(600)).await, 2);
    assert_eq!(calls_for_two_fetches(starting(5)).await, 1);

    let backend = Backend::giving(starting(5));
    let source = backend.builder().clock(clock()).nbf_leeway(Duration::ZERO).build();
    source.fetch(&room("a")).await.unwrap();
    source.fetch(&room("a")).await.unwrap();
    assert_eq!(backend.calls(), 2, "without leeway");
}

/// Case 11.
#[tokio::test]
async fn what_is_no_jwt_is_delivered_each_time_and_does_no_harm() {
    let tokens = ["", "opaque", "a.b", "a.b.c.d", "a.!!!.c", "a.bm90IGpzb24.c", "a.WzFd.c", "\u{0}.\u{1F600}.x"];
    for token in tokens {
        let backend = Backend::giving(token);
        let source = backend.source(&clock());
        for call in 1..=3 {
            assert_eq!(source.fetch(&room("a")).await.unwrap().participant_token(), token);
            assert_eq!(backend.calls(), call, "{token:?}");
        }
        backend.respond(|_, _| Ok(expiring(3_600)));
        source.fetch(&room("a")).await.unwrap();
        source.fetch(&room("a")).await.unwrap();
        assert_eq!(backend.calls(), 4, "{token:?}");
    }
}

/// Case 12.
#[tokio::test]
async fn an_expiry_in_any_form_of_a_number_is_read() {
    for claims in [
        format!(r#"{{"exp":{}.5}}"#, NOW + 3_600),
        r#"{"exp":1.9e9}"#.to_owned(),
        format!(r#"{{"exp":"{}"}}"#, NOW + 3_600),
        format!(r#"{{"exp":{},"metadata":null,"attributes":{{"a":1}},"video":[]}}"#, NOW + 3_600),
        // Milliseconds: far ahead, and livekit-server takes it so.
        format!(r#"{{"exp":{}}}"#, (NOW + 3_600) * 1_000),
    ] {
        assert_eq!(calls_for_two_fetches(jwt_of_text(&claims)).await, 1, "{claims}");
    }
    let padded = base64::engine::general_purpose::URL_SAFE.encode(format!(r#"{{"exp":{} }}"#, NOW + 3_600));
    assert!(padded.ends_with('='));
    assert_eq!(calls_for_two_fetches(format!("e30.{padded}.")).await, 1);
}

/// Case 12: livekit-server reads these as expired.
#[tokio::test]
async fn an_expiry_beyond_every_clock_is_delivered_and_not_reused() {
    for exp in ["18446744073709551615", "1e300", "-1", "-9223372036854775808"] {
        assert_eq!(calls_for_two_fetches(jwt_of_text(&format!(r#"{{"exp":{exp}}}"#))).await, 2, "{exp}");
    }
    assert_eq!(calls_for_two_fetches(jwt_of_text(r#"{"exp":9000000000000000000}"#)).await, 1);
}

/// Case 13.
#[tokio::test]
async fn a_rule_of_the_applications_decides_about_reuse() {
    let backend = Backend::giving("opaque");
    let source = backend.builder().clock(clock()).reuse_when(|_| true).build();
    source.fetch(&room("a")).await.unwrap();
    source.fetch(&room("a")).await.unwrap();
    assert_eq!(backend.calls(), 1);

    let backend = Backend::giving(expiring(3_600));
    let source = backend
        .builder()
        .clock(clock())
        .reuse_when(|held| {
            assert_eq!(held.options(), &room("a"));
            assert!(held.is_fresh());
            false
        })
        .build();
    source.fetch(&room("a")).await.unwrap();
    source.fetch(&room("a")).await.unwrap();
    assert_eq!(backend.calls(), 2);
    backend.fail();
    assert!(source.fetch(&room("a")).await.is_err(), "what the rule refuses is no stopgap either");
}

#[tokio::test]
async fn a_rule_may_use_the_source_itself() {
    let backend = Backend::giving("opaque");
    let cell = std::sync::Arc::new(std::sync::OnceLock::<roomkey_source::TokenSource>::new());
    let source = backend
        .builder()
        .reuse_when({
            let cell = std::sync::Arc::clone(&cell);
            move |held| cell.get().unwrap().cached(held.options()).is_some()
        })
        .build();
    cell.set(source.clone()).unwrap();
    source.fetch(&room("a")).await.unwrap();
    source.fetch(&room("a")).await.unwrap();
    assert_eq!(backend.calls(), 1);
}

/// Case 14.
#[tokio::test]
async fn a_fresh_fetch_replaces_what_is_held_and_a_failed_one_leaves_it() {
    let backend = Backend::numbered();
    let source = backend.source(&clock());
    source.fetch(&room("a")).await.unwrap();
    assert_eq!(id(&source.fetch_fresh(&room("a")).await.unwrap()), "2");
    assert_eq!(id(&source.fetch(&room("a")).await.unwrap()), "2");

    backend.fail();
    assert!(source.fetch_fresh(&room("a")).await.is_err());
    assert_eq!(backend.calls(), 3);
    assert_eq!(id(&source.fetch(&room("a")).await.unwrap()), "2");
    assert_eq!(backend.calls(), 3);
}

/// Case 15.
#[tokio::test]
async fn what_is_invalidated_is_fetched_again_and_nothing_else() {
    let backend = Backend::numbered();
    let source = backend.source(&clock());
    source.fetch(&room("a")).await.unwrap();
    source.fetch(&room("b")).await.unwrap();

    source.invalidate(&room("b"));
    assert_eq!(source.cached(&room("b")), None);
    assert!(source.cached(&room("a")).is_some());
    source.fetch(&room("a")).await.unwrap();
    assert_eq!(backend.calls(), 2);
    source.fetch(&room("b")).await.unwrap();
    assert_eq!(backend.calls(), 3);

    source.invalidate_all();
    assert_eq!((source.cached(&room("a")), source.cached(&room("b"))), (None, None));
    source.fetch(&room("a")).await.unwrap();
    assert_eq!(backend.calls(), 4);
}

/// Case 16.
#[tokio::test]
async fn a_failed_fetch_never_gives_another_rooms_token() {
    let backend = Backend::numbered();
    let source = backend.source(&clock());
    source.fetch(&room("a")).await.unwrap();
    backend.fail();
    for call in 2..=4 {
        assert!(source.fetch(&room("b")).await.is_err());
        assert_eq!(backend.calls(), call);
    }
    assert_eq!(room_of(&source.fetch(&room("a")).await.unwrap()), "a");
    assert_eq!(backend.calls(), 4);
}

/// Case 17.
#[tokio::test]
async fn the_least_recently_used_options_go_first() {
    let backend = Backend::numbered();
    let source = backend.builder().clock(clock()).capacity(2).build();
    for name in ["a", "b", "a", "c"] {
        source.fetch(&room(name)).await.unwrap();
    }
    assert_eq!(backend.calls(), 3);
    source.fetch(&room("a")).await.unwrap();
    assert_eq!(backend.calls(), 3, "a was used after b");
    source.fetch(&room("b")).await.unwrap();
    assert_eq!(backend.calls(), 4);

    let backend = Backend::numbered();
    let source = backend.builder().clock(clock()).capacity(1).build();
    for name in ["a", "a", "b", "a"] {
        source.fetch(&room(name)).await.unwrap();
    }
    assert_eq!(backend.calls(), 3, "one entry, as in the other SDKs");

    let backend = Backend::numbered();
    let source = backend.builder().clock(clock()).capacity(0).build();
    source.fetch(&room("a")).await.unwrap();
    source.fetch(&room("a")).await.unwrap();
    assert_eq!((backend.calls(), source.cached(&room("a"))), (2, None));
}

#[tokio::test]
async fn many_options_are_held_within_the_capacity_in_order_of_use() {
    let backend = Backend::numbered();
    let source = backend.builder().clock(clock()).capacity(20).build();
    for number in 0..20 {
        source.fetch(&room(&number.to_string())).await.unwrap();
    }
    // More than any shortcut holds, and in another order than they came.
    for number in (0..10).rev() {
        source.fetch(&room(&number.to_string())).await.unwrap();
    }
    assert_eq!(backend.calls(), 20);
    for number in 20..35 {
        source.fetch(&room(&number.to_string())).await.unwrap();
    }
    let held = |number: u32| source.cached(&room(&number.to_string())).is_some();
    let kept: Vec<u32> = (0..35).filter(|number| held(*number)).collect();
    assert_eq!(kept, (0..5).chain(20..35).collect::<Vec<_>>());
}

/// Case 18.
#[tokio::test]
async fn what_is_held_can_be_seen_whatever_its_state() {
    let (backend, clock) = (Backend::giving(expiring(100)), clock());
    let source = backend.source(&clock);
    assert_eq!(source.cached(&room("a")), None);
    let fetched = source.fetch(&room("a")).await.unwrap();
    clock.advance(seconds(1_000));
    assert_eq!(source.cached(&room("a")), Some(fetched));
    assert_eq!(backend.calls(), 1);

    backend.respond(|_, _| Ok("opaque".to_owned()));
    let opaque = source.fetch(&room("a")).await.unwrap();
    assert!(opaque.claims().is_err());
    assert_eq!(opaque.expires_at(), None);
}

/// Case 32.
#[tokio::test]
async fn time_is_what_has_passed_by_either_clock() {
    let (backend, clock) = (Backend::giving(expiring(3_600)), clock());
    let source = backend.source(&clock);
    source.fetch(&room("a")).await.unwrap();
    clock.set_wall(wall(NOW + 24 * 3_600));
    source.fetch(&room("a")).await.unwrap();
    assert_eq!(backend.calls(), 2, "suspended for a day: only the wall clock went on");

    let backend = Backend::giving(expiring(3_600));
    let clock = support::clock();
    let source = backend.source(&clock);
    source.fetch(&room("a")).await.unwrap();
    clock.set_wall(wall(NOW - 24 * 3_600));
    source.fetch(&room("a")).await.unwrap();
    assert_eq!(backend.calls(), 1, "set back: no time has passed");
    clock.advance_monotonic(seconds(3_600));
    source.fetch(&room("a")).await.unwrap();
    assert_eq!(backend.calls(), 2, "set back, and an hour later");
}

/// Case 34.
#[tokio::test]
async fn a_short_lived_token_is_reused_for_three_quarters_of_its_life() {
    let short = jwt(&json!({ "iat": NOW, "nbf": NOW, "exp": NOW + 45 }));
    let (backend, clock) = (Backend::giving(short.clone()), clock());
    let source = backend.source(&clock);
    source.fetch(&room("a")).await.unwrap();
    clock.advance(seconds(5));
    source.fetch(&room("a")).await.unwrap();
    clock.advance(seconds(28));
    source.fetch(&room("a")).await.unwrap();
    assert_eq!(backend.calls(), 1);
    clock.advance(seconds(1));
    source.fetch(&room("a")).await.unwrap();
    assert_eq!(backend.calls(), 2, "34 of 45 seconds");

    let backend = Backend::giving(short);
    let source = backend.builder().clock(support::clock()).strict_lead().build();
    source.fetch(&room("a")).await.unwrap();
    source.fetch(&room("a")).await.unwrap();
    assert_eq!(backend.calls(), 2, "a strict lead is longer than its life");
}

#[tokio::test]
async fn a_token_in_its_last_minute_is_given_when_the_backend_fails_and_an_expired_one_is_not() {
    let (backend, clock) = (Backend::giving(expiring(100)), clock());
    let source = backend.source(&clock);
    let held = source.fetch(&room("a")).await.unwrap();
    backend.fail();
    clock.advance(seconds(60));
    assert_eq!(source.fetch(&room("a")).await.unwrap(), held);
    assert!(source.fetch_fresh(&room("a")).await.is_err(), "who asks for a fresh one is told");
    clock.advance(seconds(39));
    assert_eq!(source.fetch(&room("a")).await.unwrap(), held);
    clock.advance(seconds(1));
    assert!(source.fetch(&room("a")).await.is_err());
    assert_eq!(backend.calls(), 5);
}

#[tokio::test]
async fn a_token_that_is_held_does_not_stand_in_for_a_refusal() {
    let (backend, clock) = (Backend::giving(expiring(100)), clock());
    let source = backend.source(&clock);
    source.fetch(&room("a")).await.unwrap();
    backend.respond(|_, _| Err(roomkey_source::ProviderError::auth("logged out").into()));
    clock.advance(seconds(60));
    assert!(source.fetch(&room("a")).await.unwrap_err().is_auth());
}
