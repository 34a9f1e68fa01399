//! A provider with state of its own: a server that mints tokens itself, and says when it will not.
//!
//! `cargo run --example provider`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::HashSet;
use std::error::Error;
use std::time::{Duration, SystemTime};

use roomkey::{BoxError, Credentials, FetchOptions, ProviderError, TokenProvider, TokenSource};
use roomkey_token::{AccessToken, Signer, VideoGrant};

/// Mints tokens for the rooms of a house.
struct House {
    server_url: String,
    signer: Signer,
    rooms: HashSet<&'static str>,
}

impl TokenProvider for House {
    async fn fetch(&self, options: &FetchOptions) -> Result<Credentials, BoxError> {
        let room = options.room_name().unwrap_or("hall");
        if !self.rooms.contains(room) {
            return Err(ProviderError::permanent(format!("there is no {room} in this house")).into());
        }
        let identity = options.participant_identity().ok_or("a participant identity is needed")?;
        let token = AccessToken::new(identity)
            .with_video(VideoGrant::join(room).with_can_publish(room != "library"))
            .with_ttl(Duration::from_secs(15 * 60))
            .sign(&self.signer, now())?;
        Ok(Credentials::new(&self.server_url, token))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let house = House {
        server_url: "ws://localhost:7880".to_owned(),
        signer: Signer::new("devkey", "an-api-secret-for-the-examples-only")?,
        rooms: ["hall", "kitchen", "library"].into(),
    };
    let source = TokenSource::builder(house).capacity(16).load_timeout(Duration::from_secs(5)).build();

    let alice = FetchOptions::new().with_participant_identity("alice");
    for room in ["hall", "library", "cellar"] {
        match source.fetch(&alice.clone().with_room_name(room)).await {
            Ok(credentials) => {
                let grant = credentials.claims()?.video.clone().ok_or("a token without a grant")?;
                println!("{room}: a token; may publish: {}", grant.permission().can_publish);
            }
            Err(error) => {
                let why = error.source().and_then(Error::source).map(ToString::to_string).unwrap_or_default();
                println!("{room}: no token; worth another try: {}; {why}", error.is_retryable());
            }
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the example's own shell")]
fn now() -> SystemTime {
    SystemTime::now()
}
