//! Errors, serialization, fixed sources, and what is never shown.

#![allow(clippy::unwrap_used, reason = "in helpers of tests too, a panic is the report")]

mod support;

use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use livekit_token::{AccessToken, VideoGrants};
use roomkey_source::{
    BoxError, Credentials, FetchError, FetchErrorKind, FetchOptions, ProviderError, RoomAgentDispatch,
    RoomConfiguration, TokenRequest, TokenResponse, TokenSource,
};
use serde_json::{Value, json};
use support::*;

/// Case 48.
#[test]
fn options_serialize_flat_with_the_names_of_the_wire_and_come_back_equal() {
    let options = full_options().with_room_config(RoomConfiguration::new().with_empty_timeout(5));
    let json = json!({
        "room_name": "r", "participant_name": "n", "participant_identity": "i", "participant_metadata": "m",
        "participant_attributes": {"k": "v"}, "agent_name": "a", "agent_metadata": "am", "deployment": "staging",
        "room_config": {"empty_timeout": 5},
    });
    assert_eq!(serde_json::to_value(&options).unwrap(), json);
    let again: FetchOptions = serde_json::from_value(json).unwrap();
    assert_eq!(again, options);
    let hasher = RandomState::new();
    assert_eq!(hasher.hash_one(&again), hasher.hash_one(&options));

    assert_eq!(serde_json::to_value(FetchOptions::new()).unwrap(), json!({}));
    let empty: FetchOptions = serde_json::from_value(
        json!({"room_name": "", "agent_name": null, "participant_attributes": null, "room_config": {}, "x": 1}),
    )
    .unwrap();
    assert_eq!(empty, FetchOptions::new());
}

/// Case 48, the other half; the exact request is the one that LiveKit's SDKs send.
#[test]
fn a_request_and_a_response_have_the_names_of_the_wire() {
    let options = full_options();
    let sent: Value = serde_json::from_str(
        r#"{"room_name":"r","participant_name":"n","participant_identity":"i","participant_metadata":"m","participant_attributes":{"k":"v"},"room_config":{"agents":[{"agent_name":"a","metadata":"am","deployment":"staging"}]}}"#,
    )
    .unwrap();
    assert_eq!(serde_json::to_value(options.to_request()).unwrap(), sent);
    assert_eq!(
        serde_json::to_value(FetchOptions::new().with_deployment("d").to_request()).unwrap(),
        json!({"room_config": {"agents": [{"deployment": "d"}]}})
    );

    let credentials = Credentials::new("wss://x", "the-token");
    let response = serde_json::to_value(credentials.to_response()).unwrap();
    assert_eq!(response, json!({"server_url": "wss://x", "participant_token": "the-token"}));
    let more: TokenResponse =
        serde_json::from_value(json!({"serverUrl": "u", "participantToken": "t", "room_name": "r"})).unwrap();
    let credentials = Credentials::from(more);
    assert_eq!((credentials.room_name(), credentials.participant_name()), (Some("r"), None));
    assert_eq!(credentials.to_response().room_name.as_deref(), Some("r"));
}

#[test]
fn agent_options_go_into_the_first_agent_of_the_room_configuration() {
    let config = RoomConfiguration::new()
        .with_max_participants(3)
        .with_agent(RoomAgentDispatch::new("first").with_metadata("kept"))
        .with_agent(RoomAgentDispatch::new("second"));
    let request: TokenRequest = FetchOptions::new().with_room_config(config).with_agent_name("helper").to_request();
    assert_eq!(
        serde_json::to_value(&request).unwrap(),
        json!({"room_config": {
            "max_participants": 3,
            "agents": [{"agent_name": "helper", "metadata": "kept"}, {"agent_name": "second"}],
        }})
    );
}

/// Case 51.
#[test]
fn a_token_of_livekits_own_crate_is_read_in_full() {
    let token = AccessToken::with_api_key("key", "a-secret-that-is-long-enough-to-keep")
        .with_identity("alice")
        .with_name("Alice")
        .with_attributes([("a", "1")])
        .with_grants(VideoGrants {
            room_join: true,
            room: "lobby".to_owned(),
            can_publish_sources: vec!["camera".to_owned()],
            ..VideoGrants::default()
        })
        .with_room_config(
            serde_json::from_value(json!({"emptyTimeout": 5, "agents": [{"agentName": "helper"}]})).unwrap(),
        )
        .to_jwt()
        .unwrap();
    let credentials = Credentials::new("wss://x", token);
    let claims = credentials.claims().unwrap();
    assert_eq!((claims.iss.as_str(), claims.identity(), claims.name.as_str()), ("key", "alice", "Alice"));
    assert_eq!(claims.attributes["a"], "1");
    let video = claims.video.as_ref().unwrap();
    assert_eq!((video.room_join, video.room.as_str(), video.can_publish), (true, "lobby", None));
    assert_eq!(video.can_publish_sources, ["camera"]);
    assert!(video.permission().can_publish, "absent means allowed");
    assert_eq!(claims.room_config.as_ref().unwrap().empty_timeout, 5);
    assert!(claims.dispatches_agent());
    assert!(credentials.expires_at().is_some());
}

#[derive(Debug)]
struct BackendError {
    cause: Option<BoxError>,
}

impl std::fmt::Display for BackendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the backend said no")
    }
}

impl Error for BackendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

async fn error_of<E: Into<BoxError> + 'static>(error: impl Fn() -> E + Send + Sync + 'static) -> FetchError {
    let backend = Backend::new(move |_, _| Err(error().into()));
    backend.source(&clock()).fetch(&room("a")).await.unwrap_err()
}

/// Case 52.
#[tokio::test]
async fn an_error_of_any_type_keeps_its_cause() {
    let error = error_of(|| BackendError { cause: Some("a cable".into()) }).await;
    assert_eq!(error.kind(), FetchErrorKind::Provider);
    let source = error.source().unwrap();
    assert!(source.is::<BackendError>());
    assert_eq!(source.source().unwrap().to_string(), "a cable");
    assert!(!error.is_retryable() && !error.is_auth() && error.retry_after().is_none());

    assert_eq!(error_of(|| "a text").await.source().unwrap().to_string(), "a text");
    assert!(error_of(|| std::io::Error::other("x")).await.source().unwrap().is::<std::io::Error>());
}

/// Case 52, the classification.
#[tokio::test]
async fn a_provider_says_what_kind_of_failure_it_is_from_anywhere_in_the_chain() {
    let transient = || ProviderError::transient("busy").with_retry_after(Duration::from_secs(7));
    let error = error_of(transient).await;
    assert!(error.is_retryable() && !error.is_auth());
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));

    let error = error_of(|| ProviderError::auth("not logged in")).await;
    assert!(error.is_auth() && !error.is_retryable());
    assert_eq!(error.source().unwrap().source().unwrap().to_string(), "not logged in");

    let error = error_of(|| ProviderError::permanent("bad request")).await;
    assert!(!error.is_auth() && !error.is_retryable());

    let error = error_of(move || BackendError { cause: Some(transient().into()) }).await;
    assert!(error.is_retryable());
}

#[tokio::test]
async fn no_token_is_shown_by_anything_that_holds_one() {
    let token = jwt(&json!({ "exp": NOW + 3_600, "sub": "alice" }));
    // A real one starts with eyJ, and a provider's error may repeat it.
    let real = format!("eyJhbGciOiJIUzI1NiJ9.{}.c2lnbmF0dXJl", token.split('.').nth(1).unwrap());
    let credentials = Credentials::new("wss://example", real.clone());
    let source = {
        let credentials = credentials.clone();
        TokenSource::custom(move |_| {
            let credentials = credentials.clone();
            async move { Ok(credentials) }
        })
    };
    source.fetch(&room("a")).await.unwrap();
    let leaking = {
        let real = real.clone();
        error_of(move || format!("401 for {real}")).await
    };
    for shown in [
        format!("{credentials:?} {credentials:#?}"),
        format!("{:?}", source),
        format!("{:?}", source.bind(room("a"))),
        format!("{:?}", TokenSource::literal(credentials.clone())),
        format!("{:?}", credentials.to_response()),
        format!("{leaking:?} {leaking:#?} {leaking}"),
    ] {
        assert!(!shown.contains(&real[4..]), "{shown}");
        assert!(!shown.contains("c2lnbmF0dXJl"), "{shown}");
    }
    assert!(format!("{leaking:?}").contains("401 for [redacted]"), "the rest of it helps");
}

#[test]
fn credentials_cannot_be_serialized_by_accident() {
    // Both traits have the method, so that the call is ambiguous, and does not compile, if the type has Serialize.
    trait NoSerialize<Marker> {
        fn check() {}
    }
    struct Serializes;
    impl<T> NoSerialize<()> for T {}
    impl<T: serde::Serialize> NoSerialize<Serializes> for T {}
    <Credentials as NoSerialize<_>>::check();
}

#[tokio::test]
async fn a_literal_source_gives_what_it_has_whatever_its_expiry() {
    let expired = Credentials::new("wss://x", jwt(&json!({ "exp": 1 })));
    let source = TokenSource::literal(expired.clone());
    for _ in 0..2 {
        assert_eq!(source.fetch().await.unwrap(), expired);
        assert_eq!(source.fetch_fresh().await.unwrap(), expired);
    }
    assert!(!source.invalidate_token(&expired));
}

#[tokio::test]
async fn a_literal_function_is_called_each_time() {
    let backend = Backend::numbered();
    let source = {
        let backend = backend.clone();
        TokenSource::literal_with(move || backend.call(FetchOptions::new()))
    };
    assert_eq!(id(&source.fetch().await.unwrap()), "1");
    assert_eq!(id(&source.fetch().await.unwrap()), "2");
    backend.fail();
    assert_eq!(source.fetch().await.unwrap_err().kind(), FetchErrorKind::Provider);
}

/// Case 19: what caches a source without options is the same function as a provider, bound.
#[tokio::test]
async fn a_function_without_options_is_cached_by_binding_a_source_over_it() {
    let (backend, clock) = (Backend::numbered(), clock());
    let fixed = backend.builder().clock(Arc::clone(&clock)).build().bind(FetchOptions::new());
    for _ in 0..4 {
        assert_eq!(id(&fixed.fetch().await.unwrap()), "1");
    }
    assert_eq!(backend.calls(), 1);
    clock.advance(seconds(3_600));
    fixed.fetch().await.unwrap();
    assert_eq!(backend.calls(), 2);
}

#[tokio::test]
async fn a_bound_source_shares_the_cache_of_its_source() {
    let backend = Backend::numbered();
    let source = backend.source(&clock());
    let bound = source.bind(room("a"));
    let credentials = bound.fetch().await.unwrap();
    assert_eq!(source.fetch(&room("a")).await.unwrap(), credentials);
    assert_eq!(backend.calls(), 1);
    assert_eq!(id(&bound.fetch_fresh().await.unwrap()), "2");
    assert!(bound.invalidate_token(&source.cached(&room("a")).unwrap()));

    // Its future needs nobody to stay.
    let detached = { source.bind(room("b")).fetch() };
    assert_eq!(room_of(&tokio::spawn(detached).await.unwrap().unwrap()), "b");
}

/// The example of the design, as it stands but for the room.
#[tokio::test]
async fn the_seed_example_compiles_and_runs() {
    const LIVEKIT_URL: &str = "wss://example.livekit.cloud";

    #[expect(clippy::unused_async, reason = "a real backend waits")]
    async fn my_token_backend(
        room_name: Option<&str>,
        _participant_name: Option<&str>,
        _agent_name: Option<&str>,
    ) -> Result<String, std::num::ParseIntError> {
        "1".parse::<u8>()?;
        Ok(jwt(&json!({ "video": { "room": room_name } })))
    }

    let source = TokenSource::custom(|options| async move {
        let token = my_token_backend(options.room_name(), options.participant_name(), options.agent_name()).await?;
        Ok(Credentials::new(LIVEKIT_URL, token))
    });

    let credentials = source.fetch(&FetchOptions::new().with_room_name("room name to join")).await.unwrap();
    assert_eq!(credentials.server_url(), LIVEKIT_URL);
    assert_eq!(room_of(&credentials), "room name to join");
}
