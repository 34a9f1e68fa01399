//! `roomkey dev`, as a user runs it.

#![allow(clippy::unwrap_used, reason = "a panic is a test's report")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

fn roomkey() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomkey"));
    command.env_remove("LIVEKIT_API_KEY").env_remove("LIVEKIT_API_SECRET").stdin(Stdio::null());
    command
}

/// A server that is killed with this.
struct Running(Child, BufReader<ChildStdout>);

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = roomkey().args(["dev", "--port", "0"]).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self(child, stdout)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.1.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(url: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(url.strip_prefix("ws://").unwrap()).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_first_json_line_says_where_it_listens_and_its_token_is_good_there() {
    let mut server = Running::start(&["--json", "--room", "lab", "--identity", "alice"]);
    let first: Value = serde_json::from_str(&server.line()).unwrap();
    let (url, token) = (first["url"].as_str().unwrap(), first["token"].as_str().unwrap());
    assert_eq!(first["room"], "lab");
    assert!(get(url, &format!("/rtc/validate?access_token={token}")).ends_with("success"));

    assert!(get(url, "/rtc?access_token=x.y.z").starts_with("HTTP/1.1 401"));
    let refused: Value = serde_json::from_str(&server.line()).unwrap();
    assert_eq!(refused["event"], "join_refused");
    assert!(refused["message"].as_str().unwrap().contains("401"));
}

#[test]
fn in_words_it_says_what_a_client_needs() {
    let mut server = Running::start(&[]);
    let lines: Vec<_> = std::iter::repeat_with(|| server.line()).take(8).collect();
    let text = lines.join("\n");
    assert!(text.starts_with("A LiveKit room for this machine: ws://127.0.0.1:"), "{text}");
    assert!(text.contains("url = \"ws://127.0.0.1:") && text.contains("token = \"eyJ"), "{text}");
}

#[test]
fn beyond_loopback_it_wants_a_key_of_ones_own() {
    let refused = |arguments: &[&str]| {
        let output = roomkey().args(["dev", "--port", "0", "--bind", "0.0.0.0"]).args(arguments).output().unwrap();
        assert!(!output.status.success() && output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(&[]).contains("0.0.0.0 is not loopback"));
    let short = refused(&["--key", "mine", "--secret", "hush-hush"]);
    assert!(short.contains("32 bytes") && !short.contains("hush-hush"), "{short}");
    assert!(refused(&["--key", "mine"]).contains("--secret"));
}

#[test]
fn tokens_of_ones_own_key_are_taken_and_the_well_known_one_is_not() {
    let secret = "a secret of thirty-two bytes, or more";
    let mut server = Running::start(&["--json", "--key", "mine", "--secret", secret]);
    let first: Value = serde_json::from_str(&server.line()).unwrap();
    let (url, token) = (first["url"].as_str().unwrap(), first["token"].as_str().unwrap());
    assert!(get(url, &format!("/rtc/validate?access_token={token}")).ends_with("success"));
    let mut other = Running::start(&["--json"]);
    let other: Value = serde_json::from_str(&other.line()).unwrap();
    let token = other["token"].as_str().unwrap();
    assert!(get(url, &format!("/rtc/validate?access_token={token}")).starts_with("HTTP/1.1 401"));
}
