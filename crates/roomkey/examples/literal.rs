//! Credentials that are there already, and a function that is called each time: sources without options.
//!
//! `cargo run --example literal`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use roomkey::{BoxError, Credentials, FetchError, FixedTokenSource, TokenSource};

/// What takes a source need not know which kind it is.
async fn join(source: &FixedTokenSource) -> Result<(), FetchError> {
    let credentials = source.fetch().await?;
    println!("  would join {} with {credentials:?}", credentials.server_url());
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    println!("literal: a token from a configuration, given each time, expired or not");
    let literal = TokenSource::literal(Credentials::new("ws://localhost:7880", "a token that somebody made by hand"));
    join(&literal).await?;
    join(&literal).await?;

    println!("literal_with: a function, called each time; nothing is held");
    let counter = Arc::new(AtomicU32::new(0));
    let called = Arc::clone(&counter);
    let literal_with = TokenSource::literal_with(move || {
        let call = called.fetch_add(1, Ordering::Relaxed) + 1;
        async move { Ok(Credentials::new("ws://localhost:7880", format!("token number {call}"))) }
    });
    join(&literal_with).await?;
    join(&literal_with).await?;
    println!("  the function was called {} times", counter.load(Ordering::Relaxed));
    Ok(())
}
