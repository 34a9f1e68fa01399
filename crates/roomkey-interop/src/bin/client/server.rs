//! The server that is measured against: `roomkey dev` that we start and stop, or one that runs.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use roomkey::BoxError;
use roomkey::token::{AccessToken, Signer, VideoGrant};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::transport::Transport;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A server that runs.
    #[arg(long, conflicts_with = "roomkey", required_unless_present = "roomkey")]
    url: Option<String>,
    #[arg(long, default_value = "devkey")]
    key: String,
    #[arg(long, default_value = "secret")]
    secret: String,
    /// The `roomkey` binary; its `dev` is started.
    #[arg(long)]
    roomkey: Option<PathBuf>,
    /// Which paths our client's media may take; Python's takes any.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) transport: Transport,
}

pub(crate) struct Server {
    pub(crate) url: String,
    signer: Signer,
    _child: Option<Child>,
}

impl Server {
    pub(crate) async fn start(arguments: &Arguments) -> Result<Self, BoxError> {
        let signer = |key: &str, secret: &str| Signer::builder(key, secret).allow_weak_secret().build();
        if let Some(url) = &arguments.url {
            let signer = signer(&arguments.key, &arguments.secret)?;
            return Ok(Self { url: url.clone(), signer, _child: None });
        }
        let roomkey = arguments.roomkey.as_ref().ok_or("--url or --roomkey")?;
        let mut child = Command::new(roomkey)
            .stdin(Stdio::null())
            .args(["dev", "--port", "0", "--json", "--agent", "echo"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no stdout")?).lines();
        let line = timeout(Duration::from_secs(10), lines.next_line()).await??.ok_or("roomkey dev ended at once")?;
        let first: Value = serde_json::from_str(&line)?;
        let url = first["url"].as_str().ok_or("roomkey dev did not say where it is")?.to_owned();
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { url, signer: signer("devkey", "secret")?, _child: Some(child) })
    }

    #[expect(clippy::disallowed_methods, reason = "a token is of its time")]
    pub(crate) fn token(&self, room: &str, identity: &str) -> Result<String, BoxError> {
        let token = AccessToken::new(identity).with_video(VideoGrant::join(room)).with_ttl(Duration::from_secs(3600));
        Ok(String::from(token.sign(&self.signer, SystemTime::now())?))
    }
}
