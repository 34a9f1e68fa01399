//! Minting: what is signed, what is refused, and that nothing secret is shown.

#![expect(clippy::unwrap_used, reason = "in helpers of tests too, a panic is the report")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use roomkey_token::{
    AccessToken, Claims, DEFAULT_TTL, MAX_TTL, MintError, NumericDate, ParticipantKind, ParticipantKindDetail, RawJson,
    RoomAgentDispatch, RoomConfiguration, Signer, SignerError, TokenResponse, TrackSource, Verifier, VideoGrant,
};

const KEY: &str = "APIkey";
const SECRET: &str = "a-secret-that-is-long-enough-to-keep";

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_800_000_000_750)
}

fn signer() -> Signer {
    Signer::new(KEY, SECRET).unwrap()
}

fn verifier() -> Verifier {
    Verifier::new().with_key(KEY, SECRET)
}

fn joining() -> AccessToken {
    AccessToken::new("alice").with_video(VideoGrant::join("lobby"))
}

fn refusal(token: &AccessToken) -> MintError {
    token.sign(&signer(), now()).unwrap_err()
}

#[test]
fn a_minted_token_verifies_and_says_what_was_asked() {
    let config = RoomConfiguration::new()
        .with_empty_timeout(30)
        .with_agent(RoomAgentDispatch::new("helper").with_metadata("m").with_deployment("staging"))
        .with_tag("team", "blue");
    let token = joining()
        .with_name("Zoë 🧑‍🚀 \"quoted\" \u{7}")
        .with_metadata("{\"a\":1}")
        .with_attribute("lang", "de")
        .with_kind(ParticipantKind::Agent)
        .with_kind_details([ParticipantKindDetail::CloudAgent])
        .with_room_config(config.clone())
        .with_id("id-1")
        .with_private_claim("tenant", RawJson::from_value(&7).unwrap())
        .with_ttl(Duration::from_secs(900))
        .sign(&signer(), now())
        .unwrap();

    let claims = verifier().verify(token.as_str(), now()).unwrap();
    assert_eq!((claims.iss.as_str(), claims.sub.as_str(), claims.jti.as_str()), (KEY, "alice", "id-1"));
    assert_eq!(claims.nbf, Some(NumericDate::from_secs(1_800_000_000)), "the second in which it was minted");
    assert_eq!(claims.iat, claims.nbf);
    assert_eq!(claims.exp, Some(NumericDate::from_secs(1_800_000_900)));
    assert_eq!(claims.name, "Zoë 🧑‍🚀 \"quoted\" \u{7}");
    assert_eq!(claims.metadata, "{\"a\":1}");
    assert_eq!(claims.room_config, Some(config));
    assert_eq!(claims.private["tenant"].parse::<u32>().unwrap(), 7);
    assert!(claims.dispatches_agent());
    let participant = claims.participant();
    assert_eq!(participant.kind, ParticipantKind::Agent);
    assert_eq!(participant.kind_details, [ParticipantKindDetail::CloudAgent]);
    assert_eq!(participant.attributes["lang"], "de");
}

#[test]
fn an_unset_claim_is_not_written() {
    let token = AccessToken::new("").sign(&signer(), now()).unwrap();
    let payload = token.as_str().split('.').nth(1).unwrap();
    let json = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, payload).unwrap();
    let issued = 1_800_000_000;
    let expected =
        format!(r#"{{"iss":"{KEY}","iat":{issued},"nbf":{issued},"exp":{}}}"#, issued + DEFAULT_TTL.as_secs());
    assert_eq!(String::from_utf8(json).unwrap(), expected);
}

#[test]
fn a_token_lives_for_its_lifetime_and_the_leeway_and_no_longer() {
    let token = joining().with_ttl(Duration::from_secs(100)).sign(&signer(), now()).unwrap();
    let at = |seconds: u64| verifier().verify(token.as_str(), UNIX_EPOCH + Duration::from_secs(seconds));
    assert!(at(1_800_000_000 - 61).is_err());
    assert!(at(1_800_000_000 - 60).is_ok());
    assert!(at(1_800_000_159).is_ok());
    assert!(at(1_800_000_160).is_err());
}

#[test]
fn a_join_without_a_room_or_an_identity_is_refused() {
    for room in ["", " ", "\t\n"] {
        assert_eq!(refusal(&AccessToken::new("alice").with_video(VideoGrant::join(room))), MintError::EmptyRoom);
    }
    for identity in ["", "  "] {
        let token = AccessToken::new(identity).with_video(VideoGrant::join("lobby"));
        assert_eq!(refusal(&token), MintError::EmptyIdentity);
    }
    let admin = VideoGrant::default().with_room_create(true);
    assert!(AccessToken::new("").with_video(admin).sign(&signer(), now()).is_ok(), "an API token needs neither");
}

#[test]
fn a_lifetime_of_nothing_or_beyond_the_bound_is_refused() {
    for ttl in [Duration::ZERO, Duration::from_millis(999), MAX_TTL + Duration::from_nanos(1), Duration::MAX] {
        assert_eq!(refusal(&joining().with_ttl(ttl)), MintError::Lifetime, "{ttl:?}");
    }
    for ttl in [Duration::from_secs(1), MAX_TTL] {
        assert!(joining().with_ttl(ttl).sign(&signer(), now()).is_ok(), "{ttl:?}");
    }
}

#[test]
fn an_audience_is_refused() {
    let mut claims = Claims::default();
    claims.aud = vec!["somebody".to_owned()];
    assert_eq!(refusal(&AccessToken::from_claims(claims)), MintError::Audience);
}

#[test]
fn a_private_claim_cannot_stand_in_for_one_with_a_meaning() {
    for name in ["exp", "EXP", "video", "roomConfig", "ROOMCONFIG", "\u{17f}ub"] {
        let token = joining().with_private_claim(name, RawJson::new("1").unwrap());
        assert_eq!(refusal(&token), MintError::PrivateClaim, "{name}");
    }
}

#[test]
fn an_egress_with_credentials_is_refused_unless_it_is_asked_for() {
    for egress in [
        r#"{"room":{"fileOutputs":[{"s3":{"secret":"x"}}]}}"#,
        r#"{"participant":{"segment_outputs":[{"gcp":{"credentials":"{}"}}]}}"#,
        r#"{"tracks":{"azure":{"account_key":"x"}}}"#,
        r#"{"room":{"streamOutputs":[{"urls":["rtmp://x/key"]}]}}"#,
        r#"{"room":{"fileOutputs":[{"s3":{"secret":"x","secret":""}}]}}"#,
    ] {
        let config = RoomConfiguration::new().with_egress(RawJson::new(egress).unwrap());
        let token = joining().with_room_config(config);
        assert_eq!(refusal(&token), MintError::SensitiveCredentials, "{egress}");
        assert!(token.allow_sensitive_credentials().sign(&signer(), now()).is_ok());
    }
    let harmless = RawJson::new(r#"{"room":{"fileOutputs":[{"filepath":"x.mp4","s3":{"secret":""}}]}}"#).unwrap();
    let token = joining().with_room_config(RoomConfiguration::new().with_egress(harmless));
    assert!(token.sign(&signer(), now()).is_ok());
}

#[test]
fn a_weak_secret_is_refused_unless_it_is_asked_for() {
    assert_eq!(Signer::new("devkey", "secret").unwrap_err(), SignerError::WeakSecret);
    assert_eq!(Signer::new("devkey", "31-bytes-are-one-less-than-thi.").unwrap_err(), SignerError::WeakSecret);
    assert!(Signer::new("devkey", "32-bytes-are-just-what-it-takes.").is_ok());
    assert!(Signer::builder("devkey", "secret").allow_weak_secret().build().is_ok());
    assert_eq!(Signer::builder("devkey", "").allow_weak_secret().build().unwrap_err(), SignerError::EmptySecret);
    assert_eq!(Signer::new(" ", SECRET).unwrap_err(), SignerError::EmptyApiKey);
}

#[test]
fn a_verifier_without_the_key_or_with_an_empty_secret_refuses() {
    let token = joining().sign(&signer(), now()).unwrap();
    for verifier in [Verifier::new(), Verifier::new().with_key(KEY, ""), Verifier::new().with_key("other", SECRET)] {
        assert_eq!(verifier.verify(token.as_str(), now()).unwrap_err().response_body(), "invalid API key");
    }
}

#[test]
fn no_secret_and_no_token_is_shown() {
    let signer = signer();
    let token = joining().sign(&signer, now()).unwrap();
    let text = token.as_str().to_owned();
    let response = TokenResponse::new("wss://example", text.clone());
    let shown = [
        format!("{signer:?} {signer:#?}"),
        format!("{:?}", Signer::builder(KEY, SECRET)),
        format!("{:?}", verifier()),
        format!("{token:?}"),
        format!("{response:?} {response:#?}"),
        format!("{:?}", verifier().verify(&format!("{text}x"), now()).unwrap_err()),
        verifier().verify(&text[1..], now()).unwrap_err().to_string(),
        format!("{:?}", Claims::decode_unverified(&text[..text.rfind('.').unwrap()]).unwrap_err()),
        Signer::new(KEY, &SECRET[..31]).unwrap_err().to_string(),
    ];
    let signature = text.rsplit('.').next().unwrap();
    for shown in shown {
        for hidden in [SECRET, &SECRET[..31], &text[1..], signature] {
            assert!(!shown.contains(hidden), "{shown}");
        }
    }
    assert_eq!(String::from(token), text);
}

#[test]
fn sources_to_publish_are_written_by_their_names() {
    let grant =
        VideoGrant::join("lobby").with_can_publish_sources([TrackSource::Camera, TrackSource::ScreenShareAudio]);
    assert_eq!(grant.can_publish_sources, ["camera", "screen_share_audio"]);
    assert_eq!(grant.permission().can_publish_sources, [TrackSource::Camera, TrackSource::ScreenShareAudio]);
}
