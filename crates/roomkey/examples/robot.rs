//! A device that stays joined: one source bound to its room, renewed ahead, and what it does when the server refuses.
//!
//! `cargo run --example robot` runs a few joins against a server that this example only plays.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod backend;

use std::time::{Duration, SystemTime};

use backend::Backend;
use roomkey::{BoxError, Credentials, Endpoint, FetchOptions, FixedTokenSource};

/// What a join comes to: `livekit::Room::connect` and its `401`, in a real robot.
#[derive(Debug, PartialEq)]
enum Join {
    Joined,
    Refused,
}

/// Plays a server that refuses one token, as one does whose key was rotated.
fn join(credentials: &Credentials, refused: Option<&Credentials>) -> Join {
    if refused == Some(credentials) { Join::Refused } else { Join::Joined }
}

/// Joins, and if the token is refused, once more with another one.
async fn stay_joined(source: &FixedTokenSource, refused: Option<&Credentials>) -> Result<Credentials, BoxError> {
    let credentials = source.fetch().await?;
    if join(&credentials, refused) == Join::Joined {
        println!("joined           with a token that expires in {} s", left(&credentials));
        return Ok(credentials);
    }
    println!("refused          although it has not expired: another token, once");
    let another = source.fetch_after_rejection(&credentials).await?;
    if join(&another, refused) == Join::Joined { Ok(another) } else { Err("it is not the token that is wrong".into()) }
}

#[expect(clippy::disallowed_methods, reason = "the example's own shell")]
fn left(credentials: &Credentials) -> u64 {
    let left = credentials.expires_at().and_then(|at| at.duration_since(SystemTime::now()).ok());
    left.unwrap_or_default().as_secs_f64().ceil() as u64
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let backend = Backend::start().await?;
    let source = Endpoint::new(backend.url())
        .into_builder()?
        // Tokens of this backend's room "short" live for 4 seconds; a robot's would live for longer.
        .refresh_ahead(Duration::from_secs(2))
        .build();
    let options = FetchOptions::new().with_room_name("short").with_participant_identity("robot-7");
    let robot = source.bind(options.clone());

    let first = stay_joined(&robot, None).await?;
    println!("connection lost  join again: the token held is good");
    stay_joined(&robot, None).await?;
    println!("key rotated      the server refuses the token held");
    // Tokens are minted to the second, and the next one has to be another.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    stay_joined(&robot, Some(&first)).await?;

    println!("watching         three renewals that nobody asks for");
    let mut watch = source.watch(options);
    for _ in 0..3 {
        let credentials = watch.next().await?;
        println!("                 a token that expires in {} s", left(&credentials));
    }
    Ok(())
}
