//! A token backend for the examples: an HTTP server on this machine that mints with LiveKit's own `livekit-token`.

#![allow(dead_code, reason = "each example uses its part")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use livekit_token::{AccessToken, VideoGrants};
use roomkey::{BoxError, TokenRequest, TokenResponse};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(crate) const API_KEY: &str = "devkey";
pub(crate) const API_SECRET: &str = "an-api-secret-for-the-examples-only";

/// A running backend; it stops when it is dropped.
pub(crate) struct Backend {
    address: SocketAddr,
    is_down: Arc<AtomicBool>,
    server: JoinHandle<()>,
}

impl Backend {
    pub(crate) async fn start() -> Result<Self, BoxError> {
        let is_down = Arc::new(AtomicBool::new(false));
        let router = Router::new().route("/token", post(give_token)).with_state(Arc::clone(&is_down));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(async move {
            // It ends with the example, so that there is nobody to tell of an error.
            axum::serve(listener, router).await.ok();
        });
        Ok(Self { address, is_down, server })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/token", self.address)
    }

    pub(crate) fn go_down(&self) {
        self.is_down.store(true, Ordering::Relaxed);
    }

    pub(crate) fn come_back(&self) {
        self.is_down.store(false, Ordering::Relaxed);
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn give_token(
    State(is_down): State<Arc<AtomicBool>>,
    Json(request): Json<TokenRequest>,
) -> Result<(StatusCode, Json<TokenResponse>), StatusCode> {
    if is_down.load(Ordering::Relaxed) {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    let lifetime = if request.room_name == "short" { 4 } else { 600 };
    let token = AccessToken::with_api_key(API_KEY, API_SECRET)
        .with_ttl(Duration::from_secs(lifetime))
        .with_identity(&request.participant_identity)
        .with_grants(VideoGrants { room_join: true, room: request.room_name, ..VideoGrants::default() })
        .to_jwt()
        .map_err(|_| StatusCode::BAD_REQUEST)?;
    Ok((StatusCode::CREATED, Json(TokenResponse::new("ws://localhost:7880", token))))
}
