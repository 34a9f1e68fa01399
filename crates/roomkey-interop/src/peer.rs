//! Running a peer's script.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use roomkey::BoxError;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

/// How long a script may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn scripts() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/interop"))
}

fn interpreter(variable: &str, default: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| default.to_owned())
}

/// Runs a command of the Node script.
pub(crate) async fn node(command: &str, input: &Value) -> Result<Value, BoxError> {
    let mut node = Command::new(interpreter("ROOMKEY_NODE", "node"));
    node.arg(scripts().join("node/peer.mjs")).arg(command);
    run(node, input).await
}

/// Runs a command of the Python script.
pub(crate) async fn python(command: &str, input: &Value) -> Result<Value, BoxError> {
    let mut python = Command::new(interpreter("ROOMKEY_PYTHON", "python3"));
    python.arg(scripts().join("python/peer.py")).arg(command);
    run(python, input).await
}

/// Gives a script its input and reads its output, both JSON.
async fn run(mut command: Command, input: &Value) -> Result<Value, BoxError> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let mut stdin = child.stdin.take().ok_or("no stdin")?;
    stdin.write_all(input.to_string().as_bytes()).await?;
    drop(stdin);
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await??;
    if !output.status.success() {
        return Err(format!("the peer ended with {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Express with livekit-server-sdk as a token endpoint; it ends when this is dropped.
pub(crate) struct ExpressEndpoint {
    pub(crate) url: String,
    _child: Child,
}

impl ExpressEndpoint {
    pub(crate) async fn start(input: &Value) -> Result<Self, BoxError> {
        let mut child = Command::new(interpreter("ROOMKEY_NODE", "node"))
            .arg(scripts().join("node/peer.mjs"))
            .args(["endpoint", &input.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no stdout")?).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await??.ok_or("the endpoint did not start")?;
        let started: Value = serde_json::from_str(&line)?;
        let url = started["url"].as_str().ok_or("the endpoint did not say where it is")?.to_owned();
        Ok(Self { url, _child: child })
    }
}
