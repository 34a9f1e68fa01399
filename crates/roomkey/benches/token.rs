//! Minting, verifying and decoding, beside the official `livekit-token` and beside the bare HMAC of the same bytes.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and panics where it is wrong"
)]

mod side_by_side;

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use criterion::Criterion;
use hmac::{Hmac, KeyInit, Mac};
use livekit_token::{AccessToken as TheirToken, Claims as TheirClaims, TokenVerifier, VideoGrants};
use roomkey_token::{AccessToken, Claims, Signer, Verifier, VideoGrant};
use sha2::Sha256;
use side_by_side::{Pair, compare};

const KEY: &str = "APIbenchmark";
const SECRET: &str = "a-secret-that-is-long-enough-to-keep";

const PAIRS: [Pair; 5] = [
    Pair { group: "mint", ours: "roomkey", peer: "hmac", goal: Some(1.8) },
    Pair { group: "mint", ours: "roomkey", peer: "hmac-keyed-before", goal: None },
    Pair { group: "mint", ours: "roomkey", peer: "livekit-token", goal: Some(0.4) },
    Pair { group: "verify", ours: "roomkey", peer: "livekit-token", goal: Some(0.333) },
    Pair { group: "decode", ours: "roomkey", peer: "livekit-token", goal: None },
];

fn ours() -> AccessToken {
    AccessToken::new("participant-identity")
        .with_name("Participant Name")
        .with_video(VideoGrant::join("room-name"))
        .with_ttl(Duration::from_secs(600))
}

fn theirs() -> TheirToken {
    TheirToken::with_api_key(KEY, SECRET)
        .with_ttl(Duration::from_secs(600))
        .with_identity("participant-identity")
        .with_name("Participant Name")
        .with_grants(VideoGrants { room_join: true, room: "room-name".to_owned(), ..VideoGrants::default() })
}

#[expect(clippy::disallowed_methods, reason = "livekit-token verifies against the real time")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn mint(criterion: &mut Criterion) {
    let now = now();
    let signer = Signer::new(KEY, SECRET).unwrap();
    let token = ours().sign(&signer, now).unwrap();
    let signed = token.as_str().rsplit_once('.').unwrap().0.to_owned();
    println!("bytes signed: {}", signed.len());

    let mut group = criterion.benchmark_group("mint");
    // What is minted in a server is built for each request, so that building it counts, on both sides.
    group.bench_function("roomkey", |bench| bench.iter(|| ours().sign(black_box(&signer), black_box(now)).unwrap()));
    group.bench_function("livekit-token", |bench| bench.iter(|| theirs().to_jwt().unwrap()));
    group.bench_function("hmac", |bench| {
        bench.iter(|| {
            let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(black_box(SECRET.as_bytes())).unwrap();
            mac.update(black_box(signed.as_bytes()));
            mac.finalize().into_bytes()
        });
    });
    let keyed = <Hmac<Sha256> as KeyInit>::new_from_slice(SECRET.as_bytes()).unwrap();
    group.bench_function("hmac-keyed-before", |bench| {
        bench.iter(|| {
            let mut mac = black_box(&keyed).clone();
            mac.update(black_box(signed.as_bytes()));
            mac.finalize().into_bytes()
        });
    });
    group.finish();
}

fn verify(criterion: &mut Criterion) {
    let now = now();
    let token = theirs().to_jwt().unwrap();
    let verifier = Verifier::new().with_key(KEY, SECRET);
    let their_verifier = TokenVerifier::with_api_key(KEY, SECRET);

    let mut group = criterion.benchmark_group("verify");
    group.bench_function("roomkey", |bench| bench.iter(|| verifier.verify(black_box(&token), now).unwrap()));
    group.bench_function("livekit-token", |bench| bench.iter(|| their_verifier.verify(black_box(&token)).unwrap()));
    group.finish();

    let mut group = criterion.benchmark_group("decode");
    group.bench_function("roomkey", |bench| bench.iter(|| Claims::decode_unverified(black_box(&token)).unwrap()));
    group.bench_function("livekit-token", |bench| {
        bench.iter(|| TheirClaims::from_unverified(black_box(&token)).unwrap())
    });
    group.finish();
}

fn main() {
    compare(&PAIRS, |criterion| {
        mint(criterion);
        verify(criterion);
    });
}
