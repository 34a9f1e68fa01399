//! Recorded verdicts of livekit-server 1.13.5, against the verifier and the claims.
//!
//! `data/server-verdicts.json` says itself how its cases are to be read (`about`).

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "in helpers of tests too, a panic is the report"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use roomkey_token::{Claims, JoinLimits, ParticipantClaims, Verifier};
use serde::Deserialize;
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

#[derive(Deserialize)]
struct Recording {
    keys: BTreeMap<String, String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    #[serde(default)]
    header: Value,
    #[serde(default)]
    claims: Value,
    #[serde(default)]
    secret: String,
    #[serde(default)]
    raw: Raw,
    request: Request,
    expect: Expected,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default, rename = "how")]
    _how: String,
    claims_text: Option<Value>,
    #[serde(default)]
    edit_before_signing: Vec<(usize, String)>,
    #[serde(default)]
    edit_after_signing: Vec<(usize, String)>,
    signature: Option<String>,
    signature_bit_flipped: Option<usize>,
    claims_after_signing: Option<Value>,
    segments: Option<Vec<usize>>,
    #[serde(default)]
    before: String,
    #[serde(default)]
    after: String,
    #[serde(default)]
    none: bool,
}

#[derive(Deserialize)]
struct Request {
    kind: String,
}

#[derive(Deserialize)]
struct Expected {
    status: u16,
    #[serde(default)]
    body: Value,
    participant: Option<Value>,
    room: Option<Value>,
    validate: Option<Value>,
}

fn recording() -> Recording {
    serde_json::from_str(include_str!("data/server-verdicts.json")).unwrap()
}

const NOW: u64 = 1_800_000_000;

fn now() -> SystemTime {
    // Late in its second: the recorded verdicts hold for the whole of it.
    UNIX_EPOCH + Duration::from_secs(NOW) + Duration::from_millis(999)
}

/// Puts in the times and the repeated strings.
fn expand(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            if let Some(offset) = fields.get("now") {
                return match (offset.as_i64(), fields.contains_key("as")) {
                    (Some(offset), false) => json!(NOW as i64 + offset),
                    (Some(offset), true) => json!((NOW as i64 + offset).to_string()),
                    (None, _) => json!(NOW as f64 + offset.as_f64().unwrap()),
                };
            }
            if let (Some(text), Some(times)) = (fields.get("repeat"), fields.get("times")) {
                return json!(text.as_str().unwrap().repeat(times.as_u64().unwrap() as usize));
            }
            fields.iter().map(|(key, value)| (key.clone(), expand(value))).collect()
        }
        Value::Array(items) => items.iter().map(expand).collect(),
        other => other.clone(),
    }
}

fn claims_text(raw: &Value) -> String {
    let text = match raw {
        Value::Array(parts) => parts.iter().map(|part| expand(part).as_str().unwrap().to_owned()).collect(),
        other => other.as_str().unwrap().to_owned(),
    };
    assert_eq!(text.matches("${now").count(), text.matches("${now+600}").count());
    text.replace("${now+600}", &(NOW + 600).to_string())
}

fn edit(segment: &str, how: &str) -> String {
    match how {
        "pad" => URL_SAFE.encode(URL_SAFE_NO_PAD.decode(segment).unwrap()),
        "unused_bits" => {
            let (rest, last) = segment.split_at(segment.len() - 1);
            let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let index = alphabet.find(last).unwrap();
            assert_eq!(index & 0b11, 0);
            format!("{rest}{}", &alphabet[index + 3..index + 4])
        }
        "standard_alphabet" => STANDARD.encode(URL_SAFE_NO_PAD.decode(segment).unwrap()),
        other => panic!("unknown edit {other}"),
    }
}

fn mac<M: Mac + KeyInit>(secret: &str, input: &str) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(input.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// The token of a case, made as the recording says.
fn token(case: &Case) -> Option<String> {
    if case.raw.none {
        return None;
    }
    let header = serde_json::to_string(&case.header).unwrap();
    let claims = case
        .raw
        .claims_text
        .as_ref()
        .map_or_else(|| serde_json::to_string(&expand(&case.claims)).unwrap(), claims_text);
    let mut segments = vec![URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims)];
    for (index, how) in &case.raw.edit_before_signing {
        segments[*index] = edit(&segments[*index], how);
    }

    let input = segments.join(".");
    let mut signature = match case.header["alg"].as_str() {
        Some("HS384") => mac::<Hmac<sha2::Sha384>>(&case.secret, &input),
        Some("HS512") => mac::<Hmac<sha2::Sha512>>(&case.secret, &input),
        _ => mac::<Hmac<sha2::Sha256>>(&case.secret, &input),
    };
    if let Some(bit) = case.raw.signature_bit_flipped {
        signature[bit / 8] ^= 0x80 >> (bit % 8);
    }
    segments.push(case.raw.signature.clone().unwrap_or_else(|| URL_SAFE_NO_PAD.encode(signature)));
    for (index, how) in &case.raw.edit_after_signing {
        segments[*index] = edit(&segments[*index], how);
    }
    if let Some(claims) = &case.raw.claims_after_signing {
        segments[1] = URL_SAFE_NO_PAD.encode(serde_json::to_string(&expand(claims)).unwrap());
    }
    if let Some(chosen) = &case.raw.segments {
        segments = chosen.iter().map(|index| segments[*index].clone()).collect();
    }
    Some(format!("{}{}{}", case.raw.before, segments.join("."), case.raw.after))
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
        let token = token(case).unwrap();
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
                    expand(case.expect.participant.as_ref().unwrap()),
                    "{name}"
                );
                if !listed(&ROOM_DECIDED_ELSEWHERE).contains(name) {
                    assert_eq!(room(&claims), expand(case.expect.room.as_ref().unwrap()), "{name}");
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
