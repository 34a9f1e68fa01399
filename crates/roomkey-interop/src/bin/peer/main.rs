//! roomkey's own client as a peer of `rooms`: obeys commands and says what it sees, in JSON lines (tests/interop/README.md).
//!
//! It encodes and decodes sound, not pictures: its camera is a recording in three sizes, and video seen is the size in key
//! frames. It ends when its stdin does.

mod camera;
mod member;
mod say;
mod tone;
mod watcher;

use member::Member;
use say::say;
use serde_json::json;
use tokio::sync::mpsc;

#[tokio::main]
async fn main() {
    // `rooms` sends a command when it has the answer to the last one.
    let (lines, mut commands) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    say(&json!({"saw": "ready"}));
    let mut member = Member::default();
    while let Some(line) = commands.recv().await {
        say(&member.obey(&line).await);
    }
}
