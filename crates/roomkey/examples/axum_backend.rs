//! A backend of one's own that hands tokens to browsers: who is logged in decides about the identity, the backend about the
//! rest, and nothing that a client asks for is signed unless the backend has chosen it.
//!
//! `cargo run --example axum_backend` starts it on this machine, asks it as a client would, and ends. A whole token
//! endpoint, with limits and rotation, is a crate of its own to come.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use roomkey::{BoxError, Endpoint, FetchErrorKind, FetchOptions, RoomAgentDispatch, RoomConfiguration};
use roomkey::{TokenRequest, TokenResponse, VideoGrant};
use roomkey_token::{AccessToken, JoinLimits, Signer, Verifier};

const API_KEY: &str = "devkey";
const API_SECRET: &str = "an-api-secret-for-the-examples-only";

/// The rooms that exist, and the agent that the help room may have.
const ROOMS: [&str; 2] = ["lobby", "help"];
const HELPER: &str = "helper";

/// Who a session belongs to; a real backend asks its own store.
fn user_of(headers: &HeaderMap) -> Option<&'static str> {
    match headers.get("authorization")?.to_str().ok()? {
        "Bearer the session of alice" => Some("alice"),
        _ => None,
    }
}

async fn give_token(
    State(signer): State<Arc<Signer>>,
    headers: HeaderMap,
    Json(request): Json<TokenRequest>,
) -> Result<(StatusCode, Json<TokenResponse>), StatusCode> {
    let user = user_of(&headers).ok_or(StatusCode::UNAUTHORIZED)?;
    // The identity is the session's. One that the client asks for must be that one.
    if !request.participant_identity.is_empty() && request.participant_identity != user {
        return Err(StatusCode::FORBIDDEN);
    }
    let room = ROOMS.into_iter().find(|room| *room == request.room_name).ok_or(StatusCode::NOT_FOUND)?;

    let mut token = AccessToken::new(user)
        .with_name(request.participant_name)
        .with_video(VideoGrant::join(room))
        .with_ttl(Duration::from_secs(15 * 60));
    // Never the configuration of the request: it could start recordings. What may be asked for is rebuilt.
    let wants_helper = request.room_config.agents.iter().any(|agent| agent.agent_name == HELPER);
    if room == "help" && wants_helper {
        token = token.with_room_config(RoomConfiguration::new().with_agent(RoomAgentDispatch::new(HELPER)));
    }
    let token = token.sign(&signer, now()).map_err(|_| StatusCode::BAD_REQUEST)?;
    Ok((StatusCode::CREATED, Json(TokenResponse::new("ws://localhost:7880", token))))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let router =
        Router::new().route("/token", post(give_token)).with_state(Arc::new(Signer::new(API_KEY, API_SECRET)?));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("http://{}/token", listener.local_addr()?);
    println!("listening        {url}");
    let server = tokio::spawn(async move { axum::serve(listener, router).await });

    let source =
        Endpoint::new(&url).with_bearer_for_each(|| async { Ok("the session of alice".to_owned()) }).build()?;
    let help = FetchOptions::new().with_room_name("help").with_agent_name(HELPER);
    let credentials = source.fetch(&help).await?;
    let claims = Verifier::new().with_key(API_KEY, API_SECRET).verify(credentials.participant_token(), now())?;
    let room = &claims.check_join(&JoinLimits::default())?.room;
    println!("alice            may join {room}, with an agent: {}", claims.dispatches_agent());

    for (what, options) in [
        ("bob's identity", help.clone().with_participant_identity("bob")),
        ("another room", FetchOptions::new().with_room_name("cellar")),
    ] {
        println!("{what:<16} {}", refusal(source.fetch(&options).await)?);
    }
    let nobody = Endpoint::new(&url).build()?;
    println!("nobody           {}", refusal(nobody.fetch(&help).await)?);
    server.abort();
    Ok(())
}

fn refusal<T>(fetched: Result<T, roomkey::FetchError>) -> Result<String, BoxError> {
    match fetched {
        Err(error) if matches!(error.kind(), FetchErrorKind::Rejected { .. }) => Ok(error.to_string()),
        Err(error) => Err(error.into()),
        Ok(_) => Err("expected a refusal".into()),
    }
}

#[expect(clippy::disallowed_methods, reason = "the example's own shell")]
fn now() -> SystemTime {
    SystemTime::now()
}
