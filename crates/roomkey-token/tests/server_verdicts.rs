//! Recorded verdicts of livekit-server 1.13.5, against the verifier and the claims.
//!
//! `data/server-verdicts.json` says itself how its cases are to be read (`about`).

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "in helpers of tests too, a panic is the report"
)]

#[path = "support/recording.rs"]
mod recording;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Hmac;
use recording::{expand, mac, recording, token};
use roomkey_token::{Claims, JoinLimits, ParticipantClaims, Verifier};
use serde_json::{Value, json};

/// The join cases whose verdict the token alone does not decide, and what does.
const DECIDED_ELSEWHERE: [(&str, &str); 7] = [
    ("no token is no permission", "there is no token to judge"),
    ("a room preset that the server does not have refuses the join, not validate", "the server's presets"),
    ("a full room refuses a second participant at the join, not at validate", "who is in the room"),
    ("attributes in the query need canUpdateOwnMetadata", "the query"),
    ("bearer in lower case is refused", "the header round the token"),
    ("a bad header is not made good by the query", "which of two tokens is taken"),
    ("auto_create off: a room that does not exist is not found", "the server's rooms"),
];

/// The join cases whose participant is what the token says, but whose room is not.
const ROOM_DECIDED_ELSEWHERE: [(&str, &str); 3] = [
    ("roomConfig is ignored where the room exists", "the room was made before"),
    ("a full room still admits a participant of kind agent", "the room was made by another token"),
    ("a room preset that the server has makes the room, and roomConfig overrides it", "the server's presets"),
];

const NOW: u64 = 1_800_000_000;

fn now() -> SystemTime {
    // Late in its second: the recorded verdicts hold for the whole of it.
    UNIX_EPOCH + Duration::from_secs(NOW) + Duration::from_millis(999)
}

/// The same words for a participant as the recording has.
fn describe(participant: &ParticipantClaims) -> Value {
    let upper = |name: &str| name.to_uppercase();
    let permission = &participant.permission;
    json!({
        "identity": participant.identity,
        "name": participant.name,
        "kind": upper(participant.kind.as_str()),
        "kind_details": participant.kind_details.iter().map(|detail| upper(detail.as_str())).collect::<Vec<_>>(),
        "metadata": participant.metadata,
        "attributes": participant.attributes,
        "permission": {
            "can_subscribe": permission.can_subscribe,
            "can_publish": permission.can_publish,
            "can_publish_data": permission.can_publish_data,
            "can_publish_sources":
                permission.can_publish_sources.iter().map(|source| upper(source.as_str())).collect::<Vec<_>>(),
            "hidden": permission.hidden,
            "recorder": permission.recorder,
            "can_update_metadata": permission.can_update_metadata,
            "agent": permission.agent,
            "can_subscribe_metrics": permission.can_subscribe_metrics,
            "can_manage_agent_session": permission.can_manage_agent_session,
        },
    })
}

/// What the claims make of a room that is not there yet, on a server with the recording's default timeouts.
fn room(claims: &Claims) -> Value {
    let config = claims.room_config.clone().unwrap_or_default();
    let or = |value: u32, default: u32| if value == 0 { default } else { value };
    json!({
        "name": claims.video.as_ref().unwrap().room,
        "metadata": config.metadata,
        "max_participants": config.max_participants,
        "empty_timeout": or(config.empty_timeout, 300),
        "departure_timeout": or(config.departure_timeout, 20),
    })
}

fn listed(list: &[(&'static str, &str)]) -> BTreeSet<&'static str> {
    list.iter().map(|(name, _)| *name).collect()
}

#[test]
fn every_join_case_that_the_token_decides_gets_the_recorded_verdict() {
    let recording = recording();
    let verifier =
        recording.keys.iter().fold(Verifier::new(), |verifier, (key, secret)| verifier.with_key(key.clone(), secret));
    let (mut judged, mut unmatched) = (0, listed(&DECIDED_ELSEWHERE));
    unmatched.extend(listed(&ROOM_DECIDED_ELSEWHERE));

    for case in recording.cases.iter().filter(|case| case.request.kind == "join") {
        let name = case.name.as_str();
        unmatched.remove(name);
        if listed(&DECIDED_ELSEWHERE).contains(name) {
            continue;
        }
        let token = token(case, NOW).unwrap();
        judged += 1;

        let verdict = verifier.verify(&token, now()).map_err(|error| (error.status(), error.response_body(), true));
        let verdict = verdict.and_then(|claims| match claims.check_join(&JoinLimits::default()) {
            Ok(_) => Ok(claims),
            Err(error) => Err((error.status(), error.response_body(), error.is_seen_by_validate())),
        });
        match verdict {
            Ok(claims) => {
                assert_eq!(case.expect.status, 101, "{name}");
                assert_eq!(
                    describe(&claims.participant()),
                    expand(case.expect.participant.as_ref().unwrap(), NOW),
                    "{name}"
                );
                if !listed(&ROOM_DECIDED_ELSEWHERE).contains(name) {
                    assert_eq!(room(&claims), expand(case.expect.room.as_ref().unwrap(), NOW), "{name}");
                }
            }
            Err((status, body, seen_by_validate)) => {
                assert_eq!(status, case.expect.status, "{name}");
                let expected = case.expect.body.as_str().unwrap();
                if body.ends_with("could not JSON decode claim: ") {
                    assert!(expected.starts_with(&body), "{name}: {body} / {expected}");
                } else {
                    assert_eq!(body, expected, "{name}");
                }
                assert_eq!(seen_by_validate, case.expect.validate.is_none(), "{name}");
            }
        }
    }

    assert!(unmatched.is_empty(), "listed, but not recorded: {unmatched:?}");
    assert_eq!(judged, 84, "join cases judged");
}

#[test]
fn whole_seconds_decide_at_every_moment_of_the_second() {
    let verifier = Verifier::new().with_key("devkey", "secret");
    let token = |exp: i64| {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
        let claims = URL_SAFE_NO_PAD.encode(format!(r#"{{"iss":"devkey","exp":{exp}}}"#));
        let input = format!("{header}.{claims}");
        let signature = URL_SAFE_NO_PAD.encode(mac::<Hmac<sha2::Sha256>>("secret", &input));
        format!("{input}.{signature}")
    };
    for millis in [0, 1, 500, 999] {
        let now = UNIX_EPOCH + Duration::from_secs(NOW) + Duration::from_millis(millis);
        assert!(verifier.verify(&token(NOW as i64 - 59), now).is_ok(), "{millis}");
        assert!(verifier.verify(&token(NOW as i64 - 60), now).is_err(), "{millis}");
    }
}
