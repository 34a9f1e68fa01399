//! The official `livekit-token` as an oracle: its tokens here, ours there.

use std::time::{Duration, SystemTime};

use livekit_protocol::{
    JobRestartPolicy as TheirPolicy, RoomAgentDispatch as TheirAgent, RoomConfiguration as TheirRoom,
};
use livekit_token::{AccessToken as TheirToken, TokenVerifier, VideoGrants};
use roomkey_token::{
    AccessToken, Claims, InferenceGrant, JobRestartPolicy, ParticipantKind, RoomAgentDispatch, RoomConfiguration,
    Signer, SipGrant, TrackSource, Verifier, VideoGrant,
};

const KEY: &str = "APIkey";
const SECRET: &str = "a-secret-that-is-long-enough-to-keep";

/// Their token reads the clock itself, so that these tests need the real time.
#[expect(clippy::disallowed_methods, reason = "livekit-token has no other clock")]
fn now() -> SystemTime {
    SystemTime::now()
}

#[test]
fn a_token_of_theirs_verifies_and_decodes_to_the_same_claims() {
    let token = TheirToken::with_api_key(KEY, SECRET)
        .with_ttl(Duration::from_secs(600))
        .with_identity("alice")
        .with_name("Alice")
        .with_kind("agent")
        .with_metadata("meta é")
        .with_attributes([("a", "1"), ("lk.agent.state", "idle")])
        .with_grants(VideoGrants {
            room_join: true,
            room: "lobby".to_owned(),
            can_publish_sources: vec!["camera".to_owned(), "microphone".to_owned()],
            can_update_own_metadata: Some(true),
            hidden: true,
            ..VideoGrants::default()
        })
        .with_room_config(TheirRoom {
            empty_timeout: 61,
            max_participants: 7,
            sync_streams: true,
            agents: vec![TheirAgent {
                agent_name: "helper".to_owned(),
                metadata: "am".to_owned(),
                restart_policy: TheirPolicy::JrpNever.into(),
                ..TheirAgent::default()
            }],
            ..TheirRoom::default()
        })
        .to_jwt()
        .unwrap();

    let verified = Verifier::new().with_key(KEY, SECRET).verify(&token, now()).unwrap();
    assert_eq!(verified, Claims::decode_unverified(&token).unwrap());

    let participant = verified.participant();
    assert_eq!((participant.identity.as_str(), participant.name.as_str()), ("alice", "Alice"));
    assert_eq!((participant.kind, participant.metadata.as_str()), (ParticipantKind::Agent, "meta é"));
    assert_eq!(participant.attributes["lk.agent.state"], "idle");
    assert_eq!(participant.permission.can_publish_sources, [TrackSource::Camera, TrackSource::Microphone]);
    assert!(participant.permission.can_update_metadata && participant.permission.hidden);
    let config = verified.room_config.unwrap();
    assert_eq!((config.empty_timeout, config.max_participants, config.sync_streams), (61, 7, true));
    assert_eq!(
        config.agents,
        [RoomAgentDispatch::new("helper").with_metadata("am").with_restart_policy(JobRestartPolicy::Never)]
    );
}

#[test]
fn a_token_of_ours_verifies_with_theirs_to_the_same_claims() {
    let token = AccessToken::new("alice")
        .with_name("Alice")
        .with_metadata("meta é")
        .with_attribute("a", "1")
        .with_video(VideoGrant::join("lobby").with_can_publish(false).with_can_publish_data(true))
        .with_sip(SipGrant::default().with_call(true))
        .with_inference(InferenceGrant::default().with_perform(true))
        .with_room_config(
            RoomConfiguration::new()
                .with_departure_timeout(9)
                .with_tag("team", "blue")
                .with_agent(RoomAgentDispatch::new("helper").with_restart_policy(JobRestartPolicy::Never)),
        )
        .with_ttl(Duration::from_secs(600))
        .sign(&Signer::new(KEY, SECRET).unwrap(), now())
        .unwrap();

    let claims = TokenVerifier::with_api_key(KEY, SECRET).verify(token.as_str()).unwrap();
    assert_eq!((claims.iss.as_str(), claims.sub.as_str(), claims.name.as_str()), (KEY, "alice", "Alice"));
    assert_eq!((claims.metadata.as_str(), claims.attributes["a"].as_str()), ("meta é", "1"));
    assert_eq!(claims.exp - claims.nbf, 600);
    assert_eq!((claims.video.room.as_str(), claims.video.room_join), ("lobby", true));
    assert_eq!((claims.video.can_publish, claims.video.can_publish_data), (Some(false), Some(true)));
    assert!(claims.sip.call && claims.inference.perform);
    let config = claims.room_config.unwrap();
    assert_eq!((config.departure_timeout, config.tags["team"].as_str()), (9, "blue"));
    assert_eq!(config.agents[0].agent_name, "helper");
    assert_eq!(config.agents[0].restart_policy(), TheirPolicy::JrpNever);
}

#[test]
fn neither_takes_the_others_token_with_another_secret() {
    let ours = AccessToken::new("a").sign(&Signer::new(KEY, SECRET).unwrap(), now()).unwrap();
    let theirs = TheirToken::with_api_key(KEY, SECRET).with_identity("a").to_jwt().unwrap();
    assert!(TokenVerifier::with_api_key(KEY, "another").verify(ours.as_str()).is_err());
    assert!(Verifier::new().with_key(KEY, "another").verify(&theirs, now()).is_err());
}
