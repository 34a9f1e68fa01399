//! The server that the rows run against: one that runs, or `roomkey dev` that we start and stop.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use roomkey::token::{AccessToken, Signer, VideoGrant};
use roomkey::{BoxError, RoomConfiguration};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::transport::Transport;

/// Where it is, and what its tokens are signed with.
pub(crate) struct Server {
    pub(crate) url: String,
    key: String,
    secret: String,
    /// How media of our client goes to it.
    pub(crate) transport: Transport,
    _child: Option<Child>,
}

impl Server {
    pub(crate) fn running(url: String, key: String, secret: String) -> Self {
        Self { url, key, secret, transport: Transport::Any, _child: None }
    }

    /// Starts `roomkey dev`; it ends when this is dropped.
    pub(crate) async fn start(roomkey: &Path, extra: &[&str]) -> Result<Self, BoxError> {
        let mut child = Command::new(roomkey)
            .stdin(Stdio::null())
            .args(["dev", "--port", "0", "--json"])
            .args(extra)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no stdout")?).lines();
        let line = timeout(Duration::from_secs(10), lines.next_line()).await??.ok_or("roomkey dev ended at once")?;
        let first: Value = serde_json::from_str(&line)?;
        let url = first["url"].as_str().ok_or("roomkey dev did not say where it is")?.to_owned();
        tokio::spawn(async move {
            let verbose = std::env::var_os("ROOMKEY_VERBOSE").is_some();
            while let Ok(Some(line)) = lines.next_line().await {
                if verbose {
                    println!("{line}");
                }
            }
        });
        Ok(Self {
            url,
            key: "devkey".to_owned(),
            secret: "secret".to_owned(),
            transport: Transport::Any,
            _child: Some(child),
        })
    }

    pub(crate) fn with_transport(self, transport: Transport) -> Self {
        Self { transport, ..self }
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }

    /// A token for `identity` in `room`, which may change its own attributes.
    pub(crate) fn token(
        &self,
        room: &str,
        identity: &str,
        config: Option<RoomConfiguration>,
    ) -> Result<String, BoxError> {
        let mut grant = VideoGrant::join(room);
        grant.can_update_own_metadata = Some(true);
        let mut token = AccessToken::new(identity).with_video(grant).with_ttl(Duration::from_secs(600));
        if let Some(config) = config {
            token = token.with_room_config(config);
        }
        let signer = Signer::builder(&self.key, &self.secret).allow_weak_secret().build()?;
        Ok(token.sign(&signer, now())?.into())
    }
}

#[expect(clippy::disallowed_methods, reason = "peers read the real time")]
fn now() -> SystemTime {
    SystemTime::now()
}
