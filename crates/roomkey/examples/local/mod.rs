//! What the examples of rooms and sessions run against: a dev server of their own with its echo agent, or what the command
//! line names.
//!
//! `--token-endpoint URL` is a token endpoint, as LiveKit specifies it; `--url URL` a server that stands in for the one that
//! the endpoint names. `--room NAME` names the room.

#![allow(dead_code, reason = "each example uses its part")]

use std::env;
use std::time::Duration;

use roomkey::{BoxError, Credentials, FetchOptions, TokenResponse, TokenSource};
use roomkey_dev_server::{Config, DevServer};

/// A server and a token backend; those of the example's own stop when this is dropped.
pub(crate) struct Local {
    server: Option<DevServer>,
    url: Option<String>,
    token_endpoint: String,
    room: String,
}

impl Local {
    pub(crate) async fn start() -> Result<Self, BoxError> {
        let (url, token_endpoint) = (argument("--url"), argument("--token-endpoint"));
        let room = argument("--room").unwrap_or_else(|| "quickstart".to_owned());
        if let Some(token_endpoint) = token_endpoint {
            return Ok(Self { server: None, url, token_endpoint, room });
        }
        if url.is_some() {
            return Err("--url needs a --token-endpoint that gives tokens for it".into());
        }
        let server = DevServer::bind(Config::new().with_echo_agent(true)).await?;
        let token_endpoint = format!("http://{}/api/v2/sandbox/connection-details", server.address());
        Ok(Self { server: Some(server), url, token_endpoint, room })
    }

    /// Whether the server and its agent are the example's own.
    pub(crate) fn is_own(&self) -> bool {
        self.server.is_some()
    }

    pub(crate) fn room(&self) -> &str {
        &self.room
    }

    pub(crate) fn options(&self, identity: &str) -> FetchOptions {
        FetchOptions::new()
            .with_room_name(&self.room)
            .with_participant_identity(identity)
            .with_participant_name(identity)
    }

    /// An application's own token function, as a source.
    pub(crate) fn token_source(&self) -> TokenSource {
        // Loopback and a token endpoint of one's choice: no redirects.
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("the settings are good");
        let state = (http, self.token_endpoint.clone(), self.url.clone());
        TokenSource::custom_with(state, |(http, endpoint, url), options| async move {
            let answer = http.post(endpoint).json(&options.to_request()).send().await?.error_for_status()?;
            let answer: TokenResponse = answer.json().await?;
            let server_url = url.unwrap_or_else(|| answer.server_url.clone());
            Ok(Credentials::new(server_url, answer.participant_token()))
        })
    }

    pub(crate) async fn stop(self) {
        if let Some(server) = self.server {
            server.shutdown().await;
        }
    }
}

/// The value of an option of the command line.
pub(crate) fn argument(name: &str) -> Option<String> {
    let mut arguments = env::args().skip_while(|argument| argument != name);
    arguments.next()?;
    arguments.next()
}

/// reqwest leaves the choice of a cryptography provider for https to the application.
pub(crate) fn install_tls() -> Result<(), BoxError> {
    rustls::crypto::ring::default_provider().install_default().map_err(|_| "a TLS provider is installed already".into())
}
