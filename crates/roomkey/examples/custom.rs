//! The main job: an application's own token function, as a source that holds tokens and renews them.
//!
//! `cargo run --example custom` starts a token backend of its own on this machine and shows what happens, a line a step.
//! With `TOKEN_BACKEND_URL` set it asks that backend instead: any that takes LiveKit's token request by `POST`. It then
//! leaves out the steps in which the backend has to misbehave, and verifies tokens if `LIVEKIT_API_KEY` and
//! `LIVEKIT_API_SECRET` are set.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod backend;

use std::env;
use std::time::{Duration, SystemTime};

use backend::Backend;
use reqwest::StatusCode;
use roomkey::{BoxError, Credentials, FetchOptions, ProviderError, TokenResponse, TokenSource};
use roomkey_token::{JoinLimits, Verifier};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // reqwest leaves the choice of a cryptography provider for https to the application.
    rustls::crypto::ring::default_provider().install_default().map_err(|_| "a TLS provider is installed already")?;
    let local = match env::var("TOKEN_BACKEND_URL") {
        Ok(_) => None,
        Err(_) => Some(Backend::start().await?),
    };
    let url = local.as_ref().map_or_else(|| env::var("TOKEN_BACKEND_URL"), |backend| Ok(backend.url()))?;
    println!("token backend    {url}");

    let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
    let source = TokenSource::custom_with((http, url), |(http, url), options| async move {
        println!("   -> backend asked for {}", options.room_name().unwrap_or("any room"));
        my_token_backend(&http, &url, &options).await
    });

    let support = FetchOptions::new().with_room_name("support").with_participant_identity("alice");
    let first = source.fetch(&support).await?;
    println!("fetched          room support: nothing was held, so the backend was asked; token {}", expiry(&first));

    let again = source.fetch(&support).await?;
    same(&first, &again)?;
    println!("reused           room support again: the token held is good for equal options, nobody was asked");

    let sales = support.clone().with_room_name("sales");
    let other = source.fetch(&sales).await?;
    different(&first, &other)?;
    println!("fetched          room sales: other options, another token");

    same(&first, &source.fetch(&support).await?)?;
    println!("reused           room support: still held beside that of sales");

    source.invalidate(&support);
    let new = source.fetch(&support).await?;
    println!("fetched          room support after invalidate(): what is held no longer counts");

    if let Some(backend) = &local {
        let short = support.clone().with_room_name("short");
        let old = source.fetch(&short).await?;
        println!("fetched          room short: its tokens live for 4 seconds; token {}", expiry(&old));
        same(&old, &source.fetch(&short).await?)?;
        println!("reused           room short: for three quarters of its life, which is 3 seconds");
        tokio::time::sleep(Duration::from_millis(3_200)).await;
        let renewed = source.fetch(&short).await?;
        different(&old, &renewed)?;
        println!("fetched          room short 3.2 s later: the old token had entered its last quarter");

        backend.go_down();
        same(&new, &source.fetch(&support).await?)?;
        println!("reused           room support while the backend is down: nobody was asked");
        let failed = source.fetch_fresh(&support).await;
        let Err(error) = failed else { return Err("the backend is down, and gave a token".into()) };
        println!(
            "failed           a fresh one is not to be had: {error} (worth another try: {})",
            error.is_retryable()
        );
        same(&new, &source.fetch(&support).await?)?;
        println!("reused           room support: the failure cost nothing that was held");
        backend.come_back();
    }

    let keys = match &local {
        Some(_) => Some((backend::API_KEY.to_owned(), backend::API_SECRET.to_owned())),
        None => env::var("LIVEKIT_API_KEY").ok().zip(env::var("LIVEKIT_API_SECRET").ok()),
    };
    match keys {
        Some((key, secret)) => {
            let claims = Verifier::new().with_key(key, &secret).verify(new.participant_token(), now())?;
            let grant = claims.check_join(&JoinLimits::default())?;
            println!("verified         as livekit-server would: {} may join {}", claims.identity(), grant.room);
        }
        None => println!("not verified     set LIVEKIT_API_KEY and LIVEKIT_API_SECRET for that"),
    }
    println!("to join          connect to {} with the token", new.server_url());
    Ok(())
}

/// The application's own token function: it asks its backend, and says which failures are worth another try.
async fn my_token_backend(http: &reqwest::Client, url: &str, options: &FetchOptions) -> Result<Credentials, BoxError> {
    let answer = http.post(url).json(&options.to_request()).send().await.map_err(ProviderError::transient)?;
    let answer = match answer.error_for_status() {
        Ok(answer) => answer,
        Err(error)
            if error
                .status()
                .is_some_and(|status| status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS) =>
        {
            return Err(ProviderError::transient(error).into());
        }
        Err(error) if matches!(error.status().map(|status| status.as_u16()), Some(401 | 403)) => {
            return Err(ProviderError::auth(error).into());
        }
        Err(error) => return Err(ProviderError::permanent(error).into()),
    };
    let response: TokenResponse = answer.json().await.map_err(ProviderError::transient)?;
    Ok(Credentials::from(response))
}

#[expect(clippy::disallowed_methods, reason = "the example's own shell")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn expiry(credentials: &Credentials) -> String {
    match credentials.expires_at().map(|at| at.duration_since(now()).unwrap_or_default()) {
        Some(left) => format!("expires in {:.0} s", left.as_secs_f64().ceil()),
        None => "does not say when it expires".to_owned(),
    }
}

fn same(one: &Credentials, other: &Credentials) -> Result<(), BoxError> {
    if one == other { Ok(()) } else { Err("expected the same token".into()) }
}

fn different(one: &Credentials, other: &Credentials) -> Result<(), BoxError> {
    if one == other { Err("expected another token".into()) } else { Ok(()) }
}
