//! The server that gets the load: `roomkey dev` that we start and stop, or one that runs.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use roomkey::BoxError;
use roomkey::token::{AccessToken, Signer, VideoGrant};
use roomkey_signal::{ParticipantToken, ServerUrl};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::{clock, process};

pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) url: ServerUrl,
    pub(crate) pid: u32,
    /// From the start of the process until it said that it listens.
    pub(crate) started_in: Duration,
    signer: Signer,
    events: Arc<Mutex<HashMap<String, u64>>>,
    _child: Option<Child>,
}

impl Server {
    pub(crate) fn running(url: &str, pid: u32, key: &str, secret: &str) -> Result<Self, BoxError> {
        Self::new("peer", url, pid, key, secret)
    }

    fn new(name: &'static str, url: &str, pid: u32, key: &str, secret: &str) -> Result<Self, BoxError> {
        Ok(Self {
            name,
            url: ServerUrl::parse(url)?,
            pid,
            started_in: Duration::ZERO,
            signer: Signer::builder(key, secret).allow_weak_secret().build()?,
            events: Arc::default(),
            _child: None,
        })
    }

    /// Starts `roomkey dev`; it ends when this is dropped.
    pub(crate) async fn start(roomkey: &Path) -> Result<Self, BoxError> {
        let since = clock::now();
        let mut child = Command::new(roomkey)
            .stdin(Stdio::null())
            .args(["dev", "--port", "0", "--json"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no stdout")?).lines();
        let line = timeout(Duration::from_secs(10), lines.next_line()).await??.ok_or("roomkey dev ended at once")?;
        let started_in = since.elapsed();
        let first: Value = serde_json::from_str(&line)?;
        let url = first["url"].as_str().ok_or("roomkey dev did not say where it is")?;
        let mut server = Self::new("roomkey", url, child.id().ok_or("it ended")?, "devkey", "secret")?;
        (server.started_in, server._child) = (started_in, Some(child));
        let events = Arc::clone(&server.events);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let event = serde_json::from_str::<Value>(&line).ok();
                if let Some(name) = event.as_ref().and_then(|event| event["event"].as_str()) {
                    *events.lock().expect("no holder panics").entry(name.to_owned()).or_default() += 1;
                }
            }
        });
        Ok(server)
    }

    pub(crate) fn token(&self, room: &str, identity: &str) -> Result<ParticipantToken, BoxError> {
        let token = AccessToken::new(identity).with_video(VideoGrant::join(room)).with_ttl(Duration::from_secs(3600));
        Ok(ParticipantToken::new(String::from(token.sign(&self.signer, clock::wall())?)))
    }

    pub(crate) fn rss(&self) -> Result<u64, BoxError> {
        process::rss(self.pid)
    }

    /// How often `roomkey dev` told of an event of this name.
    pub(crate) fn events(&self, name: &str) -> u64 {
        self.events.lock().expect("no holder panics").get(name).copied().unwrap_or_default()
    }

    pub(crate) fn rooms(&self) -> u64 {
        self.events("room_started").saturating_sub(self.events("room_finished"))
    }

    /// Whether all rooms went away within `patience`.
    pub(crate) async fn is_empty_within(&self, patience: Duration) -> bool {
        let since = clock::now();
        while self.rooms() > 0 && since.elapsed() < patience {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.rooms() == 0
    }
}
