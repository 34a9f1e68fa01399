//! How the tokens of the recorded verdicts are made, for the verifier and for the dev server.
//!
//! `../data/server-verdicts.json` says itself how its cases are to be read (`about`).

#![allow(dead_code, missing_docs, unreachable_pub, unnameable_types, reason = "each test takes what it needs")]

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
pub struct Recording {
    pub keys: BTreeMap<String, String>,
    pub cases: Vec<Case>,
}

#[derive(Deserialize)]
pub struct Case {
    pub name: String,
    #[serde(default)]
    header: Value,
    #[serde(default)]
    claims: Value,
    #[serde(default)]
    secret: String,
    #[serde(default)]
    raw: Raw,
    #[serde(default)]
    pub server: String,
    #[serde(default)]
    pub before: Vec<Value>,
    pub request: Request,
    pub expect: Expected,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Raw {
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
pub struct Request {
    pub kind: String,
    #[serde(default)]
    pub path: String,
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    #[serde(default)]
    pub token: Value,
}

#[derive(Deserialize)]
pub struct Expected {
    pub status: u16,
    #[serde(default)]
    pub body: Value,
    pub participant: Option<Value>,
    pub room: Option<Value>,
    pub validate: Option<Value>,
}

/// The recording.
pub fn recording() -> Recording {
    serde_json::from_str(include_str!("../data/server-verdicts.json")).unwrap()
}

/// Puts in the times and the repeated strings.
pub fn expand(value: &Value, now: u64) -> Value {
    match value {
        Value::Object(fields) => {
            if let Some(offset) = fields.get("now") {
                return match (offset.as_i64(), fields.contains_key("as")) {
                    (Some(offset), false) => json!(now as i64 + offset),
                    (Some(offset), true) => json!((now as i64 + offset).to_string()),
                    (None, _) => json!(now as f64 + offset.as_f64().unwrap()),
                };
            }
            if let (Some(text), Some(times)) = (fields.get("repeat"), fields.get("times")) {
                return json!(text.as_str().unwrap().repeat(times.as_u64().unwrap() as usize));
            }
            fields.iter().map(|(key, value)| (key.clone(), expand(value, now))).collect()
        }
        Value::Array(items) => items.iter().map(|item| expand(item, now)).collect(),
        other => other.clone(),
    }
}

fn claims_text(raw: &Value, now: u64) -> String {
    let text = match raw {
        Value::Array(parts) => parts.iter().map(|part| expand(part, now).as_str().unwrap().to_owned()).collect(),
        other => other.as_str().unwrap().to_owned(),
    };
    assert_eq!(text.matches("${now").count(), text.matches("${now+600}").count());
    text.replace("${now+600}", &(now + 600).to_string())
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

pub fn mac<M: Mac + KeyInit>(secret: &str, input: &str) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(input.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// The token of a case, made as the recording says.
pub fn token(case: &Case, now: u64) -> Option<String> {
    if case.raw.none {
        return None;
    }
    let header = serde_json::to_string(&case.header).unwrap();
    let claims = case
        .raw
        .claims_text
        .as_ref()
        .map_or_else(|| serde_json::to_string(&expand(&case.claims, now)).unwrap(), |raw| claims_text(raw, now));
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
        segments[1] = URL_SAFE_NO_PAD.encode(serde_json::to_string(&expand(claims, now)).unwrap());
    }
    if let Some(chosen) = &case.raw.segments {
        segments = chosen.iter().map(|index| segments[*index].clone()).collect();
    }
    Some(format!("{}{}{}", case.raw.before, segments.join("."), case.raw.after))
}
