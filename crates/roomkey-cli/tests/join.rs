//! `roomkey join`, as a script runs it, beside a dev server in this process.

#![allow(clippy::unwrap_used, reason = "a panic is a test's report")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Output, Stdio};

use roomkey_dev_server::{Config, DevServer};
use serde_json::Value;

fn join(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomkey"));
    command.env_remove("LIVEKIT_URL").env_remove("LIVEKIT_TOKEN").stdin(Stdio::null());
    command.arg("join").args(arguments);
    command
}

/// Runs a command to its end while the server goes on.
async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn server(has_agent: bool) -> DevServer {
    DevServer::bind(Config::new().with_echo_agent(has_agent)).await.unwrap()
}

fn endpoint(server: &DevServer) -> String {
    format!("http://{}/api/v2/sandbox/connection-details", server.address())
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of<'a>(lines: &'a [Value], event: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["event"] == event).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_said_and_all_that_happens_is_told_in_json() {
    let server = server(true).await;
    let endpoint = endpoint(&server);
    let given = ["--token-endpoint", &endpoint, "--room", "lab", "--identity", "alice", "--say", "hello", "--json"];
    let output = output(join(&given)).await;
    let lines = lines(&output);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");

    let states: Vec<_> = of(&lines, "session_state").iter().map(|line| line["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["connecting", "connected", "disconnected"]);
    let joined = of(&lines, "joined")[0];
    assert_eq!((&joined["room"], &joined["identity"]), (&"lab".into(), &"alice".into()));
    assert!(joined["token_expires_at"].as_f64() > joined["token_made_at"].as_f64());

    let agent: Vec<_> = of(&lines, "agent_state").iter().map(|line| line["state"].as_str().unwrap()).collect();
    assert!(agent.contains(&"listening") && agent.last() == Some(&"disconnected"), "{agent:?}");
    let final_messages = of(&lines, "message_finalized");
    assert_eq!(final_messages.len(), 2, "{final_messages:?}");
    for (speaker, text, status) in [("you", "hello", "sent"), ("agent", "You said: hello", "final")] {
        let message = final_messages.iter().find(|line| line["speaker"] == speaker).unwrap();
        assert_eq!((&message["text"], &message["status"]), (&text.into(), &status.into()));
    }
    let identities: Vec<_> = of(&lines, "participant_joined").iter().map(|line| line["kind"].clone()).collect();
    assert_eq!(identities, ["standard", "agent"]);
    assert!(!String::from_utf8_lossy(&output.stdout).contains("eyJ"), "no token is printed");
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_come_as_plain_lines_in_the_order_of_what_was_said() {
    let server = server(true).await;
    let token = server.mint("alice", "lab").unwrap();
    let output =
        output(join(&["--url", &server.url(), "--token", &token, "--say", "one", "--say", "two\u{1b}[2J"])).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "You said: one\nYou said: two\u{fffd}[2J\n");
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_of_standard_input_is_said_until_it_ends() {
    let server = server(true).await;
    let endpoint = endpoint(&server);
    let conversation = tokio::task::spawn_blocking(move || {
        let mut command = join(&["--token-endpoint", &endpoint, "--json"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut answer = |text: &str| {
            writeln!(stdin, "{text}").unwrap();
            let mut lines = lines.by_ref().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
            let is_answer = |line: &Value| line["event"] == "message_finalized" && line["speaker"] == "agent";
            lines.find(is_answer).unwrap()["text"].clone()
        };
        let answers = [answer("one"), answer("two")];
        drop(stdin);
        (answers, child.wait().unwrap())
    });
    let (answers, status) = conversation.await.unwrap();
    assert_eq!(answers, ["You said: one", "You said: two"]);
    assert!(status.success());
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_agent_it_fails_when_the_time_is_over_and_says_why() {
    let server = server(false).await;
    let endpoint = endpoint(&server);
    let output = output(join(&["--token-endpoint", &endpoint, "--say", "hello", "--json", "--timeout", "1"])).await;
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.starts_with("error: ") && told.contains("agent") && told.contains("try: "), "{told}");
    assert!(lines(&output).last().is_some_and(|line| line["event"] == "error"));
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_server_does_not_know_is_refused_in_words_that_do_not_have_it() {
    let server = server(true).await;
    let output = output(join(&["--url", &server.url(), "--token", "t0ps3cret.x.y", "--say", "hello"])).await;
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains("does not accept the token") && told.contains("get a new one"), "{told}");
    assert!(!told.contains("t0ps3cret"), "{told}");
    server.shutdown().await;
}

#[test]
fn what_can_not_be_followed_is_refused_at_once() {
    for (given, expected) in [
        (vec![], "there is no terminal"),
        (vec!["--url", "ws://127.0.0.1:1", "--say", "hello"], "no token"),
        (vec!["--token-endpoint", "ftp://x", "--say", "hello"], "error: "),
    ] {
        let output = join(&given).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(expected) && output.stdout.is_empty(), "{told}");
    }
}
