//! The table: each measurement ours and Python's, one after the other.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use roomkey::BoxError;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::server::{Arguments, Server};
use crate::worker::MESSAGE;

const PATIENCE: Duration = Duration::from_secs(120);

/// Whose client is measured.
#[derive(Clone, Copy)]
enum Client<'a> {
    Ours,
    Python(&'a Path),
}

struct Worker {
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Worker {
    async fn start(client: Client<'_>, mode: &str, task: &Value) -> Result<Self, BoxError> {
        let mut command = match client {
            Client::Ours => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["worker", mode]);
                command
            }
            Client::Python(python) => {
                let mut command = Command::new(python);
                command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/interop/python/bench.py")).arg(mode);
                command
            }
        };
        let stderr = if std::env::var_os("ROOMKEY_VERBOSE").is_some() { Stdio::inherit() } else { Stdio::null() };
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr).kill_on_drop(true).spawn()?;
        let mut stdin = child.stdin.take().ok_or("no stdin")?;
        stdin.write_all(format!("{task}\n").as_bytes()).await?;
        let lines = BufReader::new(child.stdout.take().ok_or("no stdout")?).lines();
        Ok(Self { stdin: Some(stdin), lines, _child: child })
    }

    /// What it says next.
    async fn says(&mut self) -> Result<Value, BoxError> {
        let line = timeout(PATIENCE, self.lines.next_line()).await??.ok_or("a worker ended without a word")?;
        Ok(serde_json::from_str(&line)?)
    }

    /// Tells one that serves another to stop.
    fn stop(&mut self) {
        self.stdin = None;
    }
}

async fn measure(client: Client<'_>, mode: &str, task: &Value) -> Result<Value, BoxError> {
    Worker::start(client, mode, task).await?.says().await
}

pub(crate) async fn run(arguments: &Arguments, python: Option<&Path>, only: Option<&str>) -> Result<(), BoxError> {
    let server = Server::start(arguments).await?;
    let wants = |name: &str| only.is_none_or(|only| name.contains(only));
    println!("{:<58} {:>12} {:>12} {:>8}", "", "roomkey", "python", "ratio");
    let clients = || [Some(Client::Ours), python.map(Client::Python)];
    let task = |tokens: &[String], seconds: u64| {
        let transport = arguments.transport.to_string();
        json!({ "url": server.url, "tokens": tokens, "seconds": seconds, "transport": transport })
    };
    let one = |room: &str, identity: &str| server.token(room, identity).map(|token| vec![token]);

    if wants("connect") {
        let (mut found, mut published) = ([None, None], [None, None]);
        for (index, client) in clients().into_iter().enumerate() {
            let Some(client) = client else { continue };
            let tokens: Result<Vec<_>, _> =
                (0..21).map(|number| server.token(&format!("connect-{index}-{number}"), "alice")).collect();
            let result = measure(client, "connect", &task(&tokens?, 0)).await?;
            found[index] = Some(times(&result, "milliseconds")?);
            published[index] = Some(times(&result, "published")?);
        }
        row("connect, process warm, p50 of 20, ms", found.each_ref().map(|times| quantile(times.as_deref(), 0.5)));
        row("connect, p95, ms", found.each_ref().map(|times| quantile(times.as_deref(), 0.95)));
        row("connect and publish, p50, ms", published.each_ref().map(|times| quantile(times.as_deref(), 0.5)));
    }
    if wants("idle") {
        let (mut memory, mut one_more, mut cpu) = ([None, None], [None, None], [None, None]);
        for (index, client) in clients().into_iter().enumerate() {
            let Some(client) = client else { continue };
            let tokens: Result<Vec<_>, _> =
                (0..50).map(|number| server.token(&format!("idle-{index}-{number}"), "alice")).collect();
            let tokens = tokens?;
            let few = measure(client, "idle", &task(&tokens[..10], 1)).await?;
            let result = measure(client, "idle", &task(&tokens, 10)).await?;
            memory[index] = Some(number(&result, "rss")? / 1000.0);
            one_more[index] = Some((number(&result, "rss")? - number(&few, "rss")?) / 40.0);
            cpu[index] = Some(number(&result, "cpu")? * 1000.0 / 500.0);
        }
        row("50 idle sessions in one process, MB", memory);
        row("each further session, kB", one_more);
        row("CPU of an idle session, ms a second", cpu);
    }
    if wants("audio") {
        let (mut sent, mut heard) = ([None, None], [None, None]);
        for (index, client) in clients().into_iter().enumerate() {
            let Some(client) = client else { continue };
            let room = format!("speak-{index}");
            let result = measure(client, "speak", &task(&one(&room, "speaker")?, 10)).await?;
            sent[index] = Some(number(&result, "cpu")? * 1e6 / number(&result, "frames")?);
            let room = format!("hear-{index}");
            let mut speaker = Worker::start(Client::Ours, "say", &task(&one(&room, "speaker")?, 0)).await?;
            speaker.says().await?;
            let result = measure(client, "hear", &task(&one(&room, "listener")?, 10)).await?;
            speaker.stop();
            heard[index] = Some(number(&result, "cpu")? * 1e6 / number(&result, "frames")?);
        }
        row("audio frame of 20 ms sent, CPU in us", sent);
        row("audio frame of 20 ms received, CPU in us", heard);
    }
    if wants("data") {
        let (mut rate, mut wrong) = ([None, None], [None, None]);
        for (index, client) in clients().into_iter().enumerate() {
            let Some(client) = client else { continue };
            let room = format!("data-{index}");
            let mut receiver = Worker::start(client, "receive", &task(&one(&room, "receiver")?, 5)).await?;
            receiver.says().await?;
            let _sent = measure(client, "send", &task(&one(&room, "sender")?, 5)).await?;
            let result = receiver.says().await?;
            rate[index] = Some(number(&result, "messages")? * MESSAGE as f64 / 1e6 / number(&result, "seconds")?);
            wrong[index] = Some(number(&result, "wrong")?);
        }
        row("reliable data, MB/s (more is better)", rate);
        row("of these lost, doubled or out of order", wrong);
    }
    if wants("latency") {
        let tokens = [server.token("latency", "speaker")?, server.token("latency", "listener")?];
        let result = measure(Client::Ours, "latency", &task(&tokens, 20)).await?;
        let times = times(&result, "milliseconds")?;
        println!("clicks heard: {} of {}", times.len(), result["clicks"]);
        row("mouth to ear, p50, ms", [quantile(Some(&times), 0.5), None]);
        row("mouth to ear, p95, ms", [quantile(Some(&times), 0.95), None]);
    }
    Ok(())
}

fn row(name: &str, [ours, python]: [Option<f64>; 2]) {
    let cell = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
    let ratio = ours.zip(python).map(|(ours, python)| ours / python).filter(|ratio| ratio.is_finite());
    let ratio = ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
    println!("{name:<58} {:>12} {:>12} {ratio:>8}", cell(ours), cell(python));
}

fn number(result: &Value, name: &str) -> Result<f64, BoxError> {
    result[name].as_f64().ok_or_else(|| format!("a worker did not say {name}: {result}").into())
}

fn times(result: &Value, which: &str) -> Result<Vec<f64>, BoxError> {
    let times = result[which].as_array().ok_or("a worker did not say its times")?;
    let mut times: Vec<_> = times.iter().filter_map(Value::as_f64).collect();
    times.sort_by(f64::total_cmp);
    Ok(times)
}

fn quantile(sorted: Option<&[f64]>, part: f64) -> Option<f64> {
    let sorted = sorted?;
    let index = ((sorted.len() as f64 - 1.0) * part).round();
    sorted.get(index as usize).copied()
}
