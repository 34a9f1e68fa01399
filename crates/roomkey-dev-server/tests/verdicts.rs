//! What livekit-server 1.13.5 answered to tokens, and what this server answers.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a panic is a test's report")]

#[path = "../../roomkey-token/tests/support/recording.rs"]
mod recording;
mod support;

use std::time::Duration;

use livekit_protocol as proto;
use proto::signal_response::Message;
use recording::{Case, expand, recording, token};
use roomkey_dev_server::{Config, DevServer};
use roomkey_token::{AccessToken, Signer, VideoGrant};
use serde_json::{Value, json};
use support::{Connected, dial, get, now};

/// A token that is longer than hyper takes a URL to be, 65,534 bytes, is refused with 414 or 431 whatever it says.
const LONGEST_URL: usize = 65_534;

/// What this server does not do, and the cases that would show it.
const ABSENT: [(&str, &str); 3] = [
    ("roomConfig is ignored where the room exists", "there is no rooms API to make one"),
    ("a room preset that the server does not have refuses the join, not validate", "there are no presets"),
    ("a room preset that the server has makes the room, and roomConfig overrides it", "there are no presets"),
];

async fn server(case: &Case, keys: impl Iterator<Item = (String, String)>) -> DevServer {
    let config = keys.fold(Config::new(), |config, (key, secret)| config.with_key(key, secret));
    DevServer::bind(config.with_auto_create(case.server != "no_auto_create")).await.unwrap()
}

fn query(case: &Case, token: Option<&str>) -> String {
    let mut query = "protocol=17&auto_subscribe=1&sdk=rust".to_owned();
    for (name, value) in case.request.query.iter().map(|(name, value)| (name.as_str(), value.as_str())) {
        query.push_str(&format!("&{name}={}", escape(value)));
    }
    if let Some(token) = token {
        query.push_str(&format!("&access_token={}", escape(token)));
    }
    query
}

fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[tokio::test]
async fn tokens_are_judged_as_livekit_server_was_recorded_to_judge_them() {
    let recording = recording();
    let (mut judged, mut too_long) = (0, 0);
    for case in &recording.cases {
        let name = case.name.as_str();
        if !matches!(case.request.kind.as_str(), "join" | "get" | "agent") || ABSENT.iter().any(|(it, _)| *it == name) {
            continue;
        }
        // What the settings of a server decide that this one does not have.
        if case.server == "tuned" {
            continue;
        }
        judged += 1;
        let server = server(case, recording.keys.clone().into_iter()).await;
        let first = match case.before.first() {
            Some(before) => Some(joined_before(&server, &before["join"]).await),
            None => None,
        };
        let now = now();
        let token = token(case, now);
        let token = token.as_deref();
        let (in_query, authorization) = match (&case.request.token, case.request.kind.as_str()) {
            (Value::Object(exact), _) => {
                let fill =
                    |name: &str| exact.get(name).map(|it| it.as_str().unwrap().replace("<token>", token.unwrap()));
                (fill("access_token"), fill("authorization"))
            }
            (Value::String(place), _) if place == "header" => (None, token.map(|token| format!("Bearer {token}"))),
            (_, "agent") => (None, token.map(|token| format!("Bearer {token}"))),
            _ => (token.map(str::to_owned), None),
        };
        let query = query(case, in_query.as_deref());
        let authorization = authorization.as_deref();
        let address = server.address();
        match case.request.kind.as_str() {
            "get" => {
                let (status, body) = get(address, &format!("{}?{query}", case.request.path), authorization).await;
                assert_eq!(status, case.expect.status, "{name}: {body}");
            }
            "agent" => {
                let outcome = dial(address, "/agent?protocol=1", authorization).await;
                let status = outcome.map_or_else(|(status, _)| status, |_| 101);
                assert_eq!(status, case.expect.status, "{name}");
            }
            _ => {
                let validated = get(address, &format!("/rtc/validate?{query}"), authorization).await;
                let outcome = dial(address, &format!("/rtc?{query}"), authorization).await;
                if query.len() + 20 > LONGEST_URL {
                    let statuses = [validated.0, outcome.map_or_else(|refusal| refusal.0, |_| 101)];
                    assert!(matches!(statuses, [414, 414] | [431, 431]), "{name}: {statuses:?}");
                    too_long += 1;
                    continue;
                }
                let refused = check_join(case, outcome, now).await;
                let expected = match (&case.expect.validate, &refused) {
                    (Some(validate), _) => {
                        (validate["status"].as_u64().unwrap() as u16, validate["body"].as_str().unwrap().to_owned())
                    }
                    (None, Some(refused)) => refused.clone(),
                    (None, None) => (200, "success".to_owned()),
                };
                assert_eq!(validated, expected, "{name}: validate");
            }
        }
        drop(first);
    }
    assert_eq!((judged, too_long), (93, 3));
}

/// Compares the outcome of a join, and gives the refusal.
async fn check_join(case: &Case, outcome: Result<Connected, (u16, String)>, now: u64) -> Option<(u16, String)> {
    let name = &case.name;
    match outcome {
        Ok(mut connected) => {
            assert_eq!(case.expect.status, 101, "{name}");
            let Message::Join(join) = connected.next().await.unwrap() else { panic!("{name}: not a join") };
            let expected = expand(case.expect.participant.as_ref().unwrap(), now);
            assert_eq!(describe(join.participant.as_ref().unwrap()), expected, "{name}");
            let room = join.room.unwrap();
            let told = json!({
                "name": room.name,
                "metadata": room.metadata,
                "max_participants": room.max_participants,
                "empty_timeout": room.empty_timeout,
                "departure_timeout": room.departure_timeout,
            });
            assert_eq!(told, expand(case.expect.room.as_ref().unwrap(), now), "{name}");
            None
        }
        Err((status, body)) => {
            assert_eq!(status, case.expect.status, "{name}: {body}");
            let expected = case.expect.body.as_str().unwrap();
            // What follows in the recording is Go's JSON decoder speaking.
            let is_same = if body.ends_with("could not JSON decode claim: ") {
                expected.starts_with(&body)
            } else {
                body == expected
            };
            assert!(is_same, "{name}: {body} / {expected}");
            Some((status, body))
        }
    }
}

async fn joined_before(server: &DevServer, join: &Value) -> Connected {
    let config = join["claims"]["roomConfig"]["maxParticipants"].as_u64().unwrap();
    let mut room_config = roomkey_token::RoomConfiguration::default();
    room_config.max_participants = u32::try_from(config).unwrap();
    let token = AccessToken::new(join["identity"].as_str().unwrap())
        .with_room_config(room_config)
        .with_video(VideoGrant::join(join["room"].as_str().unwrap()));
    let signer = Signer::builder("devkey", "secret").allow_weak_secret().build().unwrap();
    let at = std::time::UNIX_EPOCH + Duration::from_secs(now());
    let token = token.sign(&signer, at).unwrap();
    dial(server.address(), &format!("/rtc?protocol=17&access_token={}", token.as_str()), None).await.unwrap()
}

/// The same words for a participant as the recording has.
fn describe(participant: &proto::ParticipantInfo) -> Value {
    let permission = participant.permission.clone().unwrap();
    let sources = permission.can_publish_sources();
    json!({
        "identity": participant.identity,
        "name": participant.name,
        "kind": participant.kind().as_str_name(),
        "kind_details": participant.kind_details().map(|detail| detail.as_str_name()).collect::<Vec<_>>(),
        "metadata": participant.metadata,
        "attributes": participant.attributes,
        "permission": {
            "can_subscribe": permission.can_subscribe,
            "can_publish": permission.can_publish,
            "can_publish_data": permission.can_publish_data,
            "can_publish_sources": sources.map(|source| source.as_str_name()).collect::<Vec<_>>(),
            "hidden": permission.hidden,
            "recorder": recorder(&permission),
            "can_update_metadata": permission.can_update_metadata,
            "agent": agent(&permission),
            "can_subscribe_metrics": permission.can_subscribe_metrics,
            "can_manage_agent_session": permission.can_manage_agent_session,
        },
    })
}

#[allow(deprecated, reason = "clients read it all the same")]
fn recorder(permission: &proto::ParticipantPermission) -> bool {
    permission.recorder
}

#[allow(deprecated, reason = "clients read it all the same")]
fn agent(permission: &proto::ParticipantPermission) -> bool {
    permission.agent
}
