//! A peer: the script of one SDK, told what to do in JSON lines and heard in JSON lines.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use roomkey::BoxError;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::transport::Transport;

/// How long a script may take to be ready; a browser is the slowest.
const START: Duration = Duration::from_secs(60);
/// How long a command may take; the scripts give up after 20 s themselves.
const ANSWER: Duration = Duration::from_secs(25);
/// How long something may take to be seen.
const SEEN: Duration = Duration::from_secs(20);

/// Which SDK, ours among them, and how many peer connections it is to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sdk {
    RoomkeySingle,
    RoomkeyDual,
    PythonSingle,
    PythonDual,
    NodeSingle,
    NodeDual,
    ChromiumSingle,
    ChromiumDual,
    Go,
}

impl Sdk {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RoomkeySingle => "roomkey-single",
            Self::RoomkeyDual => "roomkey-dual",
            Self::PythonSingle => "python-single",
            Self::PythonDual => "python-dual",
            Self::NodeSingle => "rtc-node-single",
            Self::NodeDual => "rtc-node-dual",
            Self::ChromiumSingle => "chromium-single",
            Self::ChromiumDual => "chromium-dual",
            Self::Go => "go",
        }
    }

    pub(crate) fn mode(self) -> &'static str {
        match self {
            Self::RoomkeySingle | Self::PythonSingle | Self::NodeSingle | Self::ChromiumSingle => "single",
            Self::RoomkeyDual | Self::PythonDual | Self::NodeDual | Self::ChromiumDual | Self::Go => "dual",
        }
    }

    /// Ours reads text streams of every topic; the others' scripts read the topic `text`.
    pub(crate) fn is_roomkey(self) -> bool {
        matches!(self, Self::RoomkeySingle | Self::RoomkeyDual)
    }

    pub(crate) fn is_chromium(self) -> bool {
        matches!(self, Self::ChromiumSingle | Self::ChromiumDual)
    }

    /// The Go client has no encoder: it publishes a recorded tone and no camera.
    pub(crate) fn has_camera(self) -> bool {
        self != Self::Go
    }

    fn command(self) -> Command {
        match self {
            Self::RoomkeySingle | Self::RoomkeyDual => Command::new(beside_this_program("roomkey-peer")),
            Self::PythonSingle | Self::PythonDual => python("room.py"),
            Self::NodeSingle | Self::NodeDual => node("node/room.mjs"),
            Self::ChromiumSingle | Self::ChromiumDual => node("browser/room.mjs"),
            Self::Go => Command::new(built("ROOMKEY_GO_PEER", "go/peer")),
        }
    }
}

/// Another program of this crate, as cargo builds it.
fn beside_this_program(name: &str) -> PathBuf {
    std::env::current_exe().unwrap_or_default().with_file_name(name).with_extension(std::env::consts::EXE_EXTENSION)
}

fn scripts() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/interop"))
}

/// What `tests/interop/setup` put below `target/interop`, or what a variable names instead.
fn built(variable: &str, below: &str) -> PathBuf {
    let target = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/interop"));
    std::env::var_os(variable).map_or_else(|| target.join(below), PathBuf::from)
}

/// A script in the environment of the Python SDK.
pub(crate) fn python(script: &str) -> Command {
    let mut command = Command::new(built("ROOMKEY_PYTHON", "python/bin/python"));
    command.arg(scripts().join("python").join(script));
    command
}

/// A script in the environment of the Python agents, which want another version of the SDK.
pub(crate) fn agents(script: &str) -> Command {
    let mut command = Command::new(built("ROOMKEY_AGENTS_PYTHON", "agents/bin/python"));
    command.arg(scripts().join("agents").join(script));
    command
}

pub(crate) fn node(script: &str) -> Command {
    let mut command = Command::new(std::env::var_os("ROOMKEY_NODE").unwrap_or_else(|| "node".into()));
    command.arg(scripts().join(script));
    command
}

#[derive(Default)]
struct Heard {
    answers: HashMap<u64, Value>,
    seen: Vec<Value>,
    ended: bool,
}

/// A running script; it ends when this is dropped.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) identity: String,
    stdin: Mutex<Option<ChildStdin>>,
    heard: Arc<(Mutex<Heard>, Notify)>,
    next: Mutex<u64>,
    _child: Child,
}

impl Peer {
    /// Starts a peer of `sdk` that is to join as `identity`.
    pub(crate) async fn start(sdk: Sdk, identity: &str, transport: Transport) -> Result<Self, BoxError> {
        let mut command = sdk.command();
        if sdk.is_roomkey() {
            command.arg(transport.to_string());
        }
        Self::spawn(sdk.name(), identity, command).await
    }

    /// Starts `command` and waits until it is ready.
    pub(crate) async fn spawn(name: &'static str, identity: &str, mut command: Command) -> Result<Self, BoxError> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(if std::env::var_os("ROOMKEY_VERBOSE").is_some() { Stdio::inherit() } else { Stdio::null() })
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{name} did not start ({error}): tests/interop/setup installs it"))?;
        let heard = Arc::new((Mutex::new(Heard::default()), Notify::new()));
        tokio::spawn(listen(child.stdout.take().ok_or("no stdout")?, Arc::clone(&heard)));
        let peer = Self {
            name,
            identity: identity.to_owned(),
            stdin: Mutex::new(child.stdin.take()),
            heard,
            next: Mutex::new(0),
            _child: child,
        };
        peer.sees_within("ready", |_| true, START).await?;
        Ok(peer)
    }

    /// Tells the script to do something and waits for its answer.
    pub(crate) async fn does(&self, what: &str, mut arguments: Value) -> Result<Value, BoxError> {
        let id = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            *next += 1;
            *next
        };
        arguments["id"] = json!(id);
        arguments["do"] = json!(what);
        let mut stdin =
            self.stdin.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or("one command at a time")?;
        let written = stdin.write_all(format!("{arguments}\n").as_bytes()).await;
        *self.stdin.lock().unwrap_or_else(PoisonError::into_inner) = Some(stdin);
        written?;
        let answer = self
            .hears(ANSWER, |heard| heard.answers.remove(&id))
            .await
            .map_err(|why| format!("{}: {what} got no answer ({why})", self.identity))?;
        match answer.get("error") {
            Some(error) => Err(format!("{}: {what} failed: {error}", self.identity).into()),
            None => Ok(answer["ok"].clone()),
        }
    }

    /// Waits until the script has seen something that is so; each thing is told once.
    pub(crate) async fn sees(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Result<Value, BoxError> {
        self.sees_within(what, is_it, SEEN).await
    }

    pub(crate) async fn sees_within(
        &self,
        what: &str,
        is_it: impl Fn(&Value) -> bool,
        bound: Duration,
    ) -> Result<Value, BoxError> {
        let found = self.hears(bound, |heard| {
            let at = heard.seen.iter().position(|seen| seen["saw"] == what && is_it(seen))?;
            Some(heard.seen.remove(at))
        });
        let missing = |why| format!("{} ({}) never saw {what} ({why}); {}", self.identity, self.name, self.leftovers());
        Ok(found.await.map_err(missing)?)
    }

    /// All of one kind that was seen and not asked for yet.
    pub(crate) fn take(&self, what: &str) -> Vec<Value> {
        let mut heard = self.heard.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (taken, kept) = std::mem::take(&mut heard.seen).into_iter().partition(|seen| seen["saw"] == what);
        heard.seen = kept;
        taken
    }

    async fn hears<T>(&self, bound: Duration, find: impl Fn(&mut Heard) -> Option<T>) -> Result<T, &'static str> {
        let (heard, more) = &*self.heard;
        timeout(bound, async {
            loop {
                let notified = more.notified();
                {
                    let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(found) = find(&mut heard) {
                        return Ok(found);
                    }
                    if heard.ended {
                        return Err("the script ended");
                    }
                }
                notified.await;
            }
        })
        .await
        .unwrap_or(Err("in time"))
    }

    /// What else was seen, for the table.
    fn leftovers(&self) -> String {
        let heard = self.heard.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = "it saw".to_owned();
        for seen in heard.seen.iter().rev().take(6) {
            write!(text, " {seen}").ok();
        }
        text
    }
}

async fn listen(stdout: ChildStdout, heard: Arc<(Mutex<Heard>, Notify)>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(line) = serde_json::from_str::<Value>(&line) else { continue };
        let mut state = heard.0.lock().unwrap_or_else(PoisonError::into_inner);
        match line["id"].as_u64() {
            Some(id) => drop(state.answers.insert(id, line)),
            None => state.seen.push(line),
        }
        drop(state);
        heard.1.notify_waiters();
    }
    heard.0.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
    heard.1.notify_waiters();
}
