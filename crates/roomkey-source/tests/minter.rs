//! Tokens minted where they are used.

#![cfg(feature = "minter")]
#![allow(clippy::unwrap_used, reason = "in helpers of tests too, a panic is the report")]

mod support;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use roomkey_source::{
    Clock, FetchErrorKind, FetchOptions, Minter, RawJson, RoomAgentDispatch, RoomConfiguration, Signer, TokenSource,
};
use roomkey_token::{JoinLimits, Verifier};
use support::*;

const SECRET: &str = "a-secret-that-is-long-enough-to-keep";

fn minter() -> Minter {
    Minter::new("ws://localhost:7880", Signer::new("key", SECRET).unwrap()).with_clock(clock())
}

fn alice() -> FetchOptions {
    room("lobby").with_participant_identity("alice")
}

#[tokio::test]
async fn a_minted_token_is_what_the_options_say_and_verifies() {
    let options = alice()
        .with_participant_name("Alice")
        .with_participant_metadata("m")
        .with_participant_attribute("k", "v")
        .with_agent_name("helper")
        .with_room_config(RoomConfiguration::new().with_max_participants(2));
    let credentials = minter().build().fetch(&options).await.unwrap();
    assert_eq!(credentials.server_url(), "ws://localhost:7880");
    let claims =
        Verifier::new().with_key("key", SECRET).verify(credentials.participant_token(), clock().now().wall).unwrap();
    assert_eq!(claims.check_join(&JoinLimits::default()).unwrap().room, "lobby");
    assert_eq!((claims.identity(), claims.name.as_str(), claims.metadata.as_str()), ("alice", "Alice", "m"));
    assert_eq!(claims.attributes["k"], "v");
    assert_eq!(
        claims.room_config,
        Some(RoomConfiguration::new().with_max_participants(2).with_agent(RoomAgentDispatch::new("helper")))
    );
    assert_eq!(claims.exp.unwrap().as_secs() - claims.nbf.unwrap().as_secs(), 900);
}

#[tokio::test]
async fn a_token_is_minted_again_when_it_is_about_to_expire() {
    let clock = clock();
    let source = minter().with_clock(Arc::clone(&clock)).with_ttl(Duration::from_secs(600)).build();
    let first = source.fetch(&alice()).await.unwrap();
    clock.advance(seconds(539));
    assert_eq!(source.fetch(&alice()).await.unwrap(), first);
    clock.advance(seconds(1));
    assert_ne!(source.fetch(&alice()).await.unwrap(), first);
}

#[tokio::test]
async fn what_can_not_be_minted_is_refused_for_good_and_says_why() {
    let source = minter().build();
    let recording = RawJson::new(r#"{"room":{"streamOutputs":[{"urls":["rtmp://x/key"]}]}}"#).unwrap();
    for (options, why) in [
        (room("lobby"), "needs a participant identity"),
        (FetchOptions::new().with_participant_identity("alice"), "needs the room's name"),
        (alice().with_room_config(RoomConfiguration::new().with_egress(recording)), "credentials"),
    ] {
        let error = source.fetch(&options).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (FetchErrorKind::Provider, false));
        let cause = error.source().and_then(Error::source).unwrap().to_string();
        assert!(cause.contains(why), "{cause}");
    }
}

#[tokio::test]
async fn the_application_chooses_what_is_granted() {
    let source =
        minter().with_grant(|options, grant| grant.with_can_publish(options.room_name() != Some("library"))).build();
    let may_publish = async |name: &str| {
        let credentials = source.fetch(&alice().with_room_name(name)).await.unwrap();
        credentials.claims().unwrap().video.as_ref().unwrap().permission().can_publish
    };
    assert!(may_publish("lobby").await);
    assert!(!may_publish("library").await);
}

#[tokio::test]
async fn two_tokens_of_one_second_are_two_tokens() {
    let source = minter().into_builder().single_use().build();
    assert_ne!(source.take(&alice()).await.unwrap(), source.take(&alice()).await.unwrap());
}

#[test]
fn nothing_shows_the_secret() {
    let minter = minter();
    assert!(!format!("{minter:?} {minter:#?}").contains(SECRET));
    let source = TokenSource::minter("ws://x", Signer::new("key", SECRET).unwrap());
    assert!(!format!("{source:?}").contains(SECRET));
}
