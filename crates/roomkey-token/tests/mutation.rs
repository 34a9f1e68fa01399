//! Strangers' bytes: seeded mutations of tokens and of their parts never panic, and never verify.
//!
//! `ROOMKEY_MUTATIONS` sets how many are tried, for a longer run; a failure names its seed.

#![expect(clippy::unwrap_used, reason = "in helpers of tests too, a panic is the report")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use roomkey_token::{
    AccessToken, Claims, JoinLimits, RoomAgentDispatch, RoomConfiguration, Signer, TokenRequest, TokenResponse,
    Verifier, VideoGrant,
};

const KEY: &str = "APIkey";
const SECRET: &str = "a-secret-that-is-long-enough-to-keep";

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn mutations() -> u64 {
    std::env::var("ROOMKEY_MUTATIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(20_000)
}

fn token() -> String {
    AccessToken::new("alice")
        .with_video(VideoGrant::join("lobby").with_can_publish(true))
        .with_attribute("k", "v")
        .with_room_config(RoomConfiguration::new().with_empty_timeout(5).with_agent(RoomAgentDispatch::new("helper")))
        .sign(&Signer::new(KEY, SECRET).unwrap(), now())
        .unwrap()
        .into()
}

/// Pieces of JSON and of tokens that a change of single bytes hardly finds.
const PIECES: [&str; 24] = [
    "null",
    "\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\\ud800",
    "\\u0000",
    "1e400",
    "-1",
    "18446744073709551615",
    "0.5",
    ".",
    "=",
    "\n",
    "exp",
    "\u{17f}ub",
    "roomConfig",
    "true",
    "[[[[[[[[",
    "\u{0}",
    "é",
];

fn mutate(random: &mut fastrand::Rng, bytes: &mut Vec<u8>) {
    for _ in 0..random.usize(1..=4) {
        let at = random.usize(0..=bytes.len());
        match random.u8(0..5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.u8(0..8),
            1 if at < bytes.len() => bytes[at] = random.u8(..),
            2 => drop(bytes.splice(at..at, PIECES[random.usize(..PIECES.len())].bytes())),
            3 => drop(bytes.drain(at..random.usize(at..=bytes.len()))),
            _ => {
                let piece = bytes[at..random.usize(at..=bytes.len())].to_vec();
                drop(bytes.splice(at..at, piece));
            }
        }
    }
}

fn each_mutation(original: &[u8], check: impl Fn(&[u8])) {
    for seed in 0..mutations() {
        let mut bytes = original.to_vec();
        mutate(&mut fastrand::Rng::with_seed(seed), &mut bytes);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&bytes)));
        assert!(outcome.is_ok(), "seed {seed}: {:?}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn a_changed_token_never_verifies_as_something_else() {
    let verifier = Verifier::new().with_key(KEY, SECRET);
    let original = token();
    let genuine = verifier.verify(&original, now()).unwrap();
    each_mutation(original.as_bytes(), |bytes| {
        let text = &String::from_utf8_lossy(bytes);
        if let Ok(claims) = verifier.verify(text, now()) {
            // Only what is not signed can have changed: line breaks and unused bits of the signature.
            assert_eq!(claims, genuine);
        }
        let _ = Claims::decode_unverified(text);
    });
}

#[test]
fn any_payload_is_judged_without_a_panic_and_leniently_read_where_it_is_strictly_read() {
    let original = token();
    let payload = URL_SAFE_NO_PAD.decode(original.split('.').nth(1).unwrap()).unwrap();
    let verifier = Verifier::new().with_key(KEY, SECRET);
    each_mutation(&payload, |bytes| {
        let token = sign(bytes);
        let strict = verifier.verify(&token, now());
        let lenient = Claims::decode_unverified(&token);
        if let Ok(claims) = strict {
            let lenient = lenient.unwrap();
            assert_eq!((lenient.exp, lenient.nbf, &lenient.sub), (claims.exp, claims.nbf, &claims.sub));
            let _ = (claims.check_join(&JoinLimits::default()), claims.participant(), claims.expires_at());
        }
    });
}

#[test]
fn any_endpoint_message_is_read_or_refused_without_a_panic() {
    let request =
        br#"{"room_name":"r","participant_attributes":{"a":"b"},"room_config":{"agents":[{"agent_name":"a"}]}}"#;
    each_mutation(request, |bytes| {
        if let Ok(request) = serde_json::from_slice::<TokenRequest>(bytes) {
            let again = serde_json::to_string(&request).unwrap();
            assert_eq!(serde_json::from_str::<TokenRequest>(&again).unwrap(), request);
        }
    });
    each_mutation(br#"{"server_url":"wss://x","participantToken":"t"}"#, |bytes| {
        let _ = serde_json::from_slice::<TokenResponse>(bytes);
    });
}

#[test]
fn nesting_of_any_depth_is_refused_or_read_without_overflowing_the_stack() {
    let verifier = Verifier::new().with_key(KEY, SECRET);
    for depth in [100, 200, 10_000, 100_000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let inner = if open == "[" { "" } else { "1" };
            let nested = format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
            for claim in ["x", "video", "roomConfig", "attributes"] {
                let token = sign(format!(r#"{{"iss":"{KEY}","exp":1800000600,"{claim}":{nested}}}"#));
                let _ = verifier.verify(&token, now());
                assert_eq!(Claims::decode_unverified(&token).unwrap().exp.unwrap().as_secs(), 1_800_000_600);
            }
        }
    }
}

fn sign(payload: impl AsRef<[u8]>) -> String {
    use hmac::{Hmac, KeyInit, Mac};

    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#), URL_SAFE_NO_PAD.encode(payload));
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}
