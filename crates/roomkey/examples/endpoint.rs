//! A token endpoint: a source that asks one over HTTP, with a session's bearer token.
//!
//! `cargo run --example endpoint` asks an endpoint that it starts on this machine; with `TOKEN_ENDPOINT_URL` set it asks
//! that one, with `TOKEN_ENDPOINT_BEARER` as the bearer token if it is set.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod backend;

use std::env;

use backend::Backend;
use roomkey::{BoxError, Endpoint, FetchErrorKind, FetchOptions};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let local = match env::var("TOKEN_ENDPOINT_URL") {
        Ok(_) => None,
        Err(_) => Some(Backend::start().await?),
    };
    let url = local.as_ref().map_or_else(|| env::var("TOKEN_ENDPOINT_URL"), |backend| Ok(backend.url()))?;
    println!("token endpoint   {url}");

    let endpoint = Endpoint::new(&url).with_bearer_for_each(|| async {
        // Called for each request, so that it may be another one each time.
        Ok(env::var("TOKEN_ENDPOINT_BEARER").unwrap_or_else(|_| "the session of the user".to_owned()))
    });
    println!("how it is asked  {endpoint:?}");
    let source = endpoint.build()?;

    let lobby =
        FetchOptions::new().with_room_name("lobby").with_participant_identity("alice").with_agent_name("helper");
    println!("the request      {}", serde_json::to_string(&lobby.to_request())?);
    let credentials = source.fetch(&lobby).await?;
    println!("the answer       {credentials:?}");
    println!("the server time  {:?}, by the answer's Date", credentials.server_time());
    let again = source.fetch(&lobby).await?;
    println!("again            the same token, and nobody was asked: {}", again == credentials);

    if let Some(backend) = &local {
        backend.go_down();
        match source.fetch_fresh(&lobby).await {
            Err(error) if error.kind() == (FetchErrorKind::Rejected { status: 503 }) => {
                println!("down             after three attempts: {error}");
            }
            other => return Err(format!("expected a rejection, got {other:?}").into()),
        }
        println!("still held       {}", source.fetch(&lobby).await? == credentials);
        backend.come_back();
        source.fetch_fresh(&lobby).await?;
        println!("back             and asked again");
    }
    Ok(())
}
